"""Augmentation of training batches with braindecode's transforms, by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from hypeeg.eeg.training_spec import AUGMENTATIONS
from hypeeg.training.data import Augmentation

# Arguments that follow from the trials: what must be known for them, and how to tell.
_FROM_DATA = {
    "sfreq": ("sfreq", "set sfreq of the estimator"),
    "ordered_ch_names": ("ch_names", "set ch_names of the estimator"),
}
# These draw new trials from several, and so no longer know whose they are.
MIXING = ("SegmentationReconstruction",)


def check_augmentation(steps: Sequence[str | Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Check a list of transforms and write each as a dict.

    Parameters
    ----------
    steps : sequence of str or mapping
        Names of transforms of :mod:`braindecode.augmentation`, or mappings with ``name`` and their
        arguments.  `probability` is 0.5 where it is not given.

    Returns
    -------
    list of dict
        With ``name``, ``probability`` and the rest.

    Raises
    ------
    ValueError
        If a transform is unknown, or does not take an argument.
    """
    if isinstance(steps, str | Mapping) or not isinstance(steps, Sequence):
        raise ValueError(
            f"augmentation={steps!r} must be a list of names or dicts, such as "
            "['FTSurrogate', {'name': 'TimeReverse', 'probability': 0.3}]"
        )
    checked: list[dict[str, Any]] = []
    for i, step in enumerate(steps):
        where = f"augmentation[{i}]"
        entry: dict[str, Any] = {"name": step} if isinstance(step, str) else dict(step)
        name = str(entry.get("name"))
        if name not in AUGMENTATIONS:
            raise ValueError(
                f"{where} names {name!r}; known transforms: {', '.join(AUGMENTATIONS)}"
            )
        taken = _arguments(name)
        for key in entry:
            if key not in ("name", *taken) or key in ("random_state", *_FROM_DATA):
                allowed = [k for k in taken if k not in ("random_state", *_FROM_DATA)]
                raise ValueError(
                    f"{where} ({name}) holds {key!r}; it takes {', '.join(allowed)} here"
                )
        probability = entry.setdefault("probability", 0.5)
        if (
            isinstance(probability, bool)
            or not isinstance(probability, int | float)
            or not 0 <= probability <= 1
        ):
            raise ValueError(f"{where} ({name}): probability={probability!r} must be in [0, 1]")
        checked.append(entry)
    return checked


def make_augmentation(
    steps: Sequence[str | Mapping[str, Any]],
    *,
    sfreq: float | None,
    ch_names: Sequence[str] | None,
    seed: int,
    domains: bool = False,
) -> Augmentation:
    """Return a function that changes a batch of trials by one transform after another.

    Parameters
    ----------
    steps : sequence of str or mapping
        See :func:`check_augmentation`.
    sfreq : float or None
        Sampling rate in Hz, for transforms that work on frequencies.
    ch_names : sequence of str or None
        Channels, for transforms that use their positions.
    seed : int
        Each transform draws from a stream of its own that follows from this.
    domains : bool, default False
        Whether each trial comes with its domain, which a transform must not mix up.

    Returns
    -------
    callable
        ``(X, y) -> (X, y)`` with X of shape (n, n_channels, n_times).

    Raises
    ------
    ValueError
        If a transform cannot be made: unknown, or with an argument that it refuses, or without
        knowledge of the trials that it needs.
    """
    from braindecode import augmentation as library

    entries = check_augmentation(steps)
    seeds = np.random.SeedSequence(seed).generate_state(len(entries))
    transforms: list[Any] = []
    for i, (entry, own_seed) in enumerate(zip(entries, seeds, strict=True)):
        name = entry.pop("name")
        if domains and name in MIXING:
            raise ValueError(
                f"augmentation[{i}] ({name}) makes trials from those of several domains; leave it "
                "out, or set domain=None"
            )
        given = {"sfreq": sfreq, "ch_names": None if ch_names is None else list(ch_names)}
        for key in [key for key in _arguments(name) if key in _FROM_DATA]:
            source, remedy = _FROM_DATA[key]
            if given[source] is None:
                raise ValueError(f"augmentation[{i}] ({name}) needs {source}: {remedy}")
            entry[key] = given[source]
        if name.endswith("Rotation") and name.startswith("Sensors"):
            _check_positions(list(ch_names or ()), f"augmentation[{i}] ({name})")
        try:
            transforms.append(getattr(library, name)(**entry, random_state=int(own_seed)))
        except (AssertionError, TypeError, ValueError) as error:
            raise ValueError(f"augmentation[{i}] ({name}) cannot be made: {error}") from error

    def augment(X: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        for transform in transforms:
            X, y = transform(X, y)
        return X, y

    return augment


def _arguments(name: str) -> list[str]:
    from braindecode import augmentation as library

    return [p for p in inspect.signature(getattr(library, name)).parameters if p != "self"]


def _check_positions(ch_names: list[str], where: str) -> None:
    # braindecode passes over names that it does not find, and then fails in the first batch.
    import mne

    builtin = mne.channels.get_builtin_montages()
    name = "colin27_1020" if "colin27_1020" in builtin else "standard_1020"
    known = mne.channels.make_standard_montage(name).ch_names
    missing = [channel for channel in ch_names if channel not in known]
    if missing:
        raise ValueError(
            f"{where} needs the position of every channel, but {missing} are not names of the "
            "10-20 montage (case counts); rename them, or leave the transform out"
        )
