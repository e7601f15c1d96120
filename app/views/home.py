"""The first page: what is here, what goes on, and one button for a first run."""

from __future__ import annotations

import streamlit as st
from hypeeg_app.draft import of_text
from hypeeg_app.home import ago, overview, progress
from hypeeg_app.launching import (
    STARTERS,
    dataset_names,
    is_starting,
    plan_of,
    shipped_text,
    show_start,
    start,
)
from hypeeg_app.runs import runs_root
from hypeeg_app.screen import REQUEST_KEY, columns, show_state

import hypeeg
from hypeeg.experiments.library import list_specs
from hypeeg.experiments.process import GOING_ON
from hypeeg.experiments.run_index import RunInfo, list_runs

REFRESH_SECONDS = 3
N_SHOWN = 6
QUICKSTART = STARTERS["eeg"]


def show_quickstart(runs: list[RunInfo]) -> None:
    """Show the button that makes the first run."""
    text = shipped_text(QUICKSTART)
    with st.container(border=True):
        words, button = columns([3, 1], "home-quickstart", "card", vertical_alignment="center")
        with words:
            st.markdown("##### Quickstart")
            plan = plan_of(text, str(runs_root()))
            takes = plan.figures.get("Time", "a few minutes").removeprefix("~ ")
            st.markdown(
                "Simulated left/right motor imagery: a hyperbolic network, its Euclidean twin and "
                f"two classical pipelines on the same folds. Nothing to download; about {takes} "
                "on this machine."
            )
        with button:
            st.button(
                "Run the quickstart",
                type="primary" if not any(run.state == "done" for run in runs) else "secondary",
                icon=":material/play_arrow:",
                width="stretch",
                key="home-quickstart",
                disabled=is_starting(),
                on_click=lambda: start(of_text(text), runs_root()),
            )
            st.page_link(
                "views/launch.py",
                label="Make a run of your own",
                icon=":material/rocket_launch:",
            )


def show_contents(runs: list[RunInfo]) -> None:
    """Show the parts of the dashboard and how much is in each."""
    cards = (
        ("views/runs.py", "Runs", len(runs), ":material/view_list:", overview(runs).words),
        (
            "views/launch.py",
            "Run files",
            len(list_specs()),
            ":material/rocket_launch:",
            "Ready to start or to change: EEG, images, taxonomies.",
        ),
        (
            "views/data.py",
            "Data sets",
            len(dataset_names()),
            ":material/database:",
            "Described by manifests: subjects, events, licence, known traps.",
        ),
        (
            "views/geometry_lab.py",
            "Geometry lab",
            None,
            ":material/science:",
            "Move points in the disk, change the curvature, see what an optimiser step does.",
        ),
    )
    places = columns(4, "home-contents", "card")
    for column, (page, label, count, icon, words) in zip(places, cards, strict=True):
        with column, st.container(border=True, height="stretch"):
            st.page_link(page, label=f"**{label}**", icon=icon)
            if count is not None:
                st.markdown(f"### {count}")
            st.caption(words)


def show_runs(runs: list[RunInfo]) -> None:
    """Show the last runs, each with a button that opens it."""
    st.subheader("Last runs", anchor=False)
    if not runs:
        st.info(
            "No runs yet. Press the button above; you will see its progress at once.",
            icon=":material/rocket_launch:",
        )
        st.caption(
            f"Looked in `{runs_root()}`. Start with `hypeeg app --runs DIR` to look elsewhere."
        )
        return
    for run in runs[:N_SHOWN]:
        show_run(run)
    if len(runs) > N_SHOWN:
        st.page_link(
            "views/runs.py", label=f"All {len(runs)} runs", icon=":material/arrow_forward:"
        )


def show_run(run: RunInfo) -> None:
    """Show one run on one line."""
    with st.container(border=True):
        name, state, score, button = st.columns([4, 3, 3, 2], vertical_alignment="center")
        title = str(run.status.get("name") or run.name)
        details = " · ".join(filter(None, (run.dataset, ago(run.created) if run.created else "")))
        name.markdown(f"**{title}**  \n:small[:gray[{details}]]")
        with state:
            if run.state in GOING_ON and run.n_tasks:
                st.progress(progress(run), text=f"{run.n_done + run.n_failed} of {run.n_tasks}")
            else:
                show_state(run)
        if run.best is not None:
            score.markdown(f"**{run.best[1]:.3f}**  \n:small[:gray[{run.best[0]}]]")
        elif run.problem or run.status.get("error"):
            score.caption(str(run.problem or run.status["error"]).splitlines()[0][:120])
        with button:
            if st.button("Open", key=f"home-open-{run.name}", width="stretch"):
                finished = run.state == "done"
                st.session_state[REQUEST_KEY] = run.name
                st.switch_page("views/results.py" if finished else "views/runs.py")


@st.fragment(run_every=REFRESH_SECONDS)
def live() -> None:
    """Show the last runs anew while one of them goes on."""
    show_runs(list_runs(runs_root()))


st.title("hypeeg", anchor=False)
st.markdown(
    "Hyperbolic deep learning for EEG: train networks on the hyperboloid beside their Euclidean "
    "twins and classical pipelines, and see what the geometry is worth."
)
found = list_runs(runs_root())
show_start()
show_quickstart(found)
show_contents(found)
if any(run.state in GOING_ON for run in found):
    live()
else:
    show_runs(found)
st.caption(f"hypeeg {hypeeg.__version__}")
