"""Two more charts of hyperbolic space: the Poincaré ball and logarithms at the origin."""

from __future__ import annotations

from torch import Tensor

from hypeeg.geometry import logstore, lorentz, poincare
from hypeeg.geometry.base import HyperbolicChart
from hypeeg.geometry.frechet import frechet_mean
from hypeeg.geometry.numerics import broadcast_shape, prepare
from hypeeg.geometry.pairwise import pairwise


class PoincareBall(HyperbolicChart):
    """The Poincaré ball of curvature ``-c``; its radius is ``1/sqrt(c)``.

    Binds the functions of :mod:`hypeeg.geometry.poincare` to a curvature. Points and tangent
    vectors are ball coordinates ``(..., n)``; at the origin a tangent vector ``u`` has length
    ``2|u|``. Coordinates run out near the boundary, in float32 at distance ``12.5/sqrt(c)``.

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
    >>>     >>> ball = PoincareBall(c=1.0)
    >>> p = torch.tensor([0.5, 0.0])
    >>> round(float(ball.dist0(p)), 4)
    1.0986
    """

    def to_lorentz(self, p: Tensor) -> Tensor:
        """Space parts ``2p / (1 - c|p|^2)``."""
        return poincare.poincare_to_lorentz(p, self.c)

    def from_lorentz(self, x: Tensor) -> Tensor:
        """Ball coordinates of space parts, within the domain (see :meth:`projx`)."""
        c = self.c
        return poincare.project(poincare.lorentz_to_poincare(x, c), c)

    def gradient_to_lorentz(self, p: Tensor, g: Tensor) -> Tensor:
        """Gradient in the space part; see :func:`hypeeg.geometry.poincare.gradient_to_lorentz`."""
        return poincare.gradient_to_lorentz(p, g, self.c)

    def projx(self, p: Tensor) -> Tensor:
        """Pull points inside the ball; see :func:`hypeeg.geometry.poincare.project`."""
        return poincare.project(p, self.c)

    def conformal_factor(self, p: Tensor) -> Tensor:
        """Ratio of hyperbolic to Euclidean lengths ``2 / (1 - c|p|^2)``, ``(..., 1)``."""
        return poincare.conformal_factor(p, self.c)

    def mobius_add(self, p: Tensor, q: Tensor) -> Tensor:
        """Möbius sum; see :func:`hypeeg.geometry.poincare.mobius_add`."""
        return poincare.mobius_add(p, q, self.c)

    def mobius_scalar_mul(self, r: Tensor | float, p: Tensor) -> Tensor:
        """Möbius multiple ``r`` of ``p``."""
        return poincare.mobius_scalar_mul(r, p, self.c)

    def mobius_matvec(self, weight: Tensor, p: Tensor) -> Tensor:
        """Möbius product ``exp_o(W log_o p)`` of a matrix ``(m, n)`` and points."""
        return poincare.mobius_matvec(weight, p, self.c)

    def gyration(self, p: Tensor, q: Tensor, v: Tensor) -> Tensor:
        """Gyration ``gyr[p, q] v``."""
        return poincare.gyration(p, q, v, self.c)

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Riemannian inner product of tangent vectors at ``x``."""
        return poincare.inner(x, u, v, self.c)

    def norm(self, x: Tensor, u: Tensor) -> Tensor:
        """Riemannian norm of tangent vectors at ``x``."""
        return poincare.norm(x, u, self.c)

    def egrad2rgrad(self, x: Tensor, g: Tensor) -> Tensor:
        """Riemannian gradient from autograd's."""
        return poincare.egrad2rgrad(x, g, self.c)

    def dist0(self, x: Tensor) -> Tensor:
        """Distance to the origin, ``(...)``."""
        return poincare.dist0(x, self.c)

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Geodesic distance, ``(...)``; see :func:`hypeeg.geometry.poincare.dist`."""
        return poincare.dist(x, y, self.c)

    def dist_pairwise(self, x: Tensor, y: Tensor, block_size: int | None = None) -> Tensor:
        """All distances ``(..., N, M)``; see :func:`hypeeg.geometry.pairwise.pairwise`."""
        c = self.c
        return pairwise(lambda a, b: poincare.dist(a, b, c), x, y, block_size)

    def expmap0(self, u: Tensor) -> Tensor:
        """Exponential map at the origin; the image is at distance ``2|u|``."""
        return poincare.expmap0(u, self.c)

    def logmap0(self, x: Tensor) -> Tensor:
        """Logarithm at the origin."""
        return poincare.logmap0(x, self.c)

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Exponential map at ``x``."""
        return poincare.expmap(x, u, self.c)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Logarithm of ``y`` at ``x``."""
        return poincare.logmap(x, y, self.c)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Parallel transport of ``v`` from ``x`` to ``y``."""
        return poincare.transp(x, y, v, self.c)

    def transp0(self, x: Tensor, v: Tensor) -> Tensor:
        """Parallel transport of ``v`` from the origin to ``x``."""
        return poincare.transp0(x, v, self.c)

    def transp0back(self, x: Tensor, v: Tensor) -> Tensor:
        """Parallel transport of ``v`` from ``x`` to the origin."""
        return poincare.transp0back(x, v, self.c)

    def centroid(self, x: Tensor, w: Tensor | None = None) -> Tensor:
        """Weighted Lorentz centroid over the second last dimension (the Einstein midpoint)."""
        c = self.c
        return poincare.lorentz_to_poincare(
            lorentz.centroid(poincare.poincare_to_lorentz(x, c), c, w), c
        )

    def frechet_mean(self, x: Tensor, w: Tensor | None = None) -> Tensor:
        """Weighted Fréchet mean over the second last dimension."""
        c = self.c
        mean = frechet_mean(poincare.poincare_to_lorentz(x, c), c, w)
        return poincare.lorentz_to_poincare(mean, c)


