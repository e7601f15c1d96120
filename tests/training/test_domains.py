"""Domains in training: batches, refreshed statistics, the target, and what is refused."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from hypeeg.geometry import Lorentz
from hypeeg.nn import Lift, LorentzDomainBatchNorm, LorentzMLR, use_domain
from hypeeg.nn.domain_euclidean import DomainBatchNorm
from hypeeg.nn.domain_norm import domain_layers
from hypeeg.training import HyperbolicClassifier
from hypeeg.training.batchnorm import refresh_batch_norm
from hypeeg.training.data import TrialBatches, TrialDataset, split_validation
from hypeeg.training.domains import DomainData


class ByDomain(nn.Module):
    """A linear layer, normalisation by domain, a head."""

    def __init__(self, n_features: int, n_outputs: int, n_domains: int, c: float | None) -> None:
        super().__init__()
        self.body = nn.Linear(n_features, 4)
        self.bnorm = nn.BatchNorm1d(4)
        if c is None:
            self.lift: nn.Module = nn.Identity()
            self.norm: nn.Module = DomainBatchNorm(4, n_domains)
            self.final_layer: nn.Module = nn.Linear(4, n_outputs)
        else:
            manifold = Lorentz(c, True)
            self.lift = Lift(manifold, 0.3)
            self.norm = LorentzDomainBatchNorm(4, n_domains, manifold=manifold)
            self.final_layer = LorentzMLR(4, n_outputs, manifold=manifold)

    def forward(self, x: torch.Tensor, domain: torch.Tensor | None = None) -> torch.Tensor:
        z = self.lift(self.bnorm(self.body(x)))
        return self.final_layer(self.norm(z, domain))


class Estimator(HyperbolicClassifier):
    """Network with domains, where the fit is told of them."""

    space: Any = None

    def fit(self, X, y, **given):
        return self._fit(X, y, DomainData(**given))

    def _module_config(self, X, y):
        return {"n_features": X.shape[1], "n_domains": len(self.domains_) + 1}

    def _build_module(self, config):
        return ByDomain(
            config["n_features"], config["n_outputs"], config["n_domains"], type(self).space
        )


class Hyperbolic(Estimator):
    """The same on the hyperboloid."""

    space = 1.0


@pytest.fixture(params=[Estimator, Hyperbolic])
def kind(request: pytest.FixtureRequest) -> type[Estimator]:
    return request.param


@pytest.fixture
def shifted() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two classes in three domains, each domain with a gain and an offset of its own."""
    rng = np.random.default_rng(0)
    y, domain = np.arange(90) % 2, np.repeat([0, 1, 2], 30)
    X = rng.standard_normal((90, 3)) + 3 * y[:, None] * [1, -1, 0]
    X = X * np.array([1.0, 4.0, 0.3])[domain, None] + np.array([0.0, 9.0, -3.0])[domain, None]
    return X.astype(np.float32), y, domain


@pytest.mark.parametrize("sizes", [(30, 30, 30), (2, 40, 9, 2), (7,), (3, 2), (2,) * 20])
@pytest.mark.parametrize("batch_size", [1, 2, 5, 16, 64, 1000])
def test_batches_hold_two_trials_of_a_domain_at_least(sizes, batch_size):
    domain = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    data = TrialDataset(
        np.arange(len(domain), dtype=np.float32), np.arange(len(domain)), domain=domain
    )
    batches = TrialBatches(data, batch_size, torch.Generator().manual_seed(0))
    orders = []
    for _ in range(2):
        drawn = list(batches)
        assert len(drawn) == len(batches)
        for X, y in drawn:
            assert set(X) == {"x", "domain"}
            assert (torch.unique(X["domain"], return_counts=True)[1] >= 2).all()
            torch.testing.assert_close(X["x"], y.float())
            assert X["domain"].tolist() == domain[y].tolist()
        orders.append(torch.cat([y for _, y in drawn]).tolist())
        assert sorted(orders[-1]) == list(range(len(domain)))
    if len(domain) > 5:
        assert orders[0] != orders[1]


