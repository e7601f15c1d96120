"""Laws of hyperbolic geometry on random inputs."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hypeeg.geometry import lorentz, poincare

quick = settings(max_examples=40, deadline=None, derandomize=True)
DTYPES = (torch.float32, torch.float64)
curvatures = st.floats(0.05, 20.0)
radii = st.floats(0.0, 5.0)
seeds = st.integers(0, 2**20)
dtypes = st.sampled_from(DTYPES)


def points(seed, count, radius, c, dtype, n=4):
    """Points within a scaled radius, in the dtype."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(count, n, dtype=torch.float64, generator=generator)
    z = z / z.norm(dim=-1, keepdim=True) * torch.rand(count, 1, generator=generator) * radius
    return lorentz.expmap0(z / math.sqrt(c), c).to(dtype)


def tangents(seed, x, c):
    """Tangent vectors of about unit scaled length."""
    generator = torch.Generator().manual_seed(seed + 1)
    v = torch.randn(x.shape, dtype=torch.float64, generator=generator) / math.sqrt(c)
    return lorentz.transp0(x.double(), v, c).to(x.dtype)


def slack(dtype, radius):
    """What rounding of coordinates at this radius allows, in scaled distance."""
    return 60 * torch.finfo(dtype).eps * math.cosh(radius)


@quick
@given(seeds, radii, curvatures, dtypes)
def test_exponential_and_logarithm_are_inverse(seed, radius, c, dtype):
    x, y = points(seed, 2, radius, c, dtype)
    tolerance = slack(dtype, 2 * radius)
    reached = lorentz.expmap(x, lorentz.logmap(x, y, c), c)
    assert lorentz.dist(reached, y, c) * math.sqrt(c) <= tolerance
    u = tangents(seed, x, c)
    # u has length of a few units: the way out rounds at a greater radius than the base.
    tolerance = slack(dtype, 2 * (radius + float(lorentz.norm(x, u, c)) * math.sqrt(c)))
    back = lorentz.logmap(x, lorentz.expmap(x, u, c), c)
    assert lorentz.norm(x, back - u, c) * math.sqrt(c) <= tolerance
    z = lorentz.logmap0(x, c)
    torch.testing.assert_close(lorentz.expmap0(z, c), x, rtol=slack(dtype, 0), atol=0)
    back = lorentz.logmap0(lorentz.expmap0(z, c), c)
    torch.testing.assert_close(back, z, rtol=slack(dtype, 0), atol=0)


@quick
@given(seeds, radii, curvatures, dtypes)
def test_lengths_of_logarithms_are_distances(seed, radius, c, dtype):
    x, y = points(seed, 2, radius, c, dtype)
    d = lorentz.dist(x, y, c)
    length = lorentz.norm(x, lorentz.logmap(x, y, c), c)
    torch.testing.assert_close(length, d, rtol=slack(dtype, radius), atol=0)
    z = lorentz.logmap0(x, c)
    torch.testing.assert_close(z.norm(), lorentz.dist0(x, c), rtol=slack(dtype, 0), atol=0)


@quick
@given(seeds, radii, curvatures, dtypes)
def test_transport_is_an_isometry_and_reverses(seed, radius, c, dtype):
    x, y = points(seed, 2, radius, c, dtype)
    u, v = tangents(seed, x, c), tangents(seed + 7, x, c)
    tolerance = slack(dtype, 2 * radius)
    moved_u, moved_v = lorentz.transp(x, y, u, c), lorentz.transp(x, y, v, c)
    size = lorentz.norm(x, u, c) * lorentz.norm(x, v, c)
    there, here = lorentz.inner(y, moved_u, moved_v, c), lorentz.inner(x, u, v, c)
    assert abs(there - here) <= tolerance * size
    back = lorentz.transp(y, x, moved_u, c)
    assert lorentz.norm(x, back - u, c) <= tolerance * lorentz.norm(x, u, c)
    # The geodesic's own direction arrives as minus the direction back.
    arrived = lorentz.transp(x, y, lorentz.logmap(x, y, c), c)
    error = lorentz.norm(y, arrived + lorentz.logmap(y, x, c), c)
    assert error <= tolerance * (lorentz.dist(x, y, c) + slack(dtype, radius))
    # By way of the origin along the same ray it is the transport to the origin.
    to_origin = lorentz.transp(x, torch.zeros_like(x), u, c)
    gap = (to_origin - lorentz.transp0back(x, u, c)).norm()
    assert gap <= tolerance * lorentz.norm(x, u, c)
    from_origin = lorentz.transp(torch.zeros_like(x), x, to_origin, c)
    gap = lorentz.norm(x, from_origin - lorentz.transp0(x, to_origin, c), c)
    assert gap <= tolerance * lorentz.norm(x, u, c)


