"""Reports and tables of runs: whole, self-contained, and safe against any name."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from hypeeg.cli import app
from hypeeg.experiments import report, report_figures, tables
from hypeeg.experiments.gather import read_embeddings
from hypeeg.experiments.html_report import report_html, write_report
from hypeeg.experiments.recorded import RecordedRun
from hypeeg.experiments.runner import run
from hypeeg.experiments.spec import RunSpec
from hypeeg.experiments.spec_errors import SpecError
from hypeeg.experiments.store import RunFolder

EVIL = '<script>alert("x")</script>&"\''
PLOTLY = "/* plotly stands here */"


class Page(HTMLParser):
    """Collects the tags, attributes and text of a document."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture
def short_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plotly's script of 5 MB as one line, so that a page can be looked through."""
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: PLOTLY)


@pytest.fixture
def make_run(
    tmp_path: Path,
    make_trials: Callable[..., SimpleNamespace],
    spec_data: Callable[..., dict[str, Any]],
    threshold: Any,
) -> Callable[..., RecordedRun]:
    def make(
        trials: Any = None, on_fit: Any = None, out: Path | None = None, **changes: Any
    ) -> RecordedRun:
        spec = RunSpec.from_data(spec_data(**changes))

        def build(_spec: Any, pipeline: Any, _trials: Any, seed: int) -> Any:
            called = None if on_fit is None else lambda X, y: on_fit(pipeline.name)
            return threshold(seed, shift=0.1 * (pipeline.name != "hyper"), on_fit=called)

        data = trials if trials is not None else make_trials()
        folder = out or tmp_path / "runs"
        result = run(spec, folder, load=lambda _: data, build=build, progress=False)
        return RecordedRun.open(result.folder)

    return make


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> dict[int, RecordedRun]:
    return {}


