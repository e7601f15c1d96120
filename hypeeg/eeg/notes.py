"""What is odd about loaded epochs, as lines that a person reads: lost trials, copies, confounds."""

from __future__ import annotations

from typing import Any

import numpy as np

from hypeeg.eeg.epochs import EpochsData
from hypeeg.eeg.manifest import Manifest


def compare_counts(
    manifest: Manifest,
    data: EpochsData,
    subjects: list[int],
    sessions: list[str],
    events: list[str],
) -> list[str]:
    """A note if runs or sessions hold fewer or more trials than the manifest expects.

    Parameters
    ----------
    manifest : Manifest
        Dataset description.
    data : EpochsData
        Loaded epochs.
    subjects : list of int
        Subjects asked for.
    sessions : list of str
        Sessions asked for; empty where their names are not known.
    events : list of str
        Classes asked for.
    """
    if manifest.trials is None:
        return []
    odd = []
    keys = ["subject", "session"] + (["run"] if manifest.trials.per == "run" else [])
    units: dict[Any, Any] = dict(data.metadata.groupby(keys, sort=False).groups)
    there = set(zip(data.metadata["subject"], data.metadata["session"]))
    odd += [
        f"subject {subject} session {session}: no trials"
        for subject in subjects
        for session in sessions
        if (subject, session) not in there
    ]
    for key, rows in units.items():
        expected, tolerance = manifest.trials.expected(*key)
        labels = data.y[np.asarray(rows)]
        for event in events:
            found = int((labels == event).sum())
            if event in expected and abs(found - expected[event]) > tolerance:
                place = " ".join(f"{name} {value}" for name, value in zip(keys, key))
                odd.append(f"{place}: {found} of {event!r}, not {expected[event]}")
    if not odd:
        return []
    return [
        f"{manifest.name}: {len(odd)} trial counts differ from the manifest, first {odd[0]}. "
        f"Either tmax={data.preprocessing.tmax} s reaches beyond the end of recordings, or files "
        f"are incomplete ('hypeeg data check {manifest.name}' tells)"
    ]


def drop_duplicates(manifest: Manifest, data: EpochsData) -> tuple[EpochsData, list[str]]:
    """Leave out runs that the manifest names as copies of others that are there too.

    Parameters
    ----------
    manifest : Manifest
        Dataset description.
    data : EpochsData
        Loaded epochs.

    Returns
    -------
    data : EpochsData
    notes : list of str
        What was left out.
    """
    notes = []
    for trap in manifest.duplicates:
        copy, original = (
            (data.metadata["subject"] == r.subject)
            & (data.metadata["session"] == r.session)
            & (data.metadata["run"] == r.run)
            for r in (trap.recording, trap.original)
        )
        if copy.any() and original.any():
            data = data.select((~copy).to_numpy())
            notes.append(
                f"{manifest.name}: {trap.recording} is a copy of {trap.original}: its "
                f"{int(copy.sum())} trials are left out"
            )
    return data, notes


def confounded(data: EpochsData) -> list[str]:
    """A note if every recording holds trials of one class only.

    A split inside a subject then scores by telling recordings apart (drift, impedance, time of
    day), whatever the classes are.

    Parameters
    ----------
    data : EpochsData
        Loaded epochs.
    """
    recordings = data.metadata.assign(y=data.y).groupby(["subject", "session", "run"], sort=False)
    if len(data.classes) < 2 or (recordings["y"].nunique() > 1).any():
        return []
    return [
        f"{data.dataset}: each recording holds one class only, so a split inside a subject leaks: "
        "it tells recordings apart, not classes. Leave whole subjects out "
        "(evaluation.kind: cross_subject)"
    ]
