"""Trials in memory, cut into batches and into training and validation parts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from sklearn.model_selection import StratifiedShuffleSplit


class TrialDataset(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Trials and their class indices as two tensors.

    Parameters
    ----------
    X : ndarray, shape (n_trials, ...), float32
        Not copied, unless it cannot be written to.
    y : ndarray, shape (n_trials,), int64, optional
        Class indices; zeros when there are none to give.
    device : torch.device, optional
        Where the trials are wanted.  They are moved there at once if they take less than a
        quarter of the free memory of a GPU; otherwise each batch is moved when it is used.
    """

    def __init__(
        self, X: np.ndarray, y: np.ndarray | None = None, device: torch.device | None = None
    ) -> None:
        X = np.ascontiguousarray(X, dtype=np.float32)
        self.X = torch.from_numpy(X if X.flags.writeable else X.copy())
        self.y = (
            torch.zeros(len(self.X), dtype=torch.int64)
            if y is None
            else torch.from_numpy(np.array(y, dtype=np.int64))
        )
        if device is not None and device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if self.X.nbytes < free // 4:
                self.X, self.y = self.X.to(device), self.y.to(device)

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.X[index], self.y[index]


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
        CPU generator of a new order at every pass; without one the order is the stored one.
    """

    def __init__(
        self,
        dataset: TrialDataset,
        batch_size: int,
        generator: torch.Generator | None = None,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.generator = generator

    def _bounds(self) -> list[int]:
        n = len(self.dataset)
        bounds = [*range(0, n, self.batch_size), n]
        if len(bounds) > 2 and bounds[-1] - bounds[-2] == 1:
            del bounds[-2]
        return bounds

    def __len__(self) -> int:
        return len(self._bounds()) - 1

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        X, y = self.dataset.X, self.dataset.y
        bounds = self._bounds()
        if self.generator is None:
            for start, stop in itertools.pairwise(bounds):
                yield X[start:stop], y[start:stop]
            return
        # Drawn on the CPU whatever the device, so that a seed means one order everywhere.
        order = torch.randperm(len(self.dataset), generator=self.generator).to(X.device)
        for start, stop in itertools.pairwise(bounds):
            index = order[start:stop]
            yield X[index], y[index]


def split_validation(y: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split trials into a training and a validation part, with the classes in proportion.

    Parameters
    ----------
    y : ndarray, shape (n_trials,), int64
        Class indices.
    fraction : float
        Share of the trials to hold out, in (0, 1).
    seed : int
        Seed of the draw.

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
    splitter = StratifiedShuffleSplit(n_splits=1, test_size=n_valid, random_state=seed)
    train, valid = next(splitter.split(np.zeros((len(y), 1)), y))
    if any(len(np.unique(y[part])) < len(counts) for part in (train, valid)):
        raise problem
    return np.sort(train), np.sort(valid)
