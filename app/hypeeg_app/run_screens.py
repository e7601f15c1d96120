"""What the page of runs says in each state of a run, its failures, and sweeps."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from hypeeg.experiments.store import RecordError, describe
from hypeeg.experiments.sweep_index import SweepInfo, list_sweeps, points_table
from hypeeg_app import actions
from hypeeg_app.deleting import request_deletion
from hypeeg_app.performing import perform
from hypeeg_app.run_list import about, duration
from hypeeg_app.runs import Run
from hypeeg_app.screen import Color

MAX_FAILURES = 20
TILE_WIDTH = 235
_SWEEP_KEY, _SWEEP_OF_KEY = "sweep", "sweep-of-run"
_SWEEP_COLORS: dict[str, Color] = {
    "running": "blue",
    "done": "green",
    "failed": "red",
    "incomplete": "orange",
}
QUIET_SECONDS = 120
"""A run that reads data writes no status for a while; beyond this it is worth a word."""


def explain_state(run: Run) -> None:
    """Say what a state means and what to do; nothing for a run that is done."""
    counted = f"{run.n_finished} of {run.n_tasks} folds" if run.n_tasks else "no fold"
    rest = "What is recorded stays; **Go on** does the folds that are missing, none twice."
    if run.state == "unreadable":
        st.error(
            f"This folder cannot be read: {run.problem}\n\nPut the damaged file back from a copy, "
            "or delete the run and start it again.",
            icon=":material/broken_image:",
        )
    elif run.elsewhere is not None:
        st.warning(
            f"It was started at the machine {run.elsewhere!r} and may be going on there "
            f"({counted} when it last wrote). If it has ended there, this goes on with it:",
            icon=":material/lan:",
        )
        st.code(f"hypeeg resume {run.path} --force", language="bash")
    elif run.state == "interrupted":
        st.warning(
            f"Its process is gone without a word, after {counted}: the machine was restarted, or "
            f"the process was killed. {rest}",
            icon=":material/power_off:",
        )
    elif run.state == "cancelled":
        st.warning(f"It was ended by its user after {counted}. {rest}", icon=":material/cancel:")
    elif run.state == "failed":
        _explain_failure(run, rest)
    elif run.state == "done" and run.n_failed:
        st.warning(f"{run.n_failed} folds failed and are left out.", icon=":material/warning:")


def _explain_failure(run: Run, rest: str) -> None:
    parts = []
    if run.n_failed:
        parts.append(
            f"{run.n_failed} of {run.n_tasks} folds failed; scores are of the others. The reasons "
            "are below: mend what they name, then run these folds again."
        )
    if run.error:
        parts.append(f"It ended early: {run.error}")
    if run.n_missing or not run.n_tasks:
        parts.append(f"{rest} Mend first what ended it.")
    st.error("\n\n".join(parts) or "The run failed.", icon=":material/error:")


def going_on(run: Run) -> None:
    """Show how far a run is that is going on."""
    asked = actions.asked_to_end(run.info)
    if asked is not None:
        more = " It takes its time; a fold in work may be long." if asked > 30 else ""
        st.info(f"Asked to end.{more}", icon=":material/stop_circle:")
    if run.state == "planned" or not run.n_tasks:
        st.progress(0.0, text="Reading data; no fold has begun.")
        st.caption(f"Since {duration(run.elapsed)}.")
        return
    current = str(run.status.get("current") or "")
    st.progress(run.progress, text=current or "waiting for the next fold")
    left = "unknown until a fold has ended" if run.remaining is None else duration(run.remaining)
    tiles = {
        "Folds": f"{run.n_finished} / {run.n_tasks}",
        "Failed": f"{run.n_failed}",
        "Elapsed": duration(run.elapsed),
        "Left": about(run.remaining),
    }
    # In a row that wraps: columns would cut the figures off where the window is narrow.
    with st.container(horizontal=True):
        for label, value in tiles.items():
            note = left if label == "Left" else None
            st.metric(label, value, border=True, width=TILE_WIDTH, help=note)
    last = run.info.last_sign
    quiet = None if last is None else (datetime.now(UTC) - last).total_seconds()
    if quiet is not None and quiet > QUIET_SECONDS:
        st.caption(f"Last sign of life {duration(quiet)} ago; its process is there.")


def show_failures(failures: Sequence[dict[str, Any]], opened: bool = False) -> None:
    """Show failed folds with their tracebacks, those with the same words once."""
    if not failures:
        return
    by_words: dict[str, list[dict[str, Any]]] = {}
    for record in failures:
        by_words.setdefault(str(record.get("error")), []).append(record)
    with st.expander(f"{len(failures)} failed folds", icon=":material/error:", expanded=opened):
        for records in list(by_words.values())[:MAX_FAILURES]:
            names = "; ".join(describe(record) for record in records[:5])
            more = f" and {len(records) - 5} more" if len(records) > 5 else ""
            st.markdown(f"**{names}{more}**")
            words = str(records[0].get("traceback") or records[0].get("error"))
            st.code(words, language="python", height=min(320, 24 * words.count("\n") + 60))
        if len(by_words) > MAX_FAILURES:
            st.caption(f"and {len(by_words) - MAX_FAILURES} other reasons in folds.jsonl")


def show_sweeps(root: Path, run: Run) -> None:
    """Show the sweeps of a folder: how far they are, and the score of each point.

    That of the chosen run is shown first.
    """
    sweeps = list_sweeps(root)
    if not sweeps:
        return
    names = [sweep.name for sweep in sweeps]
    if st.session_state.get(_SWEEP_KEY) not in names:
        st.session_state.pop(_SWEEP_KEY, None)
    anew = _SWEEP_KEY not in st.session_state or st.session_state.get(_SWEEP_OF_KEY) != run.name
    if anew and run.sweep in names:
        st.session_state[_SWEEP_KEY] = run.sweep
    st.session_state[_SWEEP_OF_KEY] = run.name
    with st.expander(
        f"{len(sweeps)} sweep{'s' if len(sweeps) > 1 else ''}",
        icon=":material/grid_view:",
        expanded=run.sweep in names,
    ):
        name = st.selectbox("Sweep", names, key=_SWEEP_KEY)
        _show_sweep(sweeps[names.index(name)], root)


def _show_sweep(sweep: SweepInfo, root: Path) -> None:
    if not sweep.points:
        st.error(f"{sweep.path / 'sweep.json'} cannot be read.", icon=":material/broken_image:")
        _offer_deletion(sweep)
        return
    counts = ", ".join(f"{count} {state}" for state, count in sweep.counts.items())
    starting = actions.attempt_of(sweep.path)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(sweep.state, color=_SWEEP_COLORS[sweep.state])
        st.caption(f"{len(sweep.points)} points: {counts}", width="content")
        waiting = starting is not None and starting.alive
        idle = sweep.state in ("incomplete", "failed")
        if idle and st.button(
            "Go on with the sweep",
            icon=":material/play_circle:",
            key="sweep-resume",
            disabled=waiting,
        ):
            perform([lambda: actions.resume(sweep.path, root)])
        if sweep.state != "running":
            _offer_deletion(sweep, waiting)
    if starting is not None and not starting.alive:
        st.error("It could not go on. Its process said:", icon=":material/error:")
        st.code(starting.words or "nothing", language=None)
    try:
        text = points_table(sweep)
    except (RecordError, OSError) as error:
        st.error(f"The points cannot be read: {error}", icon=":material/broken_image:")
        return
    table = pd.read_csv(io.StringIO(text), dtype={"pipeline": str, "run": str})
    st.dataframe(
        table,
        hide_index=True,
        placeholder="–",
        column_config={"score": st.column_config.NumberColumn(format="%.3f")},
    )
    st.download_button(
        "Points as CSV",
        text,
        file_name=f"{sweep.name}.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="sweep-csv",
    )


def _offer_deletion(sweep: SweepInfo, waiting: bool = False) -> None:
    if st.button(
        "Delete the sweep …",
        icon=":material/delete:",
        key="sweep-delete",
        disabled=waiting,
        help="The sweep with all its runs; asks first.",
    ):
        request_deletion([sweep.path])
