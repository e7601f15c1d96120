"""A request for recordings, checked against the manifest before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypeeg.eeg.errors import DataError, suggest
from hypeeg.eeg.manifest import Manifest
from hypeeg.eeg.preprocessing import PreprocessingSpec


def check_request(
    manifest: Manifest,
    subjects: Sequence[int] | None,
    sessions: Sequence[str] | None,
    events: Sequence[str] | None,
    spec: PreprocessingSpec,
) -> tuple[list[int], list[str]]:
    """Check what is asked for against the manifest.

    Parameters
    ----------
    manifest : Manifest
        Dataset description.
    subjects, sessions, events : sequence or None
        As in :func:`hypeeg.eeg.load_epochs`.
    spec : PreprocessingSpec
        Preprocessing with the manifest's recommendations filled in.

    Returns
    -------
    subjects : list of int
        Subjects to load.
    notes : list of str
        Who is left out.

    Raises
    ------
    DataError
        Naming the field, the value and what would be valid.
    """
    notes: list[str] = []
    if subjects is None:
        chosen = manifest.default_subjects
        out = [s for s in manifest.subjects if s not in set(chosen)]
        if out:
            notes.append(f"{manifest.name}: subjects {out} are left out (see the manifest's traps)")
    else:
        chosen = each_once(manifest.name, "subjects", list(subjects), manifest.subjects)
    if sessions is not None and not manifest.sessions:
        notes.append(
            f"{manifest.name}: session names are not known before reading; asked for {sessions}"
        )
    elif sessions is not None:
        each_once(manifest.name, "sessions", list(sessions), manifest.sessions)
    if events is not None:
        each_once(manifest.name, "events", list(events), list(manifest.events))
    names = list(manifest.default_events if events is None else events)
    if len(names) < 2:
        raise DataError(
            f"{manifest.name}: events={names}: a classifier needs at least two; "
            f"{suggest('', manifest.events)}"
        )
    known = manifest.channels.names
    if known is not None:
        for name, value in (("channels", spec.channels), ("reference", spec.reference)):
            if isinstance(value, list):
                each_once(manifest.name, f"preprocessing.{name}", value, known)
    _check_steps(manifest, spec)
    try:
        spec.check_sfreq(manifest.sfreq, manifest.name)
    except ValueError as error:
        raise DataError(str(error)) from error
    return chosen, notes


def _check_steps(manifest: Manifest, spec: PreprocessingSpec) -> None:
    if manifest.own is not None and manifest.own.arrays is not None and spec.recording_steps:
        names = ", ".join(step.step for step in spec.recording_steps)
        raise DataError(
            f"{manifest.name}: preprocessing.steps: {names}: arrays hold trials that are cut "
            "already, and these steps work on the continuous recording; use the fields fmin, fmax, "
            "reference and resample, or give the recordings instead"
        )
    known = manifest.channels.names
    for position, step in enumerate(spec.steps):
        for name in ("channels", "bads"):
            value = getattr(step, name, None)
            if isinstance(value, list) and known is not None:
                field = f"preprocessing.steps.{position}.{name}"
                each_once(manifest.name, field, value, known)


def each_once(dataset: str, name: str, given: list[Any], valid: Sequence[Any]) -> list[Any]:
    """The given values, if each is valid and named once.

    Parameters
    ----------
    dataset, name : str
        Dataset and field, for the message.
    given : list
        Values asked for.
    valid : sequence
        Values that exist.

    Raises
    ------
    DataError
        For an empty list, an unknown value or one of another type, or a repeated one.
    """
    if not given:
        raise DataError(f"{dataset}: {name} is an empty list; leave it out to take all")
    for value in given:
        if isinstance(value, bool) or value not in valid:
            kind = "" if isinstance(value, type(valid[0])) else f" of type {type(value).__name__}"
            raise DataError(
                f"{dataset}: {name}: {value!r}{kind} is not there; {_valid(value, valid)}"
            )
    if len(set(given)) != len(given):
        raise DataError(f"{dataset}: {name}={given} names something twice; name each once")
    return given


def _valid(value: Any, valid: Sequence[Any]) -> str:
    if all(isinstance(v, int) for v in valid):
        dense = list(valid) == list(range(valid[0], valid[-1] + 1))
        return f"valid: {valid[0]} to {valid[-1]}" if dense else f"valid: {list(valid)}"
    return suggest(str(value), valid)
