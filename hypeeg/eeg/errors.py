"""Errors of the EEG data floor: each names what was wrong, where, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class DataError(ValueError):
    """Recordings, or a request for recordings, that cannot be used as they are."""


class MissingDataError(DataError, FileNotFoundError):
    """A recording that is asked for is not on this machine."""


class CorruptDataError(DataError):
    """A recording is on this machine but damaged: truncated, changed, or holding NaN."""


class TooLargeError(DataError):
    """A request whose trials do not fit into memory; nothing was read."""


class ManifestError(DataError):
    """A data manifest is unknown or does not follow the schema."""


def suggest(value: str, valid: Iterable[str], *, shown: int = 12) -> str:
    """Closing half of a message about an unknown name: the nearest names, else the valid ones.

    Parameters
    ----------
    value : str
        What was given.
    valid : iterable of str
        What could have been given.
    shown : int
        How many valid names to list when none is near.
    """
    names = [str(name) for name in valid]
    lowered = {name.lower(): name for name in names}
    near = difflib.get_close_matches(str(value).lower(), lowered, n=3, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(repr(lowered[name]) for name in near) + "?"
    listed = ", ".join(names[:shown]) + (", …" if len(names) > shown else "")
    return f"valid: {listed}"


def one_line(error: BaseException) -> str:
    """An error's message on one line, at most 300 characters.

    Parameters
    ----------
    error : BaseException
        Any error.
    """
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:299] + "…"


def describe_validation(error: ValidationError) -> str:
    """One line for each problem that pydantic found: field, value, reason.

    Parameters
    ----------
    error : pydantic.ValidationError
        What validation raised.
    """
    lines = []
    for problem in error.errors():
        field = ".".join(str(part) for part in problem["loc"]) or "(whole file)"
        if problem["type"] == "extra_forbidden":
            lines.append(f"  {field}: unknown field; remove it or correct its spelling")
        elif problem["type"] == "missing":
            lines.append(f"  {field}: required, but absent")
        else:
            reason = problem["msg"].removeprefix("Value error, ")
            # A problem of a whole block names its fields itself; the block would only hide it.
            block = isinstance(problem["input"], dict)
            lines.append(
                f"  {field}: {reason}" if block else f"  {field} = {problem['input']!r}: {reason}"
            )
    return "\n".join(lines)
