"""The numerics under the Lorentz model: norms and the chord, without cancellation or overflow.

Conventions are those of :mod:`hypeeg.geometry.lorentz`. Here ``c`` is already a tensor of the
points' dtype, and norms keep their last dimension.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def prepare(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Raise half-precision tensors to float32 and leave the others as they are."""
    return tuple(t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in tensors)


def as_curvature(c: Tensor | float, like: Tensor) -> Tensor:
    """Return ``c`` in the dtype and on the device of ``like``."""
    if isinstance(c, Tensor):
        return c.to(dtype=like.dtype) if c.dim() == 0 else c.to(dtype=like.dtype)[..., None]
    return torch.as_tensor(c, dtype=like.dtype, device=like.device)


def broadcast_shape(*shapes: torch.Size) -> torch.Size:
    """Return the shape to which shapes broadcast."""
    shape: torch.Size = torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call]
    return shape


def wide_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype for scalars per point that need more digits: float64 where it exists."""
    return torch.float32 if x.device.type == "mps" else torch.float64


def vector_norm(x: Tensor) -> Tensor:
    """Return the Euclidean norm over the last dimension, kept, without overflow.

    The gradient at zero is zero.
    """
    huge = x.detach().abs().amax(-1, keepdim=True) > 2.0**60
    scale = torch.where(huge, 2.0**-66, 1.0).to(x.dtype)
    norm: Tensor = torch.linalg.vector_norm(x * scale, dim=-1, keepdim=True)
    return norm / scale


def hypot1(p: Tensor) -> Tensor:
    """Return ``sqrt(1 + p^2)`` without overflow."""
    return torch.hypot(p, torch.ones_like(p))


def unit_norm(x: Tensor, c: Tensor) -> Tensor:
    """Return ``sqrt(c) |x_s|``, which is sinh of sqrt(c) times the distance to the origin."""
    return torch.sqrt(c) * vector_norm(x)


def tangent_norm(x: Tensor, u: Tensor, c: Tensor) -> Tensor:
    """Return the Riemannian norm of ``u`` at ``x``, last dimension kept."""
    return vector_norm(flatten_tangent(x, u, c))


def flatten_tangent(x: Tensor, u: Tensor, c: Tensor) -> Tensor:
    """Return ``(..., n + 1)`` vectors whose Euclidean products are the Riemannian ones at ``x``.

    Far from the origin: the part of ``u`` across the ray, and the radial part over
    ``sqrt(c) x_t``. Near it, where the ray has no derivative: ``u`` carried to the origin.
    """
    norm_x = vector_norm(x)
    p = torch.sqrt(c) * norm_x
    gamma = hypot1(p)
    far = p >= 1
    n = torch.where(far, x, 0.0) / torch.where(far, norm_x, 1.0)
    close = torch.where(far, 0.0, x)
    radial = (n * u).sum(-1, keepdim=True)
    carried = c * (close * u).sum(-1, keepdim=True) / (gamma * (1 + gamma)) * close
    return torch.cat([u - radial * n - carried, radial / gamma], dim=-1)


def lorentz_chord(x: Tensor, y: Tensor, c: Tensor) -> Tensor:
    """Return ``2 sinh(sqrt(c) d / 2)``, the Lorentz chord of unit curvature, last dim kept."""
    return chord_parts(x, y, c).chord


class Chord(NamedTuple):
    """The chord of two points and what it is made of; scalars per pair are ``(..., 1)``.

    Attributes
    ----------
    chord, angular : Tensor
        The chord and its angular part.
    s : Tensor
        ``sinh(a - b)``, a and b the scaled radii.
    gap : Tensor
        ``|x| - |y|``.
    p, q : Tensor
        Sinh of the scaled radii.
    scale_x, scale_y, length_x, length_y : Tensor
        Powers of two by which the points are scaled, and their lengths then (1 at the origin).
    tilt, per_across : Tensor
        With the scaled points u and v, ``(u - v - (u + v) * tilt) * per_across`` is the difference
        of the directions; if one of the points is the origin, it is the direction of x, or minus
        that of y.
    """

    chord: Tensor
    angular: Tensor
    s: Tensor
    gap: Tensor
    p: Tensor
    q: Tensor
    scale_x: Tensor
    scale_y: Tensor
    length_x: Tensor
    length_y: Tensor
    tilt: Tensor
    per_across: Tensor


def unit_scale(norm: Tensor) -> Tensor:
    """Return the powers of two that scale positive numbers to between 1 and 2, by their bits.

    That of zero is the largest there is, and that of what is not finite the smallest.
    """
    if norm.dtype == torch.float64:
        integer, mantissa, bias = torch.int64, 52, 2046
    else:
        integer, mantissa, bias = torch.int32, 23, 254
    exponent = norm.view(integer) >> mantissa
    scale = (bias - exponent).clamp_min(1) << mantissa
    return scale.view(norm.dtype)


def chord_parts(x: Tensor, y: Tensor, c: Tensor) -> Chord:
    """Return the chord of two points with its parts.

    With a, b the scaled radii, p = sinh a, q = sinh b and theta the angle between the points,
    ``2 (cosh sqrt(c)d - 1) = 2 (cosh(a - b) - 1) + 2 p q (1 - cos theta)``: a radial and an angular
    part, both non-negative. Both come from differences of coordinates, formed first. Each point
    is scaled to about unit length by a power of two, which is exact, so that nothing overflows
    and the difference of directions loses no digits when the radii differ.
    """
    root = torch.sqrt(c)
    norm_x, norm_y = vector_norm(x), vector_norm(y)
    p, q = root * norm_x, root * norm_y
    safe_x, safe_y = torch.where(p > 0, norm_x, 1.0), torch.where(q > 0, norm_y, 1.0)
    apart = (p > 0) & (q > 0)
    with torch.no_grad():
        # Points of like length get one scale: their difference is then that of the coordinates.
        alike = (norm_x < 1.5 * norm_y) & (norm_y < 1.5 * norm_x)
        scale_x, scale_y = unit_scale(safe_x.detach()), unit_scale(safe_y.detach())
        scale_y = torch.where(alike, scale_x, scale_y)
        largest = torch.maximum(p, q)
        largest = torch.where(largest > 0, largest, 1.0)
    x_scaled, y_scaled = x * scale_x, y * scale_y
    difference, total = x_scaled - y_scaled, x_scaled + y_scaled
    length_x, length_y = safe_x * scale_x, safe_y * scale_y
    t = length_x + length_y
    squares = (difference * total).sum(-1, keepdim=True)  # |x|^2 - |y|^2, scaled

    # (|x|^2 - |y|^2) c / largest: from the coordinates where the radii are alike.
    exact = squares * (root / scale_x / largest) * (root / scale_x)
    radial = torch.where(alike, exact, (p - q) * (p / largest + q / largest))
    weight = p / largest * hypot1(q) + q / largest * hypot1(p)
    s = radial / torch.where(weight > 0, weight, 1.0)
    # In this order the derivative survives s = 1e30: 2 / (1 + hypot)^2 would underflow.
    radial_chord = s / torch.sqrt((1 + hypot1(s)) / 2)

    # The difference of the unit vectors, times the harmonic mean of the scaled lengths.
    tilt = torch.where(apart, squares / t / t, 0.0)
    across = difference - total * tilt
    per_across = torch.where(
        apart, t / (2 * length_x * length_y), 1 / torch.where(p > 0, length_x, length_y)
    )
    opening = vector_norm(across) * per_across  # 2 sin(theta / 2)
    angular_chord = opening * torch.sqrt(root * safe_x) * torch.sqrt(root * safe_y)
    angular_chord = torch.where(apart, angular_chord, 0.0)

    zero = (radial_chord == 0) & (angular_chord == 0)
    chord = torch.hypot(torch.where(zero, 1.0, radial_chord), angular_chord)
    # A point at the origin has no direction to differentiate; x.y, which is zero there, has one.
    touch = torch.where(apart, 0.0, (x * y).sum(-1, keepdim=True))
    chord = chord - c * touch / chord
    chord = torch.where(zero, 0.0, chord)
    # Infinite coordinates are beyond the dtype: so is the distance. NaN stays NaN.
    beyond = torch.isinf(norm_x) | torch.isinf(norm_y)
    chord = torch.where(beyond, (norm_x + norm_y).detach(), chord)
    gap = torch.where(apart & alike, squares / t / scale_x, norm_x - norm_y)
    return Chord(
        *(chord, angular_chord, s, gap, p, q),
        *(scale_x, scale_y, length_x, length_y, tilt, per_across),
    )


def ball_rotation(
    p: Tensor, q: Tensor, v: Tensor, gap_p: Tensor, gap_q: Tensor, c: Tensor | float
) -> Tensor:
    """Return ``gyr[q, -p] v``, the turn of vectors on the way origin, p, q, origin.

    ``p``, ``q`` are points of the Poincaré ball of curvature ``-c`` and ``gap_p``, ``gap_q`` their
    ``1 - c|p|^2``. With ``K v = c (q<p,v> - p<q,v>)`` it is the rotation by twice the angle of
    ``1 - c<p,q> + i|K|`` in the plane of p and q, written by differences only.
    """
    difference = q - p
    square = c * (difference * difference).sum(-1, keepdim=True)
    real = (gap_p + gap_q + square) / 2
    size = square + gap_p * gap_q

    def turn(w: Tensor) -> Tensor:
        along = (p * w).sum(-1, keepdim=True)
        return c * (along * difference - (difference * w).sum(-1, keepdim=True) * p)

    once = turn(v)
    return v + (2 / size) * (turn(once) - real * once)
