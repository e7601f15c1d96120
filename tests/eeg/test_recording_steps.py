"""Recording steps against MNE and SciPy by hand, and through every door of the loader."""

from __future__ import annotations

import logging
import sys

import mne
import numpy as np
import pytest
import yaml
from scipy.signal import butter, sosfiltfilt

from hypeeg.eeg import PreprocessingSpec, load_epochs, load_manifest
from hypeeg.eeg.errors import DataError
from hypeeg.eeg.memory import estimate_memory
from hypeeg.eeg.preprocessing_steps import (
    AsrStep,
    FilterStep,
    InterpolateStep,
    NotchStep,
    ReferenceStep,
    ResampleStep,
)
from hypeeg.eeg.recording_steps import apply_step, find_bad_channels
from hypeeg.eeg.simulated import CHANNELS, SimulatedMI

SFREQ = 200.0
NAMES = ["Fp1", "Fp2", "C3", "Cz", "C4", "P3", "Pz", "P4", "O1", "O2"]
SMALL = {"n_subjects": 2, "n_trials": 8, "n_sessions": 1}
MONTAGE = "colin27_1005"


def recording(seconds=20.0, scale=None, montage=None):
    rng = np.random.default_rng(0)
    data = 1e-5 * rng.standard_normal((len(NAMES), int(seconds * SFREQ)))
    data *= np.ones(len(NAMES))[:, None] if scale is None else np.asarray(scale)[:, None]
    stim = np.zeros((1, data.shape[1]))
    stim[0, 100::700] = 1
    info = mne.create_info([*NAMES, "STI"], SFREQ, ["eeg"] * len(NAMES) + ["stim"])
    raw = mne.io.RawArray(np.vstack([data, stim]), info, verbose=False)
    return raw.set_montage(montage) if montage else raw


def eeg(raw):
    return raw.get_data(picks="eeg")


def tone(hz, n, sfreq=SFREQ):
    return 1e-5 * np.sin(2 * np.pi * hz * np.arange(n) / sfreq)


