"""How certain a network is, against how far out its trials lie."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from hypeeg.viz.palette import BETTER, NEUTRAL, WORSE


def radius_figure(
    radius: np.ndarray,
    certainty: np.ndarray,
    correct: np.ndarray,
    *,
    x_title: str,
    y_title: str,
    hyperbolic: bool = True,
    height: int = 380,
) -> go.Figure:
    """Draw certainty of trials against their radius, with the mean in fifths of the trials.

    Parameters
    ----------
    radius : ndarray, shape (n_trials,)
        Distance from the origin.
    certainty : ndarray, shape (n_trials,)
        Confidence or entropy.
    correct : ndarray of bool, shape (n_trials,)
    x_title, y_title : str
        Titles of the axes.
    hyperbolic : bool
        Unused in drawing; kept in the title of the traces.
    height : int
        Pixels.

    Returns
    -------
    plotly.graph_objects.Figure
    """
    figure = go.Figure()
    draw = go.Scattergl if len(radius) > 3000 else go.Scatter
    for name, here, color in (("correct", correct, BETTER), ("wrong", ~correct, WORSE)):
        figure.add_trace(
            draw(
                x=radius[here],
                y=certainty[here],
                mode="markers",
                name=name,
                marker={
                    "color": color,
                    "size": 6,
                    "opacity": 0.6,
                    "symbol": "circle" if name == "correct" else "x",
                },
                hovertemplate="%{x:.3f}, %{y:.3f}<extra></extra>",
            )
        )
    bins = radius_bins(radius, certainty, correct)
    for name, row, dash in (("mean", 1, "solid"), ("share correct", 2, "dot")):
        figure.add_trace(
            go.Scatter(
                x=bins[:, 0],
                y=bins[:, row],
                mode="lines+markers",
                name=f"{name} of a fifth",
                line={"color": NEUTRAL, "width": 2.5, "dash": dash},
                marker={"size": 8},
                visible=True if row == 1 or "onfidence" in y_title else "legendonly",
            )
        )
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        xaxis={"title": {"text": x_title}},
        yaxis={"title": {"text": y_title}},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        plot_bgcolor="rgba(0, 0, 0, 0)",
    )
    return figure


def radius_bins(radius: np.ndarray, certainty: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """Return the means of radius, certainty and correctness in fifths of the trials by radius.

    Parameters
    ----------
    radius, certainty, correct
        As in :func:`radius_figure`.

    Returns
    -------
    ndarray of float64, shape (n_bins, 3)
    """
    order = np.argsort(radius, kind="stable")
    fifths = [part for part in np.array_split(order, 5) if len(part)]
    return np.array([[radius[p].mean(), certainty[p].mean(), correct[p].mean()] for p in fifths])


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's rank correlation, NaN where one of the two does not vary."""
    from scipy.stats import rankdata

    ranks = [rankdata(values) for values in (a, b)]
    if len(a) < 3 or min(np.ptp(r) for r in ranks) == 0:
        return float("nan")
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
