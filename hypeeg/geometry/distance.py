r"""The Lorentz distance with its derivative in closed form.

Recording the some sixty operations of the haversine form and going back through them costs several
times the distance. With :math:`\rho = \sqrt c d`, directions n, m and :math:`\delta = n - m`, the
derivatives are sums of two vectors, of which neither cancels:

.. math:: \frac{\partial d}{\partial x} = \frac{\sqrt c}{\sinh\rho}\Bigl(
          (|x| - |y|)\,\frac{1 + \cosh(a - b)}{\gamma_x(\gamma_x + \gamma_y)}\,n + |y|\,\delta\Bigr)

and alike for y. Second derivatives are those of these formulas.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from hypeeg.geometry.numerics import Chord, chord_parts, hypot1
from hypeeg.geometry.series import asinh


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
    if recorded and forward_ad._current_level < 0:
        value: Tensor = _Distance.apply(x, y, c)[0]
        return value
    return _value(chord_parts(x, y, c), c)


class _Slopes(NamedTuple):
    """The gradient of distances.

    By x it is ``x_scaled * by_x + across * x_across``, with the point and the vector as in
    :class:`~hypeeg.geometry.numerics.Chord`; by y alike.
    """

    by_x: Tensor
    x_across: Tensor
    by_y: Tensor
    y_across: Tensor
    by_c: Tensor


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
        lead / gamma_x / t.length_x,
        (t.q * per_chord) * turn,
        -lead / gamma_y / t.length_y,
        -(t.p * per_chord) * turn,
        torch.where(none, 0.0, by_c),
    )


class _Distance(torch.autograd.Function):
    """The distance, and its slopes as further outputs without derivatives."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        parts = chord_parts(x, y, c)
        slopes = _slopes(parts, c)
        return _value(parts, c), parts.across, parts.scale_x, parts.scale_y, *slopes

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*inputs, *output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
        x, y, c, across, scale_x, scale_y, *slopes = ctx.saved_tensors
        by = _Slopes(*slopes)
        if torch.is_grad_enabled():  # for second derivatives: record the slopes
            parts = chord_parts(x, y, c)
            by, across = _slopes(parts, c), parts.across
        by_x = (grad * by.by_x) * (x * scale_x) + (grad * by.x_across) * across
        by_y = (grad * by.by_y) * (y * scale_y) + (grad * by.y_across) * across
        return _sum_to(by_x, x), _sum_to(by_y, y), _sum_to(grad * by.by_c, c)


def _sum_to(t: Tensor, like: Tensor) -> Tensor:
    """Sum over the dimensions along which ``like`` was broadcast."""
    extra = t.dim() - like.dim()
    if extra:
        t = t.sum(tuple(range(extra)))
    kept = [i for i, (a, b) in enumerate(zip(t.shape, like.shape, strict=True)) if a != b]
    return t.sum(kept, keepdim=True) if kept else t