def amplitude(x, hz, sfreq):
    """Amplitude of a tone in the middle half of a signal."""
    n = x.shape[-1]
    middle = np.arange(n // 4, 3 * n // 4)
    wave = np.exp(-2j * np.pi * hz * middle / sfreq)
    return 2 * np.abs((x[..., middle] * wave).mean(axis=-1))


def test_the_given_recording_is_left_alone():
    raw = recording(montage=MONTAGE)
    before = raw.get_data().copy()
    for step in (
        FilterStep(fmin=8, fmax=30),
        NotchStep(freqs=[50]),
        ReferenceStep(),
        ResampleStep(sfreq=100),
        InterpolateStep(bads=["Cz"]),
    ):
        apply_step(raw, step)
    np.testing.assert_array_equal(raw.get_data(), before)
    assert raw.info["sfreq"] == SFREQ
    assert raw.info["bads"] == []


def test_filter_is_a_butterworth_forward_and_backward():
    raw = recording()
    Z = eeg(apply_step(raw, FilterStep(fmin=8, fmax=30)))
    sos = butter(4, (8, 30), "bandpass", fs=SFREQ, output="sos")
    expected = sosfiltfilt(sos, eeg(raw), axis=-1)
    np.testing.assert_allclose(Z[:, 400:-400], expected[:, 400:-400], atol=1e-9)
    fir = eeg(apply_step(raw, FilterStep(fmin=8, fmax=30, method="fir")))
    by_mne = raw.copy().filter(8, 30, method="fir", picks="eeg", verbose=False)
    np.testing.assert_allclose(fir, eeg(by_mne))
    assert not np.allclose(fir, Z)


def test_notch_takes_the_mains_and_leaves_the_rest():
    raw = recording()
    n = raw.n_times
    raw._data[:10] = tone(50, n) + tone(20, n)
    Z = eeg(apply_step(raw, NotchStep(freqs=[50])))
    assert amplitude(Z, 50, SFREQ).max() < 1e-7
    np.testing.assert_allclose(amplitude(Z, 20, SFREQ), 1e-5, rtol=0.01)
    by_mne = raw.copy().notch_filter([50.0], notch_widths=4, picks="eeg", verbose=False)
    wide = apply_step(raw, NotchStep(freqs=[50], width=4))
    np.testing.assert_allclose(eeg(wide), eeg(by_mne))


def test_references():
    raw = recording()
    np.testing.assert_allclose(eeg(apply_step(raw, ReferenceStep())).sum(axis=0), 0, atol=1e-15)
    Z = eeg(apply_step(raw, ReferenceStep(channels=["P3", "P4"])))
    np.testing.assert_allclose(Z, eeg(raw) - eeg(raw)[[5, 7]].mean(axis=0), atol=1e-15)
    with pytest.raises(DataError, match="'P33' is not in the recording; did you mean 'P3'"):
        apply_step(raw, ReferenceStep(channels=["P33"]))


def test_resampling_moves_events_along():
    raw = recording()
    raw._data[:10] = tone(20, raw.n_times)
    half = apply_step(raw, ResampleStep(sfreq=100))
    assert half.info["sfreq"] == 100
    np.testing.assert_allclose(amplitude(eeg(half), 20, 100), 1e-5, rtol=0.01)
    before = mne.find_events(raw, shortest_event=0, verbose=False)[:, 0] / 200
    after = mne.find_events(half, shortest_event=0, verbose=False)[:, 0] / 100
    np.testing.assert_allclose(after, before, atol=1 / 100)


def test_events_lost_by_resampling_are_no_small_matter():
    raw = recording()
    raw._data[-1] = 0
    raw._data[-1, [100, 102, 104]] = [1, 2, 3]
    with pytest.raises(DataError, match=r"leaves \d of 3 events.*higher rate"):
        apply_step(raw, ResampleStep(sfreq=20))


@pytest.mark.parametrize(
    ("channel", "factor"), [("C3", 40.0), ("O1", 0.02), ("Pz", 0.0), ("Fp1", 1.2)]
)
def test_bad_channels_are_loud_quiet_or_flat(channel, factor):
    scale = np.linspace(0.9, 1.1, len(NAMES))
    scale[NAMES.index(channel)] *= factor
    found = find_bad_channels(recording(scale=scale))
    assert found == ([] if factor == 1.2 else [channel])
    # The unit does not matter.
    assert find_bad_channels(recording(scale=scale * 1e6)) == found


def test_a_rare_large_artefact_is_no_bad_channel():
    raw = recording()
    raw._data[2, 500:700] += 1e-3
    assert find_bad_channels(raw) == []


def test_interpolation_is_mnes_and_finds_its_channels():
    raw = recording(scale=[1] * 3 + [80] + [1] * 6, montage=MONTAGE)
    expected = raw.copy()
    expected.info["bads"] = ["Cz"]
    expected.interpolate_bads(verbose="ERROR")
    for bads in (["Cz"], "find"):
        Z = apply_step(raw, InterpolateStep(bads=bads))
        np.testing.assert_allclose(eeg(Z), eeg(expected), atol=1e-12)
        assert Z.info["bads"] == []
    # What the recording marks is always interpolated, and nothing else by default.
    np.testing.assert_array_equal(eeg(apply_step(raw, InterpolateStep())), eeg(raw))
    raw.info["bads"] = ["Cz"]
    np.testing.assert_allclose(eeg(apply_step(raw, InterpolateStep())), eeg(expected), atol=1e-12)


def test_a_montage_is_taken_from_the_step_or_the_manifest():
    raw = recording(scale=[1] * 3 + [80] + [1] * 6)
    step = InterpolateStep(bads=["Cz"], montage=MONTAGE)
    by_step = apply_step(raw, step)
    by_manifest = apply_step(raw, InterpolateStep(bads=["Cz"]), montage=MONTAGE)
    np.testing.assert_allclose(eeg(by_step), eeg(by_manifest))
    assert np.abs(eeg(by_step)[3]).max() < np.abs(eeg(raw)[3]).max() / 10
    with pytest.raises(DataError, match=r"Fp1, Fp2.*no montage is named.*colin27_1005"):
        apply_step(raw, InterpolateStep(bads=["Cz"]))
    with pytest.raises(DataError, match="montage='standard_9'"):
        apply_step(raw, InterpolateStep(bads=["Cz"], montage="standard_9"))
    raw.rename_channels({"Cz": "Q7"})
    with pytest.raises(DataError, match=r"electrodes Q7 have no position.*lacks them"):
        apply_step(raw, InterpolateStep(bads=["C3"], montage=MONTAGE))


def test_too_many_bad_channels_refuse_the_recording():
    raw = recording(scale=[1, 1, 1, 1, 1, 1, 0, 0, 50, 0.01], montage=MONTAGE)
    with pytest.raises(DataError, match=r"4 of 10 channels are bad \(Pz, P4, O1, O2\).*max_share"):
        apply_step(raw, InterpolateStep(bads="find"))
    with pytest.raises(DataError, match="only 3 of 10 vary"):
        find_bad_channels(recording(scale=[1, 1, 1] + [0] * 7))
    with pytest.raises(DataError, match="'Cx' is not in the recording"):
        apply_step(raw, InterpolateStep(bads=["Cx"]))


def burst(seconds=60.0):
    """Correlated channels with a large burst at 20 s; and without."""
    raw = recording(seconds)
    mixing = np.random.default_rng(1).standard_normal((10, 10))
    raw._data[:10] = mixing @ raw._data[:10]
    clean = raw.copy()
    topography = np.random.default_rng(2).standard_normal(10)
    raw._data[:10, 4000:4200] += 3e-3 * topography[:, None] * np.hanning(200)
    return raw, clean


def test_asr_takes_a_burst_out_and_leaves_the_rest():
    pytest.importorskip("meegkit", reason="the extra hypeeg[asr] is not installed")
    raw, clean = burst()
    step = AsrStep(cutoff=20)
    Z = apply_step(raw, step)
    error = np.abs(eeg(Z) - eeg(clean))
    assert error[:, 4050:4150].max() < np.abs(eeg(raw) - eeg(clean)).max() / 3
    # Its memory is two seconds long.
    np.testing.assert_allclose(eeg(Z)[:, :3900], eeg(clean)[:, :3900], atol=1e-12)
    np.testing.assert_allclose(eeg(Z)[:, 4800:], eeg(clean)[:, 4800:], atol=1e-12)
    np.testing.assert_array_equal(eeg(apply_step(raw, step)), eeg(Z))
    early = apply_step(raw, AsrStep(cutoff=20, calibration=30))
    assert not np.array_equal(eeg(early), eeg(Z))
    with pytest.raises(DataError, match=r"lasts 20.0 s.*at least 30 s"):
        apply_step(recording(), step)


def test_asr_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "meegkit", None)
    monkeypatch.setitem(sys.modules, "meegkit.asr", None)
    with pytest.raises(ImportError, match=r"pip install 'hypeeg\[asr\]'"):
        apply_step(recording(), AsrStep())


