"""Run folders made with the store's own functions, without training anything."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("streamlit", reason="the dashboard needs hypeeg[app]")

from hypeeg.experiments.gather import gather_parts, scores_frame
from hypeeg.experiments.store import RunFolder, process_start_time, utc_now

APP = Path(__file__).resolve().parents[2] / "app"

SPEC = """\
name: {name}
description: Made by a test.
dataset:
  name: SimulatedMI
  subjects: [1, 2]
evaluation:
  kind: {kind}
  n_folds: {n_folds}
  scoring: auto
pipelines:
  - name: Hyperbolic
    model: HyperbolicEEGNet
  - name: Twin
    model: EEGNet
    twin_of: Hyperbolic
  - name: CSP+LDA
    model: csp_lda
"""

SCORES = {"Hyperbolic": 0.90, "Twin": 0.86, "CSP+LDA": 0.80}
WIDTHS = {"Hyperbolic": 6, "Twin": 6, "CSP+LDA": 0}
N_TEST = 12


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `streamlit run` does: the folder of the main script comes first."""
    monkeypatch.syspath_prepend(str(APP))


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder of the runs that the app reads."""
    import streamlit as st

    folder = tmp_path / "runs"
    monkeypatch.setenv("HYPEEG_RUNS", str(folder))
    yield folder
    st.cache_data.clear()


@pytest.fixture
def make_run(runs: Path) -> Callable[..., Path]:
    """Return a function that writes a run folder; see :func:`write_run`."""
    return lambda name="demo", **options: write_run(runs, name, **options)


def write_run(
    root: Path,
    name: str = "demo",
    *,
    state: str = "done",
    kind: str = "within_session",
    subjects: int = 2,
    sessions: int = 2,
    n_folds: int = 2,
    finished: int | None = None,
    fail: int | None = None,
    seed: int = 0,
) -> Path:
    """Write a run folder.

    Two sessions a subject.  `finished` tasks of all are recorded (all by default); the task
    `fail` is recorded as failed.  A run that is not over has no tables, as in life.
    """
    rng = np.random.default_rng(seed)
    folder = RunFolder.create(root, name)
    folder.update_status("planned")
    folder.write_text("spec_given.yaml", "name: demo\n")
    folder.write_text("spec_resolved.yaml", SPEC.format(name=name, kind=kind, n_folds=n_folds))
    tasks = list(_tasks(kind, subjects, sessions, n_folds))
    recorded = tasks if finished is None else tasks[:finished]
    folder.update_status("running", n_tasks=len(tasks), n_done=0, n_failed=0)
    for number, task in enumerate(recorded):
        record = {"task": number, **task, "status": "done", "messages": []}
        if number == fail:
            record |= {
                "status": "failed",
                "error": "ValueError: deliberately broken",
                "traceback": "Traceback: deliberately broken",
            }
        else:
            record |= _results(rng, task, number, sessions, kind)
            _write_part(rng, folder.part(number), record, task)
        folder.folds.append(record)
    n_failed = int(fail is not None)
    counts = {"n_done": len(recorded) - n_failed, "n_failed": n_failed}
    if state in ("done", "failed", "cancelled"):
        records = folder.folds.read()
        scores = scores_frame(records, "SimulatedMI", kind, sessions)
        folder.write_text("scores.csv", scores.to_csv(index=False))
        gather_parts(folder, records)
        folder.update_status(state, **counts, finished=utc_now(), error=None)
    else:
        _write_status(folder, state, **counts)
    return folder.path


def _write_status(folder: RunFolder, state: str, **values: Any) -> None:
    """Write a status that says the run goes on: of this process, or of one that is gone."""
    status = folder.read_status() | values
    status["state"] = "running"
    if state == "interrupted":
        # The number is alive, but its process began at another time.
        status["process_start_time"] = (process_start_time(os.getpid()) or 0.0) - 5000.0
    folder.write_json("status.json", status)


def _tasks(kind: str, subjects: int, sessions: int, n_folds: int) -> Iterator[dict[str, Any]]:
    for subject in range(1, subjects + 1):
        for session in range(sessions) if kind == "within_session" else [None]:
            for fold in range(n_folds if kind == "within_session" else 1):
                for pipeline in SCORES:
                    where = None if session is None else str(session)
                    yield {
                        "pipeline": pipeline,
                        "subject": subject,
                        "session": where,
                        "fold": fold,
                        "seed": 0,
                    }


def _results(
    rng: np.random.Generator, task: dict[str, Any], number: int, sessions: int, kind: str
) -> dict[str, Any]:
    names = [task["session"]] if kind == "within_session" else [str(s) for s in range(sessions)]
    level = SCORES[task["pipeline"]] - 0.02 * task["subject"]
    return {
        "fit_time": 1.5,
        "predict_time": 0.1,
        "curvature": 1.4 if task["pipeline"] == "Hyperbolic" else None,
        "n_train": 40,
        "n_channels": 8,
        "scores": [
            {
                "session": session,
                "score": level + float(rng.uniform(-0.01, 0.01)),
                "n_test": N_TEST,
                "n_correct": 9,
                "n_classes": 2,
            }
            for session in names
        ],
    }


def _write_part(
    rng: np.random.Generator, path: Path, record: dict[str, Any], task: dict[str, Any]
) -> None:
    sessions = [row["session"] for row in record["scores"]]
    n = N_TEST * len(sessions)
    y = np.array(["left_hand", "right_hand"] * (n // 2))
    predicted = y.copy()
    predicted[:3] = y[1:4]
    width = WIDTHS[task["pipeline"]]
    points = rng.normal(size=(n, width)).astype(np.float32)
    if width:
        points[:, 0] += np.where(y == "left_hand", 2.0, -2.0)
    hyperbolic = task["pipeline"] == "Hyperbolic"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        history=np.array(json.dumps([{"train_loss": 0.5}])),
        curvature_history=np.linspace(1.0, 1.4, 5) if hyperbolic else np.empty(0),
        embedding=points,
        curvature=np.full(n, 1.4 if hyperbolic else np.nan, dtype=np.float32),
        y_true=y,
        y_pred=predicted,
        proba=np.tile(np.array([[0.7, 0.3]], dtype=np.float32), (n, 1)),
        classes=np.array(["left_hand", "right_hand"]),
        subject=np.full(n, str(task["subject"])),
        session=np.repeat(sessions, N_TEST),
        fold=np.full(n, task["fold"], dtype=np.int32),
        seed=np.full(n, 0, dtype=np.int64),
        trial=np.arange(n, dtype=np.int64) + 100 * record["task"],
    )
