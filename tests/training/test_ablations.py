"""Optimisers and curvature moves that a training can be compared with."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.base import clone
from torch import nn
from torch.nn import functional as F

from hypeeg.eeg.training_spec import TrainingSpec
from hypeeg.geometry import Lorentz, ManifoldParameter
from hypeeg.optim import RiemannianAdam, RiemannianAdamW, SharpnessAwareCurvature
from hypeeg.optim.coordinates import CoordinateAdamW
from hypeeg.training import HyperbolicClassifier
from hypeeg.training.randomness import spawn_seeds

KINDS = {"radamw": RiemannianAdamW, "radam": RiemannianAdam, "adamw": CoordinateAdamW}
kinds = pytest.mark.parametrize("kind", KINDS)


class Prototypes(nn.Module):
    """Classes by their distance to points on the manifold, which are all that is trained."""

    def __init__(self, n_outputs: int, c: float, learnable: bool) -> None:
        super().__init__()
        self.manifold = Lorentz(c=c, learnable=learnable)
        self.points = ManifoldParameter(torch.randn(n_outputs, 4), self.manifold)
        self.final_layer = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.manifold.expmap0(self.final_layer(x))
        return -self.manifold.dist_pairwise(x, self.points)


class Nearest(HyperbolicClassifier):
    def _module_config(self, X, y):
        return {}

    def _build_module(self, config):
        return Prototypes(config["n_outputs"], self.c, self.curvature != "fixed")


def trained(blobs, **options):
    X, y = blobs
    options = {"max_epochs": 4, "random_state": 0, "device": "cpu", "curvature_lr": 0.05, **options}
    return Nearest(**options).fit(X, y)


def by_hand(blobs, make, epochs=4):
    """Full-batch training without the estimator, by an optimiser of the test's."""
    X, y = (torch.from_numpy(a) for a in (blobs[0], np.unique(blobs[1], return_inverse=True)[1]))
    torch_seed, order_seed, _ = spawn_seeds(0, 3)
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed)
        module = Prototypes(3, 1.0, True)
    optimizer = make(module)
    order = torch.Generator().manual_seed(order_seed)
    for _ in range(epochs):
        index = torch.randperm(len(X), generator=order)
        optimizer.zero_grad()
        F.cross_entropy(module(X[index]), y[index]).backward()
        optimizer.step()
    return module


@kinds
def test_the_optimiser_that_was_asked_for_trains(blobs, kind):
    fitted = trained(blobs, optimizer=kind, weight_decay=0.3)
    assert type(fitted.net_.optimizer_) is KINDS[kind]
    groups = fitted.net_.optimizer_.param_groups
    assert [(g["weight_decay"], g["initial_lr"]) for g in groups] == [(0.3, 2e-3), (0.0, 0.05)]
    assert groups[-1]["params"] == [fitted.module_.manifold.curvature.log_c]
    assert len(set(fitted.curvature_history_)) == 5
    again = trained(blobs, optimizer=kind, weight_decay=0.3)
    assert torch.equal(again.module_.points, fitted.module_.points)


def test_each_goes_another_way(blobs):
    ends = [trained(blobs, optimizer=kind, lr=0.05).module_.points for kind in KINDS]
    ends.append(trained(blobs, curvature_move="none", lr=0.05).module_.points)
    for i, first in enumerate(ends):
        for second in ends[:i]:
            assert (first - second).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        (
            "adamw",
            lambda m: torch.optim.AdamW(
                [
                    {"params": [m.points]},
                    {"params": [m.manifold.curvature.log_c], "lr": 0.05, "weight_decay": 0.0},
                ],
                lr=0.05,
                weight_decay=0.3,
            ),
        ),
        (
            "radam",
            lambda m: RiemannianAdam(m.parameters(), 0.05, weight_decay=0.3, curvature_lr=0.05),
        ),
    ],
)
def test_the_training_is_that_of_the_optimiser_alone(blobs, kind, make):
    fitted = trained(
        blobs, optimizer=kind, lr=0.05, weight_decay=0.3, lr_schedule=None, batch_size=90
    )
    module = by_hand(blobs, make)
    torch.testing.assert_close(fitted.module_.points, module.points, rtol=1e-5, atol=1e-6)
    assert fitted.curvature_ == pytest.approx(module.manifold.curvature.value, rel=1e-6)


def test_on_a_euclidean_network_the_baseline_is_the_default(euclidean, blobs):
    X, y = blobs
    options = {"max_epochs": 3, "weight_decay": 0.2, "random_state": 0, "device": "cpu"}
    first, second, coupled = (
        euclidean(optimizer=kind, **options).fit(X, y).module_.state_dict()
        for kind in ("radamw", "adamw", "radam")
    )
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert not torch.equal(first["final_layer.weight"], coupled["final_layer.weight"])


def test_points_stay_where_a_training_of_the_curvature_alone_leaves_them(blobs):
    """The rate of the points is nil: only the move can shift them."""
    start = by_hand(blobs, lambda m: torch.optim.SGD(m.parameters(), lr=0.0))
    options = {"lr": 1e-30, "curvature_lr": 0.1}
    for move in ({"curvature_move": "none"}, {"optimizer": "adamw", "curvature_move": "scale"}):
        fitted = trained(blobs, **options, **move)
        assert abs(np.log(fitted.curvature_)) > 0.05
        torch.testing.assert_close(fitted.module_.points, start.points, rtol=1e-5, atol=1e-6)
    followed = trained(blobs, **options, curvature_move="scale")
    torch.testing.assert_close(
        followed.module_.points, start.points / followed.curvature_**0.5, rtol=1e-5, atol=1e-6
    )


@kinds
def test_a_sharpness_aware_curvature_goes_around_each(blobs, kind):
    fitted = trained(blobs, optimizer=kind, curvature="sharpness_aware", batch_size=16)
    optimizer = fitted.net_.optimizer_
    assert isinstance(optimizer, SharpnessAwareCurvature)
    assert type(optimizer.optimizer) is KINDS[kind]
    assert optimizer.updates > 2
    assert fitted.curvature_ != 1.0


@kinds
def test_such_models_are_kept(blobs, kind, tmp_path):
    fitted = trained(blobs, optimizer=kind, curvature_move="none", max_epochs=1)
    assert clone(fitted).get_params()["optimizer"] == kind
    loaded = Nearest.load(fitted.save(tmp_path / "model"), device="cpu")
    assert (loaded.optimizer, loaded.curvature_move) == (kind, "none")
    for copied in (loaded, pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(
            copied.predict_proba(blobs[0]), fitted.predict_proba(blobs[0])
        )


def test_no_move_for_a_curvature_that_is_sharpness_aware(blobs):
    options = {"curvature": "sharpness_aware", "curvature_move": "none"}
    with pytest.raises(ValueError, match="curvature_move='none' is not for curvature='sharpness"):
        trained(blobs, **options)
    with pytest.raises(ValidationError, match="curvature_move: none is not for curvature: sharp"):
        TrainingSpec(**options)


def test_as_data():
    spec = TrainingSpec(optimizer="adamw", curvature_move="none")
    assert TrainingSpec.model_validate_json(spec.model_dump_json()) == spec
    assert TrainingSpec().override(TrainingSpec(optimizer="radam")).optimizer == "radam"
    with pytest.raises(ValidationError, match="'radamw', 'radam' or 'adamw'"):
        TrainingSpec(optimizer="sgd")
