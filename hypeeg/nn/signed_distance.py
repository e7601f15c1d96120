"""Signed distances to many hyperplanes at once, as one function with a short backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hypeeg.nn.arcsinh import asinh_and_slope, fast_asinh

# Norms are at least this where they divide: a direction that vanishes takes its quotient along.
_TINY = 1e-16


def _planes(z: Tensor, a: Tensor, c: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    # sqrt(c) alpha / |z| is a product of the space parts with the rows of the first, plus that of
    # the time parts with the second: a vanishing direction has distance 0 after the factor |z|,
    # whatever its unit vector is.
    root = torch.sqrt(c)
    offset = root * a
    cosh = torch.cosh(offset)
    unit = root * cosh / length.clamp(min=_TINY)
    return unit, -torch.sinh(offset), cosh


def _time(x: Tensor, c: Tensor) -> Tensor:
    return torch.sqrt(1 + c * (x * x).sum(-1))


def _plain(x: Tensor, z: Tensor, a: Tensor, c: Tensor) -> Tensor:
    c = c.to(x.dtype)
    length = torch.linalg.vector_norm(z, dim=-1)
    unit, offset, _ = _planes(z, a, c, length)
    alpha = torch.addr(torch.mm(x, (unit.unsqueeze(-1) * z).t()), _time(x, c), offset)
    distances: Tensor = fast_asinh(alpha) * (length / torch.sqrt(c))
    return distances


class _SignedDistance(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, z: Tensor, a: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        c = c.to(x.dtype)
        length = (z * z).sum(-1).sqrt()
        unit, offset, cosh = _planes(z, a, c, length)
        planes = unit.unsqueeze(-1) * z
        time = _time(x, c)
        # Not one product in ambient coordinates: with an odd number of columns, what a row of it
        # is in the last digit depends on its place in the batch.
        angle, slope = asinh_and_slope(torch.mm(x, planes.t()).addr_(time, offset))
        distances = angle * (length / torch.sqrt(c))
        return distances, time, planes, angle, slope, length, unit, offset, cosh

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, *output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, z, a, c, time, planes, angle, slope, length, unit, offset, cosh = ctx.saved_tensors
        if grad is None:
            return None, None, None, None
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            # To be differentiated again: what was kept above does not know its derivatives.
            return torch.func.vjp(_plain, x, z, a, c)[1](grad)  # type: ignore[no-any-return]
        c_own, c = c, c.to(x.dtype)
        root = torch.sqrt(c)
        safe = length.clamp(min=_TINY)
        d_length = torch.linalg.vecdot(grad, angle, dim=0) / root
        d_alpha = (grad * (length / root)).div_(slope)
        d_rows = torch.mm(d_alpha.t(), x)
        d_last = torch.mv(d_alpha.t(), time)

        # planes = root cosh(root a) z / |z|, offset = -sinh(root a)
        along = unit * torch.linalg.vecdot(d_rows, z)
        d_offset = along.mul(offset).div_(cosh).addcmul_(d_last, cosh).neg_()
        per_direction = ((d_length - along / safe) / safe).unsqueeze(-1)
        d_z = torch.addcmul(unit.unsqueeze(-1) * d_rows, per_direction, z)

        d_square = torch.mv(d_alpha, offset) / time
        d_x = torch.mm(d_alpha, planes).addcmul_(x, (d_square * c).unsqueeze(-1))
        d_root = torch.dot(d_offset, a)
        d_root = d_root + (along.sum() - torch.dot(d_length, length)) / root
        d_c = (d_root / root + (d_square * (time * time - 1)).sum() / c) / 2
        return d_x, d_z, d_offset * root, d_c.to(c_own.dtype)


def signed_distances(x: Tensor, z: Tensor, a: Tensor, c: Tensor) -> Tensor:
    r"""Return ``|z_k|`` times the signed distances of points to hyperplanes.

    Parameters
    ----------
    x : Tensor, shape (..., n)
        Space parts.
    z : Tensor, shape (K, n)
        Directions of the hyperplanes.
    a : Tensor, shape (K,)
        Their distances from the origin along ``z_k``.
    c : Tensor, 0-dimensional
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., K)
        ``|z|/sqrt(c) asinh(sqrt(c) alpha/|z|)`` with ``alpha = cosh(sqrt(c) a) <x, z> -
        sinh(sqrt(c) a) |z| x_t``; zero for ``z = 0``.
    """
    flat = x if x.dim() == 2 else x.reshape(-1, x.shape[-1])
    result: Tensor = _SignedDistance.apply(flat, z, a, c)[0]
    return result if x.dim() == 2 else result.view(*x.shape[:-1], result.shape[-1])
