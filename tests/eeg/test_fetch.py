"""Fetching: what is here stays, failures are tried again, no network is said at once."""

from __future__ import annotations

import hashlib
import json
import socket
import sys
import types
from pathlib import Path

import pytest

from hypeeg.eeg import check_dataset, load_epochs, load_manifest
from hypeeg.eeg import fetch as fetch_module
from hypeeg.eeg.errors import DataError, MissingDataError
from hypeeg.eeg.fetch import OfflineError, fetch_dataset, flat_files
from hypeeg.eeg.files import subject_files
from hypeeg.eeg.lock import lock_path, read_lock, write_lock
from hypeeg.eeg.simulated import SimulatedMI


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("HYPEEG_DATA", raising=False)
    for name in ("HYPEEG_CACHE", "MNE_DATA"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))


class Server:
    """Stands for a MOABB class: files appear when asked for, unless it is told to fail."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failures: list[Exception] = []
        self.asked: list[tuple[int, bool]] = []

    def data_path(self, subject, path=None, force_update=False, update_path=None, verbose=None):
        self.asked.append((subject, bool(force_update)))
        if self.failures:
            raise self.failures.pop(0)
        target = self.folder / f"s{subject}.mat"
        if force_update or not target.exists():
            target.write_bytes(b"recording %d" % subject)
        return str(target)


@pytest.fixture
def served(monkeypatch, tmp_path):
    server = Server(tmp_path)
    monkeypatch.setattr("hypeeg.eeg.reader.make_dataset", lambda manifest, **_: server)
    waits: list[float] = []
    monkeypatch.setattr(fetch_module.time, "sleep", waits.append)
    server.waits = waits
    return server


def test_fetches_records_and_resumes(served, tmp_path):
    lines: list[str] = []
    report = fetch_dataset("BNCI2014_001", [1, 2], tell=lines.append)
    assert report.ok
    assert [row.state for row in report.rows] == ["fetched", "fetched"]
    assert report.lock == str(tmp_path / "HYPEEG_CACHE" / "locks" / "BNCI2014_001.json")
    stored = json.loads(Path(report.lock).read_text())["subjects"]["2"][0]
    assert stored["sha256"] == hashlib.sha256(b"recording 2").hexdigest()
    assert lines[0] == "BNCI2014_001 subject 1: fetched (1 files, 0.0 MB)"
    again = fetch_dataset("BNCI2014_001", [1, 2, 3])
    assert [row.state for row in again.rows] == ["present", "present", "fetched"]
    assert served.asked == [(1, False), (2, False), (3, False)]
    assert subject_files(load_manifest("BNCI2014_001"), 3) == ([tmp_path / "s3.mat"], [])


def test_failures_are_tried_again_with_growing_waits(served):
    served.failures = [ConnectionResetError("reset"), ValueError("hash of downloaded file")]
    assert fetch_dataset("BNCI2014_001", [1], wait=2).ok
    assert served.waits == [2, 4]
    served.failures = [ConnectionResetError("reset\nby peer")] * 2
    report = fetch_dataset("BNCI2014_001", [2, 3], tries=2, wait=1)
    assert [row.state for row in report.rows] == ["failed", "fetched"]
    assert report.rows[0].problem == "2 tries; the last: ConnectionResetError: reset by peer"
    assert not report.ok
    assert set(read_lock("BNCI2014_001")) == {1, 3}


def test_no_network_stops_at_once_and_keeps_what_came(served):
    fetch_dataset("BNCI2014_001", [1])
    error = OSError("max retries")
    error.__cause__ = socket.gaierror("no name")
    served.failures = [error]
    with pytest.raises(OfflineError, match=r"subject 2: there is no network.*same command again"):
        fetch_dataset("BNCI2014_001", [1, 2, 3])
    assert served.waits == []
    assert set(read_lock("BNCI2014_001")) == {1}
    assert isinstance(error, OSError)


def test_a_changed_file_is_fetched_again(served, tmp_path, caplog):
    fetch_dataset("BNCI2014_001", [1])
    (tmp_path / "s1.mat").write_bytes(b"half")
    fetch_dataset("BNCI2014_001", [1])
    assert "has changed since it was fetched" in caplog.text
    assert served.asked == [(1, False), (1, True)]
    assert (tmp_path / "s1.mat").read_bytes() == b"recording 1"
    (tmp_path / "s1.mat").unlink()
    assert fetch_dataset("BNCI2014_001", [1]).rows[0].state == "fetched"
    assert (tmp_path / "s1.mat").read_bytes() == b"recording 1"


def test_a_damaged_edf_is_forced(served, monkeypatch, tmp_path):
    """A truncated file would pass for present: MOABB has to be told to replace it."""
    target = tmp_path / "s1.edf"
    target.write_bytes(b"0" * 100)
    manifest = load_manifest("BNCI2014_001")
    write_lock(manifest.name, {1: [fetch_module.hash_file(target)]})
    report = fetch_dataset(manifest, [1], tries=1)
    assert served.asked == [(1, True)]
    assert report.ok


def test_nothing_to_fetch(tmp_path):
    with pytest.raises(DataError, match="SimulatedMI: nothing to fetch"):
        fetch_dataset("SimulatedMI")
    with pytest.raises(DataError, match="EEGMAT: nothing to fetch"):
        fetch_dataset("EEGMAT")
    with pytest.raises(DataError, match="subjects: 10 is not there; valid: 1 to 9"):
        fetch_dataset("BNCI2014_001", [10])


def test_with_a_data_folder_loading_asks_no_network(monkeypatch, tmp_path):
    (tmp_path / "data" / "eeg").mkdir(parents=True)
    monkeypatch.setenv("HYPEEG_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: pytest.fail("network"))
    with pytest.raises(MissingDataError, match=r"hypeeg data fetch BNCI2014_001 --subjects 1"):
        load_epochs("BNCI2014_001", [1])
    report = check_dataset("BNCI2014_001", [1])
    assert "not fetched" in report.problems[0]


def test_flat_files(tmp_path):
    (tmp_path / "d" / "e").mkdir(parents=True)
    for name in ("d/a", "d/e/b", "c"):
        (tmp_path / name).write_text("")
    a, b, c = (tmp_path / name for name in ("d/a", "d/e/b", "c"))
    assert flat_files(str(c)) == [c]
    assert flat_files([[str(c)], tmp_path / "d", c]) == [c, a, b]
    assert flat_files({"x": [c], "y": a}) == [c, a]
    assert flat_files(None) == []


def test_lock_survives_damage(caplog):
    assert read_lock("X") == {}
    path = lock_path("X")
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert read_lock("X") == {}
    assert "not a readable lock file" in caplog.text


@pytest.fixture
def recorded(monkeypatch, tmp_path):
    """A dataset of MOABB's kind whose two files are in the lock."""

    class Recorded(SimulatedMI):
        def __init__(self):
            super().__init__(n_subjects=2, n_sessions=1, n_trials=4)

        def manifest_changes(self):
            return {}

    module = types.ModuleType("moabb.datasets")
    module.Recorded = Recorded
    monkeypatch.setitem(sys.modules, "recorded_datasets", module)
    for subject in (1, 2):
        (tmp_path / f"s{subject}.dat").write_bytes(b"%d" % subject)
    return tmp_path


