"""Every page on run folders of every kind, without a browser."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

APP = Path(__file__).resolve().parents[2] / "app"
PAGES = ("views/runs.py", "views/results.py", "views/embeddings.py")

MakeRun = Callable[..., Path]


def open_page(page: str = "views/runs.py", run: Path | None = None) -> AppTest:
    at = AppTest.from_file(APP / "main.py", default_timeout=30)
    if run is not None:
        at.session_state["run"] = run.name
    at.switch_page(page).run()
    assert not at.exception, at.exception
    return at


def texts(at: AppTest) -> str:
    """All that is written on the page."""
    kinds = (at.title, at.subheader, at.markdown, at.caption, at.info, at.warning, at.error)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def figures(at: AppTest) -> list[dict]:
    """Plotly figures of the page, as the browser gets them."""
    return [json.loads(element.proto.spec) for element in at.get("plotly_chart")]


def trace(figure: dict, name: str) -> dict:
    return next(t for t in figure["data"] if t["name"] == name)


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_folder_explains_how_to_make_a_run(runs: Path, page: str) -> None:
    at = open_page(page)
    assert "No runs yet" in texts(at)
    assert "make run" in [code.value for code in at.code]
    assert not at.selectbox


def test_runs_lists_every_run_with_its_state(make_run: MakeRun, runs: Path) -> None:
    make_run("complete")
    make_run("broken", state="failed", fail=3)
    make_run("going", state="running", finished=5)
    make_run("lost", state="interrupted", finished=4)
    make_run("empty", state="failed", finished=0)
    (runs / "not-a-run").mkdir()
    (runs / "a-file").write_text("x")
    torn = make_run("torn")
    (torn / "status.json").write_text('{"state": "do')

    table = open_page().dataframe[0].value.set_index("Run")
    states = {name.rsplit("-", 1)[0]: state.split()[-1] for name, state in table["State"].items()}
    assert states == {
        "complete": "done",
        "broken": "failed",
        "going": "running",
        "lost": "interrupted",
        "empty": "failed",
        "torn": "unreadable",
    }
    going = table[table.index.str.startswith("going")].iloc[0]
    assert going["Progress"] == pytest.approx(100 * 5 / 24)
    assert going["Data set"] == "SimulatedMI"
    complete = table[table.index.str.startswith("complete")].iloc[0]
    assert complete["Best pipeline"] == "Hyperbolic"
    assert complete["Best score"] == pytest.approx(0.87, abs=0.01)


def test_the_chosen_run_is_kept_from_page_to_page(make_run: MakeRun) -> None:
    make_run("first")
    make_run("second")
    at = open_page()
    other = next(name for name in at.selectbox("run").options if name.startswith("first"))
    at.selectbox("run").select(other).run()
    assert at.subheader[0].value == "first"
    at.switch_page("views/results.py").run()
    assert "**first**" in texts(at)


def test_a_row_of_the_table_chooses_the_run(make_run: MakeRun) -> None:
    make_run("first")
    make_run("second")
    at = open_page()
    names = list(at.dataframe[0].value["Run"])
    shown = at.selectbox("run").value
    other = next(name for name in names if name != shown)
    rows = zlib.crc32(" ".join(names).encode())
    at.session_state[f"runs-{shown}-{rows:08x}"] = {
        "selection": {"rows": [names.index(other)], "columns": [], "cells": []}
    }
    at.run()
    assert not at.exception
    assert at.selectbox("run").value == other


def test_a_run_that_vanishes_is_forgotten(make_run: MakeRun) -> None:
    import shutil

    make_run("stays")
    gone = make_run("goes")
    at = open_page(run=gone)
    assert at.selectbox("run").value == gone.name
    shutil.rmtree(gone)
    at.run()
    assert not at.exception
    assert at.selectbox("run").value.startswith("stays")


@pytest.mark.parametrize("state", ["running", "interrupted", "cancelled"])
def test_results_of_an_unfinished_run_say_so(make_run: MakeRun, state: str) -> None:
    at = open_page("views/results.py", make_run("part", state=state, finished=8))
    shown = [*at.info, *at.warning]
    assert "8 of 24 folds" in shown[0].value
    assert len(at.dataframe[0].value) == 3


def test_results_without_any_score(make_run: MakeRun) -> None:
    at = open_page("views/results.py", make_run("none", state="failed", finished=0))
    assert "no score to show yet" in texts(at)


@pytest.mark.parametrize(
    ("name", "content", "page"),
    [
        ("scores.csv", b"a,b\n1,2\n", "views/results.py"),
        ("scores.csv", b"\xff\xfe\x00", "views/results.py"),
        ("embeddings/Hyperbolic.npz", b"PK\x03\x04 not a zip", "views/embeddings.py"),
        ("embeddings/Hyperbolic.npz", b"", "views/embeddings.py"),
        ("folds.jsonl", b"damaged\n", "views/runs.py"),
        ("spec_resolved.yaml", b"name: [", "views/results.py"),
    ],
)
def test_damaged_files_are_named(make_run: MakeRun, name: str, content: bytes, page: str) -> None:
    run = make_run("hurt")
    (run / name).write_bytes(content)
    for where in ("views/runs.py", page):
        at = open_page(where, run)
    assert Path(name).name in at.error[0].value


def test_scores_come_from_the_log_before_the_table_exists(make_run: MakeRun) -> None:
    run = make_run("young", state="running", finished=6)
    assert not (run / "scores.csv").exists()
    at = open_page("views/results.py", run)
    assert len(at.dataframe[0].value) == 3


def test_a_changed_file_is_read_again(make_run: MakeRun) -> None:
    from hypeeg.experiments.store import FoldLog

    run = make_run("growing", state="running", finished=3)
    at = open_page("views/results.py", run)
    before = at.dataframe[0].value.set_index("Pipeline").loc["Hyperbolic", "roc_auc"]
    log = FoldLog(run / "folds.jsonl")
    record = log.read()[0]
    record["task"], record["fold"] = 99, 9
    record["scores"][0]["score"] = 0.1
    log.append(record)
    at.run()
    after = at.dataframe[0].value.set_index("Pipeline").loc["Hyperbolic", "roc_auc"]
    assert after == pytest.approx((before + 0.1) / 2)


def test_embeddings_show_the_trials_of_one_network(make_run: MakeRun) -> None:
    run = make_run("disk")
    at = open_page("views/embeddings.py", run)
    assert at.selectbox("network").options[0] == "subject 1 · session 0 · fold 0"
    (figure,) = figures(at)
    drawn = [trace(figure, name) for name in ("left_hand", "right_hand")]
    assert [len(t["customdata"]["bdata"]) > 0 for t in drawn] == [True, True]
    assert trace(figure, "boundary")
    assert "tangent PCA at the centroid" in texts(at)
    assert "12 test trials in the Poincaré disk of curvature −1.4" in texts(at)


def test_trials_are_coloured(make_run: MakeRun) -> None:
    expected = {
        "Label": {"left_hand", "right_hand"},
        "Prediction": {"left_hand", "right_hand"},
        "Error": {"correct", "wrong"},
        "Subject": {"1"},
        "Session": {"0"},
        "Fold": {"0"},
        "Confidence": {"confidence"},
        "Entropy": {"entropy"},
        "Radius": {"radius"},
    }
    at = open_page("views/embeddings.py", make_run("colours"))
    assert set(at.selectbox("colour").options) == set(expected)
    for color, names in expected.items():
        at.selectbox("colour").select(color).run()
        assert not at.exception
        (figure,) = figures(at)
        assert names <= {t["name"] for t in figure["data"]}, color


def test_a_chosen_trial_has_neighbours_and_can_be_the_middle(make_run: MakeRun) -> None:
    run = make_run("centre")
    at = open_page("views/embeddings.py", run)
    assert at.toggle("recentre").disabled
    at.selectbox("trial").select(4).run()
    (figure,) = figures(at)
    mark = trace(figure, "chosen trial")
    assert np.hypot(mark["x"][0], mark["y"][0]) > 1e-3
    # By hand: distances in all dimensions, with the textbook formula.
    with np.load(run / "embeddings" / "Hyperbolic.npz") as file:
        x = file["embedding"][:12].astype(float)
    c = float(np.float32(1.4))
    time = np.sqrt(1 / c + np.sum(x * x, axis=1))
    distance = np.arccosh(np.maximum(1, c * (time * time[4] - x @ x[4]))) / np.sqrt(c)
    table = at.dataframe[0].value
    assert list(table["trial"]) == list(np.argsort(distance)[1:6])
    np.testing.assert_allclose(table["distance"], np.sort(distance)[1:6], rtol=1e-6)

    at.toggle("recentre").set_value(True).run()
    (figure,) = figures(at)
    mark = trace(figure, "chosen trial")
    np.testing.assert_allclose([mark["x"][0], mark["y"][0]], 0.0, atol=1e-9)
    assert "Möbius translation" in texts(at)


def test_a_clicked_point_is_the_chosen_trial(make_run: MakeRun) -> None:
    at = open_page("views/embeddings.py", make_run("click"))
    click = {"selection": {"points": [{"customdata": 7}], "point_indices": [3]}}
    at.session_state["disk"] = click
    at.run()
    assert not at.exception
    assert at.selectbox("trial").value == 7
    # The list has the last word, though the chart still reports the click.
    at.session_state["disk"] = click
    at.selectbox("trial").select(2).run()
    assert at.selectbox("trial").value == 2


def test_networks_can_be_overlaid_with_a_warning(make_run: MakeRun) -> None:
    at = open_page("views/embeddings.py", make_run("all"))
    at.selectbox("network").select("all networks, overlaid").run()
    assert not at.exception
    assert "96 test trials" in texts(at)
    assert "mean nothing" in texts(at)


def test_across_subjects_a_network_holds_all_sessions(make_run: MakeRun) -> None:
    at = open_page("views/embeddings.py", make_run("loso", kind="cross_subject"))
    assert at.selectbox("network").options[:2] == ["subject 1 · fold 0", "subject 2 · fold 0"]
    at.selectbox("colour").select("Session").run()
    (figure,) = figures(at)
    assert {"0", "1"} <= {t["name"] for t in figure["data"]}


def test_a_euclidean_twin_has_a_plane_and_a_pipeline_without_embedding_says_so(
    make_run: MakeRun,
) -> None:
    at = open_page("views/embeddings.py", make_run("twin"))
    at.selectbox("pipeline").select("Twin").run()
    (figure,) = figures(at)
    assert "boundary" not in {t["name"] for t in figure["data"]}
    assert "Euclidean network" in texts(at)
    at.selectbox("pipeline").select("CSP+LDA").run()
    assert not at.exception
    assert "has no embedding" in texts(at)


def test_a_run_without_embeddings_says_so(make_run: MakeRun) -> None:
    at = open_page("views/embeddings.py", make_run("going", state="running", finished=3))
    assert "put together when it ends" in texts(at)


def test_embeddings_that_are_not_finite_are_left_out(make_run: MakeRun) -> None:
    run = make_run("nan")
    path = run / "embeddings" / "Hyperbolic.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["embedding"][:2] = np.nan
    np.savez(path, **arrays)
    at = open_page("views/embeddings.py", run)
    assert "2 trials have no finite embedding" in at.warning[0].value


# Charts that prove that a page was drawn with something on it.
CHARTS = {"home": 0, "launch": 0, "runs": 0, "results": 3, "compare": 1, "embeddings": 1, "data": 1}


def test_pages_import_no_deep_learning_and_no_eeg_library(make_run: MakeRun) -> None:
    names = [make_run(name, subjects=6).name for name in ("light", "lighter")]
    code = f"""
