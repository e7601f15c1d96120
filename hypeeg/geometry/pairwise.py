"""All distances between two sets of points, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from hypeeg.geometry.numerics import broadcast_shape

# Numbers in one intermediate tensor of a block: 64 MiB in float32.
_BLOCK_NUMBERS = 2**24


def pairwise(
    distance: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    block_size: int | None = None,
) -> Tensor:
    """Return a distance between all pairs of points of two sets.

    Parameters
    ----------
    distance : callable
        Function of two tensors of points that broadcast.
    x : Tensor, shape (..., N, n)
    y : Tensor, shape (..., M, n)
        Points.
    block_size : int, optional
        How many points of ``x`` are taken at a time. Intermediate results of a block are freed
        before the next one and computed again in the backward pass: beside its result the function
        holds those of one block alone. By default everything is one block without recomputation up
        to 2^24 numbers per intermediate tensor, and blocks of that size are taken beyond.

    Returns
    -------
    Tensor, shape (..., N, M)

    Raises
    ------
    ValueError
        If ``block_size`` is not positive.
    """
    if block_size is not None and block_size < 1:
        raise ValueError(
            f"block_size must be a positive number of points or None; got {block_size}"
        )
    rows = x.shape[-2]
    if block_size is None:
        leading = broadcast_shape(x.shape[:-2], y.shape[:-2]).numel()
        per_row = max(1, leading * y.shape[-2] * y.shape[-1])
        block_size = max(1, _BLOCK_NUMBERS // per_row)
    x, y = x.unsqueeze(-2), y.unsqueeze(-3)
    if block_size >= rows:
        return distance(x, y)
    blocks = []
    for start in range(0, rows, block_size):
        part = x[..., start : start + block_size, :, :]
        block = checkpoint(distance, part, y, use_reentrant=False, preserve_rng_state=False)
        blocks.append(block)
    return torch.cat(blocks, dim=-2)
