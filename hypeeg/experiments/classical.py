"""Classical pipelines on disk: a skops file, which runs no code of its own when it is read.

A pickle would run whatever somebody put into it.  A skops file is a zip archive of a description
and arrays; only objects of the types named here, and those that skops itself knows to be harmless
(numpy's and most of scikit-learn's), are ever made from it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import io
import json
import logging
import zipfile
from pathlib import Path
from typing import Any

from hypeeg.experiments.store import RecordError, replace_file, to_json

logger = logging.getLogger(__name__)

MODEL_FILE = "model.skops"
CONFIG_FILE = "config.json"
FORMAT = "hypeeg-classical"
VERSION = 1
REMEDY = "install the extra: pip install 'hypeeg[models]'"

MAX_BYTES = 1 << 30
"""Most bytes that the parts of a file may have unpacked: a small archive can hold huge ones."""

TRUSTED = (
    "hypeeg.eeg.alignment.DomainAlignment",
    "hypeeg.eeg.baseline_steps.Augment",
    "hypeeg.eeg.baseline_steps.BandCovariances",
    "hypeeg.eeg.baseline_steps.time_courses",
    "hypeeg.eeg.pipelines.TrialPipeline",
    "hypeeg.eeg.pipelines._checked_float64",
    "hypeeg.eeg.ssvep.SSVEPClassifier",
    "hypeeg.eeg.ssvep.StimulusFilterBank",
    "hypeeg.eeg.transformers.FilterBank",
    "hypeeg.eeg.transformers.Standardize",
    "hypeeg.eeg.trial_steps.Baseline",
    "moabb.pipelines.classification.SSVEP_CCA",
    "moabb.pipelines.classification.SSVEP_TRCA",
    "moabb.pipelines.features.LogVariance",
    "pyriemann.classification.FgMDM",
    "pyriemann.classification.MDM",
    "pyriemann.estimation.Covariances",
    "pyriemann.estimation.ERPCovariances",
    "pyriemann.estimation.XdawnCovariances",
    "pyriemann.spatialfilters.CSP",
    "pyriemann.spatialfilters.Xdawn",
    "pyriemann.tangentspace.FGDA",
    "pyriemann.tangentspace.TangentSpace",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.model_selection._split.StratifiedKFold",
)
"""Types that the pipelines of :mod:`hypeeg.eeg.baselines` consist of, beside skops' own list."""

# Where the parts of such pipelines come from; others are left alone before anything is imported.
_MAKERS = ("hypeeg", "moabb", "pyriemann", "sklearn")
_PACKAGES = ("scikit-learn", "pyriemann", "moabb", "numpy", "skops")


def can_keep() -> bool:
    """Whether classical pipelines can be kept here: skops is an optional dependency."""
    return importlib.util.find_spec("skops") is not None


def save_classical(fitted: Any, folder: Path) -> bool:
    """Write a fitted pipeline as ``model.skops``, with a ``config.json`` that vouches for it.

    Parameters
    ----------
    fitted : estimator
        Fitted.
    folder : Path
        An existing folder.

    Returns
    -------
    bool
        False, with a line in the log, if skops is not installed or the pipeline has a part that
        is not known and could not be read again.
    """
    name = type(fitted).__name__
    parts = [fitted, *(step for _, step in getattr(fitted, "steps", []))]
    foreign = [type(p).__name__ for p in parts if type(p).__module__.split(".")[0] not in _MAKERS]
    if foreign:
        logger.info("%s is not kept: %s is nothing that hypeeg makes", name, ", ".join(foreign))
        return False
    if not can_keep():
        logger.info("%s is not kept: skops is missing; %s", name, REMEDY)
        return False
    import skops.io

    try:
        content = skops.io.dumps(fitted)
        unknown = _unknown_types(content)
    # What it is made of may raise anything; the scores of the fold must not be lost for it.
    except Exception as error:  # noqa: BLE001
        logger.warning("%s is not kept: skops cannot write it (%s)", name, error)
        return False
    if unknown:
        logger.warning("%s is not kept: %s could not be read again", name, ", ".join(unknown))
        return False
    config = {
        "format": FORMAT,
        "version": VERSION,
        "hypeeg": _version("hypeeg"),
        "class": type(fitted).__name__,
        "steps": [name for name, _ in getattr(fitted, "steps", [])],
        "packages": {name: _version(name) for name in _PACKAGES},
        "model_sha256": hashlib.sha256(content).hexdigest(),
    }
    replace_file(folder / MODEL_FILE, content)
    replace_file(folder / CONFIG_FILE, (to_json(config, indent=1) + "\n").encode("utf-8"))
    return True


