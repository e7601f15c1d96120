"""``hypeeg resume``, ``list``, ``show``, ``cancel`` and ``clean``: what to do with run folders."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hypeeg.cli_common import FAILED, carry_out, chosen_backend, plain_errors
from hypeeg.cli_sweeps import go_on_with_sweep, list_sweep_folders, running_point, show_sweep

if TYPE_CHECKING:
    from hypeeg.experiments.run_index import RunInfo

STATES = ("planned", "running", "done", "failed", "cancelled", "interrupted")
REMOVED_BY_DEFAULT = ("failed", "cancelled", "interrupted")
FAILURES_SHOWN = 5

RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run or sweep folder, the beginning of its name, or 'last'."
    ),
]
Out = Annotated[Path, typer.Option("--out", help="Folder of run folders.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line.

    Parameters
    ----------
    app : typer.Typer
        The ``hypeeg`` command.
    """
    app.command("resume")(resume_run)
    app.command("list")(list_all)
    app.command("show")(show_run)
    app.command("cancel")(cancel_run)
    app.command("clean")(clean_runs)


def resume_run(
    run: RunName,
    out: Out = Path("runs"),
    failed: Annotated[
        bool, typer.Option("--failed", help="Run the folds that failed once more.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="The run was at another machine and is known to have ended."),
    ] = False,
    backend: Annotated[
        str | None,
        typer.Option("--backend", help="Where the missing folds run, if elsewhere: local or dask."),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="Address of the Dask scheduler.")
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show each fold and every warning.")
    ] = False,
) -> None:
    """Go on with a run or a sweep that ended early: the missing folds, none twice."""
    from hypeeg.experiments.logs import screen_log
    from hypeeg.experiments.run_index import locate_run, read_info
    from hypeeg.experiments.sweep_index import locate_sweep

    with screen_log(verbose), plain_errors(verbose):
        place = chosen_backend(backend, scheduler)
        sweep = locate_sweep(run, out)
        if sweep is not None:
            go_on_with_sweep(sweep, failed=failed, force=force, backend=place)
        path = locate_run(run, out)
        if read_info(path).state == "done":
            typer.echo(f"{path}: the run is done, nothing is missing")
            return
        typer.echo(f"{path.name}: going on", err=True)
        # After the first line, because these take seconds to import.
        from hypeeg.eeg.paths import configure_data_paths
        from hypeeg.experiments.resume import read_spec, resume

        configure_data_paths()
        spec = read_spec(path)
        carry_out(lambda: resume(path, failed=failed, force=force, backend=place), spec)


def list_all(
    out: Out = Path("runs"),
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="Only runs in this state; may be given again."),
    ] = None,
) -> None:
    """List the runs in a folder, newest first."""
    from rich.console import Console
    from rich.table import Table

    from hypeeg.experiments.run_index import list_runs

    with plain_errors():
        wanted = _states(state, "hypeeg list")
        runs = [run for run in list_runs(out) if not wanted or run.state in wanted]
        table = Table(box=None)
        table.add_column("run", no_wrap=True)
        for column in ("state", "folds", "data set", "best pipeline", "score", "started"):
            table.add_column(column, no_wrap=True)
        for run in runs:
            name, score = ("", "") if run.best is None else (run.best[0], f"{run.best[1]:.3f}")
            table.add_row(
                *(run.name, run.state, _folds(run), run.dataset, name, score, _when(run.created))
            )
        # Names must stay whole where the output is read by a program.
        console = Console()
        Console(width=max(console.width, 160)).print(table, markup=False)
        typer.echo(f"{len(runs)} runs in {out}; 'hypeeg show RUN' tells more", err=True)
        if not wanted:
            list_sweep_folders(out)


def show_run(run: RunName, out: Out = Path("runs")) -> None:
    """Show one run or sweep: how far it got, the score of each pipeline, what failed."""
    from hypeeg.experiments.run_index import failures, locate_run, pipeline_scores, read_info
    from hypeeg.experiments.sweep_index import locate_sweep

    with plain_errors():
        sweep = locate_sweep(run, out)
        if sweep is not None:
            show_sweep(sweep)
            return
        path = locate_run(run, out)
        info = read_info(path)
        typer.echo(f"{info.name}: {info.state}")
        if info.problem:
            typer.echo(info.problem)
            raise typer.Exit(FAILED)
        evaluation = str(info.status.get("evaluation") or "").replace("_", " ")
        lines = {
            "data set": " · ".join(filter(None, (info.dataset, evaluation))),
            "folds": _folds(info),
            "started": _when(info.created),
            "last sign": _when(info.last_sign),
            "now": str(info.status.get("current") or "") if info.state == "running" else "",
            "ended early": str(info.status.get("error") or ""),
            "gone on": f"{len(info.status.get('resumed') or [])} times",
            "folder": str(path),
        }
        for key, value in lines.items():
            if value and value != "0 times":
                typer.echo(f"  {key:<12}{value}")
        scores = pipeline_scores(path)
        width = max((len(row.name) for row in scores), default=0)
        for row in sorted(scores, key=lambda row: -row.score):
            typer.echo(
                f"  {row.name:<{width}}  {row.score:.3f}  "
                f"({row.n_units} sessions, {row.n_scores} scores)"
            )
        _show_failures(failures(path))
        for line in _advice(info):
            typer.echo(line)


