"""Plane geometry of the Poincaré disk in NumPy, all in float64.

Two kinds of coordinates appear.  ``x`` are space parts of points of the hyperboloid with curvature
``-c``, as networks give them.  ``u`` are points of the **unit** disk (or ball), as they are drawn:
the Poincaré ball of curvature ``-c`` has radius ``1/sqrt(c)``, and ``u`` is that ball scaled by
``sqrt(c)``.  A point at distance r from the origin then lies at ``|u| = tanh(sqrt(c) r / 2)``
whatever c is, and distances in the unit disk are ``sqrt(c)`` times distances in the space.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def lorentz_to_disk(x: Array, c: float | Array) -> Array:
    """Bring points of the hyperboloid into the unit ball by the isometry between the models.

    Parameters
    ----------
    x : ndarray, shape (..., n)
        Space parts.
    c : float or ndarray, shape (...)
        Curvature magnitude, one for all or one a point.

    Returns
    -------
    ndarray of float64, shape (..., n)
        ``sqrt(c) x / (1 + sqrt(1 + c |x|^2))``, of norm below 1.
    """
    y = _scaled(x, c)
    return y / (1.0 + _time(y))


def disk_to_lorentz(u: Array, c: float | Array) -> Array:
    """Bring points of the unit ball to the hyperboloid; inverse of :func:`lorentz_to_disk`.

    Parameters
    ----------
    u : ndarray, shape (..., n)
        Points with ``|u| < 1``.
    c : float or ndarray, shape (...)
        Curvature magnitude.

    Returns
    -------
    ndarray of float64, shape (..., n)
        Space parts.
    """
    u = np.asarray(u, dtype=float)
    root = np.sqrt(np.asarray(c, dtype=float))[..., None]
    return 2.0 * u / (root * (1.0 - _square(u)))


def log_origin(x: Array, c: float | Array) -> Array:
    """Return the tangent vectors at the origin that point to `x`; their norm is the distance.

    Parameters
    ----------
    x : ndarray, shape (..., n)
        Space parts.
    c : float or ndarray, shape (...)
        Curvature magnitude.

    Returns
    -------
    ndarray of float64, shape (..., n)
        ``asinh(sqrt(c) |x|) / (sqrt(c) |x|) x``.
    """
    x = np.asarray(x, dtype=float)
    norm = np.linalg.norm(_scaled(x, c), axis=-1, keepdims=True)
    return x * _ratio(np.arcsinh(norm), norm)


def tangent_to_disk(z: Array, c: float | Array) -> Array:
    """Follow tangent vectors at the origin by the exponential map, into the unit ball.

    Parameters
    ----------
    z : ndarray, shape (..., n)
        Tangent vectors at the origin.
    c : float or ndarray, shape (...)
        Curvature magnitude.

    Returns
    -------
    ndarray of float64, shape (..., n)
        ``tanh(sqrt(c) |z| / 2) z / |z|``.
    """
    y = _scaled(z, c)
    norm = np.linalg.norm(y, axis=-1, keepdims=True)
    return y * _ratio(np.tanh(norm / 2.0), norm, at_zero=0.5)


def translate(x: Array, centre: Array, c: float) -> Array:
    """Move points of the hyperboloid by the translation that brings `centre` to the origin.

    Parameters
    ----------
    x : ndarray, shape (..., n)
        Space parts.
    centre : ndarray, shape (n,)
        Space part of the point that becomes the origin.
    c : float
        Curvature magnitude.

    Returns
    -------
    ndarray of float64, shape (..., n)
        Space parts; distances between them are those between `x`.

    Notes
    -----
    The pure Lorentz boost along `centre`: in the disk it is the Möbius translation.
    """
    y, p = _scaled(x, c), _scaled(centre, c)
    along = np.sum(p * y, axis=-1, keepdims=True) / (1.0 + _time(p))
    return (y + (along - _time(y)) * p) / np.sqrt(c)


def centroid(x: Array, c: float) -> Array:
    """Return the Lorentz centroid of points: where their sum, scaled, meets the hyperboloid.

    Parameters
    ----------
    x : ndarray, shape (n_points, n)
        Space parts.
    c : float
        Curvature magnitude.

    Returns
    -------
    ndarray of float64, shape (n,)
        Space part.

    References
    ----------
    M. Law, R. Liao, J. Snell, R. Zemel, "Lorentzian distance learning for hyperbolic
    representations", ICML 2019.
    """
    y = _scaled(x, c)
    space, time = y.mean(axis=0), float(_time(y).mean())
    length = np.linalg.norm(space)
    return space / np.sqrt((time - length) * (time + length) * c)


def distances(x: Array, point: Array, c: float) -> Array:
    """Return the hyperbolic distances of points to one point, without cancellation.

    Parameters
    ----------
    x : ndarray, shape (..., n)
        Space parts.
    point : ndarray, shape (n,)
        Space part.
    c : float
        Curvature magnitude.

    Returns
    -------
    ndarray of float64, shape (...)
    """
    y, q = _scaled(x, c), _scaled(np.asarray(point, dtype=float), c)
    difference, total = y - q, y + q
    # |D|^2 - (y_t - q_t)^2 is the squared chord; the difference of times from its own formula.
    times = np.sum(difference * total, axis=-1) / (_time(y) + _time(q))[..., 0]
    chord = np.sqrt(np.maximum(np.sum(difference**2, axis=-1) - times**2, 0.0))
    return 2.0 * np.arcsinh(chord / 2.0) / np.sqrt(c)


def mobius_translate(u: Array, centre: Array) -> Array:
    """Move points of the unit ball by the Möbius translation that brings `centre` to 0.

    Parameters
    ----------
    u : ndarray, shape (..., n)
        Points with ``|u| < 1``.
    centre : ndarray, shape (n,)
        Point with ``|centre| < 1``.

    Returns
    -------
    ndarray of float64, shape (..., n)
        ``(-centre) ⊕ u``, an isometry; in the plane, as complex numbers,
        ``(u - a) / (1 - conj(a) u)``.

    Raises
    ------
    ValueError
        If `centre` is not inside the unit ball.

    References
    ----------
    A. A. Ungar, "Analytic hyperbolic geometry and Albert Einstein's special theory of
    relativity", World Scientific 2008.
    """
    u, a = np.asarray(u, dtype=float), np.asarray(centre, dtype=float)
    aa = float(np.sum(a * a))
    if not aa < 1.0:
        raise ValueError(
            f"centre has norm {np.sqrt(aa):.6g}, which is not inside the unit disk; "
            "give a point of norm below 1 (see lorentz_to_disk)"
        )
    uu = _square(u)
    au = np.sum(a * u, axis=-1, keepdims=True)
    return ((1.0 - aa) * u - (1.0 + uu - 2.0 * au) * a) / (1.0 - 2.0 * au + aa * uu)


def disk_distance(u: Array, v: Array, c: float | Array = 1.0) -> Array:
    """Return hyperbolic distances between points of the unit ball.

    Parameters
    ----------
    u, v : ndarray, shape (..., n)
        Points with norm below 1.
    c : float or ndarray, shape (...)
        Curvature magnitude of the space the distances are measured in.

    Returns
    -------
    ndarray of float64, shape (...)
        ``2 asinh(|u - v| / sqrt((1 - |u|^2)(1 - |v|^2))) / sqrt(c)``.
    """
    u, v = np.asarray(u, dtype=float), np.asarray(v, dtype=float)
    room = (1.0 - _square(u)[..., 0]) * (1.0 - _square(v)[..., 0])
    gap = np.linalg.norm(u - v, axis=-1)
    return 2.0 * np.arcsinh(gap / np.sqrt(room)) / np.sqrt(np.asarray(c, dtype=float))


def geodesic(u: Array, v: Array, n: int = 33) -> Array:
    """Return points of the geodesic between two points of the unit ball, evenly spaced along it.

    Parameters
    ----------
    u, v : ndarray, shape (d,)
        End points, norm below 1.
    n : int
        Number of points, the ends included.

    Returns
    -------
    ndarray of float64, shape (n, d)
        In the disk, an arc of a circle that meets the unit circle at right angles.
    """
    u = np.asarray(u, dtype=float)
    ahead = mobius_translate(np.asarray(v, dtype=float), u)
    length = float(np.linalg.norm(ahead))
    steps = np.linspace(0.0, 1.0, n)[:, None]
    if length == 0.0:
        return np.repeat(u[None, :], n, axis=0)
    # Geodesics through 0 are straight; along them artanh of the norm is half the distance.
    straight = np.tanh(steps * np.arctanh(min(length, 1.0 - 1e-16))) * (ahead / length)
    return mobius_translate(straight, -u)


def tangent_pca(z: Array, n_components: int = 2) -> tuple[Array, float]:
    """Reduce tangent vectors at the origin to fewer dimensions by principal components.

    What "tangent PCA" means here: hyperbolic points are taken to the tangent space of the origin
    by the logarithm, projected on the plane **through the origin** that keeps most of their
    squared length, and taken back by the exponential map.  Distances from the origin, and angles
    there, are kept as far as the plane reaches; distances between far points are not.  The mean
    is not subtracted, so that the origin stays the origin; move the points first
    (:func:`translate`) to look from elsewhere.

    Parameters
    ----------
    z : ndarray, shape (n_points, n)
        Tangent vectors at the origin.
    n_components : int
        Dimensions to keep.

    Returns
    -------
    coordinates : ndarray of float64, shape (n_points, n_components)
        Rotated and projected vectors; a pure rotation or reflection when n is `n_components`.
        The sign of each axis is fixed by its largest entry, so that equal data give equal
        pictures.
    kept : float
        Share of the squared length that the projection keeps, 0 to 1.

    References
    ----------
    P. T. Fletcher, C. Lu, S. M. Pizer, S. Joshi, "Principal geodesic analysis for the study of
    nonlinear statistics of shape", IEEE Trans. Med. Imaging 23, 995-1005, 2004.
    """
    z = np.asarray(z, dtype=float)
    axes = tangent_axes(z, n_components)
    coordinates = z @ axes.T
    total = float(np.sum(z * z))
    return coordinates, float(np.sum(coordinates**2)) / total if total > 0 else 1.0


def tangent_axes(z: Array, n_components: int = 2) -> Array:
    """Return the directions that :func:`tangent_pca` projects on.

    Parameters
    ----------
    z : ndarray, shape (n_points, n)
        Tangent vectors at the origin.
    n_components : int
        Directions to find.

    Returns
    -------
    ndarray of float64, shape (n_components, n)
        Orthonormal rows; rows of zeros where there are fewer points or dimensions.
    """
    z = np.asarray(z, dtype=float)
    if len(z) > z.shape[1]:
        # Thousands of points of few dimensions: their n x n matrix has the same directions.
        _, found = np.linalg.eigh(z.T @ z)
        axes = found.T[::-1][:n_components]
    else:
        axes = np.linalg.svd(z, full_matrices=False)[2][:n_components]
    signs = np.sign(axes[np.arange(len(axes)), np.argmax(np.abs(axes), axis=1)])
    axes = axes * np.where(signs == 0, 1.0, signs)[:, None]
    return np.pad(axes, ((0, n_components - len(axes)), (0, 0)))


def _scaled(x: Array, c: float | Array) -> Array:
    """Return ``sqrt(c) x``: the same point for curvature -1."""
    return np.asarray(x, dtype=float) * np.sqrt(np.asarray(c, dtype=float))[..., None]


def _time(y: Array) -> Array:
    """Return the time part for curvature -1, shape (..., 1)."""
    return np.hypot(1.0, np.linalg.norm(y, axis=-1, keepdims=True))


def _square(u: Array) -> Array:
    return np.sum(u * u, axis=-1, keepdims=True)


def _ratio(value: Array, norm: Array, at_zero: float = 1.0) -> Array:
    """Return ``value / norm`` with its limit where the norm is 0."""
    return np.where(norm > 0, value / np.where(norm > 0, norm, 1.0), at_zero)
