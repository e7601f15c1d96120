"""Layers against the geometry they state, written out independently in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hypeeg.geometry import Lorentz, ManifoldParameter
from hypeeg.nn import (
    HyperbolicMLP,
    Lift,
    LorentzLinear,
    LorentzMLR,
    LorentzPrototypes,
    Rescale,
)

CURVATURES = [0.05, 0.3, 1.0, 4.0, 20.0]


def points(n: int, dim: int, m: Lorentz, radius: float = 1.5, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n, dim, generator=generator, dtype=torch.float64)
    return m.expmap0(z * (radius / math.sqrt(dim) / math.sqrt(m.curvature.value))).detach()


def signed_distance(
    x: np.ndarray, direction: np.ndarray, offset: float, curvature: float
) -> np.ndarray:
    """Distance to the hyperplane orthogonal to the ray of ``direction`` at distance ``offset``.

    Boosts the whole space along the direction until the hyperplane contains the origin; there the
    distance is read off the coordinate along the direction.
    """
    root = math.sqrt(curvature)
    unit = direction / np.linalg.norm(direction)
    time = np.sqrt(1 / curvature + (x**2).sum(-1))
    along = x @ unit
    boosted = math.cosh(root * offset) * along - math.sinh(root * offset) * time
    return np.arcsinh(root * boosted) / root


@pytest.mark.parametrize("c", CURVATURES)
def test_mlr_logits_are_scaled_signed_distances(c: float) -> None:
    m = Lorentz(c)
    head = LorentzMLR(5, 3, manifold=m, temperature=2.5).double()
    with torch.no_grad():
        head.bias.copy_(torch.tensor([0.4, -0.7, 0.0]) / math.sqrt(c))
    x = points(20, 5, m)
    logits = head(x).detach().numpy()
    z, a = head.weight.detach().numpy(), head.bias.detach().numpy()
    for k in range(3):
        expected = 2.5 * np.linalg.norm(z[k]) * signed_distance(x.numpy(), z[k], a[k], c)
        np.testing.assert_allclose(logits[:, k], expected, rtol=1e-10)


@pytest.mark.parametrize("c", CURVATURES)
def test_hyperplane_linear_is_sinh_of_signed_distance(c: float) -> None:
    m = Lorentz(c)
    layer = LorentzLinear(4, 6, manifold=m).double()
    with torch.no_grad():
        layer.weight.mul_(1.7)
        layer.bias.copy_(torch.randn(6, generator=torch.Generator().manual_seed(3)) / math.sqrt(c))
    x = points(20, 4, m)
    y = layer(x).detach().numpy()
    root = math.sqrt(c)
    for j in range(6):
        u, a = layer.weight[j].detach().numpy(), layer.bias[j].item()
        length = np.linalg.norm(u)
        distance = signed_distance(x.numpy(), u, -a / length, c)
        np.testing.assert_allclose(y[:, j], length * np.sinh(root * distance) / root, rtol=1e-9)


@pytest.mark.parametrize("kind", ["hyperplane", "extrinsic"])
def test_linear_becomes_torch_linear_as_c_vanishes(kind: str) -> None:
    m = Lorentz(1e-10, bounds=(1e-12, 1.0))
    layer = LorentzLinear(7, 3, manifold=m, kind=kind).double()
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(11, 7, dtype=torch.float64)
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias), atol=1e-8, rtol=0)


def test_mlr_becomes_logistic_regression_as_c_vanishes() -> None:
    m = Lorentz(1e-10, bounds=(1e-12, 1.0))
    head = LorentzMLR(7, 3, manifold=m).double()
    torch.nn.init.normal_(head.bias)
    x = torch.randn(11, 7, dtype=torch.float64)
    expected = F.linear(x, head.weight, -head.bias * head.weight.norm(dim=-1))
    torch.testing.assert_close(head(x), expected, atol=1e-8, rtol=0)


def test_mlr_max_norm_bounds_the_directions() -> None:
    m = Lorentz()
    head = LorentzMLR(6, 4, manifold=m, max_norm=0.25).double()
    free = LorentzMLR(6, 4, manifold=m).double()
    with torch.no_grad():
        head.weight.normal_(std=3.0)
        free.weight.copy_(head.weight * (0.25 / head.weight.norm(dim=-1, keepdim=True)))
    x = points(9, 6, m)
    torch.testing.assert_close(head(x), free(x), rtol=1e-6, atol=0)


def test_mlr_is_finite_with_vanishing_directions() -> None:
    head = LorentzMLR(3, 2, manifold=Lorentz())
    torch.nn.init.zeros_(head.weight)
    head(torch.randn(4, 3)).sum().backward()
    assert torch.isfinite(head.weight.grad).all()


@pytest.mark.parametrize("c", CURVATURES)
def test_prototype_logits_are_minus_squared_lorentz_distances(c: float) -> None:
    m = Lorentz(c)
    head = LorentzPrototypes(5, 3, manifold=m, temperature=0.5).double()
    x, p = points(8, 5, m), head.prototypes.detach()
    inner = x @ p.T - torch.sqrt(1 / c + (x**2).sum(-1))[:, None] * torch.sqrt(
        1 / c + (p**2).sum(-1)
    )
    torch.testing.assert_close(head(x), (2 / c + 2 * inner) / 0.5, rtol=1e-8, atol=1e-8 / c)


def test_prototypes_are_manifold_parameters_with_finite_gradient_at_coincidence() -> None:
    m = Lorentz(learnable=True)
    head = LorentzPrototypes(5, 3, manifold=m)
    assert isinstance(head.prototypes, ManifoldParameter)
    assert head.prototypes.manifold is m
    loss = F.cross_entropy(head(head.prototypes.detach()), torch.arange(3))
    loss.backward()
    assert torch.isfinite(head.prototypes.grad).all()
    assert torch.isfinite(m.curvature.log_c.grad)


@pytest.mark.parametrize("c", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("build", [LorentzLinear, LorentzMLR, LorentzPrototypes])
def test_gradients_match_finite_differences(build: type, c: float) -> None:
    m = Lorentz(c, learnable=True)
    layer = build(4, 3, manifold=m).double()
    if hasattr(layer, "bias"):
        torch.nn.init.normal_(layer.bias, std=0.3)
    x = points(5, 4, m).requires_grad_()
    values = [p for _, p in layer.named_parameters()]

    def forward(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        # ``c`` reads the parameter's data: perturb it in place, as gradcheck does.
        return layer(x)

    assert torch.autograd.gradcheck(forward, (x, *values), atol=1e-6)


def test_lift_keeps_directions_and_scales_distances() -> None:
    m = Lorentz(0.3)
    x = torch.randn(10, 6, dtype=torch.float64)
    lifted = Lift(m, scale=0.5)(x)
    torch.testing.assert_close(m.dist0(lifted), 0.5 * x.norm(dim=-1))
    torch.testing.assert_close(F.cosine_similarity(lifted, x), torch.ones(10).double())


@pytest.mark.parametrize("c", CURVATURES)
def test_rescale_layer_keeps_points_within_reach(c: float) -> None:
    m = Lorentz(c)
    far = Lift(m)(torch.randn(50, 3) * 8 / math.sqrt(c))
    assert (m.dist0(Rescale(m)(far)) <= m.max_dist() * (1 + 1e-5)).all()


@pytest.mark.parametrize("build", [LorentzLinear, LorentzMLR, LorentzPrototypes])
def test_float32_under_autocast(build: type) -> None:
    m = Lorentz()
    layer = build(8, 3, manifold=m)
    x = torch.randn(4, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, layer(x))


def test_layers_follow_a_changing_curvature() -> None:
    m = Lorentz(1.0, learnable=True)
    head = LorentzMLR(4, 2, manifold=m)
    x = torch.randn(3, 4)
    before = head(x)
    with torch.no_grad():
        m.curvature.log_c.fill_(math.log(3.0))
    assert not torch.allclose(before, head(x))


def test_mlp_embedding_lies_within_reach_and_learns() -> None:
    torch.manual_seed(0)
    model = HyperbolicMLP(6, 3)
    captured = []
    model.final_layer.register_forward_pre_hook(lambda _, args: captured.append(args[0]))
    assert model(torch.randn(5, 6) * 100).shape == (5, 3)
    assert (model.manifold.dist0(captured[0]) <= model.manifold.max_dist() * (1 + 1e-5)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: LorentzLinear(2, 2, manifold=m, kind="nope"), "kind must be one of"),
        (lambda m: LorentzMLR(2, 2, manifold=m, max_norm=0), "max_norm must be positive"),
        (lambda m: LorentzMLR(2, 2, manifold=m, temperature=0), "temperature must be positive"),
        (lambda m: LorentzPrototypes(2, 2, manifold=m, temperature=-1), "temperature must be"),
        (lambda m: Lift(m, scale=0), "scale must be positive"),
        (lambda m: Rescale(m, slope=1.0), "slope must be at least 2.65"),
    ],
)
def test_bad_arguments_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(Lorentz())
