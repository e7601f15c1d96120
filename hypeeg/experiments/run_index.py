"""What run folders say of themselves, read quickly: for lists of runs and for one at a glance.

Neither pandas nor the specification is read for a list: ``status.json`` repeats what it shows.
"""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypeeg.experiments.process import GOING_ON, holder_of, judged_state
from hypeeg.experiments.store import RecordError, RunFolder

_AGE = re.compile(r"^(\d+)([hdw])$")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class RunInfo:
    """One run folder.

    Attributes
    ----------
    path : Path
        The folder.
    state : str
        As :func:`hypeeg.experiments.process.judged_state` says; ``"unreadable"`` if the folder
        does not tell.
    status : mapping
        Content of ``status.json``.
    problem : str
        Why it is unreadable; empty otherwise.
    """

    path: Path
    state: str
    status: Mapping[str, Any] = field(default_factory=dict, repr=False)
    problem: str = ""

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.name

    @property
    def dataset(self) -> str:
        """Name of the data set, empty if the record does not tell."""
        return str(self.status.get("dataset") or "")

    @property
    def n_tasks(self) -> int:
        """Folds that were planned, 0 if not known yet."""
        return _count(self.status.get("n_tasks"))

    @property
    def n_done(self) -> int:
        """Folds that were scored."""
        return _count(self.status.get("n_done"))

    @property
    def n_failed(self) -> int:
        """Folds that failed."""
        return _count(self.status.get("n_failed"))

    @property
    def best(self) -> tuple[str, float] | None:
        """Pipeline with the highest mean over sessions and that mean, once a run has ended."""
        value = self.status.get("best")
        if not isinstance(value, Mapping) or not isinstance(value.get("score"), float):
            return None
        return str(value.get("pipeline")), value["score"]

    @property
    def created(self) -> datetime | None:
        """When the folder was made (UTC)."""
        return _time(self.status.get("created"))

    @property
    def last_sign(self) -> datetime | None:
        """When its status was last written (UTC)."""
        return _time(self.status.get("updated")) or self.created

    @property
    def elsewhere(self) -> str | None:
        """Name of the other machine that the run may be going on at, None if there is none."""
        going = self.status.get("state") in GOING_ON
        return str(self.status["host"]) if going and holder_of(self.status) == "elsewhere" else None


def read_info(path: Path) -> RunInfo:
    """Read the status of one run folder; a damaged one is told by its state."""
    try:
        status = RunFolder(path).read_status()
    except RecordError as error:
        return RunInfo(path, "unreadable", problem=str(error))
    return RunInfo(path, judged_state(status), status)


def list_runs(out: str | Path) -> list[RunInfo]:
    """Return the runs in a folder, newest first.

    Parameters
    ----------
    out : str or Path
        Folder of run folders; other folders in it are left out, and so are links.

    Returns
    -------
    list of RunInfo
        Empty if there is no such folder.
    """
    out = Path(out)
    if not out.is_dir():
        return []
    found = [
        read_info(path)
        for path in out.iterdir()
        if (path / "status.json").is_file() and not path.is_symlink() and path.name[0] != "."
    ]
    return sorted(found, key=lambda r: (str(r.status.get("created") or ""), r.name), reverse=True)


def locate_run(text: str | Path, out: str | Path = "runs") -> Path:
    """Return the run folder that a person means.

    Parameters
    ----------
    text : str or Path
        A path, a name, the beginning of a name that no other run shares, or ``last``.
    out : str or Path
        Folder of run folders.

    Returns
    -------
    Path

    Raises
    ------
    RecordError
        If there is no such run, or more than one.
    """
    for path in (Path(text), Path(out) / text):
        if (path / "status.json").is_file():
            return path
    if Path(text).is_dir():
        raise RecordError(f"{text}: no run folder (no status.json in it)")
    runs = list_runs(out)
    if str(text) == "last" and runs:
        return runs[0].path
    near = [run for run in runs if run.name.startswith(str(text))]
    if len(near) == 1:
        return near[0].path
    if near:
        names = ", ".join(run.name for run in near[:5])
        raise RecordError(f"{text}: {len(near)} runs begin so ({names}); give more of the name")
    known = ", ".join(run.name for run in runs[:5]) or "none"
    raise RecordError(f"{text}: no such run in {out}; newest there: {known}")


