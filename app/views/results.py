"""What a run has found: scores, comparisons in words, predictions, training, failures, export."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from hypeeg_app.results import (
    CORRECT,
    COUNTED,
    TABLES,
    comparisons,
    further_measures,
    make_report,
    read_table,
)
from hypeeg_app.run_screens import show_failures
from hypeeg_app.runs import (
    Run,
    UnreadableError,
    read_curvature,
    read_failures,
    read_scores,
    read_summary,
    stamp_of,
)
from hypeeg_app.screen import PICTURE_KEY, chart, chosen_run, columns, page_header
from hypeeg_app.statements import show_statements

from hypeeg.experiments import report
from hypeeg.experiments.cautions import cautions
from hypeeg.experiments.measures import learning_curve
from hypeeg.experiments.report_figures import MAX_SESSIONS, chance_level, safe
from hypeeg.viz import (
    confusion_figure,
    curvature_figure,
    history_figure,
    learning_figure,
    reliability_figure,
    scores_figure,
    sessions_figure,
)

PARTS = {
    "Scores": ":material/monitoring: Scores",
    "Predictions": ":material/target: Predictions",
    "Training": ":material/trending_down: Training",
    "Failed folds": ":material/error: Failed folds",
    "Export": ":material/download: Export",
}
# Beyond it single fits are not drawn as lines: median and spread tell more.
MAX_FITS = 400

MANY_CLASSES = 6
LOSSES = ("train_loss", "valid_loss")
MEASURES = {
    "balanced_accuracy": ("Balanced accuracy", "Mean of the classes' recalls."),
    "kappa": ("Kappa", "Cohen's kappa: agreement beyond chance."),
    "macro_f1": ("Macro F1", "Mean of the classes' F1."),
    "ece": ("ECE", "Expected calibration error; lower is better."),
    "brier": ("Brier", "Squared error of the probabilities; lower is better."),
    "nll": ("NLL", "Negative log-likelihood; lower is better."),
    "radius": ("√c radius", "Mean distance from the origin in units of the curvature radius."),
    "delta_rel": ("δ", "Relative Gromov hyperbolicity of the embedding: 0 is a tree."),
    "predict_time": ("Predict (s)", "Median over folds."),
}


def escaped(table: pd.DataFrame) -> pd.DataFrame:
    """Escape names, which Plotly reads as HTML."""
    names = [c for c in ("pipeline", "session", "y_true", "y_pred") if c in table]
    return table.assign(**{name: [safe(value) for value in table[name]] for name in names})


def show_summary(summary: pd.DataFrame, score: str, wing: str) -> None:
    """Show one row a pipeline."""
    correct, meaning = CORRECT.get(wing, CORRECT["eeg"])
    low, high = summary["accuracy_low"], summary["accuracy_high"]
    shown = pd.DataFrame(
        {
            "Pipeline": summary["pipeline"],
            score: summary["mean"],
            "± std": summary["std"],
            correct: summary["accuracy"],
            "95 % interval": [f"{a:.2f} – {b:.2f}" for a, b in zip(low, high, strict=True)],
            "Fit time": summary["fit_time"],
            "Learned c": [
                report.plus_minus(c, s, 2)
                for c, s in zip(summary["curvature"], summary["curvature_std"], strict=True)
            ],
        }
    )
    if summary["curvature"].isna().all():
        shown = shown.drop(columns="Learned c")
    spread = ", ".join(dict.fromkeys(summary["spread"]))
    st.dataframe(
        shown,
        hide_index=True,
        placeholder="–",
        column_config={
            score: st.column_config.NumberColumn(format="%.3f", help=f"Mean over {spread}."),
            "± std": st.column_config.NumberColumn(format="%.3f", help=f"Over {spread}."),
            correct: st.column_config.NumberColumn(format="%.3f", help=meaning),
            "95 % interval": st.column_config.TextColumn(
                help="Wilson interval of the share in the column before it."
            ),
            "Fit time": st.column_config.NumberColumn(format="%.2f s", help="Median of the folds."),
            "Learned c": st.column_config.TextColumn(
                help="Curvature magnitude at the end of training: the space has curvature −c."
            ),
        },
    )


def show_dots(run: Run, scores: pd.DataFrame, score: str, chance: float | None) -> None:
    """Show every session as a dot, with the chance line and the pairs joined."""
    n_units = scores.groupby(["subject", "session"]).ngroups
    by = "By pipeline"
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"
    ):
        st.subheader("Scores", anchor=False, width="content")
        if 1 < n_units <= MAX_SESSIONS:
            by = st.segmented_control(
                "Show scores",
                ["By pipeline", "By session"],
                default="By pipeline",
                required=True,
                key="scores-by",
                label_visibility="collapsed",
                width="content",
            )
    draw = sessions_figure if by == "By session" else scores_figure
    twins = {safe(twin): safe(of) for twin, of in run.twins.items()}
    figure = draw(escaped(scores), chance, twins=twins, score_name=score)
    chart(figure, "scores", f"{score} of every pipeline, with the chance level")
    unit = figure.layout.meta["unit"]
    mean = " (mean of its folds and seeds)" if unit == "session" else ""
    words = [f"One dot is one {unit}{mean}."]
    if run.twins:
        words.append(f"Lines join the same {unit} of a network and its Euclidean twin.")
    if chance is not None:
        words.append("The dashed line is what guessing would score.")
    st.caption(" ".join(words))


def show_scores(run: Run, scores: pd.DataFrame) -> None:
    """Show the summary, what was compared, every session, and the learning curve."""
    summary, score = read_summary(run), run.score_name(scores)
    chance = chance_level(score, int(scores["n_classes"].max()))
    show_summary(summary, score, run.wing)
    said = cautions(scores, score)
    with st.expander("What to keep in mind", icon=":material/lightbulb:", expanded=True):
        st.markdown("\n".join(f"- {caution}" for caution in said))
    show_dots(run, scores, score, chance)
    show_statements(comparisons(run), score, run.name)
    curve = learning_curve(scores)
    if not curve.empty:
        st.subheader("Learning curve", anchor=False)
        chart(
            learning_figure(escaped(curve), chance, score_name=score),
            "learning",
            f"{score} by the number of training trials",
        )
        st.caption("Mean over subjects ± standard deviation; sizes are training trials.")


def show_predictions(run: Run, scores: pd.DataFrame) -> None:
    """Show agreement, calibration and confusion."""
    measures, further = read_table(run, "measures"), further_measures(scores)
    if measures.empty and further.empty:
        st.info(
            "Predictions are put together when the run ends."
            if run.going_on
            else "This run kept no predictions (save.predictions: false), or did not get to them.",
            icon=":material/target:",
        )
        return
    if run.going_on:
        st.caption("As they were when the run ended before it was gone on with.")
    show_measures(measures, further)
    show_confusion(run)
    reliability = read_table(run, "reliability")
    if not reliability.empty:
        st.subheader("Calibration", anchor=False)
        chart(
            reliability_figure(escaped(reliability), height=440),
            "reliability",
            "Accuracy against confidence, with the line of perfect calibration",
        )
        st.caption(
            "Test trials binned by the probability of the predicted class, all seeds together. "
            "Below the dashed line a pipeline is more confident than it is right."
        )


def show_measures(measures: pd.DataFrame, further: pd.DataFrame) -> None:
    """Show one row a pipeline: agreement, calibration, and what only this sort of run has."""
    known = {name: look for name, look in MEASURES.items() if name in measures}
    known = {name: look for name, look in known.items() if measures[name].notna().any()}
    number = st.column_config.NumberColumn
    config: dict[str, object] = {
        name: number(title, format="%.3f", help=words) for name, (title, words) in known.items()
    }
    config |= {name: number(name.replace("_", " "), format="%.3f") for name in further}
    config["pipeline"] = st.column_config.TextColumn("Pipeline")
    if measures.empty:
        table = further
    else:
        table = measures[["pipeline", *known]]
        if not further.empty:
            table = table.merge(further, on="pipeline", how="left")
    st.dataframe(table, hide_index=True, placeholder="–", column_config=config)


def show_confusion(run: Run) -> None:
    """Show confusion matrices, as many side by side as their classes leave room for."""
    table = read_table(run, "confusion")
    if table.empty:
        return
    st.subheader("Confusion", anchor=False)
    names = list(dict.fromkeys(table["pipeline"]))
    # A network beside its twin is what a run asks about.
    first = next(
        ([of, twin] for twin, of in run.twins.items() if {of, twin} <= {*names}), names[:2]
    )
    picked = st.multiselect(
        "Pipelines", names, default=first, key=f"confusion-{run.name}", placeholder="choose some"
    )
    n_classes = table["y_true"].nunique()
    wide = n_classes > MANY_CLASSES
    places = columns(1 if wide else 2, "confusion", "figure")
    for number, name in enumerate(picked):
        own = escaped(table[table["pipeline"] == name])
        with places[number % len(places)]:
            chart(
                confusion_figure(own, title=safe(name), height=min(900, 300 + 26 * n_classes)),
                f"confusion-{number}",
                f"Confusion matrix of {name}",
            )
    st.caption(f"{COUNTED.get(run.wing, COUNTED['eeg'])}, as shares of the true class.")
    classes = read_table(run, "per_class")
    if picked and not classes.empty:
        with st.expander("By class", icon=":material/category:"):
            shown = classes[classes["pipeline"].isin(picked)]
            number = st.column_config.NumberColumn(format="%.3f")
            st.dataframe(
                shown,
                hide_index=True,
                column_config=dict.fromkeys(("precision", "recall", "f1"), number),
            )


def show_training(run: Run) -> None:
    """Show losses and curvature over epochs."""
    losses = read_table(run, "history")
    shown = [name for name in LOSSES if name in losses and losses[name].notna().any()]
    curvature = read_curvature(run)
    if not shown and curvature.empty:
        st.info(
            "Training curves are put together when the run ends."
            if run.going_on
            else "Nothing was trained by gradients, or the run did not get to it.",
            icon=":material/trending_down:",
        )
        return
    if run.going_on:
        st.caption("As they were when the run ended before it was gone on with.")
    if shown:
        st.subheader("Loss", anchor=False)
        chart(
            history_figure(escaped(losses), shown, title="loss", height=420),
            "losses",
            "Loss over epochs, median and spread over fits",
        )
        st.caption("Median over fits; the band holds those between the 10th and 90th percentile.")
    if not curvature.empty:
        st.subheader("Curvature", anchor=False)
        keys = [k for k in ("pipeline", "subject", "session", "fold", "seed") if k in curvature]
        n_fits = curvature.groupby(keys, dropna=False).ngroups
        if n_fits <= MAX_FITS:
            figure = curvature_figure(escaped(curvature), height=420)
        else:
            figure = history_figure(escaped(curvature), ["c"], title="c", height=420)
        chart(figure, "curvature", "Curvature magnitude c over epochs")
        lines = "Thin lines are single fits." if n_fits <= MAX_FITS else f"Median of {n_fits} fits."
        st.caption(f"The space has curvature −c. {lines}")


@st.cache_data(show_spinner=False, max_entries=5)
def cached_report(path: object, stamps: object, _run: Run) -> bytes:
    """Make the report once for what is on disk."""
    return make_report([_run.path])


def show_export(run: Run) -> None:
    """Offer pictures, tables and the report."""
    left, right = columns(2, "export", "part", gap="large")
    with left:
        st.subheader("Report", anchor=False)
        st.markdown(
            "One HTML file with tables, statements, every figure and how to reproduce the run. It "
            "needs no network and no other file."
        )
        stamps = tuple(stamp_of(run.path / name) for name in ("status.json", "scores.csv"))
        made = f"report-{run.name}"
        if st.button("Make the report", icon=":material/description:", key="make-report"):
            st.session_state[made] = stamps
        if st.session_state.get(made) == stamps:
            with st.spinner("Writing the report …"):
                content = cached_report(str(run.path), stamps, run)
            st.download_button(
                f"Download ({len(content) / 1e6:.1f} MB)",
                content,
                file_name=f"{run.name}.html",
                mime="text/html",
                type="primary",
                icon=":material/download:",
                on_click="ignore",
                key="report-html",
            )
        st.caption("The same from the command line:")
        st.code(f"hypeeg report {run.path}", language="bash")
        st.subheader("Pictures", anchor=False)
        kept = st.session_state.get(PICTURE_KEY, "svg")
        format = st.segmented_control(
            "Format", ["svg", "png"], default=kept, required=True, format_func=str.upper,
            key="picture-choice",
        )  # fmt: skip
        if format != kept:
            st.session_state[PICTURE_KEY] = format
            st.rerun()
        st.markdown(
            f"The :material/photo_camera: button at the upper right of every figure, on every "
            f"page, saves it as {str(format).upper()}."
        )
    with right:
        st.subheader("Tables", anchor=False)
        st.markdown("CSV with every column and digit, as they lie in the run folder.")
        found = [name for name in TABLES if (run.path / f"{name}.csv").is_file()]
        places = columns(2, "tables", "tile")
        for number, name in enumerate(found):
            path = run.path / f"{name}.csv"
            places[number % 2].download_button(
                name.replace("_", " "),
                # Read when asked for: a page must not wait for files nobody wants.
                path.read_bytes,
                file_name=f"{run.name}-{name}.csv",
                mime="text/csv",
                icon=":material/table:",
                on_click="ignore",
                key=f"csv-{name}",
                width="stretch",
            )
        if not found:
            scores = read_scores(run)
            st.download_button(
                "scores so far",
                scores.to_csv(index=False),
                file_name=f"{run.name}-scores.csv",
                mime="text/csv",
                icon=":material/table:",
                on_click="ignore",
                key="csv-scores",
            )


def show(run: Run) -> None:
    """Show the page for one run."""
    scores, failures = read_scores(run), read_failures(run)
    if scores.empty:
        st.info("No fold has finished, so there is no score to show yet.")
        show_failures(failures, opened=True)
        return
    parts = [name for name in PARTS if name != "Failed folds" or failures]
    part = st.segmented_control(
        "Part",
        parts,
        default="Scores",
        required=True,
        format_func=PARTS.__getitem__,
        key="results-part",
        label_visibility="collapsed",
    )
    if part == "Scores":
        show_scores(run, scores)
    elif part == "Predictions":
        show_predictions(run, scores)
    elif part == "Training":
        show_training(run)
    elif part == "Failed folds":
        show_failures(failures, opened=True)
    else:
        show_export(run)


chosen = chosen_run()
page_header("Results", chosen)
try:
    show(chosen)
except UnreadableError as error:
    st.error(f"The results cannot be read: {error}", icon=":material/broken_image:")
