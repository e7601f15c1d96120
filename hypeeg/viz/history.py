"""How a number went during training, over many fits: median and spread as a Plotly figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from hypeeg.viz.palette import COLORS, faded

if TYPE_CHECKING:
    import pandas as pd

DASHES = ("solid", "dash", "dot", "dashdot")


def history_figure(
    history: pd.DataFrame,
    columns: Sequence[str],
    *,
    title: str = "",
    spread: tuple[float, float] = (0.1, 0.9),
    height: int = 340,
) -> go.Figure:
    """Draw the median over fits by epoch, with a band that holds most of them.

    However many fits there are, the figure stays small: nothing is drawn fit by fit.

    Parameters
    ----------
    history : DataFrame
        Columns ``pipeline`` and ``epoch`` and those of `columns`; one row an epoch of a fit.
    columns : sequence of str
        What to draw, such as ``["train_loss", "valid_loss"]``; columns that a pipeline has no
        value of are left out.
    title : str
        Title of the axis; by default the columns.
    spread : (float, float)
        Quantiles between which the band lies.
    height : int
        Pixels.

    Returns
    -------
    plotly.graph_objects.Figure
        For each pipeline and column a trace with the band, and one with the median.

    Raises
    ------
    ValueError
        If there is nothing to draw.
    """
    figure = go.Figure()
    several = len(columns) > 1
    lowest, highest = float("inf"), float("-inf")
    for number, (pipeline, own) in enumerate(history.groupby("pipeline", sort=False)):
        color = COLORS[number % len(COLORS)]
        for line, column in enumerate(columns):
            if column not in own or own[column].isna().all():
                continue
            by_epoch = own.groupby("epoch")[column]
            median = by_epoch.median()
            low, high = by_epoch.quantile(spread[0]), by_epoch.quantile(spread[1])
            lowest, highest = min(lowest, float(median.min())), max(highest, float(median.max()))
            name = f"{pipeline}: {column}" if several else str(pipeline)
            epochs = [float(epoch) for epoch in median.index]
            figure.add_trace(
                go.Scatter(
                    x=[*epochs, *reversed(epochs)],
                    y=[*map(float, high), *map(float, reversed(low.tolist()))],
                    mode="lines",
                    line={"width": 0},
                    fill="toself",
                    fillcolor=faded(color, 0.15),
                    hoverinfo="skip",
                    showlegend=False,
                    legendgroup=name,
                    name=f"{name}, spread",
                )
            )
            figure.add_trace(
                go.Scatter(
                    x=epochs,
                    y=[float(value) for value in median],
                    mode="lines",
                    line={"color": color, "width": 2.4, "dash": DASHES[line % len(DASHES)]},
                    legendgroup=name,
                    name=name,
                    hovertemplate="epoch %{x}: %{y:.4g}<extra>%{fullData.name}</extra>",
                )
            )
    if not figure.data:
        raise ValueError(f"no history of {', '.join(columns)}: there is nothing to draw")
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        xaxis={"title": {"text": "epoch"}},
        yaxis={
            "title": {"text": title or ", ".join(columns)},
            "type": "log" if highest > 4 * lowest > 0 else "linear",
            # On a logarithmic axis single digits at every mark crowd each other.
            "dtick": "D2" if highest > 4 * lowest > 0 else None,
            # Its own format writes 0.5 as 5.
            "tickformat": "~g" if highest > 4 * lowest > 0 else None,
        },
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        hovermode="closest",
    )
    return figure
