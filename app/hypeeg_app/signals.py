"""Signals of a selection, and UMAP of embeddings: computed by other processes, on demand."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from hypeeg.experiments.trial_signals import TrialSignals, load_signals

SIGNALS_SECONDS = 300
UMAP_SECONDS = 300
UMAP_LEAST, UMAP_POINTS = 10, 20_000
"""Of fewer trials UMAP makes nothing; of more than the second, evenly chosen ones are shown."""

UMAP_WORKER = Path(__file__).with_name("umap_worker.py")


class ProcessError(RuntimeError):
    """A process gave no result; the message says why."""


@st.cache_data(show_spinner=False, max_entries=12)
def read_signals(
    run: str, chosen: tuple[int, ...], others: tuple[int, ...], labels: tuple[str, ...]
) -> TrialSignals:
    """Return the signals of trials of a run; see `hypeeg.experiments.trial_signals`.

    Raises
    ------
    ProcessError
        If they cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="hypeeg-signals-") as folder:
        request, out = Path(folder) / "request.npz", Path(folder) / "signals.npz"
        np.savez(
            request,
            chosen=np.array(chosen, dtype=np.int64),
            others=np.array(others, dtype=np.int64),
            labels=np.array(labels, dtype=str),
        )
        module = [sys.executable, "-m", "hypeeg.experiments.trial_signals"]
        # Resolved, a path cannot begin with a dash and be taken for an option.
        where = str(Path(run).resolve())
        _run([*module, where, "--request", str(request), "--out", str(out)], SIGNALS_SECONDS)
        return load_signals(out)


def umap_here() -> bool:
    """Whether umap-learn is installed."""
    return importlib.util.find_spec("umap") is not None


def umap_rows(n: int) -> np.ndarray:
    """Return the positions of the points that UMAP is given: all, or evenly chosen ones."""
    return np.arange(n) if n <= UMAP_POINTS else np.linspace(0, n - 1, UMAP_POINTS).astype(int)


@st.cache_data(show_spinner=False, max_entries=12)
def umap_points(key: Any, n_neighbors: int, _x: np.ndarray, _c: float | None) -> np.ndarray:
    """Return points of the plane whose neighbours are those in the space; `key` says which.

    Raises
    ------
    ProcessError
        If UMAP fails.
    """
    with tempfile.TemporaryDirectory(prefix="hypeeg-umap-") as folder:
        request, out = Path(folder) / "request.npz", Path(folder) / "points.npy"
        np.savez(request, x=_x, **({} if _c is None else {"c": _c}))
        # -P: the app's modules must not hide modules of the same names from numba and others.
        command = [sys.executable, "-P", str(UMAP_WORKER)]
        _run([*command, str(request), str(out), str(int(n_neighbors))], UMAP_SECONDS)
        points: np.ndarray = np.load(out, allow_pickle=False)
        return points


def _run(command: list[str], seconds: int) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise ProcessError(f"it took longer than {seconds} s and was ended") from error
    if done.returncode:
        _, found, reason = done.stderr.rpartition("\nerror: ")
        lines = done.stderr.strip().splitlines() or [f"the process ended with {done.returncode}"]
        raise ProcessError(reason.strip() if found else lines[-1])
