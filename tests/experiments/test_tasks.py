from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from moabb.evaluations.splitters import CrossSubjectSplitter, WithinSessionSplitter

from hypeeg.experiments.spec import EvaluationSpec
from hypeeg.experiments.tasks import DataProblem, folds_of, plan_tasks, resolve_scoring

Maker = Callable[..., SimpleNamespace]


def evaluation(**values: object) -> EvaluationSpec:
    return EvaluationSpec.model_validate(values)


def as_sets(pairs: object) -> set[tuple[bytes, bytes]]:
    return {(np.sort(a).tobytes(), np.sort(b).tobytes()) for a, b in pairs}  # type: ignore[attr-defined]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("seed", [0, 7])
def test_within_session_folds_are_moabbs(shuffle: bool, seed: int, make_trials: Maker) -> None:
    trials = make_trials(subjects=3)
    spec = evaluation(n_folds=5, shuffle=shuffle, seeds=[seed])
    ours = list(folds_of(trials.y, trials.metadata, spec))
    splitter = WithinSessionSplitter(
        n_folds=5, shuffle=shuffle, random_state=seed if shuffle else None
    )
    theirs = list(splitter.split(trials.y, trials.metadata))
    assert len(ours) == len(theirs) == 3 * 2 * 5
    assert as_sets((f.train, f.test) for f in ours) == as_sets(theirs)
    for fold in ours:
        rows = trials.metadata.iloc[np.concatenate([fold.train, fold.test])]
        assert set(rows["subject"]) == {fold.subject}
        assert set(rows["session"]) == {fold.session}


def test_cross_subject_folds_are_moabbs(make_trials: Maker) -> None:
    trials = make_trials(subjects=4)
    ours = list(folds_of(trials.y, trials.metadata, evaluation(kind="cross_subject", seeds=[3])))
    theirs = list(CrossSubjectSplitter(random_state=3).split(trials.y, trials.metadata))
    assert as_sets((f.train, f.test) for f in ours) == as_sets(theirs)
    assert [f.subject for f in ours] == [1, 2, 3, 4]
    for fold in ours:
        assert set(trials.metadata.iloc[fold.test]["subject"]) == {fold.subject}
        assert fold.subject not in set(trials.metadata.iloc[fold.train]["subject"])
        assert fold.session is None


def test_folds_keep_their_trials_whatever_the_index_of_the_metadata(make_trials: Maker) -> None:
    trials = make_trials()
    spec = evaluation(n_folds=2)
    odd = trials.metadata.set_index(np.arange(len(trials.y)) * 10 + 5)
    plain = plan_tasks(trials.y, trials.metadata, spec, ["a"])
    shifted = plan_tasks(trials.y, odd, spec, ["a"])
    for a, b in zip(plain, shifted, strict=True):
        assert np.array_equal(a.fold.test, b.fold.test)


def test_pipelines_see_the_same_folds_next_to_each_other(make_trials: Maker) -> None:
    trials = make_trials()
    tasks = plan_tasks(trials.y, trials.metadata, evaluation(n_folds=2, seeds=[0, 1]), ["a", "b"])
    assert [t.index for t in tasks] == list(range(2 * 2 * 2 * 2 * 2))
    for first, second in zip(tasks[::2], tasks[1::2], strict=True):
        assert (first.pipeline, second.pipeline) == ("a", "b")
        assert first.fold is second.fold
    assert len({tuple(t.identity.values()) for t in tasks}) == len(tasks)
    by_seed = [{t.fold.test.tobytes() for t in tasks if t.fold.seed == s} for s in (0, 1)]
    assert by_seed[0] != by_seed[1]


def test_every_trial_is_tested_once_a_seed(make_trials: Maker) -> None:
    trials = make_trials(subjects=3)
    for kind in ("within_session", "cross_subject"):
        folds = list(folds_of(trials.y, trials.metadata, evaluation(kind=kind)))
        tested = np.concatenate([f.test for f in folds])
        assert np.array_equal(np.sort(tested), np.arange(len(trials.y)))
        assert all(not set(f.train) & set(f.test) for f in folds)


def test_fewer_trials_than_folds_names_where_how_many_and_what_to_do(make_trials: Maker) -> None:
    trials = make_trials(per_class=6)
    keep = np.ones(len(trials.y), dtype=bool)
    here = ((trials.metadata["subject"] == 2) & (trials.metadata["session"] == "1")).to_numpy()
    keep[np.flatnonzero(here & (trials.y == "class1"))[:3]] = False
    with pytest.raises(DataProblem) as caught:
        plan_tasks(trials.y[keep], trials.metadata[keep], evaluation(n_folds=5), ["a"], "Mine")
    text = str(caught.value)
    for fragment in ("Mine", "n_folds = 5", "to 3 or less", "subject 2, session 1", "class1 3"):
        assert fragment in text
    assert "subject 1" not in text


def test_a_session_without_a_class_cannot_be_divided(make_trials: Maker) -> None:
    trials = make_trials()
    keep = ~((trials.metadata["subject"] == 1) & (trials.y == "class1")).to_numpy()
    with pytest.raises(DataProblem, match=r"leave those subjects or sessions out[\s\S]*class1 0"):
        plan_tasks(trials.y[keep], trials.metadata[keep], evaluation(n_folds=2), ["a"])


def test_cross_subject_needs_two_subjects(make_trials: Maker) -> None:
    trials = make_trials(subjects=1)
    with pytest.raises(DataProblem, match=r"only 1 \(subject 1\).*within_session"):
        plan_tasks(trials.y, trials.metadata, evaluation(kind="cross_subject"), ["a"])


def test_a_class_of_one_subject_alone_cannot_be_learned(make_trials: Maker) -> None:
    trials = make_trials(classes=3)
    keep = ~((trials.metadata["subject"] == 1) & (trials.y == "class2")).to_numpy()
    with pytest.raises(DataProblem, match=r"only subject 2 has trials of class 'class2'"):
        plan_tasks(trials.y[keep], trials.metadata[keep], evaluation(kind="cross_subject"), ["a"])


def test_one_class_or_the_wrong_score_is_refused(make_trials: Maker) -> None:
    trials = make_trials()
    one = (trials.y == "class0").nonzero()[0]
    with pytest.raises(DataProblem, match="1 class"):
        plan_tasks(trials.y[one], trials.metadata.iloc[one], evaluation(), ["a"])
    three = make_trials(classes=3)
    with pytest.raises(DataProblem, match="roc_auc_ovr"):
        plan_tasks(three.y, three.metadata, evaluation(scoring="roc_auc"), ["a"])


def test_the_area_under_the_curve_needs_both_classes_in_each_tested_session(
    make_trials: Maker,
) -> None:
    trials = make_trials(subjects=3)
    there = (trials.metadata["subject"] == 1) & (trials.metadata["session"] == "0")
    keep = ~(there & (trials.y == "class1")).to_numpy()
    args = trials.y[keep], trials.metadata[keep]
    with pytest.raises(DataProblem, match="subject 1, session 0 has no trials of class1"):
        plan_tasks(*args, evaluation(kind="cross_subject"), ["a"])
    assert plan_tasks(*args, evaluation(kind="cross_subject", scoring="accuracy"), ["a"])


def test_scoring_follows_moabb() -> None:
    assert resolve_scoring("auto", 2) == "roc_auc"
    assert resolve_scoring("auto", 3) == "accuracy"
    assert resolve_scoring("accuracy", 2) == "accuracy"
