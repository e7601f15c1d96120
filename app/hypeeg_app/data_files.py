"""What of a data set lies on this machine, and how to get what does not."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from hypeeg.eeg.inventory import Inventory
from hypeeg.eeg.manifest import Manifest
from hypeeg_app.datasets import human_size


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
