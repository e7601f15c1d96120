"""What the scores of a run say."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from hypeeg_app.runs import Run, UnreadableError, read_curvature, read_scores, read_summary
from hypeeg_app.screen import chart, chosen_run, page_header

from hypeeg.experiments import report
from hypeeg.experiments.report_figures import chance_level
from hypeeg.viz import curvature_figure, scores_figure, sessions_figure


def show_summary(summary: pd.DataFrame, score: str) -> None:
    """Show one row a pipeline."""
    low, high = summary["accuracy_low"], summary["accuracy_high"]
    shown = pd.DataFrame(
        {
            "Pipeline": summary["pipeline"],
            score: summary["mean"],
            "± std": summary["std"],
            "Accuracy": summary["accuracy"],
            "95 % interval": [f"{a:.2f} – {b:.2f}" for a, b in zip(low, high, strict=True)],
            "Fit time": summary["fit_time"],
            "Learned c": [
                report.plus_minus(c, s, 2)
                for c, s in zip(summary["curvature"], summary["curvature_std"], strict=True)
            ],
        }
    )
    st.dataframe(
        shown,
        hide_index=True,
        placeholder="–",
        column_config={
            score: st.column_config.NumberColumn(
                format="%.3f", help="Mean over sessions (over folds if there is one session)."
            ),
            "± std": st.column_config.NumberColumn(format="%.3f"),
            "Accuracy": st.column_config.NumberColumn(
                format="%.3f", help="Share of all test trials that were classified correctly."
            ),
            "95 % interval": st.column_config.TextColumn(
                help="Wilson interval of the accuracy over different trials."
            ),
            "Fit time": st.column_config.NumberColumn(format="%.2f s", help="Median of the folds."),
            "Learned c": st.column_config.TextColumn(
                help="Curvature magnitude at the end of training: the space has curvature −c."
            ),
        },
    )


def show_comparison(found: report.Comparison, score: str) -> None:
    """Show the paired difference of a hyperbolic pipeline and its twin, and say it in words."""
    equal = found.n - found.wins - found.losses
    tiles = st.columns([2, 1, 1, 1])
    tiles[0].metric(
        f"{found.pipeline} − {found.twin}",
        report.plus_minus(found.mean, found.std).replace("-", "−"),
        border=True,
        help=f"Mean ± std of the difference in {score} over {found.n} sessions, same folds.",
    )
    tiles[1].metric(
        "better / worse / equal", f"{found.wins} / {found.losses} / {equal}", border=True
    )
    for tile, label, test in (
        (tiles[2], "sessions", found.over_sessions),
        (tiles[3], "subjects", found.over_subjects),
    ):
        value = "–" if test.p is None else f"{test.p:.2g}" if test.p >= 1e-3 else "< 0.001"
        tile.metric(f"p over {label}", value, border=True, help=f"Wilcoxon: {test.text}")
    st.markdown(in_words(found, score))


def in_words(found: report.Comparison, score: str) -> str:
    """Say what a comparison shows, and what it does not."""
    side = "higher" if found.mean > 0 else "lower"
    sessions = "session" if found.n == 1 else "sessions"
    start = (
        f"Over {found.n} {sessions}, **{found.pipeline}** scores {abs(found.mean):.3f} {side} in "
        f"{score} than its Euclidean twin **{found.twin}**."
    )
    test = found.over_subjects if found.over_subjects.p is not None else found.over_sessions
    if test.p is None:
        pairs = "pair" if test.n == 1 else "pairs"
        return (
            f"{start} With {test.n} differing {pairs} no test can tell this from chance "
            f"({report.MIN_PAIRS} are needed)."
        )
    units = "subjects" if test is found.over_subjects else "sessions"
    verdict = "unlikely to be chance" if test.p < 0.05 else "within what chance explains"
    return f"{start} Over {units} this is {verdict} (Wilcoxon signed-rank, {test.text})."


def show(run: Run) -> None:
    """Show the page for one run."""
    scores = read_scores(run)
    if scores.empty:
        st.info("No fold has finished, so there is no score to show yet.")
        return
    summary = read_summary(run)
    score = run.score_name(scores)
    chance = chance_level(score, int(scores["n_classes"].max()))

    st.subheader("Summary", anchor=False)
    show_summary(summary, score)

    compared = [report.compare(scores, hyp, twin) for twin, hyp in run.twins.items()]
    for found in filter(None, compared):
        st.subheader("Hyperbolic against Euclidean twin", anchor=False)
        show_comparison(found, score)

    title, choice = st.columns([3, 1], vertical_alignment="bottom")
    title.subheader("Scores", anchor=False)
    by = choice.segmented_control(
        "Show scores",
        ["By pipeline", "By session"],
        default="By pipeline",
        required=True,
        key="scores-by",
        label_visibility="collapsed",
    )
    draw = sessions_figure if by == "By session" else scores_figure
    figure = draw(scores, chance, twins=run.twins, score_name=score)
    chart(figure, "scores", f"{score} of every pipeline, with the chance level")
    unit = figure.layout.meta["unit"]
    several = " (mean of its folds and seeds)" if unit == "session" else ""
    st.caption(
        f"One dot is one {unit}{several}. Lines join the same {unit} of the two twins. "
        "The dashed line is what guessing would score."
    )
    cautions = report.cautions(scores, score)
    with st.expander("What to keep in mind", icon=":material/lightbulb:", expanded=True):
        st.markdown("\n".join(f"- {caution}" for caution in cautions))

    history = read_curvature(run)
    if not history.empty:
        st.subheader("Curvature during training", anchor=False)
        chart(curvature_figure(history), "curvature", "Curvature magnitude c over epochs")
        st.caption("The space has curvature −c. Thin lines are single fits.")

    st.download_button(
        "Scores as CSV",
        scores.to_csv(index=False),
        file_name=f"{run.name}-scores.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


chosen = chosen_run()
page_header("Results", chosen)
try:
    show(chosen)
except UnreadableError as error:
    st.error(f"The results cannot be read: {error}", icon=":material/broken_image:")
