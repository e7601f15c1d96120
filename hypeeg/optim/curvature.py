r"""What happens to points and moments when the curvature changes.

An optimiser that learns the curvature ``c`` of a space must say where the points of the old space
lie in the new one. Three answers are offered as *moves*:

``"exp"``
    ``z = log_o(x)`` under the old curvature, ``x' = exp_o(z)`` under the new one: the distance to
    the origin and the direction are kept.
``"scale"``
    ``x' = x sqrt(c / c')``: a homothety, by which all distances shrink or grow alike.
``"none"``
    ``x' = x``: the coordinates stay as they are, whatever they mean in the new space. The naive
    way, a baseline. With space parts, distances to the origin become
    ``asinh(sqrt(c') |x|) / sqrt(c')``. Unlike the other moves it depends on the chart: for
    log-at-origin tangents it is ``"exp"``.

A moment is carried along by transporting it to the origin under the old curvature and back to
the point under the new one. The optimisers of this package keep moments in the frame of the
origin, the very thing both transports share: **under every move a stored moment does not
change at all**, and at most points do. Under ``"none"``, too, it is the transported moment that
goes on, a tangent vector of the new space at the point.

In the coordinates of the charts of hyperbolic space every move is a factor per point, see
:func:`move_points_`; log-at-origin tangents do not move at all under ``"exp"``.

Autograd's derivative of the loss in ``c`` holds the coordinates of the points fixed, but the move
then shifts them. :func:`consistent_gradient` is the missing term, 0 under ``"none"``. Nothing here
knows which optimiser calls it.

References
----------
.. [1] A. Bdeir, N. Landwehr: Robust Hyperbolic Learning with Curvature-Aware Optimization,
   arXiv 2405.13979 (the exp move).
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from hypeeg.geometry import HyperbolicChart, Lorentz, LorentzTangent, PoincareBall
from hypeeg.optim.frame import Radial, reach, row_dot, row_dtype

CurvatureMove = Literal["exp", "scale", "none"]
FollowingMove = Literal["exp", "scale"]
Chart = Literal["lorentz", "ball", "tangent"]
CurvatureGradient = Literal["autograd", "consistent"]

MOVES: tuple[str, ...] = get_args(CurvatureMove)
GRADIENTS: tuple[str, ...] = get_args(CurvatureGradient)
CHARTS: tuple[str, ...] = get_args(Chart)
# Points of the ball stop this many roundings short of its boundary: where poincare.project stops
# them, and a little less, so that it finds nothing to do.
BALL_MARGIN = 68


def chart_of(manifold: HyperbolicChart) -> Chart:
    """Return the name of the coordinates of a manifold.

    Raises
    ------
    TypeError
        If it is none of the charts of this package.
    """
    if isinstance(manifold, Lorentz):
        return "lorentz"
    if isinstance(manifold, PoincareBall):
        return "ball"
    if isinstance(manifold, LorentzTangent):
        return "tangent"
    raise TypeError(
        "optimizers know the charts Lorentz, PoincareBall and LorentzTangent; got a parameter on "
        f"{type(manifold).__name__}"
    )


def check_move(move: str) -> None:
    """Raise a ValueError unless ``move`` is one of the known moves."""
    if move not in MOVES:
        raise ValueError(f"curvature_move must be one of {MOVES}; got {move!r}")


def check_gradient(gradient: str) -> None:
    """Raise a ValueError unless ``gradient`` is one of the known curvature gradients."""
    if gradient not in GRADIENTS:
        raise ValueError(f"curvature_gradient must be one of {GRADIENTS}; got {gradient!r}")


def check_chart(chart: str) -> None:
    """Raise a ValueError unless ``chart`` is one of the known charts."""
    if chart not in CHARTS:
        raise ValueError(f"chart must be one of {CHARTS}; got {chart!r}")


def move_factor(radial: Radial, c_new: Tensor, move: CurvatureMove) -> Tensor:
    """Return the factor by which a move to curvature ``c_new`` multiplies space parts.

    Parameters
    ----------
    radial : Radial
        Scalars of the points under the old curvature.
    c_new : Tensor, 0-dimensional
        New curvature magnitude.
    move : {"exp", "scale", "none"}
        The move.

    Returns
    -------
    Tensor, shape (rows, 1) or 0-dimensional
        ``sinh(k rho) / (k sinh(rho))`` for the exp move, ``1 / k`` for the homothety, with
        ``k = sqrt(c_new / c)`` and ``rho`` the distance to the origin times ``sqrt(c)``; 1 for
        none.
    """
    check_move(move)
    if move == "none":
        return torch.ones_like(radial.c)
    ratio = (c_new.to(radial.c) / radial.c).sqrt()
    if move == "scale":
        return ratio.reciprocal()
    return radial.angle().mul_(ratio).sinh_().div_(radial.sinh).div_(ratio)


@torch.no_grad()
def move_points_(
    x: Tensor, c: Tensor, c_new: Tensor, move: CurvatureMove = "exp", chart: Chart = "lorentz"
) -> Tensor:
    r"""Move points from curvature ``c`` to curvature ``c_new``, in place.

    With :math:`k = \sqrt{c'/c}` and :math:`\rho` the distance to the origin times
    :math:`\sqrt c`, the exp move multiplies space parts by
    :math:`\sinh(k\rho)/(k\sinh\rho)`, points of the Poincaré ball by
    :math:`\tanh(k\rho/2)/(k\tanh(\rho/2))` and log-at-origin tangents by 1; the homothety
    multiplies all of them by :math:`1/k`; none leaves them.

    Parameters
    ----------
    x : Tensor, shape (rows, n), float32 or float64
        Coordinates under ``c``; overwritten by those under ``c_new``. Points that would leave the
        range of the dtype (``c |x|^2`` beyond about 1e36 in float32) or reach the boundary of
        the ball stop short of it.
    c, c_new : Tensor, 0-dimensional
        Curvature magnitudes before and after.
    move : {"exp", "scale", "none"}, default "exp"
        Whether distances to the origin are kept, all distances scaled by ``sqrt(c / c_new)``, or
        nothing is done but to keep points of the ball inside the new one.
    chart : {"lorentz", "ball", "tangent"}, default "lorentz"
        What the coordinates are: space parts, points of the Poincaré ball, or tangents at the
        origin.

    Returns
    -------
    Tensor
        ``x``.

    Raises
    ------
    ValueError
        If ``move`` or ``chart`` is unknown.
    """
    check_move(move)
    check_chart(chart)
    if chart == "lorentz":
        radial = Radial.of(x, c)
        factor = move_factor(radial, c_new, move)
        return x.mul_(torch.minimum(factor, reach(radial.c, radial.cosh_1, x.dtype)).to(x.dtype))
    if chart == "tangent" and move != "scale":
        return x
    wide = row_dtype(x)
    c, c_new = (t.to(device=x.device, dtype=wide) for t in (c, c_new))
    ratio = (c_new / c).sqrt_()
    if move == "scale":
        return x.mul_(ratio.reciprocal_().to(x.dtype))
    # near the boundary the norm needs more digits than the coordinates have
    t = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)
    farthest = 1 - BALL_MARGIN * torch.finfo(x.dtype).eps
    if move == "none":  # a larger curvature has a smaller ball
        t.mul_(c_new.sqrt()).clamp_min_(1e-18)
        return x.mul_(t.reciprocal_().mul_(farthest).clamp_max_(1.0).to(x.dtype))
    t.mul_(c.sqrt()).clamp_(1e-18, 1 - torch.finfo(wide).eps)
    moved = t.atanh().mul_(ratio).tanh_().clamp_max_(farthest)
    return x.mul_(moved.div_(t).div_(ratio).to(x.dtype))


def gradient_term(
    radial: Radial, x_dot_g: Tensor, move: CurvatureMove, chart: Chart = "lorentz"
) -> Tensor:
    """Return :func:`consistent_gradient` from row scalars an optimiser has at hand.

    Parameters
    ----------
    radial : Radial
        Scalars of the points before the step.
    x_dot_g : Tensor, shape (rows, 1)
        Inner products of the coordinates with autograd's gradient in them.
    move : {"exp", "scale", "none"}
        The move that follows the step.
    chart : {"lorentz", "ball", "tangent"}, default "lorentz"
        What the coordinates are.

    Returns
    -------
    Tensor, 0-dimensional
    """
    check_move(move)
    check_chart(chart)
    if move == "scale":
        return x_dot_g.sum() / -2
    if chart == "tangent" or move == "none":
        return torch.zeros((), dtype=x_dot_g.dtype, device=x_dot_g.device)
    # Half of (d log|x| / d log c). What cancels near the origin is a rounding of <x, g>, as it
    # is in autograd's part, to which this is added.
    rate = radial.angle().div_(radial.sinh)
    if chart == "lorentz":
        rate.mul_(radial.cosh)
    return rate.sub_(1).mul_(x_dot_g).sum() / 2


@torch.no_grad()
def consistent_gradient(
    x: Tensor, g: Tensor, c: Tensor, move: CurvatureMove = "exp", chart: Chart = "lorentz"
) -> Tensor:
    r"""Return what autograd's derivative in ``log c`` leaves out for one table of parameters.

    That derivative holds ``x`` fixed, whereas the curvature move carries ``x`` along with ``c``.
    The missing term is :math:`\sum \langle \partial L/\partial x, dx/d\log c\rangle`, with
    :math:`dx/d\log c = -x/2` for the homothety, 0 for none, and for the exp move

    .. math:: \tfrac12 (\rho\coth\rho - 1)\,x \quad\text{(space parts)},\qquad
              \tfrac12 (\rho/\sinh\rho - 1)\,x \quad\text{(ball)},\qquad
              0 \quad\text{(tangents at the origin)}.

    Parameters
    ----------
    x : Tensor, shape (rows, n)
        Coordinates of points.
    g : Tensor, shape (rows, n)
        Autograd's gradient of the loss in ``x``.
    c : Tensor, 0-dimensional
        Curvature magnitude.
    move : {"exp", "scale", "none"}, default "exp"
        The move.
    chart : {"lorentz", "ball", "tangent"}, default "lorentz"
        What the coordinates are.

    Returns
    -------
    Tensor, 0-dimensional, float64
        Term to add to the derivative in ``log c``.

    Raises
    ------
    ValueError
        If ``move`` or ``chart`` is unknown.
    """
    check_chart(chart)
    if chart == "ball":
        wide = x.to(row_dtype(x))
        t = wide.norm(dim=-1, keepdim=True).mul_(c.to(wide).sqrt())
        t.clamp_(1e-18, 1 - torch.finfo(wide.dtype).eps)
        gap = (1 - t) * (1 + t)
        radial = Radial(c.to(wide), 2 * t / gap, (1 + t * t) / gap, 2 / gap)
    else:  # tangents need no scalars
        radial = Radial.of(x, c)
    return gradient_term(radial, row_dot(x, g), move, chart)