@dataclass(frozen=True)
class PipelineScore:
    """Score of one pipeline: mean over sessions of the means over folds and seeds."""

    name: str
    score: float
    n_units: int
    n_scores: int


def pipeline_scores(path: str | Path) -> list[PipelineScore]:
    """Return the score of each pipeline of a run, finished or not.

    Parameters
    ----------
    path : str or Path
        Run folder.

    Returns
    -------
    list of PipelineScore
        In order of appearance; empty if no fold was scored.

    Raises
    ------
    RecordError
        If the record is damaged.
    """
    path = Path(path)
    units: dict[str, dict[tuple[str, str], list[float]]] = {}
    try:
        for name, subject, session, score in _score_rows(path):
            units.setdefault(name, {}).setdefault((subject, session), []).append(score)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"{path}: the scores cannot be read ({error!r})") from error
    found = []
    for name, own in units.items():
        means = [sum(scores) / len(scores) for scores in own.values()]
        total = sum(len(scores) for scores in own.values())
        found.append(PipelineScore(name, sum(means) / len(means), len(means), total))
    return found


def _score_rows(path: Path) -> Iterator[tuple[str, str, str, float]]:
    table = path / "scores.csv"
    # While a run is going on again, the table is that of its earlier end.
    if table.is_file() and read_info(path).state not in GOING_ON:
        with table.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield row["pipeline"], row["subject"], row["session"], float(row["score"])
        return
    for record in RunFolder(path).folds.latest():
        if record["status"] == "done":
            for row in record["scores"]:
                yield record["pipeline"], str(record["subject"]), row["session"], row["score"]


def failures(path: str | Path) -> list[dict[str, Any]]:
    """Return the records of the tasks whose last attempt failed.

    Parameters
    ----------
    path : str or Path
        Run folder.
    """
    if read_info(Path(path)).status.get("n_failed") == 0:
        return []
    return [r for r in RunFolder(path).folds.latest() if r["status"] == "failed"]


def parse_age(text: str) -> timedelta:
    """Read an age such as ``12h``, ``30d`` or ``2w``.

    Raises
    ------
    ValueError
        If it is written otherwise.
    """
    match = _AGE.match(text.strip())
    if match is None:
        raise ValueError(f"got {text!r}; write hours, days or weeks such as 12h, 30d or 2w")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def removable(
    runs: Iterable[RunInfo], states: Iterable[str], older_than: timedelta | None = None
) -> list[RunInfo]:
    """Choose runs to remove.

    Parameters
    ----------
    runs : iterable of RunInfo
        All runs.
    states : iterable of str
        States of those to remove; runs that are going on, or may be at another machine, stay.
    older_than : timedelta, optional
        Only runs whose last sign of life is older.

    Returns
    -------
    list of RunInfo
    """
    wanted = set(states) - set(GOING_ON)
    before = None if older_than is None else datetime.now(UTC) - older_than
    return [
        run
        for run in runs
        if run.state in wanted
        and run.elsewhere is None
        and (before is None or (run.last_sign is not None and run.last_sign < before))
    ]


def remove_run(run: RunInfo, out: str | Path) -> None:
    """Remove a run folder.

    Parameters
    ----------
    run : RunInfo
        The run.
    out : str or Path
        Folder of run folders; nothing outside it is ever removed.

    Raises
    ------
    RecordError
        If the folder is not directly in `out`, is a link or no run folder, or the run is going on.
    """
    path = run.path
    inside = path.resolve().parent == Path(out).resolve() and not path.is_symlink()
    if not inside or not (path / "status.json").is_file():
        raise RecordError(f"{path}: not a run folder in {out}; nothing was removed")
    with RunFolder(path).held():
        now = read_info(path)
        if now.state in GOING_ON or now.elsewhere is not None:
            raise RecordError(f"{path}: the run is going on; nothing was removed")
        discard_folder(path)


def discard_folder(path: Path) -> None:
    """Remove a folder with all that is in it; links in it are removed, not followed."""
    # Under another name first: a removal that is cut off leaves no run with half its files.
    hidden = path.with_name(f".{path.name}.removed")
    path.rename(hidden)
    shutil.rmtree(hidden)


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0


def _time(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
