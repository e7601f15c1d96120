"""Run a sweep: one run folder for each combination of values, all in one sweep folder.

The points are runs like any other: they can be listed, shown, resumed, compared and reported by
themselves.  A sweep has no state of its own that could contradict them: which points are done is
read from their folders each time, so a sweep goes on after whatever ended it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypeeg.experiments.base_spec import BaseRunSpec
from hypeeg.experiments.kinds import read_run_spec
from hypeeg.experiments.sections import BackendSpec
from hypeeg.experiments.spec_errors import Problem, SpecError
from hypeeg.experiments.store import DiskFullError, RecordError, RunFolder, utc_now
from hypeeg.experiments.sweep_index import PointInfo, SweepInfo, points_table, read_sweep
from hypeeg.experiments.sweep_points import SweepPoint, sweep_points
from hypeeg.training.torchrun import torchrun_place

if TYPE_CHECKING:
    from hypeeg.experiments.active import RunResult

logger = logging.getLogger(__name__)

Teller = Callable[[SweepPoint, int], None]
"""Told before each point: the point, and how many there are."""


@dataclass(frozen=True)
class SweepResult:
    """How a sweep ended.

    Attributes
    ----------
    folder : Path
        The sweep folder.
    state : str
        ``"done"``, ``"failed"`` if any point failed, or ``"cancelled"``.
    points : list of PointInfo
        Every point and how its run ended.
    """

    folder: Path
    state: str
    points: list[PointInfo] = field(repr=False)


def run_sweep(
    spec: BaseRunSpec,
    out: str | Path = "runs",
    *,
    given: str | None = None,
    overrides: Sequence[str] = (),
    tell: Teller | None = None,
    **options: Any,
) -> SweepResult:
    """Run every point of a sweep, one after the other.

    Parameters
    ----------
    spec : BaseRunSpec
        A run file with a ``sweep`` section.
    out : str or Path
        Folder in which the sweep gets a folder of its own, which holds those of its runs.
    given : str, optional
        Text of the file, kept as it is.
    overrides : sequence of str
        Changes that were made to it, for the record.
    tell : callable, optional
        Told before each point.
    **options
        For :func:`hypeeg.experiments.runner.run`.

    Returns
    -------
    SweepResult
        A point that ends in an error is recorded as a failed run, and the next one begins.

    Raises
    ------
    SpecError
        If there is no sweep, a combination is no valid run, or none can begin (a cluster that
        cannot be reached, say).
    DiskFullError
        If the disk is full.
    """
    if spec.sweep is None:
        raise SpecError([Problem("sweep", "missing; give what varies, or use run")], spec.name)
    if torchrun_place() is not None:
        message = "points are runs of their own; start each of them with torchrun, not the sweep"
        raise SpecError([Problem("sweep", message)], spec.name)
    points = named_points(spec)
    for point in points:
        point.spec.resolve()  # what contradicts the data's manifest is told before any run
    folder = RunFolder.create(out, f"{spec.name}-sweep")
    folder.write_text("spec_given.yaml", given if given is not None else spec.to_yaml())
    folder.write_text("sweep_spec.yaml", spec.to_yaml())
    # Last: a folder with this file is a sweep with all that is needed to go on with it.
    folder.write_json(
        "sweep.json",
        {
            "format": 1,
            "name": spec.name,
            "kind": spec.kind,
            "dataset": spec.data_name,
            "created": utc_now(),
            "overrides": list(overrides),
            "points": [
                {"point": p.index, "run": p.spec.name, "values": dict(p.values)} for p in points
            ],
        },
    )
    return _do(folder, points, tell, {}, options)


def resume_sweep(
    path: str | Path,
    *,
    failed: bool = False,
    force: bool = False,
    backend: BackendSpec | None = None,
    tell: Teller | None = None,
    **options: Any,
) -> SweepResult:
    """Do what is missing of a sweep: points that never began, and the rest of those that did.

    Parameters
    ----------
    path : str or Path
        Sweep folder.
    failed : bool
        Run the folds that failed once more.
    force : bool
        Go on with points that say they are going on at another machine.
    backend : BackendSpec, optional
        Where the missing tasks run, if elsewhere than the sweep began.
    tell : callable, optional
        Told before each point that is worked on.
    **options
        For :func:`hypeeg.experiments.runner.run` and :func:`hypeeg.experiments.resume.resume`.

    Returns
    -------
    SweepResult
        Of all points, also those of earlier attempts.

    Raises
    ------
    RecordError
        If the folder is no sweep, another process works on it, or this version of hypeeg makes
        other points of its file.
    """
    info = read_sweep(path)
    spec = read_run_spec(info.path / "sweep_spec.yaml")
    points = named_points(spec)
    meant = [(point.spec.name, dict(point.values)) for point in points]
    if meant != [(point.name, dict(point.values)) for point in info.points]:
        raise RecordError(
            f"{info.path}: this version of hypeeg makes other points of sweep_spec.yaml than "
            "sweep.json lists; use the version that made it, or start the sweep anew"
        )
    go_on = {"failed": failed, "force": force, "backend": backend}
    return _do(RunFolder(info.path), points, tell, go_on, options)


def named_points(spec: BaseRunSpec) -> list[SweepPoint]:
    """Return the points of a sweep, the spec of each named after it: ``NAME-p000``, ...

    Raises
    ------
    SpecError
        If a combination is no valid run.
    """
    stem = spec.name[:95]
    return [
        SweepPoint(
            point.index,
            point.values,
            point.spec.model_copy(update={"name": f"{stem}-p{point.index:03d}"}),
        )
        for point in sweep_points(spec)
    ]


def _do(
    folder: RunFolder,
    points: Sequence[SweepPoint],
    tell: Teller | None,
    go_on: dict[str, Any],
    options: dict[str, Any],
) -> SweepResult:
    cancelled = False
    with folder.held():
        try:
            for point in points:
                info = read_sweep(folder.path).points[point.index]
                if info.state == "done" or (info.is_complete and not go_on.get("failed")):
                    continue
                if tell is not None:
                    tell(point, len(points))
                ended = _do_point(folder.path, point, info, go_on, options)
                folder.write_text("points.csv", points_table(read_sweep(folder.path)))
                if ended == "cancelled":
                    cancelled = True
                    break
        except KeyboardInterrupt:
            # Between two points; inside one, its run ends tidily by itself.
            cancelled = True
        found = read_sweep(folder.path)
        folder.write_text("points.csv", points_table(found))
    state = "cancelled" if cancelled else ("done" if found.state == "done" else "failed")
    return SweepResult(folder.path, state, list(found.points))


def _do_point(
    path: Path,
    point: SweepPoint,
    info: PointInfo,
    go_on: dict[str, Any],
    options: dict[str, Any],
) -> str:
    """Run one point, or go on with it; return the state in which it ended."""
    # These import the training stack; a sweep that is only shown does without it.
    from hypeeg.experiments.resume import resume
    from hypeeg.experiments.runner import run

    result: RunResult
    try:
        if info.can_go_on:
            assert info.folder is not None
            result = resume(info.folder, **go_on, **options)
        else:
            elsewhere = go_on.get("backend")
            changed = {} if elsewhere is None else {"backend": elsewhere}
            result = run(point.spec.model_copy(update=changed), path, **options)
    except DiskFullError:
        raise
    # What ends one point is in its record; the other points do not depend on it.
    except Exception as error:
        after = read_sweep(path).points[point.index]
        if after.folder is None or after.state != "failed":
            raise
        logger.warning("%s (%s): %s", point.spec.name, point.label, error)
        return "failed"
    return result.state


__all__ = ["SweepInfo", "SweepResult", "named_points", "resume_sweep", "run_sweep"]
