"""The command line: ``hypeeg run`` and the doors to all other commands.

Heavy libraries are imported inside the commands, so that help and mistakes answer at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import hypeeg
from hypeeg.cli_common import carry_out, plain_errors
from hypeeg.cli_data import data_app
from hypeeg.cli_results import register as register_results
from hypeeg.cli_runs import register as register_runs

if TYPE_CHECKING:
    from hypeeg.experiments.spec import RunSpec

app = typer.Typer(
    name="hypeeg",
    help="Hyperbolic deep learning for EEG: run experiments, look at data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
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

    with screen_log(verbose), plain_errors(verbose):
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

    with screen_log(verbose), plain_errors(verbose):
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
    typer.echo(f"{spec.name}: reading {spec.dataset.name}", err=True)
    # After the first line, because these take seconds to import.
    from hypeeg.eeg.paths import configure_data_paths
    from hypeeg.experiments.runner import run as run_spec

    configure_data_paths()
    carry_out(lambda: run_spec(spec, out, given=given, overrides=changes), spec)


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

    with plain_errors():
        raise typer.Exit(launch(runs, port, not no_browser))


register_runs(app)
register_results(app)


def main() -> None:
    """Entry point of the ``hypeeg`` command."""
    app()


if __name__ == "__main__":
    main()