def simulated(**request):
    return load_epochs("SimulatedMI", subjects=[1], dataset_params=SMALL, **request)


def test_steps_run_in_the_given_order_before_the_epochs():
    steps = [
        {"step": "notch", "freqs": [50]},
        {"step": "interpolate", "bads": ["Cz"]},
        {"step": "reference", "channels": "average"},
        {"step": "resample", "sfreq": 100},
    ]
    data = simulated(preprocessing={"fmin": 8, "fmax": 30, "steps": steps})
    raw = SimulatedMI(**SMALL).get_data([1])[1]["0"]["0"]
    raw.notch_filter([50.0], picks="eeg", verbose=False)
    raw.info["bads"] = ["Cz"]
    raw.interpolate_bads(verbose=False)
    raw.set_eeg_reference("average", verbose=False)
    raw.resample(100, verbose=False)
    raw.filter(8, 30, method="iir", picks="eeg", verbose=False)
    events = mne.find_events(raw, shortest_event=0, verbose=False)
    epochs = mne.Epochs(
        raw, events, tmin=0.5, tmax=3, baseline=None, picks="eeg", preload=True, verbose=False
    )
    assert data.sfreq == 100
    assert data.ch_names == CHANNELS
    assert data.X.shape == (8, 22, 251)
    np.testing.assert_allclose(data.X, epochs.get_data() * 1e6, rtol=1e-4, atol=1e-4)
    swapped = simulated(
        preprocessing={"fmin": 8, "fmax": 30, "steps": [steps[0], steps[2], steps[1], steps[3]]}
    )
    assert not np.allclose(swapped.X, data.X, atol=1e-3)


def test_the_chain_in_words_gives_the_same_trials_as_the_short_form():
    short = {"fmin": 8, "fmax": 30, "tmin": 0, "tmax": 2, "reference": ["Cz"], "resample": 64}
    short |= {"channels": ["C4", "C3"], "baseline": (-0.5, 0)}
    first = simulated(preprocessing=short)
    chain = first.preprocessing.as_steps()
    second = simulated(preprocessing={"steps": chain})
    np.testing.assert_array_equal(first.X, second.X)
    assert first.ch_names == second.ch_names
    assert second.preprocessing.as_steps() == chain


def test_what_steps_name_is_checked_before_reading(monkeypatch):
    def never(*_):
        raise AssertionError("read")

    monkeypatch.setattr(SimulatedMI, "_get_single_subject_data", never)
    for steps, message in (
        ([{"step": "interpolate", "bads": ["CC3"]}], r"preprocessing.steps.0.bads: 'CC3'"),
        ([{"step": "notch", "freqs": [64]}], r"step 0 \(notch\): freqs=64.0 Hz must be below 64"),
        ([{"step": "epoch", "channels": ["A1"]}], r"preprocessing.channels: 'A1'"),
    ):
        with pytest.raises(DataError, match=message):
            simulated(preprocessing={"steps": steps})


