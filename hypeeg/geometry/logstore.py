r"""Hyperbolic space in logarithms at the origin: functions for points that lie far out.

A point is kept as ``z = log_o(x)``, the vector at the origin of its length and direction, and a
tangent vector at a point as its parallel transport to the origin along the ray, so that its
Euclidean norm is its Riemannian norm. Coordinates then grow like the distance instead of its
exponential: a float32 tensor holds points to radius 100 and beyond, with seven digits of radius and
direction, and distances are exact on the coordinates at every radius, also along a ray.

Arithmetic is in float64 (float32 where a device lacks it); results have the dtype of the points.
With :math:`a, b` the scaled radii and :math:`n, m` the directions of two points, formulas use
:math:`a - b` and :math:`n - m`, both formed from the difference of the coordinates. Where one
radius is below 1 and the radii are unlike, those of :mod:`hypeeg.geometry.lorentz` are taken.
Distances are good while ``a + b < 700``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hypeeg.geometry import lorentz
from hypeeg.geometry.numerics import (
    as_curvature,
    ball_rotation,
    hypot1,
    lorentz_chord,
    prepare,
    unit_norm,
    vector_norm,
    wide_dtype,
)
from hypeeg.geometry.series import asinh, asinhc, sinhc, tanhc

_FAR = 1.0  # scaled radius from which on the ray of a point is always used
_TINY = 1e-18


class _Pair(NamedTuple):
    """Two points by their rays; meaningful where these are used."""

    a: Tensor
    b: Tensor
    n: Tensor
    a_minus_b: Tensor
    n_minus_m: Tensor
    sin2: Tensor  # squared sine of half the angle between the rays


def _wide(z: Tensor, c: Tensor | float, *others: Tensor) -> tuple[Tensor, ...]:
    """Return ``c``, the points and further tensors in the wide dtype.

    ``c`` is first rounded to the dtype of the points, as everywhere in this package.
    """
    dtype = wide_dtype(z)
    scalar = as_curvature(c, z).to(dtype)
    return (scalar, z.to(dtype), *(t.to(dtype) for t in others))


def _far_pair(z: Tensor, w: Tensor, c: Tensor) -> tuple[Tensor, _Pair]:
    root = torch.sqrt(c)
    length_z, length_w = vector_norm(z), vector_norm(w)
    least, most = root * torch.minimum(length_z, length_w), root * torch.maximum(length_z, length_w)
    # Near the origin only points of like radius: Cartesian ones would round their difference.
    far = (least >= _FAR) | ((2 * least >= most) & (least > _TINY))
    # Other points are replaced by a harmless one, so that no gradient is spoilt by them.
    # Made on the device: a copy from the host would wait for it.
    one = (torch.arange(z.shape[-1], device=z.device) == 0).to(z.dtype)
    z, w = (torch.where(far, t, one) for t in (z, w))
    # Differences first: scaled coordinates would have been rounded.
    length_z, length_w = vector_norm(z), vector_norm(w)
    difference, total, t = z - w, z + w, length_z + length_w
    radial = (difference * total).sum(-1, keepdim=True) / t
    across = (difference - total * (radial / t)) * (t / (2 * length_z * length_w))
    sin2 = (across * across).sum(-1, keepdim=True) / 4
    rays = _Pair(root * length_z, root * length_w, z / length_z, root * radial, across, sin2)
    return far, rays


def _half_chord(far: Tensor, pair: _Pair) -> Tensor:
    radial = torch.sinh(pair.a_minus_b / 2)
    angular = torch.sqrt(torch.sinh(pair.a)) * torch.sqrt(torch.sinh(pair.b))
    across = angular * vector_norm(pair.n_minus_m) / 2
    zero = ~far | ((radial == 0) & (across == 0))
    return torch.where(zero, 0.0, torch.hypot(torch.where(zero, 1.0, radial), across))


def dist0(z: Tensor, c: Tensor | float) -> Tensor:
    """Return the distance to the origin, ``|z|``, shape ``(...)``; ``c`` plays no part."""
    (z,) = prepare(z)
    return vector_norm(z).squeeze(-1)


def dist(z: Tensor, w: Tensor, c: Tensor | float) -> Tensor:
    """Return the geodesic distance of points.

    Parameters
    ----------
    z, w : Tensor, shapes (..., n) that broadcast
        Logarithms of points at the origin.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (...)
        Distances; the gradient at coincident points is zero.
    """
    z, w = prepare(z, w)
    dtype = torch.promote_types(z.dtype, w.dtype)
    c, z, w = _wide(z, c, w)
    far, pair = _far_pair(z, w, c)
    near_z, near_w = (torch.where(far, 0.0, t) for t in (z, w))
    chord = lorentz_chord(sinhc(unit_norm(near_z, c)) * near_z, _cartesian(near_w, c), c)
    half = torch.where(far, _half_chord(far, pair), chord / 2)
    return (2 * asinh(half) / torch.sqrt(c)).squeeze(-1).to(dtype)


def _cartesian(z: Tensor, c: Tensor) -> Tensor:
    return sinhc(unit_norm(z, c)) * z


def egrad2rgrad(z: Tensor, g: Tensor, c: Tensor | float) -> Tensor:
    """Return the Riemannian gradient, carried to the origin, from autograd's gradient in ``z``.

    The radial part is kept and the part across the ray divided by ``sinh(a) / a``.
    """
    z, g = prepare(z, g)
    dtype = z.dtype
    c, z, g = _wide(z, c, g)
    a = unit_norm(z, c)
    per_length = 1 / sinhc(a)
    return (per_length * g + _along(z, a, g) * (1 - per_length)).to(dtype)


def gradient_to_lorentz(z: Tensor, g: Tensor, c: Tensor | float) -> Tensor:
    """Turn autograd's gradient in ``z`` into that in the space part ``x = exp_o(z)``.

    Parameters
    ----------
    z, g : Tensor, shape (..., n)
        Logarithms of points at the origin and the gradient with respect to them.
    c : Tensor or float
        Curvature magnitude, held fixed.

    Returns
    -------
    Tensor, shape (..., n)
        The radial part of ``g`` over ``cosh(a)``, the part across the ray over ``sinh(a) / a``.
    """
    z, g = prepare(z, g)
    dtype = z.dtype
    c, z, g = _wide(z, c, g)
    a = unit_norm(z, c)
    per_length = 1 / sinhc(a)
    return (per_length * g + _along(z, a, g) * (1 / torch.cosh(a) - per_length)).to(dtype)


def _along(z: Tensor, a: Tensor, g: Tensor) -> Tensor:
    """Return the part of ``g`` along the ray of ``z``; 0 at the origin."""
    n = z / torch.where(a > 0, vector_norm(z), 1.0)
    return (n * g).sum(-1, keepdim=True) * n


def expmap(z: Tensor, u: Tensor, c: Tensor | float) -> Tensor:
    """Exponential map at ``z``.

    Parameters
    ----------
    z : Tensor, shape (..., n)
        Logarithms of points at the origin.
    u : Tensor, shape (..., n)
        Tangent vectors at the points, carried to the origin.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., n)
        Logarithms at the origin of the end points of the geodesics.
    """
    z, u = prepare(z, u)
    dtype = z.dtype
    c, z, u = _wide(z, c, u)
    root = torch.sqrt(c)
    a = root * vector_norm(z)
    far = a >= _FAR
    near = _cartesian(torch.where(far, 0.0, z), c)
    moved = lorentz.logmap0(lorentz.expmap(near, lorentz.transp0(near, u, c), c), c)

    n = torch.where(far, root * z, 0.0) / torch.where(far, a, 1.0)
    a = torch.where(far, a, 0.0)
    u_r = root * (n * u).sum(-1, keepdim=True)
    u_across = root * u - u_r * n
    length = root * vector_norm(u)
    inward = u_r < 0
    # On the way in, sinh(a) cosh(l) + cosh(a) sinh(l) u_r / l is a small difference of these.
    turned = (u_across * u_across).sum(-1, keepdim=True) / torch.where(inward, length - u_r, 1.0)
    grown = sinhc(length)
    radial = torch.where(
        inward,
        torch.sinh(a - length) + torch.cosh(a) * grown * turned,
        torch.cosh(length) * torch.sinh(a) + torch.cosh(a) * grown * u_r,
    )
    end = torch.where(far, radial * n + grown * u_across, 0.0)
    return torch.where(far, asinhc(vector_norm(end)) * end / root, moved).to(dtype)


def logmap(z: Tensor, w: Tensor, c: Tensor | float) -> Tensor:
    """Logarithm of ``w`` at ``z``, carried to the origin: the inverse of :func:`expmap`."""
    z, w = prepare(z, w)
    dtype = z.dtype
    c, z, w = _wide(z, c, w)
    far, pair = _far_pair(z, w, c)
    near_z, near_w = (_cartesian(torch.where(far, 0.0, t), c) for t in (z, w))
    near = lorentz.transp0back(near_z, lorentz.logmap(near_z, near_w, c), c)
    half = _half_chord(far, pair)
    sinh_b = torch.sinh(pair.b)
    radial = torch.sinh(-pair.a_minus_b) - 2 * sinh_b * torch.cosh(pair.a) * pair.sin2
    across = 2 * pair.sin2 * pair.n - pair.n_minus_m
    vector = (asinhc(half) / hypot1(half)) * (radial * pair.n + sinh_b * across)
    return torch.where(far, vector / torch.sqrt(c), near).to(dtype)


def transp(z: Tensor, w: Tensor, v: Tensor, c: Tensor | float) -> Tensor:
    """Parallel transport of ``v`` along the geodesic from ``z`` to ``w``.

    Parameters
    ----------
    z, w : Tensor, shapes (..., n) that broadcast
        Logarithms of points at the origin.
    v : Tensor, shape (..., n)
        Tangent vectors at ``z``, carried to the origin.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., n)
        Tangent vectors at ``w``, carried to the origin: ``v`` turned by the angle defect of the
        triangle of the origin and the two points.
    """
    z, w, v = prepare(z, w, v)
    dtype = v.dtype
    c, z, w, v = _wide(z, c, w, v)
    far, pair = _far_pair(z, w, c)
    p, q = (_unit_ball(torch.where(far, 0.0, t), c) for t in (z, w))
    near = ball_rotation(p[0], q[0], v, p[1], q[1], 1.0)

    depth = torch.tanh(pair.a / 2) * torch.tanh(pair.b / 2)
    shallow = (
        torch.cosh(pair.a_minus_b / 2) / torch.cosh(pair.a / 2) / torch.cosh(pair.b / 2)
    )  # 1 - depth
    real = shallow + 2 * depth * pair.sin2
    size = shallow * shallow + 4 * depth * pair.sin2

    def turn(t: Tensor) -> Tensor:
        along = (pair.n * t).sum(-1, keepdim=True)
        return depth * (
            (pair.n_minus_m * t).sum(-1, keepdim=True) * pair.n - along * pair.n_minus_m
        )

    once = turn(v)
    turned = v + (2 / size) * (turn(once) - real * once)
    return torch.where(far, turned, near).to(dtype)


def _unit_ball(z: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Return the point of the unit Poincaré ball and one minus its square norm."""
    half = unit_norm(z, c) / 2
    sech = 1 / torch.cosh(half)
    return torch.sqrt(c) * tanhc(half) / 2 * z, sech * sech


def through_lorentz(z: Tensor, c: Tensor | float) -> tuple[Tensor, Tensor]:
    """Return space parts and curvature in the wide dtype, for averages."""
    (z,) = prepare(z)
    c, z = _wide(z, c)
    return _cartesian(z, c), c
