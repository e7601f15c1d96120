"""A kept network in use: what it predicts from files is what it predicts from the loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mne
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import hypeeg
from hypeeg.cli import app
from hypeeg.eeg import HypEEGClassifier, load_epochs, load_manifest
from hypeeg.eeg.errors import CorruptDataError, DataError, MissingDataError
from hypeeg.experiments.recorded import RecordedRun
from hypeeg.experiments.runner import run
from hypeeg.experiments.spec import RunSpec
from hypeeg.experiments.spec_errors import SpecError
from hypeeg.experiments.trial_files import channel_key, read_trials
from hypeeg.experiments.use import kept_models, kept_networks, parse_labels, predict_files

SFREQ = 100.0
NAMES = ["C3", "Cz", "C4", "Pz"]
EVENTS = {"left": 1, "right": 2}
MANIFEST = """
name: Mine
own: {{recordings: "{folder}/s{{subject}}_raw.fif", interval: [0.5, 2]}}
"""


def recording(seed: int, n: int = 12) -> mne.io.BaseRaw:
    """Trials every 3 s whose class shows in the 10 Hz of one side."""
    rng = np.random.default_rng(seed)
    times = np.arange(int((3 * n + 2) * SFREQ)) / SFREQ
    X = 2e-6 * rng.standard_normal((len(NAMES), len(times)))
    names = rng.permutation(np.repeat(list(EVENTS), n // 2))
    onsets = 1.0 + 3.0 * np.arange(n)
    for onset, name in zip(onsets, names, strict=True):
        here = (times >= onset) & (times < onset + 2.2)
        X[0 if name == "left" else 2, here] += 1e-5 * np.sin(2 * np.pi * 10 * times[here])
    raw = mne.io.RawArray(X, mne.create_info(NAMES, SFREQ, "eeg"), verbose=False)
    raw.set_annotations(mne.Annotations(onsets, 0.0, names))
    return raw


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RecordedRun:
    """A run on own recordings that keeps a network and its twin; a third is classical."""
    folder = tmp_path_factory.mktemp("own")
    for subject in (1, 2):
        recording(subject).save(folder / f"s{subject}_raw.fif", verbose=False)
    manifest = folder / "mine.yaml"
    manifest.write_text(MANIFEST.format(folder=folder))
    spec = RunSpec.from_data(
        {
            "name": "own",
            "dataset": {"name": str(manifest)},
            "preprocessing": {
                **{"fmin": 5, "fmax": 30, "tmin": 0.2, "tmax": 1.4, "reference": "average"},
                "steps": [{"step": "notch", "freqs": [40]}],
            },
            "evaluation": {"n_folds": 2, "scoring": "accuracy"},
            "training": {"max_epochs": 3},
            "device": "cpu",
            "save": {"models": "all"},
            "pipelines": [
                {"name": "hyper", "model": "HyperbolicEEGNet"},
                {"name": "flat", "model": "EEGNet", "twin_of": "hyper"},
                {"name": "csp", "model": "csp_lda"},
            ],
        }
    )
    result = run(spec, folder / "runs", progress=False)
    assert result.state == "done", result.failures
    return RecordedRun.open(result.folder)


@pytest.fixture(scope="module")
def trials(trained: RecordedRun) -> Any:
    """What the run's loader gives."""
    spec = RunSpec.from_yaml(trained.path / "spec_resolved.yaml")
    return load_epochs(spec.dataset.name, preprocessing=spec.preprocessing)


def test_load_gives_back_the_network_that_was_scored(trained: RecordedRun, trials: Any) -> None:
    from hypeeg.experiments.gather import read_embeddings

    recorded = read_embeddings(trained.embeddings_path("hyper"))
    for subject, fold in ((1, 1), (2, 0)):
        name = f"subject-{subject}_session-0_fold-{fold}_seed-0"
        model = hypeeg.load(trained.path, "hyper", network=name, device="cpu")
        here = (recorded["subject"] == str(subject)) & (recorded["fold"] == fold)
        X = trials.X[recorded["trial"][here]]
        np.testing.assert_allclose(model.predict_proba(X), recorded["proba"][here], atol=1e-6)
        assert isinstance(model[-1], HypEEGClassifier)


def test_load_chooses_the_network_that_is_no_twin(trained: RecordedRun, tmp_path: Path) -> None:
    kept = kept_networks(trained)
    assert {name: len(folders) for name, folders in kept.items()} == {"hyper": 4, "flat": 4}
    assert kept["hyper"][-1].name == "subject-2_session-0_fold-1_seed-0"
    model = hypeeg.load(trained.path, device="cpu")
    assert model[-1].model == "HyperbolicEEGNet"
    assert hypeeg.load(trained.path, "flat", device="cpu")[-1].model == "EEGNet"
    for arguments, words in (
        ({"pipeline": "hypr"}, "Did you mean 'hyper'"),
        ({"pipeline": "flat", "network": "subject-3"}, "subject-1_session-0_fold-0_seed-0"),
    ):
        with pytest.raises(SpecError, match=words):
            hypeeg.load(trained.path, **arguments)
    with pytest.raises(SpecError, match="no run folder"):
        hypeeg.load(tmp_path)


