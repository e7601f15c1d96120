"""Trials in memory, cut into batches and into training and validation parts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import StratifiedShuffleSplit

# Takes a batch of trials (n, ...) and their class indices (n,), returns as many of both.
Augmentation = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]

# Of so many domains a batch holds trials, as in batch normalisation by domain for EEG (Kobler
# et al., NeurIPS 2022): enough of each for its statistics, and more than one subject a step.
DOMAINS_IN_A_BATCH = 5


class TrialDataset(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Trials, their class indices and, for networks that ask for it, their domains as tensors.

    Parameters
    ----------
    X : ndarray, shape (n_trials, ...), float32
        Not copied, unless it cannot be written to.
    y : ndarray, shape (n_trials,), int64, optional
        Class indices; zeros when there are none to give.
    device : torch.device, optional
        Where the trials are wanted.  They are moved there at once if they take less than a
        quarter of the free memory of a GPU; otherwise each batch is moved when it is used.
    domain : ndarray, shape (n_trials,), int64, optional
        Domain of each trial.  With it the network is called as ``module(x=..., domain=...)``.
    """

    def __init__(
        self,
        X: np.ndarray,
        y: np.ndarray | None = None,
        device: torch.device | None = None,
        domain: np.ndarray | None = None,
    ) -> None:
        X = np.ascontiguousarray(X, dtype=np.float32)
        self.X = torch.from_numpy(X if X.flags.writeable else X.copy())
        self.y = (
            torch.zeros(len(self.X), dtype=torch.int64)
            if y is None
            else torch.from_numpy(np.array(y, dtype=np.int64))
        )
        self.domain = None if domain is None else torch.from_numpy(np.array(domain, dtype=np.int64))
        if device is not None and device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if self.X.nbytes < free // 4:
                self.X, self.y = self.X.to(device), self.y.to(device)
                self.domain = None if self.domain is None else self.domain.to(device)

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, index: Any) -> tuple[Any, torch.Tensor]:
        X = self.X[index]
        return (X if self.domain is None else {"x": X, "domain": self.domain[index]}), self.y[index]


