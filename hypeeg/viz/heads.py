"""What a network's last layer makes of points, in NumPy: logits anywhere in the space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray

KINDS = ("lorentz_mlr", "lorentz_prototypes", "linear", "prototypes")
"""Hyperbolic ones, then their Euclidean limits."""


@dataclass(frozen=True, eq=False)
class Head:
    """The last layer of a network.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    weight : ndarray, shape (n_classes, n)
        Directions of hyperplanes (``lorentz_mlr``, ``linear``), or prototypes (space parts).
    bias : ndarray, shape (n_classes,)
        Offsets; zeros for prototypes.
    temperature : float
        Factor of a multinomial logistic regression, divisor of prototypes' squared distances.
    c : float or None
        Curvature magnitude, None where the space is Euclidean.
    classes : tuple of str
        In the order of the rows.
    """

    kind: str
    weight: Array
    bias: Array
    temperature: float
    c: float | None
    classes: tuple[str, ...]

    @property
    def has_prototypes(self) -> bool:
        """Whether classes are points of the space."""
        return self.kind in ("lorentz_prototypes", "prototypes")

    def logits(self, x: Array) -> Array:
        """Return the logits of points.

        Parameters
        ----------
        x : ndarray, shape (n_points, n)
            Space parts, or plain vectors.

        Returns
        -------
        ndarray of float64, shape (n_points, n_classes)

        Notes
        -----
        The formulas are those of :mod:`hypeeg.nn.heads`.
        """
        x = np.asarray(x, dtype=float)
        weight, bias = self.weight.astype(float), self.bias.astype(float)
        if self.kind == "linear":
            return x @ weight.T + bias
        if self.kind == "prototypes":
            return -self._squares(x, weight) / self.temperature
        root = np.sqrt(self._curvature)
        time = np.hypot(1.0, root * np.linalg.norm(x, axis=1)) / root
        if self.kind == "lorentz_prototypes":
            own = np.hypot(1.0, root * np.linalg.norm(weight, axis=1)) / root
            # Squared chords, the difference of times from its own formula: nothing cancels.
            squares = np.sum(x * x, axis=1)[:, None] - np.sum(weight * weight, axis=1)
            gaps = squares / (time[:, None] + own)
            return -np.maximum(self._squares(x, weight) - gaps**2, 0.0) / self.temperature
        length = np.linalg.norm(weight, axis=1)
        alpha = (
            np.cosh(root * bias) * (x @ weight.T) - np.sinh(root * bias) * length * time[:, None]
        )
        safe = np.where(length > 0, length, 1.0)
        return self.temperature * length / root * np.arcsinh(root * alpha / safe)

    def probabilities(self, x: Array) -> Array:
        """Return the softmax of :meth:`logits`."""
        logits = self.logits(x)
        power = np.exp(logits - logits.max(axis=1, keepdims=True))
        return power / power.sum(axis=1, keepdims=True)

    def distances(self, x: Array) -> Array:
        """Return distances to the prototypes, or signed ones to the hyperplanes.

        Parameters
        ----------
        x : ndarray, shape (n_points, n)

        Returns
        -------
        ndarray of float64, shape (n_points, n_classes)
            Distances of the space; positive on the side of a hyperplane where its class is.
        """
        logits = self.logits(x)
        if self.kind == "prototypes":
            return np.sqrt(np.maximum(-logits * self.temperature, 0.0))
        if self.kind == "lorentz_prototypes":
            root = np.sqrt(self._curvature)
            chord = np.sqrt(np.maximum(-logits * self.temperature, 0.0))
            return 2.0 * np.arcsinh(root * chord / 2.0) / root
        length = np.linalg.norm(self.weight.astype(float), axis=1)
        return logits / np.where(length > 0, length, 1.0) / self.temperature

    @property
    def _curvature(self) -> float:
        if self.c is None or not self.c > 0:
            raise ValueError(f"a head of kind {self.kind!r} needs a curvature, got {self.c}")
        return self.c

    @staticmethod
    def _squares(x: Array, points: Array) -> Array:
        found = np.empty((len(x), len(points)))
        # One prototype at a time: the differences of all at once could fill the memory.
        for k, point in enumerate(points):
            found[:, k] = np.sum((x - point) ** 2, axis=1)
        return found
