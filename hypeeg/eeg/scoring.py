"""Scores of a fitted classifier, session by session and, if asked, one trial at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin
from sklearn.metrics import check_scoring
from sklearn.utils.metaestimators import available_if

from hypeeg.eeg.quick_scores import quick_score


def _has(method: str) -> Callable[[Any], bool]:
    def check(self: Any) -> bool:
        getattr(self.estimator, method)
        return True

    return check


class Trialwise(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """A fitted classifier that sees one trial at a time, as it would online.

    What a batch would tell about the tested person (batch statistics, alignment to the block) is
    out of its reach.  The protocol is ``TRAIN_TRIALWISE`` of
    :class:`moabb.evaluations.CrossSubjectMode`.

    Parameters
    ----------
    estimator : estimator
        Fitted; it is neither cloned nor fitted again.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, X: np.ndarray, y: np.ndarray) -> Trialwise:
        """Do nothing: the estimator is fitted (as :class:`sklearn.frozen.FrozenEstimator`)."""
        return self

    @property
    def classes_(self) -> np.ndarray:
        """Classes, in the order of the columns of :meth:`predict_proba`."""
        return np.asarray(self.estimator.classes_)

    def _each(self, method: str, X: np.ndarray) -> np.ndarray:
        answer = getattr(self.estimator, method)
        return np.concatenate([np.asarray(answer(X[i : i + 1])) for i in range(len(X))])

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the class of each trial, shape (n_trials,)."""
        return self._each("predict", X)

    @available_if(_has("predict_proba"))
    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return probabilities, shape (n_trials, n_classes)."""
        return self._each("predict_proba", X)

    @available_if(_has("decision_function"))
    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Return what classes are told apart by, shape (n_trials,) or (n_trials, n_classes)."""
        return self._each("decision_function", X)

    @available_if(_has("transform"))
    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return embeddings, shape (n_trials, ...)."""
        return self._each("transform", X)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def by_session(method: Callable[[np.ndarray], Any], X: np.ndarray, sessions: np.ndarray) -> Any:
    """Call a method on each session by itself, and return its answers in the order of the trials.

    What adapts to the block of trials it is given (alignment, batch statistics) is given one
    session, in predictions as in scores.

    Parameters
    ----------
    method : callable
        Takes trials and returns an array with one row a trial.
    X : ndarray, shape (n_trials, n_channels, n_times)
        Trials.
    sessions : ndarray of str, shape (n_trials,)
        Their sessions.

    Returns
    -------
    ndarray, shape (n_trials, ...)
    """
    where = [np.flatnonzero(sessions == name) for name in dict.fromkeys(sessions.tolist())]
    if len(where) < 2:
        return np.asarray(method(X))
    answers = np.concatenate([np.asarray(method(X[here])) for here in where])
    return answers[np.argsort(np.concatenate(where))]


def session_scores(
    fitted: Any, X: np.ndarray, y: np.ndarray, sessions: np.ndarray, scoring: str
) -> dict[str, float]:
    """Score each session by itself, as MOABB does.

    Parameters
    ----------
    fitted : estimator
        Fitted classifier; :class:`Trialwise` around it makes it predict trial by trial.
    X : ndarray, shape (n_trials, n_channels, n_times)
        Test trials.
    y : ndarray, shape (n_trials,)
        Their classes.
    sessions : ndarray of str, shape (n_trials,)
        Their sessions.
    scoring : str
        Name of a scikit-learn scorer.

    Returns
    -------
    dict of str to float
        In order of appearance.

    Raises
    ------
    ValueError
        If a score is no finite number.
    """
    found: dict[str, float] = {}
    names = dict.fromkeys(sessions.tolist())
    for session in names:
        here = sessions == session
        # The very same array where there is one session: who has seen it may remember.
        block, true = (X, y) if len(names) == 1 else (X[here], y[here])
        score = quick_score(fitted, block, true, scoring)
        if score is None:
            score = float(check_scoring(fitted, scoring=scoring)(fitted, block, true))
        if not np.isfinite(score):
            raise ValueError(
                f"score {scoring} is {score} on the {int(here.sum())} test trials of "
                f"session {session}; their classes are {sorted(set(y[here].tolist()))}"
            )
        found[str(session)] = score
    return found
