"""What every manifold of the package does, against 150-digit arithmetic, in one suite."""

from __future__ import annotations

import math
import zlib

import chart_oracle as charts
import hyperboloid_oracle as oracle
import mpmath as mp
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hypeeg.geometry import Euclidean, Lorentz, LorentzTangent, Manifold, PoincareBall, Product

CURVATURES = (0.05, 0.3, 1.0, 4.0, 20.0)
DTYPES = (torch.float32, torch.float64)
N = 3

every_chart = pytest.mark.parametrize("chart", charts.CHARTS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
every_c = pytest.mark.parametrize("c", CURVATURES)


def build(name, c):
    """A manifold by name, with points of dimension ``N``."""
    if name == "Euclidean":
        return Euclidean()
    if name == "Product":
        return Product([Lorentz(c), Euclidean(), PoincareBall(c)], [1, 1, 1])
    return charts.CHARTS[name](c)


def unit_at_origin(name):
    """Riemannian length of a coordinate unit at the origin."""
    return 2.0 if name == "PoincareBall" else 1.0


ALL = (*charts.CHARTS, "Euclidean", "Product")
every_manifold = pytest.mark.parametrize("name", ALL)


def sample(chart, c, dtype):
    """Points x, y and tangent vectors u, v at x, at several radii: lists of single vectors."""
    generator = torch.Generator().manual_seed(zlib.crc32(f"{chart} {c} {dtype}".encode()))
    for r1, r2 in ((1e-3, 0.5), (0.5, 1e-3), (0.5, 0.7), (2.0, 0.9), (0.9, 2.0), (2.5, 2.5)):
        d1, d2, u, v = oracle.directions(4, N, generator=generator)
        x = charts.radial_coordinates(chart, r1, d1, c, dtype)
        y = charts.radial_coordinates(chart, r2, d2, c, dtype)
        m = charts.CHARTS[chart](c)
        scale = 0.8 / math.sqrt(c) / unit_at_origin(chart)
        u, v = (m.transp0(x, (scale * t).to(dtype)) for t in (u, v))
        yield x, y, u, v


@every_dtype
@every_c
@every_chart
def test_formulas(chart, c, dtype):
    """Distances, metric, maps and transports against the hyperboloid's textbook formulas."""
    m = charts.CHARTS[chart](c)
    k = oracle.exact_c(c, dtype)
    eps = torch.finfo(dtype).eps
    o = charts.origin(N, k)
    for x, y, u, v in sample(chart, c, dtype):
        a, b = (charts.to_point(chart, oracle.exact(t), k) for t in (x, y))
        tu, tv = (charts.to_tangent(chart, oracle.exact(x), oracle.exact(t), k) for t in (u, v))
        # Cartesian coordinates and the ball magnify a rounding by cosh(radius).
        slack = 1.0 if chart == "LorentzTangent" else float(k * a[0] * b[0])
        tol = 20 * eps * slack

        def scalar(value, expected, tol=tol, scale=None):
            scale = abs(expected) if scale is None else scale
            assert abs(mp.mpf(value.item()) - expected) <= tol * scale

        scalar(m.dist(x, y), oracle.dist(a, b, k))
        scalar(m.dist0(x), oracle.dist(a, o, k))
        length = mp.sqrt(oracle.lorentz_inner(tu, tu))
        scalar(m.norm(x, u), length)
        scalar(m.inner(x, u, v), oracle.lorentz_inner(tu, tv), scale=length**2)
        far = tol * math.cosh(1)
        assert charts.point_error(chart, m.expmap(x, u), oracle.expmap(a, tu, k), k) <= far
        log = m.logmap(x, y)
        assert charts.tangent_error(chart, x, log, oracle.logmap(a, b, k), k) <= tol
        moved = oracle.transport(a, b, tu, k)
        assert charts.tangent_error(chart, y, m.transp(x, y, u), moved, k) <= tol
        back = m.transp0back(x, u)
        start = torch.zeros_like(x)
        assert charts.tangent_error(chart, start, back, oracle.transport(a, o, tu, k), k) <= tol
        out = charts.to_tangent(chart, oracle.exact(start), oracle.exact(back), k)
        out = oracle.transport(o, a, out, k)
        assert charts.tangent_error(chart, x, m.transp0(x, back), out, k) <= tol
        at_o = charts.to_tangent(chart, oracle.exact(start), oracle.exact(u), k)
        assert charts.point_error(chart, m.expmap0(u), oracle.expmap(o, at_o, k), k) <= far
        log0 = m.logmap0(x)
        assert charts.tangent_error(chart, start, log0, oracle.logmap(o, a, k), k) <= tol
        space = oracle.exact(m.to_lorentz(x))
        assert charts.point_error("Lorentz", m.to_lorentz(x), a, k) <= tol, space
        assert charts.point_error(chart, m.from_lorentz(m.to_lorentz(x)), a, k) <= tol


@every_dtype
@every_c
@every_chart
def test_centroid_and_frechet_mean(chart, c, dtype):
    m = charts.CHARTS[chart](c)
    k = oracle.exact_c(c, dtype)
    points = torch.stack([t for x, y, _, _ in sample(chart, c, dtype) for t in (x, y)])
    w = torch.rand(len(points), generator=torch.Generator().manual_seed(0)).to(dtype)
    exact = [charts.to_point(chart, oracle.exact(p), k) for p in points]
    tol = 100 * torch.finfo(dtype).eps
    expected = oracle.centroid(exact, oracle.exact(w), k)
    assert charts.point_error(chart, m.centroid(points, w), expected, k) <= tol
    mean = charts.to_point(chart, oracle.exact(m.frechet_mean(points, w)), k)
    logs = [oracle.logmap(mean, p, k) for p in exact]
    total = [mp.fsum(s * u[i] for s, u in zip(oracle.exact(w), logs)) for i in range(N + 1)]
    force = mp.sqrt(k * abs(oracle.lorentz_inner(total, total))) / mp.fsum(oracle.exact(w))
    assert force <= tol


@every_manifold
def test_interface(name):
    m = build(name, 0.3)
    assert isinstance(m, Manifold)
    assert isinstance(m, torch.nn.Module)
    assert m.learnable is False
    x, y = (m.expmap0(0.3 * torch.randn(4, N)) for _ in range(2))
    u = 0.1 * torch.randn(4, N)
    assert m.dist_pairwise(x, y[:3]).shape == (4, 3)
    torch.testing.assert_close(m.dist_pairwise(x, y), m.dist(x[:, None], y[None]))
    torch.testing.assert_close(m.dist0(x), m.dist(x, torch.zeros(N)), rtol=1e-5, atol=1e-7)
    assert m.transp0(x[:, None], u).shape == (4, 4, N)
    assert m.inner(x[0], u, u).shape == (4,)
    assert m.norm(x, u[0]).shape == (4,)
    assert torch.equal(m.projx(x), x)
    assert m.centroid(x).shape == m.frechet_mean(x).shape == (N,)
    assert repr(m)


@every_c
@every_manifold
def test_maps_fit_together(name, c):
    """Round trips, and metric, gradient and transport consistent with the exponential map."""
    m = build(name, c)
    generator = torch.Generator().manual_seed(1)
    scale = 1 / math.sqrt(c) / unit_at_origin(name)
    z = scale * torch.randn(4, 16, N, dtype=torch.float64, generator=generator)
    x, y = m.expmap0(z[0]), m.expmap0(z[1])
    u, v = m.transp0(x, z[2]), m.transp0(x, z[3])
    close = {"rtol": 1e-9, "atol": 1e-10}
    torch.testing.assert_close(m.logmap0(x), z[0], **close)
    torch.testing.assert_close(m.expmap(x, m.logmap(x, y)), y, **close)
    torch.testing.assert_close(m.logmap(x, m.expmap(x, u)), u, **close)
    torch.testing.assert_close(m.transp0back(x, u), z[2], **close)
    torch.testing.assert_close(m.norm(x, m.logmap(x, y)), m.dist(x, y), **close)
    torch.testing.assert_close(m.transp(y, x, m.transp(x, y, u)), u, **close)
    moved = m.inner(y, m.transp(x, y, u), m.transp(x, y, v))
    torch.testing.assert_close(moved, m.inner(x, u, v), **close)
    ends = m.transp(x, y, m.logmap(x, y))
    torch.testing.assert_close(ends, -m.logmap(y, x), **close)
    # <grad f, v> is the derivative of f along v; f has gradient g in the coordinates.
    g = torch.randn(16, N, dtype=torch.float64, generator=generator)
    zero = torch.zeros_like(x)
    _, velocity = torch.func.jvp(lambda t: m.expmap(x, t), (zero,), (v,))
    torch.testing.assert_close(m.inner(x, m.egrad2rgrad(x, g), v), (g * velocity).sum(-1), **close)


@every_c
@every_chart
def test_gradient_in_the_chart_leads_to_that_in_the_space_part(chart, c):
    m = charts.CHARTS[chart](c)
    generator = torch.Generator().manual_seed(2)
    z = torch.randn(16, N, dtype=torch.float64, generator=generator) / math.sqrt(c)
    z[0] = 0
    z[1] *= 1e-6
    x = Lorentz(c).expmap0(z).requires_grad_()
    p = m.from_lorentz(x).detach().requires_grad_()
    weight = torch.randn(16, N, dtype=torch.float64, generator=generator)

    def loss(x):
        return (weight * x + c * (weight * x).sum(-1, keepdim=True) ** 2).sum()

    (by_x,) = torch.autograd.grad(loss(x), x)
    (by_p,) = torch.autograd.grad(loss(m.to_lorentz(p)), p)
    torch.testing.assert_close(m.gradient_to_lorentz(p.detach(), by_p), by_x, rtol=1e-9, atol=1e-9)


@every_dtype
@every_manifold
def test_origin_and_coincident_points(name, dtype):
    """Exact values and gradients, nothing that is not a number."""
    m = build(name, 0.3)
    zero = torch.zeros(2, N, dtype=dtype)
    far = m.expmap0(torch.tensor([[0.4, -0.2, 0.7]], dtype=dtype))
    for a, b in ((zero, zero), (far, far.clone()), (zero, far), (far, zero)):
        leaves = [t.clone().requires_grad_() for t in (a, b)]
        x, y = leaves
        values = {
            "dist": m.dist(x, y),
            "dist0": m.dist0(x),
            "expmap": m.expmap(x, 0 * y),
            "logmap": m.logmap(x, y),
            "transp": m.transp(x, y, torch.ones_like(x)),
            "norm": m.norm(x, 0 * y),
            "logmap0": m.logmap0(x),
            "expmap0": m.expmap0(x),
        }
        for key, value in values.items():
            total = value.sum() + 0 * x.sum()  # flat transport does not depend on x
            grads = torch.autograd.grad(
                total, leaves, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            assert all(t.isfinite().all() for t in (value, *grads)), key
            if a.shape == b.shape and torch.equal(a, b):
                if key in ("dist", "norm"):
                    assert (value == 0).all()
                    assert all((t == 0).all() for t in grads), key
                if key == "logmap":
                    assert (value == 0).all()
                if key == "expmap":
                    torch.testing.assert_close(value, a)
                if key == "transp":
                    torch.testing.assert_close(value, torch.ones_like(a))


@every_manifold
def test_gradients_by_finite_differences(name):
    generator = torch.Generator().manual_seed(3)
    x, y, u = 0.3 * torch.randn(3, 2, N, dtype=torch.float64, generator=generator)
    m = build(name, 0.7)
    x[1] = 1e-7  # the series
    arguments = tuple(t.requires_grad_() for t in (x, y, u))
    for f in (
        lambda x, y, u: m.dist(x, y),
        lambda x, y, u: m.expmap(x, u),
        lambda x, y, u: m.logmap(x, y),
        lambda x, y, u: m.transp(x, y, u),
        lambda x, y, u: m.norm(x, u),
        lambda x, y, u: m.centroid(torch.stack([x, y], -2)),
        lambda x, y, u: m.frechet_mean(torch.stack([x, y, y / 2], -2)),
    ):
        assert torch.autograd.gradcheck(f, arguments, eps=1e-6, atol=1e-6)


@every_chart
def test_gradient_by_the_curvature(chart):
    m = charts.CHARTS[chart](0.7, learnable=True)
    generator = torch.Generator().manual_seed(4)
    x, y, u = 0.3 * torch.randn(3, 3, N, dtype=torch.float64, generator=generator)

    def everything():
        stacked = torch.stack([x, y, u], -2)
        parts = (
            m.dist(x, y),
            m.expmap(x, u),
            m.logmap(x, y),
            m.transp(x, y, u),
            m.frechet_mean(stacked),
            m.to_lorentz(x),
            m.from_lorentz(x),
        )
        return sum((t**2).sum() for t in parts)

    everything().backward()
    log_c, h = m.curvature.log_c, 1e-5
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            log_c.add_(sign * h)
            values.append(everything())
            log_c.sub_(sign * h)
    assert float(log_c.grad) == pytest.approx(float(values[0] - values[1]) / (2 * h), rel=1e-7)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16], ids=str)
