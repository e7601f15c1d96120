"""The end of a run for people: tables on the screen, ``summary.md`` and ``summary.csv``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from hypeeg.experiments import report
from hypeeg.experiments.spec import RunSpec
from hypeeg.experiments.store import replace_file

if TYPE_CHECKING:
    from rich.console import Console

    from hypeeg.experiments.runner import RunResult


def comparisons(scores: pd.DataFrame, spec: RunSpec) -> list[report.Comparison]:
    """Compare each hyperbolic pipeline with its Euclidean twins."""
    found = [
        report.compare(scores, pipeline.twin_of, pipeline.name)
        for pipeline in spec.pipelines
        if pipeline.twin_of is not None
    ]
    return [comparison for comparison in found if comparison is not None]


def table_title(result: RunResult, spec: RunSpec, table: pd.DataFrame) -> str:
    """Say what the numbers of the summary table are.

    Parameters
    ----------
    result : RunResult
        The run.
    spec : RunSpec
        What was run.
    table : DataFrame
        Its summary, see :func:`hypeeg.experiments.report.summarise`.

    Returns
    -------
    str
        Score, data set, evaluation, and what the standard deviation is over.
    """
    count = int(table["n_units"].max())
    over = "folds" if (table["spread"] == "folds").all() else f"{count} sessions"
    n_seeds = len(spec.evaluation.seeds)
    return (
        f"{result.scoring} on {spec.dataset.name}, {spec.evaluation.kind.replace('_', ' ')}, "
        f"std over {over}, {n_seeds} seed{'s' if n_seeds > 1 else ''}"
    )


def closing_lines(result: RunResult) -> list[str]:
    """Say what a reader must know beside the tables: failures, interruption, limits of the data."""
    lines = []
    missing = result.n_tasks - len(result.records)
    if result.error:
        lines.append(f"Ended early: {result.error}")
    if missing:
        lines.append(f"{missing} of {result.n_tasks} folds were not run.")
    if result.failures:
        lines.append(
            f"{len(result.failures)} of {result.n_tasks} folds failed and are left out "
            "(tracebacks in folds.jsonl and log.txt):"
        )
        lines += [f"  {line}" for line in _failure_lines(result)]
    lines += report.cautions(result.scores, result.scoring)
    return lines


def _failure_lines(result: RunResult, limit: int = 10) -> list[str]:
    from hypeeg.experiments.tasks import describe

    lines = [f"{describe(r)}: {r['error'].splitlines()[0]}" for r in result.failures[:limit]]
    if len(result.failures) > limit:
        lines.append(f"... and {len(result.failures) - limit} more")
    return lines


def write_summary(result: RunResult, spec: RunSpec) -> None:
    """Write ``summary.md`` and ``summary.csv`` into the run folder.

    Parameters
    ----------
    result : RunResult
        The run.
    spec : RunSpec
        What was run.
    """
    parts = [f"# {spec.name}", f"State: **{result.state}**"]
    if spec.description:
        parts.insert(1, spec.description.strip())
    scores = result.scores
    if not scores.empty:
        table = report.summarise(scores)
        replace_file(result.folder / "summary.csv", table.to_csv(index=False).encode("utf-8"))
        parts += [
            f"## {table_title(result, spec, table)}",
            report.markdown_table(*report.summary_rows(table)),
        ]
        paired = comparisons(scores, spec)
        if paired:
            parts += [
                f"## Hyperbolic minus Euclidean twin: {result.scoring}, same folds",
                report.markdown_table(*report.comparison_rows(paired)),
            ]
    lines = closing_lines(result)
    if lines:
        parts += ["## What to keep in mind", "\n".join(_bullets(lines))]
    if not scores.empty:
        parts += [
            f"## {result.scoring} by subject and session (mean of folds and seeds)",
            report.markdown_table(*report.unit_rows(scores)),
        ]
    replace_file(result.folder / "summary.md", ("\n\n".join(parts) + "\n").encode("utf-8"))


def _bullets(lines: list[str]) -> list[str]:
    return [f"  - {line.strip()}" if line.startswith("  ") else f"- {line}" for line in lines]


def print_summary(result: RunResult, spec: RunSpec, console: Console) -> None:
    """Show the tables on a terminal.

    Parameters
    ----------
    result : RunResult
        The run.
    spec : RunSpec
        What was run.
    console : Console
        Where to write.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False)

    if result.scores.empty:
        say("No fold finished: there is nothing to show.")
    else:
        summary = report.summarise(result.scores)
        header, rows = report.summary_rows(summary)
        say(table_title(result, spec, summary))
        # Narrow enough for 80 columns with names of usual length.
        table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for number, column in enumerate(header):
            table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number > 0)
        for row in rows:
            table.add_row(*row)
        console.print(table)
        for comparison in comparisons(result.scores, spec):
            for line in report.comparison_lines(comparison, result.scoring):
                say(line)
        say("")
    for line in closing_lines(result):
        say(line)
