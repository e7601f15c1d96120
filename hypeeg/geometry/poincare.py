"""The Poincaré ball: functions on ball coordinates and the isometry with the Lorentz model.

The ball of curvature ``-c`` has radius ``1/sqrt(c)``. Points and tangent vectors are tensors
``(..., n)`` in ball coordinates; ``c`` and dtypes are as in :mod:`hypeeg.geometry.lorentz`. Every
formula is written with differences of coordinates and with ``1 - c|p|^2``, taken in float64, so
that results are exact to what the coordinates carry. That is not much near the boundary: the last
digit of a float32 coordinate is worth 1e-3 at distance 10 from the origin and everything at 16; the
Lorentz model and its tangent store reach farther.

References
----------
.. [1] A. A. Ungar: Analytic Hyperbolic Geometry and Albert Einstein's Special Theory of
   Relativity, World Scientific, 2008.
.. [2] O. Ganea, G. Bécigneul, T. Hofmann: Hyperbolic Neural Networks, NeurIPS 2018.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hypeeg.geometry.numerics import (
    as_curvature,
    ball_rotation,
    hypot1,
    prepare,
    unit_norm,
    vector_norm,
    wide_dtype,
)
from hypeeg.geometry.series import asinh, asinhc, tanhc

# --------------------------------------------------------------------------- isometry


def lorentz_to_poincare(x: Tensor, c: Tensor | float) -> Tensor:
    """Map space parts of hyperboloid points into the Poincaré ball.

    Parameters
    ----------
    x : Tensor, shape (..., n)
        Space parts.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., n)
        ``x / (1 + sqrt(c) x_t)``, of norm below ``1/sqrt(c)``.
    """
    (x,) = prepare(x)
    c = as_curvature(c, x)
    return x / (1 + hypot1(unit_norm(x, c)))


def poincare_to_lorentz(p: Tensor, c: Tensor | float) -> Tensor:
    """Map points of the Poincaré ball to space parts on the hyperboloid.

    Parameters
    ----------
    p : Tensor, shape (..., n)
        Points with ``sqrt(c) |p| < 1``.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., n)
        ``2 p / (1 - c|p|^2)``; not finite on the boundary, ``nan`` outside the ball.
    """
    (p,) = prepare(p)
    return 2 * p / _inside(_gap(p, as_curvature(c, p)))


# --------------------------------------------------------------------------- metric


def _gap(p: Tensor, c: Tensor) -> Tensor:
    # 1 - c|p|^2, (..., 1). Near the boundary nothing else matters, so this scalar per point is
    # formed in float64: it is then exact to the rounding of the coordinates themselves.
    wide = wide_dtype(p)
    radius = torch.linalg.vector_norm(p, dim=-1, keepdim=True, dtype=wide) * torch.sqrt(c.to(wide))
    gap: Tensor = (1 - radius) * (1 + radius)
    return gap.to(p.dtype)


def conformal_factor(p: Tensor, c: Tensor | float) -> Tensor:
    """Return ``2 / (1 - c|p|^2)``, the ratio of hyperbolic to Euclidean lengths at ``p``.

    Parameters
    ----------
    p : Tensor, shape (..., n)
        Points of the ball.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., 1)
    """
    (p,) = prepare(p)
    return 2 / _gap(p, as_curvature(c, p))


def inner(p: Tensor, u: Tensor, v: Tensor, c: Tensor | float) -> Tensor:
    """Return the Riemannian inner product of tangent vectors at ``p``, shape ``(...)``."""
    p, u, v = prepare(p, u, v)
    factor = conformal_factor(p, c)
    return ((factor * u) * (factor * v)).sum(-1)


def norm(p: Tensor, u: Tensor, c: Tensor | float) -> Tensor:
    """Return the Riemannian norm of tangent vectors at ``p``, shape ``(...)``."""
    p, u = prepare(p, u)
    return (conformal_factor(p, c) * vector_norm(u)).squeeze(-1)


def egrad2rgrad(p: Tensor, g: Tensor, c: Tensor | float) -> Tensor:
    """Return the Riemannian gradient from autograd's gradient: ``((1 - c|p|^2) / 2)^2 g``."""
    p, g = prepare(p, g)
    half_gap = _gap(p, as_curvature(c, p)) / 2
    return half_gap * (half_gap * g)


