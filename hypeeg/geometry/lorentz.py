r"""The Lorentz model of hyperbolic space as functions on space parts.

One convention throughout: ``c > 0`` and the space has constant sectional curvature ``-c``. A
point of the upper hyperboloid :math:`-x_t^2 + |x_s|^2 = -1/c` is given by its space part
``x_s``, a tensor ``(..., n)``; the time part :math:`x_t = \sqrt{1/c + |x_s|^2}` is derived where
a formula needs it. The origin is ``o = 0``. A tangent vector at ``x`` is given by its space part
too, ``v_s`` of shape ``(..., n)``, its time part being :math:`\langle x_s, v_s\rangle / x_t`; a
tangent vector at the origin has no time part and is an ordinary vector.

``c`` is a positive number or a tensor that broadcasts against the leading dimensions of the
points (usually 0-dimensional); gradients flow through it. Every function works in float32 or
float64 and raises half precision to float32, also under autocast. Distances use the haversine
form: no inner product is clamped, near and coincident points have exact distances and finite
gradients, and what float32 cannot represent is ``inf``, never a wrong number.

References
----------
.. [1] A. Bdeir, N. Landwehr: Robust Hyperbolic Learning with Curvature-Aware Optimization,
   arXiv 2405.13979 (exponential and logarithmic maps, transport, centroid, rescaling).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hypeeg.geometry.series import asinh, asinhc, sinhc, tanhc

# Largest x_t sqrt(c) for which x_t^2 - |x_s|^2 is still more than rounding noise.
_MAX_COSH = {torch.float32: 2e3, torch.float64: 5e7}


def prepare(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Raise half-precision tensors to float32 and leave the others as they are."""
    return tuple(t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in tensors)


def _curvature(c: Tensor | float, like: Tensor) -> Tensor:
    """Return ``c`` in the dtype and on the device of ``like``."""
    if isinstance(c, Tensor):
        return c.to(dtype=like.dtype) if c.dim() == 0 else c.to(dtype=like.dtype)[..., None]
    return torch.as_tensor(c, dtype=like.dtype, device=like.device)


def vector_norm(x: Tensor) -> Tensor:
    """Return the Euclidean norm over the last dimension, kept, without overflow.

    The gradient at zero is zero.
    """
    huge = x.detach().abs().amax(-1, keepdim=True) > 2.0**60
    scale = torch.where(huge, 2.0**-66, 1.0).to(x.dtype)
    norm: Tensor = torch.linalg.vector_norm(x * scale, dim=-1, keepdim=True)
    return norm / scale


def _hypot1(p: Tensor) -> Tensor:
    """Return ``sqrt(1 + p^2)`` without overflow."""
    return torch.hypot(p, torch.ones_like(p))


def _unit_norm(x: Tensor, c: Tensor) -> Tensor:
    """Return ``sqrt(c) |x_s|``, which is sinh of sqrt(c) times the distance to the origin."""
    return torch.sqrt(c) * vector_norm(x)


# --------------------------------------------------------------------------- coordinates


def time(x: Tensor, c: Tensor | float) -> Tensor:
    """Return the time part of points.

    Parameters
    ----------
    x : Tensor, shape (..., n)
        Space parts.
    c : Tensor or float
        Curvature magnitude, positive.

    Returns
    -------
    Tensor, shape (..., 1)
        ``sqrt(1/c + |x|^2)``.
    """
    (x,) = prepare(x)
    c = _curvature(c, x)
    return _hypot1(_unit_norm(x, c)) / torch.sqrt(c)


def to_ambient(x: Tensor, c: Tensor | float) -> Tensor:
    """Return points with their time part first, shape ``(..., n + 1)``."""
    (x,) = prepare(x)
    return torch.cat([time(x, c), x], dim=-1)


def from_ambient(x: Tensor) -> Tensor:
    """Return the space part of ambient points ``(..., n + 1)``, time first.

    This is also the projection onto the hyperboloid: the given time part is dropped and the
    right one is derived where it is needed.
    """
    return x[..., 1:]


def tangent_to_ambient(x: Tensor, v: Tensor, c: Tensor | float) -> Tensor:
    """Return tangent vectors at ``x`` with their time part first, shape ``(..., n + 1)``."""
    x, v = prepare(x, v)
    v_t = (x * v).sum(-1, keepdim=True) / time(x, c)
    return torch.cat([v_t, v], dim=-1)


