"""Processes of runs: started, still there, whose they are: what to believe of a ``status.json``.

A run that says ``running`` is believed only if its process number, the start time of that process
and the name of the machine all match: numbers are used again after a crash or a restart.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

Holder = Literal["alive", "gone", "elsewhere"]

GOING_ON = ("planned", "running")
"""States that are believed only while the process of the run is there."""

HYPEEG = (sys.executable, "-m", "hypeeg.cli")
"""The command that this process runs with, which need not be the ``hypeeg`` of the path."""

# The clock's idea of the boot time, and with it of start times, moves by a second or so.
_TOLERANCE = 3.0


def start_detached(arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start ``hypeeg`` as a process that outlives this one.

    Parameters
    ----------
    arguments : sequence of str
        Arguments of ``hypeeg``.
    log : Path
        File that gets what it prints; written anew, and never through a link.

    Raises
    ------
    OSError
        If the file cannot be written or no process can be started.
    """
    # A link here would empty the file that it leads to; run folders come from other people too.
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(log, flags, 0o666), "wb") as stream:
        process = subprocess.Popen(
            [*HYPEEG, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            # Not in the terminal's process group: Ctrl+C at the dashboard is not meant for runs.
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    # Somebody has to notice its end as long as this process lives, or it stays as a zombie.
    threading.Thread(target=process.wait, daemon=True).start()
    return process


def this_host() -> str:
    """Return the name of this machine as ``status.json`` holds it."""
    return platform.node()


def process_start_time(pid: int) -> float | None:
    """Return when a process started, in seconds since 1970.

    A process number alone does not tell a run from a later process that got the same number.

    Parameters
    ----------
    pid : int
        Process number.

    Returns
    -------
    float or None
        None if there is no such process, if it has ended and only waits to be noticed by its
        parent, or if the system does not tell (no ``/proc`` and no psutil).
    """
    try:
        # Fields after the command name, which stands in parentheses and may hold spaces.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = next(
            float(line.split()[1])
            for line in Path("/proc/stat").read_text().splitlines()
            if line.startswith("btime ")
        )
        if fields[0] in ("Z", "X"):
            return None
        return boot + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, StopIteration, IndexError, ValueError):
        pass
    try:
        import psutil  # type: ignore[import-untyped]
    except ImportError:
        return None
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def holder_of(status: Mapping[str, Any]) -> Holder:
    """Say what became of the process that wrote a status.

    Parameters
    ----------
    status : mapping
        Content of ``status.json``.

    Returns
    -------
    {"alive", "gone", "elsewhere"}
        ``"alive"`` only if number, start time and machine match; ``"elsewhere"`` if it ran on
        another machine, whose processes cannot be seen from here.
    """
    host = status.get("host")
    # Early run folders do not name their machine.
    if host is not None and host != this_host():
        return "elsewhere"
    pid, recorded = status.get("pid"), status.get("process_start_time")
    if type(pid) is not int or pid <= 0 or type(recorded) not in (int, float):
        return "gone"
    started = process_start_time(pid)
    same = started is not None and abs(started - float(recorded)) < _TOLERANCE  # type: ignore[arg-type]
    return "alive" if same else "gone"


def judged_state(status: Mapping[str, Any]) -> str:
    """Return the state of a run: as it says, or ``"interrupted"`` if it only seems to go on.

    Parameters
    ----------
    status : mapping
        Content of ``status.json``.

    Returns
    -------
    str
        ``planned``, ``running``, ``done``, ``failed``, ``cancelled`` or ``interrupted``.
    """
    state = str(status.get("state"))
    if state in GOING_ON and holder_of(status) != "alive":
        return "interrupted"
    return state


def terminate(status: Mapping[str, Any]) -> bool:
    """Ask the process of a run to end (SIGTERM), if it is proven to be the run's.

    Parameters
    ----------
    status : mapping
        Content of ``status.json``.

    Returns
    -------
    bool
        Whether the signal was sent; never to a process that only has the same number.
    """
    if holder_of(status) != "alive":
        return False
    pid = int(status["pid"])
    if not hasattr(os, "pidfd_open"):
        os.kill(pid, signal.SIGTERM)
        return True
    try:
        # The handle stays with this process even if its number is given away in the meantime.
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if holder_of(status) != "alive":
            return False
        signal.pidfd_send_signal(handle, signal.SIGTERM)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True
