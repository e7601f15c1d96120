"""What a recording holds, for comparison with its manifest."""

from __future__ import annotations

from typing import Any

import numpy as np


def describe_run(dataset: Any, session: str, run: str, raw: Any) -> dict[str, Any]:
    """Trial counts, channels, rate and faults of one run.

    Parameters
    ----------
    dataset : moabb.datasets.base.BaseDataset
        Whose events count.
    session, run : str
        Names.
    raw : mne.io.Raw
        The recording.
    """
    from moabb.datasets.preprocessing import RawToEvents

    events = RawToEvents(dataset.event_id, dataset.interval).transform(raw)
    signal = raw.get_data("eeg")
    names = raw.copy().pick("eeg").ch_names
    return {
        "session": session,
        "run": run,
        "counts": {
            event: int(np.isin(events[:, 2], code).sum())
            for event, code in dataset.event_id.items()
        },
        "names": [names],
        "sfreq": [float(raw.info["sfreq"])],
        "broken": [n for n, x in zip(names, signal) if not np.isfinite(x).all()],
        "flat": [n for n, x in zip(names, signal) if np.ptp(x) == 0],
    }


def merge_by_session(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs of each session as one, for datasets whose trials are counted per session.

    Parameters
    ----------
    runs : list of dict
        From :func:`describe_run`.
    """
    merged: dict[str, dict[str, Any]] = {}
    for run in runs:
        empty = {"session": run["session"], "run": None, "counts": {}}
        session = merged.setdefault(run["session"], empty)
        for event, count in run["counts"].items():
            session["counts"][event] = session["counts"].get(event, 0) + count
        for key in ("names", "sfreq", "broken", "flat"):
            session[key] = session.get(key, []) + run[key]
    return list(merged.values())
