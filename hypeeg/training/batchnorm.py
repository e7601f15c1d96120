"""Batch-norm statistics that belong to the weights they are used with."""

from __future__ import annotations

import math

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from hypeeg.nn import LorentzBatchNorm1d
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
        and the variance within such a batch is too small.
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
    module.eval()
    if not layers or len(trials) < 2:
        return
    momenta = [layer.momentum for layer in layers]
    n_batches = math.ceil(len(trials) / batch_size)
    even_size = max(2, math.ceil(len(trials) / n_batches))
    order = torch.Generator().manual_seed(0)
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # torch's way to say: the plain mean over batches
            layer.train()
        for X, _ in TrialBatches(trials, even_size, order):
            module(X.to(device))
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
            layer.eval()
