"""A look into recordings without loading a data set: signals, spectrum, sensors, files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import mne
import numpy as np
import pytest
import yaml

from hypeeg.eeg.errors import DataError, MissingDataError
from hypeeg.eeg.inventory import inventory
from hypeeg.eeg.lock import hash_file, write_lock
from hypeeg.eeg.manifest import load_manifest
from hypeeg.eeg.positions import head_plane, sensor_positions
from hypeeg.eeg.preview import load_preview, main, preview_recording

SFREQ = 500.0
NAMES = ["C3", "Cz", "C4", "X9"]
ONSETS = [3.0, 5.5, 8.0]
CUT = 2.0


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Two runs of a subject; C3 swings at 10 Hz, by 20 µV. The first two seconds are cut off."""
    times = np.arange(int(20 * SFREQ)) / SFREQ
    for run, label in (("1", "left"), ("2", "right")):
        noise = 1e-6 * np.random.default_rng(int(run)).standard_normal((4, len(times)))
        noise[0] += 20e-6 * np.sin(2 * np.pi * 10 * times)
        raw = mne.io.RawArray(noise, mne.create_info(NAMES, SFREQ, "eeg"), verbose=False)
        raw.set_annotations(mne.Annotations(ONSETS, 0.0, [label, "right", label]))
        raw.crop(CUT).save(tmp_path / f"s4_run{run}_raw.fif", verbose=False)
    path = tmp_path / "mine.yaml"
    own = {
        "recordings": "s{subject}_run{run}_raw.fif",
        "labels": {"left": "left_hand", "right": "right_hand"},
        "interval": [0, 2],
    }
    path.write_text(yaml.safe_dump({"name": "Mine", "own": own}))
    return path


def test_a_preview_shows_what_is_in_the_recording(recordings: Path, tmp_path: Path) -> None:
    preview = preview_recording(recordings, 4)
    assert preview.names == tuple(NAMES)
    assert (preview.sfreq, preview.duration) == (SFREQ, 18.0)
    # A screen gets half the samples, in the same amplitude.
    assert preview.shown_sfreq == 250.0
    assert preview.signals.shape == (4, 18 * 250)
    swing = preview.signals[0, 250:-250]
    assert np.ptp(swing) / 2 == pytest.approx(20, rel=0.2)
    np.testing.assert_allclose(preview.onsets, np.array(ONSETS) - CUT)
    assert preview.events.tolist() == ["left_hand", "right_hand", "left_hand"]
    peak = preview.frequencies[preview.psd[0].argmax()]
    assert peak == pytest.approx(10, abs=0.5)
    # A sinusoid of amplitude a has power a^2 / 2: Parseval, over the whole peak.
    near = np.abs(preview.frequencies - 10) < 3
    width = preview.frequencies[1] - preview.frequencies[0]
    assert preview.psd[0, near].sum() * width == pytest.approx(20**2 / 2, rel=0.05)
    assert preview.frequencies[-1] <= 100
    assert preview.positions.known.tolist() == [True, True, True, False]
    assert [run for _, run in preview.recordings] == ["1", "2"]
    counts = {(r["run"], r["event"]): r["trials"] for r in preview.counts}
    assert counts == {
        ("1", "left_hand"): 2,
        ("1", "right_hand"): 1,
        ("2", "left_hand"): 0,
        ("2", "right_hand"): 3,
    }


def test_the_window_begins_where_it_is_asked_to(recordings: Path) -> None:
    whole = preview_recording(recordings, 4, run="2")
    part = preview_recording(recordings, 4, run="2", start=5.0, seconds=4.0)
    assert (part.start, part.signals.shape[1]) == (5.0, 1000)
    inner = slice(100, 900)
    np.testing.assert_allclose(
        part.signals[:, inner], whole.signals[:, 1250:2250][:, inner], atol=0.3
    )
    # Beyond the end there is still the last second.
    late = preview_recording(recordings, 4, start=900.0)
    assert (late.start, late.signals.shape[1]) == (17.0, 250)


def test_a_preview_survives_its_file(recordings: Path, tmp_path: Path) -> None:
    out = tmp_path / "preview.npz"
    assert main(["recording", str(recordings), "--subjects", "4", "--out", str(out)]) == 0
    again, first = load_preview(out), preview_recording(recordings, 4)
    np.testing.assert_array_equal(again.signals, first.signals)
    np.testing.assert_array_equal(again.positions.points, first.positions.points)
    for name in ("names", "subject", "session", "run", "counts", "duration", "start"):
        assert getattr(again, name) == getattr(first, name)


def test_errors_name_what_is_wrong(recordings: Path, tmp_path: Path, capsys) -> None:
    with pytest.raises(DataError, match="subject 5 is not in the manifest"):
        preview_recording(recordings, 5)
    with pytest.raises(DataError, match="no recording None/7"):
        preview_recording(recordings, 4, run="7")
    code = main(
        ["recording", str(recordings), "--subjects", "5", "--out", str(tmp_path / "out.npz")]
    )
    assert code == 1
    assert "error: Mine: subject 5" in capsys.readouterr().err
    assert not (tmp_path / "out.npz").exists()


