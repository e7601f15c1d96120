"""Points stored as logarithms at the origin, to radius 100, against 150-digit arithmetic."""

from __future__ import annotations

import chart_oracle as charts
import hyperboloid_oracle as oracle
import mpmath as mp
import pytest
import torch

from hypeeg.geometry import LorentzTangent, ManifoldParameter, logstore

NAME = "LorentzTangent"
RADII = (1e-3, 0.99, 1.01, 6.0, 30.0, 60.0, 100.0)
DTYPES = (torch.float32, torch.float64)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def pairs(c, dtype):
    generator = torch.Generator().manual_seed(3)
    for r in RADII:
        d1, d2, d3 = oracle.directions(3, 3, generator=generator)
        z = charts.radial_coordinates(NAME, r, d1, c, dtype)
        noise = torch.randn(3, dtype=torch.float64, generator=generator)
        others = {
            "random": charts.radial_coordinates(NAME, r, d2, c, dtype),
            "unlike": charts.radial_coordinates(NAME, 0.2 * r, d2, c, dtype),
            "radial": charts.radial_coordinates(NAME, 0.99 * r, d1, c, dtype),
            "near 1e-3": (z.double() * (1 + 1e-3 * noise)).to(dtype),
            "near 1e-5": (z.double() * (1 + 1e-5 * noise)).to(dtype),
            "opposite": -z,
        }
        for kind, w in others.items():
            if kind == "radial" and r > 20 and dtype == torch.float64:
                continue  # coordinates rounded in float64 are exp(20) times that off the ray
            yield r, kind, z, w, d3


@every_dtype
@pytest.mark.parametrize("c", [0.05, 1.0, 20.0])
def test_distances_and_gradients_at_every_radius(c, dtype):
    eps = torch.finfo(dtype).eps
    k = oracle.exact_c(c, dtype)
    h = mp.mpf(10) ** -60
    for r, kind, z, w, v in pairs(c, dtype):
        a, b = (charts.to_point(NAME, oracle.exact(t), k) for t in (z, w))
        # float64 has no wider arithmetic to form radii in: exp(radius) carries their rounding.
        tol = 4 * eps if dtype == torch.float32 else 8 * eps * (1 + r)
        leaf = z.clone().requires_grad_()
        d = logstore.dist(leaf, w, c)
        assert oracle.relative_error(d, oracle.dist(a, b, k)) <= tol, (r, kind)
        (gradient,) = torch.autograd.grad(d, leaf)
        moved = [s + h * t for s, t in zip(oracle.exact(z), oracle.exact(v))]
        slope = (oracle.dist(charts.to_point(NAME, moved, k), b, k) - oracle.dist(a, b, k)) / h
        got = oracle.dot(oracle.exact(gradient), oracle.exact(v))
        assert abs(got - slope) <= 8 * tol * oracle.norm(oracle.exact(gradient)), (r, kind)


@every_dtype
@pytest.mark.parametrize("c", [0.05, 1.0, 20.0])
def test_maps_at_every_radius(c, dtype):
    """Coordinates of results are right to rounding, in the units of the store."""
    eps = torch.finfo(dtype).eps
    k = oracle.exact_c(c, dtype)
    o = charts.origin(3, k)
    for r, kind, z, w, v in pairs(c, dtype):
        tol = (8 if dtype == torch.float32 else 50 * (1 + r)) * eps
        a, b = (charts.to_point(NAME, oracle.exact(t), k) for t in (z, w))
        size = oracle.norm(oracle.exact(z)) + oracle.norm(oracle.exact(w))
        log = oracle.transport(a, o, oracle.logmap(a, b, k), k)[1:]
        got = oracle.exact(logstore.logmap(z, w, c))
        assert oracle.norm([s - t for s, t in zip(got, log)]) <= tol * oracle.norm(log), (r, kind)
        u = (v * 0.7 / c**0.5).to(dtype)
        at_z = charts.to_tangent(NAME, oracle.exact(z), oracle.exact(u), k)
        moved = oracle.transport(b, o, oracle.transport(a, b, at_z, k), k)[1:]
        got = oracle.exact(logstore.transp(z, w, u, c))
        error = oracle.norm([s - t for s, t in zip(got, moved)])
        # Near pairs far out turn fast with the angle between them, which has its own rounding.
        assert error <= 4 * tol * oracle.norm(oracle.exact(u)), (r, kind)
        end = oracle.logmap(o, oracle.expmap(a, at_z, k), k)[1:]
        got = oracle.exact(logstore.expmap(z, u, c))
        assert oracle.norm([s - t for s, t in zip(got, end)]) <= tol * (size + 1), (r, kind)


@every_dtype
def test_long_steps_inward(dtype):
    """From radius 50 through the neighbourhood of the origin and out on the other side."""
    eps = torch.finfo(dtype).eps
    z = torch.tensor([50.0, 0.0, 0.0], dtype=dtype)
    for length, aside in ((49.0, 0.0), (49.0, 1e-4), (60.0, 1e-2), (90.0, 0.0)):
        u = torch.tensor([-length, aside, 0.0], dtype=dtype)
        a = charts.to_point(NAME, oracle.exact(z), mp.mpf(1))
        at_z = charts.to_tangent(NAME, oracle.exact(z), oracle.exact(u), mp.mpf(1))
        o = charts.origin(3, mp.mpf(1))
        end = oracle.logmap(o, oracle.expmap(a, at_z, mp.mpf(1)), mp.mpf(1))[1:]
        got = oracle.exact(logstore.expmap(z, u, 1.0))
        tol = (4 if dtype == torch.float32 else 1000) * eps
        assert oracle.norm([s - t for s, t in zip(got, end)]) <= tol * 90, length


@every_dtype
def test_gradient_to_the_space_part_far_out(dtype):
    m = LorentzTangent(1.0)
    z = torch.tensor([[60.0, 0.0], [0.0, 90.0], [0.0, 0.0]], dtype=torch.float64)
    g = torch.tensor([[1.0, 2.0], [3.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    got = m.gradient_to_lorentz(z.to(dtype), g.to(dtype)).double()
    radii = torch.tensor([60.0, 90.0], dtype=torch.float64)
    sinh, cosh = torch.sinh(radii), torch.cosh(radii)
    expected = torch.tensor(
        [
            [1 / cosh[0], 2 * 60 / sinh[0]],
            [3 * 90 / sinh[1], -1 / cosh[1]],
            [1.0, 1.0],
        ],
        dtype=torch.float64,
    )
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-37)


def test_a_tree_far_out_trains_in_float32():
    """Distances pull a coincident and a far pair to their targets with finite gradients."""
    manifold = LorentzTangent(1.0)
    start = torch.tensor([[80.0, 0.0], [80.0, 1e-3], [0.0, 90.0]])
    points = ManifoldParameter(start, manifold)
    for _ in range(50):
        d = manifold.dist(points[[0, 0, 1]], points[[1, 2, 2]])
        loss = ((d - torch.tensor([5.0, 160.0, 165.0])) ** 2).sum()
        (gradient,) = torch.autograd.grad(loss, points)
        assert gradient.isfinite().all()
        step = manifold.egrad2rgrad(points, gradient)
        with torch.no_grad():
            points.copy_(manifold.expmap(points, -0.05 * step))
    assert loss < 1
