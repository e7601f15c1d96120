"""Where the sensors of a data set lie, by the template that its manifest names."""

from __future__ import annotations

import numpy as np

from hypeeg.eeg.manifest import Manifest
from hypeeg.eeg.positions import DEFAULT_MONTAGE, SensorPositions, sensor_positions
from hypeeg_app.data_reading import read_templates
from hypeeg_app.datasets import all_manifests


def template_positions(manifest: Manifest) -> tuple[list[str], SensorPositions] | None:
    """Return the sensors a manifest names and where they lie; None if it names none.

    Raises
    ------
    ReadError
        If the templates cannot be read.
    """
    names = manifest.channels.names or manifest.channels.listed
    if not names:
        return None
    own = manifest.channels.montage
    # All that any manifest names at once: a process for each would make people wait again.
    known = {m.channels.montage for m in all_manifests()[0].values()} | {own, DEFAULT_MONTAGE}
    templates = read_templates(tuple(sorted(filter(None, known))))
    return names, sensor_positions(names, own, template_of=templates.get)


def not_placed(names: list[str] | tuple[str, ...], known: np.ndarray) -> str:
    """Return which sensors are left out of the picture, as a sentence."""
    lost = [name for name, there in zip(names, known, strict=True) if not there]
    if not lost:
        return ""
    more = f" and {len(lost) - 8} more" if len(lost) > 8 else ""
    return f" Without a known place: {', '.join(lost[:8])}{more}."
