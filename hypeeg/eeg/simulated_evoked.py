"""Simulated evoked responses with known separability, as MOABB datasets: a speller and SSVEP.

As in :mod:`hypeeg.eeg.simulated`, dipoles in a three-layer sphere give the potentials of electrodes
over a pink background and a posterior alpha rhythm; subjects differ in amplitude, latency or phase
and in the orientation of their sources; sessions differ in cap rotation, electrode gains and
background level.  The signals serve to check that a pipeline learns and generalises.  They say
nothing about which model suits brains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hypeeg.eeg.simulated_base import (
    SimulatedDataset,
    check_counts,
    directions,
    leadfield,
    pink,
    recording,
    rhythm,
    rotation,
    unit,
    upper_cortex,
)

ERP_CHANNELS = (
    *("Fz", "FCz", "Cz", "CPz", "Pz", "Oz", "F3", "F4", "C3", "C4", "CP3", "CP4"),
    *("P3", "P4", "PO7", "PO8"),
)
SSVEP_CHANNELS = ("Oz", "O1", "O2", "PO3", "POz", "PO7", "PO8", "PO4")

_N_BACKGROUND = 60
_BACKGROUND_RMS = 9e-6  # volts, mean over electrodes
_ALPHA_RMS = 4e-6  # at the electrode nearest to its source
_SENSOR_NOISE = 0.8e-6
_TILT = 0.5  # of a source against the radial direction
_VISUAL_VOLTS = 5e-6  # of the response to any flash
_P300_VOLTS = 24e-6  # at the electrode above its source, of the default
_SSVEP_VOLTS = 4e-6


class SimulatedERP(SimulatedDataset):
    """A speller: every flash gives a visual response, one of the looked-at letter a P300 as well.

    Parameters
    ----------
    n_subjects, n_sessions : int
        How many of each.
    n_targets : int
        Flashes a session of the letter that is looked at; five times as many are not.
    p300 : float
        Mean amplitude of the P300 relative to the default. 0 makes the classes identical: every
        honest score is then at chance.
    sfreq : float
        Sampling rate, Hz; at least 64.
    seed : int
        Same seed, same signals, in whatever order subjects are asked.
    subjects, sessions : list or None
        Selection, as in every MOABB dataset.

    Notes
    -----
    Flashes are 0.95 to 1.15 s apart, so that epochs of 0 to 0.8 s do not overlap.
    """

    def __init__(
        self,
        n_subjects: int = 4,
        n_sessions: int = 2,
        n_targets: int = 24,
        p300: float = 1.0,
        sfreq: float = 128.0,
        seed: int = 0,
        subjects: list[int] | None = None,
        sessions: list[str] | None = None,
    ) -> None:
        check_counts(
            ("n_subjects", n_subjects, 1),
            ("n_sessions", n_sessions, 1),
            ("n_targets", n_targets, 1),
            ("seed", seed, 0),
        )
        if not p300 >= 0:
            raise ValueError(f"p300={p300} must not be negative: a relative amplitude")
        if not sfreq >= 64:
            raise ValueError(f"sfreq={sfreq} Hz must be at least 64 Hz to hold the responses")
        self.n_targets = n_targets
        self.p300 = p300
        super().__init__(
            {
                "n_subjects": n_subjects,
                "n_sessions": n_sessions,
                "n_targets": n_targets,
                "p300": p300,
                "sfreq": sfreq,
                "seed": seed,
            },
            (4, 2, 24, 1.0, 128.0, 0),
            events={"Target": 2, "NonTarget": 1},
            counts={"Target": n_targets, "NonTarget": 5 * n_targets},
            interval=(0.0, 0.8),
            paradigm="p300",
            subjects=subjects,
            sessions=sessions,
        )

    def _person(self, rng: np.random.Generator) -> _Head:
        return _Head.draw(rng, ("Oz", "Pz"), ERP_CHANNELS)

    def _session(self, person: _Head, rng: np.random.Generator) -> Any:
        codes = rng.permutation(np.repeat([2, 1], [self.n_targets, 5 * self.n_targets]))
        onsets = 2.0 + np.cumsum(rng.uniform(0.95, 1.15, len(codes)))
        n_times = int((onsets[-1] + 3.0) * self.sfreq)
        # Latencies of a subject; of a trial they vary by 10 and 20 ms.
        delay = person.offset * np.array([0.01, 0.04])
        courses = np.zeros((2, n_times))
        for onset, code in zip(onsets, codes):
            start = round(onset * self.sfreq)
            after = np.arange(round(0.9 * self.sfreq)) / self.sfreq
            shift = delay + np.array([0.01, 0.02]) * rng.standard_normal(2)
            span = slice(start, start + len(after))
            strength = 1 + 0.3 * rng.standard_normal(2)
            courses[0, span] += _VISUAL_VOLTS * strength[0] * _visual(after - shift[0])
            if code == 2:
                bump = np.exp(-0.5 * ((after - 0.36 - shift[1]) / 0.06) ** 2)
                courses[1, span] += self.p300 * _P300_VOLTS * strength[1] * bump
        signal = person.signal(rng, courses, self.sfreq)
        return recording(signal, ERP_CHANNELS, self.sfreq, onsets, codes)


class SimulatedSSVEP(SimulatedDataset):
    """Steady-state visual evoked potentials: lights that blink at 13, 17 and 21 Hz.

    Parameters
    ----------
    n_subjects, n_sessions : int
        How many of each.
    n_trials : int
        Trials a session, a third of each light, in random order.
    response : float
        Mean amplitude of the response relative to the default. 0 makes the classes identical: every
        honest score is then at chance.
    sfreq : float
        Sampling rate, Hz; at least 100 (the second harmonic of 21 Hz and its filters need it).
    seed : int
        Same seed, same signals, in whatever order subjects are asked.
    subjects, sessions : list or None
        Selection, as in every MOABB dataset.
    """

    def __init__(
        self,
        n_subjects: int = 4,
        n_sessions: int = 2,
        n_trials: int = 24,
        response: float = 1.0,
        sfreq: float = 128.0,
        seed: int = 0,
        subjects: list[int] | None = None,
        sessions: list[str] | None = None,
    ) -> None:
        check_counts(
            ("n_subjects", n_subjects, 1),
            ("n_sessions", n_sessions, 1),
            ("n_trials", n_trials, 3),
            ("seed", seed, 0),
        )
        if n_trials % 3:
            raise ValueError(f"n_trials={n_trials} must be divisible by 3, a third of each light")
        if not response >= 0:
            raise ValueError(f"response={response} must not be negative: a relative amplitude")
        if not sfreq >= 100:
            raise ValueError(f"sfreq={sfreq} Hz must be at least 100 Hz to hold the harmonics")
        self.n_trials = n_trials
        self.response = response
        super().__init__(
            {
                "n_subjects": n_subjects,
                "n_sessions": n_sessions,
                "n_trials": n_trials,
                "response": response,
                "sfreq": sfreq,
                "seed": seed,
            },
            (4, 2, 24, 1.0, 128.0, 0),
            events={"13": 1, "17": 2, "21": 3},
            counts=dict.fromkeys(("13", "17", "21"), n_trials // 3),
            interval=(0.0, 4.0),
            paradigm="ssvep",
            subjects=subjects,
            sessions=sessions,
        )

    def _person(self, rng: np.random.Generator) -> _Head:
        return _Head.draw(rng, ("O1", "O2"), SSVEP_CHANNELS)

    def _session(self, person: _Head, rng: np.random.Generator) -> Any:
        codes = rng.permutation(np.repeat([1, 2, 3], self.n_trials // 3))
        onsets = 2.0 + np.cumsum(rng.uniform(5.5, 6.5, len(codes))) - 5.5
        n_times = int((onsets[-1] + 6.0) * self.sfreq)
        courses = np.zeros((2, n_times))
        for onset, code in zip(onsets, codes):
            start = round(onset * self.sfreq)
            after = np.arange(round(4.5 * self.sfreq)) / self.sfreq
            hz = {1: 13.0, 2: 17.0, 3: 21.0}[int(code)]
            # A fixed delay from the eye to the cortex: the phase follows the frequency.
            angle = 2 * np.pi * hz * (after - 0.12 - 0.01 * person.offset)
            wave = np.sin(angle) + 0.4 * np.sin(2 * angle)
            envelope = np.clip(after / 0.3, 0, 1) * np.clip((4.5 - after) / 0.3, 0, 1)
            strength = np.clip(1 + 0.3 * rng.standard_normal(2), 0.2, None)
            span = slice(start, start + len(after))
            courses[:, span] += self.response * _SSVEP_VOLTS * np.outer(strength, envelope * wave)
        signal = person.signal(rng, courses, self.sfreq)
        return recording(signal, SSVEP_CHANNELS, self.sfreq, onsets, codes)


@dataclass(frozen=True)
class _Head:
    """What stays the same over the sessions of one subject; two sources and the background."""

    channels: tuple[str, ...]
    places: np.ndarray  # (2, 3)
    moments: np.ndarray  # (2, 3)
    background: tuple[np.ndarray, np.ndarray]  # places and moments, (n, 3) each
    gain: float
    offset: float  # of latency or phase, standard normal up to two
    alpha_hz: float

    @classmethod
    def draw(
        cls, rng: np.random.Generator, above: Sequence[str], channels: tuple[str, ...]
    ) -> _Head:
        places = unit(directions(*above, channels=channels) + 0.1 * rng.standard_normal((2, 3)))
        return cls(
            channels=channels,
            places=places,
            moments=unit(places + _TILT * rng.standard_normal((2, 3))),
            background=upper_cortex(rng, _N_BACKGROUND),
            gain=float(rng.uniform(0.8, 1.2)),
            offset=float(np.clip(rng.standard_normal(), -2, 2)),
            alpha_hz=float(rng.uniform(9.0, 11.5)),
        )

    def signal(self, rng: np.random.Generator, courses: np.ndarray, sfreq: float) -> np.ndarray:
        """Potentials of one session, volts; the courses are those at the peak electrode."""
        n_times = courses.shape[1]
        # A cap that sits differently is a head that is turned the other way.
        turn = rotation(0.04 * rng.standard_normal(3))
        sources, background, alpha = (
            leadfield(places @ turn.T, moments @ turn.T, self.channels)
            for places, moments in (
                (self.places, self.moments),
                self.background,
                (2 * (directions("POz", channels=self.channels),)),
            )
        )
        signal: np.ndarray = self.gain * (sources / np.abs(sources).max(axis=0)) @ courses
        level = rng.lognormal(0.0, 0.10) * _BACKGROUND_RMS
        level /= np.linalg.norm(background, axis=1).mean()
        signal += level * (background @ pink(rng, _N_BACKGROUND, n_times, sfreq))
        signal += (_ALPHA_RMS / np.abs(alpha).max()) * (
            alpha @ rhythm(rng, 1, n_times, sfreq, self.alpha_hz, 0.8)
        )
        signal += _SENSOR_NOISE * rng.standard_normal(signal.shape)
        return signal * rng.lognormal(0.0, 0.08, (len(self.channels), 1))


def _visual(after: np.ndarray) -> np.ndarray:
    """P1 at 0.1 s and N1 at 0.17 s."""
    first = np.exp(-0.5 * ((after - 0.10) / 0.02) ** 2)
    second = np.exp(-0.5 * ((after - 0.17) / 0.03) ** 2)
    return first - 1.4 * second
