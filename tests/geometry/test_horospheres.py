"""Hyperplane distances and Busemann functions against 150 digits and their definitions."""

from __future__ import annotations

import math

import hyperboloid_oracle as oracle
import mpmath as mp
import pytest
import torch

from hypeeg.geometry import Lorentz, horospheres, lorentz

CURVATURES = (0.05, 0.3, 1.0, 4.0, 20.0)
DTYPES = (torch.float32, torch.float64)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("c", CURVATURES)
def test_hyperplane_distance(c, dtype):
    """Also next to a hyperplane that lies far out, where the textbook formula has no digits."""
    generator = torch.Generator().manual_seed(0)
    k, eps = oracle.exact_c(c, dtype), torch.finfo(dtype).eps
    for radius in (1e-3, 1.0, 5.0, 20.0):
        for offset in (-1.0, 0.0, 0.5, radius):
            n, m = oracle.directions(2, 4, generator=generator)
            towards = n + 1e-2 * m if offset == radius else m
            z = (3 * n).to(dtype)
            x = oracle.at_radius(radius, towards / towards.norm(), c, dtype)
            a = torch.tensor(offset / math.sqrt(c), dtype=dtype)
            got = horospheres.hyperplane_dist(x, z, a, c)
            s = mp.sqrt(k) * oracle.exact(a[None])[0]
            point, direction = oracle.point(x, k), oracle.exact(z)
            unit = [t / oracle.norm(direction) for t in direction]
            alpha = mp.cosh(s) * oracle.dot(point[1:], unit) - mp.sinh(s) * point[0]
            expected = mp.asinh(mp.sqrt(k) * alpha) / mp.sqrt(k)
            gap = abs(mp.mpf(got.item()) - expected) * mp.sqrt(k)
            assert gap <= 20 * eps * max(1, abs(mp.sqrt(k) * expected)) * (1 + radius), (
                radius,
                offset,
            )


def test_hyperplane_distance_is_the_distance_to_the_nearest_of_its_points():
    m = Lorentz(0.5)
    z, a = torch.tensor([1.0, 0.0], dtype=torch.float64), 0.7
    foot = m.expmap0(a * z)
    along = m.transp0(foot, torch.tensor([0.0, 1.0], dtype=torch.float64))
    t = torch.linspace(-6, 6, 20001, dtype=torch.float64)
    plane = m.expmap(foot, t[:, None] * along)
    assert m.hyperplane_dist(plane, z, a).abs().max() < 1e-12
    x = m.expmap0(torch.tensor([1.3, -0.9], dtype=torch.float64))
    assert float(m.hyperplane_dist(x, z, a)) == pytest.approx(float(m.dist(x, plane).min()))
    assert m.hyperplane_dist(torch.zeros(2, dtype=torch.float64), z, a) == pytest.approx(-0.7)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("c", CURVATURES)
def test_busemann(c, dtype):
    generator = torch.Generator().manual_seed(2)
    k, eps = oracle.exact_c(c, dtype), torch.finfo(dtype).eps
    for radius in (1e-4, 1e-2, 0.9, 1.1, 5.0, 20.0, 60.0):
        n, m = oracle.directions(2, 4, generator=generator)
        for towards in (n, m, -m, m + 1e-3 * n):
            omega = m.to(dtype)
            x = oracle.at_radius(radius, towards / towards.norm(), c, dtype)
            if radius > 40 and dtype == torch.float32:
                continue
            got = horospheres.busemann(x, omega, c)
            point, unit = oracle.point(x, k), oracle.exact(omega)
            unit = [t / oracle.norm(unit) for t in unit]
            argument = mp.sqrt(k) * (point[0] - oracle.dot(point[1:], unit))
            expected = mp.log(argument)
            error = abs(mp.mpf(got.item()) * mp.sqrt(k) - expected)
            # exp(2 radius) times the square of the rounding of the directions
            slack = min(radius, 1.0) + radius + math.exp(2 * radius) * eps
            assert error <= 20 * eps * slack, (radius, float(error))


def test_busemann_is_the_limit_of_its_definition_and_changes_by_boosts():
    m = Lorentz(0.5)
    generator = torch.Generator().manual_seed(3)
    x = m.expmap0(torch.randn(6, 3, dtype=torch.float64, generator=generator))
    omega = torch.tensor([0.0, 3.0, 4.0], dtype=torch.float64)
    far = m.expmap0(18.0 * omega / 5)
    torch.testing.assert_close(m.busemann(x, omega), m.dist(x, far) - 18.0, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(m.horosphere_dist(x, omega, 0.3), m.busemann(x, omega) - 0.3)
    # A boost along omega shifts every horosphere by the distance.
    by = m.expmap0(0.8 * omega / 5)
    torch.testing.assert_close(m.busemann(m.gyroadd(by, x), omega), m.busemann(x, omega) - 0.8)
    # The gradient has length one everywhere.
    x.requires_grad_()
    (g,) = torch.autograd.grad(m.busemann(x, omega).sum(), x)
    length = m.norm(x, m.egrad2rgrad(x, g))
    torch.testing.assert_close(length, torch.ones_like(length))


def test_gradients():
    c = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    x = torch.stack([torch.zeros(3), torch.randn(3), 4 * torch.randn(3)]).double()
    z = torch.randn(3, dtype=torch.float64, requires_grad=True)
    x.requires_grad_()
    assert torch.autograd.gradcheck(horospheres.busemann, (x, z, c))
    a = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(horospheres.hyperplane_dist, (x, z, a, c))
    assert lorentz.dist0(x[0].detach(), 1.0) == 0
