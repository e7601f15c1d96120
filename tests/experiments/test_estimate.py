"""What a dry run says: counts that the run has, memory and time that are said to be rough."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from hypeeg.eeg.manifest import load_manifest
from hypeeg.eeg.memory import estimate_memory
from hypeeg.experiments.estimate import (
    TRAIN_COPIES,
    WORKER_BYTES,
    describe_plan,
    estimate_run,
    show_time,
)
from hypeeg.experiments.library import find_spec, list_specs
from hypeeg.experiments.runner import run
from hypeeg.experiments.spec import RunSpec, read_run_spec
from hypeeg.experiments.store import FoldLog

SpecData = Callable[..., dict[str, Any]]
CSP = [{"name": "csp", "model": "csp_lda"}]


@pytest.mark.parametrize(
    "evaluation",
    [
        {"n_folds": 3, "seeds": [0, 1]},
        {"kind": "cross_session"},
        {"kind": "cross_subject", "seeds": [4, 5]},
        {"learning_curve": {"sizes": [2, 4], "n_perms": 2}},
    ],
)
def test_the_tasks_are_those_of_the_run(
    evaluation: dict[str, Any], spec_data: SpecData, tmp_path: Path
) -> None:
    spec = RunSpec.from_data(spec_data(evaluation=evaluation, pipelines=CSP))
    estimate = estimate_run(spec)
    result = run(spec, tmp_path, progress=False)
    tasks = pd.read_csv(result.folder / "tasks.csv")
    assert estimate.n_tasks == len(tasks) == result.n_tasks
    assert estimate.n_fits == estimate.n_tasks
    # The manifest counts the trials of the simulated data exactly.
    largest = 4 * tasks["n_train"].mean() * 22 * 321
    assert estimate.train_bytes == pytest.approx(largest, rel=0.02)
    [seconds] = [cost.seconds for cost in estimate.pipelines]
    assert seconds is not None
    assert seconds > 0
    assert estimate.pipelines[0].source == "rule of thumb"


def test_memory_is_that_of_loading_or_of_all_jobs(spec_data: SpecData) -> None:
    spec = RunSpec.from_data(spec_data(n_jobs=3, pipelines=CSP)).resolve()
    manifest = load_manifest("SimulatedMI")
    loading = estimate_memory(manifest, [1, 2], spec.dataset.events or [], spec.preprocessing)
    assert loading is not None
    estimate = estimate_run(spec)
    assert estimate.memory == loading
    workers = 3 * (WORKER_BYTES + TRAIN_COPIES * estimate.train_bytes)
    assert estimate.peak_bytes == loading.epochs_bytes + workers
    assert any("with 3 jobs" in line for line in describe_plan(spec))


def test_fits_of_searches_are_counted(
    spec_data: SpecData, make_trials: Callable[..., SimpleNamespace], tmp_path: Path
) -> None:
    grid = {"grid": {"params.n_components": [1, 2, 3]}, "n_folds": 2}
    study = {"search": "optuna", "space": {"params.F1": [2, 4]}, "n_trials": 7, "n_folds": 3}
    pipelines = [
        {"name": "csp", "model": "csp_lda", "tuning": grid},
        {"name": "hyper", "model": "HyperbolicEEGNet", "tuning": study},
        {"name": "flat", "model": "EEGNet", "twin_of": "hyper"},
    ]
    estimate = estimate_run(RunSpec.from_data(spec_data(pipelines=pipelines)))
    assert [cost.fits for cost in estimate.pipelines] == [3 * 2 + 1, 7 * 3 + 1, 7 * 3 + 1]
    assert estimate.n_fits == estimate.n_folds * (7 + 22 + 22)
    lines = describe_plan(RunSpec.from_data(spec_data(pipelines=pipelines)))
    assert any(f"{estimate.n_fits} fits" in line and "hyper 22" in line for line in lines)


def test_time_is_scaled_from_earlier_runs(
    spec_data: SpecData,
    make_trials: Callable[..., SimpleNamespace],
    threshold: Any,
    tmp_path: Path,
) -> None:
    pipelines = [{"name": "net", "model": "EEGNet"}, *CSP]
    spec = RunSpec.from_data(spec_data(pipelines=pipelines, training={"max_epochs": 10}))
    result = run(
        spec,
        tmp_path,
        load=lambda _: make_trials(),
        build=lambda spec, pipeline, trials, seed: threshold(seed),
        progress=False,
    )
    log = result.folder / "folds.jsonl"
    records = FoldLog(log).read()
    log.unlink()
    for record in records:
        record |= {"fit_time": 1.5 if record["pipeline"] == "net" else 0.5, "predict_time": 0.5}
        record["n_train"] = 20
        FoldLog(log).append(record)
    # Twice the epochs, other names: seconds for each training trial and epoch are the same.
    renamed = [{"name": "a", "model": "EEGNet"}, {"name": "b", "model": "csp_lda"}]
    changes = {"pipelines": renamed, "training": {"max_epochs": 20}, "n_jobs": 2}
    estimate = estimate_run(RunSpec.from_data(spec_data(**changes)), tmp_path)
    trials = estimate.train_bytes / (4 * 22 * 321)
    net, csp = (cost.seconds for cost in estimate.pipelines)
    assert net == pytest.approx(2.0 / (20 * 10) * 20 * trials)
    assert csp == pytest.approx(1.0 / 20 * trials)
    assert estimate.seconds == pytest.approx((net + csp) * estimate.n_folds / 2)
    assert {cost.source for cost in estimate.pipelines} == {"earlier runs"}
    assert any("as earlier runs" in line for line in describe_plan(spec, tmp_path))
    # Other parameters cost something else.
    other = [{"name": "a", "model": "EEGNet", "params": {"F1": 2}}]
    [cost] = estimate_run(RunSpec.from_data(spec_data(pipelines=other)), tmp_path).pipelines
    assert cost.source == "rule of thumb"
    # A damaged record and a specification that is no longer read are passed over.
    log.write_text("no json\n")
    assert estimate_run(spec, tmp_path).pipelines[0].source == "rule of thumb"


@pytest.mark.parametrize("name", list_specs())
def test_every_shipped_spec_has_a_plan(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYPEEG_DATA", raising=False)
    spec = read_run_spec(find_spec(name))
    lines = describe_plan(spec)
    assert lines[-1] == "Nothing was run."
    assert estimate_run(spec).n_tasks >= len(spec.pipeline_names) * len(spec.seeds)


def test_a_sweep_is_planned_point_by_point(spec_data: SpecData) -> None:
    sweep = {"grid": {"evaluation.n_folds": [2, 5], "training.lr": [0.1]}, "seeds": [0, 1]}
    lines = describe_plan(RunSpec.from_data(spec_data(pipelines=CSP, sweep=sweep)))
    assert lines[0].startswith("small-p000: evaluation.n_folds=2, training.lr=0.1: 16 tasks")
    assert lines[1].endswith("40 tasks")
    assert "2 runs one after the other, 56 tasks" in lines[2]


def test_times_are_written_for_people() -> None:
    assert [show_time(s) for s in (0.2, 44, 100, 7000, 400_000)] == [
        "1 s",
        "44 s",
        "1.7 min",
        "1.9 h",
        "4.6 days",
    ]
