"""Domains of trials in training, and the target's statistics afterwards."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import column_or_1d

from hypeeg.nn.domain_norm import adapt_domain_statistics, domain_layers
from hypeeg.training.data import TrialBatches, TrialDataset
from hypeeg.training.inputs import check_trials

UnseenTarget = Literal["block", "source"]


@dataclass(frozen=True)
class DomainData:
    """What a fit is told besides trials and labels.

    Attributes
    ----------
    domains : array-like, shape (n_trials,), or None
        Domain of each training trial: integers or strings.
    X_target_unlabeled : array-like, shape (n, ...), or None
        Trials of the target domain without labels.
    X_target_labeled, y_target_labeled : array-like or None
        Trials of the target domain that join the training set.
    adapt_batch_norm : bool
        Whether ordinary batch normalisation takes its statistics from the target's trials.
    unseen : {"block", "source"}
        Statistics of a target of which the fit saw no trial.
    """

    domains: Any = None
    X_target_unlabeled: Any = None
    X_target_labeled: Any = None
    y_target_labeled: Any = None
    adapt_batch_norm: bool = False
    unseen: UnseenTarget = "block"


@dataclass(frozen=True)
class FitData:
    """Training trials with those of the target among them.

    Attributes
    ----------
    X : ndarray, shape (n_trials, ...), float32
    y : ndarray, shape (n_trials,)
    labels : list of str or int, or None
        Names of the source domains, sorted.
    codes : ndarray, shape (n_trials,), int64, or None
        Domain of each trial: an index into `labels`, or ``len(labels)``, the target.
    X_target : ndarray, shape (n, ...), float32, or None
        All trials of the target, from which its statistics are computed.
    """

    X: np.ndarray
    y: np.ndarray
    labels: list[Any] | None
    codes: np.ndarray | None
    X_target: np.ndarray | None


def gather(estimator: Any, X: np.ndarray, y: np.ndarray, data: DomainData) -> FitData:
    """Check domains and trials of the target, and put the labelled ones to the training trials.

    Parameters
    ----------
    estimator : estimator
        Being fitted; named in messages.
    X : ndarray, shape (n_trials, ...), float32
    y : ndarray, shape (n_trials,)
        Training trials and labels, checked.
    data : DomainData

    Returns
    -------
    FitData

    Raises
    ------
    ValueError
        If lengths or shapes do not match, labels of the target are missing or are no classes of
        the training trials, or the target has one trial only.
    """
    labels: list[Any] | None = None
    codes: np.ndarray | None = None
    if data.domains is not None:
        names = column_or_1d(np.asarray(data.domains))
        check_consistent_length(X, names)
        unique, codes = np.unique(names, return_inverse=True)
        labels = unique.tolist()
    target = _target_trials(estimator, X, "X_target_unlabeled", data.X_target_unlabeled)
    labelled = _target_trials(estimator, X, "X_target_labeled", data.X_target_labeled)
    if (labelled is None) != (data.y_target_labeled is None):
        missing = "y_target_labeled" if labelled is not None else "X_target_labeled"
        raise ValueError(f"{missing} is missing: give both X_target_labeled and y_target_labeled")
    if labelled is not None:
        y_labelled = column_or_1d(np.asarray(data.y_target_labeled))
        check_consistent_length(labelled, y_labelled)
        unknown = sorted(set(y_labelled.tolist()) - set(y.tolist()), key=str)
        if unknown:
            raise ValueError(
                f"y_target_labeled holds the labels {unknown}, which are not among those of y "
                f"({np.unique(y).tolist()}); drop these trials of the target"
            )
        X = np.concatenate([X, labelled])
        y = np.concatenate([y, y_labelled.astype(y.dtype)])
        if codes is not None and labels is not None:
            codes = np.concatenate([codes, np.full(len(labelled), len(labels))])
        target = labelled if target is None else np.concatenate([target, labelled])
    return FitData(X, y, labels, codes, target)


def _target_trials(estimator: Any, X: np.ndarray, name: str, given: Any) -> np.ndarray | None:
    if given is None:
        return None
    trials = check_trials(estimator, given, name)
    if trials.shape[1:] != X.shape[1:]:
        raise ValueError(
            f"{name} has trials of shape {trials.shape[1:]}, but X has trials of shape "
            f"{X.shape[1:]}; prepare them alike"
        )
    if len(trials) < 2:
        raise ValueError(f"{name} has 1 trial, and statistics need at least 2; give more, or none")
    return trials


def check_domain_sizes(train: np.ndarray, codes: np.ndarray, labels: Sequence[Any]) -> None:
    """Raise if a domain has fewer than two training trials, which have no spread.

    Parameters
    ----------
    train : ndarray, int64
        Indices of the training trials.
    codes : ndarray, shape (n_trials,), int64
        Domains of all trials, those of validation too.
    labels : sequence
        Names of the source domains.
    """
    names = [*map(repr, labels), "the target"]
    counts = np.bincount(codes[train], minlength=len(names))
    lonely = ", ".join(names[code] for code in np.unique(codes) if counts[code] < 2)
    if lonely:
        raise ValueError(
            f"of the domains {lonely} fewer than two trials are left for training, and batch "
            "normalisation by domain needs two; leave them out, or set domain=None"
        )


def target_batches(
    X: np.ndarray, batch_size: int, device: torch.device | str
) -> Iterator[torch.Tensor]:
    """Yield the trials of a target in even batches of a fixed random order, on the device."""
    n_batches = math.ceil(len(X) / batch_size)
    even = max(2, math.ceil(len(X) / n_batches))
    order = torch.Generator().manual_seed(0)
    for batch, _ in TrialBatches(TrialDataset(X), even, order):
        yield batch.to(device)


def settle_target(
    module: torch.nn.Module,
    X_target: np.ndarray | None,
    unseen: UnseenTarget,
    batch_size: int,
    device: torch.device | str,
) -> None:
    """Give the target, the last domain, its statistics for good where they can be known.

    Parameters
    ----------
    module : torch.nn.Module
        Trained, with layers that keep statistics for each domain.
    X_target : ndarray, shape (n, ...), or None
        Trials of the target.
    unseen : {"block", "source"}
        Without them: leave it unseen, or take the mean over the source domains.
    batch_size : int
    device : torch.device or str
    """
    layers = domain_layers(module)
    target = layers[0].n_domains - 1
    if X_target is not None:
        batches = target_batches(X_target, batch_size, device)
        adapt_domain_statistics(module, batches, target)
    elif unseen == "source":
        for layer in layers:
            layer.set_to_mean_of(range(target), target)


@contextmanager
def target_of_block(
    module: torch.nn.Module, X: np.ndarray, batch_size: int, device: torch.device | str
) -> Iterator[int]:
    """Run a block in which the target, if unseen, has the statistics of these trials.

    Parameters
    ----------
    module : torch.nn.Module
        Trained, with layers that keep statistics for each domain; as before afterwards.
    X : ndarray, shape (n_trials, ...), float32
        The block of trials to predict.
    batch_size : int
    device : torch.device or str

    Yields
    ------
    int
        The target domain.

    Raises
    ------
    ValueError
        If the target is unseen and there is one trial only.
    """
    layers = domain_layers(module)
    target = layers[0].n_domains - 1
    if all(bool(layer.num_batches_tracked[target] > 0) for layer in layers):
        yield target
        return
    if len(X) < 2:
        raise ValueError(
            "X has 1 trial of a domain that the fit saw no trial of: with unseen='block' the block "
            "given to predict is the domain, and one trial has no spread. Predict all trials of "
            "the domain at once, give the fit X_target_unlabeled, or set unseen='source' to use "
            "the mean statistics of the training domains"
        )
    try:
        adapt_domain_statistics(module, target_batches(X, batch_size, device), target)
        yield target
    finally:
        for layer in layers:
            layer.reset_domain(target)
