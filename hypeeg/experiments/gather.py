"""Put the results of single tasks together: one scores table, one file of embeddings a pipeline."""

from __future__ import annotations

import json
import logging
import math
import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hypeeg.experiments.epoch_embeddings import together as epochs_together
from hypeeg.experiments.spec import slug
from hypeeg.experiments.store import (
    RunFolder,
    disk_errors,
    latest_records,
    replace_file,
    sync_folder,
)

logger = logging.getLogger(__name__)

SCORE_COLUMNS = (
    "dataset",
    "subject",
    "session",
    "fold",
    "seed",
    "pipeline",
    "score",
    "fit_time",
    "predict_time",
    "accuracy",
    "curvature",
    "n_train",
    "n_test",
    "time",
    "samples",
    "samples_test",
    "n_classes",
    "channels",
    "n_sessions",
)
"""Columns of ``scores.csv``; the last six are those of MOABB's result tables.

``time`` repeats ``fit_time`` (seconds).  As in MOABB, ``samples`` counts all trials of a session
within sessions, and the training trials on a learning curve and across sessions and subjects.
"""

OPTIONAL_COLUMNS = ("data_size", "permutation", "tuned")
"""Further columns of ``scores.csv``, where a run has a learning curve or tunes a pipeline.

``data_size`` counts training trials and ``permutation`` the divisions of a session, from 1, as in
MOABB; ``tuned`` holds the values chosen on the training trials of the fold, as JSON.
"""

_TRIAL_ARRAYS = (
    "embedding",
    "curvature",
    "y_true",
    "y_pred",
    "proba",
    "subject",
    "session",
    "fold",
    "seed",
    "trial",
)
_CURVE_ARRAYS = ("data_size", "permutation")


def scores_frame(
    records: Iterable[dict[str, Any]], dataset: str, kind: str, n_sessions: int
) -> pd.DataFrame:
    """Return the scores of finished tasks, one row a tested session.

    Parameters
    ----------
    records : iterable of dict
        Lines of ``folds.jsonl``; failed tasks add no row, of tasks that were run again the last
        record counts.
    dataset : str
        Name of the data set.
    kind : {"within_session", "cross_session", "cross_subject"}
        What was evaluated.
    n_sessions : int
        Sessions a subject has, for MOABB's column of that name.

    Returns
    -------
    DataFrame
        Columns `SCORE_COLUMNS`, those of `OPTIONAL_COLUMNS` that a record has, and further measures
        that it names, in the order of the tasks.
    """
    records = latest_records(records)
    extra = [name for name in OPTIONAL_COLUMNS if any(name in r for r in records)]
    tested = [row for r in records if r["status"] == "done" for row in r["scores"]]
    measured = list(dict.fromkeys(name for row in tested for name in row.get("measures", {})))
    rows = []
    for record in sorted(records, key=lambda r: int(r["task"])):
        if record["status"] != "done":
            continue
        n_train = record["n_train"]
        further = {name: record.get(name) for name in extra}
        if further.get("tuned") is not None:
            further["tuned"] = json.dumps(further["tuned"], sort_keys=True)
        # MOABB counts all trials of a session, but on a learning curve those trained on.
        whole = kind == "within_session" and "data_size" not in record
        for row in record["scores"]:
            n_test, n_correct = row["n_test"], row["n_correct"]
            measures = row.get("measures", {})
            rows.append(
                {
                    "dataset": dataset,
                    "subject": record["subject"],
                    "session": row["session"],
                    "fold": record["fold"],
                    "seed": record["seed"],
                    "pipeline": record["pipeline"],
                    "score": row["score"],
                    "fit_time": record["fit_time"],
                    "predict_time": record["predict_time"],
                    "accuracy": math.nan if n_correct is None else n_correct / n_test,
                    "curvature": record["curvature"],
                    "n_train": n_train,
                    "n_test": n_test,
                    "time": record["fit_time"],
                    "samples": n_train + n_test if whole else n_train,
                    "samples_test": n_test,
                    "n_classes": row["n_classes"],
                    "channels": record["n_channels"],
                    "n_sessions": n_sessions,
                    **further,
                    **{name: measures.get(name) for name in measured},
                }
            )
    frame = pd.DataFrame(rows, columns=[*SCORE_COLUMNS, *extra, *measured])
    return frame.astype({"curvature": float})


