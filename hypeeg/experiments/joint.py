"""One run by several processes that ``torchrun`` started: each network is trained by all of them.

The first process is the run: it plans, scores, writes the record.  The others hold the same data
and take part in each fit that the first one announces; they write nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypeeg.experiments.spec_errors import Problem, SpecError
from hypeeg.training.torchrun import torchrun_place

if TYPE_CHECKING:
    from hypeeg.experiments.active import RunResult
    from hypeeg.experiments.base_spec import BaseRunSpec
    from hypeeg.experiments.tasks import Task
    from hypeeg.experiments.wings import Wing
    from hypeeg.training.distributed import Replicas

logger = logging.getLogger(__name__)

# Kinds of runs whose networks several processes can train.
KINDS = ("vision",)


class JointRunError(RuntimeError):
    """Processes that carry out a run together have lost each other; the run can be resumed."""


def _alike() -> tuple[type[Exception], ...]:
    """Return what a fit raises in every process alike: of options, labels, a loss that is NaN."""
    from hypeeg.training import TrainingDivergedError

    return TrainingDivergedError, ValueError, TypeError


@dataclass
class Joint:
    """A run that several processes carry out together, seen from one of them.

    Attributes
    ----------
    replicas : Replicas
        The processes.
    result : RunResult or None
        What the leading process has found, set before its block ends.
    """

    replicas: Replicas
    result: RunResult | None = None

    @property
    def leads(self) -> bool:
        """Whether this process is the run."""
        return self.replicas.rank == 0

    def follow(self, spec: BaseRunSpec, wing: Any) -> RunResult:
        """Take part in every fit of the leading process until it has a result.

        Parameters
        ----------
        spec : BaseRunSpec
            The run, resolved.
        wing : Wing
            With a method ``fit(job, data)``.

        Returns
        -------
        RunResult
            That of the leading process.

        Raises
        ------
        JointRunError
            If it ended without one.
        """
        from hypeeg.experiments.guard import limited_threads
        from hypeeg.experiments.wings import FoldOptions, Job

        data = wing.load(spec)
        tasks = {task.index: task for task in wing.plan(spec, data)}
        pipelines = {p.name: p for p in spec.pipelines}  # type: ignore[attr-defined]
        options = FoldOptions("", False, 0)
        with limited_threads(spec.resources.threads):
            while isinstance(heard := self.replicas.agree(None), int):
                task = tasks[heard]
                estimator = wing.build(spec, pipelines[task.pipeline], data, task.fold.seed)
                try:
                    wing.fit(Job(task, estimator, options, Path()), data)
                # The first process records it.
                except _alike() as error:
                    logger.info("task %d: %s", heard, error)
        if heard is None:
            raise JointRunError(
                "the first process has ended without a result; its message says why"
            )
        result: RunResult = heard
        return result


@contextmanager
def jointly(spec: BaseRunSpec) -> Iterator[Joint | None]:
    """Join the other processes of ``torchrun``; outside of it, do nothing.

    Parameters
    ----------
    spec : BaseRunSpec
        The run.

    Yields
    ------
    Joint or None
        None where one process is the whole run.

    Raises
    ------
    SpecError
        If the run cannot be carried out by several processes.
    """
    if torchrun_place() is None:
        yield None
        return
    problems = []
    if spec.kind not in KINDS:
        problems.append(
            Problem("kind", f"{spec.kind} runs train in one process; start them without torchrun")
        )
    if spec.n_jobs != 1:
        problems.append(
            Problem("n_jobs", f"{spec.n_jobs} tasks at once cannot share processes; set it to 1")
        )
    if spec.backend.name != "local":
        problems.append(
            Problem("backend", f"{spec.backend.name} has processes of its own; remove it")
        )
    if problems:
        raise SpecError(problems, f"{spec.name}, started by torchrun")
    from hypeeg.training.distributed import data_parallel

    with data_parallel(spec.device) as replicas:
        joint = Joint(replicas)
        try:
            yield joint
        finally:
            if joint.leads:
                replicas.agree(joint.result)


def together(spec: BaseRunSpec, wing: Wing, lead: Callable[[], RunResult]) -> RunResult:
    """Carry out a run with the other processes of ``torchrun``; outside of it, alone.

    Parameters
    ----------
    spec : BaseRunSpec
        The run, resolved.
    wing : Wing
        Its wing.
    lead : callable
        The run: called in the first process only.

    Returns
    -------
    RunResult
        The same in every process.

    Raises
    ------
    SpecError
        If several processes cannot carry it out.
    JointRunError
        If the first process has ended without a result.
    """
    with jointly(spec) as joint:
        if joint is None:
            return lead()
        if not joint.leads:
            return joint.follow(spec, wing)
        joint.result = lead()
        return joint.result


@contextmanager
def joint_fit(task: Task) -> Iterator[None]:
    """Fit a task's network with the other processes of a joint run; alone in other runs.

    Parameters
    ----------
    task : Task
        The others are told of it.

    Raises
    ------
    JointRunError
        If the processes are no longer in step: the run ends, and ``hypeeg resume`` goes on with it.
    """
    if torchrun_place() is None:
        yield
        return
    from hypeeg.training.distributed import current_replicas

    replicas = current_replicas()
    if replicas is None:
        yield
        return
    try:
        replicas.agree(int(task.index))
        yield
    except _alike():
        raise
    except Exception as error:
        raise JointRunError(
            f"the processes that train together are out of step ({type(error).__name__}: {error}); "
            "see what the others say, then go on with hypeeg resume"
        ) from error
