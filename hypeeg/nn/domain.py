"""Batch normalisation with statistics for each domain: subject, session, scanner."""

from __future__ import annotations

import torch
from torch import Tensor

from hypeeg.geometry import Lorentz
from hypeeg.nn.batchnorm import LorentzBatchNormBase
from hypeeg.nn.domain_norm import DomainNorm, Unseen, adapt_domain_statistics, use_domain
from hypeeg.nn.recentre import centroid_of_sums, from_origin, stats_dtype, to_origin

__all__ = ["LorentzDomainBatchNorm", "adapt_domain_statistics", "use_domain"]


class LorentzDomainBatchNorm(DomainNorm, LorentzBatchNormBase):
    r"""Batch normalisation of points with a centroid and a mean distance for each domain.

    As :class:`LorentzBatchNorm1d`, with ``mu`` and ``sigma`` those of the sample's domain (as in
    the domain-specific batch normalisation of [1]_ and [2]_); ``gamma`` and ``beta`` are shared. A
    batch may mix domains.

    Parameters
    ----------
    num_features : int
        Dimension n of the points.
    n_domains : int
        Number of domains; a domain is an integer in ``[0, n_domains)``.
    eps : float, default 1e-5
    momentum : float or None, default 0.1
        Weight of the new batch in the statistics of the domains it holds; None for the plain mean
        over the batches of each domain.
    affine : bool, default True
    unseen : {"raise", "batch"}, default "raise"
        What evaluation does with a domain that training has not met and that was not adapted to
        (:func:`adapt_domain_statistics`): raise, or take the statistics of the domain's points in
        the present batch.
    manifold : Lorentz
        Manifold of input and output.

    Attributes
    ----------
    weight, bias : Parameter, shape (1,), and ManifoldParameter, shape (n,), or None
    running_mean : Tensor, shape (n_domains, n)
        Logarithms at the origin of the running centroids.
    running_dispersion : Tensor, shape (n_domains,)
    num_batches_tracked : Tensor, shape (n_domains,)
        Zero for unseen domains.
    domain : int, Tensor or None
        The domain where none is passed to ``forward``; see :func:`use_domain`.

    Raises
    ------
    ValueError
        If the input has another shape, no domain is given, a domain is out of range or unseen, or
        one point stands for a domain in training.

    Notes
    -----
    Input ``(N, n)``, ``(N, n, L)`` or ``(N, n, H, W)`` with the manifold dimension at axis 1 and
    ``domain`` an integer or a tensor ``(N,)``. On accelerators the checks of the domains run there
    and stop the program without naming the domain.

    References
    ----------
    .. [1] R. Kobler et al.: SPD domain-specific batch normalization to crack interpretable
       unsupervised domain adaptation in EEG, NeurIPS 2022.
    .. [2] HEEGNet: Hyperbolic embeddings for EEG, ICLR 2026.
    """

    def __init__(
        self,
        num_features: int,
        n_domains: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        *,
        manifold: Lorentz,
        unseen: Unseen = "raise",
    ) -> None:
        self._check_domains(n_domains, unseen)
        self._statistics_shape = (n_domains,)  # read by the base class, before Module.__init__
        super().__init__(num_features, eps, momentum, affine, manifold=manifold)
        self.n_domains = n_domains
        self.unseen = unseen
        self.domain = None

    def forward(self, x: Tensor, domain: int | Tensor | None = None) -> Tensor:
        """Return the normalised points."""
        self._check(x)
        index = self._index(x, self.domain if domain is None else domain)
        points = self._columns(x.unsqueeze(-1) if x.dim() == 2 else x)
        with torch.autocast(x.device.type, enabled=False):
            c = self.manifold.c.to(points.dtype)
            if self.training:
                one_hot, count = self._members(index, points.shape[2], stats_dtype(points))
                self._require(count != 1, "needs more than 1 point in training", index)
                mean, w, p, dispersion = self._statistics(points, index, one_hot, count, c)
                with torch.no_grad():
                    self._track_rows(self.manifold.logmap0(mean), dispersion, count > 0)
                at = mean[index].unsqueeze(-1)
            else:
                at, w, p, dispersion = self._from_running(points, index, c)
            scale = 1 / (dispersion[index].view(-1, 1, 1) + self.eps)
            scale = scale if self.weight is None else self.weight * scale
            return from_origin(w, p, at, scale, self.bias, c).view(x.shape)

    def _from_running(
        self, x: Tensor, index: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean = self.manifold.expmap0(self.running_mean.to(x.dtype))
        dispersion = self.running_dispersion.to(x.dtype)
        if self.unseen == "raise":
            self._require_seen(index)
        else:
            one_hot, count = self._members(index, x.shape[2], stats_dtype(x))
            fresh_mean, _, _, fresh = self._statistics(x, index, one_hot, count, c)
            seen = self.num_batches_tracked > 0
            mean = torch.where(seen.unsqueeze(-1), mean, fresh_mean)
            dispersion = torch.where(seen, dispersion, fresh)
        at = mean[index].unsqueeze(-1)
        w, p = to_origin(x, at, c)
        return at, w, p, dispersion

    def _statistics(
        self, x: Tensor, index: Tensor, one_hot: Tensor, count: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return centroids, points moved from them to the origin, their norms, mean distances."""
        wide = one_hot.dtype
        share = one_hot / count.clamp(min=1).unsqueeze(-1)
        tau = torch.sqrt(1 + c * (x * x).sum(1))
        time = torch.where(count > 0, share @ tau.sum(1).to(wide), 1.0)
        c_wide = self.manifold.c.to(wide)
        mean = centroid_of_sums(share @ x.sum(2).to(wide), time.unsqueeze(-1), c_wide).to(x.dtype)
        w, p = to_origin(x, mean[index].unsqueeze(-1), c)
        theta = torch.asinh(p).sum((1, 2)).to(wide)
        return mean, w, p, (share @ theta / torch.sqrt(c_wide)).to(x.dtype)

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return (
            f"{self.num_features}, n_domains={self.n_domains}, eps={self.eps}, "
            f"momentum={self.momentum}, affine={self.affine}, unseen={self.unseen!r}"
        )
