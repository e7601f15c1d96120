"""One self-contained HTML file about one run or several, and its tables as Markdown.

The file needs no network and no other file: Plotly's script is in it once.  Whatever comes from
names, labels or error messages is escaped.
"""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

import hypeeg
from hypeeg.experiments import report
from hypeeg.experiments.cautions import cautions
from hypeeg.experiments.comparisons import unit_of
from hypeeg.experiments.recorded import RecordedRun
from hypeeg.experiments.report_figures import Drawn, run_figures
from hypeeg.experiments.spec_errors import Problem, SpecError
from hypeeg.experiments.store import FoldLog, replace_file
from hypeeg.experiments.tables import Rows, caption, paired_results, run_markdown, shown_rows
from hypeeg.experiments.yaml_io import format_yaml

MAX_FAILURES = 20

_SIDE_BY_SIDE = ("Confusion", "Embeddings of test trials")

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1f2430; background: #fff;
       max-width: 1080px; margin: 0 auto; padding: 1.5rem; }
h1 { margin-bottom: .2rem; } h2 { margin-top: 2.4rem; border-bottom: 1px solid #d9dce3; }
table { border-collapse: collapse; font-size: .92rem; margin: .8rem 0; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #e6e8ee; }
th:first-child, td:first-child { text-align: left; }
.wide { overflow-x: auto; } .note { color: #5a6070; font-size: .92rem; }
.state { border: 1px solid #8a8f98; border-radius: 1rem; padding: 0 .6rem; font-size: .85rem; }
.warn { background: #fff4e0; border-left: 4px solid #e69f00; padding: .5rem 1rem; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; } .figures > figure { flex: 1 1 100%; }
.figures.small > figure { flex: 1 1 320px; max-width: 520px; }
figure { margin: .5rem 0; min-width: 0; } figcaption { color: #5a6070; font-size: .92rem; }
pre { background: #f5f6f8; padding: .8rem; overflow-x: auto; font-size: .85rem; }
@media print { details > * { display: block; } figure { break-inside: avoid; } }
"""


def write_report(
    runs: Sequence[RecordedRun], target: Path, *, max_points: int = 5000
) -> tuple[Path, Path]:
    """Write the report of runs.

    Parameters
    ----------
    runs : sequence of RecordedRun
        What it is about.
    target : Path
        HTML file; the Markdown file stands beside it under the same name.
    max_points : int
        Most test trials drawn as points, all runs together.

    Returns
    -------
    (Path, Path)
        HTML file (about 5 MB, of which Plotly's script takes 4.8) and Markdown file.

    Raises
    ------
    SpecError
        If Plotly is missing.
    RecordError
        If a file of a run is damaged.
    """
    if importlib.util.find_spec("plotly") is None:
        message = "an HTML report needs Plotly: pip install 'hypeeg[app]', or take --format md"
        raise SpecError([Problem("--format", message)], "hypeeg report")
    replace_file(target, report_html(runs, max_points).encode("utf-8"))
    tables = target.with_suffix(".md")
    text = "\n\n".join(run_markdown(run) for run in runs) + "\n"
    replace_file(tables, text.encode("utf-8"))
    return target, tables


def report_html(runs: Sequence[RecordedRun], max_points: int = 5000) -> str:
    """Return the report as one HTML document; see :func:`write_report`."""
    from plotly.offline import get_plotlyjs

    title = ", ".join(dict.fromkeys(run.title for run in runs))
    parts = ["<!DOCTYPE html>", '<html lang="en"><head><meta charset="utf-8">']
    parts.append('<meta name="viewport" content="width=device-width, initial-scale=1">')
    parts.append(f"<title>{escape(title)} – hypeeg</title><style>{_STYLE}</style>")
    parts.append(f"<script>{get_plotlyjs()}</script></head><body>")
    if len(runs) > 1:
        links = [f'<li><a href="#run{k}">{escape(run.name)}</a></li>' for k, run in enumerate(runs)]
        parts.append(f"<nav><ul>{''.join(links)}</ul></nav>")
        parts.append(f"<h2>All runs</h2>{_table(*_overview(runs))}")
    for number, run in enumerate(runs):
        parts += _run_parts(run, number, max(1, max_points // len(runs)))
    parts.append(f'<p class="note">Made by hypeeg {escape(hypeeg.__version__)}.</p></body></html>')
    return "\n".join(parts) + "\n"


def _overview(runs: Sequence[RecordedRun]) -> Rows:
    header: list[str] = []
    rows = []
    for run in runs:
        names, cells = shown_rows(run, "summary")
        if cells:
            header = ["run", "data set", "score", *names]
            rows += [[run.name, run.dataset, run.scoring, *row] for row in cells]
    return header, rows


def _run_parts(run: RecordedRun, number: int, max_points: int) -> Iterable[str]:
    yield f'<section id="run{number}"><h1>{escape(run.title)}</h1>'
    yield (
        f'<p><span class="state">{escape(run.state)}</span> {escape(run.dataset)}, '
        f'{escape(run.kind.replace("_", " "))} <span class="note">({escape(run.name)})</span></p>'
    )
    if run.spec.get("description"):
        yield f"<p>{escape(str(run.spec['description']).strip())}</p>"
    yield from _warnings(run)
    if run.scores.empty:
        yield "<p>No fold finished, so there is no score to show.</p>"
    else:
        yield from _tables(run)
        yield from _figures(run_figures(run, max_points), number)
        yield f"<h2>Scores by session</h2>{_folded(_table(*shown_rows(run, 'scores')), 'Table')}"
    yield from _record(run)
    yield "</section>"


def _warnings(run: RecordedRun) -> Iterable[str]:
    lines = []
    if run.state != "done":
        lines.append(f"This run is {run.state}; what follows may not be the whole.")
    if run.n_missing:
        lines.append(f"{run.n_missing} of {run.status.get('n_tasks')} folds were not run.")
    if run.status.get("error"):
        lines.append(f"It ended early: {run.status['error']}")
    log = FoldLog(run.path / "folds.jsonl")
    failed = log.read() if run.status.get("n_failed") else []
    failures = [str(r.get("error", "")) for r in failed if r.get("status") == "failed"]
    if failures:
        lines.append(f"{len(failures)} folds failed and are left out:")
        lines += [error.splitlines()[0] if error else "" for error in failures[:MAX_FAILURES]]
        if len(failures) > MAX_FAILURES:
            lines.append(f"and {len(failures) - MAX_FAILURES} more, see folds.jsonl.")
    if lines:
        yield f'<div class="warn">{"<br>".join(map(escape, lines))}</div>'


def _tables(run: RecordedRun) -> Iterable[str]:
    yield f"<h2>Summary</h2>{_table(*shown_rows(run, 'summary'))}"
    over = "seeds" if unit_of(run.kind) == "seed" else "sessions"
    yield f'<p class="note">{escape(caption(run))}. ± is the standard deviation over {over}.</p>'
    results = paired_results(run)
    if results:
        header, cells = shown_rows(run, "comparisons")
        yield f"<h2>Paired comparisons: same folds, {results[0].unit}s as units</h2>"
        yield _list([result.statement for result in results])
        yield _table(header, cells)
    measures = run.table("measures")
    for title, rows in (
        ("Predictions", shown_rows(run, "measures")),
        ("Learned spaces", report.space_rows(measures) if "delta_rel" in measures else ([], [])),
        ("Learning curve", _curve(run)),
    ):
        if rows[1]:
            yield f"<h2>{title}</h2>{_table(*rows)}"
    yield "<h2>What to keep in mind</h2>"
    yield _list(cautions(run.scores, run.scoring))


def _curve(run: RecordedRun) -> Rows:
    table = run.table("learning_curve")
    return ([], []) if table.empty else report.learning_curve_rows(table)


def _figures(drawn: Iterable[Drawn], number: int) -> Iterable[str]:
    count = 0
    for section, figures in groupby(drawn, key=lambda one: one.section):
        yield f"<h2>{escape(section)}</h2>"
        yield f'<div class="figures{" small" if section in _SIDE_BY_SIDE else ""}">'
        for one in figures:
            shown = "" if one.figure is None else _figure(one.figure, f"figure-{number}-{count}")
            count += 1
            yield f"<figure>{shown}<figcaption>{escape(one.caption)}</figcaption></figure>"
        yield "</div>"


def _figure(figure: Any, name: str) -> str:
    import plotly.graph_objects as go
    import plotly.io

    # Plotly's own template is long, and the same in every figure.
    figure.update_layout(
        template=go.layout.Template(),
        font={"family": "system-ui, sans-serif", "color": "#1f2430"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    # Without the template nothing else makes room for the names along the axes.
    axis = {"gridcolor": "#e6e8ee", "zerolinecolor": "#d9dce3", "automargin": True}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    height = f"{figure.layout.height or 450}px"
    return str(
        plotly.io.to_html(
            figure,
            full_html=False,
            include_plotlyjs=False,
            default_height=height,
            # A name of its own makes the same report come out the same again.
            div_id=name,
            config={"displaylogo": False, "responsive": True, "plotlyServerURL": ""},
        )
    )


def _record(run: RecordedRun) -> Iterable[str]:
    environment = run.environment
    git = environment.get("git") or {}
    packages = environment.get("packages") or {}
    version = str(environment.get("hypeeg", "unknown"))
    yield "<h2>How to reproduce</h2>"
    steps = [f"Install hypeeg {version}"]
    if git.get("commit"):
        changed = " with changes that were not committed" if git.get("modified") else ""
        steps[0] += f", commit {git['commit']}{changed}"
    check = (
        f"; hypeeg data check {run.dataset} says whether the recordings are as they were"
        if run.spec.get("kind", "eeg") == "eeg"
        else ""
    )
    steps.append(f"Save the specification below as {run.title}.yaml{check}")
    steps.append(f"hypeeg run {shlex.quote(f'{run.title}.yaml')}")
    yield _list(steps, "ol")
    device = (environment.get("device") or {}).get("used", "unknown")
    yield (
        '<p class="note">Scores are the same to the last digit on the same device with the same '
        f"package versions; this run used the device {escape(str(device))}.</p>"
    )
    yield "<h2>Specification</h2>"
    yield _folded(f"<pre>{escape(format_yaml(run.spec))}</pre>", "spec_resolved.yaml")
    yield "<h2>Environment</h2>"
    plain = {k: v for k, v in environment.items() if not isinstance(v, dict | list)}
    rows = [[str(key), str(value)] for key, value in [*plain.items(), *packages.items()]]
    yield _folded(_table(["what", "version"], rows), "Versions") if rows else "<p>Not recorded.</p>"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(str(cell))}</th>" for cell in header)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def _list(lines: Iterable[str], kind: str = "ul") -> str:
    return f"<{kind}>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</{kind}>"


def _folded(content: str, title: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"
