"""Agreement in float64 with geoopt, an independent implementation with another convention.

Its Lorentz manifold uses ambient points and ``k``, the squared radius: ``k = 1 / c``. Near points
and large radii are left to the other tests: geoopt takes ``acosh`` of an inner product.
"""

from __future__ import annotations

import pytest
import torch

from hypeeg.geometry import lorentz, poincare

geoopt = pytest.importorskip("geoopt")


@pytest.fixture(params=[0.05, 0.3, 1.0, 4.0, 20.0])
def c(request):
    return request.param


@pytest.fixture
def peer(c):
    return geoopt.manifolds.Lorentz(k=torch.tensor(1 / c, dtype=torch.float64))


@pytest.fixture
def points(c):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(3, 20, 4, dtype=torch.float64, generator=generator) / c**0.5
    return (
        lorentz.expmap0(z[0], c),
        lorentz.expmap0(z[1], c),
        lorentz.transp0(lorentz.expmap0(z[0], c), z[2], c),
    )


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


def test_points_are_on_its_manifold(peer, points, c):
    x, _, u = points
    ambient = lorentz.to_ambient(x, c)
    v = lorentz.tangent_to_ambient(x, u, c)
    close(c * peer.inner(None, ambient, ambient), -torch.ones(20, dtype=torch.float64))
    close(c * peer.inner(None, ambient, v), torch.zeros(20, dtype=torch.float64))
    close(peer.proju(ambient, v), v)
    close(peer.projx(ambient + 0.1 * torch.eye(5, dtype=torch.float64)[0]), ambient)


def test_distances(peer, points, c):
    x, y, _ = points
    a, b = lorentz.to_ambient(x, c), lorentz.to_ambient(y, c)
    close(lorentz.dist(x, y, c), peer.dist(a, b))
    close(lorentz.dist0(x, c), peer.dist0(a))
    close(lorentz.sqdist_lorentz(x, y, c), -2 / c - 2 * peer.inner(None, a, b))


def test_maps(peer, points, c):
    x, y, u = points
    a, b = lorentz.to_ambient(x, c), lorentz.to_ambient(y, c)
    v = lorentz.tangent_to_ambient(x, u, c)
    z = torch.cat([torch.zeros_like(u[:, :1]), u], -1)
    close(lorentz.to_ambient(lorentz.expmap(x, u, c), c), peer.expmap(a, v))
    close(lorentz.tangent_to_ambient(x, lorentz.logmap(x, y, c), c), peer.logmap(a, b))
    close(lorentz.to_ambient(lorentz.expmap0(u, c), c), peer.expmap0(z))
    close(lorentz.logmap0(x, c), peer.logmap0(a)[:, 1:])
    close(lorentz.transp0(x, u, c), peer.transp0(a, z)[:, 1:])
    close(lorentz.transp0back(x, u, c), peer.transp0back(a, v)[:, 1:])
    moved = lorentz.transp(x, y, u, c)
    close(lorentz.tangent_to_ambient(y, moved, c), peer.transp(a, b, v))


def test_metric(peer, points, c):
    x, y, u = points
    w = lorentz.transp(y, x, lorentz.transp(x, y, u, c) * 0.3, c) + 0.2 * u.flip(0)
    a = lorentz.to_ambient(x, c)
    v, w_ambient = (lorentz.tangent_to_ambient(x, t, c) for t in (u, w))
    close(lorentz.inner(x, u, w, c), peer.inner(a, v, w_ambient))
    close(lorentz.norm(x, u, c), peer.norm(v))
    ambient = torch.randn(20, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    close(lorentz.proj_tangent(x, ambient, c), peer.proju(a, ambient)[:, 1:])
    # Time derived: the ambient gradient has no time part of its own.
    gradient = torch.cat([torch.zeros_like(ambient[:, :1]), ambient[:, 1:]], -1)
    close(lorentz.egrad2rgrad(x, gradient[:, 1:], c), peer.egrad2rgrad(a, gradient)[:, 1:])


def test_poincare(points, c):
    """geoopt's ball has radius one whatever k; ours is the ball of curvature -c."""
    x, y, _ = points
    a = lorentz.to_ambient(x, c)
    k = torch.tensor(1 / c, dtype=torch.float64)
    unit = geoopt.manifolds.lorentz.math.lorentz_to_poincare(a, k)
    close(poincare.lorentz_to_poincare(x, c) * c**0.5, unit)
    ball = geoopt.PoincareBall(c=torch.tensor(c, dtype=torch.float64))
    p, q = (poincare.lorentz_to_poincare(t, c) for t in (x, y))
    close(lorentz.dist(x, y, c), ball.dist(p, q))
