r"""The wrapped normal distribution on hyperbolic space.

A normal vector at the origin is transported to the mean and mapped onto the manifold [1]_. With
:math:`u = \log_\mu x` carried back to the origin, the density with respect to the Riemannian volume
is :math:`\mathcal N(u; 0, \Sigma)\,(\sqrt c|u| / \sinh\sqrt c|u|)^{n-1}`.

References
----------
.. [1] Y. Nagano, S. Yamaguchi, Y. Fujita, M. Koyama: A Wrapped Normal Distribution on Hyperbolic
   Space for Gradient-Based Learning, ICML 2019.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal
from torch.distributions.kl import kl_divergence

from hypeeg.geometry import lorentz
from hypeeg.geometry.base import HyperbolicChart
from hypeeg.geometry.numerics import as_curvature, prepare, unit_norm
from hypeeg.geometry.series import sinhc


class WrappedNormal(Distribution):
    """Wrapped normal distribution, with reparametrised samples.

    Parameters
    ----------
    loc : Tensor, shape (..., n)
        Means, points in the coordinates of the manifold.
    scale : Tensor or float, optional
        Standard deviations along the axes at the origin; broadcasts against ``loc``.
    manifold : HyperbolicChart
        The manifold; densities refer to its Riemannian volume.
    scale_tril : Tensor, shape (..., n, n), optional
        Lower-triangular factor of a full covariance, instead of ``scale``.
    validate_args : bool, optional
        As in PyTorch's distributions.

    Raises
    ------
    ValueError
        If not exactly one of ``scale`` and ``scale_tril`` is given.

    Examples
    --------
    >>> import torch
    >>> from hypeeg.geometry import Lorentz
    >>> d = WrappedNormal(torch.zeros(3), 0.5, Lorentz(1.0))
    >>> d.rsample((10,)).shape, d.log_prob(torch.zeros(3)).shape
    (torch.Size([10, 3]), torch.Size([]))
    """

    arg_constraints = {}  # noqa: RUF012 - PyTorch's name; the tangent normal checks its own
    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        scale: Tensor | float | None = None,
        manifold: HyperbolicChart | None = None,
        *,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if manifold is None:
            raise ValueError("manifold is missing: pass the manifold of loc, such as Lorentz(1.0)")
        if (scale is None) == (scale_tril is None):
            raise ValueError("pass exactly one of scale and scale_tril")
        (loc,) = prepare(loc)
        self.manifold = manifold
        zero = torch.zeros_like(loc)
        self.tangent: Independent[Normal] | MultivariateNormal
        if scale_tril is not None:
            tril = scale_tril.to(loc.dtype)
            self.tangent = MultivariateNormal(zero, scale_tril=tril, validate_args=validate_args)
        else:
            wide = torch.as_tensor(scale, dtype=loc.dtype, device=loc.device)
            zero = zero + torch.zeros_like(wide)
            normal = Normal(zero, wide.expand_as(zero), validate_args=validate_args)
            self.tangent = Independent(normal, 1)
        self.loc = loc.expand(self.tangent.batch_shape + loc.shape[-1:])
        super().__init__(self.tangent.batch_shape, loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The point from which samples are drawn, which is their Fréchet mean by symmetry."""
        return self.loc

    def expand(
        self,
        batch_shape: torch.Size | list[int] | tuple[int, ...],
        _instance: WrappedNormal | None = None,
    ) -> WrappedNormal:
        """Return this distribution with the batch dimensions expanded."""
        shape = torch.Size(batch_shape)
        new = WrappedNormal.__new__(WrappedNormal) if _instance is None else _instance
        new.manifold = self.manifold
        new.tangent = self.tangent.expand(shape)  # type: ignore[no-untyped-call]
        new.loc = self.loc.expand(shape + self.event_shape)
        Distribution.__init__(new, shape, self.event_shape, validate_args=False)
        return new

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Draw points ``(*sample_shape, ..., n)``, differentiable in mean and scale."""
        c = self.manifold.c
        v = self.tangent.rsample(torch.Size(sample_shape))
        loc = self.manifold.to_lorentz(self.loc)
        return self.manifold.from_lorentz(lorentz.expmap(loc, lorentz.transp0(loc, v, c), c))

    def log_prob(self, value: Tensor) -> Tensor:
        """Logarithm of the density with respect to the Riemannian volume, ``(...)``."""
        c = self.manifold.c
        x, loc = self.manifold.to_lorentz(value), self.manifold.to_lorentz(self.loc)
        u = lorentz.transp0back(loc, lorentz.logmap(loc, x, c), c)
        rho = unit_norm(u, as_curvature(c, u)).squeeze(-1)
        density: Tensor = self.tangent.log_prob(u)  # type: ignore[no-untyped-call]
        return density - (self.event_shape[0] - 1) * _log_sinhc(rho)

    def kl_divergence(self, other: WrappedNormal) -> Tensor:
        """Kullback-Leibler divergence to a wrapped normal of the same mean, in closed form.

        Both are images of normals at the origin under one and the same map, so theirs is that of
        these normals. It is **not** for different means: see :meth:`kl_monte_carlo`.

        Raises
        ------
        ValueError
            If means or curvatures differ. Comparing them waits for the device.
        """
        same = self.loc is other.loc or torch.equal(self.loc, other.loc)
        if not same or not torch.equal(self.manifold.c, other.manifold.c):
            raise ValueError(
                "the closed form needs equal means and curvatures; use kl_monte_carlo(other, n)"
            )
        return kl_divergence(self.tangent, other.tangent)

    def kl_monte_carlo(self, other: WrappedNormal, samples: int) -> tuple[Tensor, Tensor]:
        """Estimate the Kullback-Leibler divergence to another wrapped normal from samples.

        Parameters
        ----------
        other : WrappedNormal
            The other distribution, on a manifold of the same curvature.
        samples : int
            Number of samples, at least 2.

        Returns
        -------
        estimate, standard_error : Tensor, shape (...)
            The estimate is unbiased and differentiable.
        """
        if samples < 2:
            raise ValueError(f"samples must be at least 2; got {samples}")
        x = self.rsample((samples,))
        ratio = self.log_prob(x) - other.log_prob(x)
        return ratio.mean(0), ratio.detach().std(0) / math.sqrt(samples)

    def __repr__(self) -> str:
        return f"WrappedNormal(loc: {tuple(self.loc.shape)}, manifold: {self.manifold})"


def _log_sinhc(a: Tensor) -> Tensor:
    far = a > 1
    large = torch.where(far, a, 1.0)
    far_value = large + torch.log1p(-torch.exp(-2 * large)) - torch.log(2 * large)
    return torch.where(far, far_value, torch.log(sinhc(torch.where(far, 0.0, a))))
