"""What every optimiser does on every chart, against formulas written out in ambient coordinates."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from ambient_oracle import CHARTS, AmbientOptimizer, from_space, to_space
from contract_cases import CURVATURES, OPTIMIZERS, parameter, scalar, start
from torch import nn

from hypeeg.geometry import Curvature, Lorentz, ManifoldParameter
from hypeeg.optim import RiemannianSGD, consistent_gradient, move_points_

F32, F64 = torch.float32, torch.float64
MOVES = ["exp", "scale"]

optimizers = pytest.mark.parametrize("name", OPTIMIZERS)
charts = pytest.mark.parametrize("chart", CHARTS)
curvatures = pytest.mark.parametrize("c", CURVATURES)
dtypes = pytest.mark.parametrize("dtype", [F32, F64])


def chart_gradient(p, g, c, chart):
    """Autograd's gradient in the coordinates from that in the space parts."""
    coordinates = p.detach().double().requires_grad_()
    (gradient,) = torch.autograd.grad(to_space(coordinates, c, chart), coordinates, g)
    return gradient.to(p.dtype)


# ------------------------------------------------------------------------------ the steps


@optimizers
@charts
@curvatures
@dtypes
def test_equals_the_literal_formulas(name, chart, c, dtype):
    """Points, moments and curvature, over steps in which both moves carry the curvature along."""
    kind, _, options = OPTIMIZERS[name]
    for move in MOVES:
        x = start(c)
        p = parameter(x, c, chart, dtype, learnable=True)
        optimizer = kind([p], **options, curvature_lr=0.02, curvature_move=move)
        reference = AmbientOptimizer(x if dtype == F64 else to_space(p, c, chart), c, **options,
                                     rule=name)  # fmt: skip
        log_c = nn.Parameter(scalar(math.log(c)))
        adam = torch.optim.Adam([log_c], lr=0.02)
        tight = dtype == F64
        for step in range(8):
            now = math.exp(log_c.item())
            # of the size that keeps steps of all rules alike, and not always of one size
            direction = torch.nn.functional.normalize(torch.randn(9, 3, dtype=F64), dim=-1)
            g = reference.covector((1.5 - step % 3 / 2) * direction / math.sqrt(now))
            g_c = torch.randn((), dtype=F64)
            p.grad = chart_gradient(p, g, now, chart)
            p.manifold.curvature.log_c.grad, log_c.grad = g_c, g_c.clone()
            optimizer.step()
            reference.step(g)
            adam.step()
            reference.move_curvature(math.exp(log_c.item()), move)
            assert p.manifold.curvature.log_c.item() == pytest.approx(log_c.item(), abs=1e-15)
            got = to_space(p, reference.c, chart)
            error = reference.distance(got) * math.sqrt(reference.c)
            assert error.max() < (1e-9 if tight else 3e-4), f"{move}, step {step}"
        if "momentum" in options or kind is not RiemannianSGD:
            # at the origin of the chart, where all charts have the same directions
            got = optimizer.state[p][optimizer._frame_state[0]].double()
            expected = reference.moment_at_origin()
            size = expected.norm()
            assert (got - expected).norm() < (1e-9 if tight else 1e-3) * size


@optimizers
@curvatures
def test_the_chart_makes_no_difference(name, c):
    """One loss, a learned curvature by the consistent gradient: all charts go the same way."""
    kind, _, options = OPTIMIZERS[name]
    x, target = start(c), 0.3 * start(c)
    for move in MOVES:
        ends = []
        for chart in CHARTS:
            p = parameter(x, c, chart, learnable=True)
            optimizer = kind(
                [p], **options, curvature_lr=0.05, curvature_move=move,
                curvature_gradient="consistent",
            )  # fmt: skip
            lorentz = Lorentz(curvature=p.manifold.curvature)
            for _ in range(8):
                optimizer.zero_grad()
                y = p.manifold.to_lorentz(p)
                loss = lorentz.dist(y, target).sum() * lorentz.c.sqrt() + lorentz.dist0(y).mean()
                loss.backward()
                optimizer.step()
            ends.append((p.manifold.to_lorentz(p.detach()), p.manifold.curvature.value))
        assert abs(ends[0][1] / c - 1) > 0.05
        for y, c_end in ends[1:]:
            assert c_end == pytest.approx(ends[0][1], rel=1e-10)
            far = Lorentz(c_end, bounds=(1e-3, 1e3)).dist(y, ends[0][0])
            assert far.max() * math.sqrt(c_end) < 1e-8


