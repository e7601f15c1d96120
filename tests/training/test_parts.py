"""Batches, seeds, losses and batch-norm statistics on their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hypeeg.geometry import Lorentz
from hypeeg.nn import LorentzBatchNorm1d
from hypeeg.training.batchnorm import refresh_batch_norm
from hypeeg.training.data import TrialBatches, TrialDataset, split_validation
from hypeeg.training.losses import WeightedCrossEntropy, class_weights
from hypeeg.training.randomness import isolated_rng, resolve_device, spawn_seeds


@pytest.mark.parametrize(
    ("n", "size", "lengths"),
    [(10, 4, [4, 4, 2]), (9, 4, [4, 5]), (8, 4, [4, 4]), (1, 4, [1]), (3, 1, [1, 2])],
)
def test_no_batch_is_a_single_trial_unless_it_is_the_only_one(n, size, lengths):
    data = TrialDataset(np.arange(n, dtype=np.float32)[:, None], np.arange(n))
    for order in (None, torch.Generator().manual_seed(0)):
        batches = TrialBatches(data, size, order)
        drawn = list(batches)
        if size > 1:
            assert [len(X) for X, _ in drawn] == lengths
        assert len(batches) == len(drawn)
        y = torch.cat([y for _, y in drawn])
        assert sorted(y.tolist()) == list(range(n))
        torch.testing.assert_close(torch.cat([X for X, _ in drawn])[:, 0], y.float())


def test_each_pass_has_another_order():
    data = TrialDataset(np.zeros((50, 1)), np.arange(50))
    batches = TrialBatches(data, 10, torch.Generator().manual_seed(0))
    first, second = (torch.cat([y for _, y in batches]).tolist() for _ in range(2))
    assert first != second != list(range(50))


def test_split_keeps_the_classes_in_proportion():
    y = np.repeat([0, 1], [60, 20])
    train, valid = split_validation(y, 0.25, seed=0)
    assert sorted([*train, *valid]) == list(range(80))
    assert np.bincount(y[valid]).tolist() == [15, 5]
    assert not np.array_equal(valid, split_validation(y, 0.25, seed=1)[1])


def test_weighted_loss_against_its_definition():
    rng = np.random.default_rng(0)
    logits, y = rng.standard_normal((12, 3)), np.repeat([0, 1, 2], [2, 4, 6])
    weights = class_weights({"a": 3.0}, np.array(["a", "b", "c"]), y)
    assert weights[y].mean() == pytest.approx(1.0)
    np.testing.assert_allclose(weights / weights[1], [3, 1, 1])
    log_proba = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = -(weights[y] * log_proba[np.arange(12), y]).mean()
    loss = WeightedCrossEntropy(weights)(torch.tensor(logits).float(), torch.tensor(y))
    assert float(loss) == pytest.approx(expected, rel=1e-6)
    # A batch of light trials alone weighs little: torch's own weighted mean would not see that.
    light = WeightedCrossEntropy(weights)(torch.zeros(4, 3), torch.full((4,), 1))
    assert float(light) == pytest.approx(np.log(3) * weights[1], rel=1e-6)


def test_isolated_rng_puts_the_generator_back_even_after_an_error():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with isolated_rng(1, torch.device("cpu")):
        first = torch.rand(3)
    with isolated_rng(1, torch.device("cpu")):
        assert torch.equal(torch.rand(3), first)
    with pytest.raises(ZeroDivisionError), isolated_rng(1, torch.device("cpu")):
        raise ZeroDivisionError
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_are_unrelated_and_repeatable():
    assert spawn_seeds(3, 3) == spawn_seeds(3, 3)
    assert len({*spawn_seeds(3, 3), *spawn_seeds(4, 3)}) == 6


def test_devices():
    assert resolve_device("cpu") == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else None
    if expected:
        assert resolve_device("auto").type == expected
    with pytest.raises(ValueError, match="device='cuda:99' is not available"):
        resolve_device("cuda:99")
    with pytest.raises(ValueError, match="device='meta' is not supported"):
        resolve_device("meta")


def test_refreshed_statistics_are_those_of_the_trials():
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((40, 3)) * [1, 5, 0.1] + [0, 2, -1]).astype(np.float32)
    module = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(3, momentum=0.01))
    refresh_batch_norm(module, TrialDataset(X), 64, "cpu")
    norm = module[1]
    np.testing.assert_allclose(norm.running_mean, X.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(norm.running_var, X.var(axis=0, ddof=1), rtol=1e-5)
    assert norm.momentum == 0.01
    assert not norm.training
    assert not module[0].training


def test_refresh_gives_points_their_centroid_and_dispersion():
    m = Lorentz(0.7)
    X = m.expmap0(torch.randn(40, 3, generator=torch.Generator().manual_seed(0)) + 0.5)
    norm = LorentzBatchNorm1d(3, momentum=0.01, manifold=m)
    refresh_batch_norm(norm, TrialDataset(X.numpy()), 64, "cpu")
    centroid = m.centroid(X)
    torch.testing.assert_close(norm.running_mean, m.logmap0(centroid), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_dispersion, m.dist(X, centroid).mean())
    assert norm.momentum == 0.01


def test_refresh_survives_trials_stored_by_class_and_uneven_batches():
    X = np.repeat([-3.0, 3.0], [65, 65])[:, None].astype(np.float32)
    X += 0.1 * np.random.default_rng(0).standard_normal(X.shape).astype(np.float32)
    norm = nn.BatchNorm1d(1)
    refresh_batch_norm(norm, TrialDataset(X), 64, "cpu")
    # Batches in the stored order would give variances near 0, or one of two trials a third.
    assert float(norm.running_var) == pytest.approx(X.var(), rel=0.05)
    assert float(norm.running_mean) == pytest.approx(0, abs=0.1)


def test_refresh_makes_few_steps_enough(euclidean, blobs):
    X, y = blobs
    options = {"max_epochs": 20, "batch_size": 128, "lr": 0.03, "random_state": 0}
    X = X * 20 + 50  # far from the statistics of initialisation
    stale = euclidean(refresh_batch_norm=False, **options).fit(X, y)
    fresh = euclidean(refresh_batch_norm=True, **options).fit(X, y)
    assert stale.history_[-1]["train_loss"] == fresh.history_[-1]["train_loss"]
    assert stale.score(X, y) < 0.6
    assert fresh.score(X, y) > 0.75
    # Validation sees them too, or early stopping would choose among wrong numbers.
    watched = euclidean(early_stopping=True, validation_fraction=0.3, **options).fit(X, y)
    assert watched.history_[-1]["valid_acc"] > 0.75
