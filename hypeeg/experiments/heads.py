"""Heads of trained networks as plain arrays, so that a picture can show where they decide."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from hypeeg.viz.heads import Head

logger = logging.getLogger(__name__)

HEAD_ARRAYS = ("head_kind", "head_weight", "head_bias", "head_temperature")
"""What a part keeps of a head; its classes are those of the part, its c that of the embedding."""

_TOLERANCE = 1e-3


def head_arrays(
    estimator: Any, points: np.ndarray, probabilities: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the head of a fitted network, if it is of a kind that is known.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    points : ndarray, shape (n_trials, n)
        Embeddings of trials.
    probabilities : ndarray, shape (n_trials, n_classes)
        What the network said of them.

    Returns
    -------
    dict of ndarray
        `HEAD_ARRAYS`; empty if the estimator is no network, its last layers are more than a head,
        or what is kept does not give the network's own probabilities of these trials.
    """
    found = _read(estimator, np.asarray(points).shape[1])
    if found is None:
        return {}
    kind, weight, bias, temperature = found
    c = getattr(estimator, "curvature_", None)
    head = Head(kind, weight, bias, temperature, c, tuple(map(str, range(len(weight)))))
    if len(weight) != probabilities.shape[1]:
        return {}
    known = np.isfinite(points).all(axis=1)
    gap = np.abs(head.probabilities(points[known]) - probabilities[known])
    if gap.size and not gap.max() < _TOLERANCE:
        # A layer between the embedding and the head: a picture of the head would be wrong.
        logger.debug("head of %s not kept: its logits are others", type(estimator).__name__)
        return {}
    return {
        "head_kind": np.array(kind),
        "head_weight": weight.astype(np.float32),
        "head_bias": bias.astype(np.float32),
        "head_temperature": np.array(temperature, dtype=np.float64),
    }


def read_heads(arrays: Mapping[str, np.ndarray]) -> dict[int, Head]:
    """Return the heads of the networks whose trials a file of embeddings holds.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        What :func:`hypeeg.experiments.gather.read_embeddings` returns.

    Returns
    -------
    dict of int to Head
        By number of the network, see the array ``network``; empty for files that were written
        before heads were kept.
    """
    if "network" not in arrays or not all(name in arrays for name in HEAD_ARRAYS):
        return {}
    classes = tuple(str(name) for name in arrays["classes"])
    heads = {}
    for number, kind in enumerate(arrays["head_kind"]):
        rows = np.flatnonzero(arrays["network"] == number)
        if not kind or not len(rows):
            continue
        c = float(arrays["curvature"][rows[0]])
        heads[number] = Head(
            str(kind),
            arrays["head_weight"][number],
            arrays["head_bias"][number],
            float(arrays["head_temperature"][number]),
            c if np.isfinite(c) else None,
            classes,
        )
    return heads


def _read(estimator: Any, width: int) -> tuple[str, np.ndarray, np.ndarray, float] | None:
    """Return kind, weights, offsets and temperature of a network's last layer."""
    layer = getattr(getattr(estimator, "module_", None), "final_layer", None)
    if layer is None:
        return None
    import torch

    from hypeeg.nn import LorentzMLR, LorentzPrototypes

    def plain(tensor: Any) -> np.ndarray:
        array: np.ndarray = tensor.detach().to("cpu", torch.float64).numpy()
        return array

    parts = list(layer.modules())
    for part in parts:
        if isinstance(part, LorentzMLR):
            weight: torch.Tensor = part.weight
            if part.max_norm is not None:
                weight = torch.renorm(weight, p=2, dim=0, maxnorm=part.max_norm)
            return "lorentz_mlr", plain(weight), plain(part.bias), part.temperature
        if isinstance(part, LorentzPrototypes):
            points = plain(part.prototypes)
            return "lorentz_prototypes", points, np.zeros(len(points)), part.temperature
    prototypes = getattr(layer, "prototypes", None)
    if isinstance(prototypes, torch.Tensor):
        points = plain(prototypes)
        return "prototypes", points, np.zeros(len(points)), 1.0
    # A convolution as wide as its input is a linear layer.
    linear = [p for p in parts if isinstance(p, torch.nn.Linear | torch.nn.Conv2d)]
    if len(linear) != 1 or linear[0].weight[0].numel() != width:
        return None
    rows = plain(linear[0].weight).reshape(-1, width)
    bias = np.zeros(len(rows)) if linear[0].bias is None else plain(linear[0].bias)
    return "linear", rows, bias, 1.0