def test_check_finds_changes_against_the_lock(recorded, monkeypatch):
    import moabb.datasets

    cls = sys.modules["recorded_datasets"].Recorded
    monkeypatch.setattr(moabb.datasets, "Recorded", cls, raising=False)
    base = load_manifest("SimulatedMI")
    manifest = base.model_copy(
        update={"moabb_class": "Recorded", "name": "Recorded", "trials": None, "sessions": []}
    )
    files = {s: [fetch_module.hash_file(recorded / f"s{s}.dat")] for s in (1, 2)}
    write_lock("Recorded", files)
    report = check_dataset(manifest, [1, 2])
    assert report.ok
    assert report.lock == str(lock_path("Recorded"))
    (recorded / "s2.dat").write_bytes(b"other")
    (problem,) = check_dataset(manifest, [1, 2], update_lock=True).problems
    assert "s2.dat: changed since it was recorded (1 bytes" in problem
    assert read_lock("Recorded") == files
    beside = recorded / "run" / "data.lock.json"
    assert check_dataset(manifest, [1, 2], lock=beside, update_lock=True).ok
    assert beside.is_file()
    assert check_dataset(manifest, [1, 2], accept_changes=True).ok
    assert check_dataset(manifest, [1, 2]).ok
    assert read_lock("Recorded")[2][0].size == 5
