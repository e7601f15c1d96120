"""Trials from files that a run has never seen, as its networks take them.

Recordings go through the run's own preprocessing, on the way that one's own recordings always take
(:mod:`hypeeg.eeg.own_reader`).  Arrays and epochs are taken to be preprocessed already: they are
checked, not changed.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hypeeg.eeg.errors import CorruptDataError, DataError, MissingDataError, one_line, suggest
from hypeeg.eeg.own_data import SUFFIXES

EPOCHS = re.compile(r"(^|[-_])epo\.fif(\.gz)?$", re.IGNORECASE)


class TrialSource(Protocol):
    """What says how recordings became trials: a run, or a model that was shared."""

    @property
    def dataset(self) -> str:
        """Name of the data set's manifest, or its file."""

    def section(self, name: str) -> Mapping[str, Any]:
        """Return the block ``dataset`` or ``preprocessing`` of the run file."""


@dataclass(frozen=True)
class NewTrials:
    """Trials of one file.

    Attributes
    ----------
    X : ndarray of float32, shape (n_trials, n_channels, n_times)
        As the network takes them, microvolts.
    label : ndarray of str, shape (n_trials,)
        Classes, empty where the file does not say.
    onset : ndarray of float64, shape (n_trials,)
        Seconds, NaN where not known.
    """

    X: np.ndarray
    label: np.ndarray
    onset: np.ndarray


def read_trials(
    path: Path,
    run: TrialSource,
    classifier: Any,
    *,
    labels: Mapping[str, str] | None = None,
    every: float | None = None,
) -> NewTrials:
    """Read the trials of one file.

    Parameters
    ----------
    path : Path
        ``.npy``: an array of trials (or of one).  ``.npz``: ``X`` and, where there are any, ``y``,
        ``sfreq`` and ``ch_names``.  ``-epo.fif``: epochs of MNE.  These are taken as they are,
        arrays in microvolts.  ``.edf``, ``.bdf``, ``.gdf``, ``.fif``, ``.set``, ``.vhdr``:
        recordings, which get the run's filter, reference, window, resampling and recording steps;
        trials are where its events are marked, or `every` so many seconds.
    run : TrialSource
        The run, or a shared model; for recordings, the manifest of its data set must be known.
    classifier : HypEEGClassifier or TrialShape
        Fitted; says what trials it takes.
    labels : mapping of str to str, optional
        Event that a mark in a recording stands for; marks that are events need none.
    every : float, optional
        Seconds between the starts of trials.

    Returns
    -------
    NewTrials

    Raises
    ------
    DataError
        If the trials do not fit the network: channels, sampling rate, length; or none are marked.
    MissingDataError, CorruptDataError
        If the file is not there or cannot be read.
    """
    if not path.is_file():
        raise MissingDataError(f"{path}: no such file")
    name = path.name.lower()
    if name.endswith((".npy", ".npz")):
        trials = _from_arrays(path, classifier)
    elif EPOCHS.search(name):
        trials = _from_epochs(path, classifier, _unit_factor(run))
    elif path.suffix.lower() in SUFFIXES:
        from hypeeg.experiments.recording_trials import from_recording

        trials = from_recording(path, run, classifier, labels or {}, every)
    else:
        known = ", ".join([".npy", ".npz", "-epo.fif", *SUFFIXES])
        raise DataError(f"{path}: cannot tell what it holds; known endings: {known}")
    _check(path, trials, classifier)
    return trials


def _from_arrays(path: Path, classifier: Any) -> NewTrials:
    try:
        loaded = np.load(path, allow_pickle=False)
        arrays = {k: loaded[k] for k in loaded.files} if path.suffix == ".npz" else {"X": loaded}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CorruptDataError(f"{path}: not a readable array file: {one_line(error)}") from error
    if "X" not in arrays:
        raise DataError(f"{path}: no array 'X' in it; it holds {', '.join(arrays) or 'nothing'}")
    X = arrays["X"]
    if X.ndim == 2:
        X = X[None]
    if X.ndim != 3 or X.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: X has shape {X.shape} and type {X.dtype}; expected numbers of shape "
            "(n_trials, n_channels, n_times)"
        )
    label = arrays.get("y", np.full(len(X), ""))
    if label.shape != (len(X),):
        raise DataError(f"{path}: y has shape {label.shape} for {len(X)} trials; give one each")
    if "sfreq" in arrays:
        _check_sfreq(path, float(arrays["sfreq"]), classifier)
    if "ch_names" in arrays:
        X = X[:, pick_channels(str(path), arrays["ch_names"].astype(str).tolist(), classifier)]
    return NewTrials(X.astype(np.float32), label.astype(str), np.full(len(X), np.nan))