def proj_tangent(x: Tensor, v: Tensor, c: Tensor | float) -> Tensor:
    """Project ambient vectors onto the tangent space at ``x``.

    Parameters
    ----------
    x : Tensor, shape (..., n)
        Space parts of the base points.
    v : Tensor, shape (..., n + 1)
        Ambient vectors, time first.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., n)
        Space part of ``v + c <x, v> x``.
    """
    x, v = prepare(x, v)
    inner_xv = (x * v[..., 1:]).sum(-1, keepdim=True) - time(x, c) * v[..., :1]
    return v[..., 1:] + _curvature(c, x) * inner_xv * x


def egrad2rgrad(x: Tensor, g: Tensor, c: Tensor | float) -> Tensor:
    """Turn the gradient with respect to space parts into the Riemannian gradient.

    ``g`` is what autograd returns when time is derived from ``x``; the inverse metric in that
    chart is ``I + c x x^T``.

    Parameters
    ----------
    x, g : Tensor, shape (..., n)
        Space parts and the gradient with respect to them.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., n)
        Space part of the Riemannian gradient at ``x``.
    """
    x, g = prepare(x, g)
    return g + _curvature(c, x) * (x * g).sum(-1, keepdim=True) * x


# --------------------------------------------------------------------------- metric


def inner(x: Tensor, u: Tensor, v: Tensor, c: Tensor | float) -> Tensor:
    """Return the Riemannian inner product of tangent vectors ``u`` and ``v`` at ``x``.

    The radial components are divided by ``c x_t^2`` instead of being subtracted from the time
    parts, so nothing cancels far from the origin.

    Returns
    -------
    Tensor, shape (...)
    """
    x, u, v = prepare(x, u, v)
    c = _curvature(c, x)
    norm_x = vector_norm(x)
    n = x / torch.where(norm_x > 0, norm_x, 1.0)
    u_r = (n * u).sum(-1, keepdim=True)
    v_r = (n * v).sum(-1, keepdim=True)
    gamma = _hypot1(torch.sqrt(c) * norm_x)
    across = ((u - u_r * n) * (v - v_r * n)).sum(-1)
    return across + ((u_r / gamma) * (v_r / gamma)).squeeze(-1)


def norm(x: Tensor, u: Tensor, c: Tensor | float) -> Tensor:
    """Return the Riemannian norm of tangent vectors ``u`` at ``x``, shape ``(...)``.

    The gradient at ``u = 0`` is zero.
    """
    return _norm_keep(x, u, _curvature(c, prepare(x)[0])).squeeze(-1)


def _norm_keep(x: Tensor, u: Tensor, c: Tensor) -> Tensor:
    x, u = prepare(x, u)
    norm_x = vector_norm(x)
    n = x / torch.where(norm_x > 0, norm_x, 1.0)
    u_r = (n * u).sum(-1, keepdim=True)
    gamma = _hypot1(torch.sqrt(c) * norm_x)
    return vector_norm(torch.cat([u - u_r * n, u_r / gamma], dim=-1))


def dist0(x: Tensor, c: Tensor | float) -> Tensor:
    """Return the distance of points to the origin, ``asinh(sqrt(c) |x|) / sqrt(c)``.

    Parameters
    ----------
    x : Tensor, shape (..., n)
        Space parts.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (...)
    """
    (x,) = prepare(x)
    c = _curvature(c, x)
    norm_x = vector_norm(x)
    return (asinh(torch.sqrt(c) * norm_x) / torch.sqrt(c)).squeeze(-1)


