"""Run folders as the pages need them.  Reads only; never raises for one bad folder of many."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from hypeeg.experiments import report
from hypeeg.experiments.gather import read_embeddings, scores_frame
from hypeeg.experiments.run_index import pipeline_scores, read_info
from hypeeg.experiments.spec import slug
from hypeeg.experiments.store import FoldLog, RecordError
from hypeeg.experiments.sweep_index import is_sweep
from hypeeg.experiments.yaml_io import YamlError, parse_yaml
from hypeeg_app.run import Pipeline as Pipeline
from hypeeg_app.run import Run as Run

RUNS_VARIABLE = "HYPEEG_RUNS"

DEFAULT_KIND = "eeg"
LOG_BYTES = 16_000
_LOG_START = re.compile(r"^\d{4}-\d\d-\d\d (\d\d:\d\d:\d\d),\d{3} (\w+) +[\w.]+: ", re.MULTILINE)

UNFINISHED = ("planned", "running", "interrupted")

Stamp = tuple[str, int, int]
"""A file by name, time of change (ns) and size: what cached readings of it are keyed by."""


class UnreadableError(ValueError):
    """A file of a run folder is missing or damaged; the message is for people."""


def runs_root() -> Path:
    """Return the folder of all runs: the environment variable HYPEEG_RUNS, or ``runs``."""
    return Path(os.environ.get(RUNS_VARIABLE) or "runs").expanduser()


def list_runs(root: Path) -> list[Run]:
    """Return the runs in a folder and in the sweep folders there, newest first.

    Other folders, links and hidden folders are left out.
    """
    found: list[Run] = []
    for path in _folders(root):
        if (path / "status.json").is_file():
            found.append(glance(path))
        elif is_sweep(path):
            points = [point for point in _folders(path) if (point / "status.json").is_file()]
            found += [replace(glance(point), sweep=path.name) for point in points]
    return sorted(found, key=_newest, reverse=True)


def _folders(root: Path) -> list[Path]:
    try:
        with os.scandir(root) as entries:
            return [
                Path(entry.path)
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []


def glance(path: Path) -> Run:
    """Return what ``status.json`` says of a run; more only if it says too little."""
    info = read_info(path)
    if info.problem:
        return Run(path, info.state, problem=info.problem)
    said = info.status
    if not (said.get("dataset") and said.get("evaluation")):
        # Early runs do not repeat their specification.
        return read_run(path)
    return Run(
        path,
        info.state,
        status=said,
        wing=str(said.get("kind") or ""),
        title=str(said.get("name") or ""),
        dataset=str(said["dataset"]),
        kind=str(said["evaluation"]),
    )


def read_run(path: Path) -> Run:
    """Read what a run folder says of itself; a damaged one is told by its state."""
    info = read_info(path)
    if info.problem:
        return Run(path, info.state, problem=info.problem)
    try:
        described = _describe(stamp_of(path / "spec_resolved.yaml"))
    except UnreadableError as error:
        return Run(path, "unreadable", problem=str(error), status=info.status)
    title = described.title or str(info.status.get("name") or "")
    sweep = path.parent.name if is_sweep(path.parent) else ""
    return replace(
        described, path=path, state=info.state, status=info.status, title=title, sweep=sweep
    )


def read_scores(run: Run) -> pd.DataFrame:
    """Return the scores table of a run, of what is finished if it is not.

    Raises
    ------
    UnreadableError
        If the file is damaged.
    """
    table, log = run.path / "scores.csv", run.path / "folds.jsonl"
    if table.exists() and not run.going_on:
        return _scores_table(stamp_of(table))
    # While a run goes on again, the table is that of its earlier end.
    return _scores_log(stamp_of(log), run)


def read_failures(run: Run) -> list[dict[str, Any]]:
    """Return the records of failed folds."""
    return [r for r in _records(stamp_of(run.path / "folds.jsonl")) if r.get("status") == "failed"]


def log_tail(run: Run, lines: int = 12) -> str:
    """Return the last lines of a run's log; empty without one."""
    path = run.path / "log.txt"
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    # Dates, milliseconds and modules are in the file; here they only push the words aside.
    return _LOG_START.sub(r"\1 \2 ", "\n".join(text.splitlines()[-lines:]))


def read_summary(run: Run) -> pd.DataFrame:
    """Return one row a pipeline with mean and spread (see `report.summarise`), best first."""
    scores = read_scores(run)
    if scores.empty:
        return pd.DataFrame()
    return _summary(stamp_of(run.path / "scores.csv"), stamp_of(run.path / "folds.jsonl"), scores)


def read_best(run: Run) -> tuple[str, float] | None:
    """Return the pipeline with the highest mean score over sessions, and that score.

    The same number as in :func:`read_summary`, without the rest of it: a list of hundreds of
    runs asks for nothing else.
    """
    if run.state == "done" and run.info.best is not None:
        return run.info.best
    return _best(
        stamp_of(run.path / "scores.csv"), stamp_of(run.path / "folds.jsonl"), run.going_on
    )


def read_curvature(run: Run) -> pd.DataFrame:
    """Return the curvature history, empty if there is none yet."""
    path = run.path / "curvature_history.csv"
    return _curvature_table(stamp_of(path)) if path.exists() else pd.DataFrame()