@pytest.fixture
def runs(
    make_run: Callable[..., RecordedRun],
    shelf: dict[int, RecordedRun],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[RecordedRun]:
    """Two finished runs, made once and only read."""
    if not shelf:
        # In one folder, where runs of the same second have different names.
        out = tmp_path_factory.mktemp("runs")
        shelf |= {number: make_run(out=out) for number in range(2)}
    return [shelf[0], shelf[1]]


def figures_of(page: str) -> list[list[dict[str, Any]]]:
    """The traces of each figure of a page."""
    found = []
    for start in re.finditer(r'Plotly\.newPlot\(\s*"[^"]+",\s*', page):
        found.append(json.JSONDecoder().raw_decode(page, start.end())[0])
    return found


@pytest.mark.usefixtures("short_plotly")
def test_a_report_holds_what_the_run_found(runs: list[RecordedRun]) -> None:
    recorded = runs[0]
    page = report_html([recorded])
    parsed = Page(page)
    text = " ".join(parsed.words)
    for heading in (
        *("Summary", "Paired comparisons", "Scores by subject", "Confusion", "Reliability"),
        *("Curvature during training", "Loss during training", "Embeddings of test trials"),
        *("How to reproduce", "Specification", "Environment", "What to keep in mind"),
    ):
        assert heading in text, heading
    header, rows = report.summary_rows(report.summarise(recorded.scores))
    for cell in [*header, *(cell for row in rows for cell in row)]:
        assert cell in text
    assert "chance 0.50" in page
    assert "torch" in text
    assert "SimulatedMI" in text
    # Two score figures, a matrix and a picture a pipeline, reliability, curvature, loss.
    assert len(figures_of(page)) == 2 + 3 + 3 + 3
    assert report_html([recorded]) == page


@pytest.mark.usefixtures("short_plotly")
def test_a_report_asks_for_nothing_from_elsewhere(runs: list[RecordedRun]) -> None:
    page = report_html(runs)
    assert page.count(PLOTLY) == 1
    parsed = Page(page)
    assert not {"link", "img", "iframe", "base"} & set(parsed.tags)
    linked = [value or "" for name, value in parsed.attributes if name in ("src", "href")]
    assert all(value.startswith("#run") for value in linked)
    assert len(linked) == 2
    assert "http" not in page.replace(PLOTLY, "")


def test_the_file_is_whole_and_not_too_large(
    make_run: Callable[..., RecordedRun], tmp_path: Path
) -> None:
    recorded = make_run()
    path = recorded.embeddings_path("hyper")
    arrays = read_embeddings(path)
    n = 60_000
    rng = np.random.default_rng(0)
    many = {k: v if k == "classes" else np.repeat(v[:1], n, axis=0) for k, v in arrays.items()}
    many |= {"embedding": rng.normal(size=(n, 8)).astype(np.float32), "trial": np.arange(n)}
    np.savez(path, **many)
    page, markdown = write_report([recorded], tmp_path / "report.html")
    assert 4e6 < page.stat().st_size < 6e6
    text = page.read_text(encoding="utf-8")
    assert text.rstrip().endswith("</html>")
    assert "of its 60000 test trials are drawn" in text
    assert "| hyper |" in markdown.read_text(encoding="utf-8")


@pytest.mark.usefixtures("short_plotly")
def test_a_pipeline_without_points_has_no_disk(
    make_run: Callable[..., RecordedRun], tmp_path: Path
) -> None:
    recorded = make_run()
    path = recorded.embeddings_path("hyper")
    arrays = read_embeddings(path)
    del arrays["embedding"]
    np.savez(path, **arrays)
    page, _ = write_report([recorded], tmp_path / "report.html")
    assert "Confusion" in page.read_text(encoding="utf-8")


@pytest.mark.usefixtures("short_plotly")
def test_no_name_becomes_code(
    make_run: Callable[..., RecordedRun], make_trials: Callable[..., SimpleNamespace]
) -> None:
    trials = make_trials()
    trials.y = np.char.replace(trials.y, "class1", EVIL)
    trials.metadata["session"] = trials.metadata["session"] + "<i onload=x>"

    def fail(name: str) -> None:
        if name == "csp":
            raise ValueError(EVIL)

    pipelines = [
        {"name": EVIL, "model": "HyperbolicEEGNet"},
        {"name": "flat", "model": "EEGNet", "twin_of": EVIL},
        {"name": "csp", "model": "csp_lda"},
    ]
    recorded = make_run(trials, fail, pipelines=pipelines, description=EVIL)
    assert recorded.state == "failed"
    page = report_html([recorded])
    parsed = Page(page)
    figures = figures_of(page)
    # One script a figure, and Plotly's own.
    assert parsed.tags.count("script") == len(figures) + 1
    assert not any(name.startswith("on") for name, _ in parsed.attributes)
    assert "i" not in parsed.tags
    assert html.escape(EVIL) in page
    # Plotly reads text as HTML once more.
    shown = json.dumps(figures, ensure_ascii=False)
    assert "<script" not in shown
    assert "<i " not in shown
    assert "&lt;script&gt;" in shown


@pytest.mark.usefixtures("short_plotly")
def test_an_unfinished_run_says_so(
    make_run: Callable[..., RecordedRun],
) -> None:
    recorded = make_run()
    whole = recorded.scores
    for name in ("scores.csv", "summary.csv", "measures.csv", "comparisons.csv", "confusion.csv"):
        (recorded.path / name).unlink()
    lines = (recorded.path / "folds.jsonl").read_text().splitlines(keepends=True)
    (recorded.path / "folds.jsonl").write_text("".join(lines[:7]))
    folder = RunFolder(recorded.path)
    folder.write_json("status.json", {"state": "running", "pid": 1, "n_tasks": 24, "n_done": 7})
    again = RecordedRun.open(recorded.path)
    assert len(again.scores) == 7
    pd.testing.assert_series_equal(again.scores["score"], whole["score"][:7])
    text = " ".join(Page(report_html([again])).words)
    assert "may not be the whole" in text
    assert "17 of 24 folds were not run" in text


def test_the_drawn_network_has_the_median_accuracy() -> None:
    # Networks of folds 0, 1 and 2 are right in 4, 1 and 2 of 4 trials.
    right = np.repeat([4, 1, 2], 4) > np.tile(np.arange(4), 3)
    trials = {
        "y_true": np.full(12, "a"),
        "y_pred": np.where(right, "a", "b"),
        "subject": np.full(12, "1"),
        "session": np.full(12, "0"),
        "fold": np.repeat([0, 1, 2], 4),
        "seed": np.zeros(12, int),
        "trial": np.arange(12),
        "classes": np.array(["a", "b"]),
    }
    chosen, words = report_figures.representative(trials, "within_session")
    assert chosen["trial"].tolist() == [8, 9, 10, 11]
    assert chosen["classes"].tolist() == ["a", "b"]
    assert words == "subject 1, session 0, fold 2, seed 0"


@pytest.mark.parametrize("table", tables.TABLES)
def test_tables_hold_every_digit(runs: list[RecordedRun], tmp_path: Path, table: str) -> None:
    csv = pd.read_csv(tables.write_table(runs, "csv", table, folder=tmp_path))
    pytest.importorskip("pyarrow")
    parquet = pd.read_parquet(tables.write_table(runs, "parquet", table, folder=tmp_path))
    assert (
        csv["run"].unique().tolist() == [r.name for r in runs] == parquet["run"].unique().tolist()
    )
    numbers = parquet.select_dtypes("number")
    pd.testing.assert_frame_equal(csv[numbers.columns], numbers, check_dtype=False)
    if table == "scores":
        np.testing.assert_array_equal(parquet["score"][: len(runs[0].scores)], runs[0].scores.score)
    for format in ("md", "latex"):
        text = tables.write_table(runs, format, table, folder=tmp_path).read_text()
        assert all(run.name.split("-")[0] in text for run in runs)


def test_latex_has_no_character_that_acts() -> None:
    assert tables.latex_text(r"50 % of $x_1 & \y#{z}~^") == (
        r"50 \% of \$x\_1 \& \textbackslash{}y\#\{z\}\textasciitilde{}\textasciicircum{}"
    )


def test_mistakes_name_the_remedy(
    runs: list[RecordedRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = runs[0]
    with pytest.raises(SpecError, match=r"'excel'; allowed: html, md, csv"):
        tables.write_table([recorded], "excel")
    with pytest.raises(SpecError, match=r"Did you mean 'scores'"):
        tables.write_table([recorded], "csv", "score")
    with pytest.raises(SpecError, match="no run folder"):
        RecordedRun.open(tmp_path)
    found = tables.importlib.util.find_spec
    monkeypatch.setattr(
        tables.importlib.util,
        "find_spec",
        lambda n: None if n in ("pyarrow", "plotly") else found(n),
    )
    with pytest.raises(SpecError, match="pip install pyarrow"):
        tables.write_table([recorded], "parquet")
    with pytest.raises(SpecError, match=r"hypeeg\[app\]"):
        write_report([recorded], tmp_path / "report.html")


def test_the_commands_need_no_torch(runs: list[RecordedRun], tmp_path: Path) -> None:
    folder = str(runs[0].path)
    code = (
        "import sys\n"
        "from hypeeg.cli import app\n"
        f"for arguments in (['report', {folder!r}], ['compare', {folder!r}, {folder!r}]):\n"
        "    try:\n"
        "        app(arguments)\n"
        "    except SystemExit as end:\n"
        "        assert not end.code, end.code\n"
        "print([m for m in ('torch', 'mne', 'moabb', 'braindecode') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert (Path(folder) / "report.html").stat().st_size > 4e6
    result = CliRunner().invoke(
        app, ["report", folder, "--format", "md", "--to", f"{tmp_path}/t.md"]
    )
    assert result.exit_code == 0
    assert "| pipeline |" in (tmp_path / "t.md").read_text()
    assert CliRunner().invoke(app, ["report", str(tmp_path / "none")]).exit_code == 2
