"""A run while it is going on: what is left to do, what has ended, and how it is concluded.

The order of events in a run folder: specification and environment, hashes of the data and the list
of tasks, then one line of ``folds.jsonl`` for each task as it ends, then tables and summary, then
the final state.  Whatever happens in between, what is recorded is complete and
``status.json`` says how the run ended.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from hypeeg.eeg.pipeline_spec import PipelineSpec
from hypeeg.experiments.divisible import cautions
from hypeeg.experiments.environment import describe_environment
from hypeeg.experiments.estimators import Trials
from hypeeg.experiments.fingerprint import describe_data
from hypeeg.experiments.fold import FoldOptions, run_task
from hypeeg.experiments.gather import gather_parts, scores_frame
from hypeeg.experiments.logs import run_log
from hypeeg.experiments.report import unit_scores
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


def headline(spec: RunSpec) -> dict[str, Any]:
    """Return what ``status.json`` repeats of a specification, so that lists of runs are quick."""
    return {
        "name": spec.name,
        "dataset": spec.dataset.name,
        "evaluation": spec.evaluation.kind,
        "pipelines": [pipeline.name for pipeline in spec.pipelines],
    }


class ActiveRun:
    """State of one run while it is going on.

    Parameters
    ----------
    spec : RunSpec
        What is run, resolved.
    folder : RunFolder
        Its folder.
    recorded : iterable of dict
        Records of earlier attempts that stand: their tasks are not run again.
    n_warnings : int
        Warnings of earlier attempts.
    """

    def __init__(
        self,
        spec: RunSpec,
        folder: RunFolder,
        recorded: Iterable[Mapping[str, Any]] = (),
        n_warnings: int = 0,
    ) -> None:
        self.spec = spec
        self.folder = folder
        self.n_warnings = n_warnings
        self.tasks: list[Task] = []
        # What counts in the end: a task whose arrays were lost has a line in the record as well.
        self.outcome = {int(record["task"]): str(record["status"]) for record in recorded}
        self.scoring: str = spec.evaluation.scoring
        self.n_sessions = 0
        self.trials: Trials | None = None
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
        logger.info(
            "%d trials of %d subjects, X %s; %d tasks, score %s",
            len(trials.y),
            len(sessions),
            trials.X.shape,
            len(self.tasks),
            self.scoring,
        )

    def record_plan(self) -> None:
        """Write down what the tasks are and what they are computed from."""
        assert self.trials is not None
        self.folder.write_json("data.json", describe_data(self.trials, self.tasks, self.spec))
        self.folder.write_text("tasks.csv", self.task_table())

    def task_table(self) -> str:
        """Return the list of tasks as it stands in ``tasks.csv``."""
        rows = [
            {**t.identity, "n_train": len(t.fold.train), "n_test": len(t.fold.test)}
            for t in self.tasks
        ]
        return pd.DataFrame(rows).to_csv(index=False)

    def execute(self, progress: bool | None) -> None:
        """Run every task that has no outcome yet; record each as it ends."""
        from tqdm import tqdm

        folder, total = self.folder, len(self.tasks)
        folder.update_status("running", n_tasks=total, **self._counts())
        disable = None if progress is None else not progress
        with tqdm(
            total=total, initial=self.finished, unit="fold", disable=disable, dynamic_ncols=True
        ) as bar:
            for record in self._records(bar.set_description_str):
                folder.folds.append(record)
                self.outcome[int(record["task"])] = record["status"]
                self._tell(record)
                folder.update_status(**self._counts(), current=describe(record))
                bar.update()

    def _counts(self) -> dict[str, Any]:
        failed = self.failed
        return {"n_done": self.finished - failed, "n_failed": failed}

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
        todo = [task for task in self.tasks if task.index not in self.outcome]

        def arguments(task: Task) -> tuple[Any, ...]:
            estimator = self.estimators[task.pipeline, task.fold.seed]
            part = self.folder.part(task.index)
            model = kept.get(task.index)
            return task, trials.X, trials.y, sessions, estimator, options, part, model, subjects

        if self.spec.n_jobs == 1:
            for task in todo:
                show(task.label)
                yield run_task(*arguments(task))
            return
        from joblib import Parallel, delayed

        parallel = Parallel(n_jobs=self.spec.n_jobs, return_as="generator_unordered")
        for record in parallel(delayed(run_task)(*arguments(task)) for task in todo):
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
        records = [r for r in folder.folds.latest() if int(r["task"]) in self.outcome]
        scores = scores_frame(records, spec.dataset.name, spec.evaluation.kind, self.n_sessions)
        n_tasks, n_warnings = len(self.tasks), self.n_warnings + n_warnings
        result = RunResult(
            folder.path, state, scores, self.scoring, records, n_tasks, n_warnings, error
        )
        if records:
            folder.write_text("scores.csv", scores.to_csv(index=False))
            gather_parts(folder, records)
        write_summary(result, spec)
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
        return result


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
    active: ActiveRun, start: Callable[[ActiveRun], None], progress: bool | None
) -> RunResult:
    """Start a run, do the tasks that are missing, and conclude it whatever happens.

    Parameters
    ----------
    active : ActiveRun
        The run; this process holds its folder.
    start : callable
        Prepares it.
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
