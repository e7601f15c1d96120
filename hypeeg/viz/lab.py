"""Pictures for learning hyperbolic geometry: the disk with points and paths, the sheet above it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from hypeeg.viz.canvas import WHOLE_DISK, add_disk
from hypeeg.viz.disk import disk_to_lorentz
from hypeeg.viz.palette import COLORS, NEUTRAL

Array = np.ndarray

_TARGET_RINGS = np.arange(0.05, 0.99, 0.045)


def lab_figure(
    c: float,
    points: Mapping[str, Array],
    paths: Mapping[str, Sequence[Array]] | None = None,
    *,
    styles: Mapping[str, Mapping[str, object]] | None = None,
    targets: bool = False,
    height: int = 560,
) -> go.Figure:
    """Draw named points and paths in the Poincaré disk.

    Parameters
    ----------
    c : float
        Curvature magnitude, for the circles of equal distance.
    points : mapping of str to ndarray, shape (2,) or (n, 2)
        Points of the unit disk. Single ones are lettered.
    paths : mapping of str to sequence of ndarray of shape (k, 2), optional
        Lines through points of the unit disk.
    styles : mapping of str to mapping, optional
        Plotly properties of single traces, over the defaults.
    targets : bool
        Add invisible markers all over the disk, so that a click anywhere is a selection; their
        places are their ``x`` and ``y``.
    height : int
        Pixels.

    Returns
    -------
    plotly.graph_objects.Figure
    """
    styles = styles or {}
    figure = go.Figure()
    add_disk(figure, c)
    if targets:
        grid = click_targets()
        figure.add_trace(
            go.Scatter(
                x=grid[:, 0],
                y=grid[:, 1],
                mode="markers",
                marker={"size": 16, "opacity": 0},
                hoverinfo="none",
                showlegend=False,
                name="targets",
            )
        )
    for number, (name, lines) in enumerate((paths or {}).items()):
        x, y = joined(lines)
        look: dict[str, object] = {
            "mode": "lines",
            "line": {"color": COLORS[number % len(COLORS)], "width": 2.5},
            "hoverinfo": "skip",
        }
        figure.add_trace(go.Scatter(x=x, y=y, name=name, **{**look, **styles.get(name, {})}))
    for number, (name, place) in enumerate(points.items()):
        single = np.ndim(place) == 1
        at = np.atleast_2d(place)
        look = {
            "mode": "markers+text" if single else "markers",
            "text": [f"<b>{name}</b>"] if single else None,
            "textposition": "top center",
            "textfont": {"size": 15, "color": COLORS[number % len(COLORS)]},
            "marker": {
                "size": 13 if single else 8,
                "color": COLORS[number % len(COLORS)],
                "line": {"width": 1, "color": "rgba(255, 255, 255, 0.8)"},
            },
            "hovertemplate": f"{name}<extra></extra>",
            "showlegend": not single,
        }
        figure.add_trace(
            go.Scatter(x=at[:, 0], y=at[:, 1], name=name, **{**look, **styles.get(name, {})})
        )
    axis = {"visible": False, "range": [-WHOLE_DISK, WHOLE_DISK], "constrain": "domain"}
    # A click chooses a target: what is not chosen must not fade.
    figure.update_traces(
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
        selector=lambda t: t.mode and "markers" in t.mode and t.name != "targets",
    )
    figure.update_traces(
        selected={"marker": {"opacity": 0}},
        unselected={"marker": {"opacity": 0}},
        selector={"name": "targets"},
    )
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        xaxis=axis,
        yaxis={**axis, "scaleanchor": "x", "scaleratio": 1},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        hovermode="closest",
        dragmode=False,
        plot_bgcolor="rgba(0, 0, 0, 0)",
    )
    return figure


def click_targets() -> Array:
    """Return points that cover the unit disk evenly enough to be clicked, shape (n, 2)."""
    rings = [np.zeros((1, 2))]
    for radius in _TARGET_RINGS:
        n = max(6, round(2 * math.pi * radius / 0.045))
        angle = np.arange(n) * (2 * math.pi / n)
        rings.append(radius * np.column_stack([np.cos(angle), np.sin(angle)]))
    return np.concatenate(rings)


def joined(lines: Sequence[Array]) -> tuple[list[float | None], list[float | None]]:
    """Return lines one after another, with gaps between them.

    Parameters
    ----------
    lines : sequence of ndarray, shape (k, 2)
        Points of each line.

    Returns
    -------
    x, y : list of float or None
        None is a gap.
    """
    xs: list[float | None] = []
    ys: list[float | None] = []
    for line in lines:
        xs += [*line[:, 0].tolist(), None]
        ys += [*line[:, 1].tolist(), None]
    return xs, ys


def arrow(start: Array, tip: Array, line: Array, size: float = 0.035) -> list[Array]:
    """Return a path with a head at its end.

    Parameters
    ----------
    start, tip : ndarray, shape (2,)
        Ends of the path.
    line : ndarray, shape (k, 2)
        The path between them.
    size : float
        Length of the head in the disk.

    Returns
    -------
    list of ndarray
        The path, and the head; without a head where the path is shorter than it.
    """
    if len(line) < 2 or float(np.linalg.norm(tip - start)) < size:
        return [line]
    back = line[-2] - tip
    back = back / (np.linalg.norm(back) or 1.0) * size
    sides = []
    for turn in (0.45, -0.45):
        cos, sin = math.cos(turn), math.sin(turn)
        sides.append(tip + np.array([[cos, -sin], [sin, cos]]) @ back)
    return [line, np.stack([sides[0], tip, sides[1]])]


def sheet_figure(
    points: Mapping[str, Array],
    paths: Mapping[str, Sequence[Array]] | None = None,
    *,
    colors: Mapping[str, str] | None = None,
    height: int = 560,
) -> go.Figure:
    """Draw the same points on the hyperboloid, above the disk they are projected to.

    Parameters
    ----------
    points : mapping of str to ndarray, shape (2,)
        Points of the unit disk.
    paths : mapping of str to sequence of ndarray of shape (k, 2), optional
        Lines through points of the unit disk.
    colors : mapping of str to str, optional
        Colours of single points and paths, in place of the palette's.
    height : int
        Pixels.

    Returns
    -------
    plotly.graph_objects.Figure
        Three-dimensional, in units of ``1/sqrt(c)``: the sheet ``t^2 = 1 + |x|^2``, the unit disk
        at height 0, and the lines that meet in ``(0, -1)``, by which one is projected on the
        other.
    """
    every = [np.atleast_2d(place) for place in points.values()]
    for lines in (paths or {}).values():
        every += list(lines)
    lifted = [disk_to_lorentz(place, 1.0) for place in every]
    reach = max([1.5, *(float(np.linalg.norm(x, axis=1).max()) for x in lifted)])
    reach = min(1.1 * reach, 12.0)
    # Even steps of distance, so that the bottom of the sheet is round.
    radius = np.sinh(np.linspace(0.0, math.asinh(reach), 24))[:, None]
    angle = np.linspace(0.0, 2.0 * np.pi, 61)[None, :]
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    z = np.sqrt(1.0 + x * x + y * y)
    figure = go.Figure()
    figure.add_trace(
        go.Surface(
            x=x,
            y=y,
            z=z,
            surfacecolor=z,
            colorscale=[[0, COLORS[4]], [1, COLORS[0]]],
            opacity=0.35,
            showscale=False,
            hoverinfo="skip",
            name="sheet",
            contours={"z": {"show": False}},
        )
    )
    rim = np.linspace(0.0, 2.0 * np.pi, 121)
    figure.add_trace(_line(np.cos(rim), np.sin(rim), 0 * rim, "disk", NEUTRAL, 3))
    colors = colors or {}
    for number, (name, lines) in enumerate((paths or {}).items()):
        color = colors.get(name, COLORS[number % len(COLORS)])
        for k, line in enumerate(lines):
            up = disk_to_lorentz(line, 1.0)
            t = np.sqrt(1.0 + np.sum(up * up, axis=1))
            figure.add_trace(_line(up[:, 0], up[:, 1], t, name, color, 5, show=k == 0))
            figure.add_trace(_line(line[:, 0], line[:, 1], 0 * t, name, color, 3))
    for number, (name, place) in enumerate(points.items()):
        color = colors.get(name, COLORS[number % len(COLORS)])
        up = disk_to_lorentz(place, 1.0)
        t = math.sqrt(1.0 + float(up @ up))
        figure.add_trace(
            _line(
                np.array([0.0, up[0]]),
                np.array([0.0, up[1]]),
                np.array([-1.0, t]),
                f"projection of {name}",
                NEUTRAL,
                2,
            )
        )
        figure.add_trace(
            go.Scatter3d(
                x=[up[0], place[0]],
                y=[up[1], place[1]],
                z=[t, 0.0],
                mode="markers+text",
                text=[f"<b>{name}</b>", ""],
                textfont={"size": 14, "color": color},
                marker={"size": [6, 4], "color": color},
                hovertemplate=f"{name}<extra></extra>",
                showlegend=False,
                name=name,
            )
        )
    hidden = {"visible": False, "showspikes": False}
    # The view is kept when points move or c changes.
    figure.update_layout(
        height=height,
        margin={"l": 0, "r": 0, "t": 8, "b": 0},
        uirevision="sheet",
        scene={
            "xaxis": {**hidden, "range": [-reach, reach]},
            "yaxis": {**hidden, "range": [-reach, reach]},
            "zaxis": {**hidden, "range": [-1.1, math.hypot(1.0, reach)]},
            "aspectmode": "data",
            "camera": {
                "eye": {"x": 1.12, "y": -1.4, "z": 0.62},
                "center": {"x": 0, "y": 0, "z": -0.05},
            },
            "bgcolor": "rgba(0, 0, 0, 0)",
            "dragmode": "orbit",
        },
        showlegend=False,
    )
    return figure


def curves_figure(
    x: Array,
    curves: Mapping[str, Array],
    *,
    x_title: str,
    y_title: str,
    log_y: bool = False,
    marks: Mapping[str, float] | None = None,
    styles: Mapping[str, Mapping[str, object]] | None = None,
    height: int = 340,
) -> go.Figure:
    """Draw named curves over one axis, with named vertical lines.

    Parameters
    ----------
    x : ndarray, shape (n,)
        Common axis.
    curves : mapping of str to ndarray, shape (n,)
        Values of each curve.
    x_title, y_title : str
        What the axes are.
    log_y : bool
        Logarithmic vertical axis.
    marks : mapping of str to float, optional
        Vertical lines.
    styles : mapping of str to mapping, optional
        Plotly line properties of single curves, over the defaults.
    height : int
        Pixels.

    Returns
    -------
    plotly.graph_objects.Figure
    """
    figure = go.Figure()
    for number, (name, values) in enumerate(curves.items()):
        line = {"width": 2.5, "color": COLORS[number % len(COLORS)]}
        figure.add_trace(
            go.Scatter(
                x=x,
                y=values,
                mode="lines",
                name=name,
                line={**line, **(styles or {}).get(name, {})},
                hovertemplate=f"{name}: %{{y:.4g}}<extra>%{{x:.4g}}</extra>",
            )
        )
    for name, at in (marks or {}).items():
        figure.add_vline(
            x=at,
            line={"color": NEUTRAL, "width": 1.4, "dash": "dot"},
            annotation={"text": name, "font": {"color": NEUTRAL, "size": 12}},
            annotation_position="bottom right",
        )
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        xaxis={"title": {"text": x_title}, "range": [float(x[0]), float(x[-1])]},
        yaxis={
            "title": {"text": y_title},
            "type": "log" if log_y else "linear",
            "exponentformat": "power",
        },
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        hovermode="closest",
    )
    return figure


def _line(
    x: Array, y: Array, z: Array, name: str, color: str, width: int, *, show: bool = False
) -> go.Scatter3d:
    return go.Scatter3d(
        x=x,
        y=y,
        z=z,
        mode="lines",
        line={"color": color, "width": width},
        hoverinfo="skip",
        name=name,
        showlegend=show,
    )