import sys
sys.path.insert(0, {str(APP)!r})
from streamlit.testing.v1 import AppTest
heavy = ("torch", "moabb", "braindecode", "mne", "skorch")
at = AppTest.from_file({str(APP / "main.py")!r}, default_timeout=60)
at.session_state["compare-request"] = {names!r}
at.run()
for page, charts in {CHARTS!r}.items():
    at.switch_page(f"views/{{page}}.py").run()
    assert not at.exception, at.exception
    assert len(at.get("plotly_chart")) >= charts, (page, len(at.get("plotly_chart")))
    found = [name for name in heavy if name in sys.modules]
    assert not found, (page, found)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr


def test_no_page_writes_its_own_comments() -> None:
    """Streamlit shows every string that stands alone in the script of a page."""
    import ast

    for path in [APP / "main.py", *(APP / "views").glob("*.py")]:
        alone = [
            statement.value.value
            for statement in ast.parse(path.read_text()).body[1:]
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        ]
        assert alone == [], path


def test_every_page_is_among_those_whose_imports_are_watched() -> None:
    views = {path.stem for path in (APP / "views").glob("*.py")}
    # The lab keeps torch in a process of its own: tests/app/test_geometry_lab.py.
    assert views == CHARTS.keys() | {"geometry_lab"}
