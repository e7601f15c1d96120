"""Averages of weights while the curvature moves."""

from __future__ import annotations

import copy
import io
import math

import pytest
import torch
from ambient_oracle import CHARTS, exponential, from_space, lift, minkowski, to_space
from torch import nn

from hypeeg.geometry import Lorentz, ManifoldParameter
from hypeeg.optim import EMA, RiemannianAdamW

F64 = torch.float64


class Net(nn.Module):
    def __init__(self, chart="lorentz", dtype=F64):
        super().__init__()
        self.manifold = CHARTS[chart](1.0, learnable=True)
        x = torch.randn(5, 3, dtype=F64)
        self.points = ManifoldParameter(from_space(x, 1.0, chart).to(dtype), self.manifold)
        self.norm = nn.BatchNorm1d(3).to(dtype)


def wander(net, chart, steps):
    """Yield after each of some steps of a model that goes anywhere."""
    optimizer = RiemannianAdamW(net.parameters(), lr=0.1, curvature_lr=0.1)
    for _ in range(steps):
        for p in net.parameters():
            p.grad = torch.randn_like(p)
        net.norm(torch.randn(8, 3, dtype=net.norm.weight.dtype))
        optimizer.step()
        yield


def geodesic(x, y, t, c):
    """The point a fraction ``t`` of the way, in ambient coordinates."""
    x, y = lift(x, c), lift(y, c)
    v = y + c * minkowski(x, y) * x
    difference = y - x
    d = 2 * torch.asinh((c * minkowski(difference, difference)).sqrt() / 2) / math.sqrt(c)
    return exponential(x, t * d * v / minkowski(v, v).sqrt(), c)[..., 1:]


def carried(x, c, c_new):
    r = torch.asinh(math.sqrt(c) * x.norm(dim=-1, keepdim=True)) / math.sqrt(c)
    scaled = torch.sinh(math.sqrt(c_new) * r) / math.sqrt(c_new)
    return x / x.norm(dim=-1, keepdim=True) * scaled


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_equals_the_definition(chart, dtype):
    net, decay = Net(chart, dtype), 0.8
    ema = EMA(net, decay)
    c = 1.0
    x = to_space(net.points.detach(), c, chart)
    weight, mean = net.norm.weight.detach().clone(), net.norm.running_mean.clone()
    for _ in wander(net, chart, 15):
        ema.update()
        now = net.manifold.curvature.value
        c_new = math.exp(decay * math.log(c) + (1 - decay) * math.log(now))
        theirs = carried(to_space(net.points.detach(), now, chart), now, c_new)
        x, c = geodesic(carried(x, c, c_new), theirs, 1 - decay, c_new), c_new
        weight.lerp_(net.norm.weight.detach(), 1 - decay)
        mean.lerp_(net.norm.running_mean, 1 - decay)
    tolerance = {"rtol": 1e-9, "atol": 1e-9} if dtype == F64 else {"rtol": 1e-4, "atol": 1e-5}
    assert abs(net.manifold.curvature.value - c) > 0.01
    with ema.average_parameters():
        assert net.manifold.curvature.value == pytest.approx(c, rel=1e-12)
        got = to_space(net.points.detach(), c, chart)
        torch.testing.assert_close(got, x, **tolerance)
        torch.testing.assert_close(net.norm.weight.detach(), weight)
        torch.testing.assert_close(net.norm.running_mean, mean)
        assert net.norm.num_batches_tracked == 15


@pytest.mark.parametrize("chart", CHARTS)
def test_weights_return_bit_by_bit(chart):
    net = Net(chart, torch.float32)
    ema = EMA(net, 0.9)
    for _ in wander(net, chart, 5):
        ema.update()
    before = copy.deepcopy(net.state_dict())

    def fail():
        with ema.average_parameters():
            assert not torch.equal(net.points, before["points"])
            raise KeyError("something went wrong")

    with pytest.raises(KeyError, match="something went wrong"):
        fail()
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_constant_model_is_its_own_average():
    net = Net()
    ema = EMA(net, 0.5)
    for _ in range(20):
        ema.update()
    before = net.points.detach().clone()
    ema.copy_to_model()
    torch.testing.assert_close(net.points.detach(), before, rtol=1e-13, atol=0)


def test_far_points_of_the_log_store():
    m = CHARTS["tangent"](1.0, learnable=True)
    net = nn.Module()
    net.points = ManifoldParameter(torch.tensor([[80.0, 0.0], [0.0, 90.0]]), m)
    ema = EMA(net, 0.75)
    net.points.data[:, 0] += torch.tensor([8.0, 0.0])
    ema.update()
    ema.copy_to_model()
    torch.testing.assert_close(net.points.detach(), torch.tensor([[82.0, 0.0], [0.0, 90.0]]))


def test_warm_up_forgets_the_start():
    net = nn.Linear(2, 2)
    ema = EMA(net, 0.9, warmup=True)
    start = net.weight.detach().clone()
    net.weight.data.zero_()
    ema.update()
    ema.copy_to_model()
    torch.testing.assert_close(net.weight.detach(), 2 / 11 * start)


def test_curvatures_of_unregistered_manifolds_and_buffers_left_alone():
    m = Lorentz(1.0, learnable=True)
    net = nn.BatchNorm1d(2)
    net.points = ManifoldParameter(torch.ones(2, 2), m)
    del m
    log_c = net.points.manifold.curvature.log_c
    ema = EMA(net, 0.5, use_buffers=False)
    log_c.data.fill_(1.0)
    net.running_mean.fill_(3.0)
    ema.update()
    with ema.average_parameters():
        assert log_c.item() == pytest.approx(0.5)
        assert net.running_mean[0] == 3.0
    assert log_c.item() == 1.0


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_resume_is_bit_exact(chart, dtype):
    net = Net(chart, dtype)
    ema = EMA(net, 0.9)
    for _ in wander(net, chart, 4):
        ema.update()
    file = io.BytesIO()
    torch.save({"net": net.state_dict(), "ema": ema.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other = Net(chart, dtype)
    other.load_state_dict(saved["net"])
    again = EMA(other, 0.9)
    again.load_state_dict(saved["ema"])
    for one in (ema, again):
        one.update()
        one.copy_to_model()
    assert again.steps == 5
    for (name, value), twin in zip(
        net.state_dict().items(), other.state_dict().values(), strict=True
    ):
        assert torch.equal(value, twin), name
    with pytest.raises(ValueError, match=r"another model: .*points"):
        EMA(nn.Linear(2, 2)).load_state_dict(saved["ema"])


def test_decay_out_of_range():
    with pytest.raises(ValueError, match=r"decay must lie in \[0, 1\); got 1"):
        EMA(nn.Linear(2, 2), 1)
