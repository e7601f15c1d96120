"""Artefact removal by independent components, fitted on training trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from hypeeg.eeg.errors import suggest
from hypeeg.eeg.transformers import check_epochs

EYE_CHANNELS = ("Fp1", "Fpz", "Fp2", "AF7", "AF8", "EOG")
_THRESHOLDS = {"eog": 0.7, "kurtosis": 5.0}
# Interquartile range of a normal distribution, as a multiple of its standard deviation, inverted.
_IQR = 0.7413


class IcaCleaner(TransformerMixin, BaseEstimator):
    """Remove components that a rule takes for artefacts (:class:`mne.preprocessing.ICA`).

    Components and the choice among them are learned from training trials; other trials are only
    projected.

    Parameters
    ----------
    ch_names : sequence of str
        Channels of the trials.
    sfreq : float
        Sampling rate of the trials, Hz.
    n_components, method, rule, channels, threshold, max_exclude, random_state
        As in :class:`~hypeeg.eeg.preprocessing_steps.IcaStep`.

    Attributes
    ----------
    n_channels_ : int
        Channels seen at fit.
    ica_ : mne.preprocessing.ICA
        The decomposition.
    scores_ : ndarray of shape (n_components,)
        What the rule compares with the threshold: the largest absolute correlation with one of the
        channels, or the robust standard deviations of the kurtosis.
    exclude_ : list of int
        Components removed, highest score first.
    """

    def __init__(
        self,
        ch_names: Sequence[str],
        sfreq: float,
        n_components: int | float | None = None,
        method: str = "fastica",
        rule: str = "eog",
        channels: Sequence[str] | None = None,
        threshold: float | None = None,
        max_exclude: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.ch_names = ch_names
        self.sfreq = sfreq
        self.n_components = n_components
        self.method = method
        self.rule = rule
        self.channels = channels
        self.threshold = threshold
        self.max_exclude = max_exclude
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> IcaCleaner:
        """Learn the components and which of them to remove.

        Parameters
        ----------
        X : array-like of shape (n_trials, n_channels, n_times)
            Training trials.
        y : ignored

        Returns
        -------
        IcaCleaner
            Itself.

        Raises
        ------
        ValueError
            For an unknown rule or channel, or no channel that sees the eyes.
        """
        from mne.preprocessing import ICA

        if self.rule not in _THRESHOLDS:
            raise ValueError(f"rule={self.rule!r}: choose one of {', '.join(_THRESHOLDS)}")
        X = check_epochs(X, n_channels=len(self.ch_names), owner="IcaCleaner.fit")
        eyes = self._eye_channels() if self.rule == "eog" else []
        epochs = self._epochs(X)
        self.ica_ = ICA(
            n_components=self.n_components,
            method=self.method,
            random_state=self.random_state,
            max_iter="auto",
            verbose="ERROR",
        ).fit(epochs, verbose="ERROR")
        self.scores_ = self._scores(epochs, eyes)
        limit = _THRESHOLDS[self.rule] if self.threshold is None else self.threshold
        ranked = np.argsort(-self.scores_, kind="stable")
        self.exclude_ = [int(k) for k in ranked if self.scores_[k] > limit][: self.max_exclude]
        self.n_channels_ = X.shape[1]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Remove the components from trials.

        Parameters
        ----------
        X : array-like of shape (n_trials, n_channels, n_times)
            Trials with as many channels as at fit.

        Returns
        -------
        ndarray of the same shape and floating-point type
        """
        check_is_fitted(self, "n_channels_")
        X = check_epochs(X, n_channels=self.n_channels_, owner="IcaCleaner.transform")
        if not self.exclude_:
            return X
        cleaned = self.ica_.apply(self._epochs(X), exclude=self.exclude_, verbose="ERROR")
        return cleaned.get_data(copy=False).astype(X.dtype)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_channels_")

    def _epochs(self, X: np.ndarray) -> Any:
        import mne

        info = mne.create_info(list(self.ch_names), float(self.sfreq), "eeg", verbose="ERROR")
        # The unit does not matter: ICA scales each channel type first.
        return mne.EpochsArray(X.astype(np.float64), info, baseline=None, verbose="ERROR")

    def _eye_channels(self) -> list[str]:
        names = list(self.ch_names)
        if self.channels is None:
            found = [name for name in EYE_CHANNELS if name in names]
            if not found:
                raise ValueError(
                    f"IcaCleaner: rule='eog' needs a channel that sees the eyes, and none of "
                    f"{', '.join(EYE_CHANNELS)} is among the trials' channels; name some in "
                    "'channels', or take rule='kurtosis'"
                )
            return found
        for name in self.channels:
            if name not in names:
                raise ValueError(
                    f"IcaCleaner: channels: {name!r} is not among the trials' channels; "
                    f"{suggest(name, names)}"
                )
        return list(self.channels)

    def _scores(self, epochs: Any, eyes: list[str]) -> np.ndarray:
        options = {"l_freq": None, "h_freq": None, "verbose": "ERROR"}
        if self.rule == "eog":
            scores = [
                self.ica_.score_sources(epochs, target=name, score_func="pearsonr", **options)
                for name in eyes
            ]
            largest: np.ndarray = np.abs(np.stack(scores)).max(axis=0)
            return largest
        from scipy.stats import kurtosis

        peaked = np.asarray(self.ica_.score_sources(epochs, score_func=kurtosis, **options))
        low, middle, high = np.percentile(peaked, [25, 50, 75])
        return (peaked - middle) / max(_IQR * (high - low), np.finfo(float).tiny)
