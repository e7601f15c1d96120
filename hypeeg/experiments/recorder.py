"""Records of tasks on their way to the disk, while the next task is computed."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hypeeg.experiments.parts import sync_part
from hypeeg.experiments.store import RunFolder


class Recorder:
    """Writes one record at a time in a thread of its own.

    Waiting for the disk takes as long as a small fold does, and no processor.  The order of things
    stays: the arrays of a task are on disk before the line that vouches for them, and a record
    comes back from here, to be counted and told, when that line is.

    Parameters
    ----------
    folder : RunFolder
        Where the records belong.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._pool = ThreadPoolExecutor(1, "hypeeg-recorder")
        self._pending: Future[dict[str, Any]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown()

    def hand_over(self, record: dict[str, Any]) -> dict[str, Any] | None:
        """Begin to write a record, and return the one before it, which is on disk now.

        Raises
        ------
        DiskFullError
            If the one before it could not be written; the new record is not begun then.
        """
        before = self.finish()
        part = self.folder.part(int(record["task"]))
        self._pending = self._pool.submit(self._write, record, part)
        return before

    def finish(self) -> dict[str, Any] | None:
        """Wait for the last record and return it, None if there is none to wait for.

        Raises
        ------
        DiskFullError
            If it could not be written.
        """
        pending, self._pending = self._pending, None
        return None if pending is None else pending.result()

    def _write(self, record: dict[str, Any], part: Path) -> dict[str, Any]:
        sync_part(part)
        self.folder.folds.append(record)
        return record