def gather_parts(folder: RunFolder, records: Sequence[dict[str, Any]]) -> None:
    """Write ``embeddings/``, ``history.csv`` and ``curvature_history.csv`` from the tasks' parts.

    Parameters
    ----------
    folder : RunFolder
        The run.
    records : sequence of dict
        Its finished tasks; parts without a record do not count.
    """
    latest = latest_records(records)
    done = sorted((r for r in latest if r["status"] == "done"), key=lambda r: int(r["task"]))
    trials: dict[str, list[dict[str, np.ndarray]]] = {}
    losses: list[dict[str, Any]] = []
    curvatures: list[dict[str, Any]] = []
    for record in done:
        with np.load(folder.part(int(record["task"])), allow_pickle=False) as part:
            arrays = {name: part[name] for name in part.files}
        names = ("pipeline", "subject", "session", "fold", "seed", "data_size", "permutation")
        keys = {name: record[name] for name in names if name in record}
        for epoch, row in enumerate(json.loads(str(arrays["history"])), start=1):
            losses.append({**keys, **row, "epoch": epoch})
        # Epoch 0 is the curvature before training.
        for epoch, c in enumerate(arrays["curvature_history"]):
            curvatures.append({**keys, "epoch": epoch, "c": float(c)})
        if "y_true" in arrays:
            trials.setdefault(str(record["pipeline"]), []).append(arrays)
    _write_csv(folder.path / "history.csv", losses, ("epoch",))
    _write_csv(folder.path / "curvature_history.csv", curvatures, ("epoch", "c"))
    for pipeline, parts in trials.items():
        _write_embeddings(folder.path / "embeddings" / f"{slug(pipeline)}.npz", parts)


def readable_part(path: Path) -> bool:
    """Whether the arrays of a task are on disk, whole."""
    try:
        with np.load(path, allow_pickle=False) as part:
            # Reading an array checks it against the sum that is stored with it.
            return all(part[name] is not None for name in part.files)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        return False


def _write_csv(path: Path, rows: list[dict[str, Any]], last: Sequence[str]) -> None:
    frame = pd.DataFrame(rows)
    if frame.empty:
        frame = pd.DataFrame(columns=["pipeline", "subject", "session", "fold", "seed", *last])
    first = ["pipeline", "subject", "session", "fold", "seed", "epoch"]
    frame = frame[[*first, *(column for column in frame.columns if column not in first)]]
    replace_file(path, frame.to_csv(index=False).encode("utf-8"))


def _write_embeddings(path: Path, parts: list[dict[str, np.ndarray]]) -> None:
    classes = parts[0]["classes"]
    parts = _of_one_width(parts)
    widths = {name: {part[name].shape[1:] for part in parts} for name in ("embedding", "proba")}
    sizes = [len(part["y_true"]) for part in parts]
    together: dict[str, Any] = {"network": np.repeat(np.arange(len(parts), dtype=np.int32), sizes)}
    together |= _heads(parts, classes) | epochs_together(parts, _width(parts))
    curve = [name for name in _CURVE_ARRAYS if name in parts[0]]
    for name in (*_TRIAL_ARRAYS, *curve):
        if len(widths.get(name, {()})) > 1:
            # Scores are safe elsewhere; leaving one array out is better than a lost run.
            logger.warning("%s: folds differ in the width of %s; left out", path.name, name)
            continue
        together[name] = np.concatenate([part[name] for part in parts])
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with disk_errors(path.parent.parent):
        try:
            with temporary.open("wb") as file:
                np.savez_compressed(file, classes=classes, **together)
                # The parts that this was made from are removed next.
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def _width(parts: list[dict[str, np.ndarray]]) -> int:
    return max((part["embedding"].shape[1] for part in parts), default=0)


