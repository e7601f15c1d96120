"""Our runner against MOABB's own evaluations, on the same trials and the same pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from moabb.datasets.base import BaseDataset
from moabb.evaluations import CrossSubjectEvaluation, WithinSessionEvaluation
from moabb.paradigms import LeftRightImagery

from hypeeg.eeg.pipelines import build_pipeline
from hypeeg.eeg.simulated import SimulatedMI
from hypeeg.experiments.runner import run
from hypeeg.experiments.spec import RunSpec

BAND = {"fmin": 8.0, "fmax": 32.0, "tmin": 0.5, "tmax": 2.5}


class Float32Imagery(LeftRightImagery):
    """MOABB's paradigm with trials rounded as our loader rounds them."""

    def get_data(self, *args: object, **kwargs: object) -> tuple[object, ...]:
        X, y, metadata = super().get_data(*args, **kwargs)
        return np.asarray(X, dtype=np.float32), y, metadata


def simulated() -> BaseDataset:
    dataset = SimulatedMI()
    dataset.subject_list = [1, 2]
    return dataset


@pytest.mark.parametrize("kind", ["within_session", "cross_subject"])
def test_scores_equal_moabbs(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = RunSpec.from_data(
        {
            "name": "same",
            "dataset": {"name": "SimulatedMI", "subjects": [1, 2]},
            "preprocessing": {**BAND, "standardise": "none"},
            "evaluation": {"kind": kind, "seeds": [42]},
            "pipelines": [{"name": "csp", "model": "csp_lda"}],
        }
    )
    ours = run(spec, tmp_path / "runs", progress=False)
    assert (ours.state, ours.scoring) == ("done", "roc_auc")
    evaluate = WithinSessionEvaluation if kind == "within_session" else CrossSubjectEvaluation
    evaluation = evaluate(
        paradigm=Float32Imagery(**BAND),
        datasets=[simulated()],
        random_state=42,
        hdf5_path=str(tmp_path / "moabb"),
        overwrite=True,
    )
    # MOABB keeps its table in float32; the results it logs are still exact.
    exact: list[dict[str, object]] = []
    monkeypatch.setattr(evaluation, "_log_result", exact.append)
    theirs = evaluation.process({"csp": build_pipeline("csp_lda")})
    keys = ["subject", "session"]
    mine = ours.scores.astype({"subject": str}).groupby(keys)["score"].mean()
    other = pd.DataFrame(exact).astype({"subject": str}).set_index(keys)["score"].astype(float)
    pd.testing.assert_series_equal(mine, other.sort_index(), rtol=0, atol=1e-12, check_names=False)
    # Scores that were all 1 would agree whatever the folds are.
    assert len(mine) == 4
    assert ours.scores["score"].nunique() > 1
    for column in ("samples", "samples_test", "n_classes", "channels", "n_sessions"):
        expected = theirs.astype({"subject": str}).set_index(keys)[column].astype(float)
        found = ours.scores.astype({"subject": str}).groupby(keys)[column].mean()
        tolerance = 1.0 if column == "samples_test" else 0.0  # MOABB cuts its mean to an integer
        assert np.abs(found - expected.sort_index()).max() <= tolerance, column
