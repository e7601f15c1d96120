"""Manifests: the schema refuses what is wrong, and what they say agrees with MOABB's own tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hypeeg.eeg.errors import DataError, ManifestError
from hypeeg.eeg.manifest import (
    Manifest,
    list_manifests,
    load_manifest,
    manifests_dir,
    paradigms_called,
)
from hypeeg.eeg.preprocessing import PreprocessingSpec


@pytest.fixture
def content() -> dict:
    return yaml.safe_load((manifests_dir() / "kalunga2016.yaml").read_text(encoding="utf-8"))


def write(folder: Path, content: dict) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_every_manifest_is_found_by_its_name_in_any_case():
    names = list_manifests()
    assert {"EEGMAT", "Kalunga2016", "PhysionetMI", "SimulatedMI"} <= set(names)
    assert len(names) == len(list(manifests_dir().rglob("*.yaml")))
    for name in names:
        assert load_manifest(name).name == load_manifest(name.upper()).name == name


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(ManifestError, match=r"'Kalunga2061'.*did you mean 'Kalunga2016'"):
        load_manifest("Kalunga2061")
    with pytest.raises(ManifestError, match=r"valid: AguileraRodriguez2025, AlexMI, .*…"):
        load_manifest("zzzz")


def test_own_yaml_file(tmp_path, content):
    assert load_manifest(write(tmp_path, content)).name == "Kalunga2016"
    with pytest.raises(ManifestError, match=r"no such file.*absent\.yaml"):
        load_manifest(tmp_path / "absent.yaml")
    (tmp_path / "broken.yaml").write_text("name: [1")
    with pytest.raises(ManifestError, match=r"broken\.yaml is not valid YAML"):
        load_manifest(str(tmp_path / "broken.yaml"))
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(ManifestError, match="expected fields"):
        load_manifest(tmp_path / "empty.yaml")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("sfrq", 1, "sfrq: unknown field"),
        ("sfreq", -1, r"sfreq = -1: .*greater than 0"),
        ("paradigm", "p3000", "paradigm = 'p3000'"),
        ("own", {"arrays": "/data/a.npz"}, "either moabb_class or own"),
        ("subjects", "1..9", "'1-109'"),
        ("subjects", [1, 1], "listed twice"),
        ("default_events", ["13", "16"], "unknown event '16'"),
        ("trials", {"per": "run", "counts": {"14": 8}}, "unknown event '14'"),
        ("channels", {"count": 7, "names": ["Oz", "O1"]}, "count=7 but names lists 2"),
        ("interval", [4, 2], "start must be before end"),
        ("preprocessing", {"fmax": 200}, "fmax=200.0 Hz must be below 128.0 Hz"),
        (
            "traps",
            [
                {
                    "kind": "duplicate",
                    "recording": {"subject": 99, "session": "0", "run": "0"},
                    "original": {"subject": 3, "session": "0", "run": "1"},
                }
            ],
            "subject 99 session 0 run 0 is not among the subjects",
        ),
    ],
)
def test_schema_names_field_and_value(tmp_path, content, field, value, message):
    content[field] = value
    with pytest.raises(ManifestError, match=message):
        load_manifest(write(tmp_path, content))


def test_missing_field_is_named(tmp_path, content):
    del content["licence"]
    with pytest.raises(ManifestError, match="licence: required"):
        load_manifest(write(tmp_path, content))


def test_given_preprocessing_replaces_only_what_it_sets():
    manifest = load_manifest("Kalunga2016")
    resolved = manifest.resolve_preprocessing(PreprocessingSpec(fmin=7))
    assert resolved.fmin == 7
    assert resolved.resample == manifest.preprocessing.resample
    assert manifest.resolve_preprocessing(None) == manifest.preprocessing
    with pytest.raises(DataError, match=r"fmax=90.0 Hz must be below half of resample=128.0"):
        manifest.resolve_preprocessing({"fmax": 90})


def test_expected_trials_follow_exceptions():
    trials = load_manifest("PhysionetMI").trials
    assert trials.expected(1, "0") == (
        {"left_hand": 23, "right_hand": 22, "hands": 21, "feet": 24, "rest": 84},
        0,
    )
    assert trials.expected(2, "0")[1] > 0


def test_default_subjects_leave_out_excluded_ones():
    manifest = load_manifest("PhysionetMI")
    assert len(manifest.subjects) == 109
    assert set(manifest.subjects) - set(manifest.default_subjects) == {88, 92, 100, 104}


@pytest.mark.parametrize("name", ["PhysionetMI", "Kalunga2016", "SimulatedMI"])
def test_agrees_with_the_moabb_class(name):
    from hypeeg.eeg.reader import make_dataset

    manifest = load_manifest(name)
    dataset = make_dataset(manifest)
    assert dataset.all_subjects == manifest.subjects
    assert dataset.n_sessions == len(manifest.sessions)
    assert dataset.event_id == {event: e.code for event, e in manifest.events.items()}
    assert list(dataset.interval) == list(manifest.interval)
    assert dataset.paradigm == {"ssvep": "ssvep"}.get(manifest.paradigm, "imagery")


@pytest.mark.parametrize("name", ["PhysionetMI", "Kalunga2016"])
def test_agrees_with_the_moabb_catalogue(name):
    from hypeeg.eeg.reader import make_dataset

    manifest = load_manifest(name)
    acquisition = make_dataset(manifest).metadata.acquisition
    assert acquisition.sampling_rate == manifest.sfreq
    assert acquisition.channel_types == {"eeg": manifest.channels.count}
    assert set(acquisition.sensors) == set(manifest.channels.names or [])
    if name == "PhysionetMI":
        assert acquisition.sensors == manifest.channels.names


def test_kalunga_runs_agree_with_moabb(monkeypatch, tmp_path):
    from moabb.datasets import Kalunga2016, download

    manifest = load_manifest("Kalunga2016")
    assert manifest.files is not None
    asked: list[str] = []
    monkeypatch.setattr(download, "data_dl", lambda url, *args, **kwargs: asked.append(url))
    for subject in manifest.subjects:
        asked.clear()
        Kalunga2016().data_path(subject)
        ours = [Path(paths[0]).name for paths in manifest.files.candidates(subject)]
        assert [url.rsplit("/", 1)[1] for url in asked] == ours


def test_physionet_runs_agree_with_moabb():
    from moabb.datasets import PhysionetMI

    manifest = load_manifest("PhysionetMI")
    dataset = PhysionetMI()
    assert manifest.files is not None
    assert manifest.files.runs == dataset.hand_runs + dataset.feet_runs


def test_size_in_human_units():
    assert load_manifest("PhysionetMI").size.human == "3.4 GB"
    assert load_manifest("SimulatedMI").size.human == "0 B"


def test_words_for_paradigms():
    assert paradigms_called("imagery") == {"motor_imagery", "left_right_imagery"}
    assert paradigms_called("P300") == paradigms_called("erp") == {"p300"}
    with pytest.raises(DataError, match=r"paradigm 'p3': did you mean 'p300'"):
        paradigms_called("p3")


def test_manifest_round_trips():
    for name in list_manifests():
        manifest = load_manifest(name)
        assert Manifest.model_validate(manifest.model_dump(mode="json")) == manifest


def test_loads_no_heavy_library():
    code = (
        "import sys, hypeeg.eeg, hypeeg.eeg.manifest as m; m.load_manifest('PhysionetMI');"
        "from hypeeg.eeg import PreprocessingSpec, configure_data_paths;"
        "heavy = {'torch', 'moabb', 'mne', 'braindecode', 'sklearn', 'pandas', 'scipy'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
