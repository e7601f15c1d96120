"""Generated manifests say what the installed MOABB says: its classes, its tables, nothing more."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import pytest

from hypeeg.eeg import catalogue
from hypeeg.eeg.manifest import list_manifests, load_manifest, manifests_dir

SIMULATED = {
    "SimulatedMI",
    "SimulatedERP",
    "SimulatedSSVEP",
    "SimulatedHierarchy",
    "SimulatedFlat",
}
NOT_MOABBS = {*SIMULATED, "EEGMAT"}
HAND_WRITTEN = {"Kalunga2016", "PhysionetMI", *NOT_MOABBS}
PARADIGMS = {
    "imagery": {"motor_imagery", "left_right_imagery"},
    "p300": {"p300"},
    "ssvep": {"ssvep"},
    "cvep": {"cvep"},
    "rstate": {"resting_state"},
}


@pytest.fixture(scope="module")
def classes() -> dict[str, type]:
    from moabb.datasets.utils import dataset_list

    return {c.__name__: c for c in dataset_list if not c.__name__.startswith("Fake")}


@pytest.fixture(scope="module")
def datasets(classes):
    return {name: cls() for name, cls in classes.items()}


def test_every_dataset_of_every_paradigm_has_a_manifest(classes):
    assert set(classes) == set(list_manifests()) - NOT_MOABBS
    assert len(classes) == 159  # MOABB 1.7; says so when the installed one grows
    keys = ["".join(c for c in name.lower() if c.isalnum()) for name in list_manifests()]
    assert len(set(keys)) == len(keys)


def test_manifests_say_what_the_classes_say(datasets):
    for name, dataset in datasets.items():
        manifest = load_manifest(name)
        acquisition = dataset.metadata.acquisition
        assert manifest.subjects == dataset.all_subjects, name
        assert manifest.n_sessions == dataset.n_sessions, name
        assert {e: v.code for e, v in manifest.events.items()} == dataset.event_id, name
        assert manifest.interval == pytest.approx(tuple(dataset.interval)), name
        assert manifest.paradigm in PARADIGMS[dataset.paradigm], name
        assert manifest.sfreq == acquisition.sampling_rate, name
        assert manifest.channels.count == acquisition.channel_types["eeg"], name
        if manifest.channels.listed:
            assert manifest.channels.listed == acquisition.sensors, name
        if name not in HAND_WRITTEN:
            assert manifest.licence == (dataset.metadata.documentation.license or "unknown"), name
            doi = dataset.doi or dataset.metadata.documentation.doi
            assert (manifest.citation.doi is None) == (doi is None), name
            assert manifest.citation.doi is None or manifest.citation.doi in doi, name


def test_table_rows_are_word_for_word(classes):
    import moabb.datasets

    folder = Path(moabb.datasets.__file__).parent
    seen = 0
    for table in ("imagery", "p300", "ssvep", "cvep", "rstate", "imagined_speech"):
        with (folder / f"summary_{table}.csv").open(encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                name = row["Dataset"].strip()
                if name not in classes or name in HAND_WRITTEN:
                    continue
                said = load_manifest(name).catalogue
                assert said is not None
                if said.table != table:  # listed twice: imagined speech is imagery too
                    assert (said.table, table) == ("imagined_speech", "imagery")
                    continue
                assert sorted(said.row.values()) == sorted(
                    v.strip() for k, v in row.items() if k != "Dataset" and v and v.strip()
                )
                seen += 1
    assert seen >= 150


def test_what_nobody_verified_is_not_required():
    for name in set(list_manifests()) - HAND_WRITTEN:
        manifest = load_manifest(name)
        assert manifest.trials is None
        assert manifest.size is None
        assert manifest.files is None
        assert manifest.sessions == []
        assert manifest.channels.names is None
        assert manifest.catalogue is not None


def test_contradictions_between_moabbs_sources_are_traps():
    notes = {t.about: t.note for t in load_manifest("BNCI2015_013").traps if t.kind == "note"}
    assert notes["MOABB's sources disagree"] == (
        "sessions: the class says 20, the summary table '2'"
    )
    assert load_manifest("BNCI2014_001").traps == []


def test_files_are_what_the_script_writes(tmp_path, capsys):
    assert catalogue.main(["--check"]) == 0
    texts = catalogue.generate()
    assert len(texts) == len(list((manifests_dir() / "moabb").glob("*.yaml"))) == 157
    text = texts["wang2016.yaml"]
    (tmp_path / "wang2016.yaml").write_text(text.replace("sfreq: 250", "sfreq: 251"))
    for name in set(texts) - {"wang2016.yaml"}:
        (tmp_path / name).write_text(texts[name])
    assert catalogue.main(["--check", "--out", str(tmp_path)]) == 1
    assert "wang2016.yaml differs" in capsys.readouterr().out


def test_listing_reads_no_file_to_its_end():
    start = time.perf_counter()
    names = list_manifests()
    taken = time.perf_counter() - start
    assert len(names) == 159 + len(NOT_MOABBS)
    assert taken < 2  # 0.01 s; parsing every file with the slow parser takes more


def test_generated_paradigm_cuts_epochs():
    """Each paradigm takes the class its manifest names, and would load its events."""
    from hypeeg.eeg.reader import make_dataset, make_paradigm

    for name in ("BNCI2014_001", "BI2012", "Wang2016", "Thielen2021", "Hinss2021", "Zhou2016"):
        manifest = load_manifest(name)
        dataset = make_dataset(manifest)
        events = manifest.default_events
        paradigm = make_paradigm(manifest.paradigm, events, manifest.preprocessing)
        assert paradigm.is_valid(dataset), name
        assert set(paradigm.used_events(dataset)) == set(events), name
