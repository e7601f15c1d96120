"""Commands on what runs have found: ``hypeeg report``, ``compare`` and ``predict``.

Heavy libraries are imported inside the commands, so that help and mistakes answer at once.
"""

from __future__ import annotations

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
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder that holds a network.")],
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
        Path | None, typer.Option("--to", help="CSV file to write; by default to the screen.")
    ] = None,
) -> None:
    """Predict classes and probabilities of new trials with a network that a run kept."""
    with plain_errors():
        from hypeeg.experiments.use import parse_labels, predict_files

        table: Any = predict_files(
            run,
            files,
            pipeline,
            network=network,
            labels=parse_labels(labels or []),
            every=every,
            device=device,
        )
        text = table.to_csv(index=False)
        if target is None:
            typer.echo(text, nl=False)
        else:
            from hypeeg.experiments.store import replace_file

            replace_file(target, text.encode("utf-8"))
            typer.echo(f"Wrote {target}")
        known = table[table["label"] != ""]
        if len(known):
            right = int((known["label"] == known["prediction"]).sum())
            typer.echo(f"{right} of {len(known)} labelled trials correct", err=True)
