"""How raw recordings become epochs, as one validated description.

:class:`PreprocessingSpec` is plain data, shared by manifests, run specs, the command line and the
screens, so this module imports neither MNE nor scikit-learn. Everything up to the epochs (band,
reference, epoch window, baseline, resampling) is done by MNE inside MOABB's paradigms, trial by
trial, and learns nothing. Standardisation can learn from data, so it is *not* done at loading: it
is the transformer :class:`~hypeeg.eeg.transformers.Standardize`, first step of a scikit-learn
pipeline, fitted on training trials only.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

if TYPE_CHECKING:
    from hypeeg.eeg.transformers import FilterBank as FilterBank
    from hypeeg.eeg.transformers import Standardize as Standardize

StandardiseMode = Literal["channel", "trial", "none"]


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
        return self

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
            If ``fmin`` or ``fmax`` is not below half the sampling rate.
        """
        for name, value in (("fmin", self.fmin), ("fmax", self.fmax)):
            if value is not None and value >= sfreq / 2:
                raise ValueError(
                    f"{name}={value} Hz must be below {sfreq / 2} Hz, half the sampling rate of "
                    f"{source} ({sfreq} Hz); lower {name}"
                )

    def updated(self, **changes: Any) -> PreprocessingSpec:
        """A validated copy with some fields changed.

        Parameters
        ----------
        **changes
            Fields and their new values.
        """
        return PreprocessingSpec.model_validate({**self.model_dump(), **changes})


def __getattr__(name: str) -> Any:
    # The transformers need scikit-learn, which the spec must not load.
    if name in {"Standardize", "FilterBank"}:
        return getattr(importlib.import_module("hypeeg.eeg.transformers"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
