"""The list of tasks of a run: which trials train and test each pipeline, fold by fold.

The folds are MOABB's own (:mod:`moabb.evaluations.splitters`) and are the same for every
pipeline of a run, so that scores can be compared in pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hypeeg.eeg.errors import DataError
from hypeeg.experiments.spec import EvaluationSpec


class DataProblem(DataError):
    """The trials do not allow the evaluation that was asked for."""


@dataclass(frozen=True, eq=False)
class Fold:
    """One division of the trials.

    Attributes
    ----------
    subject : int or str
        Whose trials are tested.
    session : str or None
        Session tested, or None when a fold tests all sessions of a subject.
    fold : int
        Number of the fold, from 0, within what is divided.
    seed : int
        Seed of the division and of everything trained on it.
    train, test : ndarray of int, shape (n_train,), (n_test,)
        Positions of the trials.
    """

    subject: int | str
    session: str | None
    fold: int
    seed: int
    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True, eq=False)
class Task:
    """One pipeline on one fold: what runs as a unit and is recorded as a unit.

    Attributes
    ----------
    index : int
        Position in the run's list of tasks.
    pipeline : str
        Name of the pipeline.
    fold : Fold
        The division of the trials.
    """

    index: int
    pipeline: str
    fold: Fold

    @property
    def identity(self) -> dict[str, object]:
        """What tells this task from every other of the run, ready for JSON."""
        fold = self.fold
        return {
            "task": self.index,
            "pipeline": self.pipeline,
            "subject": fold.subject,
            "session": fold.session,
            "fold": fold.fold,
            "seed": fold.seed,
        }

    @property
    def label(self) -> str:
        """One line for people."""
        return describe(self.identity)


def describe(record: Mapping[str, object]) -> str:
    """Name the task of a record in one line."""
    session = "" if record["session"] is None else f" session {record['session']}"
    return (
        f"{record['pipeline']}: subject {record['subject']}{session} "
        f"fold {record['fold']} seed {record['seed']}"
    )


def plan_tasks(
    y: np.ndarray,
    metadata: pd.DataFrame,
    evaluation: EvaluationSpec,
    pipelines: Sequence[str],
    dataset: str = "data",
) -> list[Task]:
    """List every task of a run.

    Parameters
    ----------
    y : ndarray of str, shape (n_trials,)
        Class of each trial.
    metadata : DataFrame
        One row a trial, columns ``subject`` and ``session``.
    evaluation : EvaluationSpec
        How to divide.
    pipelines : sequence of str
        Names of the pipelines.
    dataset : str
        Name of the data set, for messages.

    Returns
    -------
    list of Task
        All pipelines of one fold follow each other, so that an interrupted run can be compared
        on the folds that it finished.

    Raises
    ------
    DataProblem
        If a session has fewer trials of a class than folds, there are fewer than two subjects to
        leave out, or only one class.
    """
    metadata = metadata.reset_index(drop=True)
    check_divisible(y, metadata, evaluation, dataset)
    tasks: list[Task] = []
    for fold in folds_of(y, metadata, evaluation):
        for pipeline in pipelines:
            tasks.append(Task(len(tasks), pipeline, fold))
    return tasks


def folds_of(y: np.ndarray, metadata: pd.DataFrame, evaluation: EvaluationSpec) -> Iterator[Fold]:
    """Yield the folds of MOABB's splitter, with names for what each one tests.

    Parameters
    ----------
    y : ndarray of str, shape (n_trials,)
        Class of each trial.
    metadata : DataFrame
        One row a trial with a default index, columns ``subject`` and ``session``.
    evaluation : EvaluationSpec
        How to divide.

    Yields
    ------
    Fold
    """
    # Sorted by subject and session: the splitter's own order is shuffled.
    for seed in evaluation.seeds:
        folds = list(_split(y, metadata, evaluation, seed))
        folds.sort(key=lambda f: (str(type(f.subject)), f.subject, str(f.session), f.fold))
        yield from folds


def _split(
    y: np.ndarray, metadata: pd.DataFrame, evaluation: EvaluationSpec, seed: int
) -> Iterator[Fold]:
    from moabb.evaluations.splitters import CrossSubjectSplitter, WithinSessionSplitter

    within = evaluation.kind == "within_session"
    if within:
        splitter = WithinSessionSplitter(
            n_folds=evaluation.n_folds,
            shuffle=evaluation.shuffle,
            random_state=seed if evaluation.shuffle else None,
        )
    else:
        splitter = CrossSubjectSplitter(random_state=seed)
    counts: dict[object, int] = {}
    for train, test in splitter.split(y, metadata):
        first = metadata.iloc[test[0]]
        session = str(first["session"]) if within else None
        subject = _plain(first["subject"])
        where = (subject, session) if within else None
        number = counts.get(where, 0)
        counts[where] = number + 1
        yield Fold(subject, session, number, seed, np.asarray(train), np.asarray(test))


def resolve_scoring(scoring: str, n_classes: int) -> str:
    """Return the scorer's name; ``auto`` follows MOABB's convention.

    Parameters
    ----------
    scoring : str
        As in the run file.
    n_classes : int
        Number of classes.

    Returns
    -------
    str
        ``roc_auc`` for two classes and ``accuracy`` for more, unless another was named.
    """
    if scoring != "auto":
        return scoring
    return "roc_auc" if n_classes == 2 else "accuracy"


def check_divisible(
    y: np.ndarray, metadata: pd.DataFrame, evaluation: EvaluationSpec, dataset: str
) -> None:
    """Raise :class:`DataProblem` if the trials cannot be divided as asked; see `plan_tasks`."""
    classes = sorted(np.unique(y).tolist())
    if len(classes) < 2:
        raise DataProblem(
            f"{dataset}: found {len(y)} trials of {len(classes)} class(es) {classes}; "
            "classification needs two or more, see dataset.events"
        )
    if evaluation.scoring == "roc_auc" and len(classes) > 2:
        raise DataProblem(
            f"{dataset}: evaluation.scoring is roc_auc, which is for two classes, and there are "
            f"{len(classes)} ({', '.join(map(str, classes))}); use auto, accuracy or roc_auc_ovr"
        )
    counts = _counts(y, metadata)
    if evaluation.kind == "within_session":
        _check_sessions(counts, int(evaluation.n_folds or 5), dataset)
    else:
        _check_subjects(counts, resolve_scoring(evaluation.scoring, len(classes)), dataset)


def _counts(y: np.ndarray, metadata: pd.DataFrame) -> pd.DataFrame:
    """Return the number of trials, one row a subject and session, one column a class."""
    frame = metadata[["subject", "session"]].reset_index(drop=True).assign(y=np.asarray(y))
    return frame.groupby(["subject", "session", "y"], observed=True).size().unstack(fill_value=0)


def _rows(counts: pd.DataFrame) -> Iterator[tuple[tuple[object, object], dict[str, int]]]:
    for key, row in zip(counts.index.to_flat_index(), counts.to_dict("records"), strict=True):
        yield (key[0], key[1]), {str(name): int(count) for name, count in row.items()}


def _check_sessions(counts: pd.DataFrame, n_folds: int, dataset: str) -> None:
    wrong = counts[(counts < n_folds).any(axis=1)]
    if wrong.empty:
        return
    lines = [
        f"  subject {subject}, session {session}: "
        + ", ".join(f"{name} {count}" for name, count in row.items())
        for (subject, session), row in _rows(wrong.head(10))
    ]
    if len(wrong) > 10:
        lines.append(f"  ... and {len(wrong) - 10} more sessions")
    least = int(wrong.to_numpy().min())
    remedy = (
        f"set evaluation.n_folds to {least} or less"
        if least >= 2
        else "leave those subjects or sessions out (dataset.subjects, dataset.sessions), "
        "or use evaluation.kind: cross_subject"
    )
    raise DataProblem(
        f"{dataset}: fewer trials of a class than folds (evaluation.n_folds = {n_folds}); "
        f"{remedy}. Trials per class:\n" + "\n".join(lines)
    )


def _check_subjects(counts: pd.DataFrame, scoring: str, dataset: str) -> None:
    subjects = counts.index.get_level_values("subject").unique()
    if len(subjects) < 2:
        raise DataProblem(
            f"{dataset}: cross_subject leaves one subject out and there is only "
            f"{len(subjects)} (subject {', '.join(map(str, subjects))}); add subjects to "
            "dataset.subjects, or use evaluation.kind: within_session"
        )
    by_subject = counts.groupby(level="subject").sum()
    for name in counts.columns:
        holders = by_subject.index[by_subject[name] > 0]
        if len(holders) == 1:
            raise DataProblem(
                f"{dataset}: only subject {holders[0]} has trials of class {name!r}, so nothing "
                "could learn it when that subject is left out; remove the class from "
                "dataset.events, or the subject from dataset.subjects"
            )
    if scoring.startswith("roc_auc"):
        wrong = counts[(counts == 0).any(axis=1)]
        for (subject, session), row in _rows(wrong):
            missing = [str(name) for name, count in row.items() if count == 0]
            raise DataProblem(
                f"{dataset}: subject {subject}, session {session} has no trials of "
                f"{', '.join(missing)}, and {scoring} is undefined there; "
                "use evaluation.scoring: accuracy, or leave the session out"
            )


def _plain(value: object) -> int | str:
    """Return a subject's identity as a plain number or text."""
    return int(value) if isinstance(value, int | np.integer) else str(value)
