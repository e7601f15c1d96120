"""A planted signal is found in every kind of evaluation, and nothing is found in its absence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from hypeeg.eeg.datasets import EpochsData, load_epochs
from hypeeg.experiments.runner import RunResult, run
from hypeeg.experiments.spec import RunSpec

BAND = {"fmin": 8.0, "fmax": 32.0, "tmin": 0.5, "tmax": 3.0}
KINDS: list[dict[str, Any]] = [
    {"kind": "within_session"},
    {"kind": "within_session", "shuffle": False},
    {"kind": "cross_session"},
    {"kind": "cross_subject"},
    {"kind": "cross_subject", "adaptation": "trialwise"},
]
ALIGNED = {"kind": "cross_subject", "adaptation": "unlabeled_full"}


@pytest.fixture(scope="module")
def trials() -> EpochsData:
    return load_epochs("SimulatedMI", [1, 3, 4], preprocessing=BAND)


def scored(trials: EpochsData, evaluation: dict[str, Any], out: Path) -> RunResult:
    spec = RunSpec.from_data(
        {
            "name": "planted",
            "dataset": {"name": "SimulatedMI"},
            "preprocessing": {"steps": [{"step": "align"}]} if evaluation is ALIGNED else {},
            "evaluation": evaluation,
            "pipelines": [{"name": "csp", "model": "csp_lda"}],
        }
    )
    result = run(spec, out, load=lambda _: trials, progress=False)
    assert result.state == "done", result.failures
    return result


@pytest.mark.parametrize("evaluation", KINDS, ids=lambda e: "-".join(map(str, e.values())))
def test_a_planted_signal_is_found(
    evaluation: dict[str, Any], trials: EpochsData, tmp_path: Path
) -> None:
    assert scored(trials, evaluation, tmp_path).scores["score"].mean() > 0.95


@pytest.mark.parametrize(
    "evaluation", [*KINDS, ALIGNED], ids=lambda e: "-".join(map(str, e.values()))
)
def test_shuffled_labels_score_at_chance(
    evaluation: dict[str, Any], trials: EpochsData, tmp_path: Path
) -> None:
    rng = np.random.default_rng(4)
    y = trials.y.copy()
    sessions = trials.metadata.groupby(["subject", "session"]).ngroup().to_numpy()
    for session in np.unique(sessions):
        here = np.flatnonzero(sessions == session)
        y[here] = rng.permutation(y[here])
    scores = scored(replace(trials, y=y), evaluation, tmp_path).scores
    correct = round((scores["accuracy"] * scores["n_test"]).sum())
    low, high = binom.interval(0.999, len(y), 0.5)
    assert scores["n_test"].sum() == len(y)
    assert low <= correct <= high
