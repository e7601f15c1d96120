"""Epochs of a dataset, as arrays with what is needed to interpret them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from hypeeg.eeg.errors import CorruptDataError
from hypeeg.eeg.preprocessing import PreprocessingSpec


@dataclass(frozen=True, eq=False)
class EpochsData:
    """Epochs of one dataset.

    Parameters
    ----------
    X : ndarray of shape (n_trials, n_channels, n_times), float32
        Signals in microvolts (MOABB's unit factor applied to the stored values).
    y : ndarray of shape (n_trials,), str
        Event name of each trial.
    metadata : DataFrame
        Columns subject (int), session (str) and run (str), one row a trial, index 0…n-1.
    sfreq : float
        Sampling rate of X, Hz.
    ch_names : tuple of str
        Channels, in the order of X's second axis.
    dataset : str
        Name of the manifest.
    paradigm : str
        The manifest's paradigm.
    scoring : str
        MOABB's score for it: ``"roc_auc"`` for two classes, else ``"accuracy"``.
    preprocessing : PreprocessingSpec
        Preprocessing as applied (its ``standardise`` still to be done by the pipeline).
    notes : tuple of str
        What was left out or looked odd.
    """

    X: np.ndarray
    y: np.ndarray
    metadata: pd.DataFrame
    sfreq: float
    ch_names: tuple[str, ...]
    dataset: str
    paradigm: str
    scoring: str
    preprocessing: PreprocessingSpec
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.X)
        if not len(self.y) == len(self.metadata) == n or self.X.shape[1] != len(self.ch_names):
            raise ValueError(
                f"X {self.X.shape}, y {self.y.shape}, metadata {self.metadata.shape} and "
                f"{len(self.ch_names)} channel names do not fit together"
            )

    @property
    def classes(self) -> list[str]:
        """Event names that occur, in alphabetical order (scikit-learn's order)."""
        return sorted(set(self.y.tolist()))

    @property
    def subjects(self) -> list[int]:
        """Subject numbers, in loading order."""
        return [int(subject) for subject in self.metadata["subject"].unique()]

    def select(self, rows: np.ndarray) -> EpochsData:
        """The same dataset with some of its trials.

        Parameters
        ----------
        rows : ndarray
            Boolean mask over trials, or trial indices.
        """
        rows = np.asarray(rows)
        index = np.flatnonzero(rows) if rows.dtype == bool else rows
        metadata = self.metadata.iloc[index].reset_index(drop=True)
        return replace(self, X=self.X[index], y=self.y[index], metadata=metadata)

    def with_runs_as_sessions(self) -> EpochsData:
        """The same trials, each run named as a session of its own, ``"session-run"``."""
        session = self.metadata["session"].astype(str) + "-" + self.metadata["run"].astype(str)
        return replace(self, metadata=self.metadata.assign(session=session))

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {int((self.y == name).sum())}" for name in self.classes)
        return (
            f"EpochsData({self.dataset}: X {self.X.shape}, {self.sfreq:g} Hz, "
            f"subjects {self.subjects}, {counts})"
        )


def check_finite(data: EpochsData) -> None:
    """Raise if signals hold NaN or infinite values, naming where.

    Parameters
    ----------
    data : EpochsData
        Loaded epochs.

    Raises
    ------
    CorruptDataError
        Naming subject, session, run and channels of the first such trial.
    """
    with np.errstate(invalid="ignore"):
        total = data.X.sum(dtype=np.float64)
    if np.isfinite(total):
        return
    bad = ~np.isfinite(data.X).all(axis=2)
    if not bad.any():
        return
    trial = int(np.flatnonzero(bad.any(axis=1))[0])
    row = data.metadata.iloc[trial]
    channels = [data.ch_names[k] for k in np.flatnonzero(bad[trial])]
    raise CorruptDataError(
        f"{data.dataset} subject {row.subject} session {row.session} run {row.run}: NaN or "
        f"infinite values in {int(bad.any(axis=1).sum())} of {len(data.X)} trials, channels "
        f"{channels}; leave those channels (preprocessing.channels) or that subject out"
    )
