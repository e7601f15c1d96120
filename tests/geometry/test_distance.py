"""Distances and their gradients against 150-digit arithmetic on the exact floats."""

from __future__ import annotations

import math
import zlib

import hyperboloid_oracle as oracle
import mpmath as mp
import pytest
import torch

from hypeeg.geometry import lorentz

CURVATURES = (0.05, 0.3, 1.0, 4.0, 20.0)
DTYPES = (torch.float32, torch.float64)
RADII = {
    torch.float32: (1e-4, 1e-2, 1.0, 6.0, 14.0, 40.0, 44.5, 80.0),
    torch.float64: (1e-4, 1e-2, 1.0, 6.0, 14.0, 80.0, 340.0),
}


def cases(kind, dtype):
    """Pairs of one kind at all radii, curvatures and, unless near, at unlike radii too."""
    generator = torch.Generator().manual_seed(zlib.crc32(f"{kind} {dtype}".encode()))
    for r1 in RADII[dtype]:
        partners = (r1,) if kind.startswith("near") else (r1, 1e-4, 1.0, 7.0, 40.0)
        for r2 in partners:
            if kind == "radial" and r1 == r2:
                r2 = 1.01 * r1
            for c in CURVATURES:
                x, y = oracle.pair(kind, r1, r2, c, dtype, generator)
                yield r1, r2, c, x, y


def evaluate(x, y, c):
    """Distance and the gradients by x, y and c."""
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    c = torch.tensor(c, dtype=x.dtype, requires_grad=True)
    d = lorentz.dist(x, y, c)
    d.backward()
    return d.detach(), x.grad, y.grad, c.grad


def errors(x, y, c):
    """Relative errors of the distance and of its three gradients."""
    exact_c = oracle.exact_c(c, x.dtype)
    a, b = oracle.point(x, exact_c), oracle.point(y, exact_c)
    d, by_x, by_y, by_c = evaluate(x, y, c)
    expected = oracle.dist(a, b, exact_c)
    exact_x, exact_y, exact_by_c = oracle.grad_dist(a, b, exact_c)
    # Near the origin the derivative by c is a small difference of terms of size d / (2c).
    scale_c = max(abs(exact_by_c), expected / (2 * exact_c))
    return (
        oracle.relative_error(d, expected),
        oracle.relative_error(by_x, exact_x),
        oracle.relative_error(by_y, exact_y),
        float(abs(mp.mpf(by_c.item()) - exact_by_c) / scale_c),
    )


# Measured in float32: 2.3e-7 and 1.2e-6; float64 scales by its own epsilon.
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "kind", ["random", "near:1e-3", "near:1e-4", "near:1e-6", "angle:1e-1", "opposite"]
)
def test_distance_and_gradients_are_exact_to_rounding(kind, dtype):
    eps = torch.finfo(dtype).eps
    for r1, r2, c, x, y in cases(kind, dtype):
        value, *gradients = errors(x, y, c)
        assert value <= 4 * eps, (r1, r2, c)
        assert max(gradients) <= 20 * eps, (r1, r2, c, gradients)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", ["radial", "angle:1e-3", "angle:1e-5"])
def test_ill_conditioned_pairs_lose_no_more_than_rounding_their_coordinates_does(kind, dtype):
    """Moving coordinates by one unit in the last place changes the result by as much."""
    eps = torch.finfo(dtype).eps
    generator = torch.Generator().manual_seed(5)
    for r1, r2, c, x, y in cases(kind, dtype):
        exact_c = oracle.exact_c(c, dtype)

        def truth(x, y, exact_c=exact_c):
            a, b = oracle.point(x, exact_c), oracle.point(y, exact_c)
            return oracle.dist(a, b, exact_c), *oracle.grad_dist(a, b, exact_c)[:2]

        here = truth(x, y)
        loss = [0.0, 0.0, 0.0]
        for _ in range(3):
            moved = truth(*(oracle.one_ulp_off(p, dtype, generator) for p in (x, y)))
            change = [float(abs(moved[0] - here[0]) / here[0])]
            for a, b in zip(moved[1:], here[1:], strict=True):
                difference = [s - t for s, t in zip(a, b, strict=True)]
                change.append(float(oracle.norm(difference) / oracle.norm(b)))
            loss = [max(a, b) for a, b in zip(loss, change, strict=True)]
        measured = errors(x, y, c)
        for error, allowed in zip(measured[:3], loss, strict=True):
            assert error <= 20 * eps + 4 * allowed, (r1, r2, c, measured, loss)


@pytest.mark.parametrize("c", CURVATURES)
def test_radial_pairs_in_float32(c):
    """The digits that a user can count on: 1.3e-6 to radius 10, less when closer than 0.2."""
    generator = torch.Generator().manual_seed(0)
    for r1, r2 in [(1e-4, 2e-4), (1e-3, 5.0), (3.0, 3.1), (6.0, 7.0), (9.0, 10.0), (10.0, 9.9)]:
        x, y = oracle.pair("radial", r1, r2, c, torch.float32, generator)
        assert errors(x, y, c)[0] <= 1.3e-6 * max(1.0, 0.2 / abs(r1 - r2)), (r1, r2)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("c", CURVATURES)
