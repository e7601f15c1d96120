"""Loading through MOABB: requests, arrays, and what MNE would do by hand; bad input is named."""

from __future__ import annotations

import re
import sys
import types
from dataclasses import replace
from typing import ClassVar

import mne
import numpy as np
import pytest

from hypeeg.eeg import check_dataset, load_epochs, load_manifest
from hypeeg.eeg.errors import CorruptDataError, DataError
from hypeeg.eeg.simulated import CHANNELS, SimulatedMI

SMALL = {"n_subjects": 2, "n_trials": 8}


def simulated(**request):
    return load_epochs("SimulatedMI", dataset_params=SMALL, **request)


def test_arrays_labels_and_metadata():
    data = simulated()
    assert data.X.shape == (2 * 2 * 8, 22, 321)
    assert data.X.dtype == np.float32
    assert 2 < data.X.std() < 30  # microvolts
    assert data.sfreq == 128
    assert data.ch_names == CHANNELS
    assert data.classes == ["left_hand", "right_hand"]
    assert data.y.dtype.kind == "U"
    assert list(data.metadata) == ["subject", "session", "run"]
    assert data.metadata.index.tolist() == list(range(32))
    assert data.subjects == [1, 2]
    assert set(data.metadata["session"]) == {"0", "1"}
    assert (data.dataset, data.scoring, data.notes) == ("SimulatedMI", "roc_auc", ())
    assert "X (32, 22, 321)" in repr(data)


def test_same_numbers_as_mne_by_hand():
    spec = {"fmin": 8, "fmax": 30, "tmin": 0.5, "tmax": 2.5, "reference": "average"}
    data = simulated(subjects=[2], sessions=["1"], preprocessing=spec)
    raw = SimulatedMI(**SMALL).get_data([2])[2]["1"]["0"]
    events = mne.find_events(raw, verbose=False)
    raw = mne.set_eeg_reference(raw, "average", copy=True, verbose=False)[0]
    raw.filter(8, 30, method="iir", picks="eeg", verbose=False)
    epochs = mne.Epochs(
        raw, events, tmin=0.5, tmax=2.5, baseline=None, picks="eeg", preload=True, verbose=False
    )
    np.testing.assert_allclose(data.X, epochs.get_data() * 1e6, rtol=1e-4, atol=1e-4)
    names = {1: "left_hand", 2: "right_hand"}
    assert data.y.tolist() == [names[code] for code in epochs.events[:, 2]]
    # The reference is the average of all channels, so the channels sum to nothing.
    assert np.abs(data.X.mean(axis=1)).max() < 1e-3


def test_channel_order_selection_and_resampling():
    full = simulated(subjects=[1], sessions=["0"])
    part = simulated(subjects=[1], sessions=["0"], preprocessing={"channels": ["C4", "C3"]})
    assert part.ch_names == ("C4", "C3")
    order = [CHANNELS.index("C4"), CHANNELS.index("C3")]
    np.testing.assert_array_equal(part.X, full.X[:, order])
    half = simulated(
        subjects=[1], sessions=["0"], preprocessing={"resample": 64, "fmax": 30, "tmax": 2.5}
    )
    assert half.sfreq == 64
    assert half.X.shape[2] in (128, 129)


def test_named_reference_and_baseline():
    spec = {"fmin": None, "fmax": None, "reference": ["Cz"], "baseline": (0.5, 1.0)}
    data = simulated(subjects=[1], sessions=["0"], preprocessing=spec)
    np.testing.assert_allclose(data.X[:, CHANNELS.index("Cz")], 0, atol=1e-6)
    np.testing.assert_allclose(data.X[:, :, :65].mean(axis=2), 0, atol=1e-3)


def test_select_keeps_rows_together():
    data = simulated()
    rows = (data.metadata["subject"] == 2).to_numpy()
    part = data.select(rows)
    assert part.subjects == [2]
    np.testing.assert_array_equal(part.X, data.X[rows])
    assert part.metadata.index.tolist() == list(range(16))
    again = data.select(np.flatnonzero(rows))
    np.testing.assert_array_equal(again.y, part.y)
    with pytest.raises(ValueError, match="do not fit together"):
        replace(data, y=data.y[:-1])


@pytest.mark.filterwarnings("ignore:All epochs were dropped")
@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"subjects": [1, 9]}, r"subjects: 9 is not there; valid: 1 to 2"),
        ({"subjects": ["1"]}, r"subjects: '1' of type str"),
        ({"subjects": [True]}, r"subjects: True"),
        ({"subjects": [1, 1]}, r"names something twice"),
        ({"subjects": []}, r"subjects is an empty list"),
        ({"sessions": ["7"]}, r"sessions: '7' is not there; valid: 0, 1"),
        ({"events": ["left_hand", "right_hnd"]}, r"'right_hnd' is not there; did you mean 'right"),
        ({"events": ["left_hand"]}, r"at least two"),
        ({"preprocessing": {"channels": ["C3", "CC4"]}}, r"preprocessing.channels: 'CC4'.*'C4'"),
        ({"preprocessing": {"reference": ["M1"]}}, r"preprocessing.reference: 'M1'"),
        ({"preprocessing": {"fmax": 64}}, r"fmax=64.0 Hz must be below 64.0 Hz"),
        ({"preprocessing": {"fmin": 50}}, r"fmin=50.0 Hz must be below fmax"),
        ({"preprocessing": {"tmin": 900, "tmax": 901}}, r"no trial of the chosen events"),
    ],
)
def test_bad_requests_are_named(request_, message):
    with pytest.raises(DataError, match=message):
        simulated(**request_)


