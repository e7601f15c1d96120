"""The named steps from a recording to trials, as validated, serialisable data.

A step says what is done; nothing here does it. Recording steps are applied to the continuous
signal by :mod:`hypeeg.eeg.recording_steps`, trial steps become scikit-learn transformers in
:mod:`hypeeg.eeg.trial_steps`. This module imports neither MNE nor scikit-learn.

``learns_from`` says what a step is fitted on: ``"nothing"``, ``"recording"`` (the one recording
that it changes, without labels) or ``"training trials"``.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hypeeg.eeg.errors import suggest

StandardiseMode = Literal["channel", "trial", "none"]
LearnsFrom = Literal["nothing", "recording", "training trials"]


class StepBase(BaseModel):
    """What every step has."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    place: ClassVar[Literal["recording", "epoch", "trials"]]

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        # Said here, because a union's own message cannot tell which step's keys are meant.
        if not isinstance(value, dict):
            return value
        unknown = [key for key in value if key not in cls.model_fields]
        if unknown:
            keys = [key for key in cls.model_fields if key != "step"]
            raise ValueError(
                f"step {value.get('step')!r} has no key {unknown[0]!r}; {suggest(unknown[0], keys)}"
            )
        return value

    @property
    def learns_from(self) -> LearnsFrom:
        """What the step is fitted on."""
        return "nothing"

    def model_post_init(self, context: Any) -> None:
        """Keep the name of the step in dumps that leave out what was not given."""
        self.model_fields_set.add("step")


class FilterStep(StepBase):
    """Band-pass the recording (MNE's ``Raw.filter``).

    Parameters
    ----------
    fmin, fmax : float or None
        Edges of the band, Hz; one may be left open.
    method : {"iir", "fir"}
        Zero-phase Butterworth filter of order 4, as MOABB's paradigms use, or MNE's windowed
        finite filter.
    """

    place = "recording"
    step: Literal["filter"] = "filter"
    fmin: float | None = Field(default=None, ge=0, description="lower edge, Hz")
    fmax: float | None = Field(default=None, gt=0, description="upper edge, Hz")
    method: Literal["iir", "fir"] = "iir"

    @model_validator(mode="after")
    def _band(self) -> FilterStep:
        if self.fmin is None and self.fmax is None:
            raise ValueError("give fmin, fmax or both, in Hz")
        if self.fmin is not None and self.fmax is not None and self.fmin >= self.fmax:
            raise ValueError(f"fmin={self.fmin} Hz must be below fmax={self.fmax} Hz; swap them")
        return self


class NotchStep(StepBase):
    """Remove the mains and its harmonics (MNE's ``Raw.notch_filter``, finite, zero phase).

    Parameters
    ----------
    freqs : list of float
        Centres, Hz: ``[50, 100]``.
    width : float or None
        Width of each notch in Hz; None takes MNE's, a 200th of the frequency.
    """

    place = "recording"
    step: Literal["notch"] = "notch"
    freqs: list[Annotated[float, Field(gt=0)]] = Field(min_length=1, description="centres, Hz")
    width: float | None = Field(default=None, gt=0, description="width of each notch, Hz")

    @field_validator("freqs")
    @classmethod
    def _once(cls, value: list[float]) -> list[float]:
        return _named_once(value, "freqs")


class ReferenceStep(StepBase):
    """Re-reference to the average of all EEG channels, or to the mean of the named ones.

    Parameters
    ----------
    channels : "average" or list of str
        An average reference makes covariance matrices singular: shrink them. Channels that a
        recording marks as bad are left out of the average.
    """

    place = "recording"
    step: Literal["reference"] = "reference"
    channels: Literal["average"] | list[str] = "average"

    @field_validator("channels")
    @classmethod
    def _once(cls, value: Any) -> Any:
        return _named_once(value, "channels") if isinstance(value, list) else value


class InterpolateStep(StepBase):
    """Replace bad channels by spherical splines of the others (MNE's ``interpolate_bads``).

    Parameters
    ----------
    bads : "marked", "find" or list of str
        Those that the recording itself marks, those found by the rule below (and those marked), or
        the named ones (and those marked).
    threshold : float
        For ``"find"``: a channel is bad when the logarithm of its robust standard deviation (0.7413
        times the interquartile range, over the whole recording) is further than this many robust
        standard deviations from the median over channels, or when the channel is constant: the
        deviation criterion of the PREP pipeline [1]_, on a logarithmic scale so that quiet
        channels are found as well as loud ones. It needs at least four channels.
    max_share : float
        For ``"find"``: share of bad channels above which the recording is refused.
    montage : str or None
        Name of one of MNE's montages, for recordings without electrode positions; None takes the
        recording's own, else the one that the manifest names.

    Notes
    -----
    ``"find"`` learns from the recording that it changes, without labels; where training and test
    trials lie in one recording it has seen both.

    References
    ----------
    .. [1] Bigdely-Shamlo, Mullen, Kothe, Su, Robbins (2015), The PREP pipeline: standardized
       preprocessing for large-scale EEG analysis, Frontiers in Neuroinformatics 9:16.
    """

    place = "recording"
    step: Literal["interpolate"] = "interpolate"
    bads: Literal["marked", "find"] | list[str] = "marked"
    threshold: float = Field(default=5.0, gt=0, description="robust standard deviations")
    max_share: float = Field(default=0.3, gt=0, lt=1, description="most channels that may be bad")
    montage: str | None = None

    @property
    def learns_from(self) -> LearnsFrom:
        """What the step is fitted on."""
        return "recording" if self.bads == "find" else "nothing"

    @field_validator("bads")
    @classmethod
    def _once(cls, value: Any) -> Any:
        return _named_once(value, "bads") if isinstance(value, list) else value


