"""The Lorentz manifold object: the functions of this package bound to a curvature."""

from __future__ import annotations

import torch
from torch import Tensor

from hypeeg.geometry import gyro, horospheres, lorentz, poincare, rescaling
from hypeeg.geometry.base import HyperbolicChart
from hypeeg.geometry.frechet import frechet_mean
from hypeeg.geometry.pairwise import pairwise
from hypeeg.geometry.parameter import ManifoldParameter as ManifoldParameter
from hypeeg.geometry.pca import TangentPCA, tangent_pca
from hypeeg.geometry.wrapped_normal import WrappedNormal


class Lorentz(HyperbolicChart):
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

    def to_lorentz(self, p: Tensor) -> Tensor:
        """Return the points: this chart is the Lorentz model."""
        return p

    def from_lorentz(self, x: Tensor) -> Tensor:
        """Return the points: this chart is the Lorentz model."""
        return x

    def gradient_to_lorentz(self, p: Tensor, g: Tensor) -> Tensor:
        """Return the gradient: this chart is the Lorentz model."""
        return g

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

    def dist_pairwise(self, x: Tensor, y: Tensor, block_size: int | None = None) -> Tensor:
        """All distances ``(..., N, M)``; see :func:`hypeeg.geometry.pairwise.pairwise`."""
        c = self.c
        return pairwise(lambda a, b: lorentz.dist(a, b, c), x, y, block_size)

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

    def frechet_mean(self, x: Tensor, w: Tensor | None = None, *, iterations: int = 16) -> Tensor:
        """Weighted Fréchet mean; see :func:`hypeeg.geometry.frechet.frechet_mean`."""
        return frechet_mean(x, self.c, w, iterations=iterations)

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

    def gyroadd(self, x: Tensor, y: Tensor) -> Tensor:
        """Gyro-sum, the boost of ``x`` applied to ``y``; see :mod:`hypeeg.geometry.gyro`."""
        return gyro.gyroadd(x, y, self.c)

    def gyroinverse(self, x: Tensor) -> Tensor:
        """Gyro-inverse ``-x``."""
        return gyro.gyroinverse(x)

    def boost(self, x: Tensor, a: Tensor) -> Tensor:
        """Boost of ``x`` applied to ambient vectors ``(..., n + 1)``, time first."""
        return gyro.boost(x, a, self.c)

    def gyration(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Gyration ``gyr[x, y] v``, a rotation of space."""
        return gyro.gyration(x, y, v, self.c)

    def scalar_mul(self, r: Tensor | float, x: Tensor) -> Tensor:
        """Points ``r`` times as far from the origin."""
        return gyro.scalar_mul(r, x, self.c)

    def hyperplane_dist(self, x: Tensor, z: Tensor, a: Tensor | float = 0.0) -> Tensor:
        """Signed distance; see :func:`hypeeg.geometry.horospheres.hyperplane_dist`."""
        return horospheres.hyperplane_dist(x, z, a, self.c)

    def busemann(self, x: Tensor, omega: Tensor) -> Tensor:
        """Busemann function; see :func:`hypeeg.geometry.horospheres.busemann`."""
        return horospheres.busemann(x, omega, self.c)

    def horosphere_dist(self, x: Tensor, omega: Tensor, level: Tensor | float = 0.0) -> Tensor:
        """Signed distance to horospheres ``busemann = level``."""
        return horospheres.horosphere_dist(x, omega, level, self.c)

    def wrapped_normal(self, loc: Tensor, scale: Tensor | float) -> WrappedNormal:
        """Wrapped normal distribution; see :class:`hypeeg.geometry.WrappedNormal`."""
        return WrappedNormal(loc, scale, self)

    def tangent_pca(self, x: Tensor, k: int = 2, w: Tensor | None = None) -> TangentPCA:
        """Principal geodesic directions; see :func:`hypeeg.geometry.pca.tangent_pca`."""
        return tangent_pca(x, self, k, w)