def _chord(x: Tensor, y: Tensor, c: Tensor) -> Tensor:
    """Return ``2 sinh(sqrt(c) d / 2)``, the Lorentz chord of unit curvature, last dim kept.

    With a, b the scaled radii, p = sinh a, q = sinh b and theta the angle between the points,
    ``2 (cosh sqrt(c)d - 1) = 2 (cosh(a - b) - 1) + 2 p q (1 - cos theta)``: a radial and an angular
    part, both non-negative. sinh(a - b) comes from the difference of the coordinates, formed
    first. For the angular part ``y`` is first scaled by a power of two to about the length of
    ``x``: exact, and the difference of directions then loses no digits when the radii differ.
    """
    root = torch.sqrt(c)
    norm_x, norm_y = vector_norm(x), vector_norm(y)
    p, q = root * norm_x, root * norm_y
    apart = (p > 0) & (q > 0)
    with torch.no_grad():
        ratio = torch.where(apart, norm_x, 1.0) / torch.where(apart, norm_y, 1.0)
        most = math.log2(torch.finfo(x.dtype).max) - 2
        power = torch.exp2(torch.round(torch.log2(ratio)).clamp(-most, most))
        shrink = torch.where(norm_x > 2.0**60, 2.0**-66, 1.0).to(x.dtype)
        largest = torch.maximum(p, q)
        largest = torch.where(largest > 0, largest, 1.0)
    x_scaled, y_scaled = x * shrink, y * (power * shrink)
    difference, total = x_scaled - y_scaled, x_scaled + y_scaled
    q_scaled = q * power

    p_part, q_part = p / largest, q / largest
    # (D.S) / largest: from the coordinates where the radii are alike, from the norms otherwise.
    part = difference * (root / (shrink * largest))
    alike = (part * total).sum(-1, keepdim=True) * (root / shrink)
    radial = torch.where(power == 1.0, alike, (p - q) * (p_part + q_part))
    weight = p_part * _hypot1(q) + q_part * _hypot1(p)
    s = radial / torch.where(weight > 0, weight, 1.0)
    # In this order the derivative survives s = 1e30: 2 / (1 + hypot)^2 would underflow.
    radial_chord = s / torch.sqrt((1 + _hypot1(s)) / 2)

    p_safe = torch.where(apart, p, 1.0)
    q_safe = torch.where(apart, q_scaled, 1.0)
    t = p_safe + q_safe
    # (p - q) (p + q) over (p + q)^2, again from the coordinates.
    slope = (difference * (root / (shrink * t))) * (total * (root / (shrink * t)))
    direction = difference - total * slope.sum(-1, keepdim=True)
    stretch = torch.sqrt(t / (2 * p_safe)) * torch.sqrt(t / (2 * q_safe)) / torch.sqrt(power)
    angular_chord = torch.where(apart, vector_norm(direction) * (root / shrink) * stretch, 0.0)

    zero = (radial_chord == 0) & (angular_chord == 0)
    chord = torch.hypot(torch.where(zero, 1.0, radial_chord), angular_chord)
    chord = torch.where(zero, 0.0, chord)
    # Infinite coordinates are beyond the dtype: so is the distance.
    return torch.where(torch.isinf(norm_x) | torch.isinf(norm_y), torch.inf, chord)


def dist(x: Tensor, y: Tensor, c: Tensor | float) -> Tensor:
    """Return the geodesic distance between points.

    Parameters
    ----------
    x, y : Tensor, shapes (..., n) that broadcast
        Space parts.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (...)
        Distances; ``inf`` where the coordinates or the distance exceed the dtype. The gradient at
        coincident points is zero.

    Notes
    -----
    Haversine form. In float32 the relative error stays near 1e-7 for random and for near
    pairs up to radius 40; pairs on one ray lose digits with ``exp(radius)``, which is the
    rounding of the coordinates themselves.
    """
    x, y = prepare(x, y)
    c = _curvature(c, x)
    half_chord = _chord(x, y, c) / 2
    return (2 * asinh(half_chord) / torch.sqrt(c)).squeeze(-1)


def dist_pairwise(x: Tensor, y: Tensor, c: Tensor | float) -> Tensor:
    """Return all distances between two sets of points.

    Parameters
    ----------
    x : Tensor, shape (..., N, n)
    y : Tensor, shape (..., M, n)
        Space parts.
    c : Tensor or float
        Curvature magnitude, 0-dimensional.

    Returns
    -------
    Tensor, shape (..., N, M)
    """
    return dist(x.unsqueeze(-2), y.unsqueeze(-3), c)


def sqdist_lorentz(x: Tensor, y: Tensor, c: Tensor | float) -> Tensor:
    """Return the squared Lorentz distance ``-2/c - 2 <x, y>``, shape ``(...)``.

    Computed from the haversine chord, so it does not cancel for near points.
    """
    x, y = prepare(x, y)
    c = _curvature(c, x)
    return (_chord(x, y, c) ** 2 / c).squeeze(-1)


