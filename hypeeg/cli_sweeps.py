"""What ``hypeeg run``, ``resume``, ``list``, ``show`` and ``cancel`` do with sweeps.

Heavy libraries are imported inside the functions, so that help and mistakes answer at once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from hypeeg.cli_common import EXIT_CODES, tidy_end

if TYPE_CHECKING:
    from hypeeg.experiments.base_spec import BaseRunSpec
    from hypeeg.experiments.sections import BackendSpec
    from hypeeg.experiments.sweep import SweepResult
    from hypeeg.experiments.sweep_index import SweepInfo
    from hypeeg.experiments.sweep_points import SweepPoint


def start_sweep(spec: BaseRunSpec, given: str, changes: list[str], out: Path) -> NoReturn:
    """Run every point of a sweep, show the table, and exit.

    Parameters
    ----------
    spec : BaseRunSpec
        With a ``sweep`` section.
    given : str
        Text of the file.
    changes : list of str
        Changes made to it.
    out : Path
        Folder in which the sweep gets a folder of its own.
    """
    from hypeeg.experiments.sweep import run_sweep

    _carry_out(lambda: run_sweep(spec, out, given=given, overrides=changes, tell=_tell))


def go_on_with_sweep(
    path: Path, *, failed: bool, force: bool, backend: BackendSpec | None
) -> NoReturn:
    """Do what is missing of a sweep, show the table, and exit.

    Parameters
    ----------
    path : Path
        Sweep folder.
    failed : bool
        Run folds that failed once more.
    force : bool
        Also points that may be going on at another machine.
    backend : BackendSpec or None
        Where the missing folds run; None leaves them where the sweep began.
    """
    from hypeeg.experiments.sweep import resume_sweep
    from hypeeg.experiments.sweep_index import read_sweep

    info = read_sweep(path)
    if info.state == "done":
        typer.echo(f"{path}: the sweep is done, nothing is missing")
        raise typer.Exit
    typer.echo(f"{path.name}: going on ({info.n_done} of {len(info.points)} done)", err=True)
    _carry_out(lambda: resume_sweep(path, failed=failed, force=force, backend=backend, tell=_tell))


def _tell(point: SweepPoint, total: int) -> None:
    typer.echo(f"[{point.index + 1}/{total}] {point.spec.name}: {point.label}", err=True)


def _carry_out(action: Callable[[], SweepResult]) -> NoReturn:
    from hypeeg.eeg.paths import configure_data_paths
    from hypeeg.experiments.sweep_index import read_sweep

    configure_data_paths()
    with tidy_end():
        result = action()
    _show_points(read_sweep(result.folder))
    typer.echo(f"Table: {result.folder / 'points.csv'}")
    typer.echo(f"Sweep folder: {result.folder}")
    if result.state != "done":
        again = " --failed" if result.state == "failed" else ""
        typer.echo(f"'hypeeg resume {result.folder}{again}' goes on with it.", err=True)
    raise typer.Exit(EXIT_CODES[result.state])


def show_sweep(path: Path) -> None:
    """Show one sweep: its points, their states and scores.

    Parameters
    ----------
    path : Path
        Sweep folder.
    """
    from hypeeg.experiments.sweep_index import read_sweep

    info = read_sweep(path)
    counts = ", ".join(f"{n} {state}" for state, n in sorted(info.counts.items()))
    typer.echo(f"{info.name}: {info.state} ({len(info.points)} points: {counts})")
    typer.echo(f"  data set    {info.about.get('dataset')}")
    typer.echo(f"  folder      {path}")
    _show_points(info)
    if info.state in ("failed", "incomplete"):
        again = " --failed" if info.state == "failed" else ""
        typer.echo(f"'hypeeg resume {path}{again}' goes on with it.")


def list_sweep_folders(out: Path) -> None:
    """List the sweeps in a folder, if there are any.

    Parameters
    ----------
    out : Path
        Folder of run folders and sweep folders.
    """
    from hypeeg.experiments.sweep_index import list_sweeps

    sweeps = list_sweeps(out)
    for sweep in sweeps:
        when = "" if sweep.created is None else f"{sweep.created:%Y-%m-%d %H:%M} UTC"
        varies = ", ".join(sweep.paths) or "seeds"
        done = f"{sweep.n_done}/{len(sweep.points)} points done"
        typer.echo(f" {sweep.name}  sweep of {varies}  {sweep.state}  {done}  {when}")
    if sweeps:
        typer.echo(f"{len(sweeps)} sweeps in {out}; 'hypeeg list --out SWEEP' lists one", err=True)


def running_point(path: Path) -> Path:
    """Return the run folder of the point that is going on.

    Parameters
    ----------
    path : Path
        Sweep folder.

    Raises
    ------
    RecordError
        If none is.
    """
    from hypeeg.experiments.process import GOING_ON
    from hypeeg.experiments.store import RecordError
    from hypeeg.experiments.sweep_index import read_sweep

    info = read_sweep(path)
    for point in info.points:
        if point.folder is not None and point.state in GOING_ON:
            return point.folder
    raise RecordError(f"{path}: the sweep is not going on (it is {info.state})")


def _show_points(info: SweepInfo) -> None:
    """Print a row a point: what varies, the state, and the score of each pipeline."""
    from rich.console import Console
    from rich.table import Table

    from hypeeg.experiments.sweep_index import point_scores, show_value

    scores = [{score.name: score.score for score in point_scores(p)} for p in info.points]
    pipelines = list(dict.fromkeys(name for row in scores for name in row))
    table = Table(box=None)
    for column in ("point", *info.paths, "state", *pipelines):
        table.add_column(column, no_wrap=True)
    for point, row in zip(info.points, scores, strict=True):
        values = [show_value(value) for value in point.values.values()]
        found = [f"{row[name]:.3f}" if name in row else "" for name in pipelines]
        table.add_row(str(point.index), *values, point.state, *found)
    console = Console()
    Console(width=max(console.width, 160)).print(table, markup=False)
