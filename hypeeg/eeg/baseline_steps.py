"""Steps of the classical pipelines that no library has in this form."""

from __future__ import annotations

from typing import Any

import numpy as np
from moabb.pipelines.features import AugmentedDataset
from sklearn.base import BaseEstimator, TransformerMixin


class Augment(AugmentedDataset):
    """MOABB's delayed copies of the channels, with a check of their length."""

    def fit(self, X: np.ndarray, y: Any = None) -> Augment:
        """Check that samples are left.

        Parameters
        ----------
        X : ndarray of shape (n_trials, n_channels, n_times)
            Trials.
        y : ignored

        Returns
        -------
        Augment
            Itself.
        """
        lost = 0 if self.order == 1 else self.order * self.lag
        if lost >= X.shape[-1]:
            raise ValueError(
                f"acm_ts_svm: order {self.order} and lag {self.lag} use up all {X.shape[-1]} "
                "samples of a trial; give smaller ones"
            )
        return self


class BandCovariances(TransformerMixin, BaseEstimator):
    """Block-diagonal covariances of a filter bank: one block for each band.

    Parameters
    ----------
    bands : transformer
        A filter bank, which stacks the bands along the channel axis.
    estimator : str
        Covariance estimator of pyRiemann, applied to each block.
    """

    def __init__(self, bands: Any, estimator: str = "oas") -> None:
        self.bands = bands
        self.estimator = estimator

    def fit(self, X: np.ndarray, y: Any = None) -> BandCovariances:
        """Fit the filter bank.

        Parameters
        ----------
        X : ndarray of shape (n_trials, n_channels, n_times)
            Training trials.
        y : ndarray of shape (n_trials,)
            Their classes.

        Returns
        -------
        BandCovariances
            Itself.
        """
        from sklearn.base import clone

        self.bands_ = clone(self.bands).fit(X, y)
        self.block_size_ = int(X.shape[1])
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return the covariances.

        Parameters
        ----------
        X : ndarray of shape (n_trials, n_channels, n_times)
            Trials.

        Returns
        -------
        ndarray of shape (n_trials, n_bands * n_channels, n_bands * n_channels)
        """
        from pyriemann.estimation import BlockCovariances

        blocks = BlockCovariances(self.block_size_, self.estimator)
        matrices: np.ndarray = blocks.transform(self.bands_.transform(X))
        return matrices


def time_courses(X: np.ndarray, n_steps: int | None) -> np.ndarray:
    """Average the samples of each step and join the channels: ``(n_trials, n_features)``."""
    if n_steps is not None and n_steps < X.shape[-1]:
        starts = np.linspace(0, X.shape[-1], n_steps, endpoint=False).astype(int)
        lengths = np.diff(np.append(starts, X.shape[-1]))
        X = np.add.reduceat(X, starts, axis=-1) / lengths
    return X.reshape(len(X), -1)
