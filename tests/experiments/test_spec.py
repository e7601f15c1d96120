from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hypeeg.experiments.library import find_spec, list_specs
from hypeeg.experiments.model_names import braindecode_models
from hypeeg.experiments.spec import RunSpec, read_run_spec
from hypeeg.experiments.spec_errors import SpecError
from hypeeg.experiments.yaml_io import YamlError, format_yaml, parse_yaml

MINIMAL = """
name: mine
dataset: {name: SimulatedMI}
pipelines: [{name: a, model: csp_lda}]
"""


def change(*overrides: str) -> RunSpec:
    return RunSpec.from_text(find_spec("quickstart").read_text(), overrides=overrides)


@pytest.mark.parametrize("name", list_specs())
def test_shipped_specs_round_trip_and_resolve(name: str) -> None:
    spec = read_run_spec(find_spec(name))
    assert spec.name == name
    again = read_run_spec(spec.to_yaml())
    assert again == spec
    assert again.to_yaml() == spec.to_yaml()
    # Equal models can still differ in what counts as given; resolving shows it.
    resolved = spec.resolve()
    assert again.resolve() == resolved
    assert read_run_spec(resolved.to_yaml()).resolve() == resolved
    if not isinstance(resolved, RunSpec):
        return
    if not isinstance(resolved, RunSpec):
        return
    assert resolved.dataset.subjects
    assert None not in (resolved.preprocessing.fmin, resolved.preprocessing.fmax)


def test_quickstart_is_among_the_shipped_specs() -> None:
    assert {"quickstart", "physionet_s001", "study_kalunga"} <= set(list_specs())


def test_round_trip_through_a_file_keeps_partial_sections(tmp_path: Path) -> None:
    text = MINIMAL + (
        "preprocessing: {fmin: 5.0}\n"
        "training: {lr: 1e-3, class_weight: {left_hand: 2.0, right_hand: 1.0}}\n"
        "evaluation: {kind: cross_subject, seeds: [3, 1]}\n"
    )
    spec = RunSpec.from_text(text)
    spec.to_yaml(tmp_path / "spec.yaml")
    again = RunSpec.from_yaml(tmp_path / "spec.yaml")
    assert again == spec
    assert again.preprocessing.model_fields_set == {"fmin"}
    assert again.evaluation.n_folds is None
    # What the run leaves out comes from the manifest (fmax 38), not from the schema (None).
    assert again.resolve().preprocessing.fmax == 38


def test_defaults_are_filled_in() -> None:
    spec = RunSpec.from_text(MINIMAL)
    assert spec.evaluation.n_folds == 5
    assert spec.evaluation.seeds == [0]
    assert spec.resolve().dataset.subjects == [1, 2, 3, 4]
    assert spec.resolve().dataset.events == ["left_hand", "right_hand"]


