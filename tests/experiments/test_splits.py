"""Cross-session folds, target data, learning curves, and what is refused or warned about."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from moabb.evaluations.splitters import (
    CrossSessionSplitter,
    CrossSubjectSplitter,
    LearningCurveSplitter,
    WithinSessionSplitter,
)

from hypeeg.experiments.divisible import cautions, overlapping_share
from hypeeg.experiments.evaluation_spec import EvaluationSpec
from hypeeg.experiments.runner import run
from hypeeg.experiments.spec import RunSpec
from hypeeg.experiments.tasks import DataProblem, describe, folds_of, plan_tasks

Maker = Callable[..., SimpleNamespace]


def evaluation(**values: object) -> EvaluationSpec:
    return EvaluationSpec.model_validate(values)


def as_sets(pieces: Any) -> set[tuple[bytes, ...]]:
    return {tuple(np.sort(part).tobytes() for part in piece) for piece in pieces}


def test_cross_session_folds_are_moabbs(make_trials: Maker) -> None:
    trials = make_trials(subjects=2, sessions=3)
    ours = list(folds_of(trials.y, trials.metadata, evaluation(kind="cross_session")))
    theirs = list(CrossSessionSplitter(random_state=0).split(trials.y, trials.metadata))
    assert as_sets((f.train, f.test) for f in ours) == as_sets(theirs)
    assert [(f.subject, f.session, f.fold) for f in ours] == [
        (subject, str(session), session) for subject in (1, 2) for session in range(3)
    ]
    for fold in ours:
        train = trials.metadata.iloc[fold.train]
        assert set(train["subject"]) == {fold.subject}
        assert fold.session not in set(train["session"])
        assert set(trials.metadata.iloc[fold.test]["session"]) == {fold.session}


@pytest.mark.parametrize(
    ("adaptation", "size", "labeled"),
    [
        ("unlabeled_20", 0.2, False),
        ("unlabeled_50", 0.5, False),
        ("unlabeled_full", 1.0, False),
        ("labeled_20", 0.2, True),
        ("labeled_50", 0.5, True),
    ],
)
def test_target_trials_are_moabbs(
    adaptation: str, size: float, labeled: bool, make_trials: Maker
) -> None:
    trials = make_trials(subjects=3)
    spec = evaluation(kind="cross_subject", adaptation=adaptation)
    ours = list(folds_of(trials.y, trials.metadata, spec))
    splitter = CrossSubjectSplitter(
        random_state=0, calibration_size=size, calibration_labeled=labeled
    )
    theirs = list(splitter.split(trials.y, trials.metadata))
    assert as_sets((f.train, f.target, f.test) for f in ours) == as_sets(theirs)
    for fold in ours:
        assert fold.target is not None
        assert fold.target_labeled == labeled
        # The first trials of each session, never of a training subject.
        assert set(trials.metadata.iloc[fold.target]["subject"]) == {fold.subject}
        assert set(trials.metadata.iloc[fold.target]["session"]) == {"0", "1"}
        shared = len(set(fold.target) & set(fold.test))
        assert shared == (len(fold.test) if adaptation == "unlabeled_full" else 0)


def test_without_adaptation_there_are_no_target_trials(make_trials: Maker) -> None:
    trials = make_trials()
    for name in ("none", "trialwise"):
        spec = evaluation(kind="cross_subject", adaptation=name)
        assert all(f.target is None for f in folds_of(trials.y, trials.metadata, spec))


@pytest.mark.parametrize(
    ("policy", "sizes", "n_perms"), [("per_class", [2, 6], [4, 2]), ("ratio", [0.2, 0.5, 1.0], 3)]
)
def test_learning_curves_are_moabbs(
    policy: str, sizes: list[float], n_perms: Any, make_trials: Maker
) -> None:
    trials = make_trials()
    curve = {"policy": policy, "sizes": sizes, "n_perms": n_perms, "test_size": 0.3}
    ours = list(folds_of(trials.y, trials.metadata, evaluation(learning_curve=curve, seeds=[9])))
    splitter = WithinSessionSplitter(
        cv_class=LearningCurveSplitter,
        random_state=9,
        data_size={"policy": policy, "value": np.array(sizes)},
        n_perms=n_perms,
        test_size=0.3,
    )
    theirs = []
    for train, test in splitter.split(trials.y, trials.metadata):
        theirs.append((train, test, np.array(list(splitter.get_metadata().values()))))
    mine = [(f.train, f.test, np.array([f.permutation, f.data_size])) for f in ours]
    assert as_sets(mine) == as_sets(theirs)
    assert len(ours) == 4 * (6 if policy == "per_class" else 9)
    for fold in ours:
        assert len(fold.train) == fold.data_size
        # One test set a permutation; small training sets lie in larger ones.
        others = [
            f
            for f in ours
            if (f.subject, f.session, f.permutation)
            == (fold.subject, fold.session, fold.permutation)
        ]
        assert all(np.array_equal(np.sort(f.test), np.sort(fold.test)) for f in others)
        larger = [f for f in others if f.data_size > fold.data_size]
        assert all(set(fold.train) <= set(f.train) for f in larger)


def test_steps_of_a_learning_curve_tell_their_size(make_trials: Maker) -> None:
    trials = make_trials(subjects=1, sessions=1)
    spec = evaluation(learning_curve={"sizes": [2, 4], "n_perms": 2})
    tasks = plan_tasks(trials.y, trials.metadata, spec, ["a"])
    assert [(t.identity["data_size"], t.identity["permutation"]) for t in tasks] == [
        (4, 1),
        (8, 1),
        (4, 2),
        (8, 2),
    ]
    assert describe(tasks[1].identity).endswith("trained on 8")
    plain = plan_tasks(trials.y, trials.metadata, evaluation(n_folds=2), ["a"])
    assert "data_size" not in plain[0].identity


def test_a_learning_curve_longer_than_a_session_names_the_remedy(make_trials: Maker) -> None:
    trials = make_trials(per_class=5)
    spec = evaluation(learning_curve={"sizes": [2, 50]})
    with pytest.raises(DataProblem, match=r"Mine.*Smallest class has 4.*Lower sizes"):
        plan_tasks(trials.y, trials.metadata, spec, ["a"], "Mine")


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_planned_number_of_folds_is_the_number_said(count: int, make_trials: Maker) -> None:
    trials = make_trials(subjects=3, sessions=count)
    specs = [
        evaluation(n_folds=4),
        evaluation(learning_curve={"sizes": [1, 3], "n_perms": [3, 1]}),
        evaluation(learning_curve={"sizes": [1, 3], "n_perms": 2}),
        evaluation(kind="cross_subject"),
    ]
    if count > 1:
        specs.append(evaluation(kind="cross_session"))
    for spec in specs:
        folds = list(folds_of(trials.y, trials.metadata, spec))
        assert len(folds) == spec.count_folds(3, count)


def test_cross_session_needs_two_sessions(make_trials: Maker) -> None:
    trials = make_trials(sessions=1)
    with pytest.raises(DataProblem, match=r"no subject has two.*within_session"):
        plan_tasks(trials.y, trials.metadata, evaluation(kind="cross_session"), ["a"])


def test_subjects_with_one_session_are_left_out_of_cross_session_and_named(
    make_trials: Maker,
) -> None:
    trials = make_trials(subjects=3)
    there = (trials.metadata["subject"] == 2) & (trials.metadata["session"] == "1")
    keep = ~there.to_numpy()
    y, metadata = trials.y[keep], trials.metadata[keep]
    spec = evaluation(kind="cross_session")
    tasks = plan_tasks(y, metadata, spec, ["a"])
    assert {t.fold.subject for t in tasks} == {1, 3}
    [caution] = cautions(trials.X[keep], y, metadata, spec)
    assert "subjects 2 have one session" in caution


def test_a_class_of_one_session_alone_cannot_be_learned(make_trials: Maker) -> None:
    trials = make_trials(classes=3)
    there = (trials.metadata["subject"] == 2) & (trials.metadata["session"] == "0")
    keep = ~(there & (trials.y == "class2")).to_numpy()
    args = trials.y[keep], trials.metadata[keep]
    with pytest.raises(DataProblem, match=r"subject 2.*'class2' in session 1 only"):
        plan_tasks(*args, evaluation(kind="cross_session"), ["a"])


def test_the_area_under_the_curve_needs_both_classes_of_a_session_left_out(
    make_trials: Maker,
) -> None:
    trials = make_trials(sessions=3)
    there = (trials.metadata["subject"] == 1) & (trials.metadata["session"] == "2")
    keep = ~(there & (trials.y == "class1")).to_numpy()
    args = trials.y[keep], trials.metadata[keep]
    with pytest.raises(DataProblem, match="subject 1, session 2 has no trials of class1"):
        plan_tasks(*args, evaluation(kind="cross_session"), ["a"])
    assert plan_tasks(*args, evaluation(kind="cross_session", scoring="accuracy"), ["a"])


def test_target_trials_must_leave_a_test_set_with_every_class(make_trials: Maker) -> None:
    trials = make_trials(per_class=10)
    order = np.lexsort((trials.y, trials.metadata["session"], trials.metadata["subject"]))
    y, metadata = trials.y[order], trials.metadata.iloc[order].reset_index(drop=True)
    sorted_by_class = {"kind": "cross_subject", "adaptation": "unlabeled_50"}
    with pytest.raises(DataProblem, match=r"unlabeled_50.*has no trials of class0.*smaller share"):
        plan_tasks(y, metadata, evaluation(**sorted_by_class), ["a"])
    assert plan_tasks(y, metadata, evaluation(**sorted_by_class, scoring="accuracy"), ["a"])
    less = {**sorted_by_class, "adaptation": "unlabeled_20"}
    assert plan_tasks(y, metadata, evaluation(**less), ["a"])


def one_class_a_run(trials: SimpleNamespace) -> pd.DataFrame:
    """Metadata as of a study with one recording of each class."""
    return trials.metadata.assign(run=trials.y)


def test_recordings_of_one_class_are_not_divided(make_trials: Maker) -> None:
    trials = make_trials()
    metadata = one_class_a_run(trials)
    with pytest.raises(DataProblem, match=r"subject 1, session 0 and 3 more.*cross_subject"):
        plan_tasks(trials.y, metadata, evaluation(n_folds=2), ["a"])
    warned = evaluation(n_folds=2, single_class_runs="warn")
    assert plan_tasks(trials.y, metadata, warned, ["a"])
    [caution] = cautions(trials.X, trials.y, metadata, warned)
    assert "telling recordings apart" in caution
    # Nothing leaks when the tested recordings are of other days or people.
    for kind in ("cross_session", "cross_subject"):
        assert plan_tasks(trials.y, metadata, evaluation(kind=kind), ["a"])
        assert not cautions(trials.X, trials.y, metadata, evaluation(kind=kind))
    mixed = metadata.assign(run=np.where(np.arange(len(metadata)) % 2 == 0, "mixed", trials.y))
    assert plan_tasks(trials.y, mixed, evaluation(n_folds=2), ["a"])
    single = metadata.assign(run=np.arange(len(metadata)).astype(str))
    assert plan_tasks(trials.y, single, evaluation(n_folds=2), ["a"])


def windows(step: int, n: int = 30, channels: int = 3, length: int = 64) -> np.ndarray:
    """Windows of one recording, `step` samples apart."""
    signal = np.random.default_rng(1).standard_normal((channels, length + n * step))
    cut = [signal[:, k * step : k * step + length] for k in range(n)]
    return np.array(cut, dtype=np.float32)


def test_overlapping_windows_under_shuffled_folds_are_told() -> None:
    y = np.array(["a", "b"] * 15)
    metadata = pd.DataFrame({"subject": 1, "session": "0", "run": ["0"] * 20 + ["1"] * 10})
    shuffled, ordered = evaluation(n_folds=2), evaluation(n_folds=2, shuffle=False)
    for step in (16, 50):
        X = windows(step)
        [caution] = cautions(X, y, metadata, shuffled)
        assert "100 %" in caution
        assert "shuffle: false" in caution
        assert not cautions(X, y, metadata, ordered)
        assert overlapping_share(X - X[:, :, :8].mean(axis=2, keepdims=True), metadata) == 1
    assert not cautions(windows(64), y, metadata, shuffled)
    assert not cautions(np.zeros((30, 3, 64)), y, metadata, shuffled)
    # Neighbours in the table that are of different recordings do not count.
    apart = metadata.assign(run=[str(k) for k in range(30)])
    assert not cautions(windows(16), y, apart, shuffled)


def test_cautions_are_in_the_log_of_the_run(
    tmp_path: Path,
    make_trials: Maker,
    spec_data: Callable[..., dict[str, Any]],
    threshold: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    trials = make_trials()
    trials.metadata = one_class_a_run(trials)
    spec = RunSpec.from_data(spec_data(evaluation={"n_folds": 2, "single_class_runs": "warn"}))
    with caplog.at_level(logging.WARNING):
        result = run(
            spec, tmp_path, load=lambda _: trials, build=lambda *_: threshold(), progress=False
        )
    assert result.n_warnings == 1
    assert "telling recordings apart" in (result.folder / "log.txt").read_text()


def test_the_scores_table_of_a_learning_curve(
    tmp_path: Path, make_trials: Maker, spec_data: Callable[..., dict[str, Any]], threshold: Any
) -> None:
    from hypeeg.experiments.gather import SCORE_COLUMNS, read_embeddings

    trials = make_trials()
    curve = {"learning_curve": {"sizes": [2, 5], "n_perms": 2}}
    spec = RunSpec.from_data(spec_data(evaluation=curve))
    result = run(
        spec, tmp_path, load=lambda _: trials, build=lambda *_: threshold(), progress=False
    )
    assert result.state == "done"
    assert list(result.scores.columns) == [*SCORE_COLUMNS, "data_size", "permutation"]
    assert len(result.scores) == 2 * 2 * 4 * 3
    assert (result.scores["samples"] == result.scores["data_size"]).all()
    assert (result.scores["n_train"] == result.scores["data_size"]).all()
    stored = read_embeddings(result.folder / "embeddings" / "csp.npz")
    assert set(stored["data_size"]) == {4, 10}
    assert set(stored["permutation"]) == {1, 2}
    history = pd.read_csv(result.folder / "curvature_history.csv")
    assert set(history["data_size"]) == {4, 10}
