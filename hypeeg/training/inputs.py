"""Checks of the data that an estimator is given."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, column_or_1d, validate_data


def check_trials(estimator: Any, X: Any, name: str = "X") -> np.ndarray:
    """Check an array of trials of any shape.

    Parameters
    ----------
    estimator : estimator
        Named in messages.
    X : array-like, shape (n_trials, ...)
        Trials.
    name : str, default "X"
        What messages call them.

    Returns
    -------
    ndarray, float32
        A copy only where the type or layout asks for one.

    Raises
    ------
    ValueError
        If there are no trials, or some hold NaN or infinite values.
    """
    with np.errstate(over="ignore"):
        X = check_array(
            X,
            dtype=np.float32,
            allow_nd=True,
            ensure_all_finite=False,
            estimator=estimator,
            input_name=name,
        )
    if not np.isfinite(X).all():
        per_trial = X.reshape(len(X), -1)
        bad = np.flatnonzero(~np.isfinite(per_trial).all(axis=1))
        kind = "NaN" if np.isnan(per_trial[bad]).any() else "infinity"
        first = ", ".join(map(str, bad[:5])) + (", …" if len(bad) > 5 else "")
        raise ValueError(
            f"Input {name} contains {kind} in {len(bad)} of {len(X)} trials (trial {first}); "
            f"{type(estimator).__name__} does not accept missing values: drop these trials or "
            "repair the recording"
        )
    return X


def check_fit_data(estimator: Any, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Check training data and set `n_features_in_` (and `feature_names_in_`).

    Parameters
    ----------
    estimator : estimator
        Being fitted.
    X : array-like, shape (n_trials, n_features) or (n_trials, n_channels, ...)
        Trials.  In three or more dimensions, `n_features_in_` is the second one.
    y : array-like, shape (n_trials,)
        Labels.

    Returns
    -------
    X : ndarray, float32
    y : ndarray, shape (n_trials,)
    """
    X = _shaped(X)
    if len(X.shape) <= 2:
        X, y = validate_data(estimator, X, y, dtype=np.float32)
    else:
        X = check_trials(estimator, X)
        if y is None:
            raise ValueError(
                f"This {type(estimator).__name__} estimator requires y to be passed, but the "
                "target y is None."
            )
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        check_consistent_length(X, y)
        estimator.n_features_in_ = X.shape[1]
        if hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
    check_classification_targets(y)
    return X, y


def check_predict_data(estimator: Any, X: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Check trials against those of the fit.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    X : array-like
        Trials.
    shape : tuple of int
        Shape of one trial in the fit.

    Returns
    -------
    ndarray, float32

    Raises
    ------
    ValueError
        If a trial's shape is another one, naming both.
    """
    X = _shaped(X)
    ndim = len(X.shape)
    if len(shape) == 1 and ndim <= 2:
        checked: np.ndarray = validate_data(estimator, X, dtype=np.float32, reset=False)
        return checked
    name = type(estimator).__name__
    if ndim - 1 != len(shape):
        raise ValueError(
            f"X has shape {tuple(X.shape)}, but {name} was fitted on trials of shape {shape}: give "
            f"(n_trials, {', '.join(map(str, shape))})"
            + (" (for one trial, X[np.newaxis])" if ndim == len(shape) else "")
        )
    X = check_trials(estimator, X)
    if X.shape[1:] != shape:
        raise ValueError(estimator._shape_message(shape, X.shape[1:]))
    return X


def _shaped(X: Any) -> Any:
    """Leave arrays, frames and sparse matrices as they are; make arrays of all else."""
    return X if hasattr(X, "shape") else np.asarray(X)
