"""Fitted pipelines in a run folder: networks with the steps before them, and classical ones."""

from __future__ import annotations

import json
import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hypeeg.experiments import classical
from hypeeg.experiments.store import RecordError, to_json

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

logger = logging.getLogger(__name__)

STANDARDISE_FILE = "standardise.json"
STEPS_FILE = "steps.json"
CONFIG_FILE = "config.json"
ESTIMATOR_FILE = "estimator.json"
"""Description of the estimator where ``config.json`` is braindecode's, in a published folder."""

# Where the classes are whose ``save`` wrote a folder; a name that is not here is not imported.
_CLASSES = {
    "HypEEGClassifier": "hypeeg.eeg.classifier",
    "HypVisionClassifier": "hypeeg.vision.classifier",
    "TaxonomyEmbedding": "hypeeg.hierarchy.embedding",
}

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
    """Save a fitted pipeline into a folder that appears only when it is whole.

    Parameters
    ----------
    fitted : estimator
        Ends in a classifier with a method ``save(folder)``, or consists of what
        :mod:`hypeeg.experiments.classical` can keep; others are left alone.
    folder : Path
        Replaced if it exists.

    Returns
    -------
    bool
        Whether there was something to save.
    """
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        if hasattr(last_step(fitted), "save"):
            _save_network(fitted, temporary, folder)
        elif not classical.save_classical(fitted, temporary):
            return False
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        # Of a pipeline that is not kept, nothing is left, not even an empty folder.
        with suppress(OSError):
            folder.parent.rmdir()
    return True


def _save_network(fitted: Any, temporary: Path, folder: Path) -> None:
    """Write a network and the steps before it."""
    last_step(fitted).save(temporary)
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
        Where a network computes.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Fitted; takes trials ``(n_trials, n_channels, n_times)`` as the loader gives them.

    Raises
    ------
    RecordError
        If the standardisation is damaged, a step that the network was trained behind could not
        be kept, or a classical pipeline is damaged or cannot be read here.
    ValueError, FileNotFoundError
        If the network is missing or damaged.
    """
    from sklearn.pipeline import Pipeline

    folder = Path(folder)
    config_file = ESTIMATOR_FILE if (folder / ESTIMATOR_FILE).is_file() else CONFIG_FILE
    if (folder / classical.MODEL_FILE).is_file():
        found: Pipeline = classical.load_classical(folder, config_file)
        return found
    steps: list[tuple[str, Any]] = []
    path = folder / STEPS_FILE
    if path.exists():
        try:
            steps += _restored(path)
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise RecordError(f"{path}: damaged ({error}); train the network again") from error
    path = folder / STANDARDISE_FILE
    if path.exists():
        steps.append(("standardise", _standardisation(path)))
    return Pipeline([*steps, ("classifier", _load_network(folder, config_file, device))])


def _standardisation(path: Path) -> Any:
    from hypeeg.eeg.transformers import Standardize

    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        step = Standardize(values["mode"])
        step.n_channels_ = int(values["n_channels"])
        if step.mode == "channel":
            step.mean_ = np.asarray(values["mean"], dtype=float)[:, None]
            step.scale_ = np.asarray(values["scale"], dtype=float)[:, None]
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{path}: damaged ({error}); train the network again") from error
    return step


def _load_network(folder: Path, config_file: str, device: str) -> Any:
    import importlib

    from hypeeg.training.persistence import load_model

    name = "HypEEGClassifier"
    try:
        config = json.loads((folder / config_file).read_text(encoding="utf-8"))
        name = str(config["class"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        # The loader says what is missing in words of its own.
        logger.debug("%s: class not told (%s)", folder / config_file, error)
    if name not in _CLASSES:
        raise RecordError(
            f"{folder / config_file}: class {name!r} is none that hypeeg keeps; it keeps "
            f"{', '.join(_CLASSES)}"
        )
    cls = getattr(importlib.import_module(_CLASSES[name]), name)
    if name == "TaxonomyEmbedding":  # names of nodes and points: no network to build
        return cls.load(folder, device=device)
    return load_model(cls, folder, device, config_file=config_file)
