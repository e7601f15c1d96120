"""One's own recordings as a MOABB dataset: files read by MNE, BIDS folders by MOABB itself.

:func:`make_own` makes the dataset that MOABB's paradigms cut epochs from. What a manifest leaves to
the recordings' headers is filled in by :mod:`hypeeg.eeg.own_headers`; arrays are in
:mod:`hypeeg.eeg.own_arrays`.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mne
import numpy as np
from moabb.datasets.base import BaseDataset, LocalBIDSDataset

from hypeeg.eeg.errors import CorruptDataError, DataError, MissingDataError, one_line
from hypeeg.eeg.own_data import (
    OwnData,
    OwnFile,
    find_recordings,
    indexed,
    natural,
    number_subjects,
)

if TYPE_CHECKING:
    from hypeeg.eeg.manifest import Manifest

_MOABB_PARADIGM = {
    "left_right_imagery": "imagery",
    "motor_imagery": "imagery",
    "resting_state": "rstate",
}


def make_own(manifest: Manifest) -> Any:
    """The MOABB dataset of a manifest's own recordings.

    Parameters
    ----------
    manifest : Manifest
        With ``own``.

    Returns
    -------
    moabb.datasets.base.BaseDataset

    Raises
    ------
    MissingDataError
        If no recording is there.
    """
    own = manifest.own
    assert own is not None
    if own.arrays is not None:
        from hypeeg.eeg.own_arrays import OwnArrays

        return OwnArrays(manifest)
    return OwnBids(manifest) if own.bids is not None else OwnRecordings(manifest)


class OwnRecordings(BaseDataset):
    """Files with labels from their names, their annotations, or a table.

    Parameters
    ----------
    manifest : Manifest
        With ``own.recordings``.
    """

    def __init__(self, manifest: Manifest) -> None:
        own = manifest.own
        assert own is not None
        self._own = own
        self._rows = label_table(own)
        files = find_recordings(own)
        self._files: dict[int, list[OwnFile]] = {}
        if files:
            numbers = number_subjects(list(dict.fromkeys(file.subject for file in files)))
            for file in files:
                self._files.setdefault(numbers[file.subject], []).append(file)
        super().__init__(**_moabb_arguments(manifest, "OwnRecordings"))

    def data_path(
        self,
        subject: int,
        path: str | None = None,
        force_update: bool = False,
        update_path: bool | None = None,
        verbose: Any = None,
    ) -> list[str]:
        """Paths of a subject's recordings.

        Parameters
        ----------
        subject : int
            Subject number.
        path, force_update, update_path, verbose : object
            As MOABB passes them; nothing is downloaded.
        """
        return [file.path for file in self._files.get(subject, [])]

    def _get_single_subject_data(self, subject: int) -> dict[str, dict[str, Any]]:
        files = self._files.get(subject)
        if not files:
            raise MissingDataError(f"subject {subject}: no file matches {self._own.patterns}")
        sessions: dict[str, dict[str, Any]] = {}
        renamed = indexed(list(dict.fromkeys(file.session for file in files)))
        for name, session in renamed.items():
            here = [file for file in files if file.session == name]
            runs = [file.run or file.label or str(k) for k, file in enumerate(here)]
            if len(set(runs)) < len(runs):
                runs = [f"{run}x{k}" for k, run in enumerate(runs)]
            for run, file in zip(indexed(runs).values(), here):
                sessions.setdefault(session, {})[run] = self._read(file)
        return sessions

    def _read(self, file: OwnFile) -> Any:
        raw = read_raw(Path(file.path), self._own, preload=True)
        annotations = self._annotations(file, raw)
        raw.set_annotations(annotations)
        return raw

    def _annotations(self, file: OwnFile, raw: Any) -> Any:
        own = self._own
        if own.label_source == "annotations":
            onsets, labels = marked_events(raw)
        elif own.label_source == "name":
            onsets, labels = [], [file.label or ""]
        else:
            rows = [row for row in self._rows if Path(row["file"]).name == Path(file.path).name]
            onsets = [float(row["onset"]) for row in rows if row.get("onset")]
            labels = [row["label"] for row in rows]
        names = [own.labels.get(label, "") if own.labels else label for label in labels]
        if own.window is not None and not onsets:
            onsets = _window_onsets(raw, own)
            names = [names[0] if names else ""] * len(onsets)
        kept = [(onset, name) for onset, name in zip(onsets, names) if name in self.event_id]
        # Recordings that do not start at sample 0 date annotations from the measurement.
        first = 0.0 if raw.info["meas_date"] is None else raw.first_time
        return mne.Annotations(
            [onset + first for onset, _ in kept],
            [own.window or 0.0] * len(kept),
            [name for _, name in kept],
            orig_time=raw.info["meas_date"],
        )


class OwnBids(LocalBIDSDataset):
    """A BIDS folder; subject numbers stand for BIDS labels, whatever those are.

    Parameters
    ----------
    manifest : Manifest
        With ``own.bids``.
    """

    def __init__(self, manifest: Manifest) -> None:
        own = manifest.own
        assert own is not None
        self._own = own
        root = bids_root(own)
        labels = bids_labels(root)
        self._labels = {number: label for label, number in number_subjects(labels).items()}
        arguments = _moabb_arguments(manifest, "OwnBids")
        try:
            super().__init__(root, **{**arguments, "code": "LocalBIDSDataset-OwnBids"})
        except ValueError as error:
            raise MissingDataError(f"{manifest.name}: {one_line(error)}") from error

    def _get_path_search_params(self, subject: int | None) -> dict[str, Any]:
        params = super()._get_path_search_params(None)
        params["datatypes"] = ["eeg"]
        if subject is not None:
            params["subjects"] = self._labels[subject]
        return params

    def _get_single_subject_data(self, subject: int) -> dict[str, dict[str, Any]]:
        data = super()._get_single_subject_data(subject)
        renamed: dict[str, dict[str, Any]] = {}
        for name, session in indexed(list(data)).items():
            runs = indexed(list(data[name]))
            renamed[session] = {
                run: self._prepared(data[name][given]) for given, run in runs.items()
            }
        return renamed

    def _prepared(self, raw: Any) -> Any:
        raw = select_channels(raw, self._own)
        if self._own.labels:
            new = [self._own.labels.get(name, name) for name in raw.annotations.description]
            raw.annotations.description = np.asarray(new, dtype=object).astype(str)
        return raw


def read_raw(path: Path, own: OwnData, *, preload: bool) -> Any:
    """A recording with the channels that are wanted, under their short names.

    Parameters
    ----------
    path : Path
        EDF, BDF, GDF, FIF, SET or BrainVision header file.
    own : OwnData
        Which channels to leave out, what to strip from their names, the unit.
    preload : bool
        Whether to read the samples too.

    Raises
    ------
    CorruptDataError
        If MNE cannot read it.
    """
    try:
        raw = mne.io.read_raw(path, preload=preload, verbose="ERROR")
    # Readers raise whatever a damaged file makes them raise.
    except Exception as error:
        raise CorruptDataError(
            f"{path}: MNE cannot read it ({type(error).__name__}: {one_line(error)}); copy it again"
        ) from error
    raw = select_channels(raw, own)
    if preload and own.unit != 1.0:
        raw.apply_function(lambda x: x * own.unit, picks="eeg", verbose="ERROR")
    return raw


def select_channels(raw: Any, own: OwnData) -> Any:
    """Leave out what is not EEG and strip the prefix from channel names.

    Parameters
    ----------
    raw : mne.io.Raw
        Recording.
    own : OwnData
        ``exclude_channels`` and ``channel_prefix``.
    """
    out = [name for name in own.exclude_channels if name in raw.ch_names]
    raw.drop_channels(out)
    prefix = own.channel_prefix
    if prefix:
        raw.rename_channels({n: n.removeprefix(prefix) for n in raw.ch_names}, verbose="ERROR")
    return raw


def _moabb_arguments(manifest: Manifest, code: str) -> dict[str, Any]:
    return {
        "subjects": list(manifest.subjects),
        "sessions_per_subject": manifest.n_sessions or 1,
        "events": {name: event.code for name, event in manifest.events.items()},
        "code": code,
        "interval": list(manifest.interval),
        "paradigm": moabb_paradigm(manifest),
    }


def moabb_paradigm(manifest: Manifest) -> str:
    """Name under which MOABB's data sets know the paradigm of a manifest."""
    return _MOABB_PARADIGM.get(manifest.paradigm, manifest.paradigm)


