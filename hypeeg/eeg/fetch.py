"""Downloading datasets: subject by subject, again after a failure, resumed where it stopped.

MOABB downloads; this module decides what is still missing, tries again when the network stumbles,
stops at once when there is none, checks what arrived, and records it in the dataset's lock file
(:mod:`hypeeg.eeg.lock`) after each subject, so that an interrupted fetch goes on from there.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hypeeg.eeg import files as _files
from hypeeg.eeg.errors import CorruptDataError, DataError, one_line
from hypeeg.eeg.lock import FileHash, changed, hash_file, lock_path, read_lock, write_lock
from hypeeg.eeg.manifest import Manifest, load_manifest
from hypeeg.eeg.request import each_once

logger = logging.getLogger(__name__)

# What MOABB, pooch and requests raise when a download fails (requests' errors are OSErrors).
_FAILURES = (OSError, ValueError, RuntimeError, EOFError)
# Words of errors that another try in a second will not change.
_OFFLINE = ("name or service not known", "name resolution", "network is unreachable", "getaddrinfo")


@dataclass(frozen=True)
class FetchRow:
    """One subject of a fetch.

    Parameters
    ----------
    subject : int
        Subject number.
    state : {"present", "fetched", "failed"}
        Whether it was here already.
    files : tuple of FileHash
        What is here now.
    problem : str
        Why it failed; else empty.
    """

    subject: int
    state: Literal["present", "fetched", "failed"]
    files: tuple[FileHash, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class FetchReport:
    """Result of :func:`fetch_dataset`.

    Parameters
    ----------
    dataset : str
        Name of the manifest.
    rows : tuple of FetchRow
        One a subject, up to the first that found no network.
    lock : str or None
        The lock file; None if nothing was recorded.
    """

    dataset: str
    rows: tuple[FetchRow, ...]
    lock: str | None

    @property
    def ok(self) -> bool:
        """Whether all subjects asked for are here."""
        return all(row.state != "failed" for row in self.rows)


class OfflineError(DataError):
    """There is no network, and recordings are missing."""


def fetch_dataset(
    manifest: Manifest | str | Path,
    subjects: Sequence[int] | None = None,
    *,
    tries: int = 3,
    wait: float = 2.0,
    tell: Callable[[str], None] | None = None,
) -> FetchReport:
    """Download what is missing of a dataset.

    Parameters
    ----------
    manifest : Manifest, str or Path
        A manifest, its name, or a YAML file.
    subjects : sequence of int or None
        Subject numbers; None takes all that the manifest does not exclude.
    tries : int
        How often a subject is tried.
    wait : float
        Seconds before the second try; doubled before each further one.
    tell : callable or None
        Called with one line for each subject.

    Returns
    -------
    FetchReport
        A subject that failed is a row with a problem, not an exception.

    Raises
    ------
    DataError
        If the dataset is not one that MOABB downloads, or a subject is not in the manifest.
    OfflineError
        If there is no network.
    """
    from hypeeg.eeg.datasets import prepare_paths
    from hypeeg.eeg.reader import make_dataset

    manifest = manifest if isinstance(manifest, Manifest) else load_manifest(manifest)
    if not manifest.is_moabb:
        kind = "one's own recordings" if manifest.own else "simulated"
        raise DataError(f"{manifest.name}: nothing to fetch ({kind})")
    chosen = manifest.default_subjects
    if subjects is not None:
        chosen = each_once(manifest.name, "subjects", list(subjects), manifest.subjects)
    prepare_paths(manifest)
    dataset = make_dataset(manifest)
    recorded = read_lock(manifest.name)
    rows: list[FetchRow] = []
    lock = None
    for subject in chosen:
        row = _present(manifest, subject, recorded)
        if row is None:
            # MOABB takes a file that is there for the right one, unless it is told otherwise.
            rejected = bool(_files.subject_files(manifest, subject)[0])
            row = _download(manifest, dataset, subject, tries, wait, rejected)
        rows.append(row)
        if row.state != "failed":
            recorded[subject] = list(row.files)
            lock = write_lock(manifest.name, recorded)
        if tell is not None:
            size = sum(file.size for file in row.files) / 1e6
            detail = row.problem or f"{len(row.files)} files, {size:.1f} MB"
            tell(f"{manifest.name} subject {subject}: {row.state} ({detail})")
    return FetchReport(manifest.name, tuple(rows), str(lock) if lock else None)


def flat_files(paths: Any) -> list[Path]:
    """All files that a MOABB ``data_path`` names: it may give folders, nested lists or one path.

    Parameters
    ----------
    paths : object
        What ``data_path`` returned.
    """
    if isinstance(paths, (str, Path)):
        path = Path(paths)
        if path.is_dir():
            return sorted(p for p in path.rglob("*") if p.is_file())
        return [path]
    if isinstance(paths, dict):
        paths = paths.values()
    found: list[Path] = []
    if isinstance(paths, Iterable):
        for item in paths:
            found += [p for p in flat_files(item) if p not in found]
    return found


def _present(
    manifest: Manifest, subject: int, recorded: dict[int, list[FileHash]]
) -> FetchRow | None:
    """The row of a subject that is here, whole and as recorded; else None."""
    present, missing = _files.subject_files(manifest, subject)
    if missing or not present:
        return None
    try:
        hashes = _checked(manifest, present)
    except CorruptDataError as error:
        logger.warning("%s: it is fetched again", error)
        return None
    for now in hashes:
        before = changed(recorded, subject, now)
        if before is not None:
            logger.warning("%s has changed since it was fetched: it is fetched again", now.path)
            return None
    return FetchRow(subject, "present", tuple(hashes))


def _checked(manifest: Manifest, paths: list[Path]) -> list[FileHash]:
    """Hashes of files that are whole and, where the manifest knows, the published ones."""
    hashes = []
    for path in paths:
        _files.check_whole(path)
        now = hash_file(path)
        known = manifest.files.sha256.get(path.name) if manifest.files else None
        if known is not None and now.sha256 != known:
            raise CorruptDataError(f"{path}: SHA-256 differs from the published one")
        hashes.append(now)
    return hashes


def _download(
    manifest: Manifest, dataset: Any, subject: int, tries: int, wait: float, force: bool
) -> FetchRow:
    problem = ""
    for attempt in range(max(tries, 1)):
        if attempt:
            time.sleep(wait * 2 ** (attempt - 1))
        try:
            paths = flat_files(dataset.data_path(subject, force_update=force))
            if not paths:
                raise DataError("MOABB named no file")
            absent = [path for path in paths if not path.is_file()]
            if absent:
                raise DataError(f"MOABB named {absent[0]}, which is not there")
            return FetchRow(subject, "fetched", tuple(_checked(manifest, paths)))
        except _FAILURES as error:
            problem = f"{type(error).__name__}: {one_line(error)}"
            logger.info("%s subject %s, try %d: %s", manifest.name, subject, attempt + 1, problem)
            # What arrived damaged would pass for present the next time.
            force = force or isinstance(error, CorruptDataError)
            if _no_network(error):
                where = lock_path(manifest.name).parent
                raise OfflineError(
                    f"{manifest.name} subject {subject}: there is no network ({problem}). Subjects "
                    f"fetched before are kept (see {where}); run the same command again when there "
                    "is one, or copy the recordings here and set HYPEEG_DATA (source: "
                    f"{manifest.citation.url or manifest.citation.text})"
                ) from error
    return FetchRow(subject, "failed", problem=f"{tries} tries; the last: {problem}")


def _no_network(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is that no host can be reached."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, socket.gaierror) or any(w in str(error).lower() for w in _OFFLINE):
            return True
        error = error.__cause__ or error.__context__
    return False
