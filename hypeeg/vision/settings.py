"""What makes learning hard, made on purpose: few images, a long tail, wrong labels, new classes.

The settings are those in which curvature learning was studied in arXiv 2508.17232.  All take and
return indices or class codes; images are never copied.
"""

from __future__ import annotations

import numpy as np

from hypeeg.vision.images import ImageDataError


def class_counts(n_largest: int, n_classes: int, imbalance: float) -> np.ndarray:
    """Number of images of each class of a long-tailed set.

    Parameters
    ----------
    n_largest : int
        Images of the first class.
    n_classes : int
    imbalance : float
        Images of the first class over those of the last, at least 1; between them they fall
        exponentially with the number of the class [1]_.

    Returns
    -------
    ndarray, shape (n_classes,), int64
        Rounded to the nearest, at least 1.

    References
    ----------
    .. [1] Y. Cui et al.: Class-balanced loss based on effective number of samples, CVPR 2019.
    """
    position = np.arange(n_classes) / max(1, n_classes - 1)
    return np.maximum(1, np.rint(n_largest * imbalance**-position)).astype(np.int64)


def choose_images(
    codes: np.ndarray,
    candidates: np.ndarray,
    n_classes: int,
    rng: np.random.Generator,
    *,
    per_class: int | None = None,
    imbalance: float = 1.0,
) -> np.ndarray:
    """Draw training images of each class without replacement.

    Parameters
    ----------
    codes : ndarray, shape (n_images,), int64
        Class of every image.
    candidates : ndarray of int
        Images to draw from.
    n_classes : int
    rng : Generator
    per_class : int, optional
        Images of each class, of the first one if there is a long tail; by default as many as every
        class has.
    imbalance : float, default 1.0
        See :func:`class_counts`.

    Returns
    -------
    ndarray of int64
        Sorted.

    Raises
    ------
    ImageDataError
        If a class has fewer images than are asked for.
    """
    members = [candidates[codes[candidates] == code] for code in range(n_classes)]
    fewest = min(len(m) for m in members)
    if per_class is not None and per_class > fewest:
        raise ImageDataError(
            f"n_train={per_class} images of each class are asked for, but a class has {fewest}; "
            "ask for fewer"
        )
    if per_class is None and imbalance == 1:
        return np.sort(candidates).astype(np.int64)
    counts = class_counts(fewest if per_class is None else per_class, n_classes, imbalance)
    drawn = [rng.permutation(m)[:count] for m, count in zip(members, counts, strict=True)]
    return np.sort(np.concatenate(drawn)).astype(np.int64)


def class_shares(codes: np.ndarray, n_classes: int) -> dict[str, np.ndarray]:
    """Divide classes into many-, medium- and few-shot ones: thirds by their training images.

    Parameters
    ----------
    codes : ndarray of int64
        Classes of the training images.
    n_classes : int

    Returns
    -------
    dict of str to ndarray of int
        Classes under ``many``, ``medium`` and ``few``; ties go to the class with the lower number.
    """
    counts = np.bincount(codes, minlength=n_classes)
    order = np.argsort(-counts, kind="stable")
    return dict(zip(("many", "medium", "few"), np.array_split(order, 3), strict=True))


def flip_labels(
    codes: np.ndarray,
    n_classes: int,
    rate: float,
    kind: str,
    rng: np.random.Generator,
    group_of_class: np.ndarray | None = None,
) -> np.ndarray:
    """Give a share of the images of each class a wrong class.

    Parameters
    ----------
    codes : ndarray, shape (n_images,), int64
        True classes.
    n_classes : int
    rate : float
        Share of wrong ones in [0, 1), in each class to the nearest image.
    kind : {"symmetric", "asymmetric"}
        The wrong class is any other with equal probability, or the next one of the same group, in
        a circle [1]_; the next of all where a group has one class.
    rng : Generator
    group_of_class : ndarray, shape (n_classes,), int64, optional
        Groups for asymmetric flips; by default all classes are one group.

    Returns
    -------
    ndarray, shape (n_images,), int64
        Classes, some of them wrong.

    References
    ----------
    .. [1] G. Patrini et al.: Making deep neural networks robust to label noise, CVPR 2017.
    """
    noisy = codes.copy()
    following = _next_class(n_classes, group_of_class)
    for code in range(n_classes):
        members = np.flatnonzero(codes == code)
        chosen = rng.permutation(members)[: round(rate * len(members))]
        if kind == "asymmetric":
            noisy[chosen] = following[code]
        else:
            noisy[chosen] = (code + rng.integers(1, n_classes, len(chosen))) % n_classes
    return noisy


def _next_class(n_classes: int, group_of_class: np.ndarray | None) -> np.ndarray:
    groups = np.zeros(n_classes, dtype=np.int64) if group_of_class is None else group_of_class
    following = (np.arange(n_classes) + 1) % n_classes
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        if len(members) > 1:
            following[members] = np.roll(members, -1)
    return following


def novel_classes(n_classes: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Draw the classes that few-shot episodes are made of, never trained on.

    Parameters
    ----------
    n_classes : int
    share : float
        Share of all classes, in (0, 1).
    rng : Generator

    Returns
    -------
    ndarray of int64
        Sorted; at least two, and two are left.

    Raises
    ------
    ImageDataError
        If there are fewer than four classes.
    """
    if n_classes < 4:
        raise ImageDataError(
            f"few-shot episodes need two classes to train on and two new ones; got {n_classes}"
        )
    count = min(max(2, round(share * n_classes)), n_classes - 2)
    return np.sort(rng.permutation(n_classes)[:count]).astype(np.int64)
