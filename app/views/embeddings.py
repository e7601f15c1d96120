"""Test trials as points: the Poincaré disk, the plane of a Euclidean network, or UMAP."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st
from hypeeg_app.embedding_choices import (
    CLICKED_KEY,
    TRAINED,
    TWIN,
    UMAP,
    choose_colour,
    choose_drawings,
    choose_epoch,
    choose_space,
    choose_trial,
    choose_trials,
    choose_view,
    finite_trials,
    twin_of,
    twin_trials,
)
from hypeeg_app.embedding_panels import show_below, show_trial
from hypeeg_app.embedding_picture import (
    CENTROID,
    ERROR_STYLES,
    draw_over,
    explain,
    picture,
    umap_picture,
)
from hypeeg_app.runs import Run, UnreadableError, embedded_pipelines, embedding_path, stamp_of
from hypeeg_app.screen import chart, chosen_run, page_header
from hypeeg_app.selection import clicked_row, selected_rows, signature
from hypeeg_app.signals import ProcessError

from hypeeg.viz import Picture, picture_figure

CHART_KEY = "disk"
N_NEAREST = 5
# Pixels: beside it there is room for the controls, which go below it on a narrow screen.
PICTURE_WIDTH = 660


def take_event(event: Any, shown: Picture, state: tuple[Any, ...]) -> None:
    """Make a clicked point the chosen trial, and points inside a line the selection."""
    said = signature(event)
    # The chart goes on reporting what was done before: each thing is done once.
    if said == st.session_state.get("taken"):
        return
    st.session_state["taken"] = said
    rows = selected_rows(event, shown.points)
    if rows is not None:
        # A line around nothing takes the selection away.
        st.session_state["selected"] = (state, rows.tolist()) if len(rows) else None
        st.rerun()
    index = clicked_row(event, len(shown.points))
    if index is not None:
        st.session_state[CLICKED_KEY] = index
        st.rerun()


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
    with st.container(horizontal=True):
        found = choose_trials(run, pipelines)
        if found is None:
            return
        pipeline, trials = found
        other = twin_of(run, pipeline, pipelines)
        space = choose_space(other, trials)
        by = choose_colour()
    trials = finite_trials(trials)
    if space == TWIN and other is not None:
        pipeline, beside = other, twin_trials(run, other, trials)
        if beside is None:
            return
        trials = beside
    if not len(trials):
        return
    network = st.session_state["network"]
    state = (run.name, network, hash(tuple(trials.table["trial"])))
    with st.container(horizontal=True, gap="medium"):
        stage = st.container(width=PICTURE_WIDTH)
        controls = st.container()
    with controls:
        around, reduction, fit = choose_view(trials, space)
    with stage:
        epoch = choose_epoch(trials) if space != UMAP else TRAINED
    with controls:
        drawn = choose_drawings(trials, space, epoch == TRAINED)
        index, recentre, ends = choose_trial(trials, state)
    key = (stamp_of(embedding_path(run, pipeline)), *state)
    if space == UMAP:
        shown = umap_picture(key, trials)
    else:
        shown = picture(key, around, reduction, trials)
    if epoch != TRAINED:
        embedding, curvature = trials.at_epoch(int(epoch))
        trials = replace(trials, embedding=embedding, curvature=curvature)
        shown = shown.of(embedding, curvature, "centroid" if around == CENTROID else "origin")
    nearest = np.empty(0, int) if index is None else trials.nearest(index, N_NEAREST)
    if recentre and index is not None:
        shown = shown.centred_on(index)
    kept = st.session_state.get("selected")
    selected = np.array(kept[1], dtype=int) if kept is not None and kept[0] == state else None
    figure = picture_figure(
        shown,
        trials.colors(by),
        trials.hover,
        color_name=by.lower(),
        names=trials.names if by in ("Label", "Prediction") else None,
        selected=selected,
        marked=index,
        neighbours=nearest.tolist(),
        fit=fit,
        styles=ERROR_STYLES if by == "Error" else None,
    )
    notes = draw_over(figure, shown, trials, drawn, fit, index, ends)
    # With the lasso in hand Streamlit hears no clicks on points; it is a button away.
    figure.update_layout(dragmode="pan", uirevision=f"{state}{space}{around}{recentre}{index}")
    with stage:
        event = chart(
            figure,
            CHART_KEY,
            f"Test trials of {pipeline} coloured by {by.lower()}",
            zoom=True,
            bar=True,
            on_select="rerun",
            selection_mode=("points", "box", "lasso"),
        )
        text = explain(shown, trials, around, reduction, recentre)
        if epoch != TRAINED:
            text += " The axes are those of the trained network."
        if shown.hyperbolic and figure.layout.xaxis.range[1] < 1.0:
            text += " Zoomed in: the boundary of the disk lies outside."
        st.caption(" ".join([text, *notes]))
        take_event(event, shown, state)
    if index is not None:
        with controls:
            show_trial(trials, index, nearest)
    show_below(run, trials, selected)


chosen = chosen_run()
page_header("Embeddings", chosen)
try:
    show(chosen)
except UnreadableError as error:
    st.error(f"The embeddings cannot be read: {error}", icon=":material/broken_image:")
except ProcessError as error:
    st.error(f"UMAP failed: {error}", icon=":material/error:")
