"""The run file that the Launch page holds: its text, what it means, and what is wrong with it.

The text is the truth.  As long as nobody changes a value in the form it stays as it was given, to
the last comment; a change in the form writes it anew.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import yaml

from hypeeg.eeg.errors import DataError
from hypeeg.experiments.base_spec import BaseRunSpec
from hypeeg.experiments.kinds import DEFAULT_KIND, KINDS, run_spec_from_data
from hypeeg.experiments.spec_errors import Problem, SpecError
from hypeeg.experiments.yaml_io import format_yaml, parse_yaml

MAX_BYTES = 200_000
MAX_VALUES = 20_000

Path = tuple[str | int, ...]
"""Keys and positions that lead to a value: ``("pipelines", 0, "model")``."""


@dataclass(frozen=True)
class Draft:
    """A run file that may not be finished.

    Attributes
    ----------
    text : str
        YAML.
    data : dict or None
        What it holds; None if it cannot be read.
    spec : BaseRunSpec or None
        What it means; None if anything is wrong with it.
    problems : tuple of Problem
        What is wrong with it.
    """

    text: str
    data: dict[str, Any] | None
    spec: BaseRunSpec | None
    problems: tuple[Problem, ...] = ()

    @property
    def kind(self) -> str:
        """Kind of the run, ``eeg`` where the file does not say."""
        kind = (self.data or {}).get("kind", DEFAULT_KIND)
        return kind if isinstance(kind, str) and kind in KINDS else DEFAULT_KIND

    @property
    def name(self) -> str:
        """Name of the run as given, which may be none that is allowed."""
        return str((self.data or {}).get("name") or "")

    def get(self, path: Path, default: Any = None) -> Any:
        """Return the value at a path, `default` where the file has none."""
        here: Any = self.data
        for part in path:
            try:
                here = here[part]
            except (KeyError, IndexError, TypeError):
                return default
        return here

    def has(self, path: Path) -> bool:
        """Whether the file gives the value at a path."""
        missing = object()
        return self.get(path, missing) is not missing

    def with_value(self, path: Path, value: Any) -> Draft:
        """Return the draft with a value set; sections on the way are made."""
        data = _copy(self.data or {})
        here = data
        for part, following in itertools.pairwise(path):
            if isinstance(part, str) and not isinstance(here.get(part), dict | list):
                here[part] = [] if isinstance(following, int) else {}
            here = here[part]
        here[path[-1]] = value
        return of_data(data)

    def without(self, path: Path) -> Draft:
        """Return the draft with a value removed."""
        if not self.has(path):
            return self
        data = _copy(self.data or {})
        here: Any = data
        for part in path[:-1]:
            here = here[part]
        del here[path[-1]]
        return of_data(data)


def of_text(text: str) -> Draft:
    """Read a run file that anybody may have written.

    Parameters
    ----------
    text : str
        YAML.

    Returns
    -------
    Draft
        Whatever is wrong with it is among its problems.
    """
    try:
        data = read_value(text)
    except ValueError as error:
        kept = text if len(text) <= MAX_BYTES else ""
        return Draft(kept, None, None, (Problem("", str(error)),))
    if not isinstance(data, dict):
        found = "nothing" if data is None else f"a {type(data).__name__}"
        problem = f"a run file is a mapping of keys to values, found {found}"
        return Draft(text, None, None, (Problem("", problem),))
    return _checked(text, data)


def read_value(text: str) -> Any:
    """Read YAML that anybody may have written.

    Raises
    ------
    ValueError
        If it is no YAML, or too much of it.
    """
    if len(text.encode("utf-8", errors="replace")) > MAX_BYTES:
        raise ValueError(f"is longer than {MAX_BYTES // 1000} kB; run files are far shorter")
    try:
        _check_size(text)
        return parse_yaml(text)
    except RecursionError as error:
        raise ValueError("is nested too deeply; flatten it") from error
    except ValueError as error:
        raise ValueError(f"is not valid YAML: {error}") from error


def of_data(data: dict[str, Any]) -> Draft:
    """Return the draft of plain data."""
    return _checked(format_yaml(data), data)


def of_bytes(content: bytes) -> Draft:
    """Read an uploaded run file; see :func:`of_text`."""
    if len(content) > MAX_BYTES:
        return of_text("x" * (MAX_BYTES + 1))
    try:
        return of_text(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return Draft("", None, None, (Problem("", f"is no text in UTF-8: {error.reason}"),))


def _checked(text: str, data: dict[str, Any]) -> Draft:
    try:
        spec = run_spec_from_data(data)
        spec.resolve()
    except SpecError as error:
        return Draft(text, data, None, tuple(error.problems))
    except DataError as error:
        return Draft(text, data, None, (Problem("dataset", str(error)),))
    return Draft(text, data, spec)


def _check_size(text: str) -> None:
    """Refuse a few lines of aliases that stand for millions of values, before they are built."""
    try:
        found = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return  # reading it says better what is wrong
    if found is not None and _size(found, {}) > MAX_VALUES:
        raise ValueError(f"it holds more than {MAX_VALUES} values, aliases written out")


def _size(node: yaml.Node, known: dict[int, float]) -> float:
    if id(node) not in known:
        known[id(node)] = float("inf")  # what holds itself has no end
        children: list[Any] = []
        if isinstance(node, yaml.MappingNode):
            children = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        known[id(node)] = 1 + sum(_size(child, known) for child in children)
    return known[id(node)]


def _copy(value: Any) -> Any:
    """Copy plain data; what aliases share becomes separate, so that one change is one change."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
