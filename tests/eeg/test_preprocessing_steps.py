"""The named steps as data: order, rates, the short form and the whole chain, round trips."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml
from pydantic import ValidationError

from hypeeg.eeg import PreprocessingSpec, load_manifest
from hypeeg.eeg.errors import DataError
from hypeeg.eeg.preprocessing_steps import AlignStep, InterpolateStep, NotchStep, ResampleStep

NOTCH = {"step": "notch", "freqs": [50]}
ALIGN = {"step": "align"}
WHOLE = """
- {step: notch, freqs: [50]}
- {step: interpolate, bads: [Cz], montage: standard_1005}
- {step: reference, channels: average}
- {step: filter, fmin: 4, fmax: 38}
- {step: resample, sfreq: 100}
- {step: epoch, tmin: 0.5, tmax: 2.5}
- {step: ica, rule: kurtosis, n_components: 0.99}
- {step: baseline, start: 0.5, end: 0.7}
- {step: align, domain: session, metric: riemann, unseen: block}
- {step: standardise, mode: trial}
"""


def test_the_names_of_a_whole_chain_in_order():
    spec = PreprocessingSpec(steps=yaml.safe_load(WHOLE))
    names = [step["step"] for step in spec.as_steps()]
    assert names == [
        *("notch", "interpolate", "reference", "filter", "resample"),
        *("epoch", "ica", "baseline", "align", "standardise"),
    ]
    assert [step.step for step in spec.recording_steps] == names[:5]
    assert [step.step for step in spec.trial_steps] == names[6:9]
    assert (spec.tmin, spec.tmax, spec.standardise) == (0.5, 2.5, "trial")
    assert (spec.fmin, spec.fmax, spec.reference, spec.resample) == (None,) * 4
    assert spec.recording_sfreq(250.0) == 100.0
    # What is fitted on what.
    learns = {step.step: step.learns_from for step in spec.steps}
    assert {name for name, what in learns.items() if what == "training trials"} == {"ica", "align"}
    assert InterpolateStep(bads="find").learns_from == "recording"


def test_the_short_form_in_words_is_the_same_chain():
    short = PreprocessingSpec(
        fmin=8,
        fmax=30,
        tmin=0.5,
        tmax=2.5,
        resample=80,
        reference="average",
        channels=["C4", "C3"],
        baseline=(0.0, 0.5),
        steps=[NOTCH, ALIGN],
    )
    chain = short.as_steps()
    assert [step["step"] for step in chain] == [
        *("notch", "reference", "filter", "epoch", "align", "standardise"),
    ]
    assert chain[2] == {"step": "filter", "fmin": 8.0, "fmax": 30.0, "method": "iir"}
    long = PreprocessingSpec(steps=chain)
    assert long.as_steps() == chain
    assert long.channels == ["C4", "C3"]
    assert long.baseline == (0.0, 0.5)
    assert PreprocessingSpec().as_steps()[-1] == {"step": "standardise", "mode": "channel"}


@pytest.mark.parametrize(
    "spec",
    [
        PreprocessingSpec(steps=yaml.safe_load(WHOLE)),
        PreprocessingSpec(fmin=8, steps=[NOTCH, ALIGN]),
        PreprocessingSpec(fmin=8, steps=[NotchStep(freqs=[50]), AlignStep()]),
        PreprocessingSpec(),
    ],
)
def test_yaml_and_json_round_trips(spec):
    assert PreprocessingSpec.model_validate_json(spec.model_dump_json()) == spec
    for dump in (spec.model_dump(mode="json"), spec.model_dump(mode="json", exclude_unset=True)):
        again = PreprocessingSpec.model_validate(yaml.safe_load(yaml.safe_dump(dump)))
        assert again == spec
        assert again.as_steps() == spec.as_steps()


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([ALIGN, NOTCH], r"step 1 \(notch\) works on the recording.*move notch before it"),
        ([{"step": "epoch"}, NOTCH], r"step 1 \(notch\) works on the recording, but step 0"),
        (
            [ALIGN, {"step": "resample", "sfreq": 64}],
            r"step 1 \(resample\).*'resample' of the epoch step",
        ),
        ([ALIGN, {"step": "epoch"}], r"step 1 \(epoch\) cuts the trials.*move epoch before"),
        ([{"step": "standardise"}, ALIGN], r"step 1 \(align\) comes after standardise"),
        ([{"step": "epoch"}, {"step": "epoch"}], "step epoch is given more than once"),
        (
            [{"step": "resample", "sfreq": 100}, {"step": "filter", "fmin": 1, "fmax": 50}],
            r"step 1 \(filter\): fmax=50.0 Hz must be below 50.0 Hz, half of the 100.0 Hz that "
            r"step 0 resamples to.*before the resampling",
        ),
        ([{"step": "resample", "sfreq": 90}, NOTCH], r"step 1 \(notch\): freqs=50.0 Hz"),
        ([{"step": "filter"}], "give fmin, fmax or both"),
        ([{"step": "filter", "fmin": 9, "fmax": 8}], "fmin=9.0 Hz must be below fmax=8.0"),
        ([{"step": "notch", "freqs": []}], "at least 1 item"),
        ([{"step": "notch", "freqs": [50, 50]}], r"freqs names \[50.0\] twice"),
        ([{"step": "notch", "freq": [50]}], "step 'notch' has no key 'freq'; did you mean 'freqs'"),
        ([NOTCH, {"step": "nothc"}], "steps.1 names no step 'nothc': did you mean 'notch'"),
        ([{"freqs": [50]}], "steps.0 lacks the key 'step': valid: filter, notch, .*standardise"),
        (["notch"], "valid dictionary"),
        ([{"step": "ica", "n_components": 20.0}], "whole number of components"),
        ([{"step": "ica", "rule": "kurtosis", "channels": ["Fp1"]}], "belong to rule='eog'"),
        ([{"step": "ica", "threshold": 3}], "correlation here; give one below 1"),
        ([{"step": "baseline", "start": 1, "end": 0}], "start=1.0 s must be before end=0.0"),
        ([{"step": "align", "metric": "logm"}], "'euclid' or 'riemann'"),
        ([{"step": "interpolate", "bads": []}], "bads is an empty list"),
    ],
)
def test_mistakes_are_named_with_the_remedy(steps, message):
    with pytest.raises(ValidationError, match=message):
        PreprocessingSpec(steps=steps)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fmin": 4, "steps": [{"step": "epoch"}]}, "fmin=4 is given beside steps.*whole chain"),
        (
            {"standardise": "trial", "steps": [{"step": "standardise"}]},
            "standardise='trial' is given beside",
        ),
        (
            {"reference": ["Cz"], "steps": [{"step": "reference"}]},
            "beside a reference step.*reference: null",
        ),
        ({"resample": 64, "steps": [{"step": "resample", "sfreq": 80}]}, "resample: null"),
        (
            {"fmax": 40, "steps": [{"step": "resample", "sfreq": 80}]},
            "fmax=40.0 Hz must be below 40.0 Hz.*resample step",
        ),
        (
            {"tmin": 0.5, "steps": [{"step": "baseline", "start": 0, "end": 1}]},
            "0.0 to 1.0 s lies outside the trial.*may begin earlier",
        ),
    ],
)
def test_steps_and_fields_that_contradict_each_other(fields, message):
    with pytest.raises(ValidationError, match=message):
        PreprocessingSpec(**fields)


def test_rates_are_followed_through_the_chain():
    spec = PreprocessingSpec(
        fmax=30, steps=[{"step": "notch", "freqs": [50, 100]}, {"step": "resample", "sfreq": 64}]
    )
    spec.check_sfreq(256)
    with pytest.raises(ValueError, match=r"step 0 \(notch\): freqs=100.0 Hz.*my file \(160 Hz\)"):
        spec.check_sfreq(160, "my file")
    up = PreprocessingSpec(fmax=45, steps=[{"step": "resample", "sfreq": 100}])
    up.check_sfreq(80)  # the band comes after the resampling


def test_a_manifest_gives_way_to_steps():
    manifest = load_manifest("SimulatedMI")
    assert manifest.preprocessing.fmin == 4
    added = manifest.resolve_preprocessing({"steps": [NOTCH]})
    assert (added.fmin, added.fmax, added.tmin) == (4, 38, 0.5)
    trial = manifest.resolve_preprocessing({"steps": [{"step": "standardise", "mode": "trial"}]})
    assert trial.standardise == "trial"
    whole = [NOTCH, {"step": "epoch", "tmax": 2}]
    for given in ({"steps": whole}, PreprocessingSpec(steps=whole)):
        chain = manifest.resolve_preprocessing(given).as_steps()
        assert [step["step"] for step in chain] == ["notch", "epoch", "standardise"]
        assert chain[1]["tmin"] == 0.0
    with pytest.raises(DataError, match="fmin=8 is given beside"):
        manifest.resolve_preprocessing({"steps": whole, "fmin": 8})
    with pytest.raises(DataError, match=r"fmax=38.0 Hz must be below 30.0 Hz"):
        manifest.resolve_preprocessing({"steps": [{"step": "resample", "sfreq": 60}]})


def test_loading_fields_hold_what_loading_needs():
    """Trial steps and standardisation must not make a new cache entry, recording steps must."""
    plain = PreprocessingSpec(fmin=8)
    same = PreprocessingSpec(fmin=8, standardise="trial", steps=[ALIGN])
    other = PreprocessingSpec(fmin=8, steps=[NotchStep(freqs=[50])])
    assert plain.loading_fields() == same.loading_fields()
    assert plain.loading_fields() != other.loading_fields()
    first = PreprocessingSpec(steps=[NotchStep(freqs=[50]), ResampleStep(sfreq=128)])
    second = PreprocessingSpec(steps=[ResampleStep(sfreq=128), NotchStep(freqs=[50])])
    assert first.loading_fields() != second.loading_fields()


def test_checking_a_spec_loads_no_library():
    code = (
        "import sys, hypeeg.eeg.preprocessing as p\n"
        "p.PreprocessingSpec(steps=[{'step': 'align'}]).as_steps()\n"
        "print([m for m in ('mne', 'torch', 'sklearn', 'moabb', 'braindecode') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
