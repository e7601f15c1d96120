"""What a dataset should hold against what is on this machine, without cutting epochs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hypeeg.eeg import files as _files
from hypeeg.eeg.check_runs import describe_run, merge_by_session
from hypeeg.eeg.datasets import prepare_paths
from hypeeg.eeg.errors import CorruptDataError, one_line
from hypeeg.eeg.lock import FileHash as FileHash
from hypeeg.eeg.lock import changed, hash_file, lock_path, read_lock, write_lock
from hypeeg.eeg.manifest import DuplicateTrap, ExcludeTrap, Manifest, load_manifest
from hypeeg.eeg.reader import adapted, make_dataset, quiet_readers
from hypeeg.eeg.request import each_once

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckRow:
    """One run or session (as the manifest counts trials), or one subject that cannot be read.

    Parameters
    ----------
    subject : int
        Subject number.
    session, run : str or None
        None where the subject could not be read (run also where counts are per session).
    expected, found : dict of str to int
        Trials of each event.
    n_channels : int or None
        EEG channels found.
    sfreq : float or None
        Sampling rate found, Hz.
    problems : tuple of str
        Empty when all is as expected.
    """

    subject: int
    session: str | None = None
    run: str | None = None
    expected: dict[str, int] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    n_channels: int | None = None
    sfreq: float | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataCheck:
    """Result of :func:`check_dataset`.

    Parameters
    ----------
    dataset : str
        Name of the manifest.
    folder : str or None
        Where the recordings were looked for; None when they are simulated.
    rows : tuple of CheckRow
        One for each run or session.
    files : tuple of FileHash
        Files behind the rows.
    notes : tuple of str
        Traps of the manifest that concern these subjects.
    lock : str or None
        The lock file that the files' hashes were compared with, or written to; None without one.
    """

    dataset: str
    folder: str | None
    rows: tuple[CheckRow, ...]
    files: tuple[FileHash, ...]
    notes: tuple[str, ...]
    lock: str | None = None

    @property
    def problems(self) -> list[str]:
        """Every problem, with the subject, session and run it concerns."""
        return [
            f"{self.dataset} {_place(row)}: {problem}"
            for row in self.rows
            for problem in row.problems
        ]

    @property
    def ok(self) -> bool:
        """Whether nothing is missing, damaged or unexpected."""
        return not self.problems

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and cells of a table for people.

        Returns
        -------
        header : list of str
        cells : list of list of str
        """
        header = ["subject", "session", "run", "trials found / expected", "ch", "Hz", "status"]
        cells = [
            [
                str(row.subject),
                row.session or "–",
                row.run or "–",
                _counts(row),
                "–" if row.n_channels is None else str(row.n_channels),
                "–" if row.sfreq is None else f"{row.sfreq:g}",
                "; ".join(row.problems) or "ok",
            ]
            for row in self.rows
        ]
        return header, cells

    def to_text(self) -> str:
        """The table, the notes and a closing line, as plain text."""
        header, cells = self.table()
        widths = [max(len(line[k]) for line in [header, *cells]) for k in range(len(header))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
            for line in [header, *cells]
        ]
        place = f" in {self.folder}" if self.folder else "" if self.files else " (simulated)"
        title = self.dataset + place
        n = len(self.problems)
        status = f"{n} problem{'' if n == 1 else 's'}" if n else "as expected"
        size = sum(file.size for file in self.files)
        closing = f"{status}; {len(self.files)} files, {size / 1e6:.1f} MB"
        closing += f"; hashes in {self.lock}" if self.lock else ""
        return "\n".join([title, *lines, *(f"note: {note}" for note in self.notes), closing])

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON or YAML."""
        return {**asdict(self), "ok": self.ok}


def check_dataset(
    manifest: Manifest | str | Path,
    subjects: Sequence[int] | None = None,
    *,
    hash_files: bool = True,
    dataset_params: dict[str, Any] | None = None,
    lock: Path | None = None,
    update_lock: bool = False,
    accept_changes: bool = False,
) -> DataCheck:
    """Compare recordings with their manifest; reports problems, never downloads.

    Parameters
    ----------
    manifest : Manifest, str or Path
        A manifest, its name, or a YAML file.
    subjects : sequence of int or None
        Subject numbers; None takes all of the manifest.
    hash_files : bool
        Hash the files, and compare with the hashes that the manifest knows.
    dataset_params : dict or None
        Keyword arguments for the MOABB class, over those of the manifest.
    lock : Path or None
        Lock file with the hashes of earlier reads; None takes the dataset's own
        (:func:`hypeeg.eeg.lock.lock_path`). A file that has changed since is a problem.
    update_lock : bool
        Add files that it does not know yet.
    accept_changes : bool
        Take changed files for the right ones and record them.

    Returns
    -------
    DataCheck
        A missing or unreadable subject is a row with a problem, not an exception.

    Raises
    ------
    DataError
        If a subject is not in the manifest.
    MissingDataError
        If ``HYPEEG_DATA`` names no folder.
    """
    manifest = manifest if isinstance(manifest, Manifest) else load_manifest(manifest)
    prepare_paths(manifest)
    dataset = make_dataset(manifest, **(dataset_params or {}))
    manifest = adapted(manifest, dataset)
    chosen = list(manifest.subjects)
    if subjects is not None:
        chosen = each_once(manifest.name, "subjects", list(subjects), manifest.subjects)
    rows: list[CheckRow] = []
    hashes: list[FileHash] = []
    known = read_lock(manifest.name, lock)
    for subject in chosen:
        present, missing = _files.subject_files(manifest, subject)
        unfetched = manifest.is_moabb and not present and not missing
        problems = [f"not fetched ('hypeeg data fetch {manifest.name}')"] if unfetched else []
        problems += _missing(present, missing)
        here: list[FileHash] = []
        for path in present:
            problems += _check_file(manifest, path, here, hash_files)
        if hash_files:
            problems += _compare_lock(known, subject, here, accept_changes)
        hashes += [file for file in here if file not in hashes]
        # Reading a subject whose files are missing would make MOABB download them.
        skip = missing or unfetched
        found = [] if skip else _check_subject(manifest, dataset, subject)
        if problems:
            found.insert(0, CheckRow(subject, problems=tuple(problems)))
        rows += found
    folder = str(_files.storage_root(manifest)) if manifest.files or manifest.own else None
    notes = tuple(_notes(manifest, set(chosen)))
    used = str(lock or lock_path(manifest.name)) if known and hashes else None
    if (update_lock or accept_changes) and hash_files and hashes:
        written = write_lock(manifest.name, known, lock)
        used = str(written) if written else used
    return DataCheck(manifest.name, folder, tuple(rows), tuple(hashes), notes, used)


def _compare_lock(
    known: dict[int, list[FileHash]], subject: int, here: list[FileHash], accept: bool
) -> list[str]:
    """Problems of files that have changed; `known` gains those that are new or accepted."""
    problems = []
    entries = {file.path: file for file in known.get(subject, [])}
    for now in here:
        before = changed(known, subject, now)
        if before is not None and not accept:
            problems.append(
                f"{now.path}: changed since it was recorded ({before.size} bytes, "
                f"{before.sha256[:12]}…; now {now.size} bytes, {now.sha256[:12]}…); copy it again, "
                "or accept it (--accept-changes)"
            )
        else:
            entries[now.path] = now
    if entries:
        known[subject] = list(entries.values())
    return problems


def _missing(present: list[Path], missing: list[Path]) -> list[str]:
    if not missing:
        return []
    return [f"{len(missing)} of {len(present) + len(missing)} files missing, first {missing[0]}"]


def _check_file(
    manifest: Manifest, path: Path, hashes: list[FileHash], hash_files: bool
) -> list[str]:
    problems = []
    try:
        _files.check_whole(path)
    except CorruptDataError as error:
        problems.append(str(error))
    now = hash_file(path) if hash_files else FileHash(str(path), path.stat().st_size, "")
    hashes.append(now)
    known = manifest.files.sha256.get(path.name) if manifest.files else None
    if now.sha256 and known and now.sha256 != known:
        problems.append(f"{path}: SHA-256 differs from the published one; copy it again")
    return problems


def _check_subject(manifest: Manifest, dataset: Any, subject: int) -> list[CheckRow]:
    if not hasattr(dataset, "get_data"):
        return _check_arrays(manifest, dataset, subject)
    try:
        with quiet_readers():
            recordings = dataset.get_data([subject])[subject]
            runs = [
                describe_run(dataset, session, run, raw)
                for session, content in recordings.items()
                for run, raw in content.items()
            ]
    # A check must survive whatever a damaged file makes a reader raise.
    except Exception as error:
        logger.debug("reading %s subject %s failed", manifest.name, subject, exc_info=True)
        return [
            CheckRow(subject, problems=(f"unreadable: {type(error).__name__}: {one_line(error)}",))
        ]
    per_session = manifest.trials is not None and manifest.trials.per == "session"
    units = merge_by_session(runs) if per_session else runs
    rows = [_compare(manifest, subject, unit) for unit in units]
    absent = [session for session in manifest.sessions if session not in recordings]
    return rows + [CheckRow(subject, s, problems=("session is absent",)) for s in absent]


def _check_arrays(manifest: Manifest, dataset: Any, subject: int) -> list[CheckRow]:
    content = dataset.content
    mine = content["subject"] == subject
    rows = []
    for session in dict.fromkeys(content["session"][mine].tolist()):
        here = mine & (content["session"] == session)
        X, y = content["X"][here], content["y"][here]
        problems = [] if np.isfinite(X).all() else ["NaN or infinite values"]
        rows.append(
            CheckRow(
                subject=subject,
                session=session,
                found={event: int((y == event).sum()) for event in manifest.events},
                n_channels=X.shape[1],
                sfreq=content["sfreq"],
                problems=tuple(problems),
            )
        )
    return rows or [CheckRow(subject, problems=("no trials",))]


def _compare(manifest: Manifest, subject: int, unit: dict[str, Any]) -> CheckRow:
    expected: dict[str, int] = {}
    tolerance = 0
    if manifest.trials is not None:
        expected, tolerance = manifest.trials.expected(subject, unit["session"], unit["run"])
    problems = [
        f"{event}: {unit['counts'].get(event, 0)} trials, expected {count} (±{tolerance})"
        for event, count in expected.items()
        if abs(unit["counts"].get(event, 0) - count) > tolerance
    ]
    if manifest.sessions and unit["session"] not in manifest.sessions:
        problems.append(f"session {unit['session']!r} is not in the manifest")
    wanted = manifest.channels
    for names in unit["names"]:
        if len(names) != wanted.count or (wanted.names and set(names) != set(wanted.names)):
            odd = sorted(set(names) ^ set(wanted.names or names))
            problems.append(f"{len(names)} channels, expected {wanted.count}; differing: {odd}")
    problems += [
        f"{sfreq:g} Hz, expected {manifest.sfreq:g} Hz"
        for sfreq in unit["sfreq"]
        if sfreq != manifest.sfreq
    ]
    if unit["broken"]:
        problems.append(f"NaN or infinite values in channels {sorted(set(unit['broken']))}")
    if unit["flat"]:
        problems.append(f"flat channels {sorted(set(unit['flat']))}")
    return CheckRow(
        subject=subject,
        session=unit["session"],
        run=unit["run"],
        expected=expected,
        found=unit["counts"],
        n_channels=len(unit["names"][0]),
        sfreq=unit["sfreq"][0],
        problems=tuple(dict.fromkeys(problems)),
    )


def _notes(manifest: Manifest, chosen: set[int]) -> list[str]:
    notes = []
    for trap in manifest.traps:
        if isinstance(trap, DuplicateTrap):
            if trap.recording.subject in chosen:
                notes.append(f"{trap.recording} is a copy of {trap.original}. {trap.note}".strip())
        elif isinstance(trap, ExcludeTrap):
            if chosen & set(trap.subjects):
                notes.append(f"subjects {trap.subjects} are left out by default: {trap.note}")
        else:
            notes.append(f"{trap.about}: {trap.note}")
    return notes


def _place(row: CheckRow) -> str:
    parts = [f"subject {row.subject}"]
    parts += [f"session {row.session}"] if row.session is not None else []
    parts += [f"run {row.run}"] if row.run is not None else []
    return " ".join(parts)


def _counts(row: CheckRow) -> str:
    if not row.found and not row.expected:
        return "–"
    names = list(dict.fromkeys([*row.expected, *row.found]))
    return " ".join(f"{n} {row.found.get(n, 0)}/{row.expected.get(n, '?')}" for n in names)
