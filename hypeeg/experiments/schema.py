"""Run files as JSON Schema (draft 2020-12): editors check and complete by it.

A run file names the schema in its first line::

    # yaml-language-server: $schema=run-spec.schema.json
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from hypeeg.experiments.docstrings import field_description
from hypeeg.experiments.kinds import DEFAULT_KIND, KINDS, spec_class
from hypeeg.experiments.sections import as_backend, as_list
from hypeeg.experiments.spec import as_names

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _one_of_the_items(inner: JsonSchemaValue) -> list[JsonSchemaValue]:
    """Return what one item of a list may be."""
    branches = inner.get("anyOf", [inner])
    return [branch["items"] for branch in branches if "items" in branch]


# What these functions take beside what the field holds: shorter ways to write it.
_SHORT_FORMS: Mapping[Callable[..., Any], Callable[[JsonSchemaValue], list[JsonSchemaValue]]] = {
    as_list: _one_of_the_items,
    as_names: lambda inner: [
        {"type": ["string", "integer"]},
        {"type": "array", "items": {"type": ["string", "integer"]}},
    ],
    as_backend: lambda inner: [{"const": "local"}],
}


class _Generator(GenerateJsonSchema):
    """Pydantic's generator with the short forms of run files, and docstrings as descriptions."""

    schema_dialect = DIALECT

    def function_before_schema(
        self, schema: core_schema.BeforeValidatorFunctionSchema
    ) -> JsonSchemaValue:
        inner = super().function_before_schema(schema)
        short = _SHORT_FORMS.get(schema["function"]["function"])
        if short is None or self.mode != "validation":
            return inner
        return {"anyOf": [*inner.get("anyOf", [inner]), *short(inner)]}

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        found = super().model_schema(schema)
        cls = schema["cls"]
        if issubclass(cls, BaseModel):
            for name, field in found.get("properties", {}).items():
                about = field_description(cls, name) if name in cls.model_fields else ""
                if about:
                    field.setdefault("description", about)
        # The first paragraph says what it is; the rest is for readers of the code.
        if "description" in found:
            found["description"] = " ".join(found["description"].split("\n\n")[0].split())
        return found


def run_schema() -> dict[str, Any]:
    """Return the JSON Schema of run files of every kind.

    Returns
    -------
    dict
        Draft 2020-12; ``kind`` decides by which definition a file is checked, and a file without
        it is ``eeg``.
    """
    classes = {kind: spec_class(kind) for kind in KINDS}
    references, shared = models_json_schema(
        [(cls, "validation") for cls in classes.values()], schema_generator=_Generator
    )
    checked: dict[str, Any] = dict(references[classes[DEFAULT_KIND], "validation"])
    for kind, cls in classes.items():
        if kind != DEFAULT_KIND:
            checked = {
                "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
                "then": dict(references[cls, "validation"]),
                "else": checked,
            }
    return {
        "$schema": DIALECT,
        "title": "hypeeg run file",
        "description": "One run, or a sweep of runs: hypeeg run FILE.",
        "type": "object",
        "required": ["name"],
        "properties": {
            "kind": {
                "description": "What the run trains on.",
                "enum": list(KINDS),
                "default": DEFAULT_KIND,
            }
        },
        **checked,
        "$defs": shared["$defs"],
    }


def schema_text() -> str:
    """Return the JSON Schema as it is written to a file."""
    return json.dumps(run_schema(), indent=2, ensure_ascii=False) + "\n"
