"""Data folders are announced through the environment, never through the user's MNE config."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hypeeg.eeg.errors import MissingDataError
from hypeeg.eeg.paths import (
    cache_folder,
    cache_root,
    configure_data_paths,
    keep_mne_config_unwritten,
    mne_setting,
)

VARIABLES = (
    *("HYPEEG_DATA", "MNE_DATA", "MOABB_RESULTS", "MOABB_DOWNLOAD_PROVIDER"),
    *("MNE_DATASETS_EEGBCI_PATH", "MNE_DATASETS_SSVEPEXO_PATH", "MNE_DATASETS_OTHER_PATH"),
)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch, tmp_path):
    # setenv first, so that monkeypatch also removes what the tested function sets.
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_points_mne_and_moabb_at_the_eeg_folder(monkeypatch, tmp_path):
    (tmp_path / "data" / "eeg" / "MNE-other-data").mkdir(parents=True)
    monkeypatch.setenv("HYPEEG_DATA", str(tmp_path / "data"))
    assert configure_data_paths() == (tmp_path / "data").resolve()
    eeg = str((tmp_path / "data" / "eeg").resolve())
    for sign in ("EEGBCI", "SSVEPEXO", "OTHER"):
        assert os.environ[f"MNE_DATASETS_{sign}_PATH"] == eeg
    assert os.environ["MOABB_DOWNLOAD_PROVIDER"] == "upstream"
    for name in ("MNE_DATA", "MOABB_RESULTS"):
        folder = Path(os.environ[name])
        assert folder.is_dir()
        assert folder.is_relative_to(tmp_path / "cache")


def test_argument_wins_over_environment(monkeypatch, tmp_path):
    (tmp_path / "a" / "eeg").mkdir(parents=True)
    monkeypatch.setenv("HYPEEG_DATA", str(tmp_path / "absent"))
    assert configure_data_paths(tmp_path / "a") == (tmp_path / "a").resolve()


def test_user_settings_stay_without_a_data_folder(monkeypatch):
    monkeypatch.setenv("MNE_DATASETS_EEGBCI_PATH", "/somewhere")
    before = dict(os.environ)
    assert configure_data_paths() is None
    assert dict(os.environ) == before


def test_usable_mne_data_is_kept_and_unusable_replaced(monkeypatch, tmp_path):
    (tmp_path / "data" / "eeg").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("MNE_DATA", str(tmp_path / "mine"))
    monkeypatch.setenv("MOABB_RESULTS", str(tmp_path / "gone"))
    configure_data_paths(tmp_path / "data")
    assert os.environ["MNE_DATA"] == str(tmp_path / "mine")
    assert os.environ["MOABB_RESULTS"] == str(cache_folder())


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_wrong_folder_names_variable_value_and_remedy(monkeypatch, tmp_path, kind):
    place = tmp_path / "place"
    if kind == "file":
        place.write_text("")
    monkeypatch.setenv("HYPEEG_DATA", str(place))
    with pytest.raises(MissingDataError, match=r"HYPEEG_DATA=.*place.*unset it") as info:
        configure_data_paths()
    assert isinstance(info.value, FileNotFoundError)
    assert ("is a file" in str(info.value)) == (kind == "file")


def test_mne_takes_the_environment_and_writes_no_config(monkeypatch, tmp_path):
    import mne

    monkeypatch.setenv("_MNE_FAKE_HOME_DIR", str(tmp_path / "home"))
    (tmp_path / "data" / "eeg").mkdir(parents=True)
    configure_data_paths(tmp_path / "data")
    from moabb.datasets.download import get_dataset_path
    from moabb.utils import get_download_provider

    assert Path(get_dataset_path("EEGBCI", None)) == (tmp_path / "data" / "eeg").resolve()
    assert get_download_provider() == "upstream"
    assert not Path(mne.get_config_path()).exists()


def test_downloads_leave_the_config_unwritten_too(monkeypatch, tmp_path):
    """MOABB stores its default download folder in MNE's config, unless something names one."""
    import mne
    from moabb.datasets.download import get_dataset_path

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("_MNE_FAKE_HOME_DIR", str(tmp_path))
    keep_mne_config_unwritten()
    assert Path(get_dataset_path("SOMETHING", None)) == tmp_path / "mne_data"
    assert not Path(mne.get_config_path()).exists()


@pytest.mark.parametrize(
    "content", [None, '{"MNE_DATA": "/from/file", "N": 3}', "{torn", "[1]", '{"OTHER": "x"}']
)
def test_settings_are_those_that_mne_reads(monkeypatch, tmp_path, content):
    import mne

    monkeypatch.setenv("_MNE_FAKE_HOME_DIR", str(tmp_path))
    monkeypatch.delenv("MNE_DATA", raising=False)
    if content is not None:
        (tmp_path / ".mne").mkdir()
        (tmp_path / ".mne" / "mne-python.json").write_text(content)
    if content not in ("{torn", "[1]"):
        assert mne_setting("MNE_DATA") == mne.get_config("MNE_DATA")
    else:
        assert mne_setting("MNE_DATA") is None
    monkeypatch.setenv("MNE_DATA", "/from/environment")
    assert mne_setting("MNE_DATA") == mne.get_config("MNE_DATA") == "/from/environment"


def test_unwritable_cache_falls_back_to_a_temporary_folder(monkeypatch, tmp_path):
    (tmp_path / "blocked").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "blocked"))
    folder = cache_folder()
    assert folder.is_dir()
    folder.rmdir()


def test_own_records_lie_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("HYPEEG_CACHE", raising=False)
    assert cache_root() == tmp_path / "cache" / "hypeeg"
    monkeypatch.setenv("HYPEEG_CACHE", str(tmp_path / "fast"))
    assert cache_root() == tmp_path / "fast"
