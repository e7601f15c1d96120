"""How many trials of each class a data set holds, counted on demand."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import streamlit as st

from hypeeg.eeg.inventory import Inventory
from hypeeg.eeg.manifest import Manifest
from hypeeg.viz import balance_figure
from hypeeg_app.data_files import show_absent
from hypeeg_app.data_reading import ReadError, count_trials
from hypeeg_app.screen import chart

N_SUBJECTS_COUNTED = 12


def show_trials(manifest: Manifest, there: Inventory) -> None:
    """Show how many trials of each class there are."""
    if manifest.trials is not None:
        per = manifest.trials.per
        wanted = ", ".join(f"{n} × {event}" for event, n in manifest.trials.counts.items())
        st.markdown(f"The manifest expects, in each {per}: **{wanted}** trials.")
    else:
        st.markdown("No source says exactly how many trials there should be.")
    if not there.complete:
        show_absent(manifest)
        return
    subjects = st.multiselect(
        "Subjects",
        there.complete,
        default=there.complete[:N_SUBJECTS_COUNTED],
        key=f"count-subjects-{manifest.name}",
    )
    counted = f"counted-{manifest.name}"
    if st.button("Count", icon=":material/tag:", type="primary", disabled=not subjects):
        st.session_state[counted] = tuple(subjects)
    chosen: tuple[int, ...] = st.session_state.get(counted, ())
    if not chosen:
        st.caption(
            "Counting reads each recording of these subjects in a process of its own: about a "
            "second for every 10 MB. Nothing is read before you ask."
        )
        return
    stamp = tuple(row for row in there.subjects if row.subject in chosen)
    try:
        with st.spinner(f"Reading {len(chosen)} subjects …", show_time=True):
            report = count_trials(manifest.name, chosen, stamp)
    except ReadError as error:
        st.error(str(error), icon=":material/broken_image:")
        return
    show_counts(report)


def show_counts(report: dict[str, Any]) -> None:
    """Show the counted trials and what differs from the manifest."""
    problems = [(row, problem) for row in report["rows"] for problem in row["problems"]]
    if problems:
        with st.expander(
            f"{len(problems)} differences from the manifest",
            icon=":material/warning:",
            expanded=len(problems) <= 5,
        ):
            for row, problem in problems[:50]:
                st.markdown(f"**{part_of(row)}**: {problem}")
    else:
        st.success("Every recording holds what the manifest expects.", icon=":material/check:")
    counts = pd.DataFrame(
        [
            {"part": part_of(row), "event": event, "trials": n}
            for row in report["rows"]
            for event, n in row["found"].items()
        ],
        columns=["part", "event", "trials"],
    )
    if counts.empty:
        st.info("There are no trials to show.")
        return
    chart(balance_figure(counts), "data-balance", "Trials of each class")
    totals = counts.groupby("event", sort=False)["trials"].sum()
    totals = totals[totals > 0]
    share = totals.max() / totals.sum()
    chance = 1 / len(totals)
    text = f"In all: {', '.join(f'{n} × {event}' for event, n in totals.items())}."
    if not math.isclose(share, chance, rel_tol=0.1):
        text += (
            f" Unbalanced: always saying *{totals.idxmax()}* is right in {share:.0%} of them, "
            f"against {chance:.0%} if classes were equal."
        )
    st.markdown(text)


def part_of(row: dict[str, Any]) -> str:
    """Return subject, session and run of a row of counts."""
    parts = [f"subject {row['subject']}"]
    parts += [f"session {row['session']}"] if row["session"] is not None else []
    parts += [f"run {row['run']}"] if row["run"] is not None else []
    return " · ".join(parts)
