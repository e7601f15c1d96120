"""Whether predicted probabilities mean what they say, from probabilities and true classes alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

N_BINS = 10


@dataclass(frozen=True)
class Calibration:
    """How well probabilities fit what happened; less is better in all of them.

    Attributes
    ----------
    ece : float
        Expected calibration error over bins of equal width.
    ece_adaptive : float
        The same over bins that hold equally many trials.
    brier : float
        Mean squared distance of the probabilities from the truth, 0 to 2, summed over classes.
    nll : float
        Mean negative log-likelihood, nats.
    """

    ece: float
    ece_adaptive: float
    brier: float
    nll: float


def calibration(
    proba: np.ndarray, y_true: np.ndarray, classes: np.ndarray, n_bins: int = N_BINS
) -> Calibration:
    """Measure calibration.

    Parameters
    ----------
    proba : ndarray, shape (n_trials, n_classes)
        Predicted probabilities; rows sum to 1.
    y_true : ndarray, shape (n_trials,)
        True classes; one that is not in `classes` was never possible.
    classes : ndarray, shape (n_classes,)
        What the columns stand for.
    n_bins : int
        Bins of the calibration errors.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        If shapes do not fit, or a number is no probability.
    """
    proba, hit = _checked(proba, y_true, classes)
    table = reliability_table(proba, y_true, classes, n_bins)
    adaptive = reliability_table(proba, y_true, classes, n_bins, adaptive=True)
    # A probability stored in float32 knows no difference from 1 below this.
    likelihood = np.maximum((proba * hit).sum(axis=1), np.finfo(np.float32).eps)
    return Calibration(
        ece=calibration_error(table),
        ece_adaptive=calibration_error(adaptive),
        brier=float(((proba - hit) ** 2).sum(axis=1).mean()),
        nll=float(-np.log(likelihood).mean()),
    )


def reliability_table(
    proba: np.ndarray,
    y_true: np.ndarray,
    classes: np.ndarray,
    n_bins: int = N_BINS,
    adaptive: bool = False,
) -> pd.DataFrame:
    """Compare how sure predictions are with how often they are right.

    Parameters
    ----------
    proba, y_true, classes, n_bins
        See :func:`calibration`.  The confidence of a trial is its largest probability.
    adaptive : bool
        Cut at quantiles of the confidence, so that bins hold equally many trials, in place of
        equal steps from 0 to 1.

    Returns
    -------
    DataFrame
        One row a bin that is not empty: ``low``, ``high`` (its bounds, upper one included; of
        the confidences in it if adaptive), ``n`` trials, mean ``confidence``, ``accuracy``.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On calibration of modern neural networks", ICML 2017.
    K. Nguyen, B. O'Connor, "Posterior calibration and exploratory analysis for natural language
    processing models", EMNLP 2015 (bins of equal size).
    """
    proba, hit = _checked(proba, y_true, classes)
    confidence = proba.max(axis=1)
    # Among equal probabilities the first class is the prediction, as in `argmax`.
    correct = hit[np.arange(len(proba)), proba.argmax(axis=1)]
    if adaptive:
        order = np.argsort(confidence, kind="stable")
        bins = np.empty(len(order), dtype=int)
        bins[order] = np.arange(len(order)) * n_bins // max(1, len(order))
    else:
        bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    rows = []
    for number in np.unique(bins):
        here = bins == number
        low, high = number / n_bins, (number + 1) / n_bins
        if adaptive:
            low, high = confidence[here].min(), confidence[here].max()
        rows.append(
            {
                "low": float(low),
                "high": float(high),
                "n": int(here.sum()),
                "confidence": float(confidence[here].mean()),
                "accuracy": float(correct[here].mean()),
            }
        )
    return pd.DataFrame(rows, columns=["low", "high", "n", "confidence", "accuracy"])


def calibration_error(table: pd.DataFrame) -> float:
    """Return the mean gap between confidence and accuracy, bins weighed by their trials.

    Parameters
    ----------
    table : DataFrame
        From :func:`reliability_table`.

    Returns
    -------
    float
        From 0 to 1.  Few trials in a bin make it larger by chance alone: compare it only between
        equally many trials.
    """
    gap = (table["confidence"] - table["accuracy"]).abs()
    return float((gap * table["n"]).sum() / table["n"].sum())


def _checked(
    proba: np.ndarray, y_true: np.ndarray, classes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    proba, truth = np.asarray(proba, dtype=float), np.asarray(y_true)
    if proba.shape != (len(truth), len(classes)) or not len(truth):
        raise ValueError(
            f"proba has shape {proba.shape}; {len(truth)} trials of {len(classes)} classes need "
            f"({len(truth)}, {len(classes)}), and at least one trial"
        )
    if not (proba >= 0).all() or np.abs(proba.sum(axis=1) - 1).max() > 1e-3:
        raise ValueError("proba must hold probabilities: not negative, rows that sum to 1")
    return proba, (truth[:, None] == np.asarray(classes)).astype(float)
