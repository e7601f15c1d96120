"""The two naive ways to train on a manifold that the others are compared with."""

from __future__ import annotations

import io
import math

import pytest
import torch
from ambient_oracle import CHARTS, AmbientOptimizer, to_space
from contract_cases import OPTIMIZERS, parameter, scalar, start
from torch import nn

from hypeeg.geometry import Lorentz, ManifoldParameter, PoincareBall
from hypeeg.optim import (
    RiemannianAdamW,
    RiemannianSGD,
    SharpnessAwareCurvature,
    consistent_gradient,
    move_points_,
)
from hypeeg.optim.coordinates import CoordinateAdamW

F32, F64 = torch.float32, torch.float64
optimizers = pytest.mark.parametrize("name", OPTIMIZERS)
charts = pytest.mark.parametrize("chart", CHARTS)


# ------------------------------------------------------------------------------ move "none"


@optimizers
@charts
@pytest.mark.parametrize("c", [0.3, 4.0])
def test_steps_with_coordinates_that_stay(name, chart, c):
    """A step under the old c, a step of Adam in log c, and the coordinates mean a new point.

    The moment goes to the origin under the old c and back to the point under the new one.
    """
    kind, _, options = OPTIMIZERS[name]
    x = start(c)[:5]
    p = parameter(x, c, chart, learnable=True)
    optimizer = kind([p], **options, curvature_lr=0.02, curvature_move="none")
    reference = AmbientOptimizer(x, c, **options, rule=name)
    log_c = nn.Parameter(scalar(math.log(c)))
    adam = torch.optim.Adam([log_c], lr=0.02)
    for step in range(8):
        now = math.exp(log_c.item())
        g = reference.covector(torch.randn(5, 3, dtype=F64) / math.sqrt(now))
        coordinates = p.detach().clone().requires_grad_()
        (p.grad,) = torch.autograd.grad(to_space(coordinates, now, chart), coordinates, g)
        p.manifold.curvature.log_c.grad = log_c.grad = torch.randn((), dtype=F64)
        optimizer.step()
        reference.step(g)
        adam.step()
        reference.move_curvature(math.exp(log_c.item()), "none", chart)
        assert p.manifold.curvature.log_c.item() == pytest.approx(log_c.item(), abs=1e-15)
        error = reference.distance(to_space(p, reference.c, chart)) * math.sqrt(reference.c)
        assert error.max() < 1e-9, f"step {step}"
    if "momentum" in options or kind is not RiemannianSGD:
        got = optimizer.state[p][optimizer._frame_state[0]]
        torch.testing.assert_close(got, reference.moment_at_origin(), rtol=1e-9, atol=1e-12)


@optimizers
@charts
def test_idle_coordinates_stay_bit_by_bit(name, chart):
    kind, _, options = OPTIMIZERS[name]
    active = parameter(start(1.0)[:5], 1.0, chart, F32, learnable=True)
    idle = ManifoldParameter(active.detach().clone(), active.manifold)
    optimizer = kind([idle, active], **options, curvature_lr=0.1, curvature_move="none")
    active.grad, active.manifold.curvature.log_c.grad = torch.ones_like(active), scalar(-1.0)
    before = idle.detach().clone()
    optimizer.step()
    assert active.manifold.curvature.value > 1.09
    assert torch.equal(idle.detach(), before)
    assert not torch.equal(active.detach(), before)


@charts
@pytest.mark.parametrize("sparse", [False, True])
def test_distances_change_with_the_meaning_of_the_coordinates(chart, sparse):
    """Also of rows that a sparse gradient does not name."""
    p = parameter(start(1.0)[3:6], 1.0, chart, learnable=True)
    before = p.detach().clone()
    optimizer = RiemannianAdamW([p], lr=0.0, curvature_lr=0.2, curvature_move="none")
    p.grad = torch.ones_like(p)
    if sparse:
        rows = torch.ones(1, 3, dtype=F64)
        p.grad = torch.sparse_coo_tensor([[1]], rows, p.shape, check_invariants=True)
    p.manifold.curvature.log_c.grad = scalar(1.0)
    optimizer.step()
    k = math.sqrt(p.manifold.curvature.value)
    assert k == pytest.approx(math.exp(-0.1))
    torch.testing.assert_close(p.detach(), before, rtol=1e-13, atol=0)
    norm = before.norm(dim=-1, keepdim=True)
    expected = {
        "lorentz": torch.asinh(k * norm) / k,
        "ball": 2 * torch.atanh(k * norm) / k,
        "tangent": norm,
    }[chart]
    got = p.manifold.dist0(p.detach()).reshape(-1, 1)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [F32, F64])
