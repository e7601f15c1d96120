"""The EEG wing: trials of recordings, divided as MOABB does, classified fold by fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hypeeg.eeg.pipeline_spec import PipelineSpec
from hypeeg.experiments.divisible import cautions
from hypeeg.experiments.estimators import Trials, build_estimator
from hypeeg.experiments.fingerprint import describe_data
from hypeeg.experiments.spec import RunSpec
from hypeeg.experiments.splits import moabb_mode
from hypeeg.experiments.tasks import Task, plan_tasks, resolve_scoring
from hypeeg.experiments.wings import DataFacts, Job

# Trials of the run that this process is at, and what `_labels` returned for them.
_KNOWN: list[tuple[pd.DataFrame, tuple[np.ndarray, np.ndarray]]] = []

Loader = Callable[[RunSpec], Trials]
Builder = Callable[[RunSpec, PipelineSpec, Trials, int], Any]


def load_trials(spec: RunSpec) -> Trials:
    """Read the recordings a specification names."""
    from hypeeg.eeg.datasets import load_epochs

    trials = load_epochs(
        spec.dataset.name,
        subjects=spec.dataset.subjects,
        sessions=spec.dataset.sessions,
        preprocessing=spec.preprocessing,
        events=spec.dataset.events,
    )
    return trials.with_runs_as_sessions() if spec.dataset.runs_as_sessions else trials


@dataclass(frozen=True)
class EEGWing:
    """EEG experiments; see :class:`hypeeg.experiments.wings.Wing`.

    Parameters
    ----------
    loader : callable
        Reads trials; for tests and one's own data.
    builder : callable
        Makes estimators; for tests and one's own pipelines.
    """

    loader: Loader = load_trials
    builder: Builder = build_estimator

    def load(self, spec: RunSpec) -> Trials:
        """Read the trials."""
        return self.loader(spec)

    def facts(self, spec: RunSpec, data: Trials) -> DataFacts:
        """Return score, sessions and what a reader must know of the trials."""
        sessions = data.metadata.groupby("subject")["session"].nunique()
        return DataFacts(
            scoring=resolve_scoring(spec.evaluation.scoring, len(set(data.y.tolist()))),
            line=f"{len(data.y)} trials of {len(sessions)} subjects, X {data.X.shape}",
            n_sessions=int(sessions.max()),
            cautions=tuple(cautions(data.X, data.y, data.metadata, spec.evaluation)),
            trialwise=moabb_mode(spec.evaluation).trialwise,
        )

    def plan(self, spec: RunSpec, data: Trials) -> list[Task]:
        """Divide the trials as MOABB does."""
        names = [pipeline.name for pipeline in spec.pipelines]
        return plan_tasks(data.y, data.metadata, spec.evaluation, names, spec.dataset.name)

    def build(self, spec: RunSpec, pipeline: PipelineSpec, data: Trials, seed: int) -> Any:
        """Make the estimator of one pipeline."""
        return self.builder(spec, pipeline, data, seed)

    def run_task(self, job: Job, data: Trials) -> dict[str, Any]:
        """Fit on the training trials, score on the test trials."""
        from hypeeg.experiments.fold import fit_and_score

        sessions, subjects = _labels(data.metadata)
        return fit_and_score(job, data.X, data.y, sessions, subjects)

    def describe_data(self, spec: RunSpec, data: Trials, tasks: Sequence[Task]) -> dict[str, Any]:
        """Hash trials, classes, metadata and folds."""
        return describe_data(data, tasks, spec)


def _labels(metadata: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the session (str) and the subject of each trial; looked up once for all folds."""
    if not _KNOWN or _KNOWN[0][0] is not metadata:
        sessions = metadata["session"].astype(str).to_numpy(dtype=str)
        _KNOWN[:] = [(metadata, (sessions, metadata["subject"].to_numpy()))]
    return _KNOWN[0][1]


def make_wing() -> EEGWing:
    """Return the wing of EEG runs."""
    return EEGWing()
