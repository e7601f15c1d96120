"""What a run was computed from, as hashes: ``data.json`` of a run folder.

A run that goes on later must do so with the very same trials and folds, or its scores would come
from two different experiments.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hypeeg.experiments.estimators import Trials
from hypeeg.experiments.spec import RunSpec, is_manifest_path
from hypeeg.experiments.tasks import Task

_BLOCK = 1 << 26

_MEANING = {
    "X": "the trials' samples",
    "y": "the trials' classes",
    "metadata": "the trials' subjects, sessions and runs",
    "folds": "the division into training and test trials",
}


def describe_data(trials: Trials, tasks: Sequence[Task], spec: RunSpec) -> dict[str, Any]:
    """Describe the trials and folds of a run.

    Parameters
    ----------
    trials : Trials
        What was loaded.
    tasks : sequence of Task
        What is planned on it.
    spec : RunSpec
        The run.

    Returns
    -------
    dict
        JSON-ready: ``dataset``, ``shape`` and ``dtype`` of X, ``sfreq`` (Hz) and ``ch_names``,
        ``classes`` with their numbers of
        trials, ``sha256`` of X, y, metadata and the folds (train, test and target trials of each
        task), and ``files``, size and SHA-256 of the recordings by subject, where
        ``hypeeg data fetch`` or ``hypeeg data check`` has recorded them.
    """
    names, counts = np.unique(np.asarray(trials.y, dtype=str), return_counts=True)
    return {
        "dataset": spec.dataset.name,
        "shape": [int(n) for n in trials.X.shape],
        "dtype": str(trials.X.dtype),
        "sfreq": float(trials.sfreq),
        "ch_names": [str(name) for name in trials.ch_names],
        "classes": dict(zip(names.tolist(), counts.tolist(), strict=True)),
        "sha256": {
            "X": hash_array(trials.X),
            "y": _hash_texts(np.asarray(trials.y, dtype=str).tolist()),
            "metadata": _hash_metadata(trials.metadata),
            "folds": _hash_folds(tasks),
        },
        "files": _files(spec),
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say in what two descriptions differ that a score depends on.

    Parameters
    ----------
    before, now : mapping
        See :func:`describe_data`.

    Returns
    -------
    list of str
        Empty if the same scores must come of both.
    """
    found = []
    for name in ("shape", "dtype"):
        if before.get(name) != now[name]:
            found.append(f"{name} of X was {before.get(name)} and is {now[name]}")
    old = before.get("sha256")
    hashes: Mapping[str, Any] = old if isinstance(old, Mapping) else {}
    found += [
        f"{meaning} differ{'s' if name == 'folds' else ''}"
        for name, meaning in _MEANING.items()
        if hashes.get(name) != now["sha256"][name]
    ]
    return found


def hash_array(array: np.ndarray) -> str:
    """SHA-256 of the numbers of an array, in the order of its indices.

    Parameters
    ----------
    array : ndarray
        May be mapped from a file; it is read in blocks.

    Returns
    -------
    str
        64 hexadecimal digits; independent of the layout in memory, not of shape and dtype.
    """
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    rows = max(1, _BLOCK // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        digest.update(np.ascontiguousarray(array[start : start + rows]).data)
    return digest.hexdigest()


def _hash_texts(texts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(texts)).encode("utf-8")).hexdigest()


def _hash_metadata(metadata: pd.DataFrame) -> str:
    columns = [name for name in ("subject", "session", "run") if name in metadata]
    return _hash_texts([json.dumps([c, *metadata[c].astype(str).tolist()]) for c in columns])


def _hash_folds(tasks: Sequence[Task]) -> str:
    digest = hashlib.sha256()
    # Pipelines share their folds: each division is hashed once, each task counts.
    known: dict[int, bytes] = {}
    for task in tasks:
        fold = task.fold
        if id(fold) not in known:
            own = hashlib.sha256()
            for indices in (fold.train, fold.test, fold.target):
                trials = np.asarray([] if indices is None else indices, dtype="<i8")
                own.update(f"{'none' if indices is None else len(trials)};".encode())
                own.update(trials.tobytes())
            known[id(fold)] = own.digest()
        digest.update(json.dumps([task.index, task.pipeline, fold.seed]).encode())
        digest.update(known[id(fold)])
    return digest.hexdigest()


def _files(spec: RunSpec) -> dict[str, list[dict[str, Any]]]:
    """Return the recorded hashes of the recordings, without the folders they lie in."""
    if is_manifest_path(spec.dataset.name):
        from hypeeg.eeg.manifest import load_manifest

        name = load_manifest(spec.dataset.name).name
    else:
        name = spec.dataset.name
    from hypeeg.eeg.lock import read_lock

    wanted = set(spec.dataset.subjects or [])
    return {
        str(subject): [
            {"name": Path(file.path).name, "size": file.size, "sha256": file.sha256}
            for file in files
        ]
        for subject, files in sorted(read_lock(name).items())
        if not wanted or subject in wanted
    }
