"""Flat space with the interface of the manifolds, as a factor of products and as a twin."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hypeeg.geometry.numerics import broadcast_shape, prepare, vector_norm
from hypeeg.geometry.pairwise import pairwise


class Euclidean(nn.Module):
    """Euclidean space: every map of the interface is an addition or the identity.

    Its parameters are plain ``nn.Parameter``; ``curvature`` is None and ``c`` is 0.

    Examples
    --------
    >>> import torch
    >>> float(Euclidean().dist(torch.zeros(2), torch.tensor([3.0, 4.0])))
    5.0
    """

    curvature: None = None
    learnable: bool = False

    @property
    def c(self) -> Tensor:
        """Zero, a 0-dimensional tensor."""
        return torch.zeros(())

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Euclidean distance, ``(...)``; the gradient at coincident points is zero."""
        x, y = prepare(x, y)
        return vector_norm(x - y).squeeze(-1)

    def dist0(self, x: Tensor) -> Tensor:
        """Euclidean norm, ``(...)``."""
        (x,) = prepare(x)
        return vector_norm(x).squeeze(-1)

    def dist_pairwise(self, x: Tensor, y: Tensor, block_size: int | None = None) -> Tensor:
        """All distances ``(..., N, M)``; see :func:`hypeeg.geometry.pairwise.pairwise`."""
        return pairwise(self.dist, x, y, block_size)

    def expmap0(self, u: Tensor) -> Tensor:
        """Identity."""
        return prepare(u)[0]

    def logmap0(self, x: Tensor) -> Tensor:
        """Identity."""
        return prepare(x)[0]

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``x + u``."""
        x, u = prepare(x, u)
        return x + u

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``y - x``."""
        x, y = prepare(x, y)
        return y - x

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Return ``v``."""
        return prepare(v)[0].expand(broadcast_shape(x.shape, y.shape, v.shape))

    def transp0(self, x: Tensor, v: Tensor) -> Tensor:
        """Return ``v``."""
        return self.transp(x, x, v)

    def transp0back(self, x: Tensor, v: Tensor) -> Tensor:
        """Return ``v``."""
        return self.transp(x, x, v)

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Euclidean inner product, ``(...)``."""
        u, v = prepare(u, v)
        shape = broadcast_shape(x.shape, u.shape, v.shape)
        return (u * v).sum(-1).expand(shape[:-1])

    def norm(self, x: Tensor, u: Tensor) -> Tensor:
        """Euclidean norm, ``(...)``."""
        return self.dist0(u).expand(broadcast_shape(x.shape, u.shape)[:-1])

    def egrad2rgrad(self, x: Tensor, g: Tensor) -> Tensor:
        """Return ``g``."""
        return self.transp(x, x, g)

    def projx(self, p: Tensor) -> Tensor:
        """Return ``p``."""
        return p

    def centroid(self, x: Tensor, w: Tensor | None = None) -> Tensor:
        """Weighted mean over the second last dimension; weights ``(..., N)`` of any scale."""
        (x,) = prepare(x)
        if w is None:
            return x.mean(-2)
        w = prepare(w)[0].to(x.dtype).unsqueeze(-1)
        return (w / w.sum(-2, keepdim=True) * x).sum(-2)

    def frechet_mean(self, x: Tensor, w: Tensor | None = None) -> Tensor:
        """Weighted mean over the second last dimension."""
        return self.centroid(x, w)