@optimizers
@charts
def test_is_torchs_optimizer_as_the_curvature_vanishes(name, chart):
    """Vectors of size 1: their one second moment is the coordinate's."""
    kind, flat, options = OPTIMIZERS[name]
    x = torch.randn(30, 1, dtype=F64)
    scale = 0.5 if chart == "ball" else 1.0  # ball coordinates are half as long there
    manifold = CHARTS[chart](1e-12, bounds=(1e-13, 1.0))
    p, q = ManifoldParameter(scale * x, manifold), nn.Parameter(x.clone())
    ours, torchs = kind([p], **options), flat([q], **options)
    for i in range(200):
        g = torch.randn(30, 1, dtype=F64) + math.sin(i / 10)
        p.grad, q.grad = g / scale, g.clone()
        ours.step()
        torchs.step()
        torch.testing.assert_close(p.detach() / scale, q.detach(), rtol=0, atol=1e-8)
    assert (q - x).abs().max() > 0.1


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "amsgrad"])
@pytest.mark.parametrize("chart", ["lorentz", "ball"])
def test_equals_geoopt_where_it_agrees(name, chart):
    """Without decay, damping and change of curvature; on its Lorentz model at c = 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import geoopt
    kind, _, options = OPTIMIZERS[name]
    options = {k: v for k, v in options.items() if k not in ("weight_decay", "dampening")}
    theirs = geoopt.optim.RiemannianSGD if kind is RiemannianSGD else geoopt.optim.RiemannianAdam
    for c in [1.0] if chart == "lorentz" else CURVATURES:
        x = start(c, rows=6)[2:]
        p = parameter(x, c, chart)
        if chart == "lorentz":
            space = geoopt.Lorentz(k=scalar(1.0))
            points = torch.cat([(1 + x.square().sum(-1, keepdim=True)).sqrt(), x], -1)
        else:
            space = geoopt.PoincareBallExact(c=scalar(c))
            points = p.detach().clone()
        q = geoopt.ManifoldParameter(points, manifold=space)
        ours, other = kind([p], **options), theirs([q], **options)
        for step in range(15):
            # its momentum counts the first gradient twice: let that be zero
            g = (0.3 if step else 0.0) * torch.randn(4, 3, dtype=F64)
            p.grad = g
            q.grad = torch.cat([torch.zeros(4, 1), g], -1).double() if chart == "lorentz" else g + 0
            ours.step()
            other.step()
            got = q.detach()[:, 1:] if chart == "lorentz" else q.detach()
            torch.testing.assert_close(p.detach(), got, rtol=1e-6, atol=1e-6)


@optimizers
@pytest.mark.parametrize("foreach", [None, True, False])
@pytest.mark.parametrize("maximize", [True, False])
def test_euclidean_parameters_take_exactly_torchs_steps(name, foreach, maximize):
    kind, flat, options = OPTIMIZERS[name]
    options = {**options, "foreach": foreach, "maximize": maximize}
    weights = [nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(5, dtype=F64))]
    twins = [nn.Parameter(w.detach().clone()) for w in weights]
    ours, torchs = (
        kind([*weights, parameter(start(1.0), 1.0, "ball")], **options),
        flat(twins, **options),
    )
    for step in range(10):
        for w, t in zip(weights, twins, strict=True):
            w.grad = None if step == 3 else torch.randn_like(w)
            t.grad = None if step == 3 else w.grad.clone()
        ours.step()
        torchs.step()
    for w, t in zip(weights, twins, strict=True):
        assert torch.equal(w, t)


# ------------------------------------------------------------------------------ the curvature


@charts
@curvatures
@pytest.mark.parametrize("move", MOVES)
def test_move_and_its_gradient(chart, c, move):
    """The move against formulas of the test; the term against differences along the move."""
    x = start(c)
    p = parameter(x, c, chart, learnable=True)
    w = torch.randn(9, 9, dtype=F64)

    def loss(points, manifold):
        return (manifold.dist_pairwise(points, points) * w).sum() + manifold.c * points.sum()

    def moved(c_new):
        y = from_space(x, c, chart)
        return move_points_(y, scalar(c), scalar(c_new), move, chart)

    c_new = 1.7 * c
    r = torch.asinh(math.sqrt(c) * x.norm(dim=-1, keepdim=True)) / math.sqrt(c)
    r_new = r if move == "exp" else r * math.sqrt(c / c_new)
    space = x / x.norm(dim=-1, keepdim=True) * torch.sinh(math.sqrt(c_new) * r_new)
    expected = from_space(space / math.sqrt(c_new), c_new, chart)
    torch.testing.assert_close(moved(c_new), expected, rtol=1e-12, atol=0)

    loss(p, p.manifold).backward()
    term = consistent_gradient(p.detach(), p.grad, scalar(c), move, chart)
    total = (p.manifold.curvature.log_c.grad + term).item()
    h = 1e-5
    values = [
        loss(moved(k), CHARTS[chart](k, bounds=(1e-3, 1e3))).item()
        for k in (c * math.exp(h), c * math.exp(-h))
    ]
    assert total == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-5, abs=1e-5)


@optimizers
@charts
def test_idle_parameters_follow(name, chart):
    kind, _, options = OPTIMIZERS[name]
    curvature = Curvature(1.0, learnable=True)
    m = CHARTS[chart](curvature=curvature)
    idle, active = (ManifoldParameter(0.3 * torch.randn(4, 3, dtype=F64), m) for _ in range(2))
    radius = m.dist0(idle).detach()
    optimizer = kind([idle, active], **options, curvature_lr=0.1, curvature_move="exp")
    (m.dist0(active).sum() * m.c).backward()
    idle.grad = None
    optimizer.step()
    assert curvature.value < 0.95
    torch.testing.assert_close(m.dist0(idle).detach(), radius, rtol=1e-13, atol=0)
