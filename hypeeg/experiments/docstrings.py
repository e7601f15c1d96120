"""What a field of a run file means: its description, or the words of its class's docstring."""

from __future__ import annotations

import functools
import inspect
import re

from pydantic import BaseModel

_SECTION = re.compile(r"^(Parameters|Attributes)\n-+\n(.*?)(?=^\w[^\n]*\n-+\n|\Z)", re.M | re.S)
_ENTRY = re.compile(r"^(\w+(?:, \w+)*)(?: :[^\n]*)?\n((?:[ ]{4}[^\n]*\n?|\n)+)", re.M)
_ROLE = re.compile(r":\w+:`~?([^`]*)`")


def field_description(model: type[BaseModel], name: str) -> str:
    """Return what a field means, in one paragraph.

    Parameters
    ----------
    model : type of BaseModel
        Its section.
    name : str
        The field.

    Returns
    -------
    str
        ``Field(description=...)``, else the entry of the numpydoc docstring, else nothing.
    """
    return model.model_fields[name].description or _documented(model).get(name, "")


@functools.cache
def _documented(model: type[BaseModel]) -> dict[str, str]:
    found: dict[str, str] = {}
    for _, body in _SECTION.findall(inspect.getdoc(model) or ""):
        for names, text in _ENTRY.findall(body + "\n"):
            words = _ROLE.sub(r"\1", " ".join(text.split())).replace("``", "")
            found.update(dict.fromkeys(names.split(", "), words))
    return found
