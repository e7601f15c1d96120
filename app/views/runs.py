"""All runs of the folder, live: what they are, how far they are, and what can be done with them."""

from __future__ import annotations

import math
import zlib

import streamlit as st
from hypeeg_app import actions
from hypeeg_app.deleting import ask_if_requested, request_deletion
from hypeeg_app.performing import perform, show_said
from hypeeg_app.run_list import SORTS, STATES, chosen_of, duration, kind_of, table_of
from hypeeg_app.run_screens import TILE_WIDTH, explain_state, going_on, show_failures, show_sweeps
from hypeeg_app.runs import (
    Run,
    UnreadableError,
    list_runs,
    log_tail,
    read_failures,
    read_run,
    read_scores,
    read_summary,
    runs_root,
)
from hypeeg_app.screen import (
    all_runs,
    chosen_run,
    explain_no_runs,
    request_run,
    show_state,
)

from hypeeg.experiments.report import format_number

SECONDS_BUSY, SECONDS_IDLE = 2.0, 5.0
COMPARE_KEY = "compare-request"
PAGES = (
    ("views/results.py", "Results", ":material/monitoring:"),
    ("views/embeddings.py", "Embeddings", ":material/bubble_chart:"),
)


def stand(runs: list[Run]) -> list[tuple[str, str]]:
    """Return what the page must be drawn anew for when it changes."""
    return [(run.name, run.state) for run in runs]