def test_coincident_points(c, dtype):
    generator = torch.Generator().manual_seed(1)
    for radius in (0.0, *RADII[dtype]):
        x = oracle.at_radius(radius, oracle.directions(5, generator=generator), c, dtype)
        d, *gradients = evaluate(x, x, c)
        assert d == 0
        assert all((g == 0).all() for g in gradients), radius


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("c", CURVATURES)
def test_one_point_at_the_origin(c, dtype):
    generator = torch.Generator().manual_seed(2)
    eps = torch.finfo(dtype).eps
    for radius in RADII[dtype]:
        x = oracle.at_radius(radius, oracle.directions(5, generator=generator), c, dtype)
        origin = torch.zeros_like(x)
        for pair in ((x, origin), (origin, x)):
            assert max(errors(*pair, c)) <= 10 * eps, radius
        exact_c = oracle.exact_c(c, dtype)
        expected = oracle.dist(oracle.point(x, exact_c), oracle.point(origin, exact_c), exact_c)
        assert oracle.relative_error(lorentz.dist0(x, c), expected) <= 4 * eps


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_unrepresentable_is_infinite_and_nan_stays_nan(dtype):
    inf, nan = math.inf, math.nan
    x = torch.tensor([1.0, 2.0], dtype=dtype)
    big = torch.finfo(dtype).max
    assert lorentz.dist(x, torch.tensor([inf, 0.0], dtype=dtype), 1.0) == inf
    assert lorentz.dist(torch.tensor([inf, -inf], dtype=dtype), x, 1.0) == inf
    assert lorentz.dist0(torch.tensor([inf, 0.0], dtype=dtype), 1.0) == inf
    assert lorentz.dist(torch.tensor([big, big], dtype=dtype), x, 20.0) == inf
    for bad in ([nan, 0.0], [nan, inf]):
        y = torch.tensor(bad, dtype=dtype)
        assert lorentz.dist(x, y, 1.0).isnan()
        assert lorentz.dist(y, x, 1.0).isnan()
        assert lorentz.dist(y, torch.full_like(y, inf), 1.0).isnan()
        assert lorentz.dist0(y, 1.0).isnan()


@pytest.mark.parametrize("c", CURVATURES)
def test_extreme_coordinates_are_right_or_infinite(c):
    """Exponents sweep float32; nothing finite may be wrong."""
    exact_c = oracle.exact_c(c, torch.float32)
    for exponent in range(-18, 39):
        for other in (-18, -3, 0, 3, 18, 30, 37, 38):
            x = torch.tensor([1.3, -0.4, 0.6]) * float(10.0**exponent)
            y = torch.tensor([-0.2, 1.1, 0.9]) * float(10.0**other)
            d = lorentz.dist(x, y, c)
            if d == math.inf:
                assert max(exponent, other) >= 38
                continue
            expected = oracle.dist(oracle.point(x, exact_c), oracle.point(y, exact_c), exact_c)
            assert oracle.relative_error(d, expected) <= 5e-7, (exponent, other)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", ["random", "near:1e-4", "angle:1e-3", "opposite"])
def test_squared_lorentz_distance(kind, dtype):
    eps = torch.finfo(dtype).eps
    for r1, r2, c, x, y in cases(kind, dtype):
        exact_c = oracle.exact_c(c, dtype)
        z = oracle.cosh_dist(oracle.point(x, exact_c), oracle.point(y, exact_c), exact_c)
        expected = 2 * (z - 1) / exact_c
        got = lorentz.sqdist_lorentz(x, y, c)
        if expected > torch.finfo(dtype).max / 100:
            assert got == math.inf or oracle.relative_error(got, expected) <= 1e-3
        else:
            # The chord of nearly one direction at radius 40 inherits the rounding of the angle.
            allowed = 1e-4 if kind.startswith("angle") and dtype == torch.float32 else 40 * eps
            allowed = max(allowed, 2e5 * eps) if kind.startswith("angle") else allowed
            assert oracle.relative_error(got, expected) <= allowed, (r1, r2, c)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_pairwise_equals_pair_by_pair(dtype):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 4, 3, dtype=dtype, generator=generator)
    y = torch.randn(2, 5, 3, dtype=dtype, generator=generator) * 10
    pairwise = lorentz.dist_pairwise(x, y, 0.3)
    assert pairwise.shape == (2, 4, 5)
    for b in range(2):
        for i in range(4):
            for j in range(5):
                one = lorentz.dist(x[b, i], y[b, j], 0.3)
                torch.testing.assert_close(pairwise[b, i, j], one, rtol=1e-6, atol=0)


def test_the_textbook_formula_fails_where_ours_holds():
    """The reason for the haversine form, and proof that the tolerances above mean something."""
    generator = torch.Generator().manual_seed(4)
    x, y = oracle.pair("near:1e-4", 6.0, 6.0, 1.0, torch.float32, generator)
    expected = oracle.dist(oracle.point(x, mp.mpf(1)), oracle.point(y, mp.mpf(1)), mp.mpf(1))
    ambient = lorentz.to_ambient(torch.stack([x, y]), 1.0)
    inner = (ambient[0, 1:] * ambient[1, 1:]).sum() - ambient[0, 0] * ambient[1, 0]
    naive = torch.acosh((-inner).clamp(min=1.0))
    assert oracle.relative_error(naive, expected) > 0.5
    assert oracle.relative_error(lorentz.dist(x, y, 1.0), expected) < 3e-7


@pytest.mark.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def test_powers_of_two_are_exact(device):
    """The distance scales by them and counts on losing nothing."""
    for dtype, most in ((torch.float32, 126), (torch.float64, 1022)):
        exponents = torch.arange(-most, most + 1, dtype=dtype, device=device)
        expected = torch.tensor([2.0**e for e in range(-most, most + 1)], dtype=dtype)
        assert torch.equal(torch.exp2(exponents).cpu(), expected)
