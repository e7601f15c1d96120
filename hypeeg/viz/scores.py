"""Scores as Plotly figures, with the chance line and each session's pair joined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from hypeeg.viz.palette import BETTER, NEUTRAL, WORSE, faded, style

if TYPE_CHECKING:
    import pandas as pd

SESSION = ["subject", "session"]
FOLD = ["subject", "session", "fold", "seed"]
SPREAD = 0.13
"""Half the width of a column of dots."""


def scores_figure(
    scores: pd.DataFrame,
    chance: float | None = None,
    *,
    twins: Mapping[str, str] | None = None,
    score_name: str = "score",
    height: int = 460,
) -> go.Figure:
    """Draw one column of dots a pipeline, one dot a session, pairs joined by lines.

    Parameters
    ----------
    scores : DataFrame
        One row a fold with columns ``subject``, ``session``, ``fold``, ``seed``, ``pipeline`` and
        ``score``.  Dots are means over folds and seeds; with a single session, dots are folds.
    chance : float, optional
        Where to draw the chance line.
    twins : mapping of str to str, optional
        Euclidean twin to the hyperbolic pipeline it is compared with.  Their dots of one session
        are joined by a line: one colour where the hyperbolic one is better, another where worse.
    score_name : str
        Title of the score axis.
    height : int
        Pixels.

    Returns
    -------
    plotly.graph_objects.Figure
    """
    unit, table = units(scores)
    order = _order(list(table.columns), twins or {})
    offsets = np.linspace(-SPREAD, SPREAD, len(table)) if len(table) > 1 else np.zeros(1)
    figure = go.Figure()
    for twin, hyperbolic in (twins or {}).items():
        if twin in order and hyperbolic in order:
            _add_pairs(figure, table, hyperbolic, twin, order, offsets)
    labels = unit_labels(table)
    for number, pipeline in enumerate(order):
        values = table[pipeline].to_numpy(dtype=float)
        figure.add_trace(
            go.Scatter(
                x=number + offsets,
                y=values,
                mode="markers",
                name=pipeline,
                text=labels,
                hovertemplate=f"<b>{pipeline}</b><br>%{{text}}<br>{score_name} %{{y:.3f}}"
                "<extra></extra>",
                marker={**style(number), "size": 9, "opacity": 0.85},
                showlegend=False,
            )
        )
    _add_means(figure, table, order, score_name)
    add_chance(figure, chance)
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        xaxis={
            "tickvals": list(range(len(order))),
            "ticktext": order,
            "range": [-0.6, len(order) - 0.4],
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={"title": {"text": score_name}, "range": score_range(table, chance)},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        hovermode="closest",
        meta={"unit": unit},
    )
    return figure


def sessions_figure(
    scores: pd.DataFrame,
    chance: float | None = None,
    *,
    twins: Mapping[str, str] | None = None,
    score_name: str = "score",
    height: int = 460,
) -> go.Figure:
    """Draw one column a session with one dot a pipeline; twins are joined by a bar.

    Parameters
    ----------
    scores, chance, twins, score_name, height
        As in :func:`scores_figure`.

    Returns
    -------
    plotly.graph_objects.Figure
    """
    unit, table = units(scores)
    order = _order(list(table.columns), twins or {})
    labels = unit_labels(table)
    positions = np.arange(len(table), dtype=float)
    figure = go.Figure()
    for twin, hyperbolic in (twins or {}).items():
        if twin in order and hyperbolic in order:
            top, bottom = table[hyperbolic].to_numpy(float), table[twin].to_numpy(float)
            for name, color, chosen in _sides(hyperbolic, twin, top - bottom):
                figure.add_trace(
                    go.Scatter(
                        x=segments(positions[chosen], positions[chosen]),
                        y=segments(top[chosen], bottom[chosen]),
                        mode="lines",
                        line={"color": faded(color, 0.7), "width": 4},
                        hoverinfo="skip",
                        name=name,
                    )
                )
    for number, pipeline in enumerate(order):
        figure.add_trace(
            go.Scatter(
                x=positions,
                y=table[pipeline].to_numpy(dtype=float),
                mode="markers",
                name=pipeline,
                text=labels,
                hovertemplate=f"<b>{pipeline}</b><br>%{{text}}<br>{score_name} %{{y:.3f}}"
                "<extra></extra>",
                marker={**style(number), "size": 10, "opacity": 0.9},
            )
        )
    add_chance(figure, chance)
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        xaxis={
            "tickvals": positions,
            "ticktext": labels,
            "range": [-0.6, len(table) - 0.4],
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={"title": {"text": score_name}, "range": score_range(table, chance)},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        hovermode="closest",
        meta={"unit": unit},
    )
    return figure


def units(scores: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """Return what a dot stands for and the scores, one row a dot, one column a pipeline."""
    if scores.empty:
        raise ValueError("the scores table is empty; there is nothing to draw")
    single = len(scores.groupby(SESSION)) == 1
    keys = FOLD if single else SESSION
    order = list(dict.fromkeys(scores["pipeline"]))
    table = scores.pivot_table(index=keys, columns="pipeline", values="score", aggfunc="mean")
    # One session of one subject, divided once: only the seeds are several, as in vision.
    repeated = "seed" if single and scores["fold"].nunique() == 1 else "fold"
    return (repeated if single else "session"), table.reindex(columns=order)


def unit_labels(table: pd.DataFrame) -> list[str]:
    """Return what the rows of a table from :func:`units` are called."""
    if table.index.nlevels == len(SESSION):
        return [f"subject {subject}, session {session}" for subject, session in table.index]
    if table.index.get_level_values("fold").nunique() == 1:
        return [f"seed {seed}" for *_, seed in table.index]
    return [f"fold {fold}, seed {seed}" for _, _, fold, seed in table.index]


def _order(pipelines: list[str], twins: Mapping[str, str]) -> list[str]:
    """Put each twin behind the pipeline it is compared with, so that lines join neighbours."""
    order = []
    for pipeline in pipelines:
        if twins.get(pipeline) not in pipelines:
            order += [pipeline, *(p for p in pipelines if twins.get(p) == pipeline)]
    return order


def _sides(hyperbolic: str, twin: str, difference: np.ndarray) -> list[tuple[str, str, np.ndarray]]:
    """Return name, colour and members of the pairs where one side is better, or both equal."""
    # Means of the same numbers in another order differ in their last digits.
    better, worse = difference > 1e-12, difference < -1e-12
    equal = np.isfinite(difference) & ~better & ~worse
    sides = [
        (f"{hyperbolic} higher ({int(better.sum())})", BETTER, better),
        (f"{twin} higher ({int(worse.sum())})", WORSE, worse),
        (f"equal ({int(equal.sum())})", NEUTRAL, equal),
    ]
    return [side for side in sides if side[2].any()]


def _add_pairs(
    figure: go.Figure,
    table: pd.DataFrame,
    hyperbolic: str,
    twin: str,
    order: list[str],
    offsets: np.ndarray,
) -> None:
    first, second = table[hyperbolic].to_numpy(float), table[twin].to_numpy(float)
    left, right = order.index(hyperbolic) + offsets, order.index(twin) + offsets
    for name, color, chosen in _sides(hyperbolic, twin, first - second):
        figure.add_trace(
            go.Scatter(
                x=segments(left[chosen], right[chosen]),
                y=segments(first[chosen], second[chosen]),
                mode="lines",
                line={"color": faded(color, 0.7), "width": 1.8},
                hoverinfo="skip",
                name=name,
            )
        )


def segments(start: np.ndarray, end: np.ndarray) -> list[float | None]:
    """Interleave starts and ends with gaps, for many lines in one trace."""
    return [value for a, b in zip(start, end, strict=True) for value in (float(a), float(b), None)]


def _add_means(figure: go.Figure, table: pd.DataFrame, order: list[str], score_name: str) -> None:
    means = [float(table[p].mean()) for p in order]
    stds = [float(table[p].std(ddof=1)) if table[p].count() > 1 else 0.0 for p in order]
    figure.add_trace(
        go.Scatter(
            x=[number + 0.27 for number in range(len(order))],
            y=means,
            error_y={"type": "data", "array": stds, "color": NEUTRAL, "thickness": 1.6, "width": 5},
            mode="markers",
            marker={"symbol": "line-ew", "size": 16, "line": {"width": 3, "color": NEUTRAL}},
            customdata=np.array(stds),
            text=order,
            hovertemplate=f"<b>%{{text}}</b><br>mean {score_name} %{{y:.3f}} ± %{{customdata:.3f}}"
            "<extra></extra>",
            name="mean ± std",
        )
    )


def add_chance(figure: go.Figure, chance: float | None) -> None:
    """Draw the chance line, if there is one."""
    if chance is None:
        return
    figure.add_hline(
        y=chance,
        line={"color": NEUTRAL, "width": 1.4, "dash": "dash"},
        annotation={
            "text": f"chance {chance:.2f}",
            "font": {"color": NEUTRAL, "size": 12},
            "xanchor": "right",
        },
        annotation_position="bottom right",
        name="chance",
    )


def score_range(table: pd.DataFrame, chance: float | None) -> list[float]:
    """Return ends of an axis that shows all scores and chance."""
    mean, std = table.mean(), table.std(ddof=1).fillna(0.0)
    ends = np.concatenate([table.to_numpy(dtype=float).ravel(), mean - std, mean + std])
    values: list[Any] = [float(np.nanmin(ends)), float(np.nanmax(ends))]
    if chance is not None:
        values.append(chance)
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.05
    return [low - 1.5 * margin, high + margin]