def test_bad_dataset_class_or_parameters():
    manifest = load_manifest("SimulatedMI")
    for name in ("PhysionetMl", "hypeeg.eeg.simulated.SimulatedMl", "no.such.Module"):
        with pytest.raises(DataError, match=f"moabb_class='{name}'"):
            load_epochs(manifest.model_copy(update={"moabb_class": name}))
    for params in ({"erd_depth": 2}, {"depth": 1}):
        with pytest.raises(DataError, match="SimulatedMI: parameters"):
            load_epochs(manifest, dataset_params=params)


class _Damaged(SimulatedMI):
    """Simulated recordings with a fault planted in subject 2, session 1."""

    fault: ClassVar[str] = ""

    def _get_single_subject_data(self, subject):
        data = super()._get_single_subject_data(subject)
        raw = data["1"]["0"]
        if subject == 2 and self.fault == "nan":
            raw._data[CHANNELS.index("C3"), 2000:2010] = np.nan
        if subject == 2 and self.fault == "flat":
            raw._data[CHANNELS.index("C3")] = 1e-6
        if subject == 2 and self.fault == "short":
            raw.crop(0, raw.times[-1] / 2)
        if subject == 2 and self.fault == "order":
            raw.reorder_channels([*reversed(CHANNELS), "STI"])
        if subject == 2 and self.fault == "rate":
            for session in data.values():
                session["0"].resample(100, verbose=False)
        if subject == 2 and self.fault == "channel":
            for session in data.values():
                session["0"].rename_channels({"POz": "Oz"})
        if subject == 2 and self.fault == "absent":
            del data["1"]
        if subject == 2 and self.fault == "unreadable":
            raise RuntimeError("bad block in file\nsecond line")
        return data


@pytest.fixture
def damaged(monkeypatch):
    manifest = load_manifest("SimulatedMI").model_copy(
        update={"moabb_class": "damaged_recordings.Damaged"}
    )

    def plant(fault):
        module = types.ModuleType("damaged_recordings")
        module.Damaged = type("Damaged", (_Damaged,), {"fault": fault})
        monkeypatch.setitem(sys.modules, "damaged_recordings", module)
        return manifest

    return plant


def test_nan_names_subject_session_and_channel(damaged):
    with pytest.raises(CorruptDataError, match=r"subject 2 session 1 run 0: NaN.*\['C3'\]"):
        load_epochs(damaged("nan"), dataset_params=SMALL)


def test_unreadable_recording_keeps_the_cause(damaged):
    with pytest.raises(
        CorruptDataError, match=r"subject 2: .*bad block in file second line\)"
    ) as info:
        load_epochs(damaged("unreadable"), dataset_params=SMALL)
    assert isinstance(info.value.__cause__, RuntimeError)


def test_recordings_of_another_rate_need_resampling(damaged):
    with pytest.raises(DataError, match=r"subject 2: 22 channels at 100 Hz, but subject 1"):
        load_epochs(damaged("rate"), dataset_params=SMALL)
    data = load_epochs(damaged("rate"), dataset_params=SMALL, preprocessing={"resample": 80})
    assert data.sfreq == 80


def test_absent_channel_is_named(damaged):
    with pytest.raises(CorruptDataError, match=r"subject 2: .*POz"):
        load_epochs(damaged("channel"), dataset_params=SMALL)


def test_channel_order_is_the_manifests(damaged):
    data = load_epochs(damaged("order"), dataset_params=SMALL)
    np.testing.assert_array_equal(data.X, simulated().X)


def test_lost_trials_are_noted(damaged, caplog):
    data = load_epochs(damaged("short"), dataset_params=SMALL)
    assert len(data.X) < 32
    (note,) = data.notes
    assert "subject 2 session 1" in note
    assert note in caplog.text


def test_absent_session_is_noted(damaged):
    (note,) = load_epochs(damaged("absent"), dataset_params=SMALL).notes
    assert "subject 2 session 1: no trials" in note
    report = check_dataset(damaged("absent"), dataset_params=SMALL)
    assert report.problems == ["SimulatedMI subject 2 session 1: session is absent"]


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("nan", r"NaN or infinite values in channels \['C3'\]"),
        ("flat", r"flat channels \['C3'\]"),
        ("short", r"trials, expected 4"),
        ("rate", r"100 Hz, expected 128 Hz"),
        ("channel", r"differing: \['Oz', 'POz'\]"),
        ("unreadable", r"unreadable: RuntimeError: bad block"),
    ],
)
def test_check_reports_and_does_not_raise(damaged, fault, problem):
    report = check_dataset(damaged(fault), dataset_params=SMALL)
    assert not report.ok
    assert all(p.startswith("SimulatedMI subject 2") for p in report.problems)
    assert re.search(problem, " ".join(report.problems))
    assert re.search(problem, report.to_text())
    assert report.to_text().splitlines()[-1].startswith(f"{len(report.problems)} problem")


def test_check_of_sound_data():
    report = check_dataset("SimulatedMI", dataset_params=SMALL)
    assert report.ok
    assert [(row.subject, row.session) for row in report.rows] == [
        (1, "0"),
        (1, "1"),
        (2, "0"),
        (2, "1"),
    ]
    assert report.rows[0].found == report.rows[0].expected == {"left_hand": 4, "right_hand": 4}
    text = report.to_text()
    assert "left_hand 4/4 right_hand 4/4" in text
    assert text.splitlines()[-1].startswith("as expected")
    assert report.to_dict()["ok"] is True
    with pytest.raises(DataError, match="subjects: 3 is not there"):
        check_dataset("SimulatedMI", [3], dataset_params=SMALL)


def test_parameters_change_what_the_manifest_expects():
    data = load_epochs(
        "SimulatedMI", dataset_params={"n_subjects": 5, "n_sessions": 1, "n_trials": 4}
    )
    assert data.subjects == [1, 2, 3, 4, 5]
    assert data.notes == ()
