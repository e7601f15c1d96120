"""Figures of paired differences and of learning curves: what is drawn where."""

from __future__ import annotations

import math

import pandas as pd
import pytest

pytest.importorskip("plotly", reason="figures need hypeeg[app]")

from hypeeg.viz import differences_figure, learning_figure
from hypeeg.viz.palette import BETTER, NEUTRAL, WORSE


def test_only_sure_differences_are_coloured_by_their_sign() -> None:
    nan = math.nan
    figure = differences_figure(
        ["a", "b", "c", "d"],
        [0.1, -0.1, 0.1, 0.2],
        [0.05, -0.2, -0.1, nan],
        [0.2, -0.05, 0.3, nan],
        [0.01, 0.04, 0.2, nan],
        rope=0.02,
    )
    assert [t.marker.color for t in figure.data] == [BETTER, WORSE, NEUTRAL, NEUTRAL]
    assert [t.marker.symbol for t in figure.data][:3] == ["circle", "circle", "circle-open"]
    # Ends of the interval, not its half width.
    assert figure.data[0].error_x.arrayminus[0] == pytest.approx(0.05)
    assert figure.data[0].error_x.array[0] == pytest.approx(0.1)
    assert "too few for an interval" in figure.data[3].hovertemplate
    low, high = figure.layout.xaxis.range
    assert low < -0.2
    assert high > 0.3


def test_the_axis_holds_the_whole_band_of_equivalence() -> None:
    figure = differences_figure(["a"], [0.001], [0.0], [0.002], rope=0.02)
    low, high = figure.layout.xaxis.range
    assert low < -0.02
    assert high > 0.02


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 names"):
        differences_figure(["a", "b"], [0.1], [0.0], [0.2])
    with pytest.raises(ValueError, match="empty"):
        learning_figure(pd.DataFrame({"pipeline": []}))


def test_a_learning_curve_is_sorted_by_size() -> None:
    table = pd.DataFrame(
        {"pipeline": "net", "data_size": [20, 10], "mean": [0.8, 0.7], "std": [math.nan, 0.1]}
    )
    (line,) = learning_figure(table, 0.5).data
    assert list(line.customdata) == [10, 20]
    assert list(line.y) == [0.7, 0.8]
    assert list(line.error_y.array) == [0.1, 0.0]
