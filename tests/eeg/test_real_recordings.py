"""Real recordings: PhysionetMI subject 1 and Kalunga2016, without the network."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline

from hypeeg.eeg import check_dataset, load_epochs, load_manifest
from hypeeg.eeg.errors import CorruptDataError, MissingDataError

pytestmark = pytest.mark.realdata
RUNS = "MNE-eegbci-data/files/eegmmidb/1.0.0/S001"
VARIABLES = (
    *("MNE_DATA", "MOABB_RESULTS", "MOABB_DOWNLOAD_PROVIDER"),
    *("MNE_DATASETS_EEGBCI_PATH", "MNE_DATASETS_SSVEPEXO_PATH"),
)


@pytest.fixture(autouse=True)
def _no_network_and_no_home(monkeypatch, tmp_path):
    """Any connection fails the test, and MNE's config would appear in a fresh folder."""

    def refuse(*args, **kwargs):
        raise AssertionError(f"the network was asked: {args}")

    for name in VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("_MNE_FAKE_HOME_DIR", str(tmp_path / "home"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield
    assert not (tmp_path / "home").exists()


@pytest.fixture
def copy(hypeeg_data, tmp_path, monkeypatch):
    """A data folder whose recordings of PhysionetMI subject 1 can be harmed."""
    source = hypeeg_data / "eeg" / RUNS
    target = tmp_path / "copy" / "eeg" / RUNS
    target.mkdir(parents=True)
    for path in source.glob("*.edf"):
        (target / path.name).symlink_to(path)
    monkeypatch.setenv("HYPEEG_DATA", str(tmp_path / "copy"))
    return target


def replace_file(path, content):
    path.unlink()
    path.write_bytes(content)


@pytest.fixture
def physionet(hypeeg_data):
    return load_epochs("PhysionetMI", [1])


def test_physionet_shape_and_counts(physionet):
    assert physionet.X.shape == (45, 64, 481)
    assert (physionet.y == "left_hand").sum() == 23
    assert physionet.sfreq == 160
    assert physionet.ch_names[:3] == ("FC5", "FC3", "FC1")
    assert set(physionet.metadata["run"]) == {"0", "1", "2"}
    assert physionet.notes == ()
    assert 5 < physionet.X.std() < 50  # microvolts


def test_physionet_reference_scores(physionet):
    """45 trials: the standard error is about 0.07, so only the neighbourhood is checked."""
    from pyriemann.estimation import Covariances
    from pyriemann.spatialfilters import CSP
    from pyriemann.tangentspace import TangentSpace
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression

    X, y = physionet.X.astype(np.float64), physionet.y
    folds = StratifiedKFold(5, shuffle=True, random_state=42)
    csp = make_pipeline(Covariances("oas"), CSP(nfilter=6), LinearDiscriminantAnalysis())
    tangent = make_pipeline(Covariances("oas"), TangentSpace(), LogisticRegression(max_iter=1000))
    assert cross_val_score(csp, X, y, cv=folds).mean() == pytest.approx(0.733, abs=0.08)
    assert cross_val_score(tangent, X, y, cv=folds).mean() == pytest.approx(0.80, abs=0.08)


def test_physionet_hands_and_feet(hypeeg_data):
    data = load_epochs("PhysionetMI", [1], events=["hands", "feet"], preprocessing={"tmax": 2})
    assert data.X.shape == (45, 64, 321)
    assert data.classes == ["feet", "hands"]
    assert set(data.metadata["run"]) == {"3", "4", "5"}


def test_kalunga_trials_and_duplicate(hypeeg_data, caplog):
    data = load_epochs("Kalunga2016", list(range(1, 9)))
    assert data.X.shape == (16 * 24, 8, 512)
    counts = data.metadata.assign(y=data.y).groupby(["subject", "session", "run", "y"]).size()
    assert (counts == 8).all()
    assert data.classes == ["13", "17", "21"]
    assert data.scoring == "accuracy"
    assert "subject 7 session 0 run 0 is a copy of subject 3 session 0 run 1" in data.notes[0]
    assert data.notes[0] in caplog.text
    assert data.metadata.query("subject == 7")["run"].unique().tolist() == ["1", "2"]


def test_kalunga_duplicate_is_one(hypeeg_data):
    kept = load_epochs("Kalunga2016", [3, 7], exclude_duplicates=False)
    parts = [
        kept.select(((kept.metadata["subject"] == s) & (kept.metadata["run"] == r)).to_numpy())
        for s, r in ((7, "0"), (3, "1"))
    ]
    np.testing.assert_array_equal(parts[0].X, parts[1].X)
    # Alone, subject 7 cannot leak into subject 3: all three runs stay.
    assert len(load_epochs("Kalunga2016", [7]).X) == 72


def test_kalunga_window_beyond_the_recording_is_noted(hypeeg_data):
    data = load_epochs("Kalunga2016", [1], preprocessing={"tmax": 4})
    assert len(data.X) == 46
    assert "7 of '13', not 8" in data.notes[0]
    assert "tmax=4.0" in data.notes[0]


def test_missing_subject_names_path_and_remedy(hypeeg_data):
    with pytest.raises(MissingDataError) as info:
        load_epochs("PhysionetMI", [1, 2])
    message = str(info.value)
    assert "PhysionetMI subject 2" in message
    assert str((hypeeg_data / "eeg").resolve()) in message
    assert "S002R04.edf" in message
    assert "complete here: subjects 1" in message
    assert "\n" not in message


def test_missing_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HYPEEG_DATA", str(tmp_path / "nowhere"))
    for call in (load_epochs, check_dataset):
        with pytest.raises(MissingDataError, match=r"HYPEEG_DATA=.*nowhere"):
            call("PhysionetMI", [1])
    load_epochs("SimulatedMI", [1], dataset_params={"n_trials": 2})


def test_empty_data_folder(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("HYPEEG_DATA", str(tmp_path))
    with caplog.at_level(logging.WARNING), pytest.raises(MissingDataError, match="no subject is"):
        load_epochs("Kalunga2016", [1])
    assert "no folder 'eeg'" in caplog.text


def test_without_data_folder_a_failed_download_is_one_line(monkeypatch, tmp_path):
    def unreachable(*args, **kwargs):
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.delenv("HYPEEG_DATA", raising=False)
    monkeypatch.setenv("MOABB_DOWNLOAD_PROVIDER", "upstream")
    monkeypatch.setenv("MNE_DATA", str(tmp_path))
    with pytest.raises(MissingDataError, match=r"subject 1: recordings are not on this") as info:
        load_epochs("PhysionetMI", [1])
    assert "\n" not in str(info.value)
    assert "HYPEEG_DATA" in str(info.value)
    assert info.value.__cause__ is not None


def test_truncated_edf_is_named(copy):
    path = copy / "S001R04.edf"
    content = path.read_bytes()
    replace_file(path, content[: len(content) // 2])
    with pytest.raises(CorruptDataError, match=r"S001R04\.edf: truncated: \d+ bytes where"):
        load_epochs("PhysionetMI", [1])
    report = check_dataset("PhysionetMI", [1])
    assert not report.ok
    assert "S001R04.edf: truncated" in report.problems[0]
    assert "SHA-256 differs" in report.problems[1]
    assert any("left_hand: 18 trials, expected 23" in problem for problem in report.problems)


def test_changed_recording_is_found_by_its_hash(copy):
    path = copy / "S001R08.edf"
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    replace_file(path, bytes(content))
    (problem,) = check_dataset("PhysionetMI", [1]).problems
    assert "S001R08.edf: SHA-256 differs" in problem


def test_one_missing_run_is_named(copy):
    (copy / "S001R12.edf").unlink()
    with pytest.raises(MissingDataError, match=r"S001R12\.edf; no subject is complete"):
        load_epochs("PhysionetMI", [1])
    (problem,) = check_dataset("PhysionetMI", [1]).problems
    assert "1 of 6 files missing" in problem


def test_truncated_fif_is_named(hypeeg_data, tmp_path, monkeypatch):
    folder = "MNE-ssvepexo-data/zenodo/2392979"
    target = tmp_path / "copy" / "eeg" / folder
    target.mkdir(parents=True)
    for run in (1, 2):
        name = f"subject01_run{run}_raw.fif"
        content = (hypeeg_data / "eeg" / folder / name).read_bytes()
        (target / name).write_bytes(content[: len(content) // 2] if run == 2 else content)
    monkeypatch.setenv("HYPEEG_DATA", str(tmp_path / "copy"))
    with pytest.raises(CorruptDataError, match=r"subject 1.*subject01_run2_raw\.fif"):
        load_epochs("Kalunga2016", [1])
    assert not check_dataset("Kalunga2016", [1]).ok


def test_check_lists_hashes_and_missing_subjects(hypeeg_data):
    report = check_dataset("Kalunga2016")
    assert len(report.files) == 17
    first = report.files[0]
    assert hashlib.sha256(Path(first.path).read_bytes()).hexdigest() == first.sha256
    assert [p for p in report.problems if "missing" not in p] == []
    assert {row.subject for row in report.rows if row.problems} == {9, 10, 11, 12}
    assert "subject 7 session 0 run 0 is a copy" in report.to_text()
    assert check_dataset("Kalunga2016", list(range(1, 9))).ok
    assert check_dataset("PhysionetMI", [1]).ok


def test_environment_is_set_by_loading(physionet, hypeeg_data):
    load_epochs("Kalunga2016", [2], preprocessing={"channels": ["Oz"]})
    assert os.environ["MNE_DATASETS_SSVEPEXO_PATH"] == str(hypeeg_data.resolve() / "eeg")
    assert load_manifest("Kalunga2016").files is not None


def test_epochs_are_moabbs_own(hypeeg_data, physionet):
    """The arrays are what MOABB's own get_data gives, in microvolts."""
    from moabb.datasets import PhysionetMI
    from moabb.paradigms import LeftRightImagery

    X, y, metadata = LeftRightImagery(fmin=8, fmax=32).get_data(PhysionetMI(), [1])
    np.testing.assert_allclose(physionet.X, X, rtol=1e-4, atol=1e-3)
    assert physionet.y.tolist() == y.tolist()
    assert physionet.metadata["run"].tolist() == metadata["run"].tolist()


def test_cached_recordings_are_the_same(hypeeg_data, tmp_path):
    plain = load_epochs("Kalunga2016", [1, 3, 7])
    load_epochs("Kalunga2016", [1, 3, 7], cache=tmp_path)
    cached = load_epochs("Kalunga2016", [1, 3, 7], cache=tmp_path)
    np.testing.assert_array_equal(cached.X, plain.X)
    assert cached.notes == plain.notes  # the duplicate is dropped from the cache too
    assert len(list((tmp_path / "Kalunga2016").glob("subject-*"))) == 3


EEGMAT = list(range(8))


@pytest.fixture
def eegmat(hypeeg_data):
    return load_epochs("EEGMAT", EEGMAT)


def test_eegmat_is_own_data(eegmat, hypeeg_data):
    assert eegmat.X.shape == (8 * 2 * 15, 19, 512)
    assert eegmat.sfreq == 128
    assert eegmat.subjects == EEGMAT
    assert not {"A2-A1", "ECG", "EEG A2-A1", "ECG ECG"} & set(eegmat.ch_names)
    counts = eegmat.metadata.assign(y=eegmat.y).groupby(["subject", "run", "y"]).size()
    assert (counts == 15).all()
    assert len(counts) == 16
    assert "a split inside a subject leaks" in eegmat.notes[0]
    with pytest.raises(MissingDataError, match=r"EEGMAT subject 8: .*complete here: subjects 0, 1"):
        load_epochs("EEGMAT")


def test_eegmat_windows_are_what_mne_reads(hypeeg_data):
    import mne

    raw = mne.io.read_raw_edf(
        hypeeg_data / "eeg/eegmat/Subject03_2.edf", preload=True, verbose="ERROR"
    )
    data = load_epochs("EEGMAT", [3], preprocessing={"fmin": 4, "fmax": 30, "resample": None})
    raw.filter(4, 30, method="iir", picks=list(range(19)), verbose="ERROR")
    # 62 s: fifteen whole windows of 4 s from the start.
    expected = raw.get_data()[:19, : 15 * 2000].reshape(19, 15, 2000).swapaxes(0, 1) * 1e6
    np.testing.assert_allclose(data.X[data.y == "task"], expected, rtol=1e-3, atol=1e-2)
    assert [name.removeprefix("EEG ") for name in raw.ch_names[:19]] == list(data.ch_names)


def test_eegmat_leave_one_subject_out_beats_the_majority(eegmat):
    """Windows of a recording are alike: the unit is the subject, so no fold splits one."""
    from pyriemann.estimation import Covariances
    from pyriemann.tangentspace import TangentSpace
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import LeaveOneGroupOut

    X, y = eegmat.X.astype(np.float64), eegmat.y
    groups = eegmat.metadata["subject"]
    pipeline = make_pipeline(Covariances("oas"), TangentSpace(), LogisticRegression(max_iter=1000))
    scores = cross_val_score(pipeline, X, y, groups=groups, cv=LeaveOneGroupOut())
    majority = (y == "rest").mean()
    assert majority == 0.5
    assert len(scores) == 8
    assert scores.mean() > majority
    # The trap the manifest names: inside a subject, recordings are told apart without fail.
    leaked = cross_val_score(pipeline, X, y, cv=StratifiedKFold(5, shuffle=True, random_state=0))
    assert leaked.mean() > 0.9


def test_eegmat_check_and_files(hypeeg_data):
    report = check_dataset("EEGMAT", EEGMAT)
    assert report.ok
    assert len(report.files) == 16
    path = hypeeg_data / "eeg" / "eegmat" / "Subject00_1.edf"
    assert report.files[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert report.folder == str(hypeeg_data / "eeg" / "eegmat")


def test_fetch_leaves_what_is_here(hypeeg_data, monkeypatch, tmp_path):
    from hypeeg.eeg.fetch import fetch_dataset

    monkeypatch.setenv("HYPEEG_CACHE", str(tmp_path / "cache"))
    report = fetch_dataset("PhysionetMI", [1])
    assert [row.state for row in report.rows] == ["present"]
    assert {Path(f.path).name: f.sha256 for f in report.rows[0].files} == (
        load_manifest("PhysionetMI").files.sha256
    )