class ResampleStep(StepBase):
    """Resample the recording (MNE's ``Raw.resample``), events with it.

    Parameters
    ----------
    sfreq : float
        New rate, Hz. MNE filters before it decimates; events move by half a new sample at most.
        The short form's ``resample`` acts on epochs instead: cheaper, with edge effects.
    """

    place = "recording"
    step: Literal["resample"] = "resample"
    sfreq: float = Field(gt=0, description="new rate, Hz")


class AsrStep(StepBase):
    """Artefact subspace reconstruction [1]_ by meegkit (``pip install 'hypeeg[asr]'``).

    Clean stretches of the recording give the usual spread of each direction; in stretches where a
    direction exceeds `cutoff` times that spread, it is rebuilt from the others.

    Parameters
    ----------
    cutoff : float
        Standard deviations; 20 to 30 are careful, below 5 eats brain signals.
    window : float
        Length of the stretches, seconds.
    calibration : float or None
        Seconds at the beginning of the recording that it is calibrated on, at least 30; None takes
        all of it.

    Notes
    -----
    High-pass before (0.5 to 1 Hz). It learns from the recording that it changes, without labels.

    References
    ----------
    .. [1] Mullen, Kothe, Chi, Ojeda, Kerth, Makeig, Jung, Cauwenberghs (2015), Real-time
       neuroimaging and cognitive monitoring using wearable dry EEG, IEEE Transactions on
       Biomedical Engineering 62, 2553-2567.
    """

    place = "recording"
    step: Literal["asr"] = "asr"
    cutoff: float = Field(default=20.0, gt=0, description="standard deviations")
    window: float = Field(default=0.5, gt=0, description="seconds")
    calibration: float | None = Field(default=None, ge=30, description="seconds, at least 30")

    @property
    def learns_from(self) -> LearnsFrom:
        """What the step is fitted on."""
        return "recording"


class EpochStep(StepBase):
    """Cut trials. A list that holds this step is the *whole* chain.

    Band, reference and resampling of the short form (and of the manifest) then do not apply:
    what is wanted stands in the list. Everything before this step is done to the recording,
    everything after it to trials.

    Parameters
    ----------
    tmin, tmax : float, float or None
        As in :class:`~hypeeg.eeg.preprocessing.PreprocessingSpec`.
    channels : list of str or None
        Channels to keep, in this order.
    baseline : (float, float) or None
        Interval whose mean is subtracted; may begin before ``tmin``, other than the trial step's.
    resample : float or None
        New rate of the epochs, Hz.
    """

    place = "epoch"
    step: Literal["epoch"] = "epoch"
    tmin: float = 0.0
    tmax: float | None = None
    channels: list[str] | None = None
    baseline: tuple[float, float] | None = None
    resample: float | None = Field(default=None, gt=0, description="new rate of the epochs, Hz")


