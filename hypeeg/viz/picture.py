"""From embeddings of any dimension to a picture in the plane: disk or Euclidean plane."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hypeeg.viz.disk import (
    centroid,
    disk_distance,
    log_origin,
    mobius_translate,
    tangent_pca,
    tangent_to_disk,
    translate,
)

Around = Literal["origin", "centroid"]


@dataclass(frozen=True, eq=False)
class Picture:
    """Embeddings brought into the plane.

    Attributes
    ----------
    points : ndarray of float64, shape (n_points, 2)
        In the unit disk if `hyperbolic`, otherwise plain coordinates.
    hyperbolic : bool
        Whether the plane is the Poincaré disk.
    dimension : int
        Dimension of the embeddings before reduction.
    kept : float
        Share of the squared (tangent) length that the reduction keeps; 1 without reduction.
    c : float or None
        Curvature magnitude that distances are measured with; None if points of several
        curvatures are shown together, whose distances are in units of ``1/sqrt(c)``, or if the
        plane is Euclidean.
    """

    points: np.ndarray
    hyperbolic: bool
    dimension: int
    kept: float
    c: float | None

    @property
    def reduced(self) -> bool:
        """Whether dimensions were left out."""
        return self.dimension > 2

    def centred_on(self, index: int) -> Picture:
        """Return the picture moved so that one point lies in the middle.

        Parameters
        ----------
        index : int
            Position of the point.

        Returns
        -------
        Picture
            Every distance in it is as before: the move is a Möbius translation of the disk, or
            a shift of the Euclidean plane.
        """
        centre = self.points[index]
        moved = mobius_translate(self.points, centre) if self.hyperbolic else self.points - centre
        return replace(self, points=moved)

    def distances_to(self, index: int) -> np.ndarray:
        """Return the distances **in the picture** of all points to one, shape (n_points,)."""
        if self.hyperbolic:
            return disk_distance(self.points, self.points[index], self.c or 1.0)
        return np.linalg.norm(self.points - self.points[index], axis=1)


def picture_of(
    embeddings: np.ndarray,
    curvature: float | np.ndarray | None = None,
    around: Around = "origin",
) -> Picture:
    """Bring embeddings into the plane.

    Two dimensions are shown as they are.  More are reduced: hyperbolic ones by tangent PCA (see
    :func:`hypeeg.viz.disk.tangent_pca`), Euclidean ones by PCA.  A picture of many dimensions in
    two shows a part of what there is; `Picture.kept` says how much.

    Parameters
    ----------
    embeddings : ndarray, shape (n_points, n)
        Space parts of hyperboloid points, or plain vectors.
    curvature : float or ndarray of shape (n_points,) or None
        Curvature magnitudes of the points; None or NaN for Euclidean vectors.
    around : {"origin", "centroid"}
        What lies in the middle.  ``"origin"``: the origin of the network's space; distances from
        it are kept best.  ``"centroid"``: points are moved by the translation that brings their
        centroid to the origin before any reduction, so that the picture shows how they differ
        from each other rather than from the origin.

    Returns
    -------
    Picture

    Raises
    ------
    ValueError
        If there are no points or no dimensions, values are not finite, curvatures are not
        positive, or hyperbolic and Euclidean points are mixed.
    """
    x = np.asarray(embeddings, dtype=float)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"embeddings have shape {x.shape}; expected (n_points, n), both above 0")
    bad = ~np.isfinite(x).all(axis=1)
    if bad.any():
        raise ValueError(
            f"{int(bad.sum())} of {len(x)} embeddings are not finite (first: row "
            f"{int(np.argmax(bad))}); leave them out"
        )
    if around not in ("centroid", "origin"):
        raise ValueError(f"around is {around!r}; use 'centroid' or 'origin'")
    c = _curvatures(curvature, len(x))
    if c is None:
        return _flat(x, around)
    # In units of 1/sqrt(c) every point lies on the hyperboloid of curvature -1.
    y = x * np.sqrt(c)[:, None]
    if around == "centroid":
        y = translate(y, centroid(y, 1.0), 1.0)
    z = log_origin(y, 1.0)
    z, kept = tangent_pca(z) if x.shape[1] > 2 else (_padded(z), 1.0)
    common = float(c[0]) if np.ptp(c) == 0 else None
    return Picture(tangent_to_disk(z, 1.0), True, x.shape[1], kept, common)


def _flat(x: np.ndarray, around: Around) -> Picture:
    if around == "centroid":
        x = x - x.mean(axis=0)
    z, kept = tangent_pca(x) if x.shape[1] > 2 else (_padded(x), 1.0)
    return Picture(z, False, x.shape[1], kept, None)


def _padded(x: np.ndarray) -> np.ndarray:
    return np.pad(x, ((0, 0), (0, 2 - x.shape[1])))


def _curvatures(curvature: float | np.ndarray | None, n: int) -> np.ndarray | None:
    """Return one magnitude a point, or None if the space is Euclidean."""
    if curvature is None:
        return None
    c = np.broadcast_to(np.asarray(curvature, dtype=float), (n,))
    missing = np.isnan(c)
    if missing.all():
        return None
    if missing.any():
        raise ValueError(
            f"curvature is missing for {int(missing.sum())} of {n} points; "
            "show hyperbolic and Euclidean embeddings apart"
        )
    if not (np.isfinite(c) & (c > 0)).all():
        raise ValueError(f"curvature magnitudes must be finite and above 0, got {float(c.min())}")
    return c