@every_manifold
def test_half_precision_and_autocast(name, half):
    m = build(name, 0.3)
    x, y, u = (0.3 * torch.randn(3, 5, N, generator=torch.Generator().manual_seed(5))).unbind(0)

    def everything(x, y, u):
        return (
            m.dist(x, y),
            m.dist_pairwise(x, y),
            m.expmap(x, u),
            m.logmap(x, y),
            m.transp(x, y, u),
            m.centroid(x),
            m.frechet_mean(x),
            m.inner(x, u, u),
            m.egrad2rgrad(x, u),
            m.transp0(x, u),
            m.expmap0(u),
        )

    low = tuple(t.to(half) for t in (x, y, u))
    for got, expected in zip(everything(*low), everything(*(t.float() for t in low))):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, expected, rtol=0, atol=0)
    expected = everything(x, y, u)
    with torch.autocast("cpu", half):
        got = everything(x, y, u)
    for a, b in zip(got, expected):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


@every_manifold
def test_compiles_to_one_graph_and_maps_with_torch_func(name):
    m = build(name, 0.3)
    x, y, u = 0.3 * torch.randn(3, 4, N, generator=torch.Generator().manual_seed(6))

    def everything(x, y, u):
        if name == "Product":
            return m.dist(x, m.expmap(y, u))
        end = m.expmap(y, m.transp(x, y, u))
        return m.dist_pairwise(x, end).sum(-1) + m.norm(x, m.logmap(x, y))

    compiled = torch.compile(everything, fullgraph=True, backend="aot_eager")
    results = []
    for f in (everything, compiled):
        leaves = [t.clone().requires_grad_() for t in (x, y, u)]
        value = f(*leaves)
        results.append((value.detach(), *torch.autograd.grad(value.sum(), leaves)))
    for eager, traced in zip(*results):
        torch.testing.assert_close(traced, eager, rtol=1e-5, atol=1e-6)

    def one(x, y, u):
        end = m.expmap(y, m.transp(x, y, u))
        return m.dist(x, end) + m.norm(x, m.logmap(x, y))

    x, y, u = x.double(), y.double(), u.double()
    torch.testing.assert_close(torch.func.vmap(one)(x, y, u), one(x, y, u))
    by_x = torch.func.vmap(torch.func.jacrev(one))(x, y, u)
    leaf = x.clone().requires_grad_()
    torch.testing.assert_close(by_x, torch.autograd.grad(one(leaf, y, u).sum(), leaf)[0])
    forward = torch.func.vmap(torch.func.jacfwd(one))(x, y, u)
    torch.testing.assert_close(forward, by_x)