def _heads(parts: list[dict[str, np.ndarray]], classes: np.ndarray) -> dict[str, np.ndarray]:
    """Put the heads of the networks together, one row a network; `head_kind` is "" without one."""
    if not any("head_kind" in part for part in parts):
        return {}
    shape = (len(parts), len(classes), _width(parts))
    weight = np.full(shape, np.nan, dtype=np.float32)
    bias = np.full(shape[:2], np.nan, dtype=np.float32)
    kinds, temperature = [""] * len(parts), np.ones(len(parts))
    for number, part in enumerate(parts):
        # A fold that lacks a class has a head that does not fit to the others.
        if "head_kind" not in part or not np.array_equal(part["classes"], classes):
            continue
        own = part["head_weight"]
        # Padded as the points are, which changes no distance.
        weight[number] = np.pad(own, ((0, 0), (0, shape[2] - own.shape[1])))
        bias[number], temperature[number] = part["head_bias"], part["head_temperature"]
        kinds[number] = str(part["head_kind"])
    return {
        "head_kind": np.array(kinds),
        "head_weight": weight,
        "head_bias": bias,
        "head_temperature": temperature,
    }


def _of_one_width(parts: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """Pad embeddings with zeros to the widest: tuning may choose a dimension for each fold.

    A hyperboloid lies in that of a higher dimension so, and distances stay what they are.
    """
    widest = _width(parts)
    padded = []
    for part in parts:
        points = part["embedding"]
        # Classical pipelines and runs without embeddings have none, which is not a point.
        if 0 < points.shape[1] < widest:
            points = np.pad(points, ((0, 0), (0, widest - points.shape[1])))
        padded.append({**part, "embedding": points})
    return padded


NOT_BY_TRIAL = ("classes", "epochs", "head_kind", "head_weight", "head_bias", "head_temperature")


def select_trials(arrays: Mapping[str, np.ndarray], chosen: np.ndarray) -> dict[str, np.ndarray]:
    """Return some of the trials that :func:`read_embeddings` returned.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Those of trials, and those of classes, epochs and networks, which stay as they are.
    chosen : ndarray of bool, shape (n_trials,), or of int
        Which trials.

    Returns
    -------
    dict of ndarray
    """
    return {k: v if k in NOT_BY_TRIAL else v[chosen] for k, v in arrays.items()}


def read_embeddings(path: str | Path) -> dict[str, np.ndarray]:
    """Read the test trials of one pipeline of a run.

    Parameters
    ----------
    path : str or Path
        ``embeddings/<pipeline>.npz`` of a run folder.

    Returns
    -------
    dict of ndarray
        ``embedding`` float32 (n, d): space parts of hyperboloid points of curvature
        -``curvature`` (float32 (n,)), or plain vectors where ``curvature`` is NaN; ``y_true``,
        ``y_pred``, ``subject``, ``session`` str (n,); ``proba`` float32 (n, n_classes), columns
        in the order of ``classes``; ``fold``, ``seed``, ``trial`` int (n,); with a learning curve
        also ``data_size`` and ``permutation`` int (n,).  Without ``save.embeddings``, d is 0.
        Where tuning chose different dimensions, d is the largest, and points of fewer are padded
        with zeros, which keeps all distances.

        ``network`` int (n,) numbers the networks that embedded the trials.  Where their last layers
        are known heads, ``head_kind``, ``head_weight``, ``head_bias`` and ``head_temperature`` have
        a row for each network (see :func:`hypeeg.experiments.heads.read_heads`).  With
        ``save.embedding_epochs``, ``epoch_embedding`` float32 (n, n_epochs, d) and
        ``epoch_curvature`` (n, n_epochs) are those before training and at the ``epochs`` (int) that
        were kept, NaN where a training ended before.
    """
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
