"""Which trials are chosen by a lasso or a box in a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd


def selected_rows(event: Mapping[str, Any], points: np.ndarray) -> np.ndarray | None:
    """Return the points that a lasso or a box encloses.

    Parameters
    ----------
    event : mapping
        What the chart reports, with ``selection``.
    points : ndarray, shape (n, 2)
        In the coordinates of the chart.

    Returns
    -------
    ndarray of int or None
        Their positions; None if nothing was drawn around points.

    Notes
    -----
    Taken from the line that was drawn, not from the points that the browser lists: those of a large
    picture are drawn in layers, of which one alone may be listed.
    """
    selection = event["selection"]
    lassos, boxes = selection.get("lasso") or [], selection.get("box") or []
    if not lassos and not boxes:
        return None
    inside = np.zeros(len(points), dtype=bool)
    for lasso in lassos:
        inside |= inside_polygon(points, np.array([lasso["x"], lasso["y"]], dtype=float).T)
    for box in boxes:
        (x0, x1), (y0, y1) = sorted(box["x"]), sorted(box["y"])
        inside |= (
            (points[:, 0] >= x0)
            & (points[:, 0] <= x1)
            & (points[:, 1] >= y0)
            & (points[:, 1] <= y1)
        )
    return np.flatnonzero(inside)


def clicked_row(event: Mapping[str, Any], n: int) -> int | None:
    """Return the position of the one point that was clicked, None if it was not one."""
    found = []
    for point in event["selection"].get("points") or []:
        # Prototypes and lines carry no number of a trial.
        data = np.ravel(point.get("customdata", []))
        if len(data) and np.issubdtype(data.dtype, np.number) and 0 <= int(data[0]) < n:
            found.append(int(data[0]))
    return found[0] if len(set(found)) == 1 else None


def signature(event: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what tells one selection from another, to act on each once."""
    selection = event["selection"]
    clicked = tuple(str(p.get("customdata")) for p in (selection.get("points") or [])[:3])
    drawn = tuple(
        (tuple(shape["x"]), tuple(shape["y"]))
        for kind in ("lasso", "box")
        for shape in selection.get(kind) or []
    )
    return (drawn,) if drawn else (drawn, clicked)


def inside_polygon(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Tell which points lie inside a polygon (even-odd rule).

    Parameters
    ----------
    points : ndarray, shape (n, 2)
    polygon : ndarray, shape (m, 2)
        Corners; the last is joined to the first.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    inside = np.zeros(len(points), dtype=bool)
    x, y = points[:, 0], points[:, 1]
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        crosses = (y0 > y) != (y1 > y)
        inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside


def selection_summary(table: pd.DataFrame, chosen: np.ndarray) -> pd.DataFrame:
    """Return what a selection is made of, beside the rest.

    Parameters
    ----------
    table : DataFrame
        Of trials, with ``label``, ``prediction``, ``confidence`` and ``radius``.
    chosen : ndarray of int
        Positions of the selected ones.

    Returns
    -------
    DataFrame
        One row for the selection, one for the rest.
    """
    mask = np.zeros(len(table), dtype=bool)
    mask[chosen] = True
    rows = []
    for name, here in (("Selection", mask), ("Rest", ~mask)):
        own = table[here]
        shares = own["label"].value_counts(normalize=True)
        rows.append(
            {
                "": name,
                "Trials": len(own),
                "Accuracy": (own["label"] == own["prediction"]).mean() if len(own) else np.nan,
                "Confidence": own["confidence"].mean(),
                "Radius": own["radius"].mean(),
                "Classes": ", ".join(f"{k} {v:.0%}" for k, v in shares.head(4).items()),
            }
        )
    return pd.DataFrame(rows)
