"""Batch normalisation of Euclidean features with statistics for each domain."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from hypeeg.nn.domain_norm import DomainNorm, Unseen

Dispersion = Literal["distance", "variance"]


class DomainBatchNorm(DomainNorm):
    r"""Batch normalisation of vectors with a mean and a dispersion for each domain.

    With ``dispersion="distance"`` the flat limit of :class:`hypeeg.nn.LorentzDomainBatchNorm`: with
    mean ``m`` and mean distance ``sigma`` to it of the vectors of the sample's domain,

    .. math:: y = \beta + \gamma \frac{x - m}{\sigma + \epsilon}.

    With ``dispersion="variance"`` ``torch.nn.BatchNorm1d`` of each domain [1]_: every feature is
    divided by its own standard deviation ``sqrt(var + eps)``. ``gamma`` and ``beta`` are shared by
    the domains. A batch may mix domains.

    Parameters
    ----------
    num_features : int
        Dimension n of the vectors.
    n_domains : int
        Number of domains; a domain is an integer in ``[0, n_domains)``.
    eps : float, default 1e-5
    momentum : float or None, default 0.1
        Weight of the new batch in the statistics of the domains it holds; None for the plain mean
        over the batches of each domain. The first batch of a domain is taken as it is.
    affine : bool, default True
        Whether ``gamma`` and ``beta`` are learned.
    dispersion : {"distance", "variance"}, default "distance"
    unseen : {"raise", "batch"}, default "raise"
        What evaluation does with a domain that training has not met and that was not adapted to
        (:func:`hypeeg.nn.adapt_domain_statistics`): raise, or take the statistics of the domain's
        vectors in the present batch.

    Attributes
    ----------
    weight : Parameter, shape (1,), or (n,) with ``"variance"``, or None
    bias : Parameter, shape (n,), or None
    running_mean : Tensor, shape (n_domains, n)
    running_dispersion : Tensor, shape (n_domains,), or (n_domains, n) with ``"variance"``
        Mean distance, or unbiased variance.
    num_batches_tracked : Tensor, shape (n_domains,)
        Zero for unseen domains.
    domain : int, Tensor or None
        The domain where none is passed to ``forward``; see :func:`hypeeg.nn.use_domain`.

    Raises
    ------
    ValueError
        If the input has another shape, no domain is given, a domain is out of range or unseen, or
        one vector stands for a domain in training.

    Notes
    -----
    Input ``(N, n)``, ``(N, n, L)`` or ``(N, n, H, W)`` with the features at axis 1 and ``domain``
    an integer or a tensor ``(N,)``. Half precision is raised to float32.

    References
    ----------
    .. [1] W.-G. Chang et al.: Domain-specific batch normalization for unsupervised domain
       adaptation, CVPR 2019.
    """

    def __init__(
        self,
        num_features: int,
        n_domains: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        *,
        dispersion: Dispersion = "distance",
        unseen: Unseen = "raise",
    ) -> None:
        self._check_domains(n_domains, unseen)
        if dispersion not in get_args(Dispersion):
            raise ValueError(
                f"dispersion must be one of {get_args(Dispersion)}; got {dispersion!r}"
            )
        super().__init__()
        self.num_features, self.n_domains = num_features, n_domains
        self.eps, self.momentum, self.affine = eps, momentum, affine
        self.dispersion, self.unseen = dispersion, unseen
        self.domain = None
        by_feature = dispersion == "variance"
        if affine:
            self.weight = nn.Parameter(torch.ones(num_features if by_feature else 1))
            self.bias = nn.Parameter(torch.zeros(num_features))
        else:
            self.register_parameter("weight", None)
            self.register_parameter("bias", None)
        rows = (n_domains, num_features) if by_feature else (n_domains,)
        self.register_buffer("running_mean", torch.zeros(n_domains, num_features))
        self.register_buffer("running_dispersion", torch.ones(rows))
        self.register_buffer("num_batches_tracked", torch.zeros(n_domains, dtype=torch.long))

    def forward(self, x: Tensor, domain: int | Tensor | None = None) -> Tensor:
        """Return the normalised vectors, in the shape of the input."""
        if x.dim() not in (2, 3, 4) or x.shape[1] != self.num_features:
            raise ValueError(
                f"x must have shape (N, n), (N, n, L) or (N, n, H, W) with n = num_features = "
                f"{self.num_features} at axis 1; got {tuple(x.shape)}"
            )
        index = self._index(x, self.domain if domain is None else domain)
        with torch.autocast(x.device.type, enabled=False):
            vectors = x.reshape(*x.shape[:2], -1)
            vectors = vectors.to(torch.promote_types(vectors.dtype, self.running_mean.dtype))
            mean, spread = self._of_domains(vectors, index)
            y = vectors - mean[index].unsqueeze(-1)
            scale = (
                1 / (spread + self.eps).unsqueeze(-1)
                if self.dispersion == "distance"
                else torch.rsqrt(spread + self.eps)
            )
            scale = scale[index].unsqueeze(-1)
            if self.weight is not None:
                scale = scale * self.weight.unsqueeze(-1)
            y = y * scale
            if self.bias is not None:
                y = y + self.bias.unsqueeze(-1)
            return y.view(x.shape)

    def _of_domains(self, x: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and dispersions of all domains, of the batch or kept."""
        if self.training:
            one_hot, count = self._members(index, x.shape[2], x.dtype)
            self._require(count != 1, "needs more than 1 vector in training", index)
            mean, spread = self._statistics(x, index, one_hot, count)
            kept = spread.detach()
            if self.dispersion == "variance":
                kept = kept * (count / (count - 1).clamp(min=1)).unsqueeze(-1)
            self._track_rows(mean.detach(), kept, count > 0)
            return mean, spread
        mean, spread = self.running_mean.to(x.dtype), self.running_dispersion.to(x.dtype)
        if self.unseen == "raise":
            self._require_seen(index)
            return mean, spread
        one_hot, count = self._members(index, x.shape[2], x.dtype)
        fresh_mean, fresh = self._statistics(x, index, one_hot, count)
        seen = self.num_batches_tracked > 0
        mean = torch.where(seen.unsqueeze(-1), mean, fresh_mean)
        return mean, torch.where(seen.unsqueeze(-1) if fresh.dim() == 2 else seen, spread, fresh)

    def _statistics(
        self, x: Tensor, index: Tensor, one_hot: Tensor, count: Tensor
    ) -> tuple[Tensor, Tensor]:
        share = one_hot / count.clamp(min=1).unsqueeze(-1)
        mean = share @ x.sum(2)
        centred = x - mean[index].unsqueeze(-1)
        if self.dispersion == "variance":
            return mean, share @ centred.square().sum(2)
        return mean, share @ torch.linalg.vector_norm(centred, dim=1).sum(1)

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return (
            f"{self.num_features}, n_domains={self.n_domains}, eps={self.eps}, "
            f"momentum={self.momentum}, affine={self.affine}, dispersion={self.dispersion!r}, "
            f"unseen={self.unseen!r}"
        )
