"""A lesson of the geometry lab: distances, the shortest path, triangles."""

from __future__ import annotations

import math

import numpy as np
import streamlit as st

from hypeeg.viz import lab_figure, sheet_figure
from hypeeg.viz.disk import disk_distance, geodesic
from hypeeg.viz.palette import NEUTRAL
from hypeeg_app.lab_controls import (
    THIN,
    choose_c,
    clicked_point,
    place_point,
    show_figures,
    take_click,
)
from hypeeg_app.screen import chart, columns


def show_distances() -> None:
    """Two points, the geodesic between them, and what curvature does to it."""
    controls, stage = columns([3, 8], "lab-distances", "part", gap="medium")
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
        places = columns(2, "lab-views", "figure") if both else [st.container()]
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
