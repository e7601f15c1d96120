"""Batch-norm statistics that belong to the weights they are used with."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from hypeeg.nn import LorentzBatchNorm1d
from hypeeg.nn.domain_norm import DomainNorm, domain_layers
from hypeeg.training.data import TrialBatches, TrialDataset


@torch.no_grad()
def refresh_batch_norm(
    module: torch.nn.Module, trials: TrialDataset, batch_size: int, device: torch.device | str
) -> None:
    """Compute running means and variances anew from the training trials, at the present weights.

    A running average needs some ``3 / momentum`` steps to forget where it started.  EEGNet's
    momentum is 0.01 and a few dozen trials give one step an epoch, so that a network trained to a
    small loss would predict with statistics that are mostly those of initialisation, at chance.
    One pass without dropout, each batch with equal weight, gives the statistics themselves.

    Parameters
    ----------
    module : torch.nn.Module
        Left in evaluation mode; one without batch normalisation is not run.
    trials : TrialDataset
        Training trials, drawn in a fixed random order: stored orders go by class or by subject,
        and the variance within such a batch is too small.  Layers with statistics for each domain
        keep those of domains that none of the trials is of.
    batch_size : int
        Upper bound of the size of a batch.
    device : torch.device or str
        Where the module is.

    References
    ----------
    .. [1] Y. Wu, J. Johnson: Rethinking "Batch" in BatchNorm, arXiv 2105.07576 (section 3).
    """
    layers = [
        m
        for m in module.modules()
        if isinstance(m, _BatchNorm | LorentzBatchNorm1d) and m.track_running_stats
    ]
    by_domain = domain_layers(module)
    module.eval()
    if not (layers or by_domain) or len(trials) < 2:
        return
    every: list[Any] = [*layers, *by_domain]
    momenta = [layer.momentum for layer in every]
    n_batches = math.ceil(len(trials) / batch_size)
    even_size = max(2, math.ceil(len(trials) / n_batches))
    order = torch.Generator().manual_seed(0)
    hooks: list[Any] = []
    try:
        for layer in layers:
            layer.reset_running_stats()
        for domain in _domains_of(trials, by_domain):
            for norm in by_domain:
                norm.reset_domain(domain)
        for layer in every:
            layer.momentum = None  # torch's way to say: the plain mean over batches
            layer.train()
        hooks += [
            m.register_forward_pre_hook(_PlainMean()) for m in layers if isinstance(m, _BatchNorm)
        ]
        for X, _ in TrialBatches(trials, even_size, order):
            if isinstance(X, dict):
                module(**{name: value.to(device) for name, value in X.items()})
            else:
                module(X.to(device))
    finally:
        for hook in hooks:
            hook.remove()
        for layer, momentum in zip(every, momenta, strict=True):
            layer.momentum = momentum
            layer.eval()


class _PlainMean:
    """Gives torch's layers the momentum of a plain mean.

    They would read how many batches they have seen off the device, and wait for it.
    """

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, layer: Any, inputs: Any) -> None:
        """Set the momentum of the batch to come."""
        self.calls += 1
        layer.momentum = 1 / self.calls


def _domains_of(trials: TrialDataset, layers: list[DomainNorm]) -> list[int]:
    if trials.domain is not None:
        found: list[int] = torch.unique(trials.domain).tolist()
        return found
    # A network of one domain, which no trial has to name.
    return [layer.domain for layer in layers[:1] if isinstance(layer.domain, int)]
