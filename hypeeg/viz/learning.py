"""Scores by the amount of training data as a Plotly figure."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from hypeeg.viz.palette import NEUTRAL, style

if TYPE_CHECKING:
    import pandas as pd


def learning_figure(
    table: pd.DataFrame,
    chance: float | None = None,
    *,
    score_name: str = "score",
    height: int = 420,
) -> go.Figure:
    """Draw mean score against training trials, one line a pipeline, with spread over subjects.

    Parameters
    ----------
    table : DataFrame
        Columns ``pipeline``, ``data_size``, ``mean`` and ``std`` (NaN for a single subject).
    chance : float, optional
        Where to draw the chance line.
    score_name : str
        Title of the score axis.
    height : int
        Pixels.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    ValueError
        If the table is empty.
    """
    if table.empty:
        raise ValueError("the learning curve is empty; there is nothing to draw")
    figure = go.Figure()
    groups = list(table.groupby("pipeline", sort=False))
    sizes = sorted(float(size) for size in table["data_size"].unique())
    step = min((b - a for a, b in pairwise(sizes)), default=1.0)
    for number, (pipeline, own) in enumerate(groups):
        own, look = own.sort_values("data_size"), style(number)
        # Side by side, or the spreads of pipelines would hide each other.
        shift = 0.08 * step * (number - (len(groups) - 1) / 2) / max(1, len(groups) - 1)
        figure.add_trace(
            go.Scatter(
                x=[float(size) + shift for size in own["data_size"]],
                y=[float(value) for value in own["mean"]],
                error_y={
                    "type": "data",
                    "array": [0.0 if s != s else float(s) for s in own["std"]],
                    "thickness": 1.2,
                    "width": 3,
                },
                customdata=[float(size) for size in own["data_size"]],
                mode="lines+markers",
                line={"color": look["color"], "width": 2},
                marker={**look, "size": 9},
                name=str(pipeline),
                hovertemplate=f"%{{customdata:.0f}} trials: {score_name} %{{y:.3f}}"
                "<extra>%{fullData.name}</extra>",
            )
        )
    if chance is not None:
        figure.add_hline(
            y=chance,
            line={"color": NEUTRAL, "width": 1.4, "dash": "dash"},
            annotation={"text": f"chance {chance:.2f}", "font": {"color": NEUTRAL, "size": 12}},
            annotation_position="bottom right",
            name="chance",
        )
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        xaxis={"title": {"text": "training trials"}},
        yaxis={"title": {"text": score_name}},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        hovermode="closest",
    )
    return figure
