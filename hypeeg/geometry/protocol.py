"""The structural interface of manifolds."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from hypeeg.geometry.curvature import Curvature


@runtime_checkable
class Manifold(Protocol):
    """What every manifold of this package offers.

    Points and tangent vectors are tensors ``(..., n)`` in the coordinates of the manifold, tangent
    vectors being derivatives of these coordinates; leading dimensions broadcast. Half precision
    is raised to float32. Implemented by :class:`~hypeeg.geometry.Lorentz` (space parts),
    :class:`~hypeeg.geometry.LorentzTangent` (tangents at the origin),
    :class:`~hypeeg.geometry.PoincareBall`, :class:`~hypeeg.geometry.Euclidean` and
    :class:`~hypeeg.geometry.Product`.
    """

    @property
    def c(self) -> Tensor:
        """Curvature magnitude: the sectional curvature is ``-c``."""
        ...

    @property
    def curvature(self) -> Curvature | None:
        """The curvature module, None where there is none."""
        ...

    @property
    def learnable(self) -> bool:
        """Whether a curvature is learned."""
        ...

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Geodesic distance, ``(...)``."""
        ...

    def dist0(self, x: Tensor) -> Tensor:
        """Distance to the origin, ``(...)``."""
        ...

    def dist_pairwise(self, x: Tensor, y: Tensor, block_size: int | None = None) -> Tensor:
        """All distances between ``(..., N, n)`` and ``(..., M, n)``: ``(..., N, M)``."""
        ...

    def expmap0(self, u: Tensor) -> Tensor:
        """Exponential map at the origin."""
        ...

    def logmap0(self, x: Tensor) -> Tensor:
        """Logarithm at the origin."""
        ...

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Exponential map at ``x``."""
        ...

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Logarithm of ``y`` at ``x``."""
        ...

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Parallel transport of ``v`` along the geodesic from ``x`` to ``y``."""
        ...

    def transp0(self, x: Tensor, v: Tensor) -> Tensor:
        """Parallel transport of ``v`` from the origin to ``x``."""
        ...

    def transp0back(self, x: Tensor, v: Tensor) -> Tensor:
        """Parallel transport of ``v`` from ``x`` to the origin."""
        ...

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Riemannian inner product of tangent vectors at ``x``, ``(...)``."""
        ...

    def norm(self, x: Tensor, u: Tensor) -> Tensor:
        """Riemannian norm of tangent vectors at ``x``, ``(...)``."""
        ...

    def egrad2rgrad(self, x: Tensor, g: Tensor) -> Tensor:
        """Riemannian gradient from autograd's gradient in the coordinates."""
        ...

    def projx(self, p: Tensor) -> Tensor:
        """Project coordinates onto the domain of the manifold."""
        ...

    def centroid(self, x: Tensor, w: Tensor | None = None) -> Tensor:
        """Weighted centroid over the second last dimension, in closed form."""
        ...

    def frechet_mean(self, x: Tensor, w: Tensor | None = None) -> Tensor:
        """Weighted Fréchet mean over the second last dimension."""
        ...
