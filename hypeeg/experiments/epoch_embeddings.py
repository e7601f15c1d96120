"""Test trials as a network saw them on the way through its training (`save.embedding_epochs`)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from hypeeg.experiments.saved import last_step

logger = logging.getLogger(__name__)

EPOCH_ARRAYS = ("epoch_embedding", "epoch_curvature")
"""Arrays of trials, (n, n_epochs, d) and (n, n_epochs); ``epochs`` says which epochs they are."""


@contextmanager
def watched(estimator: Any, every: int | None) -> Iterator[None]:
    """Keep a network's states while it is fitted inside.

    Parameters
    ----------
    estimator : estimator
        Unfitted.  A pipeline that tunes, or has no network, is left alone.
    every : int or None
        Epochs from one state to the next; None keeps none.
    """
    final = last_step(estimator)
    params = final.get_params(deep=False) if hasattr(final, "get_params") else {}
    if every is None or "callbacks" not in params or "max_epochs" not in params:
        yield
        return
    from hypeeg.training.snapshots import Snapshots

    before = params["callbacks"]
    final.set_params(callbacks=[*(before or ()), Snapshots(every)])
    try:
        yield
    finally:
        # What is kept of the model is to be that of a fit that nobody watched.
        final.set_params(callbacks=before)


def epoch_arrays(estimator: Any, transform: Any) -> dict[str, np.ndarray]:
    """Return the embeddings of test trials at the states that were kept.

    Parameters
    ----------
    estimator : estimator
        Fitted inside :func:`watched`.
    transform : callable
        Returns the embeddings of the test trials by the network as it is.

    Returns
    -------
    dict of ndarray
        `EPOCH_ARRAYS` and ``epochs``; empty if no states were kept.
    """
    final = last_step(estimator)
    kept = [c for _, c in getattr(getattr(final, "net_", None), "callbacks_", []) if _is_ours(c)]
    if not kept:
        return {}
    if (getattr(final, "module_config_", None) or {}).get("n_domains") is not None:
        # The statistics of the target are found when training has ended.
        logger.warning("embedding_epochs: not kept for a network with statistics of each domain")
        return {}
    from hypeeg.training.snapshots import as_it_was

    points, curvatures = [], []
    for state in kept[0].states_:
        with as_it_was(final.module_, state):
            points.append(np.asarray(transform(), dtype=np.float32))
            c = final.curvature_
        curvatures.append(np.full(len(points[-1]), np.nan if c is None else c, dtype=np.float32))
    # The states have been used, and are as large as the model each.
    kept[0].states_ = []
    flat = [p.reshape(len(p), -1) for p in points]
    return {
        "epochs": np.array(kept[0].epochs_, dtype=np.int64),
        "epoch_embedding": np.stack(flat, axis=1),
        "epoch_curvature": np.stack(curvatures, axis=1),
    }


def together(parts: Sequence[dict[str, np.ndarray]], width: int) -> dict[str, np.ndarray]:
    """Put the arrays of several tasks together, one trial after the other.

    Parameters
    ----------
    parts : sequence of dict
        Arrays of tasks.
    width : int
        Dimension of the embeddings; those of fewer are padded with zeros.

    Returns
    -------
    dict of ndarray
        `EPOCH_ARRAYS`, NaN where a training ended earlier than others, and ``epochs``; empty if
        a task has none.
    """
    if not parts or not all("epochs" in part for part in parts):
        return {}
    epochs = max((part["epochs"] for part in parts), key=len)
    points, curvatures = [], []
    for part in parts:
        missing = len(epochs) - len(part["epochs"])
        more = width - part["epoch_embedding"].shape[2]
        if more < 0 or not np.array_equal(part["epochs"], epochs[: len(part["epochs"])]):
            return {}
        own = np.pad(part["epoch_embedding"], ((0, 0), (0, 0), (0, more)))
        gap = ((0, 0), (0, missing))
        points.append(np.pad(own, (*gap, (0, 0)), constant_values=np.nan))
        curvatures.append(np.pad(part["epoch_curvature"], gap, constant_values=np.nan))
    return {
        "epochs": epochs,
        "epoch_embedding": np.concatenate(points),
        "epoch_curvature": np.concatenate(curvatures),
    }


def _is_ours(callback: Any) -> bool:
    return type(callback).__name__ == "Snapshots" and bool(getattr(callback, "states_", None))
