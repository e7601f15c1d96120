"""The cache gives back the same numbers, is keyed by content, and mends itself."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from hypeeg.eeg import load_epochs
from hypeeg.eeg.simulated import SimulatedMI

SMALL = {"n_subjects": 2, "n_trials": 4, "n_sessions": 1}


@pytest.fixture
def reads(monkeypatch):
    """Subjects that were really read, in order."""
    seen: list[int] = []
    read = SimulatedMI._get_single_subject_data

    def spy(self, subject):
        seen.append(subject)
        return read(self, subject)

    monkeypatch.setattr(SimulatedMI, "_get_single_subject_data", spy)
    return seen


def load(folder, **request):
    request.setdefault("dataset_params", SMALL)
    return load_epochs("SimulatedMI", cache=folder, **request)


def same(a, b):
    np.testing.assert_array_equal(a.X, b.X)
    assert a.y.tolist() == b.y.tolist()
    assert a.metadata.equals(b.metadata)
    assert a.metadata.dtypes.equals(b.metadata.dtypes)
    assert (a.ch_names, a.sfreq, a.scoring, a.notes) == (b.ch_names, b.sfreq, b.scoring, b.notes)


def test_second_load_reads_nothing_and_gives_the_same(tmp_path, reads):
    plain = load(None)
    first = load(tmp_path)
    assert reads == [1, 2, 1, 2]
    second = load(tmp_path)
    assert reads == [1, 2, 1, 2]
    same(first, plain)
    same(second, plain)
    one = load(tmp_path, subjects=[2])
    assert reads == [1, 2, 1, 2]
    assert isinstance(one.X, np.memmap)
    assert one.X.dtype == np.float32


def test_environment_names_the_folder(tmp_path, reads, monkeypatch):
    monkeypatch.setenv("HYPEEG_CACHE", str(tmp_path))
    load(None)
    load(None)
    assert reads == [1, 2]
    assert len(list((tmp_path / "epochs" / "SimulatedMI").iterdir())) == 2


def test_other_input_is_another_entry(tmp_path, reads, monkeypatch):
    load(tmp_path)
    load(tmp_path, preprocessing={"fmin": 5})
    assert reads == [1, 2] * 2
    load(tmp_path, dataset_params={**SMALL, "n_trials": 6})
    assert reads == [1, 2] * 3
    # Standardisation is the pipeline's: it does not change what is kept.
    load(tmp_path, preprocessing={"standardise": "trial"})
    assert reads == [1, 2] * 3
    monkeypatch.setattr("hypeeg.eeg.cache.version", lambda name: "99")
    load(tmp_path)
    assert reads == [1, 2] * 4


def test_writing_into_the_array_leaves_the_file(tmp_path):
    load(tmp_path)
    data = load(tmp_path, subjects=[1])
    before = np.array(data.X)
    X = data.X
    X *= 0
    assert not data.X.any()
    np.testing.assert_array_equal(load(tmp_path, subjects=[1]).X, before)


@pytest.mark.parametrize("fault", ["flipped", "truncated", "no array", "json", "labels"])
def test_damaged_entries_are_found_and_made_again(tmp_path, reads, caplog, fault):
    plain = load(tmp_path)
    entry = next((tmp_path / "SimulatedMI").glob("subject-002-*"))
    array, record = entry / "X.npy", entry / "entry.json"
    content = bytearray(array.read_bytes())
    if fault == "flipped":
        content[-7] ^= 1
        array.write_bytes(content)
    elif fault == "truncated":
        array.write_bytes(content[: len(content) // 2])
    elif fault == "no array":
        array.unlink()
    elif fault == "json":
        record.write_text(record.read_text()[:50])
    else:
        record.write_text(record.read_text().replace("left_hand", "right_hand"))
    assert reads == [1, 2]
    same(load(tmp_path), plain)
    assert reads == [1, 2, 2]
    assert "is damaged" in caplog.text
    load(tmp_path)
    assert reads == [1, 2, 2]


def test_record_names_the_arrays_hash(tmp_path):
    load(tmp_path)
    for entry in (tmp_path / "SimulatedMI").iterdir():
        stored = json.loads((entry / "entry.json").read_text())["content"]
        assert stored["sha256"] == hashlib.sha256((entry / "X.npy").read_bytes()).hexdigest()
        assert np.load(entry / "X.npy").shape == tuple(stored["shape"])


def test_more_than_memory_stays_on_disk(tmp_path, reads, caplog):
    plain = load(None)
    limit = plain.X.nbytes * 0.9
    # One subject at a time is estimated at more than this toy limit: only the joining is tested.
    from hypeeg.eeg import datasets

    parts = [load(tmp_path, subjects=[s]) for s in (1, 2)]
    store = datasets.cache_from(tmp_path)
    keys = ["a", "b"]
    joined = datasets._joined("SimulatedMI", parts, keys, store, limit)
    assert isinstance(joined, np.memmap)
    np.testing.assert_array_equal(joined, plain.X)
    again = datasets._joined("SimulatedMI", parts, keys, store, limit)
    np.testing.assert_array_equal(again, plain.X)
    file = next((tmp_path / "SimulatedMI").glob("joined-*")) / "X.npy"
    file.write_bytes(file.read_bytes()[:-4])
    np.testing.assert_array_equal(
        datasets._joined("SimulatedMI", parts, keys, store, limit), plain.X
    )
    assert "is damaged" in caplog.text
    same(load(tmp_path), plain)


def test_unwritable_folder_only_costs_the_cache(tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("")
    same(load(blocked), load(None))
    assert "cannot be written" in caplog.text
