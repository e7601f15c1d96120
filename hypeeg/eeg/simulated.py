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

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mne
import numpy as np
from moabb.datasets.base import BaseDataset
from scipy.fft import next_fast_len
from scipy.spatial.transform import Rotation

CHANNELS = (
    *("Fz", "FC3", "FC1", "FCz", "FC2", "FC4", "C5", "C3", "C1", "Cz", "C2", "C4", "C6"),
    *("CP3", "CP1", "CPz", "CP2", "CP4", "P1", "Pz", "P2", "POz"),
)
EVENTS = {"left_hand": 1, "right_hand": 2}
IMAGERY = (0.0, 3.0)  # seconds after the cue

_N_BACKGROUND = 60
_CORTEX = 0.80  # radius of the dipoles, as a share of the head's
_BACKGROUND_RMS = 9e-6  # volts, mean over electrodes
_MU_RMS = 8e-6  # at the electrode above the hand area, before desynchronisation
_BETA_RMS = 3.5e-6
_ALPHA_RMS = 5e-6
_SENSOR_NOISE = 0.8e-6
_IPSILATERAL = 0.25  # share of the desynchronisation that the same side shows
_JITTER = 0.18  # of a hand area's direction between subjects, radians
_TILT = 1.2  # of its dipole against the radial direction
_RAMP = (0.25, 0.85, 3.0, 3.8)  # desynchronisation starts, is full, starts to end, has ended


