"""Keep embeddings as a folder: a description, the names of the nodes, and the points."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from sklearn.utils.validation import check_is_fitted

from hypeeg.training.randomness import resolve_device

FORMAT = "hypeeg-taxonomy-embedding"
VERSION = 1
CONFIG_FILE = "config.json"
NODES_FILE = "nodes.txt"
WEIGHTS_FILE = "model.safetensors"

_NOT_KEPT = ("device", "random_state")


def save_embedding(estimator: Any, folder: str | Path) -> Path:
    """Write a fitted embedding.

    Parameters
    ----------
    estimator : TaxonomyEmbedding
        Fitted.
    folder : str or Path
        Made if missing. ``model.safetensors`` holds the points and ``log c``, ``nodes.txt`` a
        name a line in their order, ``config.json`` the parameters, the histories, and the hashes
        of both; it is written last.

    Returns
    -------
    Path
        The folder.
    """
    check_is_fitted(estimator)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = estimator.module_.state_dict()
    weights = safetensors.torch.save({k: v.detach().cpu().clone() for k, v in state.items()})
    nodes = "".join(f"{name}\n" for name in estimator.nodes_.tolist()).encode("utf-8")
    params = estimator.get_params(deep=False)
    config = {
        "format": FORMAT,
        "version": VERSION,
        "class": type(estimator).__name__,
        "params": {k: _plain(v) for k, v in params.items() if k not in _NOT_KEPT},
        "curvature": estimator.curvature_,
        "history": estimator.history_,
        "curvature_history": estimator.curvature_history_,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "nodes_sha256": hashlib.sha256(nodes).hexdigest(),
    }
    (folder / WEIGHTS_FILE).write_bytes(weights)
    (folder / NODES_FILE).write_bytes(nodes)
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1, allow_nan=False) + "\n")
    return folder


def load_embedding(cls: type[Any], folder: str | Path, device: str = "auto") -> Any:
    """Read a fitted embedding.

    Parameters
    ----------
    cls : type
        The class of the estimator.
    folder : str or Path
        What :func:`save_embedding` wrote.
    device : str
        Where it shall compute.

    Returns
    -------
    TaxonomyEmbedding

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If the files do not belong together or are damaged.
    """
    from hypeeg.hierarchy.points import PointTable

    folder = Path(folder)
    missing = [n for n in (CONFIG_FILE, NODES_FILE, WEIGHTS_FILE) if not (folder / n).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} holds no complete embedding ({', '.join(missing)} missing); give the folder "
            "that save() wrote"
        )
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        if config["format"] != FORMAT or config["version"] != VERSION:
            raise ValueError(
                f"format {config['format']!r} version {config['version']!r}, expected {FORMAT!r} "
                f"version {VERSION}"
            )
        nodes, weights = ((folder / n).read_bytes() for n in (NODES_FILE, WEIGHTS_FILE))
        for name, content in (("nodes", nodes), ("weights", weights)):
            if hashlib.sha256(content).hexdigest() != config[f"{name}_sha256"]:
                raise ValueError(f"the {name} are not those that {CONFIG_FILE} describes")
        estimator = cls(**config["params"], device=device)
        state = safetensors.torch.load(weights)
        module = PointTable(torch.zeros_like(state["points"]), estimator._make_manifold())
        module.load_state_dict(state)
        estimator.nodes_ = np.array(nodes.decode("utf-8").splitlines(), dtype=str)
        if len(estimator.nodes_) != len(state["points"]):
            raise ValueError(f"{len(estimator.nodes_)} names and {len(state['points'])} points")
        estimator.module_ = module.to(resolve_device(device))
        estimator.history_ = config["history"]
        estimator.curvature_history_ = config["curvature_history"]
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"{folder} is damaged or of another version: {error}") from error
    return estimator


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