@pytest.mark.parametrize(
    ("override", "path", "fragments"),
    [
        ("dataset.name=SimulatdMI", "dataset.name", ["SimulatdMI", "'SimulatedMI'"]),
        ("dataset.name=missing.yaml", "dataset.name", ["missing.yaml", "no such file"]),
        ("dataset.subjects=[1,9]", "dataset.subjects", ["9", "1 to 4"]),
        ("dataset.subjects=[]", "dataset.subjects", ["at least 1"]),
        ("dataset.subjects=[1,1]", "dataset.subjects", ["more than once", "1"]),
        ("dataset.events=[left_hand,rihgt_hand]", "dataset.events", ["rihgt", "'right_hand'"]),
        ("dataset.evnts=[a]", "dataset.evnts", ["unknown key", "sessions", "'events'"]),
        ("preprocessing.standardise=trail", "preprocessing.standardise", ["'trail'", "'trial'"]),
        ("preprocessing.fmin=-2", "preprocessing.fmin", ["-2", "greater than or equal to 0"]),
        ("evaluation.kind=within_sesion", "evaluation.kind", ["'within_session'?"]),
        ("evaluation.n_folds=1", "evaluation.n_folds", ["1", "2"]),
        ("evaluation.seeds=[-1]", "evaluation.seeds", ["-1", "0 ..."]),
        ("evaluation.seeds=[1,1]", "evaluation.seeds", ["repeat"]),
        ("evaluation.scoring=auc", "evaluation.scoring", ["'auc'", "'roc_auc'?"]),
        ("evaluation.kind=cross_subject", "evaluation", ["n_folds is 5", "cross_subject"]),
        ("evaluation.adaptation=unlabelled_20", "evaluation.adaptation", ["'unlabeled_20'?"]),
        ("evaluation.adaptation=trialwise", "evaluation", ["cross_subject", "within_session"]),
        ("evaluation.kind=cross_session", "evaluation", ["n_folds is 5", "one fold a session"]),
        ("evaluation.learning_curve={sizes: [2]}", "evaluation", ["n_folds is 5", "n_perms"]),
        (
            "evaluation={kind: cross_session, learning_curve: {sizes: [2]}}",
            "evaluation",
            ["cross_session", "within_session"],
        ),
        ("evaluation={shuffle: false, learning_curve: {sizes: [2]}}", "evaluation", ["random"]),
        (
            "evaluation={learning_curve: {sizes: [4, 2]}}",
            "evaluation.learning_curve.sizes",
            ["[4, 2]", "rise"],
        ),
        (
            "evaluation={learning_curve: {sizes: [0.5]}}",
            "evaluation.learning_curve.sizes",
            ["[0.5]", "ratio"],
        ),
        (
            "evaluation={learning_curve: {policy: ratio, sizes: [0.5, 2]}}",
            "evaluation.learning_curve.sizes",
            ["[2", "per_class"],
        ),
        (
            "evaluation={learning_curve: {sizes: [2, 4], n_perms: [1, 2]}}",
            "evaluation.learning_curve",
            ["[1, 2]", "not rise"],
        ),
        (
            "evaluation={learning_curve: {sizes: [2, 4], n_perms: [3]}}",
            "evaluation.learning_curve",
            ["1 items", "2"],
        ),
        (
            "evaluation={learning_curve: {sizes: [2], test_size: 1}}",
            "evaluation.learning_curve.test_size",
            ["less than 1"],
        ),
        ("training.max_epoch=5", "training.max_epoch", ["unknown key", "5", "'max_epochs'?"]),
        ("training.lr=fast", "training.lr", ["'fast'", "number"]),
        ("pipelines.0.model=EEGNett", "pipelines", ["EEGNett", "'EEGNet'?"]),
        ("pipelines.EEGNet.twin_of=Foo", "pipelines", ["'Foo'", "CSP+LDA"]),
        ("pipelines.CSP+LDA.name=TS+LR", "pipelines", ["two pipelines"]),
        ("pipelines.3.name=CSP/LDA", "pipelines", ["CSP_LDA", "rename"]),
        ("pipelines.2.modle=x", "pipelines.2.modle", ["unknown key", "'model'?"]),
        ("device=gpu", "device", ["'gpu'", "cuda"]),
        ("name=a b", "name", ["'a b'", "letters"]),
        ("save.models=some", "save.models", ["'last', 'all' or 'none'"]),
    ],
)
def test_wrong_values_name_path_value_and_remedy(
    override: str, path: str, fragments: list[str]
) -> None:
    with pytest.raises(SpecError) as caught:
        change(override)
    [problem] = caught.value.problems
    assert problem.path == path
    for fragment in fragments:
        assert fragment in problem.message
    assert "pydantic" not in str(caught.value)


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        change("device=gpu", "training.lr=-1", "evaluatoin={}", "pipelines.1.model=null")
    paths = {problem.path for problem in caught.value.problems}
    assert paths == {"device", "training.lr", "evaluatoin", "pipelines.1.model"}
    assert str(caught.value).count("\n") == 4


@pytest.mark.parametrize(
    ("override", "fragment"),
    [("preprocessing.fmax=80", "64.0 Hz"), ("preprocessing.tmin=7", "tmax=3.0")],
)
def test_contradiction_with_the_manifest(override: str, fragment: str) -> None:
    spec = change(override)
    with pytest.raises(SpecError, match=fragment) as caught:
        spec.resolve()
    assert caught.value.problems[0].path == "preprocessing"


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just text"])
def test_a_run_file_must_be_a_mapping(text: str) -> None:
    with pytest.raises(SpecError, match="mapping of keys"):
        RunSpec.from_text(text)


def test_yaml_mistakes_name_the_line() -> None:
    with pytest.raises(SpecError, match=r"line 3.*'name' is given twice.*line 1"):
        RunSpec.from_text("name: a\ndevice: cpu\nname: b\n")
    with pytest.raises(SpecError, match="line 2"):
        RunSpec.from_text("name: [a\ndevice: cpu\n")
    with pytest.raises(YamlError):
        parse_yaml("a: !!python/object/apply:os.getcwd []")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nothing\.yaml"):
        RunSpec.from_yaml(tmp_path / "nothing.yaml")


def test_yaml_numbers_without_a_dot_are_numbers() -> None:
    assert parse_yaml("[1e-3, 2E4, -5e+2]") == [1e-3, 2e4, -500.0]
    value = {"a": ["1e-3", 1e-3, None, "", "0", 0], "b": [[1, 2.5], []], "c": {}}
    assert parse_yaml(format_yaml(value)) == value


