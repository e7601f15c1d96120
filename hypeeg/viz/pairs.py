"""Two sets of scores beside each other, pipeline by pipeline, as a Plotly figure."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from hypeeg.viz.palette import BETTER, COLORS, NEUTRAL, WORSE, faded
from hypeeg.viz.scores import add_chance, score_range, segments, unit_labels, units

if TYPE_CHECKING:
    import pandas as pd

SIDES = ("A", "B")
NAME_WIDTH = 18
"""Letters of a pair's name in a line."""

_COLORS = (COLORS[3], COLORS[2])
_SYMBOLS = ("circle", "diamond")
_AT = (-0.2, 0.2)
_SPREAD = 0.09


def pairs_figure(
    scores: pd.DataFrame,
    chance: float | None = None,
    *,
    names: tuple[str, str] = SIDES,
    score_name: str = "score",
    height: int = 460,
) -> go.Figure:
    """Draw two columns of dots a pair: what A scored, what B scored, the same session joined.

    Parameters
    ----------
    scores : DataFrame
        One row a fold with columns ``pair`` (text), ``side`` (``"A"`` or ``"B"``), ``subject``,
        ``session``, ``fold``, ``seed`` and ``score``.  Dots are means over folds and seeds; with
        a single session, dots are folds.
    chance : float, optional
        Where to draw the chance line.
    names : tuple of str
        What A and B are, for the legend.
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
        If there are no scores.
    """
    pairs = list(dict.fromkeys(scores["pair"]))
    columns = scores["pair"].astype(str) + "\n" + scores["side"].astype(str)
    _, table = units(scores.assign(pipeline=columns))
    values = np.full((2, len(pairs), len(table)), np.nan)
    for side, letter in enumerate(SIDES):
        for number, pair in enumerate(pairs):
            if f"{pair}\n{letter}" in table:
                values[side, number] = table[f"{pair}\n{letter}"].to_numpy(dtype=float)
    spread = np.linspace(-_SPREAD, _SPREAD, len(table)) if len(table) > 1 else np.zeros(1)
    middle = np.arange(len(pairs), dtype=float)[:, None] + np.array(_AT)[:, None, None]
    places = middle + spread
    figure = go.Figure()
    _add_lines(figure, places, values)
    labels = unit_labels(table)
    for side, name in enumerate(names):
        texts = [f"<b>{pair}</b><br>{label}" for pair in pairs for label in labels]
        figure.add_trace(
            go.Scatter(
                x=places[side].ravel(),
                y=values[side].ravel(),
                mode="markers",
                name=name,
                text=texts,
                hovertemplate=f"%{{text}}<br>{score_name} of {SIDES[side]} %{{y:.3f}}"
                "<extra></extra>",
                marker={
                    "color": _COLORS[side],
                    "symbol": _SYMBOLS[side],
                    "size": 8,
                    "opacity": 0.85,
                },
            )
        )
    _add_means(figure, middle[:, :, 0], values, pairs, score_name)
    add_chance(figure, chance)
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        xaxis={
            "tickvals": list(range(len(pairs))),
            "ticktext": ["<br>".join(wrap(pair, NAME_WIDTH)) for pair in pairs],
            "range": [-0.5, len(pairs) - 0.5],
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
            # Turned so that a name ends at its tick: the last ones do not leave the figure.
            "autotickangles": [0, -35, -90],
            "ticklabeloverflow": "allow",
        },
        yaxis={"title": {"text": score_name}, "range": score_range(table, chance)},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        hovermode="closest",
    )
    return figure


def _add_lines(figure: go.Figure, places: np.ndarray, values: np.ndarray) -> None:
    """Join the two dots of a session, in the colour of the side that is higher."""
    gap = values[1] - values[0]
    # Means of the same numbers in another order differ in their last digits.
    higher, lower = gap > 1e-12, gap < -1e-12
    kinds: tuple[tuple[str, str, Any], ...] = (
        ("B higher", BETTER, higher),
        ("A higher", WORSE, lower),
        ("equal", NEUTRAL, np.isfinite(gap) & ~higher & ~lower),
    )
    for name, color, chosen in kinds:
        if chosen.any():
            figure.add_trace(
                go.Scatter(
                    x=segments(places[0][chosen], places[1][chosen]),
                    y=segments(values[0][chosen], values[1][chosen]),
                    mode="lines",
                    line={"color": faded(color, 0.7), "width": 1.8},
                    hoverinfo="skip",
                    name=f"{name} ({int(chosen.sum())})",
                )
            )


def _add_means(
    figure: go.Figure, middle: np.ndarray, values: np.ndarray, pairs: list[str], score_name: str
) -> None:
    means = [[float(np.nanmean(row)) for row in side] for side in values]
    figure.add_trace(
        go.Scatter(
            # Outside the dots, whose lines fill the middle.
            x=[*(middle[0] - 0.17), *(middle[1] + 0.17)],
            y=[*means[0], *means[1]],
            mode="markers",
            marker={"symbol": "line-ew", "size": 10, "line": {"width": 3, "color": NEUTRAL}},
            text=[f"{pair} [{side}]" for side in SIDES for pair in pairs],
            hovertemplate=f"<b>%{{text}}</b><br>mean {score_name} %{{y:.3f}}<extra></extra>",
            name="mean",
        )
    )
