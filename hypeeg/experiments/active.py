"""A run while it is going on: what is left to do, what has ended, and how it is concluded.

The order of events in a run folder: specification and environment, hashes of the data and the list
of tasks, then one line of ``folds.jsonl`` for each task as it ends, then tables and summary, then
the final state.  Whatever happens in between, what is recorded is complete and
``status.json`` says how the run ended.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pandas as pd

from hypeeg.experiments.backends import Backend, Work
from hypeeg.experiments.base_spec import BaseRunSpec, slug
from hypeeg.experiments.environment import describe_environment
from hypeeg.experiments.gather import gather_parts, scores_frame
from hypeeg.experiments.logs import run_log
from hypeeg.experiments.observers import Observers, RunStart
from hypeeg.experiments.recorder import Recorder
from hypeeg.experiments.report import unit_scores
from hypeeg.experiments.store import DiskFullError, RunFolder, State, utc_now
from hypeeg.experiments.summary import write_summary
from hypeeg.experiments.tasks import Task, describe
from hypeeg.experiments.wings import DataFacts, FoldOptions, Job, Wing

logger = logging.getLogger(__name__)
# What models warn about belongs in the log file; on the screen it would drown the rest.
pipeline_log = logging.getLogger("pipelines")


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


def headline(spec: BaseRunSpec) -> dict[str, Any]:
    """Return what ``status.json`` repeats of a specification, so that lists of runs are quick."""
    evaluation: Any = getattr(spec, "evaluation", None)
    return {
        "name": spec.name,
        "kind": spec.kind,
        "dataset": spec.data_name,
        "evaluation": getattr(evaluation, "kind", None),
        "pipelines": spec.pipeline_names,
    }


class ActiveRun:
    """State of one run while it is going on.

    Parameters
    ----------
    spec : BaseRunSpec
        What is run, resolved.
    folder : RunFolder
        Its folder.
    wing : Wing
        Knows the data and the pipelines.
    recorded : iterable of dict
        Records of earlier attempts that stand: their tasks are not run again.
    n_warnings : int
        Warnings of earlier attempts.
    observers : Observers, optional
        Who else is told.
    """

    def __init__(
        self,
        spec: BaseRunSpec,
        folder: RunFolder,
        wing: Wing,
        recorded: Iterable[Mapping[str, Any]] = (),
        n_warnings: int = 0,
        observers: Observers | None = None,
    ) -> None:
        self.spec = spec
        self.folder = folder
        self.wing = wing
        self.n_warnings = n_warnings
        self.observers = observers if observers is not None else Observers()
        self.tasks: list[Task] = []
        # What counts in the end: a task whose arrays were lost has a line in the record as well.
        self.recorded = list(recorded)
        self.outcome = {int(record["task"]): str(record["status"]) for record in self.recorded}
        self.facts = DataFacts(scoring="auto", line="")
        self.data: Any = None
        self.described: dict[str, Any] = {}
        self.estimators: Mapping[tuple[str, int], Any] = {}

    @property
    def finished(self) -> int:
        """Tasks that ended, in this attempt or an earlier one."""
        return len(self.outcome)

    @property
    def failed(self) -> int:
        """Tasks that ended with an error."""
        return sum(status == "failed" for status in self.outcome.values())

    def describe(self, given: str, overrides: Sequence[str]) -> None:
        """Write down what was asked for, what it means, and on what it runs."""
        spec, folder = self.spec, self.folder
        folder.write_text("spec_given.yaml", given)
        folder.write_text("spec_resolved.yaml", spec.to_yaml())
        # From here on the folder is a run, with all that is needed to go on with it.
        folder.update_status("planned", **headline(spec))
        environment = describe_environment(spec.device, spec.seeds)
        folder.write_json("environment.json", {**environment, "overrides": list(overrides)})

    def prepare(self) -> None:
        """Read data, plan tasks and make every estimator once: what can fail early does."""
        spec, wing = self.spec, self.wing
        logger.info("reading %s", spec.data_name)
        self.data = wing.load(spec)
        self.facts = wing.facts(spec, self.data)
        self.tasks = wing.plan(spec, self.data)
        for caution in self.facts.cautions:
            logger.warning("%s: %s", spec.data_name, caution)
        pipelines = {pipeline.name: pipeline for pipeline in _pipelines(spec)}
        wanted = dict.fromkeys((task.pipeline, task.fold.seed) for task in self.tasks)
        self.estimators = {
            (name, seed): wing.build(spec, pipelines[name], self.data, seed)
            for name, seed in wanted
        }
        self.described = wing.describe_data(spec, self.data, self.tasks)
        logger.info("%s; %d tasks, score %s", self.facts.line, len(self.tasks), self.facts.scoring)

    def record_plan(self) -> None:
        """Write down what the tasks are and what they are computed from."""
        self.folder.write_json("data.json", self.described)
        self.folder.write_text("tasks.csv", self.task_table())

    def task_table(self) -> str:
        """Return the list of tasks as it stands in ``tasks.csv``."""
        rows = [
            {**t.identity, "n_train": len(t.fold.train), "n_test": len(t.fold.test)}
            for t in self.tasks
        ]
        return pd.DataFrame(rows).to_csv(index=False)

    def execute(self, backend: Backend, progress: bool | None) -> None:
        """Run every task that has no outcome yet; record each as it ends."""
        from tqdm import tqdm

        folder, total = self.folder, len(self.tasks)
        self.observers.start(RunStart(folder.path, self.spec, self.tasks, self.recorded))
        work = Work(self.wing, self.spec, self.data, self.described, folder.path)
        folder.update_status("running", n_tasks=total, **self._counts())
        disable = None if progress is None else not progress
        with (
            tqdm(
                total=total, initial=self.finished, unit="fold", disable=disable, dynamic_ncols=True
            ) as bar,
            # Closed as soon as anything goes wrong here: nobody works for a run that has ended.
            closing(backend.records(work, self._jobs(), bar.set_description_str)) as records,
            Recorder(folder) as recorder,
        ):
            try:
                for record in records:
                    self._count(recorder.hand_over(record), bar)
            finally:
                self._count(recorder.finish(), bar)

    def _count(self, records: Sequence[dict[str, Any]], bar: Any) -> None:
        """Take note of tasks whose records are on disk."""
        for record in records:
            task = int(record["task"])
            self.outcome[task] = record["status"]
            self._tell(record)
            self.observers.task(record, self.folder.part(task))
        if records:
            self.folder.update_status(**self._counts(), current=describe(records[-1]))
            bar.update(len(records))

    def _counts(self) -> dict[str, Any]:
        failed = self.failed
        return {"n_done": self.finished - failed, "n_failed": failed}

    def _jobs(self) -> list[Job]:
        """Return what is left to do."""
        spec, folder = self.spec, self.folder
        gpus = spec.resources.gpus
        options = FoldOptions(
            self.facts.scoring,
            spec.save.embeddings,
            os.getpid(),
            predictions=spec.save.predictions,
            trialwise=self.facts.trialwise,
            threads=spec.resources.threads,
            gpus=None if gpus is None else tuple(gpus),
            embedding_epochs=spec.save.embedding_epochs if spec.save.embeddings else None,
        )
        kept = self._kept_models()
        return [
            Job(
                task,
                self.estimators[task.pipeline, task.fold.seed],
                options,
                folder.part(task.index),
                kept.get(task.index),
                folder.study(task.index),
            )
            for task in self.tasks
            if task.index not in self.outcome
        ]

    def _kept_models(self) -> dict[int, Path]:
        """Return the folder for the model of each task whose model is kept."""
        keep = self.spec.save.models
        chosen: dict[object, Task] = {}
        for task in self.tasks if keep != "none" else ():
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
        score = self.facts.scoring
        logger.info("%s: %s %s (%.2f s)%s", where, score, scores, record["fit_time"], chosen)

    def conclude(self, state: State, error: str, n_warnings: int) -> RunResult:
        """Write tables and summary from what is recorded, then the final status."""
        folder, spec = self.folder, self.spec
        records = [r for r in folder.folds.latest() if int(r["task"]) in self.outcome]
        kind = str(headline(spec)["evaluation"] or spec.kind)
        scores = scores_frame(records, spec.data_name, kind, self.facts.n_sessions)
        n_tasks, n_warnings = len(self.tasks), self.n_warnings + n_warnings
        result = RunResult(
            folder.path, state, scores, self.facts.scoring, records, n_tasks, n_warnings, error
        )
        if records:
            folder.write_text("scores.csv", scores.to_csv(index=False))
            gather_parts(folder, records)
        write_summary(result, cast(Any, spec))
        folder.update_status(
            state,
            **self._counts(),
            n_warnings=n_warnings,
            best=_best(scores),
            current=None,
            error=error or None,
            finished=utc_now(),
        )
        # Last of all: until the state says that it is done, a run needs its parts to go on.
        if state == "done":
            folder.remove_parts()
        self.observers.end(result)
        return result


def _pipelines(spec: BaseRunSpec) -> list[Any]:
    pipelines: list[Any] = spec.pipelines  # type: ignore[attr-defined]
    return pipelines


def _best(scores: pd.DataFrame) -> dict[str, Any] | None:
    """Return the pipeline with the highest mean over sessions, and that mean."""
    if scores.empty:
        return None
    means = unit_scores(scores).mean()
    return {"pipeline": str(means.idxmax()), "score": float(means.max())}


def model_folder(task: Task) -> Path:
    """Return where the network of a task is kept, relative to the run folder."""
    fold = task.fold
    session = "" if fold.session is None else f"_session-{slug(fold.session)}"
    name = f"subject-{fold.subject}{session}_fold-{fold.fold}_seed-{fold.seed}"
    return Path("models") / slug(task.pipeline) / name


def carry_out(
    active: ActiveRun,
    start: Callable[[ActiveRun], None],
    backend: Backend,
    progress: bool | None,
) -> RunResult:
    """Start a run, do the tasks that are missing, and conclude it whatever happens.

    Parameters
    ----------
    active : ActiveRun
        The run; this process holds its folder.
    start : callable
        Prepares it.
    backend : Backend
        Carries out tasks.
    progress : bool, optional
        Show a progress bar; by default only on a terminal.

    Returns
    -------
    RunResult
    """
    folder = active.folder
    with run_log(folder.path / "log.txt") as warning_count:
        state: State = "failed"
        error = "ended without a reason"
        try:
            start(active)
            active.execute(backend, progress)
            error = ""
            state = "failed" if active.failed else "done"
        except KeyboardInterrupt:
            logger.warning("interrupted after %d of %d tasks", active.finished, len(active.tasks))
            state, error = "cancelled", "interrupted"
        except BaseException as problem:
            logger.info("the run ended early", exc_info=True)
            error = f"{type(problem).__name__}: {problem}"
            problem.add_note(f"The log of the run is in {folder.path / 'log.txt'}")
            try:
                active.conclude(state, error, warning_count.count)
            except DiskFullError:
                # No space for tables either: the status still names a process that is gone.
                logger.info("the run could not be concluded", exc_info=True)
            raise
        return active.conclude(state, error, warning_count.count)
