"""Test trials as points: the Poincaré disk, or the plane of a Euclidean network."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st
from hypeeg_app.runs import (
    Run,
    UnreadableError,
    embedded_pipelines,
    embedding_path,
    load_embeddings,
    stamp_of,
)
from hypeeg_app.screen import chart, chosen_run, page_header
from hypeeg_app.trials import COLORS, Trials

from hypeeg.viz import Picture, picture_figure, picture_of
from hypeeg.viz.palette import BETTER, WORSE

CHART_KEY = "disk"
TRIAL_KEY = "trial"
EVERY_NETWORK = "all networks, overlaid"
N_NEAREST = 5
ERROR_STYLES = {
    "correct": {"color": BETTER, "symbol": "circle"},
    "wrong": {"color": WORSE, "symbol": "x"},
}


@st.cache_data(show_spinner=False, max_entries=50)
def picture(key: tuple[Any, ...], around: str, _trials: Trials) -> Picture:
    """Bring trials into the plane; `key` says which ones."""
    return picture_of(
        _trials.embedding, _trials.curvature, "centroid" if around == "Centroid" else "origin"
    )


def take_click(event: Any) -> None:
    """Make a point that was clicked the chosen trial."""
    points = [int(np.ravel(p["customdata"])[0]) for p in event["selection"]["points"]]
    # The chart goes on reporting a click after another trial was chosen from the list.
    if points == st.session_state.get("clicked", []):
        return
    st.session_state["clicked"] = points
    if points:
        st.session_state["clicked-trial"] = points[0]
        st.rerun()


def choose_trials(run: Run, pipelines: list[str]) -> tuple[str, Trials] | None:
    """Show what to look at; return the pipeline and the trials, if it has embeddings."""
    pipeline = st.selectbox("Pipeline", pipelines, key="pipeline")
    trials = Trials.from_arrays(load_embeddings(embedding_path(run, pipeline)), run.kind)
    if not trials.embedding.shape[1]:
        st.info(f"{pipeline} has no embedding: it classifies without one.")
        return None
    networks = list(dict.fromkeys(trials.table["network"]))
    options = [*networks, *([EVERY_NETWORK] if len(networks) > 1 else [])]
    network = st.selectbox(
        "Network",
        options,
        key="network",
        help="Every fold trains a network of its own; the points are the trials it was tested on.",
    )
    if network == EVERY_NETWORK:
        st.caption(
            ":material/warning: Each network has axes of its own: distances between trials of "
            "different networks mean nothing."
        )
    else:
        trials = trials.only((trials.table["network"] == network).to_numpy())
    finite = np.isfinite(trials.embedding).all(axis=1)
    if not finite.all():
        st.warning(f"{int((~finite).sum())} trials have no finite embedding and are left out.")
        trials = trials.only(finite)
    return (pipeline, trials) if len(trials) else None


def choose_trial(trials: Trials) -> int | None:
    """Show the choice of one trial; return its position among `trials`."""
    table = trials.table
    if "clicked-trial" in st.session_state:
        st.session_state[TRIAL_KEY] = st.session_state.pop("clicked-trial")
    if st.session_state.get(TRIAL_KEY, 0) not in range(len(table)):
        st.session_state.pop(TRIAL_KEY, None)
    names = [f"trial {t} · {y}" for t, y in zip(table["trial"], table["label"], strict=True)]
    return st.selectbox(
        "Trial",
        range(len(table)),
        index=None,
        key=TRIAL_KEY,
        format_func=names.__getitem__,
        placeholder="Click a point, or choose",
    )


def show_trial(trials: Trials, index: int, nearest: np.ndarray) -> None:
    """Show the facts of one trial and its neighbours."""
    row = trials.table.loc[index]
    st.subheader(f"Trial {row['trial']}", anchor=False)
    right = row["label"] == row["prediction"]
    st.markdown(
        f"{row['network']}  \nlabel **{row['label']}**, predicted **{row['prediction']}** "
        + (":green-badge[correct]" if right else ":red-badge[wrong]")
    )
    shown = trials.table.loc[nearest, ["trial", "label"]]
    shown["distance"] = trials.distances_to(index)[nearest]
    st.markdown(f"Nearest {len(nearest)} trials, in all {trials.embedding.shape[1]} dimensions:")
    st.dataframe(
        shown,
        hide_index=True,
        column_config={"distance": st.column_config.NumberColumn(format="%.3f")},
    )


def explain(shown: Picture, trials: Trials, around: str, recentred: bool) -> str:
    """Say what the picture shows and what it hides."""
    if shown.hyperbolic:
        space = f"Poincaré disk of curvature −{shown.c:.3g}" if shown.c else "Poincaré disk"
        text = f"{len(trials)} test trials in the {space}. Dotted circles: distance from the middle"
        text += "." if shown.c else " in units of 1/√c."
    else:
        text = f"{len(trials)} test trials of a Euclidean network."
    if shown.reduced:
        name = "tangent PCA at the" if shown.hyperbolic else "PCA around the"
        text += (
            f" {shown.dimension} dimensions are brought to two by {name} {around.lower()}, which "
            f"keeps {shown.kept:.0%} of the squared distances from there; trials that look close "
            "may lie apart in the dimensions left out."
        )
    if recentred:
        text += (
            " The picture is moved by the Möbius translation that brings the chosen trial to the "
            "middle: distances in it are as before."
            if shown.hyperbolic
            else " The picture is shifted to the chosen trial."
        )
    return text


def show(run: Run) -> None:
    """Show the page for one run."""
    pipelines = embedded_pipelines(run)
    if not pipelines:
        going_on = run.state in ("planned", "running")
        st.info(
            "This run has no embeddings yet: they are put together when it ends."
            if going_on
            else "This run has no embeddings. They are kept unless `save.embeddings` is `false`, "
            "and only of folds that finished.",
            icon=":material/bubble_chart:",
        )
        return
    controls, stage = st.columns([3, 8], gap="medium")
    with controls:
        found = choose_trials(run, pipelines)
        if found is None:
            return
        pipeline, trials = found
        by = st.selectbox("Colour", COLORS, key="colour")
        around = st.segmented_control(
            "In the middle",
            ["Centroid", "Origin"],
            default="Centroid",
            required=True,
            key="around",
            help="The centroid of the trials, to see how they differ from each other; or the "
            "origin of the network's space, to see how far out they lie.",
        )
        view = st.segmented_control(
            "Show", ["Trials", "Whole disk"], default="Trials", required=True, key="view"
        )
        index = choose_trial(trials)
        recentre = st.toggle("Re-centre on this trial", key="recentre", disabled=index is None)
    stamp = stamp_of(embedding_path(run, pipeline))
    key = (stamp, st.session_state["network"], len(trials))
    shown = picture(key, str(around), trials)
    nearest = np.empty(0, int) if index is None else trials.nearest(index, N_NEAREST)
    recentred = bool(recentre and index is not None)
    if recentred and index is not None:
        shown = shown.centred_on(index)
    figure = picture_figure(
        shown,
        trials.colors(by),
        trials.hover(),
        color_name=by.lower(),
        marked=index,
        neighbours=nearest.tolist(),
        fit=view == "Trials",
        styles=ERROR_STYLES if by == "Error" else None,
    )
    with stage:
        event = chart(
            figure,
            CHART_KEY,
            f"Test trials of {pipeline} coloured by {by.lower()}",
            zoom=True,
            on_select="rerun",
            selection_mode="points",
        )
        text = explain(shown, trials, str(around), recentred)
        if shown.hyperbolic and figure.layout.xaxis.range[1] < 1.0:
            text += " Zoomed in: the boundary of the disk lies outside."
        st.caption(text)
        take_click(event)
    if index is not None:
        with controls:
            show_trial(trials, index, nearest)


chosen = chosen_run()
page_header("Embeddings", chosen)
try:
    show(chosen)
except UnreadableError as error:
    st.error(f"The embeddings cannot be read: {error}", icon=":material/broken_image:")
