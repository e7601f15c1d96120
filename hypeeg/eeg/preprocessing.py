"""How raw recordings become epochs, as one validated description.

:class:`PreprocessingSpec` is plain data, shared by manifests, run specs, the command line and the
screens, so this module imports neither MNE nor scikit-learn. Everything up to the epochs (band,
reference, epoch window, baseline, resampling, recording steps) is done by MNE inside MOABB's
paradigms at loading, one recording at a time. What can learn from trials is *not* done at loading:
trial steps and standardisation are scikit-learn transformers, first steps of every pipeline, fitted
on training trials only.

The flat fields are the short form of the usual chain; ``steps`` names further steps, or the whole
chain. :meth:`PreprocessingSpec.as_steps` writes either out.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hypeeg.eeg.preprocessing_chain import (
    check_names,
    check_order,
    check_rates,
    implied_fields,
)
from hypeeg.eeg.preprocessing_steps import (
    BaselineStep,
    EpochStep,
    FilterStep,
    RecordingStep,
    ReferenceStep,
    ResampleStep,
    StandardiseMode,
    StandardiseStep,
    Step,
    TrialStep,
)

if TYPE_CHECKING:
    from hypeeg.eeg.transformers import FilterBank as FilterBank
    from hypeeg.eeg.transformers import Standardize as Standardize


class PreprocessingSpec(BaseModel):
    """Preprocessing of one run.

    Times are in seconds **relative to the start of the task interval that MOABB defines for the
    dataset** (not to the cue): Kalunga2016's interval starts 2 s after the cue, so ``tmin=0`` is
    there 2 s after the cue. Epochs leave the loader in microvolts (MOABB's unit factor applied),
    except where a manifest says that the stored amplitudes are no volts.

    Parameters
    ----------
    fmin, fmax : float or None
        Band kept, in Hz (MNE's zero-phase Butterworth filter of order 4, on the continuous
        recording). None leaves that side open.
    tmin : float
        Start of the epoch, in seconds after the start of the task interval.
    tmax : float or None
        End of the epoch, same origin; None takes the end of the task interval. The sample at
        ``tmax`` is included: 3 s at 160 Hz are 481 samples.
    resample : float or None
        New sampling rate in Hz, applied to the epochs; None keeps the recording's.
    reference : "average", list of str or None
        Re-reference to the average of *all* EEG channels of the recording (before any channel is
        selected) or to the mean of the named channels. An average reference makes covariance
        matrices singular: shrink them.
    channels : list of str or None
        Channels to keep, in this order; None keeps all EEG channels, in the manifest's order.
    baseline : (float, float) or None
        Interval whose mean is subtracted from each channel of each epoch, same origin as tmin.
    standardise : {"channel", "trial", "none"}
        ``"channel"``: mean and standard deviation of each channel over the training trials;
        ``"trial"``: each channel of each trial by itself; ``"none"``. Applied by the pipeline,
        not by the loader.
    steps : list of Step
        Named steps (:mod:`hypeeg.eeg.preprocessing_steps`), in YAML ``- {step: notch, freqs:
        [50]}``. Recording steps (``filter``, ``notch``, ``reference``, ``interpolate``,
        ``resample``, ``asr``) act on the continuous recording in the given order, before the short
        form's reference and band; trial steps (``ica``, ``baseline``, ``align``, ``standardise``)
        are fitted on training trials and act in the given order before the model. A list that
        holds an ``epoch`` step is the whole chain: it sets every field above.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    fmin: float | None = Field(default=None, ge=0)
    fmax: float | None = Field(default=None, gt=0)
    tmin: float = 0.0
    tmax: float | None = None
    resample: float | None = Field(default=None, gt=0)
    reference: Literal["average"] | list[str] | None = None
    channels: list[str] | None = None
    baseline: tuple[float, float] | None = None
    standardise: StandardiseMode = "channel"
    steps: list[Step] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _steps_decide(cls, value: Any) -> Any:
        """Fill in the fields that the steps decide, and refuse others beside them."""
        if not isinstance(value, dict):
            return value
        check_names(value.get("steps"))
        implied = implied_fields(value.get("steps"))
        for name, decided in implied.items():
            given = value.get(name, decided)
            if _plain(given) != _plain(decided):
                raise ValueError(
                    f"{name}={given!r} is given beside steps that make it {decided!r}: a list with "
                    "an epoch step is the whole chain, and a standardise step says how to "
                    f"standardise; leave out {name}, or write it as a step"
                )
        return {**value, **implied}

    @field_validator("channels", "reference")
    @classmethod
    def _named_once(cls, value: Any) -> Any:
        if isinstance(value, list):
            if not value:
                raise ValueError("empty list; leave it out (null) or name at least one channel")
            twice = sorted({name for name in value if value.count(name) > 1})
            if twice:
                raise ValueError(f"channels named twice: {twice}; name each once")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> PreprocessingSpec:
        if self.fmin is not None and self.fmax is not None and self.fmin >= self.fmax:
            raise ValueError(
                f"fmin={self.fmin} Hz must be below fmax={self.fmax} Hz; swap or widen the band"
            )
        if self.tmax is not None and self.tmin >= self.tmax:
            raise ValueError(
                f"tmin={self.tmin} s must be before tmax={self.tmax} s; both count from the start "
                "of the task interval"
            )
        if self.baseline is not None and self.baseline[0] >= self.baseline[1]:
            raise ValueError(
                f"baseline={self.baseline} s must be (start, end) with start before end"
            )
        if self.resample is not None and self.fmax is not None and self.fmax >= self.resample / 2:
            raise ValueError(
                f"fmax={self.fmax} Hz must be below half of resample={self.resample} Hz "
                f"({self.resample / 2} Hz, the Nyquist limit); lower fmax or raise resample"
            )
        self._check_steps()
        return self

    def _check_steps(self) -> None:
        check_order(self.steps)
        rate = check_rates(self.steps, None, "")
        if rate is not None:
            self._check_band(rate, "what the resample step leaves", "its sfreq")
        recording = self.recording_steps
        if self.reference is not None and any(isinstance(s, ReferenceStep) for s in recording):
            raise ValueError(
                f"reference={self.reference!r} is given beside a reference step; keep one (a "
                "manifest's is removed by reference: null)"
            )
        if self.resample is not None and rate is not None:
            raise ValueError(
                f"resample={self.resample} is given beside a resample step; keep one (a manifest's "
                "is removed by resample: null)"
            )
        for step in self.steps:
            if isinstance(step, BaselineStep) and (
                step.start < self.tmin or (self.tmax is not None and step.end > self.tmax)
            ):
                raise ValueError(
                    f"step baseline: {step.start} to {step.end} s lies outside the trial, tmin="
                    f"{self.tmin} to tmax={self.tmax} s; the field 'baseline' may begin earlier"
                )

    def _check_band(self, sfreq: float, source: str, which: str) -> None:
        for name, value in (("fmin", self.fmin), ("fmax", self.fmax)):
            if value is not None and value >= sfreq / 2:
                raise ValueError(
                    f"{name}={value} Hz must be below {sfreq / 2} Hz, half the sampling rate of "
                    f"{source} ({sfreq} Hz); lower {name}{which and f' or raise {which}'}"
                )

    @property
    def recording_steps(self) -> list[RecordingStep]:
        """Steps on the continuous recording that ``steps`` names, in order."""
        return [step for step in self.steps if isinstance(step, RecordingStep)]

    @property
    def trial_steps(self) -> list[TrialStep]:
        """Steps on trials that ``steps`` names, in order, without ``standardise``."""
        kept = [step for step in self.steps if isinstance(step, TrialStep)]
        return [step for step in kept if not isinstance(step, StandardiseStep)]

    def as_steps(self) -> list[dict[str, Any]]:
        """The whole ordered chain by name, short form included.

        Returns
        -------
        list of dict
            One a step, as it would stand in YAML, the epoch step among them. As ``steps`` of
            another spec they describe the same chain.
        """
        chain: list[Any] = list(self.recording_steps)
        # What an epoch step decides is None here unless the short form was used.
        if self.reference is not None:
            chain.append(ReferenceStep(channels=self.reference))
        if self.fmin is not None or self.fmax is not None:
            chain.append(FilterStep(fmin=self.fmin, fmax=self.fmax))
        names = ("tmin", "tmax", "channels", "baseline", "resample")
        chain.append(EpochStep(**{name: getattr(self, name) for name in names}))
        chain += self.trial_steps
        chain.append(StandardiseStep(mode=self.standardise))
        return [step.model_dump(mode="json") for step in chain]

    def loading_fields(self) -> dict[str, Any]:
        """What decides the epochs that the loader returns, as plain data: no trial steps.

        Returns
        -------
        dict
            For cache keys.
        """
        fields = self.model_dump(mode="json", exclude={"standardise", "steps"})
        fields["steps"] = [step.model_dump(mode="json") for step in self.recording_steps]
        return fields

    def recording_sfreq(self, sfreq: float) -> float:
        """Sampling rate of the recording after the recording steps, in Hz.

        Parameters
        ----------
        sfreq : float
            Rate before them, Hz.
        """
        for step in self.recording_steps:
            if isinstance(step, ResampleStep):
                sfreq = step.sfreq
        return sfreq

    def check_sfreq(self, sfreq: float, source: str = "the recording") -> None:
        """Check the band against a recording's sampling rate.

        Parameters
        ----------
        sfreq : float
            Sampling rate of the recording, Hz.
        source : str
            Name of the recording for the message.

        Raises
        ------
        ValueError
            If an edge of a band is not below half the sampling rate that the recording has there.
        """
        rate = check_rates(self.steps, sfreq, source)
        if rate is not None:
            self._check_band(rate, source if rate == sfreq else "what the resample step leaves", "")

    def updated(self, **changes: Any) -> PreprocessingSpec:
        """A validated copy with some fields changed.

        Parameters
        ----------
        **changes
            Fields and their new values.
        """
        if "steps" in changes:
            # They decide fields that the present values would contradict.
            changes = {**implied_fields(changes["steps"]), **changes}
        return PreprocessingSpec.model_validate({**self.model_dump(), **changes})


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def __getattr__(name: str) -> Any:
    # The transformers need scikit-learn, which the spec must not load.
    if name in {"Standardize", "FilterBank"}:
        return getattr(importlib.import_module("hypeeg.eeg.transformers"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
