"""Run a specification: plan the tasks, run them one by one or several at once, keep a record.

The order of events in a run folder: specification and environment, then one line of
``folds.jsonl`` for each task as it ends, then tables and summary.  Whatever happens in between,
what is recorded is complete and ``status.json`` says how the run ended.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from hypeeg.eeg.pipeline_spec import PipelineSpec
from hypeeg.experiments.divisible import cautions
from hypeeg.experiments.environment import describe_environment
from hypeeg.experiments.estimators import Trials as Trials
from hypeeg.experiments.estimators import build_estimator as build_estimator
from hypeeg.experiments.fold import FoldOptions, run_task
from hypeeg.experiments.gather import gather_parts, scores_frame
from hypeeg.experiments.logs import run_log
from hypeeg.experiments.spec import RunSpec, slug
from hypeeg.experiments.splits import moabb_mode
from hypeeg.experiments.store import RunFolder, State, utc_now
from hypeeg.experiments.summary import write_summary
from hypeeg.experiments.tasks import Task, describe, plan_tasks, resolve_scoring

logger = logging.getLogger(__name__)
# What models warn about belongs in the log file; on the screen it would drown the rest.
pipeline_log = logging.getLogger("pipelines")

Loader = Callable[[RunSpec], Trials]
Builder = Callable[[RunSpec, PipelineSpec, Trials, int], Any]


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes
    ----------
    folder : Path
        The run folder.
    state : {"done", "failed", "cancelled"}
        ``"failed"`` if any task failed.
    scores : DataFrame
        What is in ``scores.csv``.
    scoring : str
        Name of the score.
    records : list of dict
        One a finished task, failed ones included.
    n_tasks : int
        Tasks that were planned.
    n_warnings : int
        Warnings in ``log.txt``.
    error : str
        What ended the run early, else empty.
    """

    folder: Path
    state: State
    scores: pd.DataFrame
    scoring: str
    records: list[dict[str, Any]] = field(repr=False)
    n_tasks: int = 0
    n_warnings: int = 0
    error: str = ""

    @property
    def failures(self) -> list[dict[str, Any]]:
        """Records of tasks that failed."""
        return [record for record in self.records if record["status"] == "failed"]


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
    with run_log(folder.path / "log.txt") as warning_count:
        active = _Run(resolved, folder)
        state: State = "failed"
        error = "ended without a reason"
        try:
            folder.update_status("planned")
            active.describe(given if given is not None else spec.to_yaml(), overrides)
            active.prepare(load, build)
            active.execute(progress)
            error = ""
            state = "failed" if active.failed else "done"
        except KeyboardInterrupt:
            logger.warning("interrupted after %d of %d tasks", active.finished, len(active.tasks))
            state, error = "cancelled", "interrupted"
        except BaseException as problem:
            logger.info("the run ended early", exc_info=True)
            error = f"{type(problem).__name__}: {problem}"
            problem.add_note(f"The log of the run is in {folder.path / 'log.txt'}")
            raise
        finally:
            result = active.conclude(state, error, warning_count.count)
    return result


