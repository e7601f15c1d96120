"""The wrapped normal: density by quadrature, samples by their moments, divergences."""

from __future__ import annotations

import math

import pytest
import torch

from hypeeg.geometry import Lorentz, LorentzTangent, PoincareBall, WrappedNormal

geoopt = pytest.importorskip("geoopt")

LOC = torch.tensor([0.4, -0.7], dtype=torch.float64)
SCALE = torch.tensor([0.5, 0.9], dtype=torch.float64)


def polar_grid(c, radius=9.0, rings=600, spokes=240):
    """Points of the plane around the origin with their areas."""
    r = (torch.arange(rings, dtype=torch.float64) + 0.5) * radius / rings
    phi = torch.arange(spokes, dtype=torch.float64) * 2 * math.pi / spokes
    z = r[:, None, None] * torch.stack([phi.cos(), phi.sin()], -1)
    area = torch.sinh(math.sqrt(c) * r) / math.sqrt(c) * (radius / rings) * (2 * math.pi / spokes)
    return z, area[:, None].expand(rings, spokes)


@pytest.mark.parametrize("chart", [Lorentz, PoincareBall, LorentzTangent])
@pytest.mark.parametrize("c", [0.3, 1.0, 4.0])
def test_density_integrates_to_one_over_the_plane(c, chart):
    plane = Lorentz(c)
    loc = plane.expmap0(LOC)
    z, area = polar_grid(c)
    around = plane.gyroadd(loc, plane.expmap0(z))  # an isometry: areas are kept
    m = chart(c)
    d = WrappedNormal(m.from_lorentz(loc), SCALE, m)
    mass = (d.log_prob(m.from_lorentz(around)).exp() * area).sum()
    assert float(mass) == pytest.approx(1.0, abs=1e-4)


def test_log_prob_by_its_parts():
    """Against a multivariate normal and geoopt's logarithm and transport."""
    c, n = 0.7, 4
    m = Lorentz(c)
    generator = torch.Generator().manual_seed(0)
    x, loc = m.expmap0(torch.randn(2, 8, n, dtype=torch.float64, generator=generator))
    tril = torch.linalg.cholesky(torch.eye(n).double() + 0.3)
    got = WrappedNormal(loc, manifold=m, scale_tril=tril).log_prob(x)
    peer = geoopt.manifolds.Lorentz(k=torch.tensor(1 / c, dtype=torch.float64))
    a, b = m.to_ambient(loc), m.to_ambient(x)
    u = peer.transp0back(a, peer.logmap(a, b))[:, 1:]
    flat = torch.distributions.MultivariateNormal(torch.zeros(n).double(), scale_tril=tril)
    r = math.sqrt(c) * peer.dist(a, b)
    expected = flat.log_prob(u) - (n - 1) * torch.log(torch.sinh(r) / r)
    torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-8)


def test_samples_have_the_density():
    torch.manual_seed(0)
    m = Lorentz(0.7)
    loc = m.expmap0(LOC)
    d = m.wrapped_normal(loc, SCALE)
    x = d.rsample((20_000,))
    u = m.transp0back(loc, m.logmap(loc, x))
    torch.testing.assert_close(u.std(0), SCALE, rtol=0.02, atol=0)
    assert u.mean(0).abs().max() < 0.03
    # E[q/p] = 1 under p for any density q with lighter tails.
    other = m.wrapped_normal(m.gyroadd(loc, 0.1 * torch.ones(2).double()), 0.8 * SCALE)
    ratio = (other.log_prob(x) - d.log_prob(x)).exp()
    assert abs(float(ratio.mean()) - 1) < 5 * float(ratio.std()) / math.sqrt(len(x))
    assert m.dist(m.frechet_mean(x), loc) < 0.03


def test_gradients_flow_through_samples():
    loc = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    m = Lorentz(1.0, learnable=True)
    d = WrappedNormal(loc, scale, m)
    assert d.batch_shape == (3,)
    assert d.event_shape == (2,)
    assert d.mean is d.loc
    x = d.rsample((5,))
    assert x.shape == (5, 3, 2)
    d.log_prob(x).sum().backward()
    for t in (loc, scale, m.curvature.log_c):
        assert t.grad.isfinite().all()
    assert not d.sample((2,)).requires_grad
    # At the mean and far from it.
    single = WrappedNormal(torch.zeros(2), 1.0, Lorentz(1.0))
    at = torch.stack([torch.zeros(2), Lorentz(1.0).expmap0(torch.tensor([40.0, 0.0]))])
    at.requires_grad_()
    value = single.log_prob(at)
    assert value.isfinite().all()
    assert torch.autograd.grad(value.sum(), at)[0].isfinite().all()
    expected = -0.5 * 1600 - math.log(2 * math.pi) - (40 - math.log(2) - math.log(40))
    assert float(value[1]) == pytest.approx(expected, rel=1e-5)


def test_expand():
    d = WrappedNormal(torch.zeros(2), 0.5, Lorentz(1.0)).expand((4,))
    assert d.batch_shape == (4,)
    assert d.rsample((3,)).shape == (3, 4, 2)
    assert d.log_prob(torch.zeros(4, 2)).shape == (4,)
    assert "WrappedNormal(loc: (4, 2)" in repr(d)


def test_divergences():
    torch.manual_seed(1)
    m = Lorentz(0.7)
    loc = m.expmap0(LOC)
    p, q = m.wrapped_normal(loc, SCALE), m.wrapped_normal(loc, 2 * SCALE)
    exact = p.kl_divergence(q)
    assert float(exact) == pytest.approx(2 * (math.log(2) + 1 / 8 - 0.5))
    estimate, error = p.kl_monte_carlo(q, 20_000)
    assert abs(float(estimate - exact)) < 5 * float(error)
    assert float(error) < 0.02
    assert float(p.kl_divergence(p)) == 0
    elsewhere = m.wrapped_normal(-loc, SCALE)
    with pytest.raises(ValueError, match="use kl_monte_carlo"):
        p.kl_divergence(elsewhere)
    with pytest.raises(ValueError, match="use kl_monte_carlo"):
        p.kl_divergence(Lorentz(0.8).wrapped_normal(loc, SCALE))
    estimate, error = p.kl_monte_carlo(elsewhere, 1000)
    assert estimate > 5 * error
    with pytest.raises(ValueError, match="at least 2"):
        p.kl_monte_carlo(q, 1)


def test_bad_arguments():
    with pytest.raises(ValueError, match="exactly one of scale and scale_tril"):
        WrappedNormal(torch.zeros(2), manifold=Lorentz(1.0))
    with pytest.raises(ValueError, match="manifold is missing"):
        WrappedNormal(torch.zeros(2), 1.0)
    with pytest.raises(ValueError, match="scale"):
        WrappedNormal(torch.zeros(2), -1.0, Lorentz(1.0), validate_args=True)
