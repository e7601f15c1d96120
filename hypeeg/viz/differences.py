"""Paired differences with their intervals as a Plotly figure: who is ahead, and how surely."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from hypeeg.viz.palette import BETTER, NEUTRAL, WORSE, faded

ROW = 34
"""Pixels a comparison."""


def differences_figure(
    names: Sequence[str],
    mean: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    p: Sequence[float] | None = None,
    *,
    rope: float = 0.0,
    score_name: str = "score",
    alpha: float = 0.05,
) -> go.Figure:
    """Draw one row a comparison: mean difference and interval, the zero line, and equivalence.

    Parameters
    ----------
    names : sequence of str
        What was compared, from top to bottom.
    mean, low, high : sequence of float
        Mean difference and the ends of its interval; NaN for none.
    p : sequence of float, optional
        Corrected p-values: differences that are below `alpha` are coloured by their sign.
    rope : float
        Half width of the region of practical equivalence, shaded; 0 for none.
    score_name : str
        Title of the axis.
    alpha : float
        Level of the test.

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    ValueError
        If there is nothing to draw, or the sequences are not equally long.
    """
    ends = [len(values) for values in (mean, low, high, *([p] if p is not None else []))]
    if not len(names) or set(ends) != {len(names)}:
        raise ValueError(f"{len(names)} names and {ends} values; give one of each a comparison")
    values = np.asarray(mean, dtype=float)
    left = values - np.asarray(low, dtype=float)
    right = np.asarray(high, dtype=float) - values
    sure = np.asarray([np.nan] * len(names) if p is None else p, dtype=float) < alpha
    colors = [
        (BETTER if value > 0 else WORSE) if found else NEUTRAL
        for value, found in zip(values, sure, strict=True)
    ]
    rows = list(range(len(names)))
    figure = go.Figure()
    if rope > 0:
        figure.add_vrect(
            x0=-rope,
            x1=rope,
            fillcolor=faded(NEUTRAL, 0.15),
            line_width=0,
            layer="below",
            name="practically equal",
        )
    figure.add_vline(x=0, line={"color": NEUTRAL, "width": 1.4, "dash": "dash"})
    for row, color in zip(rows, colors, strict=True):
        interval = np.isfinite(left[row]) and np.isfinite(right[row])
        words = f" [{low[row]:.3f}, {high[row]:.3f}]" if interval else ", too few for an interval"
        figure.add_trace(
            go.Scatter(
                x=[float(values[row])],
                y=[row],
                mode="markers",
                marker={
                    "color": color,
                    "size": 10,
                    "symbol": "circle" if sure[row] else "circle-open",
                    "line": {"color": color, "width": 2},
                },
                error_x={
                    "type": "data",
                    "array": [float(right[row]) if interval else 0.0],
                    "arrayminus": [float(left[row]) if interval else 0.0],
                    "symmetric": False,
                    "color": color,
                    "thickness": 2,
                    "width": 4 if interval else 0,
                },
                hovertemplate=f"<b>{names[row]}</b><br>{values[row]:+.3f}{words}<extra></extra>",
                name=str(names[row]),
                showlegend=False,
            )
        )
    figure.update_layout(
        height=90 + ROW * len(names),
        margin={"l": 8, "r": 8, "t": 12, "b": 8},
        xaxis={
            "title": {"text": f"difference in {score_name}"},
            "zeroline": False,
            "range": _range(values, left, right, rope),
        },
        yaxis={
            "tickvals": rows,
            "ticktext": [str(name) for name in names],
            "range": [len(names) - 0.4, -0.6],
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
        },
        hovermode="closest",
    )
    return figure


def _range(values: np.ndarray, left: np.ndarray, right: np.ndarray, rope: float) -> list[float]:
    """Return ends of the axis that show zero, both ends of the band and every interval."""
    ends = [values - np.nan_to_num(left), values + np.nan_to_num(right), [-rope, rope, 0.0]]
    low, high = float(min(map(np.min, ends))), float(max(map(np.max, ends)))
    margin = 0.06 * (high - low) or 0.05
    return [low - margin, high + margin]
