r"""Steps on the Lorentz model, computed in the frame of the origin.

A tangent vector at a point ``x`` is represented by its parallel transport along the geodesic
from ``x`` to the origin: an ordinary vector of n numbers whose Euclidean norm is its Riemannian
norm. In this frame

* the Riemannian gradient is :math:`g + c\,\langle x,g\rangle/(1+\gamma)\,x`, with
  :math:`\gamma = \sqrt{1 + c|x|^2}` and ``g`` autograd's gradient in the space part;
* transport along a ray through the origin (weight decay, a change of curvature) is the identity;
* a geodesic step is the Lorentz boost of the same step taken at the origin, and transport along
  it is the rotation of the triangle origin, old point, new point (the gyration of [1]_).

Points, gradients and moments of one table enter every formula through a few inner products per
row. Those row scalars are kept in float64: they are 1/n of the work, and they make sums of
quantities as different as :math:`\gamma` and 1 exact to the last digit of a float32 table.

References
----------
.. [1] A. A. Ungar: Analytic Hyperbolic Geometry and Albert Einstein's Special Theory of
   Relativity, World Scientific, 2008 (gyrations of the Poincaré ball).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

# Space parts stay below this length: their squares, summed over a row, then stay finite, and so do
# the products of such squares in float64.
_FARTHEST = {torch.float32: 1e18, torch.float64: 1e100}
# Stands for zero where a quotient has a limit there, such as tanh(t) / t.
_TINY = 1e-18
# Half the longest step, times sqrt(c): the step back through the origin is still well-conditioned.
_LONGEST_HALF_STEP = 4.0
# So few numbers are summed in float64 as fast as in float32 with a conversion of the result.
_SHORT_TABLE = 2**16
# Decay leaves at least a millionth of a point, by which formulas may divide.
_MOST_DECAY = 1 - 1e-6


def row_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype of row scalars on the device of a tensor: float64 where there is one."""
    return torch.float32 if x.device.type == "mps" else torch.float64


def row_norm(x: Tensor) -> Tensor:
    """Return the lengths of the rows of a table, ``(rows, 1)`` in float64.

    For points, whose squares are finite; :func:`vector_length` is for vectors of any length.
    """
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm.to(row_dtype(x))


def vector_length(v: Tensor) -> Tensor:
    """Return the lengths of the rows of a table, ``(rows, 1)`` in float64, however long they are.

    Gradients beyond 1e19 have squares that overflow float32.
    """
    wide = row_dtype(v)
    long = v.numel() > _SHORT_TABLE and v.dtype != wide
    if long and v.is_cpu and not torch.compiler.is_compiling():
        # A processor accumulates in float64 at a third of the speed, but can look first.
        norm: Tensor = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
        if math.isfinite(norm.sum().item()):
            return norm.to(wide)
    result: Tensor = torch.linalg.vector_norm(v, dim=-1, keepdim=True, dtype=wide)
    return result


def row_dot(x: Tensor, y: Tensor, scratch: Tensor | None = None) -> Tensor:
    """Return the inner products of the rows of two tables, ``(rows, 1)`` in float64.

    ``scratch``, shaped like the tables, is overwritten.
    """
    # No matrix product: those may run in reduced precision at the user's wish.
    products = torch.mul(x, y, out=scratch)
    return products.sum(-1, keepdim=True).to(row_dtype(x))


