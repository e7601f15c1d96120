"""Answers of a fitted classifier, asked once and the same as if asked each time."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import Pipeline, make_pipeline

from hypeeg.eeg.scoring import by_session, session_scores
from hypeeg.experiments.answers import Remembering, TestTrials

METHODS = ("predict", "predict_proba", "decision_function", "transform")
CALLS: Counter[str] = Counter()


class Centre(TransformerMixin, BaseEstimator):
    """Takes the mean of the block that it is given, as alignment does."""

    def fit(self, X: np.ndarray, y: Any = None) -> Centre:
        self.fitted_ = True
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        CALLS["transform"] += 1
        return X - X.mean(axis=0)


class Louder(Pipeline):
    """Answers otherwise than its steps would."""

    def predict_proba(self, X: np.ndarray, **_: Any) -> np.ndarray:
        return 1 - super().predict_proba(X)


@pytest.fixture(params=[Pipeline, Louder])
def fitted(request: pytest.FixtureRequest) -> Any:
    rng = np.random.default_rng(0)
    y = np.array(["a", "b"]).repeat(20)
    X = rng.standard_normal((40, 3)) + (y == "b")[:, None]
    steps = [("centre", Centre()), ("lda", LinearDiscriminantAnalysis(solver="eigen"))]
    return request.param(steps).fit(X, y)


@pytest.mark.parametrize("sessions", [["0"] * 12, ["0", "1", "1"] * 4])
def test_answers_and_scores_are_those_of_the_classifier(fitted: Any, sessions: list[str]) -> None:
    rng = np.random.default_rng(1)
    y = np.array(["a", "b"]).repeat(6)
    X, where = rng.standard_normal((12, 3)), np.array(sessions)
    trials, judged = TestTrials(X, where), Remembering(fitted)
    for _ in range(2):
        for method in METHODS:
            expected = by_session(getattr(fitted, method), X, where)
            np.testing.assert_array_equal(trials.ask(judged, method), expected)
    for scoring in ("roc_auc", "accuracy", "neg_log_loss"):
        if type(fitted) is Louder and scoring == "neg_log_loss":
            continue
        expected = session_scores(fitted, X, y, where, scoring)
        assert trials.scores(judged, y, scoring) == expected


def test_the_first_steps_are_done_once_a_session() -> None:
    rng = np.random.default_rng(2)
    y = np.array(["a", "b"] * 10)
    pipeline = make_pipeline(Centre(), LinearDiscriminantAnalysis()).fit(rng.random((20, 2)), y)
    trials = TestTrials(rng.random((20, 2)), np.array(["0", "0", "1", "1"] * 5))
    judged = Remembering(pipeline)
    CALLS.clear()
    for method in METHODS:
        trials.ask(judged, method)
    trials.scores(judged, y, "roc_auc")
    assert CALLS["transform"] == 2


def test_what_the_classifier_lacks_is_lacking() -> None:
    from sklearn.linear_model import RidgeClassifier

    rng = np.random.default_rng(3)
    judged = Remembering(RidgeClassifier().fit(rng.random((8, 2)), ["a", "b"] * 4))
    assert not hasattr(judged, "predict_proba")
    assert not hasattr(judged, "transform")
    assert hasattr(judged, "decision_function")
