"""The kinds of run files, and reading one whatever its kind."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypeeg.experiments.base_spec import BaseRunSpec, plain_data, read_text
from hypeeg.experiments.spec_errors import Problem, SpecError, did_you_mean

KINDS = {
    "eeg": "hypeeg.experiments.spec:RunSpec",
    "vision": "hypeeg.experiments.vision_spec:VisionRunSpec",
    "hierarchy": "hypeeg.experiments.hierarchy_spec:HierarchyRunSpec",
}
"""Where the run files of each ``kind`` are described; a file that names none is eeg."""

DEFAULT_KIND = "eeg"


def spec_class(kind: str) -> type[BaseRunSpec]:
    """Return the class of the run files of a kind.

    Parameters
    ----------
    kind : str
        A key of :data:`KINDS`.

    Raises
    ------
    KeyError
        For any other.
    """
    module, _, name = KINDS[kind].partition(":")
    found: type[BaseRunSpec] = getattr(importlib.import_module(module), name)
    return found


def run_spec_from_data(data: Any, source: str = "run specification") -> BaseRunSpec:
    """Build the spec of a run of any kind from plain data.

    Parameters
    ----------
    data : object
        What a YAML file holds.
    source : str
        Where it came from, for error messages.

    Returns
    -------
    BaseRunSpec
        Of the class that ``kind`` names.

    Raises
    ------
    SpecError
        If anything is wrong with it, naming every problem.
    """
    kind = data.get("kind", DEFAULT_KIND) if isinstance(data, dict) else DEFAULT_KIND
    if not isinstance(kind, str) or kind not in KINDS:
        allowed = ", ".join(KINDS)
        message = f"got {kind!r}; allowed: {allowed}.{did_you_mean(kind, KINDS)}"
        raise SpecError([Problem("kind", message)], source)
    return spec_class(kind).from_data(data, source)


def read_run_spec(
    given: str | Path, overrides: Sequence[str] = (), source: str | None = None
) -> BaseRunSpec:
    """Read a run file of any kind.

    Parameters
    ----------
    given : str or Path
        A file, or the text of one: a `Path`, or a string of one line that ends in ``.yaml`` or
        ``.yml``, is a file.
    overrides : sequence of str
        Changes ``path.to.key=value`` made before the file is checked.
    source : str, optional
        Where it came from, for error messages; by default the path.

    Returns
    -------
    BaseRunSpec
        Of the class that ``kind`` names; :class:`hypeeg.experiments.spec.RunSpec` without one.

    Raises
    ------
    SpecError
        If it cannot be read or is wrong, naming every problem.
    """
    is_path = isinstance(given, Path) or (
        "\n" not in given.strip() and given.strip().lower().endswith((".yaml", ".yml"))
    )
    named = source or (str(given) if is_path else "run specification")
    text = read_text(given) if is_path else str(given)
    return run_spec_from_data(plain_data(text, named, overrides), named)