def test_points_stay_inside_a_ball_that_shrinks(dtype):
    p = torch.tensor([[0.3, 0.4], [0.6, 0.79], [0.0, 0.0]], dtype=dtype)
    moved = move_points_(p.clone(), scalar(1.0), scalar(2.0), "none", "ball")
    assert torch.equal(moved[::2], p[::2])
    assert moved[1].norm() < 1 / math.sqrt(2.0) < moved[1].norm() * (1 + 1e-4)
    torch.testing.assert_close(moved[1] / moved[1].norm(), p[1] / p[1].norm())
    ball = PoincareBall(2.0)
    assert torch.equal(ball.projx(moved), moved)
    assert ball.dist0(moved).isfinite().all()


@charts
def test_autograd_derivative_is_the_consistent_one(chart):
    """Coordinates held fixed is what both mean: the missing term is zero."""
    p = parameter(start(0.7), 0.7, chart, learnable=True)
    g = torch.randn_like(p)
    assert consistent_gradient(p.detach(), g, p.manifold.c.detach(), "none", chart).item() == 0.0
    used = []
    for gradient in ("autograd", "consistent"):
        q = parameter(start(0.7)[:4], 0.7, chart, learnable=True)
        optimizer = RiemannianAdamW([q], curvature_move="none", curvature_gradient=gradient)
        q.grad, q.manifold.curvature.log_c.grad = torch.ones_like(q), scalar(0.3)
        optimizer.step()
        used.append(optimizer.state[q.manifold.curvature.log_c]["exp_avg"].item())
    assert used[0] == used[1] == pytest.approx(0.03)


def test_a_sharpness_aware_curvature_refuses_it():
    inner = RiemannianAdamW([parameter(start(1.0), 1.0, "lorentz", learnable=True)])
    with pytest.raises(ValueError, match=r"curvature_move='none'.*give 'exp' or 'scale'"):
        SharpnessAwareCurvature(inner, curvature_move="none")
    with pytest.raises(ValueError, match="curvature_move must be one of"):
        SharpnessAwareCurvature(inner, curvature_move="jump")


# ------------------------------------------------------------------------------ on coordinates


def model_on(chart, c=1.3):
    model = nn.Module()
    model.points = parameter(start(c)[:6], c, chart, learnable=True)
    model.offset = ManifoldParameter(
        0.1 * torch.ones(3, dtype=F64), model.points.manifold, decay=False
    )
    model.manifold = model.points.manifold
    model.weight = nn.Parameter(torch.randn(4, 3, dtype=F64))
    return model


def draw_gradients(params, generator):
    for p in params:
        p.grad = torch.randn(p.shape, dtype=p.dtype, generator=generator)


@charts
def test_takes_torchs_steps_on_every_coordinate(chart):
    """By hand: torch's AdamW on plain copies, Adam on log c; nothing follows the curvature."""
    model = model_on(chart)
    options = {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6}
    given = [model.points, model.offset, model.weight, model.manifold.curvature.log_c]
    ours = CoordinateAdamW(given, **options, weight_decay=0.3, curvature_lr=0.02)
    copies = [nn.Parameter(p.detach().clone()) for p in given]
    torchs = torch.optim.AdamW(
        [
            {"params": [copies[0], copies[2]]},
            {"params": [copies[1]], "weight_decay": 0.0},
            {"params": [copies[3]], "weight_decay": 0.0, "lr": 0.02},
        ],
        **options,
        weight_decay=0.3,
    )
    a, b = (torch.Generator().manual_seed(4) for _ in range(2))
    for _ in range(10):
        draw_gradients(given, a)
        draw_gradients(copies, b)
        ours.step()
        torchs.step()
    for p, q in zip(given, copies, strict=True):
        torch.testing.assert_close(p.detach(), q.detach(), rtol=1e-14, atol=0)
    assert abs(model.manifold.curvature.value - 1.3) > 0.01


