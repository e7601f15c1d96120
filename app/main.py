"""The dashboard: `hypeeg app`, or `streamlit run app/main.py`."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from hypeeg_app.screen import choose_run

HERE = Path(__file__).parent

st.set_page_config(page_title="hypeeg", page_icon=str(HERE / "logo.svg"), layout="wide")
st.logo(str(HERE / "wordmark.svg"), icon_image=str(HERE / "logo.svg"), size="large")

page = st.navigation(
    [
        st.Page("views/runs.py", title="Runs", icon=":material/view_list:", default=True),
        st.Page("views/results.py", title="Results", icon=":material/monitoring:"),
        st.Page("views/embeddings.py", title="Embeddings", icon=":material/bubble_chart:"),
    ]
)
choose_run()
page.run()
