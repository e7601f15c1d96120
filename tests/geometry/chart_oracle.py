"""The charts in 150-digit arithmetic: exact coordinates to ambient points and tangent vectors.

Shares no formula with the package: the ball is the stereographic image of the hyperboloid, the
tangent store is the textbook exponential map, and derivatives are written out.
"""

from __future__ import annotations

import hyperboloid_oracle as oracle
import mpmath as mp

from hypeeg.geometry import Lorentz, LorentzTangent, PoincareBall

CHARTS = {"Lorentz": Lorentz, "PoincareBall": PoincareBall, "LorentzTangent": LorentzTangent}


def origin(n, c):
    return [1 / mp.sqrt(c), *[mp.mpf(0)] * n]


def to_point(chart, p, c):
    """Ambient point of exact chart coordinates."""
    if chart == "Lorentz":
        return oracle.point(p, c)
    if chart == "PoincareBall":
        square = c * oracle.dot(p, p)
        return [(1 + square) / (1 - square) / mp.sqrt(c), *[2 * a / (1 - square) for a in p]]
    return oracle.expmap(origin(len(p), c), [mp.mpf(0), *p], c)


def to_tangent(chart, p, v, c):
    """Ambient tangent vector of exact chart coordinates at exact chart coordinates ``p``."""
    x = to_point(chart, p, c)
    if chart == "Lorentz":
        return oracle.tangent(x, v)
    if chart == "PoincareBall":
        factor = 2 / (1 - c * oracle.dot(p, p))
        bend = factor * factor * c * oracle.dot(p, v)
        return oracle.tangent(x, [factor * b + bend * a for a, b in zip(p, v, strict=True)])
    return oracle.transport(origin(len(p), c), x, [mp.mpf(0), *v], c)


def point_error(chart, value, reference, c):
    """Distance of a point in chart coordinates to an ambient one, relative to its radius or 1."""
    gap = mp.sqrt(c) * oracle.dist(to_point(chart, oracle.exact(value), c), reference, c)
    return float(gap / min(mp.mpf(1), mp.asinh(mp.sqrt(c) * oracle.norm(reference[1:]))))


def tangent_error(chart, p, value, reference, c):
    """Riemannian length of the error of a tangent vector, relative to its own."""
    got = to_tangent(chart, oracle.exact(p), oracle.exact(value), c)
    error = [a - b for a, b in zip(got, reference, strict=True)]
    size = oracle.lorentz_inner(reference, reference)
    return float(mp.sqrt(abs(oracle.lorentz_inner(error, error)) / abs(size)))


def radial_coordinates(chart, radius, direction, c, dtype):
    """Coordinates of the point at ``sqrt(c) d(x, o) = radius`` in float64 arithmetic."""
    import math

    if chart == "PoincareBall":
        length = math.tanh(radius / 2)
    else:
        length = math.sinh(radius) if chart == "Lorentz" else radius
    return (length / math.sqrt(c) * direction).to(dtype)