def reach(c: Tensor, cosh_1: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the factor that takes space parts as far out as squares in ``dtype`` allow.

    ``cosh_1`` is as in :class:`Radial`; that far out, cosine and sine are one.
    """
    return (c.sqrt() * _FARTHEST[dtype]) / cosh_1


class Radial(NamedTuple):
    """What the formulas need to know of a table of points: scalars ``(rows, 1)`` in float64.

    Attributes
    ----------
    c : Tensor, 0-dimensional
        Curvature magnitude.
    sinh : Tensor
        ``sqrt(c) |x|``, the hyperbolic sine of ``sqrt(c)`` times the distance to the origin; never
        exactly 0, so that it may divide.
    cosh : Tensor
        ``sqrt(1 + c |x|^2)``, the hyperbolic cosine, called gamma in the formulas.
    cosh_1 : Tensor
        ``cosh + 1``.
    """

    c: Tensor
    sinh: Tensor
    cosh: Tensor
    cosh_1: Tensor

    @classmethod
    def of(cls, x: Tensor, c: Tensor) -> Radial:
        """Compute the scalars of a table ``(rows, n)``; ``c`` is 0-dimensional."""
        norm = row_norm(x)
        c = c.to(device=x.device, dtype=norm.dtype)
        sinh = norm.mul_(c.sqrt()).clamp_min_(_TINY)
        cosh = sinh.square().add_(1).sqrt_()
        return cls(c, sinh, cosh, cosh + 1)

    def angle(self) -> Tensor:
        """Return ``sqrt(c)`` times the distance to the origin, ``asinh(sinh)``."""
        # log1p keeps the relative accuracy near the origin and is vectorised, unlike asinh
        return self.sinh.square().div_(self.cosh_1).add_(self.sinh).log1p_()

    @classmethod
    def from_cosh_1(cls, c: Tensor, cosh_1: Tensor) -> Radial:
        """Derive the other scalars from ``cosh_1``; near the origin the sine is good to 1e-8."""
        sinh = (cosh_1 - 2).mul_(cosh_1).clamp_min_(_TINY**2).sqrt_()
        return cls(c, sinh, cosh_1 - 1, cosh_1)


def decayed(radial: Radial, amount: float | Tensor) -> tuple[Tensor, Tensor]:
    """Return what weight decay does to points.

    The decayed point is the centroid of the point (weight ``1 - amount``) and the origin (weight
    ``amount``). An amount of 1 or more counts as just below 1: decay ends at the origin and never
    goes past it.

    Parameters
    ----------
    radial : Radial
        Scalars of the points.
    amount : float or Tensor, 0-dimensional
        Learning rate times weight decay.

    Returns
    -------
    factor : Tensor, shape (rows, 1)
        Factor of the space parts.
    cosh_1 : Tensor, shape (rows, 1)
        As in :class:`Radial`, of the decayed points.
    """
    if isinstance(amount, Tensor):
        amount = amount.to(radial.cosh).clamp(max=_MOST_DECAY)
    else:
        amount = min(amount, _MOST_DECAY)
    keep = 1 - amount
    mixed = 2 * amount * keep
    factor = (radial.cosh * mixed).add_(1 - mixed).rsqrt_()
    cosh_1 = (radial.cosh * keep).add_(amount).mul_(factor).add_(1)
    return factor.mul_(keep), cosh_1


def geodesic_step_(
    x: Tensor,
    m: Tensor,
    radial: Radial,
    step: Tensor,
    decay: tuple[Tensor, Tensor] | None = None,
    scratch: Tensor | None = None,
    carried: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Shorten points radially, move them along geodesics and carry a moment along, in place.

    The points are first decayed; then they move to :math:`\exp_x(-\mathrm{step}\cdot m)` and
    ``m`` is transported along that geodesic. **The new points are ``x`` times the returned
    factor**: the caller multiplies, since what follows a step (a change of curvature, a bound on
    the radius) is such a factor too.

    Parameters
    ----------
    x : Tensor, shape (rows, n)
        Space parts of points; overwritten.
    m : Tensor, shape (rows, n)
        Tangent vectors at ``x`` in the frame of the origin; overwritten.
    radial : Radial
        Scalars of ``x``.
    step : Tensor, shape (rows, 1)
        Step per unit of ``m``, at least 0. No step is longer than ``8/sqrt(c)``.
    decay : tuple of Tensor, optional
        From :func:`decayed`; none by default.
    scratch : Tensor, shape (rows, n), optional
        Working memory.
    carried : Tensor, shape (rows, n), optional
        Tangent vectors at ``x`` in the frame of the origin to carry along instead of ``m``, which
        is then left as it is; overwritten.

    Returns
    -------
    factor : Tensor, shape (rows, 1)
        What ``x`` is still to be multiplied by.
    cosh_1 : Tensor, shape (rows, 1)
        As in :class:`Radial`, of the new points.

    Notes
    -----
    In the Poincaré ball of radius 1 let ``p`` be the decayed point and ``q`` the step taken at the
    origin, a multiple of ``-m``. The new point is the Möbius sum

    .. math:: p \oplus q = \frac{(1 + 2pq + q^2)\,p + (1 - p^2)\,q}{D},
              \qquad D = 1 + 2pq + p^2q^2,

    and the transported moment the gyration of ``m``,

    .. math:: \mathrm{gyr}[p, q]\,m = \frac{(1 - p^2 q^2)\,m - 2 (1 + pq)\,|q|\,|m|\,p}{D}.

    That of any other vector ``w`` is

    .. math:: w + \frac{2}{D}\bigl((qw + 2\,pq\,qw - q^2\,pw)\,p - (pw + p^2\,qw)\,q\bigr).
    """
    half_root_c = radial.c.sqrt() / 2
    # The floor serves the quotient alone: tanh(t)/t is 1 to the last digit at any tiny t.
    m_half = vector_length(m).mul_(half_root_c).clamp_min_(_TINY)
    along = row_dot(x, m, scratch)
    cosh_1 = radial.cosh_1 if decay is None else decay[1]
    # p = ball x sqrt(c)
    ball = cosh_1.reciprocal() if decay is None else decay[0] / cosh_1

    q = (m_half * step).clamp_max_(_LONGEST_HALF_STEP).tanh_()
    q_per_m = q / m_half  # q = -m q_per_m sqrt(c) / 2
    pq = along.mul_(q_per_m).mul_(ball).mul_(radial.c / -2)
    p_times_q = (radial.sinh * ball).mul_(q)
    numerator = torch.add(pq, pq).add_(1)
    denominator = numerator.addcmul(p_times_q, p_times_q)
    numerator.addcmul_(q, q)
    turn = None
    if carried is not None:
        # w' = w + from_p p + from_q q, with p = x ball sqrt(c) and q = -m q_per_m sqrt(c) / 2
        p_per_x, q_per_minus_m = ball * radial.c.sqrt(), q_per_m * half_root_c
        pw = row_dot(x, carried, scratch).mul_(p_per_x)
        # <m, carried> itself would overflow for long moments
        minus_q = torch.mul(m, q_per_minus_m.to(m.dtype), out=scratch)
        qw = minus_q.mul_(carried).sum(-1, keepdim=True).to(pw).neg_()
        from_p = (2 * pq + 1).mul_(qw) - q.square() * pw
        from_q = (radial.sinh * ball).square_().mul_(qw).add_(pw)
        twice = 2 / denominator
        turn = from_p * p_per_x * twice, from_q * q_per_minus_m * twice
    sech_square = q.square().neg_().add_(1)

    # 1 - |p + q|^2 = (1 - p^2)(1 - q^2) / D, and cosh + 1 is 2 / (1 - |.|^2)
    cosh_1_new = (cosh_1 * denominator).div_(sech_square)
    # In space parts: x' = factor (x - ratio m), so that the old point comes back for the gyration
    # without a copy of it. The numerator is positive: at least (1 - |q|)^2.
    factor = sech_square.reciprocal_().mul_(numerator)
    ratio = q_per_m.div_(numerator)
    if decay is not None:
        factor.mul_(decay[0])
        ratio.div_(decay[0])

    dtype = x.dtype
    x.addcmul_(m, ratio.to(dtype), value=-1)
    if carried is not None and turn is not None:
        carried.addcmul_(x, turn[0].to(dtype))
        carried.addcmul_(m, (turn[0] * ratio).add_(turn[1]).to(dtype))
        return factor, cosh_1_new
    m_from_x = pq.add_(1).mul_(q).mul_(m_half).mul_(ball).div_(denominator)
    m_from_m = (
        p_times_q.square_().neg_().add_(1).div_(denominator).addcmul_(m_from_x, ratio, value=-4)
    )
    m.mul_(m_from_m.to(dtype)).addcmul_(x, m_from_x.to(dtype), value=-4)
    return factor, cosh_1_new
