"""The learned curvature over training as a Plotly figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from hypeeg.viz.palette import COLORS, faded

if TYPE_CHECKING:
    import pandas as pd

FIT = ["subject", "session", "fold", "seed"]


def curvature_figure(history: pd.DataFrame, *, height: int = 340) -> go.Figure:
    """Draw the curvature of every fit over its epochs, and the median of each pipeline.

    Parameters
    ----------
    history : DataFrame
        Columns ``pipeline``, ``subject``, ``session``, ``fold``, ``seed``, ``epoch`` and ``c``, the
        curvature magnitude.
    height : int
        Pixels.

    Returns
    -------
    plotly.graph_objects.Figure
        For each pipeline one trace with all fits as thin lines, and one with their median.

    Raises
    ------
    ValueError
        If there is nothing to draw.
    """
    if history.empty:
        raise ValueError("the curvature history is empty: no pipeline of this run learns one")
    figure = go.Figure()
    for number, (pipeline, own) in enumerate(history.groupby("pipeline", sort=False)):
        color = COLORS[number % len(COLORS)]
        xs: list[float | None] = []
        ys: list[float | None] = []
        labels: list[str] = []
        # A fold across sessions has no session: its missing value must not drop the fit.
        for key, fit in own.groupby(FIT, sort=False, dropna=False):
            fit = fit.sort_values("epoch")
            xs += [*map(float, fit["epoch"]), None]
            ys += [*map(float, fit["c"]), None]
            labels += [_label(key)] * (len(fit) + 1)
        median = own.groupby("epoch")["c"].median()
        figure.add_trace(
            go.Scatter(
                x=xs,
                y=ys,
                mode="lines",
                line={"color": faded(color, 0.45), "width": 1},
                text=labels,
                hovertemplate="%{text}<br>epoch %{x}: c = %{y:.3f}<extra></extra>",
                name=f"{pipeline}: single fits",
            )
        )
        figure.add_trace(
            go.Scatter(
                x=median.index,
                y=median.to_numpy(),
                mode="lines",
                line={"color": color, "width": 3},
                hovertemplate="median, epoch %{x}: c = %{y:.3f}<extra></extra>",
                name=f"{pipeline}: median",
            )
        )
    wide = float(history["c"].max()) > 4 * float(history["c"].min()) > 0
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        xaxis={"title": {"text": "epoch"}},
        yaxis={"title": {"text": "c"}, "type": "log" if wide else "linear"},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        hovermode="closest",
    )
    return figure


def _label(key: tuple[object, ...]) -> str:
    subject, session, fold, seed = key
    # NaN, the missing session, is the one value that differs from itself.
    where = "" if session is None or session != session else f", session {session}"
    return f"subject {subject}{where}, fold {fold}, seed {seed}"
