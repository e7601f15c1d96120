"""Records of tasks on their way to the disk, while the next tasks are computed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

from hypeeg.experiments.parts import sync_parts, write_arrays
from hypeeg.experiments.store import DiskFullError, RunFolder

ARRAYS = "arrays"
"""Entry of a record for arrays that are still to be written; it is not recorded itself."""

PAUSE = 0.2
"""Seconds from one writing to the next: tasks that end in between are written together."""


class Recorder:
    """Writes records in a thread of its own.

    Waiting for the disk takes as long as a small fold does, and hardly longer for several records
    than for one.  The order of things stays: the arrays of a task are on disk before the line that
    vouches for them, and a record comes back from here, to be counted and told, when that line is.

    Parameters
    ----------
    folder : RunFolder
        Where the records belong.
    pause : float
        Seconds; what a process that is killed has done in them, a resumed run does again.
    """

    def __init__(self, folder: RunFolder, pause: float = PAUSE) -> None:
        self.folder = folder
        self.pause = pause
        self._given: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._written: deque[dict[str, Any]] = deque()
        self._error: Exception | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="hypeeg-recorder", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def hand_over(self, record: dict[str, Any]) -> Sequence[dict[str, Any]]:
        """Take a record, and return those that have reached the disk since the last call.

        Raises
        ------
        DiskFullError
            If earlier ones could not be written; the new record is not begun then.
        """
        self._complain()
        self._given.put(record)
        return self._news()

    def finish(self) -> Sequence[dict[str, Any]]:
        """Wait until everything is written, and return what was not returned before.

        Raises
        ------
        DiskFullError
            If it could not be written.
        """
        self._end()
        self._complain()
        return self._news()

    def _end(self) -> None:
        self._ending.set()
        self._given.put(None)
        self._thread.join()

    def _complain(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _news(self) -> Sequence[dict[str, Any]]:
        return [self._written.popleft() for _ in range(len(self._written))]

    def _work(self) -> None:
        try:
            while True:
                found = [self._given.get()]
                # Whatever else has ended meanwhile.
                try:
                    while True:
                        found.append(self._given.get_nowait())
                except Empty:
                    pass
                records = [record for record in found if record is not None]
                if records:
                    self._write(records)
                if len(records) < len(found):
                    return
                self._ending.wait(self.pause)
        # Told to the thread that hands records over, whatever it is.
        except Exception as error:  # noqa: BLE001
            self._error = error

    def _write(self, records: list[dict[str, Any]]) -> None:
        whole: list[dict[str, Any]] = []
        full: DiskFullError | None = None
        for record in records:
            arrays = record.pop(ARRAYS, None)
            try:
                if arrays is not None:
                    write_arrays(self._part(record), arrays)
            except DiskFullError as error:
                full = error
                break
            whole.append(record)
        # Those whose arrays had room are recorded all the same.
        full = self._vouch(whole) or full
        if full is not None:
            raise full

    def _vouch(self, records: list[dict[str, Any]]) -> DiskFullError | None:
        """Add the lines of tasks whose arrays are written; return what kept some of them out."""
        full: DiskFullError | None = None
        while records:
            try:
                sync_parts([self._part(record) for record in records])
                self.folder.folds.append(*records)
            except DiskFullError as error:
                full = error
                # The arrays of the last one make room for the lines of the others.
                self._part(records.pop()).unlink(missing_ok=True)
            else:
                self._written.extend(records)
                break
        return full

    def _part(self, record: dict[str, Any]) -> Path:
        return self.folder.part(int(record["task"]))