class LorentzTangent(HyperbolicChart):
    """Hyperbolic space of curvature ``-c`` with points stored as logarithms at the origin.

    Binds the functions of :mod:`hypeeg.geometry.logstore` to a curvature. A point is the tangent
    vector ``(..., n)`` at the origin that leads to it; a tangent vector at a point is its
    parallel transport to the origin along the ray, so that lengths are Euclidean. In float32
    distances have a relative error of 1e-6 at every radius up to ``100/sqrt(c)``: the store for
    trees that reach far. Arithmetic is in float64 inside.

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
    >>>     >>> m = LorentzTangent(c=1.0)
    >>> z = torch.tensor([[90.0, 0.0], [89.5, 0.0]])
    >>> float(m.dist(z[0], z[1]))
    0.5
    """

    def to_lorentz(self, p: Tensor) -> Tensor:
        """Space parts; in float32 finite up to radius ``88/sqrt(c)``, so pass float64 beyond."""
        return lorentz.expmap0(p, self.c)

    def from_lorentz(self, x: Tensor) -> Tensor:
        """Logarithms of points at the origin."""
        return lorentz.logmap0(x, self.c)

    def gradient_to_lorentz(self, p: Tensor, g: Tensor) -> Tensor:
        """Gradient in the space part; see :func:`hypeeg.geometry.logstore.gradient_to_lorentz`."""
        return logstore.gradient_to_lorentz(p, g, self.c)

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Riemannian inner product of tangent vectors at ``x``: the Euclidean one."""
        shape = broadcast_shape(x.shape, u.shape, v.shape)
        u, v = prepare(u, v)
        return (u * v).sum(-1).expand(shape[:-1])

    def norm(self, x: Tensor, u: Tensor) -> Tensor:
        """Riemannian norm of tangent vectors at ``x``: the Euclidean one."""
        shape = broadcast_shape(x.shape, u.shape)
        return logstore.dist0(u, 1.0).expand(shape[:-1])

    def egrad2rgrad(self, x: Tensor, g: Tensor) -> Tensor:
        """Riemannian gradient from autograd's."""
        return logstore.egrad2rgrad(x, g, self.c)

    def dist0(self, x: Tensor) -> Tensor:
        """Distance to the origin, ``(...)``."""
        return logstore.dist0(x, self.c)

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Geodesic distance, ``(...)``; see :func:`hypeeg.geometry.logstore.dist`."""
        return logstore.dist(x, y, self.c)

    def dist_pairwise(self, x: Tensor, y: Tensor, block_size: int | None = None) -> Tensor:
        """All distances ``(..., N, M)``; see :func:`hypeeg.geometry.pairwise.pairwise`."""
        c = self.c
        return pairwise(lambda a, b: logstore.dist(a, b, c), x, y, block_size)

    def expmap0(self, u: Tensor) -> Tensor:
        """Exponential map at the origin: the identity in these coordinates."""
        return prepare(u)[0]

    def logmap0(self, x: Tensor) -> Tensor:
        """Logarithm at the origin: the identity in these coordinates."""
        return prepare(x)[0]

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Exponential map at ``x``."""
        return logstore.expmap(x, u, self.c)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Logarithm of ``y`` at ``x``."""
        return logstore.logmap(x, y, self.c)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Parallel transport of ``v`` from ``x`` to ``y``."""
        return logstore.transp(x, y, v, self.c)

    def transp0(self, x: Tensor, v: Tensor) -> Tensor:
        """Parallel transport of ``v`` from the origin to ``x``: the identity."""
        return prepare(v)[0].expand(broadcast_shape(x.shape, v.shape))

    def transp0back(self, x: Tensor, v: Tensor) -> Tensor:
        """Parallel transport of ``v`` from ``x`` to the origin: the identity."""
        return self.transp0(x, v)

    def centroid(self, x: Tensor, w: Tensor | None = None) -> Tensor:
        """Weighted Lorentz centroid over the second last dimension."""
        points, c = logstore.through_lorentz(x, self.c)
        dtype = prepare(x)[0].dtype
        return lorentz.logmap0(lorentz.centroid(points, c, w), c).to(dtype)

    def frechet_mean(self, x: Tensor, w: Tensor | None = None) -> Tensor:
        """Weighted Fréchet mean over the second last dimension."""
        points, c = logstore.through_lorentz(x, self.c)
        dtype = prepare(x)[0].dtype
        return lorentz.logmap0(frechet_mean(points, c, w), c).to(dtype)