class _Run:
    """State of one run while it is going on."""

    def __init__(self, spec: RunSpec, folder: RunFolder) -> None:
        self.spec = spec
        self.folder = folder
        self.tasks: list[Task] = []
        self.finished = 0
        self.failed = 0
        self.scoring: str = spec.evaluation.scoring
        self.n_sessions = 0
        self.trials: Trials | None = None
        self.estimators: Mapping[tuple[str, int], Any] = {}

    def describe(self, given: str, overrides: Sequence[str]) -> None:
        spec, folder = self.spec, self.folder
        folder.write_text("spec_given.yaml", given)
        folder.write_text("spec_resolved.yaml", spec.to_yaml())
        environment = describe_environment(spec.device, spec.evaluation.seeds)
        folder.write_json("environment.json", {**environment, "overrides": list(overrides)})

    def prepare(self, load: Loader, build: Builder) -> None:
        """Read data, plan tasks and make every estimator once: what can fail early does."""
        spec = self.spec
        logger.info("reading %s", spec.dataset.name)
        self.trials = trials = load(spec)
        self.scoring = resolve_scoring(spec.evaluation.scoring, len(set(trials.y.tolist())))
        names = [pipeline.name for pipeline in spec.pipelines]
        self.tasks = plan_tasks(
            trials.y, trials.metadata, spec.evaluation, names, spec.dataset.name
        )
        for caution in cautions(trials.X, trials.y, trials.metadata, spec.evaluation):
            logger.warning("%s: %s", spec.dataset.name, caution)
        sessions = trials.metadata.groupby("subject")["session"].nunique()
        self.n_sessions = int(sessions.max())
        self.estimators = {
            (pipeline.name, seed): build(spec, pipeline, trials, seed)
            for pipeline in spec.pipelines
            for seed in spec.evaluation.seeds
        }
        rows = [
            {**t.identity, "n_train": len(t.fold.train), "n_test": len(t.fold.test)}
            for t in self.tasks
        ]
        self.folder.write_text("tasks.csv", pd.DataFrame(rows).to_csv(index=False))
        logger.info(
            "%d trials of %d subjects, X %s; %d tasks, score %s",
            len(trials.y),
            len(sessions),
            trials.X.shape,
            len(self.tasks),
            self.scoring,
        )

    def execute(self, progress: bool | None) -> None:
        """Run every task; record each as it ends."""
        from tqdm import tqdm

        folder = self.folder
        folder.update_status("running", n_tasks=len(self.tasks), n_done=0, n_failed=0)
        disable = None if progress is None else not progress
        with tqdm(total=len(self.tasks), unit="fold", disable=disable, dynamic_ncols=True) as bar:
            for record in self._records(bar.set_description_str):
                folder.folds.append(record)
                self.finished += 1
                self.failed += record["status"] == "failed"
                self._tell(record)
                folder.update_status(
                    n_done=self.finished - self.failed,
                    n_failed=self.failed,
                    current=describe(record),
                )
                bar.update()

    def _records(self, show: Callable[[str], None]) -> Iterator[dict[str, Any]]:
        trials = self.trials
        assert trials is not None
        sessions = trials.metadata["session"].astype(str).to_numpy(dtype=str)
        subjects = trials.metadata["subject"].to_numpy()
        save = self.spec.save
        options = FoldOptions(
            self.scoring,
            save.embeddings,
            os.getpid(),
            predictions=save.predictions,
            trialwise=moabb_mode(self.spec.evaluation).trialwise,
        )
        kept = self._kept_models()

        def arguments(task: Task) -> tuple[Any, ...]:
            estimator = self.estimators[task.pipeline, task.fold.seed]
            part = self.folder.part(task.index)
            model = kept.get(task.index)
            return task, trials.X, trials.y, sessions, estimator, options, part, model, subjects

        if self.spec.n_jobs == 1:
            for task in self.tasks:
                show(task.label)
                yield run_task(*arguments(task))
            return
        from joblib import Parallel, delayed

        parallel = Parallel(n_jobs=self.spec.n_jobs, return_as="generator_unordered")
        for record in parallel(delayed(run_task)(*arguments(task)) for task in self.tasks):
            show(describe(record))
            yield record

    def _kept_models(self) -> dict[int, Path]:
        """Return the folder for the network of each task whose network is kept."""
        keep = self.spec.save.models
        deep = {p.name for p in self.spec.pipelines if not p.is_classical}
        chosen: dict[object, Task] = {}
        for task in self.tasks:
            if keep != "none" and task.pipeline in deep:
                chosen[task.index if keep == "all" else task.pipeline] = task
        return {task.index: self.folder.path / model_folder(task) for task in chosen.values()}

    def _tell(self, record: dict[str, Any]) -> None:
        where = f"[{self.finished}/{len(self.tasks)}] {describe(record)}"
        for message in record["messages"]:
            pipeline_log.warning("%s: %s", where, message)
        if record["status"] == "failed":
            logger.warning("%s failed: %s", where, record["error"])
            logger.info("%s", record["traceback"])
            return
        scores = ", ".join(f"{row['score']:.3f}" for row in record["scores"])
        chosen = f", chosen {record['tuned']}" if record.get("tuned") else ""
        logger.info("%s: %s %s (%.2f s)%s", where, self.scoring, scores, record["fit_time"], chosen)

    def conclude(self, state: State, error: str, n_warnings: int) -> RunResult:
        """Write tables and summary from what is recorded, then the final status."""
        folder, spec = self.folder, self.spec
        records = folder.folds.read()
        scores = scores_frame(records, spec.dataset.name, spec.evaluation.kind, self.n_sessions)
        result = RunResult(
            folder.path, state, scores, self.scoring, records, len(self.tasks), n_warnings, error
        )
        if records:
            folder.write_text("scores.csv", scores.to_csv(index=False))
            gather_parts(folder, records)
            if state == "done":
                folder.remove_parts()
        write_summary(result, spec)
        folder.update_status(
            state,
            n_done=self.finished - self.failed,
            n_failed=self.failed,
            n_warnings=n_warnings,
            current=None,
            error=error or None,
            finished=utc_now(),
        )
        return result


def model_folder(task: Task) -> Path:
    """Return where the network of a task is kept, relative to the run folder."""
    fold = task.fold
    session = "" if fold.session is None else f"_session-{slug(fold.session)}"
    name = f"subject-{fold.subject}{session}_fold-{fold.fold}_seed-{fold.seed}"
    return Path("models") / slug(task.pipeline) / name
