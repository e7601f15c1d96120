"""What the Embeddings page shows below the picture: selection, signals, radius and certainty."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from hypeeg.viz.topomap import compare_figure, topomap_figure
from hypeeg.viz.uncertainty import radius_figure, rank_correlation
from hypeeg_app.runs import Run
from hypeeg_app.screen import chart
from hypeeg_app.selection import selection_summary
from hypeeg_app.signals import ProcessError, read_signals
from hypeeg_app.trials import Trials

BANDS = {
    "theta, 4–8 Hz": (4.0, 8.0),
    "alpha, 8–13 Hz": (8.0, 13.0),
    "beta, 13–30 Hz": (13.0, 30.0),
    "gamma, 30–45 Hz": (30.0, 45.0),
}
AT_A_TIME = "amplitude at a time"
SHOWN_ROWS = 2000


def show_trial(trials: Trials, index: int, nearest: np.ndarray) -> None:
    """Show the facts of one trial and its neighbours."""
    row = trials.table.loc[index]
    st.subheader(f"{trials.unit.capitalize()} {row['trial']}", anchor=False)
    right = row["label"] == row["prediction"]
    st.markdown(
        f"{row['network']}  \nlabel **{row['label']}**, predicted **{row['prediction']}** "
        + (":green-badge[correct]" if right else ":red-badge[wrong]")
    )
    shown = trials.table.loc[nearest, ["trial", "label"]]
    shown["distance"] = trials.distances_to(index)[nearest]
    dimension = trials.embedding.shape[1]
    st.markdown(f"Nearest {len(nearest)} {trials.unit}s, in all {dimension} dimensions:")
    st.dataframe(
        shown,
        hide_index=True,
        column_config={"distance": st.column_config.NumberColumn(format="%.3f")},
    )


def show_below(run: Run, trials: Trials, selected: np.ndarray | None) -> None:
    """Show the part below the picture that is asked for; the others are not computed."""
    parts = {
        "Selection": ":material/lasso_select: Selection",
        "Signals": ":material/show_chart: Signals",
        "Radius": ":material/radar: Radius and certainty",
    }
    if trials.unit != "trial":
        del parts["Signals"]
    if st.session_state.get("below") not in parts:
        st.session_state.pop("below", None)
    part = st.segmented_control(
        "Below",
        list(parts),
        default="Selection",
        required=True,
        key="below",
        format_func=parts.__getitem__,
        label_visibility="collapsed",
    )
    if part == "Radius":
        show_radius(trials)
    elif part == "Signals":
        show_signals(run, trials, selected)
    else:
        show_selection(trials, selected)


def show_selection(trials: Trials, chosen: np.ndarray | None) -> None:
    """Show what a lasso or a box encloses, as a table that can be downloaded."""
    table = trials.described()
    if chosen is None:
        more = " and to see their signals" if trials.unit == "trial" else ""
        st.caption(
            ":material/lasso_select: Click a point to choose it. Draw around points with the lasso "
            f"or the box (buttons above the picture) to list them here{more}."
        )
        return
    st.dataframe(
        selection_summary(table, chosen),
        hide_index=True,
        column_config={
            "Accuracy": st.column_config.NumberColumn(format="percent"),
            "Confidence": st.column_config.NumberColumn(format="%.2f"),
            "Radius": st.column_config.NumberColumn(format="%.3f"),
        },
    )
    own = table.iloc[chosen]
    numbers = {
        name: st.column_config.NumberColumn(format="%.3f")
        for name in own.columns
        if pd.api.types.is_float_dtype(own[name])
    }
    st.dataframe(own.head(SHOWN_ROWS), hide_index=True, height=300, column_config=numbers)
    with st.container(horizontal=True):
        st.download_button(
            f"Download {len(own)} {trials.unit}s (CSV)",
            own.to_csv(index=False),
            file_name="selected_trials.csv",
            mime="text/csv",
            icon=":material/download:",
        )
        if st.button("Clear the selection", icon=":material/close:"):
            st.session_state.pop("selected", None)
            st.rerun()


def show_signals(run: Run, trials: Trials, chosen: np.ndarray | None) -> None:
    """Show mean signals, spectra and head maps of a selection beside the rest."""
    if chosen is None or not len(chosen):
        st.caption("Select points in the picture to see their signals beside those of the rest.")
        return
    mask = np.zeros(len(trials), dtype=bool)
    mask[chosen] = True
    numbers, labels = trials.table["trial"].to_numpy(), trials.table["label"].to_numpy()
    request = (
        str(run.path),
        tuple(numbers[mask].tolist()),
        tuple(numbers[~mask].tolist()),
        tuple(labels[mask].tolist() + labels[~mask].tolist()),
    )
    wanted = hash(request)
    read = st.button(
        "Read the signals",
        key="read-signals",
        icon=":material/show_chart:",
        help="Reads the recordings as the run did, with its preprocessing, in another process. "
        "With HYPEEG_CACHE set, what the run kept is used.",
    )
    if read:
        st.session_state["signals-of"] = wanted
    if st.session_state.get("signals-of") != wanted:
        st.caption(
            f"{int(mask.sum())} trials of the selection and {int((~mask).sum())} others, with the "
            "preprocessing of the run."
        )
        return
    try:
        with st.spinner("Reading the recordings as the run did …"):
            signals = read_signals(*request)
    except ProcessError as error:
        st.error(f"The signals cannot be shown: {error}", icon=":material/signal_disconnected:")
        return
    words = (f"selection ({signals.counts[0]})", f"rest ({signals.counts[1]})")
    names = list(signals.names)
    where, what = st.columns(2)
    default = next((names.index(n) for n in ("Cz", "Pz", "Oz", "C3") if n in names), 0)
    channel = names.index(str(where.selectbox("Channel", names, index=default, key="channel")))
    bands = {k: v for k, v in BANDS.items() if v[0] < signals.frequencies[-1]}
    shown = str(what.selectbox("Head map of", [*bands, AT_A_TIME], index=1, key="map-of"))
    at = None
    if shown == AT_A_TIME:
        times = np.round(signals.times, 3)
        at = float(
            st.slider("Time (s)", float(times[0]), float(times[-1]), float(np.median(times)))
        )
    left, right = st.columns(2)
    with left:
        figure = compare_figure(
            signals.times,
            signals.mean[0, channel],
            signals.mean[1, channel],
            signals.error[:, channel],
            labels=words,
            x_title="s after the event",
            y_title=f"{names[channel]}, µV",
            at=at,
        )
        chart(figure, "selection-erp", "Mean signal of the selection beside the rest")
    with right:
        with np.errstate(divide="ignore"):
            level = 10 * np.log10(signals.psd)
        figure = compare_figure(
            signals.frequencies[1:],
            level[0, channel, 1:],
            level[1, channel, 1:],
            labels=words,
            x_title="Hz",
            y_title=f"{names[channel]}, dB re µV²/Hz",
        )
        chart(figure, "selection-psd", "Power spectrum of the selection beside the rest")
    maps, unit = _maps(signals, bands.get(shown), at)
    if np.isfinite(signals.points).all(axis=1).sum() < 3:
        st.caption("No head map: the positions of the sensors are not known.")
        return
    difference = "difference" if signals.counts[1] else "selection"
    titles = ("selection", "rest", difference) if signals.counts[1] else ("selection",)
    figure = topomap_figure(signals.points, maps[: len(titles)], titles, unit=unit)
    chart(figure, "selection-map", f"Head maps of {shown} of the selection and the rest")
    st.caption(
        f"Bands: standard errors of the means. Maps: {shown}; sensors at {signals.source}, "
        "between them a thin-plate spline."
    )


def _maps(
    signals: Any, band: tuple[float, float] | None, at: float | None
) -> tuple[list[np.ndarray], str]:
    if band is None:
        index = int(np.argmin(np.abs(signals.times - (at or 0.0))))
        first, second, unit = signals.mean[0, :, index], signals.mean[1, :, index], "µV"
    else:
        inside = (signals.frequencies >= band[0]) & (signals.frequencies < band[1])
        with np.errstate(divide="ignore"):
            first, second = 10 * np.log10(signals.psd[:, :, inside].mean(axis=2))
        unit = "dB"
    return [first, second, first - second], unit


def show_radius(trials: Trials) -> None:
    """Show how certain the network is, against the distance from the origin."""
    radius = trials.radius()
    if trials.hyperbolic:
        radius = radius * np.sqrt(trials.curvature)
    kinds = ["Confidence", "Entropy"]
    if not np.isfinite(trials.table["confidence"]).all():
        st.caption("This pipeline gave no probabilities, so that nothing is known of certainty.")
        return
    kind = str(
        st.segmented_control(
            "Certainty by", kinds, default=kinds[0], required=True, key="certainty"
        )
    )
    certainty = trials.table[kind.lower()].to_numpy(float)
    correct = (trials.table["label"] == trials.table["prediction"]).to_numpy()
    words = "√c × distance from the origin" if trials.hyperbolic else "length of the embedding"
    figure = radius_figure(
        radius,
        certainty,
        correct,
        x_title=words,
        y_title=f"{kind} of the prediction",
    )
    chart(figure, "radius", f"{kind} against the radius of {len(trials)} {trials.unit}s")
    with_certainty = rank_correlation(radius, certainty)
    with_error = rank_correlation(radius, correct.astype(float))
    st.caption(
        f"Spearman's ρ of the radius with {kind.lower()} is {_number(with_certainty)}, with being "
        f"right {_number(with_error)} ({len(trials)} {trials.unit}s). In a hyperbolic head logits "
        "grow with the radius, so that confidence does by construction; whether the network is "
        "right more often there is what the second number tells."
    )


def _number(value: float) -> str:
    return "not defined" if np.isnan(value) else f"{value:+.2f}".replace("-", "−")
