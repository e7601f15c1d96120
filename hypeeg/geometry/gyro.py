r"""Gyrovector operations on the Lorentz model: addition as a boost, multiples along geodesics.

Points are space parts ``(..., n)``, as in :mod:`hypeeg.geometry.lorentz`. The boost of a point x is
the isometry that takes the origin to x along their geodesic without turning anything about it;
applied to a point y it gives the gyro-sum :math:`x \oplus y = \exp_x(P_{o\to x}\log_o y)`. Under
the isometry with the Poincaré ball these are Möbius addition and multiplication [1]_.

References
----------
.. [1] A. A. Ungar: Analytic Hyperbolic Geometry and Albert Einstein's Special Theory of
   Relativity, World Scientific, 2008.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hypeeg.geometry.numerics import as_curvature, ball_rotation, hypot1, prepare, unit_norm
from hypeeg.geometry.series import asinhc, sinhc


def gyroadd(x: Tensor, y: Tensor, c: Tensor | float) -> Tensor:
    """Return the gyro-sum of points, the boost of ``x`` applied to ``y``.

    Parameters
    ----------
    x, y : Tensor, shapes (..., n) that broadcast
        Space parts.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., n)
        Space parts; exactly 0 for ``y = -x``.
    """
    x, y = prepare(x, y)
    c = as_curvature(c, x)
    root = torch.sqrt(c)
    gamma_x, gamma_y = hypot1(unit_norm(x, c)), hypot1(unit_norm(y, c))
    # y + (c<x,y>/(1 + gamma_x) + gamma_y) x with x + y taken out, so that opposites cancel exactly
    total = x + y
    lean = root * ((y - x) / (gamma_x + gamma_y) + x / (1 + gamma_x))
    return total + (total * lean).sum(-1, keepdim=True) * (root * x)


def gyroinverse(x: Tensor) -> Tensor:
    """Return the gyro-inverse ``-x``, the point opposite of the origin."""
    return -prepare(x)[0]


def boost(x: Tensor, a: Tensor, c: Tensor | float) -> Tensor:
    """Apply the boost of ``x`` to ambient vectors.

    Parameters
    ----------
    x : Tensor, shape (..., n)
        Space parts of the images of the origin.
    a : Tensor, shape (..., n + 1)
        Ambient vectors, time first: points or tangent vectors.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., n + 1)
        Ambient vectors with the same Lorentz inner products.
    """
    x, a = prepare(x, a)
    c = as_curvature(c, x)
    u, gamma = torch.sqrt(c) * x, hypot1(unit_norm(x, c))
    a_t, a_s = a[..., :1], a[..., 1:]
    along = (u * a_s).sum(-1, keepdim=True)
    space = a_s + (along / (1 + gamma) + a_t) * u
    return torch.cat([(gamma * a_t + along).expand_as(space[..., :1]), space], dim=-1)


def gyration(x: Tensor, y: Tensor, v: Tensor, c: Tensor | float) -> Tensor:
    """Return ``gyr[x, y] v``, with ``gyr[x, y] z = -(x + y) + (x + (y + z))`` in gyro-sums.

    Parameters
    ----------
    x, y : Tensor, shapes (..., n) that broadcast
        Space parts.
    v : Tensor, shape (..., n)
        Space parts of points, or vectors at the origin: it is a rotation of space.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., n)
        Vectors of the same Euclidean length.
    """
    x, y, v = prepare(x, y, v)
    c = as_curvature(c, x)
    rise_x, rise_y = 1 + hypot1(unit_norm(x, c)), 1 + hypot1(unit_norm(y, c))
    return ball_rotation(-y / rise_y, x / rise_x, v, 2 / rise_y, 2 / rise_x, c)


def scalar_mul(r: Tensor | float, x: Tensor, c: Tensor | float) -> Tensor:
    """Return the points ``exp_o(r log_o x)``, ``r`` times as far from the origin.

    Parameters
    ----------
    r : Tensor or float
        Factors; a tensor broadcasts against the leading dimensions of ``x``.
    x : Tensor, shape (..., n)
        Space parts.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., n)
    """
    (x,) = prepare(x)
    c = as_curvature(c, x)
    r = as_curvature(r, x)
    p = unit_norm(x, c)
    per_radius = asinhc(p)
    return sinhc(r * per_radius * p) * r * per_radius * x