@every_manifold
def test_flat_limit(name):
    """As c goes to 0 everything is Euclidean, in units of the chart."""
    c = 1e-10
    if name == "Product":
        bounds = {"bounds": (1e-12, 1.0)}
        m = Product([Lorentz(c, **bounds), LorentzTangent(c, **bounds)], [1, 2])
    elif name == "Euclidean":
        m = Euclidean()
    else:
        m = charts.CHARTS[name](c, bounds=(1e-12, 1.0))
    unit = unit_at_origin(name)
    x, y, u = torch.randn(3, 6, N, dtype=torch.float64)
    close = {"rtol": 1e-7, "atol": 1e-8}
    torch.testing.assert_close(m.dist(x, y), unit * (x - y).norm(dim=-1), **close)
    torch.testing.assert_close(m.expmap(x, u), x + u, **close)
    torch.testing.assert_close(m.logmap(x, y), y - x, **close)
    torch.testing.assert_close(m.transp(x, y, u), u, **close)
    torch.testing.assert_close(m.egrad2rgrad(x, u), u / unit**2, **close)
    torch.testing.assert_close(m.frechet_mean(x), x.mean(0), **close)
    torch.testing.assert_close(m.centroid(x), x.mean(0), **close)


@every_chart
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 4.0), st.sampled_from(CURVATURES))
def test_isometries_and_triangles(chart, seed, radius, c):
    """Distances survive boosts (a Lorentz matrix) and rotations; the triangle inequality holds."""
    generator = torch.Generator().manual_seed(seed)
    m, hyperboloid = charts.CHARTS[chart](c), Lorentz(c)
    z = torch.randn(4, N, dtype=torch.float64, generator=generator)
    x, y, w, by = hyperboloid.expmap0(radius * z / z.norm(dim=-1, keepdim=True) / math.sqrt(c))
    rotation, _ = torch.linalg.qr(torch.randn(N, N, dtype=torch.float64, generator=generator))
    gamma, beta = math.sqrt(c) * hyperboloid.time(by), math.sqrt(c) * by
    top = torch.cat([gamma, beta])
    low = torch.eye(N, dtype=torch.float64) + torch.outer(beta, beta) / (1 + gamma)
    matrix = torch.cat([top[None], torch.cat([beta[:, None], low], 1)])
    p, q, r = (m.from_lorentz(t) for t in (x, y, w))
    boosted = [
        m.from_lorentz((hyperboloid.to_ambient(t) @ matrix.T)[..., 1:] @ rotation.T)
        for t in (x, y, w)
    ]
    slack = 1e-14 * math.exp(3 * radius) + 1e-12
    for i, j in ((0, 1), (1, 2), (0, 2)):
        before = m.dist((p, q, r)[i], (p, q, r)[j])
        assert abs(float(m.dist(boosted[i], boosted[j]) - before)) * math.sqrt(c) <= slack
    assert m.dist(p, r) <= (m.dist(p, q) + m.dist(q, r)) * (1 + 1e-12) + 1e-12
    torch.testing.assert_close(m.dist(p, q), m.dist(q, p), rtol=1e-12, atol=0)
    mean = m.frechet_mean(torch.stack([p, q, r]))
    moved = m.frechet_mean(torch.stack(boosted))
    carried = (hyperboloid.to_ambient(m.to_lorentz(mean)) @ matrix.T)[..., 1:] @ rotation.T
    assert float(hyperboloid.dist(m.to_lorentz(moved), carried)) * math.sqrt(c) <= 1e3 * slack
