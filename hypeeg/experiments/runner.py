"""Run a specification: plan the tasks, run them one by one or several at once, keep a record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hypeeg.experiments.active import ActiveRun, carry_out
from hypeeg.experiments.active import RunResult as RunResult
from hypeeg.experiments.backends import open_backend
from hypeeg.experiments.base_spec import BaseRunSpec
from hypeeg.experiments.eeg_wing import Builder, EEGWing, Loader
from hypeeg.experiments.eeg_wing import load_trials as load_trials
from hypeeg.experiments.estimators import Trials as Trials
from hypeeg.experiments.estimators import build_estimator as build_estimator
from hypeeg.experiments.joint import together
from hypeeg.experiments.observers import default_observers
from hypeeg.experiments.spec_errors import Problem, SpecError
from hypeeg.experiments.store import RunFolder
from hypeeg.experiments.wings import Wing, wing_of


def choose_wing(
    spec: BaseRunSpec, wing: Wing | None, load: Loader | None, build: Builder | None
) -> Wing:
    """Return the wing given, or that of the specification with its functions exchanged.

    Raises
    ------
    ValueError
        If `load` or `build` is given beside a wing, or for a run that is not of EEG.
    """
    if load is None and build is None:
        return wing if wing is not None else wing_of(spec)
    if wing is not None or spec.kind != "eeg":
        raise ValueError("load and build are for kind: eeg; give a wing of your own instead")
    return EEGWing(load or load_trials, build or build_estimator)


def run(
    spec: BaseRunSpec,
    out: str | Path = "runs",
    *,
    given: str | None = None,
    overrides: Sequence[str] = (),
    load: Loader | None = None,
    build: Builder | None = None,
    wing: Wing | None = None,
    progress: bool | None = None,
) -> RunResult:
    """Run a specification from data to tables.

    Parameters
    ----------
    spec : BaseRunSpec
        What to run, of any kind.
    out : str or Path
        Folder in which the run gets a folder of its own.
    given : str, optional
        Text of the file the specification was read from, kept as it is.
    overrides : sequence of str
        Changes that were made to it, for the record.
    load : callable, optional
        Reads trials of an EEG run; for tests and one's own data.
    build : callable, optional
        Makes estimators of an EEG run; for tests and one's own pipelines.
    wing : Wing, optional
        Does both; by default that of the specification's kind.
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
        If the specification contradicts the manifest or is a sweep, or its cluster cannot be
        reached; no folder is made then.
    DataError
        If the recordings are missing, damaged or do not allow the evaluation.  The folder says
        ``failed``.
    """
    if spec.sweep is not None:
        remedy = "it stands for several runs; use hypeeg.experiments.sweep.run_sweep"
        raise SpecError([Problem("sweep", remedy)], spec.name)
    resolved = spec.resolve()
    chosen = choose_wing(resolved, wing, load, build)

    def start(active: ActiveRun) -> None:
        active.describe(given if given is not None else spec.to_yaml(), overrides)
        active.prepare()
        active.record_plan()

    def lead() -> RunResult:
        with open_backend(resolved) as backend:
            folder = RunFolder.create(out, spec.name)
            with folder.held():
                observers = default_observers(folder.path)
                active = ActiveRun(resolved, folder, chosen, observers=observers)
                return carry_out(active, start, backend, progress)

    return together(resolved, chosen, lead)
