"""Start ``hypeeg run`` as a process of its own, which outlives the one that started it.

The screens have no background jobs: a run that they start is a process in a session of its own,
with its run file and what it prints in a folder beside the run folders.  A run that could not even
begin has no run folder; :attr:`Start.words` is then all that tells why.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hypeeg.experiments.base_spec import slug
from hypeeg.experiments.kinds import read_run_spec
from hypeeg.experiments.process import process_start_time, start_detached, this_host
from hypeeg.experiments.run_index import read_info
from hypeeg.experiments.store import RecordError, replace_file

STARTS = ".starts"
"""Folder of what was started, in the folder of runs; no list of runs shows it."""

KEPT = 50
_WORDS_BYTES = 4000
_TOLERANCE = 3.0


@dataclass(frozen=True)
class Start:
    """A run that was started.

    Attributes
    ----------
    name : str
        Name of the run file.
    folder : Path
        Holds the run file and ``log.txt``, what the process printed.
    out : Path
        Folder of run folders.
    pid : int
        Number of the process.
    began : float or None
        Its start time, which tells it from a later process of the same number.
    """

    name: str
    folder: Path
    out: Path
    pid: int
    began: float | None

    @property
    def is_alive(self) -> bool:
        """Whether the process is still there."""
        return self._is_same(process_start_time(self.pid))

    @property
    def words(self) -> str:
        """The end of what the process printed."""
        try:
            with (self.folder / "log.txt").open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _WORDS_BYTES))
                return file.read().decode("utf-8", errors="replace").strip()
        except OSError as error:
            return f"what it printed cannot be read: {error}"

    def find_run(self) -> Path | None:
        """Return the run folder that the process made, None as long as there is none.

        Returns
        -------
        Path or None
            Of a sweep: that of its newest point.
        """
        found = [path for path in self._candidates() if self._made(path)]
        return max(found, key=lambda path: path.stat().st_mtime, default=None)

    def _candidates(self) -> Iterator[Path]:
        for pattern in ("{}-*/status.json", "{}-sweep-*/*/status.json"):
            for status in self.out.glob(pattern.format(self.name)):
                yield status.parent

    def _made(self, path: Path) -> bool:
        status = read_info(path).status
        began = status.get("process_start_time")
        same = status.get("pid") == self.pid and status.get("host") in (None, this_host())
        return same and self._is_same(began if isinstance(began, int | float) else None)

    def _is_same(self, began: float | None) -> bool:
        return None not in (began, self.began) and abs(began - self.began) < _TOLERANCE  # type: ignore[operator]


def start_run(text: str, out: str | Path = "runs") -> Start:
    """Start a run that goes on when this process ends.

    Parameters
    ----------
    text : str
        Run file (YAML).
    out : str or Path
        Folder of run folders, made if it is missing.

    Returns
    -------
    Start

    Raises
    ------
    SpecError
        If the run file is wrong; nothing was started.
    RecordError
        If nothing can be written to `out`.
    """
    name = read_run_spec(text + "\n", source="run file").name
    parent = Path(out).expanduser().resolve()
    try:
        folder = _new_folder(parent / STARTS, slug(name))
        file = folder / f"{slug(name)}.yaml"
        replace_file(file, text.encode("utf-8"))
        process = start_detached(arguments(file, parent), folder / "log.txt")
    except OSError as error:
        raise RecordError(
            f"{parent}: cannot start a run there ({error}); choose another"
        ) from error
    _forget_old(folder.parent)
    return Start(name, folder, parent, process.pid, process_start_time(process.pid))


def arguments(file: str | Path, out: str | Path) -> list[str]:
    """Return the arguments of ``hypeeg`` that start a run.

    Parameters
    ----------
    file : str or Path
        Run file, or the name of one that comes with hypeeg.
    out : str or Path
        Folder of run folders.
    """
    return ["run", str(file), "--out", str(out)]


def shell_command(file: str | Path, out: str | Path) -> str:
    """Return the command line as a person may paste it into a shell."""
    return shlex.join(["hypeeg", *arguments(file, out)])


def _new_folder(parent: Path, name: str) -> Path:
    stem = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{name}"
    parent.mkdir(parents=True, exist_ok=True)
    if parent.is_symlink():
        # Old folders in it are removed, which must not happen elsewhere.
        raise OSError(f"{parent} is a link; remove it")
    number = 1
    while True:
        path = parent / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path


def _forget_old(parent: Path) -> None:
    """Keep the newest; what they printed is in the log of their run folder as well."""
    folders = sorted(path for path in parent.iterdir() if (path / "log.txt").is_file())
    for path in folders[:-KEPT]:
        shutil.rmtree(path, ignore_errors=True)
