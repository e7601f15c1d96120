"""The empty Poincaré disk as Plotly traces: its boundary, and circles of equal distance."""

from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go

from hypeeg.viz.palette import FAINT, FAINTEST, NEUTRAL

WHOLE_DISK = 1.04
"""Half the width of a picture that shows the whole disk."""


def add_disk(figure: go.Figure, c: float | None, reach: float = WHOLE_DISK) -> None:
    """Add the unit circle and circles of equal distance around the middle, with their labels.

    Parameters
    ----------
    figure : plotly.graph_objects.Figure
        Gets the traces ``boundary`` and ``rings``.
    c : float or None
        Curvature magnitude that the labelled distances are measured with; None writes them in
        units of ``1/sqrt(c)``.
    reach : float
        Half the width of what is shown, in units of the disk's radius.
    """
    figure.add_trace(
        go.Scatter(
            **_circle(1.0),
            mode="lines",
            line={"color": NEUTRAL, "width": 1.6},
            fill="toself",
            fillcolor=FAINTEST,
            hoverinfo="skip",
            showlegend=False,
            name="boundary",
        )
    )
    unit = "" if c is not None else " /√c"
    c = c or 1.0
    radii = _apart(ring_distances(reach, c), c, 0.06 * reach)
    xs: list[float | None] = []
    ys: list[float | None] = []
    for distance in radii:
        circle = _circle(math.tanh(math.sqrt(c) * distance / 2.0))
        xs += [*circle["x"], None]
        ys += [*circle["y"], None]
    figure.add_trace(
        go.Scatter(
            x=xs,
            y=ys,
            mode="lines",
            line={"color": FAINT, "width": 1, "dash": "dot"},
            hoverinfo="skip",
            showlegend=False,
            name="rings",
        )
    )
    diagonal = math.sqrt(0.5)
    for distance in radii:
        at = math.tanh(math.sqrt(c) * distance / 2.0) * diagonal
        figure.add_annotation(
            x=at,
            y=-at,
            text=f"{distance:g}{unit}",
            showarrow=False,
            xanchor="left",
            yanchor="top",
            font={"color": NEUTRAL, "size": 11},
        )


def ring_distances(reach: float, c: float) -> list[float]:
    """Return two to five round hyperbolic distances whose circles fit into what is shown.

    Parameters
    ----------
    reach : float
        Half the width of what is shown, in units of the disk's radius.
    c : float
        Curvature magnitude.

    Returns
    -------
    list of float
        Multiples of 1, 2 or 5 times a power of ten.
    """
    # Circles beyond 0.97 of the radius could not be told from the boundary.
    farthest = 2.0 * math.atanh(min(reach, 0.97)) / math.sqrt(c)
    power = 10.0 ** math.floor(math.log10(farthest))
    steps = [m * power * scale for scale in (0.1, 1.0) for m in (1, 2, 5)]
    step = next(s for s in steps if farthest / s < 6)
    return [round(step * i, 12) for i in range(1, int(farthest / step) + 1)]


def _apart(distances: list[float], c: float, gap: float) -> list[float]:
    """Leave out circles so near to the one before that their numbers would lie on each other."""
    kept: list[float] = []
    last = 0.0
    for distance in distances:
        radius = math.tanh(math.sqrt(c) * distance / 2.0)
        if radius - last >= gap:
            kept.append(distance)
            last = radius
    return kept


def _circle(radius: float) -> dict[str, np.ndarray]:
    angle = np.linspace(0.0, 2.0 * np.pi, 181)
    return {"x": radius * np.cos(angle), "y": radius * np.sin(angle)}