def cancel_run(
    run: RunName,
    out: Out = Path("runs"),
    wait: Annotated[
        float, typer.Option("--wait", min=0, help="Seconds to wait for the run to end.")
    ] = 30.0,
) -> None:
    """End a run or sweep that is going on; what is recorded stays, and it can be resumed."""
    from hypeeg.experiments.process import GOING_ON, terminate
    from hypeeg.experiments.run_index import locate_run, read_info
    from hypeeg.experiments.store import RecordError
    from hypeeg.experiments.sweep_index import locate_sweep

    with plain_errors():
        sweep = locate_sweep(run, out)
        # The process of a sweep is that of the point which is going on.
        path = locate_run(run, out) if sweep is None else running_point(sweep)
        info = read_info(path)
        if info.elsewhere is not None:
            raise RecordError(
                f"{path}: the run is at the machine {info.elsewhere!r}; cancel it there"
            )
        if info.state not in GOING_ON or not terminate(info.status):
            raise RecordError(f"{path}: the run is not going on (it is {read_info(path).state})")
        end = time.monotonic() + wait
        while (state := read_info(path).state) in GOING_ON and time.monotonic() < end:
            time.sleep(0.1)
        if state in GOING_ON:
            typer.echo(f"{info.name}: asked to end, and still at it")
        else:
            typer.echo(f"{info.name}: {state}; 'hypeeg resume {path}' goes on with it")


def clean_runs(
    out: Out = Path("runs"),
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            help="State of runs to remove; may be given again. By default failed, cancelled and "
            "interrupted ones.",
        ),
    ] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", help="Only older ones, such as 12h, 30d or 2w.")
    ] = None,
    sweeps: Annotated[
        bool,
        typer.Option(
            "--sweeps", help="Also sweeps, whole: those whose runs are all in such a state."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be removed, and stop.")
    ] = False,
) -> None:
    """Remove run folders by state and age; asks first, and leaves runs that are going on."""
    from hypeeg.experiments.run_index import list_runs, parse_age, removable, remove_run
    from hypeeg.experiments.spec_errors import Problem, SpecError
    from hypeeg.experiments.sweep_index import list_sweeps, removable_sweeps, remove_sweep

    with plain_errors():
        states = _states(state, "hypeeg clean") or list(REMOVED_BY_DEFAULT)
        try:
            age = None if older_than is None else parse_age(older_than)
        except ValueError as error:
            raise SpecError([Problem("--older-than", str(error))], "hypeeg clean") from error
        runs = list_runs(out)
        chosen = removable(runs, states, age)
        for run in runs:
            if run.elsewhere is not None and run.state in states:
                typer.echo(f"{run.name}: may be going on at {run.elsewhere!r}; it stays", err=True)
        whole = removable_sweeps(list_sweeps(out), states, age) if sweeps else []
        if not chosen and not whole:
            typer.echo(f"nothing to remove in {out}")
            return
        for run in chosen:
            typer.echo(f"{run.name}  {run.state}  {_folds(run)}  {_when(run.created)}")
        for sweep in whole:
            runs_of_it = _amount(len(list_runs(sweep.path)), "run")
            typer.echo(f"{sweep.name}  {sweep.state}  {runs_of_it}  {_when(sweep.created)}")
        if dry_run:
            return
        amounts = [(len(chosen), "run"), (len(whole), "sweep")]
        these = " and ".join(_amount(count, what) for count, what in amounts if count)
        if not yes:
            typer.confirm(f"Remove {these} from {out}?", abort=True)
        for run in chosen:
            remove_run(run, out)
        for sweep in whole:
            remove_sweep(sweep.path, out)
        typer.echo(f"removed {these}")


def _amount(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _states(given: list[str] | None, command: str) -> list[str]:
    from hypeeg.experiments.spec_errors import Problem, SpecError, did_you_mean

    wrong = [state for state in given or [] if state not in STATES]
    if wrong:
        message = f"unknown state {wrong[0]!r}; known: {', '.join(STATES)}."
        message += did_you_mean(wrong[0], STATES)
        raise SpecError([Problem("--state", message)], command)
    return list(given or [])


def _show_failures(records: list[dict[str, object]]) -> None:
    from hypeeg.experiments.store import describe

    if records:
        typer.echo(f"{len(records)} failed:")
    for record in records[:FAILURES_SHOWN]:
        typer.echo(f"  {describe(record)}: {str(record.get('error')).splitlines()[0]}")
    if len(records) > FAILURES_SHOWN:
        typer.echo(f"  ... and {len(records) - FAILURES_SHOWN} more in folds.jsonl")


def _advice(info: RunInfo) -> list[str]:
    if info.elsewhere is not None:
        return [f"It was started at the machine {info.elsewhere!r} and may be going on there."]
    if info.state in ("cancelled", "interrupted"):
        return [f"'hypeeg resume {info.path}' goes on with it."]
    if info.state == "failed":
        failed = (
            " --failed" if info.n_failed and info.n_done + info.n_failed == info.n_tasks else ""
        )
        return [f"'hypeeg resume {info.path}{failed}' tries again."]
    return []


def _folds(run: RunInfo) -> str:
    failed = f", {run.n_failed} failed" if run.n_failed else ""
    return f"{run.n_done}/{run.n_tasks or '?'}{failed}"


def _when(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"
