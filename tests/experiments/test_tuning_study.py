"""Optuna inside the training trials: its own proposals, kept in SQLite, never by the test."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from hypeeg.eeg.tuning_spec import RangeSpec, TuningSpec
from hypeeg.eeg.tuning_study import STUDY_NAME, StudySearch, check_optuna
from hypeeg.experiments.eeg_wing import EEGWing
from hypeeg.experiments.evaluation_spec import EvaluationSpec
from hypeeg.experiments.fold import FoldOptions, carry_out_job
from hypeeg.experiments.runner import build_estimator, run
from hypeeg.experiments.spec import RunSpec
from hypeeg.experiments.spec_errors import SpecError
from hypeeg.experiments.store import FoldLog
from hypeeg.experiments.tasks import plan_tasks
from hypeeg.experiments.wings import Job

optuna = pytest.importorskip("optuna", reason="needs the extra 'sweep' (Optuna)")
Maker = Callable[..., SimpleNamespace]
SPACE = {
    "params.shrinkage": RangeSpec(low=0.001, high=1, log=True),
    "params.scale": RangeSpec(low=1, high=9, step=2),
    "params.take": ["all", "half"],
}


def prepare(X: np.ndarray, scale: int = 1, take: str = "all") -> np.ndarray:
    flat = X.reshape(len(X), -1)
    return flat[:, :: scale * (2 if take == "half" else 1)]


def build(values: dict[str, Any]) -> Pipeline:
    options = {"scale": values["params.scale"], "take": values["params.take"]}
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=values["params.shrinkage"])
    return Pipeline([("flat", FunctionTransformer(prepare, kw_args=options)), ("lda", lda)])


def study_search(**changes: Any) -> StudySearch:
    options: dict[str, Any] = {"n_folds": 3, "random_state": 5, **changes}
    return StudySearch(SPACE, build, options.pop("n_trials", 16), "within_session", **options)


def test_proposals_and_choice_are_those_of_optuna(make_trials: Maker, tmp_path: Path) -> None:
    trials = make_trials(subjects=1, sessions=1, per_class=15)
    ours = study_search(scoring="accuracy", study_path=str(tmp_path / "deep" / "task-00000.db"))
    ours.fit(trials.X, trials.y)

    # The same search written with Optuna's own loop and scikit-learn's own folds.
    folds = StratifiedKFold(3, shuffle=True, random_state=5)

    def objective(trial: Any) -> float:
        values = {
            "params.shrinkage": trial.suggest_float("params.shrinkage", 0.001, 1, log=True),
            "params.scale": trial.suggest_int("params.scale", 1, 9, step=2),
            "params.take": trial.suggest_categorical("params.take", ["all", "half"]),
        }
        return float(
            cross_val_score(build(values), trials.X, trials.y, cv=folds, scoring="accuracy").mean()
        )

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=5), direction="maximize")
    study.optimize(objective, n_trials=16)
    assert ours.tried_ == [trial.params for trial in study.trials]
    np.testing.assert_allclose(
        ours.search_scores_.mean(axis=1), [trial.value for trial in study.trials], atol=1e-12
    )
    assert len({trial.value for trial in study.trials}) > 3
    assert ours.best_values_ == study.best_params
    assert ours.search_scores_.shape == (16, 3)
    theirs = build(study.best_params).fit(trials.X, trials.y)
    np.testing.assert_array_equal(ours.predict(trials.X), theirs.predict(trials.X))
    np.testing.assert_array_equal(ours.predict_proba(trials.X), theirs.predict_proba(trials.X))

    kept = optuna.load_study(
        study_name=STUDY_NAME, storage=f"sqlite:///{tmp_path / 'deep' / 'task-00000.db'}"
    )
    assert [trial.params for trial in kept.trials] == ours.tried_
    assert [trial.value for trial in kept.trials] == [trial.value for trial in study.trials]
    assert kept.trials[3].user_attrs["inner_scores"] == ours.search_scores_[3].tolist()
    assert kept.user_attrs["scoring"] == "accuracy"
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["task-00000.db"]


def test_the_choice_depends_on_the_seed_alone(make_trials: Maker, tmp_path: Path) -> None:
    trials = make_trials(subjects=1, sessions=1)
    path = str(tmp_path / "a.db")
    first = study_search(scoring="roc_auc").fit(trials.X, trials.y)
    # Once more over its own file, after a trip through a pickle, as a worker gets it.
    search = pickle.loads(pickle.dumps(clone(study_search(scoring="roc_auc", study_path=path))))
    for _ in range(2):
        search.fit(trials.X, trials.y)
        assert search.tried_ == first.tried_
        np.testing.assert_array_equal(search.search_scores_, first.search_scores_)
    kept = optuna.load_study(study_name=STUDY_NAME, storage=f"sqlite:///{path}")
    assert len(kept.trials) == 16
    other = study_search(scoring="roc_auc", random_state=6).fit(trials.X, trials.y)
    assert other.tried_ != first.tried_


def test_values_proposed_again_are_not_fitted_again(
    make_trials: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = make_trials(subjects=1, sessions=1)
    fits = []
    monkeypatch.setattr(
        LinearDiscriminantAnalysis,
        "fit",
        lambda self, X, y, _fit=LinearDiscriminantAnalysis.fit: fits.append(1) or _fit(self, X, y),
    )
    space = {"params.shrinkage": [0.1, 0.9], "params.scale": [1], "params.take": ["all"]}
    search = StudySearch(space, build, 9, "within_session", "accuracy", n_folds=2)
    search.fit(trials.X, trials.y)
    assert len(search.tried_) == 9
    assert len(fits) == 2 * 2 + 1


def test_test_trials_cannot_change_the_study(make_trials: Maker, tmp_path: Path) -> None:
    trials = make_trials(subjects=3)
    spec = EvaluationSpec.model_validate({"kind": "cross_subject"})
    task = plan_tasks(trials.y, trials.metadata, spec, ["a"])[0]
    poisoned = SimpleNamespace(**vars(trials) | {"X": trials.X.copy(), "y": trials.y.copy()})
    test = task.fold.test
    poisoned.X[test] = 1e3 * np.random.default_rng(0).standard_normal(poisoned.X[test].shape)
    poisoned.y[test] = np.where(trials.y[test] == "class0", "class1", "class0")
    search = StudySearch(SPACE, build, 12, "cross_subject", "roc_auc")
    records = []
    for name, data in (("a", trials), ("b", poisoned)):
        options = FoldOptions("roc_auc", True, os.getpid())
        study = tmp_path / f"{name}.db"
        job = Job(task, search, options, tmp_path / "p.npz", study=study)
        records.append(carry_out_job(EEGWing(), job, data))
        assert records[-1]["status"] == "done", records[-1]
        assert study.is_file()
    assert records[0]["tuned"] == records[1]["tuned"]
    assert records[0]["tuning"] == records[1]["tuning"]
    assert len(records[0]["tuning"]) == 12
    assert records[0]["scores"] != records[1]["scores"]


def tuned(space: dict[str, Any], model: str = "csp_lda", **changes: Any) -> dict[str, Any]:
    tuning = {"search": "optuna", "space": space, "n_trials": 3, "n_folds": 2, **changes}
    return {"name": "one", "model": model, "tuning": tuning}


def test_a_run_keeps_its_studies_and_says_what_it_chose(
    spec_data: Callable[..., dict[str, Any]], make_trials: Maker, tmp_path: Path
) -> None:
    space = {"params.n_components": {"low": 1, "high": 3}}
    data = spec_data(pipelines=[tuned(space)], evaluation={"n_folds": 2})
    result = run(
        RunSpec.from_data(data), tmp_path, load=lambda _: make_trials(subjects=1), progress=False
    )
    assert result.state == "done", result.failures
    records = FoldLog(result.folder / "folds.jsonl").read()
    assert len(records) == 4
    for record in records:
        path = result.folder / "studies" / f"task-{record['task']:05d}.db"
        kept = optuna.load_study(study_name=STUDY_NAME, storage=f"sqlite:///{path}")
        assert kept.best_params == record["tuned"]
        assert [t.params for t in kept.trials] == [one["values"] for one in record["tuning"]]
    assert RunSpec.from_yaml(result.folder / "spec_resolved.yaml").pipelines[0].tuning is not None
    assert pd.read_csv(result.folder / "scores.csv")["tuned"].notna().all()


def test_a_twin_searches_the_same_space_less_what_means_nothing_to_it(
    spec_data: Callable[..., dict[str, Any]], make_trials: Maker
) -> None:
    space = {
        "params.F1": [2, 4],
        "params.head": ["mlr", "prototypes"],
        "training.c": {"low": 0.5, "high": 2.0, "log": True},
        "training.lr": {"low": 1e-4, "high": 1e-2, "log": True},
    }
    hyper = tuned(space, "HyperbolicEEGNet")
    flat = {"name": "flat", "model": "EEGNet", "twin_of": "one"}
    spec = RunSpec.from_data(spec_data(pipelines=[hyper, flat]))
    assert RunSpec.from_text(spec.to_yaml()) == spec
    first, twin = (build_estimator(spec, p, make_trials(), 3) for p in spec.pipelines)
    assert list(first.space) == list(space)
    assert list(twin.space) == ["params.F1", "training.lr"]
    assert (first.n_trials, twin.n_trials) == (3, 3)
    made = twin.build({"params.F1": 4, "training.lr": 0.005})
    assert made.steps[-1][1].lr == 0.005
    assert made.steps[-1][1].model_params["F1"] == 4
    assert first.get_metadata_routing() is not None


def test_lists_that_are_no_plain_values_are_chosen_by_their_json(make_trials: Maker) -> None:
    from hypeeg.eeg.tuning_study import _distributions

    distributions, originals = _distributions({"bands": [[[8, 12]], [[8, 12], [12, 30]]]})
    assert distributions["bands"].choices == ("[[8, 12]]", "[[8, 12], [12, 30]]")
    assert originals["bands"]("[[8, 12], [12, 30]]") == [[8, 12], [12, 30]]


@pytest.mark.parametrize(
    ("tuning", "path", "fragments"),
    [
        ({"search": "optunna", "grid": {"params.a": [1]}}, "search", ["'optunna'", "'optuna'?"]),
        ({"search": "optuna"}, "", ["space is empty"]),
        ({"search": "optuna", "grid": {"params.a": [1]}}, "", ["grid is given", "optuna"]),
        ({"grid": {"params.a": [1]}, "n_trials": 4}, "", ["n_trials is 4", "space"]),
        ({"space": {"params.a": [1]}}, "", ["space is given", "grid"]),
        (
            {"search": "optuna", "space": {"params.a": {"low": 1, "hihg": 2}}},
            "space.params.a.hihg",
            ["unknown key", "'high'?"],
        ),
        (
            {"search": "optuna", "space": {"params.a": {"low": 3, "high": 2}}},
            "space.params.a",
            ["low is 3", "less"],
        ),
        (
            {"search": "optuna", "space": {"params.a": {"low": 0, "high": 2, "log": True}}},
            "space.params.a",
            ["low is 0", "over 0"],
        ),
        (
            {"search": "optuna", "space": {"training.lrr": [0.1]}},
            "space",
            ["'training.lrr'", "'lr'?"],
        ),
        ({"search": "optuna", "space": {"standardize": ["trial"]}}, "space", ["'standardise'?"]),
        ({"search": "optuna", "space": {"params.a": []}}, "space", ["no values"]),
        ({"search": "optuna", "space": {"params.a": 3}}, "space.params.a", ["3", "list"]),
    ],
)
def test_a_wrong_search_is_told(
    tuning: dict[str, Any],
    path: str,
    fragments: list[str],
    spec_data: Callable[..., dict[str, Any]],
) -> None:
    pipelines = [{"name": "one", "model": "HyperbolicEEGNet", "tuning": tuning}]
    with pytest.raises(SpecError) as caught:
        RunSpec.from_data(spec_data(pipelines=pipelines))
    problems = {problem.path: problem.message for problem in caught.value.problems}
    where = ".".join(filter(None, ("pipelines.0.tuning", path)))
    assert where in problems, problems
    for fragment in fragments:
        assert fragment in problems[where]


def test_a_range_that_the_field_does_not_take_is_told(
    spec_data: Callable[..., dict[str, Any]],
) -> None:
    space = {"training.c": {"low": 0.5, "high": 50.0}}
    with pytest.raises(SpecError, match=r"tuning\.space: training\.c: 50\.0 is not taken"):
        RunSpec.from_data(spec_data(pipelines=[tuned(space, "HyperbolicEEGNet")]))


def test_whole_numbers_are_those_written_so() -> None:
    assert RangeSpec(low=1, high=9).is_integer
    assert not RangeSpec(low=1, high=9, step=0.5).is_integer
    assert not RangeSpec(low=1, high=9, integer=False).is_integer
    assert not RangeSpec(low=0.1, high=1, log=True).is_integer
    assert RangeSpec(low=1.0, high=9.0, integer=True).is_integer
    with pytest.raises(ValueError, match=r"low is 0\.5"):
        RangeSpec(low=0.5, high=9, integer=True)
    assert TuningSpec(search="optuna", space={"params.a": [1, 2]}).n_candidates == 20


def test_without_optuna_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'hypeeg\[sweep\]'"):
        check_optuna()
