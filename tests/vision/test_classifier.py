"""Networks of images: shapes, twins, augmentation, and the estimator around them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone

from hypeeg.geometry import Lorentz
from hypeeg.vision import HybridResNet, HypVisionClassifier, LorentzResNet, ResNet
from hypeeg.vision.augmentation import CropFlip
from hypeeg.vision.euclidean import EuclideanPrototypes
from hypeeg.vision.names import MODELS
from hypeeg.vision.synthetic import synthetic_shapes

TINY = {"blocks": [1, 1], "widths": [4, 8]}
NETWORKS = {"LorentzResNet": LorentzResNet, "HybridResNet": HybridResNet, "ResNet": ResNet}


def fitted(model="HybridResNet", params=None, **changes):
    data = synthetic_shapes(6, 2)
    options = {"max_epochs": 2, "batch_size": 24, "random_state": 0, "device": "cpu", **changes}
    clf = HypVisionClassifier(model, model_params={**TINY, **(params or {})}, **options)
    return clf.fit(data.X[~data.is_test], data.y[~data.is_test]), data


@pytest.mark.parametrize("head", ["mlr", "prototypes"])
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("model", MODELS)
def test_shapes(model, stem, head):
    network = NETWORKS[model](7, (1, 2), (4, 6), in_channels=2, stem=stem, head=head)
    logits = network(torch.randn(3, 2, 16, 16))
    assert logits.shape == (3, 7)
    logits.square().mean().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_twins_have_the_same_weights():
    def sizes(network):
        return sorted(p.numel() for p in network.parameters() if p.requires_grad)

    flat = sizes(ResNet(7, (1, 1), (4, 8)))
    hybrid = sizes(HybridResNet(7, (1, 1), (4, 8), manifold=Lorentz(1.0, learnable=False)))
    assert hybrid == flat
    # Every convolution of the fully hyperbolic one has as many kernels.
    lorentz = LorentzResNet(7, (1, 1), (4, 8))
    kernels = [p.numel() for n, p in lorentz.named_parameters() if p.dim() == 4]
    twin = [p.numel() for p in ResNet(7, (1, 1), (4, 8)).parameters() if p.dim() == 4]
    assert sorted(kernels) == sorted(twin)


def test_hybrid_network_tends_to_its_twin_as_curvature_vanishes():
    torch.manual_seed(0)
    hybrid = HybridResNet(5, (1,), (4,), manifold=Lorentz(1e-6, bounds=(1e-7, 1.0))).double().eval()
    twin = ResNet(5, (1,), (4,)).double().eval()
    twin.features.load_state_dict(hybrid.features.state_dict())
    head = hybrid.final_layer.classifier
    twin.final_layer.load_state_dict({"weight": head.weight, "bias": head.bias})
    x = torch.randn(6, 3, 8, 8, dtype=torch.float64)
    expected = twin(x)
    assert (hybrid(x) - expected).abs().max() < 2e-3 * expected.abs().max()
    curved = HybridResNet(5, (1,), (4,), manifold=Lorentz(4.0, learnable=False)).double().eval()
    curved.load_state_dict(
        {**curved.state_dict(), **{k: v for k, v in hybrid.state_dict().items() if "curv" not in k}}
    )
    # Weights that have learned nothing keep features near the origin, where c matters little.
    x, expected = 100 * x, twin(100 * x)
    assert (curved(x) - expected).abs().max() > 2e-2 * expected.abs().max()


def test_flat_prototypes_are_nearest_means():
    head = EuclideanPrototypes(3, 4)
    x = torch.randn(5, 3)
    expected = -torch.cdist(x, head.prototypes).square()
    torch.testing.assert_close(head(x), expected)


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (ResNet, {"blocks": (1,), "widths": (4, 8)}, "one entry for each stage"),
        (ResNet, {"blocks": (0,), "widths": (4,)}, "each at least 1"),
        (HybridResNet, {"head": "linear"}, "head must be one of"),
        (ResNet, {"embedding_dim": 0}, "embedding_dim must be positive"),
    ],
)
def test_bad_arguments_are_named(network, options, message):
    with pytest.raises(ValueError, match=message):
        network(3, **options)


def numbered(n=64, channels=2, height=5, width=6):
    """Images in which every pixel has a number of its own, from 1."""
    size = channels * height * width
    return torch.arange(1, n * size + 1, dtype=torch.float32).reshape(n, channels, height, width)


def test_flip_mirrors_every_second_image():
    x, y = numbered(), torch.arange(64)
    changed, same = CropFlip(flip=True, seed=1)(x, y)
    assert same is y
    mirrored = [torch.equal(a, b.flip(-1)) for a, b in zip(changed, x, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(changed, x, strict=True)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert 16 < sum(mirrored) < 48


def test_crop_shifts_and_fills_with_zeros():
    x = numbered()
    changed, _ = CropFlip(crop=2, seed=1)(x, torch.zeros(64))
    assert changed.shape == x.shape
    shifts = set()
    padded = torch.nn.functional.pad(x, (2,) * 4)
    for image, source in zip(changed, padded, strict=True):
        found = [
            (i, j)
            for i in range(5)
            for j in range(5)
            if torch.equal(image, source[:, i : i + 5, j : j + 6])
        ]
        assert len(found) == 1
        shifts.update(found)
    assert {i for i, _ in shifts} == {j for _, j in shifts} == set(range(5))
    again, _ = CropFlip(crop=2, seed=1)(x, torch.zeros(64))
    assert torch.equal(again, changed)


def test_negative_crop_is_refused():
    with pytest.raises(ValueError, match="crop=-1"):
        CropFlip(crop=-1)


@pytest.mark.parametrize("model", MODELS)
def test_estimator_saves_and_repeats_itself(model, tmp_path):
    clf, data = fitted(model, crop=1, flip=True, curvature="learned")
    again, _ = fitted(model, crop=1, flip=True)
    X = data.X[data.is_test]
    scores = clf.predict_proba(X)
    np.testing.assert_array_equal(scores, again.predict_proba(X))
    other, _ = fitted(model)
    assert not np.array_equal(scores, other.predict_proba(X))  # images were changed in training
    loaded = HypVisionClassifier.load(clf.save(tmp_path / "model"), device="cpu")
    np.testing.assert_array_equal(scores, loaded.predict_proba(X))
    np.testing.assert_array_equal(clf.transform(X), loaded.transform(X))
    assert loaded.classes_.tolist() == sorted(data.classes)
    assert clf.transform(X).shape == (24, 8)
    hyperbolic = model != "ResNet"
    assert (clf.curvature_ is not None) == hyperbolic
    assert len(clf.curvature_history_) == (3 if hyperbolic else 0)
    assert clone(clf).get_params()["crop"] == 1


def test_images_are_standardised_by_the_training_images():
    clf, data = fitted()
    train = data.X[~data.is_test].astype(float)
    np.testing.assert_allclose(clf.module_.mean.flatten(), train.mean(axis=(0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(clf.module_.scale.flatten(), train.std(axis=(0, 2, 3)), rtol=1e-5)
    # So that brighter images of another scale are the same images to a new fit.
    X, y = data.X[~data.is_test].astype(np.float32), data.y[~data.is_test]
    one = clone(clf).fit(X, y).predict_proba(X)
    two = clone(clf).fit(2 * X + 10, y).predict_proba(2 * X + 10)
    np.testing.assert_allclose(one, two, atol=2e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "VGG"}, "model='VGG' is unknown; use one of LorentzResNet"),
        ({"model_params": {"depth": 3}}, "'depth', which HybridResNet does not take"),
        ({"model_params": {"manifold": None}}, "'manifold', which HybridResNet does not take"),
    ],
)
def test_wrong_networks_are_named(options, message):
    data = synthetic_shapes(2, 1)
    with pytest.raises(ValueError, match=message):
        HypVisionClassifier(**options).fit(data.X, data.y)


def test_tables_and_other_sizes_are_refused():
    clf, data = fitted()
    with pytest.raises(ValueError, match=r"X has shape \(4, 3\); give images"):
        HypVisionClassifier().fit(np.zeros((4, 3)), [0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"shape \(3, 8, 8\).*\(3, 16, 16\)"):
        clf.predict(data.X[:2, :, :8, :8])


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_shapes_are_learned(model):
    data = synthetic_shapes()
    clf = HypVisionClassifier(
        model,
        model_params={"blocks": [1, 1], "widths": [8, 16]},
        **{"max_epochs": 20, "batch_size": 48, "lr": 2e-2, "crop": 1, "flip": True},
        random_state=0,
        device="cpu",
    ).fit(data.X[~data.is_test], data.y[~data.is_test])
    right = clf.predict(data.X[data.is_test]) == data.y[data.is_test]
    assert right.mean() > 0.45  # chance is 0.08
