"""scikit-learn transformers on epochs ``(n_trials, n_channels, n_times)``."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from hypeeg.eeg.preprocessing import StandardiseMode


def check_epochs(X: Any, *, n_channels: int | None = None, owner: str = "X") -> np.ndarray:
    """Epochs as a finite floating-point array, or an error that says what is wrong where.

    Parameters
    ----------
    X : array-like of shape (n_trials, n_channels, n_times)
        float32 and float64 are kept, anything else becomes float32.
    n_channels : int or None
        Number of channels to insist on.
    owner : str
        Who asks, for the message.

    Returns
    -------
    ndarray of shape (n_trials, n_channels, n_times)

    Raises
    ------
    ValueError
        For another number of dimensions, no trials, NaN or infinite values, or another number of
        channels.
    """
    X = np.asarray(X)
    if X.dtype not in (np.float32, np.float64):
        try:
            X = X.astype(np.float32)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{owner}: X of dtype {X.dtype} is no array of numbers") from error
    if X.ndim != 3:
        raise ValueError(
            f"{owner}: X has shape {X.shape}; expected (n_trials, n_channels, n_times). "
            "Put features of other shapes after the steps that make them"
        )
    if 0 in X.shape:
        raise ValueError(f"{owner}: X has shape {X.shape}; no trials, channels or samples to use")
    if n_channels is not None and X.shape[1] != n_channels:
        raise ValueError(
            f"{owner}: X has {X.shape[1]} channels, but {n_channels} at fit; select the same "
            "channels in the same order"
        )
    # A finite sum is a cheap proof for the usual case; only then look for the culprit.
    with np.errstate(invalid="ignore", over="ignore"):
        total = X.sum(dtype=np.float64)
    if not np.isfinite(total):
        bad = ~np.isfinite(X).all(axis=2)
        if bad.any():
            trial, channel = np.argwhere(bad)[0]
            raise ValueError(
                f"{owner}: X holds NaN or infinite values in {int(bad.any(axis=1).sum())} of "
                f"{len(X)} trials, first in trial {trial}, channel {channel}; drop or interpolate "
                "them before fitting or predicting"
            )
    return X


class Standardize(TransformerMixin, BaseEstimator):
    """Zero mean and unit standard deviation, with nothing learned from test trials.

    Parameters
    ----------
    mode : {"channel", "trial", "none"}
        ``"channel"`` learns the mean and standard deviation of each channel over all training
        trials and samples; amplitude differences between trials survive. ``"trial"`` scales each
        channel of each trial by itself and learns nothing; it removes differences of gain between
        sessions and subjects, and with them the channel's power. ``"none"`` passes through.

    Attributes
    ----------
    n_channels_ : int
        Channels seen at fit.
    mean_, scale_ : ndarray of shape (n_channels, 1), float64
        Only with ``mode="channel"``.

    Notes
    -----
    A constant channel is centred but not scaled, with a warning. The floating-point type of the
    input is kept; statistics are computed in float64.
    """

    def __init__(self, mode: StandardiseMode = "channel") -> None:
        self.mode = mode

    def fit(self, X: Any, y: Any = None) -> Standardize:
        """Learn the scale of each channel.

        Parameters
        ----------
        X : array-like of shape (n_trials, n_channels, n_times)
            Training trials.
        y : ignored

        Returns
        -------
        Standardize
            Itself.
        """
        if self.mode not in get_args(StandardiseMode):
            raise ValueError(
                f"mode={self.mode!r}: choose one of {', '.join(get_args(StandardiseMode))}"
            )
        X = check_epochs(X, owner="Standardize.fit")
        self.n_channels_ = X.shape[1]
        if self.mode == "channel":
            mean, scale, constant = _moments(X, axis=(0, 2))
            self.mean_, self.scale_ = mean[0], scale[0]
            if constant.any():
                channels = np.flatnonzero(constant).tolist()
                warnings.warn(
                    f"Standardize: channels {channels} are constant over all training trials; "
                    "they are centred, not scaled. Check their electrodes or leave them out",
                    UserWarning,
                    stacklevel=2,
                )
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Standardise trials.

        Parameters
        ----------
        X : array-like of shape (n_trials, n_channels, n_times)
            Trials with as many channels as at fit.

        Returns
        -------
        ndarray of the same shape and floating-point type
        """
        check_is_fitted(self, "n_channels_")
        X = check_epochs(X, n_channels=self.n_channels_, owner="Standardize.transform")
        if self.mode == "none":
            return X
        if self.mode == "channel":
            return ((X - self.mean_) / self.scale_).astype(X.dtype)
        mean, scale, constant = _moments(X, axis=2)
        if constant.any():
            warnings.warn(
                f"Standardize: {int(constant.sum())} of {constant.size} channels of single trials "
                "are constant; they are centred, not scaled",
                UserWarning,
                stacklevel=2,
            )
        return ((X - mean) / scale).astype(X.dtype)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_channels_")


