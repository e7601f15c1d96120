"""Make a run file, see what it takes, and start it."""

from __future__ import annotations

from typing import Any

import streamlit as st
from hypeeg_app.draft import MAX_BYTES, Draft, Path, of_bytes, of_text
from hypeeg_app.form_widgets import (
    DRAFT_KEY,
    ROUND_KEY,
    Form,
    all_problems,
    current,
    replace,
)
from hypeeg_app.launching import (
    STARTERS,
    NoFileError,
    is_starting,
    plan_of,
    run_text,
    shipped_text,
    show_start,
    start,
)
from hypeeg_app.run_form import show_form, suggestions
from hypeeg_app.runs import runs_root
from hypeeg_app.screen import columns

from hypeeg.experiments.library import list_specs
from hypeeg.experiments.run_index import list_runs
from hypeeg.experiments.start import shell_command


def take_upload(key: str) -> None:
    """Take over an uploaded file."""
    file = st.session_state[key]
    if file is not None:
        replace(of_bytes(file.getvalue()))


def take_text(key: str) -> None:
    """Take over what was typed as YAML."""
    replace(of_text(st.session_state[key]))


def take_shipped(key: str) -> None:
    """Take over a run file that comes with hypeeg."""
    replace(of_text(shipped_text(st.session_state[key])))


def take_run(key: str) -> None:
    """Take over the file of an earlier run."""
    name = st.session_state[key]
    run = next((run for run in list_runs(runs_root()) if run.name == name), None)
    try:
        if run is None:
            raise NoFileError(f"{name}: the run is gone")
        replace(of_text(run_text(run)))
    except NoFileError as error:
        st.session_state["launch-source-problem"] = str(error)


def take_away(path: Path) -> None:
    """Remove a value."""
    replace(current().without(path))


def show_sources() -> None:
    """Show where a run file may come from."""
    with st.expander("Start from …", icon=":material/folder_open:"):
        shipped, uploaded, earlier = columns(3, "launch-sources", "card", gap="medium")
        with shipped:
            st.selectbox(
                "A run file of hypeeg",
                list_specs(),
                index=list_specs().index(STARTERS["eeg"]),
                key="launch-shipped",
            )
            st.button(
                "Take it",
                key="launch-take-shipped",
                on_click=take_shipped,
                args=("launch-shipped",),
            )
        with uploaded:
            st.file_uploader(
                "A file of yours",
                type=["yaml", "yml"],
                key="launch-upload",
                max_upload_size=1,
                on_change=take_upload,
                args=("launch-upload",),
                help=f"YAML, at most {MAX_BYTES // 1000} kB.",
            )
        with earlier:
            runs = [run.name for run in list_runs(runs_root())]
            st.selectbox("An earlier run", runs, key="launch-earlier", placeholder="no runs yet")
            st.button(
                "Take its file",
                key="launch-take-run",
                disabled=not runs,
                on_click=take_run,
                args=("launch-earlier",),
            )
        problem = st.session_state.pop("launch-source-problem", None)
        if problem:
            st.error(problem, icon=":material/error:")


def show_yaml(draft: Draft) -> None:
    """Show the run file as text."""
    key = f"launch-yaml-{st.session_state[ROUND_KEY]}"
    if key not in st.session_state:
        st.session_state[key] = draft.text
    st.html("<style>[class*='st-key-launch-yaml'] textarea {font-family: monospace}</style>")
    st.text_area(
        "Run file (YAML)",
        key=key,
        height=560,
        on_change=take_text,
        args=(key,),
        help="Checked when you leave the field or press Ctrl+Enter.",
    )
    st.caption(
        "The file stays as you wrote it, comments included, until a value is changed in the form."
    )


def show_problems(place: Any, form: Form | None) -> None:
    """Show at the top what no field shows."""
    problems = all_problems() if form is None else form.untold()
    if not problems:
        return
    with place.container():
        text = "\n".join(f"- {f'**`{p.path}`** ' if p.path else ''}{p.message}" for p in problems)
        st.error(text, icon=":material/error:")
        unknown = [p.path for p in problems if p.message.startswith("unknown key")]
        with st.container(horizontal=True):
            for name in unknown:
                path = tuple(int(part) if part.isdecimal() else part for part in name.split("."))
                if current().has(path):
                    st.button(
                        f"Remove {name}",
                        key=f"launch-{st.session_state[ROUND_KEY]}-unknown-{name}",
                        icon=":material/backspace:",
                        on_click=take_away,
                        args=(path,),
                    )


def show_plan(draft: Draft) -> None:
    """Show in the sidebar what the run takes, and the button that starts it."""
    problems = all_problems()
    root = runs_root()
    with st.sidebar:
        st.markdown(f"**{draft.name or 'Unnamed run'}**")
        if problems:
            count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
            st.badge(count, icon=":material/error:", color="red")
            for problem in problems[:5]:
                st.caption(f"`{problem.path}`" if problem.path else problem.message)
        else:
            st.badge("Ready", icon=":material/check_circle:", color="green")
            plan = plan_of(draft.text, str(root))
            with st.container(horizontal=True):
                for label, value in plan.figures.items():
                    st.metric(label, value)
            with st.expander("What it takes"):
                for line in plan.lines:
                    st.caption(line)
        st.button(
            "Start the run",
            type="primary",
            icon=":material/play_arrow:",
            width="stretch",
            key="launch-start",
            disabled=bool(problems) or is_starting(),
            on_click=launch,
        )
        if is_starting():
            st.caption(":material/rocket_launch: Starting; the Runs page opens by itself.")
        st.download_button(
            "Download YAML",
            draft.text,
            file_name=f"{draft.spec.name if draft.spec else 'run'}.yaml",
            mime="application/yaml",
            icon=":material/download:",
            width="stretch",
            on_click="ignore",
            key="launch-download",
        )


def launch() -> None:
    """Start what the form holds now, which may be newer than what was drawn."""
    if not all_problems():
        start(current(), runs_root())


def show_command(draft: Draft) -> None:
    """Show the same run as a command."""
    if draft.spec is None:
        return
    name = draft.spec.name
    own = name not in list_specs() or shipped_text(name) != draft.text
    st.markdown("##### The same on the command line")
    st.code(shell_command(f"{name}.yaml" if own else name, runs_root()), language="bash")
    if own:
        st.caption(f"With the YAML saved as `{name}.yaml`.")


st.title("Launch", anchor=False)
st.markdown(
    "A run is one file: what is read, how it is divided, what is compared. Set it here, field by "
    "field or as YAML, then start it; it goes on when this page is closed."
)
if DRAFT_KEY not in st.session_state:
    replace(of_text(shipped_text(STARTERS["eeg"])))
show_start()
show_sources()
part = st.segmented_control(
    "View",
    ["Form", "YAML"],
    default="Form",
    required=True,
    key="launch-part",
    label_visibility="collapsed",
)
top = st.empty()
draft = current()
form = None
if part == "YAML":
    show_yaml(draft)
elif draft.data is not None:
    form = Form(suggestions(draft))
    show_form(form)
show_problems(top, form)
show_command(draft)
show_plan(draft)
