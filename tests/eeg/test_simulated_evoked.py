"""SimulatedERP and SimulatedSSVEP: known separability, chance without a response, MOABB's rules."""

from __future__ import annotations

import numpy as np
import pytest
from moabb.datasets.base import BaseDataset
from moabb.paradigms import P300, SSVEP
from scipy.stats import binom
from sklearn.model_selection import (
    LeaveOneGroupOut,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)

from hypeeg.eeg import check_dataset, load_epochs
from hypeeg.eeg.pipeline_spec import PipelineSpec
from hypeeg.eeg.pipelines import build_pipeline
from hypeeg.eeg.simulated_evoked import (
    ERP_CHANNELS,
    SSVEP_CHANNELS,
    SimulatedERP,
    SimulatedSSVEP,
)

ERP = build_pipeline("xdawn_ts_lr")
LIGHTS = build_pipeline(PipelineSpec(name="a", model="mdm", bands="stimuli"), sfreq=128.0)


@pytest.fixture(scope="module")
def erp():
    return P300(fmin=1, fmax=24).get_data(SimulatedERP(n_subjects=3))


@pytest.fixture(scope="module")
def lights():
    return SSVEP(n_classes=3, fmin=5, fmax=45).get_data(SimulatedSSVEP(n_subjects=3))


def within_session(estimator, X, y, metadata, scoring):
    folds = StratifiedKFold(4, shuffle=True, random_state=0)
    return np.array(
        [
            cross_val_score(estimator, X[g.index], y[g.index], cv=folds, scoring=scoring).mean()
            for _, g in metadata.groupby(["subject", "session"])
        ]
    )


def across(estimator, X, y, metadata, scoring, by="subject"):
    groups = metadata[["subject", by]].astype(str).agg("/".join, axis=1)
    return cross_val_score(
        estimator, X, y, groups=groups, cv=LeaveOneGroupOut(), scoring=scoring
    ).mean()


def test_targets_are_found_in_every_kind_of_evaluation(erp):
    X, y, _ = erp
    assert X.shape[:2] == (3 * 2 * 144, 16)
    assert (y == "Target").sum() == 3 * 2 * 24
    assert within_session(ERP, *erp, "roc_auc").mean() > 0.95
    assert across(ERP, *erp, "roc_auc", by="session") > 0.95
    scores = across(ERP, *erp, "roc_auc")
    assert 0.9 < scores < 0.999  # not everybody is trivially perfect


def test_lights_are_told_apart_in_every_kind_of_evaluation(lights):
    X, _, _ = lights
    assert X.shape[:2] == (3 * 2 * 24, 8)
    assert within_session(LIGHTS, *lights, "accuracy").mean() > 0.95
    assert across(LIGHTS, *lights, "accuracy", by="session") > 0.95
    assert across(LIGHTS, *lights, "accuracy") > 0.9


def test_without_a_response_the_score_is_chance():
    X, y, _ = SSVEP(n_classes=3, fmin=5, fmax=45).get_data(
        SimulatedSSVEP(n_subjects=2, n_trials=48, response=0)
    )
    predicted = cross_val_predict(LIGHTS, X, y, cv=StratifiedKFold(4))
    low, high = binom.interval(0.999, len(y), 1 / 3)
    assert low <= (predicted == y).sum() <= high
    X, y, _ = P300(fmin=1, fmax=24).get_data(SimulatedERP(n_subjects=2, p300=0))
    # Standard error of an area under the curve with 96 targets: about 0.03.
    assert abs(cross_val_score(ERP, X, y, cv=3, scoring="roc_auc").mean() - 0.5) < 0.12


def test_the_p300_is_where_and_when_it_should_be(erp):
    X, y, _ = erp
    difference = X[y == "Target"].mean(0) - X[y == "NonTarget"].mean(0)
    channel, sample = np.unravel_index(np.abs(difference).argmax(), difference.shape)
    assert ERP_CHANNELS[channel] in ("Pz", "CPz", "P3", "P4", "Cz")
    assert 0.25 < sample / 128 < 0.5


def test_the_lights_have_lines_in_the_spectrum(lights):
    X, y, _ = lights
    power = np.abs(np.fft.rfft(X[..., :512], axis=-1)) ** 2
    hz = np.fft.rfftfreq(512, 1 / 128)
    oz = SSVEP_CHANNELS.index("Oz")
    for name in ("13", "17", "21"):
        own = power[y == name, oz].mean(0)
        other = power[y != name, oz].mean(0)
        for harmonic in (1, 2):
            at = np.argmin(np.abs(hz - harmonic * float(name)))
            assert own[at] > 2 * other[at]


@pytest.mark.parametrize("make", [SimulatedERP, SimulatedSSVEP])
def test_same_seed_same_signals_in_any_order(make):
    a, b = make(n_sessions=1), make(n_sessions=1)
    b.get_data([1])
    first, again = (d.get_data([2])[2]["0"]["0"].get_data() for d in (a, b))
    np.testing.assert_array_equal(first, again)
    other = make(n_sessions=1, seed=1)
    assert other.code != a.code
    assert not np.array_equal(other.get_data([2])[2]["0"]["0"].get_data()[0, :99], first[0, :99])
    assert isinstance(a, BaseDataset)
    # Tens of microvolts, stored in volts.
    assert 4e-6 < first[:-1].std() < 3e-5


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (SimulatedERP, {"n_targets": 0}, "n_targets=0 must be a whole number of at least 1"),
        (SimulatedERP, {"p300": -1}, "p300=-1 must not be negative"),
        (SimulatedERP, {"sfreq": 50}, "at least 64 Hz"),
        (SimulatedSSVEP, {"n_trials": 10}, "divisible by 3"),
        (SimulatedSSVEP, {"response": float("nan")}, "must not be negative"),
        (SimulatedSSVEP, {"sfreq": 90}, "at least 100 Hz"),
    ],
)
def test_impossible_parameters(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.parametrize(("name", "classes"), [("SimulatedERP", 2), ("SimulatedSSVEP", 3)])
def test_manifests_describe_what_is_made(name, classes):
    report = check_dataset(name, [1])
    assert report.ok, report
    data = load_epochs(name, [1])
    assert len(set(data.y)) == classes
    assert data.sfreq == 128
