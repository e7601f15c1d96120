"""A lesson of the geometry lab: what rounding does far out, and rescaling against it."""

from __future__ import annotations

import numpy as np
import streamlit as st

from hypeeg.viz import curves_figure
from hypeeg.viz.maps import largest_distance, rescaled_distance, sheet_error
from hypeeg.viz.palette import COLORS, NEUTRAL
from hypeeg_app.lab_controls import choose_c, show_figures
from hypeeg_app.screen import chart, columns


def show_rescaling() -> None:
    """Maximum-distance rescaling, and the rounding that makes it necessary."""
    controls, stage = columns([3, 8], "lab-rescaling", "part", gap="medium")
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
