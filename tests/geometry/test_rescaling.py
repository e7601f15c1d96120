"""Maximum-distance rescaling against its formula in 150 digits, and what it promises."""

from __future__ import annotations

import math

import hyperboloid_oracle as oracle
import mpmath as mp
import pytest
import torch

from hypeeg.geometry import lorentz, rescaling

CURVATURES = (0.05, 0.3, 1.0, 4.0, 20.0)
DTYPES = (torch.float32, torch.float64)
KAPPA = {torch.float32: 2e3, torch.float64: 5e7}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("c", CURVATURES)
def test_largest_radius_depends_on_the_scaled_radius_alone(c, dtype):
    """Its cosh is kappa^0.9-ish for every c; acosh(2e3 c) or acosh(2e3 / K) would not be."""
    rho = rescaling.max_dist(c, dtype) * math.sqrt(c)
    assert rho.dtype == dtype
    assert float(rho) == pytest.approx(0.9 * math.acosh(KAPPA[dtype]), rel=1e-6)
    half = rescaling.max_dist(torch.tensor(c, dtype=torch.float64), torch.bfloat16)
    assert half.dtype == torch.float32
    assert float(half) == pytest.approx(float(rescaling.max_dist(c, torch.float32)), rel=1e-6)


def test_within_the_largest_radius_a_dtype_tells_time_from_space():
    for dtype in DTYPES:
        for c in CURVATURES:
            z = torch.tensor([1.0, 0.0], dtype=dtype) * rescaling.max_dist(c, dtype)
            x = lorentz.to_ambient(lorentz.expmap0(z, c), c)
            product = c * (x[0] ** 2 - (x[1:] ** 2).sum())
            assert product == pytest.approx(1.0, abs=0.5), (dtype, c)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("slope", [2.65, 3.0, 5.5])
def test_formula(c, dtype, slope):
    eps = torch.finfo(dtype).eps
    generator = torch.Generator().manual_seed(0)
    exact_c = oracle.exact_c(c, dtype)
    default = 0.9 * mp.acosh(mp.mpf(KAPPA[dtype])) / mp.sqrt(exact_c)
    for radius in (1e-6, 1e-3, 0.05, 0.5, 2.0, 7.0, 20.0, 80.0):
        x = oracle.at_radius(radius, oracle.directions(5, generator=generator), c, dtype)
        a = oracle.point(x, exact_c)
        expected = oracle.rescale(a, exact_c, mp.mpf(slope), default)
        assert oracle.relative_error(rescaling.rescale(x, c, slope), expected) <= 40 * eps, radius
        cap = mp.mpf(1.5)
        expected = oracle.rescale(a, exact_c, mp.mpf(slope), cap)
        for given in (1.5, torch.tensor(1.5)):
            got = rescaling.rescale(x, c, slope, max_dist=given)
            assert oracle.relative_error(got, expected) <= 40 * eps, radius


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("c", CURVATURES)
def test_radial_monotone_bounded(c, dtype):
    direction = oracle.directions(4, generator=torch.Generator().manual_seed(1))
    radii = torch.linspace(0.0, 85.0, 400, dtype=torch.float64)
    x = torch.stack([oracle.at_radius(float(r), direction, c, dtype) for r in radii])
    moved = rescaling.rescale(x, c)
    before, after = lorentz.dist0(x, c).double(), lorentz.dist0(moved, c).double()
    cap = float(rescaling.max_dist(c, dtype))
    assert (after <= cap * (1 + 1e-6)).all()
    assert (after.diff() >= -1e-6 * cap).all()
    assert (after[:50].diff() > 0).all()
    # Pulled in, never out; and by atanh(0.99)/slope near the origin.
    assert (after <= before * (1 + 1e-6)).all()
    tiny = x[1] * 1e-6
    ratio = lorentz.dist0(rescaling.rescale(tiny, c), c) / lorentz.dist0(tiny, c)
    assert float(ratio) == pytest.approx(math.atanh(0.99) / 3, rel=1e-5)
    # At slope times the cap the rule has used 99 % of it.
    if 3 * cap * math.sqrt(c) < 80:
        edge = lorentz.expmap0(direction.to(dtype) * 3 * cap, c)
        got = lorentz.dist0(rescaling.rescale(edge, c), c) / cap
        assert float(got) == pytest.approx(0.99, abs=1e-5)
    # Radial.
    nonzero = moved[1:].double()
    cosine = (nonzero @ direction) / nonzero.norm(dim=-1)
    assert cosine.min() > 1 - 1e-6
    assert (moved[0] == 0).all()


def test_smallest_slope_keeps_small_norms_from_growing():
    assert math.atanh(0.99) / 2.65 < 1 < math.atanh(0.99) / 2.64
    x = torch.ones(3)
    rescaling.rescale(x, 1.0, slope=2.65)
    for slope in (2.6, 0.0, -3.0, math.nan):
        with pytest.raises(ValueError, match=r"slope must be at least 2\.65"):
            rescaling.rescale(x, 1.0, slope=slope)
    for cap in (0.0, -1.0):
        with pytest.raises(ValueError, match="max_dist must be positive"):
            rescaling.rescale(x, 1.0, max_dist=cap)


def test_gradients_through_slope_cap_and_curvature():
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    c = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    slope = torch.tensor(3.3, dtype=torch.float64, requires_grad=True)
    cap = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rescaling.rescale, (x, c, slope, cap))
