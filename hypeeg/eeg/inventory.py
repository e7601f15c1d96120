"""What of a data set lies on this machine: files and bytes of each subject, and their hashes.

Only names and sizes of files are looked at; nothing is read, hashed or downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hypeeg.eeg.datasets import prepare_paths
from hypeeg.eeg.errors import MissingDataError
from hypeeg.eeg.files import storage_root, subject_files
from hypeeg.eeg.lock import lock_path, read_lock
from hypeeg.eeg.manifest import Manifest


@dataclass(frozen=True)
class SubjectInventory:
    """Files of one subject.

    Parameters
    ----------
    subject : int
        Subject number.
    present, missing : int
        Files that are here, and files that should be but are not.
    size : int
        Bytes of the files that are here.
    recorded : int
        Files here whose SHA-256 is in the lock file, at the same size.
    resized : tuple of str
        Files here whose size is no longer that of the lock file.
    """

    subject: int
    present: int
    missing: int
    size: int
    recorded: int = 0
    resized: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """``"complete"``, ``"partial"`` or ``"absent"``."""
        if not self.present:
            return "absent"
        return "partial" if self.missing else "complete"


@dataclass(frozen=True)
class Inventory:
    """What of a data set lies on this machine.

    Parameters
    ----------
    dataset : str
        Name of the manifest.
    simulated : bool
        Whether the data set is made when asked for, and so has no files.
    folder : str or None
        Where files are looked for; None if the data set has none, or only MOABB knows.
    subjects : tuple of SubjectInventory
        All subjects of the manifest.
    lock : str or None
        Lock file with hashes, if there is one.
    problem : str
        Why nothing can be looked for; empty otherwise.
    """

    dataset: str
    simulated: bool
    folder: str | None
    subjects: tuple[SubjectInventory, ...]
    lock: str | None = None
    problem: str = ""

    @property
    def size(self) -> int:
        """Bytes on this machine; a file that holds several subjects counts for each of them."""
        return sum(row.size for row in self.subjects)

    @property
    def complete(self) -> list[int]:
        """Subjects that can be read without a download."""
        if self.simulated:
            return [row.subject for row in self.subjects]
        return [row.subject for row in self.subjects if row.state == "complete"]

    @property
    def here(self) -> bool:
        """Whether anything can be read."""
        return self.simulated or any(row.present for row in self.subjects)


def inventory(manifest: Manifest) -> Inventory:
    """Look for the files of a data set.

    Parameters
    ----------
    manifest : Manifest
        Data set.

    Returns
    -------
    Inventory
        A data folder that does not exist is its `problem`, not an exception.
    """
    name = manifest.name
    simulated = manifest.own is None and manifest.files is None and not manifest.is_moabb
    if simulated:
        made = tuple(SubjectInventory(s, 0, 0, 0) for s in manifest.subjects)
        return Inventory(name, True, None, made)
    try:
        prepare_paths(manifest)
        rows = [_subject(manifest, s) for s in manifest.subjects]
        root = storage_root(manifest) if manifest.files or manifest.own else None
    except MissingDataError as error:
        absent = tuple(SubjectInventory(s, 0, 0, 0) for s in manifest.subjects)
        return Inventory(name, False, None, absent, problem=str(error))
    lock = lock_path(name)
    known = read_lock(name)
    hashes = {f.path: f.size for files in known.values() for f in files}
    return Inventory(
        dataset=name,
        simulated=False,
        folder=None if root is None else str(root),
        subjects=tuple(_compare(s, here, missing, hashes) for s, here, missing in rows),
        lock=str(lock) if known else None,
    )


def _subject(manifest: Manifest, subject: int) -> tuple[int, dict[str, int], int]:
    """Subject, size of each file that is here, and how many are not."""
    present, missing = subject_files(manifest, subject)
    return subject, {str(path): _size(path) for path in present}, len(missing)


def _size(path: Path) -> int:
    return path.stat().st_size


def _compare(
    subject: int, here: dict[str, int], missing: int, hashes: dict[str, int]
) -> SubjectInventory:
    return SubjectInventory(
        subject=subject,
        present=len(here),
        missing=missing,
        size=sum(here.values()),
        recorded=sum(hashes.get(path) == size for path, size in here.items()),
        resized=tuple(p for p, size in here.items() if p in hashes and hashes[p] != size),
    )