class SimulatedMI(BaseDataset):
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
        for name, count, least in (
            ("n_subjects", n_subjects, 1),
            ("n_sessions", n_sessions, 1),
            ("n_trials", n_trials, 2),
            ("seed", seed, 0),
        ):
            if isinstance(count, bool) or int(count) != count or count < least:
                raise ValueError(f"{name}={count!r} must be a whole number of at least {least}")
        if n_trials % 2:
            raise ValueError(f"n_trials={n_trials} must be even, half of each hand")
        if not 0 <= erd_depth < 1:
            raise ValueError(f"erd_depth={erd_depth} must be in [0, 1): a share of rhythm power")
        if not sfreq >= 80:
            raise ValueError(f"sfreq={sfreq} Hz must be at least 80 Hz to hold the beta rhythm")
        self.n_trials = n_trials
        self.erd_depth = erd_depth
        self.sfreq = sfreq
        self.seed = seed
        # MOABB keys its caches by this code, so that other signals need another code.
        settings = (n_subjects, n_sessions, n_trials, erd_depth, sfreq, seed)
        default = (4, 2, 48, 0.75, 128.0, 0)
        suffix = "" if settings == default else "-" + "-".join(_letters(v) for v in settings)
        super().__init__(
            subjects=list(range(1, n_subjects + 1)),
            sessions_per_subject=n_sessions,
            events=dict(EVENTS),
            code="SimulatedMI" + suffix,
            interval=list(IMAGERY),
            paradigm="imagery",
            selected_subjects=subjects,
            selected_sessions=sessions,
        )

    def data_path(
        self,
        subject: int,
        path: Any = None,
        force_update: bool = False,
        update_path: Any = None,
        verbose: Any = None,
    ) -> list[str]:
        """No files: an empty list.

        Parameters
        ----------
        subject : int
            Ignored, like the rest.
        path, force_update, update_path, verbose : object
            MOABB's interface.
        """
        return []

    def manifest_changes(self) -> dict[str, Any]:
        """Fields of the manifest that the parameters decide."""
        return {
            "subjects": self.all_subjects,
            "sessions": [str(session) for session in range(self.n_sessions)],
            "sfreq": self.sfreq,
            "trials": {"per": "session", "counts": dict.fromkeys(EVENTS, self.n_trials // 2)},
        }

    def _get_single_subject_data(self, subject: int) -> dict[str, dict[str, mne.io.RawArray]]:
        person = _Person.draw(np.random.default_rng([self.seed, subject]), self.erd_depth)
        return {
            str(session): {
                "0": self._record(person, np.random.default_rng([self.seed, subject, session + 1]))
            }
            for session in range(self.n_sessions)
        }

    def _record(self, person: _Person, rng: np.random.Generator) -> mne.io.RawArray:
        """One session: signals in volts and the events on a stimulus channel."""
        codes = rng.permutation(np.repeat(list(EVENTS.values()), self.n_trials // 2))
        cues = 3.0 + np.cumsum(rng.uniform(4.5, 5.5, self.n_trials)) - 4.5
        n_times = int((cues[-1] + 6.0) * self.sfreq)
        signal = _signals(person, rng, codes, cues, n_times, self.sfreq)
        stimulus = np.zeros((1, n_times))
        stimulus[0, np.round(cues * self.sfreq).astype(int)] = codes
        info = mne.create_info(
            [*CHANNELS, "STI"], self.sfreq, ["eeg"] * len(CHANNELS) + ["stim"], verbose="ERROR"
        )
        raw = mne.io.RawArray(np.vstack([signal, stimulus]), info, verbose="ERROR")
        return raw.set_montage(_montage(), verbose="ERROR")


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
        hands = _unit(_directions("C3", "C4") + _JITTER * rng.standard_normal((2, 3)))
        background = _unit(rng.standard_normal((_N_BACKGROUND, 3)))
        background[:, 2] = np.abs(background[:, 2])
        return cls(
            hands=hands,
            # Crown or wall of a gyrus: tilted differently in everyone.
            hand_moments=_unit(hands + _TILT * rng.standard_normal((2, 3))),
            background=background,
            background_moments=_unit(rng.standard_normal((_N_BACKGROUND, 3))),
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
    turn = _rotation(0.04 * rng.standard_normal(3))
    posterior = _directions("O1", "O2")
    hands, background, alpha = (
        _leadfield(directions @ turn.T, moments @ turn.T)
        for directions, moments in (
            (person.hands, person.hand_moments),
            (person.background, person.background_moments),
            (posterior, posterior),
        )
    )
    shift = 0.25 * rng.standard_normal()
    power = _desynchronisation(person.depth, rng, codes, cues, n_times, sfreq)
    mu = _rhythm(rng, 2, n_times, sfreq, person.mu_hz + shift, 0.8) * np.sqrt(power)
    beta = _rhythm(rng, 2, n_times, sfreq, person.beta_hz + shift, 2.0) * np.sqrt(power)
    peak = hands / np.abs(hands).max(axis=0)
    level = rng.lognormal(0.0, 0.10)
    signal = person.rhythm_gain * peak @ (_MU_RMS * mu + _BETA_RMS * beta)
    signal += (
        level
        * (_BACKGROUND_RMS / np.linalg.norm(background, axis=1).mean())
        * (background @ _pink(rng, _N_BACKGROUND, n_times, sfreq))
    )
    signal += (_ALPHA_RMS / np.abs(alpha).max()) * (
        alpha @ _rhythm(rng, 2, n_times, sfreq, person.alpha_hz, 0.8)
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


def _rhythm(
    rng: np.random.Generator, n: int, n_times: int, sfreq: float, centre: float, width: float
) -> np.ndarray:
    """Gaussian narrow-band noise of unit variance, shape (n, n_times)."""
    return _coloured(rng, n, n_times, sfreq, lambda hz: np.exp(-0.5 * ((hz - centre) / width) ** 2))


def _pink(rng: np.random.Generator, n: int, n_times: int, sfreq: float) -> np.ndarray:
    """Noise of unit variance whose power falls as 1/f above 0.5 Hz, shape (n, n_times)."""
    return _coloured(rng, n, n_times, sfreq, lambda hz: 1 / np.sqrt(np.maximum(hz, 0.5)))


def _coloured(
    rng: np.random.Generator,
    n: int,
    n_times: int,
    sfreq: float,
    amplitude: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    length = next_fast_len(n_times, real=True)
    spectrum = np.fft.rfft(rng.standard_normal((n, length)))
    spectrum *= amplitude(np.fft.rfftfreq(length, 1 / sfreq))
    noise = np.fft.irfft(spectrum, length)[:, :n_times]
    return noise / noise.std(axis=1, keepdims=True)


@lru_cache(maxsize=1)
def _montage() -> mne.channels.DigMontage:
    # MNE 1.13 renamed the standard_1020 montage.
    names = mne.channels.get_builtin_montages()
    return mne.channels.make_standard_montage(
        "colin27_1020" if "colin27_1020" in names else "standard_1020"
    )


@lru_cache(maxsize=1)
def _head() -> tuple[mne.Info, mne.bem.ConductorModel]:
    info = mne.create_info(list(CHANNELS), 128.0, "eeg", verbose="ERROR")
    info.set_montage(_montage(), verbose="ERROR")
    return info, mne.make_sphere_model("auto", "auto", info, verbose="ERROR")


def _directions(*names: str) -> np.ndarray:
    """Unit vectors from the centre of the head to electrodes of the montage."""
    _, sphere = _head()
    raw = mne.create_info(list(names), 128.0, "eeg", verbose="ERROR")
    raw.set_montage(_montage(), verbose="ERROR")
    return _unit(np.array([channel["loc"][:3] for channel in raw["chs"]]) - sphere["r0"])


def _leadfield(directions: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Potential at each electrode per unit moment of each dipole, (n_channels, n_dipoles)."""
    info, sphere = _head()
    places = sphere["r0"] + _CORTEX * sphere.radius * directions
    sources = mne.setup_volume_source_space(pos={"rr": places, "nn": moments}, verbose="ERROR")
    forward = mne.make_forward_solution(
        info, trans=None, src=sources, bem=sphere, meg=False, eeg=True, verbose="ERROR"
    )
    # Three columns a dipole, one for each axis.
    gains = forward["sol"]["data"].reshape(len(info["chs"]), len(directions), 3)
    return np.einsum("cdk,dk->cd", gains, moments)


def _rotation(angles: np.ndarray) -> np.ndarray:
    return Rotation.from_rotvec(angles).as_matrix()


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _letters(value: float) -> str:
    # Dataset codes may hold letters, digits and dashes only.
    return f"{value:g}".replace(".", "p").replace("+", "").replace("-", "m")
