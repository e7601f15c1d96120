"""Run folders as the pages need them.  Reads only; never raises for one bad folder of many."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from hypeeg.experiments import report
from hypeeg.experiments.gather import read_embeddings, scores_frame
from hypeeg.experiments.process import GOING_ON
from hypeeg.experiments.run_index import RunInfo, pipeline_scores, read_info
from hypeeg.experiments.spec import slug
from hypeeg.experiments.store import FoldLog, RecordError
from hypeeg.experiments.sweep_index import is_sweep
from hypeeg.experiments.tasks import resolve_scoring
from hypeeg.experiments.yaml_io import YamlError, parse_yaml

RUNS_VARIABLE = "HYPEEG_RUNS"

DEFAULT_KIND = "eeg"
LOG_BYTES = 16_000
_LOG_START = re.compile(r"^\d{4}-\d\d-\d\d (\d\d:\d\d:\d\d),\d{3} (\w+) +[\w.]+: ", re.MULTILINE)

UNFINISHED = ("planned", "running", "interrupted")

Stamp = tuple[str, int, int]
"""A file by name, time of change (ns) and size: what cached readings of it are keyed by."""


class UnreadableError(ValueError):
    """A file of a run folder is missing or damaged; the message is for people."""


@dataclass(frozen=True)
class Pipeline:
    """A pipeline as the run file names it."""

    name: str
    model: str
    twin_of: str | None = None


@dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes
    ----------
    path : Path
        The folder.
    state : str
        As in ``status.json``; ``"interrupted"`` if it says that the run is going on and its
        process is gone, ``"unreadable"`` if the folder cannot be read.
    problem : str
        Why it is unreadable; empty otherwise.
    status : mapping
        Content of ``status.json``.
    wing : str
        What sort of run it is: ``"eeg"``, ``"vision"`` or ``"hierarchy"``; empty if unknown.
    title, description, dataset, kind, scoring : str
        From ``spec_resolved.yaml``; empty where it does not say.
    pipelines : tuple of Pipeline
        In the order of the run file.
    sweep : str
        Name of the sweep folder that it lies in; empty if it is no point of a sweep.

    Notes
    -----
    In a list of runs (:func:`list_runs`) only what ``status.json`` repeats is filled in: reading
    hundreds of specifications takes seconds.  :func:`read_run` reads the whole.
    """

    path: Path
    state: str
    problem: str = ""
    status: Mapping[str, Any] = field(default_factory=dict)
    wing: str = ""
    title: str = ""
    description: str = ""
    dataset: str = ""
    kind: str = ""
    scoring: str = "auto"
    pipelines: tuple[Pipeline, ...] = ()
    sweep: str = ""

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.name

    @property
    def n_tasks(self) -> int:
        """Folds that were planned, 0 if not known yet."""
        return _count(self.status.get("n_tasks"))

    @property
    def n_finished(self) -> int:
        """Folds that ended, failed ones included."""
        return _count(self.status.get("n_done")) + self.n_failed

    @property
    def n_failed(self) -> int:
        """Folds that failed."""
        return _count(self.status.get("n_failed"))

    @property
    def progress(self) -> float:
        """Share of the folds that ended."""
        return min(1.0, self.n_finished / self.n_tasks) if self.n_tasks else 0.0

    @property
    def error(self) -> str:
        """Why the run ended early, if it did."""
        return str(self.status.get("error") or "")

    @property
    def info(self) -> RunInfo:
        """The same run as the functions of `hypeeg.experiments.run_index` take it."""
        return RunInfo(self.path, self.state, self.status, self.problem)

    @property
    def going_on(self) -> bool:
        """Whether its process is at work."""
        return self.state in GOING_ON

    @property
    def elsewhere(self) -> str | None:
        """Name of the other machine that it may be going on at."""
        return self.info.elsewhere

    @property
    def started(self) -> datetime | None:
        """When the folder was made (UTC)."""
        return self.info.created

    @property
    def elapsed(self) -> float | None:
        """Seconds from the start to the end, to now while it is going on."""
        last = datetime.now(UTC) if self.going_on else _time(self.status.get("finished"))
        last = last or self.info.last_sign
        return None if not (self.started and last) else (last - self.started).total_seconds()

    @property
    def remaining(self) -> float | None:
        """Seconds that the rest of the folds will take, judged by those of this attempt."""
        start, before = self.started, 0
        attempts = self.status.get("resumed")
        if isinstance(attempts, list) and attempts and isinstance(attempts[-1], Mapping):
            start = _time(attempts[-1].get("at"))
            before = _count(attempts[-1].get("n_recorded"))
        last, new = self.info.last_sign, self.n_finished - before
        if not self.going_on or start is None or last is None or new <= 0:
            return None
        each = (last - start).total_seconds() / new
        waited = (datetime.now(UTC) - last).total_seconds()
        return max(0.0, each * (self.n_tasks - self.n_finished) - waited)

    @property
    def n_missing(self) -> int:
        """Planned folds that neither finished nor failed."""
        return max(0, self.n_tasks - self.n_finished)

    @property
    def twins(self) -> dict[str, str]:
        """Euclidean twin to the hyperbolic pipeline it is compared with."""
        return {p.name: p.twin_of for p in self.pipelines if p.twin_of is not None}

    def score_name(self, scores: pd.DataFrame) -> str:
        """Name of the score, with ``auto`` resolved."""
        if scores.empty:
            return self.scoring
        return resolve_scoring(self.scoring, int(scores["n_classes"].max()))


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


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _time(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
