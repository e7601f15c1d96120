"""Run one task: fit one pipeline on one fold, score it, and keep what it learned.

This is the code that runs in worker processes.  It writes the arrays of its task itself and
returns a plain record.
"""

from __future__ import annotations

import os
import traceback
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from hypeeg.experiments.epoch_embeddings import epoch_arrays, watched
from hypeeg.experiments.guard import collect_messages, gpu_slot, limited_threads
from hypeeg.experiments.guard import one_thread as one_thread
from hypeeg.experiments.heads import head_arrays
from hypeeg.experiments.joint import JointRunError
from hypeeg.experiments.parts import trial_arrays, write_part
from hypeeg.experiments.saved import last_step, save_pipeline
from hypeeg.experiments.splits import Fold
from hypeeg.experiments.store import DiskFullError, disk_errors, sync_folder, utc_now
from hypeeg.experiments.wings import FoldOptions as FoldOptions
from hypeeg.experiments.wings import Job, Wing

if TYPE_CHECKING:
    from hypeeg.experiments.answers import TestTrials


# What the estimators of this run ask for: a job's estimator is never changed, only its clones are.
_ASKED: WeakKeyDictionary[Any, frozenset[str]] = WeakKeyDictionary()


def carry_out_job(wing: Wing, job: Job, data: Any, slots: Path | None = None) -> dict[str, Any]:
    """Run one task; an error inside it becomes part of its record.

    Parameters
    ----------
    wing : Wing
        Knows how.
    job : Job
        What to do.
    data : object
        What the wing loads.
    slots : Path, optional
        See :func:`hypeeg.experiments.guard.gpu_slot`.

    Returns
    -------
    dict
        JSON-ready; ``status`` is ``"done"`` or ``"failed"``.

    Raises
    ------
    DiskFullError
        If the run folder cannot take what the task found: not the task has failed then.
    JointRunError
        If processes that train together have lost each other.
    """
    record: dict[str, Any] = {**job.task.identity, "status": "done", "started": utc_now()}
    messages: list[str] = []
    options = job.options
    in_worker = os.getpid() != options.parent
    with limited_threads(options.threads), collect_messages(messages, in_worker):
        try:
            with gpu_slot(options.gpus, slots):
                record.update(wing.run_task(job, data))
        except (DiskFullError, JointRunError):
            raise
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


def begin(job: Job) -> Any:
    """Return a clone of a job's estimator, ready to be fitted; its study begins anew.

    Parameters
    ----------
    job : Job
        A task that is begun again begins from nothing, or its choice would not be that of a run
        that was never interrupted.

    Returns
    -------
    estimator
        With ``study_path`` set, if it has that parameter and the job names a file.
    """
    from sklearn.base import clone

    fitted = clone(job.estimator)
    if job.study is not None and "study_path" in fitted.get_params(deep=False):
        for file in job.study.parent.glob(f"{job.study.name}*"):
            file.unlink()
        job.study.parent.mkdir(parents=True, exist_ok=True)
        fitted.set_params(study_path=str(job.study))
    return fitted


def keep_model(fitted: Any, model: Path | None) -> None:
    """Keep a fitted pipeline, durably.

    Parameters
    ----------
    fitted : estimator
        See :func:`hypeeg.experiments.saved.save_pipeline`.
    model : Path or None
        Folder for it; None keeps none.

    Raises
    ------
    DiskFullError
        If there is no space.
    """
    if model is None:
        return
    # models/<pipeline>/<fold> of the run folder.
    with disk_errors(model.parents[2]):
        save_pipeline(fitted, model)
        if model.is_dir():
            sync_folder(model, contents=True)
            sync_folder(model.parent)
        else:
            # Not every estimator can be kept; an empty folder would say otherwise.
            with suppress(OSError):
                model.parents[1].rmdir()


