"""Test trials as points: the Poincaré disk, the plane of a Euclidean network, or UMAP."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st
from hypeeg_app.embedding_panels import show_radius, show_selection, show_signals
from hypeeg_app.runs import (
    Run,
    UnreadableError,
    embedded_pipelines,
    embedding_path,
    load_embeddings,
    stamp_of,
)
from hypeeg_app.screen import chart, chosen_run, page_header
from hypeeg_app.selection import clicked_row, selected_rows, signature
from hypeeg_app.signals import ProcessError, umap_here, umap_points, umap_rows
from hypeeg_app.trials import COLORS, Trials, beside, kept_choice

from hypeeg.viz import Picture, picture_figure, picture_of
from hypeeg.viz.embeddings import picture_reach
from hypeeg.viz.overlays import add_class_points, add_density, add_geodesics, add_regions
from hypeeg.viz.palette import BETTER, WORSE
from hypeeg.viz.regions import decision_regions

CHART_KEY = "disk"
TRIAL_KEY = "trial"
EVERY_NETWORK = "all networks, overlaid"
TRAINED = "trained"
N_NEAREST = 5
LISTED = 2000
ERROR_STYLES = {
    "correct": {"color": BETTER, "symbol": "circle"},
    "wrong": {"color": WORSE, "symbol": "x"},
}
OWN, TWIN, UMAP = "Embedding", "Twin", "UMAP"
REGIONS, PLANES, POINTS, DENSITY = "Regions", "Hyperplanes", "Classes", "Density"
REDUCTIONS = {"Tangent PCA": "tangent", "Horospherical PCA": "horospherical"}


@st.cache_data(show_spinner=False, max_entries=50)
def picture(key: tuple[Any, ...], around: str, reduction: str, _trials: Trials) -> Picture:
    """Bring trials into the plane; `key` says which ones."""
    return picture_of(
        _trials.embedding,
        _trials.curvature,
        "centroid" if around == "Centroid" else "origin",
        REDUCTIONS[reduction],
    )


def choose_trials(run: Run, pipelines: list[str]) -> tuple[str, Trials] | None:
    """Show what to look at; return the pipeline and the trials, if it has embeddings."""
    kept_choice("pipeline", pipelines)
    pipeline = st.selectbox("Pipeline", pipelines, key="pipeline")
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


def twin_of(run: Run, pipeline: str, pipelines: list[str]) -> str | None:
    """Return the pipeline that this one is compared with, if its embeddings are there."""
    pairs = dict(run.twins)
    pairs |= {ours: twin for twin, ours in run.twins.items() if ours not in pairs}
    other = pairs.get(pipeline)
    return other if other in pipelines else None


def choose_space(run: Run, pipeline: str, pipelines: list[str], trials: Trials) -> str:
    """Show the choice between the embedding, that of the twin, and UMAP."""
    other = twin_of(run, pipeline, pipelines)
    words = {OWN: "Disk" if trials.hyperbolic else "Plane"}
    if other is not None:
        words[TWIN] = "Twin"
    if umap_here():
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
        help="The embedding itself; the same trials as the Euclidean twin sees them"
        + (f" ({other})" if other else " (none here)")
        + "; or UMAP of the distances in all dimensions"
        + (
            ", which keeps neighbours and no distances."
            if umap_here()
            else " (not installed: pip install 'hypeeg[umap]')."
        ),
    )
    return str(space)


def choose_trial(trials: Trials) -> tuple[int | None, bool, list[int]]:
    """Show the choice of a trial; return it, whether it is the middle, and trials to go to."""
    table = trials.table
    if "clicked-trial" in st.session_state:
        st.session_state[TRIAL_KEY] = st.session_state.pop("clicked-trial")
    if st.session_state.get(TRIAL_KEY, 0) not in range(len(table)):
        st.session_state.pop(TRIAL_KEY, None)
    names = [f"trial {t} · {y}" for t, y in zip(table["trial"], table["label"], strict=True)]
    # A list of many thousand names is slow in the browser: any point can be clicked instead.
    listed = set(np.linspace(0, len(table) - 1, min(len(table), LISTED)).astype(int).tolist())
    listed |= {i for i in (st.session_state.get(TRIAL_KEY),) if i is not None}
    listed |= {end for end in st.session_state.get("ends", []) if end < len(table)}
    options = sorted(listed)
    index = st.selectbox(
        "Trial",
        options,
        index=None,
        key=TRIAL_KEY,
        format_func=names.__getitem__,
        placeholder="Click a point, or choose",
    )
    recentre = st.toggle("Re-centre on this trial", key="recentre", disabled=index is None)
    ends: list[int] = []
    if index is not None:
        gone = [end for end in st.session_state.get("ends", []) if end >= len(table)]
        if gone:
            st.session_state.pop("ends")
        ends = st.multiselect(
            "Geodesics to",
            options,
            key="ends",
            format_func=names.__getitem__,
            max_selections=8,
            placeholder="Other trials",
        )
    return index, bool(recentre and index is not None), ends


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


def explain(shown: Picture, trials: Trials, around: str, reduction: str, moved: bool) -> str:
    """Say what the picture shows and what it hides."""
    if shown.hyperbolic:
        space = f"Poincaré disk of curvature −{shown.c:.3g}" if shown.c else "Poincaré disk"
        text = f"{len(trials)} test trials in the {space}. Dotted circles: distance from the middle"
        text += "." if shown.c else " in units of 1/√c."
    elif shown.frame is None:
        return f"UMAP of the distances between {len(shown.points)} of {len(trials)} test trials" + (
            " (hyperbolic, in all dimensions). Neighbours stay neighbours; distances, sizes and "
            "gaps of groups mean little."
        )
    else:
        text = f"{len(trials)} test trials of a Euclidean network."
    if shown.reduced:
        name = reduction.replace("T", "t", 1).replace("H", "h", 1) if shown.hyperbolic else "PCA"
        where = "at" if shown.hyperbolic else "around"
        text += (
            f" {shown.dimension} dimensions are brought to two by {name} {where} the "
            f"{around.lower()}, which keeps {shown.kept:.0%} of the squared distances from there; "
            "trials that look close may lie apart in the dimensions left out."
        )
    if moved:
        text += (
            " The picture is moved by the Möbius translation that brings the chosen trial to the "
            "middle: distances in it are as before."
            if shown.hyperbolic
            else " The picture is shifted to the chosen trial."
        )
    return text


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
        st.session_state["clicked-trial"] = index
        st.rerun()


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


def drawings(trials: Trials, space: str, trained: bool) -> list[str]:
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
    usual = [o for o in (REGIONS, POINTS) if o in options and head is not None]
    st.session_state["draw"] = [o for o in st.session_state.get("draw", usual) if o in options]
    chosen = st.multiselect(
        "Draw",
        options,
        key="draw",
        placeholder="Points alone",
        help="Regions: where the head decides for each class. Hyperplanes: where a class's logit "
        "is 0. Classes: prototypes, or centroids where the head has none. Density: the denser half "
        "of each class.",
    )
    if head is None and trained and space != UMAP and not trials.heads:
        st.caption("No decision regions: the run kept no head that can be drawn.")
    return list(chosen or [])


def umap_picture(key: Any, trials: Trials) -> Picture:
    """Return the trials as UMAP places them; those that are left out are NaN."""
    rows = umap_rows(len(trials))
    c = trials.curvature[rows] if trials.hyperbolic else None
    with st.spinner("UMAP …"):
        found = umap_points(key, 15, trials.embedding[rows], c)
    points = np.full((len(trials), 2), np.nan)
    points[rows] = found - found.mean(axis=0)
    return Picture(points, False, trials.embedding.shape[1], 1.0, None)


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
        pipeline, own = found
        space = choose_space(run, pipeline, pipelines, own)
        trials = own
        if space == TWIN:
            pipeline = str(twin_of(run, pipeline, pipelines))
            arrays = load_embeddings(embedding_path(run, pipeline))
            trials = beside(own, Trials.from_arrays(arrays, run.kind))
            if not len(trials) or not trials.embedding.shape[1]:
                st.info(f"{pipeline} kept no embedding of these trials.")
                return
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
        reduction = next(iter(REDUCTIONS))
        if trials.hyperbolic and trials.embedding.shape[1] > 2 and space != UMAP:
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
        view = st.segmented_control(
            "Show", ["Trials", "Whole disk"], default="Trials", required=True, key="view"
        )
    with stage:
        epoch = choose_epoch(trials) if space != UMAP else TRAINED
    with controls:
        drawn = drawings(trials, space, epoch == TRAINED)
        index, recentre, ends = choose_trial(trials)
    key = (stamp_of(embedding_path(run, pipeline)), st.session_state["network"], len(trials))
    if space == UMAP:
        shown = umap_picture(key, trials)
    else:
        shown = picture(key, str(around), reduction, trials)
    if epoch != TRAINED:
        embedding, curvature = trials.at_epoch(int(epoch))
        trials = replace(trials, embedding=embedding, curvature=curvature)
        shown = shown.of(embedding, curvature, "centroid" if around == "Centroid" else "origin")
    nearest = np.empty(0, int) if index is None else trials.nearest(index, N_NEAREST)
    if recentre and index is not None:
        shown = shown.centred_on(index)
    state = (run.name, st.session_state["network"], len(trials))
    kept = st.session_state.get("selected")
    selected = np.array(kept[1], dtype=int) if kept is not None and kept[0] == state else None
    fit = view == "Trials"
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
    figure.update_layout(dragmode="lasso", uirevision=f"{state}{space}{around}{recentre}{index}")
    with stage:
        event = chart(
            figure,
            CHART_KEY,
            f"Test trials of {pipeline} coloured by {by.lower()}",
            zoom=True,
            on_select="rerun",
            selection_mode=("points", "box", "lasso"),
        )
        text = explain(shown, trials, str(around), reduction, recentre)
        if epoch != TRAINED:
            text += " The axes are those of the trained network."
        if shown.hyperbolic and figure.layout.xaxis.range[1] < 1.0:
            text += " Zoomed in: the boundary of the disk lies outside."
        st.caption(" ".join([text, *notes]))
        take_event(event, shown, state)
    if index is not None:
        with controls:
            show_trial(trials, index, nearest)
    with stage:
        show_below(run, trials, selected)


def draw_over(
    figure: Any,
    shown: Picture,
    trials: Trials,
    drawn: list[str],
    fit: bool,
    index: int | None,
    ends: list[int],
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


def show_below(run: Run, trials: Trials, selected: np.ndarray | None) -> None:
    """Show the part below the picture that is asked for; the others are not computed."""
    parts = {
        "Selection": ":material/lasso_select: Selection",
        "Signals": ":material/show_chart: Signals",
        "Radius": ":material/radar: Radius and certainty",
    }
    part = st.segmented_control(
        "Below",
        list(parts),
        default="Selection",
        required=True,
        key="below",
        format_func=parts.__getitem__,
        label_visibility="collapsed",
    )
    if part == "Radius":
        show_radius(trials)
    elif part == "Signals":
        show_signals(run, trials, selected)
    else:
        show_selection(trials, selected)


chosen = chosen_run()
page_header("Embeddings", chosen)
try:
    show(chosen)
except UnreadableError as error:
    st.error(f"The embeddings cannot be read: {error}", icon=":material/broken_image:")
except ProcessError as error:
    st.error(f"UMAP failed: {error}", icon=":material/error:")