class IcaStep(StepBase):
    """Remove artefact components (``mne.preprocessing.ICA``), fitted on training trials.

    Parameters
    ----------
    n_components : int, float or None
        As in MNE: a number, a share of the variance below 1, or None for all but what rank lacks.
    method : {"fastica", "infomax", "picard"}
        Algorithm; picard needs ``python-picard``.
    rule : {"eog", "kurtosis"}
        Which components go. ``"eog"``: those whose time course correlates with one of `channels`
        over the training trials by more than the threshold in absolute value. ``"kurtosis"``:
        those whose kurtosis lies further than the threshold above the median over components, in
        robust standard deviations: rare, large deflections [1]_.
    channels : list of str or None
        For ``"eog"``: channels that see the eyes; None takes those of Fp1, Fpz, Fp2, AF7, AF8 and
        EOG that are there.
    threshold : float or None
        None takes 0.7 for ``"eog"`` and 5 for ``"kurtosis"``.
    max_exclude : int or None
        At most so many components, those that score highest.
    random_state : int
        Seed of the algorithm's start.

    Notes
    -----
    Slow drifts make poor components: high-pass at about 1 Hz before.

    References
    ----------
    .. [1] Delorme, Sejnowski, Makeig (2007), Enhanced detection of artifacts in EEG data using
       higher-order statistics and independent component analysis, NeuroImage 34, 1443-1449.
    """

    place = "trials"
    step: Literal["ica"] = "ica"
    n_components: int | float | None = Field(default=None, gt=0, description="as in MNE's ICA")
    method: Literal["fastica", "infomax", "picard"] = "fastica"
    rule: Literal["eog", "kurtosis"] = "eog"
    channels: list[str] | None = None
    threshold: float | None = Field(default=None, gt=0, description="see rule")
    max_exclude: int | None = Field(default=None, ge=1, description="most components removed")
    random_state: int = Field(default=0, ge=0)

    @property
    def learns_from(self) -> LearnsFrom:
        """What the step is fitted on."""
        return "training trials"

    @model_validator(mode="after")
    def _consistent(self) -> IcaStep:
        if isinstance(self.n_components, float) and self.n_components >= 1:
            raise ValueError(
                f"n_components={self.n_components}: a number with a point is a share of the "
                "variance below 1; give a whole number of components"
            )
        if self.rule == "kurtosis" and self.channels is not None:
            raise ValueError("channels belong to rule='eog'; leave them out")
        if self.rule == "eog" and self.threshold is not None and self.threshold >= 1:
            raise ValueError(f"threshold={self.threshold} is a correlation here; give one below 1")
        return self


class BaselineStep(StepBase):
    """Subtract the mean of an interval from each channel of each trial.

    Parameters
    ----------
    start, end : float
        Seconds, same origin as ``tmin``, inside the trial.
    """

    place = "trials"
    step: Literal["baseline"] = "baseline"
    start: float
    end: float

    @model_validator(mode="after")
    def _ordered(self) -> BaselineStep:
        if self.start >= self.end:
            raise ValueError(f"start={self.start} s must be before end={self.end} s; swap them")
        return self


class AlignStep(StepBase):
    """Whiten the trials of each domain by the domain's mean covariance [1]_.

    See :class:`~hypeeg.eeg.alignment.DomainAlignment` for what happens to unseen domains.

    Parameters
    ----------
    domain : {"subject", "session"} or None
        Training trials of one domain share a reference; None takes all as one.
    metric : {"euclid", "riemann"}
        Mean of the covariances: arithmetic (euclidean alignment) or affine-invariant.
    unseen : {"source", "block"}
        Reference of trials at prediction, when no target data was routed to ``fit``: the mean of
        the training references, or the mean covariance of the trials given together, which uses
        the test trials' signals without their labels (transductive).
    estimator : {"cov", "lwf", "oas"}
        pyriemann's covariance estimator of single trials: plain, or shrunk after Ledoit and Wolf or
        by oracle approximation. (Its ``scm`` divides by the trace, and so forgets amplitudes.)

    References
    ----------
    .. [1] He, Wu (2020), Transfer learning for brain-computer interfaces: a Euclidean space data
       alignment approach, IEEE Transactions on Biomedical Engineering 67, 399-410.
    """

    place = "trials"
    step: Literal["align"] = "align"
    domain: Literal["subject", "session"] | None = "subject"
    metric: Literal["euclid", "riemann"] = "euclid"
    unseen: Literal["source", "block"] = "source"
    estimator: Literal["cov", "lwf", "oas"] = "lwf"

    @property
    def learns_from(self) -> LearnsFrom:
        """What the step is fitted on."""
        return "training trials"


class StandardiseStep(StepBase):
    """Zero mean and unit standard deviation; always the last step.

    Parameters
    ----------
    mode : {"channel", "trial", "none"}
        As ``standardise`` of :class:`~hypeeg.eeg.preprocessing.PreprocessingSpec`.
    """

    place = "trials"
    step: Literal["standardise"] = "standardise"
    mode: StandardiseMode = "channel"

    @property
    def learns_from(self) -> LearnsFrom:
        """What the step is fitted on."""
        return "training trials" if self.mode == "channel" else "nothing"


RecordingStep = FilterStep | NotchStep | ReferenceStep | InterpolateStep | ResampleStep | AsrStep
TrialStep = IcaStep | BaselineStep | AlignStep | StandardiseStep
Step = Annotated[RecordingStep | EpochStep | TrialStep, Field(discriminator="step")]
STEP_NAMES: tuple[str, ...] = tuple(
    step.model_fields["step"].default for step in get_args(RecordingStep | EpochStep | TrialStep)
)


def _named_once(value: list[Any], field: str) -> list[Any]:
    if not value:
        raise ValueError(f"{field} is an empty list; name at least one or leave it out")
    twice = sorted({name for name in value if value.count(name) > 1})
    if twice:
        raise ValueError(f"{field} names {twice} twice; name each once")
    return value
