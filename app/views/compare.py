"""Any runs side by side, and two of them pipeline by pipeline."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import streamlit as st
from hypeeg_app.comparing import (
    first_choice,
    named,
    overview,
    paired_scores,
    said_once,
    short_names,
)
from hypeeg_app.results import comparison_of, plain, recorded
from hypeeg_app.runs import Run, UnreadableError, list_runs, runs_root
from hypeeg_app.screen import chart, explain_no_runs
from hypeeg_app.statements import show_statements

from hypeeg.experiments.report_figures import chance_level, safe
from hypeeg.experiments.spec_errors import SpecError
from hypeeg.viz import pairs_figure

REQUEST_KEY = "compare-request"
KEPT_KEY = "compare-kept"
MAX_RUNS = 12
MANY_ROWS = 16


def choose(names: list[str], start: Callable[[], list[str]]) -> list[str]:
    """Show the choice of runs; return the chosen ones."""
    if REQUEST_KEY in st.session_state:
        st.session_state["compare"] = st.session_state.pop(REQUEST_KEY)[:MAX_RUNS]
    elif "compare" not in st.session_state:
        # Streamlit forgets a widget while another page is shown.
        st.session_state["compare"] = st.session_state.get(KEPT_KEY) or start()
    still = [name for name in st.session_state["compare"] if name in names]
    st.session_state["compare"] = still
    chosen = st.multiselect(
        "Runs",
        names,
        key="compare",
        max_selections=MAX_RUNS,
        placeholder="choose runs",
        help="The first two are A and B below, unless you say otherwise.",
    )
    st.session_state[KEPT_KEY] = chosen
    return chosen


def show_overview(table: pd.DataFrame, runs: list[Run]) -> None:
    """Show every pipeline of every run."""
    number = st.column_config.NumberColumn(format="%.3f")
    shown, words = said_once(table)
    if words:
        st.caption(" · ".join(words))
    st.dataframe(
        shown.assign(Run=shown["Run"].map(short_names(runs))),
        hide_index=True,
        placeholder="–",
        height="content" if len(table) <= MANY_ROWS else 460,
        column_config={
            **dict.fromkeys(("Mean", "± std", "Accuracy", "Learned c"), number),
            "Fit time": st.column_config.NumberColumn(format="%.2f s"),
        },
    )
    if table["Score"].nunique() > 1 or table["Data set"].nunique() > 1:
        st.caption(
            "Different data sets or scores: rows may stand beside each other, and no number of one "
            "says anything about another."
        )
    st.download_button(
        "Table as CSV",
        table.to_csv(index=False),
        file_name="comparison.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="compare-csv",
    )


def pairs_of(first: Run, second: Run) -> tuple[tuple[str, str], ...]:
    """Show the choice of pipelines; empty means all of the same name."""
    a, b = ([p.name for p in run.pipelines] for run in (first, second))
    common = [name for name in a if name in b]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        own = st.toggle(
            "Choose the pipelines",
            key="compare-own",
            value=not common,
            help="Otherwise pipelines of the same name are compared.",
        )
        if not own or not a or not b:
            return ()
        of_a = st.selectbox("of A", a, key="compare-a-pipeline", width=240)
        of_b = st.selectbox("of B", b, key="compare-b-pipeline", width=240)
    return ((str(of_a), str(of_b)),)


def show_pair(runs: list[Run]) -> None:
    """Compare two runs on the folds that both have."""
    st.subheader("B against A", anchor=False)
    names = [run.name for run in runs]
    left, right = st.columns(2)
    a = left.selectbox("A", names, key="compare-a")
    b = right.selectbox("B", [name for name in names if name != a], key="compare-b")
    first, second = runs[names.index(a)], runs[names.index(str(b))]
    pairs = pairs_of(first, second)
    try:
        found = comparison_of(first, second, pairs)
    except SpecError as error:
        st.warning(
            "These two cannot be compared fold by fold; they did not test the same:\n\n"
            + "\n".join(
                f"- {plain(problem.path)}: {plain(problem.message)}" for problem in error.problems
            ),
            icon=":material/compare:",
        )
        return
    score = recorded(first.path).scoring
    if found.notes:
        with st.expander("What differs between the runs", icon=":material/info:", expanded=True):
            st.markdown("\n".join(f"- {plain(note)}" for note in found.notes))
    table = paired_scores(first, second, [(r.other, r.pipeline) for r in found.results])
    if not table.empty:
        short = short_names([first, second])
        figure = pairs_figure(
            table.assign(pair=table["pair"].map(safe)),
            chance_level(score, int(table["n_classes"].max())),
            names=(f"A: {safe(short[first.name])}", f"B: {safe(short[second.name])}"),
            score_name=score,
        )
        chart(figure, "compare-scores", f"{score} of both runs, same sessions joined")
        st.caption("Common folds only. Lines join what is the same session in both runs.")
    show_statements(found.results, score, "compare", heading=False)


st.title("Compare", anchor=False)
listed = [run for run in list_runs(runs_root()) if run.state != "unreadable"]
if not listed:
    explain_no_runs(runs_root())
    st.stop()
names = [run.name for run in listed]
chosen_runs = list(named(listed, choose(names, lambda: first_choice(listed))))
if not chosen_runs:
    st.info("Choose runs above, two or more.", icon=":material/compare:")
    st.stop()
rows, left_out = overview(chosen_runs)
for name, why in left_out.items():
    st.warning(f"{name} is left out: {why}", icon=":material/broken_image:")
if rows.empty:
    st.info("None of these runs has a score yet.", icon=":material/hourglass_empty:")
    st.stop()
show_overview(rows, chosen_runs)
scored = [run for run in chosen_runs if run.name in set(rows["Run"])]
if len(scored) < 2:
    st.info("Choose a second run with scores to compare fold by fold.", icon=":material/compare:")
else:
    try:
        show_pair(scored)
    except UnreadableError as error:
        st.error(f"A run cannot be read: {error}", icon=":material/broken_image:")
