"""The command line: ``hypeeg run`` and the doors to all other commands.

Heavy libraries are imported inside the commands, so that help and mistakes answer at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import hypeeg
from hypeeg.cli_common import backend_changes, carry_out, plain_errors
from hypeeg.cli_data import data_app
from hypeeg.cli_results import register as register_results
from hypeeg.cli_runs import register as register_runs
from hypeeg.cli_spec import register as register_spec
from hypeeg.cli_sweeps import start_sweep

if TYPE_CHECKING:
    from hypeeg.experiments.base_spec import BaseRunSpec

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
    backend: Annotated[
        str | None,
        typer.Option("--backend", help="Where folds run: local, or dask for a Dask cluster."),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", help="Address of the Dask scheduler: tcp://node7:8786."),
    ] = None,
    mlflow: Annotated[
        str | None,
        typer.Option("--mlflow", metavar="URI", help="Log to MLflow; or set MLFLOW_TRACKING_URI."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check the file, show what would run and what it takes, and stop."
        ),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show each fold and every warning.")
    ] = False,
) -> None:
    """Train and score the pipelines of a run file, and compare them; or do a whole sweep."""
    from hypeeg.experiments.library import find_spec
    from hypeeg.experiments.logs import screen_log
    from hypeeg.experiments.spec import read_run_spec

    with screen_log(verbose), plain_errors(verbose):
        path = find_spec(spec)
        given = _read(path)
        wanted = [*(changes or []), *backend_changes(backend, scheduler)]
        checked = read_run_spec(given, wanted, source=str(path))
        if mlflow is not None:
            from hypeeg.experiments.mlflow_log import use_tracking

            use_tracking(mlflow)
        if dry_run:
            _show_plan(checked, out)
        elif checked.sweep is not None:
            start_sweep(checked, given, wanted, out)
        else:
            _execute(checked, given, wanted, out)


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


def _execute(spec: BaseRunSpec, given: str, changes: list[str], out: Path) -> None:
    typer.echo(f"{spec.name}: reading {spec.data_name}", err=True)
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


def _show_plan(spec: BaseRunSpec, out: Path) -> None:
    from hypeeg.experiments.estimate import describe_plan

    resolved = spec.resolve()
    typer.echo(resolved.to_yaml())
    for line in describe_plan(spec, out):
        typer.echo(f"# {line}")


@app.command("app")
def open_app(
    runs: Annotated[Path, typer.Option("--runs", help="Folder that holds the run folders.")] = Path(
        "runs"
    ),
    port: Annotated[
        int | None, typer.Option("--port", help="Port; 8501 or the next free one.")
    ] = None,
    address: Annotated[
        str,
        typer.Option(
            "--address",
            help="Address to listen on. By default only this machine reaches the dashboard; "
            "there is no password.",
        ),
    ] = "127.0.0.1",
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Do not open a browser window.")
    ] = False,
) -> None:
    """Open the dashboard, which shows what runs have found."""
    from hypeeg.dashboard import is_loopback, launch

    with plain_errors():
        if not is_loopback(address):
            typer.echo(
                f"warning: whoever reaches {address} can start, cancel and delete runs; there is "
                "no password. A tunnel is safer: ssh -L 8501:127.0.0.1:8501 HOST",
                err=True,
            )
        raise typer.Exit(launch(runs, port, not no_browser, address))


register_spec(app)
register_runs(app)
register_results(app)


def main() -> None:
    """Entry point of the ``hypeeg`` command."""
    import contextlib
    import io

    from hypeeg.training.torchrun import torchrun_place

    place = torchrun_place()
    # Of the processes that train a network together, the first one speaks.
    quiet = place is not None and place.rank > 0
    with contextlib.redirect_stdout(io.StringIO()) if quiet else contextlib.nullcontext():
        app()


if __name__ == "__main__":
    main()
