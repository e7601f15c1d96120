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
    tangent_axes,
    translate,
)
from hypeeg.viz.frame import Frame
from hypeeg.viz.horospherical import horospherical_directions, plane_axes

Around = Literal["origin", "centroid"]
Reduction = Literal["tangent", "horospherical"]


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
        Share of the squared distances from the middle that the reduction keeps; 1 without it.
    c : float or None
        Curvature magnitude that distances are measured with; None if points of several
        curvatures are shown together, whose distances are in units of ``1/sqrt(c)``, or if the
        plane is Euclidean.
    frame : Frame or None
        How the points were brought there, and the way back; None for a picture that has none.
    axis_names : tuple of str or None
        Names of the two axes; by default principal components of what was reduced.
    """

    points: np.ndarray
    hyperbolic: bool
    dimension: int
    kept: float
    c: float | None
    frame: Frame | None = None
    axis_names: tuple[str, str] | None = None

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
        frame = None if self.frame is None else self.frame.moved_to(centre)
        return replace(self, points=moved, frame=frame)

    def of(
        self,
        embeddings: np.ndarray,
        curvature: float | np.ndarray | None = None,
        around: Around | None = None,
    ) -> Picture:
        """Return other points in the same plane, such as those of an earlier epoch.

        Parameters
        ----------
        embeddings, curvature
            As in :func:`picture_of`.
        around : {"origin", "centroid"}, optional
            Brings the centroid of these points to the middle, in the place of that of the first;
            ``"origin"`` and None keep what is in the middle.

        Returns
        -------
        Picture
        """
        assert self.frame is not None
        x = np.asarray(embeddings, dtype=float)
        frame, c = self.frame, _curvatures(curvature, len(x))
        y = x if c is None else x * np.sqrt(c)[:, None]
        if around == "centroid":
            frame = replace(frame, centre=y.mean(axis=0) if c is None else centroid(y, 1.0))
        z = y - frame.centre if c is None else log_origin(translate(y, frame.centre, 1.0), 1.0)
        common = float(c[0]) if c is not None and np.ptp(c) == 0 else None
        fixed = replace(frame, moves=())
        kept = _share(fixed.hyperbolic, fixed.project(x, c), np.sum(z * z), x.shape[1])
        return replace(self, points=frame.project(x, c), c=common, kept=kept, frame=frame)

    def distances_to(self, index: int) -> np.ndarray:
        """Return the distances **in the picture** of all points to one, shape (n_points,)."""
        if self.hyperbolic:
            return disk_distance(self.points, self.points[index], self.c or 1.0)
        return np.linalg.norm(self.points - self.points[index], axis=1)


def picture_of(
    embeddings: np.ndarray,
    curvature: float | np.ndarray | None = None,
    around: Around = "origin",
    reduction: Reduction = "tangent",
) -> Picture:
    """Bring embeddings into the plane.

    Two dimensions are shown as they are.  More are reduced: hyperbolic ones by tangent PCA (see
    :func:`hypeeg.viz.disk.tangent_pca`) or horospherical PCA (see
    :mod:`hypeeg.viz.horospherical`), Euclidean ones by PCA.  A picture of many dimensions in two
    shows a part of what there is; `Picture.kept` says how much.

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
    reduction : {"tangent", "horospherical"}
        For more than two dimensions of hyperbolic space.

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
    if reduction not in ("tangent", "horospherical"):
        raise ValueError(f"reduction is {reduction!r}; use 'tangent' or 'horospherical'")
    c = _curvatures(curvature, len(x))
    dimension = x.shape[1]
    if c is None:
        centre = x.mean(axis=0) if around == "centroid" else np.zeros(dimension)
        z = x - centre
        frame = Frame(False, centre, _axes(z))
        return _finished(frame, frame.project(x), np.sum(z * z), dimension, None)
    # In units of 1/sqrt(c) every point lies on the hyperboloid of curvature -1.
    y = x * np.sqrt(c)[:, None]
    centre = centroid(y, 1.0) if around == "centroid" else np.zeros(dimension)
    moved = translate(y, centre, 1.0)
    z = log_origin(moved, 1.0)
    if reduction == "horospherical" and dimension > 2 and len(x) > 2:
        ideal = horospherical_directions(moved)
        frame = Frame(True, centre, plane_axes(ideal), ideal)
    else:
        frame = Frame(True, centre, _axes(z))
    common = float(c[0]) if np.ptp(c) == 0 else None
    return _finished(frame, frame.project(x, c), np.sum(z * z), dimension, common)


def _finished(
    frame: Frame, points: np.ndarray, total: float, dimension: int, c: float | None
) -> Picture:
    kept = _share(frame.hyperbolic, points, total, dimension)
    return Picture(points, frame.hyperbolic, dimension, kept, c, frame)


def _share(hyperbolic: bool, points: np.ndarray, total: float, dimension: int) -> float:
    """Return the share of squared distances from the middle that points of the plane keep."""
    if dimension <= 2 or not total > 0:
        return 1.0
    lengths = np.linalg.norm(points, axis=1)
    if hyperbolic:
        lengths = 2.0 * np.arctanh(lengths)
    return float(np.sum(lengths**2) / total)


def _axes(z: np.ndarray) -> np.ndarray:
    """Return the directions that span the picture: the first two if there are no more."""
    return tangent_axes(z) if z.shape[1] > 2 else np.eye(2, z.shape[1])


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
