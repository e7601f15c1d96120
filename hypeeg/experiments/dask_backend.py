"""A Dask cluster: the same tasks on workers of other machines.

Workers read the data themselves, once each, through the wing's ``load``, from their recordings or
their cache, divide them, and compare the hashes with ``data.json`` of the run: what travels is the
number of a task and its estimator.  Arrays and models are written straight into the run folder,
which lies on a file system that all machines share; only this process writes records.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import threading
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypeeg.experiments.fold import carry_out_job
from hypeeg.experiments.parts import sync_parts
from hypeeg.experiments.shared import cloudpickle
from hypeeg.experiments.spec_errors import Problem, SpecError
from hypeeg.experiments.store import RecordError, RunFolder, describe, utc_now
from hypeeg.experiments.wings import Job, Wing

if TYPE_CHECKING:
    from hypeeg.experiments.backends import Work

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 15
# Where a worker that was started without them finds recordings and cache.
_VARIABLES = ("HYPEEG_DATA", "HYPEEG_CACHE")
_PACKAGES = ("hypeeg", "torch", "numpy", "scikit-learn", "moabb", "mne", "braindecode", "pyriemann")


class ClusterError(RecordError):
    """The cluster cannot go on with a run; what is recorded stays, and the run can be resumed."""


@dataclass(frozen=True)
class Origin:
    """How a worker gets what its tasks need.

    Attributes
    ----------
    token : str
        Tells this attempt of this run from every other.
    wing, spec
        As in :class:`hypeeg.experiments.backends.Work`.
    described : dict
        Hashes that its data must have.
    folder : str
        The run folder, absolute.
    variables : dict
        Environment that counts where the worker has none of its own.
    """

    token: str
    wing: Wing
    spec: Any
    described: dict[str, Any]
    folder: str
    variables: dict[str, str]


class Cluster:
    """A connected cluster; see :class:`hypeeg.experiments.backends.Backend`.

    Parameters
    ----------
    client : distributed.Client
        Connected.
    """

    def __init__(self, client: Any) -> None:
        self.client = client

    def records(
        self, work: Work, jobs: Sequence[Job], show: Callable[[str], None]
    ) -> Generator[dict[str, Any], None, None]:
        """Yield the record of each job as it ends."""
        from distributed import as_completed

        if not jobs:
            return
        described = {key: work.described[key] for key in ("shape", "dtype", "sha256")}
        variables = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
        token = uuid.uuid4().hex
        folder = str(work.folder.resolve())
        # By value, so that functions of a script or a test reach the workers too.
        origin = cloudpickle().dumps(
            Origin(token, work.wing, work.spec, described, folder, variables)
        )
        if not self.client.scheduler_info(n_workers=-1)["workers"]:
            logger.warning("the cluster has no workers yet; the run waits for them")
        waiting: dict[Any, Job] = {}
        done = False
        try:
            # An interruption may come while tasks are still handed over.
            for position, job in enumerate(jobs):
                future = self.client.submit(
                    _on_worker,
                    token,
                    origin,
                    _Errand.of(job),
                    key=f"hypeeg-{token}-{job.task.index}",
                    pure=False,
                    # Among equals, in the order of the list of tasks.
                    priority=-position,
                )
                waiting[future] = job
            for future in as_completed(list(waiting), loop=self.client.loop):
                job = waiting[future]
                record = _outcome(future, job)
                del waiting[future]
                show(describe(record))
                yield record
            done = True
        finally:
            if not done:
                self._stop(list(waiting), token)

    def _stop(self, futures: list[Any], token: str) -> None:
        """Take back what is queued, and end what the workers are at."""
        # Whatever is wrong with the cluster now must not hide why the run ends.
        try:
            self.client.cancel(futures, force=True)
            self.client.run(_stop_tasks, token, on_error="ignore", wait=True)
        except (OSError, TimeoutError, RuntimeError, ValueError) as error:
            logger.warning("tasks may go on for a while on the cluster: %s", error)


@contextmanager
def open_cluster(spec: Any) -> Iterator[Cluster]:
    """Connect to the scheduler that a specification names.

    Parameters
    ----------
    spec : BaseRunSpec
        ``backend.scheduler`` is an address such as ``tcp://10.0.0.7:8786``.

    Yields
    ------
    Cluster

    Raises
    ------
    SpecError
        If Dask is not installed, there is no scheduler at the address, a worker cannot import
        hypeeg, or the specification asks for GPU slots, which workers of a cluster have by
        themselves.
    """
    address = spec.backend.scheduler
    if spec.resources.gpus:
        raise SpecError(
            [
                Problem(
                    "resources.gpus",
                    f"got {spec.resources.gpus}, which counts for backend: local; on a cluster "
                    "start one worker for each GPU, with CUDA_VISIBLE_DEVICES set (docs/cluster.md)"
                    ", and leave it out",
                )
            ],
            spec.name,
        )
    try:
        from distributed import Client
    except ImportError as error:
        raise SpecError(
            [
                Problem(
                    "backend.name",
                    f"'dask' takes packages that are not installed ({error.name}); "
                    "pip install 'hypeeg[cluster]'",
                )
            ],
            spec.name,
        ) from error
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise SpecError(
            [
                Problem(
                    "backend.scheduler",
                    f"no Dask scheduler answers at {address!r} ({error}); start one with "
                    "'dask scheduler' and give the address that it prints",
                )
            ],
            spec.name,
        ) from error
    try:
        _check_workers(client, spec.name)
        yield Cluster(client)
    finally:
        # Closing waits for answers that a scheduler which is gone does not give.
        with suppress(OSError, TimeoutError):
            client.close(timeout=CONNECT_SECONDS)


def _check_workers(client: Any, name: str) -> None:
    """Compare what the workers have installed with this process."""
    here = _about()
    for address, there in client.run(_about, on_error="return").items():
        if isinstance(there, BaseException):
            raise SpecError(
                [
                    Problem(
                        "backend.scheduler",
                        f"worker {address} cannot load hypeeg ({there}); install the same hypeeg "
                        "and the same packages there",
                    )
                ],
                name,
            )
        for package, version in here.items():
            if there[package] != version:
                logger.warning(
                    "worker %s has %s %s, this process %s: scores may differ",
                    address,
                    package,
                    there[package],
                    version,
                )


def _about() -> dict[str, str | None]:
    """Return versions that scores depend on."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _outcome(future: Any, job: Job) -> dict[str, Any]:
    """Return the record of a task that has ended one way or other.

    Raises
    ------
    ClusterError
        If no task can be carried out, on this worker or at all.
    """
    from distributed import KilledWorker

    if future.status == "cancelled":
        raise ClusterError(
            "the scheduler dropped the tasks of this run (it was restarted, or the connection was "
            "lost); 'hypeeg resume' goes on where it ended"
        )
    problem = future.exception() if future.status == "error" else None
    if isinstance(problem, KilledWorker):
        return {
            **job.task.identity,
            "status": "failed",
            "started": None,
            "error": "WorkerDied: each worker that took this task died, the last one was "
            f"{problem.last_worker.address if problem.last_worker else 'unknown'}; often there "
            "was too little memory (see the log of the worker)",
            "traceback": str(problem),
            "messages": [],
            "finished": utc_now(),
        }
    if problem is not None:
        raise problem
    found: dict[str, Any] = future.result()
    if "unable" in found:
        raise ClusterError(found["unable"])
    return found