def test_a_classical_pipeline_predicts_as_it_was_scored(
    trained: RecordedRun, trials: Any, tmp_path: Path
) -> None:
    pytest.importorskip("skops", reason="classical pipelines are kept with skops")
    from hypeeg.experiments.gather import read_embeddings

    assert {name: len(folders) for name, folders in kept_models(trained).items()}["csp"] == 4
    recorded = read_embeddings(trained.embeddings_path("csp"))
    name = "subject-1_session-0_fold-1_seed-0"
    here = (recorded["subject"] == "1") & (recorded["fold"] == 1)
    X = trials.X[recorded["trial"][here]]
    model = hypeeg.load(trained.path, "csp", network=name)
    np.testing.assert_allclose(model.predict_proba(X), recorded["proba"][here], atol=1e-6)
    # From the recording itself: its channels, rate and length are known without a network.
    path = tmp_path / "s1_raw.fif"
    recording(1).save(path, verbose=False)
    table = predict_files(trained.path, [path], "csp", network=name)
    mine = trials.X[(trials.metadata["subject"] == 1).to_numpy()]
    got = table[["p_left", "p_right"]].to_numpy()
    np.testing.assert_allclose(got, model.predict_proba(mine), atol=1e-6)
    np.savez(tmp_path / "x.npz", X=mine[:, :3], ch_names=NAMES[:3])
    with pytest.raises(DataError, match="4 channels, of which Pz is missing"):
        predict_files(trained.path, [tmp_path / "x.npz"], "csp")


def test_a_shared_model_reads_recordings_without_the_run_and_its_manifest(
    trained: RecordedRun, tmp_path: Path
) -> None:
    from hypeeg.experiments import hub

    path = tmp_path / "new_raw.fif"
    recording(7).save(path, verbose=False)
    expected = predict_files(trained.path, [path], "hyper", device="cpu")
    hub.push(trained.path, tmp_path / "shared", "hyper")
    own = trained.dataset.rpartition("/")[0]
    assert own
    assert own.encode() not in b"".join(f.read_bytes() for f in (tmp_path / "shared").iterdir())
    gone = Path(own).rename(Path(own).with_name("gone"))
    try:
        table = predict_files(tmp_path / "shared", [path], device="cpu")
    finally:
        gone.rename(own)
    pd.testing.assert_frame_equal(table, expected)


def test_every_kind_of_file_gives_the_same_predictions(
    trained: RecordedRun, trials: Any, tmp_path: Path
) -> None:
    mine = (trials.metadata["subject"] == 1).to_numpy()
    X, y = trials.X[mine], trials.y[mine]
    order = [3, 1, 0, 2]
    np.save(tmp_path / "x.npy", X)
    names = np.array(NAMES)[order]
    np.savez(tmp_path / "x.npz", X=X[:, order], y=y, sfreq=SFREQ, ch_names=names)
    info = mne.create_info(list(names), SFREQ, "eeg")
    codes = np.array([EVENTS[name] for name in y])
    events = np.column_stack([np.arange(len(y)), np.zeros(len(y), int), codes])
    epochs = mne.EpochsArray(X[:, order] * 1e-6, info, events, event_id=EVENTS, verbose=False)
    epochs.save(tmp_path / "x-epo.fif", verbose=False)
    # Another order and spelling of the channels, with one more.
    raw = recording(1)
    raw.pick([NAMES[k] for k in order])
    raw.rename_channels({name: f"EEG {name.upper()}." for name in NAMES})
    raw.save(tmp_path / "x_raw.fif", verbose=False)
    files = [tmp_path / name for name in ("x.npy", "x.npz", "x-epo.fif", "x_raw.fif")]
    table = predict_files(trained.path, files, device="cpu")
    expected = hypeeg.load(trained.path, device="cpu").predict_proba(X)
    for number, path in enumerate(files):
        own = table[table["file"] == str(path)]
        got = own[["p_left", "p_right"]].to_numpy()
        np.testing.assert_allclose(got, expected, atol=2e-5, err_msg=path.name)
        assert own["label"].tolist() == ([""] * len(y) if number == 0 else y.tolist())
        assert own["trial"].tolist() == list(range(len(y)))
    best = expected.argmax(axis=1)
    assert table["prediction"][: len(y)].tolist() == np.array(["left", "right"])[best].tolist()
    assert table["onset"].tolist()[-len(y) :] == pytest.approx(1.0 + 3.0 * np.arange(len(y)))


