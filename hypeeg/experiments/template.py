"""A run file to start from: every key with its default, and what it means as a comment.

It is made from the schema, so that it cannot say anything else than what is checked.
"""

from __future__ import annotations

import re
import textwrap
import types
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hypeeg.experiments.base_spec import AT_THE_END, plain_data, read_text
from hypeeg.experiments.docstrings import field_description
from hypeeg.experiments.kinds import DEFAULT_KIND, KINDS, run_spec_from_data, spec_class
from hypeeg.experiments.library import find_spec, list_specs
from hypeeg.experiments.spec_errors import Problem, SpecError, did_you_mean
from hypeeg.experiments.yaml_io import format_yaml

_WIDTH = 98
# A classical pipeline that suits what people did in the recordings.
_CLASSICAL = {"p300": ("Xdawn+TS+LR", "xdawn_ts_lr")}
# Sections of which a file gives only what differs from what the data's manifest recommends.
_RECOMMENDED = ("preprocessing",)


def template(
    kind: str = DEFAULT_KIND,
    *,
    name: str = "mine",
    dataset: str | None = None,
    schema: str | None = None,
) -> str:
    """Write a run file with every key.

    Parameters
    ----------
    kind : str
        ``eeg``, ``vision`` or ``hierarchy``.
    name : str
        Name of the run; what a name may not hold becomes ``-``.
    dataset : str, optional
        Name of the data; by default simulated ones that need no download.
    schema : str, optional
        JSON Schema file that editors shall check it by.

    Returns
    -------
    str
        YAML.  Keys that are left open are comments; removing ``#`` gives them.

    Raises
    ------
    SpecError
        If there is no such kind or data set.
    """
    if kind not in KINDS:
        message = f"got {kind!r}; allowed: {', '.join(KINDS)}.{did_you_mean(kind, KINDS)}"
        raise SpecError([Problem("--kind", message)], "hypeeg init")
    data = _starter(kind, dataset)
    data["name"] = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:100] or "mine"
    meant = run_spec_from_data(data, "hypeeg init")
    lines = [] if schema is None else [f"# yaml-language-server: $schema={schema}"]
    lines += [
        f"# A run file of hypeeg: 'hypeeg run {data['name']}.yaml --dry-run' checks it.",
        "# Every key is here with its default. What stands behind '#' is left open; remove the '#'",
        "# to give it. Whatever is left out has the default that is shown.",
    ]
    recommended = _recommended(meant)
    model = spec_class(kind)
    for field in sorted(model.model_fields, key=lambda key: key in AT_THE_END):
        lines += ["", *_entry(model, field, data, 0, recommended.get(field))]
    text = "\n".join(lines) + "\n"
    # Whatever changes in the schema, what is written here must mean what it was made from.
    if run_spec_from_data(plain_data(text, "hypeeg init"), "hypeeg init") != meant:
        raise SpecError([Problem("", "the template does not mean what it shows")], "hypeeg init")
    return text


def _starter(kind: str, dataset: str | None) -> dict[str, Any]:
    """Return the values that have no default, of a small run that works at once."""
    if kind != "eeg":
        shipped = next(
            n
            for n in list_specs()
            if n in ("vision_shapes", "hierarchy_tree") and n.startswith(kind)
        )
        path = find_spec(shipped)
        data: dict[str, Any] = plain_data(read_text(path), str(path))
        data.pop("description", None)
        if dataset is not None:
            data["dataset"] = {"name": dataset}
        return data
    from hypeeg.eeg.errors import DataError
    from hypeeg.eeg.manifest import load_manifest

    name = dataset or "SimulatedMI"
    try:
        paradigm = load_manifest(name).paradigm
    except DataError as error:
        raise SpecError([Problem("--dataset", str(error))], "hypeeg init") from error
    label, model = _CLASSICAL.get(paradigm, ("TS+LR", "ts_lr"))
    return {
        "dataset": {"name": name},
        "pipelines": [
            {"name": "HyperbolicEEGNet", "model": "HyperbolicEEGNet"},
            {"name": "EEGNet", "model": "EEGNet", "twin_of": "HyperbolicEEGNet"},
            {"name": label, "model": model},
        ],
    }


def _recommended(meant: Any) -> dict[str, Mapping[str, Any]]:
    """Return what the manifest recommends, section by section."""
    resolved = meant.resolve()
    found = {}
    for section in _RECOMMENDED:
        if hasattr(resolved, section):
            found[section] = getattr(resolved, section).model_dump(mode="json")
    return found


