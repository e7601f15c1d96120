"""Epochs that somebody already cut, from an ``.npz`` file, through the same door as recordings.

MOABB's paradigms work on continuous recordings. Arrays are trials without surroundings, so they
are filtered, cropped and resampled trial by trial with MNE's own functions; a filter rings at both
ends of each trial.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from hypeeg.eeg.errors import CorruptDataError, DataError, MissingDataError, one_line
from hypeeg.eeg.own_data import OwnData, indexed

if TYPE_CHECKING:
    from hypeeg.eeg.manifest import Manifest
    from hypeeg.eeg.preprocessing import PreprocessingSpec


class OwnArrays:
    """Trials of an ``.npz`` file, with the few attributes of a MOABB dataset that loading uses.

    Parameters
    ----------
    manifest : Manifest
        With ``own.arrays``.
    """

    def __init__(self, manifest: Manifest) -> None:
        own = manifest.own
        assert own is not None
        self.manifest = manifest
        self.unit_factor = 1e6
        self.event_id = {name: event.code for name, event in manifest.events.items()}
        self.interval = list(manifest.interval)
        self.content = read_arrays(own)

    def data_path(self, subject: int) -> list[str]:
        """The file that holds a subject's trials (all subjects share one).

        Parameters
        ----------
        subject : int
            Subject number.
        """
        own = self.manifest.own
        assert own is not None
        assert own.arrays is not None
        return [str(own.place(own.arrays))]

    def read(
        self, subject: int, events: list[str], spec: PreprocessingSpec
    ) -> tuple[Any, np.ndarray, pd.DataFrame]:
        """Epochs, labels and metadata of one subject.

        Parameters
        ----------
        subject : int
            Subject number.
        events : list of str
            Classes to keep.
        spec : PreprocessingSpec
            Band, window, reference, channels, baseline and resampling.

        Returns
        -------
        epochs : mne.EpochsArray
        labels : ndarray of str
        metadata : DataFrame

        Raises
        ------
        DataError
            If no trial of these events is there.
        """
        import mne

        own = self.manifest.own
        assert own is not None
        c = self.content
        rows = (c["subject"] == subject) & np.isin(c["y"], events)
        if not rows.any():
            raise DataError(
                f"{self.manifest.name} subject {subject}: no trial of the chosen events; check "
                "events"
            )
        info = mne.create_info(list(c["ch_names"]), float(c["sfreq"]), "eeg")
        X = np.asarray(c["X"][rows], dtype=np.float64) * own.unit
        epochs = mne.EpochsArray(X, info, tmin=self.interval[0], verbose="ERROR")
        if spec.reference is not None:
            epochs.set_eeg_reference(spec.reference, projection=False, verbose="ERROR")
        if spec.fmin is not None or spec.fmax is not None:
            epochs.filter(spec.fmin, spec.fmax, method="iir", verbose="ERROR")
        start = self.interval[0]
        stop = None if spec.tmax is None else start + spec.tmax
        epochs.crop(start + spec.tmin, stop, verbose="ERROR")
        if spec.baseline is not None:
            begin, end = spec.baseline
            epochs.apply_baseline((start + begin, start + end), verbose="ERROR")
        wanted = spec.channels or self.manifest.channels.names
        if wanted:
            epochs.pick(list(wanted), verbose="ERROR").reorder_channels(list(wanted))
        if spec.resample is not None:
            epochs.resample(spec.resample, verbose="ERROR")
        metadata = pd.DataFrame({k: c[k][rows] for k in ("subject", "session", "run")})
        return epochs, c["y"][rows], metadata


def read_arrays(own: OwnData) -> dict[str, Any]:
    """The arrays of the file, with what may be left out filled in.

    Parameters
    ----------
    own : OwnData
        With ``arrays``.

    Returns
    -------
    dict
        ``X``, ``y`` (str, after ``labels``), ``sfreq``, ``subject`` (int), ``session``, ``run``
        and ``ch_names``.

    Raises
    ------
    MissingDataError
        If there is no such file.
    CorruptDataError
        If it is no ``.npz`` file or its arrays do not fit together.
    """
    path = own.place(own.arrays or "")
    if not path.is_file():
        raise MissingDataError(f"own: no file {path}")
    try:
        # Pickled objects could run code; arrays need none.
        with np.load(path, allow_pickle=False) as stored:
            content: dict[str, Any] = {name: stored[name] for name in stored.files}
    except (ValueError, OSError, EOFError, BadZipFile, AttributeError) as error:
        raise CorruptDataError(
            f"{path}: not a readable .npz file of plain arrays ({one_line(error)})"
        ) from error
    absent = [name for name in ("X", "y", "sfreq") if name not in content]
    if absent:
        raise CorruptDataError(f"{path}: no array {absent}; it needs X, y and sfreq")
    X = content["X"]
    if X.ndim != 3 or not len(X):
        raise CorruptDataError(f"{path}: X has shape {X.shape}, not (trials, channels, times)")
    n = len(X)
    y = content["y"].astype(str)
    if own.labels:
        y = np.array([own.labels.get(label, "") for label in y.tolist()])
    content["y"] = y
    content["sfreq"] = float(content["sfreq"])
    content["subject"] = np.asarray(content.get("subject", np.ones(n)))
    for name in ("session", "run"):
        values = np.asarray(content.get(name, np.full(n, "0"))).astype(str)
        renamed = indexed(list(dict.fromkeys(values.tolist())))
        content[name] = np.array([renamed[value] for value in values.tolist()])
    content["ch_names"] = [str(c) for c in content.get("ch_names", _numbered(X.shape[1]))]
    for name in ("y", "subject", "session", "run"):
        if content[name].shape != (n,):
            raise CorruptDataError(
                f"{path}: {name} has shape {content[name].shape}, but X holds {n} trials"
            )
    if len(set(content["ch_names"])) != X.shape[1]:
        raise CorruptDataError(f"{path}: ch_names must be {X.shape[1]} different names")
    try:
        content["subject"] = content["subject"].astype(int)
    except ValueError as error:
        raise CorruptDataError(f"{path}: subject must hold whole numbers ({error})") from error
    return content


def _numbered(n: int) -> list[str]:
    return [f"EEG{k:03d}" for k in range(1, n + 1)]


def describe_arrays(own: OwnData) -> dict[str, Any]:
    """Manifest fields that follow from an ``.npz`` file.

    Parameters
    ----------
    own : OwnData
        With ``arrays``.
    """
    content = read_arrays(own)
    sfreq, n_times = content["sfreq"], content["X"].shape[2]
    start = own.interval[0] if own.interval else 0.0
    return {
        "labels": sorted({label for label in content["y"].tolist() if label}),
        "subjects": sorted({int(s) for s in content["subject"]}),
        "sessions": list(dict.fromkeys(content["session"].tolist())),
        "interval": [start, start + (n_times - 1) / sfreq],
        "channels": {"count": len(content["ch_names"]), "names": content["ch_names"]},
        "sfreq": sfreq,
        "size": {"bytes": Path(own.place(own.arrays or "")).stat().st_size},
    }


__all__ = ["OwnArrays", "describe_arrays", "read_arrays"]
