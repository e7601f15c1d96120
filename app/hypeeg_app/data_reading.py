"""What other processes read for the Data page, on demand: recordings, and MNE's templates.

MNE and MOABB, and what they load, stay out of the process of the app.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import streamlit as st

from hypeeg.eeg.positions import Template
from hypeeg.eeg.preview import Preview, load_preview

READ_SECONDS = 180
"""A reader that takes longer is ended."""


class ReadError(RuntimeError):
    """Something could not be read; the message says why."""


@st.cache_data(show_spinner=False, max_entries=6)
def read_preview(
    name: str, subject: int, session: str | None, run: str | None, start: float, stamp: Any
) -> Preview:
    """Return a look into one recording; `stamp` says which state of the files is meant.

    Raises
    ------
    ReadError
        If it cannot be read.
    """
    options = ["--start", repr(float(start))]
    for option, value in (("--session", session), ("--run", run)):
        # One word, so that a name that begins with a dash is no option.
        options += [] if value is None else [f"{option}={value}"]
    with tempfile.TemporaryDirectory(prefix="hypeeg-preview-") as folder:
        out = Path(folder) / "preview.npz"
        _read("recording", name, [subject], out, options)
        return load_preview(out)


@st.cache_data(show_spinner=False, max_entries=20)
def count_trials(name: str, subjects: tuple[int, ...], stamp: Any) -> dict[str, Any]:
    """Return the trials of subjects as `hypeeg.eeg.check.DataCheck.to_dict` tells them.

    Raises
    ------
    ReadError
        If the reader fails; what is wrong with a recording is part of the answer instead.
    """
    with tempfile.TemporaryDirectory(prefix="hypeeg-preview-") as folder:
        out = Path(folder) / "counts.json"
        _read("counts", name, list(subjects), out, [])
        content: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return content


@st.cache_data(show_spinner="Reading where sensors lie …", max_entries=20)
def read_templates(montages: tuple[str, ...]) -> dict[str, Template | None]:
    """Return the positions of each montage by name; None for one that MNE does not know.

    Raises
    ------
    ReadError
        If MNE cannot be asked.
    """
    # The dashes keep a name that begins with one from being an option.
    said = _ask("hypeeg.eeg.positions", ["--", *montages], "the positions of sensors")
    found: dict[str, Template | None] = json.loads(said)
    return found


def _read(what: str, name: str, subjects: list[int], out: Path, options: list[str]) -> None:
    """Let the reader of recordings write a file."""
    arguments = [what, name, "--out", str(out), "--subjects", *map(str, subjects), *options]
    more = f"; 'hypeeg data check {name}' has no such limit"
    _ask("hypeeg.eeg.preview", arguments, name, more)


def _ask(module: str, arguments: list[str], what: str, more: str = "") -> str:
    """Run a module as a process; return what it writes."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            capture_output=True,
            text=True,
            timeout=READ_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ReadError(
            f"reading {what} took longer than {READ_SECONDS} s and was ended{more}"
        ) from error
    if done.returncode:
        _, found, reason = done.stderr.rpartition("\nerror: ")
        lines = done.stderr.strip().splitlines() or [f"the reader ended with {done.returncode}"]
        raise ReadError(reason.strip() if found else lines[-1])
    return done.stdout
