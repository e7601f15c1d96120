"""Tables of runs for people and other programs: Markdown, CSV, Parquet, LaTeX."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hypeeg.experiments import report
from hypeeg.experiments.comparisons import (
    PairedResult,
    compare_all,
    comparison_frame,
    effect_rows,
    planned_comparisons,
    unit_of,
)
from hypeeg.experiments.recorded import RecordedRun
from hypeeg.experiments.spec_errors import Problem, SpecError, did_you_mean
from hypeeg.experiments.store import replace_file

FORMATS = {"md": ".md", "csv": ".csv", "parquet": ".parquet", "latex": ".tex"}
TABLES = ("summary", "comparisons", "measures", "confusion", "scores")

Rows = tuple[list[str], list[list[str]]]


def write_table(
    runs: Sequence[RecordedRun],
    format: str,
    table: str = "summary",
    target: Path | None = None,
    folder: Path = Path(),
) -> Path:
    """Write one table of one run or several to a file.

    Parameters
    ----------
    runs : sequence of RecordedRun
        The runs; their rows stand below each other with a first column ``run``.
    format : {"md", "csv", "parquet", "latex"}
        ``csv`` and ``parquet`` hold every column and digit, ``md`` and ``latex`` what people read.
    table : {"summary", "comparisons", "measures", "confusion", "scores"}
        Which.
    target : Path, optional
        File; by default ``report.<ending>``, or ``report_<table>.<ending>``, in `folder`.
    folder : Path
        Where the file goes by default.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    SpecError
        If there is no such format or table, nothing to write, or pyarrow is needed and missing.
    """
    _one_of("--format", format, ["html", *FORMATS])
    _one_of("--table", table, TABLES)
    frame = run_table(runs, table)
    name = "report" if table == "summary" else f"report_{table}"
    path = target or folder / f"{name}{FORMATS[format]}"
    if format == "parquet":
        replace_file(path, _parquet(frame))
        return path
    if format == "csv":
        text = frame.to_csv(index=False)
    else:
        titled = [(run, shown_rows(run, table)) for run in runs]
        write = _latex if format == "latex" else _markdown
        text = "\n\n".join(write(run, rows, table) for run, rows in titled) + "\n"
    replace_file(path, text.encode("utf-8"))
    return path


def run_table(runs: Sequence[RecordedRun], table: str) -> pd.DataFrame:
    """Return one table of several runs with every column and digit.

    Parameters
    ----------
    runs : sequence of RecordedRun
        The runs.
    table : str
        One of `TABLES`.

    Returns
    -------
    DataFrame
        First column ``run``, the name of the run folder.

    Raises
    ------
    SpecError
        If no run has such a table.
    """
    parts = []
    for run in runs:
        frame = _frame(run, table)
        if not frame.empty:
            frame = frame.drop(columns="run", errors="ignore")
            frame.insert(0, "run", run.name)
            parts.append(frame)
    if not parts:
        names = ", ".join(run.name for run in runs)
        message = f"no table {table!r} in {names}: no fold finished, or the run planned none"
        raise SpecError([Problem("--table", message)], "hypeeg report")
    return pd.concat(parts, ignore_index=True)


def _frame(run: RecordedRun, table: str) -> pd.DataFrame:
    if run.scores.empty:
        return pd.DataFrame()
    if table == "summary":
        found = report.summarise(run.scores)
        about = {"dataset": run.dataset, "evaluation": run.kind, "scoring": run.scoring}
        return pd.concat([pd.DataFrame([about] * len(found)), found], axis=1)
    if table == "comparisons":
        return comparison_frame(paired_results(run))
    return run.scores.copy() if table == "scores" else run.table(table)


def paired_results(run: RecordedRun) -> list[PairedResult]:
    """Return the planned comparisons of a run: as recorded, or made from what is finished."""
    recorded = run.table("comparisons")
    # Records of earlier versions do not name the unit, which was a subject.
    fields = [f for f in PairedResult.__dataclass_fields__ if f != "unit" or "unit" in recorded]
    if not recorded.empty and set(fields) <= set(recorded.columns):
        rows = recorded[fields].to_dict("records")
        return [PairedResult(**{str(key): value for key, value in row.items()}) for row in rows]
    if run.scores.empty:
        return []
    planned = planned_comparisons(run.pipelines)
    return compare_all(run.scores, planned, run.scoring, unit=unit_of(run.kind))


def shown_rows(run: RecordedRun, table: str) -> Rows:
    """Return header and cells of a table as people read it; no rows if there is none."""
    if run.scores.empty:
        return [], []
    if table == "summary":
        return report.summary_rows(report.summarise(run.scores))
    if table == "comparisons":
        results = paired_results(run)
        return effect_rows(results) if results else ([], [])
    if table == "scores":
        return report.unit_rows(run.scores, unit_of(run.kind))
    frame = run.table(table)
    if frame.empty:
        return [], []
    if table == "measures":
        return report.measure_rows(frame)
    header = [str(column) for column in frame.columns]
    return header, [[_cell(value) for value in row] for row in frame.to_numpy(dtype=object)]


def caption(run: RecordedRun) -> str:
    """Say in one line what the numbers of a run are."""
    n_seeds = run.scores["seed"].nunique()
    n_subjects = run.scores["subject"].nunique()
    subjects = f"{n_subjects} subject{'s' if n_subjects != 1 else ''}, "
    return (
        f"{run.scoring} on {run.dataset}, {run.kind.replace('_', ' ')}, "
        f"{'' if unit_of(run.kind) == 'seed' else subjects}"
        f"{n_seeds} seed{'s' if n_seeds != 1 else ''}"
    )


def run_markdown(run: RecordedRun) -> str:
    """Return the main tables of a run as Markdown."""
    if run.scores.empty:
        return f"# {run.title}\n\nNo fold finished."
    parts = [f"# {run.title}", _markdown(run, shown_rows(run, "summary"), "summary")]
    results = paired_results(run)
    if results:
        parts += ["\n".join(f"- {result.statement}" for result in results)]
        parts += [report.markdown_table(*effect_rows(results))]
    return "\n\n".join(parts)


def _markdown(run: RecordedRun, rows: Rows, table: str) -> str:
    if not rows[1]:
        return f"{run.name}: no {table}."
    return f"{run.name}: {caption(run)}\n\n{report.markdown_table(*rows)}"


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "–": "--",
    "√": r"$\surd$",
    "δ": r"$\delta$",
}


def latex_text(text: str) -> str:
    """Return text with every character that LaTeX would read as a command written out."""
    return "".join(_LATEX.get(character, character) for character in text)


def _latex(run: RecordedRun, rows: Rows, table: str) -> str:
    header, cells = rows
    if not cells:
        return f"% {' '.join(run.name.split())}: no {table}"
    lines = [r"\begin{table}", r"\centering"]
    lines.append(rf"\caption{{{latex_text(f'{run.title}: {caption(run)}')}}}")
    lines.append(rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}")
    lines += [r"\toprule", _latex_row(header), r"\midrule", *map(_latex_row, cells)]
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(["% needs \\usepackage{booktabs}", *lines])


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(latex_text, cells)) + r" \\"


def _parquet(frame: pd.DataFrame) -> bytes:
    if importlib.util.find_spec("pyarrow") is None:
        message = "parquet needs pyarrow: pip install pyarrow, or take --format csv"
        raise SpecError([Problem("--format", message)], "hypeeg report")
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, engine="pyarrow")
    return buffer.getvalue()


def _cell(value: object) -> str:
    return report.format_number(value) if isinstance(value, float) else str(value)


def _one_of(option: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        message = f"got {value!r}; allowed: {', '.join(allowed)}.{did_you_mean(value, allowed)}"
        raise SpecError([Problem(option, message)], "hypeeg report")
