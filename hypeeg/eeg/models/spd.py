"""What networks of spd-learn need here: the library itself, and batch norm by domain."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor, nn

from hypeeg.nn.domain_norm import DomainNorm, Unseen


def spd_learn(part: str, owner: str) -> Any:
    """Import a module of spd-learn.

    Parameters
    ----------
    part : str
        Such as ``"models"``.
    owner : str
        The network that asks.

    Raises
    ------
    ImportError
        If spd-learn is not installed; the message holds the command.
    """
    try:
        return importlib.import_module(f"spd_learn.{part}")
    except ModuleNotFoundError as error:
        if error.name != "spd_learn":
            raise
        raise ImportError(
            f"{owner} needs spd-learn, which is not installed; run: pip install 'hypeeg[baselines]'"
        ) from error


class SPDDomainBatchNorm(DomainNorm):
    r"""Batch normalisation of symmetric positive-definite matrices with statistics by domain.

    With the Fréchet mean ``M`` and the mean squared distance ``v`` to it of the matrices of the
    sample's domain [1]_,

    .. math:: Y = (M^{-1/2} X M^{-1/2})^{\gamma / \sqrt{v + \epsilon}}.

    A batch may mix domains; ``gamma`` is shared.

    Parameters
    ----------
    num_features : int
        Rows of a matrix.
    n_domains : int
        Number of domains; a domain is an integer in ``[0, n_domains)``.
    eps : float, default 1e-5
    momentum : float or None, default 0.1
        Weight of the new batch in the statistics of the domains it holds; None for the plain mean
        over the batches of each domain.
    unseen : {"raise", "batch"}, default "raise"
        What evaluation does with an unseen domain: raise, or take the statistics of its matrices in
        the present batch.

    Attributes
    ----------
    log_weight : Parameter, shape ()
        Logarithm of ``gamma``.
    running_mean : Tensor, shape (n_domains, num_features ** 2)
        Logarithms of the running means, which move along log-Euclidean geodesics; in [1]_ along
        affine-invariant ones.
    running_dispersion : Tensor, shape (n_domains,)
    num_batches_tracked : Tensor, shape (n_domains,)
        Zero for unseen domains.
    domain : int, Tensor or None
        The domain where none is passed to ``forward``; see :func:`hypeeg.nn.use_domain`.

    Notes
    -----
    Input ``(N, n, n)``. The Fréchet mean is one step from the arithmetic one, and no gradient flows
    through it, as in spd-learn. A domain with one matrix in a training batch has no spread there:
    its running statistics serve, and stay.

    References
    ----------
    .. [1] R. Kobler et al.: SPD domain-specific batch normalization to crack interpretable
       unsupervised domain adaptation in EEG, NeurIPS 2022.
    """

    def __init__(
        self,
        num_features: int,
        n_domains: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        *,
        unseen: Unseen = "raise",
    ) -> None:
        self._check_domains(n_domains, unseen)
        super().__init__()
        self._core = spd_learn("functional.core", type(self).__name__)
        self.num_features, self.n_domains = num_features, n_domains
        self.eps, self.momentum, self.unseen = eps, momentum, unseen
        self.domain = None
        self.log_weight = nn.Parameter(torch.zeros(()))
        self.register_buffer("running_mean", torch.zeros(n_domains, num_features**2))
        self.register_buffer("running_dispersion", torch.ones(n_domains))
        self.register_buffer("num_batches_tracked", torch.zeros(n_domains, dtype=torch.long))

    def forward(self, x: Tensor, domain: int | Tensor | None = None) -> Tensor:
        """Return the normalised matrices, in the shape of the input."""
        n = self.num_features
        if x.dim() != 3 or x.shape[1:] != (n, n):
            raise ValueError(f"x must have shape (N, {n}, {n}); got {tuple(x.shape)}")
        index = self._index(x, self.domain if domain is None else domain)
        log_mean = self.running_mean.to(x.dtype).unflatten(1, (n, n))
        spread = self.running_dispersion.to(x.dtype)
        if not self.training and self.unseen == "raise":
            self._require_seen(index)
            fresh = None
        else:
            one_hot, count = self._members(index, 1, x.dtype)
            share = one_hot / count.clamp(min=1).unsqueeze(-1)
            fresh = count > 1
            if not self.training:
                fresh = fresh & (self.num_batches_tracked == 0)
            now = self._core.matrix_log.apply(self._frechet_mean(x.detach(), index, share))
            log_mean = torch.where(fresh[:, None, None], now, log_mean)
        to_identity = self._core.matrix_exp.apply(-log_mean / 2)[index]
        tangent = self._core.matrix_log.apply(to_identity @ x @ to_identity)
        if fresh is not None:
            now_spread = share @ tangent.square().sum((1, 2))
            if self.training:
                self._track_rows(log_mean.detach().flatten(1), now_spread.detach(), fresh)
            spread = torch.where(fresh, now_spread, spread)
        power = self.log_weight.exp() * torch.rsqrt(spread[index] + self.eps)
        y: Tensor = self._core.matrix_exp.apply(power[:, None, None] * tangent)
        return y

    def _frechet_mean(self, x: Tensor, index: Tensor, share: Tensor) -> Tensor:
        """Return the means of the domains, the identity for those without a matrix."""
        mean = torch.einsum("dn,nij->dij", share, x)
        identity = torch.eye(self.num_features, dtype=x.dtype, device=x.device)
        mean = torch.where((share.sum(1) > 0)[:, None, None], mean, identity)
        root, inverse = self._core.matrix_sqrt_inv.apply(mean)
        tangent = self._core.matrix_log.apply(inverse[index] @ x @ inverse[index])
        step = self._core.matrix_exp.apply(torch.einsum("dn,nij->dij", share, tangent))
        moved: Tensor = root @ step @ root
        return moved

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return (
            f"{self.num_features}, n_domains={self.n_domains}, eps={self.eps}, "
            f"momentum={self.momentum}, unseen={self.unseen!r}"
        )
