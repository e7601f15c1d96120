"""What to look at on the Embeddings page: pipeline, network, space, middle, drawings, trial."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from hypeeg_app.embedding_picture import (
    CENTROID,
    DENSITY,
    ORIGIN,
    PLANES,
    POINTS,
    REDUCTIONS,
    REGIONS,
)
from hypeeg_app.runs import Run, embedding_path, load_embeddings
from hypeeg_app.signals import UMAP_LEAST, umap_here
from hypeeg_app.trials import COLORS, Trials, beside, kept_choice

TRIAL_KEY, ENDS_KEY, CLICKED_KEY = "trial", "ends", "clicked-trial"
DRAW_KEY, WANTED_KEY = "draw", "drawings-wanted"
POINTS_SHOWN = "Trials"
EVERY_NETWORK = "all networks, overlaid"
TRAINED = "trained"
LISTED = 2000
OWN, TWIN, UMAP = "Embedding", "Twin", "UMAP"


def choose_trials(run: Run, pipelines: list[str]) -> tuple[str, Trials] | None:
    """Show what to look at; return the pipeline and the trials, if it has embeddings."""
    kept_choice("pipeline", pipelines)
    pipeline = st.selectbox("Pipeline", pipelines, key="pipeline", width=180)
    trials = Trials.from_arrays(load_embeddings(embedding_path(run, pipeline)), run.kind)
    if not trials.embedding.shape[1]:
        st.info(f"{pipeline} has no embedding: it classifies without one.")
        return None
    networks = list(dict.fromkeys(trials.table["network"]))
    options = [*networks, *([EVERY_NETWORK] if len(networks) > 1 else [])]
    kept_choice("network", options)
    network = st.selectbox(
        "Network",
        options,
        key="network",
        width=235,
        help="Every fold trains a network of its own; the points are the trials it was tested on.",
    )
    if network != EVERY_NETWORK:
        trials = trials.only((trials.table["network"] == network).to_numpy())
    return pipeline, trials


def finite_trials(trials: Trials) -> Trials:
    """Return the trials that can be drawn; say what is left out and what must not be read."""
    if trials.table["network"].nunique() > 1:
        st.caption(
            ":material/warning: Each network has axes of its own: distances between trials of "
            "different networks mean nothing."
        )
    finite = np.isfinite(trials.embedding).all(axis=1)
    if finite.all():
        return trials
    st.warning(f"{int((~finite).sum())} trials have no finite embedding and are left out.")
    return trials.only(finite)


def twin_of(run: Run, pipeline: str, pipelines: list[str]) -> str | None:
    """Return the pipeline that this one is compared with, if its embeddings are there."""
    pairs = dict(run.twins)
    pairs |= {ours: twin for twin, ours in run.twins.items() if ours not in pairs}
    other = pairs.get(pipeline)
    return other if other in pipelines else None


def twin_trials(run: Run, twin: str, own: Trials) -> Trials | None:
    """Return the same trials as the twin sees them; None, with words, if it kept none."""
    trials = beside(own, Trials.from_arrays(load_embeddings(embedding_path(run, twin)), run.kind))
    if len(trials) and trials.embedding.shape[1]:
        return trials
    st.info(f"{twin} kept no embedding of these trials.")
    return None


def choose_space(other: str | None, trials: Trials) -> str:
    """Show the choice between the embedding, that of the twin `other`, and UMAP."""
    words = {OWN: "Disk" if trials.hyperbolic else "Plane"}
    if other is not None:
        words[TWIN] = "Twin"
    missing = umap_missing(trials)
    if not missing:
        words[UMAP] = "UMAP"
    if st.session_state.get("space") not in words:
        st.session_state.pop("space", None)
    space = st.segmented_control(
        "Space",
        list(words),
        default=OWN,
        required=True,
        key="space",
        format_func=words.__getitem__,
        width="content",
        help="The embedding itself; the same trials as the Euclidean twin sees them"
        + (f" ({other})" if other else " (none here)")
        + "; or UMAP of the distances in all dimensions"
        + (f" ({missing})." if missing else ", which keeps neighbours and no distances."),
    )
    return str(space)


def umap_missing(trials: Trials) -> str:
    """Return why UMAP of these trials is not offered; empty if it is."""
    if not umap_here():
        return "not installed: pip install 'hypeeg[umap]'"
    if trials.table["network"].nunique() > 1:
        # Distances between points of different networks mean nothing.
        return "of one network alone: choose one"
    return "" if len(trials) >= UMAP_LEAST else f"needs {UMAP_LEAST} trials, has {len(trials)}"


def choose_colour() -> str:
    """Show what the points are coloured by."""
    return str(st.selectbox("Colour", COLORS, key="colour", width=140))


def choose_view(trials: Trials, space: str) -> tuple[str, str, bool]:
    """Show the choice of middle, reduction and part; return it, the last as "show the trials"."""
    reduction = next(iter(REDUCTIONS))
    if space == UMAP:
        return CENTROID, reduction, True
    around = st.segmented_control(
        "In the middle",
        [CENTROID, ORIGIN],
        default=CENTROID,
        required=True,
        key="around",
        help="The centroid of the trials, to see how they differ from each other; or the "
        "origin of the network's space, to see how far out they lie.",
    )
    if trials.hyperbolic and trials.embedding.shape[1] > 2:
        reduction = str(
            st.selectbox(
                "Reduction",
                list(REDUCTIONS),
                key="reduction",
                help="Tangent PCA keeps distances and angles from the middle best; "
                "horospherical PCA (Chami et al. 2021) keeps two Busemann functions, and with "
                "them distances between points far out.",
            )
        )
    if not trials.hyperbolic:
        return str(around), reduction, True
    part = st.segmented_control(
        "Show",
        [POINTS_SHOWN, "Whole disk"],
        default=POINTS_SHOWN,
        required=True,
        key="view",
        format_func=lambda part: f"{trials.unit}s".capitalize() if part == POINTS_SHOWN else part,
    )
    return str(around), reduction, part == POINTS_SHOWN


def choose_epoch(trials: Trials) -> int | str:
    """Show the slider over the epochs that were kept."""
    if not len(trials.epochs) or not np.isfinite(trials.epoch_embedding).any():
        return TRAINED
    kept = [
        int(epoch)
        for at, epoch in enumerate(trials.epochs)
        if np.isfinite(trials.epoch_embedding[:, at]).all()
    ]
    options: list[int | str] = [*kept, TRAINED]
    if st.session_state.get("epoch") not in options:
        st.session_state["epoch"] = TRAINED
    chosen: int | str = st.select_slider(
        "Epoch of training",
        options,
        key="epoch",
        format_func=lambda e: "trained" if e == TRAINED else f"epoch {e}",
    )
    return chosen


def choose_drawings(trials: Trials, space: str, trained: bool) -> list[str]:
    """Show what can be drawn over the points; return what is chosen."""
    options = []
    head = trials.head if trained and space != UMAP else None
    if head is not None:
        options.append(REGIONS)
        if not head.has_prototypes:
            options.append(PLANES)
    if trials.table["network"].nunique() == 1 and trained and space != UMAP:
        options.append(POINTS)
    options.append(DENSITY)
    # What was wanted outlives a view that cannot show it: an epoch without a head, UMAP.
    wanted = st.session_state.setdefault(WANTED_KEY, [REGIONS, POINTS] if head is not None else [])
    st.session_state[DRAW_KEY] = [name for name in wanted if name in options]

    def keep() -> None:
        hidden = [name for name in wanted if name not in options]
        st.session_state[WANTED_KEY] = hidden + list(st.session_state[DRAW_KEY])

    chosen = st.multiselect(
        "Draw",
        options,
        key=DRAW_KEY,
        on_change=keep,
        placeholder="Points alone",
        help="Regions: where the head decides for each class. Hyperplanes: where a class's logit "
        "is 0. Classes: prototypes, or centroids where the head has none. Density: the denser half "
        "of each class.",
    )
    if head is None and trained and space != UMAP and not trials.heads:
        st.caption("No decision regions: the run kept no head that can be drawn.")
    return list(chosen or [])


def choose_trial(trials: Trials, state: Any) -> tuple[int | None, bool, list[int]]:
    """Show the choice of a trial; return it, whether it is the middle, and trials to go to.

    The choice is forgotten when `state`, which says what the trials are, is another.
    """
    table = trials.table
    if st.session_state.get("trial-of") != state:
        st.session_state["trial-of"] = state
        for key in (TRIAL_KEY, ENDS_KEY):
            st.session_state.pop(key, None)
    if CLICKED_KEY in st.session_state:
        st.session_state[TRIAL_KEY] = st.session_state.pop(CLICKED_KEY)
    names = [
        f"{trials.unit} {t} · {y}" for t, y in zip(table["trial"], table["label"], strict=True)
    ]
    # A list of many thousand names is slow in the browser: any point can be clicked instead.
    listed = set(np.linspace(0, len(table) - 1, min(len(table), LISTED)).astype(int).tolist())
    listed |= {i for i in (st.session_state.get(TRIAL_KEY),) if i is not None}
    listed |= set(st.session_state.get(ENDS_KEY, []))
    options = sorted(listed)
    index = st.selectbox(
        trials.unit.capitalize(),
        options,
        index=None,
        key=TRIAL_KEY,
        format_func=names.__getitem__,
        placeholder="Click a point, or choose",
    )
    recentre = st.toggle(f"Re-centre on this {trials.unit}", key="recentre", disabled=index is None)
    ends: list[int] = []
    if index is not None:
        ends = st.multiselect(
            "Geodesics to",
            options,
            key=ENDS_KEY,
            format_func=names.__getitem__,
            max_selections=8,
            placeholder=f"Other {trials.unit}s",
        )
    return index, bool(recentre and index is not None), ends
