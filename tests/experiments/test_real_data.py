"""One real recording through the whole engine, against a figure measured independently."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypeeg.experiments.library import find_spec
from hypeeg.experiments.runner import run
from hypeeg.experiments.spec import RunSpec


@pytest.mark.realdata
def test_physionet_s001_lands_near_the_reference(hypeeg_data: Path, tmp_path: Path) -> None:
    spec = RunSpec.from_yaml(
        find_spec("physionet_s001"),
        overrides=[
            "preprocessing.fmin=8",
            "preprocessing.fmax=32",
            "evaluation.seeds=[0]",
            "n_jobs=1",
            "pipelines=[{name: csp, model: csp_lda}]",
        ],
    )
    result = run(spec, tmp_path, progress=False)
    assert result.state == "done"
    assert result.scores["n_test"].sum() == 45
    assert set(result.scores["channels"]) == {64}
    accuracy = (result.scores["accuracy"] * result.scores["n_test"]).sum() / 45
    # MOABB 1.7.2 with CSP(6)+LDA: 0.733, standard error about 0.07.
    assert abs(accuracy - 0.733) < 0.14
