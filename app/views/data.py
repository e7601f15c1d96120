"""Data sets: what there is, what of it lies on this machine, and a look into recordings."""

from __future__ import annotations

import streamlit as st
from hypeeg_app.data_about import show_about
from hypeeg_app.data_files import show_files
from hypeeg_app.data_signals import show_signals
from hypeeg_app.data_trials import show_trials
from hypeeg_app.datasets import (
    LICENCES,
    NO_LICENCE,
    OTHER_LICENCE,
    PARADIGMS,
    all_inventories,
    all_manifests,
    human_size,
    licence_kind,
    matches,
    table_of,
    trap_text,
)
from hypeeg_app.screen import columns

from hypeeg.eeg.inventory import Inventory
from hypeeg.eeg.manifest import Manifest

DATASET_KEY = "dataset"
REQUEST_KEY = "requested-dataset"
PARTS = {
    "About": ":material/description: About",
    "Files": ":material/folder_open: Files",
    "Signals": ":material/show_chart: Signals",
    "Trials": ":material/bar_chart: Trials",
}
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
            width=270,
        )
        paradigms = st.multiselect(
            "Paradigm",
            list(PARADIGMS),
            format_func=PARADIGMS.__getitem__,
            key="data-paradigm",
            placeholder="any",
            width=215,
        )
        licences = st.multiselect(
            "Licence asks for",
            LICENCE_CHOICES,
            key="data-licence",
            placeholder="anything",
            width=215,
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
    tiles = columns(len(figures), "data-figures", "tile")
    for column, (label, value) in zip(tiles, figures.items(), strict=True):
        column.metric(label, value, border=True)
    if manifest.traps:
        texts = [trap_text(trap) for trap in manifest.traps]
        st.warning(
            texts[0] if len(texts) == 1 else "\n".join(f"- {text}" for text in texts),
            icon=":material/warning:",
        )


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
