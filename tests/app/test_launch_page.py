"""The Launch page: the form, the YAML, and what is started."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from hypeeg.experiments import process
from hypeeg.experiments.kinds import KINDS, spec_class
from hypeeg.experiments.library import find_spec, list_specs

APP = Path(__file__).resolve().parents[2] / "app"

WRONG = """\
name: wrong
dataset: {name: SimulatedMI, subjects: [99]}
evaluation: {kind: cross_subject, n_folds: 4, scoring: acuracy}
training: {lr: -1, momentum: 0.9}
pipelines: [{name: CSP, model: csp_ldaa}]
typo: 1
"""


def open_page() -> AppTest:
    at = AppTest.from_file(APP / "main.py", default_timeout=60)
    at.switch_page("views/launch.py").run()
    assert not at.exception, at.exception
    return at


def draft(at: AppTest) -> Any:
    return at.session_state["launch-draft"]


def type_yaml(at: AppTest, text: str) -> AppTest:
    at.segmented_control(key="launch-part").set_value("YAML").run()
    at.text_area[0].set_value(text).run()
    assert not at.exception, at.exception
    return at


def unfold(at: AppTest, *paths: str) -> None:
    """Open the expanders whose first fields these are."""
    for path in paths:
        at.session_state[f"launch-{at.session_state['launch-round']}-fold-{path}"] = True
    at.run()
    assert not at.exception, at.exception


def field(elements: Any, path: str) -> Any:
    """The input of a field, by its path in the file."""
    return next(e for e in elements if str(e.key).endswith(f"-{path}"))


def start_and_arrive(at: AppTest) -> None:
    """Press Start, and be taken to the Runs page."""
    at.button(key="launch-start").click().run()
    if "started" in at.session_state:
        wait_for_end(at)
        at.run()
    assert not at.exception, at.exception
    assert at.title[0].value == "Runs"


def test_the_form_begins_with_the_quickstart_and_writes_what_is_changed(runs: Path) -> None:
    at = open_page()
    assert draft(at).text == find_spec("quickstart").read_text()
    assert not at.error
    field(at.number_input, "training.max_epochs").set_value(7).run()
    field(at.text_input, "dataset.subjects").set_value("1-3").run()
    field(at.selectbox, "evaluation.scoring").set_value("accuracy").run()
    spec = draft(at).spec
    assert (spec.training.max_epochs, spec.dataset.subjects) == (7, [1, 2, 3])
    assert spec.evaluation.scoring == "accuracy"
    # What was not touched stays as it was given: no default became a decision.
    assert draft(at).data["training"].keys() == {"max_epochs", "batch_size", "lr"}
    field(at.number_input, "preprocessing.fmax").set_value(None).run()
    assert "fmax" not in draft(at).data["preprocessing"]


def test_pipelines_are_added_with_their_twin_and_removed(runs: Path) -> None:
    at = open_page()
    next(b for b in at.button if b.key.endswith("-remove-1")).click().run()
    assert [p["name"] for p in draft(at).data["pipelines"]] == [
        *("HyperbolicEEGNet", "CSP+LDA", "TS+LR")
    ]
    next(b for b in at.button if b.key.endswith("-twin-0")).click().run()
    twin = draft(at).data["pipelines"][1]
    assert twin == {"name": "EEGNet", "model": "EEGNet", "twin_of": "HyperbolicEEGNet"}
    assert not any(b.key.endswith("-twin-0") for b in at.button)
    next(b for b in at.button if b.key.endswith("-add")).click().run()
    names = [p["name"] for p in draft(at).data["pipelines"]]
    assert names[-1] == "TS+LR-2"
    assert draft(at).spec is not None


def test_mistakes_stand_at_their_fields_with_the_remedy(runs: Path) -> None:
    at = type_yaml(open_page(), WRONG)
    at.segmented_control(key="launch-part").set_value("Form").run()
    assert not at.exception, at.exception
    said = [e.value for e in at.error]
    assert any(s.startswith("SimulatedMI has no 99; allowed: 1 to 4") for s in said)
    assert any("n_folds is 4" in s or "acuracy" in s for s in said)
    assert any("Did you mean 'accuracy'?" in s for s in said)
    assert any("got -1" in s for s in said)
    assert any("unknown model 'csp_ldaa'" in s for s in said)
    top = next(s for s in said if "typo" in s)
    assert "training.momentum" in top
    assert "unknown key" in top
    assert sum("momentum" in s for s in said) == 1
    assert at.button(key="launch-start").disabled
    field(at.selectbox, "evaluation.scoring").set_value("accuracy").run()
    assert not any("acuracy" in e.value for e in at.error)
    next(b for b in at.button if b.label == "Remove training.momentum").click().run()
    assert not any("momentum" in e.value for e in at.error)
    assert any("typo" in e.value for e in at.error)


def test_a_remedy_is_one_click(runs: Path) -> None:
    at = open_page()
    field(at.selectbox, "evaluation.kind").set_value("cross_subject").run()
    assert any("n_folds is 5" in e.value for e in at.error)
    next(b for b in at.button if b.label == "Remove n_folds").click().run()
    assert not at.error
    assert draft(at).spec.evaluation.kind == "cross_subject"


def test_what_cannot_be_read_stays_in_the_field_and_blocks_the_start(runs: Path) -> None:
    at = open_page()
    field(at.text_input, "dataset.subjects").set_value("1 to 3").run()
    assert any("write numbers and ranges" in e.value for e in at.error)
    assert field(at.text_input, "dataset.subjects").value == "1 to 3"
    assert at.button(key="launch-start").disabled
    unfold(at, "pipelines.0.params")
    field(at.text_input, "pipelines.0.params").set_value("{F1: [4").run()
    assert any("is not valid YAML" in e.value for e in at.error)
    field(at.text_input, "pipelines.0.params").set_value("{F1: 4}").run()
    field(at.text_input, "dataset.subjects").set_value("1 3").run()
    assert not at.error
    assert draft(at).spec.pipelines[0].params == {"F1": 4}
    assert not at.button(key="launch-start").disabled


@pytest.mark.parametrize("name", ["vision_shapes", "hierarchy_tree", "study_hierarchy"])
def test_every_shipped_kind_is_shown_and_comes_back_as_it_was(runs: Path, name: str) -> None:
    at = open_page()
    at.selectbox(key="launch-shipped").set_value(name)
    at.button(key="launch-take-shipped").click().run()
    assert not at.exception, at.exception
    assert not at.error
    assert draft(at).text == find_spec(name).read_text()
    shown = "\n".join(str(e.key) for kind in (at.text_input, at.selectbox) for e in kind)
    assert "pipelines.1.twin_of" in shown


def test_the_form_holds_every_field_of_the_schema(runs: Path) -> None:
    from hypeeg_app.form_schema import entries

    at = open_page()
    top = ("device", "save", "sweep", "evaluation.shuffle", "training.curvature")
    unfold(at, *top, "preprocessing.reference", "pipelines.0.params", "training.weight_decay")
    if "training.weight_decay" not in "".join(str(e.key) for e in at.number_input):
        unfold(at, "training.optimizer")
    kinds = (
        *(at.text_input, at.selectbox, at.number_input, at.toggle, at.multiselect),
        at.text_area,
    )
    keys = {str(e.key).split("-", 3)[-1] for kind in kinds for e in kind}
    model = spec_class("eeg")
    for name, entry in entries(model).items():
        if name == "kind":
            continue
        if entry.section is None or entry.optional:
            assert name in keys, name
            continue
        for inner in entries(entry.section):
            path = f"{name}.0.{inner}" if entry.shape == "sections" else f"{name}.{inner}"
            assert path in keys or inner in ("twin_of",), path


def test_yaml_goes_down_and_up_unchanged() -> None:
    from hypeeg_app.draft import of_bytes, of_data, of_text

    for name in list_specs():
        text = find_spec(name).read_text()
        read = of_bytes(text.encode())
        assert read.text == text
        assert read.problems == ()
        again = of_text(of_data(read.data).text)
        assert (again.data, again.spec) == (read.data, read.spec)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe\x00x", "UTF-8"),
        (b"name: [", "not valid YAML: line 1"),
        (b"- a\n- b", "mapping of keys"),
        (b"", "found nothing"),
        (b"x: 2020-13-45", "not valid YAML"),
        (b"x: !!python/object/apply:os.system ['true']", "not valid YAML"),
        (b"a: &a {x: *a}", "aliases written out"),
        (b"a: 1\na: 2", "given twice"),
        (b"[" * 3_000, "nested too deeply"),
        (b"x: " + b"1" * 300_000, "longer than"),
        (b"kind: sculpture", "Did you mean|allowed: eeg"),
    ],
)
def test_uploads_that_are_no_run_files_are_refused_with_words(content: bytes, said: str) -> None:
    import re

    from hypeeg_app.draft import of_bytes

    found = of_bytes(content)
    assert found.spec is None
    assert re.search(said, str(found.problems[0])), found.problems


def test_aliases_that_stand_for_billions_are_refused_at_once() -> None:
    from hypeeg_app.draft import of_text

    lines = ["a0: &a0 {k: 1}"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    began = time.process_time()
    assert "aliases written out" in str(of_text("\n".join(lines)).problems[0])
    merged = ["a0: &a0 {k: 1}"]
    merged += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12)]
    assert "aliases written out" in str(of_text("\n".join(merged)).problems[0])
    assert time.process_time() - began < 2


def test_the_form_knows_every_kind_of_field() -> None:
    from hypeeg_app.form_schema import entries, listing, numbers

    assert entries(spec_class("eeg"))["n_jobs"].about.endswith("Default: 1.")
    for kind in KINDS:
        for entry in entries(spec_class(kind)).values():
            assert entry.about, (kind, entry.name)
    assert listing([1, 2, 3, 5, 7, 8]) == "1-3, 5, 7, 8"
    assert numbers("[1-3, 5; 7 8]") == [1, 2, 3, 5, 7, 8]
    with pytest.raises(ValueError, match="more than"):
        numbers("1-999999999999")


def test_an_earlier_run_gives_its_file_with_the_changes_it_was_started_with(
    make_run: Callable[..., Path],
) -> None:
    run = make_run("before")
    text = find_spec("quickstart").read_text()
    (run / "spec_given.yaml").write_text(text)
    (run / "environment.json").write_text(json.dumps({"overrides": ["training.max_epochs=3"]}))
    at = open_page()
    at.button(key="launch-take-run").click().run()
    assert not at.exception, at.exception
    assert draft(at).spec.training.max_epochs == 3
    (run / "environment.json").unlink()
    at.button(key="launch-take-run").click().run()
    assert any("keeps no run file" in e.value for e in at.error)


def test_start_goes_to_the_run_and_a_failure_shows_its_words(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import sys; from hypeeg.experiments.store import RunFolder;"
        "RunFolder.create(sys.argv[4], 'quickstart').update_status('done')"
    )
    instead = partial(monkeypatch.setattr, process, "HYPEEG")
    instead((sys.executable, "-c", "print('no space left'); raise SystemExit(2)"))
    at = open_page()
    assert any("hypeeg run quickstart --out" in c.value for c in at.code)
    at.button(key="launch-start").click().run()
    wait_for_end(at)
    assert any("ended before it began" in e.value for e in at.run().error)
    assert "no space left" in [c.value for c in at.code]
    at.button(key="start-close").click().run()
    assert not at.error
    instead((sys.executable, "-c", code))
    start_and_arrive(at)
    assert str(at.session_state["run"]).startswith("quickstart-")


def test_starting_a_sweep_goes_to_its_first_run(
    runs: Path, make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import sys, json, pathlib; from hypeeg.experiments.store import RunFolder;"
        "sweep = RunFolder.create(sys.argv[4], 'grid-sweep').path;"
        "points = [{'point': 0, 'run': 'grid-p000', 'values': {}}];"
        "(sweep / 'sweep.json').write_text(json.dumps({'points': points}));"
        "RunFolder.create(sweep, 'grid-p000').update_status('done')"
    )
    for name in ("older", "newer"):
        folder = runs / f"{name}-sweep-29990101T000000Z"
        folder.mkdir(parents=True)
        about = {"created": "2999-01-01T00:00:00+00:00", "points": []}
        (folder / "sweep.json").write_text(json.dumps(about))
    text = find_spec("quickstart").read_text().replace("name: quickstart", "name: grid", 1)
    monkeypatch.setattr(process, "HYPEEG", (sys.executable, "-c", code))
    at = open_page()
    # Another run was chosen before.
    at.session_state["run"] = make_run("other").name
    at.button_group("launch-part").set_value("YAML").run()
    at.text_area[0].set_value(text + "\nsweep: {seeds: [0, 1]}\n").run()
    assert not at.error, at.error
    start_and_arrive(at)
    assert str(at.session_state["run"]).startswith("grid-p000-")
    assert at.selectbox(key="sweep").value.startswith("grid-sweep-")


def wait_for_end(at: AppTest) -> None:
    end = time.monotonic() + 30
    while at.session_state["started"].is_alive:
        assert time.monotonic() < end
        time.sleep(0.05)
