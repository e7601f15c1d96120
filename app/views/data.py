"""Data sets: what there is, what of it lies on this machine, and a look into recordings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from hypeeg_app.datasets import (
    LICENCES,
    NO_LICENCE,
    OTHER_LICENCE,
    PARADIGMS,
    ReadError,
    all_inventories,
    all_manifests,
    count_trials,
    human_size,
    licence_kind,
    matches,
    read_preview,
    table_of,
    template_positions,
    trap_text,
)
from hypeeg_app.screen import chart

from hypeeg.eeg.inventory import Inventory
from hypeeg.eeg.manifest import Manifest
from hypeeg.eeg.preview import MAX_SECONDS, Preview
from hypeeg.experiments.yaml_io import format_yaml
from hypeeg.viz import balance_figure, head_figure, signals_figure, spectra_figure

DATASET_KEY = "dataset"
REQUEST_KEY = "requested-dataset"
PARTS = {
    "About": ":material/description: About",
    "Files": ":material/folder_open: Files",
    "Signals": ":material/show_chart: Signals",
    "Trials": ":material/bar_chart: Trials",
}
N_CHANNELS_SHOWN = 10
N_SUBJECTS_COUNTED = 12
LICENCE_CHOICES = [*LICENCES, OTHER_LICENCE, NO_LICENCE]


def filtered(
    manifests: dict[str, Manifest], inventories: dict[str, Inventory]
) -> dict[str, Manifest]:
    """Show the filters; return the data sets that pass them."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        words = st.text_input(
            "Search",
            key="data-search",
            icon=":material/search:",
            placeholder="name, title, event, author …",
            width=300,
        )
        paradigms = st.multiselect(
            "Paradigm",
            list(PARADIGMS),
            format_func=PARADIGMS.__getitem__,
            key="data-paradigm",
            placeholder="any",
            width=250,
        )
        licences = st.multiselect(
            "Licence asks for",
            LICENCE_CHOICES,
            key="data-licence",
            placeholder="anything",
            width=250,
            help="The strictest condition of each licence; read its text before you use the data.",
        )
    row = st.container(horizontal=True, vertical_alignment="center")
    with row:
        here = st.toggle("On this machine", key="data-here")
        warned = st.toggle("With warnings", key="data-traps")
    passed = {
        name: m
        for name, m in manifests.items()
        if matches(m, words or "")
        and (not paradigms or m.paradigm in paradigms)
        and (not licences or licence_kind(m.licence) in licences)
        and (not here or inventories[name].here)
        and (not warned or m.traps)
    }
    n_here = sum(inventories[name].here for name in passed)
    with row:
        st.caption(
            f"{len(passed)} of {len(manifests)} data sets, {n_here} with recordings here",
            width="content",
        )
    # What can be looked into comes first; the order is else that of the names.
    return dict(sorted(passed.items(), key=lambda item: not inventories[item[0]].here))


def choose(shown: dict[str, Manifest], inventories: dict[str, Inventory]) -> str:
    """Show the table of data sets; return the chosen one."""
    names = list(shown)
    if REQUEST_KEY in st.session_state:
        st.session_state[DATASET_KEY] = st.session_state.pop(REQUEST_KEY)
    if st.session_state.get(DATASET_KEY) not in names:
        # Begin with one that can be looked into.
        first = next((n for n in names if inventories[n].complete), names[0])
        st.session_state[DATASET_KEY] = first
    name = str(st.sidebar.selectbox("Data set", names, key=DATASET_KEY, bind="query-params"))
    event = st.dataframe(
        table_of(shown, inventories),
        # A new key for each choice and filter makes the table take over the choice.
        key=f"data-{name}-{len(names)}-{names[0]}-{names[-1]}",
        hide_index=True,
        placeholder="–",
        height=min(36 * (len(names) + 1) + 2, 330),
        on_select="rerun",
        selection_mode="single-row",
        selection_default={"selection": {"rows": [names.index(name)]}},
        column_config={
            "Data set": st.column_config.TextColumn(width=170),
            "Here": st.column_config.TextColumn(
                width="small", help="Whether a subject can be read without a download."
            ),
            "Classes": st.column_config.NumberColumn(width="small"),
            "Subjects": st.column_config.NumberColumn(width="small"),
            "Sessions": st.column_config.NumberColumn(width="small"),
            "Channels": st.column_config.NumberColumn(width="small"),
            "Hz": st.column_config.NumberColumn(width="small", format="%g"),
            "Warnings": st.column_config.NumberColumn(width="small"),
        },
    )
    rows = event["selection"]["rows"]
    if rows and names[rows[0]] != name:
        st.session_state[REQUEST_KEY] = names[rows[0]]
        st.rerun()
    return name


