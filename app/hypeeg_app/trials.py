"""Test trials of one pipeline, sorted by the network that embedded them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from hypeeg.experiments.heads import read_heads
from hypeeg.viz.disk import centroid, distances, log_origin
from hypeeg.viz.heads import Head
from hypeeg.viz.palette import categories

COLORS = (
    "Label",
    "Prediction",
    "Error",
    "Confidence",
    "Entropy",
    "Radius",
    "Subject",
    "Session",
    "Fold",
)
"""What trials can be coloured by."""

UNITS = dict.fromkeys(("test", "validation", "few_shot"), "image") | dict.fromkeys(
    ("reconstruction", "link_prediction"), "node"
)
"""What a trial is called in evaluations without people; elsewhere it is a trial."""


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
        ``label``, ``prediction``, ``confidence`` (the probability of the predicted class),
        ``entropy`` (of the probabilities, as a share of the largest possible) and ``number`` (of
        the network in the file, -1 if it does not say).
    proba : ndarray, shape (n_trials, n_classes) or (n_trials, 0)
        Probabilities.
    classes : tuple of str
        Their columns; of files without them, the labels.
    heads : dict of int to Head
        Last layers by number of the network; empty for runs that did not keep them.
    epochs : ndarray of int, shape (n_epochs,)
        Epochs of training of which embeddings were kept.
    epoch_embedding, epoch_curvature : ndarray, shape (n_trials, n_epochs, n) and (..., n_epochs)
        Those embeddings.
    unit : str
        What one of them is called: trial, image or node.
    """

    embedding: np.ndarray
    curvature: np.ndarray
    table: pd.DataFrame
    proba: np.ndarray
    classes: tuple[str, ...] = ()
    heads: dict[int, Head] = field(default_factory=dict)
    epochs: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int))
    epoch_embedding: np.ndarray = field(default_factory=lambda: np.empty((0, 0, 0)))
    epoch_curvature: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    unit: str = "trial"

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
        if kind in UNITS:
            keys = ["seed"]
        elif table["seed"].nunique() == 1:
            keys.remove("seed")
        table["network"] = [
            " · ".join(f"{key} {value}" for key, value in zip(keys, row, strict=True))
            for row in zip(*(table[key] for key in keys), strict=True)
        ]
        if "data_size" in arrays and "permutation" in arrays:
            extra = zip(arrays["data_size"], arrays["permutation"], strict=True)
            table["network"] += [f" · {size} trials · draw {draw}" for size, draw in extra]
        table["label"], table["prediction"] = arrays["y_true"], arrays["y_pred"]
        proba = arrays.get("proba", np.empty((n, 0)))
        table["confidence"] = proba.max(axis=1) if proba.shape[1] else np.nan
        table["entropy"] = _entropy(proba)
        table["number"] = arrays.get("network", np.full(n, -1))
        labels = np.unique(np.concatenate([arrays["y_true"], arrays["y_pred"]]))
        classes = tuple(str(name) for name in arrays.get("classes", labels))
        embedding = arrays.get("embedding", np.empty((n, 0)))
        curvature = arrays.get("curvature", np.full(n, np.nan))
        kept = "epochs" in arrays and "epoch_embedding" in arrays
        return cls(
            embedding.astype(float),
            curvature.astype(float),
            table,
            proba.astype(float),
            classes,
            read_heads(arrays),
            arrays["epochs"] if kept else np.empty(0, dtype=int),
            arrays["epoch_embedding"] if kept else np.empty((n, 0, 0)),
            arrays["epoch_curvature"] if kept else np.empty((n, 0)),
            UNITS.get(kind, "trial"),
        )

    def __len__(self) -> int:
        return len(self.table)

    @property
    def hyperbolic(self) -> bool:
        """Whether the trials are points of hyperbolic space."""
        return bool(np.isfinite(self.curvature).all())

    def only(self, chosen: np.ndarray) -> Trials:
        """Return some of the trials; `chosen` is a mask."""
        table = self.table[chosen].reset_index(drop=True)
        return replace(
            self,
            embedding=self.embedding[chosen],
            curvature=self.curvature[chosen],
            table=table,
            proba=self.proba[chosen],
            epoch_embedding=self.epoch_embedding[chosen]
            if len(self.epochs)
            else np.empty((0,) * 3),
            epoch_curvature=self.epoch_curvature[chosen]
            if len(self.epochs)
            else np.empty((0,) * 2),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """All classes, in the order of their colours."""
        return tuple(categories(np.array(self.classes)))

    @property
    def head(self) -> Head | None:
        """The head of the one network that embedded all of these trials, if it was kept."""
        numbers = self.table["number"].unique()
        return self.heads.get(int(numbers[0])) if len(numbers) == 1 else None

    def at_epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return embeddings and curvatures at an epoch that was kept."""
        at = list(self.epochs).index(epoch)
        return self.epoch_embedding[:, at].astype(float), self.epoch_curvature[:, at].astype(float)

    def class_points(self) -> tuple[str, dict[str, np.ndarray]]:
        """Return one point of the space a class: prototypes of the head, or centroids of trials.

        Returns
        -------
        what : str
            ``"prototype"`` or ``"centroid"``.
        points : dict of str to ndarray, shape (n,)
        """
        head = self.head
        if head is not None and head.has_prototypes:
            return "prototype", dict(zip(head.classes, head.weight.astype(float), strict=True))
        points = {}
        for name in self.names:
            own = self.embedding[(self.table["label"] == name).to_numpy()]
            if len(own):
                points[name] = (
                    centroid(own, float(self.curvature[0])) if self.hyperbolic else own.mean(axis=0)
                )
        return "centroid", points

    def to_class(self) -> tuple[str, np.ndarray]:
        """Return the distance of each trial to what the head holds of its predicted class.

        Returns
        -------
        what : str
            ``"prototype"`` or ``"hyperplane"``; empty without a head.
        distances : ndarray, shape (n_trials,)
        """
        found = np.full(len(self), np.nan)
        what = ""
        numbers = self.table["number"].to_numpy()
        for number, head in self.heads.items():
            here = np.flatnonzero(numbers == number)
            column = {name: k for k, name in enumerate(head.classes)}
            own = [column.get(str(p), -1) for p in self.table["prediction"].to_numpy()[here]]
            usable = np.array(own) >= 0
            if not len(here) or not usable.any():
                continue
            what = "prototype" if head.has_prototypes else "hyperplane"
            distance = head.distances(self.embedding[here])
            found[here[usable]] = distance[usable, np.array(own)[usable]]
        return what, found

    def colors(self, by: str) -> np.ndarray:
        """Return the values to colour by, one of `COLORS`."""
        if by == "Error":
            wrong = self.table["label"] != self.table["prediction"]
            return np.where(wrong, "wrong", "correct")
        if by == "Radius":
            return self.radius()
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

    def described(self) -> pd.DataFrame:
        """Return the table with the columns that are computed: radius and distance to the class."""
        what, distance = self.to_class()
        table = self.table.drop(columns="number")
        table["radius"] = self.radius()
        if what:
            table[f"distance to {what}"] = distance
        return table

    def hover(self, index: np.ndarray | None = None) -> list[str]:
        """Return what is shown when trials at given positions are pointed at."""
        chosen = np.arange(len(self)) if index is None else np.asarray(index)
        columns = ("trial", "network", "label", "prediction", "confidence")
        values = [self.table[name].to_numpy()[chosen] for name in columns]
        what, distance = self.to_class()
        rows = zip(*values, self.radius()[chosen], distance[chosen], strict=True)
        return [
            f"<b>{self.unit} {trial}</b><br>{network}<br>{label}"
            + ("" if label == prediction else f" taken for {prediction}")
            + (f"<br>confidence {confidence:.2f}" if np.isfinite(confidence) else "")
            + f"<br>distance from origin {radius:.3f}"
            + (f"<br>to {what} of {prediction} {apart:.3f}" if np.isfinite(apart) else "")
            for trial, network, label, prediction, confidence, radius, apart in rows
        ]


def _entropy(proba: np.ndarray) -> np.ndarray:
    """Return the entropy of probabilities as a share of that of a coin with as many sides."""
    if proba.shape[1] < 2:
        return np.full(len(proba), np.nan)
    p = np.clip(proba.astype(float), 1e-12, 1.0)
    found: np.ndarray = -(p * np.log(p)).sum(axis=1) / np.log(proba.shape[1])
    return found


def beside(own: Trials, other: Trials) -> Trials:
    """Return the trials of another pipeline that are in `own`, in the order of `own`.

    Trials are known by their number and the network, which both pipelines train alike.
    """
    keys = ["network", "trial"]
    places = other.table[keys].assign(row=np.arange(len(other))).drop_duplicates(keys)
    rows = own.table[keys].merge(places, on=keys, how="inner")["row"].to_numpy()
    table = other.table.iloc[rows].reset_index(drop=True)
    kept = len(other.epochs) > 0
    return replace(
        other,
        embedding=other.embedding[rows],
        curvature=other.curvature[rows],
        table=table,
        proba=other.proba[rows],
        epoch_embedding=other.epoch_embedding[rows] if kept else np.empty((0,) * 3),
        epoch_curvature=other.epoch_curvature[rows] if kept else np.empty((0,) * 2),
    )


def kept_choice(key: str, options: Sequence[Any]) -> None:
    """Forget a choice of the screen that another run does not offer."""
    if st.session_state.get(key) not in options:
        st.session_state.pop(key, None)
