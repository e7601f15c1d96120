"""Run folders as the pages need them.  Reads only; never raises for one bad folder of many."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from hypeeg.experiments import report
from hypeeg.experiments.gather import read_embeddings, scores_frame
from hypeeg.experiments.process import judged_state
from hypeeg.experiments.spec import slug
from hypeeg.experiments.store import FoldLog, RecordError, RunFolder
from hypeeg.experiments.tasks import resolve_scoring
from hypeeg.experiments.yaml_io import YamlError, parse_yaml

RUNS_VARIABLE = "HYPEEG_RUNS"

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
    title, description, dataset, kind, scoring : str
        From ``spec_resolved.yaml``; empty where it does not say.
    pipelines : tuple of Pipeline
        In the order of the run file.
    """

    path: Path
    state: str
    problem: str = ""
    status: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""
    description: str = ""
    dataset: str = ""
    kind: str = ""
    scoring: str = "auto"
    pipelines: tuple[Pipeline, ...] = ()

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
    def started(self) -> datetime | None:
        """When the folder was made (UTC)."""
        return _time(self.status.get("created"))

    @property
    def elapsed(self) -> float | None:
        """Seconds from the start to the last sign of life."""
        last = _time(self.status.get("finished")) or _time(self.status.get("updated"))
        return None if not (self.started and last) else (last - self.started).total_seconds()

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
    """Return the runs under a folder, newest first; other folders are left out."""
    try:
        folders = [path for path in root.iterdir() if (path / "status.json").is_file()]
    except OSError:
        return []
    return sorted(map(read_run, folders), key=_newest, reverse=True)


def read_run(path: Path) -> Run:
    """Read what a run folder says of itself; a damaged one is told by its state."""
    try:
        described = _describe(stamp_of(path / "status.json"), stamp_of(path / "spec_resolved.yaml"))
    except (UnreadableError, OSError) as error:
        return Run(path, "unreadable", problem=str(error))
    return Run(**{**vars(described), "path": path, "state": judged_state(described.status)})


def read_scores(run: Run) -> pd.DataFrame:
    """Return the scores table of a run, of what is finished if it is not.

    Raises
    ------
    UnreadableError
        If the file is damaged.
    """
    table, log = run.path / "scores.csv", run.path / "folds.jsonl"
    return _scores_table(stamp_of(table)) if table.exists() else _scores_log(stamp_of(log), run)


def read_failures(run: Run) -> list[dict[str, Any]]:
    """Return the records of failed folds."""
    return [r for r in _records(stamp_of(run.path / "folds.jsonl")) if r.get("status") == "failed"]


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
    scores = read_scores(run)
    if scores.empty:
        return None
    return _best(stamp_of(run.path / "scores.csv"), stamp_of(run.path / "folds.jsonl"), scores)


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
def _describe(status: Stamp, spec: Stamp) -> Run:
    folder = Path(status[0]).parent
    try:
        values = RunFolder(folder).read_status()
    except RecordError as error:
        raise UnreadableError(str(error)) from error
    if spec[2] < 0:
        return Run(folder, "", status=values)
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
        status=values,
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
def _best(table: Stamp, log: Stamp, _scores: pd.DataFrame) -> tuple[str, float]:
    by_session = _scores.groupby(["pipeline", *report.UNIT])["score"].mean()
    means = by_session.groupby(level="pipeline").mean()
    return str(means.idxmax()), float(means.max())


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
        return datetime.fromisoformat(str(value))
    except ValueError:
        return None
