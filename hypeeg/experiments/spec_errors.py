"""Turn what is wrong with a run file into sentences a person can act on."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from hypeeg.training.near_names import near_name as did_you_mean


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where (a path such as ``evaluation.kind``) and what."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class SpecError(ValueError):
    """A run file that cannot be used.

    Parameters
    ----------
    problems : sequence of Problem
        Everything that was found wrong.
    source : str
        Where the specification came from, for the first line of the message.
    """

    def __init__(self, problems: Sequence[Problem], source: str = "run specification") -> None:
        self.problems = list(problems)
        self.source = source
        count = len(self.problems)
        head = f"{source}: {count} problem{'s' if count != 1 else ''}"
        super().__init__("\n".join([head, *(f"  {p}" for p in self.problems)]))


def problems_of(error: ValidationError, model: type[BaseModel], data: Any) -> list[Problem]:
    """Describe each finding of pydantic in one sentence.

    Parameters
    ----------
    error : ValidationError
        What pydantic raised.
    model : type of BaseModel
        The model that was validated.
    data : object
        The plain data that was validated, for telling keys of the file from names of union
        branches in pydantic's locations.

    Returns
    -------
    list of Problem
        One a path; the branches of a union are joined by "or".
    """
    found: dict[str, list[str]] = {}
    for item in error.errors(include_url=False):
        location = _keys_of_file(item["loc"], data, item["type"] == "missing")
        path = ".".join(str(part) for part in location)
        # Branches of a union each report; the same sentence once is enough.
        messages = found.setdefault(path, [])
        message = _message(dict(item), model, location)
        if message not in messages:
            messages.append(message)
    return [Problem(path, "; or ".join(messages)) for path, messages in found.items()]


def _keys_of_file(
    location: tuple[int | str, ...], data: Any, missing: bool
) -> tuple[int | str, ...]:
    """Drop the parts of a pydantic location that name branches of a union.

    The last part may be a key that the file does not have, if `missing` says so.
    """
    kept: list[int | str] = []
    here = data
    for position, part in enumerate(location):
        last = missing and position == len(location) - 1
        if isinstance(here, dict) and (part in here or last):
            kept.append(part)
            here = here.get(part)
        elif isinstance(here, list | tuple) and isinstance(part, int) and part < len(here):
            kept.append(part)
            here = here[part]
    return tuple(kept)


def _message(item: dict[str, Any], model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    kind, value, context = item["type"], item.get("input"), item.get("ctx") or {}
    if kind == "extra_forbidden":
        key = str(location[-1])
        parent = _model_at(model, location[:-1])
        allowed = list(parent.model_fields) if parent else []
        return (
            f"unknown key (its value is {_show(value)}); allowed here: {', '.join(allowed)}."
            f"{did_you_mean(key, allowed)}"
        )
    if kind == "missing":
        about = _description(model, location)
        return f"this key is required and missing. It says: {about}" if about else "is required"
    if kind == "string_pattern_mismatch":
        return f"got {_show(value)}; allowed: {_description(model, location)}"
    if kind == "literal_error":
        expected = str(context.get("expected", ""))
        names = re.findall(r"'([^']*)'", expected)
        return f"got {_show(value)}; allowed: {expected}.{did_you_mean(value, names)}"
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", item["msg"]))
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return f"got {_show(value)}; give a mapping of keys to values"
    message = str(item["msg"]).replace("Input should be", "allowed:", 1)
    return f"got {_show(value)}; {message}"


def _show(value: Any, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _description(model: type[BaseModel], location: Sequence[int | str]) -> str:
    parent = _model_at(model, location[:-1])
    field = parent.model_fields.get(str(location[-1])) if parent else None
    return (field.description or "") if field is not None else ""


def _model_at(model: type[BaseModel], location: Sequence[int | str]) -> type[BaseModel] | None:
    """Return the pydantic model that describes the mapping at `location`."""
    here: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        if typing.get_origin(here) is dict:  # any key; what it holds is described once
            here = typing.get_args(here)[1]
            continue
        holder = _find_model(here)
        if holder is None or part not in holder.model_fields:
            return None
        here = holder.model_fields[part].annotation
    return None if typing.get_origin(here) is dict else _find_model(here)


def _find_model(annotation: Any) -> type[BaseModel] | None:
    """Return the model inside an annotation such as ``list[Model] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
        for argument in typing.get_args(annotation):
            model = _find_model(argument)
            if model is not None:
                return model
    return None
