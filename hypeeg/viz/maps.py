"""Maps of the hyperbolic plane in NumPy, in the unit disk: exponential, logarithm, transport.

Conventions are those of :mod:`hypeeg.viz.disk`: ``u`` are points of the unit disk. A tangent vector
at ``u`` is written in the disk's own directions (the disk shows angles as they are) with its
**hyperbolic length**: ``[2, 0]`` points to the right and is 2 units of distance long, wherever it
starts.
"""

from __future__ import annotations

import math

import numpy as np

from hypeeg.viz.disk import disk_distance, mobius_translate

Array = np.ndarray

MAX_COSH = {"float32": 2e3, "float64": 5e7}
"""Largest time part, times sqrt(c), at which a dtype still holds geometry (arXiv 2405.13979)."""


def from_polar(distance: float | Array, angle: float | Array, c: float) -> Array:
    """Return points of the unit disk from their distance to the origin and their direction.

    Parameters
    ----------
    distance : float or ndarray, shape (...)
        Hyperbolic distance to the origin.
    angle : float or ndarray, shape (...)
        Radians, counted from the right, against the clock.
    c : float
        Curvature magnitude.

    Returns
    -------
    ndarray of float64, shape (..., 2)
        ``tanh(sqrt(c) distance / 2)`` in that direction.
    """
    radius = np.tanh(math.sqrt(c) * np.asarray(distance, dtype=float) / 2.0)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def to_polar(u: Array, c: float) -> tuple[float, float]:
    """Return the distance of a point to the origin and its direction; inverse of `from_polar`.

    Parameters
    ----------
    u : ndarray, shape (2,)
        Point of the unit disk.
    c : float
        Curvature magnitude.

    Returns
    -------
    distance : float
    angle : float
        Radians in [0, 2 pi).
    """
    distance = float(disk_distance(u, np.zeros(2), c))
    return distance, float(np.arctan2(u[1], u[0]) % (2.0 * np.pi))


def disk_exp(u: Array, v: Array, c: float) -> Array:
    """Exponential map: where one arrives by following a geodesic.

    Parameters
    ----------
    u : ndarray, shape (2,)
        Starting point.
    v : ndarray, shape (..., 2)
        Tangent vectors at `u`.
    c : float
        Curvature magnitude.

    Returns
    -------
    ndarray of float64, shape (..., 2)
        The point at hyperbolic distance ``|v|`` in the direction of `v`.
    """
    v = np.asarray(v, dtype=float)
    length = np.linalg.norm(v, axis=-1, keepdims=True)
    unit = np.divide(v, length, out=np.zeros_like(v), where=length > 0)
    return mobius_translate(np.tanh(math.sqrt(c) * length / 2.0) * unit, -np.asarray(u, float))


def disk_log(u: Array, w: Array, c: float) -> Array:
    """Logarithm: the tangent vector at one point that leads to another.

    Parameters
    ----------
    u : ndarray, shape (2,)
        Starting point.
    w : ndarray, shape (..., 2)
        Ends.
    c : float
        Curvature magnitude.

    Returns
    -------
    ndarray of float64, shape (..., 2)
        Vectors as long as the hyperbolic distance; inverse of :func:`disk_exp`.
    """
    ahead = mobius_translate(w, u)
    norm = np.linalg.norm(ahead, axis=-1, keepdims=True)
    unit = np.divide(ahead, norm, out=np.zeros_like(ahead), where=norm > 0)
    return 2.0 * np.arctanh(np.minimum(norm, 1.0 - 1e-16)) / math.sqrt(c) * unit


def disk_transport(u: Array, w: Array, v: Array) -> Array:
    """Parallel transport of a tangent vector along the geodesic from one point to another.

    Parameters
    ----------
    u : ndarray, shape (2,)
        Where the vector starts out.
    w : ndarray, shape (..., 2)
        Where it is carried.
    v : ndarray, shape (2,)
        Tangent vector at `u`.

    Returns
    -------
    ndarray of float64, shape (..., 2)
        Tangent vectors at `w`, as long as `v` and at the same angle to the geodesic: the gyration
        ``gyr[w, -u] v``, in the plane a rotation.

    References
    ----------
    A. A. Ungar, "Analytic hyperbolic geometry and Albert Einstein's special theory of
    relativity", World Scientific 2008.
    """
    a, w = np.asarray(u, dtype=float), np.asarray(w, dtype=float)
    start, end = a[0] + 1j * a[1], w[..., 0] + 1j * w[..., 1]
    turn = (1.0 - end * np.conj(start)) / (1.0 - np.conj(end) * start)
    carried = turn * (v[0] + 1j * v[1])
    return np.stack([carried.real, carried.imag], axis=-1)


def largest_distance(c: float, dtype: str = "float32") -> float:
    """Return the radius within which points of a dtype keep their geometry.

    Parameters
    ----------
    c : float
        Curvature magnitude.
    dtype : {"float32", "float64"}
        Type of the coordinates.

    Returns
    -------
    float
        ``0.9 acosh(kappa) / sqrt(c)``; see :func:`hypeeg.geometry.rescaling.max_dist`.
    """
    return 0.9 * math.acosh(MAX_COSH[dtype]) / math.sqrt(c)


def rescaled_distance(r: Array, slope: float, cap: float) -> Array:
    """Return distances to the origin after maximum-distance rescaling.

    Parameters
    ----------
    r : ndarray
        Distances before.
    slope : float
        Slope; at least 2.65, below which small distances would grow.
    cap : float
        ``D_max``, which no distance passes.

    Returns
    -------
    ndarray of float64
        ``D_max tanh(r atanh(0.99) / (slope D_max))``; see
        :func:`hypeeg.geometry.rescaling.rescale`.
    """
    return cap * np.tanh(np.asarray(r, dtype=float) * math.atanh(0.99) / (slope * cap))


def sheet_error(r: Array, c: float, dtype: str = "float32") -> Array:
    """Return by how much points of a dtype, up to a distance, miss the hyperboloid.

    Parameters
    ----------
    r : ndarray, shape (n,)
        Distances to the origin, growing.
    c : float
        Curvature magnitude.
    dtype : {"float32", "float64"}
        Type the coordinates are rounded to.

    Returns
    -------
    ndarray of float64, shape (n,)
        Largest ``|c (x_t^2 - |x_s|^2) - 1|`` so far, over points in 64 directions: at least the
        rounding unit of the dtype, at most 1, where nothing is left of the geometry.
    """
    angle = np.arange(64) * (2.0 * np.pi / 64) + 0.1
    rho = math.sqrt(c) * np.asarray(r, dtype=float)[:, None]
    time = np.cosh(rho).astype(dtype)
    x = (np.sinh(rho) * np.cos(angle)).astype(dtype)
    y = (np.sinh(rho) * np.sin(angle)).astype(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.abs((time * time - (x * x + y * y)).astype(float) - 1.0).max(axis=1)
    error = np.where(np.isfinite(error), error, 1.0)
    return np.maximum.accumulate(np.clip(error, float(np.finfo(dtype).eps), 1.0))
