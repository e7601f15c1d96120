"""One's own recordings through a few lines of YAML, compared with what MNE reads by hand."""

from __future__ import annotations

import mne
import numpy as np
import pytest
import scipy.io
import yaml

from hypeeg.eeg import check_dataset, load_epochs, load_manifest
from hypeeg.eeg.errors import CorruptDataError, DataError, ManifestError, MissingDataError
from hypeeg.eeg.own_data import OwnData, find_recordings, indexed, number_subjects

SFREQ = 100.0
NAMES = ["C3", "Cz", "C4", "EOG"]


def recording(seed: int, seconds: float = 10.0, events: list[tuple[float, str]] | None = None):
    rng = np.random.default_rng(seed)
    data = 1e-5 * rng.standard_normal((4, int(seconds * SFREQ)))
    raw = mne.io.RawArray(data, mne.create_info(NAMES, SFREQ, "eeg"), verbose=False)
    if events:
        onsets, names = zip(*events)
        raw.set_annotations(mne.Annotations(onsets, 0.0, names))
    return raw


def save(raw, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".fif":
        raw.save(path, verbose=False)
    elif path.suffix == ".set":
        save_eeglab(raw, path)
    else:
        mne.export.export_raw(path, raw, verbose=False)


def save_eeglab(raw, path):
    """An EEGLAB file as EEGLAB writes it: microvolts, latencies counted from 1."""
    data = raw.get_data() * 1e6
    kinds, latencies = raw.annotations.description, raw.annotations.onset * SFREQ + 1
    events = np.array(
        [(str(kind), float(latency), 0.0) for kind, latency in zip(kinds, latencies)],
        dtype=[("type", object), ("latency", object), ("duration", object)],
    )
    eeg = {
        **{"setname": "x", "nbchan": 4.0, "pnts": float(data.shape[1]), "trials": 1.0},
        **{"srate": SFREQ, "xmin": 0.0, "xmax": (data.shape[1] - 1) / SFREQ, "data": data},
        "chanlocs": np.array([(name,) for name in NAMES], dtype=[("labels", object)]),
        **{"event": events, "icawinv": [], "icaweights": [], "icasphere": []},
    }
    scipy.io.savemat(path, {"EEG": eeg}, appendmat=False)


def manifest(folder, **own):
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"name": "Mine", "own": own}))
    return path


PLAIN = {"preprocessing": {"fmin": None, "fmax": None}}
TRIALS = [(0.5 + 1.5 * k, "go" if k % 2 else "stop") for k in range(6)]


def test_label_in_the_name_cuts_windows(tmp_path):
    raws = {}
    for subject in ("s1", "s2"):
        for label in ("eyes", "task"):
            raws[subject, label] = recording(len(raws), 9.0)
            save(raws[subject, label], tmp_path / f"{subject}_{label}_raw.fif")
    (tmp_path / "s1_notes.txt").write_text("not a recording")
    path = manifest(
        tmp_path, recordings="{subject}_{label}_raw.fif", window=2, exclude_channels=["EOG"]
    )
    found = load_manifest(path)
    assert found.subjects == [1, 2]
    assert list(found.events) == ["eyes", "task"]
    assert found.channels.names == ["C3", "Cz", "C4"]
    assert found.sfreq == SFREQ
    assert found.interval == (0, 1.99)
    assert (found.licence, found.trials) == ("unknown", None)
    data = load_epochs(path, **PLAIN)
    assert data.X.shape == (2 * 2 * 4, 3, 200)
    rows = (data.metadata["subject"] == 2).to_numpy() & (data.y == "task")
    by_hand = raws["s2", "task"].get_data()[:3, :800].reshape(3, 4, 200).swapaxes(0, 1)
    np.testing.assert_allclose(data.X[rows], by_hand * 1e6, rtol=1e-4, atol=1e-4)
    (note,) = data.notes
    assert "one class only" in note
    assert "cross_subject" in note


