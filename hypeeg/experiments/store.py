"""The folder of a run on disk: what is written when, so that nothing half-written passes for whole.

Files that describe the run are replaced in one step (written beside, then renamed).  Results of
folds are appended to ``folds.jsonl``, one line each, after everything else of that fold is on
disk; a line without its closing newline was cut off and does not count.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from hypeeg.experiments.durable import DiskFullError as DiskFullError
from hypeeg.experiments.durable import RecordError as RecordError
from hypeeg.experiments.durable import disk_errors as disk_errors
from hypeeg.experiments.durable import replace_file as replace_file
from hypeeg.experiments.durable import sync_folder as sync_folder
from hypeeg.experiments.durable import to_json as to_json
from hypeeg.experiments.durable import utc_now as utc_now
from hypeeg.experiments.fold_log import FoldLog as FoldLog
from hypeeg.experiments.fold_log import describe as describe
from hypeeg.experiments.fold_log import latest_records as latest_records
from hypeeg.experiments.process import process_start_time as process_start_time
from hypeeg.experiments.process import this_host

logger = logging.getLogger(__name__)

State = Literal["planned", "running", "done", "failed", "cancelled"]
"""What ``status.json`` says; see :func:`hypeeg.experiments.process.judged_state` for the rest."""


class RunFolder:
    """One run on disk.

    Parameters
    ----------
    path : str or Path
        An existing run folder; :meth:`create` makes a new one.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._status: dict[str, Any] = {}
        self._status_written = 0.0

    @classmethod
    def create(cls, out: str | Path, name: str) -> RunFolder:
        """Make a new run folder ``<out>/<name>-<UTC time>[-n]``.

        Parameters
        ----------
        out : str or Path
            Folder of all runs, made if it is missing.
        name : str
            Name of the run specification.

        Returns
        -------
        RunFolder
            Its folder belongs to this run alone, also when two runs start in the same second.
        """
        parent = Path(out)
        parent.mkdir(parents=True, exist_ok=True)
        stem = f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        number = 1
        while True:
            path = parent / (stem if number == 1 else f"{stem}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                number += 1
            else:
                return cls(path)

    @property
    def folds(self) -> FoldLog:
        """The append-only record of finished folds."""
        return FoldLog(self.path / "folds.jsonl")

    def part(self, task: int) -> Path:
        """File with the arrays of one task, until they are gathered by pipeline."""
        return self.path / "parts" / f"{task:06d}.npz"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other process from working on this run while the block runs.

        The system releases the hold when the process ends, however it ends.  Where folders cannot
        be locked (Windows, some network file systems) ``status.json`` alone tells.

        Raises
        ------
        RecordError
            If another process holds the run.
        """
        handle = _lock(self.path)
        try:
            yield
        finally:
            if handle is not None:
                os.close(handle)

    def study(self, task: int) -> Path:
        """File with the SQLite study of one task that searches inside its training trials."""
        return self.path / "studies" / f"task-{task:05d}.db"

    def remove_temporary(self) -> None:
        """Remove what a process that was killed had begun to write."""
        for pattern in (".*.tmp", "*/.*.tmp", "models/*/.*.tmp"):
            for path in self.path.glob(pattern):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    def remove_parts(self) -> None:
        """Remove the arrays of single tasks, once they are gathered."""
        shutil.rmtree(self.path / "parts", ignore_errors=True)

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file of the run in one step."""
        target = self.path / name
        replace_file(target, text.encode("utf-8"))
        return target

    def write_json(self, name: str, value: Any) -> Path:
        """Write a JSON file of the run in one step."""
        return self.write_text(name, to_json(value, indent=2) + "\n")

    def update_status(self, state: State | None = None, **values: Any) -> None:
        """Write ``status.json``.

        Changes of state are written at once and survive a crash; mere progress at most twice a
        second.

        Parameters
        ----------
        state : {"planned", "running", "done", "failed", "cancelled"}, optional
            New state of the run.
        **values
            Further entries to set.
        """
        now = time.monotonic()
        if not self._status:
            self._status = {"state": "planned", **_this_process(), "created": utc_now()}
        changed = state is not None and state != self._status["state"]
        if state is not None:
            self._status["state"] = state
        self._status.update(values)
        if not changed and now - self._status_written < 0.5:
            return
        self._status["updated"] = utc_now()
        text = to_json(self._status, indent=2) + "\n"
        replace_file(self.path / "status.json", text.encode("utf-8"), durable=changed)
        self._status_written = now

    def take_over(self, **values: Any) -> None:
        """Make this process the one that the run belongs to; the state becomes ``planned``.

        Parameters
        ----------
        **values
            Further entries to set.
        """
        ended = ("finished", "error", "current")
        before = {k: v for k, v in self.read_status().items() if k not in ended}
        self._status = {**before, **_this_process(), "state": ""}
        self.update_status("planned", **values)

    def read_status(self) -> dict[str, Any]:
        """Return what ``status.json`` says.

        Raises
        ------
        RecordError
            If the folder has none, or it is no JSON object.
        """
        path = self.path / "status.json"
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RecordError(f"{path}: no readable status ({error}); not a run folder?") from error
        if not isinstance(value, dict):
            raise RecordError(f"{path}: holds {type(value).__name__}, expected an object")
        return value


def _this_process() -> dict[str, Any]:
    """Return what tells this process from every other, now and later."""
    pid = os.getpid()
    return {"pid": pid, "process_start_time": process_start_time(pid), "host": this_host()}


def _lock(folder: Path) -> int | None:
    """Lock a folder; the lock ends with the handle returned, None where there are no locks."""
    try:
        import fcntl
    except ImportError:
        return None
    # Handles are not inherited by programs that this one starts, so workers do not keep the lock.
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise RecordError(
            f"{folder}: another process is working on this run; wait for it, or end it with "
            f"'hypeeg cancel {folder}'"
        ) from None
    except OSError as error:
        logger.debug("%s: cannot be locked (%s)", folder, error)
        os.close(handle)
        return None
    return handle
