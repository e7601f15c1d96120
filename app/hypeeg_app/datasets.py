"""Data sets as the Data page shows them; recordings are read by another process, on demand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from hypeeg.eeg.errors import DataError
from hypeeg.eeg.inventory import Inventory, inventory
from hypeeg.eeg.manifest import Manifest, list_manifests, load_manifest, manifests_dir
from hypeeg.eeg.manifest_parts import UNKNOWN, DuplicateTrap, ExcludeTrap, Trap
from hypeeg.eeg.positions import SensorPositions, sensor_positions
from hypeeg.eeg.preview import Preview, load_preview

READ_SECONDS = 180
"""A reader that takes longer is ended."""

PARADIGMS = {
    "left_right_imagery": "left/right imagery",
    "motor_imagery": "motor imagery",
    "p300": "P300 / ERP",
    "ssvep": "SSVEP",
    "cvep": "c-VEP",
    "resting_state": "resting state",
}
LICENCES = ("public domain", "attribution", "share alike", "no derivatives", "non-commercial")
OTHER_LICENCE, NO_LICENCE = "other", "unknown"


class ReadError(RuntimeError):
    """A recording could not be read; the message says why."""


def all_manifests() -> tuple[dict[str, Manifest], list[str]]:
    """Return every data set with a manifest by name, and what is wrong with broken manifests."""
    folder = manifests_dir()
    files = [*folder.glob("*.yaml"), *folder.glob("moabb/*.yaml")]
    return _manifests(tuple(sorted((str(f), f.stat().st_mtime_ns) for f in files)))


@st.cache_resource(show_spinner="Reading the manifests …", max_entries=2)
def _manifests(stamps: tuple[tuple[str, int], ...]) -> tuple[dict[str, Manifest], list[str]]:
    found: dict[str, Manifest] = {}
    problems: list[str] = []
    try:
        names = list_manifests()
    except DataError as error:
        return found, [str(error)]
    for name in names:
        try:
            found[name] = load_manifest(name)
        except DataError as error:
            problems.append(str(error))
    return found, problems


@st.cache_data(show_spinner=False, ttl=30, max_entries=4)
def all_inventories(names: tuple[str, ...]) -> dict[str, Inventory]:
    """Return what of each data set lies on this machine, at most half a minute old."""
    manifests, _ = all_manifests()
    return {name: inventory(manifests[name]) for name in names}


def licence_kind(text: str) -> str:
    """Return what a licence asks for, in one of few words that a filter offers."""
    words = re.sub(r"[^A-Z0-9]+", " ", text.upper())
    if text.lower() in (UNKNOWN, "", "none"):
        return NO_LICENCE
    if re.search(r"\bNC\b|NON COMMERCIAL", words):
        return "non-commercial"
    if re.search(r"\bND\b", words):
        return "no derivatives"
    if re.search(r"\bSA\b|\bGPL\b", words):
        return "share alike"
    if re.search(r"\bCC ?0\b|\bCC0\b|PUBLIC DOMAIN|\bPDDL\b", words):
        return "public domain"
    if re.search(r"\bBY\b|\bBSD\b|\bMIT\b|\bAPACHE\b", words):
        return "attribution"
    return OTHER_LICENCE


def human_size(n_bytes: int) -> str:
    """Return a size in the largest fitting unit."""
    value = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"


def trap_text(trap: Trap) -> str:
    """Return a trap of a manifest as a sentence."""
    if isinstance(trap, DuplicateTrap):
        return f"**Copy.** {trap.recording} is a copy of {trap.original}. {trap.note}".strip()
    if isinstance(trap, ExcludeTrap):
        numbers = ", ".join(map(str, trap.subjects))
        return f"**Left out by default:** subjects {numbers}. {trap.note}"
    return f"**{trap.about[:1].upper()}{trap.about[1:]}.** {trap.note}"


def table_of(manifests: dict[str, Manifest], inventories: dict[str, Inventory]) -> pd.DataFrame:
    """Return one row a data set."""
    rows = []
    for name, m in manifests.items():
        there = inventories[name]
        state = "simulated" if there.simulated else "✓" if there.complete else None
        rows.append(
            {
                "Data set": name,
                "Here": state or ("partly" if there.here else None),
                "Paradigm": PARADIGMS.get(m.paradigm, m.paradigm),
                "Classes": len(m.default_events),
                "Subjects": len(m.subjects),
                "Sessions": m.n_sessions,
                "Channels": m.channels.count,
                "Hz": m.sfreq,
                "Licence": m.licence,
                "Warnings": len(m.traps) or None,
            }
        )
    return pd.DataFrame(rows)


def matches(manifest: Manifest, words: str) -> bool:
    """Tell whether each word occurs in what a manifest says of itself."""
    text = " ".join(
        (
            manifest.name,
            manifest.title,
            PARADIGMS.get(manifest.paradigm, manifest.paradigm),
            *manifest.events,
            manifest.licence,
            manifest.citation.text,
        )
    ).lower()
    return all(word in text for word in words.lower().split())


def template_positions(manifest: Manifest) -> tuple[list[str], SensorPositions] | None:
    """Return the sensors a manifest names and where they lie; None if it names none."""
    names = manifest.channels.names or manifest.channels.listed
    if not names:
        return None
    return names, _positions(tuple(names), manifest.channels.montage)


@st.cache_data(show_spinner=False, max_entries=30)
def _positions(names: tuple[str, ...], montage: str | None) -> SensorPositions:
    return sensor_positions(names, montage)


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


def _read(what: str, name: str, subjects: list[int], out: Path, options: list[str]) -> None:
    """Run the reader; MOABB and what it loads stay out of this process."""
    command = [sys.executable, "-m", "hypeeg.eeg.preview", what, name, "--out", str(out)]
    command += ["--subjects", *map(str, subjects), *options]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=READ_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ReadError(
            f"reading {name} took longer than {READ_SECONDS} s and was ended; "
            f"'hypeeg data check {name}' has no such limit"
        ) from error
    if done.returncode:
        _, found, reason = done.stderr.rpartition("\nerror: ")
        lines = done.stderr.strip().splitlines() or [f"the reader ended with {done.returncode}"]
        raise ReadError(reason.strip() if found else lines[-1])
