"""Stimulus frequencies of steady-state visual evoked potentials, and what is built on them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted

from hypeeg.eeg.transformers import FilterBank, check_epochs


def stimulus_frequencies(
    classes: Sequence[Any],
    *,
    freqs: Mapping[Any, float] | None = None,
    skip: Sequence[str] = (),
    owner: str = "stimulus_frequencies",
) -> dict[str, float]:
    """Read the stimulus frequency of each class off its name.

    Parameters
    ----------
    classes : sequence
        Class names, such as ``"13"``.
    freqs : mapping, optional
        Frequencies in Hz of classes by name, where names are no numbers.
    skip : sequence of str
        Classes without a stimulus.
    owner : str
        Who asks, for the message.

    Returns
    -------
    dict of str to float
        Hz by class name, in order of frequency.

    Raises
    ------
    ValueError
        If a name is no positive number and `freqs` does not hold it, two classes share a frequency,
        or no class is left.
    """
    given = {str(name): value for name, value in (freqs or {}).items()}
    found: dict[str, float] = {}
    for name in (str(label) for label in classes):
        if name in skip:
            continue
        try:
            value = float(given.get(name, name))
        except (TypeError, ValueError):
            value = math.nan
        if not (math.isfinite(value) and value > 0):
            raise ValueError(
                f"{owner}: class {name!r} is named after no frequency in Hz; leave it out of the "
                "events, or use a pipeline that needs no stimulus frequencies"
            )
        found[name] = value
    if not found:
        raise ValueError(f"{owner}: the classes {list(map(str, classes))} hold no stimulus")
    if len(set(found.values())) < len(found):
        raise ValueError(
            f"{owner}: two classes have the same stimulus frequency ({found}); they differ in "
            "phase or place, which this pipeline cannot tell apart"
        )
    return dict(sorted(found.items(), key=lambda item: item[1]))


class StimulusFilterBank(TransformerMixin, BaseEstimator):
    """Band-passes epochs around each stimulus frequency, stacked along the channel axis.

    The frequencies are the names of the training trials' classes, as in MOABB's filter-bank SSVEP
    paradigm, which has the bands ``(f - 0.5, f + 0.5)``.  See :class:`FilterBank` for the output.

    Parameters
    ----------
    sfreq : float
        Sampling rate of the epochs, Hz.
    half_width : float, default 0.5
        A band is its frequency minus to plus this many Hz.
    harmonics : int, default 1
        Bands for each frequency: 1 the frequency itself, 2 also twice the frequency, and so on.
    skip : sequence of str, default ("rest",)
        Classes without a stimulus.
    order : int, default 4
        Order of the filters.

    Attributes
    ----------
    bands_ : list of (float, float)
        The bands, by harmonic, then by frequency.
    """

    def __init__(
        self,
        sfreq: float,
        half_width: float = 0.5,
        harmonics: int = 1,
        skip: Sequence[str] = ("rest",),
        order: int = 4,
    ) -> None:
        self.sfreq = sfreq
        self.half_width = half_width
        self.harmonics = harmonics
        self.skip = skip
        self.order = order

    def fit(self, X: Any, y: Any = None) -> StimulusFilterBank:
        """Read the frequencies off the classes; nothing is learned from the trials.

        Parameters
        ----------
        X : array-like of shape (n_trials, n_channels, n_times)
            Training trials.
        y : array-like of shape (n_trials,)
            Their classes.

        Returns
        -------
        StimulusFilterBank
            Itself.

        Raises
        ------
        ValueError
            If a class is no frequency or a band does not lie between 0 and half of `sfreq`.
        """
        if y is None:
            raise ValueError("StimulusFilterBank.fit needs y, the names of which are frequencies")
        centres = stimulus_frequencies(
            np.unique(y).tolist(), skip=self.skip, owner="bands: stimuli"
        )
        bands = [
            (harmonic * centre - self.half_width, harmonic * centre + self.half_width)
            for harmonic in range(1, self.harmonics + 1)
            for centre in centres.values()
        ]
        for low, high in bands:
            if not 0 < low < high < self.sfreq / 2:
                raise ValueError(
                    f"bands: stimuli: the band {low:g}-{high:g} Hz does not lie between 0 and "
                    f"{self.sfreq / 2:g} Hz, half of sfreq={self.sfreq:g}; give fewer harmonics, "
                    "a smaller half_width, or resample less"
                )
        self.bands_ = bands
        self.filters_ = FilterBank(bands, self.sfreq, self.order).fit(X)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Filter trials.

        Parameters
        ----------
        X : array-like of shape (n_trials, n_channels, n_times)
            Trials with as many channels as at fit.

        Returns
        -------
        ndarray of shape (n_trials, n_bands * n_channels, n_times), floating-point type of X
        """
        check_is_fitted(self, "filters_")
        return self.filters_.transform(X)


