"""From the pipelines of a run file to unfitted estimators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from hypeeg.eeg.pipeline_spec import PipelineSpec
from hypeeg.experiments.divisible import resolve_scoring
from hypeeg.experiments.spec import RunSpec
from hypeeg.experiments.spec_errors import Problem, SpecError
from hypeeg.experiments.splits import moabb_mode

if TYPE_CHECKING:
    import numpy as np


class Trials(Protocol):
    """What a loader returns; :class:`hypeeg.eeg.datasets.EpochsData` is one."""

    @property
    def X(self) -> np.ndarray:
        """Trials, float32, shape (n_trials, n_channels, n_times)."""

    @property
    def y(self) -> np.ndarray:
        """Classes, str, shape (n_trials,)."""

    @property
    def metadata(self) -> pd.DataFrame:
        """Columns ``subject`` and ``session``, one row a trial."""

    @property
    def sfreq(self) -> float:
        """Sampling rate, Hz."""

    @property
    def ch_names(self) -> Sequence[str]:
        """Channels."""


def build_estimator(spec: RunSpec, pipeline: PipelineSpec, trials: Trials, seed: int) -> Any:
    """Make the unfitted estimator of one pipeline.

    A pipeline with ``tuning``, or the twin of one, becomes a
    :class:`hypeeg.eeg.tuning.NestedSearch` over its variants, or for ``search: optuna`` a
    :class:`hypeeg.eeg.tuning_study.StudySearch`.

    Raises
    ------
    SpecError
        If its model does not take its parameters.
    """
    from hypeeg.eeg.tuning import NestedSearch, tuned_variants
    from hypeeg.eeg.tuning_variants import tuned_choices, tuning_source

    try:
        tuning = tuning_source(pipeline, spec.pipelines).tuning
        choices = tuned_choices(pipeline, spec.pipelines)
        if tuning is None or not choices:
            return _build_one(spec, pipeline, spec.pipelines, trials, seed)
        scoring = _tuning_scoring(spec, tuning_source(pipeline, spec.pipelines), trials)
        mode = moabb_mode(spec.evaluation)
        shared: dict[str, Any] = {
            "kind": spec.evaluation.kind,
            "scoring": scoring,
            "n_folds": tuning.n_folds,
            "shuffle": spec.evaluation.shuffle,
            "calibration_size": mode.calibration_size,
            "calibration_labeled": mode.calibration_labeled,
            "trialwise": mode.trialwise,
            "random_state": seed,
        }
        if tuning.search == "optuna":
            return _study_search(spec, pipeline, choices, trials, tuning.n_candidates, shared)
        variants = [
            (values, _build_one(spec, variant, among, trials, seed))
            for values, variant, among in tuned_variants(pipeline, spec.pipelines)
        ]
    except ValueError as error:
        path = f"pipelines.{spec.pipelines.index(pipeline)}"
        raise SpecError([Problem(path, str(error))], spec.name) from error
    return NestedSearch(variants, **shared)


@dataclass(frozen=True)
class _Recording:
    """What an estimator must know of the trials: small enough to travel to every worker."""

    sfreq: float
    ch_names: tuple[str, ...]


def _study_search(
    spec: RunSpec,
    pipeline: PipelineSpec,
    choices: Mapping[str, Any],
    trials: Trials,
    n_trials: int,
    shared: Mapping[str, Any],
) -> Any:
    from hypeeg.eeg.tuning_study import StudySearch, check_optuna
    from hypeeg.eeg.tuning_variants import probes

    check_optuna()
    recording = _Recording(trials.sfreq, tuple(trials.ch_names))
    build = partial(_build_with, spec, pipeline, recording, shared["random_state"])
    for values in probes(choices):
        build(values)
    return StudySearch(choices, build, n_trials, **shared)


def _build_with(
    spec: RunSpec,
    pipeline: PipelineSpec,
    recording: _Recording,
    seed: int,
    values: Mapping[str, Any],
) -> Any:
    """Make one candidate; a function of this module so that it can be sent to a worker."""
    from hypeeg.eeg.tuning_variants import variant_of

    variant, among = variant_of(pipeline, spec.pipelines, values)
    return _build_one(spec, variant, among, recording, seed)


def _build_one(
    spec: RunSpec,
    pipeline: PipelineSpec,
    pipelines: Sequence[PipelineSpec],
    trials: Trials | _Recording,
    seed: int,
) -> Any:
    from hypeeg.eeg.pipelines import build_pipeline
    from hypeeg.eeg.trial_steps import make_trial_steps

    steps = make_trial_steps(spec.preprocessing, sfreq=trials.sfreq, ch_names=trials.ch_names)
    return build_pipeline(
        pipeline,
        sfreq=trials.sfreq,
        ch_names=trials.ch_names,
        random_state=seed,
        device=spec.device,
        training=spec.training,
        standardise=spec.preprocessing.standardise,
        pipelines=pipelines,
        trial_steps=steps,
    )


def _tuning_scoring(spec: RunSpec, pipeline: PipelineSpec, trials: Trials) -> str:
    """Return the name of the scorer that a pipeline's inner folds maximise."""
    from sklearn.metrics import get_scorer

    given = pipeline.tuning.scoring if pipeline.tuning is not None else None
    name = given if given not in (None, "auto") else spec.evaluation.scoring
    scoring = resolve_scoring(str(name), len(set(trials.y.tolist())))
    try:
        get_scorer(scoring)
    except ValueError as error:
        raise ValueError(
            f"pipeline {pipeline.name!r}: tuning.scoring is {scoring!r}, which is no scorer of "
            "scikit-learn; leave it out to take the run's, or name one such as accuracy"
        ) from error
    return scoring
