"""What every optimiser does on every chart besides stepping right: files, decay, edges."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from ambient_oracle import CHARTS
from contract_cases import OPTIMIZERS, parameter, scalar, start
from torch import nn

from hypeeg.geometry import ManifoldParameter
from hypeeg.optim import RiemannianSGD, move_points_
from hypeeg.optim.curvature import chart_of

F32, F64 = torch.float32, torch.float64
optimizers = pytest.mark.parametrize("name", OPTIMIZERS)
charts = pytest.mark.parametrize("chart", CHARTS)
dtypes = pytest.mark.parametrize("dtype", [F32, F64])


@optimizers
@charts
@dtypes
def test_resume_is_bit_exact(name, chart, dtype):
    """Through a file: points, curvature, moments, counters, options, dtypes."""
    kind, _, options = OPTIMIZERS[name]

    def build():
        model = nn.Module()
        model.points = parameter(start(1.0), 1.0, chart, dtype, learnable=True)
        model.manifold = model.points.manifold
        model.weight = nn.Parameter(torch.ones(3, dtype=dtype))
        return model

    def train(model, optimizer, gradients):
        for g in gradients:
            model.points.grad, model.weight.grad = g.clone(), g.sum(0)
            model.manifold.curvature.log_c.grad = g.double().mean()
            optimizer.step()

    gradients = 0.1 * torch.randn(12, 9, 3, dtype=dtype)
    whole = build()
    optimizer = kind(whole.parameters(), **options)
    train(whole, optimizer, gradients[:6])
    file = io.BytesIO()
    torch.save({"model": whole.state_dict(), "optimizer": optimizer.state_dict()}, file)
    train(whole, optimizer, gradients[6:])
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed = build()
    again = kind(resumed.parameters(), lr=7.0)
    resumed.load_state_dict(saved["model"])
    again.load_state_dict(saved["optimizer"])
    train(resumed, again, gradients[6:])
    for (key, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), key
        assert a.dtype == b.dtype
    twin, twin_optimizer = copy.deepcopy((whole, optimizer))
    assert torch.equal(twin.points, whole.points)
    for values, others in zip(
        optimizer.state_dict()["state"].values(),
        twin_optimizer.state_dict()["state"].values(),
        strict=True,
    ):
        assert all(torch.equal(values[k], others[k]) for k in values)


@optimizers
@charts
def test_decay_leaves_out_what_asks_for_it(name, chart):
    kind, _, options = OPTIMIZERS[name]
    options = {**options, "weight_decay": 0.5}
    x = start(1.0)[2:]
    offset = parameter(x, 1.0, chart, decay=False)
    weight = parameter(x, 1.0, chart)
    optimizer = kind([offset, weight], **options)
    before = offset.detach().clone()
    for p in (offset, weight):
        p.grad = torch.zeros_like(p)
    optimizer.step()
    torch.testing.assert_close(offset.detach(), before, rtol=1e-14, atol=0)
    assert (weight.manifold.dist0(weight.detach()) < weight.manifold.dist0(before)).all()


@optimizers
@charts
@dtypes
def test_nothing_is_lost_at_the_edges(name, chart, dtype):
    """The origin, zero gradients, points pushed outward for ever and absurd gradients."""
    kind, _, options = OPTIMIZERS[name]
    m = CHARTS[chart](1.0, learnable=True)
    p = ManifoldParameter(torch.zeros(4, 3, dtype=dtype), m)
    optimizer = kind([p], **{**options, "weight_decay": 0.0, "lr": 1.0})
    p.grad = torch.zeros_like(p)
    optimizer.step()
    assert not p.detach().any()
    for step in range(60):
        x = p.detach() + 0.01
        p.grad = -(10.0 ** (step % 9)) * x / x.norm(dim=-1, keepdim=True) / (1 + x.abs())
        m.curvature.log_c.grad = scalar(-1.0)
        optimizer.step()
        assert p.isfinite().all(), step
        assert m.dist0(p.detach()).isfinite().all(), step
    assert m.dist0(p.detach()).min() > 2.0
    assert torch.equal(m.projx(p.detach()), p.detach())


@charts
def test_name_of_the_chart(chart):
    assert chart_of(CHARTS[chart]()) == chart
    with pytest.raises(ValueError, match="chart must be one of"):
        move_points_(torch.ones(1, 2), scalar(1.0), scalar(2.0), "exp", "klein")


def test_far_tangents_step_where_space_parts_could_not_go():
    """Radius 95: a step of length 1 inward and outward, and the exp move leaves coordinates."""
    m = CHARTS["tangent"](1.0, learnable=True)
    z = torch.tensor([[57.0, 76.0], [57.0, 76.0]])
    p = ManifoldParameter(z.clone(), m)
    p.grad = torch.stack([z[0], -z[1]]) / 95
    RiemannianSGD([p], lr=1.0).step()
    torch.testing.assert_close(m.dist0(p.detach()), torch.tensor([94.0, 96.0]))
    before = p.detach().clone()
    p.grad, m.curvature.log_c.grad = None, scalar(1.0)
    RiemannianSGD([p], curvature_lr=0.3, curvature_move="exp").step()
    assert m.curvature.value < 0.8
    assert torch.equal(p.detach(), before)
