"""The update rule against the literal formulas, and against torch where it must coincide."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from hypeeg.geometry import Lorentz, ManifoldParameter
from hypeeg.optim import RiemannianAdamW
from hypeeg.optim.frame import Radial, geodesic_step_

F64 = torch.float64


def gradients(steps: int, *shape: int, dtype=F64):
    """Noise around a slow wave: moments of all sizes and directions."""
    for i in range(steps):
        wave = torch.sin(torch.arange(shape[-1], dtype=dtype) + i / 10)
        yield (1 + i % 3) * torch.randn(*shape, dtype=dtype) + wave


@pytest.mark.parametrize("c", [0.05, 1.0, 5.0])
@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_equals_the_literal_formulas(ambient_adamw, c, n, weight_decay):
    x = torch.randn(12, n, dtype=F64)
    options = {"lr": 0.05, "betas": (0.9, 0.99), "weight_decay": weight_decay}
    p = ManifoldParameter(x.clone(), manifold=Lorentz(c=c))
    optimizer, reference = RiemannianAdamW([p], **options), ambient_adamw(x, c, **options)
    for g in gradients(300, 12, n):
        p.grad = g
        optimizer.step()
        reference.step(g)
        torch.testing.assert_close(p.detach(), reference.x[..., 1:], rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(
            optimizer.moment(p), reference.m[..., 1:], rtol=1e-10, atol=1e-10
        )
    torch.testing.assert_close(optimizer.state[p]["exp_avg_sq"], reference.v, rtol=1e-11, atol=0)


def test_long_steps_far_from_the_origin(ambient_adamw):
    """Steps across the origin and steps longer than the radius of curvature."""
    x = 5 * torch.randn(50, 3, dtype=F64)
    p = ManifoldParameter(x.clone(), manifold=Lorentz(c=4.0))
    options = {"lr": 1.0, "betas": (0.5, 0.9), "weight_decay": 0.1}
    optimizer, reference = RiemannianAdamW([p], **options), ambient_adamw(x, 4.0, **options)
    for _ in range(20):
        g = p.detach() + torch.randn(50, 3, dtype=F64)
        p.grad = g
        optimizer.step()
        reference.step(g)
    torch.testing.assert_close(p.detach(), reference.x[..., 1:], rtol=1e-8, atol=1e-8)


def test_float32_stays_with_float64():
    x = torch.randn(40, 8, dtype=F64)
    m = Lorentz(c=1.5)
    p32, p64 = ManifoldParameter(x.float(), manifold=m), ManifoldParameter(x.clone(), manifold=m)
    o32, o64 = RiemannianAdamW([p32], lr=0.01), RiemannianAdamW([p64], lr=0.01)
    for g in gradients(200, 40, 8, dtype=torch.float32):
        p32.grad, p64.grad = g, g.double()
        o32.step()
        o64.step()
    torch.testing.assert_close(p32.detach().double(), p64.detach(), rtol=1e-4, atol=2e-5)


def test_is_adamw_as_the_curvature_vanishes():
    """Vectors of size 1: their one second moment is the coordinate's."""
    x = torch.randn(30, 1, dtype=F64)
    p = ManifoldParameter(x.clone(), manifold=Lorentz(c=1e-12, bounds=(1e-13, 1.0)))
    q = nn.Parameter(x.clone())
    options = {"lr": 0.02, "betas": (0.9, 0.99), "weight_decay": 0.1}
    ours, torchs = RiemannianAdamW([p], **options), torch.optim.AdamW([q], **options)
    for g in gradients(300, 30, 1):
        p.grad, q.grad = g, g.clone()
        ours.step()
        torchs.step()
        torch.testing.assert_close(p.detach(), q.detach(), rtol=0, atol=1e-8)
    assert (q - x).abs().max() > 0.1


def test_second_moment_is_one_number_per_vector():
    """As c vanishes, vectors of size 3 follow AdamW with the squared norm for second moment."""
    x = torch.randn(10, 3, dtype=F64)
    p = ManifoldParameter(x.clone(), manifold=Lorentz(c=1e-12, bounds=(1e-13, 1.0)))
    optimizer = RiemannianAdamW([p], lr=0.02, weight_decay=0.1)
    y, m, v = x.clone(), torch.zeros_like(x), torch.zeros(10, 1, dtype=F64)
    for t, g in enumerate(gradients(100, 10, 3), start=1):
        p.grad = g
        optimizer.step()
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g.square().sum(-1, keepdim=True)
        y = y * (1 - 0.002) - 0.02 * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    assert optimizer.state[p]["exp_avg_sq"].shape == (10, 1)
    torch.testing.assert_close(p.detach(), y, rtol=0, atol=1e-8)