def fit_and_score(
    job: Job,
    X: np.ndarray,
    y: np.ndarray,
    sessions: np.ndarray | None = None,
    subjects: np.ndarray | None = None,
) -> dict[str, Any]:
    """Fit a classifier on the training trials of a fold, score it on the test trials.

    Parameters
    ----------
    job : Job
        What to do; its arrays and, if wanted, its model are written.
    X : ndarray of float32, shape (n_trials, ...)
        All trials.
    y : ndarray of str, shape (n_trials,)
        Their classes.
    sessions : ndarray of str, shape (n_trials,), optional
        Their sessions: a fold that tests several is scored session by session, as MOABB does.
        By default all are of session ``"0"``.
    subjects : ndarray, shape (n_trials,), optional
        Subjects of all trials; estimators that ask for them are told (see
        :mod:`hypeeg.eeg.routing`).

    Returns
    -------
    dict
        See :meth:`hypeeg.experiments.wings.Wing.run_task`.
    """
    from hypeeg.eeg.routing import fit_with
    from hypeeg.eeg.scoring import Trialwise
    from hypeeg.experiments.answers import Remembering, TestTrials

    fold, options = job.task.fold, job.options
    train, test = fold.train, fold.test
    if sessions is None:
        sessions = np.full(len(y), "0")
    fitted = begin(job)
    wanted = _wanted(job.estimator, fold, X, y, sessions, subjects)
    start = perf_counter()
    with watched(fitted, options.embedding_epochs):
        fit_with(fitted, X[train], y[train], wanted)
    fit_time = perf_counter() - start
    # Nothing is routed from here on: the test trials belong to the target's domain.
    y_test, test_sessions = y[test], sessions[test]
    trials = TestTrials(X[test], test_sessions)
    judged = Trialwise(fitted) if options.trialwise else Remembering(fitted)
    start = perf_counter()
    predicted = trials.ask(judged, "predict")
    predict_time = perf_counter() - start

    rows = []
    for session, score in trials.scores(judged, y_test, options.scoring).items():
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
    final = last_step(winner)
    curvature = getattr(final, "curvature_", None)
    write_part(
        job.part,
        history=getattr(final, "history_", None),
        curvature_history=getattr(final, "curvature_history_", None),
        trials=_trials(job, judged, trials, y_test, predicted, test_sessions, curvature),
    )
    keep_model(winner, job.model)
    return {
        "fit_time": fit_time,
        "predict_time": predict_time,
        "curvature": None if curvature is None else float(curvature),
        "n_train": len(train),
        "n_channels": int(X.shape[1]),
        "scores": rows,
        **({} if fold.target is None else {"n_target": len(fold.target)}),
        **_search(fitted),
    }


def _wanted(
    estimator: Any,
    fold: Fold,
    X: np.ndarray,
    y: np.ndarray,
    sessions: np.ndarray,
    subjects: np.ndarray | None,
) -> dict[str, Any]:
    """Return what an estimator asks for beside the training trials, of what there is."""
    from hypeeg.eeg.routing import ROUTED, requested

    # Finding it out takes scikit-learn a millisecond, and is the same for all folds.
    names = _ASKED.get(estimator)
    if names is None:
        names = _ASKED[estimator] = frozenset(requested(estimator, dict.fromkeys(ROUTED)))
    found: dict[str, Any] = {}
    if subjects is not None and "subjects" in names:
        found["subjects"] = subjects[fold.train]
    if subjects is not None and "sessions" in names:
        pairs = zip(subjects[fold.train].tolist(), sessions[fold.train].tolist(), strict=True)
        found["sessions"] = np.array([f"{subject}/{session}" for subject, session in pairs])
    if fold.target is not None and fold.target_labeled:
        if "X_target_labeled" in names:
            found["X_target_labeled"] = X[fold.target]
        if "y_target_labeled" in names:
            found["y_target_labeled"] = y[fold.target]
    elif fold.target is not None and "X_target_unlabeled" in names:
        found["X_target_unlabeled"] = X[fold.target]
    return found


def _search(fitted: Any) -> dict[str, Any]:
    """Return what a nested search chose, and the mean inner score of each candidate."""
    values = getattr(fitted, "best_values_", None)
    if values is None:
        return {}
    means = [float(row.mean()) for row in fitted.search_scores_ if row.size]
    tried = [dict(values) for values in fitted.tried_]
    return {
        "tuned": values,
        "tuning": [{"values": v, "score": s} for v, s in zip(tried, means, strict=False)],
    }


def _trials(
    job: Job,
    judged: Any,
    asked: TestTrials,
    y: np.ndarray,
    predicted: np.ndarray,
    sessions: np.ndarray,
    curvature: float | None,
) -> dict[str, np.ndarray] | None:
    """Return what is kept of the test trials, None if nothing is wanted."""
    from hypeeg.eeg.scoring import Trialwise

    options = job.options
    if not (options.embeddings or options.predictions):
        return None
    points = probabilities = None
    if options.embeddings and hasattr(judged, "transform"):
        # scikit-learn's LDA has the method with every solver and the map with some only.
        with suppress(NotImplementedError):
            points = asked.ask(judged, "transform")
    if hasattr(judged, "predict_proba"):
        probabilities = asked.ask(judged, "predict_proba")
    arrays = trial_arrays(
        job.task.fold,
        y,
        predicted,
        judged.classes_,
        sessions=sessions,
        embedding=points,
        curvature=curvature,
        proba=probabilities,
    )
    if points is not None and probabilities is not None:
        winner = getattr(judged.estimator, "best_estimator_", judged.estimator)
        arrays |= head_arrays(last_step(winner), arrays["embedding"], probabilities)
        # Not `judged`, which would remember what the network says now.
        anew = Trialwise(winner) if options.trialwise else winner
        arrays |= epoch_arrays(winner, lambda: asked.ask(anew, "transform"))
    return arrays
