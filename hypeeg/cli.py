"""The command line: ``hypeeg run``, ``hypeeg data`` and ``hypeeg app``.

Heavy libraries are imported inside the commands, so that help and mistakes answer at once.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

import hypeeg

if TYPE_CHECKING:
    from hypeeg.eeg.manifest import Manifest
    from hypeeg.experiments.spec import RunSpec

BAD_INPUT = 2
FAILED = 1
CANCELLED = 130

app = typer.Typer(
    name="hypeeg",
    help="Hyperbolic deep learning for EEG: run experiments, look at data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Data sets: what there is, what is on this machine.")
app.add_typer(data_app, name="data", no_args_is_help=True)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"hypeeg {hypeeg.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


@app.command()
def run(
    spec: Annotated[
        str, typer.Argument(help="A run file (YAML), or the name of one of hypeeg's: quickstart.")
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change one value, such as dataset.subjects=[1,2]; may be given again.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", help="Folder in which the run gets a folder of its own.")
    ] = Path("runs"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the file, show what would run, and stop.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show each fold and every warning.")
    ] = False,
) -> None:
    """Train and score the pipelines of a run file, and compare them."""
    from hypeeg.experiments.library import find_spec
    from hypeeg.experiments.logs import screen_log
    from hypeeg.experiments.spec import RunSpec

    with screen_log(verbose), _plain_errors(verbose):
        path = find_spec(spec)
        given = _read(path)
        checked = RunSpec.from_text(given, source=str(path), overrides=changes or [])
        if dry_run:
            _show_plan(checked.resolve())
            return
        _execute(checked, given, changes or [], out)


def _execute(spec: RunSpec, given: str, changes: list[str], out: Path) -> None:
    from rich.console import Console

    typer.echo(f"{spec.name}: reading {spec.dataset.name}", err=True)
    # After the first line, because these take seconds to import.
    from hypeeg.eeg.paths import configure_data_paths
    from hypeeg.experiments.runner import run as run_spec
    from hypeeg.experiments.summary import print_summary

    configure_data_paths()
    # Whoever ends the process politely gets the same tidy record as somebody at the keyboard.
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        result = run_spec(spec, out, given=given, overrides=changes)
    finally:
        signal.signal(signal.SIGTERM, before)
    console = Console(soft_wrap=False)
    print_summary(result, spec, console)
    if result.n_warnings:
        count = f"{result.n_warnings} warning{'s' if result.n_warnings > 1 else ''}"
        typer.echo(f"{count} in {result.folder / 'log.txt'}", err=True)
    typer.echo(f"Run folder: {result.folder}")
    codes = {"done": 0, "failed": FAILED, "cancelled": CANCELLED}
    raise typer.Exit(codes[result.state])


def _interrupt(_signal: int, _frame: Any) -> NoReturn:
    raise KeyboardInterrupt


def _read(path: Path) -> str:
    from hypeeg.experiments.spec_errors import Problem, SpecError

    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError([Problem("", f"cannot be read: {error}")], str(path)) from error


def _show_plan(spec: RunSpec) -> None:
    from hypeeg.eeg.manifest import load_manifest

    manifest = load_manifest(spec.dataset.name)
    subjects = len(spec.dataset.subjects or [])
    sessions = len(spec.dataset.sessions or manifest.sessions)
    within = spec.evaluation.kind == "within_session"
    folds = subjects * sessions * (spec.evaluation.n_folds or 0) if within else subjects
    seeds = len(spec.evaluation.seeds)
    total = folds * seeds * len(spec.pipelines)
    typer.echo(spec.to_yaml())
    typer.echo(
        f"# {folds} folds × {seeds} seeds × {len(spec.pipelines)} pipelines = {total} fits "
        f"({subjects} subjects, up to {sessions} sessions each). Nothing was run."
    )


@contextmanager
def _plain_errors(verbose: bool = False) -> Iterator[None]:
    """Turn exceptions into one message on standard error and an exit code."""
    from hypeeg.dashboard import DashboardError
    from hypeeg.eeg.errors import DataError
    from hypeeg.experiments.spec_errors import SpecError

    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except (SpecError, DataError, DashboardError) as error:
        _fail(error, BAD_INPUT, verbose)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(CANCELLED) from None
    # The last resort of a program: whatever went wrong, say so in one line.
    except Exception as error:  # noqa: BLE001
        _fail(error, FAILED, verbose, kind=f"{type(error).__name__}: ")


def _fail(error: Exception, code: int, verbose: bool, kind: str = "") -> NoReturn:
    if verbose:
        import traceback

        traceback.print_exception(error, file=sys.stderr)
    typer.echo(f"error: {kind}{error}", err=True)
    for note in getattr(error, "__notes__", []):
        typer.echo(note, err=True)
    raise typer.Exit(code) from error


@app.command("app")
def open_app(
    runs: Annotated[Path, typer.Option("--runs", help="Folder that holds the run folders.")] = Path(
        "runs"
    ),
    port: Annotated[
        int | None, typer.Option("--port", help="Port on 127.0.0.1; 8501 or the next free one.")
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Do not open a browser window.")
    ] = False,
) -> None:
    """Open the dashboard, which shows what runs have found."""
    from hypeeg.dashboard import launch

    with _plain_errors():
        raise typer.Exit(launch(runs, port, not no_browser))


@data_app.command("list")
def data_list() -> None:
    """List the data sets hypeeg knows."""
    from rich.console import Console
    from rich.table import Table

    from hypeeg.eeg.manifest import list_manifests, load_manifest

    with _plain_errors():
        table = Table("name", "subjects", "sessions", "classes", "channels", "Hz", "size")
        for name in list_manifests():
            m = load_manifest(name)
            table.add_row(
                m.name,
                str(len(m.subjects)),
                str(len(m.sessions)),
                ", ".join(m.default_events),
                str(m.channels.count),
                f"{m.sfreq:g}",
                m.size.human,
            )
        Console().print(table)


@data_app.command("show")
def data_show(name: Annotated[str, typer.Argument(help="Name of a data set.")]) -> None:
    """Show everything the manifest of a data set says."""
    from hypeeg.eeg.manifest import load_manifest
    from hypeeg.experiments.yaml_io import format_yaml

    with _plain_errors():
        manifest = load_manifest(name)
        typer.echo(format_yaml(manifest.model_dump(mode="json", exclude_none=True)))


@data_app.command("check")
def data_check(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[DATASET]...", help="Data sets; all by default.")
    ] = None,
    subjects: Annotated[
        str | None,
        typer.Option(help="Subjects, such as 1,2,5-8; by default those found on this machine."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every warning.")] = False,
) -> None:
    """Compare the recordings on this machine with what their manifests say."""
    from hypeeg.eeg.manifest import list_manifests, load_manifest
    from hypeeg.eeg.paths import configure_data_paths
    from hypeeg.experiments.logs import screen_log

    with screen_log(verbose), _plain_errors(verbose):
        manifests = [load_manifest(name) for name in names or list_manifests()]
        wanted = None if subjects is None else _numbers(subjects)
        configure_data_paths()
        fine = [_check_one(manifest, wanted) for manifest in manifests]
        if not all(fine):
            raise typer.Exit(FAILED)


def _check_one(manifest: Manifest, wanted: list[int] | None) -> bool:
    """Print the check of one data set; whether all that is there is as it should be."""
    from hypeeg.eeg.check import check_dataset
    from hypeeg.eeg.files import subject_files

    chosen = wanted
    absent: list[int] = []
    if chosen is None and manifest.files is not None:
        chosen = [s for s in manifest.subjects if subject_files(manifest, s)[0]]
        absent = [s for s in manifest.subjects if s not in chosen]
    if chosen == []:
        typer.echo(f"{manifest.name}: not on this machine ({manifest.size.human} to download)\n")
        return True
    report = check_dataset(manifest, chosen)
    typer.echo(report.to_text())
    if absent:
        typer.echo(f"not on this machine: {len(absent)} of {len(manifest.subjects)} subjects")
    typer.echo("")
    return report.ok


def _numbers(text: str) -> list[int]:
    """Read ``1,2,5-8`` as numbers."""
    from hypeeg.experiments.spec_errors import Problem, SpecError

    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            message = f"got {text!r}; write numbers and ranges such as 1,2,5-8"
            raise SpecError([Problem("--subjects", message)], "hypeeg data check")
        found += range(int(first), int(last if dash else first) + 1)
    return found


def main() -> None:
    """Entry point of the ``hypeeg`` command."""
    app()


if __name__ == "__main__":
    main()
