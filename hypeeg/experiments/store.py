"""The folder of a run on disk: what is written when, so that nothing half-written passes for whole.

Files that describe the run are replaced in one step (written beside, then renamed).  Results of
folds are appended to ``folds.jsonl``, one line each, after everything else of that fold is on
disk; a line without its closing newline was cut off and does not count.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from hypeeg.experiments.process import process_start_time as process_start_time
from hypeeg.experiments.process import this_host

logger = logging.getLogger(__name__)

State = Literal["planned", "running", "done", "failed", "cancelled"]
"""What ``status.json`` says; see :func:`hypeeg.experiments.process.judged_state` for the rest."""


class RecordError(ValueError):
    """A file of a run folder is damaged, or the run is not in a state for what was asked."""


class DiskFullError(RecordError, OSError):
    """The disk of a run folder is full: the record is whole up to there, and can be resumed."""


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Name the folder and the remedy if the disk is full.

    Parameters
    ----------
    folder : Path
        Folder of the run.

    Raises
    ------
    DiskFullError
        For ``ENOSPC`` and ``EDQUOT``; other errors pass.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFullError(
            f"{folder}: no space left on the disk ({error.strerror}); what is recorded is whole. "
            f"Free some space, or move the folder to another disk, then 'hypeeg resume {folder}'"
        ) from error


def sync_folder(folder: Path, contents: bool = False) -> None:
    """Wait until the names in a folder are on disk, and what the files hold if wanted.

    Parameters
    ----------
    folder : Path
        The folder; where folders cannot be opened (Windows) its names are left to the system.
    contents : bool
        Also its files, and those of folders in it.
    """
    paths = list(folder.rglob("*")) if contents else []
    for path in [*paths, folder]:
        try:
            handle = os.open(path, os.O_RDONLY)
        except PermissionError:
            continue
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


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


class FoldLog:
    """Append-only file of JSON lines, one a finished task.

    Parameters
    ----------
    path : str or Path
        The file; made with the first record.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def append(self, record: dict[str, Any]) -> None:
        """Add one record and wait until it is on disk.

        A cut-off line that an earlier process left is removed first.  If the disk is full,
        whatever part of this record was written is taken back and the error raised.

        Parameters
        ----------
        record : dict
            JSON-ready values.
        """
        line = to_json(record).encode("utf-8") + b"\n"
        # Read and write without buffering: each call is one system call that can fail by itself.
        with open(self.path, "a+b", buffering=0) as file:  # noqa: PTH123 - buffering matters
            end = _end_of_last_line(file)
            if end < file.seek(0, os.SEEK_END):
                logger.warning("%s: removed a line that was cut off", self.path.name)
                file.truncate(end)
            with disk_errors(self.path.parent):
                try:
                    written = 0
                    while written < len(line):
                        written += file.write(line[written:]) or 0
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(end)
                    raise

    def read(self) -> list[dict[str, Any]]:
        """Return every complete record, oldest first.

        Raises
        ------
        RecordError
            If a complete line is no JSON object, which no interruption can cause.
        """
        return list(self._records())

    def latest(self) -> list[dict[str, Any]]:
        """Return the last complete record of each task; see :func:`latest_records`."""
        return latest_records(self._records())

    def _records(self) -> Iterator[dict[str, Any]]:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return
        lines = content.split(b"\n")
        if lines.pop():
            logger.warning("%s: ignored a last line that was cut off", self.path.name)
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
            except ValueError as error:
                raise RecordError(f"{self.path}, line {number}: damaged record: {error}") from error
            if not isinstance(record, dict):
                raise RecordError(f"{self.path}, line {number}: damaged record: not an object")
            yield record


def describe(record: Mapping[str, object]) -> str:
    """Name the task of a record in one line."""
    session = "" if record["session"] is None else f" session {record['session']}"
    size = f" trained on {record['data_size']}" if "data_size" in record else ""
    return (
        f"{record['pipeline']}: subject {record['subject']}{session} "
        f"fold {record['fold']} seed {record['seed']}{size}"
    )


def latest_records(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the last record of each task: what counts when a task was run again.

    Parameters
    ----------
    records : iterable of dict
        Lines of ``folds.jsonl``, oldest first.

    Returns
    -------
    list of dict
        In the order in which the tasks were recorded first.
    """
    return list({int(record["task"]): record for record in records}.values())


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


def _end_of_last_line(file: Any) -> int:
    """Return the position behind the last newline of a binary file."""
    position = int(file.seek(0, os.SEEK_END))
    block = 1 << 16
    while position > 0:
        start = max(0, position - block)
        file.seek(start)
        found = file.read(position - start).rfind(b"\n")
        if found >= 0:
            return start + int(found) + 1
        position = start
    return 0


def replace_file(target: Path, content: bytes, durable: bool = True) -> None:
    """Write a file so that readers see the old content or the new one, never a part.

    Parameters
    ----------
    target : Path
        The file; missing parent folders are made.
    content : bytes
        What it shall hold.
    durable : bool
        Wait until the content is on disk.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with disk_errors(target.parent):
        try:
            with temporary.open("wb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def to_json(value: Any, indent: int | None = None) -> str:
    """Write JSON that every reader takes: NaN and infinities become null, numpy values plain."""
    return json.dumps(_plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def utc_now() -> str:
    """Return the time now, UTC, as ISO text to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