def test_batches_of_many_domains_are_near_their_size_and_few_domains_each():
    domain = np.repeat(np.arange(9), 40)
    data = TrialDataset(np.zeros((360, 1)), domain=domain)
    drawn = [X["domain"] for X, _ in TrialBatches(data, 50, torch.Generator().manual_seed(0))]
    assert len(drawn) == 8  # as many as without domains
    assert all(40 <= len(d) <= 60 for d in drawn)
    assert all(len(d.unique()) <= 5 for d in drawn)
    stored = [X["domain"] for X, _ in TrialBatches(data, 50)]
    assert torch.cat(stored).tolist() == domain.tolist()


def test_refresh_sets_the_domains_that_trials_are_of():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 3)).astype(np.float32)
    domain = np.arange(40) % 2
    X[domain == 1] = 4 * X[domain == 1] + 7
    norm = DomainBatchNorm(3, 3, momentum=0.01)
    norm(torch.from_numpy(X) - 1, 2)
    kept = norm.running_mean[2].clone()

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = norm

        def forward(self, x, domain):
            return self.norm(x, domain)

    refresh_batch_norm(Named(), TrialDataset(X, domain=domain), 64, "cpu")
    for d in (0, 1):
        points = X[domain == d]
        np.testing.assert_allclose(norm.running_mean[d], points.mean(0), rtol=1e-4, atol=1e-5)
        spread = np.linalg.norm(points - points.mean(0), axis=1).mean()
        np.testing.assert_allclose(norm.running_dispersion[d], spread, rtol=1e-5)
    assert torch.equal(norm.running_mean[2], kept)
    assert norm.momentum == 0.01
    assert not norm.training


def test_refresh_of_a_network_of_one_domain():
    X = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32) + 2
    norm = DomainBatchNorm(3, 1, momentum=0.01)
    norm.domain = 0
    refresh_batch_norm(norm, TrialDataset(X), 64, "cpu")
    np.testing.assert_allclose(norm.running_mean[0], X.mean(0), rtol=1e-4)


def test_validation_keeps_classes_of_domains_in_proportion():
    y = np.tile([0, 0, 0, 1], 30)
    domain = np.repeat([0, 1, 2], [24, 36, 60])
    train, valid = split_validation(y, 0.25, 0, domain)
    joint = np.bincount(2 * domain[valid] + y[valid]).tolist()
    assert np.abs(np.array(joint) - [4.5, 1.5, 6.75, 2.25, 11.25, 3.75]).max() < 1
    assert sorted([*train, *valid]) == list(range(120))
    # With too few trials of a class of a domain, classes alone are kept in proportion.
    domain[0] = 9
    _, valid = split_validation(y, 0.25, 0, domain)
    assert np.bincount(y[valid]).tolist() in ([22, 8], [23, 7])


def test_domains_are_normalised_by_themselves_and_the_target_by_its_trials(kind, shifted):
    X, y, domain = shifted
    names = np.array(["b", "a", "c"])[domain]
    source, target = domain < 2, domain == 2
    options = {"max_epochs": 25, "lr": 0.03, "random_state": 0, "device": "cpu", "batch_size": 32}
    fitted = kind(**options).fit(
        X[source], y[source], domains=names[source], X_target_unlabeled=X[target]
    )
    assert fitted.domains_ == ["a", "b"]
    (norm,) = domain_layers(fitted.module_)
    assert (norm.num_batches_tracked > 0).tolist() == [True, True, True]
    assert fitted.score(X[target], y[target]) > 0.9
    # The statistics of source domains are those of their trials at the final weights.
    module = fitted.module_
    with torch.no_grad():
        z = module.lift(module.bnorm(module.body(torch.from_numpy(X[names == "a"]))))
        fresh = type(norm)(4, 1, momentum=None, **_of(norm))
        fresh(z, 0)
    torch.testing.assert_close(norm.running_mean[0], fresh.running_mean[0], rtol=0.05, atol=0.03)
    # A trial is predicted alike in any company, for the target's statistics are kept.
    np.testing.assert_allclose(
        fitted.decision_function(X[target][:1]), fitted.decision_function(X[target])[:1], rtol=1e-4
    )


def _of(norm: nn.Module) -> dict[str, Any]:
    return {"manifold": norm.manifold} if isinstance(norm, LorentzDomainBatchNorm) else {}


