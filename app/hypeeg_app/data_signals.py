"""A look into one recording: signals, spectrum, sensors."""

from __future__ import annotations

import streamlit as st

from hypeeg.eeg.inventory import Inventory
from hypeeg.eeg.manifest import Manifest
from hypeeg.eeg.preview import MAX_SECONDS, Preview
from hypeeg.viz import head_figure, signals_figure, spectra_figure
from hypeeg_app.data_files import show_absent
from hypeeg_app.data_reading import ReadError, read_preview
from hypeeg_app.data_sensors import not_placed
from hypeeg_app.screen import chart, columns

N_CHANNELS_SHOWN = 10


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
    left, right = columns([3, 1], "data-channels", "card")
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
    left, right = columns([3, 2], "data-recording", "part", gap="large")
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