def show_header(manifest: Manifest, there: Inventory) -> None:
    """Show name, title, figures and warnings of a data set."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(manifest.name, anchor=False, width="content")
        st.badge(PARADIGMS.get(manifest.paradigm, manifest.paradigm), color="blue")
        kind = licence_kind(manifest.licence)
        free = kind in ("public domain", "attribution")
        st.badge(
            manifest.licence if kind != NO_LICENCE else "licence unknown",
            icon=":material/license:",
            color="green" if free else "orange",
        )
        if there.simulated:
            st.badge("simulated", icon=":material/science:", color="violet")
        elif there.here:
            n, total = len(there.complete), len(manifest.subjects)
            st.badge(f"{n} of {total} subjects here", icon=":material/check:", color="green")
        else:
            st.badge("not on this machine", icon=":material/cloud:", color="gray")
    st.markdown(manifest.title)
    figures = {
        "Subjects": f"{len(manifest.subjects)}",
        "Sessions each": f"{manifest.n_sessions or '?'}",
        "EEG channels": f"{manifest.channels.count}",
        "Sampling rate": f"{manifest.sfreq:g} Hz",
        "Classes": f"{len(manifest.default_events)}",
        "Download": human_size(manifest.size.bytes) if manifest.size else "?",
    }
    if there.simulated:
        figures["Download"] = "none"
    for column, (label, value) in zip(st.columns(len(figures)), figures.items(), strict=True):
        column.metric(label, value, border=True)
    if manifest.traps:
        texts = [trap_text(trap) for trap in manifest.traps]
        st.warning(
            texts[0] if len(texts) == 1 else "\n".join(f"- {text}" for text in texts),
            icon=":material/warning:",
        )


def show_about(manifest: Manifest) -> None:
    """Show what the manifest says."""
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.markdown("##### Cite")
        st.markdown(manifest.citation.text)
        links = []
        if manifest.citation.doi:
            links.append(f"[doi:{manifest.citation.doi}](https://doi.org/{manifest.citation.doi})")
        if manifest.citation.url:
            links.append(f"[{manifest.citation.url}]({manifest.citation.url})")
        if links:
            st.markdown(" · ".join(links))
        st.markdown("##### Events")
        st.dataframe(
            pd.DataFrame(
                {
                    "Event": name,
                    "Class": name in manifest.default_events,
                    "Code": str(event.code),
                    "Meaning": event.description or None,
                }
                for name, event in manifest.events.items()
            ),
            hide_index=True,
            placeholder="–",
            height="auto" if len(manifest.events) <= 8 else 320,
        )
        begin, end = manifest.interval
        st.markdown(
            f"Task from **{begin:g} s** to **{end:g} s** after the cue; preprocessing where a run "
            "names none:"
        )
        given = manifest.preprocessing.model_dump(mode="json", exclude_defaults=True)
        st.code(format_yaml({"preprocessing": given}), language="yaml")
    with right:
        show_sensors(manifest)
        if manifest.catalogue is not None:
            with st.expander(f"What MOABB {manifest.catalogue.moabb} says"):
                said = {**manifest.catalogue.row, **manifest.catalogue.trials}
                if said:
                    st.table(pd.Series(said, name="value").to_frame())
                st.caption("Word for word; nobody has compared it with the recordings.")


def show_sensors(manifest: Manifest) -> None:
    """Show the sensors that the manifest names, on the head."""
    st.markdown("##### Sensors")
    found = template_positions(manifest)
    if found is None or not found[1].known.any():
        why = "names no sensors" if found is None else "names no sensors with a known place"
        st.caption(f"The manifest {why}; a recording may (see Signals).")
        return
    names, positions = found
    chart(
        head_figure(positions.points, names),
        "data-sensors",
        f"{int(positions.known.sum())} sensors on the head",
    )
    st.caption(f"Seen from above; {positions.source}.{not_placed(names, positions.known)}")


def not_placed(names: list[str] | tuple[str, ...], known: np.ndarray) -> str:
    """Return which sensors are left out of the picture, as a sentence."""
    lost = [name for name, there in zip(names, known, strict=True) if not there]
    if not lost:
        return ""
    more = f" and {len(lost) - 8} more" if len(lost) > 8 else ""
    return f" Without a known place: {', '.join(lost[:8])}{more}."


def show_files(manifest: Manifest, there: Inventory) -> None:
    """Show what lies on this machine."""
    if there.simulated:
        st.info("Made when asked for: there is nothing to download.", icon=":material/science:")
        return
    if there.problem:
        st.error(there.problem, icon=":material/folder_off:")
        return
    if not there.here:
        show_absent(manifest)
        if there.folder:
            st.caption(f"Looked in `{there.folder}`.")
        return
    rows = [row for row in there.subjects if row.present]
    resized = [path for row in rows for path in row.resized]
    n_files = sum(row.present for row in rows)
    st.markdown(
        f"**{n_files} files, {human_size(there.size)}**, of {len(rows)} of "
        f"{len(manifest.subjects)} subjects" + (f", in `{there.folder}`" if there.folder else "")
    )
    if resized:
        st.error(
            f"{len(resized)} files have another size than when they were recorded, first "
            f"`{resized[0]}`. `hypeeg data check {manifest.name}` compares the hashes.",
            icon=":material/error:",
        )
    table = pd.DataFrame(
        {
            "Subject": row.subject,
            "State": row.state,
            "Files": row.present,
            "Missing": row.missing or None,
            "Size": row.size / 1e6,
            "Hashes recorded": row.recorded / row.present * 100,
        }
        for row in rows
    )
    st.dataframe(
        table,
        hide_index=True,
        placeholder="–",
        height="auto" if len(rows) <= 12 else 430,
        column_config={
            "Size": st.column_config.NumberColumn(format="%.1f MB"),
            "Hashes recorded": st.column_config.ProgressColumn(
                format="%d%%",
                min_value=0,
                max_value=100,
                help="Files whose SHA-256 is in the lock file, so that a change is noticed.",
            ),
        },
    )
    if there.lock:
        st.caption(f"Hashes in `{there.lock}`.")
    else:
        st.caption("No hashes are recorded yet; this does it, and compares with the manifest:")
    st.code(f"hypeeg data check {manifest.name}", language="bash")


def show_absent(manifest: Manifest) -> None:
    """Say how to get a data set that is not here."""
    size = f" ({manifest.size.human})" if manifest.size else ""
    if manifest.is_moabb:
        st.info(
            f"No recording of it is known to be on this machine. This downloads it{size}; what is "
            "here already stays:",
            icon=":material/cloud_download:",
        )
        st.code(f"hypeeg data fetch {manifest.name}", language="bash")
    else:
        st.info(
            "Its recordings are not on this machine. Set HYPEEG_DATA to the folder that holds "
            f"them. Source: {manifest.citation.url or manifest.citation.text}",
            icon=":material/folder_off:",
        )


def show_signals(manifest: Manifest, there: Inventory) -> None:
    """Show a minute of one recording; read only when asked for."""
    if not there.complete:
        show_absent(manifest)
        return
    opened = f"opened-{manifest.name}"
    with st.container(horizontal=True, vertical_alignment="bottom"):
        subject = st.selectbox("Subject", there.complete, key=f"subject-{manifest.name}", width=130)
        known: list[tuple[str, str]] = st.session_state.get(
            f"recordings-{manifest.name}-{subject}", []
        )
        recording = st.selectbox(
            "Session / run",
            range(len(known)) if known else [0],
            format_func=lambda k: " / ".join(known[k]) if k < len(known) else "first",
            # Another key, or the browser keeps showing the word that stood for an unknown name.
            key=f"recording-{manifest.name}-{subject}-{len(known)}",
            width=160,
        )
        minute = st.number_input(
            "From minute", 0, 600, 0, key=f"minute-{manifest.name}-{subject}", width=140
        )
        if st.button("Read", icon=":material/play_arrow:", type="primary"):
            st.session_state[opened] = True
    if not st.session_state.get(opened):
        st.caption(
            "Nothing is read before you ask. A minute of the recording is then read in a process "
            "of its own, which takes a few seconds, and kept while the app runs."
        )
        return
    # The first is asked for as such also when its name is known: it has been read already.
    session, run = known[recording] if 0 < recording < len(known) else (None, None)
    stamp = next(row for row in there.subjects if row.subject == subject)
    try:
        with st.spinner(f"Reading subject {subject} …", show_time=True):
            preview = read_preview(
                manifest.name, subject, session, run, MAX_SECONDS * minute, stamp
            )
    except ReadError as error:
        st.error(str(error), icon=":material/broken_image:")
        return
    if known != preview.recordings:
        st.session_state[f"recordings-{manifest.name}-{subject}"] = preview.recordings
        st.rerun()
    show_preview(manifest, preview)


def show_preview(manifest: Manifest, preview: Preview) -> None:
    """Show signals, spectrum and sensors of a recording."""
    minutes, seconds = divmod(round(preview.duration), 60)
    st.markdown(
        f"Subject **{preview.subject}**, session **{preview.session}**, run **{preview.run}**: "
        f"{len(preview.names)} channels, {minutes} min {seconds:02d} s at {preview.sfreq:g} Hz, "
        f"{len(preview.onsets)} trials."
    )
    left, right = st.columns([3, 1])
    with left:
        channels = st.multiselect(
            "Channels",
            preview.names,
            default=spread(list(preview.names), N_CHANNELS_SHOWN),
            key=f"channels-{manifest.name}",
        )
    length = preview.signals.shape[1] / preview.shown_sfreq
    with right:
        seconds_shown = st.select_slider(
            "Seconds", [2, 5, 10, 20, 30, 60], value=10, key="data-seconds"
        )
    if length > seconds_shown:
        begin = st.slider(
            "Time (s)",
            preview.start,
            preview.start + length - seconds_shown,
            preview.start,
            step=max(0.5, seconds_shown / 10),
            key=f"time-{manifest.name}-{preview.subject}-{preview.start}-{seconds_shown}",
        )
    else:
        begin = preview.start
    first = round((begin - preview.start) * preview.shown_sfreq)
    last = first + round(seconds_shown * preview.shown_sfreq)
    rows = [preview.names.index(name) for name in channels]
    if rows:
        chart(
            signals_figure(
                preview.signals[rows, first:last],
                preview.shown_sfreq,
                channels,
                start=begin,
                onsets=preview.onsets,
                events=preview.events,
                event_names=list(manifest.events),
            ),
            "data-signals",
            f"Signals of {len(rows)} channels of {manifest.name}",
        )
        text = "As recorded: nothing is filtered, only the mean of each channel in view taken off."
        if preview.shown_sfreq != preview.sfreq:
            text += f" Drawn at {preview.shown_sfreq:g} Hz."
        st.caption(text + " Vertical lines: trials.")
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.markdown("##### Spectrum")
        band = (manifest.preprocessing.fmin, manifest.preprocessing.fmax)
        chart(
            spectra_figure(preview.frequencies, preview.psd, preview.names, band=band),
            "data-spectrum",
            f"Power spectral density of {manifest.name}",
        )
        st.caption(
            "Welch's method, segments of two seconds, first five minutes of the recording. "
            "Shaded: the band that the manifest's preprocessing keeps."
        )
    with right:
        st.markdown("##### Sensors")
        known = preview.positions.known
        if known.any():
            chart(
                head_figure(preview.positions.points, preview.names, chosen=channels),
                "data-preview-sensors",
                f"{int(known.sum())} sensors on the head",
            )
        lost = not_placed(preview.names, known)
        st.caption(f"{preview.positions.source.capitalize()}; drawn above: orange.{lost}")


def spread(names: list[str], count: int) -> list[str]:
    """Return up to `count` names, spread evenly over the list."""
    if len(names) <= count:
        return names
    return [names[round(k * (len(names) - 1) / (count - 1))] for k in range(count)]


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


st.title("Data", anchor=False)
manifests, problems = all_manifests()
for problem in problems:
    st.error(problem, icon=":material/broken_image:")
if not manifests:
    st.stop()
inventories = all_inventories(tuple(manifests))
shown = filtered(manifests, inventories)
if not shown:
    st.info("No data set passes these filters.", icon=":material/filter_alt_off:")
    st.stop()
name = choose(shown, inventories)
manifest, there = manifests[name], inventories[name]
show_header(manifest, there)
part = st.segmented_control(
    "Part",
    list(PARTS),
    format_func=PARTS.__getitem__,
    default="About",
    required=True,
    key="data-part",
    label_visibility="collapsed",
)
if part == "About":
    show_about(manifest)
elif part == "Files":
    show_files(manifest, there)
elif part == "Signals":
    show_signals(manifest, there)
else:
    show_trials(manifest, there)