def test_overrides_change_one_value_each() -> None:
    spec = change(
        "dataset.subjects=2",
        "training.lr=1e-4",
        "pipelines.0.params.F1=4",
        "pipelines.CSP+LDA.params={n_components: 4}",
        "dataset.sessions=[0]",
    )
    assert spec.dataset.subjects == [2]
    assert spec.dataset.sessions == ["0"]
    assert spec.training.lr == 1e-4
    assert spec.pipelines[0].params == {"F1": 4}
    assert spec.pipelines[2].params == {"n_components": 4}
    again = spec.apply_overrides(["training.lr=5", "evaluation.seeds=[1,2]"])
    assert (again.training.lr, again.evaluation.seeds) == (5.0, [1, 2])
    assert spec.training.lr == 1e-4
    # Only what changed counts as given: the manifest still recommends the rest.
    assert again.preprocessing.model_fields_set == spec.preprocessing.model_fields_set


@pytest.mark.parametrize(
    ("override", "fragment"),
    [
        ("training.lr", "path.to.key=value"),
        ("=3", "path.to.key=value"),
        ("a..b=3", "path.to.key=value"),
        ("training.lr=[1", "not valid YAML"),
        ("pipelines.9.model=EEGNet", "0 to 3, or by name: HyperbolicEEGNet"),
        ("pipelines.foo.model=EEGNet", "got 'foo'"),
        ("name.first=x", "'first' is no key of the value 'quickstart'"),
    ],
)
def test_wrong_overrides(override: str, fragment: str) -> None:
    with pytest.raises(SpecError, match="--set") as caught:
        change(override)
    assert fragment in str(caught.value)
    assert override in str(caught.value)


def test_model_names_are_those_of_braindecode() -> None:
    from hypeeg.eeg.models import registry

    assert set(braindecode_models()) == set(registry.braindecode_models())


def test_unknown_spec_name_suggests_the_nearest() -> None:
    with pytest.raises(SpecError, match="'quickstart'"):
        find_spec("quikstart")


def test_checking_a_spec_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from hypeeg.experiments.library import find_spec\n"
        "from hypeeg.experiments.spec import RunSpec\n"
        "RunSpec.from_yaml(find_spec('study_kalunga')).resolve().to_yaml()\n"
        "heavy = {'torch', 'moabb', 'braindecode', 'mne', 'sklearn', 'pandas', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_hyperbolic_head_on_any_braindecode_model_has_a_name() -> None:
    with_head = MINIMAL.replace("csp_lda", "Hyperbolic(EEGNeX)")
    spec = RunSpec.from_text(with_head)
    assert spec.pipelines[0].model == "Hyperbolic(EEGNeX)"
    assert RunSpec.from_text(spec.to_yaml()) == spec
    for wrong in ("Hyperbolic(EEGNix)", "Hyperbolic(csp_lda)", "Hyperbolic()"):
        with pytest.raises(SpecError, match="unknown model"):
            RunSpec.from_text(MINIMAL.replace("csp_lda", wrong))


def test_sessions_that_no_table_names_may_be_asked_for() -> None:
    text = MINIMAL.replace("{name: SimulatedMI}", "{name: Lee2019_ERP, sessions: ['0']}")
    assert RunSpec.from_text(text).dataset.sessions == ["0"]
    with pytest.raises(SpecError, match="has no"):
        RunSpec.from_text(
            MINIMAL.replace("{name: SimulatedMI}", "{name: SimulatedMI, sessions: ['7']}")
        )


@pytest.mark.parametrize(
    "text",
    [
        "{kind: cross_session}",
        "{kind: cross_subject, adaptation: labeled_20}",
        "{learning_curve: {sizes: 4, n_perms: 2}}",
        "{learning_curve: {policy: ratio, sizes: [0.1, 1], n_perms: [3, 1], test_size: 0.5}}",
        "{n_folds: 3, shuffle: false, single_class_runs: warn}",
    ],
)
def test_every_way_to_evaluate_round_trips(text: str) -> None:
    spec = RunSpec.from_text(f"{MINIMAL}evaluation: {text}\n")
    again = RunSpec.from_text(spec.to_yaml())
    assert again == spec
    assert again.to_yaml() == spec.to_yaml()
    assert RunSpec.from_text(spec.resolve().to_yaml()).evaluation == spec.evaluation


def test_adaptations_are_the_modes_of_moabb() -> None:
    from typing import get_args

    from moabb.evaluations import CrossSubjectMode

    from hypeeg.experiments.evaluation_spec import MOABB_MODES, Adaptation

    assert set(MOABB_MODES) == set(get_args(Adaptation))
    assert {CrossSubjectMode(value) for value in MOABB_MODES.values()} == set(CrossSubjectMode)


def test_a_spec_of_an_earlier_version_still_reads() -> None:
    text = MINIMAL + (
        "evaluation: {kind: cross_subject, n_folds: null, shuffle: true, seeds: [0],"
        " scoring: auto}\n"
        "save: {embeddings: false, models: last}\n"
    )
    spec = RunSpec.from_text(text)
    assert spec.evaluation.adaptation == "none"
    assert spec.evaluation.learning_curve is None
    assert spec.save.predictions
