"""Batch normalisation with statistics for each domain: subject, session, scanner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypeeg.geometry import Lorentz
from hypeeg.nn.batchnorm import LorentzBatchNormBase
from hypeeg.nn.recentre import centroid_of_sums, from_origin, stats_dtype, to_origin

Unseen = Literal["raise", "batch"]


class LorentzDomainBatchNorm(LorentzBatchNormBase):
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

    domain: int | Tensor | None

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
        if n_domains < 1:
            raise ValueError(f"n_domains must be positive; got {n_domains}")
        if unseen not in get_args(Unseen):
            raise ValueError(f"unseen must be one of {get_args(Unseen)}; got {unseen!r}")
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
                one_hot, count = self._members(index, points)
                self._require(count != 1, "needs more than 1 point in training", index)
                mean, w, p, dispersion = self._statistics(points, index, one_hot, count, c)
                self._track(mean.detach(), dispersion.detach(), count > 0)
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
        seen = self.num_batches_tracked > 0
        if self.unseen == "raise":
            self._require(
                seen,
                "needs statistics in evaluation (train with it, call adapt_domain_statistics, or "
                'build the layer with unseen="batch")',
                index,
            )
        else:
            one_hot, count = self._members(index, x)
            fresh_mean, _, _, fresh = self._statistics(x, index, one_hot, count, c)
            mean = torch.where(seen.unsqueeze(-1), mean, fresh_mean)
            dispersion = torch.where(seen, dispersion, fresh)
        at = mean[index].unsqueeze(-1)
        w, p = to_origin(x, at, c)
        return at, w, p, dispersion

    def _members(self, index: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the membership matrix (domains, N) and the number of points of each domain."""
        one_hot = F.one_hot(index, self.n_domains).to(stats_dtype(x)).mT
        return one_hot, one_hot.sum(1) * x.shape[2]

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

    @torch.no_grad()
    def _track(self, mean: Tensor, dispersion: Tensor, present: Tensor) -> None:
        self.num_batches_tracked.add_(present)
        dtype = self.running_mean.dtype
        if self.momentum is None:
            rate = present.to(dtype) / self.num_batches_tracked.clamp(min=1)
        else:
            rate = present.to(dtype) * self.momentum
            # The first batch of a domain is its statistics: there is nothing to average with yet.
            rate = torch.where(present & (self.num_batches_tracked == 1), 1.0, rate)
        log_mean = self.manifold.logmap0(mean).to(dtype)
        self.running_mean.lerp_(log_mean, rate.unsqueeze(-1))
        self.running_dispersion.lerp_(dispersion.to(dtype), rate)

    def _index(self, x: Tensor, domain: int | Tensor | None) -> Tensor:
        if domain is None:
            raise ValueError(
                "domain is missing: pass an integer or a tensor (N,), or wrap the call in "
                "hypeeg.nn.use_domain(model, domain)"
            )
        if not isinstance(domain, Tensor):
            if not 0 <= domain < self.n_domains:
                raise ValueError(f"domain must lie in [0, {self.n_domains}); got {domain}")
            return torch.full((x.shape[0],), domain, dtype=torch.long, device=x.device)
        if domain.dtype.is_floating_point or domain.shape not in ((), (x.shape[0],)):
            raise ValueError(
                f"domain must be an integer tensor of shape ({x.shape[0]},); got "
                f"{domain.dtype} of shape {tuple(domain.shape)}"
            )
        index = domain.to(x.device, torch.long).expand(x.shape[0])
        inside = (index >= 0) & (index < self.n_domains)
        if torch.compiler.is_compiling() or index.device.type != "cpu":
            torch._assert_async(inside.all())
        elif not inside.all():
            wrong = index[~inside][0].item()
            raise ValueError(f"domain must lie in [0, {self.n_domains}); got {wrong}")
        return index

    def _require(self, good: Tensor, what: str, index: Tensor) -> None:
        """Raise if ``good`` (by domain) is false for a domain of the batch."""
        fits = good[index]
        if torch.compiler.is_compiling() or index.device.type != "cpu":
            torch._assert_async(fits.all())
        elif not fits.all():
            wrong = sorted(set(index[~fits].tolist()))
            raise ValueError(f"each domain {what}; not so domain {wrong}")

    def reset_domain(self, domain: int) -> None:
        """Forget the statistics of one domain: it is unseen again."""
        if not 0 <= domain < self.n_domains:
            raise ValueError(f"domain must lie in [0, {self.n_domains}); got {domain}")
        self.running_mean[domain] = 0
        self.running_dispersion[domain] = 1
        self.num_batches_tracked[domain] = 0

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return (
            f"{self.num_features}, n_domains={self.n_domains}, eps={self.eps}, "
            f"momentum={self.momentum}, affine={self.affine}, unseen={self.unseen!r}"
        )


def _layers(module: nn.Module) -> list[LorentzDomainBatchNorm]:
    return [m for m in module.modules() if isinstance(m, LorentzDomainBatchNorm)]


@contextmanager
def use_domain(module: nn.Module, domain: int | Tensor) -> Iterator[None]:
    """Run a model whose ``forward`` takes no domain with one.

    Parameters
    ----------
    module : nn.Module
        Every :class:`LorentzDomainBatchNorm` in it uses the domain inside the ``with`` block.
    domain : int or Tensor, shape (N,)
    """
    layers = _layers(module)
    before = [layer.domain for layer in layers]
    try:
        for layer in layers:
            layer.domain = domain
        yield
    finally:
        for layer, domain_before in zip(layers, before, strict=True):
            layer.domain = domain_before


@torch.no_grad()
def adapt_domain_statistics(module: nn.Module, batches: Iterable[Tensor], domain: int) -> None:
    """Set the statistics of one domain from unlabelled data, all else kept.

    Parameters
    ----------
    module : nn.Module
        A model with :class:`LorentzDomainBatchNorm` layers. Its other layers run in evaluation
        mode; its modes are restored.
    batches : iterable of Tensor
        Inputs of the model, all of this domain; each batch has equal weight.
    domain : int
        Domain whose statistics are replaced.

    Raises
    ------
    ValueError
        If the model has no such layer or there is no batch.
    """
    layers = _layers(module)
    if not layers:
        raise ValueError("module has no LorentzDomainBatchNorm layer to adapt")
    modes = {part: part.training for part in module.modules()}
    momenta = [layer.momentum for layer in layers]
    module.eval()
    met = False
    try:
        for layer in layers:
            layer.reset_domain(domain)
            layer.momentum = None
            layer.train()
        with use_domain(module, domain):
            for batch in batches:
                module(batch)
                met = True
    finally:
        for part, training in modes.items():
            part.training = training
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    if not met:
        raise ValueError("batches is empty: pass at least one batch of the domain's inputs")
