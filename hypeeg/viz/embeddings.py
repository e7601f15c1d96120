"""Embeddings as a Plotly figure: the Poincaré disk, or the plane of a Euclidean network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from hypeeg.viz.canvas import WHOLE_DISK, add_disk
from hypeeg.viz.canvas import ring_distances as ring_distances
from hypeeg.viz.disk import geodesic
from hypeeg.viz.palette import (
    MAX_CATEGORIES,
    NEUTRAL,
    SCALE,
    WORSE,
    categories,
    style,
)
from hypeeg.viz.picture import Around, Picture, picture_of

WEBGL_ABOVE = 3000
"""More points than this are drawn by the graphics card; fewer look better as SVG."""

HOVER_POINTS = 3000
"""More texts than this would be most of what is sent to the browser."""

Hover = Sequence[str] | Callable[[np.ndarray], Sequence[str]] | None


def disk_figure(
    embeddings: np.ndarray,
    curvature: float | np.ndarray | None = None,
    color: Sequence[Any] | np.ndarray | None = None,
    hover: Sequence[str] | None = None,
    *,
    around: Around = "origin",
    centre: int | None = None,
    **options: Any,
) -> go.Figure:
    """Draw embeddings in the Poincaré disk, or in a plane if they are Euclidean.

    Parameters
    ----------
    embeddings : ndarray, shape (n_points, n)
        Space parts of hyperboloid points (or plain vectors); n above 2 is reduced, see
        :func:`hypeeg.viz.picture.picture_of`.
    curvature : float or ndarray of shape (n_points,) or None
        Curvature magnitudes; None or NaN for Euclidean vectors.
    color : sequence, optional
        One value a point; numbers (float) get a colour scale, everything else categories.
    hover : sequence of str, optional
        Text shown when a point is pointed at (``<br>`` breaks lines).
    around : {"origin", "centroid"}
        What lies in the middle before any reduction.
    centre : int, optional
        Point that is moved into the middle of the finished picture.
    **options
        Passed to :func:`picture_figure`.

    Returns
    -------
    plotly.graph_objects.Figure

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).normal(size=(50, 8))
    >>> figure = disk_figure(points, curvature=1.5, color=["left", "right"] * 25)
    >>> figure.write_html("disk.html")  # doctest: +SKIP
    """
    picture = picture_of(embeddings, curvature, around)
    if centre is not None:
        picture = picture.centred_on(centre)
    return picture_figure(picture, color, hover, **options)


def picture_figure(
    picture: Picture,
    color: Sequence[Any] | np.ndarray | None = None,
    hover: Hover = None,
    *,
    color_name: str = "",
    names: Sequence[str] | None = None,
    selected: np.ndarray | None = None,
    marked: int | None = None,
    neighbours: Sequence[int] = (),
    fit: bool | None = None,
    styles: Mapping[str, Mapping[str, Any]] | None = None,
    height: int = 640,
) -> go.Figure:
    """Draw a finished picture.

    Parameters
    ----------
    picture : Picture
        Points in the plane.
    color, hover
        As in :func:`disk_figure`.  `hover` may be a function that returns the texts of points with
        given positions; of more than `HOVER_POINTS` points only as many, evenly chosen, have one.
    color_name : str
        What the colours stand for.
    names : sequence of str, optional
        All categories in the order that gives them their colours, so that pictures of which some
        lack a category agree; by default those that occur.
    selected : ndarray of int, optional
        Points that stand out; the others fade.
    marked : int, optional
        Point with a ring around it.
    neighbours : sequence of int
        Points joined to the marked one by geodesics.
    fit : bool, optional
        Show the part of the plane where the points are instead of the whole disk.  By default
        the whole disk is shown as soon as the points reach halfway to its boundary.
    styles : mapping, optional
        Marker properties (``color``, ``symbol``) of single categories.
    height : int
        Pixels.

    Returns
    -------
    plotly.graph_objects.Figure
        Equal aspect.  Every point carries its position in the data as ``customdata``.

    Raises
    ------
    ValueError
        If `color` or `hover` do not have one entry a point.
    """
    n = len(picture.points)
    for name, values in (("color", color), ("hover", hover)):
        if values is not None and not callable(values) and len(values) != n:
            raise ValueError(f"{name} has {len(values)} entries for {n} points; give one each")
    figure = go.Figure()
    reach = picture_reach(picture, fit)
    if picture.hyperbolic:
        add_disk(figure, picture.c, reach)
    if marked is not None and len(neighbours):
        _add_geodesics(figure, picture, marked, neighbours)
    _add_points(figure, picture, color, hover, color_name, styles or {}, names, selected)
    if marked is not None:
        _add_mark(figure, picture.points[marked])
    axis: dict[str, Any] = {
        "visible": not picture.hyperbolic,
        "showgrid": not picture.hyperbolic,
        "zeroline": not picture.hyperbolic,
        "showticklabels": not picture.hyperbolic,
        "range": [-reach, reach],
        "constrain": "domain",
    }
    titles = picture.axis_names or (("PC 1", "PC 2") if picture.reduced else ("x", "y"))
    # A chosen point has a ring of its own: the others need not fade.
    faded = 0.85 if selected is None else 0.13
    figure.update_traces(unselected={"marker": {"opacity": faded}}, selector={"mode": "markers"})
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        xaxis={**axis, "title": {"text": titles[0]}},
        yaxis={
            **axis,
            "title": {"text": titles[1]},
            "scaleanchor": "x",
            "scaleratio": 1,
            # Where there is less width than height, the picture stays below its legend.
            "constraintoward": "top",
        },
        legend={
            "title": {"text": color_name},
            "itemsizing": "constant",
            "orientation": "h",
            "yanchor": "bottom",
            "y": 1.0,
            "x": 0,
        },
        hovermode="closest",
        dragmode="pan",
        plot_bgcolor="rgba(0, 0, 0, 0)",
    )
    return figure


def picture_reach(picture: Picture, fit: bool | None) -> float:
    """Return half the width of what :func:`picture_figure` shows, in the picture's coordinates."""
    # Points without a place in the picture are NaN.
    largest = float(np.nanmax(np.abs(picture.points), initial=0.0))
    if not picture.hyperbolic:
        return 1.12 * largest or 1.0
    if fit is None:
        fit = largest < 0.5
    near = 1.2 * largest
    # A disk cut off at its sides shows less than the whole one, for little gain.
    return near if fit and 0.0 < near < 0.75 else WHOLE_DISK


