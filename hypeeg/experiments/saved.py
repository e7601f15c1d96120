"""Trained networks in a run folder, together with the steps they were trained behind."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hypeeg.experiments.store import RecordError, to_json

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

logger = logging.getLogger(__name__)

STANDARDISE_FILE = "standardise.json"
STEPS_FILE = "steps.json"

# Fitted state of the trial steps that can be kept: plain numbers, so that nothing is pickled.
_STATE = {
    "Baseline": ("n_channels_",),
    "DomainAlignment": ("n_channels_", "source_reference_", "target_reference_"),
}


def last_step(estimator: Any) -> Any:
    """Return the classifier at the end of a scikit-learn pipeline, or the estimator itself."""
    steps = getattr(estimator, "steps", None)
    return steps[-1][1] if steps else estimator


def save_pipeline(fitted: Any, folder: Path) -> bool:
    """Save a fitted network into a folder that appears only when it is whole.

    Parameters
    ----------
    fitted : estimator
        Ends in a classifier with a method ``save(folder)``; others are left alone.
    folder : Path
        Replaced if it exists.

    Returns
    -------
    bool
        Whether there was something to save.
    """
    final = last_step(fitted)
    if not hasattr(final, "save"):
        return False
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        final.save(temporary)
        steps: list[dict[str, Any]] = []
        for name, step in getattr(fitted, "steps", [])[:-1]:
            if type(step).__name__ != "Standardize":
                steps.append(_described(name, step))
                if "state" not in steps[-1]:
                    logger.warning("step %r is not saved with the network in %s", name, folder)
                continue
            values = {"mode": step.mode, "n_channels": step.n_channels_}
            if step.mode == "channel":
                values |= {"mean": step.mean_.ravel(), "scale": step.scale_.ravel()}
            (temporary / STANDARDISE_FILE).write_text(to_json(values, indent=1) + "\n")
        if steps:
            (temporary / STEPS_FILE).write_text(to_json(steps, indent=1) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return True


def _described(name: str, step: Any) -> dict[str, Any]:
    """Return a fitted trial step as plain data, without ``state`` if it cannot be kept."""
    kind = type(step).__name__
    plain = {"name": name, "step": kind, "params": step.get_params(deep=False)}
    if kind in _STATE:
        return {**plain, "state": {key: getattr(step, key) for key in _STATE[kind]}}
    return {"name": name, "step": kind}


def _restored(path: Path) -> list[tuple[str, Any]]:
    """Make the trial steps that a file describes."""
    from hypeeg.eeg.alignment import DomainAlignment
    from hypeeg.eeg.trial_steps import Baseline

    kinds: dict[str, Any] = {"Baseline": Baseline, "DomainAlignment": DomainAlignment}
    steps = []
    for saved in json.loads(path.read_text(encoding="utf-8")):
        if "state" not in saved:
            raise RecordError(
                f"{path}: the network was trained behind step {saved['name']!r} "
                f"({saved['step']}), which is not kept with it; train the pipeline again to use it"
            )
        step = kinds[saved["step"]](**saved["params"])
        for key, value in saved["state"].items():
            setattr(step, key, np.asarray(value) if isinstance(value, list) else value)
        steps.append((saved["name"], step))
    return steps


def load_pipeline(folder: str | Path, device: str = "auto") -> Pipeline:
    """Read what :func:`save_pipeline` wrote.

    Parameters
    ----------
    folder : str or Path
        One folder under ``models/`` of a run.
    device : str
        Where the network computes.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Fitted; takes trials ``(n_trials, n_channels, n_times)`` as the loader gives them.

    Raises
    ------
    RecordError
        If the standardisation is damaged, or a step that the network was trained behind could not
        be kept.
    ValueError, FileNotFoundError
        If the network is missing or damaged.
    """
    from sklearn.pipeline import Pipeline

    from hypeeg.eeg.classifier import HypEEGClassifier
    from hypeeg.eeg.transformers import Standardize

    folder = Path(folder)
    steps: list[tuple[str, Any]] = []
    path = folder / STEPS_FILE
    if path.exists():
        try:
            steps += _restored(path)
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise RecordError(f"{path}: damaged ({error}); train the network again") from error
    path = folder / STANDARDISE_FILE
    if path.exists():
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            step = Standardize(values["mode"])
            step.n_channels_ = int(values["n_channels"])
            if step.mode == "channel":
                step.mean_ = np.asarray(values["mean"], dtype=float)[:, None]
                step.scale_ = np.asarray(values["scale"], dtype=float)[:, None]
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"{path}: damaged ({error}); train the network again") from error
        steps.append(("standardise", step))
    return Pipeline([*steps, ("classifier", HypEEGClassifier.load(folder, device=device))])