def test_marks_of_another_name_and_windows_without_marks(
    trained: RecordedRun, trials: Any, tmp_path: Path
) -> None:
    raw = recording(1)
    renamed = [f"T={name}" for name in raw.annotations.description]
    raw.annotations.description = np.array(renamed)
    path = tmp_path / "marks_raw.fif"
    raw.save(path, verbose=False)
    with pytest.raises(DataError, match=r"marks: T=left, T=right.*--label"):
        predict_files(trained.path, [path])
    labels = parse_labels(["T=left=left", "T=right=right"])
    table = predict_files(trained.path, [path], labels=labels, device="cpu")
    assert table["label"].tolist() == trials.y[trials.metadata["subject"] == 1].tolist()
    with pytest.raises(DataError, match=r"'lft' is no event.*'left'"):
        predict_files(trained.path, [path], labels={"T=left": "lft"})

    classifier = hypeeg.load(trained.path, device="cpu")[-1]
    cut = read_trials(path, trained, classifier, every=3.0)
    assert cut.onset.tolist() == [3.0 * k for k in range(13)][: len(cut.onset)]
    assert len(cut.X) == 13
    assert set(cut.label) == {""}
    # A window at 6 s is the trial of a mark whose task interval starts 0.5 s later.
    raw.set_annotations(mne.Annotations([5.5], 0.0, ["left"]))
    again = tmp_path / "one_raw.fif"
    raw.save(again, verbose=False)
    marked = read_trials(again, trained, classifier)
    np.testing.assert_allclose(marked.X[0], cut.X[2], atol=1e-4)


def test_trials_that_do_not_fit_are_refused(
    trained: RecordedRun, trials: Any, tmp_path: Path
) -> None:
    X = trials.X[:3]

    def check(name: str, words: str, kind: type[Exception] = DataError, **arrays: Any) -> None:
        path = tmp_path / name
        if arrays:
            np.savez(path, **arrays)
        with pytest.raises(kind, match=words):
            predict_files(trained.path, [path], device="cpu")

    check("short.npz", r"4 channels and 50 samples.*121 samples \(1.21 s\)", X=X[:, :, :50])
    check("rate.npz", "sampled at 250 Hz.*100 Hz", X=X, sfreq=250.0)
    check("names.npz", "of which Cz is missing", X=X, ch_names=["C3", "Fz", "C4", "Pz"])
    check("nan.npz", "NaN or infinite values in 3 of 3", CorruptDataError, X=X * np.nan)
    check("none.npz", "no array 'X'", x=X)
    check("y.npz", "y has shape", X=X, y=["left"])
    check("missing.npy", "no such file", MissingDataError)
    (tmp_path / "bad.npy").write_bytes(b"not an array")
    check("bad.npy", "not a readable array", CorruptDataError)
    (tmp_path / "notes.txt").write_text("")
    check("notes.txt", r"known endings: \.npy")
    raw = recording(1).drop_channels(["C4"])
    raw.save(tmp_path / "less_raw.fif", verbose=False)
    check("less_raw.fif", "C4 are missing|C4 is missing")


def test_channel_spellings() -> None:
    assert len({channel_key(name) for name in ("FC5", "Fc5.", "Fc5..", "EEG FC5-Ref", "fc5")}) == 1
    assert channel_key("C3") != channel_key("C4")
    assert channel_key("T7") != channel_key("TP7")


def test_the_command_writes_a_table(trained: RecordedRun, trials: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", X=trials.X[:5], y=trials.y[:5])
    arguments = ["predict", str(trained.path), str(tmp_path / "x.npz"), "--device", "cpu"]
    result = CliRunner().invoke(app, [*arguments, "--to", str(tmp_path / "out.csv")])
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "out.csv")
    assert list(table.columns) == [
        *("file", "trial", "onset", "label", "prediction", "p_left", "p_right")
    ]
    right = int((table["label"] == table["prediction"]).sum())
    assert f"{right} of 5 labelled trials correct" in result.stderr
    assert CliRunner().invoke(app, [*arguments, "--pipeline", "cps"]).exit_code == 2


@pytest.mark.realdata
def test_a_recording_of_physionet_becomes_the_trials_of_its_loader(hypeeg_data: Path) -> None:
    """MOABB's class renames channels and marks; the file alone must give the same numbers."""
    from types import SimpleNamespace

    preprocessing = {"fmin": 4.0, "fmax": 38.0, "tmin": 0.5, "tmax": 3.0, "resample": 128.0}
    preprocessing["reference"] = "average"  # type: ignore[assignment]
    data = load_epochs("PhysionetMI", [1], preprocessing=preprocessing)
    sections = {"preprocessing": preprocessing, "dataset": {"events": ["left_hand", "right_hand"]}}
    made = SimpleNamespace(dataset="PhysionetMI", section=lambda name: sections.get(name, {}))
    classifier = SimpleNamespace(
        ch_names_=load_manifest("PhysionetMI").channels.names,
        sfreq_=128.0,
        n_chans_=64,
        n_times_=data.X.shape[2],
    )
    folder = hypeeg_data / "eeg/MNE-eegbci-data/files/eegmmidb/1.0.0/S001"
    labels = {"T1": "left_hand", "T2": "right_hand"}
    found = [
        read_trials(folder / f"S001R{run:02d}.edf", made, classifier, labels=labels)  # type: ignore[arg-type]
        for run in (4, 8, 12)
    ]
    np.testing.assert_array_equal(np.concatenate([part.X for part in found]), data.X)
    assert np.concatenate([part.label for part in found]).tolist() == data.y.tolist()
