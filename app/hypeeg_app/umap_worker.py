"""A process of its own that runs UMAP: numba, which it needs, stays out of the dashboard."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def all_distances(x: np.ndarray, c: np.ndarray | None) -> np.ndarray:
    """Return the distances of all pairs: hyperbolic ones where there is a curvature.

    Parameters
    ----------
    x : ndarray, shape (n, d)
        Space parts, or plain vectors.
    c : ndarray, shape (n,), or None
        Curvature magnitude of each point.

    Returns
    -------
    ndarray of float32, shape (n, n)
        Of points of curvature -1: in units of ``1/sqrt(c)``.
    """
    from hypeeg.viz.disk import distances

    y = np.asarray(x, dtype=float)
    if c is not None:
        y = y * np.sqrt(np.asarray(c, dtype=float))[:, None]
    found = np.empty((len(y), len(y)), dtype=np.float32)
    for row, point in enumerate(y):
        found[row] = np.linalg.norm(y - point, axis=1) if c is None else distances(y, point, 1.0)
    return found


def main() -> int:
    """Read points, write their places in the plane."""
    import umap

    request, out, n_neighbors = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    with np.load(request, allow_pickle=False) as file:
        x, c = file["x"], file["c"] if "c" in file.files else None
    reducer = umap.UMAP(
        n_neighbors=min(n_neighbors, len(x) - 1), metric="precomputed", random_state=0
    )
    np.save(out, np.asarray(reducer.fit_transform(all_distances(x, c)), dtype=float))
    return 0


if __name__ == "__main__":
    sys.exit(main())
