"""Row-sparse gradients, as ``nn.Embedding(sparse=True)`` makes them: only touched rows step."""

from __future__ import annotations

import torch
from torch import Tensor


def is_row_sparse(gradient: Tensor) -> bool:
    """Tell whether a sparse gradient names whole rows of a table of points.

    Coordinate sparsity, as ``Tensor.to_sparse()`` makes it by default, would name single
    coordinates of points, which no step on a manifold can move alone.
    """
    return gradient.layout == torch.sparse_coo and gradient.sparse_dim() == 1 < gradient.dim()


class TouchedRows:
    """Rows of tensors gathered into tables ``(rows, width)``, and written back after a step.

    Parameters
    ----------
    tensor : Tensor, shape (N, ..., width)
        Points, or state of points.
    index : Tensor, shape (k,), int64
        Which entries of the first dimension, each once.
    dtype : torch.dtype, optional
        Of the rows, by default that of the tensor.
    """

    def __init__(self, tensor: Tensor, index: Tensor, dtype: torch.dtype | None = None) -> None:
        self._tensor, self._index = tensor.detach(), index
        rows = self._tensor.index_select(0, index)
        self._shape = rows.shape
        if dtype is not None:
            rows = rows.to(dtype)
        self.rows = rows if rows.dim() == 2 else rows.reshape(-1, tensor.shape[-1])

    def write_back(self) -> None:
        """Copy the rows to where they came from."""
        rows = self.rows if len(self._shape) == 2 else self.rows.view(self._shape)
        self._tensor.index_copy_(0, self._index, rows.to(self._tensor.dtype))


def touched(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows a row-sparse gradient names, each once, and their gradients.

    Returns
    -------
    index : Tensor, shape (k,), int64
    values : Tensor, shape (rows, n)
        Gradients as a table; rows named several times are summed.
    """
    gradient = gradient.coalesce()
    values = gradient._values()  # values() is a view of a sparse tensor, which no compiler knows
    values = values if values.dim() == 2 else values.reshape(-1, values.shape[-1])
    return gradient._indices()[0], values