@pytest.mark.parametrize("foreach", [None, True, False])
@pytest.mark.parametrize("maximize", [True, False])
def test_euclidean_parameters_take_exactly_torchs_steps(foreach, maximize):
    def model():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2))

    ours, torchs = model(), model()
    options = {"lr": 0.01, "weight_decay": 0.1, "foreach": foreach, "maximize": maximize}
    extra = ManifoldParameter(torch.randn(3, 2), manifold=Lorentz())
    mine = RiemannianAdamW([*ours.parameters(), extra], **options)
    reference = torch.optim.AdamW(torchs.parameters(), **options)
    for _ in range(20):
        x = torch.randn(16, 5)
        for net, optimizer in ((ours, mine), (torchs, reference)):
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
    for a, b in zip(ours.parameters(), torchs.parameters(), strict=True):
        assert torch.equal(a, b)


def test_complex_euclidean_parameters_follow_torch():
    start = torch.randn(4, dtype=torch.complex64)
    p, q = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    for parameter, kind in ((p, RiemannianAdamW), (q, torch.optim.AdamW)):
        parameter.grad = torch.ones_like(start) * (1 + 2j)
        kind([parameter]).step()
    assert torch.equal(p, q)


def test_moment_is_tangent_and_keeps_its_norm_along_the_step():
    m = Lorentz(c=0.7)
    p = ManifoldParameter(torch.randn(20, 4, dtype=F64), manifold=m)
    optimizer = RiemannianAdamW([p], lr=0.3, weight_decay=0.5)
    for g in gradients(10, 20, 4):
        p.grad = g
        optimizer.step()
        ambient = m.tangent_to_ambient(p.detach(), optimizer.moment(p))
        point = m.to_ambient(p.detach())
        product = (ambient * point)[..., 1:].sum(-1) - (ambient * point)[..., 0]
        assert product.abs().max() < 1e-12
        norm = m.norm(p.detach(), optimizer.moment(p))
        torch.testing.assert_close(norm, optimizer.state[p]["exp_avg"].norm(dim=-1))


def test_step_length_is_the_geodesic_distance():
    """Without decay the first step is lr long: m and v are one gradient."""
    m = Lorentz(c=2.0)
    x = torch.randn(20, 4, dtype=F64)
    p = ManifoldParameter(x.clone(), manifold=m)
    p.grad = torch.randn(20, 4, dtype=F64)
    RiemannianAdamW([p], lr=0.05, weight_decay=0.0, eps=0.0).step()
    torch.testing.assert_close(m.dist(x, p.detach()), torch.full((20,), 0.05, dtype=F64))


@pytest.mark.parametrize("weight_decay", [0.1, 10.0, 100.0, 1e4])
def test_decay_shrinks_along_the_ray_and_never_passes_the_origin(weight_decay):
    m = Lorentz(c=1.0)
    x = 10 * torch.randn(20, 3, dtype=F64)
    p = ManifoldParameter(x.clone(), manifold=m)
    p.grad = torch.zeros_like(x)
    RiemannianAdamW([p], lr=0.1, weight_decay=weight_decay).step()
    a = min(0.1 * weight_decay, 1.0)
    rho = m.dist0(x)
    tanh = (1 - a) * rho.sinh() / ((1 - a) * rho.cosh() + a)
    torch.testing.assert_close(m.dist0(p.detach()), torch.atanh(tanh), rtol=1e-6, atol=1e-4)
    assert (torch.cosine_similarity(p, x) > 1 - 1e-9).all()
    assert p.isfinite().all()


