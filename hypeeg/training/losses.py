"""Cross entropy with class weights keyed by label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F


def class_weights(
    class_weight: str | Mapping[Any, float] | None, classes: np.ndarray, y: np.ndarray
) -> np.ndarray | None:
    """Work out one weight per class.

    Parameters
    ----------
    class_weight : "balanced", mapping or None
        ``"balanced"`` weighs a class by the inverse of its share of the trials.  A mapping gives
        weights by label; classes that it leaves out weigh 1.
    classes : ndarray, shape (n_classes,)
        Labels.
    y : ndarray, shape (n_trials,), int64
        Class indices of the training trials.

    Returns
    -------
    ndarray, shape (n_classes,), float64, or None
        Scaled so that the mean over the trials is 1.

    Raises
    ------
    ValueError
        If the option is something else, names an unknown label, or has a weight that is
        negative or not finite, or no positive weight at all.
    """
    if class_weight is None:
        return None
    counts = np.bincount(y, minlength=len(classes)).astype(np.float64)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(
                f"class_weight={class_weight!r} is unknown; use 'balanced', a dict keyed by "
                "label, or None"
            )
        weights = 1.0 / counts
    elif isinstance(class_weight, Mapping):
        labels = classes.tolist()
        unknown = [label for label in class_weight if label not in labels]
        if unknown:
            raise ValueError(
                f"class_weight names the labels {unknown}, which are not in y; "
                f"the classes are {labels}"
            )
        weights = np.array([float(class_weight.get(label, 1.0)) for label in labels])
        if not np.isfinite(weights).all() or (weights < 0).any() or not weights @ counts > 0:
            raise ValueError(
                f"class_weight={dict(class_weight)!r} must hold finite weights, none negative "
                "and some positive"
            )
    else:
        raise ValueError(
            f"class_weight={class_weight!r} must be 'balanced', a dict keyed by label, or None"
        )
    return weights * (counts.sum() / (weights @ counts))


class WeightedCrossEntropy(torch.nn.Module):
    """Mean over the batch of each trial's cross entropy times its class's weight.

    torch's own weighted mean divides by the weights *of the batch*, so that a batch without the
    heavy class counts as much as one with it; here a trial's weight is the same in any batch.

    Parameters
    ----------
    weight : ndarray, shape (n_classes,), optional
        Class weights, with mean 1 over the training trials.
    """

    def __init__(self, weight: np.ndarray | None = None) -> None:
        super().__init__()
        tensor = None if weight is None else torch.as_tensor(weight, dtype=torch.float32)
        self.weight: torch.Tensor | None
        self.register_buffer("weight", tensor)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss.

        Parameters
        ----------
        logits : Tensor, shape (n_trials, n_classes), float32
            Scores.
        target : Tensor, shape (n_trials,), int64
            Class indices.

        Returns
        -------
        Tensor, 0-dim
            The loss.
        """
        if self.weight is None:
            return F.cross_entropy(logits, target)
        total = F.cross_entropy(logits, target, weight=self.weight, reduction="sum")
        return total / len(target)
