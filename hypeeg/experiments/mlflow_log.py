"""A run in MLflow: parameters, scores, histories and files, if a tracking server is named.

A run of hypeeg becomes a run of MLflow, with one nested run for each pipeline: that is what one
compares, and there are few of them where folds are thousands.  The score of fold after fold is a
metric of the nested run, its step the number of the task.

Nothing here can end or slow a run: a thread of its own talks to the server.  ``mlflow.json`` of
the run folder says what became of it.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import queue
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypeeg.experiments.mlflow_run import MLflowError as MLflowError
from hypeeg.experiments.mlflow_run import MLflowRun, recorded_run
from hypeeg.experiments.store import RecordError, RunFolder

if TYPE_CHECKING:
    from hypeeg.experiments.active import RunResult
    from hypeeg.experiments.observers import RunStart

logger = logging.getLogger(__name__)

URI_VARIABLE = "MLFLOW_TRACKING_URI"
REMEDY = "install the extra: pip install 'hypeeg[mlflow]'"

PATIENCE = 60.0
"""Seconds that the end of a run waits for the server."""

# Set only where the user has not: fail within a minute rather than within ten, do not write to
# the screen of the run, and send nothing to anybody but the server that was named.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}


def tracking_uri(folder: str | Path) -> str | None:
    """Return where a run is logged to.

    Parameters
    ----------
    folder : str or Path
        Run folder.

    Returns
    -------
    str or None
        ``MLFLOW_TRACKING_URI``; else where an earlier attempt of this run was logged; else None.
    """
    return os.environ.get(URI_VARIABLE, "").strip() or recorded_run(Path(folder)).get(
        "tracking_uri"
    )


def require_mlflow() -> None:
    """Raise a clear error if MLflow is not installed.

    Raises
    ------
    MLflowError
        With what to install.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise MLflowError(f"mlflow is not installed; {REMEDY}")


def use_tracking(uri: str) -> None:
    """Log the runs of this process to an address.

    Parameters
    ----------
    uri : str
        Tracking server or store, as MLflow takes it.

    Raises
    ------
    SpecError
        If MLflow is not installed: who asks for it in so many words is told at once.
    """
    from hypeeg.experiments.spec_errors import Problem, SpecError

    try:
        require_mlflow()
    except MLflowError as error:
        raise SpecError([Problem("--mlflow", str(error))], "hypeeg run") from error
    os.environ[URI_VARIABLE] = uri


class MLflowObserver:
    """Logs a run while it goes on; see :class:`hypeeg.experiments.observers.RunObserver`.

    Parameters
    ----------
    uri : str
        Tracking server or store, as MLflow takes it.
    patience : float
        Seconds that the end of the run waits for the server.
    """

    def __init__(self, uri: str, patience: float = PATIENCE) -> None:
        self.uri = uri
        self.patience = patience
        self._log: MLflowRun | None = None
        self._sender = _Sender()

    def on_start(self, start: RunStart) -> None:
        """Begin, or go on with, the run in MLflow."""
        require_mlflow()
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        self._log = log = MLflowRun(self.uri, start.folder)
        self._sender.put(log.begin)
        # The attempt before may have ended with some of them unsent; the same point twice is one.
        for record in start.recorded:
            self._sender.put(partial(log.add, record))

    def on_task(self, record: Mapping[str, Any], part: Path) -> None:
        """Send what a task found."""
        assert self._log is not None
        self._sender.put(partial(self._log.add, dict(record)))
        self._check()

    def on_end(self, result: RunResult) -> None:
        """Send tables, histories and files, and the final state."""
        assert self._log is not None
        self._sender.put(partial(self._log.finish, result.state))
        if not self._sender.join(self.patience):
            self._sender.problem = self._sender.problem or MLflowError(
                f"the server has not taken everything within {self.patience:g} s"
            )
        self._check()

    def _check(self) -> None:
        """Raise what happened in the thread, once it is written down."""
        log, problem = self._log, self._sender.problem
        if problem is None or log is None:
            return
        # Not "from problem": its text may hold the password of the address, and goes to the log.
        raise MLflowError(log.give_up(problem)) from None


def log_run(path: str | Path, uri: str) -> str:
    """Log a run that has ended, or what was not logged of it.

    Parameters
    ----------
    path : str or Path
        Run folder.
    uri : str
        Tracking server or store.

    Returns
    -------
    str
        Id of the run in MLflow.  The same one if the run was begun there before.

    Raises
    ------
    MLflowError
        If MLflow is not installed or the server cannot be reached.
    RecordError
        If the folder is damaged, or the run is still going on.
    """
    from hypeeg.experiments.process import GOING_ON, judged_state

    require_mlflow()
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    folder = RunFolder(path)
    state = judged_state(folder.read_status())
    if state in GOING_ON:
        raise RecordError(f"{folder.path}: the run is going on; log it when it has ended")
    log = MLflowRun(uri, folder.path)
    try:
        log.begin()
        for record in folder.folds.latest():
            log.add(record)
        log.finish(state)
    # The client raises what its transport does, too.
    except Exception as error:  # noqa: BLE001
        raise MLflowError(log.give_up(error)) from None
    return log.run_id


class _Sender:
    """A thread that does one thing after another until one fails."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Callable[[], None]] = queue.Queue()
        self._thread: threading.Thread | None = None
        self.problem: Exception | None = None

    def put(self, action: Callable[[], None]) -> None:
        self._queue.put(action)
        if self._thread is None:
            # A daemon: a server that hangs does not keep the process from ending.
            self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            action = self._queue.get()
            try:
                if self.problem is None:
                    action()
            # It is told, and written down, by the thread of the run.
            except Exception as error:  # noqa: BLE001
                self.problem = error
            finally:
                self._queue.task_done()

    def join(self, timeout: float) -> bool:
        """Wait until all is done; False if that takes longer."""
        done = threading.Event()
        self._queue.put(done.set)
        # Where something failed, the rest is left out, this too.
        waited = 0.0
        while waited < timeout and self.problem is None:
            if done.wait(0.05):
                return True
            waited += 0.05
        return self.problem is not None or done.is_set()
