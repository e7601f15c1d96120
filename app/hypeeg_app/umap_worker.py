"""A process of its own that runs UMAP: numba, which it needs, stays out of the dashboard."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from hypeeg.viz.disk import distances

_ROWS = 256


def nearest_neighbours(x: np.ndarray, c: float | None, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest points of every point and their distances, itself first.

    Parameters
    ----------
    x : ndarray, shape (n, d)
        Space parts, or plain vectors.
    c : float or None
        Curvature magnitude; None for plain vectors.
    k : int
        How many, the point itself among them; at most n.

    Returns
    -------
    neighbours : ndarray of int, shape (n, k)
    distances : ndarray of float32, shape (n, k)
        In the space, growing along each row.

    Notes
    -----
    All pairs are looked at, a few rows at a time: 20,000 points need no matrix of all distances.
    The product of two points orders them, but cancels where they are near; twice the neighbours
    are therefore measured without cancellation.
    """
    x = np.asarray(x, dtype=float)
    n, k = len(x), min(k, len(x))
    square = np.sum(x * x, axis=1)
    time = None if c is None else np.sqrt(1.0 / c + square)
    near, apart = np.empty((n, k), dtype=int), np.empty((n, k), dtype=np.float32)
    n_measured = min(n, 2 * k + 10)
    for start in range(0, n, _ROWS):
        rows = np.arange(start, min(n, start + _ROWS))
        order = -(x[rows] @ x.T)
        order += 0.5 * square if time is None else np.outer(time[rows], time)
        order[rows - start, rows] = -np.inf
        candidates = np.argpartition(order, n_measured - 1, axis=1)[:, :n_measured]
        some, own = x[candidates], x[rows][:, None]
        found = np.linalg.norm(some - own, axis=2) if c is None else distances(some, own, c)
        # A point comes before others that are where it is.
        found[candidates == rows[:, None]] = -1.0
        first = np.argsort(found, axis=1, kind="stable")[:, :k]
        near[rows] = np.take_along_axis(candidates, first, axis=1)
        apart[rows] = np.maximum(np.take_along_axis(found, first, axis=1), 0.0)
    return near, apart


def main() -> int:
    """Read points, write their places in the plane."""
    import umap

    request, out, n_neighbors = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    with np.load(request, allow_pickle=False) as file:
        x, c = file["x"].astype(float), float(file["c"]) if "c" in file.files else None
    k = min(n_neighbors, len(x) - 1)
    # With the neighbours given, the vectors themselves only place groups that nothing joins.
    reducer = umap.UMAP(
        n_neighbors=k, precomputed_knn=nearest_neighbours(x, c, k), random_state=0, n_jobs=1
    )
    np.save(out, np.asarray(reducer.fit_transform(x), dtype=float))
    return 0


if __name__ == "__main__":
    sys.exit(main())
