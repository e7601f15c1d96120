"""Exponential maps, logarithms, transports, metric and centroid against 150-digit arithmetic.

Errors of points and tangent vectors are measured in the hyperbolic metric. A float of radius r
fixes a point to ``eps cosh r``: that is the bound far from the origin, and no formula on these
coordinates does better.
"""

from __future__ import annotations

import math

import hyperboloid_oracle as oracle
import mpmath as mp
import pytest
import torch

from hypeeg.geometry import lorentz, poincare
from hypeeg.geometry.series import asinh, asinhc, sinhc, tanhc

CURVATURES = (0.05, 0.3, 1.0, 4.0, 20.0)
DTYPES = (torch.float32, torch.float64)

pytestmark = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def radial_and_across(radius, generator):
    """A direction, and a unit vector across it."""
    n, t = oracle.directions(2, 5, generator=generator)
    t = t - (t @ n) * n
    return n, t / t.norm()


def steps(dtype, seed):
    """Base points with end points at many distances, radially, across and in between."""
    generator = torch.Generator().manual_seed(seed)
    for radius in (0.0, 1e-3, 0.3, 1.0, 3.0, 5.0, 7.5):
        for distance in (1e-5, 1e-3, 0.1, 1.0, 3.0):
            for along, across in ((1, 0), (-1, 0), (0, 1), (0.6, -0.8)):
                for c in (0.05, 1.0, 20.0):
                    n, t = radial_and_across(radius, generator)
                    x = oracle.at_radius(radius, n, c, dtype)
                    u = (along * math.cosh(radius) * n + across * t) * distance / math.sqrt(c)
                    y = lorentz.expmap(x.double(), u, c).to(dtype)
                    if not torch.equal(x, y):
                        yield radius, distance, c, x, y, u.to(dtype), n, t


def test_exponential_map(dtype):
    eps = torch.finfo(dtype).eps
    for radius, distance, c, x, _, u, _, _ in steps(dtype, 0):
        exact_c = oracle.exact_c(c, dtype)
        a = oracle.point(x, exact_c)
        expected = oracle.expmap(a, oracle.tangent(a, u), exact_c)
        got = lorentz.expmap(x, u, c)
        error = oracle.norm([p - q for p, q in zip(oracle.exact(got), expected[1:], strict=True)])
        # What remains at the far end of a step inwards is a difference of cosh(r + d), and the
        # length of a step that is radial and across has the error eps cosh(r) of its coordinates.
        scale = mp.sqrt(1 / exact_c) * math.sinh(radius + distance)
        bound = eps * (8 + 0.1 * distance * math.cosh(radius))
        assert float(error / scale) <= bound, (radius, distance, c)


def test_logarithm(dtype):
    eps = torch.finfo(dtype).eps
    for radius, distance, c, x, y, *_ in steps(dtype, 1):
        exact_c = oracle.exact_c(c, dtype)
        a, b = oracle.point(x, exact_c), oracle.point(y, exact_c)
        expected = oracle.logmap(a, b, exact_c)
        error = oracle.tangent_error(lorentz.logmap(x, y, c), expected, a, exact_c)
        assert error <= 4 * eps * math.cosh(radius), (radius, distance, c)


def test_transport(dtype):
    eps = torch.finfo(dtype).eps
    for radius, distance, c, x, y, _, n, t in steps(dtype, 2):
        exact_c = oracle.exact_c(c, dtype)
        a, b = oracle.point(x, exact_c), oracle.point(y, exact_c)
        for v in (math.cosh(radius) * n, t):
            v = v.to(dtype)
            expected = oracle.transport(a, b, oracle.tangent(a, v), exact_c)
            error = oracle.tangent_error(lorentz.transp(x, y, v, c), expected, b, exact_c)
            allowed = 8 * eps * math.cosh(radius + distance)
            assert error <= allowed, (radius, distance, c)


