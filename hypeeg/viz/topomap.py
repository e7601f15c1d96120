"""Signals of chosen trials beside the others: mean curves, spectra and maps of the head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hypeeg.viz.palette import COLORS, FAINTEST, NEUTRAL, faded

CHOSEN, OTHERS = COLORS[5], COLORS[0]
_GRID = 61


def compare_figure(
    x: np.ndarray,
    chosen: np.ndarray,
    others: np.ndarray,
    error: np.ndarray | None = None,
    *,
    labels: tuple[str, str],
    x_title: str,
    y_title: str,
    at: float | None = None,
    height: int = 300,
) -> go.Figure:
    """Draw one curve of the chosen trials and one of the others.

    Parameters
    ----------
    x : ndarray, shape (n,)
        Times or frequencies.
    chosen, others : ndarray, shape (n,)
        Means.
    error : ndarray, shape (2, n), optional
        Standard errors of the two means, drawn as bands.
    labels : tuple of str
        What the curves are of.
    x_title, y_title : str
        Titles of the axes.
    at : float, optional
        Where a vertical line stands.
    height : int
        Pixels.

    Returns
    -------
    plotly.graph_objects.Figure
    """
    figure = go.Figure()
    for row, (values, name, color) in enumerate(
        ((others, labels[1], OTHERS), (chosen, labels[0], CHOSEN))
    ):
        if error is not None and np.isfinite(error[1 - row]).all():
            band = error[1 - row]
            figure.add_trace(
                go.Scatter(
                    x=np.concatenate([x, x[::-1]]),
                    y=np.concatenate([values + band, (values - band)[::-1]]),
                    fill="toself",
                    fillcolor=faded(color, 0.2),
                    line={"width": 0},
                    hoverinfo="skip",
                    showlegend=False,
                    name=f"{name}: standard error",
                )
            )
        figure.add_trace(
            go.Scatter(x=x, y=values, mode="lines", name=name, line={"color": color, "width": 2})
        )
    if at is not None:
        figure.add_vline(x=at, line={"color": NEUTRAL, "dash": "dot", "width": 1})
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 30, "b": 8},
        xaxis={"title": {"text": x_title}},
        yaxis={"title": {"text": y_title}},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        hovermode="x unified",
        plot_bgcolor="rgba(0, 0, 0, 0)",
    )
    return figure


def topomap_figure(
    points: np.ndarray,
    values: Sequence[np.ndarray],
    titles: Sequence[str],
    *,
    unit: str,
    height: int = 280,
) -> go.Figure:
    """Draw maps of the head side by side; the last has a scale of its own, as a difference has.

    Parameters
    ----------
    points : ndarray, shape (n_sensors, 2)
        In the plane, the rim of the head near 1; sensors with NaN are left out.
    values : sequence of ndarray, shape (n_sensors,)
        One map each.
    titles : sequence of str
        Their titles.
    unit : str
        Of the values.
    height : int
        Pixels.

    Returns
    -------
    plotly.graph_objects.Figure
        Values between sensors are those of a thin-plate spline.
    """
    n = len(values)
    figure = make_subplots(rows=1, cols=n, subplot_titles=list(titles), horizontal_spacing=0.02)
    known = np.isfinite(points).all(axis=1)
    at = points[known]
    rim = max(1.0, float(np.linalg.norm(at, axis=1).max(initial=0.0)) * 1.02)
    axis = np.linspace(-rim, rim, _GRID)
    for column, map_values in enumerate(values, start=1):
        z = spread_over_head(at, np.asarray(map_values)[known], axis, rim)
        last = column == n
        several = [values[-1]] if last else list(values[:-1])
        low = float(min(np.nanmin(v[known]) for v in several))
        high = float(max(np.nanmax(v[known]) for v in several))
        scale = {"zmin": low, "zmax": high, "colorscale": "Cividis"}
        if last or low < 0 < high:
            most = max(abs(low), abs(high)) or 1.0
            scale = {"zmin": -most, "zmax": most, "colorscale": "RdBu_r"}
        title = f"Δ {unit}" if last and n > 1 else unit
        bar = {"len": 0.8, "thickness": 10, "title": {"text": title}}
        figure.add_trace(
            go.Heatmap(
                x=axis,
                y=axis,
                z=z,
                zsmooth="best",
                showscale=last or column == n - 1,
                colorbar={**bar, "x": 1.0 if last else 1.12},
                hoverinfo="skip",
                name=titles[column - 1],
                **scale,
            ),
            row=1,
            col=column,
        )
        _outline(figure, column, rim)
        figure.add_trace(
            go.Scatter(
                x=at[:, 0],
                y=at[:, 1],
                mode="markers",
                marker={"size": 4, "color": "#222222", "line": {"width": 0.5, "color": "white"}},
                hoverinfo="skip",
                showlegend=False,
                name="sensors",
            ),
            row=1,
            col=column,
        )
    reach = 1.2 * rim
    figure.update_xaxes(visible=False, range=[-reach, reach], constrain="domain")
    for column in range(1, n + 1):
        anchor = "x" if column == 1 else f"x{column}"
        figure.update_yaxes(
            visible=False, range=[-reach, reach], scaleanchor=anchor, row=1, col=column
        )
    figure.update_layout(
        height=height,
        margin={"l": 0, "r": 0, "t": 30, "b": 0},
        plot_bgcolor="rgba(0, 0, 0, 0)",
        dragmode=False,
    )
    return figure


def spread_over_head(
    points: np.ndarray, values: np.ndarray, axis: np.ndarray, rim: float
) -> np.ndarray:
    """Return values on a grid over the head, NaN outside of it.

    Parameters
    ----------
    points : ndarray, shape (n_sensors, 2)
    values : ndarray, shape (n_sensors,)
    axis : ndarray, shape (n,)
        Coordinates of the grid in both directions.
    rim : float
        Radius of the head.

    Returns
    -------
    ndarray of float64, shape (n, n)
    """
    from scipy.interpolate import RBFInterpolator

    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    inside = np.linalg.norm(grid, axis=1) <= rim
    found = np.full(len(grid), np.nan)
    # Sensors on one line do not span a plane: what needs none is taken then.
    flat = len(points) < 4 or np.linalg.matrix_rank(points - points.mean(axis=0), tol=1e-3) < 2
    kernel, degree = ("linear", 0) if flat else ("thin_plate_spline", 1)
    places, first = np.unique(points, axis=0, return_index=True)
    spline = RBFInterpolator(places, values[first], kernel=kernel, degree=degree, smoothing=1e-9)
    # Beyond the outermost sensors a spline runs away.
    found[inside] = np.clip(spline(grid[inside]), values.min(), values.max())
    return found.reshape(len(axis), len(axis))


def _outline(figure: go.Figure, column: int, rim: float) -> None:
    angle = np.linspace(0, 2 * np.pi, 121)
    nose = np.array([[-0.12, 0.99], [0.0, 1.13], [0.12, 0.99]]) * rim
    for x, y in ((rim * np.cos(angle), rim * np.sin(angle)), (nose[:, 0], nose[:, 1])):
        figure.add_trace(
            go.Scatter(
                x=x,
                y=y,
                mode="lines",
                line={"color": NEUTRAL, "width": 1.6},
                fillcolor=FAINTEST,
                hoverinfo="skip",
                showlegend=False,
                name="head",
            ),
            row=1,
            col=column,
        )
