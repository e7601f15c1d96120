"""Change single values of a run file by their path: ``training.max_epochs=5``."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from hypeeg.experiments.spec_errors import Problem, SpecError
from hypeeg.experiments.yaml_io import YamlError, parse_yaml


def with_overrides(data: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return a copy of the plain data of a run file with single values changed.

    Parameters
    ----------
    data : dict
        What the YAML file holds.
    overrides : sequence of str
        Each ``path.to.key=value``, the value in YAML.

    Returns
    -------
    dict
        Not checked yet: unknown keys are found when the model is built.

    Raises
    ------
    SpecError
        If an override has no ``=``, its value is not YAML, or its path leads through a plain
        value or past the end of a list.
    """
    result = copy.deepcopy(data)
    for override in overrides:
        path, equals, value = override.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise _override_error(override, "write it as path.to.key=value")
        try:
            parsed = parse_yaml(value)
        except YamlError as error:
            raise _override_error(override, f"the value is not valid YAML ({error})") from error
        try:
            set_value(result, path.strip(), parsed)
        except ValueError as error:
            raise _override_error(override, str(error)) from error
    return result


def set_value(data: dict[str, Any], path: str, value: Any) -> None:
    """Change one value of the plain data of a run file in place.

    Parameters
    ----------
    data : dict
        What the YAML file holds.
    path : str
        Keys and positions joined by dots; an item of a list of named things may be named.
    value : object
        What is put there.

    Raises
    ------
    ValueError
        If the path leads through a plain value or past the end of a list.
    """
    keys = path.split(".")
    holder: Any = data
    for key in keys[:-1]:
        holder = _step_into(holder, key)
    if isinstance(holder, list):
        holder[_index(holder, keys[-1])] = value
    elif isinstance(holder, dict):
        holder[keys[-1]] = value
    else:
        raise ValueError(f"{keys[-1]!r} is no key of the value {holder!r}")


def _step_into(holder: Any, key: str) -> Any:
    if isinstance(holder, list):
        return holder[_index(holder, key)]
    if not isinstance(holder, dict):
        raise ValueError(f"{key!r} is no key of the value {holder!r}")
    if holder.get(key) is None:
        # Sections may be left out of a file or be empty in it.
        holder[key] = {}
    return holder[key]


def _index(items: list[Any], key: str) -> int:
    names = [item.get("name") for item in items if isinstance(item, dict)]
    if key in names:
        return names.index(key)
    if key.isdigit() and int(key) < len(items):
        return int(key)
    known = f", or by name: {', '.join(map(str, names))}" if names else ""
    raise ValueError(f"the list has {len(items)} items, 0 to {len(items) - 1}{known}; got {key!r}")


def _override_error(override: str, message: str) -> SpecError:
    return SpecError([Problem(override, message)], "--set")
