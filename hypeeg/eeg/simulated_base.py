"""What simulated data sets share: MOABB's interface, a sphere model of the head, noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import mne
import numpy as np
from moabb.datasets.base import BaseDataset
from scipy.fft import next_fast_len
from scipy.spatial.transform import Rotation

MOTOR_CHANNELS = (
    *("Fz", "FC3", "FC1", "FCz", "FC2", "FC4", "C5", "C3", "C1", "Cz", "C2", "C4", "C6"),
    *("CP3", "CP1", "CPz", "CP2", "CP4", "P1", "Pz", "P2", "POz"),
)
_CORTEX = 0.80  # radius of the dipoles, as a share of the head's


class SimulatedDataset(BaseDataset):
    """A MOABB data set whose signals are made when asked for.

    Subclasses have ``_person(rng)``, what stays the same over the sessions of a subject, and
    ``_session(person, rng)``, the recording of one session.

    Parameters
    ----------
    settings : dict
        The parameters of the subclass, in order.  MOABB keys its caches by the code of a data set,
        so that others than the defaults are part of the code.
    defaults : tuple
        Their default values, in the same order.
    events : dict of str to int
        Classes.
    counts : dict of str to int
        Trials of each class in a session.
    interval : (float, float)
        Seconds after the event.
    paradigm : str
        MOABB's name.
    subjects, sessions : list or None
        Selection, as in every MOABB dataset.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        defaults: tuple[Any, ...],
        *,
        events: dict[str, int],
        counts: dict[str, int],
        interval: tuple[float, float],
        paradigm: str,
        subjects: list[int] | None,
        sessions: list[str] | None,
    ) -> None:
        self.sfreq = settings["sfreq"]
        self.seed = settings["seed"]
        self.counts = counts
        values = tuple(settings.values())
        suffix = "" if values == defaults else "-" + "-".join(_letters(v) for v in values)
        super().__init__(
            subjects=list(range(1, settings["n_subjects"] + 1)),
            sessions_per_subject=settings["n_sessions"],
            events=dict(events),
            code=type(self).__name__ + suffix,
            interval=list(interval),
            paradigm=paradigm,
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
            "trials": {"per": "session", "counts": dict(self.counts)},
        }

    def _get_single_subject_data(self, subject: int) -> dict[str, dict[str, mne.io.RawArray]]:
        person = self._person(np.random.default_rng([self.seed, subject]))
        return {
            str(session): {
                "0": self._session(person, np.random.default_rng([self.seed, subject, session + 1]))
            }
            for session in range(self.n_sessions)
        }

    def _person(self, rng: np.random.Generator) -> Any:
        raise NotImplementedError

    def _session(self, person: Any, rng: np.random.Generator) -> mne.io.RawArray:
        raise NotImplementedError


def check_counts(*counts: tuple[str, Any, int]) -> None:
    """Raise if a count is no whole number or too small.

    Parameters
    ----------
    *counts : (str, object, int)
        Name, value and least value of each.
    """
    for name, count, least in counts:
        if isinstance(count, bool) or int(count) != count or count < least:
            raise ValueError(f"{name}={count!r} must be a whole number of at least {least}")


def recording(
    signal: np.ndarray,
    channels: Sequence[str],
    sfreq: float,
    onsets: np.ndarray,
    codes: np.ndarray,
) -> mne.io.RawArray:
    """Signals in volts with the events on a stimulus channel.

    Parameters
    ----------
    signal : ndarray of shape (n_channels, n_times)
        Volts.
    channels : sequence of str
        Names of the electrodes.
    sfreq : float
        Sampling rate, Hz.
    onsets : ndarray of shape (n_events,)
        Seconds from the start.
    codes : ndarray of int, shape (n_events,)
        Event codes.

    Returns
    -------
    mne.io.RawArray
    """
    stimulus = np.zeros((1, signal.shape[1]))
    stimulus[0, np.round(onsets * sfreq).astype(int)] = codes
    kinds = ["eeg"] * len(channels) + ["stim"]
    info = mne.create_info([*channels, "STI"], sfreq, kinds, verbose="ERROR")
    raw = mne.io.RawArray(np.vstack([signal, stimulus]), info, verbose="ERROR")
    return raw.set_montage(_montage(), verbose="ERROR")