def test_transport_and_logarithm_between_far_points_do_not_overflow(dtype):
    n, t = radial_and_across(1.0, torch.Generator().manual_seed(3))
    radius = 60.0 if dtype == torch.float32 else 370.0
    x, y = (oracle.at_radius(radius, s * n, 1.0, torch.float64).to(dtype) for s in (1, -1))
    one = mp.mpf(1)
    a, b = oracle.point(x, one), oracle.point(y, one)
    v = t.to(dtype)
    expected = oracle.transport(a, b, oracle.tangent(a, v), one)
    assert oracle.relative_error(lorentz.transp(x, y, v, 1.0), expected[1:]) <= 1e-5
    expected = oracle.logmap(a, b, one)
    assert oracle.relative_error(lorentz.logmap(x, y, 1.0), expected[1:]) <= 1e-5


@pytest.mark.parametrize("radius", [1.0, 5.0])
def test_near_points_where_textbook_formulas_fail(radius, dtype):
    """Logarithm and transport at distance 1e-3: the accuracy, and the failure it avoids."""
    one = mp.mpf(1)
    n, t = radial_and_across(radius, torch.Generator().manual_seed(4))
    x = oracle.at_radius(radius, n, 1.0, dtype)
    u = 1e-3 * (0.6 * math.cosh(radius) * n + 0.8 * t)
    y = lorentz.expmap(x.double(), u, 1.0).to(dtype)
    v = (math.cosh(radius) * n).to(dtype)
    a, b = oracle.point(x, one), oracle.point(y, one)
    eps = torch.finfo(dtype).eps
    log, carried = oracle.logmap(a, b, one), oracle.transport(a, b, oracle.tangent(a, v), one)
    assert oracle.tangent_error(lorentz.logmap(x, y, 1.0), log, a, one) <= 60 * eps
    assert oracle.tangent_error(lorentz.transp(x, y, v, 1.0), carried, b, one) <= 60 * eps

    if dtype == torch.float32:
        ambient_x, ambient_y = lorentz.to_ambient(x, 1.0), lorentz.to_ambient(y, 1.0)

        def product(p, q):
            return (p[1:] * q[1:]).sum() - p[0] * q[0]

        def naive_log(p, q):
            z = -product(p, q)
            w = q - z * p
            return torch.acosh(z.clamp(min=1.0)) * w / product(w, w).clamp(min=1e-16).sqrt()

        naive = naive_log(ambient_x, ambient_y)
        assert oracle.tangent_error(naive[1:], log, a, one) > 0.05
        if radius == 5.0:
            d2 = torch.acosh((-product(ambient_x, ambient_y)).clamp(min=1.0)) ** 2
            w = naive + naive_log(ambient_y, ambient_x)
            ambient_v = lorentz.tangent_to_ambient(x, v, 1.0)
            naive = ambient_v - product(naive, ambient_v) / d2 * w
            assert not oracle.tangent_error(naive[1:], carried, b, one) < 0.1


