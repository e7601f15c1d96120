"""Activation, dropout, residual, pooling, concatenation, rescaling and the bottleneck."""

from __future__ import annotations

import math

import pytest
import torch
from contract import sample_points
from torch import nn
from torch.nn import functional as F

from hypeeg.geometry import Lorentz
from hypeeg.nn.activation import LorentzActivation, LorentzDropout
from hypeeg.nn.core_block import LorentzCoreBlock
from hypeeg.nn.lift import Lift, Rescale
from hypeeg.nn.linear import LorentzLinear, boost, orthonormal
from hypeeg.nn.pooling import LorentzAdaptiveAvgPool1d, LorentzAvgPool1d, LorentzAvgPool2d
from hypeeg.nn.residual import LorentzResidual, lorentz_concat


@pytest.mark.parametrize("c", [0.05, 1.0, 20.0])
def test_boost_layer_with_unit_scale_keeps_all_distances(c: float) -> None:
    m = Lorentz(c)
    layer = LorentzLinear(4, 6, manifold=m, kind="boost").double()
    with torch.no_grad():
        layer.weight.normal_()
        layer.bias.normal_().div_(math.sqrt(c))
    x = sample_points(m, (9, 4))
    torch.testing.assert_close(
        m.dist_pairwise(layer(x), layer(x)), m.dist_pairwise(x, x), rtol=1e-9, atol=1e-9
    )
    with torch.no_grad():
        layer.scale.fill_(0.6)
        layer.bias.zero_()
    torch.testing.assert_close(m.dist0(layer(x)), 0.6 * m.dist0(x))


def test_boost_carries_the_origin_to_the_exponential_of_its_vector() -> None:
    m = Lorentz(0.4)
    b = torch.randn(5, dtype=torch.float64)
    origin = torch.zeros(1, 5, dtype=torch.float64)
    torch.testing.assert_close(boost(origin, b, m.c)[0], m.expmap0(b))


def test_orthonormal_weights_are_kept() -> None:
    w = nn.init.orthogonal_(torch.empty(7, 4, dtype=torch.float64))
    torch.testing.assert_close(orthonormal(w), w)
    w = torch.randn(7, 4, dtype=torch.float64)
    torch.testing.assert_close(orthonormal(w).T @ orthonormal(w), torch.eye(4).double())


def test_dropout_keeps_the_mean_and_is_the_identity_in_eval() -> None:
    m = Lorentz()
    x = torch.ones(200, 50)
    for layer in (LorentzDropout(0.3, manifold=m), LorentzDropout(0.3, manifold=m, axis=1)):
        y = layer(x)
        assert abs(float(y.mean()) - 1) < 0.05
        torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 1 / 0.7))
        assert layer.eval()(x) is x or torch.equal(layer(x), x)


def test_channel_dropout_drops_whole_channels() -> None:
    y = LorentzDropout(0.5, manifold=Lorentz(), axis=1)(torch.ones(8, 16, 4, 4))
    zero = y == 0
    assert torch.equal(zero.all((2, 3)), zero.any((2, 3)))
    assert 0 < zero.all((2, 3)).float().mean() < 1


@pytest.mark.parametrize("c", [0.05, 1.0, 20.0])
def test_centroid_pooling_of_far_points_keeps_its_digits(c: float) -> None:
    m = Lorentz(c)
    x = sample_points(m, (1, 3, 1), 1, radius=7.0, exact=True, dtype=torch.float32)
    x = x.expand(1, 3, 4) * torch.tensor([1.0, 0.999, 1.001, 1.0])
    pooled = LorentzAvgPool1d(4, manifold=m)(x)
    a = x.double()
    time = torch.sqrt(1 / c + (a**2).sum(1, keepdim=True)).sum(2, keepdim=True)
    s = a.sum(2, keepdim=True)
    expected = s / torch.sqrt(c * (time**2 - (s**2).sum(1, keepdim=True)))
    torch.testing.assert_close(pooled.double(), expected, rtol=2e-5, atol=0)


