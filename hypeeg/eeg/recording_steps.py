"""Recording steps applied to continuous recordings with MNE's own functions.

Every function takes one :class:`mne.io.Raw`, returns another, and leaves the given one as it is:
nothing is learned from anything but that recording.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import mne
import numpy as np

from hypeeg.eeg.errors import DataError, one_line, suggest
from hypeeg.eeg.preprocessing_steps import (
    AsrStep,
    FilterStep,
    InterpolateStep,
    NotchStep,
    RecordingStep,
    ReferenceStep,
    ResampleStep,
)

logger = logging.getLogger(__name__)

# Interquartile range of a normal distribution, as a multiple of its standard deviation, inverted.
_IQR = 0.7413
# Least spread of the logarithm: channels within ten per cent of one another do not make an outlier
# of one that differs by twelve.
_LEAST_SPREAD = 0.1
# Seconds that artefact subspace reconstruction is calibrated on, at least.
_LEAST_CALIBRATION = 30
# Below this many channels a median over channels says little about which of them is odd.
_FEWEST_CHANNELS = 4


def apply_step(raw: Any, step: RecordingStep, montage: str | None = None) -> Any:
    """Apply one recording step.

    Parameters
    ----------
    raw : mne.io.Raw
        Recording; not changed.
    step : RecordingStep
        What to do.
    montage : str or None
        Montage of the recording's electrodes, where neither it nor the step names one.

    Returns
    -------
    mne.io.Raw

    Raises
    ------
    DataError
        If the step names a channel that is not there, finds no electrode positions, finds too many
        bad channels, loses events, or is ``asr`` on a recording of less than 30 s.
    ImportError
        If the step is ``asr`` and meegkit is not installed.
    """
    if isinstance(step, ReferenceStep):
        return rereference(raw, step.channels)
    raw = raw.copy().load_data(verbose="ERROR")
    if isinstance(step, FilterStep):
        return raw.filter(step.fmin, step.fmax, method=step.method, picks="eeg", verbose="ERROR")
    if isinstance(step, NotchStep):
        freqs = np.asarray(step.freqs, dtype=float)
        return raw.notch_filter(freqs, notch_widths=step.width, picks="eeg", verbose="ERROR")
    if isinstance(step, ResampleStep):
        return _resample(raw, step)
    if isinstance(step, AsrStep):
        return _reconstruct(raw, step)
    return _interpolate(raw, step, montage)


def rereference(raw: Any, reference: str | Sequence[str]) -> Any:
    """Re-reference to the average of all EEG channels or to the mean of named ones.

    Parameters
    ----------
    raw : mne.io.Raw
        Recording; not changed.
    reference : "average" or sequence of str
        New reference.

    Returns
    -------
    mne.io.Raw

    Raises
    ------
    DataError
        If a named channel is not there.
    """
    if not isinstance(reference, str):
        _check_names(raw, reference, "reference")
        reference = list(reference)
    referenced, _ = mne.set_eeg_reference(raw, reference, copy=True, projection=False)
    return referenced


def find_bad_channels(raw: Any, threshold: float = 5.0) -> list[str]:
    """Channels whose amplitude is far from the others', or that are constant.

    Parameters
    ----------
    raw : mne.io.Raw
        Recording, preloaded.
    threshold : float
        Robust standard deviations of the logarithm of the robust standard deviation; see
        :class:`~hypeeg.eeg.preprocessing_steps.InterpolateStep`.

    Returns
    -------
    list of str
        In the recording's order.

    Raises
    ------
    DataError
        If there are fewer than four channels that vary.
    """
    picks = mne.pick_types(raw.info, eeg=True, exclude=[])
    names = [raw.ch_names[pick] for pick in picks]
    quartiles = np.percentile(raw.get_data(picks=picks), [25, 75], axis=1)
    spread = _IQR * (quartiles[1] - quartiles[0])
    varies = spread > 1e-6 * np.median(spread)
    if varies.sum() < _FEWEST_CHANNELS:
        raise DataError(
            f"interpolate: bads='find' compares channels, but only {int(varies.sum())} of "
            f"{len(names)} vary; name the bad ones instead"
        )
    level = np.log(spread[varies])
    low, high = np.percentile(level, [25, 75])
    scale = max(_IQR * (high - low), _LEAST_SPREAD)
    odd = np.ones(len(names), dtype=bool)
    odd[varies] = np.abs(level - np.median(level)) > threshold * scale
    return [name for name, bad in zip(names, odd) if bad]


def _resample(raw: Any, step: ResampleStep) -> Any:
    before = _n_events(raw)
    raw = raw.resample(step.sfreq, verbose="ERROR")
    after = _n_events(raw)
    if before != after:
        raise DataError(
            f"resample: sfreq={step.sfreq} Hz leaves {after} of {before} events on the stimulus "
            "channel, which lie too close together; choose a higher rate, or 'resample' of the "
            "epochs"
        )
    return raw


def _n_events(raw: Any) -> int:
    if not mne.pick_types(raw.info, stim=True).size:
        return 0
    return len(mne.find_events(raw, shortest_event=0, verbose="ERROR"))


def _reconstruct(raw: Any, step: AsrStep) -> Any:
    try:
        from meegkit.asr import ASR  # type: ignore[import-not-found,import-untyped]
    except ImportError as error:
        raise ImportError(
            "step asr needs meegkit, which is not installed: pip install 'hypeeg[asr]'"
        ) from error
    sfreq = float(raw.info["sfreq"])
    if raw.n_times < _LEAST_CALIBRATION * sfreq:
        raise DataError(
            f"asr: the recording lasts {raw.n_times / sfreq:.1f} s, and calibration takes at least "
            f"{_LEAST_CALIBRATION} s; drop the step, or take 'ica'"
        )
    # Microvolts: the library's tolerances are absolute.
    X = 1e6 * raw.get_data(picks="eeg")
    asr = ASR(sfreq=sfreq, cutoff=step.cutoff)
    asr.fit(X if step.calibration is None else X[:, : int(step.calibration * sfreq)])
    length = max(round(step.window * sfreq), 1)
    # The last stretch takes what is left over: a shorter one has no covariance to speak of.
    edges = [*range(0, X.shape[1] - length + 1, length), X.shape[1]]
    parts = [asr.transform(X[:, start:stop]) for start, stop in pairwise(edges)]
    cleaned = 1e-6 * np.concatenate(parts, axis=1)
    return raw.apply_function(lambda _: cleaned, picks="eeg", channel_wise=False, verbose="ERROR")


def _interpolate(raw: Any, step: InterpolateStep, montage: str | None) -> Any:
    eeg = [raw.ch_names[pick] for pick in mne.pick_types(raw.info, eeg=True, exclude=[])]
    bads = [name for name in raw.info["bads"] if name in eeg]
    if step.bads == "find":
        bads += find_bad_channels(raw, step.threshold)
    elif isinstance(step.bads, list):
        _check_names(raw, step.bads, "bads")
        bads += step.bads
    bads = [name for name in eeg if name in set(bads)]
    if not bads:
        return raw
    if step.bads == "find" and len(bads) > step.max_share * len(eeg):
        raise DataError(
            f"interpolate: {len(bads)} of {len(eeg)} channels are bad ({', '.join(bads)}), more "
            f"than max_share={step.max_share}; raise threshold or max_share, or leave the "
            "recording out"
        )
    if len(bads) == len(eeg):
        raise DataError(
            f"interpolate: all {len(eeg)} channels are named bad; leave the subject out"
        )
    _place_electrodes(raw, eeg, step.montage or montage)
    logger.info("interpolated %s", ", ".join(bads))
    raw.info["bads"] = bads
    try:
        return raw.interpolate_bads(reset_bads=True, origin="auto", verbose="ERROR")
    except (ValueError, RuntimeError):
        # Too few electrodes to fit a head to: MNE's default sphere, as MOABB does.
        return raw.interpolate_bads(reset_bads=True, origin=(0, 0, 0.04), verbose="ERROR")


def _place_electrodes(raw: Any, names: Sequence[str], montage: str | None) -> None:
    """Give electrodes positions, if they have none."""
    if _unplaced(raw, names) and montage is not None:
        try:
            raw.set_montage(montage, match_case=False, on_missing="ignore", verbose="ERROR")
        except ValueError as error:
            raise DataError(f"interpolate: montage={montage!r}: {one_line(error)}") from error
    unplaced = _unplaced(raw, names)
    if unplaced:
        where = "no montage is named" if montage is None else f"montage {montage!r} lacks them"
        raise DataError(
            f"interpolate: electrodes {', '.join(unplaced)} have no position and {where}; set "
            "montage to one of MNE's (such as 'colin27_1005'), or drop the step"
        )


def _unplaced(raw: Any, names: Sequence[str]) -> list[str]:
    places = [raw.info["chs"][raw.ch_names.index(name)]["loc"][:3] for name in names]
    return [name for name, x in zip(names, places) if not np.isfinite(x).all() or not x.any()]


def _check_names(raw: Any, names: Sequence[str], field: str) -> None:
    for name in names:
        if name not in raw.ch_names:
            raise DataError(
                f"{field}: channel {name!r} is not in the recording; {suggest(name, raw.ch_names)}"
            )