def gradient_to_lorentz(p: Tensor, g: Tensor, c: Tensor | float) -> Tensor:
    """Turn autograd's gradient in ball coordinates into that in the space part.

    Parameters
    ----------
    p, g : Tensor, shape (..., n)
        Points of the ball and the gradient with respect to them.
    c : Tensor or float
        Curvature magnitude, held fixed.

    Returns
    -------
    Tensor, shape (..., n)
        ``J^-T g`` with J the derivative of :func:`poincare_to_lorentz`:
        ``(1 - c|p|^2)/2 (g - 2c <p, g> / (1 + c|p|^2) p)``.
    """
    p, g = prepare(p, g)
    c = as_curvature(c, p)
    square = unit_norm(p, c) ** 2
    radial = 2 * c * (p * g).sum(-1, keepdim=True) / (1 + square)
    return _gap(p, c) / 2 * (g - radial * p)


def dist0(p: Tensor, c: Tensor | float) -> Tensor:
    """Return the distance to the origin, ``2 atanh(sqrt(c)|p|) / sqrt(c)``, shape ``(...)``."""
    (p,) = prepare(p)
    c = as_curvature(c, p)
    root = torch.sqrt(c)
    sinh = 2 * root * vector_norm(p) / _inside(_gap(p, c))
    return (asinh(sinh) / root).squeeze(-1)


def dist(p: Tensor, q: Tensor, c: Tensor | float) -> Tensor:
    """Return the geodesic distance of points of the ball.

    Parameters
    ----------
    p, q : Tensor, shapes (..., n) that broadcast
        Points of the ball.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (...)
        ``2/sqrt(c) asinh(sqrt(c)|p - q| / sqrt((1 - c|p|^2)(1 - c|q|^2)))``: nothing cancels. The
        gradient at coincident points is zero; ``inf`` on the boundary, ``nan`` outside the ball.
    """
    p, q = prepare(p, q)
    c = as_curvature(c, p)
    root = torch.sqrt(c)
    return (2 * asinh(_sinh_half(p, q, c)) / root).squeeze(-1)


def _inside(gap: Tensor) -> Tensor:
    return torch.where(gap >= 0, gap, torch.nan)


def _sinh_half(p: Tensor, q: Tensor, c: Tensor) -> Tensor:
    gaps = torch.sqrt(_inside(_gap(p, c))) * torch.sqrt(_inside(_gap(q, c)))
    return torch.sqrt(c) * vector_norm(p - q) / gaps


# --------------------------------------------------------------------------- Möbius operations


def _mobius_add(p: Tensor, q: Tensor, gap_p: Tensor, gap_q: Tensor, c: Tensor) -> Tensor:
    # The textbook's coefficients, regrouped so that every term is a product of exact differences:
    # 1 + 2c<p,q> + c^2|p|^2|q|^2 = c|p+q|^2 + (1-c|p|^2)(1-c|q|^2), the numerator likewise.
    total = p + q
    square = c * (total * total).sum(-1, keepdim=True)
    both = gap_p * gap_q
    weight = square + both
    return (square / weight) * p + (gap_p / weight) * total


def mobius_add(p: Tensor, q: Tensor, c: Tensor | float) -> Tensor:
    """Return the Möbius sum ``p + q`` of points of the ball [1]_.

    Parameters
    ----------
    p, q : Tensor, shapes (..., n) that broadcast
        Points of the ball.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., n)
        ``exp_p`` of ``log_o q`` transported from the origin to ``p``.
    """
    p, q = prepare(p, q)
    c = as_curvature(c, p)
    return _mobius_add(p, q, _gap(p, c), _gap(q, c), c)


def mobius_scalar_mul(r: Tensor | float, p: Tensor, c: Tensor | float) -> Tensor:
    """Return ``r`` times ``p``: the point ``r`` times as far from the origin on the same line.

    ``r`` is a number or a tensor that broadcasts against the leading dimensions of ``p``.
    """
    (p,) = prepare(p)
    c = as_curvature(c, p)
    r = as_curvature(r, p)
    p_norm = unit_norm(p, c)
    gap = _inside(_gap(p, c))
    ratio = asinhc(2 * p_norm / gap) / gap  # atanh(r) / r
    return r * tanhc(r * ratio * p_norm) * ratio * p


def mobius_matvec(weight: Tensor, p: Tensor, c: Tensor | float) -> Tensor:
    """Return ``exp_o(W log_o p)``, the Möbius product of a matrix and points [2]_.

    Parameters
    ----------
    weight : Tensor, shape (m, n)
        The matrix.
    p : Tensor, shape (..., n)
        Points of the ball.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., m)
    """
    p, weight = prepare(p, weight)
    with torch.autocast(p.device.type, enabled=False):
        return expmap0(torch.nn.functional.linear(logmap0(p, c), weight), c)


