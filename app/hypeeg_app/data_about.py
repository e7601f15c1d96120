"""What a manifest says of its data set: citation, events, preprocessing, sensors."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from hypeeg.eeg.manifest import Manifest
from hypeeg.experiments.yaml_io import format_yaml
from hypeeg.viz import head_figure
from hypeeg_app.data_reading import ReadError
from hypeeg_app.data_sensors import not_placed, template_positions
from hypeeg_app.screen import chart, columns


def show_about(manifest: Manifest) -> None:
    """Show what the manifest says."""
    left, right = columns([3, 2], "data-about", "part", gap="large")
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
    try:
        found = template_positions(manifest)
    except ReadError as error:
        st.caption(f"Their places cannot be read: {error}")
        return
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