def load_classical(folder: Path, config_file: str = CONFIG_FILE) -> Any:
    """Read what :func:`save_classical` wrote.

    Parameters
    ----------
    folder : Path
        Where it is.
    config_file : str
        Name of the description.

    Returns
    -------
    estimator
        Fitted.

    Raises
    ------
    RecordError
        If skops is not installed, a file is missing or damaged, or the file holds an object of a
        type that no pipeline of hypeeg consists of.
    """
    if not can_keep():
        raise RecordError(f"{folder}: reading a classical pipeline needs skops; {REMEDY}")
    import skops.io

    config = _read_config(folder / config_file)
    path = folder / MODEL_FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error}); fit the pipeline again") from error
    if hashlib.sha256(content).hexdigest() != config.get("model_sha256"):
        raise RecordError(
            f"{path} is not the file that {config_file} describes (other checksum): damaged, or "
            "exchanged; fit the pipeline again"
        )
    _check_size(path, content)
    try:
        unknown = _unknown_types(content)
        if unknown:
            raise RecordError(
                f"{path} holds objects that no pipeline of hypeeg consists of "
                f"({', '.join(unknown)}); it is not loaded"
            )
        _warn_of_versions(path, config)
        return skops.io.loads(content, trusted=list(TRUSTED))
    except RecordError:
        raise
    # Whatever a reader raises for an archive of the wrong content.
    except Exception as error:
        raise RecordError(
            f"{path}: cannot be read ({type(error).__name__}: {error}); it was written with "
            f"{_versions_text(config)}; fit the pipeline again"
        ) from error


def _unknown_types(content: bytes) -> list[str]:
    import skops.io

    return sorted(set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED))


def _check_size(path: Path, content: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            total = sum(part.file_size for part in archive.infolist())
    except zipfile.BadZipFile as error:
        raise RecordError(f"{path}: no skops file ({error}); fit the pipeline again") from error
    if total > MAX_BYTES:
        raise RecordError(
            f"{path}: its parts are {total} bytes unpacked, more than the {MAX_BYTES} that are "
            "read; no pipeline of hypeeg is as large"
        )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: cannot be read ({error}); fit the pipeline again") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise RecordError(f"{path} describes no classical pipeline (no format={FORMAT!r})")
    if config.get("version") != VERSION:
        raise RecordError(
            f"{path} has version {config.get('version')!r} of the format, and this hypeeg reads "
            f"version {VERSION}; use hypeeg {config.get('hypeeg')}, which wrote it"
        )
    return config


def _warn_of_versions(path: Path, config: dict[str, Any]) -> None:
    """Warn if the libraries that the pipeline consists of are others than at its fit."""
    before = config.get("packages")
    if not isinstance(before, dict):
        return
    changed = [
        f"{name} {before.get(name)} → {_version(name)}"
        for name in ("scikit-learn", "pyriemann", "moabb")
        if before.get(name) != _version(name)
    ]
    if changed:
        logger.warning("%s: not the versions it was fitted with: %s", path, ", ".join(changed))


def _versions_text(config: dict[str, Any]) -> str:
    before = config.get("packages")
    known = before.items() if isinstance(before, dict) else ()
    return ", ".join(f"{name} {version}" for name, version in known) or "unknown versions"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
