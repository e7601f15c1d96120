"""Products of manifolds, and parameters on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from hypeeg.geometry.base import HyperbolicChart
from hypeeg.geometry.curvature import Curvature
from hypeeg.geometry.numerics import broadcast_shape
from hypeeg.geometry.pairwise import pairwise
from hypeeg.geometry.parameter import KeepsManifoldParameters, ManifoldParameter
from hypeeg.geometry.protocol import Manifold


class Product(nn.Module):
    """Cartesian product of manifolds.

    A point is the concatenation of the coordinates of its components along the last dimension, a
    tangent vector likewise. Maps act on each component; squared distances and inner products add.

    Parameters
    ----------
    manifolds : iterable of Manifold
        The factors. One instance may occur several times and then lends its curvature to each.
    dims : iterable of int
        Their dimensions.

    Raises
    ------
    ValueError
        If there is not one positive dimension for each factor.

    Examples
    --------
    >>> import torch
    >>> from hypeeg.geometry import Euclidean, Lorentz
    >>> m = Product([Lorentz(1.0), Euclidean()], [2, 1])
    >>> float(m.dist0(m.expmap0(torch.tensor([2.0, 0.0, 1.5]))))
    2.5
    """

    curvature: None = None

    def __init__(self, manifolds: Iterable[Manifold], dims: Iterable[int]) -> None:
        super().__init__()
        factors = list(manifolds)
        self.dims = tuple(int(d) for d in dims)
        if not factors or len(factors) != len(self.dims) or min(self.dims) < 1:
            raise ValueError(
                "dims must hold one positive dimension for each of the manifolds; "
                f"got {len(factors)} manifolds and dims={self.dims}"
            )
        self.manifolds = nn.ModuleList([cast(nn.Module, m) for m in factors])

    @property
    def factors(self) -> list[Manifold]:
        """The factors."""
        return [cast(Manifold, m) for m in self.manifolds]

    @property
    def dim(self) -> int:
        """Dimension of the product, the sum of those of the factors."""
        return sum(self.dims)

    @property
    def c(self) -> Tensor:
        """Curvature magnitudes of the factors, ``(number of factors,)``."""
        return torch.stack([m.c.double() for m in self.factors])

    @property
    def curvatures(self) -> list[Curvature | None]:
        """Curvature modules of the factors."""
        return [m.curvature for m in self.factors]

    @property
    def learnable(self) -> bool:
        """Whether the curvature of a factor is learned."""
        return any(m.learnable for m in self.factors)

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        """Components of points or tangent vectors.

        Raises
        ------
        ValueError
            If the last dimension is not that of the product.
        """
        if x.shape[-1] != self.dim:
            raise ValueError(
                f"points of this product have {self.dim} coordinates {self.dims}; "
                f"got a last dimension of {x.shape[-1]}"
            )
        parts: tuple[Tensor, ...] = torch.split(x, list(self.dims), dim=-1)
        return parts

    def join(self, components: Sequence[Tensor]) -> Tensor:
        """Points or tangent vectors from their components; leading dimensions broadcast."""
        leading = broadcast_shape(*(t.shape[:-1] for t in components))
        return torch.cat([t.expand(*leading, t.shape[-1]) for t in components], dim=-1)

    def _each(self, function: Callable[..., Tensor], *tensors: Tensor) -> list[Tensor]:
        parts = [self.split(t) for t in tensors]
        return [function(m, *p) for m, *p in zip(self.factors, *parts, strict=True)]

    def _map(self, function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        return self.join(self._each(function, *tensors))

    def _root_of_squares(self, lengths: list[Tensor]) -> Tensor:
        stacked = torch.stack(_alike(lengths), dim=-1)
        return cast(Tensor, torch.linalg.vector_norm(stacked, dim=-1))

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Root of the sum of the squared distances of the components, ``(...)``."""
        return self._root_of_squares(self._each(lambda m, a, b: m.dist(a, b), x, y))

    def dist0(self, x: Tensor) -> Tensor:
        """Distance to the origin, ``(...)``."""
        return self._root_of_squares(self._each(lambda m, a: m.dist0(a), x))

    def dist_pairwise(self, x: Tensor, y: Tensor, block_size: int | None = None) -> Tensor:
        """All distances ``(..., N, M)``; see :func:`hypeeg.geometry.pairwise.pairwise`."""
        return pairwise(self.dist, x, y, block_size)

    def expmap0(self, u: Tensor) -> Tensor:
        """Exponential map at the origin."""
        return self._map(lambda m, a: m.expmap0(a), u)

    def logmap0(self, x: Tensor) -> Tensor:
        """Logarithm at the origin."""
        return self._map(lambda m, a: m.logmap0(a), x)

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Exponential map at ``x``."""
        return self._map(lambda m, a, b: m.expmap(a, b), x, u)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Logarithm of ``y`` at ``x``."""
        return self._map(lambda m, a, b: m.logmap(a, b), x, y)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Parallel transport of ``v`` from ``x`` to ``y``."""
        return self._map(lambda m, a, b, t: m.transp(a, b, t), x, y, v)

    def transp0(self, x: Tensor, v: Tensor) -> Tensor:
        """Parallel transport of ``v`` from the origin to ``x``."""
        return self._map(lambda m, a, t: m.transp0(a, t), x, v)

    def transp0back(self, x: Tensor, v: Tensor) -> Tensor:
        """Parallel transport of ``v`` from ``x`` to the origin."""
        return self._map(lambda m, a, t: m.transp0back(a, t), x, v)

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Riemannian inner product, the sum of those of the components, ``(...)``."""
        each = self._each(lambda m, a, s, t: m.inner(a, s, t), x, u, v)
        return torch.stack(_alike(each), dim=-1).sum(-1)

    def norm(self, x: Tensor, u: Tensor) -> Tensor:
        """Riemannian norm, ``(...)``."""
        return self._root_of_squares(self._each(lambda m, a, t: m.norm(a, t), x, u))

    def egrad2rgrad(self, x: Tensor, g: Tensor) -> Tensor:
        """Riemannian gradient from autograd's."""
        return self._map(lambda m, a, t: m.egrad2rgrad(a, t), x, g)

    def projx(self, p: Tensor) -> Tensor:
        """Project every component onto the domain of its factor."""
        return self._map(lambda m, a: m.projx(a), p)

    def centroid(self, x: Tensor, w: Tensor | None = None) -> Tensor:
        """Weighted centroid of every component over the second last dimension."""
        return self._map(lambda m, a: m.centroid(a, w), x)

    def frechet_mean(self, x: Tensor, w: Tensor | None = None) -> Tensor:
        """Weighted Fréchet mean over the second last dimension, that of every component."""
        return self._map(lambda m, a: m.frechet_mean(a, w), x)

    def parameter(self, data: Tensor, requires_grad: bool = True) -> ProductParameter:
        """Parameters on this product with the given initial points ``(..., dim)``."""
        return ProductParameter(data, self, requires_grad)

    def extra_repr(self) -> str:
        """Describe the product in the module's repr."""
        return f"dims={self.dims}"