def test_points_at_the_origin_and_zero_gradients():
    p = ManifoldParameter(torch.zeros(4, 3), manifold=Lorentz(learnable=True))
    optimizer = RiemannianAdamW([p], lr=0.1)
    p.grad = torch.zeros(4, 3)
    optimizer.step()
    assert torch.equal(p, torch.zeros(4, 3))
    p.grad = torch.randn(4, 3)
    optimizer.step()
    assert p.isfinite().all()
    assert (p.norm(dim=-1) > 0).all()
    assert p.manifold.curvature.log_c.isfinite()


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("learnable", [True, False])
def test_points_pushed_outward_for_ever_stay_finite(dtype, learnable):
    m = Lorentz(learnable=learnable)
    p = ManifoldParameter(torch.ones(5, 2, dtype=dtype), manifold=m)
    optimizer = RiemannianAdamW([p], lr=1.0, weight_decay=0.0)
    for _ in range(900):
        p.grad = -p.detach() / p.detach().norm(dim=-1, keepdim=True)
        if learnable:
            m.curvature.log_c.grad = torch.tensor(-1.0, dtype=F64)
        optimizer.step()
    assert p.isfinite().all()
    assert p.square().sum().isfinite()
    assert m.dist0(p.detach()).min() > (8.0 if learnable else 40.0)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_absurd_rates_take_the_longest_step(dtype):
    """Eight radii of curvature, outward, sideways and back through the origin."""
    m = Lorentz(c=4.0)
    x = torch.tensor([[0.0, 0.0], [3.0, 0.0], [3.0, 0.0], [3.0, 0.0]], dtype=dtype)
    p = ManifoldParameter(x.clone(), manifold=m)
    p.grad = torch.tensor([[1.0, 1.0], [-1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], dtype=dtype)
    RiemannianAdamW([p], lr=1e4, weight_decay=0.0).step()
    lengths = m.dist(x, p.detach())
    torch.testing.assert_close(lengths, torch.full((4,), 4.0, dtype=dtype), rtol=1e-4, atol=0)


def test_step_of_length_zero_changes_nothing():
    x, w = torch.randn(6, 3), torch.randn(6, 3)
    p, m = x.clone(), w.clone()
    radial = Radial.of(p, torch.tensor(1.0))
    factor, _ = geodesic_step_(p, m, radial, torch.zeros(6, 1, dtype=F64))
    assert torch.equal(p * factor.float(), x)
    assert torch.equal(m, w)


# The defects of published implementations that method notes name.


def test_hyperbolic_parameters_move_and_the_decay_reaches_them():
    """A published version binds the decayed point to a temporary: parameters never move."""
    m = Lorentz()
    x = torch.randn(8, 3, dtype=F64)
    moved = ManifoldParameter(x.clone(), manifold=m)
    decayed = ManifoldParameter(x.clone(), manifold=m)
    for p, decay, g in ((moved, 0.0, torch.ones_like(x)), (decayed, 1.0, torch.zeros_like(x))):
        p.grad = g
        RiemannianAdamW([p], lr=0.1, weight_decay=decay).step()
    assert (m.dist(moved.detach(), x) > 0.05).all()
    assert (m.dist0(decayed.detach()) < m.dist0(x)).all()


def test_transported_momentum_is_kept():
    """A published version loses the transported momentum in a local name.

    A step without gradient is then taken along a vector of another tangent space: far from the
    origin the second of two long steps leaves the geodesic of the first.
    """
    m = Lorentz(c=1.0)
    x = torch.tensor([[2.0, 1.0]], dtype=F64)
    p = ManifoldParameter(x.clone(), manifold=m)
    optimizer = RiemannianAdamW([p], lr=0.8, betas=(0.9, 0.999), weight_decay=0.0)
    visited = [x]
    for g in ([[1.0, -2.0]], [[0.0, 0.0]], [[0.0, 0.0]]):
        p.grad = torch.tensor(g, dtype=F64)
        optimizer.step()
        visited.append(p.detach().clone())
    legs = [m.dist(a, b) for a, b in itertools.pairwise(visited)]
    assert min(legs) > 0.2
    torch.testing.assert_close(m.dist(visited[0], visited[-1]), sum(legs), rtol=1e-12, atol=0)


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize("gradient", ["consistent", "autograd"])
def test_gradients_are_left_as_they_were(maximize, gradient):
    """A published version overwrites ``grad``, which spoils gradient accumulation."""
    m = Lorentz(learnable=True)
    params = [ManifoldParameter(torch.randn(4, 3), manifold=m) for _ in range(3)]
    params.append(ManifoldParameter(torch.randn(2, 5), manifold=m))  # a table of its own
    params += [nn.Parameter(torch.randn(3)), m.curvature.log_c]
    optimizer = RiemannianAdamW(
        params, lr=0.1, maximize=maximize, curvature_gradient=gradient, weight_decay=0.5
    )
    before = []
    for p in params:
        p.grad = torch.randn_like(p)
        before.append((p.grad, p.grad.clone()))
    optimizer.step()
    for p, (grad, copy) in zip(params, before, strict=True):
        assert p.grad is grad
        assert torch.equal(grad, copy)


def test_maximize_is_minimising_the_opposite():
    x = torch.randn(5, 3, dtype=F64)
    results = []
    for sign in (1, -1):
        m = Lorentz(c=1.3, learnable=True)
        p = ManifoldParameter(x.clone(), manifold=m)
        optimizer = RiemannianAdamW([p], lr=0.1, maximize=sign == 1)
        for _ in range(5):
            optimizer.zero_grad()
            (sign * (m.dist0(p) - 3).square().sum()).backward()
            optimizer.step()
        results.append((p.detach(), m.curvature.value))
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    assert results[0][1] != 1.3
