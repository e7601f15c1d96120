"""A run on a real Dask cluster: a scheduler and two workers in processes of their own."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hypeeg.experiments.resume import resume
from hypeeg.experiments.runner import RunResult, run
from hypeeg.experiments.spec import RunSpec
from hypeeg.experiments.spec_errors import SpecError
from hypeeg.experiments.store import FoldLog, RecordError, RunFolder

needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="takes the extra 'cluster'"
)
TIMES = ["fit_time", "predict_time", "time"]


class Farm:
    """A scheduler on the loopback interface and its workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        # Forking a process for each start is all that a nanny would add here.
        self.environment = {
            **os.environ,
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
            "OMP_NUM_THREADS": "1",
        }
        self.processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self.start(
            "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{len(self.processes)}.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments],
            stdout=log,
            stderr=log,
            env=self.environment,
            cwd=self.folder,
        )
        self.processes.append(process)
        return process

    def worker(self) -> subprocess.Popen[bytes]:
        return self.start(
            "worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard",
            "--host", "127.0.0.1", "--local-directory", str(self.folder),
        )  # fmt: skip

    def wait_for_workers(self, count: int) -> None:
        from distributed import Client

        with Client(self.address, timeout=30, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=60)

    def end(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    farm = Farm(tmp_path_factory.mktemp("farm"))
    try:
        farm.worker()
        farm.worker()
        farm.wait_for_workers(2)
        yield farm
    finally:
        farm.end()


@pytest.fixture
def spec(spec_data: Callable[..., dict[str, Any]]) -> RunSpec:
    pipelines = [
        {"name": "csp", "model": "csp_lda", "params": {"n_components": 2}},
        {"name": "ts", "model": "ts_lr"},
    ]
    return RunSpec.from_data(spec_data(pipelines=pipelines))


def on(spec: RunSpec, address: str) -> RunSpec:
    return spec.apply_overrides(["backend.name=dask", f"backend.scheduler={address}"])


def tasks_of(result: RunResult) -> list[int]:
    return [r["task"] for r in FoldLog(result.folder / "folds.jsonl").read()]


def plainly(data: SimpleNamespace) -> Callable[[Any], SimpleNamespace]:
    # Local functions travel by value: workers do not know the tests.
    return lambda _spec: data


def crashing(build: Any, seconds: float, marker: Path, fatal: str) -> Any:
    """Make estimators that take their time, and kill their process as `fatal` says."""
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Slow(ClassifierMixin, BaseEstimator):
        def __init__(self, name: str = "", first: bool = False) -> None:
            self.name = name
            self.first = first

        def fit(self, X: Any, y: Any) -> Any:
            import os
            import signal
            import time

            self.classes_ = np.unique(y)
            n = len(list(marker.parent.glob("begun-*")))
            (marker.parent / f"begun-{os.getpid()}-{n}-{time.time_ns()}").touch()
            once = fatal == "once" and n >= 3 and not marker.exists()
            if once:
                os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
            if once or (fatal == "always" and self.name == "ts" and float(X[0, 0, 0]) == marker_x):
                os.kill(os.getpid(), signal.SIGKILL)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(0.01)
            return self

        def predict_proba(self, X: Any) -> Any:
            p = 1 / (1 + np.exp(-X[:, 0].mean(axis=1)))
            return np.stack([1 - p, p], axis=1)

        def predict(self, X: Any) -> Any:
            return self.classes_[self.predict_proba(X).argmax(axis=1)]

    marker_x = build
    return lambda _spec, pipeline, _trials, _seed: Slow(pipeline.name)


@needs_dask
def test_scores_are_those_of_a_local_run_row_for_row(
    farm: Farm, spec: RunSpec, make_trials: Any, tmp_path: Path
) -> None:
    trials = make_trials(per_class=8)
    local = run(spec, tmp_path, load=plainly(trials), progress=False)
    there = run(on(spec, farm.address), tmp_path, load=plainly(trials), progress=False)
    assert (local.state, there.state) == ("done", "done")
    assert sorted(tasks_of(there)) == list(range(len(local.records)))
    pd.testing.assert_frame_equal(
        local.scores.drop(columns=TIMES), there.scores.drop(columns=TIMES), check_exact=True
    )
    for path in (local.folder / "embeddings").iterdir():
        with np.load(path) as a, np.load(there.folder / "embeddings" / path.name) as b:
            assert a.files == b.files
            for name in a.files:
                np.testing.assert_array_equal(a[name], b[name])
    a, b = (json.loads((r.folder / "data.json").read_text()) for r in (local, there))
    assert a["sha256"] == b["sha256"]


@needs_dask
def test_a_worker_that_reads_other_data_ends_the_run(
    farm: Farm, spec: RunSpec, make_trials: Any, tmp_path: Path
) -> None:
    trials, other, here = make_trials(), make_trials(seed=1), os.getpid()

    def load(_spec: Any) -> Any:
        import os

        return trials if os.getpid() == here else other

    with pytest.raises(RecordError, match=r"other data than the run was planned on: the trials'"):
        run(on(spec, farm.address), tmp_path, load=load, progress=False)
    [folder] = tmp_path.iterdir()
    assert RunFolder(folder).read_status()["state"] == "failed"
    assert not (folder / "folds.jsonl").exists()
    # Resumed with the right data, nothing is missing.
    assert resume(folder, load=plainly(trials), progress=False).state == "done"


@needs_dask
def test_the_task_of_a_worker_that_is_killed_is_done_by_another(
    farm: Farm, spec: RunSpec, make_trials: Any, tmp_path: Path
) -> None:
    farm.worker()
    farm.wait_for_workers(3)
    marks = tmp_path / "marks"
    marks.mkdir()
    result = run(
        on(spec, farm.address),
        tmp_path / "runs",
        load=plainly(make_trials()),
        build=crashing(None, 0.05, marks / "m", "once"),
        progress=False,
    )
    assert result.state == "done"
    assert sorted(tasks_of(result)) == list(range(16))
    # One was begun twice; so is a task that ended on that worker and was not fetched yet.
    assert len(list(marks.glob("begun-*"))) >= 17
    assert sum(process.poll() is not None for process in farm.processes) == 1


@needs_dask
def test_a_task_that_kills_its_workers_has_failed_and_is_resumed(
    farm: Farm, spec: RunSpec, make_trials: Any, tmp_path: Path
) -> None:
    # Two deaths are allowed for: one more worker than those stays.
    farm.worker()
    farm.worker()
    farm.wait_for_workers(3)
    trials = make_trials()
    marks = tmp_path / "marks"
    marks.mkdir()
    deadly = float(trials.X[0, 0, 0])
    remote = on(spec.apply_overrides(["evaluation.n_folds=2"]), farm.address)
    load = plainly(trials)
    build = crashing(deadly, 0.0, marks / "m", "always")
    result = run(remote, tmp_path / "runs", load=load, build=build, progress=False)
    assert result.state == "failed"
    assert sorted(tasks_of(result)) == list(range(16))
    # The deadly one, and at most who was on its way to the same workers twice.
    failures = result.failures
    assert 1 <= len(failures) < 8
    for failure in failures:
        assert failure["error"].startswith("WorkerDied: each worker that took this task died")
    again = resume(
        result.folder, failed=True, load=load, build=crashing(None, 0.0, marks / "m", "no")
    )
    assert again.state == "done"
    assert sorted(tasks_of(again)) == sorted([*range(16), *(f["task"] for f in failures)])


@needs_dask
def test_an_interrupted_run_leaves_the_cluster_idle(
    farm: Farm, spec: RunSpec, make_trials: Any, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()

    def interrupt() -> None:
        end = time.monotonic() + 60
        while not list(marks.iterdir()) and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGINT)

    # What a shell starts in the background ignores the signal, and so would this.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    try:
        result = run(
            on(spec, farm.address),
            tmp_path / "runs",
            load=plainly(make_trials()),
            build=crashing(None, 600.0, marks / "m", "no"),
            progress=False,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    thread.join()
    assert result.state == "cancelled"
    from distributed import Client

    with Client(farm.address, timeout=30, set_as_default=False) as client:
        # Whoever comes next gets the workers at once, and none is at the old tasks.
        assert client.submit(lambda: 7, pure=False).result(timeout=20) == 7
        n_begun = len(list(marks.iterdir()))
        assert not any(client.processing().values())
    assert len(list(marks.iterdir())) == n_begun <= 4


def test_a_scheduler_that_does_not_answer_is_told_before_a_folder_is_made(
    spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hypeeg.experiments import dask_backend

    monkeypatch.setattr(dask_backend, "CONNECT_SECONDS", 0.5)
    with pytest.raises(SpecError, match=r"backend\.(scheduler|name): ") as caught:
        run(on(spec, "tcp://127.0.0.1:9"), tmp_path, progress=False)
    if importlib.util.find_spec("distributed") is not None:
        assert "no Dask scheduler answers at 'tcp://127.0.0.1:9'" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_dask_that_is_not_installed_is_told_before_a_folder_is_made(
    spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SpecError, match=r"pip install 'hypeeg\[cluster\]'"):
        run(on(spec, "tcp://127.0.0.1:9"), tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


def test_gpu_slots_are_refused_on_a_cluster(spec: RunSpec, tmp_path: Path) -> None:
    slots = on(spec, "tcp://127.0.0.1:9").apply_overrides(["resources.gpus=[0, 1]"])
    with pytest.raises(SpecError, match=r"resources\.gpus: .*CUDA_VISIBLE_DEVICES"):
        run(slots, tmp_path, progress=False)
    assert not list(tmp_path.iterdir())
