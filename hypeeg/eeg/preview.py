"""A look into one recording: a minute of signals, its spectrum, its sensors, its trials.

``python -m hypeeg.eeg.preview`` writes the same into a file, so that a screen can look at
recordings without MOABB in its own process. Nothing is ever downloaded.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hypeeg.eeg.check import check_dataset
from hypeeg.eeg.datasets import prepare_paths
from hypeeg.eeg.errors import DataError, MissingDataError, one_line, suggest
from hypeeg.eeg.files import check_whole, missing_error, subject_files
from hypeeg.eeg.lock import write_whole
from hypeeg.eeg.manifest import Manifest, load_manifest
from hypeeg.eeg.positions import SensorPositions, sensor_positions
from hypeeg.eeg.reader import make_dataset, quiet_readers

MAX_SECONDS = 60.0
SCREEN_SFREQ = 250.0
_WELCH_SECONDS = 2.0
_MAX_FREQUENCY = 100.0
_SPECTRUM_SECONDS = 300.0


@dataclass(frozen=True, eq=False)
class Preview:
    """A look into one recording.

    Parameters
    ----------
    dataset : str
        Name of the manifest.
    subject : int
        Subject number.
    session, run : str
        Which recording of the subject.
    names : tuple of str
        EEG channels.
    sfreq : float
        Sampling rate of the recording, Hz.
    duration : float
        Length of the recording, s.
    start : float
        Where the signals begin in the recording, s.
    shown_sfreq : float
        Sampling rate of `signals`, Hz: lower than `sfreq` where a screen would not show more.
    signals : ndarray of float32, shape (n_channels, n_times)
        Microvolts (MOABB's unit factor applied), unfiltered.
    onsets : ndarray of float64, shape (n_events,)
        Seconds in the recording.
    events : ndarray of str, shape (n_events,)
        Event of each onset.
    frequencies : ndarray of float64, shape (n_frequencies,)
        Hz, 0 to 100 at most.
    psd : ndarray of float64, shape (n_channels, n_frequencies)
        Power spectral density by Welch's method, segments of two seconds over at most the first
        five minutes; µV²/Hz.
    positions : SensorPositions
        Sensors in the plane.
    counts : list of dict
        ``session``, ``run``, ``event`` and ``trials`` of every recording of the subject.
    """

    dataset: str
    subject: int
    session: str
    run: str
    names: tuple[str, ...]
    sfreq: float
    duration: float
    start: float
    shown_sfreq: float
    signals: np.ndarray
    onsets: np.ndarray
    events: np.ndarray
    frequencies: np.ndarray
    psd: np.ndarray
    positions: SensorPositions
    counts: list[dict[str, Any]]

    @property
    def recordings(self) -> list[tuple[str, str]]:
        """Session and run of every recording of the subject, in order."""
        return list(dict.fromkeys((row["session"], row["run"]) for row in self.counts))

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file that :func:`load_preview` reads.

        Parameters
        ----------
        path : Path
            File to write.
        """
        facts = {
            "dataset": self.dataset,
            "subject": self.subject,
            "session": self.session,
            "run": self.run,
            "names": list(self.names),
            "sfreq": self.sfreq,
            "duration": self.duration,
            "start": self.start,
            "shown_sfreq": self.shown_sfreq,
            "source": self.positions.source,
            "counts": self.counts,
        }
        with path.open("wb") as stream:
            np.savez(
                stream,
                facts=np.array(json.dumps(facts)),
                signals=self.signals,
                onsets=self.onsets,
                events=self.events,
                frequencies=self.frequencies,
                psd=self.psd,
                points=self.positions.points,
            )


def load_preview(path: Path) -> Preview:
    """Read what :meth:`Preview.save` wrote.

    Parameters
    ----------
    path : Path
        An ``.npz`` file.
    """
    with np.load(path, allow_pickle=False) as file:
        facts = json.loads(str(file["facts"]))
        positions = SensorPositions(file["points"], facts.pop("source"))
        arrays = {k: file[k] for k in ("signals", "onsets", "events", "frequencies", "psd")}
    facts["names"] = tuple(facts["names"])
    return Preview(**facts, **arrays, positions=positions)


def preview_recording(
    manifest: Manifest | str | Path,
    subject: int,
    session: str | None = None,
    run: str | None = None,
    *,
    start: float = 0.0,
    seconds: float = MAX_SECONDS,
) -> Preview:
    """Look into one recording of a data set.

    Parameters
    ----------
    manifest : Manifest, str or Path
        A manifest, its name, or a YAML file.
    subject : int
        Subject number.
    session, run : str or None
        Which recording; None takes the first.
    start : float
        Where the signals begin, s.
    seconds : float
        How much of the signals to take, at most 60 s.

    Returns
    -------
    Preview

    Raises
    ------
    MissingDataError
        If the subject's recordings are not on this machine; they are not downloaded.
    DataError
        If there is no such subject, session or run, or the recording cannot be read.
    """
    manifest = manifest if isinstance(manifest, Manifest) else load_manifest(manifest)
    if subject not in manifest.subjects:
        raise DataError(f"{manifest.name}: subject {subject} is not in the manifest")
    _require_files(manifest, subject)
    dataset = make_dataset(manifest)
    recordings = _recordings(manifest, dataset, subject)
    counts = [
        {"session": s, "run": r, "event": event, "trials": int((recording.events == event).sum())}
        for (s, r), recording in recordings.items()
        for event in manifest.events
    ]
    key = _choose(manifest, subject, list(recordings), session, run)
    chosen = recordings[key]
    signals, names, sfreq = chosen.signals(), chosen.names, chosen.sfreq
    n_times = signals.shape[1]
    duration = n_times / sfreq
    first = min(max(0.0, start), max(0.0, duration - 1.0))
    window = signals[:, int(first * sfreq) : int((first + min(seconds, MAX_SECONDS)) * sfreq)]
    part = signals[:, : int(_SPECTRUM_SECONDS * sfreq)]
    length = min(part.shape[1], round(_WELCH_SECONDS * sfreq))
    from scipy.signal import welch

    frequencies, psd = welch(np.nan_to_num(part), sfreq, nperseg=length, detrend="constant")
    kept = frequencies <= _MAX_FREQUENCY
    window, shown = _for_screen(window, sfreq)
    return Preview(
        dataset=manifest.name,
        subject=subject,
        session=key[0],
        run=key[1],
        names=tuple(names),
        sfreq=sfreq,
        duration=duration,
        start=first,
        shown_sfreq=shown,
        signals=window.astype(np.float32),
        onsets=chosen.onsets,
        events=chosen.events,
        frequencies=frequencies[kept],
        psd=psd[:, kept],
        positions=sensor_positions(names, manifest.channels.montage, chosen.places),
        counts=counts,
    )


def _require_files(manifest: Manifest, subject: int) -> None:
    prepare_paths(manifest)
    present, missing = subject_files(manifest, subject)
    if missing:
        raise missing_error(manifest, subject, missing)
    if manifest.is_moabb and not present:
        raise MissingDataError(
            f"{manifest.name} subject {subject}: no recording is known to be on this machine; "
            f"'hypeeg data fetch {manifest.name} --subjects {subject}' downloads it"
        )
    for path in present:
        check_whole(path)


@dataclass(frozen=True, eq=False)
class _Recording:
    """One recording that is open: signals (microvolts) are read when they are asked for."""

    signals: Callable[[], np.ndarray]
    names: list[str]
    sfreq: float
    onsets: np.ndarray
    events: np.ndarray
    places: np.ndarray | None = None


def _recordings(
    manifest: Manifest, dataset: Any, subject: int
) -> dict[tuple[str, str], _Recording]:
    """The recordings of a subject by session and run."""
    if not hasattr(dataset, "get_data"):
        return _from_arrays(dataset, subject)
    try:
        with quiet_readers():
            found = dataset.get_data([subject])[subject]
            return {
                (str(session), str(run)): _from_raw(dataset, raw)
                for session, runs in found.items()
                for run, raw in runs.items()
            }
    except DataError:
        raise
    # A damaged file makes readers raise anything; the message keeps what it was.
    except Exception as error:
        raise DataError(
            f"{manifest.name} subject {subject}: cannot be read ({type(error).__name__}: "
            f"{one_line(error)}); 'hypeeg data check {manifest.name}' tells more"
        ) from error


def _from_raw(dataset: Any, raw: Any) -> _Recording:
    from moabb.datasets.preprocessing import RawToEvents

    sfreq = float(raw.info["sfreq"])
    found = RawToEvents(dataset.event_id, dataset.interval).transform(raw)
    events = np.full(len(found), "", dtype=object)
    for event, code in dataset.event_id.items():
        events[np.isin(found[:, 2], code)] = str(event)
    kept = events != ""
    eeg = raw.copy().pick("eeg")
    return _Recording(
        signals=lambda: eeg.get_data() * dataset.unit_factor,
        names=list(eeg.ch_names),
        sfreq=sfreq,
        onsets=((found[kept, 0] - raw.first_samp) / sfreq).astype(float),
        events=events[kept].astype(str),
        places=np.array([channel["loc"][:3] for channel in eeg.info["chs"]], dtype=float),
    )


def _from_arrays(dataset: Any, subject: int) -> dict[tuple[str, str], _Recording]:
    """Trials of arrays one after another, as if they were a recording."""
    content = dataset.content
    mine = content["subject"] == subject
    own = dataset.manifest.own
    found = {}
    for session, run in dict.fromkeys(zip(content["session"][mine], content["run"][mine])):
        rows = mine & (content["session"] == session) & (content["run"] == run)
        X = content["X"][rows] * own.unit * dataset.unit_factor
        joined = X.transpose(1, 0, 2).reshape(X.shape[1], -1)
        found[(str(session), str(run))] = _Recording(
            signals=partial(np.asarray, joined),
            names=list(content["ch_names"]),
            sfreq=content["sfreq"],
            onsets=np.arange(len(X)) * X.shape[2] / content["sfreq"],
            events=content["y"][rows],
        )
    return found


def _choose(
    manifest: Manifest,
    subject: int,
    there: list[tuple[str, str]],
    session: str | None,
    run: str | None,
) -> tuple[str, str]:
    fitting = [k for k in there if session in (None, k[0]) and run in (None, k[1])]
    if not fitting:
        known = [f"{s}/{r}" for s, r in there]
        raise DataError(
            f"{manifest.name} subject {subject}: no recording {session}/{run} (session/run); "
            f"{suggest(f'{session}/{run}', known)}"
        )
    return fitting[0]


def _for_screen(window: np.ndarray, sfreq: float) -> tuple[np.ndarray, float]:
    factor = int(sfreq // SCREEN_SFREQ)
    if factor < 2 or window.shape[1] < 10 * factor:
        return window, sfreq
    from scipy.signal import resample_poly

    return resample_poly(np.nan_to_num(window), 1, factor, axis=1), sfreq / factor


def main(arguments: list[str] | None = None) -> int:
    """Write a preview (``.npz``) or the trial counts of a data set (``.json``) into a file.

    Parameters
    ----------
    arguments : list of str or None
        Command line; None takes the process's.

    Returns
    -------
    int
        Exit code: 1 with the reason on standard error.
    """
    parser = argparse.ArgumentParser(prog="python -m hypeeg.eeg.preview", description=__doc__)
    parser.add_argument("what", choices=("recording", "counts"))
    parser.add_argument("dataset")
    parser.add_argument("--subjects", type=int, nargs="+", required=True)
    parser.add_argument("--session")
    parser.add_argument("--run")
    parser.add_argument("--start", type=float, default=0.0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    try:
        if given.what == "counts":
            report = check_dataset(given.dataset, given.subjects, hash_files=False)
            write_whole(given.out, json.dumps(report.to_dict()).encode())
        else:
            preview_recording(
                given.dataset, given.subjects[0], given.session, given.run, start=given.start
            ).save(given.out)
    except DataError as error:
        sys.stderr.write(f"\nerror: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
