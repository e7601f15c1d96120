"""Test trials of one pipeline, sorted by the network that embedded them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hypeeg.viz.disk import distances, log_origin

COLORS = ("Label", "Prediction", "Error", "Confidence", "Subject", "Session", "Fold")
"""What trials can be coloured by."""


@dataclass(frozen=True, eq=False)
class Trials:
    """Arrays of test trials, one entry a trial.

    Attributes
    ----------
    embedding : ndarray, shape (n_trials, n)
        Space parts, or plain vectors.
    curvature : ndarray, shape (n_trials,)
        Curvature magnitude of the network that embedded the trial; NaN if it is Euclidean.
    table : DataFrame
        Columns ``trial``, ``subject``, ``session``, ``fold``, ``seed``, ``network`` (text),
        ``label``, ``prediction`` and ``confidence``, the probability of the predicted class.
    """

    embedding: np.ndarray
    curvature: np.ndarray
    table: pd.DataFrame

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], kind: str) -> Trials:
        """Sort out what ``embeddings/<pipeline>.npz`` holds.

        Parameters
        ----------
        arrays : dict of ndarray
            From `hypeeg.experiments.gather.read_embeddings`.
        kind : str
            Kind of the run's evaluation: across subjects one network is tested on all sessions
            of a subject, within sessions each session has networks of its own.
        """
        n = len(arrays["y_true"])
        table = pd.DataFrame({k: arrays[k] for k in ("trial", "subject", "session", "fold")})
        table["seed"] = arrays["seed"]
        keys = ["subject", *(["session"] if kind != "cross_subject" else []), "fold", "seed"]
        if table["seed"].nunique() == 1:
            keys.remove("seed")
        table["network"] = [
            " · ".join(f"{key} {value}" for key, value in zip(keys, row, strict=True))
            for row in zip(*(table[key] for key in keys), strict=True)
        ]
        table["label"], table["prediction"] = arrays["y_true"], arrays["y_pred"]
        proba = arrays.get("proba", np.empty((n, 0)))
        table["confidence"] = proba.max(axis=1) if proba.shape[1] else np.nan
        embedding = arrays.get("embedding", np.empty((n, 0)))
        curvature = arrays.get("curvature", np.full(n, np.nan))
        return cls(embedding.astype(float), curvature.astype(float), table)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def hyperbolic(self) -> bool:
        """Whether the trials are points of hyperbolic space."""
        return bool(np.isfinite(self.curvature).all())

    def only(self, chosen: np.ndarray) -> Trials:
        """Return some of the trials; `chosen` is a mask."""
        table = self.table[chosen].reset_index(drop=True)
        return Trials(self.embedding[chosen], self.curvature[chosen], table)

    def colors(self, by: str) -> np.ndarray:
        """Return the values to colour by, one of `COLORS`."""
        if by == "Error":
            wrong = self.table["label"] != self.table["prediction"]
            return np.where(wrong, "wrong", "correct")
        return self.table[by.lower()].to_numpy()

    def radius(self) -> np.ndarray:
        """Return the distances from the origin of the networks' spaces, shape (n_trials,)."""
        if not self.hyperbolic:
            return np.linalg.norm(self.embedding, axis=1)
        return np.linalg.norm(log_origin(self.embedding, self.curvature), axis=1)

    def distances_to(self, index: int) -> np.ndarray:
        """Return distances in the networks' spaces to one trial; NaN for other networks' trials.

        These are distances between the embeddings in all their dimensions, not in a picture.
        """
        point = self.embedding[index]
        if self.hyperbolic:
            found = distances(self.embedding, point, float(self.curvature[index]))
        else:
            found = np.linalg.norm(self.embedding - point, axis=1)
        network = self.table["network"]
        return np.where(network == network[index], found, np.nan)

    def nearest(self, index: int, n: int) -> np.ndarray:
        """Return the positions of the `n` trials of the same network nearest to one, in order."""
        found = self.distances_to(index)
        found[index] = np.nan
        order = np.argsort(found, kind="stable")
        return order[: min(n, int(np.isfinite(found).sum()))]

    def hover(self) -> list[str]:
        """Return what is shown when a trial is pointed at."""
        columns = ("trial", "network", "label", "prediction", "confidence")
        rows = zip(*(self.table[name] for name in columns), self.radius(), strict=True)
        return [
            f"<b>trial {trial}</b><br>{network}<br>{label}"
            + ("" if label == prediction else f" taken for {prediction}")
            + f"<br>confidence {confidence:.2f}<br>distance from origin {radius:.3f}"
            for trial, network, label, prediction, confidence, radius in rows
        ]
