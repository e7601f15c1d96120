"""The inverse hyperbolic sine of large arrays."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def asinh_and_slope(a: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``asinh(a)`` and ``sqrt(1 + a^2)``, without a graph of their own."""
    size = a.abs()
    cosh = torch.hypot(size, size.new_ones(()))
    y = (size / (1 + cosh)).mul_(size).add_(size)
    u = 1 + y
    # log(1 + y): the logarithm of the rounded sum, and what rounding has left out.
    left_out = y.sub_(u - 1).div_(u)
    return u.log_().add_(left_out).copysign_(a), cosh


class _Asinh(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor) -> Tensor:
        return asinh_and_slope(a)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.save_for_forward(inputs[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (a,) = ctx.saved_tensors
        return grad / torch.hypot(a, a.new_ones(()))

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        (a,) = ctx.saved_tensors
        return tangent / torch.hypot(a, a.new_ones(()))


def fast_asinh(a: Tensor) -> Tensor:
    """Return ``asinh(a)`` from one logarithm: several times as fast as ``torch.asinh`` on a CPU.

    The relative error is a few units of the last digit for every finite ``a``, and the derivative
    ``1 / sqrt(1 + a^2)`` does not overflow.
    """
    result: Tensor = _Asinh.apply(a)
    return result
