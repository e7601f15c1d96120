"""Logarithm of symmetric positive-definite matrices, as vectors."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class _SymmetricLogarithm(torch.autograd.Function):
    """Matrix logarithm whose derivative is finite where eigenvalues coincide.

    The derivative of autograd through the eigenvectors divides by differences of eigenvalues; here
    it is the formula of Daleckii and Krein with the divided differences of the logarithm.
    """

    @staticmethod
    def forward(matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(matrices)
        logarithm = (vectors * values.log().unsqueeze(-2)) @ vectors.mT
        return logarithm, values, vectors

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> Tensor:
        values, vectors = ctx.saved_tensors
        a, b = values.unsqueeze(-1), values.unsqueeze(-2)
        # (log a - log b) / (a - b) = 2 atanh(t) / (a - b) with t = (a - b) / (a + b)
        t = (a - b) / (a + b)
        series = 1 + t * t / 3 + t**4 / 5
        ratio = torch.where(t.abs() < 1e-2, series, torch.atanh(t) / torch.where(t == 0, 1.0, t))
        divided = 2 * ratio / (a + b)
        inner = vectors.mT @ ((grad + grad.mT) / 2) @ vectors
        return vectors @ (divided * inner) @ vectors.mT


def logm(matrices: Tensor) -> Tensor:
    """Return the logarithms of symmetric positive-definite matrices.

    Parameters
    ----------
    matrices : Tensor, shape (..., n, n)
        Float32 or float64.

    Returns
    -------
    Tensor, shape (..., n, n)
        Its first derivative is exact, also where eigenvalues coincide; a second one is not
        available.
    """
    logarithm: Tensor = _SymmetricLogarithm.apply(matrices)[0]
    return logarithm


def covariances(x: Tensor, shrinkage: float, floor: float = 1e-6) -> Tensor:
    """Return covariance matrices of channels over time, shrunk towards multiples of the identity.

    Parameters
    ----------
    x : Tensor, shape (..., n, samples)
        Signals.
    shrinkage : float
        Weight, in [0, 1], of the identity times the mean variance.
    floor : float, default 1e-6
        Variance that is added, so that the matrices of constant signals have a logarithm.

    Returns
    -------
    Tensor, shape (..., n, n)
    """
    n, samples = x.shape[-2:]
    centred = x - x.mean(-1, keepdim=True)
    matrices = centred @ centred.mT / samples
    mean = matrices.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    identity = torch.eye(n, dtype=x.dtype, device=x.device)
    return (1 - shrinkage) * matrices + (shrinkage * mean + floor) * identity


def half_vector(matrices: Tensor) -> Tensor:
    """Return symmetric matrices ``(..., n, n)`` as vectors ``(..., n (n + 1) / 2)``.

    Entries off the diagonal are times the root of two: lengths are Frobenius norms.
    """
    n = matrices.shape[-1]
    row, column = torch.triu_indices(n, n, device=matrices.device).unbind()
    weight = torch.where(row == column, 1.0, math.sqrt(2)).to(matrices.dtype)
    return matrices[..., row, column] * weight
