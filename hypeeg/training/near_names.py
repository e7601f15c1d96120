"""The nearest allowed name, for whoever mistyped one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near_name(name: object, allowed: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest allowed name, or an empty string.

    Parameters
    ----------
    name : object
        What was given.
    allowed : iterable of str
        What may be given; case does not count.
    """
    by_lower = {a.lower(): a for a in allowed}
    near = difflib.get_close_matches(str(name).lower(), list(by_lower), n=1, cutoff=0.5)
    return f" Did you mean {by_lower[near[0]]!r}?" if near else ""
