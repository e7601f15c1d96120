r"""The hyperplane layer's arithmetic, with its derivative written out.

Output coordinate j of a linear layer or a convolution of kind ``"hyperplane"`` is

.. math:: y_j = \cosh(t_j) \langle x_s, u_j\rangle + x_t |u_j| \sinh(t_j),
          \qquad t_j = \sqrt{c}\, a_j / |u_j|:

an ordinary product with scaled directions plus a rank-one term in the time parts. Autograd would
walk over the weights and the data about twice as often as the backward passes written here.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from hypeeg.nn.pointwise import point_norm, raw_norm

# The shortest length whose square and reciprocal are finite numbers.
_SHORTEST = {torch.float32: 2.0**-60, torch.float64: 2.0**-500}


def _parts(weight: Tensor, bias: Tensor, root: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return scaled directions, factors of time, 1 / lengths of the directions and cosh(t)."""
    length = torch.linalg.vector_norm(weight, dim=-1)
    # A direction of length zero with offset zero is no hyperplane: 0, not 0/0.
    length = length.clamp_min(_SHORTEST[weight.dtype])
    inverse = torch.reciprocal(length)
    t = bias * inverse * root
    cosh = torch.cosh(t)
    return weight * cosh.unsqueeze(-1), length * torch.sinh(t), inverse, cosh


def _gradients(
    grad_scaled: Tensor,
    grad_offset: Tensor,
    saved: tuple[Tensor, ...],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of weight and bias, and each row's part of that of log sqrt(c)."""
    weight, bias, root, offset, inverse, cosh = saved
    along = (grad_scaled * weight).sum(-1)
    sinh = offset * inverse
    grad_bias = torch.addcmul(sinh * (along * inverse), cosh, grad_offset) * root
    moved = grad_bias * bias
    per_length = torch.addcmul(sinh * grad_offset, moved, inverse, value=-1) * inverse
    grad_weight = (grad_scaled * cosh.unsqueeze(-1)).addcmul_(weight, per_length.unsqueeze(-1))
    return grad_weight, grad_bias, moved


class _Linear(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, bias: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        root = torch.sqrt(c).to(x.dtype)
        scaled, offset, inverse, cosh = _parts(weight, bias, root)
        time = torch.hypot(raw_norm(x).squeeze(-1), 1 / root)
        y = torch.mm(x, scaled.t())
        # The compiler of torch 2.11 loses the gradient of an output that was changed in place.
        y = torch.addr(y, time, offset) if is_compiling() else y.addr_(time, offset)
        return y, root, scaled, offset, inverse, cosh, time

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, *output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return None, None, None, None
        x, weight, bias, c, root, scaled, offset, inverse, cosh, time = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative: connect what was computed to its inputs
            root = torch.sqrt(c).to(x.dtype)
            scaled, offset, inverse, cosh = _parts(weight, bias, root)
            time = torch.hypot(point_norm(x).squeeze(-1), 1 / root)
        across = grad.t()
        grad_weight, grad_bias, moved = _gradients(
            torch.mm(across, x),
            torch.mv(across, time),
            (weight, bias, root, offset, inverse, cosh),
        )
        per_time = torch.mv(grad, offset) / time
        grad_x = None
        grad_c = None
        if ctx.needs_input_grad[0]:
            grad_x = torch.mm(grad, scaled).addcmul_(x, per_time.unsqueeze(-1))
        if ctx.needs_input_grad[3]:
            # moved / (2 c) through t, and -1 / (2 c^2 x_t) through time
            grad_c = (moved.sum() - per_time.sum() / c) / (2 * c)
        return grad_x, grad_weight, grad_bias, grad_c


class _Coefficients(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        weight: Tensor, bias: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        root = torch.sqrt(c).to(weight.dtype)
        scaled, offset, inverse, cosh = _parts(weight, bias, root)
        return scaled, offset, root, inverse, cosh

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[2:])
        ctx.save_for_backward(*inputs, *output[1:])

    @staticmethod
    def backward(
        ctx: Any, grad_scaled: Tensor, grad_offset: Tensor, *_: Tensor
    ) -> tuple[Tensor | None, ...]:
        weight, bias, c, offset, root, inverse, cosh = ctx.saved_tensors
        if torch.is_grad_enabled():
            root = torch.sqrt(c).to(weight.dtype)
            _scaled, offset, inverse, cosh = _parts(weight, bias, root)
        grad_weight, grad_bias, moved = _gradients(
            grad_scaled, grad_offset, (weight, bias, root, offset, inverse, cosh)
        )
        grad_c = moved.sum() / (2 * c) if ctx.needs_input_grad[2] else None
        return grad_weight, grad_bias, grad_c


def hyperplane_linear(x: Tensor, weight: Tensor, bias: Tensor, c: Tensor) -> Tensor:
    """Return the space parts of the hyperplane layer's output.

    Parameters
    ----------
    x : Tensor, shape (..., n)
        Space parts, float32 or float64, coordinates below 1e32 in float32.
    weight : Tensor, shape (out, n)
        Directions ``u_j``.
    bias : Tensor, shape (out,)
        Offsets ``a_j``.
    c : Tensor, 0-dimensional
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., out)
    """
    flat = x if x.dim() == 2 else x.reshape(-1, x.shape[-1])
    y: Tensor = _Linear.apply(flat, weight, bias, c)[0]
    return y if x.dim() == 2 else y.view(*x.shape[:-1], y.shape[-1])


def hyperplane_coefficients(weight: Tensor, bias: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the product and the rank-one term are taken with.

    Parameters
    ----------
    weight : Tensor, shape (out, n)
        Directions ``u_j``.
    bias : Tensor, shape (out,)
        Offsets ``a_j``.
    c : Tensor, 0-dimensional
        Curvature magnitude.

    Returns
    -------
    scaled : Tensor, shape (out, n)
        ``cosh(t_j) u_j``.
    offset : Tensor, shape (out,)
        ``|u_j| sinh(t_j)``, the factors of the time parts.
    """
    scaled, offset, *_ = _Coefficients.apply(weight, bias, c)
    return scaled, offset


# ``apply`` asks for the signature of ``forward`` at each call: found here, it is not worked out.
for _function in (_Linear, _Coefficients):
    _function.forward.__signature__ = inspect.signature(  # type: ignore[union-attr]
        _function.forward
    )
