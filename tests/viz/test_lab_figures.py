"""Figures of the geometry lab and of recordings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hypeeg.viz import (
    balance_figure,
    curves_figure,
    head_figure,
    lab_figure,
    sheet_figure,
    signals_figure,
    spectra_figure,
)
from hypeeg.viz.lab import arrow, click_targets, joined
from hypeeg.viz.signals import rounded


def trace(figure, name: str):
    return next(t for t in figure.data if t.name == name)


def test_targets_cover_the_disk_and_stay_inside() -> None:
    targets = click_targets()
    assert np.linalg.norm(targets, axis=1).max() < 1.0
    rng = np.random.default_rng(0)
    angle, radius = rng.uniform(0, 2 * np.pi, 300), 0.95 * np.sqrt(rng.uniform(size=300))
    somewhere = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    gaps = np.linalg.norm(somewhere[:, None] - targets[None], axis=2).min(axis=1)
    assert gaps.max() < 0.04


def test_lab_figure_letters_single_points_only() -> None:
    figure = lab_figure(
        1.0, {"A": np.array([0.1, 0.2]), "many": np.zeros((3, 2))}, {"way": [np.eye(2)]}
    )
    assert trace(figure, "A").text == ("<b>A</b>",)
    assert trace(figure, "many").text is None
    assert trace(figure, "way").x == (1.0, 0.0, None)
    assert "targets" not in {t.name for t in figure.data}


def test_sheet_lies_over_the_disk() -> None:
    u = np.array([0.6, 0.0])
    figure = sheet_figure({"A": u})
    mark = trace(figure, "A")
    # By hand: 2u / (1 - u^2) = 1.875, t = (1 + u^2) / (1 - u^2) = 2.125.
    np.testing.assert_allclose(mark.x, [1.875, 0.6])
    np.testing.assert_allclose(mark.z, [2.125, 0.0])
    ray = trace(figure, "projection of A")
    # The disk's point lies on the line from (0, -1) to the sheet's.
    share = 1.0 / (ray.z[1] - ray.z[0])
    assert share * ray.x[1] == pytest.approx(0.6)
    sheet = trace(figure, "sheet")
    np.testing.assert_allclose(sheet.z**2 - sheet.x**2 - sheet.y**2, 1.0, rtol=1e-9)


def test_arrows_have_heads_unless_they_are_short() -> None:
    line = np.column_stack([np.linspace(0, 0.5, 9), np.zeros(9)])
    path, head = arrow(line[0], line[-1], line)
    assert path is line
    np.testing.assert_allclose(head[1], [0.5, 0.0])
    assert (head[[0, 2], 0] < 0.5).all()
    assert head[0, 1] == pytest.approx(-head[2, 1])
    assert len(arrow(line[0], line[0] + 0.001, line[:1] * 0)) == 1
    assert joined([line[:1], line[-1:]]) == ([0.0, None, 0.5, None], [0.0, None, 0.0, None])


def test_curves_have_marks() -> None:
    figure = curves_figure(
        np.arange(3), {"a": np.arange(3)}, x_title="x", y_title="y", marks={"here": 1.0}
    )
    assert figure.layout.shapes[0].x0 == 1.0
    assert figure.layout.annotations[0].text == "here"


@pytest.mark.parametrize(("value", "expected"), [(1.2, 1), (44, 50), (0.0023, 0.002), (80, 100)])
def test_rounded(value: float, expected: float) -> None:
    assert rounded(value) == pytest.approx(expected)
    assert rounded(float("nan")) == rounded(0.0) == 1.0


def test_signals_are_rows_with_their_events() -> None:
    x = np.array([[100.0, 110.0, 90.0], [5.0, 5.0, 5.0]])
    figure = signals_figure(
        x,
        2.0,
        ["C3", "C4"],
        start=10.0,
        onsets=[10.5, 20.0],
        events=["left", "right"],
        spacing=20.0,
    )
    first = trace(figure, "C3")
    np.testing.assert_allclose(first.x, [10.0, 10.5, 11.0])
    np.testing.assert_allclose(first.y, [0.0, 0.5, -0.5])
    np.testing.assert_allclose(first.customdata, [0, 10, -10])
    np.testing.assert_allclose(trace(figure, "C4").y, [-1, -1, -1])
    # The second event lies outside of what is shown.
    assert [s.x0 for s in figure.layout.shapes] == [10.5]
    assert {"left", "rows 20 µV apart"} == {a.text for a in figure.layout.annotations}


def test_signals_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="2 names"):
        signals_figure(np.zeros((1, 5)), 1.0, ["a", "b"])
    with pytest.raises(ValueError, match="1 onsets for 0 events"):
        signals_figure(np.zeros((1, 5)), 1.0, ["a"], onsets=[1.0])
    with pytest.raises(ValueError, match="psd has shape"):
        spectra_figure(np.arange(3.0), np.ones((1, 2)), ["a"])
    with pytest.raises(ValueError, match="no trials"):
        balance_figure(pd.DataFrame(columns=["part", "event", "trials"]))


def test_spectra_are_decibels_with_a_median() -> None:
    psd = np.array([[7.0, 1.0, 100.0], [7.0, 10.0, 0.0], [7.0, 100.0, 1.0]])
    figure = spectra_figure(np.array([0.0, 1.0, 2.0]), psd, ["a", "b", "c"], band=(1.0, None))
    np.testing.assert_allclose(trace(figure, "a").y, [0, 20])
    # A channel without power has no level; the median is that of the others.
    np.testing.assert_allclose(trace(figure, "median of the channels").y, [10, 10])
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (1.0, 2.0)


def test_head_shows_known_sensors() -> None:
    points = np.array([[0.0, 0.0], [np.nan, np.nan], [0.5, 0.5]])
    figure = head_figure(points, ["Cz", "X1", "F4"], chosen=["F4"])
    assert trace(figure, "sensors").customdata == ("Cz",)
    assert trace(figure, "shown above").customdata == ("F4",)


def test_balance_names_what_differs() -> None:
    counts = pd.DataFrame(
        {"part": ["s1", "s1", "s2"], "event": ["a", "b", "a"], "trials": [3, 4, 5]}
    )
    figure = balance_figure(counts, {"a": 3})
    assert trace(figure, "a").text == ("3", "5 of 3")
    assert trace(figure, "b").text == ("4",)
    assert trace(figure, "a").x.tolist() == [3, 5]
