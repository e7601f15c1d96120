"""Whether the trials of a run allow the evaluation asked for, before anything is fitted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hypeeg.eeg.errors import DataError
from hypeeg.experiments.evaluation_spec import EvaluationSpec

if TYPE_CHECKING:
    from hypeeg.experiments.splits import Fold


class DataProblem(DataError):
    """The trials do not allow the evaluation that was asked for."""


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
    """Check that the trials can be divided as asked.

    Parameters
    ----------
    y : ndarray of str, shape (n_trials,)
        Class of each trial.
    metadata : DataFrame
        One row a trial, columns ``subject``, ``session`` and, if known, ``run``.
    evaluation : EvaluationSpec
        How to divide.
    dataset : str
        Name of the data set, for messages.

    Raises
    ------
    DataProblem
        If there is one class only; a session has fewer trials of a class than folds; its
        recordings hold one class each; there is no second session, or no second subject, to learn
        from; or a score would be undefined.
    """
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
    scoring = resolve_scoring(evaluation.scoring, len(classes))
    if evaluation.kind == "within_session":
        _check_sessions(counts, evaluation.n_folds or 2, dataset)
        if evaluation.single_class_runs == "refuse":
            told = single_class_runs(y, metadata)
            if told:
                raise DataProblem(
                    f"{dataset}: {_told(told)}, so folds inside a session score by telling "
                    "recordings apart (drift, impedance, time of day). Use evaluation.kind: "
                    "cross_subject, or set evaluation.single_class_runs to warn"
                )
    elif evaluation.kind == "cross_session":
        _check_cross_session(counts, scoring, dataset)
    else:
        _check_subjects(counts, scoring, dataset)


def single_class_runs(y: np.ndarray, metadata: pd.DataFrame) -> list[tuple[object, object]]:
    """Name the sessions in which the recording alone tells the class.

    Parameters
    ----------
    y : ndarray of str, shape (n_trials,)
        Class of each trial.
    metadata : DataFrame
        One row a trial, columns ``subject``, ``session`` and ``run``.

    Returns
    -------
    list of (subject, session)
        Sessions of two classes or more, each of whose runs holds one class and which are mostly
        runs of several trials; empty if `metadata` does not name runs.
    """
    if "run" not in metadata.columns:
        return []
    frame = metadata[["subject", "session", "run"]].reset_index(drop=True).assign(y=np.asarray(y))
    found = []
    for key, trials in frame.groupby(["subject", "session"], sort=False, observed=True):
        runs = trials.groupby("run", sort=False, observed=True)["y"].agg(["nunique", "size"])
        # A recording of one trial lies in one fold and gives nothing away.
        divided = int(runs["size"][runs["size"] > 1].sum())
        if trials["y"].nunique() > 1 and (runs["nunique"] == 1).all() and 2 * divided > len(trials):
            found.append((key[0], key[1]))
    return found


def _told(sessions: Sequence[tuple[object, object]]) -> str:
    subject, session = sessions[0]
    more = f" and {len(sessions) - 1} more sessions" if len(sessions) > 1 else ""
    return f"each recording of subject {subject}, session {session}{more} holds trials of one class"


def check_scorable(
    folds: Sequence[Fold],
    y: np.ndarray,
    metadata: pd.DataFrame,
    evaluation: EvaluationSpec,
    dataset: str,
) -> None:
    """Check that target trials given away for adaptation leave every test session scorable.

    Parameters
    ----------
    folds : sequence of Fold
        Every fold of the run.
    y, metadata, evaluation, dataset
        As in :func:`check_divisible`.

    Raises
    ------
    DataProblem
        If the score is an area under the ROC curve and a session has lost a class.
    """
    classes = set(np.unique(y).tolist())
    scoring = resolve_scoring(evaluation.scoring, len(classes))
    if evaluation.adaptation in ("none", "trialwise") or not scoring.startswith("roc_auc"):
        return
    sessions = metadata["session"].to_numpy()
    for fold in folds:
        for session in dict.fromkeys(sessions[fold.test].tolist()):
            missing = classes - set(y[fold.test][sessions[fold.test] == session].tolist())
            if missing:
                raise DataProblem(
                    f"{dataset}: with evaluation.adaptation: {evaluation.adaptation} the tested "
                    f"part of subject {fold.subject}, session {session} has no trials of "
                    f"{', '.join(map(str, sorted(missing)))}, and {scoring} is undefined there; "
                    "use a smaller share, or evaluation.scoring: accuracy"
                )


def cautions(
    X: np.ndarray, y: np.ndarray, metadata: pd.DataFrame, evaluation: EvaluationSpec
) -> list[str]:
    """Say what the folds of a run do not guard against.

    Parameters
    ----------
    X : ndarray, shape (n_trials, n_channels, n_times)
        Trials.
    y, metadata, evaluation
        As in :func:`check_divisible`.

    Returns
    -------
    list of str
        Sentences for the log, each with a remedy; empty if there is nothing to say.
    """
    found = []
    if evaluation.kind == "within_session":
        told = single_class_runs(y, metadata)
        if told:
            found.append(
                f"{_told(told)}: folds inside a session score by telling recordings apart; "
                "cross_subject does not"
            )
        if evaluation.shuffle:
            share = overlapping_share(X, metadata)
            if share > 0:
                found.append(
                    f"{100 * share:.0f} % of the neighbouring trials looked at share samples, and "
                    "shuffled folds put both sides of such pairs into training and test: scores "
                    "are too high. Use evaluation.shuffle: false, cross_session or cross_subject"
                )
    elif evaluation.kind == "cross_session":
        sessions = metadata.groupby("subject", observed=True)["session"].nunique()
        single = sessions.index[sessions < 2].tolist()
        if single:
            found.append(
                f"subjects {', '.join(map(str, single))} have one session and are left out by "
                "cross_session"
            )
    return found


def overlapping_share(X: np.ndarray, metadata: pd.DataFrame, most: int = 200) -> float:
    """Return how many neighbouring trials of a recording share samples.

    Two epochs of one continuous recording that overlap hold the same numbers at a shift.  What
    is compared are differences between successive samples, so that subtracting a baseline hides
    nothing; resampling each epoch by itself can hide an overlap.

    Parameters
    ----------
    X : ndarray, shape (n_trials, n_channels, n_times) or (..., n_bands)
        Trials in the order of time; of several bands the first is looked at.
    metadata : DataFrame
        One row a trial, columns ``subject``, ``session`` and, if known, ``run``.
    most : int
        Pairs looked at, spread over the data.

    Returns
    -------
    float
        Share of the pairs, 0 ... 1.
    """
    columns = [name for name in ("subject", "session", "run") if name in metadata.columns]
    recording = metadata.groupby(columns, sort=False, observed=True).ngroup().to_numpy()
    pairs = np.flatnonzero(recording[1:] == recording[:-1])
    X = X[..., 0] if X.ndim == 4 else X
    if len(pairs) == 0 or X.shape[2] < 12:
        return 0.0
    pairs = pairs[np.unique(np.linspace(0, len(pairs) - 1, most).round().astype(int))]
    return float(np.mean([_overlap(X[i], X[i + 1]) for i in pairs]))


def _overlap(first: np.ndarray, second: np.ndarray, least: int = 10) -> bool:
    """Whether `second`, shape (n_channels, n_times), begins inside `first`."""
    a = np.diff(np.asarray(first, dtype=np.float64), axis=1)
    b = np.diff(np.asarray(second, dtype=np.float64), axis=1)
    close = 1e-4 * (np.abs(b).max() + np.finfo(float).tiny)
    starts = np.flatnonzero((np.abs(a - b[:, :1]) < close).all(axis=0))
    n = a.shape[1]
    return any(
        n - k >= least
        and bool(np.ptp(b[:, : n - k]) > close)
        and bool((np.abs(a[:, k:] - b[:, : n - k]) < close).all())
        for k in starts.tolist()
    )


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


def _check_cross_session(counts: pd.DataFrame, scoring: str, dataset: str) -> None:
    several = counts.groupby(level="subject").size() > 1
    if not several.any():
        raise DataProblem(
            f"{dataset}: cross_session leaves one session of a subject out and no subject has two; "
            "add sessions to dataset.sessions, or use evaluation.kind: within_session or "
            "cross_subject"
        )
    kept = counts[counts.index.get_level_values("subject").isin(several.index[several])]
    for subject, rows in kept.groupby(level="subject"):
        for name in counts.columns[(rows > 0).sum() == 1]:
            session = rows.index.get_level_values("session")[(rows[name] > 0).to_numpy()][0]
            raise DataProblem(
                f"{dataset}: subject {subject} has trials of class {name!r} in session {session} "
                "only, so nothing could learn it when that session is left out; remove the class "
                "from dataset.events, or the subject from dataset.subjects"
            )
    _check_areas(kept, scoring, dataset)


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
    _check_areas(counts, scoring, dataset)


def _check_areas(counts: pd.DataFrame, scoring: str, dataset: str) -> None:
    if not scoring.startswith("roc_auc"):
        return
    wrong = counts[(counts == 0).any(axis=1)]
    for (subject, session), row in _rows(wrong):
        missing = [str(name) for name, count in row.items() if count == 0]
        raise DataProblem(
            f"{dataset}: subject {subject}, session {session} has no trials of "
            f"{', '.join(missing)}, and {scoring} is undefined there; "
            "use evaluation.scoring: accuracy, or leave the session out"
        )
