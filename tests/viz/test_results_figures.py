"""Figures of histories and predictions: every number they show, against the table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix

from hypeeg.viz import confusion_figure, history_figure, reliability_figure, scores_figure


def test_history_shows_median_and_quantiles() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"pipeline": name, "fold": fold, "epoch": epoch, "c": rng.uniform(1, 3), "loss": np.nan}
        for name in ("a", "b")
        for fold in range(11)
        for epoch in range(3)
    ]
    table = pd.DataFrame(rows)
    figure = history_figure(table, ["c"])
    assert [trace.name for trace in figure.data] == ["a, spread", "a", "b, spread", "b"]
    cells = table[table["pipeline"] == "b"].pivot(index="fold", columns="epoch", values="c")
    np.testing.assert_allclose(figure.data[3].y, np.median(cells, axis=0))
    high, low = np.quantile(cells, 0.9, axis=0), np.quantile(cells, 0.1, axis=0)
    np.testing.assert_allclose(figure.data[2].y, [*high, *low[::-1]])
    assert figure.layout.yaxis.type == "linear"
    table["c"] *= 10.0 ** table["epoch"]
    wide = history_figure(table, ["c", "loss"]).layout.yaxis
    # Without a format of its own Plotly writes 0.5 as 5.
    assert (wide.type, wide.tickformat) == ("log", "~g")
    with pytest.raises(ValueError, match="no history of loss"):
        history_figure(table, ["loss"])


def test_the_axis_of_scores_holds_the_spread() -> None:
    scores = pd.DataFrame(
        {
            "pipeline": "A",
            "subject": [1, 2, 3],
            "session": "0",
            "seed": 0,
            "fold": 0,
            "score": [0.5, 0.9, 0.9],
        }
    )
    low, high = scores_figure(scores).layout.yaxis.range
    mean, std = scores["score"].mean(), scores["score"].std(ddof=1)
    assert low < min(0.5, mean - std)
    assert high > mean + std > 0.9


def test_confusion_shows_shares_of_the_true_class() -> None:
    rng = np.random.default_rng(1)
    labels = ["13", "17", "rest", "never"]
    true, predicted = rng.choice(labels[:3], 200), rng.choice(labels, 200)
    counts = confusion_matrix(true, predicted, labels=labels)
    rows = [
        {"y_true": t, "y_pred": p, "count": counts[i, j], "rate": counts[i, j] / counts[i].sum()}
        if counts[i].sum()
        else {"y_true": t, "y_pred": p, "count": 0, "rate": np.nan}
        for i, t in enumerate(labels)
        for j, p in enumerate(labels)
    ]
    figure = confusion_figure(pd.DataFrame(rows), title="x")
    heat = figure.data[0]
    assert list(heat.x) == list(heat.y) == labels
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "category"
    shares = np.array(heat.z, dtype=float)
    np.testing.assert_allclose(shares[:3], counts[:3] / counts[:3].sum(1)[:, None], atol=1e-4)
    assert np.isnan(shares[3]).all()
    np.testing.assert_array_equal(np.array(heat.customdata), counts)
    with pytest.raises(ValueError, match="empty"):
        confusion_figure(pd.DataFrame(rows[:0]))


def test_reliability_leaves_out_empty_bins() -> None:
    table = pd.DataFrame(
        {
            "pipeline": ["a", "a", "a"],
            "n": [4, 0, 16],
            "confidence": [0.55, np.nan, 0.9],
            "accuracy": [0.5, np.nan, 0.75],
        }
    )
    figure = reliability_figure(table)
    perfect, line = figure.data
    assert list(perfect.x) == list(perfect.y) == [0, 1]
    assert list(line.x) == [0.55, 0.9]
    assert list(line.y) == [0.5, 0.75]
    small, large = (size - 5 for size in line.marker.size)
    assert large == pytest.approx(2 * small)
    with pytest.raises(ValueError, match="empty"):
        reliability_figure(table[:0])
