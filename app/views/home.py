"""The first page: what is here, what goes on, and one button for a first run."""

from __future__ import annotations

import streamlit as st
from hypeeg_app.home import Here, ago, look_around
from hypeeg_app.launching import is_starting, shipped_text, show_start, start
from hypeeg_app.draft import of_text
from hypeeg_app.runs import runs_root
from hypeeg_app.screen import REQUEST_KEY, state_badge

from hypeeg.experiments.process import GOING_ON
from hypeeg.experiments.run_index import RunInfo, list_runs

REFRESH_SECONDS = 3
N_SHOWN = 6
PAGES = (
    ("views/launch.py", "Launch", ":material/rocket_launch:", "Make a run file by a form."),
)


st.title("hypeeg", anchor=False)
