"""A lesson of the geometry lab: tangent vectors, followed, found and carried."""

from __future__ import annotations

import math

import numpy as np
import streamlit as st

from hypeeg.viz import lab_figure
from hypeeg.viz.disk import disk_distance, geodesic
from hypeeg.viz.lab import arrow
from hypeeg.viz.maps import disk_exp, disk_log, disk_transport
from hypeeg.viz.palette import COLORS
from hypeeg_app.lab_controls import THIN, choose_c, clicked_point, place_point, take_click
from hypeeg_app.screen import chart, columns


def show_exp_log() -> None:
    """Tangent vectors: follow them, find them, carry them."""
    controls, stage = columns([3, 8], "lab-exp", "part", gap="medium")
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