@quick
@given(seeds, radii, curvatures, dtypes)
def test_distance_is_a_metric(seed, radius, c, dtype):
    x, y, z = points(seed, 3, radius, c, dtype)
    eps = torch.finfo(dtype).eps
    xy, yx = lorentz.dist(x, y, c), lorentz.dist(y, x, c)
    assert xy >= 0
    torch.testing.assert_close(xy, yx, rtol=10 * eps, atol=0)
    assert xy <= (lorentz.dist(x, z, c) + lorentz.dist(z, y, c)) * (1 + 10 * eps)
    torch.testing.assert_close(
        lorentz.dist(x, torch.zeros_like(x), c), lorentz.dist0(x, c), rtol=10 * eps, atol=0
    )


@quick
@given(seeds, st.floats(0.0, 3.0), curvatures, st.floats(-2.0, 2.0))
def test_distance_is_invariant_under_boosts_and_rotations(seed, radius, c, rapidity):
    x, y = points(seed, 2, radius, c, torch.float64)
    generator = torch.Generator().manual_seed(seed)
    rotation, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=generator))
    boost = torch.eye(5, dtype=torch.float64)
    boost[0, 0] = boost[1, 1] = math.cosh(rapidity)
    boost[0, 1] = boost[1, 0] = math.sinh(rapidity)

    def move(p):
        return lorentz.from_ambient(lorentz.to_ambient(p @ rotation.T, c) @ boost.T)

    d, moved = lorentz.dist(x, y, c), lorentz.dist(move(x), move(y), c)
    torch.testing.assert_close(moved, d, rtol=1e-9, atol=1e-12)
    # The moved points are still on the hyperboloid: the boost's time is the derived one.
    ambient = lorentz.to_ambient(x, c) @ boost.T
    torch.testing.assert_close(ambient[0], lorentz.time(ambient[1:], c)[0], rtol=1e-9, atol=0)


@quick
@given(seeds, radii, curvatures, dtypes)
def test_distance_is_the_distance_of_the_poincare_ball(seed, radius, c, dtype):
    x, y = points(seed, 2, radius, c, torch.float64)
    p, q = (poincare.lorentz_to_poincare(z, c) for z in (x, y))
    inside = (1 - c * p @ p) * (1 - c * q @ q)
    in_ball = torch.acosh(1 + 2 * c * ((p - q) @ (p - q)) / inside) / math.sqrt(c)
    torch.testing.assert_close(lorentz.dist(x, y, c), in_ball, rtol=1e-7, atol=1e-6)
    image = poincare.lorentz_to_poincare(x.to(dtype), c)
    back = poincare.poincare_to_lorentz(image, c)
    torch.testing.assert_close(back, x.to(dtype), rtol=slack(dtype, 2 * radius), atol=0)


@quick
@given(seeds, radii, curvatures, dtypes)
def test_points_and_tangents_lie_where_they_should(seed, radius, c, dtype):
    x = points(seed, 1, radius, c, dtype)[0]
    v = tangents(seed, x, c)
    eps = torch.finfo(dtype).eps
    ambient = lorentz.to_ambient(x, c).double()
    product = c * (ambient[1:] @ ambient[1:] - ambient[0] ** 2)
    assert abs(product + 1) <= 10 * eps * c * ambient[0] ** 2
    w = lorentz.tangent_to_ambient(x, v, c).double()
    product = ambient[1:] @ w[1:] - ambient[0] * w[0]
    assert abs(product) <= 10 * eps * ambient[0] * (w.norm() + 1e-30)
    # A tangent vector is its own projection, and normals project to zero.
    size = ambient[0] * math.sqrt(c)
    kept = lorentz.proj_tangent(x, w.to(dtype), c)
    assert (kept - v).norm() <= 20 * eps * size**2 * (v.norm() + 1e-30)
    assert lorentz.proj_tangent(x, ambient.to(dtype), c).norm() <= 20 * eps * size**2 * ambient[0]


@quick
@given(seeds, radii, curvatures, dtypes)
def test_centroid_of_two_points_is_the_midpoint(seed, radius, c, dtype):
    x, y = points(seed, 2, radius, c, dtype)
    middle = lorentz.centroid(torch.stack([x, y]), c)
    half = lorentz.dist(x, y, c) / 2
    for end in (x, y):
        gap = abs(lorentz.dist(middle, end, c) - half) * math.sqrt(c)
        assert gap <= slack(dtype, 2 * radius)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_small_points_are_euclidean(dtype):
    """To first order nothing is curved near the origin."""
    x, y = points(3, 2, 1e-4, 1.0, dtype)
    torch.testing.assert_close(lorentz.dist(x, y, 1.0), (x - y).norm(), rtol=1e-6, atol=0)
    torch.testing.assert_close(lorentz.logmap(x, y, 1.0), y - x, rtol=1e-5, atol=1e-10)
    torch.testing.assert_close(
        lorentz.centroid(torch.stack([x, y]), 1.0), (x + y) / 2, rtol=1e-5, atol=1e-10
    )