def _entry(
    model: type[BaseModel],
    name: str,
    data: Mapping[str, Any],
    depth: int,
    recommended: Mapping[str, Any] | None = None,
) -> list[str]:
    """Return the lines of one key: what it means, then its value."""
    field = model.model_fields[name]
    indent = "  " * depth
    lines = _comment(_about(model, name, field), indent)
    inner = _section(field.annotation)
    given = data.get(name)
    if inner is not None and recommended is not None:
        lines += _comment("What the data set's manifest recommends:", indent)
        return [*lines, *_shown(inner, recommended, indent)]
    if inner is not None and (given is not None or not _is_optional(field)):
        return [*lines, f"{indent}{name}:", *_fields(inner, given or {}, depth + 1)]
    items = _items(field.annotation)
    if items is not None and isinstance(given, list) and given:
        lines.append(f"{indent}{name}:")
        for number, item in enumerate(given):
            block = _fields(items, item, depth + 2) if number == 0 else _plain(item, depth + 2)
            lines += _bulleted(block, depth + 1)
        return lines
    value = given if name in data else _default(field)
    text = _value({name: value}, indent)
    if value is None:
        return [*lines, *(f"{indent}# {line[len(indent) :]}" for line in text)]
    return [*lines, *text]


def _fields(model: type[BaseModel], data: Mapping[str, Any], depth: int) -> list[str]:
    return [line for name in model.model_fields for line in _entry(model, name, data, depth)]


def _shown(model: type[BaseModel], values: Mapping[str, Any], indent: str) -> list[str]:
    """Return a section as comments alone: what is recommended is not given."""
    lines = [f"{indent}# {_name_of(model)}:"]
    for name in model.model_fields:
        lines += [f"{line}" for line in _comment(field_description(model, name), f"{indent}#   ")]
        lines += [f"{indent}#   {line}" for line in _value({name: values[name]}, "")]
    return lines


def _name_of(model: type[BaseModel]) -> str:
    return model.__name__.removesuffix("Spec").lower()


def _bulleted(block: list[str], depth: int) -> list[str]:
    """Put ``-`` before the first key of an item; comments before it stand above the item."""
    first = next(i for i, line in enumerate(block) if not line.lstrip().startswith("#"))
    indent = "  " * depth
    head = [f"{indent}{line.lstrip()}" for line in block[:first]]
    return [*head, f"{indent}- {block[first].lstrip()}", *block[first + 1 :]]


def _plain(item: Mapping[str, Any], depth: int) -> list[str]:
    return _value(dict(item), "  " * depth)


def _value(value: Any, indent: str) -> list[str]:
    return [f"{indent}{line}" for line in format_yaml(value).rstrip("\n").split("\n")]


def _comment(text: str, indent: str) -> list[str]:
    prefix = f"{indent}# "
    return textwrap.wrap(
        text, _WIDTH, initial_indent=prefix, subsequent_indent=prefix, break_long_words=False
    )


def _about(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    about = field_description(model, name)
    if about.split(" ")[0].isalpha():  # but not the name of a value
        about = about[:1].upper() + about[1:]
    allowed = [str(value) for value in _literals(field.annotation)]
    if len(allowed) > 1 and not all(value in about for value in allowed):
        about = f"{about.rstrip('.')}. One of: {', '.join(allowed)}."
    return about


def _default(field: FieldInfo) -> Any:
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return None if field.is_required() else value


def _literals(annotation: Any) -> list[Any]:
    if typing.get_origin(annotation) is typing.Literal:
        return list(typing.get_args(annotation))
    if _is_union(annotation):
        return [value for part in typing.get_args(annotation) for value in _literals(part)]
    return []


def _section(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a field holds, None if it holds anything else."""
    parts = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    found = [p for p in parts if isinstance(p, type) and issubclass(p, BaseModel)]
    others = [p for p in parts if p is not type(None) and p not in found]
    return found[0] if len(found) == 1 and not others else None


def _items(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a list holds."""
    if typing.get_origin(annotation) is not list:
        return None
    return _section(typing.get_args(annotation)[0])


def _is_optional(field: FieldInfo) -> bool:
    return _is_union(field.annotation) and type(None) in typing.get_args(field.annotation)


def _is_union(annotation: Any) -> bool:
    return isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union
