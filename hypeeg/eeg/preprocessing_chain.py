"""What a list of steps means as a whole: their order, their rates, the short form's fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypeeg.eeg.errors import suggest
from hypeeg.eeg.preprocessing_steps import (
    STEP_NAMES,
    FilterStep,
    NotchStep,
    ResampleStep,
    StepBase,
)

# The chain's own fields: a list with an epoch step decides them.
_WHOLE = ("fmin", "fmax", "reference", "tmin", "tmax", "channels", "baseline", "resample")


def implied_fields(steps: Any) -> dict[str, Any]:
    """Fields of the short form that a list of steps decides.

    Parameters
    ----------
    steps : object
        Steps, validated or as they were read; whatever is no list of steps implies nothing (and
        fails at validation).

    Returns
    -------
    dict
        Field names and values.
    """
    given = [s if isinstance(s, dict) else s.model_dump() for s in _listed(steps)]
    fields: dict[str, Any] = {}
    epochs = [step for step in given if step.get("step") == "epoch"]
    if epochs:
        fields = {name: epochs[0].get(name) for name in _WHOLE}
        fields |= {"tmin": epochs[0].get("tmin", 0.0), "standardise": "none"}
    for step in given:
        if step.get("step") == "standardise":
            fields["standardise"] = step.get("mode", "channel")
    return fields


def check_names(steps: Any) -> None:
    """Check that each item of a list names a step that exists.

    Parameters
    ----------
    steps : object
        As it was read; what is no list of mappings is left to validation.

    Raises
    ------
    ValueError
        Naming the item and the nearest steps.
    """
    for position, step in enumerate(steps if isinstance(steps, list | tuple) else []):
        if isinstance(step, dict) and step.get("step") not in STEP_NAMES:
            given = step.get("step")
            said = f"names no step {given!r}" if "step" in step else "lacks the key 'step'"
            raise ValueError(
                f"steps.{position} {said}: {suggest(str(given or ''), STEP_NAMES, shown=20)}"
            )


def check_order(steps: Sequence[StepBase]) -> None:
    """Check that steps stand where they can be done.

    Parameters
    ----------
    steps : sequence of Step
        The list.

    Raises
    ------
    ValueError
        Naming the step, its position and the remedy.
    """
    rank = {"recording": 0, "epoch": 1, "trials": 2}
    for position in range(1, len(steps)):
        before, here = steps[position - 1], steps[position]
        if rank[here.place] < rank[before.place]:
            work = "works on the recording" if here.place == "recording" else "cuts the trials"
            raise ValueError(
                f"step {position} ({_name(here)}) {work}, but step {position - 1} "
                f"({_name(before)}) already works on trials or cuts them; move {_name(here)} before"
                f" it{_instead(here)}"
            )
        if _name(before) == "standardise":
            raise ValueError(
                f"step {position} ({_name(here)}) comes after standardise, which is the last step "
                "of every pipeline; move it before standardise"
            )
    for name in ("epoch", "resample", "standardise"):
        if [_name(step) for step in steps].count(name) > 1:
            raise ValueError(f"step {name} is given more than once; keep one")


def check_rates(steps: Sequence[StepBase], sfreq: float | None, source: str) -> float | None:
    """Check bands and notches against the rate that the recording has at that step.

    Parameters
    ----------
    steps : sequence of Step
        The list.
    sfreq : float or None
        Sampling rate of the recording, Hz; None checks what follows a resampling only.
    source : str
        Name of the recording, for the message.

    Returns
    -------
    float or None
        Rate after the last step.

    Raises
    ------
    ValueError
        If a frequency is not below half the rate.
    """
    why = f"half the sampling rate of {source} ({sfreq} Hz); lower it or leave it out"
    for position, step in enumerate(steps):
        if isinstance(step, ResampleStep):
            sfreq = step.sfreq
            why = (
                f"half of the {sfreq} Hz that step {position} resamples to; lower it, or put the "
                "step before the resampling"
            )
            continue
        if sfreq is None:
            continue
        wanted: list[tuple[str, float | None]] = []
        if isinstance(step, FilterStep):
            wanted = [("fmin", step.fmin), ("fmax", step.fmax)]
        elif isinstance(step, NotchStep):
            wanted = [("freqs", freq) for freq in step.freqs]
        for name, value in wanted:
            if value is not None and value >= sfreq / 2:
                raise ValueError(
                    f"step {position} ({_name(step)}): {name}={value} Hz must be below "
                    f"{sfreq / 2} Hz, {why}"
                )
    return sfreq


def _instead(step: StepBase) -> str:
    if isinstance(step, ResampleStep):
        return ", or use 'resample' of the epoch step, which acts on epochs"
    return ""


def _name(step: StepBase) -> str:
    return str(getattr(step, "step", "?"))


def _listed(steps: Any) -> list[Any]:
    if not isinstance(steps, list | tuple):
        return []
    return [step for step in steps if isinstance(step, dict | StepBase)]
