"""From the pipelines of a run file to unfitted estimators."""

from __future__ import annotations

from collections.abc import Sequence
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
    :class:`hypeeg.eeg.tuning.NestedSearch` over its variants.

    Raises
    ------
    SpecError
        If its model does not take its parameters.
    """
    from hypeeg.eeg.tuning import NestedSearch, tuned_variants

    try:
        variants = [
            (values, _build_one(spec, variant, among, trials, seed))
            for values, variant, among in tuned_variants(pipeline, spec.pipelines)
        ]
        if not variants[0][0]:
            return variants[0][1]
        source = next((p for p in spec.pipelines if p.name == pipeline.twin_of), pipeline)
        assert source.tuning is not None
        scoring = _tuning_scoring(spec, source, trials)
    except ValueError as error:
        path = f"pipelines.{spec.pipelines.index(pipeline)}"
        raise SpecError([Problem(path, str(error))], spec.name) from error
    mode = moabb_mode(spec.evaluation)
    return NestedSearch(
        variants,
        spec.evaluation.kind,
        scoring,
        n_folds=source.tuning.n_folds,
        shuffle=spec.evaluation.shuffle,
        calibration_size=mode.calibration_size,
        calibration_labeled=mode.calibration_labeled,
        trialwise=mode.trialwise,
        random_state=seed,
    )


def _build_one(
    spec: RunSpec,
    pipeline: PipelineSpec,
    pipelines: Sequence[PipelineSpec],
    trials: Trials,
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
