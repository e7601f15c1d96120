"""Quick scores are scikit-learn's to the last bit, or left to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import get_scorer, roc_auc_score

from hypeeg.eeg import scoring as scoring_module
from hypeeg.eeg.quick_scores import area_under_curve, quick_score
from hypeeg.eeg.scoring import Trialwise, session_scores


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("digits", [0, 1, 17])
def test_the_area_is_the_one_of_scikit_learn(dtype: Any, digits: int) -> None:
    rng = np.random.default_rng(digits)
    for _ in range(150):
        n = int(rng.integers(2, 120))
        positive = rng.random(n) < rng.uniform(0.1, 0.9)
        positive[:2] = True, False
        values = np.round(rng.normal(size=n) + positive * rng.uniform(0, 2), digits).astype(dtype)
        expected = roc_auc_score(np.where(positive, "b", "a"), values)
        assert area_under_curve(positive, values) == expected


@pytest.mark.parametrize("name", ["roc_auc", "accuracy"])
@pytest.mark.parametrize(
    "model", [LinearDiscriminantAnalysis(), RandomForestClassifier(5, random_state=0)]
)
def test_scores_of_classifiers_are_those_of_the_scorer(model: Any, name: str) -> None:
    rng = np.random.default_rng(1)
    for n_test in (2, 9, 40):
        y = np.tile(["left", "right"], 30 + n_test)
        X = rng.normal(size=(len(y), 4)) + 0.4 * (y == "right")[:, None]
        fitted = model.fit(X[:60], y[:60])
        X_test, y_test = X[60:], y[60:]
        found = quick_score(Trialwise(fitted), X_test, y_test, name)
        assert found == get_scorer(name)(fitted, X_test, y_test)


class Fixed(ClassifierMixin, BaseEstimator):
    """Says what it was given."""

    def __init__(self, classes: Any, values: Any) -> None:
        self.classes, self.values = classes, np.asarray(values)
        self.classes_ = np.asarray(classes)

    def fit(self, X: np.ndarray, y: np.ndarray) -> Fixed:
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.classes_[(self.values > 0).astype(int)]

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        return self.values


@pytest.mark.parametrize(
    ("name", "classes", "values", "y"),
    [
        ("roc_auc", ["a", "b"], [0.1, 0.2, 0.3], ["a", "a", "a"]),
        ("roc_auc", ["a", "b"], [0.1, 0.2, 0.3], ["a", "b", "c"]),
        ("roc_auc", ["a", "b"], [0.1, np.nan, 0.3], ["a", "b", "b"]),
        ("roc_auc", ["b", "a"], [0.1, 0.2, 0.3], ["a", "b", "b"]),
        ("roc_auc", ["a", "b", "c"], [0.1, 0.2, 0.3], ["a", "b", "b"]),
        ("roc_auc", ["a", "b"], [[0.1], [0.2], [0.3]], ["a", "b", "b"]),
        ("roc_auc", [0, 1], [0.1, 0.2, 0.3], [0, 1, 1]),
        ("accuracy", [0, 1], [0.1, 0.2, 0.3], [0, 1, 1]),
        ("balanced_accuracy", ["a", "b"], [0.1, 0.2, 0.3], ["a", "b", "b"]),
        ("accuracy", ["a", "b"], [], []),
    ],
)
def test_what_is_not_plain_is_left_to_scikit_learn(
    name: str, classes: list[Any], values: list[Any], y: list[Any]
) -> None:
    true = np.asarray(y, dtype=None if y else str)
    assert quick_score(Fixed(classes, values), np.zeros((len(y), 1)), true, name) is None


def test_session_scores_do_not_depend_on_who_computes_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(2)
    y = np.tile(["a", "b"], 20)
    fitted, X = Fixed(["a", "b"], rng.normal(size=20)), rng.normal(size=(40, 2))
    sessions = np.repeat(["0", "1"], 20)
    quick = session_scores(fitted, X, y, sessions, "roc_auc")
    monkeypatch.setattr(scoring_module, "quick_score", lambda *_: None)
    assert session_scores(fitted, X, y, sessions, "roc_auc") == quick