def _from_epochs(path: Path, classifier: Any, factor: float) -> NewTrials:
    import mne

    try:
        epochs = mne.read_epochs(path, preload=True, verbose="ERROR")
    # Readers raise whatever a damaged file makes them raise.
    except Exception as error:
        raise CorruptDataError(f"{path}: MNE cannot read it ({one_line(error)})") from error
    _check_sfreq(path, float(epochs.info["sfreq"]), classifier)
    order = pick_channels(str(path), epochs.ch_names, classifier)
    X = (epochs.get_data(copy=False)[:, order] * factor).astype(np.float32)
    names = {code: name for name, code in epochs.event_id.items()}
    label = np.array([str(names[code]) for code in epochs.events[:, 2]], dtype=str)
    # Event names may be paths of tags; only a class of the network is a label.
    label = np.where(np.isin(label, classifier.classes_.astype(str)), label, "")
    return NewTrials(X, label, np.full(len(X), np.nan))


def _unit_factor(run: TrialSource) -> float:
    """Return what volts are multiplied with in the trials of a run's data set."""
    from hypeeg.eeg.manifest import load_manifest
    from hypeeg.eeg.reader import make_dataset

    manifest = load_manifest(run.dataset)
    if manifest.own is not None:
        return 1e6
    return float(make_dataset(manifest).unit_factor)


def channel_key(name: str) -> str:
    """Return what two spellings of a channel share: ``Fc5.`` and ``EEG FC5-Ref`` are FC5."""
    short = re.sub(r"^eeg[\s_:-]*", "", name.strip().lower())
    return re.sub(r"[\s.]|-ref$|-avg$", "", short)


def pick_channels(where: str, given: Sequence[str], classifier: Any) -> list[int]:
    """Return the positions of a network's channels among those of a file.

    Parameters
    ----------
    where : str
        File, for messages.
    given : sequence of str
        Channels of the file.
    classifier : HypEEGClassifier
        Fitted; one that does not know its channels takes those of the file in their order.

    Returns
    -------
    list of int

    Raises
    ------
    DataError
        Naming the channels that are missing.
    """
    wanted = getattr(classifier, "ch_names_", None)
    if not wanted:
        return list(range(len(given)))
    place = {channel_key(name): k for k, name in reversed(list(enumerate(given)))}
    missing = [name for name in wanted if channel_key(name) not in place]
    if missing:
        raise DataError(
            f"{where}: the network needs {len(wanted)} channels, of which {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing; the file has {', '.join(given)}. "
            "Rename its channels, or train a network on those there are (preprocessing.channels)"
        )
    return [place[channel_key(name)] for name in wanted]


def _check_sfreq(path: Path, sfreq: float, classifier: Any) -> None:
    wanted = getattr(classifier, "sfreq_", None)
    if wanted is not None and abs(sfreq - wanted) > 1e-6 * wanted:
        raise DataError(
            f"{path}: sampled at {sfreq:g} Hz, but the network takes {wanted:g} Hz; resample the "
            "trials, or give the recording itself"
        )


def _check(path: Path, trials: NewTrials, classifier: Any) -> None:
    n_chans, n_times = classifier.n_chans_, classifier.n_times_
    if trials.X.shape[1:] != (n_chans, n_times):
        sfreq = getattr(classifier, "sfreq_", None)
        long = f" ({n_times / sfreq:.4g} s)" if sfreq else ""
        raise DataError(
            f"{path}: trials of {trials.X.shape[1]} channels and {trials.X.shape[2]} samples, but "
            f"the network takes {n_chans} channels and {n_times} samples{long}; cut and order "
            "them as the run's preprocessing did"
        )
    if not len(trials.X):
        raise DataError(f"{path}: no trial in it")
    bad = ~np.isfinite(trials.X).all(axis=(1, 2))
    if bad.any():
        raise CorruptDataError(
            f"{path}: NaN or infinite values in {int(bad.sum())} of {len(bad)} trials (first: "
            f"{int(np.argmax(bad))}); leave them out"
        )


def unknown_event(path: Path, wanted: str, events: Sequence[str]) -> DataError:
    """Return the error about a label that is no event of the run."""
    return DataError(f"{path}: label {wanted!r} is no event of the run; {suggest(wanted, events)}")
