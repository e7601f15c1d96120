"""What sweep folders say of themselves, read quickly: neither pandas nor the specification."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypeeg.experiments.process import GOING_ON
from hypeeg.experiments.run_index import (
    PipelineScore,
    RunInfo,
    discard_folder,
    list_runs,
    pipeline_scores,
    read_info,
    removable,
)
from hypeeg.experiments.store import RecordError, RunFolder


@dataclass(frozen=True)
class PointInfo:
    """One point of a sweep and its run.

    Attributes
    ----------
    index : int
        Position in the sweep.
    name : str
        Name of its specification; the name of its run folder begins so.
    values : mapping
        Values of the grid by path.
    run : RunInfo or None
        Its newest run; None if it has not begun.
    """

    index: int
    name: str
    values: Mapping[str, Any]
    run: RunInfo | None = field(default=None, repr=False)

    @property
    def folder(self) -> Path | None:
        """Its run folder."""
        return None if self.run is None else self.run.path

    @property
    def state(self) -> str:
        """State of its run, ``"planned"`` before it has begun."""
        return "planned" if self.run is None else self.run.state

    @property
    def is_complete(self) -> bool:
        """Whether every fold of its run was tried."""
        run = self.run
        if run is None or run.state not in ("done", "failed") or not run.n_tasks:
            return False
        return run.n_done + run.n_failed == run.n_tasks

    @property
    def can_go_on(self) -> bool:
        """Whether its run has got far enough to be resumed; otherwise it begins anew."""
        return self.run is not None and (self.run.path / "tasks.csv").is_file()


@dataclass(frozen=True)
class SweepInfo:
    """One sweep folder.

    Attributes
    ----------
    path : Path
        The folder.
    points : tuple of PointInfo
        Its points.
    about : mapping
        Content of ``sweep.json``.
    """

    path: Path
    points: tuple[PointInfo, ...]
    about: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.name

    @property
    def paths(self) -> list[str]:
        """What varies."""
        return list(self.points[0].values) if self.points else []

    @property
    def counts(self) -> dict[str, int]:
        """Points by state."""
        return dict(Counter(point.state for point in self.points))

    @property
    def n_done(self) -> int:
        """Points that are done."""
        return self.counts.get("done", 0)

    @property
    def state(self) -> str:
        """``running``, ``done``, ``failed`` (nothing is left but failures) or ``incomplete``."""
        # A point that has not begun is planned too, but has no run.
        if any(point.run is not None and point.run.state in GOING_ON for point in self.points):
            return "running"
        states = {point.state for point in self.points}
        if states <= {"done"}:
            return "done"
        return "failed" if states <= {"done", "failed"} else "incomplete"

    @property
    def created(self) -> datetime | None:
        """When the folder was made (UTC)."""
        try:
            return datetime.fromisoformat(str(self.about.get("created")))
        except ValueError:
            return None


def is_sweep(path: str | Path) -> bool:
    """Whether a folder is a sweep folder."""
    return (Path(path) / "sweep.json").is_file()


def read_sweep(path: str | Path) -> SweepInfo:
    """Read a sweep folder.

    Parameters
    ----------
    path : str or Path
        The folder.

    Raises
    ------
    RecordError
        If it is no sweep folder, or ``sweep.json`` is damaged.
    """
    path = Path(path)
    file = path / "sweep.json"
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        listed = [(int(p["point"]), str(p["run"]), dict(p["values"])) for p in about["points"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{file}: no readable sweep ({error!r}); not a sweep folder?") from error
    newest: dict[str, RunInfo] = {}
    for run in list_runs(path):  # newest first
        # NAME-p003-20260101T000000Z[-2]
        for _, name, _ in listed:
            if run.name.startswith(f"{name}-"):
                newest.setdefault(name, run)
                break
    points = tuple(PointInfo(i, name, values, newest.get(name)) for i, name, values in listed)
    return SweepInfo(path, points, about)


def list_sweeps(out: str | Path) -> list[SweepInfo]:
    """Return the sweeps in a folder, newest first.

    Parameters
    ----------
    out : str or Path
        Folder of run folders and sweep folders.
    """
    out = Path(out)
    if not out.is_dir():
        return []
    found = []
    for path in out.iterdir():
        if is_sweep(path) and not path.is_symlink():
            try:
                found.append(read_sweep(path))
            except RecordError:
                # A damaged one is told by the commands that name it, not by a list of all.
                found.append(SweepInfo(path, ()))
    return sorted(found, key=lambda s: (str(s.about.get("created") or ""), s.name), reverse=True)


def locate_sweep(text: str | Path, out: str | Path = "runs") -> Path | None:
    """Return the sweep folder that a person means, None if it is none.

    Parameters
    ----------
    text : str or Path
        A path, a name, or the beginning of a name that no other sweep or run shares.
    out : str or Path
        Folder of sweep folders.
    """
    for path in (Path(text), Path(out) / text):
        if is_sweep(path):
            return path
    if Path(text).is_dir() or not Path(out).is_dir() or not str(text):
        return None
    near = [path for path in Path(out).iterdir() if path.name.startswith(str(text))]
    near = [path for path in near if is_sweep(path) or (path / "status.json").is_file()]
    return near[0] if len(near) == 1 and is_sweep(near[0]) else None


def removable_sweeps(
    sweeps: Iterable[SweepInfo], states: Iterable[str], older_than: timedelta | None = None
) -> list[SweepInfo]:
    """Choose sweeps to remove whole.

    Parameters
    ----------
    sweeps : iterable of SweepInfo
        All sweeps.
    states : iterable of str
        A sweep is chosen if all its runs are in one of them; without any run it counts as
        interrupted.  One with a run that is going on, or may be at another machine, stays.
    older_than : timedelta, optional
        Only sweeps whose runs all gave their last sign of life longer ago.

    Returns
    -------
    list of SweepInfo
    """
    wanted = set(states)
    chosen = []
    for sweep in sweeps:
        runs = list_runs(sweep.path)
        if runs and len(removable(runs, wanted, older_than)) == len(runs):
            chosen.append(sweep)
        elif not runs and "interrupted" in wanted:
            before = datetime.now(UTC) - (older_than or timedelta())
            if sweep.created is not None and sweep.created < before:
                chosen.append(sweep)
    return chosen


def remove_sweep(path: str | Path, out: str | Path) -> None:
    """Remove a sweep folder with all its runs.

    Parameters
    ----------
    path : str or Path
        Sweep folder, also one that cannot be read.
    out : str or Path
        Folder of sweep folders; nothing outside it is ever removed.

    Raises
    ------
    RecordError
        If the folder is not directly in `out`, is a link or no sweep folder, or the sweep or one
        of its runs is going on.
    """
    path = Path(path)
    inside = path.resolve().parent == Path(out).resolve() and not path.is_symlink()
    if not inside or not is_sweep(path):
        raise RecordError(f"{path}: not a sweep folder in {out}; nothing was removed")
    with ExitStack() as held:
        held.enter_context(RunFolder(path).held())
        for run in list_runs(path):
            held.enter_context(RunFolder(run.path).held())
            now = read_info(run.path)
            if now.state in GOING_ON or now.elsewhere is not None:
                raise RecordError(
                    f"{path}: its run {run.name} is going on; cancel it first. Nothing was removed"
                )
        discard_folder(path)


def point_scores(point: PointInfo) -> list[PipelineScore]:
    """Return the score of each pipeline of a point, nothing if none is known."""
    return [] if point.folder is None else pipeline_scores(point.folder)


def points_table(sweep: SweepInfo) -> str:
    """Return the table of a sweep as CSV.

    One row for each point and pipeline: ``point``, ``run`` (its folder), ``state``, a column for
    each path that varies (values as JSON unless they are plain), ``pipeline``, ``score`` (mean over
    sessions of the means over folds and seeds), ``n_sessions`` and ``n_scores``.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = ["pipeline", "score", "n_sessions", "n_scores"]
    writer.writerow(["point", "run", "state", *sweep.paths, *ends])
    for point in sweep.points:
        start = [point.index, "" if point.folder is None else point.folder.name, point.state]
        values = [show_value(value) for value in point.values.values()]
        scores = [[s.name, s.score, s.n_units, s.n_scores] for s in point_scores(point)]
        for row in scores or [["", "", "", ""]]:
            writer.writerow([*start, *values, *row])
    return text.getvalue()


def show_value(value: Any) -> str:
    """Return a value as it stands in a table: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
