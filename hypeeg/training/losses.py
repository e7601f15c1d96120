"""Cross entropy with class weights keyed by label, and groups of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def class_group_codes(
    class_groups: Mapping[str, Sequence[Any]] | None, classes: np.ndarray
) -> np.ndarray | None:
    """Work out which group each class belongs to.

    Parameters
    ----------
    class_groups : mapping or None
        Labels by name of group.  A class that is in no group is a group by itself.
    classes : ndarray, shape (n_classes,)
        Labels.

    Returns
    -------
    ndarray, shape (n_classes,), int64, or None
        Codes from 0.

    Raises
    ------
    ValueError
        If the option is something else, names an unknown label or one label twice, or leaves one
        group only.
    """
    if class_groups is None:
        return None
    if not isinstance(class_groups, Mapping) or any(
        isinstance(members, str) or not isinstance(members, Sequence)
        for members in class_groups.values()
    ):
        raise ValueError(
            f"class_groups={class_groups!r} must be a dict of lists of labels by name of group, "
            "or None"
        )
    labels = classes.tolist()
    group_of: dict[Any, str] = {}
    for name, members in class_groups.items():
        for label in members:
            if label not in labels:
                raise ValueError(
                    f"class_groups[{name!r}] names the label {label!r}, which is not in y; the "
                    f"classes are {labels}"
                )
            if label in group_of:
                raise ValueError(
                    f"class_groups names the label {label!r} in {group_of[label]!r} and "
                    f"{name!r}; a class is in one group"
                )
            group_of[label] = name
    # Tuples keep a class by itself apart from a group of the same name.
    keys = [("group", group_of[x]) if x in group_of else ("class", x) for x in labels]
    order = list(dict.fromkeys(keys))
    if len(order) < 2:
        raise ValueError(
            f"class_groups={dict(class_groups)!r} puts all classes {labels} into one group, which "
            "says nothing; leave some out, or set class_groups=None"
        )
    return np.array([order.index(key) for key in keys], dtype=np.int64)


class WeightedCrossEntropy(torch.nn.Module):
    """Mean over the batch of each trial's cross entropy times its class's weight.

    torch's own weighted mean divides by the weights *of the batch*, so that a batch without the
    heavy class counts as much as one with it; here a trial's weight is the same in any batch.

    With groups the cross entropy of the trial's group, whose probability is the sum of its
    classes', is added: a confusion between groups costs twice, one within a group once.

    Parameters
    ----------
    weight : ndarray, shape (n_classes,), optional
        Class weights, with mean 1 over the training trials.
    groups : ndarray, shape (n_classes,), int64, optional
        Group of each class, coded from 0.
    """

    def __init__(self, weight: np.ndarray | None = None, groups: np.ndarray | None = None) -> None:
        super().__init__()
        tensor = None if weight is None else torch.as_tensor(weight, dtype=torch.float32)
        self.weight: torch.Tensor | None
        self.register_buffer("weight", tensor)
        members = None
        if groups is not None:
            members = torch.as_tensor(groups)[None] == torch.arange(int(groups.max()) + 1)[:, None]
        self.members: torch.Tensor | None
        self.register_buffer("members", members)
        self.groups: torch.Tensor | None
        self.register_buffer("groups", None if groups is None else torch.as_tensor(groups))

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
            loss = F.cross_entropy(logits, target)
        else:
            total = F.cross_entropy(logits, target, weight=self.weight, reduction="sum")
            loss = total / len(target)
        if self.members is None or self.groups is None:
            return loss
        outside = logits[:, None].masked_fill(~self.members, -torch.inf)
        of_group = F.nll_loss(
            outside.logsumexp(dim=-1).log_softmax(dim=-1), self.groups[target], reduction="none"
        )
        if self.weight is not None:
            of_group = of_group * self.weight[target]
        return loss + of_group.mean()