def test_a_step_fitted_on_recordings_is_noted(caplog):
    with caplog.at_level(logging.WARNING):
        data = simulated(preprocessing={"steps": [{"step": "interpolate", "bads": "find"}]})
    assert "interpolate is fitted on each whole recording, without labels" in " ".join(data.notes)


@pytest.mark.filterwarnings("ignore:This filename")
def test_own_recordings_and_bids_pass_through_the_same_steps(tmp_path):
    from mne_bids import BIDSPath, write_raw_bids

    raw = recording(montage=MONTAGE).drop_channels(["STI"])
    raw._data += tone(50, raw.n_times)
    onsets = np.arange(1.0, 17.0, 2.0)
    names = ["go", "stop"] * 4
    raw.set_annotations(mne.Annotations(onsets, [1.0] * 8, names))
    raw.info["line_freq"] = 50
    raw.save(tmp_path / "sub01_raw.fif", verbose=False)
    where = BIDSPath(subject="01", session="a", task="x", datatype="eeg", root=tmp_path / "bids")
    write_raw_bids(raw, where, allow_preload=True, format="BrainVision", verbose=False)
    steps = [{"step": "notch", "freqs": [50]}, {"step": "resample", "sfreq": 125}]
    loaded = []
    for own in (
        {"recordings": "{subject}_raw.fif", "labels_from": "annotations"},
        {"bids": "bids"},
    ):
        path = tmp_path / "mine.yaml"
        labels = {"labels": {"go": "go", "stop": "stop"}, "interval": [0, 1]}
        path.write_text(yaml.safe_dump({"name": "Mine", "own": {**own, **labels}}))
        options = {"fmin": None, "fmax": None, "steps": steps}
        data = load_epochs(path, preprocessing=options)
        assert data.sfreq == 125
        assert data.y.tolist() == names
        plain = load_epochs(path, preprocessing={**options, "steps": []})
        assert amplitude(plain.X, 50, SFREQ).mean() > 8
        assert amplitude(data.X, 50, 125).mean() < 1.5
        loaded.append(data.X)
    np.testing.assert_allclose(loaded[0], loaded[1], rtol=1e-3, atol=0.05)


def test_own_arrays_refuse_recording_steps(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", X=rng.standard_normal((4, 3, 100)), y=list("abab"), sfreq=100.0)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"name": "Mine", "own": {"arrays": "a.npz"}}))
    with pytest.raises(DataError, match=r"steps: notch: arrays hold trials.*fmin, fmax"):
        load_epochs(path, preprocessing={"steps": [{"step": "notch", "freqs": [20]}]})
    assert len(load_epochs(path, preprocessing={"steps": [{"step": "align"}]}).X) == 4


def test_cache_and_memory_know_the_steps(tmp_path, monkeypatch):
    reads = []
    read = SimulatedMI._get_single_subject_data
    monkeypatch.setattr(
        SimulatedMI, "_get_single_subject_data", lambda s, n: reads.append(n) or read(s, n)
    )
    plain = simulated(cache=tmp_path)
    simulated(cache=tmp_path, preprocessing={"steps": [{"step": "align"}], "standardise": "trial"})
    assert reads == [1]
    slower = {"steps": [{"step": "resample", "sfreq": 100}]}
    data = simulated(cache=tmp_path, preprocessing=slower)
    assert reads == [1, 1]
    assert data.X.shape[2] < plain.X.shape[2]
    again = simulated(cache=tmp_path, preprocessing=slower)
    assert reads == [1, 1]
    np.testing.assert_array_equal(again.X, data.X)

    manifest = load_manifest("SimulatedMI")
    events = manifest.default_events
    found = [
        estimate_memory(manifest, [1], events, manifest.resolve_preprocessing(given))
        for given in ({}, slower, {"steps": [{"step": "resample", "sfreq": 512}]})
    ]
    assert found[1].n_times == data.X.shape[2]
    assert found[2].n_times == 2.5 * 512 + 1
    assert found[1].epochs_bytes < found[0].epochs_bytes < found[2].epochs_bytes
    assert found[2].peak_bytes > 3 * found[0].peak_bytes


def test_every_recording_step_has_a_function():
    """A step added to the schema and forgotten here would pass for an interpolation."""
    raw = recording(montage=MONTAGE)
    for step in PreprocessingSpec.model_validate(
        {
            "steps": [
                {"step": "notch", "freqs": [50]},
                {"step": "filter", "fmin": 1},
                {"step": "reference"},
                {"step": "interpolate", "bads": ["Cz"]},
                {"step": "resample", "sfreq": 100},
            ]
        }
    ).recording_steps:
        assert not np.array_equal(eeg(apply_step(raw, step)), eeg(raw))