def test_windows_overlap_and_are_limited_evenly(tmp_path):
    raw = recording(0, 10.0)
    for label in ("a", "b"):
        save(raw, tmp_path / f"s1_{label}_raw.fif")
    where = {"recordings": "{subject}_{label}_raw.fif", "window": 2}
    assert len(load_epochs(manifest(tmp_path, **where, step=1), **PLAIN).X) == 2 * 9
    data = load_epochs(manifest(tmp_path, **where, max_windows=2), **PLAIN)
    assert len(data.X) == 4
    # Of the five windows, those in the middle of each half.
    for k, start in enumerate((200, 600)):
        expected = raw.get_data()[:, start : start + 200] * 1e6
        np.testing.assert_allclose(data.X[k], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:Encountered data in 'double' format")
@pytest.mark.parametrize("suffix", [".edf", ".bdf", ".set", ".vhdr", "_raw.fif"])
def test_annotations_in_every_format(tmp_path, suffix):
    raw = recording(3, 10.0, TRIALS)
    for subject in (1, 2):
        save(raw, tmp_path / f"sub{subject}{suffix}")
    # MNE puts BrainVision's kind of marker before its name.
    labels = {"Comment/go": "go", "Comment/stop": "stop"} if suffix == ".vhdr" else {}
    pattern = "sub{subject}" + suffix
    path = manifest(tmp_path, recordings=pattern, interval=[0, 1], labels=labels)
    found = load_manifest(path)
    assert set(found.events) == {"go", "stop"}
    data = load_epochs(path, subjects=[2], **PLAIN)
    assert data.y.tolist() == [name for _, name in TRIALS]
    by_hand = [raw.get_data()[:, int(t * SFREQ) :][:, :101] for t, _ in TRIALS]
    # EDF stores 16 bits: half a step of a few nanovolts.
    np.testing.assert_allclose(data.X, np.array(by_hand) * 1e6, atol=0.05)
    assert data.notes == ()
    assert check_dataset(path).ok


def test_labels_choose_and_rename(tmp_path):
    save(recording(0, 10.0, [*TRIALS, (9.0, "odd")]), tmp_path / "s1_raw.fif")
    path = manifest(
        tmp_path,
        recordings="s{subject}_raw.fif",
        labels={"go": "left_hand", "stop": "right_hand"},
        interval=[0, 0.5],
    )
    data = load_epochs(path, **PLAIN)
    assert data.classes == ["left_hand", "right_hand"]
    assert len(data.X) == 6


def test_label_table_per_file_and_per_trial(tmp_path):
    for subject in (1, 2):
        save(recording(subject, 6.0), tmp_path / "data" / f"p{subject}_raw.fif")
    (tmp_path / "labels.csv").write_text("file,label\np1_raw.fif,patient\np2_raw.fif,control\n")
    path = manifest(
        tmp_path, recordings="data/p{subject}_raw.fif", labels_from="labels.csv", window=2
    )
    data = load_epochs(path, **PLAIN)
    assert dict(zip(data.metadata["subject"], data.y)) == {1: "patient", 2: "control"}
    (tmp_path / "labels.csv").write_text(
        "file,onset,label\np1_raw.fif,1.0,a\np1_raw.fif,3.5,b\np2_raw.fif,2,a\n"
    )
    path = manifest(
        tmp_path, recordings="data/p{subject}_raw.fif", labels_from="labels.csv", interval=[0, 1]
    )
    data = load_epochs(path, **PLAIN)
    assert data.y.tolist() == ["a", "b", "a"]
    expected = recording(1, 6.0).get_data()[:, 350:451] * 1e6
    np.testing.assert_allclose(data.X[1], expected, rtol=1e-4, atol=1e-4)


def test_sessions_and_runs_from_the_path(tmp_path):
    for session in ("pre", "post"):
        for run in (1, 2):
            save(recording(run, 10.0, TRIALS), tmp_path / "A7" / session / f"r{run}_raw.fif")
    path = manifest(tmp_path, recordings="{subject}/{session}/r{run}_raw.fif", interval=[0, 1])
    found = load_manifest(path)
    assert found.subjects == [7]
    assert found.sessions == ["0post", "1pre"]
    data = load_epochs(path, sessions=["1pre"], **PLAIN)
    assert set(data.metadata["run"]) == {"1", "2"}
    assert len(data.X) == 12


def test_bids_folder_round_trips(tmp_path):
    import mne_bids

    raws = {}
    for label in ("01", "02"):
        raws[label] = recording(int(label), 10.0, TRIALS)
        raws[label].info["line_freq"] = 50
        mne_bids.write_raw_bids(
            raws[label],
            mne_bids.BIDSPath(subject=label, task="x", root=tmp_path / "study", datatype="eeg"),
            allow_preload=True,
            format="BrainVision",
            verbose=False,
        )
    path = manifest(tmp_path, bids="study", interval=[0, 1])
    found = load_manifest(path)
    assert found.subjects == [1, 2]
    assert set(found.events) == {"go", "stop"}
    data = load_epochs(path, **PLAIN)
    assert data.X.shape == (12, 4, 101)
    onset = int(TRIALS[2][0] * SFREQ)
    expected = raws["02"].get_data()[:, onset : onset + 101] * 1e6
    np.testing.assert_allclose(data.X[6 + 2], expected, rtol=1e-3, atol=1e-2)
    report = check_dataset(path)
    assert report.ok
    assert any(file.path.endswith("_eeg.vhdr") for file in report.files)


def test_arrays(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12, 3, 200))
    y = np.array(["a", "b"] * 6)
    subject = np.repeat([3, 5], 6)
    np.savez(
        *(tmp_path / "mine.npz",),
        **{"X": X, "y": y, "subject": subject, "sfreq": 100, "ch_names": ["C3", "Cz", "C4"]},
    )
    path = manifest(tmp_path, arrays="mine.npz", unit=1e-6)
    data = load_epochs(path, **PLAIN)
    np.testing.assert_allclose(data.X, X, rtol=1e-5)
    assert data.y.tolist() == y.tolist()
    assert data.subjects == [3, 5]
    spec = {"fmin": 8, "fmax": 30, "tmin": 0.5, "tmax": 1.5, "channels": ["C4", "C3"]}
    some = load_epochs(path, subjects=[5], preprocessing=spec)
    epochs = mne.EpochsArray(X[6:], mne.create_info(["C3", "Cz", "C4"], 100, "eeg"), verbose=False)
    epochs.filter(8, 30, method="iir", verbose=False).crop(0.5, 1.5).pick(["C4", "C3"])
    expected = epochs.reorder_channels(["C4", "C3"]).get_data()
    np.testing.assert_allclose(some.X, expected, rtol=1e-4, atol=1e-5)
    report = check_dataset(path)
    assert report.ok
    assert report.rows[0].found == {"a": 3, "b": 3}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.zeros((4, 2, 9)), "y": list("abab")}, r"no array \['sfreq'\]"),
        ({"X": np.zeros((4, 9)), "y": list("abab"), "sfreq": 9}, r"shape \(4, 9\), not \(trials"),
        ({"X": np.zeros((4, 2, 9)), "y": list("aba"), "sfreq": 9}, r"y has shape \(3,\)"),
        (
            {"X": np.zeros((2, 2, 9)), "y": ["a", "b"], "sfreq": 9, "ch_names": ["C3"]},
            "ch_names must be 2 different",
        ),
        ({"X": np.zeros((2, 1, 9)), "y": np.array(["a", None], dtype=object)}, "plain arrays"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, arrays, message):
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(CorruptDataError, match=message):
        load_manifest(manifest(tmp_path, arrays="mine.npz"))


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({}, "exactly one of bids"),
        ({"bids": "a", "arrays": "b"}, "exactly one of bids"),
        ({"recordings": "{subject}_{label}.edf"}, "window: files with one label"),
        ({"recordings": "{subject}.edf"}, "interval: labelled trials"),
        ({"recordings": "{person}.edf", "window": 1}, r"not \['person'\]"),
        ({"recordings": "a.edf", "labels_from": "name", "window": 1}, r"needs \{label\}"),
        ({"recordings": "{subject}.edf", "widow": 1}, "widow: unknown field"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, own, message):
    with pytest.raises(ManifestError, match=message):
        load_manifest(manifest(tmp_path, **own))