def test_adaptive_pooling_takes_torchs_cells() -> None:
    m = Lorentz(1e-10, bounds=(1e-12, 1.0))
    x = torch.randn(2, 3, 11, dtype=torch.float64)
    torch.testing.assert_close(
        LorentzAdaptiveAvgPool1d(4, manifold=m)(x), F.adaptive_avg_pool1d(x, 4), atol=1e-7, rtol=0
    )


def test_concatenation_adds_squared_time() -> None:
    m = Lorentz(0.7)
    x, y = sample_points(m, (5, 3)), sample_points(m, (5, 2), seed=1)
    joined = lorentz_concat([x, y])
    expected = m.time(x) ** 2 + m.time(y) ** 2 - 1 / 0.7
    torch.testing.assert_close(m.time(joined) ** 2, expected)
    assert lorentz_concat([x.half(), y]).dtype == torch.float64


def test_residual_sum_is_rescaled_within_reach() -> None:
    m = Lorentz()
    x = sample_points(m, (10, 4), radius=7.4, exact=True, dtype=torch.float32)
    y = LorentzResidual(m)(x, x)
    assert (m.dist0(y) <= m.max_dist() * (1 + 1e-5)).all()
    assert torch.equal(LorentzResidual(m, rescale=False)(x, x), 2 * x)


def test_learnable_slope_stays_above_its_bound() -> None:
    layer = Rescale(Lorentz(), 3.0, learnable=True)
    assert math.isclose(float(layer.slope.detach()), 3.0, rel_tol=1e-6)
    optimizer = torch.optim.SGD(layer.parameters(), lr=100.0)
    x = sample_points(Lorentz(), (5, 3), dtype=torch.float32)
    for _ in range(5):
        optimizer.zero_grad()
        (-layer(x).norm()).backward()  # wants the slope as small as it can be
        optimizer.step()
    assert float(layer.slope.detach()) >= 2.65
    torch.testing.assert_close(layer(x), Rescale(Lorentz(), 2.65)(x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("c", [0.05, 1.0, 20.0])
def test_lift_and_rescale_on_channels_are_those_of_the_last_axis(c: float) -> None:
    m = Lorentz(c)
    x = torch.randn(2, 4, 3, 5)
    for a, b in ((Lift(m, 0.4, axis=1), Lift(m, 0.4)), (Rescale(m, axis=1), Rescale(m))):
        torch.testing.assert_close(a(x), b(x.movedim(1, -1)).movedim(-1, 1))
    torch.testing.assert_close(Rescale(m)(x), m.rescale(x))
    torch.testing.assert_close(Lift(m)(x), m.expmap0(x))


def test_bottleneck_core_sees_points_within_reach() -> None:
    block = LorentzCoreBlock(8, 4, manifold=Lorentz())
    seen = []
    block.core.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    assert block(torch.randn(2, 8, 6, 6) * 100).shape == (2, 8, 6, 6)
    distance = block.manifold.dist0(seen[0].movedim(1, -1))
    assert (distance <= block.manifold.max_dist() * (1 + 1e-5)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: LorentzDropout(1.0, manifold=m), r"p must lie in \[0, 1\)"),
        (lambda m: LorentzResidual(m, "nope"), "kind must be one of"),
        (lambda m: LorentzResidual(m, weight=0.0), "weight must be positive"),
        (lambda m: LorentzAvgPool2d(2, padding=2, manifold=m), "padding must be at most half"),
        (lambda m: LorentzAdaptiveAvgPool1d(0, manifold=m), "output_size must be positive"),
        (lambda m: Rescale(m, 2.65, learnable=True), "must start above 2.65"),
        (lambda m: Rescale(m, max_dist=0.0), "max_dist must be positive"),
        (lambda m: lorentz_concat([]), "points must hold at least one"),
    ],
)
def test_bad_arguments_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(Lorentz())


def test_functions_without_a_module_show_their_name() -> None:
    assert "tanh" in repr(LorentzActivation(torch.tanh, Lorentz()))
