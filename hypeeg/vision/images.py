"""Images with a class hierarchy of two levels, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np


class ImageDataError(ValueError):
    """Images, or a request for images, that cannot be used as they are."""


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images, their classes and the groups of classes above them.

    Parameters
    ----------
    name : str
        Name of the data set.
    X : ndarray, shape (n_images, n_channels, height, width), uint8
        Pixels.
    codes : ndarray, shape (n_images,), int64
        Class of each image, an index into `classes`.
    is_test : ndarray, shape (n_images,), bool
        The data set's own division into training and test images.
    classes : tuple of str
        Names of the classes, each unique.
    groups : tuple of str
        Names of the groups of classes.
    group_of_class : ndarray, shape (n_classes,), int64
        Group of each class, an index into `groups`.
    sha256 : str
        Of the file that was read; empty for generated images.

    Raises
    ------
    ImageDataError
        If shapes, types or indices contradict each other.
    """

    name: str
    X: np.ndarray
    codes: np.ndarray
    is_test: np.ndarray
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    group_of_class: np.ndarray
    sha256: str = ""

    def __post_init__(self) -> None:
        n = len(self.X)
        if self.X.ndim != 4 or self.X.dtype != np.uint8:
            raise ImageDataError(
                f"{self.name}: images must be uint8 (n_images, n_channels, height, width); got "
                f"{self.X.dtype} {self.X.shape}"
            )
        if len(self.codes) != n or len(self.is_test) != n:
            raise ImageDataError(
                f"{self.name}: {n} images, but {len(self.codes)} classes and {len(self.is_test)} "
                "marks of test images; there must be one of each an image"
            )
        if len(self.group_of_class) != len(self.classes):
            raise ImageDataError(
                f"{self.name}: {len(self.classes)} classes, but groups of "
                f"{len(self.group_of_class)}; every class needs a group"
            )
        for values, names, what in (
            (self.codes, self.classes, "class"),
            (self.group_of_class, self.groups, "group"),
        ):
            if len(values) and not 0 <= int(values.min()) <= int(values.max()) < len(names):
                raise ImageDataError(
                    f"{self.name}: {what} indices lie in {values.min()} ... {values.max()}, but "
                    f"there are {len(names)} names"
                )

    @property
    def y(self) -> np.ndarray:
        """Class name of each image, str, shape (n_images,)."""
        return np.asarray(self.classes)[self.codes]

    @property
    def group_names(self) -> dict[str, str]:
        """Group of each class, by name."""
        return {
            name: self.groups[group]
            for name, group in zip(self.classes, self.group_of_class, strict=True)
        }

    def take(self, classes: Sequence[str]) -> Self:
        """Return the images of some classes, numbered in the order of the data set.

        Parameters
        ----------
        classes : sequence of str
            Names of classes or of groups, which stand for all their classes.

        Raises
        ------
        ImageDataError
            If a name is neither, or fewer than two classes are left.
        """
        import difflib

        wanted: set[str] = set()
        known = self.group_names
        for name in classes:
            members = [name] if name in known else [c for c, g in known.items() if g == name]
            if not members:
                near = difflib.get_close_matches(name, [*self.classes, *self.groups], n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise ImageDataError(
                    f"{self.name} has no class or group {name!r}; groups are "
                    f"{', '.join(self.groups)}.{hint}"
                )
            wanted.update(members)
        kept = [i for i, name in enumerate(self.classes) if name in wanted]
        if len(kept) < 2:
            raise ImageDataError(
                f"classes {list(classes)} of {self.name} leave {len(kept)} class; name two or more"
            )
        return self._of_classes(np.asarray(kept))

    def of_groups(self) -> Self:
        """Return the same images with their groups as classes."""
        identity = np.arange(len(self.groups))
        return replace(
            self,
            codes=self.group_of_class[self.codes],
            classes=self.groups,
            group_of_class=identity,
        )

    def _of_classes(self, kept: np.ndarray) -> Self:
        new_code = np.full(len(self.classes), -1, dtype=np.int64)
        new_code[kept] = np.arange(len(kept))
        rows = np.flatnonzero(new_code[self.codes] >= 0)
        groups, new_group = np.unique(self.group_of_class[kept], return_inverse=True)
        return replace(
            self,
            X=self.X[rows],
            codes=new_code[self.codes[rows]],
            is_test=self.is_test[rows],
            classes=tuple(self.classes[i] for i in kept),
            groups=tuple(self.groups[i] for i in groups),
            group_of_class=new_group.astype(np.int64),
        )
