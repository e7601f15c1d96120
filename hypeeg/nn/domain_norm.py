"""What normalisations with statistics for each domain share, and how a model runs with one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Unseen = Literal["raise", "batch"]


class DomainNorm(nn.Module):
    """Mix-in of layers that keep one row of statistics for each domain.

    Rows of ``running_mean`` and ``running_dispersion`` are moved by :meth:`_track_rows`; a domain
    whose ``num_batches_tracked`` is zero is unseen.

    Attributes
    ----------
    n_domains : int
    unseen : {"raise", "batch"}
        What evaluation does with an unseen domain.
    domain : int, Tensor or None
        The domain where none is passed to ``forward``; see :func:`use_domain`.
    momentum : float or None
    running_mean : Tensor, shape (n_domains, n)
    running_dispersion : Tensor, shape (n_domains,) or (n_domains, n)
    num_batches_tracked : Tensor, shape (n_domains,), int64
    """

    n_domains: int
    unseen: Unseen
    momentum: float | None
    domain: int | Tensor | None
    running_mean: Tensor
    running_dispersion: Tensor
    num_batches_tracked: Tensor

    @staticmethod
    def _check_domains(n_domains: int, unseen: str) -> None:
        if n_domains < 1:
            raise ValueError(f"n_domains must be positive; got {n_domains}")
        if unseen not in get_args(Unseen):
            raise ValueError(f"unseen must be one of {get_args(Unseen)}; got {unseen!r}")

    def reset_domain(self, domain: int) -> None:
        """Forget the statistics of one domain: it is unseen again."""
        self._check_inside(domain)
        self.running_mean[domain] = 0
        self.running_dispersion[domain] = 1
        self.num_batches_tracked[domain] = 0

    def set_to_mean_of(self, domains: Sequence[int], domain: int) -> None:
        """Give one domain the mean of the statistics of others, so that it counts as seen.

        Parameters
        ----------
        domains : sequence of int
            Those averaged, with equal weights; unseen ones are left out.
        domain : int
            The domain that is set.

        Raises
        ------
        ValueError
            If a domain is out of range, or none of those averaged has been seen.
        """
        for d in (*domains, domain):
            self._check_inside(d)
        seen = [d for d in domains if self.num_batches_tracked[d] > 0]
        if not seen:
            raise ValueError(f"none of the domains {list(domains)} has statistics; train first")
        self.running_mean[domain] = self.running_mean[seen].mean(0)
        self.running_dispersion[domain] = self.running_dispersion[seen].mean(0)
        self.num_batches_tracked[domain] = 1

    def _check_inside(self, domain: int) -> None:
        if not 0 <= domain < self.n_domains:
            raise ValueError(f"domain must lie in [0, {self.n_domains}); got {domain}")

    def _index(self, x: Tensor, domain: int | Tensor | None) -> Tensor:
        """Return the domain of each sample, shape (N,), int64."""
        if domain is None:
            raise ValueError(
                "domain is missing: pass an integer or a tensor (N,), or wrap the call in "
                "hypeeg.nn.use_domain(model, domain)"
            )
        if not isinstance(domain, Tensor):
            self._check_inside(domain)
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

    def _members(self, index: Tensor, n_points: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the membership matrix (domains, N) and the number of points of each domain."""
        one_hot = F.one_hot(index, self.n_domains).to(dtype).mT
        return one_hot, one_hot.sum(1) * n_points

    def _require(self, good: Tensor, what: str, index: Tensor) -> None:
        """Raise if ``good`` (by domain) is false for a domain of the batch."""
        fits = good[index]
        if torch.compiler.is_compiling() or index.device.type != "cpu":
            torch._assert_async(fits.all())
        elif not fits.all():
            wrong = sorted(set(index[~fits].tolist()))
            raise ValueError(f"each domain {what}; not so domain {wrong}")

    def _require_seen(self, index: Tensor) -> None:
        self._require(
            self.num_batches_tracked > 0,
            "needs statistics in evaluation (train with it, call adapt_domain_statistics, or "
            'build the layer with unseen="batch")',
            index,
        )

    @torch.no_grad()
    def _track_rows(self, mean: Tensor, dispersion: Tensor, present: Tensor) -> None:
        """Move the rows of the domains that a batch holds."""
        self.num_batches_tracked.add_(present)
        dtype = self.running_mean.dtype
        if self.momentum is None:
            rate = present.to(dtype) / self.num_batches_tracked.clamp(min=1)
        else:
            rate = present.to(dtype) * self.momentum
            # The first batch of a domain is its statistics: there is nothing to average with yet.
            rate = torch.where(present & (self.num_batches_tracked == 1), 1.0, rate)
        for running, now in ((self.running_mean, mean), (self.running_dispersion, dispersion)):
            running.lerp_(now.to(dtype), rate.unsqueeze(-1) if running.dim() == 2 else rate)


def domain_layers(module: nn.Module) -> list[DomainNorm]:
    """Return the layers with statistics for each domain."""
    return [m for m in module.modules() if isinstance(m, DomainNorm)]


@contextmanager
def use_domain(module: nn.Module, domain: int | Tensor) -> Iterator[None]:
    """Run a model whose ``forward`` takes no domain with one.

    Parameters
    ----------
    module : nn.Module
        Every layer in it with statistics for each domain (:class:`LorentzDomainBatchNorm`,
        :class:`DomainBatchNorm`) uses the domain inside the ``with`` block.
    domain : int or Tensor, shape (N,)
    """
    layers = domain_layers(module)
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
        A model with layers that have statistics for each domain. Its other layers run in evaluation
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
    layers = domain_layers(module)
    if not layers:
        raise ValueError("module has no LorentzDomainBatchNorm or DomainBatchNorm layer to adapt")
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
