"""How points of a space of any dimension come into the plane, and how the plane lies in the space.

The way back is what lets a picture show more than points: the plane of a picture is a totally
geodesic slice of the space, and whatever is a function of the space (a classifier, say) can be
evaluated on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from hypeeg.viz.disk import (
    disk_to_lorentz,
    log_origin,
    mobius_translate,
    tangent_to_disk,
    translate,
)
from hypeeg.viz.horospherical import project_horospherical

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Frame:
    """A plane in a space, and a projection on it.

    Attributes
    ----------
    hyperbolic : bool
        Whether the space is hyperbolic and the plane the unit disk.
    centre : ndarray of float64, shape (n,)
        What lies in the middle: a space part in units of ``1/sqrt(c)``, or a plain vector.
    axes : ndarray of float64, shape (2, n)
        Orthonormal directions that span the plane at the centre.
    ideal : ndarray of float64, shape (2, n) or None
        Two directions, in the span of `axes`, whose Busemann functions the projection keeps; None
        projects by the tangent space at the centre.
    moves : tuple of ndarray
        Points of the plane that were moved into the middle, one after the other.
    """

    hyperbolic: bool
    centre: Array
    axes: Array
    ideal: Array | None = None
    moves: tuple[Array, ...] = field(default=())

    def project(self, x: Array, c: float | Array | None = None) -> Array:
        """Bring points of the space into the plane.

        Parameters
        ----------
        x : ndarray, shape (n_points, n)
            Space parts, or plain vectors.
        c : float or ndarray, shape (n_points,), optional
            Curvature magnitudes of hyperbolic points.

        Returns
        -------
        ndarray of float64, shape (n_points, 2)
        """
        x = np.asarray(x, dtype=float)
        if not self.hyperbolic:
            points = (x - self.centre) @ self.axes.T
            for centre in self.moves:
                points = points - centre
            return points
        y = x * np.sqrt(np.asarray(1.0 if c is None else c, dtype=float))[..., None]
        y = translate(y, self.centre, 1.0)
        if self.ideal is None:
            points = tangent_to_disk(log_origin(y, 1.0) @ self.axes.T, 1.0)
        else:
            points = project_horospherical(y, self.ideal, self.axes)
        for centre in self.moves:
            points = mobius_translate(points, centre)
        return points

    def lift(self, points: Array, c: float = 1.0) -> Array:
        """Return where points of the plane lie in the space.

        Parameters
        ----------
        points : ndarray, shape (n_points, 2)
            In the unit disk, or in the Euclidean plane.
        c : float
            Curvature magnitude of the space.

        Returns
        -------
        ndarray of float64, shape (n_points, n)
            Space parts, or plain vectors; ``project(lift(points)) == points``.
        """
        points = np.asarray(points, dtype=float)
        for centre in reversed(self.moves):
            points = mobius_translate(points, -centre) if self.hyperbolic else points + centre
        if not self.hyperbolic:
            return points @ self.axes + self.centre
        # The slice through the origin spanned by two directions is a hyperbolic plane.
        y = disk_to_lorentz(points, 1.0) @ self.axes
        return translate(y, -self.centre, 1.0) / np.sqrt(c)

    def moved_to(self, point: Array) -> Frame:
        """Return the frame whose middle is another point of the plane, shape (2,)."""
        return replace(self, moves=(*self.moves, np.asarray(point, dtype=float)))
