"""Runs compared with each other, against differences taken by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import wilcoxon

from hypeeg.experiments.compare_runs import compare_runs, parse_pairs
from hypeeg.experiments.recorded import RecordedRun
from hypeeg.experiments.runner import run
from hypeeg.experiments.spec import RunSpec
from hypeeg.experiments.spec_errors import SpecError

PIPELINES = [{"name": "one", "model": "csp_lda"}, {"name": "two", "model": "ts_lr"}]


@pytest.fixture
def go(
    tmp_path: Path,
    make_trials: Callable[..., SimpleNamespace],
    spec_data: Callable[..., dict[str, Any]],
    threshold: Any,
) -> Callable[..., RecordedRun]:
    """Runs two pipelines; `shift` moves the border of the first."""

    def go(shift: float = 0.0, trials: Any = None, **changes: Any) -> RecordedRun:
        data = trials if trials is not None else make_trials(subjects=3)
        changes.setdefault("dataset", {"name": "SimulatedMI", "subjects": [1, 2, 3]})
        changes.setdefault("evaluation", {"n_folds": 2, "scoring": "accuracy"})
        changes.setdefault("pipelines", PIPELINES)

        def build(_spec: Any, pipeline: Any, _trials: Any, seed: int) -> Any:
            return threshold(seed, shift=shift * (pipeline.name == "one"))

        spec = RunSpec.from_data(spec_data(**changes))
        result = run(spec, tmp_path, load=lambda _: data, build=build, progress=False)
        return RecordedRun.open(result.folder)

    return go


def test_differences_are_those_of_common_folds(
    go: Callable[..., RecordedRun], make_trials: Callable[..., SimpleNamespace]
) -> None:
    trials = make_trials(subjects=8)
    everybody = {"name": "PhysionetMI", "subjects": list(range(1, 9))}
    first = go(trials=trials, dataset=everybody)
    second = go(0.3, trials=trials, dataset=everybody)
    found = compare_runs(first, second)
    assert [r.pipeline for r in found.results] == ["one [B]", "two [B]"]
    a, b = (
        r.scores[r.scores["pipeline"] == "one"].groupby(["subject", "session"])["score"].mean()
        for r in (first, second)
    )
    by_subject = (b - a).groupby(level="subject").mean()
    assert found.results[0].mean == pytest.approx(by_subject.mean(), abs=1e-12)
    assert found.results[0].mean < 0
    different = by_subject[by_subject.abs() > 1e-12]
    assert found.results[0].p == pytest.approx(wilcoxon(different).pvalue, abs=0.05)
    assert found.results[1].mean == 0.0
    assert found.n_folds["one [B]"] == (32, 0, 0)
    text = found.to_text()
    assert str(first.path) in text
    assert "one [B] − one [A]" in text


def test_only_what_both_have_counts(go: Callable[..., RecordedRun]) -> None:
    first = go(evaluation={"n_folds": 2, "scoring": "accuracy", "seeds": [0, 1]})
    second = go(evaluation={"n_folds": 2, "scoring": "accuracy", "seeds": [1, 2]})
    lines = (second.path / "scores.csv").read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("SimulatedMI,3,")]
    (second.path / "scores.csv").write_text("".join(kept))
    found = compare_runs(first, RecordedRun.open(second.path), [("one", "two")])
    (result,) = found.results
    assert (result.pipeline, result.other) == ("two [B]", "one [A]")
    assert (result.n_subjects, result.n_seeds) == (2, 1)
    # Three subjects of two sessions and folds under two seeds, against two subjects.
    assert found.n_folds["two [B]"] == (8, 16, 8)
    assert any("16 only in A and 8 only in B" in note for note in found.notes)


def test_other_preprocessing_is_allowed_and_named(go: Callable[..., RecordedRun]) -> None:
    found = compare_runs(
        go(preprocessing={"fmin": 4.0}), go(preprocessing={"fmin": 8.0}, pipelines=PIPELINES[:1])
    )
    assert any("fmin 4.0 → 8.0" in note for note in found.notes)
    assert "only in A: two" in found.notes
    assert [r.pipeline for r in found.results] == ["one [B]"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"evaluation": {"n_folds": 5, "scoring": "accuracy"}}, "evaluation.n_folds=2"),
        ({"evaluation": {"n_folds": 2}}, "evaluation.scoring=accuracy"),
        (
            {"evaluation": {"kind": "cross_session", "scoring": "accuracy"}},
            "evaluation.kind=within_session",
        ),
        ({"evaluation": {"n_folds": 2, "scoring": "accuracy", "seeds": [7]}}, "evaluation.seeds"),
        ({"pipelines": [{"name": "three", "model": "mdm"}]}, "--pair"),
    ],
)
def test_runs_that_tested_something_else_are_refused(
    go: Callable[..., RecordedRun], changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(SpecError) as error:
        compare_runs(go(), go(**changes))
    assert words in str(error.value)


def test_other_trials_under_the_same_names_are_refused(
    go: Callable[..., RecordedRun], make_trials: Callable[..., SimpleNamespace]
) -> None:
    first = go()
    other = make_trials(subjects=3)
    rng = np.random.default_rng(3)
    for _, rows in other.metadata.groupby(["subject", "session"]).groups.items():
        other.y[rows] = rng.permutation(other.y[rows])
    second = go(trials=other)
    with pytest.raises(SpecError, match=r"data check SimulatedMI"):
        compare_runs(first, second)
    # Runs of a version that kept no hashes: the recorded trials tell.
    (second.path / "data.json").unlink()
    with pytest.raises(SpecError, match="tested different trials"):
        compare_runs(first, RecordedRun.open(second.path))
    for path in (second.path / "embeddings").iterdir():
        path.unlink()
    assert any("sizes only" in n for n in compare_runs(first, RecordedRun.open(second.path)).notes)
    shorter = go(trials=make_trials(subjects=3, per_class=5))
    (shorter.path / "data.json").unlink()
    with pytest.raises(SpecError, match="A tests 10 trials and B 5"):
        compare_runs(first, shorter)


def test_pairs_are_checked(go: Callable[..., RecordedRun]) -> None:
    assert parse_pairs(["a=b", " c = d"]) == [("a", "b"), ("c", "d")]
    with pytest.raises(SpecError, match="PIPELINE_OF_A"):
        parse_pairs(["a"])
    first = go()
    with pytest.raises(SpecError, match=r"B has no pipeline 'tow'.*'two'"):
        compare_runs(first, first, [("one", "tow")])
