r"""The Lorentz distance with its derivative in closed form.

Recording the some sixty operations of the haversine form and going back through them costs several
times the distance. With :math:`\rho = \sqrt c d`, directions n, m and :math:`\delta = n - m`, the
derivatives are sums of two vectors, of which neither cancels:

.. math:: \frac{\partial d}{\partial x} = \frac{\sqrt c}{\sinh\rho}\Bigl(
          (|x| - |y|)\,\frac{1 + \cosh(a - b)}{\gamma_x(\gamma_x + \gamma_y)}\,n + |y|\,\delta\Bigr)

and alike for y. Second derivatives are those of these formulas.

Points in float32 have a faster way to the same numbers: what is computed per pair, not per
coordinate, is in float64, where the square of no float32 number overflows and hypotenuses are
plain square roots.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from hypeeg.geometry.numerics import Chord, chord_parts, hypot1, unit_scale, wide_dtype
from hypeeg.geometry.series import asinh

# In place of the length 0 of the origin; other points are scaled to lengths of 1 to 1/sqrt(n).
_NO_LENGTH = 1e-30


def distance(x: Tensor, y: Tensor, c: Tensor) -> Tensor:
    """Return the distances of points, ``(..., 1)``.

    Parameters
    ----------
    x, y : Tensor, shapes (..., n) that broadcast
        Space parts of one dtype.
    c : Tensor, shape () or (..., 1)
        Curvature magnitude in that dtype.

    Returns
    -------
    Tensor, shape (..., 1)
    """
    recorded = torch.is_grad_enabled() and (x.requires_grad or y.requires_grad or c.requires_grad)
    # Forward mode (torch.func.hessian) goes through the operations themselves.
    if forward_ad._current_level >= 0:
        return _value(chord_parts(x, y, c), c)
    if recorded:
        value: Tensor = _Distance.apply(x, y, c)[0]
        return value
    return _evaluate(x, y, c)[0]


class _Slopes(NamedTuple):
    """The gradient of distances.

    With ``u = x * scale_x``, ``v = y * scale_y`` and ``across = u - v - (u + v) * tilt``, that by x
    is ``u * by_x + across * x_across``; by y alike.
    """

    scale_x: Tensor
    scale_y: Tensor
    tilt: Tensor
    by_x: Tensor
    x_across: Tensor
    by_y: Tensor
    y_across: Tensor
    by_c: Tensor


def _evaluate(x: Tensor, y: Tensor, c: Tensor) -> tuple[Tensor, _Slopes]:
    if x.dtype == y.dtype == torch.float32 and wide_dtype(x) != torch.float32:
        return _evaluate_float32(x, y, c)
    parts = chord_parts(x, y, c)
    return _value(parts, c), _slopes(parts, c)


def _value(parts: Chord, c: Tensor) -> Tensor:
    return 2 * asinh(parts.chord / 2) / torch.sqrt(c)


def _slopes(t: Chord, c: Tensor) -> _Slopes:
    root = torch.sqrt(c)
    gamma_x, gamma_y = hypot1(t.p), hypot1(t.q)
    gamma = gamma_x + gamma_y
    cosh_half = hypot1(t.chord / 2)
    none = (t.chord == 0) | torch.isinf(t.chord)
    per_chord = torch.where(none, 0.0, 1 / torch.where(none, 1.0, t.chord))
    # In this order nothing overflows or vanishes while the result does not.
    lead = (root * t.gap * per_chord) * ((1 + hypot1(t.s)) / gamma) / cosh_half
    turn = t.per_across / cosh_half
    climb = t.s * (t.p * (gamma_y / gamma) + t.q * (gamma_x / gamma))  # gamma_x - gamma_y
    fall = (climb / gamma_x) * per_chord * (climb / gamma_y)
    by_c = ((t.chord - fall) / cosh_half / root - _value(t, c)) / (2 * c)
    return _Slopes(
        *(t.scale_x, t.scale_y, t.tilt),
        lead / gamma_x / t.length_x,
        (t.q * per_chord) * turn,
        -lead / gamma_y / t.length_y,
        -(t.p * per_chord) * turn,
        torch.where(none, 0.0, by_c),
    )


def _evaluate_float32(x: Tensor, y: Tensor, c: Tensor) -> tuple[Tensor, _Slopes]:
    """Return distances and slopes by the formulas of ``chord_parts`` and ``_slopes``."""
    c = c.double()
    root = torch.sqrt(c)
    # The sum of magnitudes does not overflow, and is a measure of length good enough to scale by.
    sum_x, sum_y = x.abs().sum(-1, keepdim=True), y.abs().sum(-1, keepdim=True)
    scale_x, scale_y = unit_scale(sum_x), unit_scale(sum_y)
    u = x * scale_x
    length_x, length_y = (_norm(t).clamp_min(_NO_LENGTH) for t in (u, y * scale_y))
    unit_x, unit_y = root / scale_x.double(), root / scale_y.double()
    p, q = length_x * unit_x, length_y * unit_y
    # Points of like length get one scale: their difference is then that of the coordinates.
    alike = (p < 1.5 * q) & (q < 1.5 * p)
    scale_y = torch.where(alike, scale_x, scale_y)
    length_y = torch.where(alike, q / unit_x, length_y)

    v = y * scale_y
    difference, total = u - v, u + v
    del u, v  # memory that is at hand again spares page faults, which cost more than arithmetic
    squares = (difference * total).sum(-1, keepdim=True).double()
    t, product = length_x + length_y, length_x * length_y
    apart = product > 1e5 * _NO_LENGTH
    # Where one point is the origin, the length of the other is t.
    tilt = torch.where(apart, squares / (t * t), 0.0).float()
    per_across = torch.where(apart, t / (2 * product), 1 / t)
    opening = _norm(torch.addcmul(difference, total, tilt, value=-1)) * per_across
    del difference, total

    gamma_x, gamma_y = torch.sqrt(1 + p * p), torch.sqrt(1 + q * q)
    reach, area = p + q, p * q
    squares = torch.where(alike, squares * (unit_x * unit_x), (p - q) * reach)  # p^2 - q^2
    s = squares / (p * gamma_y + q * gamma_x)  # sinh(a - b)
    s = s * s
    leap = 1 + torch.sqrt(1 + s)  # 1 + cosh(a - b)
    h = s / (2 * leap) + area * (opening * opening) / 4  # sinh(rho / 2)^2
    sinh_half, cosh_half = torch.sqrt(h), torch.sqrt(1 + h)
    value = _log1p(sinh_half + h / (1 + cosh_half)) * (2 / root)

    per_sinh = torch.where(h == 0, 0.0, 0.5 / (sinh_half * cosh_half))
    climb = squares / (gamma_x + gamma_y)  # gamma_x - gamma_y
    lead = climb * leap / reach * per_sinh
    turn = per_across * per_sinh
    pull = (4 * h - climb * climb / (gamma_x * gamma_y)) * (per_sinh / root)
    slopes = (
        lead / (gamma_x * length_x),
        q * turn,
        -lead / (gamma_y * length_y),
        -p * turn,
        (pull - value) / (2 * c),
    )
    # Infinite coordinates are beyond the dtype: so is the distance. NaN stays NaN.
    extent = sum_x + sum_y
    value = torch.where(torch.isinf(extent), extent, value.float())
    return value, _Slopes(scale_x, scale_y, tilt, *(t.float() for t in slopes))


def _norm(x: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm.double()


def _log1p(y: Tensor) -> Tensor:
    """Return ``log(1 + y)`` by the logarithm, which is many times as fast as ``torch.log1p``."""
    u = 1 + y
    return torch.log(u) + (y - (u - 1)) / u


class _Distance(torch.autograd.Function):
    """The distance, and its slopes as further outputs without derivatives."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        value, slopes = _evaluate(x, y, c)
        return value, *slopes

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*inputs, *output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, y, c, *slopes = ctx.saved_tensors
        by = _Slopes(*slopes)
        if torch.is_grad_enabled():  # for second derivatives: record the slopes
            by = _slopes(chord_parts(x, y, c), c)
        u, v = x * by.scale_x, y * by.scale_y
        by_x = by_y = by_c = None
        if all(ctx.needs_input_grad[:2]) and u.shape == v.shape and _may_overwrite():
            # The same in as little memory as there can be: fresh memory costs more than arithmetic.
            across = (u - v).sub_((u + v).mul_(by.tilt))
            by_x = u.mul_(grad * by.by_x).addcmul_(across, grad * by.x_across)
            by_y = v.mul_(grad * by.by_y).addcmul_(across, grad * by.y_across)
            if ctx.needs_input_grad[2]:
                by_c = _sum_to(grad * by.by_c, c)
            return by_x, by_y, by_c
        across = torch.addcmul(u - v, u + v, by.tilt, value=-1)
        if ctx.needs_input_grad[0]:
            by_x = torch.addcmul(across * (grad * by.x_across), u, grad * by.by_x)
            by_x = _sum_to(by_x, x)
        if ctx.needs_input_grad[1]:
            by_y = torch.addcmul(across * (grad * by.y_across), v, grad * by.by_y)
            by_y = _sum_to(by_y, y)
        if ctx.needs_input_grad[2]:
            by_c = _sum_to(grad * by.by_c, c)
        return by_x, by_y, by_c


def _may_overwrite() -> bool:
    """Whether tensors are plain ones: no graph is recorded, compiled or transformed."""
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return False
    return not torch._C._are_functorch_transforms_active()


def _sum_to(t: Tensor, like: Tensor) -> Tensor:
    """Sum over the dimensions along which ``like`` was broadcast."""
    extra = t.dim() - like.dim()
    if extra:
        t = t.sum(tuple(range(extra)))
    kept = [i for i, (a, b) in enumerate(zip(t.shape, like.shape, strict=True)) if a != b]
    return t.sum(kept, keepdim=True) if kept else t
