"""Simulated motor imagery with known separability, as a MOABB dataset.

Current dipoles in a three-layer sphere give the potentials of 22 electrodes (MNE's forward
solution): pink background from dipoles all over the upper cortex, a posterior alpha rhythm, and mu
(about 10 Hz) and beta (about 22 Hz) rhythms at the two hand areas. Imagining one hand lowers the
power of the rhythms over the *opposite* hemisphere, and a little over the same one: event-related
desynchronisation (ERD) [1]_. Subjects differ in rhythm frequency and strength, dipole position and
orientation and depth of desynchronisation; sessions differ in cap rotation, electrode gains,
background level and rhythm frequency.

The signals serve to check that a pipeline learns and generalises. They say nothing about which
model suits brains.

References
----------
.. [1] Pfurtscheller, Lopes da Silva (1999), Event-related EEG/MEG synchronization and
   desynchronization: basic principles, Clinical Neurophysiology 110, 1842-1857.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hypeeg.eeg.simulated_base import (
    MOTOR_CHANNELS,
    SimulatedDataset,
    check_counts,
    directions,
    leadfield,
    pink,
    recording,
    rhythm,
    rotation,
    unit,
)

CHANNELS = MOTOR_CHANNELS
EVENTS = {"left_hand": 1, "right_hand": 2}
IMAGERY = (0.0, 3.0)  # seconds after the cue

_N_BACKGROUND = 60
_BACKGROUND_RMS = 9e-6  # volts, mean over electrodes
_MU_RMS = 8e-6  # at the electrode above the hand area, before desynchronisation
_BETA_RMS = 3.5e-6
_ALPHA_RMS = 5e-6
_SENSOR_NOISE = 0.8e-6
_IPSILATERAL = 0.25  # share of the desynchronisation that the same side shows
_JITTER = 0.18  # of a hand area's direction between subjects, radians
_TILT = 1.2  # of its dipole against the radial direction
_RAMP = (0.25, 0.85, 3.0, 3.8)  # desynchronisation starts, is full, starts to end, has ended


class SimulatedMI(SimulatedDataset):
    """Left and right hand imagery of a few simulated subjects.

    Parameters
    ----------
    n_subjects, n_sessions : int
        How many of each.
    n_trials : int
        Trials a session, half of each hand, in random order.
    erd_depth : float
        Mean share of rhythm power that imagery removes on the opposite side, 0 ≤ erd_depth < 1.
        0 makes the classes identical: every honest score is then at chance. See Notes.
    sfreq : float
        Sampling rate, Hz; at least 80 (the beta rhythm and its filters need it).
    seed : int
        Same seed, same signals, bit for bit on one machine, in whatever order subjects are asked.
    subjects, sessions : list or None
        Selection, as in every MOABB dataset.

    Notes
    -----
    Separability of the default (8-32 Hz, 0.5-3 s, shrunk covariances, CSP with 6 filters, LDA, seed
    0): within-session 5-fold AUC 0.96 on average, 0.84 to 1.00 by session; leaving one subject out
    0.96 on average, lowest subject 0.86 (seed 1: 0.86 and 0.70). With ``erd_depth=0`` both are 0.5.
    """

    def __init__(
        self,
        n_subjects: int = 4,
        n_sessions: int = 2,
        n_trials: int = 48,
        erd_depth: float = 0.75,
        sfreq: float = 128.0,
        seed: int = 0,
        subjects: list[int] | None = None,
        sessions: list[str] | None = None,
    ) -> None:
        check_counts(
            ("n_subjects", n_subjects, 1),
            ("n_sessions", n_sessions, 1),
            ("n_trials", n_trials, 2),
            ("seed", seed, 0),
        )
        if n_trials % 2:
            raise ValueError(f"n_trials={n_trials} must be even, half of each hand")
        if not 0 <= erd_depth < 1:
            raise ValueError(f"erd_depth={erd_depth} must be in [0, 1): a share of rhythm power")
        if not sfreq >= 80:
            raise ValueError(f"sfreq={sfreq} Hz must be at least 80 Hz to hold the beta rhythm")
        self.n_trials = n_trials
        self.erd_depth = erd_depth
        super().__init__(
            {
                "n_subjects": n_subjects,
                "n_sessions": n_sessions,
                "n_trials": n_trials,
                "erd_depth": erd_depth,
                "sfreq": sfreq,
                "seed": seed,
            },
            (4, 2, 48, 0.75, 128.0, 0),
            events=EVENTS,
            counts=dict.fromkeys(EVENTS, n_trials // 2),
            interval=IMAGERY,
            paradigm="imagery",
            subjects=subjects,
            sessions=sessions,
        )

    def _person(self, rng: np.random.Generator) -> _Person:
        return _Person.draw(rng, self.erd_depth)

    def _session(self, person: _Person, rng: np.random.Generator) -> Any:
        codes = rng.permutation(np.repeat(list(EVENTS.values()), self.n_trials // 2))
        cues = 3.0 + np.cumsum(rng.uniform(4.5, 5.5, self.n_trials)) - 4.5
        n_times = int((cues[-1] + 6.0) * self.sfreq)
        signal = _signals(person, rng, codes, cues, n_times, self.sfreq)
        return recording(signal, CHANNELS, self.sfreq, cues, codes)


@dataclass(frozen=True)
class _Person:
    """What stays the same over the sessions of one subject.

    Directions are unit vectors from the centre of the head. Row 0 of the hand areas is the left
    hemisphere, row 1 the right.
    """

    hands: np.ndarray  # (2, 3)
    hand_moments: np.ndarray  # (2, 3) dipole orientations
    background: np.ndarray  # (n, 3)
    background_moments: np.ndarray  # (n, 3)
    mu_hz: float
    beta_hz: float
    alpha_hz: float
    rhythm_gain: float
    depth: float

    @classmethod
    def draw(cls, rng: np.random.Generator, erd_depth: float) -> _Person:
        hands = unit(_directions("C3", "C4") + _JITTER * rng.standard_normal((2, 3)))
        background = unit(rng.standard_normal((_N_BACKGROUND, 3)))
        background[:, 2] = np.abs(background[:, 2])
        return cls(
            hands=hands,
            # Crown or wall of a gyrus: tilted differently in everyone.
            hand_moments=unit(hands + _TILT * rng.standard_normal((2, 3))),
            background=background,
            background_moments=unit(rng.standard_normal((_N_BACKGROUND, 3))),
            mu_hz=float(rng.uniform(9.0, 12.0)),
            beta_hz=float(rng.uniform(19.0, 25.0)),
            alpha_hz=float(rng.uniform(9.0, 11.5)),
            rhythm_gain=float(rng.uniform(0.8, 1.2)),
            depth=erd_depth * float(rng.uniform(0.8, 1.3)),
        )


def _signals(
    person: _Person,
    rng: np.random.Generator,
    codes: np.ndarray,
    cues: np.ndarray,
    n_times: int,
    sfreq: float,
) -> np.ndarray:
    """Potentials of one session at the electrodes, shape (n_channels, n_times), volts."""
    # A cap that sits differently is a head that is turned the other way.
    turn = rotation(0.04 * rng.standard_normal(3))
    posterior = _directions("O1", "O2")
    hands, background, alpha = (
        leadfield(places @ turn.T, moments @ turn.T, CHANNELS)
        for places, moments in (
            (person.hands, person.hand_moments),
            (person.background, person.background_moments),
            (posterior, posterior),
        )
    )
    shift = 0.25 * rng.standard_normal()
    power = _desynchronisation(person.depth, rng, codes, cues, n_times, sfreq)
    mu = rhythm(rng, 2, n_times, sfreq, person.mu_hz + shift, 0.8) * np.sqrt(power)
    beta = rhythm(rng, 2, n_times, sfreq, person.beta_hz + shift, 2.0) * np.sqrt(power)
    peak = hands / np.abs(hands).max(axis=0)
    level = rng.lognormal(0.0, 0.10)
    signal = person.rhythm_gain * peak @ (_MU_RMS * mu + _BETA_RMS * beta)
    signal += (
        level
        * (_BACKGROUND_RMS / np.linalg.norm(background, axis=1).mean())
        * (background @ pink(rng, _N_BACKGROUND, n_times, sfreq))
    )
    signal += (_ALPHA_RMS / np.abs(alpha).max()) * (
        alpha @ rhythm(rng, 2, n_times, sfreq, person.alpha_hz, 0.8)
    )
    signal += _SENSOR_NOISE * rng.standard_normal(signal.shape)
    return signal * rng.lognormal(0.0, 0.08, (len(CHANNELS), 1))


def _desynchronisation(
    depth: float,
    rng: np.random.Generator,
    codes: np.ndarray,
    cues: np.ndarray,
    n_times: int,
    sfreq: float,
) -> np.ndarray:
    """Power of the hand rhythms relative to rest, shape (2 hemispheres, n_times)."""
    power = np.ones((2, n_times))
    start, full, release, end = _RAMP
    for code, cue in zip(codes, cues):
        first = round((cue + start) * sfreq)
        after_cue = np.arange(first, round((cue + end) * sfreq)) / sfreq - cue
        rise = np.clip((after_cue - start) / (full - start), 0, 1)
        fall = np.clip((end - after_cue) / (end - release), 0, 1)
        shape = 0.5 - 0.5 * np.cos(np.pi * np.minimum(rise, fall))
        strength = np.clip(depth * (1 + 0.25 * rng.standard_normal()), 0.0, 0.95)
        opposite = 1 if code == EVENTS["left_hand"] else 0
        span = slice(first, first + len(shape))
        power[opposite, span] = 1 - strength * shape
        power[1 - opposite, span] = 1 - _IPSILATERAL * strength * shape
    return power


def _directions(*names: str) -> np.ndarray:
    return directions(*names, channels=CHANNELS)
