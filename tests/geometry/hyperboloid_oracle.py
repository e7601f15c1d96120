"""Textbook formulas of the hyperboloid in 150-digit arithmetic, on the exact values of floats.

Nothing here shares a formula with the package: points are ambient, distances are ``acosh`` of the
inner product, logarithms and transports are written as in the literature, and derivatives are the
derivatives of these. Vectors are lists of ``mpmath`` numbers, time first.
"""

from __future__ import annotations

import math

import mpmath as mp
import torch

mp.mp.dps = 150


def exact(tensor):
    """Exact values of a vector of floats."""
    return [mp.mpf(value) for value in tensor.detach().double().tolist()]


def exact_c(c, dtype):
    """Curvature as the package sees it: rounded to the dtype of the points."""
    return mp.mpf(float(torch.tensor(c, dtype=dtype)))


def dot(x, y):
    return mp.fsum(a * b for a, b in zip(x, y, strict=True))


def lorentz_inner(x, y):
    return dot(x[1:], y[1:]) - x[0] * y[0]


def combine(a, x, b, y):
    return [a * p + b * q for p, q in zip(x, y, strict=True)]


def norm(x):
    return mp.sqrt(dot(x, x))


def point(x, c):
    """Ambient point of a space part."""
    x = exact(x) if isinstance(x, torch.Tensor) else list(x)
    return [mp.sqrt(1 / c + dot(x, x)), *x]


def tangent(x, v):
    """Ambient tangent vector at the ambient point ``x`` of a space part."""
    v = exact(v) if isinstance(v, torch.Tensor) else list(v)
    return [dot(x[1:], v) / x[0], *v]


def cosh_dist(x, y, c):
    return -c * lorentz_inner(x, y)


def dist(x, y, c):
    return mp.acosh(max(mp.mpf(1), cosh_dist(x, y, c))) / mp.sqrt(c)


def grad_dist(x, y, c):
    """Derivatives of the distance by the space parts of x and y and by c."""
    z = cosh_dist(x, y, c)
    sinh = mp.sqrt(z * z - 1)
    by_x = [c * (a * y[0] / x[0] - b) / (mp.sqrt(c) * sinh) for a, b in zip(x[1:], y[1:])]
    by_y = [c * (b * x[0] / y[0] - a) / (mp.sqrt(c) * sinh) for a, b in zip(x[1:], y[1:])]
    # Time depends on c: d x_t / dc = -1 / (2 c^2 x_t).
    dz = z / c - (y[0] / x[0] + x[0] / y[0]) / (2 * c)
    by_c = dz / (mp.sqrt(c) * sinh) - mp.acosh(z) / (2 * c * mp.sqrt(c))
    return by_x, by_y, by_c


def expmap(x, u, c):
    length = mp.sqrt(c * max(mp.mpf(0), lorentz_inner(u, u)))
    return combine(mp.cosh(length), x, mp.sinh(length) / length if length else mp.mpf(1), u)


def logmap(x, y, c):
    z = cosh_dist(x, y, c)
    if z <= 1:
        return [mp.mpf(0)] * len(x)
    return [mp.acosh(z) / mp.sqrt(z * z - 1) * (b - z * a) for a, b in zip(x, y)]


def transport(x, y, v, c):
    factor = c * lorentz_inner(y, v) / (1 + cosh_dist(x, y, c))
    return [w + factor * (a + b) for a, b, w in zip(x, y, v)]


def centroid(points, weights, c):
    total = [mp.fsum(w * p[i] for w, p in zip(weights, points)) for i in range(len(points[0]))]
    return [s / mp.sqrt(-c * lorentz_inner(total, total)) for s in total]


def rescale(x, c, slope, cap):
    """Maximum-distance rescaling of an ambient point; ``cap`` is ``D_max``."""
    radius = mp.asinh(mp.sqrt(c) * norm(x[1:])) / mp.sqrt(c)
    moved = cap * mp.tanh(radius * mp.atanh(mp.mpf("0.99")) / (slope * cap))
    return [a * mp.sinh(mp.sqrt(c) * moved) / mp.sinh(mp.sqrt(c) * radius) for a in x[1:]]


def relative_error(value, reference):
    """Error of a tensor against a list, or of a scalar against a number, Euclidean, relative."""
    if not torch.isfinite(value).all():
        return math.inf
    if isinstance(reference, list):
        scale = norm(reference)
        error = norm([a - b for a, b in zip(exact(value), reference, strict=True)])
    else:
        scale, error = abs(reference), abs(mp.mpf(value.item()) - reference)
    return float(error / scale) if scale else float(error)


def tangent_error(value, reference, x, c):
    """Riemannian length of the error of a tangent vector at ``x``, relative to its own."""
    error = tangent(x, [a - b for a, b in zip(exact(value), reference[1:], strict=True)])
    return float(mp.sqrt(abs(lorentz_inner(error, error) / lorentz_inner(reference, reference))))


def point_error(value, reference, c):
    """Hyperbolic length of the error of a point, relative to its distance to the origin or 1."""
    error = tangent(reference, [a - b for a, b in zip(exact(value), reference[1:], strict=True)])
    scale = min(mp.mpf(1), mp.sqrt(c) * norm(reference[1:]))
    return float(mp.sqrt(c * abs(lorentz_inner(error, error))) / scale)


# ------------------------------------------------------------------ floats to test on


def directions(*shape, generator):
    vectors = torch.randn(*shape, dtype=torch.float64, generator=generator)
    return vectors / vectors.norm(dim=-1, keepdim=True)


def at_radius(radius, direction, c, dtype):
    """Point at ``sqrt(c) d(x, o) = radius``."""
    return (math.sinh(radius) * direction / math.sqrt(c)).to(dtype)


def pair(kind, r1, r2, c, dtype, generator, n=5):
    """Two points of given radii; ``kind`` may carry a size: ``near:1e-4``, ``angle:1e-3``."""
    kind, _, size = kind.partition(":")
    first, second = directions(2, n, generator=generator)
    if kind == "angle":
        second = first + float(size) * second
        second = second / second.norm()
    if kind == "radial":
        second = first
    if kind == "opposite":
        second = -first
    x = at_radius(r1, first, c, dtype)
    if kind == "near":
        noise = torch.randn(n, dtype=torch.float64, generator=generator)
        return x, (x.double() * (1 + float(size) * noise)).to(dtype)
    return x, at_radius(r2, second, c, dtype)


def one_ulp_off(x, dtype, generator):
    """Exact values of ``x`` with each coordinate moved by up to one unit in the last place."""
    shift = torch.rand(len(x), dtype=torch.float64, generator=generator) * 2 - 1
    eps = torch.finfo(dtype).eps
    return [v * (1 + mp.mpf(s) * eps) for v, s in zip(exact(x), shift.tolist(), strict=True)]