@pytest.mark.parametrize("c", CURVATURES)
def test_maps_at_the_origin(c, dtype):
    eps = torch.finfo(dtype).eps
    generator = torch.Generator().manual_seed(5)
    exact_c = oracle.exact_c(c, dtype)
    origin = oracle.point([mp.mpf(0)] * 5, exact_c)
    for radius in (1e-6, 1e-3, 0.09, 0.11, 1.0, 7.5, 40.0):
        n, t = radial_and_across(radius, generator)
        z = (radius * n / math.sqrt(c)).to(dtype)
        expected = oracle.expmap(origin, [mp.mpf(0), *oracle.exact(z)], exact_c)
        # A relative error of the exponent, radius * eps, is the conditioning of sinh.
        assert oracle.relative_error(lorentz.expmap0(z, c), expected[1:]) <= (6 + 2 * radius) * eps

        x = oracle.at_radius(radius, n, c, dtype)
        a = oracle.point(x, exact_c)
        expected = oracle.logmap(origin, a, exact_c)
        assert oracle.relative_error(lorentz.logmap0(x, c), expected[1:]) <= 6 * eps

        v = (0.3 * n + t).to(dtype)
        expected = oracle.transport(origin, a, [mp.mpf(0), *oracle.exact(v)], exact_c)
        assert oracle.relative_error(lorentz.transp0(x, v, c), expected[1:]) <= 12 * eps
        v = (math.cosh(radius) * n + t).to(dtype)
        expected = oracle.transport(a, origin, oracle.tangent(a, v), exact_c)
        error = oracle.relative_error(lorentz.transp0back(x, v, c), expected[1:])
        assert error <= 6 * eps * math.cosh(radius)

        expected = mp.sqrt(1 / exact_c + oracle.dot(oracle.exact(x), oracle.exact(x)))
        assert oracle.relative_error(lorentz.time(x, c)[0], expected) <= 4 * eps


@pytest.mark.parametrize("c", CURVATURES)
def test_metric(c, dtype):
    eps = torch.finfo(dtype).eps
    generator = torch.Generator().manual_seed(6)
    exact_c = oracle.exact_c(c, dtype)
    for radius in (0.0, 1e-4, 0.5, 1.0, 3.0, 7.5, 12.0):
        n, t = radial_and_across(radius, generator)
        x = oracle.at_radius(radius, n, c, dtype)
        a = oracle.point(x, exact_c)
        u = (0.7 * math.cosh(radius) * n + t).to(dtype)
        v = (0.4 * math.cosh(radius) * n - 0.2 * t).to(dtype)
        ambient_u, ambient_v = oracle.tangent(a, u), oracle.tangent(a, v)
        length = mp.sqrt(oracle.lorentz_inner(ambient_u, ambient_u))
        bound = 8 * eps * math.cosh(radius)
        assert oracle.relative_error(lorentz.norm(x, u, c), length) <= bound
        expected = oracle.lorentz_inner(ambient_u, ambient_v)
        assert abs(lorentz.inner(x, u, v, c).item() - expected) <= bound * length
        purely_radial = (math.cosh(radius) * x.double() / max(x.double().norm(), 1e-300)).to(dtype)
        ambient = oracle.tangent(a, purely_radial)
        expected = mp.sqrt(oracle.lorentz_inner(ambient, ambient))
        # Along the ray nothing is lost until eps cosh(r) shows squared.
        bound = 8 * eps + 4 * (eps * math.cosh(radius)) ** 2
        assert oracle.relative_error(lorentz.norm(x, purely_radial, c), expected) <= bound

        w = torch.randn(6, dtype=torch.float64, generator=generator).to(dtype)
        inner = oracle.lorentz_inner(a, oracle.exact(w))
        expected = oracle.combine(mp.mpf(1), oracle.exact(w), exact_c * inner, a)
        got = oracle.exact(lorentz.proj_tangent(x, w, c))
        error = oracle.norm([p - q for p, q in zip(got, expected[1:], strict=True)])
        assert float(error) <= 20 * eps * math.cosh(radius) ** 2

        g = w[1:]
        flipped = [mp.mpf(0), *oracle.exact(g)]  # time derived: no gradient in it, sign irrelevant
        inner = oracle.lorentz_inner(a, flipped)
        expected = oracle.combine(mp.mpf(1), flipped, exact_c * inner, a)
        got = oracle.exact(lorentz.egrad2rgrad(x, g, c))
        error = oracle.norm([p - q for p, q in zip(got, expected[1:], strict=True)])
        assert float(error) <= 20 * eps * math.cosh(radius) ** 2


