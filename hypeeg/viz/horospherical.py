"""Horospherical PCA of hyperbolic points in two dimensions.

Two ideal points and the origin span a hyperbolic plane.  A point of the space is brought into it
along the horospheres that it lies on, so that its two Busemann functions, the "coordinates" of
hyperbolic space, are kept [1]_.  All points are those of curvature -1 (space parts).

References
----------
.. [1] I. Chami, A. Gu, D. Nguyen, C. Ré, "HoroPCA: hyperbolic dimensionality reduction via
   horospherical projections", ICML 2021.
"""

from __future__ import annotations

import numpy as np

from hypeeg.viz.disk import log_origin, tangent_axes

Array = np.ndarray

N_DIRECTIONS = 5
"""Ideal points are sought in the span of this many leading tangent directions."""

N_POINTS = 150
"""More points than this say little more about the directions, and take longer."""


def project_horospherical(y: Array, ideal: Array, axes: Array) -> Array:
    """Bring points into the plane of two ideal points along horospheres.

    Parameters
    ----------
    y : ndarray, shape (n_points, n)
        Space parts.
    ideal : ndarray, shape (2, n)
        Unit vectors, the directions of the ideal points; independent, in the span of `axes`.
    axes : ndarray, shape (2, n)
        Orthonormal directions of the plane.

    Returns
    -------
    ndarray of float64, shape (n_points, 2)
        Points of the unit disk, on the origin's side of the geodesic between the ideal points.
    """
    y = np.asarray(y, dtype=float)
    time = np.hypot(1.0, np.linalg.norm(y, axis=1))
    v = _in_plane(time, y @ ideal.T, ideal @ axes.T)
    t = np.hypot(1.0, np.linalg.norm(v, axis=1))
    return v / (1.0 + t)[:, None]


def horospherical_directions(y: Array, seed: int = 0) -> Array:
    """Find two ideal points whose plane keeps most of the distances between points.

    Parameters
    ----------
    y : ndarray, shape (n_points, n)
        Space parts, their centroid at the origin.
    seed : int
        Of the choice of points where there are many.

    Returns
    -------
    ndarray of float64, shape (2, n)
        Unit vectors.

    Notes
    -----
    The sum of squared distances between projected points is maximised by L-BFGS, from the tangent
    principal directions.
    """
    from scipy.optimize import minimize

    y = np.asarray(y, dtype=float)
    if len(y) > N_POINTS:
        y = y[np.random.default_rng(seed).choice(len(y), N_POINTS, replace=False)]
    basis = tangent_axes(log_origin(y, 1.0), min(N_DIRECTIONS, y.shape[1]))
    k = len(basis)
    plane_first = np.eye(2, k)
    time, along = np.hypot(1.0, np.linalg.norm(y, axis=1)), y @ basis.T

    def lost(flat: Array) -> float:
        ideal = _unit(flat.reshape(2, k))
        if abs(float(ideal[0] @ ideal[1])) > 0.999:
            return 0.0
        # Coordinates that the basis leaves out count in the time part alone.
        return -_spread(_in_plane(time, along @ ideal.T, ideal @ plane_axes(ideal).T))

    best, least = plane_first, 0.0
    # Ideal points come with a sign: each choice folds the points along another geodesic.
    for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        start = plane_first * np.array(signs)[:, None]
        found = minimize(lost, start.ravel(), method="L-BFGS-B", options={"maxiter": 15})
        if found.fun < least:
            best, least = found.x.reshape(2, k), float(found.fun)
    return _unit(best) @ basis


def plane_axes(ideal: Array) -> Array:
    """Return orthonormal directions of the plane of two directions, shape (2, n)."""
    first = ideal[0]
    second = ideal[1] - (ideal[1] @ first) * first
    return np.stack([first, second / np.linalg.norm(second)])


def _in_plane(time: Array, along: Array, directions: Array) -> Array:
    """Return the points of the plane (space parts) with the Busemann functions of others.

    `along` are inner products with the ideal points, `directions` those in the plane's axes.
    """
    # Exponentials of the Busemann functions, t - <y, p> > 0.
    q = time[:, None] - along
    # In the plane: t - <v, p_i> = q_i and t^2 - |v|^2 = 1; so v = t a - b, t of a quadratic.
    inverse = np.linalg.inv(directions)
    a, b = inverse @ np.ones(2), q @ inverse.T
    half, square = b @ a, 1.0 + np.sum(b * b, axis=1)
    # Of the two places, mirror images of each other, that on the origin's side has the smaller t.
    root = np.sqrt(np.maximum(half * half - (float(a @ a) - 1.0) * square, 0.0))
    found: Array = (square / (half + root))[:, None] * a - b
    return found


def _spread(v: Array) -> float:
    """Mean squared hyperbolic distance between points of the plane (space parts)."""
    t = np.hypot(1.0, np.linalg.norm(v, axis=1))
    cosh = np.maximum(np.outer(t, t) - v @ v.T, 1.0)
    return float(np.mean(np.arccosh(cosh) ** 2))


def _unit(p: Array) -> Array:
    return p / np.linalg.norm(p, axis=1, keepdims=True)
