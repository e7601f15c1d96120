"""Values chosen inside the training trials: as scikit-learn chooses, and never by the test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from hypeeg.eeg.tuning import NestedSearch, tuned_variants
from hypeeg.experiments.eeg_wing import EEGWing
from hypeeg.experiments.evaluation_spec import EvaluationSpec
from hypeeg.experiments.fold import FoldOptions, carry_out_job
from hypeeg.experiments.runner import build_estimator, run
from hypeeg.experiments.spec import RunSpec
from hypeeg.experiments.spec_errors import SpecError
from hypeeg.experiments.store import FoldLog
from hypeeg.experiments.tasks import plan_tasks
from hypeeg.experiments.wings import Job

Maker = Callable[..., SimpleNamespace]
SHRINKAGE = [0.0, 0.5, 0.99]


def flat(X: np.ndarray) -> np.ndarray:
    return X.reshape(len(X), -1)


def lda(shrinkage: float = 0.0) -> Pipeline:
    steps = [
        ("flat", FunctionTransformer(flat)),
        ("lda", LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)),
    ]
    return Pipeline(steps)


def candidates() -> list[tuple[dict[str, Any], Any]]:
    return [({"params.shrinkage": s}, lda(s)) for s in SHRINKAGE]


def sessions_of(metadata: pd.DataFrame) -> np.ndarray:
    return (metadata["subject"].astype(str) + "/" + metadata["session"]).to_numpy(dtype=str)


@pytest.mark.parametrize("kind", ["within_session", "cross_session", "cross_subject"])
def test_the_choice_is_that_of_scikit_learn(kind: Any, make_trials: Maker) -> None:
    one = kind == "within_session"
    trials = make_trials(subjects=1 if one else 5, sessions=1 if one else 2, per_class=15)
    subjects, sessions = trials.metadata["subject"].to_numpy(), sessions_of(trials.metadata)
    search = NestedSearch(candidates(), kind, "accuracy", n_folds=4, random_state=11)
    search.fit(trials.X, trials.y, subjects=subjects, sessions=sessions)
    groups = {"cross_session": sessions, "cross_subject": subjects}.get(kind)
    folds = StratifiedKFold(4, shuffle=True, random_state=11) if one else GroupKFold(4)
    theirs = GridSearchCV(lda(), {"lda__shrinkage": SHRINKAGE}, cv=folds, scoring="accuracy")
    theirs.fit(trials.X, trials.y, groups=groups)
    means = theirs.cv_results_["mean_test_score"]
    if kind == "cross_subject":
        # Two of five subjects share an inner fold: sessions weigh the same there and here.
        assert search.search_scores_.shape == (3, 4)
    np.testing.assert_allclose(search.search_scores_.mean(axis=1), means, rtol=0, atol=1e-12)
    assert len(set(means)) > 1
    assert search.best_values_ == {"params.shrinkage": theirs.best_params_["lda__shrinkage"]}
    np.testing.assert_array_equal(search.predict(trials.X), theirs.predict(trials.X))
    np.testing.assert_allclose(search.predict_proba(trials.X), theirs.predict_proba(trials.X))
    assert hasattr(search, "transform")
    assert not hasattr(NestedSearch([({}, Spy())], kind, "accuracy"), "transform")


class Spy(ClassifierMixin, BaseEstimator):
    """Nearest class mean that writes down which trials it was given: X[:, 2, 0] is their number."""

    __metadata_request__fit: ClassVar[dict[str, bool]] = {
        "subjects": True,
        "sessions": True,
        "X_target_unlabeled": True,
        "X_target_labeled": True,
        "y_target_labeled": True,
    }
    seen: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift

    def fit(self, X: np.ndarray, y: np.ndarray, **routed: Any) -> Spy:
        numbers = {"train": X[:, 2, 0].astype(int)}
        for name, value in routed.items():
            is_trials = name.startswith("X_")
            numbers[name] = value[:, 2, 0].astype(int) if is_trials else np.asarray(value)
        self.seen.append(numbers)
        self.classes_ = np.unique(y)
        self.centres_ = np.array([X[y == c, 0].mean() for c in self.classes_]) + self.shift
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        self.seen[-1].setdefault("asked", set()).update(X[:, 2, 0].astype(int).tolist())
        weight = np.exp(-np.abs(X[:, 0].mean(axis=1)[:, None] - self.centres_))
        return weight / weight.sum(axis=1, keepdims=True)

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


@pytest.fixture
def numbered(make_trials: Maker) -> SimpleNamespace:
    trials = make_trials(subjects=5)
    trials.X[:, 2, 0] = np.arange(len(trials.X))
    Spy.seen.clear()
    return trials


@pytest.mark.parametrize(
    ("adaptation", "share", "labeled"),
    [("unlabeled_20", 0.2, False), ("unlabeled_full", 1.0, False), ("labeled_50", 0.5, True)],
)
def test_inner_folds_repeat_the_adaptation_of_the_outer_one(
    adaptation: Any, share: float, labeled: bool, numbered: SimpleNamespace, tmp_path: Path
) -> None:
    spec = EvaluationSpec.model_validate({"kind": "cross_subject", "adaptation": adaptation})
    task = plan_tasks(numbered.y, numbered.metadata, spec, ["a"])[0]
    search = NestedSearch(
        [({"shift": s}, Spy(s)) for s in (0.0, 1.0)],
        "cross_subject",
        "roc_auc",
        calibration_size=share,
        calibration_labeled=labeled,
    )
    subjects = numbered.metadata["subject"].to_numpy()
    options = FoldOptions("roc_auc", True, os.getpid())
    job = Job(task, search, options, tmp_path / "part.npz")
    record = carry_out_job(EEGWing(), job, numbered)
    assert record["status"] == "done", record
    assert record["n_target"] == len(task.fold.target)
    key = "X_target_labeled" if labeled else "X_target_unlabeled"
    *inner, outer = Spy.seen
    assert len(inner) == 3 * 2
    assert set(outer["train"]) == set(task.fold.train)
    assert set(outer[key]) == set(task.fold.target)
    assert set(outer["sessions"]) == {f"{s}/{v}" for s in (2, 3, 4, 5) for v in "01"}
    left_out = set()
    for one in inner:
        # No fit and no prediction of the search touches a trial of the tested subject.
        used = set(one["train"]) | set(one[key]) | one["asked"]
        assert used <= set(task.fold.train)
        assert np.array_equal(one["subjects"], subjects[one["train"]])
        [who] = set(subjects[one[key]])
        assert who not in set(one["subjects"])
        assert set(subjects[list(one["asked"])]) == {who}
        assert len(one[key]) == share * 40
        assert bool(set(one[key]) & one["asked"]) == (adaptation == "unlabeled_full")
        if labeled:
            assert np.array_equal(one["y_target_labeled"], numbered.y[one[key]])
        left_out.add(who)
    assert len(left_out) == 3


def test_test_trials_cannot_change_the_choice(make_trials: Maker, tmp_path: Path) -> None:
    trials = make_trials(subjects=4)
    rng = np.random.default_rng(3)
    for kind in ("within_session", "cross_session", "cross_subject"):
        spec = EvaluationSpec.model_validate({"kind": kind})
        task = plan_tasks(trials.y, trials.metadata, spec, ["a"])[0]
        poisoned = SimpleNamespace(**vars(trials) | {"X": trials.X.copy(), "y": trials.y.copy()})
        test = task.fold.test
        poisoned.X[test] = 1e3 * rng.standard_normal(poisoned.X[test].shape)
        poisoned.y[test] = np.where(trials.y[test] == "class0", "class1", "class0")
        search = NestedSearch(candidates(), kind, "roc_auc")
        options = FoldOptions("roc_auc", True, os.getpid())
        job = Job(task, search, options, tmp_path / "p.npz")
        records = [carry_out_job(EEGWing(), job, data) for data in (trials, poisoned)]
        assert [r["status"] for r in records] == ["done", "done"]
        assert records[0]["tuned"] == records[1]["tuned"]
        assert records[0]["tuning"] == records[1]["tuning"]
        assert len(records[0]["tuning"]) == 3
        assert records[0]["scores"] != records[1]["scores"]


def test_what_cannot_be_divided_is_told(make_trials: Maker) -> None:
    trials = make_trials(subjects=2)
    subjects = trials.metadata["subject"].to_numpy()
    y = np.where(subjects == 1, "only", trials.y)
    search = NestedSearch(candidates(), "cross_subject", "accuracy")
    with pytest.raises(ValueError, match=r"no training trials of (only|class0, class1); leave"):
        search.fit(trials.X, y, subjects=subjects, sessions=sessions_of(trials.metadata))
    y = trials.y.copy()
    y[0] = "once"
    search = NestedSearch(candidates(), "within_session", "accuracy")
    with pytest.raises(ValueError, match="class once has one training trial"):
        search.fit(trials.X, y)


def test_one_group_alone_is_divided_by_class(make_trials: Maker) -> None:
    trials = make_trials(subjects=1, sessions=1)
    for kind in ("cross_session", "cross_subject"):
        search = NestedSearch(candidates(), kind, "accuracy", random_state=2)
        plain = NestedSearch(candidates(), "within_session", "accuracy", random_state=2)
        ours = search.fit(trials.X, trials.y, sessions=sessions_of(trials.metadata))
        other = plain.fit(trials.X, trials.y)
        np.testing.assert_array_equal(ours.search_scores_, other.search_scores_)


def tuned_spec(spec_data: Callable[..., dict[str, Any]], **changes: Any) -> RunSpec:
    grid = {
        "params.F1": [2, 4],
        "params.head": ["mlr", "prototypes"],
        "training.lr": [1e-2],
        "training.c": [0.5, 2.0],
        "standardise": ["trial"],
    }
    pipelines = [
        {"name": "hyper", "model": "HyperbolicEEGNet", "tuning": {"grid": grid}},
        {"name": "flat", "model": "EEGNet", "twin_of": "hyper"},
        {"name": "csp", "model": "csp_lda", "params": {"n_components": 2}},
    ]
    return RunSpec.from_data(spec_data(pipelines=pipelines, **changes))


def test_a_twin_chooses_among_the_same_values(
    spec_data: Callable[..., dict[str, Any]], make_trials: Maker
) -> None:
    spec = tuned_spec(spec_data).resolve()
    hyper, flat_, csp = spec.pipelines
    own = [values for values, _, _ in tuned_variants(hyper, spec.pipelines)]
    assert len(own) == 8
    assert own[0] == {
        "params.F1": 2,
        "params.head": "mlr",
        "training.lr": 0.01,
        "training.c": 0.5,
        "standardise": "trial",
    }
    # EEGNet knows neither heads nor curvatures.
    twin = [values for values, _, _ in tuned_variants(flat_, spec.pipelines)]
    rest = {"training.lr": 0.01, "standardise": "trial"}
    assert twin == [{"params.F1": 2, **rest}, {"params.F1": 4, **rest}]
    assert tuned_variants(csp, spec.pipelines) == [({}, csp, spec.pipelines)]
    trials = make_trials()
    for pipeline, count in ((hyper, 8), (flat_, 2)):
        search = build_estimator(spec, pipeline, trials, 7)
        assert isinstance(search, NestedSearch)
        assert len(search.candidates) == count
        assert (search.scoring, search.random_state) == ("roc_auc", 7)
        for values, made in search.candidates:
            classifier = made.steps[-1][1]
            assert classifier.model_params["F1"] == values["params.F1"]
            assert classifier.lr == 0.01
            assert classifier.random_state == 7
            assert dict(made.steps)["standardise"].mode == "trial"
            if pipeline is hyper:
                assert classifier.model_params["head"] == values["params.head"]
                assert classifier.c == values["training.c"]
    assert not isinstance(build_estimator(spec, csp, trials, 7), NestedSearch)


def test_a_twin_may_not_fix_what_its_pair_tunes(
    spec_data: Callable[..., dict[str, Any]],
) -> None:
    spec = tuned_spec(spec_data)
    hyper, flat_, _ = spec.pipelines
    fixed = flat_.model_copy(update={"params": {"F1": 8}})
    with pytest.raises(ValueError, match=r"'flat' fixes params.F1, which 'hyper' tunes"):
        tuned_variants(fixed, [hyper, fixed])


@pytest.mark.parametrize(
    ("tuning", "fragments"),
    [
        ({"grid": {"params.n_components": [2]}, "scoring": "acuracy"}, ["'acuracy'", "scorer"]),
        ({"grid": {"params.n_component": [2, 3]}}, ["n_component", "n_components"]),
        ({"grid": {"training.lr": [0.1, 0.2]}}, ["training"]),
    ],
)
def test_a_wrong_grid_ends_the_run_before_any_fit(
    tuning: dict[str, Any],
    fragments: list[str],
    tmp_path: Path,
    spec_data: Callable[..., dict[str, Any]],
    make_trials: Maker,
) -> None:
    pipelines = [{"name": "csp", "model": "csp_lda", "tuning": tuning}]

    def start() -> None:
        spec = RunSpec.from_data(spec_data(pipelines=pipelines))
        run(spec, tmp_path, load=lambda _: make_trials(), progress=False)

    with pytest.raises(SpecError) as caught:
        start()
    for fragment in fragments:
        assert fragment in str(caught.value)


def small_run() -> RunSpec:
    """Tuning, adaptation and a network in one run, for whoever repeats it."""
    grid = {"params.F1": [2, 4], "training.lr": [0.05]}
    return RunSpec.from_data(
        {
            "name": "tuned",
            "dataset": {"name": "SimulatedMI"},
            "evaluation": {"kind": "cross_subject", "adaptation": "unlabeled_20", "seeds": [1]},
            "training": {"max_epochs": 1},
            "pipelines": [
                {"name": "net", "model": "EEGNet", "tuning": {"grid": grid, "n_folds": 2}},
                {
                    "name": "csp",
                    "model": "csp_lda",
                    "tuning": {"grid": {"params.n_components": [1, 3]}, "n_folds": 2},
                },
            ],
        }
    )


def small_trials() -> SimpleNamespace:
    rng = np.random.default_rng(8)
    y = np.tile(["class0", "class1"], 36)
    metadata = pd.DataFrame({"subject": np.repeat([1, 2, 3], 24), "session": "0", "run": "0"})
    X = rng.standard_normal((72, 3, 128)).astype(np.float32)
    X[y == "class1", 0] *= 1.3
    names = ("C3", "Cz", "C4")
    return SimpleNamespace(X=X, y=y, metadata=metadata, sfreq=128.0, ch_names=names)


def scores_of(out: Path, n_jobs: int) -> list[dict[str, Any]]:
    spec = small_run().apply_overrides([f"n_jobs={n_jobs}"])
    result = run(spec, out, load=lambda _: small_trials(), progress=False)
    assert result.state == "done", result.failures
    kept = FoldLog(result.folder / "folds.jsonl").read()
    names = ("pipeline", "subject", "seed", "scores", "tuned", "tuning", "n_target")
    rows = [{name: record[name] for name in names} for record in kept]
    return sorted(rows, key=lambda row: (row["pipeline"], row["subject"], row["seed"]))


def test_the_same_seed_gives_the_same_scores_anywhere(tmp_path: Path) -> None:
    here = scores_of(tmp_path / "one", 1)
    assert len(here) == 2 * 3
    assert len({json.dumps(row["tuned"]) for row in here}) > 2
    [folder] = (tmp_path / "one").iterdir()
    table = pd.read_csv(folder / "scores.csv")
    assert len(table) == len(here)
    assert {frozenset(json.loads(text)) for text in table["tuned"]} == {
        frozenset({"params.F1", "training.lr"}),
        frozenset({"params.n_components"}),
    }
    # The winner is what is kept of a tuned network.
    [saved] = (folder / "models" / "net").iterdir()
    from hypeeg.experiments.saved import load_pipeline

    chosen = here[-1]["tuned"]["params.F1"]
    assert load_pipeline(saved, device="cpu").steps[-1][1].model_params["F1"] == chosen
    assert scores_of(tmp_path / "two", 2) == here
    code = (
        "import json, sys; from pathlib import Path; "
        f"sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_tuning; "
        f"print('#' + json.dumps(test_tuning.scores_of(Path({str(tmp_path / 'three')!r}), 1)))"
    )
    fresh = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    [line] = [line for line in fresh.stdout.splitlines() if line.startswith("#")]
    assert json.loads(line[1:]) == here
