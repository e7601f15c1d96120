"""Networks with batch normalisation by domain: layers against torch, the twin as flat limit."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hypeeg.eeg.models.registry import get_model_class, twin_of
from hypeeg.nn import adapt_domain_statistics, use_domain
from hypeeg.nn.domain_euclidean import DomainBatchNorm
from hypeeg.nn.domain_norm import DomainNorm, domain_layers

FLAT = 1e-12
SHAPE = {"n_chans": 4, "n_outputs": 3, "n_times": 160, "drop_prob": 0.0}


def vectors(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(12, 3), (12, 3, 5), (12, 3, 2, 4)])
def test_variance_is_torchs_batch_norm_of_each_domain(shape: tuple[int, ...]) -> None:
    domain = torch.tensor([0, 2] * 6)
    ours = DomainBatchNorm(3, 3, momentum=None, dispersion="variance").double()
    theirs = {
        d: (nn.BatchNorm1d if len(shape) < 4 else nn.BatchNorm2d)(3, momentum=None).double()
        for d in (0, 2)
    }
    with torch.no_grad():
        for norm in (ours, *theirs.values()):
            norm.weight.copy_(torch.tensor([0.5, 2.0, -1.0]))
            norm.bias.copy_(torch.tensor([1.0, 0.0, -1.0]))
    for training in (True, True, False):
        x = vectors(*shape, seed=int(training)) * 3 + 1
        y = ours.train(training)(x, domain)
        for d, norm in theirs.items():
            torch.testing.assert_close(y[domain == d], norm.train(training)(x[domain == d]))
    for d, norm in theirs.items():
        torch.testing.assert_close(ours.running_mean[d], norm.running_mean)
        torch.testing.assert_close(ours.running_dispersion[d], norm.running_var)
    assert ours.num_batches_tracked.tolist() == [2, 0, 2]


def test_distance_written_out() -> None:
    norm = DomainBatchNorm(3, 2, momentum=0.25).double()
    with torch.no_grad():
        norm.weight.fill_(1.5)
        norm.bias.copy_(torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64))
    x, domain = vectors(8, 3, 4), torch.tensor([0, 0, 0, 1, 1, 1, 1, 0])
    y = norm(x, domain).detach().numpy()
    kept = []
    for d in (0, 1):
        points = x[domain == d].numpy().transpose(0, 2, 1).reshape(-1, 3)
        mean = points.mean(0)
        spread = np.linalg.norm(points - mean, axis=1).mean()
        expected = 1.5 * (points - mean) / (spread + 1e-5) + [0.1, 0.2, 0.3]
        ours = y[domain.numpy() == d].transpose(0, 2, 1).reshape(-1, 3)
        np.testing.assert_allclose(ours, expected, rtol=1e-12)
        np.testing.assert_allclose(norm.running_mean[d], mean, rtol=1e-6, atol=1e-7)
        kept.append(spread)
    np.testing.assert_allclose(norm.running_dispersion, kept, rtol=1e-6)
    norm(2 * x, domain)  # the second batch moves the first's statistics by the momentum
    np.testing.assert_allclose(norm.running_dispersion, 1.25 * np.array(kept), rtol=1e-6)


def test_gradients_of_the_statistics() -> None:
    domain = torch.tensor([0, 0, 1, 1])
    for dispersion in ("distance", "variance"):
        norm = DomainBatchNorm(2, 2, dispersion=dispersion).double()
        x = vectors(4, 2, 3).requires_grad_()
        assert torch.autograd.gradcheck(lambda x, n=norm: n(x, domain), (x,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_domains": 0}, "n_domains must be positive; got 0"),
        ({"unseen": "skip"}, "unseen must be one of"),
        ({"dispersion": "range"}, "dispersion must be one of .*; got 'range'"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DomainBatchNorm(**{"num_features": 3, "n_domains": 2, **arguments})


def test_wrong_input_of_the_layer() -> None:
    norm = DomainBatchNorm(3, 2)
    for x in (torch.zeros(4, 2), torch.zeros(3)):
        with pytest.raises(ValueError, match="num_features = 3 at axis 1"):
            norm(x, 0)
    with pytest.raises(ValueError, match=r"domain must lie in \[0, 2\); got 2"):
        norm(torch.zeros(4, 3), 2)
    with pytest.raises(ValueError, match=r"more than 1 vector in training; not so domain \[1\]"):
        norm(torch.zeros(3, 3), torch.tensor([0, 0, 1]))
    with pytest.raises(ValueError, match=r"needs statistics in evaluation.*not so domain \[0\]"):
        norm.eval()(torch.zeros(4, 3), 0)


def test_an_unseen_domain_of_the_batch() -> None:
    x = vectors(6, 3) + 5
    for dispersion in ("distance", "variance"):
        norm = DomainBatchNorm(3, 2, dispersion=dispersion, unseen="batch").double()
        expected = norm.train()(x, 1)
        fresh = DomainBatchNorm(3, 2, dispersion=dispersion, unseen="batch").double().eval()
        torch.testing.assert_close(fresh(x, 1), expected)
        assert not torch.allclose(norm.eval()(x + 1, 1), expected)  # seen: its own statistics


@pytest.mark.parametrize("name", ["HyperbolicEEGNetDSBN", "EEGNetDSBN"])
def test_the_mean_of_the_source_domains(name: str) -> None:
    torch.manual_seed(0)
    model = get_model_class(name)(**SHAPE, n_domains=4).train()
    x = torch.randn(9, 4, 160)
    model(x, domain=torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2]))
    (norm,) = domain_layers(model)
    norm.reset_domain(1)
    norm.set_to_mean_of(range(3), 3)
    torch.testing.assert_close(
        norm.running_mean[3], (norm.running_mean[0] + norm.running_mean[2]) / 2
    )
    assert norm.running_dispersion[3] == norm.running_dispersion[[0, 2]].mean()
    assert torch.isfinite(model.eval()(x, domain=3)).all()
    with pytest.raises(ValueError, match=r"none of the domains .* has statistics"):
        norm.set_to_mean_of([1], 3)
    with pytest.raises(ValueError, match=r"\[0, 4\); got 4"):
        norm.set_to_mean_of([0], 4)


def pair(n_domains: int) -> tuple[nn.Module, nn.Module]:
    """Return the hyperbolic network without curvature and its twin, weights shared, float64."""
    torch.manual_seed(0)
    ours = get_model_class("HyperbolicEEGNetDSBN")(**SHAPE, n_domains=n_domains).double()
    twin = get_model_class(twin_of("HyperbolicEEGNetDSBN"))(**SHAPE, n_domains=n_domains).double()
    shared = {k: v for k, v in twin.state_dict().items() if k.startswith(("conv", "bnorm"))}
    ours.load_state_dict(shared, strict=False)
    curvature = ours.manifold.curvature
    curvature.bounds = (FLAT, 20.0)
    (norm,), (flat) = domain_layers(ours), twin.domain_norm
    with torch.no_grad():
        curvature.log_c.fill_(math.log(FLAT))
        ours.lorentz_linear_0.weight.copy_(torch.eye(16))
        weight = twin.final_layer.weight
        nn.init.normal_(twin.final_layer.bias)
        ours.final_layer.weight.copy_(weight)
        bias = twin.final_layer.bias / ours.final_layer.temperature / weight.norm(dim=1)
        ours.final_layer.bias.copy_(-bias)
        for part in (norm, flat):
            part.weight.fill_(1.7)
        # The hyperbolic network normalises features that were shrunk on the way.
        norm.eps = flat.eps * ours.rescale.shrink
    return ours, twin


def test_the_twin_is_the_flat_limit() -> None:
    assert twin_of("HyperbolicEEGNetDSBN") == "EEGNetDSBN"
    ours, twin = pair(3)
    x = vectors(12, 4, 160)
    domain = torch.tensor([0, 1, 1] * 4)
    x[domain == 1] *= 4
    logits = twin.train()(x, domain=domain)
    assert logits.std() > 1e-2
    torch.testing.assert_close(ours.train()(x, domain=domain), logits, rtol=1e-6, atol=1e-7)
    for model in (ours, twin):
        adapt_domain_statistics(model, [x[:6] + 1, x[6:] + 1], domain=2)
        model.eval()
    for d in (domain, 2):
        theirs = twin(x, domain=d)
        torch.testing.assert_close(ours(x, domain=d), theirs, rtol=1e-6, atol=1e-7)
    assert not torch.allclose(twin(x, domain=2), twin(x, domain=domain), rtol=1e-3)


def test_the_twins_embedding_and_domains() -> None:
    torch.manual_seed(0)
    model = get_model_class("EEGNetDSBN")(**SHAPE, n_domains=2, F1=4).train()
    x, domain = torch.randn(6, 4, 160), torch.tensor([0, 0, 0, 1, 1, 1])
    model(x, domain)
    model.eval()
    features = model(x, domain, return_features=True)["features"]
    torch.testing.assert_close(model.final_layer(features), model(x, domain))
    with use_domain(model, domain):
        torch.testing.assert_close(model(x), model(x, domain))
    with pytest.raises(ValueError, match="domain is missing"):
        model(x)
    kept = copy.deepcopy(model.state_dict())
    adapt_domain_statistics(model, [3 * x], domain=1)
    changed = [k for k, v in model.state_dict().items() if not torch.equal(v, kept[k])]
    assert changed
    assert all(key.startswith("domain_norm.") for key in changed)
    assert isinstance(model.domain_norm, DomainNorm)
    # Mean distance 1 of every step's vector, then one feature of order one.
    radius = features.unflatten(1, (-1, 8)).norm(dim=-1)[domain == 0].mean()
    assert 0.5 * math.sqrt(8) < radius < 2 * math.sqrt(8)


def test_the_twins_head_with_a_max_norm() -> None:
    torch.manual_seed(0)
    build = get_model_class("EEGNetDSBN")
    model = build(**SHAPE, final_layer_with_constraint=True, norm_rate=0.25)
    model.reset_head(5)
    assert model.final_layer.weight.norm(dim=1).max() <= 0.25 + 1e-6
    assert model(torch.randn(4, 4, 160)).shape == (4, 5)
    per_feature = build(**SHAPE, dispersion="variance")
    assert per_feature.domain_norm.weight.shape == (16,)
    assert torch.isfinite(per_feature(torch.randn(4, 4, 160))).all()