class TrialBatches:
    """Iterate over a :class:`TrialDataset` in batches, in place of torch's ``DataLoader``.

    The trials are in memory already, so a batch is one indexing operation instead of one call
    and one copy for every trial.

    Parameters
    ----------
    dataset : TrialDataset
        The trials.
    batch_size : int
        Trials in a batch.  A last batch of a single trial joins the one before, because batch
        normalisation has no variance to offer to one trial.
    generator : torch.Generator, optional
        CPU generator of a new order at every pass; without one the order is the stored one.  With
        domains, a batch drawn in random order holds at least two trials of each of a few domains
        (:data:`DOMAINS_IN_A_BATCH` of them where `batch_size` allows), as many batches as without.
    augment : callable, optional
        Changes each batch that is drawn in a new order: ``(X, y) -> (X, y)``.  Passes in stored
        order, which predict and validate, show the trials as they are.
    share : tuple of int, default (0, 1)
        Which share of each batch to give, of how many: with ``(rank, size)`` each of `size`
        processes gets every `size`-th trial of the same batches.  A batch is never so small that a
        share holds fewer than two trials.

    Attributes
    ----------
    joint_size : int
        Trials in the last batch, all shares together.

    Raises
    ------
    ValueError
        If shares are asked for of batches by domain, or of too few trials.
    """

    def __init__(
        self,
        dataset: TrialDataset,
        batch_size: int,
        generator: torch.Generator | None = None,
        augment: Augmentation | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.generator = generator
        self.augment = augment
        self.share = share
        self.joint_size = 0
        if share[1] > 1:
            self._check_share()

    @property
    def _smallest(self) -> int:
        return 2 * self.share[1]

    def _check_share(self) -> None:
        if self.dataset.domain is not None:
            raise ValueError(
                "batches by domain are not divided among processes; train a network without "
                "domains, or in one process"
            )
        if min(self.batch_size, len(self.dataset)) < self._smallest:
            raise ValueError(
                f"batch_size={self.batch_size} of {len(self.dataset)} trials leaves a process "
                f"fewer than two trials; use {self._smallest} or more of both with "
                f"{self.share[1]} processes, or fewer processes"
            )

    def _bounds(self) -> list[int]:
        n = len(self.dataset)
        bounds = [*range(0, n, self.batch_size), n]
        if len(bounds) > 2 and bounds[-1] - bounds[-2] < self._smallest:
            del bounds[-2]
        return bounds

    def __len__(self) -> int:
        if self.generator is None or self.dataset.domain is None:
            return len(self._bounds()) - 1
        counts = _counts(self.dataset.domain)
        return _n_batches(counts, self.batch_size)

    def __iter__(self) -> Iterator[tuple[Any, torch.Tensor]]:
        bounds = self._bounds()
        if self.generator is None:
            for start, stop in itertools.pairwise(bounds):
                yield self.dataset[start:stop]
            return
        device = self.dataset.X.device
        if self.dataset.domain is not None:
            domain = self.dataset.domain.cpu()
            for index in _batches_by_domain(domain, self.batch_size, self.generator):
                yield self._augmented(*self.dataset[index.to(device)])
            return
        # Drawn on the CPU whatever the device, so that a seed means one order everywhere.
        order = torch.randperm(len(self.dataset), generator=self.generator).to(device)
        rank, size = self.share
        for start, stop in itertools.pairwise(bounds):
            self.joint_size = stop - start
            yield self._augmented(*self.dataset[order[start + rank : stop : size]])

    def _augmented(self, trials: Any, y: torch.Tensor) -> tuple[Any, torch.Tensor]:
        if self.augment is None:
            return trials, y
        if isinstance(trials, dict):
            x, y = self.augment(trials["x"], y)
            return {**trials, "x": x}, y
        return self.augment(trials, y)


def _counts(domain: torch.Tensor) -> list[int]:
    counts = torch.bincount(domain.cpu())
    return [int(n) for n in counts[counts > 0]]


def _n_chunks(counts: list[int], batch_size: int) -> list[int]:
    """Return into how many chunks the trials of each domain are cut."""
    size = max(2, batch_size // max(2, min(DOMAINS_IN_A_BATCH, len(counts))))
    return [max(1, min(round(n / size), n // 2)) for n in counts]


def _n_batches(counts: list[int], batch_size: int) -> int:
    return min(-(-sum(counts) // batch_size), sum(_n_chunks(counts, batch_size)))


def _batches_by_domain(
    domain: torch.Tensor, batch_size: int, generator: torch.Generator
) -> Iterator[torch.Tensor]:
    """Yield indices of batches that hold several trials of each domain they hold at all.

    Each domain's trials, in a new order, are cut into chunks of at least two; batches are made of
    chunks in a new order, and their sizes differ a little.
    """
    counts = _counts(domain)
    chunks: list[torch.Tensor] = []
    for code, parts in zip(torch.unique(domain), _n_chunks(counts, batch_size), strict=True):
        members = torch.nonzero(domain == code).squeeze(1)
        members = members[torch.randperm(len(members), generator=generator)]
        chunks.extend(members.tensor_split(parts))
    order = torch.randperm(len(chunks), generator=generator)
    for group in order.tensor_split(_n_batches(counts, batch_size)):
        yield torch.cat([chunks[i] for i in group])


def split_validation(
    y: np.ndarray, fraction: float, seed: int, domain: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Split trials into a training and a validation part, with the classes in proportion.

    Parameters
    ----------
    y : ndarray, shape (n_trials,), int64
        Class indices.
    fraction : float
        Share of the trials to hold out, in (0, 1).
    seed : int
        Seed of the draw.
    domain : ndarray, shape (n_trials,), int64, optional
        Domains, kept in proportion too if there are trials enough for each class of each domain
        to appear in both parts.

    Returns
    -------
    train, valid : ndarray of int64
        Sorted indices.

    Raises
    ------
    ValueError
        If the trials do not suffice for every class to appear in both parts.
    """
    counts = np.bincount(y)
    n_valid = int(np.ceil(fraction * len(y)))
    problem = ValueError(
        f"early_stopping with validation_fraction={fraction} needs every class in both the "
        f"training and the validation part, but y has {counts.tolist()} trials per class "
        f"({n_valid} of {len(y)} would be held out); give more trials, raise "
        "validation_fraction, or set early_stopping=False"
    )
    if counts.min() < 2 or n_valid < len(counts) or len(y) - n_valid < len(counts):
        raise problem
    strata = y
    if domain is not None:
        _, joint, sizes = np.unique(
            domain * len(counts) + y, return_inverse=True, return_counts=True
        )
        if sizes.min() >= 2 and len(sizes) <= min(n_valid, len(y) - n_valid):
            strata = joint
    splitter = StratifiedShuffleSplit(n_splits=1, test_size=n_valid, random_state=seed)
    train, valid = next(splitter.split(np.zeros((len(y), 1)), strata))
    if any(len(np.unique(y[part])) < len(counts) for part in (train, valid)):
        raise problem
    return np.sort(train), np.sort(valid)
