"""The preprocessing spec, and the transformers that a pipeline fits on training trials only."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.signal import butter, sosfiltfilt
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline

from hypeeg.eeg import FilterBank, PreprocessingSpec, Standardize


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fmin": 32, "fmax": 8}, "fmin=32.0 Hz must be below fmax=8.0 Hz"),
        ({"fmin": -1}, "greater than or equal to 0"),
        ({"fmax": float("nan")}, "finite"),
        ({"tmax": float("inf")}, "finite"),
        ({"tmin": 3, "tmax": 3}, "tmin=3.0 s must be before tmax=3.0 s"),
        ({"baseline": (0.2, 0.1)}, "start before end"),
        ({"resample": 60, "fmax": 40}, "below half of resample=60.0 Hz"),
        ({"reference": "mastoid"}, "average"),
        ({"channels": []}, "empty list"),
        ({"channels": ["C3", "C3"]}, "named twice: \\['C3'\\]"),
        ({"standardise": "zscore"}, "'channel', 'trial' or 'none'"),
        ({"fmn": 8}, "Extra inputs"),
    ],
)
def test_spec_names_field_value_and_remedy(fields, message):
    with pytest.raises(ValidationError, match=message):
        PreprocessingSpec(**fields)


def test_spec_knows_nyquist_once_the_rate_is_known():
    PreprocessingSpec(fmax=45).check_sfreq(128)
    with pytest.raises(ValueError, match=r"fmax=45.0 Hz must be below 40.0 Hz.*my recording"):
        PreprocessingSpec(fmax=45).check_sfreq(80, "my recording")
    with pytest.raises(ValueError, match="fmin=45"):
        PreprocessingSpec(fmin=45).check_sfreq(80)


def test_spec_round_trips_and_updates():
    spec = PreprocessingSpec(fmin=8, fmax=32, baseline=(-0.5, 0), reference="average")
    assert PreprocessingSpec.model_validate_json(spec.model_dump_json()) == spec
    assert spec.updated(fmax=30).fmax == 30
    with pytest.raises(ValidationError):
        spec.updated(fmax=4)


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    scale = np.array([1.0, 50.0, 1e-6])[:, None]
    return (rng.standard_normal((20, 3, 64)) * scale + 3 * scale).astype(np.float32)


def test_channel_mode_standardises_with_training_statistics(X):
    step = Standardize("channel").fit(X[:10])
    Z = step.transform(X[:10])
    np.testing.assert_allclose(Z.mean(axis=(0, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(Z.std(axis=(0, 2)), 1, rtol=1e-5)
    other = step.transform(X[10:])
    mean = X[:10].astype(np.float64).mean(axis=(0, 2))[:, None]
    std = X[:10].astype(np.float64).std(axis=(0, 2))[:, None]
    np.testing.assert_allclose(other, (X[10:] - mean) / std, rtol=1e-4, atol=1e-5)
    assert not np.allclose(other.mean(axis=(0, 2)), 0, atol=1e-5)


def test_trial_mode_learns_nothing(X):
    Z = Standardize("trial").fit(X[:2] * 1000).transform(X)
    np.testing.assert_allclose(Z.mean(axis=2), 0, atol=1e-5)
    np.testing.assert_allclose(Z.std(axis=2), 1, rtol=1e-5)


@pytest.mark.parametrize("mode", ["channel", "trial", "none"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_shape_clone_and_pickle(X, mode, dtype):
    step = clone(Standardize(mode))
    assert step.get_params() == {"mode": mode}
    Z = step.fit_transform(X.astype(dtype))
    assert Z.dtype == dtype
    assert Z.shape == X.shape
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(step)).transform(X.astype(dtype)), Z)
    if mode == "none":
        np.testing.assert_array_equal(Z, X)


@pytest.mark.parametrize("mode", ["channel", "trial"])
@pytest.mark.parametrize("value", [0.0, 7.3])
def test_constant_channel_warns_and_stays_finite(X, mode, value):
    X[:, 1] = value
    with pytest.warns(UserWarning, match="constant"):
        Z = Standardize(mode).fit_transform(X)
    np.testing.assert_array_equal(Z[:, 1], 0)
    assert np.isfinite(Z).all()


def test_tiny_but_varying_channel_is_no_constant(X):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Z = Standardize().fit_transform(X * np.float32(1e-20))
    np.testing.assert_allclose(Z.std(axis=(0, 2)), 1, rtol=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("step", [Standardize(), FilterBank([(8, 12)], 128.0)])
def test_non_finite_input_is_located(X, step, bad):
    fitted = clone(step).fit(X)
    X[4, 2, 10] = bad
    for call in (clone(step).fit, fitted.transform):
        with pytest.raises(ValueError, match=r"NaN or infinite .* 1 of 20.*trial 4, channel 2"):
            call(X)


@pytest.mark.parametrize("step", [Standardize(), FilterBank([(8, 12)], 128.0)])
def test_wrong_shapes_are_named(X, step):
    fitted = clone(step).fit(X)
    with pytest.raises(ValueError, match="2 channels, but 3 at fit"):
        fitted.transform(X[:, :2])
    with pytest.raises(ValueError, match=r"shape \(20, 64\)"):
        fitted.transform(X[:, 0])
    with pytest.raises(ValueError, match="no trials"):
        clone(step).fit(X[:0])
    with pytest.raises(ValueError, match="no array of numbers"):
        clone(step).fit(np.full((2, 3, 4), "a"))


def test_unknown_mode_and_bands_are_named(X):
    with pytest.raises(ValueError, match=r"mode='robust'.*channel, trial, none"):
        Standardize("robust").fit(X)
    with pytest.raises(ValueError, match=r"\(8, 70\) Hz must satisfy .* < 64.0 Hz"):
        FilterBank([(8, 70)], 128.0).fit(X)
    with pytest.raises(ValueError, match="bands is empty"):
        FilterBank([], 128.0).fit(X)


def test_filter_bank_stacks_bands_in_blocks_of_channels():
    t = np.arange(512) / 128.0
    tones = np.stack([np.sin(2 * np.pi * f * t) for f in (13.0, 21.0)])
    X = np.stack([tones, tones[::-1]]).astype(np.float32)
    Z = FilterBank([(12, 14), (20, 22), (29, 31)], 128.0).fit_transform(X)
    assert Z.shape == (2, 6, 512)
    assert Z.dtype == np.float32
    power = (Z[:, :, 128:-128] ** 2).mean(axis=2)
    # Trial 0: 13 Hz on channel 0, 21 Hz on channel 1; blocks are bands.
    np.testing.assert_allclose(power[0], [0.5, 0, 0, 0.5, 0, 0], atol=0.05)
    np.testing.assert_allclose(power[1], [0, 0.5, 0.5, 0, 0, 0], atol=0.05)


def test_filter_bank_against_scipy():
    X = np.random.default_rng(1).standard_normal((3, 2, 2048))
    Z = FilterBank([(8, 12)], 128.0).fit_transform(X)
    sos = butter(4, (8, 12), "bandpass", fs=128.0, output="sos")
    expected = sosfiltfilt(sos, X, axis=-1)
    np.testing.assert_allclose(Z[..., 512:-512], expected[..., 512:-512], atol=1e-6)


class _Spy(ClassifierMixin, BaseEstimator):
    """Keeps the statistics of the step before it: what did it learn from?"""

    seen: list = []  # noqa: RUF012

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        _Spy.seen.append(X.copy())
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


def test_standardisation_never_sees_test_trials(X):
    """Each trial carries its own offset, so that the mean learned betrays every trial in it."""
    n = len(X)
    offsets = 2.0 ** np.arange(n)
    X = np.broadcast_to(offsets[:, None, None], (n, 3, 64)).copy()
    X += np.random.default_rng(0).standard_normal(X.shape) * 1e-3
    y = np.tile([0, 1], n // 2)
    folds = KFold(5, shuffle=True, random_state=0)
    learned = []

    class Recording(Standardize):
        def fit(self, X, y=None):
            super().fit(X, y)
            learned.append(self.mean_.mean() * len(X))
            return self

    _Spy.seen.clear()
    cross_val_score(make_pipeline(Recording(), _Spy()), X, y, cv=folds)
    for (train, test), total, Z in zip(folds.split(X), learned, _Spy.seen):
        # Binary digits of the sum of offsets name the trials that went into the mean.
        digits = {k for k in range(n) if round(total) >> k & 1}
        assert digits == set(train.tolist())
        assert not digits & set(test.tolist())
        np.testing.assert_allclose(Z.mean(), 0, atol=1e-6)
