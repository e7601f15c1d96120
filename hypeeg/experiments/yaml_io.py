"""Reading and writing YAML for run files, with the surprises of YAML 1.1 taken out.

Two things differ from ``yaml.safe_load``: a key given twice is an error instead of the second
silently winning, and ``1e-3`` is a number (YAML 1.1 reads it as text because it has no dot).
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

_INTEGER_BITS = 128
_FLOAT_WITHOUT_DOT = re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$")


class YamlError(ValueError):
    """The text is no usable YAML; the message names line and column."""


class _Loader(yaml.SafeLoader):
    """Safe loader that refuses duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if isinstance(key, Hashable):
                if key in seen:
                    raise YamlError(
                        f"line {line}: key {key!r} is given twice (first on line {seen[key]}); "
                        "keep one of them"
                    )
                seen[key] = line
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        try:
            value: int = super().construct_yaml_int(node)
        except ValueError:
            value = 1 << _INTEGER_BITS  # more digits than Python reads
        if value.bit_length() > _INTEGER_BITS:
            # Python refuses to write such a number as well, which no message could then quote.
            raise YamlError(
                f"line {node.start_mark.line + 1}: an integer of {len(node.value)} digits; no "
                "field takes one as long"
            )
        return value


class _Dumper(yaml.SafeDumper):
    """Safe dumper that quotes what `_Loader` would otherwise read as a number."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        # Lists are indented under their key, as people write them by hand.
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_list(dumper: yaml.SafeDumper, data: list[Any]) -> yaml.Node:
    """Write lists of plain values on one line, lists of mappings one item a line."""
    flow = not any(isinstance(item, dict) for item in data)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flow)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Dumper.add_representer(list, _represent_list)
for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(
        "tag:yaml.org,2002:float", _FLOAT_WITHOUT_DOT, list("-+0123456789")
    )


def parse_yaml(text: str) -> Any:
    """Parse one YAML document.

    Parameters
    ----------
    text : str
        YAML text.

    Returns
    -------
    object
        Dictionaries, lists, strings, numbers, booleans and None.

    Raises
    ------
    YamlError
        If the text is not YAML, or a mapping gives a key twice.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise YamlError(f"{where}{error.problem or error}") from error
    except yaml.YAMLError as error:
        raise YamlError(str(error)) from error
    except YamlError:
        raise
    # What PyYAML lets through: a date that is none, say.
    except ValueError as error:
        raise YamlError(str(error)) from error


def format_yaml(value: Any) -> str:
    """Write `value` as YAML that :func:`parse_yaml` reads back unchanged.

    Parameters
    ----------
    value : object
        Dictionaries, lists, strings, numbers, booleans and None.

    Returns
    -------
    str
        Block style, keys in their given order.
    """
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, indent=2
    )
