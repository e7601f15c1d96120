"""Keep fitted classifiers as a folder of two files: a description and the weights.

``model.safetensors`` holds the weights, ``config.json`` the rest and the checksum of the weights.
Each is written beside its place and then moved there, ``config.json`` last, so that a folder that
a crash left half written is recognised.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from hypeeg.training.net import make_net
from hypeeg.training.randomness import isolated_rng, resolve_device

if TYPE_CHECKING:
    from hypeeg.training.estimator import HyperbolicClassifier

logger = logging.getLogger(__name__)

FORMAT = "hypeeg-classifier"
VERSION = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

_EstimatorT = TypeVar("_EstimatorT", bound="HyperbolicClassifier")

# Parameters that belong to a session, not to a model.
_NOT_KEPT = ("callbacks", "device")
_NOT_STATE = ("net_", "classes_", "feature_names_in_")


class KeepsModel(BaseEstimator):
    """Mix-in of saving, loading and pickling a fitted estimator."""

    def save(self, folder: str | Path) -> Path:
        """Write the fitted model to a folder, as ``config.json`` and ``model.safetensors``.

        Parameters
        ----------
        folder : path
            Made if missing.  A model that is there already is replaced; `callbacks` and
            `random_state` objects are not kept.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        TypeError
            If a parameter holds something that JSON cannot.
        """
        check_is_fitted(self)
        return save_model(cast(Any, self), Path(folder))

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto") -> Self:
        """Read a model that :meth:`save` wrote.

        Parameters
        ----------
        folder : path
            Where it is.
        device : str, default "auto"
            Where it shall compute; the device of the fit need not exist here.

        Returns
        -------
        estimator
            Fitted; on the same kind of device, its predictions are the same bits.

        Raises
        ------
        FileNotFoundError
            If the folder or one of its two files is missing.
        ValueError
            If the files are not a model of this class, do not belong together or are damaged.
        """
        loaded: Self = load_model(cast(Any, cls), Path(folder), device)
        return loaded

    def __getstate__(self) -> dict[str, Any]:
        # A net's pickle holds device memory and an optimiser; weights and a description suffice,
        # and can be read on a machine without the device.
        state = dict(super().__getstate__())
        if state.pop("net_", None) is not None:
            state["_weights"] = {
                k: v.cpu() for k, v in cast(Any, self).module_.state_dict().items()
            }
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        weights = state.pop("_weights", None)
        super().__setstate__(state)
        if weights is not None:
            rebuild(cast(Any, self), weights)


def rebuild(
    estimator: HyperbolicClassifier,
    weights: dict[str, torch.Tensor],
    device: str | None = None,
) -> None:
    """Make an estimator's network from its description, and give it weights.

    Parameters
    ----------
    estimator : HyperbolicClassifier
        With `module_config_` set.
    weights : dict of str to Tensor
        State of the network.
    device : str, optional
        Where to put it; by default where the estimator says, or on the CPU if that device does
        not exist here.
    """
    try:
        target = resolve_device(estimator.device if device is None else device)
    except ValueError:
        if device is not None:
            raise
        logger.warning("device %r is not available here: using the CPU", estimator.device)
        target = torch.device("cpu")
    with isolated_rng(0, target):  # the initial weights are overwritten; spare the caller's draws
        module = estimator._build_module(estimator.module_config_)
    module.load_state_dict(weights)
    estimator.net_ = make_net(estimator, module, target)


def save_model(estimator: HyperbolicClassifier, folder: Path) -> Path:
    """Write a fitted estimator; see :meth:`HyperbolicClassifier.save`."""
    params = {k: v for k, v in estimator.get_params(deep=False).items() if k not in _NOT_KEPT}
    if isinstance(params.get("random_state"), (np.random.RandomState, np.random.Generator)):
        params["random_state"] = estimator.seed_
    own = {**vars(estimator), "_n_features_out": estimator._n_features_out}
    state = {
        k: v
        for k, v in own.items()
        if (k.endswith("_") or k == "_n_features_out") and k not in _NOT_STATE
    }
    config = {
        "format": FORMAT,
        "version": VERSION,
        "class": type(estimator).__name__,
        "hypeeg": _version(),
        "params": {k: _encode(v, f"parameter {k}") for k, v in params.items()},
        "classes": _encode_labels(estimator.classes_, "classes_"),
        "feature_names": _encode(
            list(getattr(estimator, "feature_names_in_", ())), "feature_names_in_"
        ),
        "state": {k: _encode(v, k) for k, v in state.items()},
    }
    weights = safetensors.torch.save(
        # Cloned, because safetensors refuses tensors that share memory (a shared curvature).
        {k: v.detach().cpu().clone() for k, v in estimator.module_.state_dict().items()}
    )
    config["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / WEIGHTS_FILE, weights)
    _write(folder / CONFIG_FILE, json.dumps(config, indent=1, allow_nan=False).encode())
    return folder


def load_model(
    cls: type[_EstimatorT], folder: Path, device: str = "auto", *, config_file: str = CONFIG_FILE
) -> _EstimatorT:
    """Read an estimator; see :meth:`HyperbolicClassifier.load`.

    `config_file` names the description, where ``config.json`` of the folder is somebody else's.
    """
    config = _read_config(folder, config_file)
    if config["class"] != cls.__name__:
        raise ValueError(
            f"{folder} holds a {config['class']}, not a {cls.__name__}; use {config['class']}.load"
        )
    weights_file = folder / WEIGHTS_FILE
    if not weights_file.is_file():
        raise FileNotFoundError(
            f"{weights_file} is missing: the model in {folder} is incomplete; save it again"
        )
    data = weights_file.read_bytes()
    if hashlib.sha256(data).hexdigest() != config["weights_sha256"]:
        raise ValueError(
            f"{weights_file} is not the file that {config_file} describes (other checksum): "
            "writing was interrupted or the file is damaged; save the model again"
        )
    try:
        estimator = cls(**_decode(config["params"]), device=device)
        for name, value in _decode(config["state"]).items():
            setattr(estimator, name, value)
        estimator.input_shape_ = tuple(estimator.input_shape_)
        estimator.classes_ = _decode_labels(config["classes"])
        if config["feature_names"]:
            names = np.array(config["feature_names"], dtype=object)
            estimator.feature_names_in_ = names
        rebuild(estimator, _all_names(safetensors.torch.load(data), weights_file), device)
    except (KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ValueError(
            f"{folder} was written by hypeeg {config.get('hypeeg')} and cannot be read by "
            f"{_version()}: {error}; fit and save the model again"
        ) from error
    return estimator


def _all_names(weights: dict[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    """Give tensors that share memory all their names: ``save_pretrained`` writes them once."""
    with safe_open(path, framework="pt") as file:
        aliases = file.metadata() or {}
    return weights | {name: weights[kept] for name, kept in aliases.items() if kept in weights}


def _version() -> str:
    # The package's own __version__ is on a floor above this one.
    try:
        return importlib.metadata.version("hypeeg")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _read_config(folder: Path, name: str = CONFIG_FILE) -> dict[str, Any]:
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; give the one that save() wrote")
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: {folder} holds no complete model; give the folder that save() "
            "wrote, or save the model again"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); save the model again") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ValueError(
            f"{path} does not describe a hypeeg classifier (no format={FORMAT!r}); give the "
            "folder that save() wrote"
        )
    if config.get("version") != VERSION:
        raise ValueError(
            f"{path} has version {config.get('version')!r} of the format, and this hypeeg "
            f"{_version()} reads version {VERSION}; use the hypeeg that wrote it "
            f"({config.get('hypeeg')})"
        )
    return config


def _write(path: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files for the owner alone; follow the usual umask instead.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _encode(value: Any, where: str) -> Any:
    """Turn a value into what JSON can hold, so that :func:`_decode` gives it back."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_encode(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith("__") for key in value):
            return {k: _encode(v, f"{where}[{k!r}]") for k, v in value.items()}
        pairs = [[_encode(k, where), _encode(v, where)] for k, v in value.items()]
        return {"__pairs__": pairs}
    name = getattr(value, "__name__", "")
    if isinstance(value, type) and getattr(torch.nn, name, None) is value:
        return {"__torch_nn__": name}
    raise TypeError(
        f"{where}={value!r} cannot be written to {CONFIG_FILE}; use numbers, strings, lists, "
        "dicts or classes of torch.nn there, or pickle the estimator instead"
    )


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(v) for v in value]
    if isinstance(value, dict):
        if "__pairs__" in value:
            return {_decode(k): _decode(v) for k, v in value["__pairs__"]}
        if "__torch_nn__" in value:
            return getattr(torch.nn, value["__torch_nn__"])
        return {k: _decode(v) for k, v in value.items()}
    return value


def _encode_labels(labels: np.ndarray, where: str) -> dict[str, Any]:
    return {"dtype": labels.dtype.str, "values": _encode(labels.tolist(), where)}


def _decode_labels(encoded: dict[str, Any]) -> np.ndarray:
    return np.array(encoded["values"], dtype=np.dtype(encoded["dtype"]))
