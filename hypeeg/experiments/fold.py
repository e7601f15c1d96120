"""Run one task: fit one pipeline on one fold, score it, and keep what it learned.

This is the code that runs in worker processes.  It writes the arrays of its task itself and
returns a plain record.
"""

from __future__ import annotations

import json
import logging
import os
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from hypeeg.experiments.saved import last_step, save_pipeline
from hypeeg.experiments.splits import Fold
from hypeeg.experiments.store import utc_now
from hypeeg.experiments.tasks import Task

# Addressed to developers of libraries, not to people who run experiments.
NOISE = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)


@dataclass(frozen=True)
class FoldOptions:
    """What is the same for every task of a run.

    Attributes
    ----------
    scoring : str
        Name of a scikit-learn scorer.
    embeddings : bool
        Keep embeddings of test trials.
    parent : int
        Number of the process that collects the records.
    predictions : bool
        Keep predicted classes and probabilities of test trials.
    trialwise : bool
        Predict test trials one at a time.
    """

    scoring: str
    embeddings: bool
    parent: int
    predictions: bool = True
    trialwise: bool = False


def run_task(
    task: Task,
    X: np.ndarray,
    y: np.ndarray,
    sessions: np.ndarray,
    estimator: Any,
    options: FoldOptions,
    part: Path,
    model: Path | None = None,
    subjects: np.ndarray | None = None,
) -> dict[str, Any]:
    """Run one task; an error inside it becomes part of its record.

    Parameters
    ----------
    task : Task
        Pipeline and fold.
    X : ndarray of float32, shape (n_trials, n_channels, n_times)
        All trials.
    y : ndarray of str, shape (n_trials,)
        Their classes.
    sessions : ndarray of str, shape (n_trials,)
        Their sessions: a fold that tests several is scored session by session, as MOABB does.
    estimator : estimator
        Unfitted; a clone of it is fitted.
    options : FoldOptions
        Shared settings.
    part : Path
        File for the arrays of this task.
    model : Path, optional
        Folder for the fitted network.
    subjects : ndarray, shape (n_trials,), optional
        Subjects of all trials; estimators that ask for them are told (see
        :mod:`hypeeg.eeg.routing`).

    Returns
    -------
    dict
        JSON-ready; ``status`` is ``"done"`` or ``"failed"``.
    """
    record: dict[str, Any] = {**task.identity, "status": "done", "started": utc_now()}
    messages: list[str] = []
    with one_thread(), collect_messages(messages, in_worker=os.getpid() != options.parent):
        try:
            record.update(
                _fit_and_score(task, X, y, sessions, subjects, estimator, options, part, model)
            )
        # Whatever a model raises must not end the other folds; it is kept with its traceback.
        except Exception as error:  # noqa: BLE001
            record.update(
                status="failed",
                error=f"{type(error).__name__}: {error}",
                traceback=traceback.format_exc(),
            )
    record["messages"] = messages
    record["finished"] = utc_now()
    return record


def _fit_and_score(
    task: Task,
    X: np.ndarray,
    y: np.ndarray,
    sessions: np.ndarray,
    subjects: np.ndarray | None,
    estimator: Any,
    options: FoldOptions,
    part: Path,
    model: Path | None,
) -> dict[str, Any]:
    from sklearn.base import clone

    from hypeeg.eeg.routing import fit_routed
    from hypeeg.eeg.scoring import Trialwise, by_session, session_scores

    train, test = task.fold.train, task.fold.test
    fitted = clone(estimator)
    offered = _offered(task.fold, X, y, sessions, subjects)
    start = perf_counter()
    fit_routed(fitted, X[train], y[train], offered)
    fit_time = perf_counter() - start
    # Nothing is routed from here on: the test trials belong to the target's domain.
    X_test, y_test, test_sessions = X[test], y[test], sessions[test]
    judged = Trialwise(fitted) if options.trialwise else fitted
    start = perf_counter()
    predicted = by_session(judged.predict, X_test, test_sessions)
    predict_time = perf_counter() - start

    rows = []
    for session, score in session_scores(
        judged, X_test, y_test, test_sessions, options.scoring
    ).items():
        here = test_sessions == session
        rows.append(
            {
                "session": session,
                "score": score,
                "n_test": int(here.sum()),
                "n_correct": int((predicted[here] == y_test[here]).sum()),
                "n_classes": len(set(y_test[here].tolist())),
            }
        )
    winner = getattr(fitted, "best_estimator_", fitted)
    curvature = getattr(last_step(winner), "curvature_", None)
    _save_part(
        part, task, judged, winner, X_test, y_test, predicted, test_sessions, curvature, options
    )
    if model is not None:
        save_pipeline(winner, model)
    target = task.fold.target
    return {
        "fit_time": fit_time,
        "predict_time": predict_time,
        "curvature": None if curvature is None else float(curvature),
        "n_train": len(train),
        "n_channels": int(X.shape[1]),
        "scores": rows,
        **({} if target is None else {"n_target": len(target)}),
        **_search(fitted),
    }


