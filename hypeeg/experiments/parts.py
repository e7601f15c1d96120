"""The arrays of one task on disk: losses, curvatures and, if wanted, the test trials."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hypeeg.experiments.durable import disk_errors, sync_file, sync_folder
from hypeeg.experiments.splits import Fold


@dataclass
class KeptPart:
    """Stands where the file of a task would: its arrays stay in memory until they are recorded.

    Attributes
    ----------
    arrays : dict of ndarray or None
        What :func:`write_part` was given, None until then.
    """

    arrays: dict[str, np.ndarray] | None = None


def write_part(
    part: Path | KeptPart,
    *,
    history: Iterable[Mapping[str, Any]] | None = None,
    curvature_history: Iterable[float] | None = None,
    trials: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write the arrays of a task, in one step; :func:`sync_parts` waits until they are on disk.

    Parameters
    ----------
    part : Path or KeptPart
        The file; see :meth:`hypeeg.experiments.store.RunFolder.part`.
    history : iterable of mapping, optional
        One row an epoch; of each the plain numbers are kept.
    curvature_history : iterable of float, optional
        c before training and after each epoch.
    trials : mapping of str to ndarray, optional
        What :func:`trial_arrays` returns.

    Raises
    ------
    DiskFullError
        If there is no space.
    """
    arrays: dict[str, np.ndarray] = {
        "history": np.array(json.dumps(_numeric_rows(history))),
        "curvature_history": np.asarray(list(curvature_history or []), dtype=float),
        **(trials or {}),
    }
    if isinstance(part, KeptPart):
        part.arrays = arrays
    else:
        write_arrays(part, arrays)


def write_arrays(part: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write what a :class:`KeptPart` has kept; as :func:`write_part`."""
    # Put together in memory: a zip archive is many small writes.
    content = io.BytesIO()
    named: dict[str, Any] = dict(arrays)
    np.savez(content, **named)
    # Workers on several machines may write the same part: a number of theirs would not do.
    temporary = part.with_name(f".{part.name}.{uuid.uuid4().hex}.tmp")
    with disk_errors(part.parent.parent):
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content.getbuffer())
            temporary.replace(part)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def sync_parts(parts: Sequence[Path]) -> None:
    """Wait until the arrays of tasks, of those that have any, are on disk.

    Parameters
    ----------
    parts : sequence of Path
        As for :func:`write_part`, of one run.

    Raises
    ------
    DiskFullError
        If there is no space after all.
    """
    folders: set[Path] = set()
    for part in parts:
        with disk_errors(part.parent.parent):
            try:
                sync_file(part)
            except FileNotFoundError:
                continue
            folders.add(part.parent)
    for folder in folders:
        with disk_errors(folder.parent):
            sync_folder(folder)


def trial_arrays(
    fold: Fold,
    y_true: np.ndarray,
    y_pred: np.ndarray,
    classes: np.ndarray,
    *,
    sessions: np.ndarray | None = None,
    embedding: np.ndarray | None = None,
    curvature: float | None = None,
    proba: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return what a run keeps of the test trials of a task.

    Parameters
    ----------
    fold : Fold
        Whose ``test`` trials these are.
    y_true, y_pred : ndarray of str, shape (n,)
        True and predicted classes; where nothing is classified, the label twice.
    classes : ndarray of str, shape (n_classes,)
        Order of the columns of `proba`.
    sessions : ndarray of str, shape (n,), optional
        Session of each trial; by default the fold's, or ``"0"``.
    embedding : ndarray, shape (n, ...), optional
        Points, flattened to float32 (n, d): space parts of hyperboloid points if there is a
        `curvature`, else plain vectors.
    curvature : float, optional
        c of the embedding.
    proba : ndarray, shape (n, n_classes), optional
        Probabilities.

    Returns
    -------
    dict of ndarray
        As :func:`hypeeg.experiments.gather.read_embeddings` describes, of one task.
    """
    n = len(y_true)
    empty = np.empty((n, 0), dtype=np.float32)
    if sessions is None:
        sessions = np.full(n, "0" if fold.session is None else fold.session)
    arrays: dict[str, np.ndarray] = {
        "embedding": empty if embedding is None else embedding.astype(np.float32).reshape(n, -1),
        "curvature": np.full(n, np.nan if curvature is None else curvature, dtype=np.float32),
        "y_true": np.asarray(y_true, dtype=str),
        "y_pred": np.asarray(y_pred, dtype=str),
        "proba": empty if proba is None else proba.astype(np.float32),
        "classes": np.asarray(classes, dtype=str),
        "subject": np.full(n, str(fold.subject)),
        "session": np.asarray(sessions, dtype=str),
        "fold": np.full(n, fold.fold, dtype=np.int32),
        "seed": np.full(n, fold.seed, dtype=np.int64),
        "trial": np.asarray(fold.test, dtype=np.int64),
    }
    if fold.data_size is not None and fold.permutation is not None:
        arrays["data_size"] = np.full(n, fold.data_size, dtype=np.int64)
        arrays["permutation"] = np.full(n, fold.permutation, dtype=np.int64)
    return arrays


def _numeric_rows(history: Any) -> list[dict[str, float]]:
    """Keep the plain numbers of a training history."""
    rows = []
    for entry in history or []:
        rows.append(
            {
                str(key): float(value)
                for key, value in dict(entry).items()
                if isinstance(value, int | float | np.number) and not isinstance(value, bool)
            }
        )
    return rows
