"""SimulatedMI: known separability, lateralised desynchronisation, and MOABB's rules."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from moabb.paradigms import LeftRightImagery, MotorImagery
from pyriemann.estimation import Covariances
from pyriemann.spatialfilters import CSP
from scipy.signal import welch
from scipy.stats import binom
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import (
    LeaveOneGroupOut,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline

from hypeeg.eeg.simulated import CHANNELS, SimulatedMI

WINDOW = {"fmin": 8, "fmax": 32, "tmin": 0.5, "tmax": 3}


def csp_lda():
    return make_pipeline(Covariances("oas"), CSP(nfilter=6), LinearDiscriminantAnalysis())


def within_session_auc(X, y, metadata):
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return np.array(
        [
            cross_val_score(csp_lda(), X[g.index], y[g.index], cv=folds, scoring="roc_auc").mean()
            for _, g in metadata.groupby(["subject", "session"])
        ]
    )


@pytest.fixture(scope="module")
def epochs():
    return LeftRightImagery(**WINDOW).get_data(SimulatedMI())


@pytest.fixture(scope="module")
def flat_epochs():
    return LeftRightImagery(**WINDOW).get_data(SimulatedMI(erd_depth=0))


def test_shapes_counts_and_volts(epochs):
    X, y, metadata = epochs
    assert X.shape == (4 * 2 * 48, 22, 321)
    counts = metadata.assign(y=y).groupby(["subject", "session", "y"]).size()
    assert (counts == 24).all()
    raw = SimulatedMI().get_data([1])[1]["0"]["0"]
    assert raw.ch_names[:-1] == list(CHANNELS)
    # Scalp EEG: tens of microvolts, stored in volts.
    assert 5e-6 < raw.get_data("eeg").std() < 3e-5


def test_separable_within_and_across(epochs):
    X, y, metadata = epochs
    within = within_session_auc(X, y, metadata)
    assert within.mean() > 0.93
    assert within.min() > 0.75
    across = cross_val_score(
        csp_lda(), X, y, groups=metadata["subject"], cv=LeaveOneGroupOut(), scoring="roc_auc"
    )
    assert across.mean() > 0.9
    # Subjects differ: not everybody is trivially perfect.
    assert across.min() < 0.95


def test_without_desynchronisation_the_score_is_chance(flat_epochs):
    X, y, metadata = flat_epochs
    predicted = cross_val_predict(
        csp_lda(), X, y, groups=metadata["subject"], cv=LeaveOneGroupOut()
    )
    low, high = binom.interval(0.999, len(y), 0.5)
    assert low <= (predicted == y).sum() <= high


def test_shuffled_labels_are_at_chance(epochs):
    X, y, metadata = epochs
    shuffled = np.random.default_rng(3).permutation(y)
    predicted = cross_val_predict(
        csp_lda(), X, shuffled, groups=metadata["subject"], cv=LeaveOneGroupOut()
    )
    low, high = binom.interval(0.999, len(y), 0.5)
    assert low <= (predicted == shuffled).sum() <= high


def band_power(X, sfreq, low, high):
    hz, power = welch(X, sfreq, nperseg=128, axis=-1)
    return np.log(power[..., (hz >= low) & (hz <= high)].mean(axis=-1))


@pytest.mark.parametrize(("low", "high"), [(8, 13), (18, 26)])
def test_power_falls_over_the_opposite_hemisphere(epochs, low, high):
    X, y, _ = epochs
    power = band_power(X, 128.0, low, high)
    left, right = power[y == "left_hand"].mean(0), power[y == "right_hand"].mean(0)
    c3, c4, poz = (CHANNELS.index(name) for name in ("C3", "C4", "POz"))
    assert right[c3] < left[c3] - 0.1
    assert left[c4] < right[c4] - 0.1
    assert abs(left[poz] - right[poz]) < 0.5 * (left[c3] - right[c3])


def test_background_is_pink(flat_epochs):
    raw = SimulatedMI().get_data([1])[1]["0"]["0"]
    hz, power = welch(raw.get_data("eeg"), 128.0, nperseg=512, axis=-1)
    # Away from the rhythms: 2-6 Hz against 34-50 Hz.
    use = ((hz > 2) & (hz < 6)) | ((hz > 34) & (hz < 50))
    slope = np.polyfit(np.log(hz[use]), np.log(power[:, use].mean(0)), 1)[0]
    assert -1.3 < slope < -0.6


def test_same_seed_same_signals_in_any_order():
    first = SimulatedMI(n_trials=4).get_data([1, 3])
    second = SimulatedMI(n_trials=4).get_data([3])
    a, b = (d[3]["1"]["0"].get_data() for d in (first, second))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, first[1]["1"]["0"].get_data())
    other = SimulatedMI(n_trials=4, seed=1).get_data([3])[3]["1"]["0"].get_data()
    assert other.shape != a.shape or not np.array_equal(other, a)


def test_subjects_and_sessions_draw_their_own_trials_and_noise():
    data = SimulatedMI(n_subjects=2).get_data()
    recordings = [data[s][t]["0"].get_data() for s in (1, 2) for t in ("0", "1")]
    length = min(r.shape[1] for r in recordings)
    same = np.corrcoef([r[CHANNELS.index("Fz"), :length] for r in recordings])
    assert np.abs(same - np.eye(4)).max() < 0.2
    orders = {tuple(r[-1][r[-1] > 0]) for r in recordings}
    assert len(orders) == 4


def test_sessions_shift():
    runs = SimulatedMI(n_trials=8).get_data([1])[1]
    a, b = (runs[s]["0"].get_data("eeg") for s in ("0", "1"))
    ratio = a.std(axis=1) / b.std(axis=1)
    assert np.abs(np.log(ratio)).max() > 0.05
    assert np.abs(np.log(ratio)).max() < 1.0


def test_selection_pickling_and_code():
    dataset = SimulatedMI(n_subjects=3, n_trials=4, subjects=[2], sessions=["1"])
    data = pickle.loads(pickle.dumps(dataset)).get_data()
    assert list(data) == [2]
    assert list(data[2]) == ["1"]
    assert SimulatedMI().code == "SimulatedMI"
    assert dataset.code != SimulatedMI(n_trials=4).code


def test_works_in_motor_imagery_and_moabb_evaluation(tmp_path):
    from moabb.evaluations import WithinSessionEvaluation

    dataset = SimulatedMI(n_subjects=1, n_sessions=1, n_trials=40)
    X, y, _ = MotorImagery(n_classes=2, events=["left_hand", "right_hand"], **WINDOW).get_data(
        dataset
    )
    assert X.shape[0] == 40
    assert set(y) == {"left_hand", "right_hand"}
    evaluation = WithinSessionEvaluation(
        paradigm=LeftRightImagery(**WINDOW),
        datasets=[dataset],
        hdf5_path=str(tmp_path),
        overwrite=True,
    )
    results = evaluation.process({"csp": csp_lda()})
    assert results["score"].mean() > 0.8


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"erd_depth": 1.0}, "erd_depth=1.0"),
        ({"erd_depth": -0.1}, "erd_depth=-0.1"),
        ({"n_trials": 5}, "n_trials=5 must be even"),
        ({"n_subjects": 0}, "n_subjects=0"),
        ({"n_sessions": 1.5}, "n_sessions=1.5"),
        ({"sfreq": 40}, "sfreq=40"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        SimulatedMI(**parameters)