def filters(runs: list[Run]) -> dict[str, object]:
    """Show search, filters and order; return them for :func:`chosen_of`."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        words = st.text_input(
            "Search",
            key="runs-search",
            icon=":material/search:",
            placeholder="name, data set, pipeline …",
            width=220,
        )
        present = {run.state for run in runs}
        states = st.multiselect(
            "State",
            [state for state in STATES if state in present],
            key="runs-state",
            placeholder="any",
            width=170,
        )
        datasets = st.multiselect(
            "Data set",
            sorted({run.dataset for run in runs if run.dataset}),
            key="runs-dataset",
            placeholder="any",
            width=170,
        )
        kinds = st.multiselect(
            "Kind",
            sorted({kind_of(run) for run in runs if kind_of(run)}),
            key="runs-kind",
            placeholder="any",
            width=170,
        )
        order = st.selectbox("Order", list(SORTS), key="runs-order", width=145)
    return {
        "words": words or "",
        "states": states,
        "datasets": datasets,
        "kinds": kinds,
        "order": order,
    }


def table_key(mode: str, names: list[str]) -> str:
    """Return a key that changes with the rows: a chosen row is known by its position alone."""
    return f"runs-{mode}-{zlib.crc32(' '.join(names).encode()):08x}"


def live_table(chosen: Run, passed: dict[str, object], several: bool, seen: list) -> None:
    """Show the list of runs as it is now; a change of states draws the whole page anew."""
    runs = list_runs(runs_root())
    if stand(runs) != seen:
        st.rerun()
    shown = chosen_of(runs, **passed)
    busy = sum(run.going_on for run in runs)
    st.caption(
        f"{len(shown)} of {len(runs)} runs"
        + (f", :blue[{busy} going on]" if busy else "")
        + f" · `{runs_root()}`"
    )
    if not shown:
        st.info("No run passes these filters.", icon=":material/filter_alt_off:")
        return
    names = [run.name for run in shown]
    position = [names.index(chosen.name)] if chosen.name in names else []
    # A new key for each choice and filter makes the table take over what the sidebar chose.
    mode = "several" if several else chosen.name
    event = st.dataframe(
        table_of(shown),
        key=table_key(mode, names),
        hide_index=True,
        placeholder="–",
        height=min(36 * (len(shown) + 1) + 2, 400),
        on_select="rerun",
        selection_mode="multi-row" if several else "single-row",
        selection_default={"selection": {"rows": [] if several else position}},
        column_config={
            "Run": st.column_config.TextColumn(width=235),
            "State": st.column_config.TextColumn(width=95),
            "Progress": st.column_config.ProgressColumn(
                format="%d%%", min_value=0, max_value=100, width=90
            ),
            "Best score": st.column_config.NumberColumn(
                format="%.3f",
                width=80,
                help="Highest mean over sessions; the score is the run's own.",
            ),
            "Took": st.column_config.TextColumn(width=95),
            "Left": st.column_config.TextColumn(
                width=95, help="What the folds left will take, judged by those that ended."
            ),
            "Started": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", width=130),
        },
    )
    rows = [row for row in event["selection"]["rows"] if row < len(shown)]
    if several:
        show_bulk([shown[row] for row in rows])
    elif rows and names[rows[0]] != chosen.name:
        request_run(names[rows[0]])


def show_bulk(picked: list[Run]) -> None:
    """Show what can be done with several runs at once."""
    if not picked:
        st.caption("Tick runs in the first column.")
        return
    busy = [run for run in picked if run.going_on]
    stopped = [run for run in picked if can_go_on(run)]
    idle = [run for run in picked if not run.going_on and run.elsewhere is None]
    with st.container(horizontal=True, vertical_alignment="center"):
        plural = "s" if len(picked) > 1 else ""
        st.markdown(f"**{len(picked)} run{plural} chosen**", width="content")
        if busy and st.button(
            f"Cancel {len(busy)}", icon=":material/stop_circle:", key="bulk-cancel"
        ):
            perform([lambda run=run: actions.cancel(run.path, runs_root()) for run in busy])
        if stopped and st.button(
            f"Go on with {len(stopped)}", icon=":material/play_circle:", key="bulk-resume"
        ):
            perform([lambda run=run: actions.resume(run.path, runs_root()) for run in stopped])
        if len(picked) > 1 and st.button("Compare", icon=":material/compare:", key="bulk-compare"):
            st.session_state[COMPARE_KEY] = [run.name for run in picked]
            st.switch_page("views/compare.py")
        if idle and st.button(f"Delete {len(idle)} …", icon=":material/delete:", key="bulk-delete"):
            request_deletion([run.path for run in idle])


def can_go_on(run: Run) -> bool:
    """Whether folds are missing that another process could do."""
    over = run.state in ("failed", "interrupted", "cancelled") and run.elsewhere is None
    return over and (run.n_missing > 0 or not run.n_tasks)


def show_actions(run: Run, n_failed: int) -> None:
    """Show what can be done with one run."""
    root = runs_root()
    starting = actions.attempt_of(run.path, run.info)
    waiting = starting is not None and starting.alive
    with st.container(horizontal=True, vertical_alignment="center"):
        if run.going_on:
            asked = actions.asked_to_end(run.info)
            if st.button(
                "Cancel" if asked is None else "Asked to end …",
                icon=":material/stop_circle:",
                key="cancel",
                disabled=asked is not None,
                help="Ends its process; what is recorded stays, and it can go on later.",
            ):
                perform([lambda: actions.cancel(run.path, root)])
        elif can_go_on(run) and st.button(
            "Go on",
            icon=":material/play_circle:",
            key="resume",
            type="primary",
            disabled=waiting,
            help="Does the folds that are missing, none twice.",
        ):
            perform([lambda: actions.resume(run.path, root)])
        if (
            not run.going_on
            and n_failed
            and run.elsewhere is None
            and st.button(
                f"Run {n_failed} failed fold{'s' if n_failed > 1 else ''} again",
                icon=":material/replay:",
                key="resume-failed",
                disabled=waiting,
            )
        ):
            perform([lambda: actions.resume(run.path, root, failed=True)])
        if run.n_finished - run.n_failed > 0:
            for page, label, icon in PAGES:
                st.page_link(page, label=label, icon=icon, width="content")
        if (
            not run.going_on
            and run.elsewhere is None
            and st.button("Delete …", icon=":material/delete:", key="delete", disabled=waiting)
        ):
            request_deletion([run.path])
    if starting is not None and starting.alive:
        st.info("Going on: its process is starting.", icon=":material/hourglass_top:")
    elif starting is not None:
        st.error("It could not go on. Its process said:", icon=":material/error:")
        st.code(starting.words or "nothing", language=None)


def live_progress(run: Run) -> None:
    """Show how far a run is, and the end of its log, as they are now."""
    now = read_run(run.path)
    if now.going_on:
        going_on(now)
    tail = log_tail(now)
    if tail:
        with st.expander("Log", expanded=now.going_on, icon=":material/terminal:"):
            st.code(tail, language=None, wrap_lines=True)


def show_scores(run: Run) -> None:
    """Show the score of each pipeline as a tile."""
    summary, scores = read_summary(run), read_scores(run)
    if summary.empty:
        return
    score = run.score_name(scores)
    best = summary.sort_values("mean", ascending=False).head(4)
    with st.container(horizontal=True):
        for row in best.to_dict("records"):
            st.metric(
                row["pipeline"],
                format_number(row["mean"]),
                delta=None if math.isnan(row["std"]) else f"± {row['std']:.3f}",
                delta_color="off",
                delta_arrow="off",
                border=True,
                width=TILE_WIDTH,
            )
    over = " and ".join(dict.fromkeys(best["spread"]))
    of = f"; the best {len(best)} of {len(summary)} pipelines" if len(summary) > len(best) else ""
    st.caption(f"{score}: mean ± standard deviation over {over}{of}.")


def show_run(run: Run) -> None:
    """Show one run: state and what it means, actions, progress, figures, failures."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(run.title or run.name, anchor=False, width="content")
        show_state(run)
        if run.dataset:
            st.badge(run.dataset, icon=":material/database:", color="gray")
        if kind_of(run):
            st.badge(kind_of(run), icon=":material/call_split:", color="gray")
        if run.n_tasks and not run.going_on:
            took = "" if run.elapsed is None else f", {duration(run.elapsed)}"
            st.caption(f"{run.n_finished} of {run.n_tasks} folds{took}", width="content")
    if run.description:
        st.markdown(run.description)
    explain_state(run)
    failures, broken = [], ""
    try:
        failures = [] if run.state == "unreadable" else read_failures(run)
    except UnreadableError as error:
        broken = str(error)
    show_actions(run, len(failures))
    st.fragment(live_progress, run_every=SECONDS_BUSY if run.going_on else None)(run)
    if run.state == "unreadable":
        return
    try:
        if broken:
            raise UnreadableError(broken)
        show_scores(run)
    except UnreadableError as error:
        st.error(f"The record of this run cannot be read: {error}")
        return
    show_failures(failures)
    st.caption(f"`{run.path}`")


st.title("Runs", anchor=False)
show_said()
runs = all_runs()
if not runs:
    explain_no_runs(runs_root())
    st.stop()
chosen = chosen_run()
ask_if_requested(runs_root())
given = filters(runs)
pick_several = st.toggle(
    "Choose several", key="runs-several", help="To cancel, go on with, compare or delete together."
)
active = any(run.going_on for run in runs)
polling = st.fragment(live_table, run_every=SECONDS_BUSY if active else SECONDS_IDLE)
polling(chosen, given, pick_several, stand(runs))
show_sweeps(runs_root(), chosen)
show_run(chosen)
