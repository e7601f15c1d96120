"""Memory is estimated before anything is read, and too much is refused with the numbers."""

from __future__ import annotations

import numpy as np
import pytest

from hypeeg.eeg import load_epochs, load_manifest
from hypeeg.eeg.errors import TooLargeError
from hypeeg.eeg.memory import (
    _container_memory,
    available_memory,
    check_memory,
    estimate_memory,
    human,
)
from hypeeg.eeg.preprocessing import PreprocessingSpec

SMALL = {"n_subjects": 2, "n_trials": 8}


def estimate(name, subjects, **changes):
    manifest = load_manifest(name)
    spec = manifest.resolve_preprocessing(changes.pop("preprocessing", None))
    return estimate_memory(manifest, subjects, manifest.default_events, spec, **changes)


def test_estimate_is_what_loading_gives():
    found = estimate("SimulatedMI", [1, 2])
    data = load_epochs("SimulatedMI", [1, 2])
    assert found.epochs_bytes == data.X.nbytes
    assert (found.trials, found.n_channels, found.n_times) == data.X.shape
    assert found.peak_bytes > 2 * data.X.nbytes
    assert (
        estimate("SimulatedMI", [1, 2], mapped=True).peak_bytes < found.peak_bytes - data.X.nbytes
    )


def test_runs_and_exceptions_count():
    # Subject 10 of Kalunga2016 has four runs of 24 trials of three classes, others two.
    assert estimate("Kalunga2016", [10]).trials == 4 * 24
    assert estimate("Kalunga2016", [1, 10]).largest_subject == 4 * 24
    assert estimate("Kalunga2016", [1]).n_times == 513  # 4 s at 128 Hz, ends included


def test_catalogued_counts_are_an_upper_bound():
    found = estimate("BNCI2014_001", [1])
    assert "at most" in found.source
    assert found.trials == 144 * 4 * 2 >= 576  # 288 trials in each of two sessions
    assert estimate("BI2012", [1]).trials == 640 + 128
    assert estimate("BNCI2015_008", [1]) is None  # the table says 'varies'


def test_too_large_is_refused_before_reading(monkeypatch):
    from hypeeg.eeg.simulated import SimulatedMI

    def never(*_):
        raise AssertionError("read")

    monkeypatch.setattr(SimulatedMI, "_get_single_subject_data", never)
    with pytest.raises(TooLargeError, match=r"2 subjects need 32 trials × 22 channels × 321") as e:
        load_epochs("SimulatedMI", dataset_params=SMALL, memory_limit=1e6)
    message = str(e.value)
    for part in ("904 kB", "1 MB may be used", "fewer subjects", "resample", "HYPEEG_CACHE"):
        assert part in message
    assert "\n" not in message


def test_free_memory_decides_without_a_limit(monkeypatch):
    spec = PreprocessingSpec()
    manifest = load_manifest("Liu2020BETA")
    big = estimate_memory(manifest, manifest.subjects, manifest.default_events, spec)
    monkeypatch.setattr("hypeeg.eeg.memory.available_memory", lambda: big.peak_bytes)
    with pytest.raises(TooLargeError, match=r"80% of what is free"):
        check_memory("Liu2020BETA", big)
    monkeypatch.setattr("hypeeg.eeg.memory.available_memory", lambda: 2 * big.peak_bytes)
    check_memory("Liu2020BETA", big)
    check_memory("Liu2020BETA", None, 1)


def test_available_memory_agrees_with_psutil():
    psutil = pytest.importorskip("psutil")
    found = available_memory()
    assert found is not None
    assert 0 < found <= 1.2 * psutil.virtual_memory().available


def test_container_limit(tmp_path):
    assert _container_memory(tmp_path) is None
    (tmp_path / "memory.max").write_text("max\n")
    assert _container_memory(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("600\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 100\n")
    assert _container_memory(tmp_path) == 500


def test_arrays_are_estimated_by_their_header(tmp_path):
    X = np.zeros((6, 3, 50))
    np.savez(tmp_path / "a.npz", X=X, y=["a", "b"] * 3, sfreq=100)
    (tmp_path / "m.yaml").write_text("{name: mine, own: {arrays: a.npz}}")
    manifest = load_manifest(tmp_path / "m.yaml")
    found = estimate_memory(manifest, [1], ["a", "b"], PreprocessingSpec())
    assert (found.trials, found.n_times, found.source) == (6, 50, "headers of the recordings")


def test_human_units():
    assert [human(n) for n in (12, 3400, 5.2e6, 3.44e9)] == ["12 B", "3.4 kB", "5.2 MB", "3.4 GB"]