def _add_geodesics(
    figure: go.Figure, picture: Picture, marked: int, neighbours: Sequence[int]
) -> None:
    start = picture.points[marked]
    xs: list[float | None] = []
    ys: list[float | None] = []
    for other in neighbours:
        end = picture.points[other]
        line = geodesic(start, end) if picture.hyperbolic else np.stack([start, end])
        xs += [*line[:, 0], None]
        ys += [*line[:, 1], None]
    figure.add_trace(
        go.Scatter(
            x=xs,
            y=ys,
            mode="lines",
            line={"color": NEUTRAL, "width": 1.4},
            hoverinfo="skip",
            name="nearest trials",
            showlegend=True,
        )
    )


def _add_mark(figure: go.Figure, point: np.ndarray) -> None:
    figure.add_trace(
        go.Scatter(
            x=[point[0]],
            y=[point[1]],
            mode="markers",
            marker={"symbol": "circle-open", "size": 20, "color": WORSE, "line": {"width": 2.5}},
            hoverinfo="skip",
            name="chosen trial",
        )
    )


def _add_points(
    figure: go.Figure,
    picture: Picture,
    color: Sequence[Any] | np.ndarray | None,
    hover: Hover,
    color_name: str,
    styles: Mapping[str, Mapping[str, Any]],
    order: Sequence[str] | None,
    selected: np.ndarray | None,
) -> None:
    n = len(picture.points)
    draw = go.Scattergl if n > WEBGL_ABOVE else go.Scatter
    size = 9 if n <= 300 else 7 if n <= 2000 else 5 if n <= 8000 else 4
    # Outlines part points that overlap; among thousands they hide them.
    outline = 0.7 if n <= 2000 else 0
    few = n <= HOVER_POINTS
    chosen = np.zeros(n, dtype=bool)
    if selected is not None:
        chosen[selected] = True

    def add(index: np.ndarray, name: str, marker: dict[str, Any], legend: bool) -> None:
        trace = draw(
            x=picture.points[index, 0],
            y=picture.points[index, 1],
            mode="markers",
            name=name,
            customdata=index,
            marker={
                "size": size,
                "opacity": 0.85 if n <= 8000 else 0.6,
                "line": {"width": outline, "color": "rgba(255, 255, 255, 0.7)"},
                **marker,
            },
            showlegend=legend,
            selectedpoints=None if selected is None else np.flatnonzero(chosen[index]),
        )
        if few:
            trace.update(text=_texts(hover, index), hovertemplate="%{text}<extra></extra>")
        else:
            trace.update(hoverinfo="skip")
        figure.add_trace(trace)

    everyone = np.arange(n)
    values = np.zeros(n, dtype=str) if color is None else np.asarray(color)
    names = list(order) if order is not None else categories(values)
    if color is None:
        add(everyone, "trials", style(0), legend=False)
    elif np.issubdtype(values.dtype, np.floating):
        add(everyone, color_name, _scale(values.astype(float), color_name), legend=False)
    elif len(names) > MAX_CATEGORIES:
        number_of = {name: number for number, name in enumerate(names)}
        ranks = np.array([number_of[str(value)] for value in values], dtype=float)
        bar = _scale(ranks, color_name)
        shown = np.linspace(0, len(names) - 1, 6).round().astype(int)
        bar["colorbar"] |= {"tickvals": shown, "ticktext": [names[i] for i in shown]}
        add(everyone, color_name, bar, legend=False)
    else:
        text = np.array([str(value) for value in values])
        for number, name in enumerate(names):
            here = np.flatnonzero(text == name)
            if len(here):
                add(here, name, {**style(number), **styles.get(name, {})}, legend=True)
    if not few:
        some = np.linspace(0, n - 1, HOVER_POINTS).astype(int)
        figure.add_trace(
            draw(
                x=picture.points[some, 0],
                y=picture.points[some, 1],
                mode="markers",
                name="some trials",
                marker={"size": size, "opacity": 0.0},
                text=_texts(hover, some),
                hovertemplate="%{text}<extra></extra>",
                customdata=some,
                showlegend=False,
            )
        )


def _texts(hover: Hover, index: np.ndarray) -> list[str]:
    if hover is None:
        return [f"trial {i}" for i in index]
    return list(hover(index)) if callable(hover) else [hover[i] for i in index]


def _scale(values: np.ndarray, name: str) -> dict[str, Any]:
    return {
        "color": values,
        "colorscale": SCALE,
        "colorbar": {"title": {"text": name}, "thickness": 12, "len": 0.6},
    }