def _window_onsets(raw: Any, own: OwnData) -> list[float]:
    """Starts of the whole windows of a recording, in seconds after its beginning."""
    sfreq, window = raw.info["sfreq"], own.window or 0.0
    length, distance = round(window * sfreq), max(round((own.step or window) * sfreq), 1)
    starts = list(range(0, raw.n_times - length + 1, distance))
    most = own.max_windows
    if most is not None and len(starts) > most:
        starts = [starts[int((k + 0.5) * len(starts) / most)] for k in range(most)]
    return [start / sfreq for start in starts]


def marked_events(raw: Any) -> tuple[list[float], list[str]]:
    """Onsets in seconds after the first sample, and labels, of a recording's own events."""
    if len(raw.annotations):
        # MNE counts them from where the recording began, which may have been cropped since.
        first = raw.first_time
        return [float(o) - first for o in raw.annotations.onset], list(raw.annotations.description)
    if mne.pick_types(raw.info, stim=True).size:
        events = mne.find_events(raw, shortest_event=1, verbose="ERROR")
        onsets = (events[:, 0] - raw.first_samp) / raw.info["sfreq"]
        return onsets.tolist(), [str(code) for code in events[:, 2]]
    return [], []


def label_table(own: OwnData) -> list[dict[str, str]]:
    """Rows of the label table, if there is one."""
    if own.recordings is None or own.label_source in ("name", "annotations"):
        return []
    path = own.place(own.label_source)
    if not path.is_file():
        raise MissingDataError(f"labels_from: no table {path}")
    with path.open(encoding="utf-8-sig", newline="") as stream:
        delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
        rows = list(csv.DictReader(stream, delimiter=delimiter))
    for column in ("file", "label"):
        if not rows or column not in rows[0]:
            raise DataError(f"labels_from: {path} needs a column {column!r} and at least one row")
    return rows


def bids_root(own: OwnData) -> Path:
    """Root of a BIDS dataset, if it is there.

    Parameters
    ----------
    own : OwnData
        With ``bids``.
    """
    root = own.place(own.bids or "")
    if not root.is_dir():
        raise MissingDataError(f"own: no BIDS folder {root}")
    return root


def bids_labels(root: Path) -> list[str]:
    """Labels of the subjects of a BIDS dataset, in natural order.

    Parameters
    ----------
    root : Path
        Its folder.
    """
    labels = [path.name.removeprefix("sub-") for path in root.glob("sub-*") if path.is_dir()]
    if not labels:
        raise MissingDataError(f"own: {root} holds no folder 'sub-…': is it a BIDS dataset?")
    return sorted(labels, key=natural)