# --------------------------------------------------------------------------- maps


def expmap0(z: Tensor, c: Tensor | float) -> Tensor:
    """Exponential map at the origin.

    Parameters
    ----------
    z : Tensor, shape (..., n)
        Tangent vectors at the origin; their length is the distance travelled.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., n)
        Space parts ``sinh(sqrt(c)|z|) / (sqrt(c)|z|) z``.
    """
    (z,) = prepare(z)
    c = _curvature(c, z)
    return sinhc(_unit_norm(z, c)) * z


def logmap0(x: Tensor, c: Tensor | float) -> Tensor:
    """Logarithm at the origin, the inverse of :func:`expmap0`; shapes ``(..., n)``."""
    (x,) = prepare(x)
    c = _curvature(c, x)
    return asinhc(_unit_norm(x, c)) * x


def expmap(x: Tensor, u: Tensor, c: Tensor | float) -> Tensor:
    """Exponential map at ``x``.

    Parameters
    ----------
    x : Tensor, shape (..., n)
        Space parts of the base points.
    u : Tensor, shape (..., n)
        Space parts of tangent vectors at ``x``.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., n)
        Space parts of the points at the end of the geodesics.
    """
    x, u = prepare(x, u)
    c = _curvature(c, x)
    length = torch.sqrt(c) * _norm_keep(x, u, c)
    half = length / 2
    # cosh(a) x = x + 2 sinh^2(a/2) x: the step itself keeps its digits when it is short.
    return x + (2 * (half * sinhc(half)) ** 2 * x + sinhc(length) * u)


def logmap(x: Tensor, y: Tensor, c: Tensor | float) -> Tensor:
    """Logarithm at ``x``: the tangent vector at ``x`` that leads to ``y``.

    Parameters
    ----------
    x, y : Tensor, shapes (..., n) that broadcast
        Space parts.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., n)
        Space parts of tangent vectors at ``x``, of length ``dist(x, y)``.
    """
    x, y = prepare(x, y)
    c = _curvature(c, x)
    chord = _chord(x, y, c)
    half = chord / 2
    distance = 2 * half * asinhc(half)
    return ((y - x) - (chord * chord / 2) * x) / sinhc(distance)


def transp(x: Tensor, y: Tensor, v: Tensor, c: Tensor | float) -> Tensor:
    """Parallel transport of tangent vectors along the geodesic from ``x`` to ``y``.

    Parameters
    ----------
    x, y : Tensor, shapes (..., n) that broadcast
        Space parts of start and end.
    v : Tensor, shape (..., n)
        Space parts of tangent vectors at ``x``.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., n)
        Space parts of tangent vectors at ``y``, of the same Riemannian norm.
    """
    x, y, v = prepare(x, y, v)
    c = _curvature(c, x)
    chord = _chord(x, y, c)
    difference, total = y - x, x + y
    x_t, y_t = time(x, c), time(y, c)
    v_t = (x * v).sum(-1, keepdim=True) / x_t
    rise = (difference * total).sum(-1, keepdim=True) / (x_t + y_t)
    # <y, v> = <y - x, v>, since v is tangent at x.
    inner_yv = (difference * v).sum(-1, keepdim=True) - rise * v_t
    return v + c * inner_yv / (2 + chord * chord / 2) * total


def transp0(x: Tensor, v: Tensor, c: Tensor | float) -> Tensor:
    """Parallel transport of tangent vectors at the origin to ``x``; shapes ``(..., n)``."""
    x, v = prepare(x, v)
    c = _curvature(c, x)
    gamma = _hypot1(_unit_norm(x, c))
    return v + c * (x * v).sum(-1, keepdim=True) / (1 + gamma) * x


def transp0back(x: Tensor, v: Tensor, c: Tensor | float) -> Tensor:
    """Parallel transport of tangent vectors at ``x`` to the origin; shapes ``(..., n)``."""
    x, v = prepare(x, v)
    c = _curvature(c, x)
    gamma = _hypot1(_unit_norm(x, c))
    return v - c * ((x / gamma) * v).sum(-1, keepdim=True) / (1 + gamma) * x


# --------------------------------------------------------------------------- averages


