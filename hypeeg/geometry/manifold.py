"""The Lorentz manifold object and parameters that live on it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from hypeeg.geometry import lorentz, poincare, rescaling
from hypeeg.geometry.curvature import BOUNDS, Curvature


class Lorentz(nn.Module):
    """The Lorentz model of hyperbolic space with curvature ``-c``.

    Binds the functions of :mod:`hypeeg.geometry.lorentz` to a :class:`Curvature`. Points are space
    parts ``(..., n)``; the dimension is that of the tensors passed. As a module it may be an
    attribute of layers: its curvature then appears among their parameters.

    Parameters
    ----------
    c : float, default 1.0
        Curvature magnitude.
    learnable : bool, default False
        Whether the curvature is learned.
    curvature : Curvature, optional
        A curvature to share; ``c``, ``learnable`` and ``bounds`` are then its own.
    bounds : tuple of float, default (0.05, 20.0)
        Smallest and largest curvature.

    Examples
    --------
    >>> import torch
    >>> m = Lorentz(c=0.5)
    >>> x = m.expmap0(torch.tensor([3.0, 4.0]))
    >>> round(float(m.dist0(x)), 4)
    5.0
    """

    def __init__(
        self,
        c: float = 1.0,
        learnable: bool = False,
        *,
        curvature: Curvature | None = None,
        bounds: tuple[float, float] = BOUNDS,
    ) -> None:
        super().__init__()
        self.curvature = Curvature(c, learnable, bounds) if curvature is None else curvature

    @property
    def c(self) -> Tensor:
        """Curvature magnitude, a 0-dimensional tensor."""
        return self.curvature.c

    @property
    def learnable(self) -> bool:
        """Whether the curvature is learned."""
        return self.curvature.learnable

    def time(self, x: Tensor) -> Tensor:
        """Time part of points, ``(..., 1)``; see :func:`hypeeg.geometry.lorentz.time`."""
        return lorentz.time(x, self.c)

    def to_ambient(self, x: Tensor) -> Tensor:
        """Points with their time part first, ``(..., n + 1)``."""
        return lorentz.to_ambient(x, self.c)

    def from_ambient(self, x: Tensor) -> Tensor:
        """Space part of ambient points ``(..., n + 1)``; also the projection onto the manifold."""
        return lorentz.from_ambient(x)

    def tangent_to_ambient(self, x: Tensor, v: Tensor) -> Tensor:
        """Tangent vectors at ``x`` with their time part first, ``(..., n + 1)``."""
        return lorentz.tangent_to_ambient(x, v, self.c)

    def proj_tangent(self, x: Tensor, v: Tensor) -> Tensor:
        """Project ambient vectors ``(..., n + 1)`` onto the tangent space at ``x``."""
        return lorentz.proj_tangent(x, v, self.c)

    def egrad2rgrad(self, x: Tensor, g: Tensor) -> Tensor:
        """Riemannian gradient from autograd's; see :func:`hypeeg.geometry.lorentz.egrad2rgrad`."""
        return lorentz.egrad2rgrad(x, g, self.c)

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Riemannian inner product of tangent vectors at ``x``."""
        return lorentz.inner(x, u, v, self.c)

    def norm(self, x: Tensor, u: Tensor) -> Tensor:
        """Riemannian norm of tangent vectors at ``x``."""
        return lorentz.norm(x, u, self.c)

    def dist0(self, x: Tensor) -> Tensor:
        """Distance to the origin, ``(...)``."""
        return lorentz.dist0(x, self.c)

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Geodesic distance, ``(...)``; see :func:`hypeeg.geometry.lorentz.dist`."""
        return lorentz.dist(x, y, self.c)

    def dist_pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        """All distances between ``(..., N, n)`` and ``(..., M, n)``: ``(..., N, M)``."""
        return lorentz.dist_pairwise(x, y, self.c)

    def sqdist(self, x: Tensor, y: Tensor) -> Tensor:
        """Squared Lorentz distance ``-2/c - 2 <x, y>``, ``(...)``."""
        return lorentz.sqdist_lorentz(x, y, self.c)

    def expmap0(self, z: Tensor) -> Tensor:
        """Exponential map at the origin."""
        return lorentz.expmap0(z, self.c)

    def logmap0(self, x: Tensor) -> Tensor:
        """Logarithm at the origin."""
        return lorentz.logmap0(x, self.c)

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Exponential map at ``x``; see :func:`hypeeg.geometry.lorentz.expmap`."""
        return lorentz.expmap(x, u, self.c)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Logarithm at ``x``; see :func:`hypeeg.geometry.lorentz.logmap`."""
        return lorentz.logmap(x, y, self.c)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Parallel transport of ``v`` from ``x`` to ``y``."""
        return lorentz.transp(x, y, v, self.c)

    def transp0(self, x: Tensor, v: Tensor) -> Tensor:
        """Parallel transport of ``v`` from the origin to ``x``."""
        return lorentz.transp0(x, v, self.c)

    def transp0back(self, x: Tensor, v: Tensor) -> Tensor:
        """Parallel transport of ``v`` from ``x`` to the origin."""
        return lorentz.transp0back(x, v, self.c)

    def centroid(self, x: Tensor, w: Tensor | None = None) -> Tensor:
        """Weighted centroid over the second last dimension."""
        return lorentz.centroid(x, self.c, w)

    def max_dist(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Radius within which a dtype keeps the geometry."""
        return rescaling.max_dist(self.c, dtype)

    def rescale(
        self, x: Tensor, slope: Tensor | float = 3.0, max_dist: Tensor | float | None = None
    ) -> Tensor:
        """Maximum-distance rescaling; see :func:`hypeeg.geometry.rescaling.rescale`."""
        return rescaling.rescale(x, self.c, slope, max_dist)

    def to_poincare(self, x: Tensor) -> Tensor:
        """Image of points in the Poincaré ball of radius ``1/sqrt(c)``."""
        return poincare.lorentz_to_poincare(x, self.c)

    def from_poincare(self, p: Tensor) -> Tensor:
        """Space parts of points of the Poincaré ball."""
        return poincare.poincare_to_lorentz(p, self.c)


