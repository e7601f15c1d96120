"""Pieces of screen that several pages show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import streamlit as st

from hypeeg_app.run_list import duration as duration
from hypeeg_app.runs import UNFINISHED, Run, list_runs, read_run, runs_root

RUN_KEY = "run"
REQUEST_KEY = "requested-run"
PICTURE_KEY = "picture-format"
"""Session entry: what the camera button of every figure saves, ``"svg"`` or ``"png"``."""

Size = Literal["slider", "tile", "card", "part", "figure"]
Color = Literal["green", "blue", "orange", "red", "gray"]

_STATES: dict[str, tuple[str, Color, str]] = {
    "done": (":material/check_circle:", "green", "Every fold finished."),
    "running": (":material/progress_activity:", "blue", "Going on."),
    "planned": (":material/schedule:", "blue", "Reading data; no fold has begun."),
    "failed": (":material/error:", "red", "Some folds failed, or the run ended early."),
    "cancelled": (":material/cancel:", "orange", "Ended by its user."),
    "interrupted": (":material/power_off:", "orange", "Its process is gone."),
    "unreadable": (":material/broken_image:", "gray", "The folder cannot be read."),
}


# Least widths of columns that may stand under each other, in rem; Streamlit itself lets columns
# shrink until nothing in them can be read, as long as the window is wider than a telephone.
_LEAST: dict[Size, int] = {"slider": 7, "tile": 9, "card": 12, "part": 15, "figure": 20}
_STYLE = """
.stMainBlockContainer {padding: 4rem clamp(1rem, 4vw, 5rem)}
[class*="st-key-wrap-"] > * > .stHorizontalBlock {flex-wrap: wrap}
""" + "".join(
    f'[class*="st-key-wrap-{size}-"] > * > .stHorizontalBlock > .stColumn '
    f"{{min-width: min(100%, {least}rem)}}\n"
    for size, least in _LEAST.items()
)


def use_style() -> None:
    """Set what all pages look like beyond the theme; once, by the main script."""
    st.html(f"<style>{_STYLE}</style>")


def columns(spec: int | Sequence[int], key: str, size: Size, **options: Any) -> list[Any]:
    """Return columns that go under each other where the window is narrow.

    Parameters
    ----------
    spec : int or sequence of int
        As of ``st.columns``.
    key : str
        Name, unique on the page.
    size : {"slider", "tile", "card", "part", "figure"}
        What they hold, which sets their least width: a slider, a number, a few words, a part of
        the page, a figure that needs its width.
    **options
        For ``st.columns``.
    """
    with st.container(key=f"wrap-{size}-{key}"):
        return list(st.columns(spec, **options))


def choose_run() -> None:
    """Put the choice of a run into the sidebar and keep it for every page."""
    runs = list_runs(runs_root())
    st.session_state["runs"] = runs
    if not runs:
        st.session_state.pop("chosen", None)
        return
    names = [run.name for run in runs]
    if REQUEST_KEY in st.session_state:
        st.session_state[RUN_KEY] = st.session_state.pop(REQUEST_KEY)
    if st.session_state.get(RUN_KEY) not in names:
        # The folder was removed, or this is the first visit.
        st.session_state.pop(RUN_KEY, None)
    name = st.sidebar.selectbox("Run", names, key=RUN_KEY, bind="query-params")
    # The list knows only what is quick to read.
    chosen = read_run(runs[names.index(name)].path)
    st.session_state["chosen"] = chosen
    with st.sidebar:
        show_state(chosen)


def keep_run() -> None:
    """Keep the chosen run while a page shows no choice of it."""
    # Streamlit forgets a widget that is not drawn.
    if RUN_KEY in st.session_state:
        st.session_state[RUN_KEY] = st.session_state[RUN_KEY]


def request_run(name: str) -> None:
    """Make another run the chosen one, and draw the page anew."""
    # The sidebar's widget cannot be changed after it was drawn: the next pass takes this over.
    st.session_state[REQUEST_KEY] = name
    st.rerun()


def all_runs() -> list[Run]:
    """Return the runs this visit of the page was made with."""
    return list(st.session_state.get("runs", []))


def chosen_run() -> Run:
    """Return the chosen run; without any, explain how to make one and end the page."""
    run = st.session_state.get("chosen")
    if run is None:
        explain_no_runs(runs_root())
        st.stop()
    return run


def explain_no_runs(root: Path) -> None:
    """Show what to do when there is nothing to show."""
    with st.container(border=True):
        st.subheader("No runs yet", anchor=False)
        st.markdown(
            "A run trains pipelines on a data set and leaves a folder behind; this dashboard "
            "shows what is in it. The first one needs no recordings and takes a few minutes:"
        )
        st.code("make run", language="bash")
        st.markdown("or, where hypeeg is installed as a package:")
        st.code(f"hypeeg run quickstart --out {root}", language="bash")
        st.caption(f"Looked in `{root}`. Start with `hypeeg app --runs DIR` to look elsewhere.")
        if st.button("Look again", icon=":material/refresh:"):
            st.rerun()


def show_state(run: Run) -> None:
    """Show the state of a run as a badge."""
    icon, color, meaning = _STATES.get(run.state, (":material/help:", "gray", ""))
    st.badge(run.state, icon=icon, color=color, help=meaning or None)


def page_header(title: str, run: Run) -> None:
    """Show the title of a page about one run, and what keeps the run from being complete."""
    st.title(title, anchor=False)
    parts = [f"**{run.title or run.name}**"]
    if run.dataset:
        parts.append(f":material/database: {run.dataset}")
    if run.kind:
        parts.append(f":material/call_split: {run.kind.replace('_', ' ')}")
    st.markdown(" · ".join(parts))
    show_problems(run)


def show_problems(run: Run) -> None:
    """Say why a run is not to be trusted as complete."""
    counted = f"{run.n_finished} of {run.n_tasks} folds" if run.n_tasks else "no fold yet"
    if run.state == "unreadable":
        st.error(f"This folder cannot be read: {run.problem}", icon=":material/broken_image:")
        st.stop()
    if run.state in ("planned", "running"):
        st.info(f"This run is going on: {counted}.", icon=":material/progress_activity:")
    elif run.state in UNFINISHED or run.state == "cancelled":
        why = "was ended by its user" if run.state == "cancelled" else "lost its process"
        st.warning(
            f"This run {why} after {counted}. What follows is not the whole.",
            icon=":material/warning:",
        )
    elif run.state == "failed":
        text = f"{run.n_failed} of {run.n_tasks} folds failed." if run.n_failed else ""
        st.error(" ".join(filter(None, [text, run.error])) or "The run failed.")


def chart(figure: Any, key: str, alt: str, **options: Any) -> Any:
    """Show a Plotly figure the way all pages do."""
    return st.plotly_chart(
        figure,
        key=key,
        alt=alt,
        width="stretch",
        config={
            "displaylogo": False,
            "scrollZoom": options.pop("zoom", False),
            # By default the buttons show while the figure is pointed at.
            "displayModeBar": options.pop("bar", "hover"),
            "modeBarButtonsToRemove": ["autoScale2d", "zoom2d"],
            "toImageButtonOptions": {
                "format": st.session_state.get(PICTURE_KEY, "svg"),
                "filename": key,
                "scale": 2,
            },
        },
        **options,
    )
