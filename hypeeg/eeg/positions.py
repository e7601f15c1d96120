"""Where EEG sensors lie on the head, flattened into a plane for pictures.

Names are looked up in MNE's template montages; sensors that a template does not know are placed
by the positions that the recording carries.  ``python -m hypeeg.eeg.positions MONTAGE ...`` writes
templates as JSON, for a process that does without MNE.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

DEFAULT_MONTAGE = "standard_1005"
Template = Mapping[str, Sequence[float]]
"""Place of each sensor in the plane, by its name in lower case."""

# Sensors of the line around the head from Fpz over the ears to Oz: the rim of the picture.
_RIM = ("Fpz", "T7", "T8", "Oz")
# Fewer sensors than this, often of one region, do not say where the middle of the head is.
_ENOUGH_FOR_SPHERE = 16


@dataclass(frozen=True, eq=False)
class SensorPositions:
    """Sensors in the plane, seen from above, nose up.

    Parameters
    ----------
    points : ndarray of float64, shape (n_sensors, 2)
        Azimuthal equidistant projection: the vertex is at 0, the line Fpz-T7-Oz-T8 near the unit
        circle. NaN where the position is not known.
    source : str
        Where the positions come from, for people.
    """

    points: np.ndarray
    source: str

    @property
    def known(self) -> np.ndarray:
        """Which sensors have a position, shape (n_sensors,), bool."""
        known: np.ndarray = np.isfinite(self.points).all(axis=1)
        return known


def sensor_positions(
    names: Sequence[str],
    montage: str | None = None,
    recorded: np.ndarray | None = None,
    template_of: Callable[[str], Template | None] | None = None,
) -> SensorPositions:
    """Find sensors in a template montage, or place them as a recording says.

    Parameters
    ----------
    names : sequence of str
        Sensor names; case does not matter.
    montage : str or None
        Name of a montage of MNE. None, or a word that MNE does not know, takes the standard 10-05
        system, which holds the 10-20 and 10-10 systems.
    recorded : ndarray, shape (n_sensors, 3) or None
        Positions in the recording; NaN or zero where it has none. Used if they are more than the
        template knows.
    template_of : callable, optional
        What to look montages up with, :func:`read_template` by default, which loads MNE.

    Returns
    -------
    SensorPositions
    """
    look_up = template_of or read_template
    template = look_up(montage) if montage else None
    known_montage = montage if template is not None else None
    template = template or look_up(DEFAULT_MONTAGE) or {}
    points = np.full((len(names), 2), np.nan)
    for row, name in enumerate(names):
        points[row] = template.get(name.strip().lower().rstrip("."), (np.nan, np.nan))
    found = int(np.isfinite(points[:, 0]).sum())
    if recorded is not None:
        given = np.isfinite(recorded).all(axis=1) & (np.abs(recorded) > 0).any(axis=1)
        if int(given.sum()) > found:
            own = np.full((len(names), 2), np.nan)
            own[given] = head_plane(recorded[given], _middle(recorded[given]))
            return SensorPositions(own, "positions stored in the recording")
    system = known_montage or "standard 10-05 system"
    source = f"template positions of {system}"
    if known_montage is None:
        source += f" (the data set says {montage!r})" if montage else " (the data set names none)"
    return SensorPositions(points, source)


def head_plane(positions: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Flatten positions on a head by the azimuthal equidistant projection.

    Parameters
    ----------
    positions : ndarray, shape (n_sensors, 3)
        x to the right, y to the front, z up; any unit.
    middle : ndarray, shape (3,)
        Centre of the head in the same coordinates.

    Returns
    -------
    ndarray of float64, shape (n_sensors, 2)
        The angle from the vertex, in quarter turns, is the distance from 0.
    """
    ray = np.asarray(positions, dtype=float) - middle
    level = np.hypot(ray[:, 0], ray[:, 1])
    angle = np.arctan2(level, ray[:, 2]) / (np.pi / 2)
    scale = np.divide(angle, level, out=np.zeros_like(level), where=level > 0)
    return ray[:, :2] * scale[:, None]


def _middle(positions: np.ndarray) -> np.ndarray:
    """Centre of the sphere nearest to the positions (least squares); 0 for few of them."""
    if len(positions) < _ENOUGH_FOR_SPHERE:
        return np.zeros(3)
    # |p|^2 = 2 p.m + (r^2 - |m|^2) is linear in the unknowns.
    system = np.column_stack([2 * positions, np.ones(len(positions))])
    solution, *_ = np.linalg.lstsq(system, np.sum(positions**2, axis=1), rcond=None)
    middle: np.ndarray = solution[:3]
    return middle


@lru_cache(maxsize=32)
def read_template(montage: str) -> Template | None:
    """Return where the sensors of a montage lie in the plane.

    Parameters
    ----------
    montage : str
        Name of a montage of MNE.

    Returns
    -------
    mapping or None
        None if MNE has no montage of this name.
    """
    import mne

    with mne.use_log_level("ERROR"), warnings.catch_warnings():
        # MNE 1.13 renames its standard montages; both names read the same file.
        warnings.filterwarnings("ignore", message="Montage name 'standard_", category=FutureWarning)
        try:
            made = mne.channels.make_standard_montage(montage)
        except ValueError:  # a word of a catalogue, such as "custom"
            return None
    found = made.get_positions()["ch_pos"]
    points = np.array([found[name] for name in found], dtype=float)
    plane = head_plane(points, _middle(points))
    rim = [row for row, name in enumerate(found) if name in _RIM]
    if rim:
        plane = plane / np.linalg.norm(plane[rim], axis=1).mean()
    return {name.lower(): (float(x), float(y)) for name, (x, y) in zip(found, plane)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the templates of montages as JSON: name to sensors, null for an unknown one.

    Parameters
    ----------
    arguments : sequence of str or None
        Command line; None takes the process's.
    """
    parser = argparse.ArgumentParser(prog="python -m hypeeg.eeg.positions", description=__doc__)
    parser.add_argument("montages", nargs="+")
    given = parser.parse_args(arguments)
    json.dump({name: read_template(name) for name in given.montages}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
