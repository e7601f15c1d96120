"""Where the tasks of a run are carried out: in this process, in workers beside it, on a cluster.

A backend takes jobs and gives back records, in whatever order they end.  It knows nothing of what
the tasks are, and writes nothing but what the tasks themselves write.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from hypeeg.experiments.fold import carry_out_job
from hypeeg.experiments.parts import KeptPart
from hypeeg.experiments.recorder import ARRAYS
from hypeeg.experiments.shared import Shared
from hypeeg.experiments.store import describe, utc_now
from hypeeg.experiments.wings import Job, Wing

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What the jobs of a run have in common.

    Attributes
    ----------
    wing : Wing
        Knows how tasks are carried out.
    spec : BaseRunSpec
        What is run, resolved.
    data : object
        What ``wing.load(spec)`` returned.
    described : dict
        What ``data.json`` holds of the data.
    folder : Path
        The run folder.
    """

    wing: Wing
    spec: Any
    data: Any
    described: dict[str, Any]
    folder: Path


class Backend(Protocol):
    """Carries out jobs."""

    def records(
        self, work: Work, jobs: Sequence[Job], show: Callable[[str], None]
    ) -> Generator[dict[str, Any], None, None]:
        """Yield the record of each job as it ends.

        It may hold arrays that are not on disk yet; see `ARRAYS` of
        :mod:`hypeeg.experiments.recorder`.

        Parameters
        ----------
        work : Work
            What the jobs have in common.
        jobs : sequence of Job
            In the order in which they are begun.
        show : callable
            Told what is going on, for people.

        Raises
        ------
        DiskFullError
            If the run folder is full.
        """


@dataclass(frozen=True)
class Local:
    """One machine: tasks in this process, or in several by joblib.

    Parameters
    ----------
    n_workers : int
        Tasks at the same time; one is carried out in this process.
    """

    n_workers: int = 1

    def records(
        self, work: Work, jobs: Sequence[Job], show: Callable[[str], None]
    ) -> Generator[dict[str, Any], None, None]:
        """Yield the record of each job as it ends."""
        if self.n_workers == 1 or len(jobs) == 1:
            for job in jobs:
                show(job.task.label)
                kept = KeptPart()
                record = carry_out_job(work.wing, replace(job, part=kept), work.data)
                yield {**record, ARRAYS: kept.arrays}
            return
        token = uuid.uuid4().hex
        desk = Path(tempfile.gettempdir()) / f"hypeeg-{token}"
        desk.mkdir(mode=0o700)
        try:
            shared = Shared.of((work.wing, work.data, _estimators(jobs)), token, desk)
            for record in self._survive(shared, list(jobs), desk):
                show(describe(record))
                yield record
        finally:
            shutil.rmtree(desk, ignore_errors=True)

    def _survive(self, shared: Shared, jobs: list[Job], desk: Path) -> Iterator[dict[str, Any]]:
        """Carry out jobs in workers, and find out which job it is that workers die of.

        The system ends a worker that takes too much memory, and all others end with it.  What they
        were at is carried out one by one then: a job whose worker dies once more has failed.
        """
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        left = {job.task.index: job for job in jobs}
        while left:
            n_left = len(left)
            try:
                for record in self._parallel(shared, list(left.values()), desk):
                    del left[record["task"]]
                    yield record
            except TerminatedWorkerError as error:
                begun = [job for index, job in left.items() if _marker(desk, index).exists()]
                if not begun and len(left) == n_left:
                    raise
                logger.warning(
                    "a worker was ended from outside (too little memory?); %d tasks are tried "
                    "again, one at a time",
                    len(begun),
                )
                logger.info("what was reported: %s", error)
                for job in begun:
                    yield self._alone(shared, job, desk)
                    del left[job.task.index]

    def _alone(self, shared: Shared, job: Job, desk: Path) -> dict[str, Any]:
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        try:
            [record] = self._parallel(shared, [job], desk)
        except TerminatedWorkerError as error:
            return {
                **job.task.identity,
                "status": "failed",
                "started": None,
                "error": "WorkerDied: the worker was ended from outside while it ran this task, "
                "also with no other beside it; often there was too little memory",
                "traceback": str(error),
                "messages": [],
                "finished": utc_now(),
            }
        return record

    def _parallel(self, shared: Shared, jobs: list[Job], desk: Path) -> Iterator[dict[str, Any]]:
        from joblib import Parallel, delayed

        # Two at least: one would mean this process.
        parallel = Parallel(
            n_jobs=max(2, min(self.n_workers, len(jobs))),
            return_as="generator_unordered",
            max_nbytes=None,
        )
        nothing: Any = None
        found: Iterator[dict[str, Any]] = parallel(
            delayed(_in_worker)(shared, replace(job, estimator=nothing), desk) for job in jobs
        )
        return found


def _estimators(jobs: Sequence[Job]) -> dict[tuple[str, int], Any]:
    """Return the estimators of jobs, by pipeline and seed: a worker gets each once."""
    return {_estimator_of(job): job.estimator for job in jobs}


def _estimator_of(job: Job) -> tuple[str, int]:
    return job.task.pipeline, job.task.fold.seed


def _marker(desk: Path, index: int) -> Path:
    """File that is there while a worker is at a task."""
    return desk / f"task-{index}"


def _in_worker(shared: Shared, job: Job, desk: Path) -> dict[str, Any]:
    marker = _marker(desk, job.task.index)
    # Whoever tidies the folder of temporary files must not end a run with it.
    desk.mkdir(mode=0o700, exist_ok=True)
    marker.touch()
    wing, data, estimators = shared.get()
    job = replace(job, estimator=estimators[_estimator_of(job)])
    record = carry_out_job(wing, job, data, desk)
    # Stays where the worker dies, and where the disk is full.
    marker.unlink(missing_ok=True)
    return record


def n_workers(n_jobs: int, gpus: Sequence[int] | None) -> int:
    """Return how many tasks run at once: with GPUs listed, no more than these.

    Parameters
    ----------
    n_jobs : int
        What was asked for.
    gpus : sequence of int or None
        A GPU listed twice takes two tasks.
    """
    if gpus and n_jobs > len(gpus):
        logger.info("%d tasks at once, one a GPU slot (n_jobs: %d)", len(gpus), n_jobs)
        return len(gpus)
    return n_jobs


@contextmanager
def open_backend(spec: Any) -> Iterator[Backend]:
    """Give the backend that a specification asks for, ready to work.

    Parameters
    ----------
    spec : BaseRunSpec
        Its ``backend``, ``n_jobs`` and ``resources`` count.

    Yields
    ------
    Backend

    Raises
    ------
    SpecError
        If the cluster cannot be reached, or what it takes is not installed.
    """
    if spec.backend.name == "dask":
        from hypeeg.experiments.dask_backend import open_cluster

        with open_cluster(spec) as cluster:
            yield cluster
    else:
        yield Local(n_workers(spec.n_jobs, spec.resources.gpus))
