"""Recording and trial steps on real recordings: what they find and take out there."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from scipy.signal import welch

from hypeeg.eeg import load_epochs
from hypeeg.eeg.pipelines import build_pipeline
from hypeeg.eeg.trial_steps import make_trial_steps

pytestmark = pytest.mark.realdata
OPEN = {"fmin": None, "fmax": None, "resample": None}


def mains(data, hz):
    """Power at the mains relative to 6 Hz below."""
    freqs, power = welch(data.X, data.sfreq, axis=-1)
    at = [power.mean(axis=(0, 1))[np.abs(freqs - f).argmin()] for f in (hz, hz - 6)]
    return at[0] / at[1]


def test_physionet_has_a_bad_channel_and_mains(hypeeg_data, caplog):
    steps = [
        {"step": "notch", "freqs": [60]},
        {"step": "interpolate", "bads": "find"},
        {"step": "reference", "channels": "average"},
        {"step": "resample", "sfreq": 128},
    ]
    before = load_epochs("PhysionetMI", [1], preprocessing=OPEN)
    with caplog.at_level(logging.INFO, logger="hypeeg.eeg.recording_steps"):
        after = load_epochs("PhysionetMI", [1], preprocessing={**OPEN, "steps": steps})
    found = [record.getMessage() for record in caplog.records if "interpolated" in record.message]
    # One line a recording: T10 is about three times as loud as its neighbours all along.
    assert len(found) >= 3
    assert all("T10" in line for line in found)
    assert (after.sfreq, after.X.shape) == (128, (45, 64, 385))
    assert (after.y == before.y).all()
    assert mains(before, 60) > 1
    assert mains(after, 60) < 0.3
    assert any("without labels" in note for note in after.notes)


def test_kalunga_keeps_its_trials_through_the_whole_chain(hypeeg_data):
    chain = [
        {"step": "notch", "freqs": [50]},
        {"step": "filter", "fmin": 8, "fmax": 45},
        {"step": "resample", "sfreq": 128},
        {"step": "epoch", "tmin": -1, "tmax": 3},
        {"step": "align", "domain": None},
    ]
    plain = load_epochs("Kalunga2016", [1], preprocessing={"resample": 128, "fmin": 8, "fmax": 45})
    data = load_epochs("Kalunga2016", [1], preprocessing={"steps": chain})
    # 4 s at 128 Hz, both ends included; resampled epochs lose the last.
    assert (data.X.shape, plain.X.shape) == ((48, 8, 513), (48, 8, 512))
    assert (data.y == plain.y).all()
    assert mains(data, 50) < mains(plain, 50)
    made = make_trial_steps(data.preprocessing, sfreq=data.sfreq, ch_names=data.ch_names)
    pipeline = build_pipeline("ts_lr", sfreq=data.sfreq, trial_steps=made)
    train = np.arange(len(data.y)) < 36
    pipeline.fit(data.X[train], data.y[train])
    aligned = pipeline[0].transform(data.X[train])
    mean = np.mean([np.cov(trial) for trial in aligned], axis=0)
    np.testing.assert_allclose(mean, np.eye(8), atol=0.15)
