"""The dashboard: `hypeeg app`, or `streamlit run app/main.py`."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from hypeeg_app.screen import choose_run, keep_run, use_style

HERE = Path(__file__).parent
PAGES_WITHOUT_RUN = ("Home", "Launch", "Compare", "Data", "Geometry lab")

st.set_page_config(page_title="hypeeg", page_icon=str(HERE / "logo.svg"), layout="wide")
use_style()
st.logo(str(HERE / "wordmark.svg"), icon_image=str(HERE / "logo.svg"), size="large")

page = st.navigation(
    [
        st.Page("views/home.py", title="Home", icon=":material/home:", default=True),
        st.Page("views/launch.py", title="Launch", icon=":material/rocket_launch:"),
        st.Page("views/runs.py", title="Runs", icon=":material/view_list:"),
        st.Page("views/results.py", title="Results", icon=":material/monitoring:"),
        st.Page("views/compare.py", title="Compare", icon=":material/compare:"),
        st.Page("views/embeddings.py", title="Embeddings", icon=":material/bubble_chart:"),
        st.Page("views/data.py", title="Data", icon=":material/database:"),
        st.Page("views/geometry_lab.py", title="Geometry lab", icon=":material/science:"),
    ]
)
if page.title in PAGES_WITHOUT_RUN:
    keep_run()
else:
    choose_run()
page.run()
