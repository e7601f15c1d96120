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


@app.command()
def results(
    page: Annotated[Path, typer.Argument(help="A page file (YAML), such as docs/results.yaml.")],
    target: Annotated[
        Path | None,
        typer.Option("--to", help="Markdown file to write; by default beside the page file."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", help="Folder of run folders; finished runs are taken from it.")
    ] = Path("runs/results"),
    keep_missing: Annotated[
        bool, typer.Option("--no-run", help="Write the page from the runs there are; run nothing.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show each fold and every warning.")
    ] = False,
) -> None:
    """Run the run files of a page of results that have not been run, and write the page."""
    from hypeeg.experiments.logs import screen_log

    with screen_log(verbose), _plain_errors(verbose):
        from hypeeg.eeg.paths import configure_data_paths
        from hypeeg.experiments.results_page import ResultsPage, make_page

        checked = ResultsPage.from_yaml(page)
        configure_data_paths()
        written = make_page(
            checked,
            out,
            target or page.with_suffix(".md"),
            missing="skip" if keep_missing else "run",
        )
        typer.echo(f"Wrote {written}")


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
    sessions = len(spec.dataset.sessions or manifest.sessions) or manifest.n_sessions or 1
    if spec.dataset.runs_as_sessions and manifest.files is not None:
        sessions *= len(manifest.files.runs)
    folds = spec.evaluation.count_folds(subjects, sessions)
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
def data_list(
    paradigm: Annotated[
        str | None,
        typer.Option(help="Only this one: imagery, ssvep, p300, cvep, resting_state."),
    ] = None,
    search: Annotated[
        str | None, typer.Option(help="Only names and titles that contain this.")
    ] = None,
    here: Annotated[
        bool, typer.Option("--here", help="Only what has recordings on this machine.")
    ] = False,
) -> None:
    """List the data sets hypeeg knows."""
    from rich.console import Console
    from rich.table import Table

    from hypeeg.eeg.manifest import list_manifests, load_manifest, paradigms_called

    with _plain_errors():
        manifests = [load_manifest(name) for name in list_manifests()]
        if paradigm is not None:
            chosen = paradigms_called(paradigm)
            manifests = [m for m in manifests if m.paradigm in chosen]
        if search is not None:
            wanted = search.lower()
            manifests = [m for m in manifests if wanted in f"{m.name} {m.title}".lower()]
        if here:
            from hypeeg.eeg.datasets import is_here

            manifests = [m for m in manifests if is_here(m)]
        table = Table(box=None)
        for column in ("name", "paradigm", "subjects", "sessions", "channels", "Hz", "size"):
            table.add_column(column, no_wrap=True)
        table.add_column("classes")
        for m in manifests:
            n = len(m.default_events)
            table.add_row(
                *(m.name, m.paradigm, str(len(m.subjects)), str(m.n_sessions or "?")),
                *(str(m.channels.count), f"{m.sfreq:g}", m.size.human if m.size else "?"),
                ", ".join(m.default_events) if n <= 5 else f"{n} classes",
            )
        # Names must stay whole where the output is read by a program.
        console = Console()
        Console(width=max(console.width, 120)).print(table)
        typer.echo(f"{len(manifests)} data sets; 'hypeeg data show NAME' tells more", err=True)


@data_app.command("show")
def data_show(
    name: Annotated[str, typer.Argument(help="Name of a data set, or a manifest file (YAML).")],
) -> None:
    """Show everything the manifest of a data set says."""
    from hypeeg.eeg.manifest import load_manifest
    from hypeeg.experiments.yaml_io import format_yaml

    with _plain_errors():
        manifest = load_manifest(name)
        shown = manifest.model_dump(mode="json", exclude_none=True)
        unknown = [
            field for field in ("n_sessions", "size", "trials") if getattr(manifest, field) is None
        ]
        typer.echo(format_yaml(shown))
        if not manifest.sessions:
            unknown.insert(0, "session names")
        if unknown:
            typer.echo(f"# Not known before reading: {', '.join(unknown)}.")


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="Name of a data set.")],
    subjects: Annotated[
        str | None, typer.Option(help="Subjects, such as 1,2,5-8; all by default.")
    ] = None,
    tries: Annotated[int, typer.Option(min=1, help="Tries for each subject.")] = 3,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every warning.")] = False,
) -> None:
    """Download a data set; what is here already stays, what was interrupted goes on."""
    from hypeeg.eeg.fetch import fetch_dataset
    from hypeeg.eeg.manifest import load_manifest
    from hypeeg.experiments.logs import screen_log

    with screen_log(verbose), _plain_errors(verbose):
        manifest = load_manifest(name)
        wanted = None if subjects is None else _numbers(subjects, "hypeeg data fetch")
        typer.echo(f"{manifest.name}: licence {manifest.licence}; cite {manifest.citation.text}")
        report = fetch_dataset(manifest, wanted, tries=tries, tell=typer.echo)
        if report.lock:
            typer.echo(f"hashes in {report.lock}")
        if not report.ok:
            failed = [str(row.subject) for row in report.rows if row.state == "failed"]
            typer.echo(
                f"error: subjects {', '.join(failed)} failed; the same command tries them again",
                err=True,
            )
            raise typer.Exit(FAILED)


