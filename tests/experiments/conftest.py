"""Small runs that need no recordings and no networks."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from hypeeg.experiments.spec import RunSpec


def _make_trials(
    subjects: int = 2, sessions: int = 2, per_class: int = 10, classes: int = 2, seed: int = 0
) -> SimpleNamespace:
    """Trials whose class shows in the mean of the first channel, half buried in noise."""
    rng = np.random.default_rng(seed)
    rows, labels = [], []
    for subject in range(1, subjects + 1):
        for session in range(sessions):
            for label in rng.permutation(np.repeat(np.arange(classes), per_class)):
                rows.append((subject, str(session), "0"))
                labels.append(label)
    codes = np.array(labels)
    X = rng.standard_normal((len(rows), 3, 16)).astype(np.float32)
    X[:, 0] += 0.5 * codes[:, None]
    return SimpleNamespace(
        X=X,
        y=np.array([f"class{code}" for code in codes]),
        metadata=pd.DataFrame(rows, columns=["subject", "session", "run"]),
        sfreq=128.0,
        ch_names=("C3", "Cz", "C4"),
    )


class Threshold(ClassifierMixin, BaseEstimator):
    """Nearest class mean of the first channel; records what it was given, fails on request."""

    def __init__(self, seed: int = 0, shift: float = 0.0, on_fit: Any = None) -> None:
        self.seed = seed
        self.shift = shift
        self.on_fit = on_fit

    def fit(self, X: np.ndarray, y: np.ndarray) -> Threshold:
        if self.on_fit is not None:
            self.on_fit(X, y)
        self.classes_ = np.unique(y)
        self.centres_ = np.array([X[y == c, 0].mean() for c in self.classes_]) + self.shift
        self.curvature_ = 1.5
        self.curvature_history_ = [1.0, 1.5]
        self.history_ = [{"epoch": 1, "train_loss": 0.7}, {"epoch": 2, "train_loss": 0.5}]
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        distance = -np.abs(X[:, 0].mean(axis=1)[:, None] - self.centres_)
        weight = np.exp(distance)
        return weight / weight.sum(axis=1, keepdims=True)

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def transform(self, X: np.ndarray) -> np.ndarray:
        return X[:, :2].mean(axis=2)

    def __sklearn_clone__(self) -> Threshold:
        # Callbacks keep their identity, so that a test can count over all folds.
        return Threshold(self.seed, self.shift, self.on_fit)


def _spec_data(**changes: Any) -> dict[str, Any]:
    """Plain data of a small valid run file."""
    data: dict[str, Any] = {
        "name": "small",
        "dataset": {"name": "SimulatedMI", "subjects": [1, 2]},
        "evaluation": {"n_folds": 2},
        "pipelines": [
            {"name": "hyper", "model": "HyperbolicEEGNet"},
            {"name": "flat", "model": "EEGNet", "twin_of": "hyper"},
            {"name": "csp", "model": "csp_lda"},
        ],
    }
    return {**data, **changes}


@pytest.fixture
def make_trials() -> Callable[..., SimpleNamespace]:
    """Makes trials; see `_make_trials`."""
    return _make_trials


@pytest.fixture
def spec_data() -> Callable[..., dict[str, Any]]:
    """Makes the plain data of a small run file; arguments replace its sections."""
    return _spec_data


@pytest.fixture
def threshold() -> type[Threshold]:
    """Class of an estimator that needs no network."""
    return Threshold


@pytest.fixture
def small_spec() -> RunSpec:
    return RunSpec.from_data(_spec_data())
