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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from hypeeg.experiments.saved import last_step, save_pipeline
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
        Keep embeddings and predictions of test trials.
    parent : int
        Number of the process that collects the records.
    """

    scoring: str
    embeddings: bool
    parent: int


def run_task(
    task: Task,
    X: np.ndarray,
    y: np.ndarray,
    sessions: np.ndarray,
    estimator: Any,
    options: FoldOptions,
    part: Path,
    model: Path | None = None,
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

    Returns
    -------
    dict
        JSON-ready; ``status`` is ``"done"`` or ``"failed"``.
    """
    record: dict[str, Any] = {**task.identity, "status": "done", "started": utc_now()}
    messages: list[str] = []
    with one_thread(), collect_messages(messages, in_worker=os.getpid() != options.parent):
        try:
            record.update(_fit_and_score(task, X, y, sessions, estimator, options, part, model))
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
    estimator: Any,
    options: FoldOptions,
    part: Path,
    model: Path | None,
) -> dict[str, Any]:
    from sklearn.base import clone
    from sklearn.metrics import check_scoring

    train, test = task.fold.train, task.fold.test
    fitted = clone(estimator)
    start = perf_counter()
    fitted.fit(X[train], y[train])
    fit_time = perf_counter() - start
    X_test, y_test = X[test], y[test]
    start = perf_counter()
    predicted = np.asarray(fitted.predict(X_test))
    predict_time = perf_counter() - start

    scorer = check_scoring(fitted, scoring=options.scoring)
    rows = []
    for session in dict.fromkeys(sessions[test].tolist()):
        here = sessions[test] == session
        score = float(scorer(fitted, X_test[here], y_test[here]))
        if not np.isfinite(score):
            raise ValueError(
                f"score {options.scoring} is {score} on the {int(here.sum())} test trials of "
                f"session {session}; their classes are {sorted(set(y_test[here].tolist()))}"
            )
        rows.append(
            {
                "session": str(session),
                "score": score,
                "n_test": int(here.sum()),
                "n_correct": int((predicted[here] == y_test[here]).sum()),
                "n_classes": len(set(y_test[here].tolist())),
            }
        )
    curvature = getattr(last_step(fitted), "curvature_", None)
    _save_part(part, task, fitted, X_test, y_test, predicted, sessions[test], curvature, options)
    if model is not None:
        save_pipeline(fitted, model)
    return {
        "fit_time": fit_time,
        "predict_time": predict_time,
        "curvature": None if curvature is None else float(curvature),
        "n_train": len(train),
        "n_channels": int(X.shape[1]),
        "scores": rows,
    }


def _save_part(
    part: Path,
    task: Task,
    fitted: Any,
    X: np.ndarray,
    y: np.ndarray,
    predicted: np.ndarray,
    sessions: np.ndarray,
    curvature: float | None,
    options: FoldOptions,
) -> None:
    """Write the arrays of a task: losses, curvatures and, if wanted, test trials."""
    final = last_step(fitted)
    arrays: dict[str, Any] = {
        "history": np.array(json.dumps(_numeric_rows(getattr(final, "history_", None)))),
        "curvature_history": np.asarray(
            getattr(final, "curvature_history_", None) or [], dtype=float
        ),
    }
    if options.embeddings:
        n = len(y)
        points = np.empty((n, 0), dtype=np.float32)
        if hasattr(fitted, "transform"):
            points = np.asarray(fitted.transform(X), dtype=np.float32).reshape(n, -1)
        probabilities = np.empty((n, 0), dtype=np.float32)
        if hasattr(fitted, "predict_proba"):
            probabilities = np.asarray(fitted.predict_proba(X), dtype=np.float32)
        arrays |= {
            "embedding": points,
            "curvature": np.full(n, np.nan if curvature is None else curvature, dtype=np.float32),
            "y_true": np.asarray(y, dtype=str),
            "y_pred": np.asarray(predicted, dtype=str),
            "proba": probabilities,
            "classes": np.asarray(fitted.classes_, dtype=str),
            "subject": np.full(n, str(task.fold.subject)),
            "session": np.asarray(sessions, dtype=str),
            "fold": np.full(n, task.fold.fold, dtype=np.int32),
            "seed": np.full(n, task.fold.seed, dtype=np.int64),
            "trial": np.asarray(task.fold.test, dtype=np.int64),
        }
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