def test_a_damaged_recording_is_named(recordings: Path) -> None:
    # Described once, while the headers could be read.
    manifest = load_manifest(recordings)
    path = recordings.parent / "s4_run1_raw.fif"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"s4_run1_raw\.fif: MNE cannot read it"):
        preview_recording(manifest, 4)


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "eeg").mkdir()
    monkeypatch.setenv("HYPEEG_DATA", str(tmp_path))
    monkeypatch.setenv("HYPEEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MNE_DATASETS_EEGBCI_PATH", str(tmp_path))
    for name in ("AlexMI", "PhysionetMI"):
        with pytest.raises(MissingDataError, match=name):
            preview_recording(name, 1)


def test_arrays_are_shown_trial_after_trial(tmp_path: Path) -> None:
    X = np.random.default_rng(0).standard_normal((4, 2, 50)) * 1e-6
    np.savez(
        *(tmp_path / "mine.npz",),
        **{"X": X, "y": np.array(["a", "b", "b", "a"]), "sfreq": 100, "ch_names": ["C3", "C4"]},
    )
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"name": "Mine", "own": {"arrays": "mine.npz"}}))
    preview = preview_recording(path, 1)
    np.testing.assert_allclose(preview.signals[:, 50:100], X[1] * 1e6, rtol=1e-5)
    np.testing.assert_allclose(preview.onsets, [0.0, 0.5, 1.0, 1.5])
    assert preview.events.tolist() == ["a", "b", "b", "a"]


def test_a_simulated_set_needs_no_files() -> None:
    preview = preview_recording("SimulatedMI", 2, session="1", seconds=5)
    assert (preview.session, preview.signals.shape) == ("1", (len(preview.names), 5 * 128))
    assert preview.positions.known.all()
    assert inventory(load_manifest("SimulatedMI")).complete == [1, 2, 3, 4]


def test_inventory_counts_files_and_compares_with_the_lock(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPEEG_CACHE", str(tmp_path / "cache"))
    manifest = load_manifest(recordings)
    files = sorted(tmp_path.glob("*.fif"))
    found = inventory(manifest)
    (row,) = found.subjects
    assert (row.subject, row.present, row.missing, row.state) == (4, 2, 0, "complete")
    assert found.size == sum(path.stat().st_size for path in files)
    assert (row.recorded, found.lock) == (0, None)

    write_lock("Mine", {4: [hash_file(path) for path in files]})
    assert inventory(manifest).subjects[0].recorded == 2
    with files[0].open("ab") as stream:
        stream.write(b"more")
    (row,) = inventory(manifest).subjects
    assert (row.recorded, row.resized) == (1, (str(files[0]),))
    for path in files:
        path.unlink()
    gone = inventory(manifest)
    assert (gone.here, gone.complete, gone.subjects[0].state) == (False, [], "absent")


def test_a_data_folder_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPEEG_DATA", "/nowhere/at/all")
    found = inventory(load_manifest("Kalunga2016"))
    assert "does not exist" in found.problem
    assert not found.here


def test_head_plane_is_an_equidistant_projection() -> None:
    ball = np.array([[0, 0, 1.0], [1, 0, 0], [0, -1, 0], [0, np.sqrt(0.5), np.sqrt(0.5)]])
    plane = head_plane(3 * ball + 5, np.full(3, 5.0))
    np.testing.assert_allclose(plane, [[0, 0], [1, 0], [0, -1], [0, 0.5]], atol=1e-12)


def test_sensors_lie_where_their_names_say() -> None:
    names = ["Fpz", "Oz", "T7", "T8", "CZ", "c3", "nothing"]
    found = sensor_positions(names, "standard_1005")
    fpz, oz, t7, t8, cz, c3, nothing = found.points
    assert fpz[1] > 0.9
    assert oz[1] < -0.85
    assert t7[0] < -0.9 < 0.9 < t8[0]
    assert np.linalg.norm(cz) < 0.1
    assert -0.7 < c3[0] < -0.3
    assert np.isnan(nothing).all()
    assert found.known.tolist() == [True] * 6 + [False]
    assert "names none" in sensor_positions(names).source
    assert "'custom'" in sensor_positions(names, "custom").source


def test_positions_of_the_recording_serve_sensors_without_a_template() -> None:
    rng = np.random.default_rng(0)
    ball = rng.standard_normal((20, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    recorded = 90.0 * ball + [3.0, -10.0, 40.0]
    found = sensor_positions([f"E{k}" for k in range(20)], None, recorded)
    assert "recording" in found.source
    np.testing.assert_allclose(found.points, head_plane(ball, np.zeros(3)), atol=1e-9)
    # Zeros are no positions.
    empty = sensor_positions([f"E{k}" for k in range(20)], None, np.zeros((20, 3)))
    assert not empty.known.any()


def test_screens_can_read_previews_and_inventories_without_moabb() -> None:
    code = """
import sys
from hypeeg.eeg.inventory import inventory
from hypeeg.eeg.preview import load_preview
from hypeeg.eeg.manifest import load_manifest
inventory(load_manifest("Kalunga2016"))
found = [name for name in ("torch", "moabb", "scipy.signal") if name in sys.modules]
sys.exit(f"imported: {found}" if found else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr


@pytest.mark.realdata
def test_real_recordings(
    hypeeg_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    preview = preview_recording("Kalunga2016", 7, run="2")
    assert len(preview.recordings) == 3
    assert preview.positions.known.all()
    # Occipital sensors lie at the back.
    assert (preview.positions.points[:, 1] < -0.5).all()
    out = tmp_path / "counts.json"
    assert main(["counts", "Kalunga2016", "--subjects", "7", "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["ok"]
    assert report["rows"][0]["found"] == {"13": 8, "17": 8, "21": 8, "rest": 8}
