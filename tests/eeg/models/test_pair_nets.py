"""Networks of channel pairs: the flat limit, options for ablations, subjects as domains."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hypeeg import HypEEGClassifier
from hypeeg.eeg.models.pair_net import Prototypes
from hypeeg.eeg.models.pieces import TangentRescale
from hypeeg.eeg.models.registry import get_model_class, twin_of
from hypeeg.geometry import Lorentz
from hypeeg.nn import Lift, adapt_domain_statistics
from hypeeg.nn.domain_norm import domain_layers

FLAT = 1e-12
SFREQ = 64.0
SHAPE = {"n_chans": 3, "n_outputs": 3, "n_times": 128, "sfreq": SFREQ, "embedding_dim": 6}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"bands": [[8, 12], [14, 16]], "shrinkage": 0.1},
    {"n_filters": 4, "n_domains": 2},
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    return get_model_class(name)(**{**SHAPE, **options})


def trials(n: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, 3, 128, generator=generator, dtype=torch.float64)
    return x * torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64).view(3, 1)


def flatten(manifold: Lorentz) -> None:
    """Leave a space next to no curvature, below what models allow."""
    manifold.curvature.bounds = (FLAT, 20.0)
    with torch.no_grad():
        manifold.curvature.log_c.fill_(math.log(FLAT))


def pair(head: str, **options: Any) -> tuple[Any, Any]:
    """Return the hyperbolic network and its twin in float64, weights shared, without dropout."""
    ours = build("LorentzPairNet", head=head, drop_prob=0.0, **options).double()
    kept = ("plane_curvature", "rescale_slope")
    options = {key: value for key, value in options.items() if key not in kept}
    twin = build("PairNet", head=head, drop_prob=0.0, **options).double()
    shared = {k: v for k, v in twin.state_dict().items() if not k.startswith("final_layer")}
    missing, unexpected = ours.load_state_dict(shared, strict=False)
    assert unexpected == []
    assert all("final_layer" in k or "curvature" in k for k in missing)
    with torch.no_grad():
        if head == "prototypes":
            nn.init.normal_(twin.final_layer.prototypes)
            ours.final_layer.prototypes.copy_(ours.rescale.shrink * twin.final_layer.prototypes)
        else:
            weight = twin.final_layer.weight
            nn.init.normal_(twin.final_layer.bias)
            ours.final_layer.weight.copy_(weight)
            bias = twin.final_layer.bias / ours.final_layer.temperature / weight.norm(dim=1)
            ours.final_layer.bias.copy_(-bias)
    return ours, twin


def assert_equal_networks(ours: Any, twin: Any, options: dict[str, Any]) -> None:
    several = options.get("n_domains", 1) > 1
    given = {"domain": torch.tensor([0, 1, 1, 0] * 2)} if several else {}
    for training in (True, False):  # statistics of the batch, then the kept ones
        logits = twin.train(training)(trials(), **given)
        assert logits.std() > 1e-2
        close = {"rtol": 1e-6, "atol": 1e-6}
        torch.testing.assert_close(ours.train(training)(trials(), **given), logits, **close)


@pytest.mark.parametrize("head", ["mlr", "prototypes"])
@pytest.mark.parametrize("options", OPTIONS)
def test_the_twin_is_the_flat_limit(head: str, options: dict[str, Any]) -> None:
    assert twin_of("LorentzPairNet") == "PairNet"
    ours, twin = pair(head, **options)
    flatten(ours.coordinates.norm.manifold)
    flatten(ours.manifold)
    assert_equal_networks(ours, twin, options)
    curved, _ = pair(head, **options)
    given = {"domain": 0} if options.get("n_domains", 1) > 1 else {}
    assert not torch.allclose(curved(trials(), **given), twin.train()(trials(), **given), rtol=1e-2)


@pytest.mark.parametrize("head", ["mlr", "prototypes"])
def test_planes_without_curvature_are_the_twins(head: str) -> None:
    """The head alone is hyperbolic; nothing but it differs from the twin."""
    ours, twin = pair(head, plane_curvature=0, rescale_slope=None)
    assert ours.coordinates.norm.manifold is None
    torch.testing.assert_close(ours.coordinates(trials()), twin.coordinates(trials()))
    curved, _ = pair(head)
    assert not torch.allclose(curved.coordinates(trials()), ours.coordinates(trials()), rtol=1e-2)
    flatten(ours.manifold)
    assert_equal_networks(ours, twin, {})
    with pytest.raises(ValueError, match=r"must lie in \[0.05, 20.0\]; got -1"):
        build("LorentzPairNet", plane_curvature=-1.0)


@pytest.mark.parametrize("c", [0.3, 1.0])
def test_no_rescaling_scales_alone(c: float) -> None:
    manifold = Lorentz(c)
    part = TangentRescale(manifold, 0.6, None)
    assert part.shrink == 0.6
    x = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(part(x), 0.6 * x, rtol=0, atol=0)
    assert torch.equal(part(torch.zeros(2, 5)), torch.zeros(2, 5))
    columns = TangentRescale(manifold, 0.6, None, axis=1)
    far = torch.cat([x, 1e6 * x])
    torch.testing.assert_close(columns(far.T.unsqueeze(0))[0].T, part(far))
    for dtype, longest in ((torch.float32, 40.0), (torch.float64, 300.0)):
        far = (1e6 * x).to(dtype).requires_grad_()
        z = part(far)
        expected = torch.full((40,), longest / math.sqrt(c), dtype=dtype)
        torch.testing.assert_close(z.norm(dim=-1), expected)
        torch.testing.assert_close(
            nn.functional.cosine_similarity(z, far), torch.ones_like(expected)
        )
        point = Lift(manifold)(z)
        assert torch.isfinite(point.square().sum(-1)).all()
        point.log1p().nansum().backward()
        assert torch.isfinite(far.grad).all()
    assert "slope=None" in repr(part)


@pytest.mark.parametrize("head", ["mlr", "prototypes"])
def test_a_network_without_rescaling(head: str) -> None:
    options = {"rescale_slope": None, "plane_curvature": 0.5, "head": head, "lift_scale": 0.9}
    model = build("LorentzPairNet", **options).train()
    assert model.final_layer.temperature == pytest.approx(0.81 if head == "prototypes" else 1 / 0.9)
    config = json.loads(json.dumps(model.get_config()))
    assert {key: config[key] for key in options} == options
    rebuilt = type(model).from_config(config).eval()
    rebuilt.load_state_dict(model.state_dict())
    x = trials().float()
    assert torch.equal(rebuilt(x), model.eval()(x))
    short = build("LorentzPairNet", **{**options, "rescale_slope": 3.0}).eval()
    reach = {
        m: m.manifold.dist0(m(x, return_features=True)["features"]).max() for m in (model, short)
    }
    assert reach[model] > 1.1 * reach[short]
    with torch.no_grad():
        model.project.weight.mul_(1e5)
    for given in (x, 1e4 * x, torch.zeros_like(x)):
        given = given.clone().requires_grad_()
        logits = model.train()(given)
        nn.functional.cross_entropy(logits, torch.arange(8) % 3).backward()
        assert torch.isfinite(logits).all()
        assert torch.isfinite(given.grad).all()
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        assert all(torch.isfinite(g).all() for g in grads)
        assert torch.isfinite(model.eval()(given)).all()


def test_prototypes_of_the_twin() -> None:
    layer = Prototypes(4, 3).double()
    x = torch.randn(5, 4, dtype=torch.float64)
    expected = -torch.cdist(x, layer.prototypes).square()
    torch.testing.assert_close(layer(x), expected)
    model = build("PairNet", head="prototypes").double()
    model.reset_head(5)
    assert model.final_layer.prototypes.shape == (5, 6)
    assert model.final_layer.prototypes.dtype == torch.float64
    assert model.eval()(trials()).shape == (8, 5)


@pytest.mark.parametrize("name", ["LorentzPairNet", "PairNet"])
def test_wrong_options(name: str) -> None:
    for wrong, message in (
        ({"sfreq": None}, "sfreq"),
        ({"n_filters": 1}, "n_filters must be at least 2"),
        ({"bands": [(40, 50)]}, "half of sfreq=64"),
        ({"n_chans": 1}, "n_chans=1: pairs need at least two channels"),
        ({"head": "softmax"}, "head must be"),
        ({"n_domains": 0}, "n_domains must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            build(name, **wrong)


@pytest.mark.parametrize("name", ["LorentzPairNet", "PairNet"])
def test_domains_of_a_batch_are_normalised_apart(name: str) -> None:
    model = build(name, n_domains=3, drop_prob=0.0).double().train()
    x, domain = trials(), torch.tensor([0, 2, 2, 0] * 2)
    mixed = model(x, domain=domain)
    for d in (0, 2):
        torch.testing.assert_close(model(x[domain == d], domain=d), mixed[domain == d])
    with pytest.raises(ValueError, match="domain is missing"):
        model(x)
    (norm,) = domain_layers(model)
    with pytest.raises(ValueError, match=r"needs statistics in evaluation.*not so domain \[1\]"):
        model.eval()(x, domain=1)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    adapt_domain_statistics(model, [5 * x], domain=1)
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, state[k])}
    buffers = ("running_mean", "running_dispersion", "num_batches_tracked")
    assert changed == {f"coordinates.norm.{key}" for key in buffers}
    assert torch.equal(norm.running_mean[0], state["coordinates.norm.running_mean"][0])
    model.eval()
    out = model(x, domain=domain, return_features=True)["features"]
    torch.testing.assert_close(model.final_layer(out), model(x, domain=domain))


def recording(n: int, seed: int, mixing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a 10 Hz rhythm at channel 0 or 1 by class, the channels mixed."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    time = np.arange(128) / SFREQ
    X = rng.standard_normal((n, 3, 128))
    phase = rng.uniform(0, 2 * np.pi, n)
    X[np.arange(n), y] += 1.5 * np.sin(2 * np.pi * 10 * time + phase[:, None])
    return (mixing @ X).astype(np.float32), np.array(["left", "right"])[y]


@pytest.mark.parametrize("name", ["LorentzPairNet", "PairNet"])
def test_unlabelled_trials_of_a_new_subject_undo_its_shift(name: str) -> None:
    gains = [(1, 1, 1), (2.5, 0.7, 1), (0.6, 2, 1), (1.5, 1.5, 1)]
    parts = [recording(24, i, np.diag(gain)) for i, gain in enumerate(gains)]
    X, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    subjects = np.repeat(list("abcd"), 24)
    target, labels = recording(60, 9, np.diag([0.3, 5.0, 1.0]))
    calibration, test, labels = target[:30], target[30:], labels[30:]
    options = {
        # One band: its ratio to others would tell the rhythm from the gain.
        "model_params": {"bands": [[8, 12]], "embedding_dim": 6, "drop_prob": 0.2},
        "sfreq": SFREQ,
        "max_epochs": 12,
        "batch_size": 32,
        "lr": 1e-2,
        "random_state": 0,
        "device": "cpu",
    }
    without = HypEEGClassifier(name, **options).fit(X, y)
    assert without.score(X, y) > 0.8
    assert without.score(test, labels) < 0.8
    adapted = HypEEGClassifier(name, domain="subject", **options).fit(
        X, y, subjects=subjects, X_target_unlabeled=calibration
    )
    assert adapted.module_config_["n_domains"] == 5
    assert adapted.score(test, labels) > 0.95