def centroid(x: Tensor, c: Tensor | float, w: Tensor | None = None) -> Tensor:
    """Weighted Lorentz centroid over the second last dimension.

    Parameters
    ----------
    x : Tensor, shape (..., N, n)
        Space parts.
    c : Tensor or float
        Curvature magnitude, 0-dimensional.
    w : Tensor, shape (..., N), optional
        Non-negative weights of any scale, not all zero. Equal weights by default.

    Returns
    -------
    Tensor, shape (..., n)
        Space part of ``s / (sqrt(c) |s|)`` with ``s`` the weighted sum of the points.

    Notes
    -----
    ``|s|^2`` is not taken as time minus space, which cancels far from the origin, but split at a
    first estimate of the centroid: the weighted mean of ``cosh`` of the distances to it, squared,
    less the squared length of the small tangential rest. The identity holds for any splitting
    point, so the estimate carries no gradient.
    """
    (x,) = prepare(x)
    c = _curvature(c, x)
    if w is None:
        weights = torch.full_like(x[..., :1], 1 / x.shape[-2])
    else:
        weights = prepare(w)[0].to(x.dtype).unsqueeze(-1)
        weights = weights / weights.sum(-2, keepdim=True)
    space = (weights * x).sum(-2, keepdim=True)
    with torch.no_grad():
        mean_time = (weights * time(x, c)).sum(-2, keepdim=True)
        # cosh >= 1, so with weights that sum to one |s|^2 >= 1/c: the bound is exact.
        rough = c * (mean_time**2 - (space * space).sum(-1, keepdim=True))
        reference = space / torch.sqrt(rough.clamp(min=1.0))
    cosh_mean = 1 + (weights * _chord(x, reference, c) ** 2).sum(-2, keepdim=True) / 2
    rest = torch.sqrt(c) * _norm_keep(reference, space - cosh_mean * reference, c)
    return (space / torch.sqrt((cosh_mean - rest) * (cosh_mean + rest))).squeeze(-2)


# --------------------------------------------------------------------------- rescaling


def max_dist(c: Tensor | float, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the radius ``D_max`` within which points of a dtype keep their geometry.

    ``0.9 acosh(kappa) / sqrt(c)`` with kappa = 2e3 in float32 (and below), 5e7 in float64: beyond
    it ``x_t^2 - |x_s|^2`` is rounding noise [1]_.
    """
    compute = dtype if dtype == torch.float64 else torch.float32
    c = torch.as_tensor(c, dtype=compute)
    return _rho_max(compute) / torch.sqrt(c)


def _rho_max(dtype: torch.dtype) -> float:
    return 0.9 * math.acosh(_MAX_COSH[dtype])


def rescale(
    x: Tensor,
    c: Tensor | float,
    slope: Tensor | float = 3.0,
    max_dist: Tensor | float | None = None,
) -> Tensor:
    """Maximum-distance rescaling: pull points smoothly inside radius ``D_max`` [1]_.

    ``r' = D_max tanh(r atanh(0.99) / (slope D_max))`` along each ray.

    Parameters
    ----------
    x : Tensor, shape (..., n)
        Space parts.
    c : Tensor or float
        Curvature magnitude.
    slope : Tensor or float, default 3.0
        At least 2.65, below which small norms would grow.
    max_dist : Tensor or float, optional
        ``D_max`` in units of distance; by default :func:`max_dist` of ``c`` and the dtype.

    Returns
    -------
    Tensor, shape (..., n)

    Raises
    ------
    ValueError
        If ``slope`` is a number below 2.65 or ``max_dist`` is not positive.
    """
    (x,) = prepare(x)
    if not isinstance(slope, Tensor) and not slope >= 2.65:
        raise ValueError(f"slope must be at least 2.65, or small norms grow; got {slope}")
    c = _curvature(c, x)
    if max_dist is None:
        cap: Tensor | float = _rho_max(x.dtype)
    elif isinstance(max_dist, Tensor):
        cap = torch.sqrt(c) * max_dist.to(x.dtype)
    elif max_dist > 0:
        cap = torch.sqrt(c) * max_dist
    else:
        raise ValueError(f"max_dist must be positive; got {max_dist}")
    p = _unit_norm(x, c)
    per_radius = asinhc(p)  # rho / p
    rate = math.atanh(0.99) / slope
    shrink = rate * tanhc(p * per_radius * rate / cap)  # rho' / rho
    return sinhc(p * per_radius * shrink) * shrink * per_radius * x
