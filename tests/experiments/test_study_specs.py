"""The run files of ``pipelines/``: each is valid, and its classical part runs on a small slice."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypeeg.experiments.library import find_spec
from hypeeg.experiments.runner import run
from hypeeg.experiments.spec import RunSpec, read_run_spec

_PIPELINES = Path(__file__).parents[2] / "pipelines"
STUDIES = {
    # Names of networks, least score of the best classical pipeline.
    "motor_imagery": (["HyperbolicEEGNet", "EEGNet"], 0.85),
    "ssvep": (["HyperbolicEEGNet", "EEGNet"], 0.95),
    "p300": (["HyperbolicEEGNet", "EEGNet"], 0.9),
    "cross_subject": (
        ["HyperbolicEEGNet, DSBN", "EEGNet, DSBN", "HyperbolicEEGNet", "EEGNet"],
        0.7,
    ),
    "learning_curve": (["HyperbolicEEGNet", "EEGNet"], 0.7),
}
_SESSION = ["dataset.subjects=[1]", "dataset.sessions=['0']"]
SLICE = {
    "motor_imagery": [*_SESSION, "evaluation.n_folds=2"],
    "ssvep": [*_SESSION, "evaluation.n_folds=2"],
    "p300": [*_SESSION, "evaluation.n_folds=3"],
    "cross_subject": ["dataset.subjects=[1,2]"],
    "learning_curve": [*_SESSION, "evaluation.learning_curve.n_perms=2"],
}
FULL = {
    "motor_imagery": ("BNCI2014_001", ["dataset.events=[left_hand,right_hand]"]),
    "ssvep": ("Nakanishi2015", []),
    "p300": ("BNCI2014_009", []),
    "cross_subject": ("BNCI2014_001", ["dataset.events=[left_hand,right_hand]"]),
    "learning_curve": ("BNCI2014_001", ["dataset.events=[left_hand,right_hand]"]),
}


@pytest.mark.parametrize("name", [path.stem for path in _PIPELINES.glob("*.yaml")])
def test_every_run_file_is_valid_and_comes_back_from_plain_data(name: str) -> None:
    spec = read_run_spec(find_spec(name))
    assert spec.name == name
    assert type(spec).model_validate(spec.model_dump(mode="json")) == spec
    names = ("Hyperbolic", "Hybrid", "Lorentz")
    hyperbolic = [p for p in spec.pipelines if p.model.startswith(names)]
    twins = {p.twin_of for p in spec.pipelines if p.twin_of is not None}
    # Nothing hyperbolic stands alone: it has a twin, or varies what has one.
    assert {p.name for p in hyperbolic if p.variant_of is None} <= twins
    assert twins <= {p.name for p in hyperbolic}
    assert {p.variant_of for p in hyperbolic} <= {None, *twins}


@pytest.mark.parametrize("name", STUDIES)
def test_the_same_file_is_valid_for_the_full_data(name: str) -> None:
    dataset, more = FULL[name]
    spec = RunSpec.from_yaml(
        find_spec(name), overrides=[f"dataset.name={dataset}", "dataset.subjects=null", *more]
    )
    assert (spec.dataset.name, spec.dataset.subjects) == (dataset, None)


@pytest.mark.parametrize("name", STUDIES)
def test_the_classical_part_runs(name: str, tmp_path: Path) -> None:
    networks, least = STUDIES[name]
    spec = RunSpec.from_yaml(find_spec(name), overrides=SLICE[name])
    assert [p.name for p in spec.pipelines if not p.is_classical] == networks
    classical = [p for p in spec.pipelines if p.is_classical]
    spec = spec.model_copy(update={"pipelines": classical, "n_jobs": 1})
    result = run(spec, tmp_path, progress=False)
    assert result.state == "done"
    means = result.scores.groupby("pipeline")["score"].mean()
    assert set(means.index) == {p.name for p in classical}
    assert means.max() > least
