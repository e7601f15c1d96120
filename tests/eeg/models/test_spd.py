"""Networks of spd-learn as braindecode's models, and batch norm of matrices by domain."""

from __future__ import annotations

import json
import pickle
import sys

import numpy as np
import pytest
import torch
from scipy.linalg import expm, inv, logm, sqrtm
from torch import nn

from hypeeg.eeg.models.registry import BASELINES, get_model_class, is_hyperbolic
from hypeeg.nn.domain_norm import adapt_domain_statistics

pytest.importorskip("spd_learn")
NAMES = list(BASELINES)
SHAPE = {"n_chans": 4, "n_outputs": 3, "n_times": 200}
SMALL = {
    "TSMNet": {"n_spatiotemp_filters": 8, "n_bimap_filters": 4},
    "MAtt": {"temporal_out_channels": 6, "attention_out_features": 4},
}


def build(name, **kwargs):
    torch.manual_seed(0)
    return get_model_class(name)(**{**SHAPE, **SMALL[name], **kwargs})


def trials(n=6):
    return torch.randn(n, 4, 200, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_spd_learns(name):
    import spd_learn.models

    torch.manual_seed(0)
    theirs = getattr(spd_learn.models, name)(n_chans=4, n_outputs=3)
    torch.manual_seed(0)
    ours = get_model_class(name)(**SHAPE)
    for training in (True, False):
        assert torch.equal(ours.train(training)(trials()), theirs.train(training)(trials()))
    # Their weights load under braindecode's names.
    other = get_model_class(name)(**SHAPE)
    weights = {k: v.reshape(other_shape(other, k, v)) for k, v in theirs.state_dict().items()}
    other.load_state_dict(weights)
    assert torch.equal(other.eval()(trials()), theirs.eval()(trials()))


def other_shape(model, key, value):
    known = model.state_dict()
    return known[key].shape if key in known else value.shape


@pytest.mark.parametrize("name", NAMES)
def test_what_braindecode_expects(name):
    model = build(name).eval()
    assert not is_hyperbolic(name)
    config = json.loads(json.dumps(model.get_config()))
    rebuilt = type(model).from_config(config).eval()
    rebuilt.load_state_dict(model.state_dict())
    assert torch.equal(rebuilt(trials()), model(trials()))
    features = model(trials(), return_features=True)["features"]
    torch.testing.assert_close(model.final_layer(features), model(trials()))
    model.reset_head(5)
    assert model(trials()).shape == (6, 5)
    assert torch.equal(model(trials(), return_features=True)["features"], features)
    with pytest.raises(ValueError, match=r"n_chans=4, n_times=200"):
        model(torch.zeros(2, 5, 200))
    with pytest.raises(ValueError, match="n_times=3 is too short"):
        build(name, n_times=3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(trials()).dtype == torch.float32
    assert model.double()(trials().double()).dtype == torch.float64


@pytest.mark.parametrize("name", NAMES)
def test_without_the_library_the_message_holds_the_command(name, monkeypatch):
    for module in [m for m in sys.modules if m.partition(".")[0] == "spd_learn"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [_Without("spd_learn"), *sys.meta_path])
    with pytest.raises(ImportError, match=rf"{name} needs spd-learn.*hypeeg\[baselines\]"):
        build(name)


class _Without:
    def __init__(self, name):
        self.name = name

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.name:
            raise ModuleNotFoundError(f"No module named {self.name!r}", name=self.name)
        return None


def matrices(n, size=3, seed=0, dtype=torch.float64):
    a = torch.randn(n, size, 2 * size, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return a @ a.mT / size


def statistics(x):
    """One Karcher step from the arithmetic mean, and the mean squared distance to it."""
    mean = x.mean(0)
    root = sqrtm(mean).real
    tangent = np.mean([logm(inv(root) @ m @ inv(root)) for m in x], axis=0)
    mean = root @ expm(tangent) @ root
    to_identity = inv(sqrtm(mean).real)
    logs = np.array([logm(to_identity @ m @ to_identity) for m in x])
    return mean, np.square(logs).sum((1, 2)).mean(), logs


def test_each_domain_is_whitened_by_its_own_statistics():
    from hypeeg.eeg.models.spd import SPDDomainBatchNorm

    layer = SPDDomainBatchNorm(3, 3).double().train()
    with torch.no_grad():
        layer.log_weight.fill_(0.3)
    x = matrices(7)
    x[4:] *= 5
    domain = torch.tensor([0, 1, 0, 0, 1, 1, 1])
    y = layer(x, domain).detach().numpy()
    for d in (0, 1):
        members = (domain == d).numpy()
        mean, spread, logs = statistics(x.numpy()[members])
        expected = [expm(np.exp(0.3) / np.sqrt(spread + 1e-5) * m) for m in logs]
        np.testing.assert_allclose(y[members], expected, rtol=1e-6)
        # The first batch of a domain is its statistics.
        np.testing.assert_allclose(
            layer.running_mean[d].reshape(3, 3).numpy(), logm(mean), atol=1e-8
        )
        np.testing.assert_allclose(layer.running_dispersion[d], spread, rtol=1e-8)
    assert layer.num_batches_tracked.tolist() == [1, 1, 0]
    before = layer.running_mean[2].clone()
    second = matrices(4, seed=3)
    layer(second, 1)
    mean, spread, _ = statistics(second.numpy())
    np.testing.assert_allclose(
        layer.running_mean[1].reshape(3, 3).numpy(),
        0.9 * logm(statistics(x.numpy()[(domain == 1).numpy()])[0]) + 0.1 * logm(mean),
        atol=1e-8,
    )
    assert torch.equal(layer.running_mean[2], before)


def test_evaluation_uses_what_was_kept():
    from hypeeg.eeg.models.spd import SPDDomainBatchNorm

    layer = SPDDomainBatchNorm(3, 2).double().train()
    x = matrices(5)
    trained = layer(x, 0)
    layer.eval()
    torch.testing.assert_close(layer(x, 0), trained)
    torch.testing.assert_close(layer(x[:1], 0), trained[:1])
    with pytest.raises(ValueError, match="needs statistics in evaluation"):
        layer(x, 1)
    layer.unseen = "batch"
    torch.testing.assert_close(layer(x, 1), trained)
    with pytest.raises(ValueError, match="must have shape"):
        layer(x[:, :2], 0)


def test_one_matrix_of_a_domain_leaves_its_statistics():
    from hypeeg.eeg.models.spd import SPDDomainBatchNorm

    layer = SPDDomainBatchNorm(3, 2).double().train()
    layer(matrices(5), 0)
    kept = layer.running_mean.clone(), layer.running_dispersion.clone()
    one = matrices(1, seed=4)
    lone = layer(one, 0)
    assert torch.equal(layer.running_mean, kept[0])
    assert torch.equal(layer.running_dispersion, kept[1])
    torch.testing.assert_close(lone, layer.eval()(one, 0))


def test_gains_of_domains_are_undone():
    """The same trials at another gain are another domain: the logits agree."""
    model = build("TSMNet", n_domains=2).train()
    x = trials()
    model(torch.cat([x, 3 * x]), domain=torch.tensor([0] * 6 + [1] * 6))
    adapt_domain_statistics(model, [x], 0)
    adapt_domain_statistics(model, [3 * x], 1)
    model.eval()
    torch.testing.assert_close(model(3 * x, domain=1), model(x, domain=0), rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="domain is missing"):
        model(x)


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_under_the_estimator(name):
    from hypeeg import HypEEGClassifier

    rng = np.random.default_rng(0)
    y = np.array(["a", "b"] * 16)
    X = rng.standard_normal((32, 4, 200)).astype(np.float32)
    X[y == "a", 0] *= 3
    X[y == "b", 1] *= 3
    fitted = HypEEGClassifier(
        name, model_params=SMALL[name], max_epochs=12, lr=1e-2, random_state=0, device="cpu"
    ).fit(X, y)
    assert fitted.score(X, y) > 0.9
    assert fitted.curvature_ is None
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    gradients = [p.grad for p in fitted.module_.parameters() if p.requires_grad]
    assert all(g is None or torch.isfinite(g).all() for g in gradients)


def test_domains_reach_it_through_the_pipeline():
    """A person whose channels are louder, predicted with statistics of unlabelled trials."""
    from hypeeg.eeg.pipeline_spec import PipelineSpec, TrainingSpec
    from hypeeg.eeg.pipelines import build_pipeline

    rng = np.random.default_rng(0)
    y = np.array(["a", "b"] * 30)
    X = rng.standard_normal((60, 4, 200)).astype(np.float32)
    X[y == "a", 0] *= 2
    X[y == "b", 1] *= 2
    who = np.repeat([1, 2, 3], 20)
    for person, gain in ((1, 1.0), (2, 0.3), (3, 4.0)):
        X[who == person] *= gain * np.exp(0.7 * rng.standard_normal((1, 4, 1)))
    spec = PipelineSpec(
        name="a",
        model="TSMNet",
        params=SMALL["TSMNet"],
        training=TrainingSpec(max_epochs=15, lr=1e-2, domain="subject"),
        standardise="none",
    )
    train, test = who < 3, who == 3
    fitted = build_pipeline(spec, device="cpu", random_state=0).fit(
        X[train], y[train], subjects=who[train], X_target_unlabeled=X[test][:10]
    )
    assert isinstance(fitted[-1].module_, nn.Module)
    assert fitted[-1].module_.spdbnorm.n_domains == 3
    assert (fitted.predict(X[test]) == y[test]).mean() > 0.8
