"""Parameters of one manifold as one table of rows, so that an update is one set of tensor calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hypeeg.geometry import CurvatureParameter, ManifoldParameter
from hypeeg.optim.groups import curvature_of

# Parameters of at least so many numbers form a table of their own: copying them would cost more
# than the calls it saves. Calls are dearer on an accelerator.
_LARGE_CPU = 2**14
_LARGE_ACCELERATOR = 2**20


def _is_large(p: Tensor) -> bool:
    return p.numel() >= (_LARGE_CPU if p.device.type == "cpu" else _LARGE_ACCELERATOR)


def sort_into_tables(
    params: Iterable[ManifoldParameter], steps: Sequence[float] | None = None, *, batch: bool = True
) -> list[list[ManifoldParameter]]:
    """Sort parameters into lists, each of which can form one table.

    Parameters
    ----------
    params : iterable of ManifoldParameter
        Parameters of one group; empty ones are left out.
    steps : sequence of float, optional
        How many steps each has taken: bias corrections differ where these do.
    batch : bool, default True
        False gives every parameter a table of its own; True only large ones.
    """
    buckets: dict[tuple[Any, ...], list[ManifoldParameter]] = {}
    for i, p in enumerate(params):
        if p.numel() == 0:
            continue
        step = 0.0 if steps is None else steps[i]
        alone = None if batch and not _is_large(p) else id(p)
        key = (id(curvature_of(p)), p.shape[-1], p.dtype, p.device, step, alone)
        buckets.setdefault(key, []).append(p)
    return list(buckets.values())


class RowBlock:
    """Tensors ``(..., width)`` joined into one tensor ``(rows, width)``.

    A single contiguous tensor is not copied: the rows are a view of it. In every other case
    :meth:`write_back` copies changed rows into the tensors.

    Parameters
    ----------
    tensors : sequence of Tensor
        At least one, of the same width, dtype and device.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = [t.detach() for t in tensors]
        width = self._tensors[0].shape[-1]
        first = self._tensors[0]
        self.is_view = len(self._tensors) == 1 and first.is_contiguous()
        if self.is_view:
            self.rows = first.view(-1, width)
        else:
            self.rows = torch.cat([t.reshape(-1, width) for t in self._tensors])

    def write_back(self) -> None:
        """Copy the rows into the tensors they came from, unless they are a view of them."""
        if self.is_view:
            return
        counts = [t.numel() // t.shape[-1] for t in self._tensors]
        blocks = torch.split(self.rows, counts)
        torch._foreach_copy_(
            self._tensors, [b.view(t.shape) for b, t in zip(blocks, self._tensors, strict=True)]
        )


class Scratch:
    """Working memory of the size of the largest table, kept between steps.

    Fresh memory of that size costs as much as the arithmetic done in it.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def like(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape, dtype and device of ``x`` with arbitrary content."""
        key = (x.device, x.dtype)
        buffer = self._buffers.get(key)
        if buffer is None or buffer.numel() < x.numel():
            buffer = self._buffers[key] = torch.empty(x.numel(), dtype=x.dtype, device=x.device)
        return buffer[: x.numel()].view(x.shape)


@dataclass
class Table:
    """Manifold parameters that share curvature, width, dtype, device, options and step count.

    Attributes
    ----------
    log_c : CurvatureParameter
        Their curvature.
    group : dict
        Options of their parameter group.
    points : RowBlock
        Space parts.
    gradient : Tensor, shape (rows, n)
        Gradients to descend; never written to.
    step : float
        Number of steps taken, the present one included.
    state : dict of str to RowBlock
        Optimiser state by name.
    scratch : Tensor, shape (rows, n)
        Working memory, shared with other tables.
    """

    log_c: CurvatureParameter
    group: dict[str, Any]
    points: RowBlock
    gradient: Tensor
    step: float
    state: dict[str, RowBlock]
    scratch: Tensor

    def write_back(self) -> None:
        """Copy changed rows into the parameters and their state."""
        self.points.write_back()
        for block in self.state.values():
            block.write_back()
