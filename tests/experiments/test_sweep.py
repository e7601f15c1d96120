"""Sweeps: one run a point, gone on with as a whole, told in one table."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hypeeg.experiments.run_index import read_info
from hypeeg.experiments.runner import run
from hypeeg.experiments.spec import RunSpec, read_run_spec
from hypeeg.experiments.spec_errors import SpecError
from hypeeg.experiments.store import FoldLog, RecordError, RunFolder
from hypeeg.experiments.sweep import SweepResult, named_points, resume_sweep, run_sweep
from hypeeg.experiments.sweep_index import (
    list_sweeps,
    locate_sweep,
    points_table,
    read_sweep,
)
from hypeeg.experiments.sweep_points import sweep_points

GRID = {"training.lr": [0.1, 0.2], "pipelines.csp.params.shift": [0, 3]}


@pytest.fixture
def sweep_spec(spec_data: Callable[..., dict[str, Any]]) -> Callable[..., RunSpec]:
    def make(**sweep: Any) -> RunSpec:
        pipelines = [{"name": "mdm", "model": "mdm"}, {"name": "csp", "model": "csp_lda"}]
        changes = {"evaluation": {"n_folds": 2, "scoring": "accuracy"}, "pipelines": pipelines}
        return RunSpec.from_data(spec_data(sweep={"grid": GRID, **sweep}, **changes))

    return make


class Lab:
    """Runs sweeps with estimators that need no network; `plan` may end a fit."""

    def __init__(self, out: Path, make_trials: Any, threshold: Any) -> None:
        self.out = out
        self.make_trials, self.threshold = make_trials, threshold
        self.fits: list[tuple[str, str]] = []
        self.plan: Callable[[str], None] = lambda name: None

    def options(self) -> dict[str, Any]:
        def build(spec: RunSpec, pipeline: Any, trials: Any, seed: int) -> Any:
            def fit(X: np.ndarray, y: np.ndarray) -> None:
                self.plan(spec.name)
                self.fits.append((spec.name, pipeline.name))

            shift = 0.1 * spec.training.lr + 0.2 * pipeline.params.get("shift", 0)
            return self.threshold(seed, shift, fit)

        load = lambda spec: self.make_trials(1, 1, per_class=6)  # noqa: E731
        return {"load": load, "build": build, "progress": False}

    def start(self, spec: RunSpec, out: str = "runs") -> SweepResult:
        return run_sweep(spec, self.out / out, **self.options())


@pytest.fixture
def lab(tmp_path: Path, make_trials: Any, threshold: Any) -> Lab:
    return Lab(tmp_path, make_trials, threshold)


def test_points_are_the_file_with_each_combination_set(sweep_spec: Any) -> None:
    spec = sweep_spec(seeds=[4, 7])
    points = sweep_points(spec)
    alone = spec.model_copy(update={"sweep": None})
    for point, (lr, shift) in zip(points, itertools.product(*GRID.values()), strict=True):
        changes = [f"training.lr={lr}", f"pipelines.1.params.shift={shift}"]
        assert point.spec == alone.apply_overrides([*changes, "evaluation.seeds=[4,7]"])
        assert point.values == {"training.lr": lr, "pipelines.csp.params.shift": shift}
    assert [p.spec.name for p in named_points(spec)] == [f"small-p{i:03d}" for i in range(4)]
    assert spec.sweep is not None
    assert spec.sweep.n_points == 4
    assert RunSpec.from_text(spec.to_yaml()) == spec


def test_seeds_alone_are_one_point(spec_data: Callable[..., dict[str, Any]]) -> None:
    [point] = sweep_points(RunSpec.from_data(spec_data(sweep={"seeds": 3})))
    assert point.spec.seeds == [3]
    assert point.spec.sweep is None


def test_a_sweep_is_a_folder_of_runs_and_a_table(sweep_spec: Any, lab: Lab) -> None:
    told: list[str] = []
    spec = sweep_spec(seeds=[0, 1])
    result = run_sweep(
        spec, lab.out / "runs", tell=lambda p, n: told.append(f"{p.label} of {n}"), **lab.options()
    )
    assert result.state == "done"
    assert told[1] == "training.lr=0.1, pipelines.csp.params.shift=3 of 4"
    # A folder beside the runs, not among them; its points are runs in it.
    assert [p.name for p in (lab.out / "runs").iterdir()] == [result.folder.name]
    [info] = list_sweeps(lab.out / "runs")
    assert (info.state, info.n_done, info.paths) == ("done", 4, list(GRID))
    table = pd.read_csv(result.folder / "points.csv")
    assert len(table) == 4 * 2
    for point in info.points:
        assert point.folder is not None
        kept = RunSpec.from_yaml(point.folder / "spec_resolved.yaml")
        assert kept.training.lr == point.values["training.lr"]
        assert kept.evaluation.seeds == [0, 1]
        # Mean over sessions of the means over folds and seeds, from the table of the run itself.
        scores = pd.read_csv(point.folder / "scores.csv")
        means = scores.groupby(["pipeline", "subject", "session"])["score"].mean()
        rows = table[table["point"] == point.index].set_index("pipeline")
        for name, mean in means.groupby("pipeline").mean().items():
            assert rows.loc[name, "score"] == pytest.approx(mean, abs=1e-12)
            assert rows.loc[name, "pipelines.csp.params.shift"] == list(point.values.values())[1]
        assert set(rows["n_scores"]) == {2 * 2}
    assert table["score"].nunique() > 1


def test_a_sweep_goes_on_as_if_it_had_not_been_interrupted(sweep_spec: Any, lab: Lab) -> None:
    spec = sweep_spec()
    whole = lab.start(spec, "whole")
    n_fits = len(lab.fits)
    lab.fits.clear()

    def interrupt(name: str) -> None:
        if name == "small-p002" and len(lab.fits) > 2 * 4:
            raise KeyboardInterrupt

    lab.plan = interrupt
    broken = lab.start(spec, "broken")
    assert broken.state == "cancelled"
    assert [p.state for p in broken.points] == ["done"] * 2 + ["cancelled", "planned"]
    assert (broken.folder / "points.csv").is_file()
    assert read_sweep(broken.folder).state == "incomplete"
    lab.plan = lambda name: None
    ended = resume_sweep(broken.folder, **lab.options())
    assert ended.state == "done"
    # None lost, none twice.
    assert len(lab.fits) == n_fits
    for ours, theirs in zip(ended.points, whole.points, strict=True):
        assert ours.folder is not None
        assert theirs.folder is not None
        tables = [pd.read_csv(p / "scores.csv") for p in (ours.folder, theirs.folder)]
        times = [c for c in tables[0] if "time" in c or c in ("started", "finished")]
        pd.testing.assert_frame_equal(*(t.drop(columns=times) for t in tables), check_exact=True)
    assert len(list(broken.folder.glob("small-p*"))) == 4


def test_a_point_that_fails_does_not_end_the_others(sweep_spec: Any, lab: Lab) -> None:
    def fail(name: str) -> None:
        if name == "small-p001":
            raise ArithmeticError("singular")

    lab.plan = fail
    result = lab.start(sweep_spec())
    assert result.state == "failed"
    assert [p.state for p in result.points] == ["done", "failed", "done", "done"]
    before = len(lab.fits)
    lab.plan = lambda name: None
    # All of its folds were tried: only --failed tries them again.
    assert resume_sweep(result.folder, **lab.options()).state == "failed"
    assert len(lab.fits) == before
    assert resume_sweep(result.folder, failed=True, **lab.options()).state == "done"
    assert {name for name, _ in lab.fits[before:]} == {"small-p001"}
    table = pd.read_csv(result.folder / "points.csv")
    assert set(table["state"]) == {"done"}


def test_a_point_that_cannot_begin_is_recorded_and_tried_again(sweep_spec: Any, lab: Lab) -> None:
    options = lab.options()

    def build(spec: RunSpec, *others: Any) -> Any:
        if spec.name == "small-p002":
            raise SpecError([], "no such head")
        return options["build"](spec, *others)

    result = run_sweep(sweep_spec(), lab.out, **{**options, "build": build})
    assert [p.state for p in result.points] == ["done", "done", "failed", "done"]
    assert "no such head" in str(read_info(result.points[2].folder or Path()).status["error"])
    again = resume_sweep(result.folder, **options)
    assert again.state == "done"
    assert again.points[2].folder != result.points[2].folder


def test_an_error_that_leaves_no_run_ends_the_sweep(
    sweep_spec: Any, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise SpecError([], "no scheduler")

    monkeypatch.setattr("hypeeg.experiments.runner.open_backend", unreachable)
    with pytest.raises(SpecError, match="no scheduler"):
        lab.start(sweep_spec())


def test_one_process_at_a_time(sweep_spec: Any, lab: Lab) -> None:
    lab.plan = lambda name: (_ for _ in ()).throw(KeyboardInterrupt)
    folder = lab.start(sweep_spec()).folder
    with RunFolder(folder).held(), pytest.raises(RecordError, match="another process"):
        resume_sweep(folder, **lab.options())


def test_a_sweep_that_was_changed_is_not_gone_on_with(sweep_spec: Any, lab: Lab) -> None:
    lab.plan = lambda name: (_ for _ in ()).throw(KeyboardInterrupt)
    result = lab.start(sweep_spec())
    kept = result.folder / "sweep_spec.yaml"
    kept.write_text(kept.read_text().replace("[0.1, 0.2]", "[0.1, 0.3]"))
    with pytest.raises(RecordError, match="other points"):
        resume_sweep(result.folder, **lab.options())
    (result.folder / "sweep.json").write_text("{")
    with pytest.raises(RecordError, match="no readable sweep"):
        read_sweep(result.folder)
    # A list of all of them is still made.
    assert [s.points for s in list_sweeps(result.folder.parent)] == [()]


def test_a_run_is_no_sweep(sweep_spec: Any, small_spec: RunSpec, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="run_sweep"):
        run(sweep_spec(), tmp_path / "runs")
    with pytest.raises(SpecError, match="sweep: missing"):
        run_sweep(small_spec, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_sweep_is_found_by_the_beginning_of_its_name(sweep_spec: Any, lab: Lab) -> None:
    lab.plan = lambda name: (_ for _ in ()).throw(KeyboardInterrupt)
    folder = lab.start(sweep_spec(), "runs").folder
    out = folder.parent
    assert locate_sweep("small-sw", out) == folder
    assert locate_sweep(folder, "elsewhere") == folder
    assert locate_sweep("other", out) is None
    (out / "small-run").mkdir()
    (out / "small-run" / "status.json").write_text("{}")
    assert locate_sweep("small", out) is None
    # Values that are no plain numbers or words stand in the table as JSON.
    data = json.loads((folder / "sweep.json").read_text())
    data["points"][0]["values"]["training.lr"] = {"a": [1]}
    (folder / "sweep.json").write_text(json.dumps(data))
    assert '"{""a"": [1]}"' in points_table(read_sweep(folder))


@pytest.mark.parametrize(
    ("sweep", "path", "fragments"),
    [
        ({}, "sweep", ["nothing varies", "grid"]),
        ({"grd": {"training.lr": [1]}}, "sweep.grd", ["unknown key", "'grid'?"]),
        ({"grid": {"training.lr": []}}, "sweep.grid", ["'training.lr'", "no values"]),
        ({"grid": {"training.lr": [0.1, 0.1]}}, "sweep.grid", ["repeats 0.1"]),
        ({"grid": {"training..lr": [0.1]}}, "sweep.grid", ["is no path"]),
        ({"grid": {"sweep.seeds": [0.1]}}, "sweep.grid", ["cannot vary"]),
        (
            {"grid": {"training.lrr": [0.1]}},
            "sweep.grid.training.lrr",
            ["unknown key", "'lr'?"],
        ),
        ({"grid": {"training.lr": [0.1, -2]}}, "sweep.grid.training.lr", ["-2", "greater"]),
        ({"grid": {"pipelines.hiper.model": ["x"]}}, "sweep.grid.pipelines.hiper.model", ["hyper"]),
        (
            {"grid": {"pipelines.csp.model": ["mdm", "mmd"]}},
            "sweep.grid.pipelines.csp.model",
            ["'mdm'?"],
        ),
        ({"grid": {"dataset.subjects": [[1], [9]]}}, "sweep.grid.dataset.subjects", ["9", "1 to"]),
        ({"seeds": [-1]}, "sweep.seeds", ["-1"]),
        ({"seeds": [1], "grid": {"evaluation.seeds": [[1]]}}, "sweep", ["given twice"]),
        (
            {"grid": {f"training.{n}": list(range(1, 40)) for n in ("lr", "c")}},
            "sweep",
            ["1521", "1000"],
        ),
    ],
)
def test_a_wrong_sweep_is_told_before_anything_runs(
    sweep: dict[str, Any],
    path: str,
    fragments: list[str],
    spec_data: Callable[..., dict[str, Any]],
) -> None:
    with pytest.raises(SpecError) as caught:
        RunSpec.from_data(spec_data(sweep=sweep))
    problems = {problem.path: problem.message for problem in caught.value.problems}
    assert path in problems, problems
    for fragment in fragments:
        assert fragment in problems[path]


def test_values_that_only_together_are_wrong_are_told_before_any_run(
    spec_data: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    grid = {"training.c": [1, 15], "training.curvature": ["learned", "sharpness_aware"]}
    spec = RunSpec.from_data(spec_data(sweep={"grid": grid}))
    with pytest.raises(SpecError, match=r"training\.c=15, training\.curvature=sharpness_aware"):
        run_sweep(spec, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_specs_are_read_whatever_their_kind(tmp_path: Path) -> None:
    text = "name: a\nkind: visoin\n"
    with pytest.raises(SpecError, match=r"kind: got 'visoin'; allowed: eeg.*'vision'\?"):
        read_run_spec(text)
    (tmp_path / "a.yaml").write_text(text)
    for given in (tmp_path / "a.yaml", str(tmp_path / "a.yaml")):
        with pytest.raises(SpecError, match=r"a\.yaml: 1 problem"):
            read_run_spec(given)
    good = "name: a\ndataset: {name: SimulatedMI}\npipelines: [{name: a, model: csp_lda}]\n"
    assert isinstance(read_run_spec(good), RunSpec)
    changed = read_run_spec(good, ["kind=eeg", "n_jobs=3"])
    assert (changed.kind, changed.n_jobs) == ("eeg", 3)
    records = FoldLog(tmp_path / "none.jsonl").read()
    assert records == []


@pytest.mark.parametrize(
    ("override", "path", "fragment"),
    [
        ("backend=dsk", "backend", "'dask'?"),
        ("backend={name: dask}", "backend", "scheduler is missing"),
        ("backend={scheduler: 'tcp://a:1'}", "backend", "name is local"),
        ("backend={name: dask, scheduler: nowhere}", "backend.scheduler", "tcp://node7:8786"),
        ("backend={name: dask, shceduler: x}", "backend.shceduler", "'scheduler'?"),
        ("resources.gpus=[]", "resources.gpus", "at least 1"),
        ("resources.gpus=[-1]", "resources.gpus", "numbered from 0"),
        ("resources.threads=0", "resources.threads", "greater than or equal to 1"),
    ],
)
def test_what_a_run_runs_on_is_checked(
    override: str, path: str, fragment: str, spec_data: Callable[..., dict[str, Any]]
) -> None:
    spec = RunSpec.from_data(spec_data())
    with pytest.raises(SpecError) as caught:
        spec.apply_overrides([override])
    messages = {problem.path: problem.message for problem in caught.value.problems}
    assert fragment in messages[path]
    fine = spec.apply_overrides(
        ["backend={name: dask, scheduler: 'tcp://a:1'}", "resources.gpus=1"]
    )
    assert fine.backend.scheduler == "tcp://a:1"
    assert fine.resources.gpus == [1]
    assert spec.apply_overrides(["backend=local"]) == spec