def gyration(p: Tensor, q: Tensor, v: Tensor, c: Tensor | float) -> Tensor:
    """Return ``gyr[p, q] v``, the rotation by which Möbius addition fails to be associative.

    Parameters
    ----------
    p, q : Tensor, shapes (..., n) that broadcast
        Points of the ball.
    v : Tensor, shape (..., n)
        Vectors.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., n)
        Vectors of the same Euclidean length.
    """
    p, q, v = prepare(p, q, v)
    c = as_curvature(c, p)
    return ball_rotation(-q, p, v, _gap(q, c), _gap(p, c), c)


# --------------------------------------------------------------------------- maps


def expmap0(u: Tensor, c: Tensor | float) -> Tensor:
    """Exponential map at the origin, ``tanh(sqrt(c)|u|) / (sqrt(c)|u|) u``.

    ``u`` is in ball coordinates, in which lengths at the origin are doubled: the image is at
    distance ``2|u|``.
    """
    (u,) = prepare(u)
    return tanhc(unit_norm(u, as_curvature(c, u))) * u


def logmap0(p: Tensor, c: Tensor | float) -> Tensor:
    """Logarithm at the origin, the inverse of :func:`expmap0`; shapes ``(..., n)``."""
    (p,) = prepare(p)
    c = as_curvature(c, p)
    gap = _inside(_gap(p, c))
    # atanh(r) = asinh(2r / (1 - r^2)) / 2
    return asinhc(2 * unit_norm(p, c) / gap) / gap * p


def expmap(p: Tensor, u: Tensor, c: Tensor | float) -> Tensor:
    """Exponential map at ``p``.

    Parameters
    ----------
    p, u : Tensor, shape (..., n)
        Points of the ball and tangent vectors in its coordinates.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., n)
        End points of the geodesics; rounded onto the boundary where the coordinates cannot
        tell them from it.
    """
    p, u = prepare(p, u)
    c = as_curvature(c, p)
    gap = _gap(p, c)
    half = unit_norm(u, c) / gap  # sqrt(c) |u|_p / 2
    step = tanhc(half) / gap * u
    decay = torch.exp(-half)
    sech = 2 * decay / (1 + decay * decay)
    return _mobius_add(p, step, gap, sech * sech, c)


def logmap(p: Tensor, q: Tensor, c: Tensor | float) -> Tensor:
    """Logarithm of ``q`` at ``p``, the inverse of :func:`expmap`; shapes ``(..., n)``."""
    p, q = prepare(p, q)
    c = as_curvature(c, p)
    difference = q - p
    square = c * (difference * difference).sum(-1, keepdim=True)
    gap, gap_q = _inside(_gap(p, c)), _inside(_gap(q, c))
    both = gap * gap_q
    sinh = _sinh_half(p, q, c)
    scale = asinhc(sinh) * (torch.sqrt(gap) / torch.sqrt(gap_q) / torch.sqrt(square + both))
    return scale * (gap * difference - square * p)


def transp(p: Tensor, q: Tensor, v: Tensor, c: Tensor | float) -> Tensor:
    """Parallel transport of ``v`` along the geodesic from ``p`` to ``q``; shapes ``(..., n)``."""
    p, q, v = prepare(p, q, v)
    c = as_curvature(c, p)
    gap_p, gap_q = _gap(p, c), _gap(q, c)
    return gap_q / gap_p * ball_rotation(p, q, v, gap_p, gap_q, c)


def transp0(p: Tensor, v: Tensor, c: Tensor | float) -> Tensor:
    """Parallel transport of ``v`` from the origin to ``p``; shapes ``(..., n)``."""
    p, v = prepare(p, v)
    return _gap(p, as_curvature(c, p)) * v


def transp0back(p: Tensor, v: Tensor, c: Tensor | float) -> Tensor:
    """Parallel transport of ``v`` from ``p`` to the origin; shapes ``(..., n)``."""
    p, v = prepare(p, v)
    return v / _gap(p, as_curvature(c, p))


def project(p: Tensor, c: Tensor | float) -> Tensor:
    """Pull points back to where the dtype still tells them from the boundary.

    Points with ``sqrt(c)|p|`` up to ``1 - 64 eps`` are left as they are; others are moved along
    their ray to that radius, a distance of 12.5 (float32) or 32.6 (float64) over ``sqrt(c)``.
    """
    (p,) = prepare(p)
    c = as_curvature(c, p)
    radius = unit_norm(p, c)
    most = 1 - 64 * torch.finfo(p.dtype).eps
    outside = radius > most
    return torch.where(outside, most / torch.where(outside, radius, 1.0), 1.0) * p
