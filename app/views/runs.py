"""All runs of the folder, and what one of them is."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st
from hypeeg_app.runs import (
    Run,
    UnreadableError,
    list_runs,
    read_best,
    read_failures,
    read_scores,
    read_summary,
    runs_root,
)
from hypeeg_app.screen import (
    all_runs,
    chosen_run,
    duration,
    explain_no_runs,
    request_run,
    show_problems,
    show_state,
)

from hypeeg.experiments.report import format_number
from hypeeg.experiments.tasks import describe

REFRESH_SECONDS = 3
STATE_SIGNS = {"done": "✓", "failed": "✗", "running": "▶", "cancelled": "■", "interrupted": "■"}


def table_of(runs: list[Run]) -> pd.DataFrame:
    """Return one row a run."""
    rows = []
    for run in runs:
        try:
            best = None if run.state == "unreadable" else read_best(run)
        except UnreadableError:
            best = None
        rows.append(
            {
                "Run": run.name,
                "State": f"{STATE_SIGNS.get(run.state, '')} {run.state}".strip(),
                "Data set": run.dataset or None,
                "Progress": 100.0 * run.progress,
                "Best score": None if best is None else best[1],
                "Best pipeline": None if best is None else best[0],
                "Started": run.started,
                "Took": duration(run.elapsed),
            }
        )
    return pd.DataFrame(rows)


@st.fragment(run_every=REFRESH_SECONDS)
def watch(seen: list[tuple[str, str, int]]) -> None:
    """Draw the page anew when a run got further."""
    now = [(run.name, run.state, run.n_finished) for run in list_runs(runs_root())]
    if now != seen:
        st.rerun()


def show_run(run: Run) -> None:
    """Show one run: state, figures, pages to go on with, failures."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(run.title or run.name, anchor=False, width="content")
        show_state(run)
    if run.description:
        st.markdown(run.description)
    show_problems(run)
    if run.state == "running":
        st.progress(run.progress, text=str(run.status.get("current") or ""))
    try:
        summary, scores, failures = read_summary(run), read_scores(run), read_failures(run)
    except UnreadableError as error:
        st.error(f"The record of this run cannot be read: {error}")
        return
    if not summary.empty:
        score = run.score_name(scores)
        columns = st.columns(min(len(summary), 4))
        for number, row in enumerate(summary.to_dict("records")):
            columns[number % len(columns)].metric(
                f"{row['pipeline']} · {score}",
                format_number(row["mean"]),
                delta=None if math.isnan(row["std"]) else f"± {row['std']:.3f}",
                delta_color="off",
                delta_arrow="off",
                border=True,
                help=f"Mean ± standard deviation over {row['spread']}.",
            )
        with st.container(horizontal=True):
            for page, label, icon in (
                ("views/results.py", "Results", ":material/monitoring:"),
                ("views/embeddings.py", "Embeddings", ":material/bubble_chart:"),
            ):
                st.page_link(page, label=label, icon=icon, width="content")
    if failures:
        with st.expander(f"{len(failures)} failed folds", icon=":material/error:"):
            for record in failures[:20]:
                st.markdown(f"**{describe(record)}**")
                st.code(str(record.get("traceback") or record.get("error")), language="text")
            if len(failures) > 20:
                st.caption(f"and {len(failures) - 20} more in folds.jsonl")
    st.caption(f"`{run.path}`")


st.title("Runs", anchor=False)
runs = all_runs()
if not runs:
    explain_no_runs(runs_root())
    st.stop()

names = [run.name for run in runs]
chosen = chosen_run()
position = names.index(chosen.name)
# A new key for each choice makes the table take over what the sidebar chose.
event = st.dataframe(
    table_of(runs),
    key=f"runs-{chosen.name}",
    hide_index=True,
    placeholder="–",
    on_select="rerun",
    selection_mode="single-row",
    selection_default={"selection": {"rows": [position]}},
    column_config={
        "Run": st.column_config.TextColumn(width="medium"),
        "Progress": st.column_config.ProgressColumn(
            format="%d%%", min_value=0, max_value=100, width="small"
        ),
        "Best score": st.column_config.NumberColumn(
            format="%.3f", help="Highest mean over sessions; the score is the run's own."
        ),
        "Started": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
    },
)
rows = event["selection"]["rows"]
if rows and names[rows[0]] != chosen.name:
    request_run(names[rows[0]])
show_run(chosen)
if any(run.state in ("planned", "running") for run in runs):
    watch([(run.name, run.state, run.n_finished) for run in runs])
