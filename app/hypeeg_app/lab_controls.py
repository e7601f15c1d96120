"""What the lessons of the geometry lab share: sliders of points and of the curvature, clicks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import streamlit as st

from hypeeg.viz.maps import from_polar, to_polar
from hypeeg.viz.palette import NEUTRAL
from hypeeg_app.screen import columns

CURVATURES = [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0]
MAX_DISTANCE = 6.0
PLACES = {"A": (1.6, 30), "B": (2.0, 140), "X": (1.2, 205), "Y": (1.8, 20)}
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
    left, right = columns(2, f"place-{name}", "slider")
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
    tiles = columns(len(figures), "lab-figures", "tile")
    for column, (name, value, meaning) in zip(tiles, figures, strict=True):
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
