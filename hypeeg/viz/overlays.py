"""Drawn over a picture of embeddings: decision regions, class points, geodesics, density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from hypeeg.viz.disk import geodesic
from hypeeg.viz.palette import COLORS, FAINT, NEUTRAL, faded, style
from hypeeg.viz.regions import Regions, level_lines, line_coordinates

_DENSITY_GRID = 120


def add_regions(
    figure: go.Figure,
    regions: Regions,
    names: Sequence[str],
    *,
    fill: bool = True,
    planes: bool = False,
) -> None:
    """Draw where a head decides for which class.

    Parameters
    ----------
    figure : plotly.graph_objects.Figure
        From :func:`hypeeg.viz.embeddings.picture_figure`.
    regions : Regions
        See :func:`hypeeg.viz.regions.decision_regions`.
    names : sequence of str
        Classes in the order of their colours.
    fill : bool
        Tint the regions in the colours of their classes, and draw their boundaries.
    planes : bool
        Draw each class's hyperplane, dashed.
    """
    colors = [style(list(names).index(name))["color"] for name in regions.classes]
    if fill:
        steps = np.linspace(0.0, 1.0, len(colors) + 1)
        scale = [
            [float(at), faded(color, 0.16)]
            for start, end, color in zip(steps[:-1], steps[1:], colors, strict=True)
            for at in (start, end)
        ]
        figure.add_trace(
            go.Heatmap(
                x=regions.x,
                y=regions.y,
                z=regions.winner,
                zmin=-0.5,
                zmax=len(colors) - 0.5,
                colorscale=scale,
                showscale=False,
                hoverinfo="skip",
                name="regions",
            )
        )
        _add_lines(figure, regions.boundaries, "decision boundary", NEUTRAL, width=2.2)
    if planes:
        for name, color, lines in zip(regions.classes, colors, regions.planes, strict=False):
            _add_lines(figure, lines, f"hyperplane of {name}", color, width=1.6, dash="dash")


def add_class_points(
    figure: go.Figure, points: Mapping[str, np.ndarray], names: Sequence[str], what: str
) -> None:
    """Draw one point a class: prototypes, or centroids.

    Parameters
    ----------
    figure : plotly.graph_objects.Figure
    points : mapping of str to ndarray, shape (2,)
        In the picture's coordinates.
    names : sequence of str
        Classes in the order of their colours.
    what : str
        Such as ``"prototype"``.
    """
    if not points:
        return
    places = np.stack(list(points.values()))
    figure.add_trace(
        go.Scatter(
            x=places[:, 0],
            y=places[:, 1],
            mode="markers+text" if len(points) <= 16 else "markers",
            text=list(points),
            textposition=_outward(places),
            hovertemplate=f"{what} of %{{text}}<extra></extra>",
            marker={
                "symbol": "star",
                "size": 17,
                "color": [style(list(names).index(name))["color"] for name in points],
                "line": {"width": 1.6, "color": "white"},
            },
            name=f"{what}s",
            legendrank=2000,
        )
    )


def _outward(places: np.ndarray) -> list[str]:
    """Return on which side of each point its name is far from the other points."""
    gap = places - places.mean(axis=0)
    up = np.where(gap[:, 1] >= 0, "top", "bottom")
    # Names are wider than high: beside a point only what lies well to its side.
    side = np.where(gap[:, 0] > 0, "right", "left")
    side = np.where(np.abs(gap[:, 0]) > np.abs(gap[:, 1]), side, "center")
    return [f"{vertical} {horizontal}" for vertical, horizontal in zip(up, side, strict=True)]


def add_geodesics(
    figure: go.Figure, start: np.ndarray, ends: np.ndarray, texts: Sequence[str], hyperbolic: bool
) -> None:
    """Draw the shortest lines from one point of a picture to others.

    Parameters
    ----------
    figure : plotly.graph_objects.Figure
    start : ndarray, shape (2,)
    ends : ndarray, shape (n, 2)
    texts : sequence of str
        Shown when a line is pointed at.
    hyperbolic : bool
        Whether they are arcs of the disk.
    """
    for number, (end, text) in enumerate(zip(ends, texts, strict=True)):
        line = geodesic(start, end) if hyperbolic else np.linspace(start, end, 9)
        figure.add_trace(
            go.Scatter(
                x=line[:, 0],
                y=line[:, 1],
                mode="lines",
                line={"color": COLORS[5], "width": 2.4},
                text=[text] * len(line),
                hovertemplate="%{text}<extra></extra>",
                name="geodesics" if hyperbolic else "distances",
                legendgroup="geodesics",
                showlegend=number == 0,
            )
        )


def add_density(
    figure: go.Figure, points: np.ndarray, labels: np.ndarray, names: Sequence[str], share: float
) -> None:
    """Draw lines that enclose a share of each class's points where they are densest.

    Parameters
    ----------
    figure : plotly.graph_objects.Figure
    points : ndarray, shape (n_points, 2)
    labels : ndarray of str, shape (n_points,)
    names : sequence of str
        Classes in the order of their colours.
    share : float
        Of the points of a class, 0 to 1.
    """
    from scipy.ndimage import gaussian_filter

    low, high = points.min(axis=0), points.max(axis=0)
    pad = 0.15 * float(max(high - low)) + 1e-9
    edges = [np.linspace(low[i] - pad, high[i] + pad, _DENSITY_GRID + 1) for i in (0, 1)]
    middles = [(edge[:-1] + edge[1:]) / 2 for edge in edges]
    for number, name in enumerate(names):
        own = points[labels == name]
        if len(own) < 8:
            continue
        counts, *_ = np.histogram2d(own[:, 1], own[:, 0], bins=[edges[1], edges[0]])
        # Wider where there are fewer points, as Scott's rule has it.
        density = gaussian_filter(counts, 0.12 * _DENSITY_GRID * len(own) ** (-1 / 6))
        ordered = np.sort(density.ravel())[::-1]
        at = int(np.searchsorted(np.cumsum(ordered), share * ordered.sum()))
        lines = level_lines(middles[0], middles[1], density - ordered[min(at, len(ordered) - 1)])
        color = style(number)["color"]
        _add_lines(figure, lines, f"{share:.0%} of {name}", color, width=2)


def _add_lines(
    figure: go.Figure,
    lines: np.ndarray,
    name: str,
    color: str,
    *,
    width: float,
    dash: str | None = None,
) -> None:
    if not len(lines):
        return
    # A dash begins anew on each short line: joined, it becomes a pattern.
    lines = lines[::2] if dash else lines
    xs, ys = line_coordinates(lines)
    figure.add_trace(
        go.Scatter(
            x=xs,
            y=ys,
            mode="lines",
            line={"color": color or FAINT, "width": width},
            hoverinfo="name",
            name=name,
            showlegend=False,
        )
    )
