"""The Compare page: which runs it begins with, what its table says once, pairs of scores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

APP = Path(__file__).resolve().parents[2] / "app"
MakeRun = Callable[..., Path]


def open_page(*runs: Path) -> AppTest:
    at = AppTest.from_file(APP / "main.py", default_timeout=60)
    if runs:
        at.session_state["compare-request"] = [run.name for run in runs]
    at.switch_page("views/compare.py").run()
    assert not at.exception, at.exception
    return at


def texts(at: AppTest) -> str:
    kinds = (at.markdown, at.caption, at.info, at.warning, at.error)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def traces(at: AppTest) -> dict[str, dict]:
    spec = json.loads(at.get("plotly_chart")[0].proto.spec)
    return {trace["name"]: trace for trace in spec["data"]}


def set_scores(run: Path, level: float, keep: Callable[[pd.DataFrame], pd.Series]) -> None:
    path = run / "scores.csv"
    scores = pd.read_csv(path)
    scores["score"] = level + 0.001 * scores["subject"]
    scores[keep(scores)].to_csv(path, index=False)


def test_it_begins_with_two_runs_that_can_be_compared(make_run: MakeRun) -> None:
    first, second = make_run("first"), make_run("second")
    # The newest tested other folds of the same data set.
    newest = make_run("newest", n_folds=3)
    at = open_page()
    assert set(at.multiselect("compare").value) == {first.name, second.name}
    assert "cannot be compared" not in texts(at)
    at = open_page(newest, first)
    assert "cannot be compared" in texts(at)


def test_what_is_the_same_in_all_rows_is_said_once(make_run: MakeRun) -> None:
    at = open_page(make_run("one"), make_run("two"), make_run("three"))
    table = at.dataframe[0].value
    assert not {"Data set", "Kind", "Score"} & set(table.columns)
    assert "SimulatedMI · within session" in texts(at)
    assert list(table["Run"]) == ["one"] * 3 + ["two"] * 3 + ["three"] * 3
    assert len(at.selectbox("compare-a").options) == 3
    assert len(at.selectbox("compare-b").options) == 2
    # Two kinds beside each other: the column is there.
    at = open_page(make_run("four"), make_run("five", kind="cross_subject"))
    assert set(at.dataframe[0].value["Kind"]) == {"within session", "cross subject"}


def test_runs_of_one_title_keep_their_full_names(make_run: MakeRun, runs: Path) -> None:
    first, second = make_run("same"), make_run("other")
    spec = second / "spec_resolved.yaml"
    spec.write_text(spec.read_text().replace("name: other", "name: same", 1))
    at = open_page(first, second)
    assert set(at.dataframe[0].value["Run"]) == {first.name, second.name}


def test_dots_are_common_folds_of_a_left_and_b_right(make_run: MakeRun) -> None:
    first, second = make_run("first", subjects=3), make_run("second", subjects=3)
    set_scores(first, 0.7, lambda s: s["subject"] > 0)
    set_scores(second, 0.8, lambda s: s["subject"] < 3)
    found = traces(open_page(first, second))
    # Two subjects in common, two sessions each, three pipelines.
    a, b = found["A: first"], found["B: second"]
    assert "B higher (12)" in found
    assert not any(name.startswith("A higher") for name in found)
    assert len(a["text"]) == len(b["text"]) == 12
    assert not any("subject 3" in text for text in a["text"])
    x, y = (np.array(number(trace[key])) for trace, key in ((a, "x"), (b, "x")))
    assert (x < y).all()
    np.testing.assert_allclose(np.array(number(b["y"])) - np.array(number(a["y"])), 0.1, atol=1e-12)


def number(values: object) -> np.ndarray:
    """An array as Plotly writes it."""
    import base64

    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"])
    return np.array(values, dtype=float)


def test_pipelines_of_different_names_share_a_column() -> None:
    from hypeeg.viz import pairs_figure

    where = {"pair": "CSP with 8 filters / TS", "session": "0", "fold": 0, "seed": 0}
    rows = [
        {**where, "side": side, "subject": subject, "score": score}
        for side, scores in (("A", [0.6, 0.7, 0.8]), ("B", [0.7, 0.7, 0.6]))
        for subject, score in enumerate(scores)
    ]
    figure = pairs_figure(pd.DataFrame(rows), 0.5)
    assert list(figure.layout.xaxis.ticktext) == ["CSP with 8 filters<br>/ TS"]
    names = {trace.name for trace in figure.data}
    assert {"A higher (1)", "B higher (1)", "equal (1)", "A", "B", "mean"} <= names
    mean = next(trace for trace in figure.data if trace.name == "mean")
    np.testing.assert_allclose(mean.y, [0.7, 2 / 3])
    with pytest.raises(ValueError, match="empty"):
        pairs_figure(pd.DataFrame(columns=["pair", "side", "subject", "session", "score"]))