class ManifoldParameter(nn.Parameter):
    """A parameter whose last dimension holds space parts of points on a manifold.

    Optimisers of :mod:`hypeeg.optim` recognise it, move it along geodesics and carry it along when
    the curvature of its manifold changes. Copies keep sharing: after ``copy.deepcopy(model)``
    the copied parameters refer to the one copied manifold.

    Parameters
    ----------
    data : Tensor, shape (..., n)
        Space parts.
    manifold : Lorentz
        The manifold they live on.
    requires_grad : bool, default True

    Raises
    ------
    TypeError
        If ``manifold`` is not a :class:`Lorentz`.
    ValueError
        If ``data`` has no dimension.
    """

    manifold: Lorentz

    def __new__(  # noqa: D102 - documented on the class
        cls, data: Tensor, manifold: Lorentz, requires_grad: bool = True
    ) -> ManifoldParameter:
        if not isinstance(manifold, Lorentz):
            raise TypeError(f"manifold must be a Lorentz instance; got {type(manifold).__name__}")
        if data.dim() == 0:
            raise ValueError("data must hold space parts (..., n); got a 0-dimensional tensor")
        instance: ManifoldParameter = torch.Tensor._make_subclass(cls, data.detach(), requires_grad)
        instance.manifold = manifold
        return instance

    def __deepcopy__(self, memo: dict[int, Any]) -> ManifoldParameter:
        if id(self) not in memo:
            data = self.data.clone(memory_format=torch.preserve_format)
            manifold = copy.deepcopy(self.manifold, memo)
            memo[id(self)] = type(self)(data, manifold, self.requires_grad)
        copied: ManifoldParameter = memo[id(self)]
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(self), (self.data, self.manifold, self.requires_grad)

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"ManifoldParameter on {self.manifold}\n{self.data!r}"
