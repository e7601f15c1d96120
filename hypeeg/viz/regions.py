"""Where a head decides for which class in the plane of a picture, as lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hypeeg.viz.frame import Frame
from hypeeg.viz.heads import Head

Array = np.ndarray

N_GRID = 161
# Points on the boundary of the disk are infinitely far away: the head is asked just inside.
_INSIDE = 0.9995


@dataclass(frozen=True, eq=False)
class Regions:
    """What a head makes of the plane of a picture.

    Attributes
    ----------
    x, y : ndarray, shape (n_grid,)
        Coordinates of a grid.
    winner : ndarray of float, shape (n_grid, n_grid)
        Number of the most probable class at ``(y[i], x[j])``, NaN outside the disk.
    boundaries : ndarray, shape (n_lines, 2, 2)
        Short straight lines (start and end) that the decision boundaries consist of.
    planes : list of ndarray, shape (n_lines, 2, 2)
        For each class the lines where its logit is 0: hyperplanes; empty for prototypes.
    classes : tuple of str
        What the numbers mean.
    """

    x: Array
    y: Array
    winner: Array
    boundaries: Array
    planes: list[Array]
    classes: tuple[str, ...]


def decision_regions(
    frame: Frame, head: Head, half: float, middle: tuple[float, float] = (0.0, 0.0)
) -> Regions:
    """Evaluate a head on the plane of a picture.

    Parameters
    ----------
    frame : Frame
        How the plane lies in the space.
    head : Head
        Of a network whose points are in the space.
    half : float
        Half the width of what is shown.
    middle : tuple of float
        Its middle.

    Returns
    -------
    Regions
        Exact for points of the plane.  Where a reduction has left dimensions out, they are those
        of the totally geodesic slice that is drawn: a trial's own decision may differ.
    """
    x = np.linspace(middle[0] - half, middle[0] + half, N_GRID)
    y = np.linspace(middle[1] - half, middle[1] + half, N_GRID)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    logits: Array = np.full((len(grid), len(head.classes)), np.nan)
    radius = np.linalg.norm(grid, axis=1)
    step = float(x[1] - x[0])
    inside = radius < 1.0 + 2.0 * step if frame.hyperbolic else np.ones(len(grid), dtype=bool)
    at = grid[inside]
    if frame.hyperbolic:
        at = at * np.minimum(1.0, _INSIDE / np.maximum(radius[inside], 1e-12))[:, None]
    logits[inside] = head.logits(frame.lift(at, head.c or 1.0))
    logits = logits.reshape(N_GRID, N_GRID, -1)
    filled = np.nan_to_num(logits, nan=-np.inf)
    winner = filled.argmax(axis=2).astype(float)
    winner[~inside.reshape(N_GRID, N_GRID)] = np.nan
    planes = []
    if head.kind in ("lorentz_mlr", "linear"):
        planes = [_clipped(level_lines(x, y, logits[:, :, k]), frame) for k in _all(logits)]
    boundaries = _clipped(_boundaries(x, y, logits, winner), frame)
    shown = winner.copy()
    if frame.hyperbolic:
        shown[radius.reshape(N_GRID, N_GRID) > 1.0] = np.nan
    return Regions(x, y, shown, boundaries, planes, head.classes)


def level_lines(x: Array, y: Array, values: Array, where: Array | None = None) -> Array:
    """Return the lines along which values on a grid are 0 (marching squares).

    Parameters
    ----------
    x, y : ndarray, shape (n,) and (m,)
        Coordinates of the grid.
    values : ndarray, shape (m, n)
        NaN where there is nothing.
    where : ndarray of bool, shape (m - 1, n - 1), optional
        Cells to look at.

    Returns
    -------
    ndarray of float64, shape (n_lines, 2, 2)
        Start and end of each line.
    """
    low_left, low_right = values[:-1, :-1], values[:-1, 1:]
    high_left, high_right = values[1:, :-1], values[1:, 1:]
    left, right = np.broadcast_arrays(x[None, :-1], x[None, 1:])
    shape = low_left.shape
    left, right = np.broadcast_to(left, shape), np.broadcast_to(right, shape)
    low, high = np.broadcast_to(y[:-1, None], shape), np.broadcast_to(y[1:, None], shape)

    def crossing(a: Array, b: Array, start: tuple[Array, Array], end: tuple[Array, Array]) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where((a > 0) != (b > 0), a / (a - b), np.nan)
        found = np.stack([s + share * (e - s) for s, e in zip(start, end, strict=True)], axis=-1)
        return found

    sides = np.stack(
        [
            crossing(low_left, low_right, (left, low), (right, low)),
            crossing(low_right, high_right, (right, low), (right, high)),
            crossing(high_left, high_right, (left, high), (right, high)),
            crossing(low_left, high_left, (left, low), (left, high)),
        ],
        axis=2,
    )
    known = np.isfinite(values)
    usable = known[:-1, :-1] & known[:-1, 1:] & known[1:, :-1] & known[1:, 1:]
    if where is not None:
        usable &= where
    crossed = np.isfinite(sides[..., 0]) & usable[..., None]
    count = crossed.sum(axis=2)
    lines = []
    if (count == 2).any():
        two = sides[count == 2][crossed[count == 2]]
        lines.append(two.reshape(-1, 2, 2))
    four = sides[count == 4]
    lines += [four[:, :2], four[:, 2:]]
    return np.concatenate(lines)


def line_coordinates(lines: Array) -> tuple[list[float | None], list[float | None]]:
    """Return short lines as one path with gaps, as Plotly draws it."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    for (x0, y0), (x1, y1) in np.round(lines, 5).tolist():
        xs += [x0, x1, None]
        ys += [y0, y1, None]
    return xs, ys


def _all(logits: Array) -> range:
    return range(logits.shape[2])


def _boundaries(x: Array, y: Array, logits: Array, winner: Array) -> Array:
    """Return the lines between regions: where two classes share the highest logit."""
    corners = np.stack([winner[:-1, :-1], winner[:-1, 1:], winner[1:, :-1], winner[1:, 1:]])
    pairs = set()
    for a in range(4):
        for b in range(a + 1, 4):
            different = (corners[a] != corners[b]) & np.isfinite(corners[a] + corners[b])
            low = np.minimum(corners[a], corners[b])[different]
            high = np.maximum(corners[a], corners[b])[different]
            pairs |= set(zip(low.astype(int).tolist(), high.astype(int).tolist(), strict=True))
    lines = [np.empty((0, 2, 2))]
    for i, j in sorted(pairs):
        here = (corners == i).any(axis=0) & (corners == j).any(axis=0)
        lines.append(level_lines(x, y, logits[:, :, i] - logits[:, :, j], here))
    return np.concatenate(lines)


def _clipped(lines: Array, frame: Frame) -> Array:
    """Leave out what lies beyond the boundary of the disk."""
    if not frame.hyperbolic or not len(lines):
        return lines
    return lines[(np.linalg.norm(lines, axis=2) <= 1.0).all(axis=1)]
