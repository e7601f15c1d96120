"""Möbius operations on the ball against geoopt in float64 and 150-digit arithmetic."""

from __future__ import annotations

import math

import chart_oracle as charts
import hyperboloid_oracle as oracle
import mpmath as mp
import pytest
import torch

from hypeeg.geometry import PoincareBall, poincare

geoopt = pytest.importorskip("geoopt")

CURVATURES = (0.05, 0.3, 1.0, 4.0, 20.0)


def points(c, dtype=torch.float64, count=4, spread=0.6):
    generator = torch.Generator().manual_seed(0)
    z = spread * torch.randn(count, 12, 4, dtype=torch.float64, generator=generator)
    return poincare.expmap0(z / math.sqrt(c), c).to(dtype).unbind(0)


@pytest.mark.parametrize("c", CURVATURES)
def test_everything_geoopt_has(c):
    peer = geoopt.PoincareBall(c=torch.tensor(c, dtype=torch.float64))
    p, q, w, g = points(c)
    m = PoincareBall(c)
    u, v = 0.4 * w, 0.3 * g
    weight = torch.randn(3, 4, dtype=torch.float64)
    mine_and_theirs = {
        "mobius_add": (m.mobius_add(p, q), peer.mobius_add(p, q)),
        "scalar": (m.mobius_scalar_mul(1.7, p), peer.mobius_scalar_mul(torch.tensor(1.7), p)),
        "matvec": (m.mobius_matvec(weight, p), peer.mobius_matvec(weight, p)),
        "gyration": (m.gyration(p, q, v), peer.gyration(p, q, v)),
        "lambda": (m.conformal_factor(p), peer.lambda_x(p, keepdim=True)),
        "dist": (m.dist(p, q), peer.dist(p, q)),
        "dist0": (m.dist0(p), peer.dist0(p)),
        "expmap": (m.expmap(p, u), peer.expmap(p, u)),
        "expmap0": (m.expmap0(u), peer.expmap0(u)),
        "logmap": (m.logmap(p, q), peer.logmap(p, q)),
        "logmap0": (m.logmap0(p), peer.logmap0(p)),
        "transp": (m.transp(p, q, v), peer.transp(p, q, v)),
        "transp0": (m.transp0(p, v), peer.transp0(p, v)),
        "transp0back": (m.transp0back(p, v), peer.transp0back(p, v)),
        "inner": (m.inner(p, u, v), peer.inner(p, u, v, keepdim=True)[:, 0]),
        "norm": (m.norm(p, u), peer.norm(p, u)),
        "egrad2rgrad": (m.egrad2rgrad(p, g), peer.egrad2rgrad(p, g)),
    }
    for name, (mine, theirs) in mine_and_theirs.items():
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-10, msg=lambda s, n=name: n + s)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("c", [0.05, 1.0, 4.0, 20.0])
def test_distance_is_exact_on_the_coordinates_given(c, dtype):
    """Up to where they run out: radius 12 in float32, 30 in float64."""
    eps = torch.finfo(dtype).eps
    generator = torch.Generator().manual_seed(1)
    k = oracle.exact_c(c, dtype)
    for radius in (1e-4, 1.0, 6.0, 12.0, *([30.0] if dtype == torch.float64 else [])):
        d1, d2 = oracle.directions(2, 4, generator=generator)
        p = charts.radial_coordinates("PoincareBall", radius, d1, c, dtype)
        near = (p.double() * (1 - 1e-3 * torch.rand(4, generator=generator))).to(dtype)
        for q in (
            near,
            charts.radial_coordinates("PoincareBall", radius, d2, c, dtype),
            charts.radial_coordinates("PoincareBall", 0.9 * radius, d1, c, dtype),
        ):
            a, b = (charts.to_point("PoincareBall", oracle.exact(t), k) for t in (p, q))
            assert oracle.relative_error(poincare.dist(p, q, c), oracle.dist(a, b, k)) <= (
                8 * eps if dtype == torch.float32 else 8 * eps * math.exp(radius)
            )
            x = oracle.exact(poincare.poincare_to_lorentz(p, c))
            slack = 8 * eps * (1 if dtype == torch.float32 else math.exp(radius))
            assert mp.norm([s - t for s, t in zip(x, a[1:])]) <= slack * mp.norm(a[1:])


def test_sum_of_near_opposites_cancels_nothing():
    for radius in (1.0, 5.0, 9.0):
        p = torch.tensor([math.tanh(radius / 2), 0.0, 0.0])
        q = -p + torch.tensor([0.0, 1e-6, 0.0])
        a, b = (charts.to_point("PoincareBall", oracle.exact(t), mp.mpf(1)) for t in (p, q))
        opposite = [a[0], *[-t for t in a[1:]]]
        total = poincare.mobius_add(p, q, 1.0)
        expected = oracle.dist(opposite, b, mp.mpf(1))
        assert oracle.relative_error(poincare.dist0(total, 1.0), expected) <= 1e-6
        assert (poincare.mobius_add(p, -p, 1.0) == 0).all()


def test_mobius_operations_at_the_origin():
    zero = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    p = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
    torch.testing.assert_close(poincare.mobius_add(zero, p, 1.0), p)
    torch.testing.assert_close(poincare.mobius_add(p, zero, 1.0), p)
    assert torch.autograd.gradcheck(
        lambda z: poincare.mobius_scalar_mul(torch.tensor(2.5).double(), z, 0.3), (zero,)
    )
    assert torch.autograd.gradcheck(lambda z: poincare.mobius_add(p, z, 0.3), (zero,))
    assert torch.autograd.gradcheck(lambda z: poincare.gyration(p, z, p, 0.3), (zero,))


def test_boundary_and_beyond_are_told_apart_from_points():
    inside, edge, outside = torch.tensor([[0.5, 0.0], [1.0, 0.0], [1.5, 0.0]])
    m = PoincareBall(1.0)
    assert m.dist(inside, edge) == math.inf
    assert m.dist0(edge) == math.inf
    assert m.dist(inside, outside).isnan()
    pulled = m.projx(torch.stack([inside, edge, outside]))
    assert torch.equal(pulled[0], inside)
    assert m.dist0(pulled).isfinite().all()
    assert 12.0 < m.dist0(pulled[2]) < 13.0
    torch.testing.assert_close(m.dist0(pulled[1]), m.dist0(pulled[2]), rtol=2e-3, atol=0)
    far = m.from_lorentz(torch.tensor([1e20, 0.0]))
    assert m.dist0(far).isfinite()
    # A step too long for the coordinates ends on the boundary, not outside it and not at NaN.
    end = m.expmap(inside, torch.tensor([40.0, 0.0]))
    assert m.dist0(end) > 15