class SSVEPClassifier(ClassifierMixin, BaseEstimator):
    """One of MOABB's SSVEP classifiers, which take MNE epochs, on arrays.

    Parameters
    ----------
    estimator : estimator
        ``SSVEP_CCA``, ``SSVEP_TRCA`` or another of ``moabb.pipelines``.  It is fitted with the
        frequencies, written as text, for class names.
    sfreq : float
        Sampling rate of the epochs, Hz.
    freqs : mapping, optional
        Frequency in Hz of each class whose name is no number.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    frequencies_ : dict of str to float
        Stimulus frequency of each class, Hz.
    estimator_ : estimator
        The fitted one.

    Notes
    -----
    The probabilities are MOABB's: correlations less the smallest, scaled to a sum of one.  They
    rank the classes and are not calibrated; those of TRCA need not have their maximum at the class
    that it predicts.
    """

    def __init__(
        self, estimator: Any, sfreq: float, freqs: Mapping[Any, float] | None = None
    ) -> None:
        self.estimator = estimator
        self.sfreq = sfreq
        self.freqs = freqs

    def fit(self, X: Any, y: Any) -> SSVEPClassifier:
        """Fit the classifier.

        Parameters
        ----------
        X : array-like of shape (n_trials, n_channels, n_times)
            Training trials.
        y : array-like of shape (n_trials,)
            Their classes.

        Returns
        -------
        SSVEPClassifier
            Itself.

        Raises
        ------
        ValueError
            If a class has no frequency.
        """
        owner = type(self.estimator).__name__
        X = check_epochs(X, owner=owner)
        self.classes_, index = np.unique(np.asarray(y), return_inverse=True)
        self.n_channels_ = X.shape[1]
        self.frequencies_ = stimulus_frequencies(
            self.classes_.tolist(), freqs=self.freqs, owner=owner
        )
        # MOABB's classifiers sort their class names: repr keeps every digit of a frequency.
        names = np.array([repr(self.frequencies_[str(label)]) for label in self.classes_])
        self._codes = {str(name): code for code, name in enumerate(names, start=1)}
        self.estimator_ = clone(self.estimator)
        self.estimator_.fit(self._epochs(X, index + 1), names[index])
        self._order = np.argsort(names)  # columns of its probabilities
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of each trial, as MOABB's classifier decides.

        Parameters
        ----------
        X : array-like of shape (n_trials, n_channels, n_times)
            Trials.

        Returns
        -------
        ndarray of shape (n_trials,)
        """
        names = np.asarray(self.estimator_.predict(self._unlabelled(X)), dtype=str)
        label = {name: self.classes_[code - 1] for name, code in self._codes.items()}
        return np.array([label[name] for name in names], dtype=self.classes_.dtype)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return MOABB's probabilities.

        Parameters
        ----------
        X : array-like of shape (n_trials, n_channels, n_times)
            Trials.

        Returns
        -------
        ndarray of shape (n_trials, n_classes)
        """
        theirs = np.asarray(self.estimator_.predict_proba(self._unlabelled(X)))
        ours = np.empty_like(theirs)
        ours[:, self._order] = theirs
        return ours

    def _unlabelled(self, X: Any) -> Any:
        check_is_fitted(self, "estimator_")
        X = check_epochs(X, n_channels=self.n_channels_, owner=type(self.estimator).__name__)
        return self._epochs(X, np.ones(len(X), int))

    def _epochs(self, X: np.ndarray, codes: np.ndarray) -> Any:
        import mne

        events = np.column_stack([np.arange(len(X)), np.zeros(len(X), int), codes])
        info = mne.create_info(X.shape[1], float(self.sfreq), "eeg")
        names = {name: code for name, code in self._codes.items() if code in codes}
        return mne.EpochsArray(
            X.astype(np.float64), info, events=events, event_id=names, verbose="ERROR"
        )
