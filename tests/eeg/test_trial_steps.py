"""Trial steps: what they compute, what they learn from, and that test trials never count."""

from __future__ import annotations

import pickle

import mne
import numpy as np
import pytest
from scipy.stats import kurtosis
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline

from hypeeg.eeg import PreprocessingSpec, Standardize, load_epochs
from hypeeg.eeg.alignment import DomainAlignment
from hypeeg.eeg.ica import IcaCleaner
from hypeeg.eeg.pipelines import build_pipeline
from hypeeg.eeg.trial_steps import Baseline, make_trial_steps

SFREQ = 128.0
NAMES = ["Fp1", "F3", "F4", "C3", "C4", "Pz"]
SPREAD = np.array([1.0, 0.5, 0.45, 0.2, 0.15, 0.02])  # of a blink over the scalp


def brain(n=20, times=256, seed=0):
    """Sources mixed at random, uV, float32."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(7).standard_normal((len(NAMES), len(NAMES)))
    return 5 * np.einsum("cd,ndt->nct", mixing, rng.laplace(size=(n, len(NAMES), times)))


def blinking(n=20, seed=0, size=300.0):
    """The same with a blink in every other trial; and without."""
    clean = brain(n, seed=seed)
    rng = np.random.default_rng(100 + seed)
    dirty = clean.copy()
    for k in range(0, n, 2):
        start = rng.integers(20, 150)
        dirty[k, :, start : start + 60] += size * SPREAD[:, None] * np.hanning(60)
    return dirty.astype(np.float32), clean.astype(np.float32)


def cleaner(**options):
    return IcaCleaner(NAMES, SFREQ, **options)


@pytest.mark.parametrize("options", [{"rule": "eog"}, {"rule": "kurtosis", "max_exclude": 1}])
def test_ica_takes_the_blinks_out_of_unseen_trials(options):
    dirty, _ = blinking()
    step = cleaner(**options).fit(dirty)
    assert len(step.exclude_) == 1
    other, clean = blinking(seed=1)
    Z = step.transform(other)
    assert Z.dtype == np.float32
    error = np.abs(Z - clean)[::2, 1:5]
    assert error.max() < np.abs(other - clean)[::2, 1:5].max() / 4
    assert np.corrcoef(Z[:, 5].ravel(), clean[:, 5].ravel())[0, 1] > 0.95


def test_the_rules_are_what_they_say():
    dirty, _ = blinking()
    eog = cleaner(rule="eog", channels=["Fp1", "F3"]).fit(dirty)
    sources = eog.ica_.get_sources(eog._epochs(dirty)).get_data()
    flat = sources.transpose(1, 0, 2).reshape(len(NAMES), -1)
    seen = dirty[:, :2].transpose(1, 0, 2).reshape(2, -1)
    expected = [max(abs(np.corrcoef(s, x)[0, 1]) for x in seen) for s in flat]
    np.testing.assert_allclose(eog.scores_, expected, atol=1e-6)
    assert eog.exclude_ == [k for k in np.argsort(eog.scores_)[::-1] if eog.scores_[k] > 0.7]

    peaked = cleaner(rule="kurtosis", threshold=2).fit(dirty)
    k = kurtosis(flat, axis=1)
    quartiles = np.percentile(k, [25, 50, 75])
    scores = (k - quartiles[1]) / (0.7413 * (quartiles[2] - quartiles[0]))
    np.testing.assert_allclose(peaked.scores_, scores, rtol=1e-6)
    everything = cleaner(rule="kurtosis", threshold=1e9).fit(dirty)
    np.testing.assert_array_equal(everything.transform(dirty), dirty)


def test_ica_is_mnes_and_repeats_itself():
    dirty, _ = blinking()
    step = clone(cleaner(rule="eog", random_state=3)).fit(dirty)
    again = cleaner(rule="eog", random_state=3).fit(dirty)
    np.testing.assert_array_equal(step.transform(dirty), again.transform(dirty))
    pickled = pickle.loads(pickle.dumps(step))
    np.testing.assert_array_equal(pickled.transform(dirty), step.transform(dirty))
    epochs = mne.EpochsArray(
        dirty.astype(float), mne.create_info(NAMES, SFREQ, "eeg"), verbose="ERROR"
    )
    ica = mne.preprocessing.ICA(random_state=3, max_iter="auto", verbose="ERROR")
    ica.fit(epochs, verbose="ERROR").apply(epochs, exclude=step.exclude_, verbose="ERROR")
    np.testing.assert_allclose(step.transform(dirty), epochs.get_data(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "eye"}, "rule='eye': choose one of eog, kurtosis"),
        ({"channels": ["Fp2"]}, "'Fp2' is not among the trials' channels; did you mean 'Fp1'"),
    ],
)
def test_ica_names_mistakes(options, message):
    with pytest.raises(ValueError, match=message):
        cleaner(**options).fit(blinking()[0])
    with pytest.raises(ValueError, match=r"sees the eyes, and none of Fp1.*rule='kurtosis'"):
        IcaCleaner(["C3", "C4"], SFREQ).fit(brain()[:, :2])
    with pytest.raises(ValueError, match="5 channels, but 6 at fit"):
        cleaner().fit(brain()[:, :5])


def test_baseline_is_mnes():
    X = brain() + 40
    epochs = mne.EpochsArray(X, mne.create_info(NAMES, SFREQ, "eeg"), tmin=-0.5, verbose="ERROR")
    epochs.apply_baseline((-0.25, 0.5), verbose="ERROR")
    Z = Baseline(-0.25, 0.5, tmin=-0.5, sfreq=SFREQ).fit_transform(X)
    np.testing.assert_allclose(Z, epochs.get_data(), atol=1e-9)
    with pytest.raises(ValueError, match=r"1 to 3 s lies outside.*span 0 to 1.99"):
        Baseline(1, 3, tmin=0, sfreq=SFREQ).fit(X)
    with pytest.raises(ValueError, match="outside"):
        Baseline(-0.5, 0.5, tmin=0, sfreq=SFREQ).fit(X)


SPEC = PreprocessingSpec(
    tmin=0.5,
    steps=[
        {"step": "notch", "freqs": [50]},
        {"step": "ica", "rule": "kurtosis", "threshold": 2, "max_exclude": 1, "random_state": 5},
        {"step": "baseline", "start": 0.5, "end": 1.0},
        {"step": "align", "domain": None, "metric": "riemann"},
        {"step": "baseline", "start": 0.6, "end": 0.7},
        {"step": "standardise", "mode": "channel"},
    ],
)


def test_steps_become_transformers_in_order():
    made = make_trial_steps(SPEC, sfreq=SFREQ, ch_names=NAMES)
    assert [name for name, _ in made] == ["ica", "baseline", "align", "baseline_2"]
    ica, baseline, align, second = (step for _, step in made)
    assert (ica.rule, ica.max_exclude, ica.random_state) == ("kurtosis", 1, 5)
    assert (ica.ch_names, ica.sfreq) == (NAMES, SFREQ)
    assert isinstance(align, DomainAlignment)
    assert (align.domain, align.metric, align.unseen) == (None, "riemann", "source")
    assert (baseline.start, baseline.end, baseline.tmin) == (0.5, 1.0, 0.5)
    assert second.start == 0.6
    X, _ = blinking()
    assert Pipeline(made).fit_transform(X).shape == X.shape
    assert make_trial_steps(PreprocessingSpec(), sfreq=SFREQ, ch_names=NAMES) == []


def recorded(step, log):
    """The step, writing down the trials that it is fitted on (each trial's sum is its name)."""

    def names(X):
        return {round(float(np.asarray(x, dtype=float)[0, 0])) for x in X}

    class Recording(type(step)):
        def fit(self, X, y=None, **params):
            log.append(names(X))
            return super().fit(X, y, **params)

        def fit_transform(self, X, y=None, **params):
            log.append(names(X))
            if isinstance(step, DomainAlignment):
                return super().fit_transform(X, y, **params)
            return type(step).fit(self, X, y).transform(X)

    Recording.__init__ = type(step).__init__
    return Recording(**step.get_params(deep=False))


@pytest.mark.parametrize("position", range(4))
def test_each_step_is_fitted_on_training_trials_only(position):
    """Each trial carries its number in its first sample: the spy knows which trials a fit saw."""
    X, _ = blinking(20)
    X[:, 0, 0] = 1000 + np.arange(20)
    y = np.tile(["a", "b"], 10)
    steps = [*make_trial_steps(SPEC, sfreq=SFREQ, ch_names=NAMES), ("standardise", Standardize())]
    _, step = [s for s in steps if s[0] != "baseline_2"][position]
    log: list[set[int]] = []
    pipeline = build_pipeline("ts_lr", sfreq=SFREQ, trial_steps=[("spied", recorded(step, log))])
    folds = StratifiedKFold(4, shuffle=True, random_state=0)
    cross_val_predict(pipeline, X, y, cv=folds)
    assert len(log) == 4
    for seen, (train, _) in zip(log, folds.split(X, y)):
        assert seen == {1000 + k for k in train.tolist()}


@pytest.mark.parametrize("model", ["csp_lda", "ts_lr"])
def test_poisoned_test_trials_change_nothing_that_was_learned(model):
    """Whatever is in a fold's test trials, the fitted pipeline decides alike about a clean one."""
    X, _ = blinking(24)
    rng = np.random.default_rng(3)
    y = np.tile(["a", "b"], 12)
    X[y == "a", 3] *= 1.5
    steps = make_trial_steps(SPEC, sfreq=SFREQ, ch_names=NAMES)
    test = np.arange(18, 24)
    poisoned = X.copy()
    poisoned[test[1:]] = 1e4 * rng.standard_normal(X[test[1:]].shape)
    decisions = []
    for trials in (X, poisoned):
        pipeline = build_pipeline(model, sfreq=SFREQ, trial_steps=steps)
        pipeline.fit(trials[:18], y[:18])
        decisions.append(pipeline.decision_function(trials[test])[0])
    assert decisions[0] == decisions[1]
    # The test can fail: a transductive reference is moved by the poison.
    block = [("align", DomainAlignment(None, unseen="block"))]
    pipeline = build_pipeline(model, sfreq=SFREQ, trial_steps=block).fit(X[:18], y[:18])
    first, second = (pipeline.decision_function(trials[test])[0] for trials in (X, poisoned))
    assert first != second


@pytest.mark.filterwarnings("ignore:FastICA did not converge")
def test_loaded_trials_meet_the_steps_of_their_spec():
    """From a data set's recordings through every kind of step to predictions."""
    steps = [
        {"step": "notch", "freqs": [50]},
        {"step": "ica", "rule": "eog", "channels": ["Fz"], "n_components": 10},
        {"step": "baseline", "start": 0.5, "end": 0.75},
        {"step": "align"},
        {"step": "standardise", "mode": "trial"},
    ]
    data = load_epochs(
        "SimulatedMI",
        subjects=[1],
        dataset_params={"n_subjects": 1, "n_trials": 24, "n_sessions": 1},
        preprocessing={"fmin": 8, "fmax": 30, "steps": steps},
    )
    spec = data.preprocessing
    assert spec.standardise == "trial"
    made = make_trial_steps(spec, sfreq=data.sfreq, ch_names=data.ch_names)
    pipeline = build_pipeline("ts_lr", sfreq=data.sfreq, trial_steps=made)
    with pytest.warns(UserWarning, match="got no subjects"):
        pipeline.fit(data.X[:16], data.y[:16])
    assert (pipeline.predict(data.X[16:]) == data.y[16:]).mean() > 0.5
