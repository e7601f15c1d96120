"""Run a specification: plan the tasks, run them one by one or several at once, keep a record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hypeeg.experiments.active import ActiveRun, Builder, Loader, carry_out
from hypeeg.experiments.active import RunResult as RunResult
from hypeeg.experiments.estimators import Trials as Trials
from hypeeg.experiments.estimators import build_estimator as build_estimator
from hypeeg.experiments.spec import RunSpec
from hypeeg.experiments.store import RunFolder


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


def run(
    spec: RunSpec,
    out: str | Path = "runs",
    *,
    given: str | None = None,
    overrides: Sequence[str] = (),
    load: Loader = load_trials,
    build: Builder = build_estimator,
    progress: bool | None = None,
) -> RunResult:
    """Run a specification from data to tables.

    Parameters
    ----------
    spec : RunSpec
        What to run.
    out : str or Path
        Folder in which the run gets a folder of its own.
    given : str, optional
        Text of the file the specification was read from, kept as it is.
    overrides : sequence of str
        Changes that were made to it, for the record.
    load : callable
        Reads trials; for tests and one's own data.
    build : callable
        Makes estimators; for tests and one's own pipelines.
    progress : bool, optional
        Show a progress bar; by default only on a terminal.

    Returns
    -------
    RunResult
        Tasks that raised are recorded in it and make its state ``"failed"``; an interruption
        makes it ``"cancelled"``.

    Raises
    ------
    SpecError
        If the specification contradicts the manifest; no folder is made then.
    DataError
        If the recordings are missing, damaged or do not allow the evaluation.  The folder says
        ``failed``.
    """
    resolved = spec.resolve()
    folder = RunFolder.create(out, spec.name)

    def start(active: ActiveRun) -> None:
        active.describe(given if given is not None else spec.to_yaml(), overrides)
        active.prepare(load, build)
        active.record_plan()

    with folder.held():
        return carry_out(ActiveRun(resolved, folder), start, progress)
