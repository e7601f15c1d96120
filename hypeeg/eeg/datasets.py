"""Recordings through MOABB's datasets and paradigms: manifest in, arrays out.

:func:`load_epochs` checks the request against the manifest, the files against their own headers
and the trials against what the manifest expects; :mod:`hypeeg.eeg.check` reports the same without
cutting epochs.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hypeeg.eeg import files as _files
from hypeeg.eeg.epochs import EpochsData, check_finite
from hypeeg.eeg.errors import DataError
from hypeeg.eeg.manifest import Manifest, load_manifest
from hypeeg.eeg.paths import configure_data_paths, keep_mne_config_unwritten
from hypeeg.eeg.preprocessing import PreprocessingSpec
from hypeeg.eeg.reader import adapted, make_dataset, make_paradigm, process_pipelines, read_subject
from hypeeg.eeg.request import check_request

if TYPE_CHECKING:
    from hypeeg.eeg.check import DataCheck as DataCheck
    from hypeeg.eeg.check import check_dataset as check_dataset

logger = logging.getLogger(__name__)


def load_epochs(
    manifest: Manifest | str | Path,
    subjects: Sequence[int] | None = None,
    sessions: Sequence[str] | None = None,
    preprocessing: PreprocessingSpec | dict[str, Any] | None = None,
    events: Sequence[str] | None = None,
    *,
    exclude_duplicates: bool = True,
    dataset_params: dict[str, Any] | None = None,
) -> EpochsData:
    """Load epochs as float32 with labels and MOABB's metadata.

    Parameters
    ----------
    manifest : Manifest, str or Path
        A manifest, its name, or a YAML file.
    subjects : sequence of int or None
        Subject numbers; None takes all but those that the manifest excludes.
    sessions : sequence of str or None
        Session names; None takes all.
    preprocessing : PreprocessingSpec, dict or None
        Fields set here replace the manifest's recommendation. ``standardise`` is left to the
        pipeline, because it may learn from training trials only.
    events : sequence of str or None
        Classes; None takes the manifest's ``default_events``.
    exclude_duplicates : bool
        Leave out a run that the manifest names as a copy of another run **of this request**: kept,
        it would leak between training and test subjects.
    dataset_params : dict or None
        Keyword arguments for the MOABB class, over those of the manifest.

    Returns
    -------
    EpochsData

    Raises
    ------
    DataError
        For a subject, session, event or channel that the manifest does not have, a band above the
        Nyquist limit, or a subject without trials.
    MissingDataError
        If a recording is not on this machine (with ``HYPEEG_DATA`` set the network is never asked)
        or cannot be fetched.
    CorruptDataError
        If a recording is truncated, unreadable, or gives NaN or infinite values.
    """
    manifest = manifest if isinstance(manifest, Manifest) else load_manifest(manifest)
    # YAML reads session 0 and the SSVEP class 13 as numbers.
    sessions = None if sessions is None else [str(session) for session in sessions]
    events = None if events is None else [str(event) for event in events]
    offline = prepare_paths(manifest)
    dataset = make_dataset(manifest, **(dataset_params or {}))
    manifest = adapted(manifest, dataset)
    spec = manifest.resolve_preprocessing(preprocessing)
    chosen, notes = check_request(manifest, subjects, sessions, events, spec)
    names = list(events or manifest.default_events)
    paradigm = make_paradigm(manifest.paradigm, names, spec, channels=manifest.channels.names)
    pipelines = process_pipelines(paradigm, dataset, spec)

    parts: list[tuple[np.ndarray, np.ndarray, pd.DataFrame]] = []
    shape: tuple[list[str], float] | None = None
    for subject in chosen:
        _check_files(manifest, subject, offline)
        epochs, labels, metadata = read_subject(manifest, paradigm, dataset, pipelines, subject)
        shape = shape or (epochs.ch_names, float(epochs.info["sfreq"]))
        if (epochs.ch_names, float(epochs.info["sfreq"])) != shape:
            raise DataError(
                f"{manifest.name} subject {subject}: {len(epochs.ch_names)} channels at "
                f"{epochs.info['sfreq']:g} Hz, but subject {chosen[0]} has {len(shape[0])} at "
                f"{shape[1]:g} Hz (or other names); set preprocessing.resample and "
                "preprocessing.channels, or leave the subject out"
            )
        X = (epochs.get_data(copy=False) * dataset.unit_factor).astype(np.float32)
        parts.append((X, np.asarray(labels, dtype=str), metadata))
    assert shape is not None  # the request holds at least one subject
    data = EpochsData(
        X=np.concatenate([part[0] for part in parts]),
        y=np.concatenate([part[1] for part in parts]),
        metadata=_tidy(pd.concat([part[2] for part in parts], ignore_index=True)),
        sfreq=shape[1],
        ch_names=tuple(shape[0]),
        dataset=manifest.name,
        paradigm=manifest.paradigm,
        scoring=paradigm.scoring,
        preprocessing=spec,
    )
    if sessions is not None:
        data = data.select(data.metadata["session"].isin(sessions).to_numpy())
    check_finite(data)
    notes += _compare_counts(manifest, data, chosen, sessions or manifest.sessions, names)
    if exclude_duplicates:
        data, dropped = _drop_duplicates(manifest, data)
        notes += dropped
    for note in notes:
        logger.warning("%s", note)
    return replace(data, notes=tuple(notes))


def _check_files(manifest: Manifest, subject: int, offline: bool) -> None:
    present, missing = _files.subject_files(manifest, subject)
    if missing:
        if offline:
            raise _files.missing_error(manifest, subject, missing)
        logger.info("%s subject %s: downloading %d files", manifest.name, subject, len(missing))
    for path in present:
        _files.check_whole(path)


def prepare_paths(manifest: Manifest) -> bool:
    """Point MNE at the recordings of a dataset, if it is read from files.

    Parameters
    ----------
    manifest : Manifest
        Dataset description.

    Returns
    -------
    bool
        Whether ``HYPEEG_DATA`` is set, which puts the network out of bounds.
    """
    if manifest.files is None:
        return False
    if configure_data_paths() is not None:
        return True
    keep_mne_config_unwritten()
    return False


def _tidy(metadata: pd.DataFrame) -> pd.DataFrame:
    tidy = metadata[["subject", "session", "run"]].reset_index(drop=True)
    return tidy.astype({"subject": int, "session": str, "run": str})


def _compare_counts(
    manifest: Manifest,
    data: EpochsData,
    subjects: list[int],
    sessions: list[str],
    events: list[str],
) -> list[str]:
    """A note if runs or sessions hold fewer or more trials than the manifest expects."""
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


def _drop_duplicates(manifest: Manifest, data: EpochsData) -> tuple[EpochsData, list[str]]:
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


def __getattr__(name: str) -> Any:
    if name in {"check_dataset", "DataCheck"}:
        return getattr(importlib.import_module("hypeeg.eeg.check"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
