"""Simulated imagery whose sixteen classes are the leaves of a binary tree, as MOABB datasets.

As in :mod:`hypeeg.eeg.simulated`, dipoles in a three-layer sphere give the potentials of 22
electrodes over a pink background and a posterior alpha rhythm, and imagery lowers the power of
rhythms. Here every node of a tree but the root has a rhythm of its own, and a trial lowers those of
the nodes on the way to its leaf, the less the deeper a node lies: classes that share a parent
resemble each other. :class:`SimulatedFlat` is the control, sixteen classes of about the same
difficulty that are related in no way.

The signals serve to check whether a pipeline finds and uses a hierarchy that is known to be there.
They say nothing about which model suits brains.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
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
    upper_cortex,
)

CHANNELS = MOTOR_CHANNELS
DEPTH = 4
IMAGERY = (0.0, 3.0)  # seconds after the cue
LEAVES = tuple("".join(turns) for turns in product("LR", repeat=DEPTH))
"""The classes: the turns from the root to a leaf, ``"LLLL"`` to ``"RRRR"``."""
TREE = {
    "".join(turns): "".join(turns[:-1])
    for level in range(1, DEPTH + 1)
    for turns in product("LR", repeat=level)
}
"""The parent of every node but the root, which is the empty string."""
EVENTS = {leaf: code for code, leaf in enumerate(LEAVES, start=1)}

_LEVEL_DEPTHS = (0.95, 0.88, 0.8, 0.72)  # share of power that a trial removes, from the root down
_FLAT_DEPTHS = (0.88, 0.88)  # of the two rhythms of a class of the control: about as hard
_HZ = (8.0, 28.0)
_N_BACKGROUND = 60
_BACKGROUND_RMS = 9e-6  # volts, mean over electrodes
_RHYTHM_RMS = 8e-6  # at the electrode where it is largest, before desynchronisation
_WIDTH = 1.2  # of a rhythm, Hz
_ALPHA_RMS = 3e-6
_SENSOR_NOISE = 0.8e-6
_CAP = 0.45  # lowest cosine of a rhythm's direction with the vertex: below lie no electrodes
_JITTER = 0.05  # of a rhythm's direction between subjects, radians
_TILT = 0.2  # of its dipole against the radial direction
_HZ_JITTER = 0.2
_RAMP = (0.25, 0.85, 3.0, 3.8)  # desynchronisation starts, is full, starts to end, has ended


def tree_distance(a: str, b: str) -> int:
    """Number of edges between two nodes of the tree.

    Parameters
    ----------
    a, b : str
        Nodes: classes, inner nodes, or the empty string for the root.

    Returns
    -------
    int
        0 to 8; 2 between leaves that share a parent.

    Raises
    ------
    ValueError
        If one is no node.
    """
    for node in (a, b):
        if node and node not in TREE:
            raise ValueError(
                f"{node!r} is no node of the tree; give up to {DEPTH} turns, as in 'LRL'"
            )
    shared = sum(a[:n] == b[:n] for n in range(1, min(len(a), len(b)) + 1))
    return len(a) + len(b) - 2 * shared


class SimulatedHierarchy(SimulatedDataset):
    """Imagery of sixteen classes, the leaves of a tree with four levels.

    Parameters
    ----------
    n_subjects, n_sessions : int
        How many of each.
    n_trials : int
        Trials a session, a sixteenth of each class, in random order.
    strength : float
        Factor on the depths of desynchronisation, from 0 to 1. 0 makes the classes identical: every
        honest score is then at chance. See Notes.
    hierarchy : bool
        Whether classes that share an ancestor share rhythms. If not, each has two of its own, as in
        :class:`SimulatedFlat`.
    sfreq : float
        Sampling rate, Hz; at least 80 (the rhythms and their filters need it).
    seed : int
        Same seed, same signals, bit for bit on one machine, in whatever order subjects are asked.
        It also decides which rhythm lies where.
    subjects, sessions : list or None
        Selection, as in every MOABB dataset.

    Notes
    -----
    The first letter of a class is the coarse question of two classes, the first two letters one of
    four, and so on.

    Separability of the default (0.5-3 s; shrunk covariances of 8-11, 11-14, 14-17, 17-20, 20-24 and
    24-29 Hz, their tangent spaces side by side, standardised, logistic regression with C=0.01;
    seed 0): leaving one subject out, 0.42 of the trials are given their leaf (lowest subject 0.22,
    highest 0.56; chance 0.06), 0.62, 0.78 and 0.90 the right first three, two and one letters;
    0.21 are taken for the leaf's sibling and 0.01 for each of the eight leaves of the other half.
    Within-session 5-fold 0.40. Seed 1: 0.47 and 0.45. With ``strength=0`` all are at chance.
    """

    _hierarchy_by_default = True

    def __init__(
        self,
        n_subjects: int = 8,
        n_sessions: int = 1,
        n_trials: int = 96,
        strength: float = 1.0,
        hierarchy: bool = True,
        sfreq: float = 128.0,
        seed: int = 0,
        subjects: list[int] | None = None,
        sessions: list[str] | None = None,
    ) -> None:
        check_counts(
            ("n_subjects", n_subjects, 1),
            ("n_sessions", n_sessions, 1),
            ("n_trials", n_trials, len(LEAVES)),
            ("seed", seed, 0),
        )
        if n_trials % len(LEAVES):
            raise ValueError(
                f"n_trials={n_trials} must be divisible by {len(LEAVES)}, as many of each class"
            )
        if not 0 <= strength <= 1:
            raise ValueError(f"strength={strength} must be in [0, 1]: a factor on the depths")
        if not sfreq >= 80:
            raise ValueError(f"sfreq={sfreq} Hz must be at least 80 Hz to hold the rhythms")
        self.n_trials = n_trials
        self.strength = strength
        self.hierarchy = hierarchy
        super().__init__(
            {
                "n_subjects": n_subjects,
                "n_sessions": n_sessions,
                "n_trials": n_trials,
                "strength": strength,
                "hierarchy": hierarchy,
                "sfreq": sfreq,
                "seed": seed,
            },
            (8, 1, 96, 1.0, self._hierarchy_by_default, 128.0, 0),
            events=EVENTS,
            counts=dict.fromkeys(EVENTS, n_trials // len(EVENTS)),
            interval=IMAGERY,
            paradigm="imagery",
            subjects=subjects,
            sessions=sessions,
        )

    def depths(self) -> np.ndarray:
        """Mean share of power that a trial of each class removes from each rhythm.

        Returns
        -------
        ndarray of shape (16, n_rhythms)
            Rows in the order of ``LEAVES``; columns in the order of ``TREE`` if the classes are a
            hierarchy, otherwise two a class.
        """
        if self.hierarchy:
            shares = [
                [_LEVEL_DEPTHS[len(node) - 1] * leaf.startswith(node) for node in TREE]
                for leaf in LEAVES
            ]
        else:
            shares = np.kron(np.eye(len(LEAVES)), _FLAT_DEPTHS).tolist()
        return self.strength * np.array(shares)

    def _person(self, rng: np.random.Generator) -> _Person:
        # Subjects count from 1: the places and frequencies of all have a stream of their own.
        layout = _Layout.draw(np.random.default_rng([self.seed, 0]), self.depths().shape[1])
        return _Person.draw(rng, layout)

    def _session(self, person: _Person, rng: np.random.Generator) -> Any:
        codes = rng.permutation(np.repeat(list(EVENTS.values()), self.n_trials // len(EVENTS)))
        cues = 3.0 + np.cumsum(rng.uniform(4.5, 5.5, self.n_trials)) - 4.5
        n_times = int((cues[-1] + 6.0) * self.sfreq)
        power = self._power(person.depth, rng, codes, cues, n_times)
        return recording(person.signal(rng, power, self.sfreq), CHANNELS, self.sfreq, cues, codes)

    def _power(
        self,
        depth: float,
        rng: np.random.Generator,
        codes: np.ndarray,
        cues: np.ndarray,
        n_times: int,
    ) -> np.ndarray:
        """Power of the rhythms relative to rest, shape (n_rhythms, n_times)."""
        depths = self.depths()
        power = np.ones((depths.shape[1], n_times))
        for code, cue in zip(codes, cues):
            first, last = (round((cue + edge) * self.sfreq) for edge in (_RAMP[0], _RAMP[-1]))
            course = np.interp(np.arange(first, last) / self.sfreq - cue, _RAMP, (0, 1, 1, 0))
            varied = depth * depths[code - 1] * (1 + 0.25 * rng.standard_normal(len(power)))
            power[:, first:last] -= np.outer(np.clip(varied, 0.0, 0.95), course)
        return power


class SimulatedFlat(SimulatedHierarchy):
    """The control of :class:`SimulatedHierarchy`: sixteen classes that are related in no way.

    Each class has two rhythms of its own, 32 in place of 30. The classes have the names of the
    leaves, so that what is asked of a hierarchy can be asked here, where the answer is no.

    Parameters
    ----------
    n_subjects, n_sessions, n_trials, strength, sfreq, seed, subjects, sessions
        As in :class:`SimulatedHierarchy`.

    Notes
    -----
    Separability of the default, measured as that of :class:`SimulatedHierarchy`: leaving one
    subject out 0.47 (lowest subject 0.42, highest 0.57), within-session 0.50; seed 1: 0.39 and
    0.41. Each of the other classes gets about 0.035 of the trials, whatever its name.
    """

    _hierarchy_by_default = False

    def __init__(
        self,
        n_subjects: int = 8,
        n_sessions: int = 1,
        n_trials: int = 96,
        strength: float = 1.0,
        sfreq: float = 128.0,
        seed: int = 0,
        subjects: list[int] | None = None,
        sessions: list[str] | None = None,
    ) -> None:
        super().__init__(
            n_subjects=n_subjects,
            n_sessions=n_sessions,
            n_trials=n_trials,
            strength=strength,
            hierarchy=False,
            sfreq=sfreq,
            seed=seed,
            subjects=subjects,
            sessions=sessions,
        )


@dataclass(frozen=True)
class _Layout:
    """Where the rhythms of a data set lie on the cortex, and their frequencies."""

    places: np.ndarray  # (n, 3)
    hz: np.ndarray  # (n,)

    @classmethod
    def draw(cls, rng: np.random.Generator, n: int) -> _Layout:
        # A spiral covers the cap, and steps the range of frequencies, evenly; which node gets which
        # of both is random.
        share = (np.arange(n) + 0.5) / n
        height = 1 - (1 - _CAP) * share
        turn = np.pi * (3 - np.sqrt(5)) * np.arange(n)
        radius = np.sqrt(1 - height**2)
        places = np.stack([radius * np.cos(turn), radius * np.sin(turn), height], axis=1)
        hz = _HZ[0] + (_HZ[1] - _HZ[0]) * share
        return cls(places=rng.permutation(places), hz=rng.permutation(hz))


@dataclass(frozen=True)
class _Person:
    """What stays the same over the sessions of one subject."""

    rhythms: tuple[np.ndarray, np.ndarray]  # places and moments, (n, 3) each
    hz: np.ndarray  # (n,)
    background: tuple[np.ndarray, np.ndarray]
    alpha_hz: float
    gain: float
    depth: float

    @classmethod
    def draw(cls, rng: np.random.Generator, layout: _Layout) -> _Person:
        shape = layout.places.shape
        places = unit(layout.places + _JITTER * rng.standard_normal(shape))
        return cls(
            rhythms=(places, unit(places + _TILT * rng.standard_normal(shape))),
            hz=layout.hz + _HZ_JITTER * rng.standard_normal(shape[0]),
            background=upper_cortex(rng, _N_BACKGROUND),
            alpha_hz=float(rng.uniform(9.0, 11.5)),
            gain=float(rng.uniform(0.8, 1.2)),
            depth=float(rng.uniform(0.85, 1.15)),
        )

    def signal(self, rng: np.random.Generator, power: np.ndarray, sfreq: float) -> np.ndarray:
        """Potentials of one session at the electrodes, shape (n_channels, n_times), volts."""
        n_times = power.shape[1]
        # A cap that sits differently is a head that is turned the other way.
        turn = rotation(0.04 * rng.standard_normal(3))
        posterior = directions("O1", "O2", channels=CHANNELS)
        sources, background, alpha = (
            leadfield(places @ turn.T, moments @ turn.T, CHANNELS)
            for places, moments in (self.rhythms, self.background, (posterior, posterior))
        )
        shift = 0.25 * rng.standard_normal()
        courses = np.concatenate(
            [rhythm(rng, 1, n_times, sfreq, hz + shift, _WIDTH) for hz in self.hz]
        )
        courses *= np.sqrt(power)
        peak = sources / np.abs(sources).max(axis=0)
        signal: np.ndarray = self.gain * _RHYTHM_RMS * (peak @ courses)
        level = rng.lognormal(0.0, 0.10) * _BACKGROUND_RMS
        level /= np.linalg.norm(background, axis=1).mean()
        signal += level * (background @ pink(rng, _N_BACKGROUND, n_times, sfreq))
        signal += (_ALPHA_RMS / np.abs(alpha).max()) * (
            alpha @ rhythm(rng, 2, n_times, sfreq, self.alpha_hz, 0.8)
        )
        signal += _SENSOR_NOISE * rng.standard_normal(signal.shape)
        return signal * rng.lognormal(0.0, 0.08, (len(CHANNELS), 1))
