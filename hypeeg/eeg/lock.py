"""What was read, file by file: a lock file with the size and SHA-256 of each recording.

There is one for each dataset, ``locks/<dataset>.json`` in :func:`hypeeg.eeg.paths.cache_root`.
``hypeeg data fetch`` and ``hypeeg data check`` write it; a later check finds recordings that have
changed since, and for datasets whose file names only MOABB knows it says what is on this machine.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from hypeeg.eeg.paths import cache_root

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileHash:
    """A file that was read, with its size in bytes and SHA-256."""

    path: str
    size: int
    sha256: str


def sha256(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits.

    Parameters
    ----------
    path : Path
        File to read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_file(path: Path) -> FileHash:
    """Path, size and SHA-256 of a file.

    Parameters
    ----------
    path : Path
        File to read.
    """
    return FileHash(str(path), path.stat().st_size, sha256(path))


def lock_path(dataset: str) -> Path:
    """Where the lock file of a dataset lies (or would lie).

    Parameters
    ----------
    dataset : str
        Name of the manifest.
    """
    return cache_root() / "locks" / f"{dataset}.json"


def read_lock(dataset: str, path: Path | None = None) -> dict[int, list[FileHash]]:
    """Files of each subject as they were when the lock file was written.

    Parameters
    ----------
    dataset : str
        Name of the manifest.
    path : Path or None
        Lock file; None takes :func:`lock_path`.

    Returns
    -------
    dict of int to list of FileHash
        Empty if there is no lock file, or none that can be read (which is logged).
    """
    path = path or lock_path(dataset)
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            int(subject): [FileHash(**file) for file in files]
            for subject, files in content["subjects"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("%s: not a readable lock file (%s); it is ignored", path, error)
        return {}


def write_lock(
    dataset: str, subjects: dict[int, list[FileHash]], path: Path | None = None
) -> Path | None:
    """Write a lock file in one step, so that an interruption leaves the old one.

    Parameters
    ----------
    dataset : str
        Name of the manifest.
    subjects : dict of int to list of FileHash
        Files of each subject.
    path : Path or None
        Where; None takes :func:`lock_path`.

    Returns
    -------
    Path or None
        The file; None if its folder cannot be written (which is logged).
    """
    path = path or lock_path(dataset)
    content = {
        "dataset": dataset,
        "subjects": {str(s): [asdict(file) for file in subjects[s]] for s in sorted(subjects)},
    }
    try:
        write_whole(path, json.dumps(content, indent=1).encode())
    except OSError as error:
        logger.warning("lock file %s cannot be written: %s", path, error)
        return None
    return path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name beside it and rename it, so that nobody sees half of it.

    Parameters
    ----------
    path : Path
        File to write; its folder is made.
    content : bytes
        What to write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def changed(known: dict[int, list[FileHash]], subject: int, now: FileHash) -> FileHash | None:
    """The recorded state of a file that has changed since, or None.

    Parameters
    ----------
    known : dict
        From :func:`read_lock`.
    subject : int
        Subject the file belongs to.
    now : FileHash
        The file as it is now.
    """
    for before in known.get(subject, []):
        if before.path == now.path and before.sha256 != now.sha256:
            return before
    return None