def test_a_target_without_trials_is_its_block_or_the_mean_of_the_sources(kind, shifted):
    X, y, domain = shifted
    source, target = domain < 2, X[domain == 2]
    options = {"max_epochs": 3, "random_state": 0, "device": "cpu", "batch_size": 64}
    fit = {"X": X[source], "y": y[source], "domains": domain[source]}
    block = kind(**options).fit(**fit)
    state = {k: v.clone() for k, v in block.module_.state_dict().items()}
    scores = block.decision_function(target)
    adapted = kind(**options).fit(**fit, X_target_unlabeled=target)
    np.testing.assert_array_equal(scores, adapted.decision_function(target))
    np.testing.assert_array_equal(block.transform(target), adapted.transform(target))
    assert np.abs(block.decision_function(target[:5]) - scores[:5]).max() > 1e-3
    for key, value in block.module_.state_dict().items():
        assert torch.equal(value, state[key]), key
    with pytest.raises(ValueError, match=r"X has 1 trial of a domain.*unseen='source'"):
        block.predict(target[:1])
    for key, value in block.module_.state_dict().items():
        assert torch.equal(value, state[key]), key

    mean = kind(**options).fit(**fit, unseen="source")
    (norm,) = domain_layers(mean.module_)
    torch.testing.assert_close(norm.running_mean[2], norm.running_mean[:2].mean(0))
    one_by_one = np.concatenate([mean.decision_function(x[None]) for x in target])
    np.testing.assert_allclose(one_by_one, mean.decision_function(target), rtol=1e-4, atol=1e-6)


def test_labelled_trials_of_the_target_are_trained_on(kind, shifted):
    X, y, domain = shifted
    source, target = domain < 2, domain == 2
    few = np.flatnonzero(target)[:10]
    labels = np.array(["left", "right"])[y]
    fitted = kind(max_epochs=4, random_state=0, device="cpu", batch_size=16).fit(
        X[source],
        labels[source],
        domains=domain[source],
        X_target_labeled=X[few],
        y_target_labeled=labels[few].tolist(),
    )
    assert sum(b["train_batch_size"] for b in fitted.net_.history[-1]["batches"]) == 70
    (norm,) = domain_layers(fitted.module_)
    with torch.no_grad():
        z = fitted.module_.bnorm(fitted.module_.body(torch.from_numpy(X[few])))
        fresh = type(norm)(4, 1, momentum=None, **_of(norm))
        fresh(fitted.module_.lift(z), 0)
    torch.testing.assert_close(norm.running_mean[2], fresh.running_mean[0])
    assert fitted.classes_.tolist() == ["left", "right"]


