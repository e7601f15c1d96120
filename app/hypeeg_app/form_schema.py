"""What a form shows for a field of a run file, read from the pydantic model that checks it."""

from __future__ import annotations

import functools
import math
import types
import typing
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hypeeg.experiments.docstrings import field_description
from hypeeg.experiments.yaml_io import format_yaml

Shape = Literal[
    "flag", "choice", "whole", "number", "text", "numbers", "words", "section", "sections", "yaml"
]
_WORDS = {"n": "number of", "lr": "learning rate", "perms": "permutations", "fmin": "lowest Hz"}
_WORDS |= {"fmax": "highest Hz", "tmin": "from (s)", "tmax": "to (s)", "c": "curvature c"}
_WORDS |= {"gpus": "GPUs", "optimizer": "optimiser"}


@dataclass(frozen=True)
class Entry:
    """One field of a run file.

    Attributes
    ----------
    name : str
        Its key.
    shape : str
        What kind of input fits; ``"yaml"`` where a value has no simpler one.
    label, about : str
        A few words, and what it means with limits.
    choices : tuple of str
        Allowed values of a choice.
    default : object
        Value where a file gives none, None if there is none.
    optional : bool
        Whether "nothing" is a value of it.
    required : bool
        Whether every file has to give it.
    section : type of BaseModel or None
        What a section, or each item of sections, holds.
    step : float
        By how much a number changes at a click.
    """

    name: str
    shape: Shape
    label: str
    about: str
    choices: tuple[str, ...] = ()
    default: Any = None
    optional: bool = False
    required: bool = False
    section: type[BaseModel] | None = None
    step: float = 1.0


@functools.cache
def entries(model: type[BaseModel]) -> dict[str, Entry]:
    """Return the fields of a section of a run file, by key.

    Parameters
    ----------
    model : type of BaseModel
        The section.
    """
    return {name: _entry(model, name, field) for name, field in model.model_fields.items()}


def shown(value: Any) -> str:
    """Write a value as it would stand in a run file, on one line if it fits."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return format_yaml(value).removesuffix("\n").removesuffix("\n...")


def listing(values: list[int]) -> str:
    """Write whole numbers with runs of them as ranges: ``1-5, 8``."""
    parts: list[str] = []
    start = 0
    for i in range(1, len(values) + 1):
        if i == len(values) or values[i] != values[i - 1] + 1:
            first, last = values[start], values[i - 1]
            far = i - start > 2
            parts += [f"{first}-{last}"] if far else [str(v) for v in values[start:i]]
            start = i
    return ", ".join(parts)


def placeholder_of(default: Any) -> str:
    """Write the value that holds where nothing is given, as an empty field shows it."""
    if default is None or default == [] or default == {}:
        return ""
    if isinstance(default, list) and all(type(item) is int for item in default):
        return listing(default)
    if isinstance(default, list) and all(type(item) is str for item in default):
        return ", ".join(default)
    if isinstance(default, bool):
        return "yes" if default else "no"
    return f"{default:g}" if isinstance(default, float) else shown(default)


def numbers(text: str, most: int = 10_000) -> list[int]:
    """Read whole numbers and ranges of them.

    Raises
    ------
    ValueError
        If it holds anything else; the message says how to write them.
    """
    found: list[int] = []
    for part in text.strip().strip("[]").replace(",", " ").replace(";", " ").split():
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and (last.isdecimal() if dash else True)):
            raise ValueError(f"got {part!r}; write numbers and ranges such as 1-5, 8")
        if int(last or first) - int(first) >= most - len(found):
            raise ValueError(f"{part!r} makes more than {most} numbers; write a shorter range")
        found += range(int(first), int(last or first) + 1)
    return found


def _entry(model: type[BaseModel], name: str, field: FieldInfo) -> Entry:
    annotation, optional = _without_none(field.annotation)
    shape, choices, section = _shape(annotation)
    default = None
    if not field.is_required():
        default = field.get_default(call_default_factory=True, validated_data={})
        default = default.model_dump(mode="json") if isinstance(default, BaseModel) else default
    return Entry(
        name,
        shape,
        _label(name),
        _about(model, name, field, default if shape not in ("section", "sections") else None),
        choices,
        default,
        optional,
        field.is_required(),
        section,
        _step(default),
    )


def _shape(annotation: Any) -> tuple[Shape, tuple[str, ...], type[BaseModel] | None]:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _shape(inner[0])
    if origin is Literal and all(isinstance(value, str) for value in inner):
        return "choice", inner, None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section", (), annotation
    plain: dict[Any, Shape] = {bool: "flag", int: "whole", float: "number", str: "text"}
    if annotation in plain:
        return plain[annotation], (), None
    if origin is list:
        item, _, held = _shape(inner[0])
        of_list: dict[str, Shape] = {"whole": "numbers", "text": "words", "section": "sections"}
        if item in of_list:
            return of_list[item], (), held
    return "yaml", (), None


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        parts = typing.get_args(annotation)
        others = tuple(part for part in parts if part is not type(None))
        if len(others) < len(parts):
            return (others[0] if len(others) == 1 else typing.Union[others]), True  # noqa: UP007
    return annotation, False


def _label(name: str) -> str:
    words = [_WORDS.get(word, word) for word in name.split("_")]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def _about(model: type[BaseModel], name: str, field: FieldInfo, default: Any) -> str:
    text = field_description(model, name)
    if text.split(" ")[0].isalpha():
        text = text[:1].upper() + text[1:]
    text += "." if text and not text.endswith(".") else ""
    words = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}
    limits = [
        words[kind].format(f"{getattr(item, kind):g}")
        for item in field.metadata
        for kind in words
        if getattr(item, kind, None) is not None
    ]
    if limits:
        both = " and ".join(limits)
        text += f" {both[:1].upper()}{both[1:]}."
    if default not in (None, "", [], {}):
        text += f" Default: {shown(default)}."
    return text.strip()


def _step(default: Any) -> float:
    """Return a tenth of the size of a number, rounded to a power of ten."""
    if not isinstance(default, int | float) or isinstance(default, bool) or default <= 0:
        return 1.0
    return float(10.0 ** math.floor(math.log10(0.999 * default)))
