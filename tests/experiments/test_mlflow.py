"""Runs in MLflow: a real server is told what the run folder says, and its absence ends nothing."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from hypeeg.cli import app
from hypeeg.experiments import mlflow_log
from hypeeg.experiments.mlflow_log import MLflowError, log_run, tracking_uri
from hypeeg.experiments.mlflow_run import flatten, recorded_run, task_metrics, without_password
from hypeeg.experiments.observers import Observers, RunStart
from hypeeg.experiments.resume import resume
from hypeeg.experiments.runner import RunResult, run
from hypeeg.experiments.spec import RunSpec

HAS_CLIENT = importlib.util.find_spec("mlflow") is not None
HAS_SERVER = HAS_CLIENT and importlib.util.find_spec("flask") is not None
needs_server = pytest.mark.skipif(
    not HAS_SERVER, reason="mlflow, with its server, is not installed"
)
START_UP = 240.0  # seconds; a few on an idle machine

Run = Callable[..., RunResult]


@pytest.fixture
def small_run(
    tmp_path: Path,
    make_trials: Callable[..., SimpleNamespace],
    spec_data: Callable[..., dict[str, Any]],
    threshold: type[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Starts a run, or goes on with one, without networks; nothing is logged unless one says so."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    trials = make_trials()
    spec = RunSpec.from_data(spec_data(description="Small.", evaluation={"n_folds": 2}))

    def start(folder: Path | None = None, on_fit: Any = None, **options: Any) -> RunResult:
        def build(spec: RunSpec, pipeline: Any, trials: Any, seed: int) -> Any:
            shift = {"hyper": 0.0, "flat": 0.1}.get(pipeline.name, 0.2)
            return threshold(seed, shift, on_fit if pipeline.name == "csp" else None)

        options |= {"load": lambda _: trials, "build": build, "progress": False}
        if folder is not None:
            return resume(folder, **options)
        return run(spec, tmp_path / "runs", **options)

    return start


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracking server with a SQLite store on this machine."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder / 'store.db'}"),
        *("--artifacts-destination", str(folder / "artifacts")),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, start_new_session=True
        )
    uri = f"http://127.0.0.1:{port}"
    try:
        wait_for(uri, process, folder / "log.txt")
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def wait_for(uri: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_UP
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=2):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.2)
    pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")


def told(uri: str, folder: Path) -> tuple[Any, dict[str, Any], Any]:
    """Return the run, its nested runs by pipeline, and the client."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    parent = client.get_run(recorded_run(folder)["run_id"])
    found = client.search_runs(
        [parent.info.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'"
    )
    return parent, {each.data.tags["hypeeg.pipeline"]: each for each in found}, client


def check_scores(uri: str, folder: Path) -> None:
    """Every fold of the table is one point in MLflow, and there are no others."""
    _, children, client = told(uri, folder)
    scores = pd.read_csv(folder / "scores.csv")
    tasks = pd.read_csv(folder / "tasks.csv")
    keys = ["pipeline", "subject", "session", "fold", "seed"]
    scores = scores.merge(tasks[[*keys, "task"]], on=keys)
    assert sorted(children) == sorted(tasks["pipeline"].unique())
    for name, own in scores.groupby("pipeline"):
        history = client.get_metric_history(children[name].info.run_id, "score")
        assert len(history) == len(own)
        expected = dict(zip(own["task"], own["score"], strict=True))
        assert {m.step: m.value for m in history} == pytest.approx(expected)
        units = own.groupby(["subject", "session"])["score"].mean()
        assert children[name].data.metrics["score_mean"] == pytest.approx(units.mean())


@needs_server
def test_a_real_server_is_told_what_the_folder_says(
    small_run: Run, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    result = small_run()
    assert result.state == "done", result.failures
    check_scores(server, result.folder)
    parent, children, client = told(server, result.folder)
    assert parent.info.status == "FINISHED"
    assert {child.info.status for child in children.values()} == {"FINISHED"}
    assert parent.info.run_name == result.folder.name
    assert client.get_experiment(parent.info.experiment_id).name == "small"
    assert parent.data.tags["mlflow.note.content"] == "Small."
    assert parent.data.params["evaluation.n_folds"] == "2"
    assert children["flat"].data.params["twin_of"] == "hyper"
    loss = client.get_metric_history(children["hyper"].info.run_id, "epoch.train_loss")
    assert [(m.step, m.value) for m in loss] == [(1, 0.7), (2, 0.5)]
    bent = client.get_metric_history(children["hyper"].info.run_id, "epoch.c")
    assert [(m.step, m.value) for m in bent] == [(0, 1.0), (1, 1.5)]
    files = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert files >= {"spec_resolved.yaml", "summary.md", "scores.csv", "history.csv"}
    assert recorded_run(result.folder)["state"] == "complete"


@needs_server
def test_failures_and_a_resumed_run_are_one_run_there(
    small_run: Run, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    fits: list[int] = []

    def stop(_X: Any, _y: Any) -> None:
        fits.append(len(fits))
        if len(fits) == 3:
            raise KeyboardInterrupt

    stopped = small_run(on_fit=stop)
    assert stopped.state == "cancelled"
    before, children, _ = told(server, stopped.folder)
    assert before.info.status == "KILLED"
    assert len(children) == 3

    def fail(_X: Any, _y: Any) -> None:
        fits.append(len(fits))
        if len(fits) == 4:
            raise ValueError("no")

    # Where it was logged is written in the run, so that nothing need be said again.
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    ended = small_run(stopped.folder, on_fit=fail)
    assert ended.state == "failed"
    check_scores(server, ended.folder)
    after, _, _ = told(server, ended.folder)
    assert after.info.run_id == before.info.run_id
    assert after.info.status == "FAILED"
    assert after.data.metrics["n_failed"] == 1


@needs_server
def test_a_run_is_logged_later_by_the_command(small_run: Run, server: str) -> None:
    result = small_run()
    assert not (result.folder / "mlflow.json").exists()
    arguments = ["mlflow", str(result.folder), "--uri", server]
    for _ in range(2):
        said = CliRunner().invoke(app, arguments)
        assert said.exit_code == 0, said.output
    assert recorded_run(result.folder)["run_id"] in said.output
    check_scores(server, result.folder)


@pytest.fixture
def nobody() -> str:
    """An address that nobody listens at, with a password."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://ann:se%cret@127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.skipif(not HAS_CLIENT, reason="mlflow is not installed")
def test_a_server_that_is_away_ends_nothing(
    small_run: Run, nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = small_run()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", nobody)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    result = small_run()
    assert result.state == "done"
    columns = ["pipeline", "subject", "session", "fold", "score"]
    pd.testing.assert_frame_equal(result.scores[columns], plain.scores[columns])
    log = (result.folder / "log.txt").read_text()
    assert "MLflowObserver is told no more of this run" in log
    assert "hypeeg mlflow" in log
    noted = recorded_run(result.folder)
    assert noted["state"] == "incomplete"
    assert noted["problem"]
    for text in (log, json.dumps(noted)):
        assert "se%cret" not in text
        assert "ann:" not in text
    with pytest.raises(MLflowError, match="the run itself is not affected"):
        log_run(result.folder, nobody)


def test_a_missing_mlflow_is_named_and_ends_nothing(
    small_run: Run, nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", nobody)
    monkeypatch.setattr(mlflow_log.importlib.util, "find_spec", lambda name: None)
    result = small_run()
    assert result.state == "done"
    assert "pip install 'hypeeg[mlflow]'" in (result.folder / "log.txt").read_text()
    said = CliRunner().invoke(app, ["mlflow", str(result.folder), "--uri", nobody])
    assert said.exit_code != 0
    assert "pip install 'hypeeg[mlflow]'" in said.output
    # Who asks for it is told before anything is run.
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    said = CliRunner().invoke(app, ["run", "quickstart", "--mlflow", nobody])
    assert said.exit_code == 2
    assert "--mlflow: mlflow is not installed" in said.output


class Noisy:
    """Notes what it is told; raises at one of its calls."""

    def __init__(self, fails_at: str = "") -> None:
        self.fails_at = fails_at
        self.told: list[str] = []

    def _note(self, what: str) -> None:
        self.told.append(what)
        if what == self.fails_at:
            raise OSError("no chart")

    def on_start(self, start: RunStart) -> None:
        self._note("start")

    def on_task(self, record: Mapping[str, Any], part: Path) -> None:
        self._note("task")

    def on_end(self, result: RunResult) -> None:
        self._note("end")


def test_an_observer_that_raises_is_told_no_more_and_the_others_are() -> None:
    first, second = Noisy("task"), Noisy()
    both = Observers([first, second])
    both.start(RunStart(Path(), None, ()))
    both.task({}, Path())
    both.task({}, Path())
    both.end(SimpleNamespace())  # type: ignore[arg-type]
    assert first.told == ["start", "task"]
    assert second.told == ["start", "task", "task", "end"]


def test_what_is_sent_of_a_task() -> None:
    rows = [
        {"score": 0.5, "n_test": 10, "n_correct": 5, "measures": {"map": 0.2}},
        {"score": 1.0, "n_test": 30, "n_correct": 30, "measures": {"map": 0.4}},
    ]
    record = {"status": "done", "scores": rows, "fit_time": 2.0, "curvature": None, "n_train": 7}
    assert task_metrics(record) == pytest.approx(
        {"score": 0.75, "accuracy": 35 / 40, "map": 0.3, "fit_time": 2.0, "n_train": 7.0}
    )
    assert task_metrics({"status": "failed"}) == {}
    assert task_metrics({**record, "scores": [{**rows[0], "n_correct": None}]})["score"] == 0.5


def test_parameters_and_addresses() -> None:
    assert flatten({"a": {"b": 1, "c": None}, "d": [1, "x"], "e": "t", "f": True}) == {
        "a.b": "1",
        "d": '[1, "x"]',
        "e": "t",
        "f": "true",
    }
    assert without_password("https://a:b@host:1/x") == "https://host:1/x"
    assert without_password("sqlite:///x.db") == "sqlite:///x.db"


def test_where_a_run_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(tmp_path) is None
    (tmp_path / "mlflow.json").write_text('{"tracking_uri": "http://there"}')
    assert tracking_uri(tmp_path) == "http://there"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://here")
    assert tracking_uri(tmp_path) == "http://here"