def test_without_points_it_is_the_riemannian_optimiser():
    ends = []
    for kind in (CoordinateAdamW, RiemannianAdamW):
        w = nn.Parameter(torch.ones(4, 3))
        m = Lorentz(learnable=True)
        optimizer = kind([w, m.curvature.log_c], lr=0.1, weight_decay=0.2, curvature_lr=0.05)
        generator = torch.Generator().manual_seed(0)
        for _ in range(6):
            draw_gradients([w, m.curvature.log_c], generator)
            optimizer.step()
        ends.append((w.detach(), m.curvature.log_c.detach()))
    assert torch.equal(ends[0][0], ends[1][0])
    assert torch.equal(ends[0][1], ends[1][1])


def test_groups_and_named_parameters():
    model = model_on("lorentz")
    named = CoordinateAdamW(model.named_parameters(), weight_decay=0.1, curvature_lr=0.5)
    log_c = model.manifold.curvature.log_c
    assert [g["weight_decay"] for g in named.param_groups] == [0.1, 0.0, 0.0]
    assert named.param_groups[-1]["params"] == [log_c]
    groups = [
        {"params": [model.points, model.offset], "lr": 0.3},
        {"params": model.weight, "weight_decay": 0.7},
    ]
    grouped = CoordinateAdamW(groups, lr=0.2, weight_decay=0.1, curvature_lr=0.5)
    assert [(g["lr"], g["weight_decay"]) for g in grouped.param_groups] == [
        (0.3, 0.1), (0.3, 0.0), (0.2, 0.7), (0.5, 0.0),
    ]  # fmt: skip
    assert [len(g["params"]) for g in grouped.param_groups] == [1, 1, 1, 1]
    with pytest.raises(ValueError, match="curvature_lr must lie in"):
        CoordinateAdamW(model.parameters(), curvature_lr=-1.0)


def test_bounds_of_the_curvature_and_of_the_ball_hold():
    m = PoincareBall(1.0, learnable=True, bounds=(0.9, 1.2))
    p = ManifoldParameter(torch.full((2, 2), 0.5), m)
    optimizer = CoordinateAdamW([p], lr=0.2, weight_decay=0.0, curvature_lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = -m.dist0(p).sum() - m.c
        loss.backward()
        return loss

    for _ in range(5):
        assert optimizer.step(closure).requires_grad
    assert m.curvature.log_c.item() == pytest.approx(math.log(1.2))
    assert torch.equal(m.projx(p.detach()), p.detach())
    assert m.dist0(p.detach()).isfinite().all()
    assert (math.sqrt(1.2) * p.norm(dim=-1) > 0.99).all()


def test_it_goes_on_from_a_file():
    whole, again = model_on("tangent"), model_on("tangent")
    generator = torch.Generator().manual_seed(1)
    first = CoordinateAdamW(whole.parameters(), lr=0.05)
    second = CoordinateAdamW(again.parameters(), lr=7.0)

    def train(model, optimizer):
        for _ in range(3):
            draw_gradients(model.parameters(), generator)
            optimizer.step()

    train(whole, first)
    file = io.BytesIO()
    torch.save([whole.state_dict(), first.state_dict(), generator.get_state()], file)
    train(whole, first)
    file.seek(0)
    weights, state, random = torch.load(file, weights_only=True)
    again.load_state_dict(weights)
    second.load_state_dict(state)
    generator.set_state(random)
    train(again, second)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


def test_inside_a_sharpness_aware_curvature_points_follow():
    model = model_on("lorentz")
    radius = model.manifold.dist0(model.points).detach()
    inner = CoordinateAdamW(model.parameters(), lr=0.0)
    optimizer = SharpnessAwareCurvature(inner, every=1, lr=0.1, trust=1.0)

    def closure():
        optimizer.zero_grad()
        loss = (model.manifold.dist_pairwise(model.points, model.points) - 1).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert abs(math.log(model.manifold.curvature.value / 1.3)) > 0.05
    torch.testing.assert_close(model.manifold.dist0(model.points).detach(), radius)