def _offered(
    fold: Fold, X: np.ndarray, y: np.ndarray, sessions: np.ndarray, subjects: np.ndarray | None
) -> dict[str, Any]:
    """Return what an estimator may ask for beside the training trials."""
    offered: dict[str, Any] = {}
    if subjects is not None:
        own = subjects[fold.train]
        offered["subjects"] = own
        pairs = zip(own.tolist(), sessions[fold.train].tolist(), strict=True)
        offered["sessions"] = np.array([f"{subject}/{session}" for subject, session in pairs])
    if fold.target is not None and fold.target_labeled:
        offered |= {"X_target_labeled": X[fold.target], "y_target_labeled": y[fold.target]}
    elif fold.target is not None:
        offered["X_target_unlabeled"] = X[fold.target]
    return offered


def _search(fitted: Any) -> dict[str, Any]:
    """Return what a nested search chose, and the mean inner score of each candidate."""
    values = getattr(fitted, "best_values_", None)
    if values is None:
        return {}
    means = [float(row.mean()) for row in fitted.search_scores_ if row.size]
    tried = [dict(candidate) for candidate, _ in fitted.candidates]
    return {
        "tuned": values,
        "tuning": [{"values": v, "score": s} for v, s in zip(tried, means, strict=False)],
    }


def _save_part(
    part: Path,
    task: Task,
    judged: Any,
    winner: Any,
    X: np.ndarray,
    y: np.ndarray,
    predicted: np.ndarray,
    sessions: np.ndarray,
    curvature: float | None,
    options: FoldOptions,
) -> None:
    """Write the arrays of a task: losses, curvatures and, if wanted, test trials."""
    from hypeeg.eeg.scoring import by_session

    final = last_step(winner)
    arrays: dict[str, Any] = {
        "history": np.array(json.dumps(_numeric_rows(getattr(final, "history_", None)))),
        "curvature_history": np.asarray(
            getattr(final, "curvature_history_", None) or [], dtype=float
        ),
    }
    if options.embeddings or options.predictions:
        n = len(y)
        fold = task.fold
        points = np.empty((n, 0), dtype=np.float32)
        if options.embeddings and hasattr(judged, "transform"):
            # scikit-learn's LDA has the method with every solver and the map with some only.
            with suppress(NotImplementedError):
                points = by_session(judged.transform, X, sessions)
                points = points.astype(np.float32).reshape(n, -1)
        probabilities = np.empty((n, 0), dtype=np.float32)
        if hasattr(judged, "predict_proba"):
            probabilities = by_session(judged.predict_proba, X, sessions).astype(np.float32)
        arrays |= {
            "embedding": points,
            "curvature": np.full(n, np.nan if curvature is None else curvature, dtype=np.float32),
            "y_true": np.asarray(y, dtype=str),
            "y_pred": np.asarray(predicted, dtype=str),
            "proba": probabilities,
            "classes": np.asarray(judged.classes_, dtype=str),
            "subject": np.full(n, str(fold.subject)),
            "session": np.asarray(sessions, dtype=str),
            "fold": np.full(n, fold.fold, dtype=np.int32),
            "seed": np.full(n, fold.seed, dtype=np.int64),
            "trial": np.asarray(fold.test, dtype=np.int64),
        }
        if fold.data_size is not None and fold.permutation is not None:
            arrays["data_size"] = np.full(n, fold.data_size, dtype=np.int64)
            arrays["permutation"] = np.full(n, fold.permutation, dtype=np.int64)
    part.parent.mkdir(parents=True, exist_ok=True)
    temporary = part.with_name(f".{part.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)
        temporary.replace(part)
    finally:
        temporary.unlink(missing_ok=True)


def _numeric_rows(history: Any) -> list[dict[str, float]]:
    """Keep the plain numbers of a training history."""
    rows = []
    for entry in history or []:
        rows.append(
            {
                str(key): float(value)
                for key, value in dict(entry).items()
                if isinstance(value, int | float | np.number) and not isinstance(value, bool)
            }
        )
    return rows


@contextmanager
def one_thread() -> Iterator[None]:
    """Run numerical libraries on one thread.

    Small networks train fastest so, workers do not compete for cores, and sums are taken in the
    same order however many folds run at once.
    """
    import sys

    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch is not None else None
    with threadpool_limits(limits=1):
        if torch is not None:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if torch is not None:
                torch.set_num_threads(before)


class _Collector(logging.Handler):
    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message, once."""
        text = f"{record.levelname} {record.name}: {record.getMessage()}"
        if text not in self.messages:
            self.messages.append(text)


@contextmanager
def collect_messages(messages: list[str], in_worker: bool) -> Iterator[None]:
    """Add warnings, each once, to `messages`; in a worker process also what is logged there.

    The log of the run is written by the process that started it: records carry what others have
    to say.
    """
    handler = _Collector(messages)
    root = logging.getLogger()
    if in_worker:
        root.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        for item in caught:
            text = f"{item.category.__name__}: {item.message}"
            if not issubclass(item.category, NOISE) and text not in messages:
                messages.append(text)
    finally:
        root.removeHandler(handler)
