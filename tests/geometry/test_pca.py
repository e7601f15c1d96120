"""Tangent principal components: planted directions, isometry, the flat limit."""

from __future__ import annotations

import pytest
import torch

from hypeeg.geometry import Lorentz, LorentzTangent, PoincareBall, tangent_pca


def cloud(m, n=5, count=40):
    """Points on a geodesic plane through a point, little noise across it."""
    generator = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=generator))
    spread = torch.tensor([1.5, 0.7, 0.01, 0.01, 0.01], dtype=torch.float64)
    u = torch.randn(count, n, dtype=torch.float64, generator=generator) * spread @ basis.T
    u = torch.cat([u, -u])  # symmetric, so that the mean is known
    mean = m.expmap0(torch.ones(n, dtype=torch.float64) / 3)
    return mean, u, basis, m.expmap(mean, m.transp0(mean, u))


def test_planted_plane_is_found():
    m = Lorentz(0.7)
    mean, u, basis, x = cloud(m)
    p = m.tangent_pca(x, 2)
    torch.testing.assert_close(p.mean, mean, rtol=1e-6, atol=1e-7)
    covariance = (u.T @ u) / len(u)
    values = torch.linalg.eigvalsh(covariance).flip(0)
    torch.testing.assert_close(p.variance, values[:2], rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(p.variance_ratio, values[:2] / values.sum(), rtol=1e-6, atol=0)
    overlap = p.components @ basis[:, :2]
    torch.testing.assert_close((overlap**2).sum(1), torch.ones(2).double(), rtol=1e-3, atol=0)
    torch.testing.assert_close(p.components @ p.components.T, torch.eye(2).double())
    assert (p.components.gather(1, p.components.abs().argmax(1, keepdim=True)) > 0).all()
    coordinates = p.transform(x)
    assert coordinates.shape == (80, 2)
    torch.testing.assert_close((coordinates**2).mean(0), p.variance, rtol=1e-6, atol=0)
    back = p.inverse_transform(coordinates)
    assert m.dist(back, x).max() < 0.2
    everything = m.tangent_pca(x, 5)
    torch.testing.assert_close(everything.inverse_transform(everything.transform(x)), x)


@pytest.mark.parametrize("chart", [PoincareBall, LorentzTangent])
def test_charts_agree(chart):
    m, other = Lorentz(0.7), chart(0.7)
    *_, x = cloud(m)
    w = torch.rand(len(x), dtype=torch.float64)
    a, b = m.tangent_pca(x, 3, w), tangent_pca(other.from_lorentz(x), other, 3, w)
    torch.testing.assert_close(a.variance, b.variance)
    torch.testing.assert_close(a.transform(x), b.transform(other.from_lorentz(x)))
    ends = b.inverse_transform(b.transform(other.from_lorentz(x)))
    torch.testing.assert_close(other.to_lorentz(ends), a.inverse_transform(a.transform(x)))


def test_flat_limit_is_principal_component_analysis():
    m = Lorentz(1e-10, bounds=(1e-12, 1.0))
    x = torch.randn(30, 4, dtype=torch.float64) * torch.tensor([3.0, 1.0, 0.5, 0.1]).double()
    _, singular, _ = torch.linalg.svd(x - x.mean(0))
    torch.testing.assert_close(m.tangent_pca(x, 4).variance, singular**2 / 30, rtol=1e-6, atol=0)


def test_bad_arguments():
    m = Lorentz(1.0)
    with pytest.raises(ValueError, match="k must be between 1 and n = 3; got 4"):
        m.tangent_pca(torch.zeros(5, 3), 4)
    with pytest.raises(ValueError, match=r"points \(N, n\); got shape \(2, 5, 3\)"):
        m.tangent_pca(torch.zeros(2, 5, 3))
    with pytest.raises(ValueError, match="1 points span fewer than k = 2"):
        m.tangent_pca(torch.zeros(1, 3), 2)