def test_nothing_there(tmp_path, monkeypatch):
    monkeypatch.delenv("HYPEEG_DATA", raising=False)
    with pytest.raises(MissingDataError, match=r"no 'gone' in .*HYPEEG_DATA"):
        load_manifest(manifest(tmp_path, recordings="gone/{subject}.edf", interval=[0, 1]))
    (tmp_path / "here").mkdir()
    with pytest.raises(MissingDataError, match="no recording matches"):
        load_manifest(manifest(tmp_path, recordings="here/{subject}.edf", interval=[0, 1]))
    with pytest.raises(MissingDataError, match="sub-"):
        load_manifest(manifest(tmp_path, bids="here", interval=[0, 1]))
    with pytest.raises(MissingDataError, match="no file"):
        load_manifest(manifest(tmp_path, arrays=str(tmp_path / "gone.npz")))
    save(recording(0), tmp_path / "s1_raw.fif")
    with pytest.raises(DataError, match="no labels found"):
        load_manifest(manifest(tmp_path, recordings="s{subject}_raw.fif", interval=[0, 1]))


def test_unreadable_file_is_named(tmp_path):
    (tmp_path / "s1.edf").write_text("nothing")
    with pytest.raises(CorruptDataError, match=r"s1\.edf: MNE cannot read it"):
        load_manifest(manifest(tmp_path, recordings="s{subject}.edf", interval=[0, 1]))


def test_cache_follows_the_content(tmp_path):
    save(recording(0, 10.0, TRIALS), tmp_path / "s1_raw.fif")
    path = manifest(tmp_path, recordings="s{subject}_raw.fif", interval=[0, 1])
    first = load_epochs(path, cache=tmp_path / "cache", **PLAIN)
    np.testing.assert_array_equal(load_epochs(path, cache=tmp_path / "cache", **PLAIN).X, first.X)
    recording(9, 10.0, TRIALS).save(tmp_path / "s1_raw.fif", overwrite=True, verbose=False)
    second = load_epochs(path, cache=tmp_path / "cache", **PLAIN)
    assert np.abs(second.X - first.X).max() > 1


def test_small_helpers(tmp_path):
    assert number_subjects(["S10", "S2"]) == {"S10": 10, "S2": 2}
    assert number_subjects(["anna", "bob"]) == {"anna": 1, "bob": 2}
    assert number_subjects(["a1", "b1"]) == {"a1": 1, "b1": 2}
    assert indexed(["0", "1test"]) == {"0": "0", "1test": "1test"}
    assert indexed(["pre", "post-2"]) == {"pre": "0pre", "post-2": "1post2"}
    for name in ("s2_a.edf", "s10_a.edf", "s2_b.edf", "t2_a.edf", "s3_a_c.edf"):
        (tmp_path / name).write_text("")
    own = OwnData(recordings="s{subject}_{label}.edf", window=1, base=str(tmp_path))
    found = [(f.subject, f.label) for f in find_recordings(own)]
    assert found == [("2", "a"), ("2", "b"), ("3", "a_c"), ("10", "a")]
