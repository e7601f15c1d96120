"""One run folder as the pages know it: what it says of itself, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from hypeeg.experiments.process import GOING_ON
from hypeeg.experiments.run_index import RunInfo
from hypeeg.experiments.tasks import resolve_scoring


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


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _time(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
