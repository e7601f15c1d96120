"""The points of an embedding, and the order and pace in which they are moved."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hypeeg.geometry import Euclidean, KeepsManifoldParameters, Lorentz, ManifoldParameter


class PointTable(KeepsManifoldParameters):
    """One point for each node.

    Parameters
    ----------
    points : Tensor, shape (n_nodes, dim)
        Where they start: space parts of the hyperboloid, or vectors.
    manifold : Lorentz or Euclidean
        Where they lie.
    """

    def __init__(self, points: Tensor, manifold: Lorentz | Euclidean) -> None:
        super().__init__()
        self.manifold = manifold
        self.points = (
            ManifoldParameter(points, manifold)
            if isinstance(manifold, Lorentz)
            else nn.Parameter(points)
        )

    def forward(self, nodes: Tensor) -> Tensor:
        """Return the points of nodes: int64 (...) to (..., dim)."""
        return F.embedding(nodes, self.points)


def rate_factor(
    epoch: int, epochs: int, burn_in: int, burn_in_factor: float, lr_end: float
) -> float:
    """Return the factor of the learning rate in an epoch, from 0.

    Parameters
    ----------
    epoch, epochs, burn_in : int
        Which of how many, and how many of these are slow.
    burn_in_factor, lr_end : float
        Factor of the slow ones, and what half a cosine falls to afterwards.
    """
    if epoch < burn_in:
        return float(burn_in_factor)
    done = min(1.0, (epoch - burn_in) / max(1, epochs - burn_in))
    return float(lr_end + (1 - lr_end) * 0.5 * (1 + math.cos(math.pi * done)))


def shuffled_batches(edges: Tensor, size: int, generator: torch.Generator) -> Sequence[Tensor]:
    """Return the pairs (n, 2) in a new order, `size` at a time."""
    order = torch.randperm(len(edges), device=edges.device, generator=generator)
    return torch.split(edges[order], size)


def current_curvature(module: PointTable) -> Tensor | None:
    """Return a copy of c, on the device; None in flat space."""
    manifold = module.manifold
    return manifold.c.detach().clone() if isinstance(manifold, Lorentz) else None