def test_riemannian_gradient_is_the_logarithm(dtype):
    """The gradient of half the squared distance is minus the logarithm, whatever the chart."""
    generator = torch.Generator().manual_seed(7)
    for radius in (0.0, 0.5, 2.0):
        for c in CURVATURES:
            x, y = (
                oracle.at_radius(radius, d, c, dtype).requires_grad_()
                for d in oracle.directions(2, 4, generator=generator)
            )
            y = (y + 0.1).detach()
            (lorentz.dist(x, y, c) ** 2 / 2).backward()
            gradient = lorentz.egrad2rgrad(x.detach(), x.grad, c)
            expected = -lorentz.logmap(x.detach(), y, c)
            error = lorentz.norm(x.detach(), gradient - expected, c)
            assert error <= 200 * torch.finfo(dtype).eps * lorentz.norm(x.detach(), expected, c)


@pytest.mark.parametrize("kind", ["spread", "near", "mixed radii", "with origin", "around origin"])
def test_weighted_centroid(kind, dtype):
    eps = torch.finfo(dtype).eps
    generator = torch.Generator().manual_seed(8)
    for radius in (1e-4, 1e-2, 1.0, 5.0, 7.5, 14.0, 40.0):
        for c in (0.05, 1.0, 20.0):
            x = math.sinh(radius) * oracle.directions(6, 4, generator=generator) / math.sqrt(c)
            if kind == "near":
                if radius > 10:
                    continue
                noise = 1e-2 * oracle.directions(6, 4, generator=generator) / math.sqrt(c)
                base = x[:1].expand(6, 4)
                x = lorentz.expmap(base, lorentz.transp0(base, noise, c), c)
            if kind == "mixed radii":
                x[3:] = math.sinh(radius / 3) * x[3:] / math.sinh(radius)
            if kind == "with origin":
                x[0] = 0
            if kind == "around origin":
                x[3:] = -x[:3]
            x = x.to(dtype)
            w = torch.rand(6, dtype=torch.float64, generator=generator).to(dtype) * 7
            if kind == "around origin":
                w[3:] = w[:3]
            exact_c = oracle.exact_c(c, dtype)
            points = [oracle.point(p, exact_c) for p in x]
            expected = oracle.centroid(points, oracle.exact(w), exact_c)
            got = lorentz.centroid(x, c, w)
            if kind == "around origin":
                assert lorentz.dist0(got, c) * math.sqrt(c) <= 8 * eps * max(1, radius), radius
            else:
                error = oracle.point_error(got, expected, exact_c)
                bound = 10 * eps * (math.cosh(radius) if kind == "near" else 1)
                assert error <= bound, (radius, c)
            equal = oracle.centroid(points, [mp.mpf(1)] * 6, exact_c)
            ones = torch.ones_like(w)
            torch.testing.assert_close(
                lorentz.centroid(x, c), lorentz.centroid(x, c, ones), rtol=1e-6, atol=0
            )
            if kind == "spread":
                assert oracle.point_error(lorentz.centroid(x, c), equal, exact_c) <= 10 * eps


def test_centroid_of_one_point_and_batches(dtype):
    x = torch.randn(3, 5, 4, dtype=dtype, generator=torch.Generator().manual_seed(9))
    w = torch.rand(3, 5, dtype=dtype, generator=torch.Generator().manual_seed(10))
    assert lorentz.centroid(x, 0.3, w).shape == (3, 4)
    one = torch.nn.functional.one_hot(torch.tensor([2, 0, 4]), 5).to(dtype)
    picked = lorentz.centroid(x, 0.3, one)
    torch.testing.assert_close(picked, x[torch.arange(3), [2, 0, 4]], rtol=1e-5, atol=1e-6)
    batch = torch.stack([lorentz.centroid(x[i], 0.3, w[i]) for i in range(3)])
    torch.testing.assert_close(lorentz.centroid(x, 0.3, w), batch)


