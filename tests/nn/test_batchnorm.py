"""Batch normalisation: statistics, gradients written by hand, domains."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from cases_norm import ambient, batch_norm, mean_point
from contract import CURVATURES, sample_points

from hypeeg.geometry import Lorentz, ManifoldParameter, lorentz
from hypeeg.nn import (
    LorentzBatchNorm1d,
    LorentzBatchNorm2d,
    LorentzDomainBatchNorm,
    adapt_domain_statistics,
    use_domain,
)
from hypeeg.nn.recentre import BatchNormalise, from_origin, to_origin


def points(m: Lorentz, shape: tuple[int, ...], radius: float = 1.5, seed: int = 0) -> torch.Tensor:
    return sample_points(m, shape, 1, radius=radius, seed=seed)


@pytest.mark.parametrize("c", CURVATURES)
def test_output_has_the_centre_and_the_spread_that_are_asked(c: float) -> None:
    m = Lorentz(c)
    layer = LorentzBatchNorm2d(4, manifold=m).double()
    with torch.no_grad():
        layer.weight.fill_(0.6 / math.sqrt(c))
        layer.bias.copy_(torch.randn(4, generator=torch.Generator().manual_seed(1)) / c**0.5)
    y = layer(points(m, (5, 4, 3, 6)) + 0.4 / math.sqrt(c)).detach()
    y = y.movedim(1, -1).reshape(-1, 4)
    centre = mean_point(ambient(y, c), c)[1:]
    # The centroid is not the Fréchet mean: scaling about it moves it by terms of third order.
    torch.testing.assert_close(centre, layer.bias.detach(), rtol=0.1, atol=0.02 / c**0.5)
    spread = m.dist(y, layer.bias.detach()).mean()
    assert float(spread) == pytest.approx(0.6 / math.sqrt(c), rel=1e-4 * c**0.5 + 1e-6)


def through_library(
    x: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor, c: torch.Tensor, eps: float
) -> torch.Tensor:
    flat = x.movedim(1, -1).reshape(-1, x.shape[1])
    mu = lorentz.centroid(flat, c)
    u = lorentz.logmap(mu, flat, c)
    sigma = lorentz.norm(mu, u, c).mean()
    start, end = mu.expand_as(flat), beta.expand_as(flat)
    v = lorentz.transp(start, end, gamma / (sigma + eps) * u, c)
    return lorentz.expmap(beta, v, c).view(x.movedim(1, -1).shape).movedim(-1, 1)


@pytest.mark.parametrize("gamma", [0.7, -1.3])
@pytest.mark.parametrize("c", CURVATURES)
def test_gradients_are_those_of_the_formula(c: float, gamma: float) -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64) / math.sqrt(c)

    x = (draw(3, 4, 5) + 0.5 / math.sqrt(c)).requires_grad_()
    scale = torch.tensor([gamma], dtype=torch.float64, requires_grad=True)
    beta = (0.3 * draw(4)).requires_grad_()
    magnitude = torch.tensor(c, dtype=torch.float64, requires_grad=True)
    inputs = (x, scale, beta, magnitude)
    ours = BatchNormalise.apply(*inputs, 1e-5)[0]
    theirs = through_library(*inputs, 1e-5)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)
    grad = draw(3, 4, 5)
    for a, b in zip(
        torch.autograd.grad(ours, inputs, grad), torch.autograd.grad(theirs, inputs, grad)
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10 * float(b.abs().max()))


def test_statistics_given_and_statistics_of_the_batch_agree() -> None:
    c = torch.tensor(0.7, dtype=torch.float64)
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    gamma, beta = torch.tensor([0.8]).double(), torch.tensor([0.2, -0.4, 0.9]).double()
    y, mean, dispersion = BatchNormalise.apply(x, gamma, beta, c, 1e-5)
    at = mean.view(1, -1, 1)
    w, p = to_origin(x, at, c)
    torch.testing.assert_close(from_origin(w, p, at, gamma / (dispersion + 1e-5), beta, c), y)


def test_an_outlier_is_held_where_coordinates_end_with_the_right_gradient() -> None:
    m = Lorentz(1.0)
    x = torch.zeros(400, 3)
    x[0, 0] = 0.5
    layer = LorentzBatchNorm1d(3, manifold=m)
    x.requires_grad_()
    y = layer(x)
    assert torch.isfinite(y).all()
    assert float(m.dist0(y[0]).detach()) == pytest.approx(40, rel=1e-4)
    y.sum().backward()
    assert torch.isfinite(x.grad).all()

    # The same at a length that float64 differentiates by differences.
    from hypeeg.nn import recentre

    limit = dict(recentre._LONGEST)
    try:
        recentre._LONGEST[torch.float64] = 1.2
        x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
        held = m.dist0(layer.double()(x))
        assert (held > 1.2 - 1e-9).any()
        assert (held < 1.2 - 1e-2).any()
        assert torch.autograd.gradcheck(lambda x: layer(x), (x,), eps=1e-6, atol=1e-5)
    finally:
        recentre._LONGEST.update(limit)


@pytest.mark.parametrize("c", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("radius", [2.0, 4.0, 6.0])
def test_float32_keeps_far_clusters(c: float, radius: float) -> None:
    """Coordinates round by cosh(radius) units of the last place; cosh(radius)^2 would be naive."""
    m = Lorentz(c)
    root = math.sqrt(c)
    generator = torch.Generator().manual_seed(0)
    centre = torch.full((1, 6), math.sinh(radius) / root / math.sqrt(6), dtype=torch.float64)
    cluster = 0.3 * torch.randn(2048, 6, dtype=torch.float64, generator=generator) / root
    x = m.expmap(centre, m.transp0(centre, cluster)).float()
    layer = LorentzBatchNorm1d(6, manifold=m)
    torch.nn.init.constant_(layer.weight, 1 / root)
    exact = copy.deepcopy(layer).double()(x.double())
    error = float((m.dist(layer(x).double(), exact) * root).max().detach())
    # The centroid's norm is of second order in cosh, but averages over the points.
    assert error < (20 + 2.5 * math.cosh(radius)) * 2**-24 * math.cosh(radius)


def test_running_statistics_average_in_the_tangent_space_at_the_origin() -> None:
    m = Lorentz(0.6)
    layer = LorentzBatchNorm1d(4, manifold=m, momentum=0.25).double()
    expected_mean, expected_dispersion = torch.zeros(4).double(), torch.ones(()).double()
    for seed in range(3):
        x = points(m, (20, 4), seed=seed)
        layer(x)
        mu = mean_point(ambient(x, 0.6), 0.6)[1:]
        expected_mean.lerp_(m.logmap0(mu), 0.25)
        expected_dispersion.lerp_(m.dist(x, mu).mean(), 0.25)
    torch.testing.assert_close(layer.running_mean, expected_mean)
    torch.testing.assert_close(layer.running_dispersion, expected_dispersion)
    assert int(layer.num_batches_tracked) == 3


def test_momentum_none_is_the_mean_over_batches() -> None:
    m = Lorentz()
    layer = LorentzBatchNorm1d(4, manifold=m, momentum=None).double()
    batches = [points(m, (10, 4), seed=s) for s in range(3)]
    logs = []
    for x in batches:
        layer(x)
        logs.append(m.logmap0(mean_point(ambient(x, 1.0), 1.0)[1:]))
    torch.testing.assert_close(layer.running_mean, torch.stack(logs).mean(0))


def test_running_statistics_survive_a_changing_curvature() -> None:
    m = Lorentz(1.0, learnable=True)
    layer = LorentzBatchNorm1d(4, manifold=m, momentum=1.0).double()
    x = points(m, (30, 4))
    trained = layer(x)
    layer.eval()
    torch.testing.assert_close(layer(x), trained)
    kept = layer.running_mean.clone()
    with torch.no_grad():
        m.curvature.log_c.fill_(math.log(4.0))
    mean = m.expmap0(kept)
    assert float(m.dist0(mean).detach()) == pytest.approx(float(kept.norm()), rel=1e-9)
    y = layer(mean.unsqueeze(0))  # the running centroid goes to the origin under the new c
    assert float(m.dist0(y).detach()) < 1e-9


def test_without_running_statistics_evaluation_takes_those_of_the_batch() -> None:
    layer = LorentzBatchNorm1d(4, manifold=Lorentz(), track_running_stats=False).double()
    x = points(Lorentz(), (9, 4))
    assert torch.equal(layer(x), layer.eval()(x))
    assert not list(layer.buffers())


def test_memory_format_changes_nothing() -> None:
    m = Lorentz(0.5)
    layer = LorentzBatchNorm2d(6, manifold=m, track_running_stats=False).double()
    x = points(m, (3, 6, 4, 5))
    torch.testing.assert_close(layer(x.to(memory_format=torch.channels_last)), layer(x))


def test_centre_is_a_manifold_parameter_left_out_of_decay() -> None:
    layer = LorentzBatchNorm2d(4, manifold=Lorentz())
    assert isinstance(layer.bias, ManifoldParameter)
    assert layer.bias.decay is False
    copied = copy.deepcopy(layer)
    assert copied.bias.manifold is copied.manifold


def test_second_derivatives_are_refused() -> None:
    layer = LorentzBatchNorm1d(3, manifold=Lorentz()).double()
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.sum().backward()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: LorentzBatchNorm1d(0, manifold=m), "num_features must be positive; got 0"),
        (lambda m: LorentzBatchNorm1d(2, eps=0, manifold=m), "eps must be positive; got 0"),
        (lambda m: LorentzBatchNorm1d(2, momentum=2, manifold=m), "momentum must lie in"),
        (lambda m: LorentzBatchNorm1d(2, manifold=m)(torch.ones(1, 2)), "more than 1 point"),
        (lambda m: LorentzBatchNorm1d(2, manifold=m)(torch.ones(4, 3)), r"\(N, n\) or \(N, n, L\)"),
        (lambda m: LorentzBatchNorm2d(2, manifold=m)(torch.ones(4, 2)), r"\(N, n, H, W\)"),
        (lambda m: LorentzDomainBatchNorm(2, 0, manifold=m), "n_domains must be positive"),
        (lambda m: LorentzDomainBatchNorm(2, 1, manifold=m, unseen="x"), "unseen must be one of"),
    ],
)
def test_bad_arguments_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(Lorentz())


# --------------------------------------------------------------------------- domains


@pytest.fixture
def layer() -> LorentzDomainBatchNorm:
    return LorentzDomainBatchNorm(4, 3, manifold=Lorentz(0.8)).double()


def test_domains_keep_their_own_statistics(layer: LorentzDomainBatchNorm) -> None:
    m = layer.manifold
    x = points(m, (12, 4, 2))
    domain = torch.tensor([0, 2] * 6)
    trained = layer(x, domain)
    for d in (0, 2):
        alone = LorentzBatchNorm1d(4, manifold=m, momentum=1.0).double()
        torch.testing.assert_close(trained[domain == d], alone(x[domain == d]))
        torch.testing.assert_close(layer.running_mean[d], alone.running_mean)
        torch.testing.assert_close(layer.running_dispersion[d], alone.running_dispersion)
    assert layer.num_batches_tracked.tolist() == [1, 0, 1]
    assert not layer.running_mean[1].any()
    # Evaluation by the statistics of the first batch, domain by domain and mixed.
    layer.eval()
    torch.testing.assert_close(layer(x, domain), trained)
    torch.testing.assert_close(layer(x[domain == 2], 2), trained[domain == 2])


def test_domains_average_with_their_momentum(layer: LorentzDomainBatchNorm) -> None:
    means = []
    for seed in range(2):
        x = points(layer.manifold, (6, 4), seed=seed)
        layer(x, 1)
        means.append(layer.manifold.logmap0(mean_point(ambient(x, 0.8), 0.8)[1:]))
    torch.testing.assert_close(layer.running_mean[1], means[0].lerp(means[1], 0.1))


def test_an_unseen_domain_is_an_error_or_taken_from_the_batch() -> None:
    m = Lorentz(0.8)
    x = points(m, (10, 4))
    domain = torch.tensor([0] * 5 + [1] * 5)
    strict = LorentzDomainBatchNorm(4, 2, manifold=m).double()
    strict(x, 0)
    with pytest.raises(ValueError, match=r"needs statistics .* not so domain \[1\]"):
        strict.eval()(x, domain)
    lenient = LorentzDomainBatchNorm(4, 2, manifold=m, unseen="batch").double()
    lenient.load_state_dict(strict.state_dict())
    y = lenient.eval()(x, domain)
    torch.testing.assert_close(y[domain == 0], strict(x[domain == 0], 0))
    torch.testing.assert_close(y[domain == 1], batch_norm(lenient, x[domain == 1], 0.8))


def test_adaptation_sets_one_domain_from_unlabelled_data() -> None:
    m = Lorentz(0.8)
    norm = LorentzDomainBatchNorm(4, 2, manifold=m)
    model = torch.nn.Sequential(torch.nn.Dropout(0.5), norm).double()
    train, target = points(m, (8, 4)), points(m, (8, 4), seed=1) + 0.5
    with use_domain(model, 0):
        model(train)
    before = copy.deepcopy(norm.state_dict())
    model.eval()
    adapt_domain_statistics(model, [target[:4], target[4:]], domain=1)
    assert not norm.training
    assert norm.momentum == 0.1
    assert norm.domain is None
    torch.testing.assert_close(norm.running_mean[0], before["running_mean"][0])
    logs = [m.logmap0(mean_point(ambient(t, 0.8), 0.8)[1:]) for t in (target[:4], target[4:])]
    torch.testing.assert_close(norm.running_mean[1], torch.stack(logs).mean(0))
    with use_domain(model, 1):
        assert torch.isfinite(model(target)).all()
    with pytest.raises(ValueError, match="batches is empty"):
        adapt_domain_statistics(model, [], domain=1)
    with pytest.raises(ValueError, match="no LorentzDomainBatchNorm"):
        adapt_domain_statistics(torch.nn.Linear(2, 2), [target], domain=0)


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        (None, "domain is missing"),
        (3, r"domain must lie in \[0, 3\); got 3"),
        (torch.tensor([0, 1, 5, 0]), r"domain must lie in \[0, 3\); got 5"),
        (torch.tensor([0, 1]), r"shape \(4,\)"),
        (torch.tensor([0.0, 0, 1, 1]), "integer tensor"),
        (torch.tensor([0, 0, 0, 1]), r"more than 1 point .* domain \[1\]"),
    ],
)
def test_bad_domains_are_named(layer: LorentzDomainBatchNorm, domain, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer(torch.randn(4, 4, dtype=torch.float64), domain)