class ProductParameter(KeepsManifoldParameters):
    """Trainable points on a :class:`Product`: one parameter for each factor.

    Optimisers find a :class:`~hypeeg.geometry.ManifoldParameter` for each hyperbolic factor and a
    plain parameter for each Euclidean one, and need not know of products. Call the module to get
    the points.

    Parameters
    ----------
    data : Tensor, shape (..., dim)
        Initial points in the coordinates of the product.
    manifold : Product
        The product.
    requires_grad : bool, default True
    decay : bool, default True
        Whether weight decay applies to the hyperbolic components.

    Examples
    --------
    >>> import torch
    >>> from hypeeg.geometry import Euclidean, Lorentz
    >>> points = Product([Lorentz(1.0), Euclidean()], [2, 1]).parameter(torch.zeros(5, 3))
    >>> points().shape
    torch.Size([5, 3])
    """

    def __init__(
        self, data: Tensor, manifold: Product, requires_grad: bool = True, *, decay: bool = True
    ) -> None:
        super().__init__()
        self.manifold = manifold
        for i, (factor, part) in enumerate(zip(manifold.factors, manifold.split(data.detach()))):
            component: nn.Parameter
            if isinstance(factor, HyperbolicChart):
                component = ManifoldParameter(part.clone(), factor, requires_grad, decay=decay)
            elif factor.curvature is None and not isinstance(factor, Product):
                component = nn.Parameter(part.clone(), requires_grad)
            else:
                raise TypeError(
                    f"factor {i} of the product is a {type(factor).__name__}, which has no "
                    "parameter of its own; pass its factors to one Product instead"
                )
            self.register_parameter(f"component_{i}", component)

    @property
    def components(self) -> tuple[nn.Parameter, ...]:
        """The parameters of the factors, in order."""
        return tuple(getattr(self, f"component_{i}") for i in range(len(self.manifold.dims)))

    def forward(self) -> Tensor:
        """Return the points ``(..., dim)``."""
        return torch.cat(self.components, dim=-1)

    def extra_repr(self) -> str:
        """Describe the parameter in the module's repr."""
        return f"shape={tuple(self.components[0].shape[:-1])}"


def _alike(tensors: list[Tensor]) -> list[Tensor]:
    shape = broadcast_shape(*(t.shape for t in tensors))
    return [t.expand(shape) for t in tensors]