def embedded_pipelines(run: Run) -> list[str]:
    """Return the pipelines whose embeddings are on disk, in the order of the run file."""
    return [p.name for p in run.pipelines if embedding_path(run, p.name).is_file()]


def embedding_path(run: Run, pipeline: str) -> Path:
    """Return where the embeddings of a pipeline lie."""
    return run.path / "embeddings" / f"{slug(pipeline)}.npz"


def load_embeddings(path: Path) -> dict[str, np.ndarray]:
    """Read the test trials of one pipeline (see `hypeeg.experiments.gather.read_embeddings`).

    Raises
    ------
    UnreadableError
        If the file is damaged.
    """
    return _embeddings(stamp_of(path))


def stamp_of(path: Path) -> Stamp:
    """Return what changes when a file does; one stamp for every missing file."""
    try:
        found = path.stat()
    except OSError:
        return (str(path), 0, -1)
    return (str(path), found.st_mtime_ns, found.st_size)


@st.cache_data(show_spinner=False, max_entries=2000)
def _describe(spec: Stamp) -> Run:
    folder = Path(spec[0]).parent
    if spec[2] < 0:
        return Run(folder, "")
    try:
        data = parse_yaml(Path(spec[0]).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YamlError) as error:
        raise UnreadableError(f"{spec[0]}: {error}") from error
    # Read loosely: a run of another version of hypeeg must still be shown.
    data = _mapping(data)
    evaluation = _mapping(data.get("evaluation"))
    return Run(
        folder,
        "",
        wing=str(data.get("kind") or DEFAULT_KIND),
        title=str(data.get("name") or ""),
        description=str(data.get("description") or ""),
        dataset=str(_mapping(data.get("dataset")).get("name") or ""),
        kind=str(evaluation.get("kind") or ""),
        scoring=str(evaluation.get("scoring") or "auto"),
        pipelines=tuple(_pipelines(data.get("pipelines"))),
    )


def _pipelines(data: Any) -> Iterator[Pipeline]:
    for item in data if isinstance(data, list) else []:
        values = _mapping(item)
        if values.get("name"):
            twin_of = values.get("twin_of")
            yield Pipeline(
                str(values["name"]),
                str(values.get("model") or ""),
                None if twin_of is None else str(twin_of),
            )


@st.cache_data(show_spinner=False, max_entries=2000)
def _scores_table(stamp: Stamp) -> pd.DataFrame:
    names = {"dataset": str, "session": str, "pipeline": str}
    try:
        # A pipeline may be named "NA": only numbers may be missing.
        scores = pd.read_csv(
            stamp[0], dtype=names, keep_default_na=False, na_values={"curvature": [""]}
        )
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{stamp[0]}: {error}") from error
    needed = {"subject", "fold", "seed", "score", "n_test", "n_classes", "fit_time", "accuracy"}
    missing = sorted((needed | names.keys() | {"curvature"}) - set(scores.columns))
    if missing:
        raise UnreadableError(f"{stamp[0]}: columns are missing: {', '.join(missing)}")
    return scores


@st.cache_data(show_spinner=False, max_entries=100)
def _records(stamp: Stamp) -> list[dict[str, Any]]:
    try:
        return FoldLog(stamp[0]).latest()
    except (OSError, RecordError) as error:
        raise UnreadableError(str(error)) from error


def _scores_log(stamp: Stamp, run: Run) -> pd.DataFrame:
    try:
        return scores_frame(_records(stamp), run.dataset, run.kind, n_sessions=0)
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableError(f"{stamp[0]}: unexpected record ({error!r})") from error


@st.cache_data(show_spinner=False, max_entries=500)
def _summary(table: Stamp, log: Stamp, _scores: pd.DataFrame) -> pd.DataFrame:
    return report.summarise(_scores)


@st.cache_data(show_spinner=False, max_entries=2000)
def _best(table: Stamp, log: Stamp, going_on: bool) -> tuple[str, float] | None:
    try:
        scores = pipeline_scores(Path(table[0]).parent)
    except (OSError, RecordError) as error:
        raise UnreadableError(str(error)) from error
    best = max(scores, key=lambda one: one.score, default=None)
    return None if best is None else (best.name, best.score)


@st.cache_data(show_spinner=False, max_entries=100)
def _curvature_table(stamp: Stamp) -> pd.DataFrame:
    try:
        history = pd.read_csv(stamp[0], dtype={"session": str, "pipeline": str})
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{stamp[0]}: {error}") from error
    if "c" not in history:
        raise UnreadableError(f"{stamp[0]}: column c is missing")
    return history


@st.cache_data(show_spinner=False, max_entries=20)
def _embeddings(stamp: Stamp) -> dict[str, np.ndarray]:
    import zipfile

    try:
        arrays = read_embeddings(stamp[0])
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UnreadableError(f"{stamp[0]}: {error}") from error
    missing = {"y_true", "y_pred", "subject", "session", "fold", "seed", "trial"} - arrays.keys()
    if missing:
        raise UnreadableError(f"{stamp[0]}: arrays are missing: {', '.join(sorted(missing))}")
    return arrays


def _newest(run: Run) -> tuple[str, str]:
    return (str(run.status.get("created") or ""), run.name)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