def test_batch_norm_takes_the_targets_statistics_on_demand(kind, shifted):
    X, y, domain = shifted
    source, target = domain < 2, X[domain == 2]
    fit = {"domains": domain[source], "X_target_unlabeled": target}
    options = {"max_epochs": 3, "random_state": 0, "device": "cpu"}
    plain = kind(**options).fit(X[source], y[source], **fit).module_
    adapted = kind(**options).fit(X[source], y[source], **fit, adapt_batch_norm=True).module_
    with torch.no_grad():
        z = adapted.body(torch.from_numpy(target))
    torch.testing.assert_close(adapted.bnorm.running_mean, z.mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(adapted.bnorm.running_var, z.var(0), rtol=1e-4, atol=1e-5)
    assert torch.equal(plain.body.weight, adapted.body.weight)
    assert not torch.allclose(plain.bnorm.running_mean, z.mean(0), rtol=0.1)
    # What the sources are normalised by stays that of training.
    torch.testing.assert_close(plain.norm.running_mean[:2], adapted.norm.running_mean[:2])


@pytest.mark.parametrize(
    "options", [{"early_stopping": True, "validation_fraction": 0.3}, {"refresh_batch_norm": False}]
)
def test_with_early_stopping_or_running_statistics(kind, shifted, options):
    X, y, domain = shifted
    fitted = kind(max_epochs=12, lr=0.03, random_state=0, batch_size=16, **options).fit(
        X, y, domains=domain, X_target_unlabeled=5 * X[:30] - 1
    )
    if "early_stopping" in options:
        assert fitted.history_[-1]["valid_acc"] > 0.85
    assert fitted.score(5 * X[:30] - 1, y[:30]) > 0.85
    again = kind(max_epochs=12, lr=0.03, random_state=0, batch_size=16, **options).fit(
        X, y, domains=domain, X_target_unlabeled=5 * X[:30] - 1
    )
    np.testing.assert_array_equal(fitted.decision_function(X), again.decision_function(X))


def test_sharpness_passes_leave_no_trace_in_domain_statistics(shifted):
    X, y, domain = shifted
    options = {"max_epochs": 6, "random_state": 0, "device": "cpu", "batch_size": 16}
    options |= {"refresh_batch_norm": False, "curvature": "sharpness_aware"}
    aware = Hyperbolic(**options, curvature_lr=1e-12).fit(X, y, domains=domain)
    optimizer = aware.net_.optimizer_
    assert optimizer.total_steps == optimizer.steps == 36
    assert optimizer.updates > 0
    never = Hyperbolic(**options, sharpness_every=1000).fit(X, y, domains=domain)
    for key, value in never.module_.state_dict().items():
        # A bias before batch norm has no gradient but roundings, which Adam makes steps of.
        atol = 1e-3 if key in ("body.bias", "bnorm.running_mean") else 1e-6
        torch.testing.assert_close(aware.module_.state_dict()[key], value, rtol=1e-5, atol=atol)
    assert (
        aware.module_.norm.num_batches_tracked.sum() == never.module_.norm.num_batches_tracked.sum()
    )


def test_kept_copied_and_cloned(kind, shifted, tmp_path):
    X, y, domain = shifted
    for given in ({}, {"X_target_unlabeled": X[:20] + 1}):
        fitted = kind(max_epochs=2, random_state=0, device="cpu").fit(
            X, y, domains=domain.astype(str), **given
        )
        expected = fitted.decision_function(X)
        for other in (
            kind.load(fitted.save(tmp_path / str(len(given))), device="cpu"),
            pickle.loads(pickle.dumps(fitted)),
        ):
            np.testing.assert_array_equal(other.decision_function(X), expected)
            assert other.domains_ == ["0", "1", "2"]
    again = clone(fitted).fit(X, y, domains=domain.astype(str), **given)
    np.testing.assert_array_equal(again.decision_function(X), expected)


def test_what_is_refused(kind, shifted):
    X, y, domain = shifted
    estimator = kind(max_epochs=1)
    for given, message in (
        ({"domains": domain[:-1]}, "inconsistent numbers of samples"),
        ({"domains": np.r_[domain[:-1], 7]}, "of the domains 7 fewer than two trials"),
        ({"X_target_unlabeled": X[:, :2]}, r"X_target_unlabeled has trials of shape \(2,\)"),
        ({"X_target_unlabeled": X[:1]}, "X_target_unlabeled has 1 trial"),
        ({"X_target_labeled": X[:4]}, "y_target_labeled is missing"),
        ({"y_target_labeled": y[:4]}, "X_target_labeled is missing"),
        ({"X_target_labeled": X[:4], "y_target_labeled": y[:3]}, "inconsistent numbers"),
        ({"X_target_labeled": X[:2], "y_target_labeled": [0, 5]}, r"the labels \[5\], which are"),
        ({"X_target_unlabeled": X[:3] * np.nan}, "X_target_unlabeled contains NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            estimator.fit(X, y, **{"domains": domain, **given})


def test_a_network_without_such_layers_is_named(shifted):
    class Without(Estimator):
        def _build_module(self, config):
            module = super()._build_module(config)
            module.norm = nn.Identity()
            return module

    X, y, domain = shifted
    with pytest.raises(TypeError, match="ByDomain takes n_domains, but holds no layer"):
        Without().fit(X, y, domains=domain)


def test_one_domain_in_a_block_of_use(shifted):
    X, y, domain = shifted
    fitted = Estimator(max_epochs=1, random_state=0, device="cpu").fit(X, y, domains=domain)
    with torch.no_grad(), use_domain(fitted.module_, 0):
        scores = fitted.module_(torch.from_numpy(X[:4]))
    assert torch.isfinite(scores).all()
