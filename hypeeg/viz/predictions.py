"""What predictions are worth as Plotly figures: confusion of classes, reliability of confidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from hypeeg.viz.palette import NEUTRAL, SCALE, style

if TYPE_CHECKING:
    import pandas as pd

MAX_WRITTEN = 10
"""Up to so many classes, cells carry their share as text."""


def confusion_figure(table: pd.DataFrame, *, title: str = "", height: int = 360) -> go.Figure:
    """Draw the confusion matrix of one pipeline.

    Parameters
    ----------
    table : DataFrame
        Columns ``y_true``, ``y_pred``, ``count`` and ``rate`` (share of the true class); classes
        in the order of their first row.
    title : str
        Above the matrix.
    height : int
        Pixels.

    Returns
    -------
    plotly.graph_objects.Figure
        True classes from top to bottom, predicted ones from left to right.

    Raises
    ------
    ValueError
        If the table is empty.
    """
    if table.empty:
        raise ValueError("the confusion table is empty; there is nothing to draw")
    classes = list(dict.fromkeys(table["y_true"]))
    rates, counts = (
        table.pivot_table(index="y_true", columns="y_pred", values=v, aggfunc="sum", sort=False)
        .reindex(index=classes, columns=classes)
        .to_numpy(dtype=float)
        for v in ("rate", "count")
    )
    # A class without trials has no shares; summing made its missing values zero.
    rates = np.where(counts.sum(axis=1, keepdims=True) > 0, rates, np.nan)
    names = [str(name) for name in classes]
    written = len(names) <= MAX_WRITTEN
    figure = go.Figure(
        go.Heatmap(
            # Lists, because numbers in base64 would hide from a reader of the file.
            z=[[None if np.isnan(value) else round(value, 4) for value in row] for row in rates],
            x=names,
            y=names,
            customdata=np.where(np.isnan(counts), 0, counts).astype(int).tolist(),
            zmin=0.0,
            zmax=1.0,
            colorscale=SCALE,
            texttemplate="%{z:.2f}" if written else None,
            hovertemplate="true %{y}<br>predicted %{x}<br>%{z:.3f} of the class, %{customdata} "
            "trials<extra></extra>",
            colorbar={"title": {"text": "share"}, "thickness": 12},
        )
    )
    figure.update_layout(
        height=height,
        title={"text": title, "font": {"size": 15}},
        margin={"l": 8, "r": 8, "t": 44 if title else 12, "b": 8},
        # Class names such as 13 and 17 are names, not positions.
        xaxis={"title": {"text": "predicted"}, "type": "category", "constrain": "domain"},
        yaxis={
            "title": {"text": "true"},
            "type": "category",
            "autorange": "reversed",
            "scaleanchor": "x",
            "constrain": "domain",
        },
    )
    return figure


def reliability_figure(table: pd.DataFrame, *, height: int = 380) -> go.Figure:
    """Draw accuracy against confidence, one line a pipeline, with the line of perfect calibration.

    Parameters
    ----------
    table : DataFrame
        Columns ``pipeline``, ``n`` (trials of a bin), ``confidence`` and ``accuracy`` (their
        means).
    height : int
        Pixels.

    Returns
    -------
    plotly.graph_objects.Figure
        The area of a dot grows with the trials of its bin.

    Raises
    ------
    ValueError
        If the table is empty.
    """
    if table.empty:
        raise ValueError("the reliability table is empty; there is nothing to draw")
    figure = go.Figure(
        go.Scatter(
            x=[0, 1],
            y=[0, 1],
            mode="lines",
            line={"color": NEUTRAL, "width": 1.4, "dash": "dash"},
            hoverinfo="skip",
            name="perfect calibration",
        )
    )
    for number, (pipeline, own) in enumerate(table.groupby("pipeline", sort=False)):
        filled = own[own["n"] > 0].sort_values("confidence")
        look = style(number)
        share = filled["n"] / max(1, int(filled["n"].max()))
        figure.add_trace(
            go.Scatter(
                x=[float(value) for value in filled["confidence"]],
                y=[float(value) for value in filled["accuracy"]],
                customdata=[int(n) for n in filled["n"]],
                mode="lines+markers",
                line={"color": look["color"], "width": 1.6},
                marker={**look, "size": [float(5 + 9 * np.sqrt(s)) for s in share]},
                name=str(pipeline),
                hovertemplate="confidence %{x:.2f}, accuracy %{y:.2f}<br>%{customdata} trials"
                "<extra>%{fullData.name}</extra>",
            )
        )
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        xaxis={"title": {"text": "confidence"}, "range": [0, 1.02]},
        yaxis={"title": {"text": "accuracy"}, "range": [0, 1.05]},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        hovermode="closest",
    )
    return figure
