"""Geometry lab: hyperbolic space to touch, for learning."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from hypeeg_app.optimiser import WorkerError, optimise
from hypeeg_app.screen import chart

from hypeeg.viz import curves_figure, lab_figure, sheet_figure
from hypeeg.viz.disk import disk_distance, geodesic, lorentz_to_disk
from hypeeg.viz.lab import arrow
from hypeeg.viz.maps import (
    disk_exp,
    disk_log,
    disk_transport,
    from_polar,
    largest_distance,
    rescaled_distance,
    sheet_error,
    to_polar,
)
from hypeeg.viz.palette import COLORS, NEUTRAL

LESSONS = {
    "Distances": ":material/straighten: Distances",
    "Exp and log": ":material/arrow_outward: Exp and log",
    "Rescaling": ":material/compress: Rescaling",
    "Optimiser": ":material/trending_down: Optimiser",
}
CURVATURES = [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0]
MAX_DISTANCE = 6.0
PLACES = {"A": (1.6, 30), "B": (2.0, 140), "X": (1.2, 205), "Y": (1.8, 20)}
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
THIN = {"line": {"color": NEUTRAL, "width": 1.4, "dash": "dash"}}


def choose_c(key: str) -> float:
    """Show the slider of the curvature."""
    return float(
        st.select_slider(
            "Curvature magnitude c",
            CURVATURES,
            value=1.0,
            key=key,
            help="The space has curvature −c everywhere. Near 0 it is flat.",
        )
    )


def place_point(name: str, c: float) -> np.ndarray:
    """Show the sliders of a point; return it in the unit disk."""
    distance, angle = PLACES[name]
    if f"clicked-{name}" in st.session_state:
        distance, angle = st.session_state.pop(f"clicked-{name}")
        st.session_state[f"distance-{name}"] = distance
        st.session_state[f"angle-{name}"] = angle
    left, right = st.columns(2)
    r = left.slider(
        f"{name}: distance from O", 0.0, MAX_DISTANCE, distance, 0.05, key=f"distance-{name}"
    )
    turn = right.slider(f"{name}: direction", 0, 359, angle, 1, format="%d°", key=f"angle-{name}")
    return from_polar(float(r), math.radians(turn), c)


def take_click(event: Any, key: str, name: str, c: float) -> None:
    """Put a point where the disk was clicked."""
    points = event["selection"]["points"]
    at = [(float(p["x"]), float(p["y"])) for p in points][:1]
    # The chart goes on reporting a click after the sliders moved the point on.
    if at == st.session_state.get(f"taken-{key}", []):
        return
    st.session_state[f"taken-{key}"] = at
    if at and math.hypot(*at[0]) < 1.0:
        distance, angle = to_polar(np.array(at[0]), c)
        rounded = min(MAX_DISTANCE, round(distance / 0.05) * 0.05)
        st.session_state[f"clicked-{name}"] = (rounded, round(math.degrees(angle)) % 360)
        st.rerun()


def show_figures(*figures: tuple[str, str, str | None]) -> None:
    """Show numbers side by side: name, value, explanation."""
    for column, (name, value, meaning) in zip(st.columns(len(figures)), figures, strict=True):
        column.metric(name, value, border=True, help=meaning)


def clicked_point(names: list[str]) -> str:
    """Show which point a click moves."""
    return str(
        st.segmented_control(
            "A click into the disk moves",
            names,
            default=names[0],
            required=True,
            key=f"moves-{''.join(names)}",
        )
    )


def show_distances() -> None:
    """Two points, the geodesic between them, and what curvature does to it."""
    controls, stage = st.columns([3, 8], gap="medium")
    with controls:
        c = choose_c("c-distances")
        moved = clicked_point(["A", "B"])
        a, b = place_point("A", c), place_point("B", c)
        view = st.segmented_control(
            "Show",
            ["Disk", "Disk and sheet"],
            default="Disk and sheet",
            required=True,
            key="distances-view",
        )
    o = np.zeros(2)
    middle = geodesic(a, b, 3)[1]
    points = {"A": a, "B": b, "M": middle, "O": o}
    paths = {
        "geodesic": [geodesic(a, b, 65)],
        "over the origin": [np.stack([a, o, b])],
    }
    d = float(disk_distance(a, b, c))
    da, db = float(disk_distance(a, o, c)), float(disk_distance(b, o, c))
    flat = math.dist(*(r * _unit(p) for r, p in ((da, a), (db, b))))
    share = d / (da + db) if da + db > 0 else 0.0
    angles = triangle_angles(da, db, d, c)
    both = view == "Disk and sheet"
    with stage:
        show_figures(
            ("d(A, B)", f"{d:.3f}", None),
            (
                "in a flat space",
                f"{flat:.3f}",
                "The same two distances from O and the same angle between them, without curvature.",
            ),
            (
                "of the way over O",
                f"{share:.0%}",
                "d(A, B) / (d(A, O) + d(O, B)): 100 % in a tree whose root is O.",
            ),
            (
                "angles of OAB",
                "–" if angles is None else f"{math.degrees(sum(angles)):.0f}°",
                "Their sum. 180° in a flat space; what is missing, in radians, divided by c is the "
                "area of the triangle.",
            ),
        )
        places = st.columns(2) if both else [st.container()]
        with places[0]:
            event = chart(
                lab_figure(
                    c,
                    points,
                    paths,
                    styles={"over the origin": THIN, "O": {"marker": {"color": NEUTRAL}}},
                    targets=True,
                    height=380 if both else 600,
                ),
                "lab-disk",
                "Points A and B in the Poincaré disk with the geodesic between them",
                on_select="rerun",
                selection_mode="points",
            )
        if len(places) == 2:
            with places[1]:
                chart(
                    sheet_figure(
                        {"A": a, "B": b, "M": middle},
                        paths,
                        colors={"over the origin": NEUTRAL},
                        height=380,
                    ),
                    "lab-sheet",
                    "The same points on the hyperboloid above the disk",
                )
        missing = "" if angles is None else area_text(angles, c)
        st.markdown(
            "**What to see.** The shortest path bends towards the middle: near it a unit of "
            "distance is drawn longest, so the same stretch of the picture costs least. Raise *c* "
            "while the distances from O stay: A and B move apart, the path hugs the way over O, "
            "and distances become those of a tree. That is why hierarchies fit." + missing
        )
        with st.expander("The formula"):
            st.latex(
                r"d(x,y)=\tfrac{1}{\sqrt c}\,\operatorname{arcosh}\!\big(c\,(x_t y_t-\langle "
                r"x_s,y_s\rangle)\big),\qquad x_t=\sqrt{1/c+\lVert x_s\rVert^2}"
            )
            st.caption(
                "Networks keep the space part of a point, x_s, on the sheet (right, in units of "
                "1/√c); the disk is the sheet seen from the tip of the cone below."
            )
    take_click(event, "lab-disk", moved, c)


def _unit(u: np.ndarray) -> np.ndarray:
    norm = float(np.linalg.norm(u))
    return u / norm if norm else np.zeros(2)


def triangle_angles(a: float, b: float, d: float, c: float) -> tuple[float, float, float] | None:
    """Return the angles opposite to three sides of a triangle; None if it has no area."""
    sides = [math.sqrt(c) * s for s in (a, b, d)]
    if min(sides) < 1e-9:
        return None
    angles = []
    for k in range(3):
        p, q, r = sides[k], sides[(k + 1) % 3], sides[(k + 2) % 3]
        # The hyperbolic law of cosines.
        cosine = (math.cosh(q) * math.cosh(r) - math.cosh(p)) / (math.sinh(q) * math.sinh(r))
        angles.append(math.acos(max(-1.0, min(1.0, cosine))))
    return (angles[0], angles[1], angles[2])


def area_text(angles: tuple[float, float, float], c: float) -> str:
    """Return what the angles of a triangle say about its area."""
    area = max(0.0, math.pi - sum(angles)) / c
    return (
        f" The triangle OAB has the area **{area:.2f}**; none can have more than "
        f"π/c = {math.pi / c:.2f}, however long its sides."
    )


def show_exp_log() -> None:
    """Tangent vectors: follow them, find them, carry them."""
    controls, stage = st.columns([3, 8], gap="medium")
    with controls:
        c = choose_c("c-exp")
        moved = clicked_point(["X", "Y"])
        x, y = place_point("X", c), place_point("Y", c)
        length = st.slider("Length of v", 0.1, 4.0, 1.5, 0.1, key="v-length")
        turn = st.slider("Direction of v", 0, 359, 80, 1, format="%d°", key="v-angle")
        circle = st.toggle("All points at this distance", value=True, key="v-circle")
        carried = st.toggle("Carry v from X to Y", value=True, key="v-carry")
    v = length * np.array([math.cos(math.radians(turn)), math.sin(math.radians(turn))])
    along = disk_exp(x, np.linspace(0, 1, 40)[:, None] * v, c)
    tip = along[-1]
    log = disk_log(x, y, c)
    paths: dict[str, list[np.ndarray]] = {
        "v and exp(v)": arrow(x, tip, along),
        "log: from X to Y": [geodesic(x, y, 65)],
    }
    styles: dict[str, dict[str, object]] = {"log: from X to Y": THIN}
    if circle:
        angle = np.linspace(0, 2 * np.pi, 121)
        ring = disk_exp(x, length * np.column_stack([np.cos(angle), np.sin(angle)]), c)
        paths["circle around X"] = [ring]
        styles["circle around X"] = {"line": {"color": COLORS[4], "width": 1.6, "dash": "dot"}}
    if carried:
        stations = geodesic(x, y, 6)[1:]
        lines: list[np.ndarray] = []
        for at in stations:
            there = disk_transport(x, at, v)
            # Short of their length, so that they stay apart.
            path = disk_exp(at, np.linspace(0, 0.35, 16)[:, None] * there, c)
            lines += arrow(at, path[-1], path, 0.025)
        paths["v carried along"] = lines
        styles["v carried along"] = {"line": {"color": COLORS[2], "width": 2}}
    points = {"X": x, "Y": y, "exp(v)": tip}
    with stage:
        event = chart(
            lab_figure(
                c,
                points,
                paths,
                styles=styles
                | {"exp(v)": {"textposition": f"{'top' if v[1] >= 0 else 'bottom'} center"}}
                | {"X": {"textposition": f"{'bottom' if v[1] >= 0 else 'top'} center"}},
                targets=True,
                height=600,
            ),
            "lab-exp",
            "A tangent vector, the point it leads to, and its parallel transport",
            on_select="rerun",
            selection_mode="points",
        )
        back = disk_log(x, tip, c)
        st.markdown(
            "**What to see.** *exp* follows the geodesic that starts in the direction of *v* for "
            f"its length and arrives at distance **{float(disk_distance(x, tip, c)):.3f}**; *log* "
            f"undoes it (what comes back differs by {float(np.abs(back - v).max()):.0e}). "
            f"The logarithm of Y is {float(np.linalg.norm(log)):.3f} long: the distance of X and "
            "Y. Points at one distance form a circle whose middle seems off: towards the boundary "
            "everything is drawn smaller. Carried along the geodesic, *v* keeps its length and its "
            "angle to the path, so in the picture it shrinks and turns."
        )
        st.caption(
            "Carried vectors are drawn at a third of their length. hypeeg's optimisers keep "
            "moments carried to O, where they need no change when the curvature changes."
        )
    take_click(event, "lab-exp", moved, c)


def show_rescaling() -> None:
    """Maximum-distance rescaling, and the rounding that makes it necessary."""
    controls, stage = st.columns([3, 8], gap="medium")
    with controls:
        c = choose_c("c-rescaling")
        slope = st.slider(
            "Slope s",
            2.65,
            8.0,
            3.0,
            0.05,
            key="slope",
            help="Small distances are multiplied by about atanh(0.99)/s; below 2.65 they would "
            "grow.",
        )
        r = st.slider("Distance of a point from O", 0.0, 40.0, 12.0, 0.1, key="rescaled-r")
    cap = largest_distance(c)
    after = float(rescaled_distance(np.array(r), slope, cap))
    distances = np.linspace(0.0, max(40.0, 1.2 * largest_distance(c, "float64")), 400)
    near = distances[distances <= max(4 * cap, 10.0)]
    with stage:
        show_figures(
            ("distance before", f"{r:.2f}", None),
            ("after rescaling", f"{after:.3f}", None),
            ("D max in float32", f"{cap:.2f}", "0.9 arcosh(2000) / √c"),
            ("D max in float64", f"{largest_distance(c, 'float64'):.2f}", "0.9 arcosh(5e7) / √c"),
        )
        chart(
            curves_figure(
                near,
                {
                    "rescaled": rescaled_distance(near, slope, cap),
                    "unchanged": np.where(near <= 1.2 * cap, near, np.nan),
                    "D max": np.full_like(near, cap),
                },
                x_title="distance from O before",
                y_title="after",
                marks={"the point": r} if r <= near[-1] else {},
                styles={
                    "unchanged": {"color": NEUTRAL, "dash": "dash", "width": 1.4},
                    "D max": {"color": COLORS[5], "dash": "dot", "width": 1.4},
                },
            ),
            "lab-rescaling",
            "Distances before and after maximum-distance rescaling",
        )
        chart(
            curves_figure(
                distances,
                {name: sheet_error(distances, c, name) for name in ("float32", "float64")},
                x_title="distance from O",
                y_title="error of c(xₜ² − |xₛ|²) = 1",
                log_y=True,
                marks={
                    "D max, float32": cap,
                    "D max, float64": largest_distance(c, "float64"),
                },
            ),
            "lab-rounding",
            "Rounding errors of points in float32 and float64",
        )
        st.markdown(
            "**What to see.** A point on the sheet has xₜ² − |xₛ|² = 1/c: two numbers that grow "
            "exponentially with the distance and differ by a constant. Where they pass the digits "
            "of the type, nothing of the difference is left: the error reaches 1, and with it "
            "every distance is noise. *Maximum-distance rescaling* pulls each point inside the "
            "radius D max = 0.9 arcosh(κ)/√c before that happens, smoothly, so that gradients "
            "survive. A larger *c* leaves less room."
        )
        st.latex(
            r"r' = D_{\max}\tanh\!\Big(\frac{r\,\operatorname{artanh}(0.99)}{s\,D_{\max}}\Big)"
        )
        st.caption("Bdeir and Landwehr, arXiv 2405.13979; `hypeeg.geometry.rescaling`.")


def show_optimiser() -> None:
    """Riemannian AdamW on points while the curvature is learned."""
    controls, stage = st.columns([3, 8], gap="medium")
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
    left, right = st.columns([5, 4])
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


st.title("Geometry lab", anchor=False)
lesson = st.segmented_control(
    "Lesson",
    list(LESSONS),
    format_func=LESSONS.__getitem__,
    default="Distances",
    required=True,
    key="lesson",
    label_visibility="collapsed",
)
if lesson == "Distances":
    show_distances()
elif lesson == "Exp and log":
    show_exp_log()
elif lesson == "Rescaling":
    show_rescaling()
else:
    show_optimiser()
