"""What can be done with run folders: end, go on, delete.  Nothing outside the runs folder.

A run goes on in a process of its own that outlives the app; what it says before it has the run in
hand goes to ``resume.log`` beside the record.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hypeeg.experiments.process import GOING_ON, start_detached, terminate
from hypeeg.experiments.run_index import RunInfo, read_info, remove_run
from hypeeg.experiments.store import RecordError
from hypeeg.experiments.sweep_index import is_sweep, remove_sweep

RESUME_LOG = "resume.log"
LOG_BYTES = 8_000


class ActionError(ValueError):
    """What was asked for cannot be done; the message says why and what to do."""


@dataclass(frozen=True)
class Attempt:
    """A process that was asked to go on with a run.

    Attributes
    ----------
    alive : bool
        Whether it is still there.
    words : str
        Last lines of what it said.
    """

    alive: bool
    words: str


# Processes this app started, by folder.  Kept so that one that fails at once is noticed.
_STARTED: dict[Path, subprocess.Popen[bytes]] = {}
_ASKED: dict[Path, tuple[object, float]] = {}


def check_inside(path: Path, root: Path) -> None:
    """Refuse a folder that is not directly in the runs folder or in a sweep folder there.

    Raises
    ------
    ActionError
        If it is elsewhere, or a link.
    """
    parent, top = path.resolve().parent, root.resolve()
    here = parent == top or (parent.parent == top and is_sweep(parent))
    if path.is_symlink() or not here:
        raise ActionError(f"{path}: lies not in the runs folder {root}; nothing was done")


def cancel(path: Path, root: Path) -> None:
    """Ask the process of a run to end; what is recorded stays.

    Raises
    ------
    ActionError
        If the run is not going on, or is at another machine.
    """
    check_inside(path, root)
    info = read_info(path)
    if info.elsewhere is not None:
        raise ActionError(f"{info.name} is at the machine {info.elsewhere!r}; cancel it there")
    if info.state not in GOING_ON or not terminate(info.status):
        raise ActionError(f"{info.name} is not going on: it is {read_info(path).state}")
    _ASKED[path.resolve()] = (info.status.get("pid"), time.monotonic())


def asked_to_end(info: RunInfo) -> float | None:
    """Return the seconds since this app asked the process of a run to end, None if it did not."""
    pid, moment = _ASKED.get(info.path.resolve(), (None, 0.0))
    asked = info.state in GOING_ON and pid is not None and pid == info.status.get("pid")
    return time.monotonic() - moment if asked else None


def delete(paths: Iterable[Path], root: Path) -> tuple[list[str], list[str]]:
    """Remove run folders, and sweep folders with all their runs, for good.

    Returns
    -------
    (list of str, list of str)
        Names of those that were removed, and why others were not.
    """
    removed, refused = [], []
    for path in paths:
        try:
            check_inside(path, root)
            if is_sweep(path):
                remove_sweep(path, path.parent)
            else:
                remove_run(read_info(path), path.parent)
        except (ActionError, RecordError) as error:
            refused.append(str(error))
        except OSError as error:
            refused.append(f"{path}: cannot be removed ({error.strerror or error})")
        else:
            removed.append(path.name)
    return removed, refused


def resume_arguments(path: Path, failed: bool = False) -> list[str]:
    """Return the arguments of ``hypeeg`` that go on with a run or a sweep."""
    return ["resume", str(path), *(["--failed"] if failed else [])]


def resume(path: Path, root: Path, failed: bool = False) -> None:
    """Go on with a run or a sweep in a process of its own.

    Parameters
    ----------
    path : Path
        Run folder, or sweep folder.
    root : Path
        Folder of the runs.
    failed : bool
        Run the folds that failed once more.

    Raises
    ------
    ActionError
        If it is going on, or already being started, or is no run of this folder.
    """
    check_inside(path, root)
    if not is_sweep(path):
        info = read_info(path)
        if info.problem:
            raise ActionError(info.problem)
        if info.state in GOING_ON:
            raise ActionError(f"{info.name} is going on already")
        if info.elsewhere is not None:
            raise ActionError(
                f"{info.name} may be going on at the machine {info.elsewhere!r}; if it has ended "
                f"there: hypeeg resume {path} --force"
            )
    running = _STARTED.get(path.resolve())
    if running is not None and running.poll() is None:
        raise ActionError(f"{path.name} is being started already")
    try:
        process = start_detached(resume_arguments(path.resolve(), failed), path / RESUME_LOG)
    except OSError as error:
        raise ActionError(f"{path.name}: cannot be started ({error.strerror or error})") from error
    _STARTED[path.resolve()] = process


def attempt_of(path: Path, info: RunInfo | None = None) -> Attempt | None:
    """Return what became of the process that was asked to go on, once it has the run: None.

    Parameters
    ----------
    path : Path
        Run or sweep folder.
    info : RunInfo, optional
        What the run says of itself now.

    Returns
    -------
    Attempt or None
        None if this app started none, or the run itself tells what became of it.
    """
    process = _STARTED.get(path.resolve())
    if process is None:
        return None
    code = process.poll()
    if info is not None and info.status.get("pid") == process.pid:
        return None
    if code == 0:
        return None
    return Attempt(code is None, said(path))


def said(path: Path) -> str:
    """Return the last lines that a process said before it had the run in hand."""
    try:
        with (path / RESUME_LOG).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-15:])