@data_app.command("check")
def data_check(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DATASET]...", help="Data sets; by default those found here."),
    ] = None,
    subjects: Annotated[
        str | None,
        typer.Option(help="Subjects, such as 1,2,5-8; by default those found on this machine."),
    ] = None,
    lock: Annotated[
        Path | None,
        typer.Option(help="Lock file with the hashes; by default one a data set in the cache."),
    ] = None,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Record changed files as the right ones.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every warning.")] = False,
) -> None:
    """Compare the recordings on this machine with their manifests and with earlier hashes."""
    from hypeeg.eeg.manifest import list_manifests, load_manifest
    from hypeeg.eeg.paths import configure_data_paths
    from hypeeg.experiments.logs import screen_log
    from hypeeg.experiments.spec_errors import Problem, SpecError

    with screen_log(verbose), _plain_errors(verbose):
        manifests = [load_manifest(name) for name in names or list_manifests()]
        wanted = None if subjects is None else _numbers(subjects, "hypeeg data check")
        if lock is not None and len(manifests) != 1:
            problem = Problem("--lock", "a lock file is for one data set; name it")
            raise SpecError([problem], "hypeeg data check")
        configure_data_paths()
        if not names:
            from hypeeg.eeg.datasets import is_here

            manifests = [m for m in manifests if is_here(m)]
        fine = [_check_one(m, wanted, lock, accept_changes) for m in manifests]
        if not all(fine):
            raise typer.Exit(FAILED)


def _check_one(
    manifest: Manifest, wanted: list[int] | None, lock: Path | None, accept_changes: bool
) -> bool:
    """Print the check of one data set; whether all that is there is as it should be."""
    from hypeeg.eeg.check import check_dataset
    from hypeeg.eeg.files import subject_files

    chosen = wanted
    absent: list[int] = []
    if chosen is None and (manifest.files or manifest.own or manifest.is_moabb):
        chosen = [s for s in manifest.subjects if subject_files(manifest, s)[0]]
        absent = [s for s in manifest.subjects if s not in chosen]
    if chosen == []:
        size = f" ({manifest.size.human} to download)" if manifest.size else ""
        how = f"; 'hypeeg data fetch {manifest.name}' gets it" if manifest.is_moabb else ""
        typer.echo(f"{manifest.name}: not on this machine{size}{how}\n")
        return True
    report = check_dataset(
        manifest, chosen, lock=lock, update_lock=True, accept_changes=accept_changes
    )
    typer.echo(report.to_text())
    if absent:
        typer.echo(f"not on this machine: {len(absent)} of {len(manifest.subjects)} subjects")
    typer.echo("")
    return report.ok


def _numbers(text: str, command: str) -> list[int]:
    """Read ``1,2,5-8`` as numbers."""
    from hypeeg.experiments.spec_errors import Problem, SpecError

    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            message = f"got {text!r}; write numbers and ranges such as 1,2,5-8"
            raise SpecError([Problem("--subjects", message)], command)
        found += range(int(first), int(last if dash else first) + 1)
    return found


def main() -> None:
    """Entry point of the ``hypeeg`` command."""
    app()


if __name__ == "__main__":
    main()
