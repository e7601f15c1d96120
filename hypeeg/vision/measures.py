"""What a classifier of images is told beside its accuracy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# Below so many classes the five most probable ones say nothing.
_CLASSES_FOR_TOP5 = 11


def image_measures(
    true: np.ndarray,
    predicted: np.ndarray,
    probabilities: np.ndarray | None,
    group_of_class: np.ndarray,
    shares: Mapping[str, np.ndarray] | None = None,
) -> dict[str, float]:
    """Measure predictions against a tree of classes and their numbers of training images.

    Parameters
    ----------
    true, predicted : ndarray, shape (n_images,), int
        Classes.
    probabilities : ndarray, shape (n_images, n_classes), or None
        Columns in the order of the classes' numbers.
    group_of_class : ndarray, shape (n_classes,), int
        Group of each class.
    shares : mapping of str to ndarray of int, optional
        Classes under a name, such as :func:`hypeeg.vision.settings.class_shares` returns.

    Returns
    -------
    dict of str to float
        ``group_accuracy``, share of images given a class of their group, and ``error_height``,
        mean height of the lowest common ancestor of true and predicted class over the errors (1
        within a group, 2 across), where there are groups of several classes; ``top5_accuracy`` for
        more than ten classes; ``<name>_accuracy`` of each share that was tested.
    """
    found: dict[str, float] = {}
    n_groups, n_classes = len(np.unique(group_of_class)), len(group_of_class)
    wrong = true != predicted
    if 1 < n_groups < n_classes:
        same_group = group_of_class[true] == group_of_class[predicted]
        found["group_accuracy"] = float(same_group.mean())
        if wrong.any():
            found["error_height"] = float(np.where(same_group[wrong], 1, 2).mean())
    if probabilities is not None and n_classes >= _CLASSES_FOR_TOP5:
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
        found["top5_accuracy"] = float((best == true[:, None]).any(axis=1).mean())
    for name, classes in (shares or {}).items():
        here = np.isin(true, classes)
        if here.any():
            found[f"{name}_accuracy"] = float(1 - wrong[here].mean())
    return found