@pytest.mark.parametrize("c", CURVATURES)
def test_poincare_ball(c, dtype):
    eps = torch.finfo(dtype).eps
    generator = torch.Generator().manual_seed(11)
    exact_c = oracle.exact_c(c, dtype)
    for radius in (1e-6, 1e-2, 1.0, 6.0):
        x, y = (
            oracle.at_radius(radius, n, c, dtype)
            for n in oracle.directions(2, 5, generator=generator)
        )
        a, b = oracle.point(x, exact_c), oracle.point(y, exact_c)
        p, q = (poincare.lorentz_to_poincare(z, c) for z in (x, y))
        expected = [v / (1 + mp.sqrt(exact_c) * a[0]) for v in a[1:]]
        assert oracle.relative_error(p, expected) <= 6 * eps
        assert p.norm() * math.sqrt(c) < 1
        # The distance of the ball, in its own formula.
        s, t = oracle.exact(p), oracle.exact(q)
        gap = oracle.norm([u - v for u, v in zip(s, t, strict=True)]) ** 2
        inside = (1 - exact_c * oracle.dot(s, s)) * (1 - exact_c * oracle.dot(t, t))
        in_ball = mp.acosh(1 + 2 * exact_c * gap / inside) / mp.sqrt(exact_c)
        bound = 40 * eps * math.cosh(radius) ** 2
        assert oracle.relative_error(lorentz.dist(x, y, c), in_ball) <= bound
        assert abs(oracle.dist(a, b, exact_c) - in_ball) <= bound * in_ball
        back = poincare.poincare_to_lorentz(p, c)
        assert oracle.relative_error(back, a[1:]) <= 20 * eps * math.cosh(radius) ** 2
        exact_back = [2 * v / (1 - exact_c * oracle.dot(s, s)) for v in s]
        assert oracle.relative_error(back, exact_back) <= 20 * eps * math.cosh(radius)


def test_outside_the_ball_is_not_a_point(dtype):
    p = torch.tensor([[0.6, 0.9], [3.0, 0.0]], dtype=dtype)
    assert poincare.poincare_to_lorentz(p, 1.0).isnan().all()
    boundary = torch.tensor([1.0, 0.0], dtype=dtype)
    assert not poincare.poincare_to_lorentz(boundary, 1.0).isfinite().any()


@pytest.mark.parametrize(
    ("ours", "exact"),
    [
        (sinhc, lambda a: mp.sinh(a) / a),
        (tanhc, lambda a: mp.tanh(a) / a),
        (asinhc, lambda a: mp.asinh(a) / a),
        (asinh, mp.asinh),
    ],
    ids=["sinhc", "tanhc", "asinhc", "asinh"],
)
def test_series(ours, exact, dtype):
    """Values and derivatives on both sides of the switch to the polynomials."""
    eps = torch.finfo(dtype).eps
    for size in (1e-12, 1e-4, 0.05, 0.0999, 0.1001, 0.3, 2.0, 20.0, 80.0, 1e9, 1e30):
        if ours is sinhc and size > 80:
            continue
        for sign in (1, -1):
            a = torch.tensor(sign * size, dtype=dtype, requires_grad=True)
            value = ours(a)
            value.backward()
            at = mp.mpf(a.item())
            conditioning = 1 + (size if ours is sinhc else 0)
            assert oracle.relative_error(value, exact(at)) <= 4 * eps * conditioning, size
            with mp.workdps(80):
                derivative = mp.diff(exact, at, h=abs(at) * mp.mpf(10) ** -25)
            # Derivatives of the ratios are differences of their parts, divided by a.
            parts = abs(exact(at) / at) if ours is not asinh else abs(derivative)
            scale = max(abs(derivative), parts if size >= 0.1 else 0)
            error = abs(mp.mpf(a.grad.item()) - derivative)
            assert error <= 12 * eps * conditioning * scale + torch.finfo(dtype).tiny, size
    zero = torch.zeros((), dtype=dtype, requires_grad=True)
    ours(zero).backward()
    assert zero.grad == (1 if ours is asinh else 0)
