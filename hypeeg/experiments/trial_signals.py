"""Signals of chosen test trials of a run beside those of others: mean, spectrum, sensors.

``python -m hypeeg.experiments.trial_signals RUN --request FILE --out FILE`` reads the trials as
the run did, with its preprocessing and through the cache of epochs, in a process of its own: the
dashboard stays without MOABB.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_MAX_FREQUENCY = 100.0
_WELCH_SECONDS = 2.0


class SignalsError(RuntimeError):
    """The signals of a run's trials cannot be shown; the message says why."""


@dataclass(frozen=True, eq=False)
class TrialSignals:
    """Means over chosen trials (first row) and over others (second row).

    Attributes
    ----------
    names : tuple of str
        Channels.
    counts : tuple of int
        Trials of each kind.
    times : ndarray of float64, shape (n_times,)
        Seconds after the event.
    mean, error : ndarray of float64, shape (2, n_channels, n_times)
        Mean signals and their standard errors, microvolts; NaN for no trials.
    frequencies : ndarray of float64, shape (n_frequencies,)
        Hz.
    psd : ndarray of float64, shape (2, n_channels, n_frequencies)
        Mean power spectral density by Welch's method, µV²/Hz.
    points : ndarray of float64, shape (n_channels, 2)
        Sensors in the plane, see :class:`hypeeg.eeg.positions.SensorPositions`.
    source : str
        Where the positions come from.
    """

    names: tuple[str, ...]
    counts: tuple[int, int]
    times: np.ndarray
    mean: np.ndarray
    error: np.ndarray
    frequencies: np.ndarray
    psd: np.ndarray
    points: np.ndarray
    source: str

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file that :func:`load_signals` reads."""
        facts = {"names": self.names, "counts": self.counts, "source": self.source}
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        with path.open("wb") as stream:
            np.savez(stream, facts=np.array(json.dumps(facts)), **arrays)


_ARRAYS = ("times", "mean", "error", "frequencies", "psd", "points")


def load_signals(path: Path) -> TrialSignals:
    """Read what :meth:`TrialSignals.save` wrote."""
    with np.load(path, allow_pickle=False) as file:
        facts = json.loads(str(file["facts"]))
        arrays = {name: file[name] for name in _ARRAYS}
    counts = (int(facts["counts"][0]), int(facts["counts"][1]))
    return TrialSignals(tuple(facts["names"]), counts, source=facts["source"], **arrays)


def trial_signals(
    run: Path, chosen: np.ndarray, others: np.ndarray, labels: np.ndarray
) -> TrialSignals:
    """Read the trials of a run and average them.

    Parameters
    ----------
    run : Path
        Run folder of an EEG run.
    chosen, others : ndarray of int
        Numbers of trials, as ``trial`` in a file of embeddings.
    labels : ndarray of str
        Their classes, the chosen ones first: by them the trials are known to be the same.

    Returns
    -------
    TrialSignals

    Raises
    ------
    SignalsError
        If this is no EEG run, or the recordings give other trials than they gave the run.
    DataError
        If the recordings are not on this machine or cannot be read.
    """
    from hypeeg.eeg.manifest import load_manifest
    from hypeeg.eeg.positions import sensor_positions
    from hypeeg.experiments.eeg_wing import load_trials
    from hypeeg.experiments.kinds import read_run_spec

    spec: Any = read_run_spec(run / "spec_resolved.yaml")
    if spec.kind != "eeg":
        raise SignalsError(f"kind is {spec.kind}: its trials are no recordings of EEG")
    data = load_trials(spec)
    numbers = np.concatenate([chosen, others])
    if numbers.size and not numbers.max() < len(data.y):
        raise SignalsError(
            f"the run has a trial {int(numbers.max())}, the recordings give {len(data.y)} trials "
            "now: recordings or manifest have changed since"
        )
    if not np.array_equal(np.asarray(data.y)[numbers], labels):
        raise SignalsError(
            "the recordings give other classes now than when the run read them: recordings or "
            "manifest have changed since"
        )
    manifest = load_manifest(spec.dataset.name)
    n_times = int(data.X.shape[2])
    start = float(spec.preprocessing.tmin or 0.0)
    frequencies = _frequencies(n_times, data.sfreq)
    parts = [
        _average(data.X, np.sort(rows), data.sfreq, len(frequencies)) for rows in (chosen, others)
    ]
    positions = sensor_positions(list(data.ch_names), manifest.channels.montage)
    kept = frequencies <= _MAX_FREQUENCY
    return TrialSignals(
        names=tuple(data.ch_names),
        counts=(len(chosen), len(others)),
        times=start + np.arange(n_times) / data.sfreq,
        mean=np.stack([part[0] for part in parts]),
        error=np.stack([part[1] for part in parts]),
        frequencies=frequencies[kept],
        psd=np.stack([part[2][:, kept] for part in parts]),
        points=positions.points,
        source=positions.source,
    )


def _segment(n_times: int, sfreq: float) -> int:
    return min(n_times, max(8, round(_WELCH_SECONDS * sfreq)))


def _frequencies(n_times: int, sfreq: float) -> np.ndarray:
    return np.fft.rfftfreq(_segment(n_times, sfreq), 1.0 / sfreq)


def _average(
    X: np.ndarray, rows: np.ndarray, sfreq: float, n_frequencies: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, standard error and spectrum of some trials, a hundred of them at a time."""
    from scipy.signal import welch

    n, shape = len(rows), X.shape[1:]
    if not n:
        nothing = np.full(shape, np.nan)
        return nothing, nothing, np.full((shape[0], n_frequencies), np.nan)
    total, squares = np.zeros(shape), np.zeros(shape)
    power = np.zeros((shape[0], n_frequencies))
    for first in range(0, n, 100):
        block = np.asarray(X[rows[first : first + 100]], dtype=float)
        total += block.sum(axis=0)
        squares += (block**2).sum(axis=0)
        power += welch(block, sfreq, nperseg=_segment(shape[1], sfreq))[1].sum(axis=0)
    mean = total / n
    variance = np.maximum(squares / n - mean**2, 0.0) * n / max(n - 1, 1)
    error = np.sqrt(variance / n) if n > 1 else np.full(shape, np.nan)
    return mean, error, power / n


def main(arguments: list[str] | None = None) -> int:
    """Write the signals that a request asks for into a file.

    Parameters
    ----------
    arguments : list of str or None
        Command line; None takes the process's.

    Returns
    -------
    int
        Exit code: 1 with the reason on standard error.
    """
    from hypeeg.eeg.errors import DataError
    from hypeeg.experiments.spec_errors import SpecError

    parser = argparse.ArgumentParser(prog="python -m hypeeg.experiments.trial_signals")
    parser.add_argument("run", type=Path)
    parser.add_argument("--request", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    with np.load(given.request, allow_pickle=False) as request:
        chosen, others, labels = request["chosen"], request["others"], request["labels"]
    try:
        trial_signals(given.run, chosen, others, labels).save(given.out)
    except (DataError, SignalsError, SpecError) as error:
        sys.stderr.write(f"\nerror: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
