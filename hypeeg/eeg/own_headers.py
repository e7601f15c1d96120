"""What the headers of one's own recordings say: the fields that a short manifest leaves out."""

from __future__ import annotations

import copy
import csv
import functools
from pathlib import Path
from typing import Any

import mne
from moabb.datasets.base import LocalBIDSDataset

from hypeeg.eeg.errors import DataError, MissingDataError
from hypeeg.eeg.manifest_parts import UNKNOWN
from hypeeg.eeg.own_data import OwnData, find_recordings, indexed, natural, number_subjects
from hypeeg.eeg.own_reader import (
    bids_labels,
    bids_root,
    label_table,
    marked_events,
    read_raw,
    select_channels,
)


def describe(own: OwnData, content: dict[str, Any]) -> dict[str, Any]:
    """Manifest fields that follow from the recordings, for those that are not given.

    Parameters
    ----------
    own : OwnData
        Where the recordings lie.
    content : dict
        The manifest as written; its fields win over what is returned.

    Returns
    -------
    dict
        ``title``, ``subjects``, ``sessions``, ``events``, ``channels`` and so on.

    Raises
    ------
    MissingDataError
        If nothing is there.
    DataError
        If no labels are found.
    """
    # A run file asks several times; headers are read again only when a file has changed.
    found = copy.deepcopy(_from_headers(own.model_dump_json(), _signature(own)))
    events = {name: {"code": k} for k, name in enumerate(found.pop("labels"), start=1)}
    if not events and "events" not in content:
        raise DataError(
            "own: no labels found; name them in 'labels' (label in the file: event), or check "
            "labels_from"
        )
    return {
        "title": f"own recordings ({content.get('name', 'unnamed')})",
        "paradigm": "resting_state" if own.window is not None else "motor_imagery",
        "events": events,
        "licence": UNKNOWN,
        "citation": {"text": "own recordings"},
        **found,
    }


@functools.lru_cache(maxsize=32)
def _from_headers(own_json: str, _: tuple[Any, ...]) -> dict[str, Any]:
    own = OwnData.model_validate_json(own_json)
    if own.arrays is not None:
        from hypeeg.eeg.own_arrays import describe_arrays

        return describe_arrays(own)
    return _describe_bids(own) if own.bids is not None else _describe_files(own)


def _signature(own: OwnData) -> tuple[Any, ...]:
    """Names, sizes and times of all files behind a manifest."""
    if own.recordings is not None:
        paths = [Path(file.path) for file in find_recordings(own)]
        if own.label_source not in ("name", "annotations"):
            paths.append(own.place(own.label_source))
    elif own.bids is not None:
        paths = sorted(bids_root(own).rglob("*"))
    else:
        paths = [own.place(own.arrays or "")]
    stats = [(path, path.stat()) for path in paths if path.is_file()]
    return tuple((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats)


def _describe_files(own: OwnData) -> dict[str, Any]:
    files = find_recordings(own)
    if not files:
        raise MissingDataError(f"own: no recording matches {own.patterns}")
    raw = read_raw(Path(files[0].path), own, preload=False)
    sfreq = float(raw.info["sfreq"])
    numbers = number_subjects(list(dict.fromkeys(file.subject for file in files)))
    labels = list(dict.fromkeys(own.labels.values()))
    if not labels and own.label_source == "name":
        labels = [file.label or "" for file in files]
    elif not labels and own.label_source != "annotations":
        labels = [row["label"] for row in label_table(own)]
    elif not labels:
        for file in files:
            labels += marked_events(read_raw(Path(file.path), own, preload=False))[1]
    sessions: dict[str, None] = {}
    for subject in numbers:
        names = dict.fromkeys(file.session for file in files if file.subject == subject)
        sessions.update(dict.fromkeys(indexed(list(names)).values()))
    interval = own.interval or (0.0, (own.window or 0.0) - 1 / sfreq)
    return {
        "labels": sorted(set(labels), key=natural),
        "subjects": sorted(numbers.values()),
        "sessions": list(sessions),
        "interval": list(interval),
        **_channels(raw),
        "sfreq": sfreq,
        "size": {"bytes": sum(Path(file.path).stat().st_size for file in files)},
    }


def _channels(raw: Any) -> dict[str, Any]:
    names = [raw.ch_names[k] for k in mne.pick_types(raw.info, eeg=True)]
    if not names:
        raise DataError(f"own: {raw.filenames[0]} has no EEG channel; check exclude_channels")
    return {"channels": {"count": len(names), "names": names}}


def _describe_bids(own: OwnData) -> dict[str, Any]:
    import mne_bids  # type: ignore[import-untyped]

    root = bids_root(own)
    labels = bids_labels(root)
    paths = LocalBIDSDataset._find_matching_paths(
        root, datatypes=["eeg"], extensions=[".set", ".vhdr", ".edf", ".bdf", ".fif"]
    )
    if not paths:
        raise MissingDataError(f"own: {root} holds no EEG recording that MNE-BIDS finds")
    with mne.use_log_level("ERROR"):
        raw = select_channels(mne_bids.read_raw_bids(paths[0]), own)
    names: set[str] = set(own.labels.values())
    if not names:
        for table in root.rglob("*_events.tsv"):
            with table.open(encoding="utf-8-sig", newline="") as stream:
                rows = list(csv.DictReader(stream, delimiter="\t"))
            names |= {row["trial_type"] for row in rows if row.get("trial_type", "n/a") != "n/a"}
    sessions: dict[str, None] = {}
    for label in labels:
        own_names = sorted({p.session or "0" for p in paths if p.subject == label}, key=natural)
        sessions.update(dict.fromkeys(indexed(own_names).values()))
    if own.interval is None:
        raise DataError(
            "own.interval: a BIDS folder needs [start, end] in seconds after its events"
        )
    return {
        "labels": sorted(names, key=natural),
        "subjects": sorted(number_subjects(labels).values()),
        "sessions": list(sessions),
        "interval": list(own.interval),
        **_channels(raw),
        "sfreq": float(raw.info["sfreq"]),
        "size": {"bytes": sum(p.fpath.stat().st_size for p in paths)},
    }
