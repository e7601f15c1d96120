"""The picture of the Embeddings page: points in the plane, what is drawn over them, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from hypeeg.viz import Picture, picture_of
from hypeeg.viz.embeddings import picture_reach
from hypeeg.viz.overlays import add_class_points, add_density, add_geodesics, add_regions
from hypeeg.viz.palette import BETTER, WORSE
from hypeeg.viz.regions import decision_regions
from hypeeg_app.signals import umap_points, umap_rows
from hypeeg_app.trials import Trials

CENTROID, ORIGIN = "Centroid", "Origin"
REGIONS, PLANES, POINTS, DENSITY = "Regions", "Hyperplanes", "Classes", "Density"
REDUCTIONS = {"Tangent PCA": "tangent", "Horospherical PCA": "horospherical"}
ERROR_STYLES = {
    "correct": {"color": BETTER, "symbol": "circle"},
    "wrong": {"color": WORSE, "symbol": "x"},
}
UMAP_NEIGHBOURS = 15


@st.cache_data(show_spinner=False, max_entries=50)
def picture(key: tuple[Any, ...], around: str, reduction: str, _trials: Trials) -> Picture:
    """Bring trials into the plane; `key` says which ones."""
    middle = "centroid" if around == CENTROID else "origin"
    return picture_of(_trials.embedding, _trials.curvature, middle, REDUCTIONS[reduction])


def umap_picture(key: Any, trials: Trials) -> Picture:
    """Return the trials as UMAP places them; those that are left out are NaN.

    Raises
    ------
    ProcessError
        If UMAP fails.
    """
    rows = umap_rows(len(trials))
    x, c = trials.embedding[rows], None
    if trials.hyperbolic:
        # In units of 1/sqrt(c), which change no neighbours.
        x, c = x * np.sqrt(trials.curvature[rows])[:, None], 1.0
    with st.spinner("UMAP … (seconds to half a minute, once)"):
        found = umap_points(key, UMAP_NEIGHBOURS, x, c)
    points = np.full((len(trials), 2), np.nan)
    points[rows] = found - found.mean(axis=0)
    return Picture(
        points, False, trials.embedding.shape[1], 1.0, None, axis_names=("UMAP 1", "UMAP 2")
    )


def explain(shown: Picture, trials: Trials, around: str, reduction: str, moved: bool) -> str:
    """Say what the picture shows and what it hides."""
    if shown.frame is None:
        text = _explain_umap(shown, trials)
    elif shown.hyperbolic:
        space = f"Poincaré disk of curvature −{shown.c:.3g}" if shown.c else "Poincaré disk"
        text = f"{_counted(trials)} in the {space}. Dotted circles: distance from the middle"
        text += "." if shown.c else " in units of 1/√c."
    else:
        text = f"{_counted(trials)} of a Euclidean network."
    if shown.reduced and shown.frame is not None:
        name = reduction.replace("T", "t", 1).replace("H", "h", 1) if shown.hyperbolic else "PCA"
        where = "at" if shown.hyperbolic else "around"
        text += (
            f" {shown.dimension} dimensions are brought to two by {name} {where} the "
            f"{around.lower()}, which keeps {shown.kept:.0%} of the squared distances from there; "
            f"{trials.unit}s that look close may lie apart in the dimensions left out."
        )
    if moved:
        text += (
            " The picture is moved by the Möbius translation that brings the chosen "
            f"{trials.unit} to the middle: distances in it are as before."
            if shown.hyperbolic
            else f" The picture is shifted to the chosen {trials.unit}."
        )
    return text


def _counted(trials: Trials, count: str = "") -> str:
    # All nodes of a taxonomy are placed: none is a test node.
    of_test = "" if trials.unit == "node" else "test "
    return f"{count or len(trials)} {of_test}{trials.unit}s"


def _explain_umap(shown: Picture, trials: Trials) -> str:
    n = int(np.isfinite(shown.points).all(axis=1).sum())
    count = str(n) if n == len(trials) else f"{n} of {len(trials)}"
    kind = "hyperbolic " if trials.hyperbolic else ""
    return (
        f"UMAP of the {kind}distances between {_counted(trials, count)} in all {shown.dimension} "
        "dimensions. Neighbours stay neighbours; distances, sizes and gaps of groups mean little."
    )


def draw_over(
    figure: Any,
    shown: Picture,
    trials: Trials,
    drawn: Sequence[str],
    fit: bool,
    index: int | None,
    ends: Sequence[int],
) -> list[str]:
    """Draw what was asked for over the points; return what is to be said of it."""
    notes = []
    head = trials.head
    if head is not None and shown.frame is not None and {REGIONS, PLANES} & set(drawn):
        regions = decision_regions(shown.frame, head, picture_reach(shown, fit))
        add_regions(figure, regions, trials.names, fill=REGIONS in drawn, planes=PLANES in drawn)
        notes.append(
            "Regions: where the network's head decides for each class, on the slice of the space "
            "that is drawn; a trial off the slice may be decided otherwise."
            if shown.reduced
            else "Regions: where the network's head decides for each class."
        )
    if DENSITY in drawn:
        known = np.isfinite(shown.points).all(axis=1)
        labels = trials.table["label"].to_numpy()[known]
        add_density(figure, shown.points[known], labels, trials.names, 0.5)
        notes.append("Closed lines: where the denser half of each class lies.")
    if POINTS in drawn and shown.frame is not None:
        what, points = trials.class_points()
        c = trials.curvature[0] if trials.hyperbolic else None
        places = {n: shown.frame.project(p[None], c)[0] for n, p in points.items()}
        add_class_points(figure, places, trials.names, what)
        notes.append(f"Stars: {what}s of the classes.")
    if index is not None and ends:
        distance = trials.distances_to(index)
        number = trials.table["trial"]
        texts = [
            f"trial {number[index]} to {number[end]}: distance {distance[end]:.3f}" for end in ends
        ]
        add_geodesics(figure, shown.points[index], shown.points[ends], texts, shown.hyperbolic)
    return notes
