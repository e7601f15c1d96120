"""Workers of this machine: threads, data, GPU slots, and what becomes of one that is killed."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from hypeeg.experiments import shared as shared_module
from hypeeg.experiments.backends import n_workers
from hypeeg.experiments.eeg_wing import EEGWing
from hypeeg.experiments.guard import gpu_slot, limited_threads
from hypeeg.experiments.runner import run
from hypeeg.experiments.shared import Shared
from hypeeg.experiments.spec import RunSpec
from hypeeg.experiments.store import FoldLog
from hypeeg.experiments.wings import wing_of

SpecData = Callable[..., dict[str, Any]]
Maker = Callable[..., SimpleNamespace]


@pytest.fixture
def spec(spec_data: SpecData) -> RunSpec:
    pipelines = [{"name": "a", "model": "csp_lda"}, {"name": "b", "model": "ts_lr"}]
    return RunSpec.from_data(spec_data(pipelines=pipelines, n_jobs=2))


def estimator(notes: Path, fatal: float | None = None, once: bool = False) -> Any:
    """An estimator that notes what it sees; defined here so that it travels by value."""

    class Noting(ClassifierMixin, BaseEstimator):
        def __init__(self, name: str = "") -> None:
            self.name = name

        def fit(self, X: Any, y: Any) -> Any:
            import json
            import os
            import signal
            import time

            import threadpoolctl
            import torch

            self.classes_ = np.unique(y)
            seen = {
                "pid": os.getpid(),
                "torch": torch.get_num_threads(),
                "pools": [pool["num_threads"] for pool in threadpoolctl.threadpool_info()],
            }
            (notes / f"{time.time_ns()}-{os.getpid()}.json").write_text(json.dumps(seen))
            if fatal is not None and self.name == "b" and float(X[0, 0, 0]) == fatal:
                first = not (notes / "died").exists()
                (notes / "died").touch()
                if first or not once:
                    os.kill(os.getpid(), signal.SIGKILL)
            return self

        def predict_proba(self, X: Any) -> Any:
            p = 1 / (1 + np.exp(-X[:, 0].mean(axis=1)))
            return np.stack([1 - p, p], axis=1)

        def predict(self, X: Any) -> Any:
            return self.classes_[self.predict_proba(X).argmax(axis=1)]

    return lambda _spec, pipeline, _trials, _seed: Noting(pipeline.name)


def test_workers_compute_on_one_thread(spec: RunSpec, make_trials: Maker, tmp_path: Path) -> None:
    import json

    notes = tmp_path / "notes"
    notes.mkdir()
    trials = make_trials()
    result = run(spec, tmp_path, load=lambda _: trials, build=estimator(notes), progress=False)
    assert result.state == "done"
    seen = [json.loads(path.read_text()) for path in notes.iterdir()]
    assert len(seen) == 16
    assert os.getpid() not in {one["pid"] for one in seen}
    assert {one["torch"] for one in seen} == {1}
    assert {count for one in seen for count in one["pools"]} == {1}


@pytest.mark.parametrize("once", [True, False])
def test_a_worker_that_is_killed_takes_no_other_task_with_it(
    spec: RunSpec, make_trials: Maker, tmp_path: Path, once: bool
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    trials = make_trials()
    deadly = float(trials.X[0, 0, 0])
    build = estimator(notes, deadly, once)
    result = run(spec, tmp_path / "runs", load=lambda _: trials, build=build, progress=False)
    tasks = [r["task"] for r in FoldLog(result.folder / "folds.jsonl").read()]
    assert sorted(tasks) == list(range(16))
    if once:
        assert result.state == "done"
        return
    assert result.state == "failed"
    [failure] = result.failures
    assert failure["pipeline"] == "b"
    assert failure["error"].startswith("WorkerDied: the worker was ended from outside")


def test_threads_are_as_many_as_asked_for_and_given_back() -> None:
    import threadpoolctl
    import torch

    before = torch.get_num_threads()
    with limited_threads(3):
        assert torch.get_num_threads() == 3
        np.ones((2, 2)) @ np.ones((2, 2))
        assert {p["num_threads"] for p in threadpoolctl.threadpool_info()} == {3}
    assert torch.get_num_threads() == before


def test_data_travel_once_and_arrays_are_mapped(make_trials: Maker, tmp_path: Path) -> None:
    trials = make_trials()
    shared = Shared.of((EEGWing(), trials), "token", tmp_path)
    assert any(end - start == trials.X.nbytes for start, end in shared.places)
    assert (tmp_path / "data.pickle").stat().st_size < trials.X.nbytes / 2
    assert len(pickle.dumps(shared)) < 1000
    _, first = shared.get()
    assert shared.get()[1] is first
    np.testing.assert_array_equal(first.X, trials.X)
    assert not first.X.flags.writeable
    assert first.metadata.equals(trials.metadata)
    elsewhere = tmp_path / "other"
    elsewhere.mkdir()
    other = Shared.of(("other", np.empty(0), np.arange(3.0)), "another token", elsewhere)
    name, nothing, few = other.get()
    assert (name, len(nothing), few.tolist()) == ("other", 0, [0.0, 1.0, 2.0])


def test_data_that_do_not_fit_name_the_folder_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shared_module, "_write", full)
    with pytest.raises(OSError, match=r"TMPDIR") as problem:
        Shared.of(np.zeros(9), "token", tmp_path)
    assert str(tmp_path) in str(problem.value)


def test_workers_that_keep_the_data_do_not_hold_up_the_end_of_a_run(
    tmp_path: Path, make_trials: Maker, spec: RunSpec
) -> None:
    trials = make_trials()
    waits: list[float] = []
    for _ in range(2):  # the first starts the workers
        result = run(spec, tmp_path, load=lambda _: trials, progress=False)
        assert result.state == "done"
        last = max(datetime.fromisoformat(r["finished"]).timestamp() for r in result.records)
        waits.append((result.folder / "scores.csv").stat().st_mtime - last)
    # With arrays that joblib maps it was a whole second, each time.
    assert min(waits) < 0.8


@pytest.mark.parametrize("part", [slice(None), slice(2, 5), (slice(None), slice(1, 3))])
def test_what_is_mapped_from_a_file_is_named_and_not_copied(part: Any, tmp_path: Path) -> None:
    path = tmp_path / "X.npy"
    values = np.arange(60_000, dtype=np.float32).reshape(6, 100, 100)
    np.save(path, values)
    array = np.load(path, mmap_mode="r")[part]
    shared = Shared.of(array, f"mapped {part}", tmp_path)
    found = shared.get()
    np.testing.assert_array_equal(found, values[part])
    if array.flags.c_contiguous:
        sizes = [(tmp_path / name).stat().st_size for name in ("data.pickle", "arrays.bin")]
        assert sum(sizes) < 2000
        assert Path(found.filename) == path


def test_a_worker_keeps_its_gpu_slot_until_it_ends(tmp_path: Path) -> None:
    # Which GPU is current shows on a machine with GPUs only; who gets which slot shows anywhere.
    slots = tmp_path / "slots"
    code = (
        "import sys; from pathlib import Path; from hypeeg.experiments.guard import gpu_slot\n"
        f"with gpu_slot([4, 7], Path({str(slots)!r})) as gpu: print(gpu, flush=True)\n"
        f"with gpu_slot([4, 7], Path({str(slots)!r})) as gpu: print(gpu, flush=True)\n"
        "sys.stdin.read()"
    )

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def told(process: subprocess.Popen[str]) -> list[str]:
        assert process.stdout is not None
        return [process.stdout.readline().strip() for _ in range(2)]

    import torch

    if torch.cuda.is_available():
        pytest.skip("names GPUs that this machine does not have")
    first = start()
    assert told(first) == ["4", "4"]
    second = start()
    assert told(second) == ["7", "7"]
    with pytest.raises(RuntimeError, match="more workers than GPU slots"), gpu_slot([4, 7], slots):
        pass
    first.send_signal(signal.SIGKILL)
    first.wait()
    third = start()
    assert told(third) == ["4", "4"]
    for process in (second, third):
        process.kill()
        process.wait()


def test_gpus_limit_how_many_tasks_run_at_once() -> None:
    assert n_workers(4, None) == 4
    assert n_workers(4, [0, 1]) == 2
    assert n_workers(4, [0, 0, 1, 1, 1]) == 4


def test_the_wing_follows_the_kind_and_can_be_sent(spec: RunSpec) -> None:
    wing = wing_of(spec)
    assert isinstance(wing, EEGWing)
    assert pickle.loads(pickle.dumps(wing)) == wing
    with pytest.raises(ValueError, match="'smell' is not known; known: eeg, vision, hierarchy"):
        wing_of(SimpleNamespace(kind="smell"))
    with pytest.raises(ValueError, match="give a wing"):
        run(spec, load=lambda _: None, wing=wing)  # type: ignore[arg-type,return-value]
