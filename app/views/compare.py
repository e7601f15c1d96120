"""Any runs side by side, and two of them pipeline by pipeline."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from hypeeg_app.results import comparison_of, plain, recorded
from hypeeg_app.runs import (
    Run,
    UnreadableError,
    list_runs,
    read_run,
    read_scores,
    read_summary,
    runs_root,
)
from hypeeg_app.screen import chart, explain_no_runs
from hypeeg_app.statements import show_statements

from hypeeg.experiments.report_figures import chance_level, safe
from hypeeg.experiments.spec_errors import SpecError
from hypeeg.viz import scores_figure

REQUEST_KEY = "compare-request"
KEPT_KEY = "compare-kept"
MAX_RUNS = 12


def first_choice(runs: list[Run]) -> list[str]:
    """Return the newest runs that are done and of the same kind on the same data set."""
    done = [run for run in runs if run.state == "done"] or runs
    for number, run in enumerate(done):
        for other in done[number + 1 :]:
            if (run.dataset, run.kind) == (other.dataset, other.kind):
                return [run.name, other.name]
    return [run.name for run in done[:2]]


def choose(names: list[str], start: list[str]) -> list[str]:
    """Show the choice of runs; return the chosen ones."""
    if REQUEST_KEY in st.session_state:
        st.session_state["compare"] = st.session_state.pop(REQUEST_KEY)[:MAX_RUNS]
    elif "compare" not in st.session_state:
        # Streamlit forgets a widget while another page is shown.
        st.session_state["compare"] = st.session_state.get(KEPT_KEY) or start
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


def overview(runs: list[Run]) -> pd.DataFrame:
    """Return one row a run and pipeline."""
    rows = []
    for run in runs:
        try:
            summary = read_summary(run)
            score = run.scoring
            if not summary.empty:
                score = run.score_name(read_scores(run))
        except UnreadableError as error:
            st.warning(f"{run.name} is left out: {error}", icon=":material/broken_image:")
            continue
        for row in summary.to_dict("records"):
            rows.append(
                {
                    "Run": run.name,
                    "Data set": run.dataset,
                    "Kind": run.kind.replace("_", " "),
                    "Pipeline": row["pipeline"],
                    "Score": score,
                    "Mean": row["mean"],
                    "± std": row["std"],
                    "Accuracy": row["accuracy"],
                    "Fit time": row["fit_time"],
                    "Learned c": row["curvature"],
                }
            )
    return pd.DataFrame(rows)


def show_overview(table: pd.DataFrame) -> None:
    """Show every pipeline of every run."""
    number = st.column_config.NumberColumn(format="%.3f")
    st.dataframe(
        table,
        hide_index=True,
        placeholder="–",
        height="auto" if len(table) <= 12 else 460,
        column_config={
            "Run": st.column_config.TextColumn(width=250),
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
    table, joined = both_scores(first, second, [(r.other, r.pipeline) for r in found.results])
    if not table.empty:
        chance = chance_level(score, int(table["n_classes"].max()))
        figure = scores_figure(table, chance, twins=joined, score_name=score)
        chart(figure, "compare-scores", f"{score} of both runs, same sessions joined")
        st.caption("Common folds only. Lines join what is the same session in both runs.")
    show_statements(found.results, score, "compare", heading=False)


def both_scores(
    first: Run, second: Run, names: list[tuple[str, str]]
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the scores of common folds, pipelines named as in the comparison, and their pairs."""
    parts, joined = [], {}
    keys = ["subject", "session", "fold", "seed"]
    a, b = (recorded(run.path).scores for run in (first, second))
    for in_a, in_b in names:
        own = a[a["pipeline"] == in_a.removesuffix(" [A]")]
        other = b[b["pipeline"] == in_b.removesuffix(" [B]")]
        common = own[keys].merge(other[keys], on=keys).drop_duplicates()
        for part, name in ((own, in_a), (other, in_b)):
            parts.append(part.merge(common, on=keys).assign(pipeline=safe(name)))
        joined[safe(in_a)] = safe(in_b)
    return (pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()), joined


st.title("Compare", anchor=False)
listed = [run for run in list_runs(runs_root()) if run.state != "unreadable"]
if not listed:
    explain_no_runs(runs_root())
    st.stop()
by_name = {run.name: run for run in listed}
picked = choose(list(by_name), first_choice(listed))
chosen_runs = [run for run in (read_run(by_name[name].path) for name in picked)
               if run.state != "unreadable"]  # fmt: skip
if not chosen_runs:
    st.info("Choose runs above, two or more.", icon=":material/compare:")
    st.stop()
rows = overview(chosen_runs)
if rows.empty:
    st.info("None of these runs has a score yet.", icon=":material/hourglass_empty:")
    st.stop()
show_overview(rows)
scored = [run for run in chosen_runs if run.name in set(rows["Run"])]
if len(scored) < 2:
    st.info("Choose a second run with scores to compare fold by fold.", icon=":material/compare:")
else:
    try:
        show_pair(scored)
    except UnreadableError as error:
        st.error(f"A run cannot be read: {error}", icon=":material/broken_image:")