def directions(*names: str, channels: tuple[str, ...]) -> np.ndarray:
    """Unit vectors from the centre of the head to electrodes of the montage, (n, 3)."""
    _, sphere = _head(channels)
    info = mne.create_info(list(names), 128.0, "eeg", verbose="ERROR")
    info.set_montage(_montage(), verbose="ERROR")
    return unit(np.array([channel["loc"][:3] for channel in info["chs"]]) - sphere["r0"])


def leadfield(places: np.ndarray, moments: np.ndarray, channels: tuple[str, ...]) -> np.ndarray:
    """Potential at each electrode per unit moment of each dipole, (n_channels, n_dipoles).

    Parameters
    ----------
    places : ndarray of shape (n_dipoles, 3)
        Unit vectors from the centre of the head.
    moments : ndarray of shape (n_dipoles, 3)
        Orientations.
    channels : tuple of str
        Electrodes.
    """
    info, sphere = _head(channels)
    positions = sphere["r0"] + _CORTEX * sphere.radius * places
    sources = mne.setup_volume_source_space(pos={"rr": positions, "nn": moments}, verbose="ERROR")
    forward = mne.make_forward_solution(
        info, trans=None, src=sources, bem=sphere, meg=False, eeg=True, verbose="ERROR"
    )
    # Three columns a dipole, one for each axis.
    gains = forward["sol"]["data"].reshape(len(info["chs"]), len(places), 3)
    return np.einsum("cdk,dk->cd", gains, moments)


def rhythm(
    rng: np.random.Generator, n: int, n_times: int, sfreq: float, centre: float, width: float
) -> np.ndarray:
    """Gaussian narrow-band noise of unit variance, shape (n, n_times)."""
    return _coloured(rng, n, n_times, sfreq, lambda hz: np.exp(-0.5 * ((hz - centre) / width) ** 2))


def pink(rng: np.random.Generator, n: int, n_times: int, sfreq: float) -> np.ndarray:
    """Noise of unit variance whose power falls as 1/f above 0.5 Hz, shape (n, n_times)."""
    return _coloured(rng, n, n_times, sfreq, lambda hz: 1 / np.sqrt(np.maximum(hz, 0.5)))


def rotation(angles: np.ndarray) -> np.ndarray:
    """Rotation matrix of a vector of angles in radians."""
    return Rotation.from_rotvec(angles).as_matrix()


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length one."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def upper_cortex(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Random dipoles on the upper half of the cortex: places and moments, (n, 3) each."""
    places = unit(rng.standard_normal((n, 3)))
    places[:, 2] = np.abs(places[:, 2])
    return places, unit(rng.standard_normal((n, 3)))


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


@lru_cache(maxsize=4)
def _head(channels: tuple[str, ...]) -> tuple[mne.Info, mne.bem.ConductorModel]:
    info = mne.create_info(list(channels), 128.0, "eeg", verbose="ERROR")
    info.set_montage(_montage(), verbose="ERROR")
    # The sphere is that of the motor electrodes for all: a few occipital ones alone would be fitted
    # by a sphere at the back of the head.
    return info, _sphere()


@lru_cache(maxsize=1)
def _sphere() -> mne.bem.ConductorModel:
    info = mne.create_info(list(MOTOR_CHANNELS), 128.0, "eeg", verbose="ERROR")
    info.set_montage(_montage(), verbose="ERROR")
    return mne.make_sphere_model("auto", "auto", info, verbose="ERROR")


def _letters(value: Any) -> str:
    # Dataset codes may hold letters, digits and dashes only.
    return f"{value:g}".replace(".", "p").replace("+", "").replace("-", "m")
