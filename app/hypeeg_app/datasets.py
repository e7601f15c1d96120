"""Data sets as the Data page lists them: manifests, what is here, filters, the table."""

from __future__ import annotations

import re

import pandas as pd
import streamlit as st

from hypeeg.eeg.errors import DataError
from hypeeg.eeg.inventory import Inventory, inventory
from hypeeg.eeg.manifest import Manifest, list_manifests, load_manifest, manifests_dir
from hypeeg.eeg.manifest_parts import UNKNOWN, DuplicateTrap, ExcludeTrap, Trap

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
        return f"**Copy:** {trap.recording} is a copy of {trap.original}; {trap.note}".rstrip("; ")
    if isinstance(trap, ExcludeTrap):
        numbers = ", ".join(map(str, trap.subjects))
        return f"**Left out by default:** subjects {numbers}. {trap.note}"
    return f"**{trap.about[:1].upper()}{trap.about[1:]}:** {trap.note}"


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
