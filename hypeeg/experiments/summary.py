"""The end of a run for people: tables on the screen, ``summary.md`` and the tables beside it.

``summary.csv`` holds the scores by pipeline, ``comparisons.csv`` the planned comparisons, and
``measures.csv``, ``confusion.csv``, ``per_class.csv``, ``reliability.csv`` and
``learning_curve.csv`` what :mod:`hypeeg.experiments.measures` finds in the predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from hypeeg.experiments import report
from hypeeg.experiments.cautions import cautions
from hypeeg.experiments.comparisons import (
    PairedResult,
    compare_all,
    comparison_frame,
    effect_rows,
    planned_comparisons,
    unit_of,
)
from hypeeg.experiments.measures import Measures, measure_run
from hypeeg.experiments.store import replace_file

if TYPE_CHECKING:
    from rich.console import Console

    from hypeeg.experiments.runner import RunResult


def comparisons(scores: pd.DataFrame, spec: Any, scoring: str) -> list[PairedResult]:
    """Carry out the comparisons a run file plans, see :mod:`hypeeg.experiments.comparisons`."""
    unit = unit_of(spec.evaluation.kind)
    return compare_all(scores, planned_comparisons(spec.pipelines), scoring, unit=unit)


def table_title(result: RunResult, spec: Any, table: pd.DataFrame) -> str:
    """Say what the numbers of the summary table are.

    Parameters
    ----------
    result : RunResult
        The run.
    spec : BaseRunSpec
        What was run.
    table : DataFrame
        Its summary, see :func:`hypeeg.experiments.report.summarise`.

    Returns
    -------
    str
        Score, data set, evaluation, and what the standard deviation is over.
    """
    kind, n_seeds = spec.evaluation.kind, len(spec.evaluation.seeds)
    seeds = f"{n_seeds} seed{'s' if n_seeds > 1 else ''}"
    where = f"{result.scoring} on {spec.dataset.name}, {kind.replace('_', ' ')}"
    if unit_of(kind) == "seed":
        return f"{where}, std over {seeds}"
    count = int(table["n_units"].max())
    over = "folds" if (table["spread"] == "folds").all() else f"{count} sessions"
    return f"{where}, std over {over}, {seeds}"


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
    lines += cautions(result.scores, result.scoring)
    return lines


def _failure_lines(result: RunResult, limit: int = 10) -> list[str]:
    from hypeeg.experiments.tasks import describe

    lines = [f"{describe(r)}: {r['error'].splitlines()[0]}" for r in result.failures[:limit]]
    if len(result.failures) > limit:
        lines.append(f"... and {len(result.failures) - limit} more")
    return lines


def write_summary(result: RunResult, spec: Any) -> None:
    """Write ``summary.md`` and its tables into the run folder.

    Parameters
    ----------
    result : RunResult
        The run.
    spec : BaseRunSpec
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
        paired = comparisons(scores, spec, result.scoring)
        if paired:
            frame = comparison_frame(paired)
            replace_file(result.folder / "comparisons.csv", frame.to_csv(index=False).encode())
            parts += _comparison_parts(paired)
        names = [pipeline.name for pipeline in spec.pipelines]
        measures = measure_run(result.folder, names, scores, spec.evaluation.kind)
        measures.write(result.folder)
        parts += _measure_parts(measures, result.scoring)
    lines = closing_lines(result)
    if lines:
        parts += ["## What to keep in mind", "\n".join(_bullets(lines))]
    if not scores.empty:
        unit = unit_of(spec.evaluation.kind)
        by = "seed" if unit == "seed" else "subject and session (mean of folds and seeds)"
        parts += [
            f"## {result.scoring} by {by}",
            report.markdown_table(*report.unit_rows(scores, unit)),
        ]
    replace_file(result.folder / "summary.md", ("\n\n".join(parts) + "\n").encode("utf-8"))


_FAMILIES = {
    "twin": "Hyperbolic minus Euclidean twin",
    "variant": "Variants minus what they vary",
    "baseline": "Networks minus classical pipelines",
}


def _comparison_parts(paired: Sequence[PairedResult]) -> list[str]:
    parts = []
    for family, title in _FAMILIES.items():
        own = [result for result in paired if result.family == family]
        if not own:
            continue
        parts += [
            f"## {title}: same folds, {own[0].unit}s as units",
            "\n".join(f"- {result.statement}" for result in own),
            report.markdown_table(*effect_rows(own)),
        ]
        tested = own[0].family_size
        unit = own[0].unit
        drawn = "subjects and seeds" if unit == "subject" else "seeds"
        parts.append(
            f"95 % bootstrap intervals over {drawn}. Wilcoxon signed-rank tests over "
            f"{unit}s, Holm-corrected over the {tested} tests of this table. SMD: mean over "
            "standard deviation of the differences."
            if tested
            else f"Too few {unit}s for a test or an interval."
        )
    return parts


def _measure_parts(measures: Measures, scoring: str) -> list[str]:
    parts = []
    if not measures.learning_curve.empty:
        parts += [
            f"## {scoring} by training set size (mean ± std over subjects)",
            report.markdown_table(*report.learning_curve_rows(measures.learning_curve)),
        ]
    header, rows = report.measure_rows(measures.pipelines)
    if rows:
        parts += [
            "## Predictions",
            report.markdown_table(header, rows),
            "All test trials of a seed together, means over seeds. ECE: expected calibration "
            "error of the most probable class, ten bins. By class: `per_class.csv`, "
            "`confusion.csv`; by confidence: `reliability.csv`.",
        ]
    header, rows = report.space_rows(measures.pipelines)
    if rows:
        parts += [
            "## Learned spaces",
            report.markdown_table(header, rows),
            "√c radius: median distance from the origin in units of the curvature radius, and its "
            "95th percentile; far below 1 the space is as good as flat. δ: relative "
            "Gromov hyperbolicity, 0 for a tree, to be read beside the same number of points "
            "without curvature and with directions at random. Medians over fits.",
        ]
    return parts


def _bullets(lines: list[str]) -> list[str]:
    return [f"  - {line.strip()}" if line.startswith("  ") else f"- {line}" for line in lines]


def print_summary(result: RunResult, spec: Any, console: Console) -> None:
    """Show the tables on a terminal.

    Parameters
    ----------
    result : RunResult
        The run.
    spec : BaseRunSpec
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
        paired = comparisons(result.scores, spec, result.scoring)
        # Twins are what a run is about; comparisons with classical pipelines are in summary.md.
        shown = [r for r in paired if r.family in ("twin", "variant")] or paired
        for comparison in shown:
            say(comparison.statement)
        say("")
    for line in closing_lines(result):
        say(line)
