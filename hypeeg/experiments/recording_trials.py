"""Trials of one recording through a run's own preprocessing, with MOABB's paradigms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mne
import numpy as np
from moabb.datasets.base import BaseDataset

from hypeeg.eeg.errors import DataError
from hypeeg.eeg.manifest import load_manifest
from hypeeg.eeg.own_data import OwnData, OwnFile
from hypeeg.eeg.own_reader import OwnRecordings, marked_events, moabb_paradigm
from hypeeg.eeg.preprocessing import PreprocessingSpec
from hypeeg.eeg.reader import make_dataset, make_paradigm, process_pipelines, read_subject
from hypeeg.experiments.trial_files import NewTrials, TrialSource, channel_key, unknown_event

if TYPE_CHECKING:
    from hypeeg.eeg.manifest import Manifest


def from_recording(
    path: Path,
    run: TrialSource,
    classifier: Any,
    labels: Mapping[str, str],
    every: float | None,
) -> NewTrials:
    """Filter and cut a recording as a run did; see :func:`hypeeg.experiments.trial_files`.

    Raises
    ------
    DataError
        If the manifest reads arrays, nothing in the recording is marked, or a channel is missing.
    """
    manifest = load_manifest(run.dataset)
    if manifest.own is not None and manifest.own.arrays is not None:
        raise DataError(
            f"{path}: {manifest.name} holds trials cut by somebody else, so hypeeg does not know "
            "how recordings become trials; give arrays (.npy, .npz)"
        )
    spec = manifest.resolve_preprocessing(dict(run.section("preprocessing")))
    events = [str(e) for e in run.section("dataset").get("events") or manifest.default_events]
    for event in labels.values():
        if event not in events:
            raise unknown_event(path, event, events)
    dataset = OneRecording(path, manifest, spec, events, labels, every, classifier)
    wanted = getattr(classifier, "ch_names_", None) or manifest.channels.names
    paradigm = make_paradigm(manifest.paradigm, events, spec, channels=wanted)
    pipelines = process_pipelines(paradigm, dataset, spec, montage=manifest.channels.montage)
    epochs, names, _ = read_subject(manifest, paradigm, dataset, pipelines, 1, spec)
    factor = 1e6 if manifest.own is not None else float(make_dataset(manifest).unit_factor)
    X = (epochs.get_data(copy=False) * factor).astype(np.float32)
    label = np.asarray(names, dtype=str) if dataset.marked else np.full(len(X), "")
    # Where a trial at an edge was dropped, it is not known which.
    known = len(dataset.onsets) == len(X)
    onset = np.array(dataset.onsets) if known else np.full(len(X), np.nan)
    return NewTrials(X, label, onset)


class OneRecording(OwnRecordings):
    """A data set of one recording, whose trials are where its events are marked, or evenly spaced.

    Parameters
    ----------
    path : Path
        EDF, BDF, GDF, FIF, SET or BrainVision header file.
    manifest : Manifest
        That of the run.
    spec : PreprocessingSpec
        Its preprocessing.
    events : list of str
        Its classes.
    labels : mapping of str to str
        Event that a mark stands for, beside those that are events themselves.
    every : float or None
        Seconds between the starts of trials; None takes the marks.
    classifier : HypEEGClassifier
        Whose channels the recording must have.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        spec: PreprocessingSpec,
        events: list[str],
        labels: Mapping[str, str],
        every: float | None,
        classifier: Any,
    ) -> None:
        own = manifest.own
        changes = {"recordings": str(path), "bids": None, "labels_from": "annotations"}
        self._own = (
            OwnData(recordings=str(path), interval=manifest.interval)
            if own is None
            else own.model_copy(update=changes)
        )
        self._rows = []
        self._files = {1: [OwnFile(path=str(path), subject="1")]}
        self._labels = {**self._own.labels, **labels}
        self._every = every
        self._wanted = getattr(classifier, "ch_names_", None) or manifest.channels.names or []
        self._spec = spec
        # Files with one label each have no marks to go by: their windows are what is predicted.
        if every is None and own is not None and own.whole_files:
            self._every = own.step or own.window
        self.marked = self._every is None
        self.onsets: list[float] = []
        length = manifest.interval[1] - manifest.interval[0]
        BaseDataset.__init__(
            self,
            subjects=[1],
            sessions_per_subject=1,
            events={name: manifest.events[name].code for name in events},
            code="OneRecording",
            interval=list(manifest.interval) if self.marked else [0.0, length],
            paradigm=moabb_paradigm(manifest),
        )

    def _annotations(self, file: OwnFile, raw: Any) -> Any:
        self._name_channels(raw)
        if self.marked:
            onsets, names = self._marks(file, raw)
        else:
            onsets = self._windows(file, raw)
            # A trial needs some event to be cut at; its name is not used.
            names = [next(iter(self.event_id))] * len(onsets)
        self.onsets = onsets
        first = 0.0 if raw.info["meas_date"] is None else raw.first_time
        return mne.Annotations(
            [onset + first for onset in onsets],
            [0.0] * len(onsets),
            names,
            orig_time=raw.info["meas_date"],
        )

    def _name_channels(self, raw: Any) -> None:
        """Give the channels the names that the network knows them by."""
        place = {channel_key(name): name for name in raw.ch_names}
        missing = [name for name in self._wanted if channel_key(name) not in place]
        if missing:
            raise DataError(
                f"{raw.filenames[0]}: the network needs {len(self._wanted)} channels, of which "
                f"{', '.join(missing)} are missing; the recording has {', '.join(raw.ch_names)}"
            )
        new = {place[channel_key(name)]: name for name in self._wanted}
        raw.rename_channels({a: b for a, b in new.items() if a != b}, verbose="ERROR")

    def _marks(self, file: OwnFile, raw: Any) -> tuple[list[float], list[str]]:
        found = [(o, self._labels.get(str(m), str(m))) for o, m in zip(*marked_events(raw))]
        kept = [(onset, name) for onset, name in found if name in self.event_id]
        if not kept:
            marks = sorted({name for _, name in found})
            raise DataError(
                f"{file.path}: no event of the run ({', '.join(self.event_id)}) is marked; marks: "
                f"{', '.join(marks) or 'none'}. Say what they stand for (--label MARK=EVENT), or "
                "cut trials evenly (--every SECONDS)"
            )
        return [onset for onset, _ in kept], [name for _, name in kept]

    def _windows(self, file: OwnFile, raw: Any) -> list[float]:
        every = self._every or 0.0
        if every <= 0:
            raise DataError(f"{file.path}: every={every} s between trials; give more than 0")
        spec, length = self._spec, self.interval[1] - self.interval[0]
        earliest = min(0.0, spec.tmin, spec.baseline[0] if spec.baseline else 0.0)
        latest = length if spec.tmax is None else spec.tmax
        end = (raw.n_times - 1) / raw.info["sfreq"]
        count = int(np.floor((end - latest + earliest) / every + 1e-9)) + 1
        if count < 1:
            raise DataError(
                f"{file.path}: {end:.2f} s are too short for a trial of {latest - earliest:g} s"
            )
        return [k * every - earliest for k in range(count)]
