"""Commands on what runs have found: ``report``, ``compare``, ``predict``, ``push`` and ``pull``.

Heavy libraries are imported inside the commands, so that help and mistakes answer at once.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hypeeg.cli_common import plain_errors


def register(app: typer.Typer) -> None:
    """Add the commands to the command line.

    Parameters
    ----------
    app : typer.Typer
        The ``hypeeg`` command.
    """
    app.command()(report)
    app.command()(compare)
    app.command()(predict)
    app.command()(push)
    app.command()(pull)
    app.command()(mlflow)


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")],
    format: Annotated[
        str, typer.Option("--format", help="html, md, csv, parquet or latex.")
    ] = "html",
    table: Annotated[
        str,
        typer.Option(
            "--table", help="For all but html: summary, comparisons, measures, confusion or scores."
        ),
    ] = "summary",
    target: Annotated[
        Path | None,
        typer.Option("--to", help="File to write; by default in the run folder, or here if RUNs."),
    ] = None,
    max_points: Annotated[
        int, typer.Option("--max-points", min=10, help="Most trials drawn in the HTML file.")
    ] = 5000,
) -> None:
    """Write a report of one run or several: one HTML file, or a table for other programs."""
    with plain_errors():
        from hypeeg.experiments.recorded import RecordedRun
        from hypeeg.experiments.tables import write_table

        recorded = [RecordedRun.open(path) for path in runs]
        folder = recorded[0].path if len(recorded) == 1 else Path()
        if format != "html":
            typer.echo(f"Wrote {write_table(recorded, format, table, target, folder)}")
            return
        from hypeeg.experiments.html_report import write_report

        for path in write_report(recorded, target or folder / "report.html", max_points=max_points):
            typer.echo(f"Wrote {path}")


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of a run.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Folder of another run.")],
    pairs: Annotated[
        list[str] | None,
        typer.Option(
            "--pair",
            metavar="A=B",
            help="A pipeline of A and the one of B to compare it with; may be given again. "
            "By default those of the same name.",
        ),
    ] = None,
) -> None:
    """Compare pipelines of two runs on the folds that both have: B minus A, paired."""
    with plain_errors():
        from hypeeg.experiments.compare_runs import compare_runs, parse_pairs
        from hypeeg.experiments.recorded import RecordedRun

        found = compare_runs(
            RecordedRun.open(first), RecordedRun.open(second), parse_pairs(pairs or [])
        )
        typer.echo(found.to_text())


def predict(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="Run folder that keeps a model, or a pushed model."),
    ],
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILES...", help="Trials (.npy, .npz, -epo.fif) or recordings (.edf, .fif, ...)"
        ),
    ],
    pipeline: Annotated[
        str | None, typer.Option("--pipeline", help="Which; needed if the run keeps several.")
    ] = None,
    network: Annotated[
        str | None,
        typer.Option("--network", help="Folder under models/PIPELINE, if it holds several."),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            metavar="MARK=EVENT",
            help="Event that a mark in a recording stands for, such as T1=left_hand.",
        ),
    ] = None,
    every: Annotated[
        float | None,
        typer.Option("--every", metavar="SECONDS", help="Cut a recording without marks this often"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "auto",
    target: Annotated[
        Path | None, typer.Option("--to", help="File to write; by default to the screen.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option("--format", help="csv, parquet or json (one object a line); by --to, or csv."),
    ] = None,
) -> None:
    """Predict classes and probabilities of new trials with a model that a run kept."""
    with plain_errors():
        from hypeeg.experiments.use import (
            encode_table,
            parse_labels,
            predict_files,
            table_format,
        )

        kind = table_format(format, target)
        # Standard output is the table's alone; libraries write deprecations there.
        with contextlib.redirect_stdout(sys.stderr):
            table: Any = predict_files(
                run,
                files,
                pipeline,
                network=network,
                labels=parse_labels(labels or []),
                every=every,
                device=device,
            )
        content = encode_table(table, kind)
        if target is None:
            typer.echo(content.decode("utf-8"), nl=False)
        else:
            from hypeeg.experiments.store import replace_file

            replace_file(target, content)
            typer.echo(f"Wrote {target}")
        known = table[table["label"] != ""]
        if len(known):
            right = int((known["label"] == known["prediction"]).sum())
            typer.echo(f"{right} of {len(known)} labelled trials correct", err=True)


def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder that keeps a model.")],
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where to: a new or empty folder, or a clone.")
    ],
    pipeline: Annotated[
        str | None, typer.Option("--pipeline", help="Which; needed if the run keeps several.")
    ] = None,
    network: Annotated[
        str | None,
        typer.Option("--network", help="Folder under models/PIPELINE, if it holds several."),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option("--licence", "--license", help="That you give the weights: bsd-3-clause."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of a model that is there.")
    ] = False,
) -> None:
    """Write a kept model as a folder to share, with a model card, as braindecode's are."""
    with plain_errors():
        from hypeeg.experiments.hub import push as push_model

        written = push_model(
            run, folder, pipeline, network=network, licence=licence, replace=replace
        )
        typer.echo(f"Wrote {written} (read README.md in it before you share it)")


def pull(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Folder of a pushed model.")],
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where to: a new or empty folder.")
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of a model that is there.")
    ] = False,
) -> None:
    """Check a model that somebody pushed, and copy it."""
    with plain_errors():
        from hypeeg.experiments.hub import pull as pull_model

        model = pull_model(source, folder, replace=replace)
        typer.echo(f"{model.name}: whole; copied to {folder}")


def mlflow(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of a run that has ended.")],
    uri: Annotated[
        str | None,
        typer.Option("--uri", help="Tracking server or store; by default MLFLOW_TRACKING_URI."),
    ] = None,
) -> None:
    """Log a run to MLflow that was not, or not wholly; what is there already stays one run."""
    with plain_errors():
        from hypeeg.experiments.mlflow_log import URI_VARIABLE, log_run, tracking_uri
        from hypeeg.experiments.run_index import locate_run
        from hypeeg.experiments.spec_errors import Problem, SpecError

        folder = locate_run(run)
        where = uri or tracking_uri(folder)
        if where is None:
            message = f"say where the run shall be logged, or set {URI_VARIABLE}"
            raise SpecError([Problem("--uri", message)], "hypeeg mlflow")
        typer.echo(f"Logged as run {log_run(folder, where)}")
