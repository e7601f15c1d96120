"""The two usual scores without the checks that take scikit-learn longer than the arithmetic.

Scoring the ten test trials of a fold takes scikit-learn's area under the ROC curve a millisecond
or two, nearly all of it for finding out what kind of labels it was given: a twentieth of the time
that a classical pipeline takes to fit.  Here the labels are known.  Numbers are scikit-learn's to
the last bit, as the tests compare; whatever is not plainly one of these cases is left to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin


def quick_score(fitted: Any, X: np.ndarray, y: np.ndarray, scoring: str) -> float | None:
    """Score a fitted classifier.

    Parameters
    ----------
    fitted : estimator
        Fitted; asked what scikit-learn's scorer would ask it.
    X : ndarray, shape (n_trials, ...)
        Test trials.
    y : ndarray of str, shape (n_trials,)
        Their classes.
    scoring : str
        Name of a scikit-learn scorer.

    Returns
    -------
    float or None
        None if scikit-learn is to do it: another score, labels that are no text, a single class,
        or an answer that is not what these scores are made of.
    """
    if not isinstance(fitted, ClassifierMixin) or y.ndim != 1 or y.dtype.kind != "U" or not len(y):
        return None
    if scoring == "accuracy":
        predicted = np.asarray(fitted.predict(X))
        if predicted.shape != y.shape or predicted.dtype.kind != "U":
            return None
        return float((predicted == y).mean())
    if scoring == "roc_auc":
        return _area(fitted, X, y)
    return None


def _area(fitted: Any, X: np.ndarray, y: np.ndarray) -> float | None:
    classes = np.asarray(fitted.classes_)
    if classes.shape != (2,) or not classes[0] < classes[1]:
        return None
    positive = y == classes[1]
    n_positive = int(positive.sum())
    if n_positive + int((y == classes[0]).sum()) != len(y) or n_positive in (0, len(y)):
        return None
    if hasattr(fitted, "decision_function"):
        values = np.asarray(fitted.decision_function(X))
    else:
        found = np.asarray(fitted.predict_proba(X))
        if found.shape != (len(y), 2):
            return None
        values = found[:, 1]
    if values.shape != y.shape or values.dtype.kind != "f" or not np.isfinite(values).all():
        return None
    return area_under_curve(positive, values)


def area_under_curve(positive: np.ndarray, values: np.ndarray) -> float:
    """Return the area under the ROC curve, as :func:`sklearn.metrics.roc_auc_score` computes it.

    Parameters
    ----------
    positive : ndarray of bool, shape (n,)
        Both values occur.
    values : ndarray of float, shape (n,)
        Finite; larger speaks for positive.

    Returns
    -------
    float
    """
    order = np.argsort(-values, kind="stable")
    ranked = values[order]
    # Trials of equal value are passed at once.
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    hits = np.cumsum(positive[order], dtype=np.float64)[last]
    misses = 1 + last - hits
    # A point between two others on a line changes nothing but the last digit of the sum, which is
    # to be that of scikit-learn.
    if len(hits) > 2:
        corner = np.ones(len(hits), dtype=bool)
        corner[1:-1] = (np.diff(hits, 2) != 0) | (np.diff(misses, 2) != 0)
        hits, misses = hits[corner], misses[corner]
    rate = np.concatenate([[0.0], hits]) / hits[-1]
    false_rate = np.concatenate([[0.0], misses]) / misses[-1]
    return float(np.trapezoid(rate, false_rate))
