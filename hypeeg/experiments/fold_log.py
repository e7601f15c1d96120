"""The record of finished tasks: one line of JSON each, appended, never changed."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hypeeg.experiments.durable import RecordError, disk_errors, to_json

logger = logging.getLogger(__name__)


class FoldLog:
    """Append-only file of JSON lines, one a finished task.

    Parameters
    ----------
    path : str or Path
        The file; made with the first record.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def append(self, *records: dict[str, Any]) -> None:
        """Add records and wait until they are on disk.

        A cut-off line that an earlier process left is removed first.  If the disk is full,
        whatever part of these records was written is taken back and the error raised.

        Parameters
        ----------
        *records : dict
            JSON-ready values.
        """
        lines = "".join(to_json(record) + "\n" for record in records).encode("utf-8")
        # Read and write without buffering: each call is one system call that can fail by itself.
        with self.path.open("a+b", buffering=0) as file:
            end = _end_of_last_line(file)
            if end < file.seek(0, os.SEEK_END):
                logger.warning("%s: removed a line that was cut off", self.path.name)
                file.truncate(end)
            with disk_errors(self.path.parent):
                try:
                    written = 0
                    while written < len(lines):
                        written += file.write(lines[written:]) or 0
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
