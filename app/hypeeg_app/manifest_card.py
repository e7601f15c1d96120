"""What a data manifest says, in a few lines beside the choice of the data set."""

from __future__ import annotations

import streamlit as st

from hypeeg.eeg.inventory import Inventory
from hypeeg.eeg.manifest import Manifest
from hypeeg_app.datasets import PARADIGMS, human_size, licence_kind, trap_text
from hypeeg_app.form_schema import listing


def show_manifest(facts: tuple[Manifest, Inventory] | str) -> None:
    """Show what a data set holds, or why nobody knows.

    Parameters
    ----------
    facts : tuple or str
        Manifest and what of it lies on this machine, or what is wrong.
    """
    if isinstance(facts, str):
        return  # the field says what is wrong
    manifest, there = facts
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(PARADIGMS.get(manifest.paradigm, manifest.paradigm), color="blue")
        _show_place(manifest, there)
        free = licence_kind(manifest.licence) in ("public domain", "attribution")
        st.badge(
            f"licence {manifest.licence}",
            icon=":material/license:",
            color="green" if free else "orange",
        )
        st.page_link(
            "views/data.py",
            label="Look into it",
            icon=":material/open_in_new:",
            width="content",
            query_params={"dataset": manifest.name},
        )
    sessions = ", ".join(manifest.sessions) or f"{manifest.n_sessions or 'unknown'} each"
    st.markdown(
        f"{manifest.title.rstrip('.')}. Subjects {listing(manifest.subjects)}; sessions "
        f"{sessions}; events {', '.join(manifest.events)}; {manifest.channels.count} channels at "
        f"{manifest.sfreq:g} Hz."
    )
    if manifest.traps:
        texts = [trap_text(trap) for trap in manifest.traps]
        label = f"{len(texts)} warnings" if len(texts) > 1 else "1 warning"
        with st.expander(label, icon=":material/warning:"):
            st.markdown("\n".join(f"- {text}" for text in texts))


def _show_place(manifest: Manifest, there: Inventory) -> None:
    if there.simulated:
        st.badge("simulated", icon=":material/science:", color="violet")
    elif there.here:
        n, total = len(there.complete), len(manifest.subjects)
        st.badge(f"{n} of {total} subjects here", icon=":material/check:", color="green")
    else:
        size = f", {human_size(manifest.size.bytes)} to download" if manifest.size else ""
        st.badge(f"not on this machine{size}", icon=":material/cloud:", color="gray")
