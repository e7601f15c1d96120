"""A lesson of the geometry lab: what an optimiser step does that changes the curvature too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from hypeeg.viz import curves_figure, lab_figure
from hypeeg.viz.disk import geodesic, lorentz_to_disk
from hypeeg.viz.palette import COLORS, NEUTRAL
from hypeeg_app.lab_controls import choose_c
from hypeeg_app.optimiser import WorkerError, optimise
from hypeeg_app.screen import chart, columns

MOVES = {
    "none": "naive",
    "exp": "exp",
    "scale": "scale",
}
STAYS = {
    "none": "Coordinates stay as they are.",
    "exp": "Distances to O stay as they are.",
    "scale": "The shape stays: everything grows or shrinks alike.",
}
MOVE_COLORS = {"none": COLORS[5], "exp": COLORS[0], "scale": COLORS[2]}


def show_optimiser() -> None:
    """Riemannian AdamW on points while the curvature is learned."""
    controls, stage = columns([3, 8], "lab-optimiser", "part", gap="medium")
    with controls:
        move = str(
            st.segmented_control(
                "When c changes",
                list(MOVES),
                format_func=MOVES.__getitem__,
                default="scale",
                required=True,
                key="move",
                help="What becomes of the points when a step changes the curvature.",
            )
        )
        st.caption(STAYS[move])
        step = st.slider("Steps taken", 0, 40, 1, key="steps")
        lr = st.select_slider(
            "Learning rate of the points", [0.0, 0.01, 0.02, 0.05, 0.1, 0.2], 0.05, key="lr"
        )
        curvature_lr = st.select_slider(
            "Learning rate of log c", [0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5], 0.3, key="curvature-lr"
        )
        with st.expander("More"):
            c = choose_c("c-optimiser")
            depth = st.segmented_control(
                "Levels of the tree", [1, 2, 3], default=2, required=True, key="depth"
            )
            spread = st.slider("Edges at the start", 0.3, 2.0, 0.7, 0.1, key="spread")
            gradient = st.segmented_control(
                "Gradient of c",
                ["autograd", "consistent"],
                default="autograd",
                required=True,
                key="gradient",
                help="autograd: coordinates held fixed. consistent: as the points follow.",
            )
    request = {
        "c": c,
        "depth": depth,
        "lr": lr,
        "curvature_lr": curvature_lr,
        "steps": 40,
        "spread": spread,
        "gradient": gradient,
    }
    with stage:
        try:
            with st.spinner("Asking the optimiser (the first time it loads torch) …"):
                reply = optimise(request)
        except WorkerError as error:
            st.error(str(error), icon=":material/error:")
            return
        show_training(reply, move, step)


def show_training(reply: dict[str, Any], move: str, step: int) -> None:
    """Show where the points went, the curves of all moves, and the curvature's step alone."""
    own = reply["together"][move]
    before = lorentz_to_disk(np.array(own["points"][0]), own["c"][0])
    after = lorentz_to_disk(np.array(own["points"][step]), own["c"][step])
    edges = [geodesic(after[(k - 1) // 2], after[k], 17) for k in range(1, len(after))]
    trails = [
        np.stack(
            [lorentz_to_disk(np.array(own["points"][s][k]), own["c"][s]) for s in range(step + 1)]
        )
        for k in range(len(after))
    ]
    taken = "after 1 step" if step == 1 else f"after {step} steps"
    left, right = columns([5, 4], "lab-training", "part")
    with left:
        chart(
            lab_figure(
                own["c"][step],
                {"start": before, taken: after},
                {"edges of the tree": edges, "way taken": trails},
                styles={
                    "edges of the tree": {"line": {"color": MOVE_COLORS[move], "width": 2}},
                    "way taken": {"line": {"color": NEUTRAL, "width": 1.2}},
                    "start": {
                        "marker": {"symbol": "circle-open", "size": 9, "color": NEUTRAL},
                    },
                },
                height=440,
            ),
            "lab-training",
            "A tree in the disk before and after the optimiser's steps",
        )
    steps = np.arange(len(own["c"]))
    styles = {
        MOVES[m]: {"color": MOVE_COLORS[m], "width": 3.5 if m == move else 1.6} for m in MOVES
    }
    with right:
        for key in ("loss", "c"):
            chart(
                curves_figure(
                    steps,
                    {MOVES[m]: np.array(reply["together"][m][key]) for m in MOVES},
                    x_title="step",
                    y_title=key,
                    marks={"": step} if 0 < step < len(steps) - 1 else {},
                    styles=styles,
                    height=220,
                ),
                f"lab-{key}",
                f"{key} over the steps, for each way the points may follow",
            )
    st.markdown(
        f"**What to see.** A tree with edges of length 1 is laid into the plane; the loss is the "
        f"mean squared error of all its distances. {taken.capitalize()} c is "
        f"**{own['c'][step]:.3f}** (from {own['c'][0]:g}) and the loss **{own['loss'][step]:.4f}** "
        f"(from {own['loss'][0]:.4f})."
    )
    st.markdown("##### The first step of c alone, the points at rest")
    st.dataframe(
        alone_table(reply["alone"]),
        hide_index=True,
        column_config={
            "c": st.column_config.TextColumn(width="small"),
            "Loss": st.column_config.TextColumn(width="small"),
        },
    )
    st.markdown(
        "The same step of *c* means three things. **Naive**: the coordinates stay, so every point "
        "changes its distance to O, near ones hardly, far ones most: the shape is bent by a "
        "step that never meant to move it. **exp**: log at O, then exp at O in the new space: "
        "distances to O stay exactly, those between points change. **scale**: coordinates times "
        "√(c/c′): every distance changes by the same factor, so the shape stays and the picture "
        "in the disk does not move at all."
    )
    st.caption(
        "Computed by `hypeeg.optim.RiemannianAdamW` in a process of its own, weight decay 0. "
        "`curvature_move` names the way; moments, kept at O, need no change under any of them. "
        "Bdeir and Landwehr, arXiv 2405.13979."
    )


def alone_table(alone: dict[str, Any]) -> pd.DataFrame:
    """Return what the curvature's step does under each move."""
    rows = []
    for move, text in MOVES.items():
        run = alone[move]
        root = [np.array(d) for d in run["dist0"]]
        pairs = [np.array(d) for d in run["between"]]
        moving = root[0] > 0
        rows.append(
            {
                "Move": text,
                "c": f"{run['c'][0]:.3g} → {run['c'][1]:.3g}",
                "Distances to O": changed(root[1][moving] / root[0][moving]),
                "Distances of pairs": changed(pairs[1] / pairs[0]),
                "Loss": f"{run['loss'][0]:.4f} → {run['loss'][1]:.4f}",
            }
        )
    return pd.DataFrame(rows)


def changed(factors: np.ndarray) -> str:
    """Return by which factors values change."""
    low, high = float(factors.min()), float(factors.max())
    if high - low < 5e-4:
        return "unchanged" if abs(high - 1.0) < 5e-4 else f"all × {high:.3f}"
    return f"× {low:.3f} to {high:.3f}"
