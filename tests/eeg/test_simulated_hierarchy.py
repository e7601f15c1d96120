"""SimulatedHierarchy and SimulatedFlat: the planted tree is found, and only where it is planted."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from moabb.paradigms import MotorImagery
from scipy.signal import butter, sosfiltfilt, welch
from scipy.sparse.csgraph import shortest_path
from scipy.stats import binom
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from hypeeg.eeg import check_dataset, load_epochs
from hypeeg.eeg.simulated_hierarchy import (
    CHANNELS,
    EVENTS,
    LEAVES,
    TREE,
    SimulatedFlat,
    SimulatedHierarchy,
    tree_distance,
)

BANDS = ((8, 11), (11, 14), (14, 17), (17, 20), (20, 24), (24, 29))
SMALL = {"n_subjects": 1, "n_trials": 192}


def log_power(X):
    """Log variance of every channel in every band, one row a trial."""
    bands = [
        np.log(sosfiltfilt(butter(4, band, "bandpass", fs=128, output="sos"), X).var(axis=-1))
        for band in BANDS
    ]
    return np.concatenate(bands, axis=1)


def predicted(dataset):
    """Classes of the trials, and what cross-validation within each session takes them for."""
    paradigm = MotorImagery(n_classes=16, events=list(LEAVES), fmin=6, fmax=32, tmin=0.5, tmax=3)
    X, y, metadata = paradigm.get_data(dataset)
    features = log_power(X)
    answers = np.empty_like(y)
    for _, rows in metadata.groupby(["subject", "session"]):
        answers[rows.index] = cross_val_predict(
            LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
            features[rows.index],
            y[rows.index],
            cv=StratifiedKFold(5, shuffle=True, random_state=0),
        )
    return y, answers


def confusions(y, answers):
    """Share of the trials taken for one class at each distance from their own."""
    distances = np.array([tree_distance(a, b) for a, b in zip(y, answers)])
    classes = {0: 1, 2: 1, 4: 2, 6: 4, 8: 8}
    return {d: float(np.mean(distances == d)) / n for d, n in classes.items()}


@pytest.fixture(scope="module")
def tree():
    return predicted(SimulatedHierarchy(**SMALL))


@pytest.fixture(scope="module")
def flat():
    return predicted(SimulatedFlat(**SMALL))


def test_distances_are_those_of_the_graph():
    nodes = ["", *TREE]
    edges = np.zeros((31, 31))
    for node, parent in TREE.items():
        edges[nodes.index(node), nodes.index(parent)] = 1
    lengths = shortest_path(edges, directed=False)
    np.testing.assert_array_equal([[tree_distance(a, b) for b in nodes] for a in nodes], lengths)
    assert tree_distance("LLLL", "RLLL") == 8
    assert [leaf for leaf in TREE if leaf not in TREE.values()] == list(LEAVES) == list(EVENTS)
    with pytest.raises(ValueError, match="'LX' is no node of the tree"):
        tree_distance("L", "LX")


def test_confusions_fall_with_the_distance_in_the_tree(tree):
    y, answers = tree
    share = confusions(y, answers)
    assert 0.25 < share[0] < 0.8  # chance is 0.0625; not trivially perfect either
    assert share[0] > share[2] > share[4] > share[6] > share[8]
    assert share[2] > 5 * share[8]
    assert np.mean([a[0] == b[0] for a, b in zip(y, answers)]) > 0.8


def test_the_control_is_as_hard_and_has_no_tree(tree, flat):
    share = confusions(*flat)
    assert abs(share[0] - confusions(*tree)[0]) < 0.2
    wrong = 1 - share[0]
    # Of the wrong answers, every other class has its fifteenth.
    assert share[2] < 3 * wrong / 15
    assert share[8] > 0.5 * wrong / 15


@pytest.mark.parametrize("make", [SimulatedHierarchy, SimulatedFlat])
def test_without_desynchronisation_the_score_is_chance(make):
    y, answers = predicted(make(strength=0, **SMALL))
    low, high = binom.interval(0.999, len(y), 1 / 16)
    assert low <= (answers == y).sum() <= high


def test_depths_follow_the_tree():
    depths = SimulatedHierarchy(strength=0.5).depths()
    assert depths.shape == (16, 30)
    nodes = list(TREE)
    row = dict(zip(nodes, depths[LEAVES.index("LRRL")]))
    assert {node for node, depth in row.items() if depth} == {"L", "LR", "LRR", "LRRL"}
    assert row["L"] > row["LR"] > row["LRR"] > row["LRRL"]
    np.testing.assert_allclose(depths, 0.5 * SimulatedHierarchy().depths())
    # Classes share as many rhythms as they have ancestors in common, in the control none.
    shared = (depths > 0).astype(int) @ (depths > 0).T
    flat = SimulatedFlat().depths() > 0
    for i, a in enumerate(LEAVES):
        for j, b in enumerate(LEAVES):
            assert shared[i, j] == 4 - tree_distance(a, b) // 2
            assert (flat[i] & flat[j]).sum() == (2 if i == j else 0)


def test_a_trial_lowers_the_rhythms_of_its_path_and_no_others():
    """Rhythm by rhythm, from the sources: the power in the imagery against that before the cue."""
    dataset = SimulatedHierarchy(n_subjects=1, n_trials=16)
    codes = np.array([EVENTS["LRRL"], EVENTS["RRRR"]])
    power = dataset._power(1.0, np.random.default_rng(0), codes, np.array([3.0, 9.0]), 16 * 128)
    nodes = list(TREE)
    for cue, leaf in ((3.0, "LRRL"), (9.0, "RRRR")):
        during = power[:, round((cue + 1) * 128) : round((cue + 3) * 128)]
        for node, row in zip(nodes, during):
            assert (row < 0.9).all() if leaf.startswith(node) else (row == 1).all()
    np.testing.assert_array_equal(power[:, : 3 * 128], 1)
    assert power.min() > 0


def test_recordings_look_like_eeg():
    raw = SimulatedHierarchy(n_subjects=1, n_trials=16).get_data([1])[1]["0"]["0"]
    assert raw.ch_names[:-1] == list(CHANNELS)
    signal = raw.get_data("eeg")
    assert 5e-6 < signal.std() < 5e-5  # tens of microvolts, in volts
    hz, power = welch(signal, 128.0, nperseg=256)
    inside = power[:, (hz > 8) & (hz < 28)].mean()
    assert inside > 3 * power[:, (hz > 34) & (hz < 50)].mean()
    counts = np.unique(raw.get_data("stim"), return_counts=True)
    np.testing.assert_array_equal(counts[0], np.arange(17))
    np.testing.assert_array_equal(counts[1][1:], 1)


@pytest.mark.parametrize("make", [SimulatedHierarchy, SimulatedFlat])
def test_same_seed_same_signals_in_any_order(make):
    small = {"n_subjects": 2, "n_sessions": 2, "n_trials": 16}
    first, second = make(**small).get_data([1, 2]), make(**small).get_data([2])
    a, b = (data[2]["1"]["0"].get_data() for data in (first, second))
    np.testing.assert_array_equal(a, b)
    for other in (first[1]["1"], first[2]["0"], make(seed=1, **small).get_data([2])[2]["1"]):
        n = min(a.shape[1], other["0"].n_times)
        correlation = np.corrcoef(a[0, :n], other["0"].get_data()[0, :n])[0, 1]
        assert abs(correlation) < 0.2


def test_people_share_the_layout_up_to_a_jitter():
    dataset = SimulatedHierarchy()
    one, two = (dataset._person(np.random.default_rng([0, s])) for s in (1, 2))
    cosines = (one.rhythms[0] * two.rhythms[0]).sum(axis=1)
    assert 0.9 < cosines.min() < cosines.max() < 1
    assert 0 < np.abs(one.hz - two.hz).max() < 1.5
    other = SimulatedHierarchy(seed=1)._person(np.random.default_rng([0, 1]))
    assert np.abs(one.hz - other.hz).max() > 5


def test_codes_and_pickling():
    assert SimulatedHierarchy().code == "SimulatedHierarchy"
    assert SimulatedFlat().code == "SimulatedFlat"
    variants = [
        SimulatedHierarchy(),
        SimulatedHierarchy(hierarchy=False),
        SimulatedHierarchy(strength=0.5),
        SimulatedHierarchy(seed=1),
        SimulatedFlat(),
        SimulatedFlat(strength=0.5),
    ]
    assert len({dataset.code for dataset in variants}) == len(variants)
    dataset = SimulatedFlat(n_subjects=3, n_sessions=2, n_trials=16, subjects=[2], sessions=["1"])
    data = pickle.loads(pickle.dumps(dataset)).get_data()
    assert {subject: list(sessions) for subject, sessions in data.items()} == {2: ["1"]}


def test_the_control_is_the_parent_without_hierarchy():
    small = {"n_subjects": 1, "n_trials": 16}
    a, b = SimulatedFlat(**small), SimulatedHierarchy(hierarchy=False, **small)
    a, b = (dataset.get_data([1])[1]["0"]["0"].get_data() for dataset in (a, b))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_trials": 40}, "n_trials=40 must be divisible by 16"),
        ({"n_trials": 0}, "n_trials=0 must be a whole number of at least 16"),
        ({"strength": -0.1}, r"strength=-0.1 must be in \[0, 1\]"),
        ({"strength": float("nan")}, "strength=nan"),
        ({"sfreq": 60}, "at least 80 Hz"),
        ({"n_sessions": 0}, "n_sessions=0"),
    ],
)
def test_impossible_parameters(parameters, message):
    for make in (SimulatedHierarchy, SimulatedFlat):
        with pytest.raises(ValueError, match=message):
            make(**parameters)


@pytest.mark.parametrize("name", ["SimulatedHierarchy", "SimulatedFlat"])
def test_manifests_describe_what_is_made(name):
    report = check_dataset(name, [1])
    assert report.ok, report
    data = load_epochs(name, [1])
    assert sorted(set(data.y)) == sorted(LEAVES)
    assert data.X.shape == (96, 22, round(2.5 * 128) + 1)
