"""Gyrovector operations: definitions by other maps, ambient Lorentz matrices, cancellation."""

from __future__ import annotations

import math

import hyperboloid_oracle as oracle
import mpmath as mp
import pytest
import torch

from hypeeg.geometry import Lorentz, gyro, lorentz, poincare

CURVATURES = (0.05, 0.3, 1.0, 4.0, 20.0)
every_c = pytest.mark.parametrize("c", CURVATURES)


def points(c, count=4, spread=1.2):
    generator = torch.Generator().manual_seed(0)
    z = spread * torch.randn(count, 10, 3, dtype=torch.float64, generator=generator)
    return lorentz.expmap0(z / math.sqrt(c), c).unbind(0)


@every_c
def test_gyro_sum_is_a_boost_a_mobius_sum_and_an_exponential(c):
    m = Lorentz(c)
    x, y, _, _ = points(c)
    total = m.gyroadd(x, y)
    close = {"rtol": 1e-9, "atol": 1e-10}
    torch.testing.assert_close(total, m.expmap(x, m.transp0(x, m.logmap0(y))), **close)
    torch.testing.assert_close(m.from_ambient(m.boost(x, m.to_ambient(y))), total, **close)
    p, q = m.to_poincare(x), m.to_poincare(y)
    torch.testing.assert_close(m.to_poincare(total), poincare.mobius_add(p, q, c), **close)
    torch.testing.assert_close(m.gyroadd(m.gyroinverse(x), total), y, **close)
    assert (m.gyroadd(x, -x) == 0).all()
    torch.testing.assert_close(m.dist0(m.gyroadd(-x, y)), m.dist(x, y), **close)
    torch.testing.assert_close(m.gyroadd(torch.zeros_like(x), y), y)
    torch.testing.assert_close(m.gyroadd(x, torch.zeros_like(x)), x)


@every_c
def test_boost_is_a_lorentz_transformation(c):
    m = Lorentz(c)
    x, y, u, _ = points(c)
    a, b = m.to_ambient(y), m.tangent_to_ambient(y, u)

    def product(s, t):
        return (s[..., 1:] * t[..., 1:]).sum(-1) - s[..., 0] * t[..., 0]

    for s, t in ((a, a), (a, b), (b, b)):
        got = product(m.boost(x, s), m.boost(x, t))
        torch.testing.assert_close(got, product(s, t), rtol=1e-8, atol=1e-6)
    origin = torch.zeros(4, dtype=torch.float64)
    origin[0] = 1 / math.sqrt(c)
    torch.testing.assert_close(m.boost(x, origin), m.to_ambient(x))


@every_c
def test_gyration_closes_the_sum(c):
    m = Lorentz(c)
    x, y, z, v = points(c, spread=0.7)
    expected = m.gyroadd(-m.gyroadd(x, y), m.gyroadd(x, m.gyroadd(y, z)))
    torch.testing.assert_close(m.gyration(x, y, z), expected, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(m.gyration(x, y, v).norm(dim=-1), v.norm(dim=-1))
    torch.testing.assert_close(
        m.gyroadd(x, y), m.gyration(x, y, m.gyroadd(y, x)), rtol=1e-9, atol=1e-10
    )


@every_c
def test_multiples(c):
    m = Lorentz(c)
    x, y, _, _ = points(c)
    for r in (0.0, 0.3, 1.0, 2.5, -1.5):
        torch.testing.assert_close(m.scalar_mul(r, x), m.expmap0(r * m.logmap0(x)))
    torch.testing.assert_close(m.scalar_mul(2.0, x), m.gyroadd(x, x))
    r = torch.linspace(-1, 1, 10, dtype=torch.float64)
    torch.testing.assert_close(m.scalar_mul(r, x)[2], m.scalar_mul(float(r[2]), x[2]))
    ball = poincare.mobius_scalar_mul(1.7, m.to_poincare(y), c)
    torch.testing.assert_close(m.to_poincare(m.scalar_mul(1.7, y)), ball)


@pytest.mark.parametrize("radius", [1.0, 5.0, 8.0])
def test_near_opposites_in_float32(radius):
    """-x + y for near points has the digits of the distance, not those of the coordinates."""
    generator = torch.Generator().manual_seed(1)
    x, y = oracle.pair("near:1e-4", radius, radius, 1.0, torch.float32, generator)
    a, b = oracle.point(x, mp.mpf(1)), oracle.point(y, mp.mpf(1))
    got = lorentz.dist0(gyro.gyroadd(-x, y, 1.0), 1.0)
    assert oracle.relative_error(got, oracle.dist(a, b, mp.mpf(1))) <= 1e-6 * math.cosh(radius)


def test_gradients_at_the_origin_and_at_opposites():
    zero = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    x = torch.tensor([0.3, -0.5, 0.2], dtype=torch.float64, requires_grad=True)
    y = (-x).detach().requires_grad_()
    c = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    for pair in ((zero, x), (x, zero), (x, y)):
        assert torch.autograd.gradcheck(lambda a, b, c: gyro.gyroadd(a, b, c), (*pair, c))
        assert torch.autograd.gradcheck(lambda a, b, c: gyro.gyration(a, b, x, c), (*pair, c))
    assert torch.autograd.gradcheck(lambda a, c: gyro.scalar_mul(2.5, a, c), (zero, c))
