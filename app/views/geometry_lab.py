"""Geometry lab: hyperbolic space to touch, for learning."""

from __future__ import annotations

import streamlit as st
from hypeeg_app.lab_distances import show_distances
from hypeeg_app.lab_optimiser import show_optimiser
from hypeeg_app.lab_rescaling import show_rescaling
from hypeeg_app.lab_tangents import show_exp_log

LESSONS = {
    "Distances": (":material/straighten: Distances", show_distances),
    "Exp and log": (":material/arrow_outward: Exp and log", show_exp_log),
    "Rescaling": (":material/compress: Rescaling", show_rescaling),
    "Optimiser": (":material/trending_down: Optimiser", show_optimiser),
}

st.title("Geometry lab", anchor=False)
lesson = st.segmented_control(
    "Lesson",
    list(LESSONS),
    format_func=lambda name: LESSONS[name][0],
    default="Distances",
    required=True,
    key="lesson",
    label_visibility="collapsed",
)
LESSONS[lesson][1]()
