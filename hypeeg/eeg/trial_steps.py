"""From the trial steps of a preprocessing spec to the first steps of a scikit-learn pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from hypeeg.eeg.alignment import DomainAlignment
from hypeeg.eeg.ica import IcaCleaner
from hypeeg.eeg.preprocessing import PreprocessingSpec
from hypeeg.eeg.preprocessing_steps import AlignStep, BaselineStep, IcaStep
from hypeeg.eeg.transformers import check_epochs


def make_trial_steps(
    spec: PreprocessingSpec, *, sfreq: float, ch_names: Sequence[str]
) -> list[tuple[str, Any]]:
    """Make the unfitted transformers of a spec's trial steps, in order.

    Parameters
    ----------
    spec : PreprocessingSpec
        With the manifest's recommendations filled in.
    sfreq : float
        Sampling rate of the trials, Hz.
    ch_names : sequence of str
        Channels of the trials.

    Returns
    -------
    list of (str, transformer)
        Names are those of the steps, a repeated one numbered (``"baseline_2"``). Standardisation
        is not among them: the pipeline adds it itself, after these.
    """
    made: list[tuple[str, Any]] = []
    for step in spec.trial_steps:
        options = step.model_dump(exclude={"step"})
        transformer: Any
        if isinstance(step, AlignStep):
            transformer = DomainAlignment(**options)
        elif isinstance(step, IcaStep):
            transformer = IcaCleaner(ch_names=list(ch_names), sfreq=float(sfreq), **options)
        elif isinstance(step, BaselineStep):
            transformer = Baseline(**options, tmin=spec.tmin, sfreq=float(sfreq))
        else:  # a step without a transformer is a mistake of ours, not of the spec
            raise TypeError(f"no transformer for step {step!r}")
        earlier = sum(name.partition("_")[0] == step.step for name, _ in made)
        made.append((f"{step.step}_{earlier + 1}" if earlier else step.step, transformer))
    return made


class Baseline(TransformerMixin, BaseEstimator):
    """Subtract the mean of an interval from each channel of each trial; nothing is learned.

    Parameters
    ----------
    start, end : float
        Seconds, same origin as `tmin`; the samples at both ends are included, as in MNE.
    tmin : float
        Time of the first sample, seconds.
    sfreq : float
        Sampling rate, Hz.
    """

    def __init__(self, start: float, end: float, tmin: float, sfreq: float) -> None:
        self.start = start
        self.end = end
        self.tmin = tmin
        self.sfreq = sfreq

    def fit(self, X: Any, y: Any = None) -> Baseline:
        """Check that the interval lies inside the trials.

        Parameters
        ----------
        X : array-like of shape (n_trials, n_channels, n_times)
            Training trials.
        y : ignored

        Returns
        -------
        Baseline
            Itself.

        Raises
        ------
        ValueError
            If it does not.
        """
        X = check_epochs(X, owner="Baseline.fit")
        first, last = self._samples()
        if first < 0 or last >= X.shape[2]:
            end = self.tmin + (X.shape[2] - 1) / self.sfreq
            raise ValueError(
                f"Baseline: {self.start} to {self.end} s lies outside the trials, which span "
                f"{self.tmin:g} to {end:g} s; choose an interval inside"
            )
        self.n_channels_ = X.shape[1]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Subtract the baseline.

        Parameters
        ----------
        X : array-like of shape (n_trials, n_channels, n_times)
            Trials with as many channels as at fit.

        Returns
        -------
        ndarray of the same shape and floating-point type
        """
        check_is_fitted(self, "n_channels_")
        X = check_epochs(X, n_channels=self.n_channels_, owner="Baseline.transform")
        first, last = self._samples()
        mean = X[:, :, first : last + 1].mean(axis=2, keepdims=True, dtype=np.float64)
        return (X - mean).astype(X.dtype)

    def _samples(self) -> tuple[int, int]:
        return (
            round((self.start - self.tmin) * self.sfreq),
            round((self.end - self.tmin) * self.sfreq),
        )