class FilterBank(TransformerMixin, BaseEstimator):
    """Band-passes epochs into several bands, stacked along the channel axis.

    Classical SSVEP pipelines (extended covariances) need all bands at once, while MOABB's own
    evaluations hand on the first band of a filter bank only. This step keeps one band per block of
    channels: output channel ``b * n_channels + k`` is channel k in band b.

    Parameters
    ----------
    bands : sequence of (float, float)
        Low and high edge of each band, Hz.
    sfreq : float
        Sampling rate of the epochs, Hz.
    order : int
        Order of the Butterworth filters, run forward and backward (zero phase).

    Notes
    -----
    The filters act on single epochs: the outer 1/(band width) seconds of each epoch carry edge
    effects. Load epochs somewhat longer than the response if that matters.

    References
    ----------
    Congedo, Barachant, Andreev (2013), A new generation of brain-computer interface based on
    Riemannian geometry, arXiv:1310.8115 (covariances of stacked band-passed signals).
    """

    def __init__(self, bands: Sequence[tuple[float, float]], sfreq: float, order: int = 4) -> None:
        self.bands = bands
        self.sfreq = sfreq
        self.order = order

    def fit(self, X: Any, y: Any = None) -> FilterBank:
        """Check the bands; nothing is learned from the trials.

        Parameters
        ----------
        X : array-like of shape (n_trials, n_channels, n_times)
            Training trials.
        y : ignored

        Returns
        -------
        FilterBank
            Itself.
        """
        X = check_epochs(X, owner="FilterBank.fit")
        if not len(self.bands):
            raise ValueError("bands is empty; give at least one (low, high) pair in Hz")
        for band in self.bands:
            low, high = band
            if not 0 < low < high < self.sfreq / 2:
                raise ValueError(
                    f"bands: {tuple(band)} Hz must satisfy 0 < low < high < {self.sfreq / 2} Hz, "
                    f"half of sfreq={self.sfreq}"
                )
        self.n_channels_ = X.shape[1]
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
        from mne.filter import filter_data

        check_is_fitted(self, "n_channels_")
        X = check_epochs(X, n_channels=self.n_channels_, owner="FilterBank.transform")
        signal = X.astype(np.float64)
        blocks = [
            filter_data(
                signal,
                float(self.sfreq),
                float(low),
                float(high),
                method="iir",
                iir_params={"order": self.order, "ftype": "butter", "output": "sos"},
                verbose="ERROR",
            )
            for low, high in self.bands
        ]
        return np.concatenate(blocks, axis=1).astype(X.dtype)


def _moments(X: np.ndarray, axis: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation with 1 in place of 0, and which were 0 up to rounding."""
    mean = X.mean(axis=axis, keepdims=True, dtype=np.float64)
    scale = X.std(axis=axis, keepdims=True, dtype=np.float64)
    constant = scale <= 4 * np.finfo(X.dtype).eps * np.abs(mean)
    return mean, np.where(constant, 1.0, scale), constant.squeeze()
