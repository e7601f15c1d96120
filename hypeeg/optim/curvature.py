r"""What happens to points and moments when the curvature changes.

An optimiser that learns the curvature ``c`` of a space must say where the points of the old space
lie in the new one. Two answers are offered as *moves*:

``"exp"``
    ``z = log_o(x)`` under the old curvature, ``x' = exp_o(z)`` under the new one: the distance to
    the origin and the direction are kept.
``"scale"``
    ``x' = x sqrt(c / c')``: a homothety, by which all distances shrink or grow alike.

A moment is carried along by transporting it to the origin under the old curvature and back to
the point under the new one. The optimisers of this package keep moments in the frame of the
origin, the very thing both transports share: **under either move a stored moment does not
change at all**, and only points do.

Autograd's derivative of the loss in ``c`` holds the coordinates of the points fixed, but the move
then shifts them. :func:`consistent_gradient` is the missing term. Nothing here knows which
optimiser calls it.

References
----------
.. [1] A. Bdeir, N. Landwehr: Robust Hyperbolic Learning with Curvature-Aware Optimization,
   arXiv 2405.13979 (the exp move).
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from hypeeg.optim.frame import Radial, reach, row_dot

CurvatureMove = Literal["exp", "scale"]
CurvatureGradient = Literal["autograd", "consistent"]

MOVES: tuple[str, ...] = get_args(CurvatureMove)
GRADIENTS: tuple[str, ...] = get_args(CurvatureGradient)


def check_move(move: str) -> None:
    """Raise a ValueError unless ``move`` is one of the known moves."""
    if move not in MOVES:
        raise ValueError(f"curvature_move must be one of {MOVES}; got {move!r}")


def check_gradient(gradient: str) -> None:
    """Raise a ValueError unless ``gradient`` is one of the known curvature gradients."""
    if gradient not in GRADIENTS:
        raise ValueError(f"curvature_gradient must be one of {GRADIENTS}; got {gradient!r}")


def move_factor(radial: Radial, c_new: Tensor, move: CurvatureMove) -> Tensor:
    """Return the factor by which a move to curvature ``c_new`` multiplies space parts.

    Parameters
    ----------
    radial : Radial
        Scalars of the points under the old curvature.
    c_new : Tensor, 0-dimensional
        New curvature magnitude.
    move : {"exp", "scale"}
        The move.

    Returns
    -------
    Tensor, shape (rows, 1) or 0-dimensional
        ``sinh(k rho) / (k sinh(rho))`` for the exp move, ``1 / k`` for the homothety, with
        ``k = sqrt(c_new / c)`` and ``rho`` the distance to the origin times ``sqrt(c)``.
    """
    check_move(move)
    ratio = (c_new.to(radial.c) / radial.c).sqrt()
    if move == "scale":
        return ratio.reciprocal()
    return radial.angle().mul_(ratio).sinh_().div_(radial.sinh).div_(ratio)


@torch.no_grad()
def move_points_(x: Tensor, c: Tensor, c_new: Tensor, move: CurvatureMove = "exp") -> Tensor:
    """Move points from curvature ``c`` to curvature ``c_new``, in place.

    Parameters
    ----------
    x : Tensor, shape (rows, n), float32 or float64
        Space parts under ``c``; overwritten by those under ``c_new``. Points that would leave the
        range of the dtype (``c |x|^2`` beyond about 1e36 in float32) stop short of it.
    c, c_new : Tensor, 0-dimensional
        Curvature magnitudes before and after.
    move : {"exp", "scale"}, default "exp"
        Whether distances to the origin are kept, or all distances scaled by ``sqrt(c / c_new)``.

    Returns
    -------
    Tensor
        ``x``.

    Raises
    ------
    ValueError
        If ``move`` is unknown.
    """
    radial = Radial.of(x, c)
    factor = move_factor(radial, c_new, move)
    return x.mul_(torch.minimum(factor, reach(radial.c, radial.cosh_1, x.dtype)).to(x.dtype))


def gradient_term(radial: Radial, x_dot_g: Tensor, move: CurvatureMove) -> Tensor:
    """Return :func:`consistent_gradient` from row scalars an optimiser has at hand.

    Parameters
    ----------
    radial : Radial
        Scalars of the points before the step.
    x_dot_g : Tensor, shape (rows, 1)
        Inner products of the points with autograd's gradient.
    move : {"exp", "scale"}
        The move that follows the step.

    Returns
    -------
    Tensor, 0-dimensional
    """
    check_move(move)
    if move == "scale":
        return x_dot_g.sum() / -2
    # d log|x| / d log c = (rho coth(rho) - 1) / 2. What cancels near the origin is a rounding of
    # <x, g>, as it is in autograd's part, to which this is added.
    rate = radial.angle().mul_(radial.cosh).div_(radial.sinh).sub_(1)
    return rate.mul_(x_dot_g).sum() / 2


@torch.no_grad()
def consistent_gradient(x: Tensor, g: Tensor, c: Tensor, move: CurvatureMove = "exp") -> Tensor:
    r"""Return what autograd's derivative in ``log c`` leaves out for one table of parameters.

    That derivative holds ``x`` fixed, whereas the curvature move carries ``x`` along with ``c``.
    The missing term is :math:`\sum \langle \partial L/\partial x, dx/d\log c\rangle` with

    .. math:: \frac{dx}{d\log c} = \tfrac12 (\rho\coth\rho - 1)\,x \quad\text{(exp)},\qquad
              \frac{dx}{d\log c} = -\tfrac12\,x \quad\text{(scale)}.

    Parameters
    ----------
    x : Tensor, shape (rows, n)
        Space parts.
    g : Tensor, shape (rows, n)
        Autograd's gradient of the loss in ``x``.
    c : Tensor, 0-dimensional
        Curvature magnitude.
    move : {"exp", "scale"}, default "exp"
        The move.

    Returns
    -------
    Tensor, 0-dimensional, float64
        Term to add to the derivative in ``log c``.

    Raises
    ------
    ValueError
        If ``move`` is unknown.
    """
    return gradient_term(Radial.of(x, c), row_dot(x, g), move)
