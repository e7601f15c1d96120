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
from hypeeg.eeg.cache import EpochsCache, SubjectEpochs, cache_from, cache_key
from hypeeg.eeg.epochs import EpochsData, check_finite
from hypeeg.eeg.errors import DataError, MissingDataError
from hypeeg.eeg.fetch import flat_files
from hypeeg.eeg.manifest import Manifest, load_manifest
from hypeeg.eeg.memory import check_memory, estimate_memory, usable_memory
from hypeeg.eeg.notes import compare_counts, confounded, drop_duplicates
from hypeeg.eeg.paths import DATA_VARIABLE, configure_data_paths, keep_mne_config_unwritten
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
    cache: Path | str | None = None,
    memory_limit: float | None = None,
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
        Fields set here replace the manifest's recommendation. ``standardise`` and trial steps are
        left to the pipeline (:func:`hypeeg.eeg.trial_steps.make_trial_steps`), because they may
        learn from training trials only.
    events : sequence of str or None
        Classes; None takes the manifest's ``default_events``.
    exclude_duplicates : bool
        Leave out a run that the manifest names as a copy of another run **of this request**: kept,
        it would leak between training and test subjects.
    dataset_params : dict or None
        Keyword arguments for the MOABB class, over those of the manifest.
    cache : Path, str or None
        Folder in which each subject's epochs are kept as float32 and memory-mapped; None takes
        ``HYPEEG_CACHE/epochs`` if that variable is set, else keeps nothing.
    memory_limit : float or None
        Bytes that loading may take; None takes 80 % of what is free.

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
    TooLargeError
        If the epochs are estimated not to fit into memory; nothing is read then.
    """
    manifest = manifest if isinstance(manifest, Manifest) else load_manifest(manifest)
    # YAML reads session 0 and the SSVEP class 13 as numbers.
    sessions = None if sessions is None else [str(session) for session in sessions]
    events = None if events is None else [str(event) for event in events]
    offline = prepare_paths(manifest)
    params = dataset_params or {}
    dataset = make_dataset(manifest, **params)
    manifest = adapted(manifest, dataset)
    spec = manifest.resolve_preprocessing(preprocessing)
    chosen, notes = check_request(manifest, subjects, sessions, events, spec)
    names = list(events or manifest.default_events)
    store = cache_from(cache)
    estimate = estimate_memory(manifest, chosen, names, spec, mapped=store is not None)
    check_memory(manifest.name, estimate, memory_limit)
    paradigm = make_paradigm(manifest.paradigm, names, spec, channels=manifest.channels.names)
    montage = manifest.channels.montage
    pipelines = process_pipelines(paradigm, dataset, spec, montage=montage)

    def read(subject: int) -> SubjectEpochs:
        epochs, labels, metadata = read_subject(
            manifest, paradigm, dataset, pipelines, subject, spec
        )
        X = (epochs.get_data(copy=False) * dataset.unit_factor).astype(np.float32)
        sfreq = float(epochs.info["sfreq"])
        return SubjectEpochs(
            X, np.asarray(labels, dtype=str), _tidy(metadata), tuple(epochs.ch_names), sfreq
        )

    parts: list[SubjectEpochs] = []
    keys: list[str] = []
    for subject in chosen:
        _check_files(manifest, subject, offline)
        part = None
        if store is not None:
            sources = source_files(manifest, dataset, subject)
            key = cache_key(manifest, dataset, params, subject, names, spec, sources)
            keys.append(key)
            part = store.load(manifest.name, subject, key)
            if part is None:
                part = store.store(manifest.name, subject, key, read(subject))
        part = part or read(subject)
        _same_shape(manifest, subject, part, chosen[0], parts[0] if parts else part)
        parts.append(part)
    data = EpochsData(
        X=_joined(manifest.name, parts, keys, store, memory_limit),
        y=np.concatenate([part.y for part in parts]),
        metadata=pd.concat([part.metadata for part in parts], ignore_index=True),
        sfreq=parts[0].sfreq,
        ch_names=parts[0].ch_names,
        dataset=manifest.name,
        paradigm=manifest.paradigm,
        scoring="roc_auc" if len(names) == 2 else "accuracy",
        preprocessing=spec,
    )
    if sessions is not None:
        data = data.select(data.metadata["session"].isin(sessions).to_numpy())
    check_finite(data)
    notes += compare_counts(manifest, data, chosen, sessions or manifest.sessions, names)
    notes += confounded(data)
    notes += [
        f"step {step.step} is fitted on each whole recording, without labels: where training and "
        "test trials share a recording it has seen both"
        for step in spec.recording_steps
        if step.learns_from == "recording"
    ]
    if exclude_duplicates:
        data, dropped = drop_duplicates(manifest, data)
        notes += dropped
    for note in notes:
        logger.warning("%s", note)
    return replace(data, notes=tuple(notes))


def _same_shape(
    manifest: Manifest, subject: int, part: SubjectEpochs, first: int, reference: SubjectEpochs
) -> None:
    if (part.ch_names, part.sfreq) == (reference.ch_names, reference.sfreq):
        return
    raise DataError(
        f"{manifest.name} subject {subject}: {len(part.ch_names)} channels at {part.sfreq:g} Hz, "
        f"but subject {first} has {len(reference.ch_names)} at {reference.sfreq:g} Hz (or other "
        "names); set preprocessing.resample and preprocessing.channels, or leave the subject out"
    )


def _joined(
    name: str,
    parts: list[SubjectEpochs],
    keys: list[str],
    store: EpochsCache | None,
    limit: float | None,
) -> np.ndarray:
    """All signals as one array: in memory if it fits, else in the cache folder."""
    arrays = [part.X for part in parts]
    if len(arrays) == 1:
        return arrays[0]
    allowed = usable_memory(limit)
    if store is not None and allowed is not None and sum(x.nbytes for x in arrays) > allowed:
        return store.join(name, keys, arrays)
    return np.concatenate(arrays)


def source_files(manifest: Manifest, dataset: Any, subject: int) -> list[Path]:
    """Files that a subject's epochs come from.

    Parameters
    ----------
    manifest : Manifest
        Dataset description.
    dataset : object
        Its dataset; asked only where the manifest does not know the files (MOABB then downloads
        those that are missing).
    subject : int
        Subject number.
    """
    present, missing = _files.subject_files(manifest, subject)
    if (present and not missing) or not manifest.is_moabb:
        return present
    return flat_files(dataset.data_path(subject))


def _check_files(manifest: Manifest, subject: int, offline: bool) -> None:
    present, missing = _files.subject_files(manifest, subject)
    if offline and manifest.is_moabb and not present and not missing:
        raise MissingDataError(
            f"{manifest.name} subject {subject}: not fetched yet, and with {DATA_VARIABLE} set the "
            f"network is only asked by 'hypeeg data fetch {manifest.name} --subjects {subject}'; "
            f"run that, or unset {DATA_VARIABLE}"
        )
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
        Whether the network is out of bounds: ``HYPEEG_DATA`` is set, or these are one's own
        recordings.
    """
    if manifest.own is not None:
        return True
    if manifest.files is None and not manifest.is_moabb:
        return False
    if configure_data_paths() is not None:
        return True
    keep_mne_config_unwritten()
    return False


def is_here(manifest: Manifest) -> bool:
    """Whether any recording of a dataset is on this machine (a simulated one always is).

    Parameters
    ----------
    manifest : Manifest
        Dataset description.
    """
    if manifest.own is None and manifest.files is None and not manifest.is_moabb:
        return True
    prepare_paths(manifest)
    return any(_files.subject_files(manifest, subject)[0] for subject in manifest.subjects)


def _tidy(metadata: pd.DataFrame) -> pd.DataFrame:
    tidy = metadata[["subject", "session", "run"]].reset_index(drop=True)
    return tidy.astype({"subject": int, "session": str, "run": str})


def __getattr__(name: str) -> Any:
    if name in {"check_dataset", "DataCheck"}:
        return getattr(importlib.import_module("hypeeg.eeg.check"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
