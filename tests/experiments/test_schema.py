"""The schema as JSON Schema, and the run files that `hypeeg init` writes from it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from hypeeg.experiments.docstrings import field_description
from hypeeg.experiments.kinds import KINDS, read_run_spec, run_spec_from_data, spec_class
from hypeeg.experiments.library import find_spec, list_specs
from hypeeg.experiments.schema import run_schema, schema_text
from hypeeg.experiments.spec_errors import SpecError
from hypeeg.experiments.template import template
from hypeeg.experiments.yaml_io import parse_yaml

jsonschema = pytest.importorskip("jsonschema")
ROOT = Path(__file__).resolve().parents[2]

MINIMAL: dict[str, Any] = {
    "name": "a",
    "dataset": {"name": "SimulatedMI"},
    "pipelines": [{"name": "a", "model": "csp_lda"}],
}


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = run_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_schema_in_the_docs_is_current() -> None:
    kept = ROOT / "docs" / "run-spec.schema.json"
    assert kept.read_text(encoding="utf-8") == schema_text(), (
        "run: hypeeg schema --out docs/run-spec.schema.json"
    )


@pytest.mark.parametrize("name", list_specs())
def test_shipped_specs_follow_the_schema(name: str, validator: Any) -> None:
    data = parse_yaml(find_spec(name).read_text())
    assert [e.message for e in validator.iter_errors(data)] == []
    # And so does what a run folder keeps of them, with every default spelled out.
    kept = yaml.safe_load(read_run_spec(find_spec(name)).to_yaml())
    assert [e.message for e in validator.iter_errors(kept)] == []


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": {"name": "SimulatedMI", "subjects": 1, "sessions": 0, "events": None}},
        {"dataset": {"name": "SimulatedMI", "sessions": [0, "1"]}},
        {"evaluation": {"seeds": 3}},
        {"backend": "local"},
        {"backend": {"name": "dask", "scheduler": "tcp://a:1"}},
        {"resources": {"gpus": 0}},
        {"pipelines": [{"name": "a", "model": "mdm", "bands": "stimuli"}]},
        {"pipelines": [{"name": "a", "model": "mdm", "bands": [[8, 12]]}]},
        {"preprocessing": {"steps": [{"step": "notch", "freqs": [50]}]}},
        {"sweep": {"grid": {"training.lr": [0.1, 0.2]}, "seeds": [1]}},
        {
            "pipelines": [
                {
                    "name": "a",
                    "model": "csp_lda",
                    "tuning": {
                        "search": "optuna",
                        "space": {"params.n_components": {"low": 1, "high": 3}},
                    },
                }
            ]
        },
    ],
)
def test_what_hypeeg_takes_the_schema_takes(change: dict[str, Any], validator: Any) -> None:
    data = {**MINIMAL, **change}
    run_spec_from_data(data)
    assert [e.message for e in validator.iter_errors(data)] == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"kind": "visoin"}, "$.kind"),
        ({"device": "gpu"}, "$.device"),
        ({"trainig": {}}, "$"),
        ({"training": {"lr": -1}}, "$.training.lr"),
        ({"training": {"lrr": 1}}, "$.training"),
        ({"evaluation": {"kind": "within"}}, "$.evaluation.kind"),
        ({"pipelines": []}, "$.pipelines"),
        ({"kind": "vision"}, None),
        ({"kind": "hierarchy"}, None),
    ],
)
def test_what_hypeeg_refuses_the_schema_refuses(
    change: dict[str, Any], path: str | None, validator: Any
) -> None:
    data = {**MINIMAL, **change}
    with pytest.raises(SpecError):
        run_spec_from_data(data)
    found = {error.json_path for error in validator.iter_errors(data)}
    assert found
    assert path is None or path in found


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_field_says_what_it_is(kind: str) -> None:
    definitions = run_schema()["$defs"]
    silent = [
        f"{section}.{name}"
        for section, definition in definitions.items()
        for name, field in definition.get("properties", {}).items()
        if "description" not in field and name != "step"
    ]
    assert silent == []
    assert spec_class(kind).__name__ in definitions


def test_docstrings_stand_in_for_descriptions() -> None:
    from hypeeg.eeg.preprocessing import PreprocessingSpec

    both = [field_description(PreprocessingSpec, name) for name in ("fmin", "fmax")]
    assert both[0] == both[1]
    assert both[0].startswith("Band kept, in Hz")
    assert "``" not in field_description(PreprocessingSpec, "standardise")


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_template_means_what_it_shows_and_names_every_key(
    kind: str, tmp_path: Path, validator: Any
) -> None:
    text = template(kind, name="my run!", schema="run-spec.schema.json")
    assert text.startswith("# yaml-language-server: $schema=run-spec.schema.json\n")
    spec = read_run_spec(text)
    assert (spec.name, spec.kind) == ("my-run", kind)
    assert read_run_spec(spec.to_yaml()) == spec
    assert [e.message for e in validator.iter_errors(parse_yaml(text))] == []
    assert max(len(line) for line in text.splitlines()) <= 100
    # Every key of every section stands there, given or behind '#'.
    words = {line.lstrip(" #-").partition(":")[0] for line in text.splitlines()}
    model = spec_class(kind)
    missing = set(model.model_fields) - words
    for field in model.model_fields.values():
        inner = field.annotation
        if isinstance(inner, type) and hasattr(inner, "model_fields"):
            missing |= set(inner.model_fields) - words
    assert missing == set()


def test_a_template_is_written_for_a_data_set() -> None:
    text = template("eeg", dataset="Kalunga2016")
    assert read_run_spec(text).data_name == "Kalunga2016"
    # What the manifest recommends is shown, and left to it.
    spec = read_run_spec(text)
    assert spec.preprocessing.model_fields_set == set()  # type: ignore[attr-defined]
    block = text[text.index("# preprocessing:") :].split("\n\n")[0]
    # Without its '#' the block gives just that.
    given = "\n".join(line.removeprefix("# ") for line in block.splitlines())
    assert read_run_spec(f"{text}\n{given}\n").resolve() == spec.resolve()
    with pytest.raises(SpecError, match=r"--dataset.*'Kalunga2016'"):
        template("eeg", dataset="Kalunga")
    with pytest.raises(SpecError, match=r"--kind.*'hierarchy'"):
        template("hiearchy")


def test_schema_and_template_load_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from hypeeg.experiments.schema import schema_text\n"
        "from hypeeg.experiments.template import template\n"
        "schema_text()\n"
        "for kind in ('eeg', 'vision', 'hierarchy'): template(kind)\n"
        "heavy = {'torch', 'moabb', 'braindecode', 'mne', 'sklearn', 'pandas', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_text_is_json() -> None:
    assert json.loads(schema_text()) == run_schema()
