"""Transforms of training batches: what they change, whom they spare, and wrong requests."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from braindecode import augmentation as library

from hypeeg import HypEEGClassifier
from hypeeg.eeg.augmentation import MIXING, check_augmentation, make_augmentation
from hypeeg.eeg.pipeline_spec import PipelineSpec, TrainingSpec
from hypeeg.eeg.pipelines import build_pipeline
from hypeeg.eeg.training_spec import AUGMENTATIONS

CHANNELS = ["C3", "Cz", "C4", "Pz", "Fz", "Oz", "T7", "T8"]


def trials(n: int = 12, n_chans: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, n_chans, 128)).astype("float32")
    return X, np.array(["a", "b"] * (n // 2))


def test_the_list_is_all_that_braindecode_has_but_mixup():
    found = {
        name
        for name, cls in inspect.getmembers(library, inspect.isclass)
        if issubclass(cls, library.Transform)
        and "probability" in inspect.signature(cls).parameters
        and "operation" not in inspect.signature(cls).parameters
    }
    assert set(AUGMENTATIONS) == found - {
        "Transform",
        "IdentityTransform",
        "Mixup",
        "SensorsRotation",
    }


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_transform_is_made_by_its_name_and_changes_trials(name):
    X = torch.from_numpy(trials()[0])
    y = torch.arange(12)
    if name in MIXING:
        y = y % 2
    options = {"electrodes_per_band": 4} if name == "BandRotation" else {}
    step = {"name": name, "probability": 1.0, **options}
    augment = make_augmentation([step], sfreq=128.0, ch_names=CHANNELS, seed=3)
    changed, labels = augment(X, y)
    assert changed.shape == X.shape
    assert changed.dtype == torch.float32
    assert not torch.equal(changed, X)
    assert sorted(labels.tolist()) == sorted(y.tolist())  # trials and labels may change places
    again, _ = make_augmentation([step], sfreq=128.0, ch_names=CHANNELS, seed=3)(X, y)
    assert torch.equal(again, changed)


def test_transforms_act_in_order_with_their_arguments():
    X = torch.from_numpy(trials()[0])
    flip = {"name": "SignFlip", "probability": 1.0}
    scale = {"name": "AmplitudeScale", "probability": 1.0, "interval": (2.0, 2.0)}
    augment = make_augmentation([flip, "TimeReverse", scale], sfreq=None, ch_names=None, seed=0)
    changed, _ = augment(X, torch.zeros(12))
    reversed_too = (changed == -2 * X.flip(-1)).flatten(1).all(1)
    assert 0 < reversed_too.sum() < 12  # half of them by default
    assert torch.equal(changed[~reversed_too], -2 * X[~reversed_too])


def test_fit_trains_on_changed_trials_and_predicts_given_ones(monkeypatch):
    """Training batches are all sign-flipped; predictions, validation and batch norm see X."""
    X, y = trials(24)
    seen: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    from braindecode.models import EEGNet

    forward = EEGNet.forward

    def spy(self, x, *args, **kwargs):
        if x.any():  # the class itself tries its layers on zeros
            seen[self.training and torch.is_grad_enabled()].append(x.detach().clone())
        return forward(self, x, *args, **kwargs)

    monkeypatch.setattr(EEGNet, "forward", spy)
    flip = [{"name": "SignFlip", "probability": 1.0}]
    clf = HypEEGClassifier("EEGNet", max_epochs=1, augmentation=flip, random_state=0).fit(X, y)
    clf.predict(X)

    def known(batches):
        rows = torch.cat(batches)
        return torch.tensor(
            [bool((torch.from_numpy(X) == row).flatten(1).all(1).any()) for row in rows]
        )

    assert not known(seen[True]).any()
    assert known([-b for b in seen[True]]).all()
    assert known(seen[False]).all()


def test_without_transforms_a_fit_is_what_it_was_and_with_them_it_repeats():
    X, y = trials(24)

    def fit(**options):
        clf = HypEEGClassifier(max_epochs=2, random_state=5, **options).fit(X, y)
        return clf.predict_proba(X)

    plain, empty = fit(), fit(augmentation=[])
    np.testing.assert_array_equal(plain, empty)
    noisy = fit(augmentation=["GaussianNoise"])
    np.testing.assert_array_equal(noisy, fit(augmentation=["GaussianNoise"]))
    assert np.abs(noisy - plain).max() > 1e-6


def test_domains_keep_their_trials():
    X, y = trials(24)
    subjects = np.repeat([1, 2], 12)
    clf = HypEEGClassifier(
        "HyperbolicEEGNetDSBN",
        max_epochs=1,
        domain="subject",
        augmentation=["TimeReverse"],
        random_state=0,
    ).fit(X, y, subjects=subjects)
    assert clf.predict(X).shape == (24,)
    clf.set_params(augmentation=["SegmentationReconstruction"])
    with pytest.raises(ValueError, match="of several domains"):
        clf.fit(X, y, subjects=subjects)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("FTSurrogate", "must be a list"),
        (["Mixup"], "known transforms: AmplitudeScale"),
        ([{"probability": 0.3}], "known transforms"),
        ([{"name": "TimeReverse", "chance": 0.3}], "holds 'chance'; it takes probability"),
        ([{"name": "FrequencyShift", "sfreq": 3}], "holds 'sfreq'"),
        ([{"name": "TimeReverse", "probability": 2}], "probability=2 must be in"),
        ([{"name": "GaussianNoise", "probability": True}], "probability=True"),
    ],
)
def test_wrong_requests(steps, message):
    with pytest.raises(ValueError, match=message):
        check_augmentation(steps)


@pytest.mark.parametrize(
    ("step", "channels", "message"),
    [
        ("FrequencyShift", CHANNELS, "needs sfreq: set sfreq of the estimator"),
        ("ChannelsSymmetry", None, "needs ch_names"),
        ("SensorsXRotation", ["C3", "my channel"], r"\['my channel'\] are not names of the 10-20"),
        ({"name": "SmoothTimeMask", "mask_len_samples": -1}, None, "cannot be made"),
    ],
)
def test_what_a_transform_lacks_is_said(step, channels, message):
    with pytest.raises(ValueError, match=message):
        make_augmentation([step], sfreq=None, ch_names=channels, seed=0)


def test_a_pipeline_says_so_before_training():
    spec = PipelineSpec(name="p", model="EEGNet")
    training = TrainingSpec(augmentation=["FrequencyShift"])
    with pytest.raises(ValueError, match="needs sfreq"):
        build_pipeline(spec, sfreq=None, ch_names=None, training=training)
    with pytest.raises(ValueError, match="Did you mean 'FTSurrogate'"):
        TrainingSpec(augmentation=[{"name": "FTsurrogate"}])