# ---- in the worker


@dataclass(frozen=True)
class _Errand:
    """A job without the trials of its fold: the worker has the same list of tasks."""

    index: int
    job: Job

    @classmethod
    def of(cls, job: Job) -> _Errand:
        # The number of a process tells nothing on another machine.
        options = replace(job.options, parent=-1)
        paths = {name: getattr(job, name) for name in ("part", "model", "study")}
        absolute = {name: path and path.resolve() for name, path in paths.items()}
        slim: Any = None
        return cls(job.task.index, replace(job, task=slim, options=options, **absolute))


class _Stopped(BaseException):
    """Raised inside a task whose run was cancelled."""


# One task at a time, however many threads the worker has: warnings, the number of threads and the
# random state belong to the process.
_TURN = threading.Lock()
_REGISTER = threading.Lock()
_RUNNING: dict[str, int] = {}
_CANCELLED: set[str] = set()
_KEPT: dict[str, tuple[Origin, Any, list[Any]]] = {}


def _on_worker(token: str, origin: bytes, errand: _Errand) -> dict[str, Any]:
    """Carry out one task; ``unable`` tells why this worker cannot carry out any."""
    try:
        try:
            with _TURN:
                return _take_turn(token, origin, errand)
        # It may arrive a moment late, once more outside.
        except _Stopped:
            return {"unable": "cancelled"}
    except _Stopped:
        return {"unable": "cancelled"}


def _take_turn(token: str, origin: bytes, errand: _Errand) -> dict[str, Any]:
    with _REGISTER:
        if token in _CANCELLED:
            return {"unable": "cancelled"}
        _RUNNING[token] = threading.get_ident()
    try:
        try:
            known, data, tasks = _ready(token, origin)
        # Any reason that a worker cannot begin is told to the person who started the run.
        except Exception as error:  # noqa: BLE001
            where = f"worker at {platform.node()} (process {os.getpid()})"
            return {"unable": f"{where}: {type(error).__name__}: {error}"}
        job = replace(errand.job, task=tasks[errand.index])
        record = carry_out_job(known.wing, job, data)
        # What this machine has not written out, no other can.
        sync_parts([RunFolder(known.folder).part(errand.index)])
        return record
    finally:
        with _REGISTER:
            _RUNNING.pop(token, None)


def _ready(token: str, origin: bytes) -> tuple[Origin, Any, list[Any]]:
    """Read and divide the data, unless this worker has them."""
    import pickle

    if token not in _KEPT:
        from hypeeg.experiments.fingerprint import differences

        _KEPT.clear()
        known: Origin = pickle.loads(origin)
        if not (Path(known.folder) / "status.json").is_file():
            raise FileNotFoundError(
                f"{known.folder} is not to be seen here; --out must name a folder on a file system "
                "that all machines of the cluster share"
            )
        for name, value in known.variables.items():
            os.environ.setdefault(name, value)
        data = known.wing.load(known.spec)
        tasks = known.wing.plan(known.spec, data)
        found = differences(known.described, known.wing.describe_data(known.spec, data, tasks))
        if found:
            raise ClusterError(
                f"reads other data than the run was planned on: {'; '.join(found)}. Give all "
                "machines the same recordings (HYPEEG_DATA) and library versions"
            )
        _KEPT[token] = known, data, tasks
    return _KEPT[token]


def _stop_tasks(token: str) -> bool:
    """End the task of a run that this worker is at; return whether there was one."""
    with _REGISTER:
        _CANCELLED.add(token)
        thread = _RUNNING.get(token)
        if thread is None:
            return False
        # Raised between two steps of Python code: at the next batch of a training at the latest.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread), ctypes.py_object(_Stopped)
        )
        return True
