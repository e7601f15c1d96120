"""Files that are whole or not there: written beside and renamed, on disk when it counts."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class RecordError(ValueError):
    """A file of a run folder is damaged, or the run is not in a state for what was asked."""


# The bases in this order: what unpickles errors of workers calls ``__new__``, to be OSError's.
class DiskFullError(OSError, RecordError):
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


def sync_file(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk.

    Raises
    ------
    OSError
        If it cannot be opened, or there is no space after all.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
        with suppress(PermissionError):
            sync_file(path)


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
