"""The commands on run folders, with real runs in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from hypeeg.cli import app
from hypeeg.experiments.process import process_start_time, this_host
from hypeeg.experiments.run_index import read_info
from hypeeg.experiments.store import FoldLog

Cli = Callable[..., Result]

SPEC = """
name: small
description: A network for one epoch and a classical pipeline.
dataset: {name: SimulatedMI, subjects: [1], sessions: [0]}
evaluation: {n_folds: 8}
training: {max_epochs: 1}
save: {models: none}
pipelines:
  - {name: net, model: EEGNet}
  - {name: csp, model: csp_lda}
"""


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """Calls the command in an empty folder, without a folder of recordings."""
    before = dict(os.environ)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYPEEG_DATA", raising=False)
    yield lambda *arguments: CliRunner().invoke(app, list(arguments))
    os.environ.clear()
    os.environ.update(before)


def start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "hypeeg.cli", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for_folds(out: Path, n: int, child: subprocess.Popen[bytes]) -> Path:
    """Wait until a run has recorded so many folds; return its folder."""
    end = time.monotonic() + 120
    while time.monotonic() < end and child.poll() is None:
        for log in out.glob("*/folds.jsonl"):
            if len(FoldLog(log).read()) >= n:
                return log.parent
        time.sleep(0.005)
    raise AssertionError(f"no {n} folds; exit code {child.poll()}")


def test_a_run_is_cancelled_and_killed_and_ends_as_if_it_had_not_been(
    cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "small.yaml").write_text(SPEC)
    out = tmp_path / "runs"
    child = start("run", "small.yaml")
    path = wait_for_folds(out, 2, child)
    assert read_info(path).state == "running"
    refused = cli("resume", path.name)
    assert refused.exit_code == 2
    assert "is going on" in refused.stderr
    stays = cli("clean", "--yes")
    assert "nothing to remove" in stays.stdout
    cancelled = cli("cancel", "small")
    assert cancelled.exit_code == 0, cancelled.output
    assert f"{path.name}: cancelled; 'hypeeg resume runs/{path.name}'" in cancelled.stdout
    assert child.wait(60) == 130
    again = cli("cancel", "small")
    assert again.exit_code == 2
    assert "not going on (it is cancelled)" in again.stderr

    n_before = len(FoldLog(path / "folds.jsonl").read())
    child = start("resume", "last")
    wait_for_folds(out, n_before + 2, child)
    child.send_signal(signal.SIGKILL)
    child.wait(60)
    assert read_info(path).state == "interrupted"
    shown = cli("show", "small").stdout
    assert "small" in shown
    assert "interrupted" in shown
    assert f"'hypeeg resume runs/{path.name}' goes on with it" in shown

    resumed = cli("resume", "last")
    assert resumed.exit_code == 0, resumed.output
    assert "Run folder:" in resumed.stdout
    tasks = [json.loads(line)["task"] for line in (path / "folds.jsonl").read_text().splitlines()]
    assert sorted(tasks) == list(range(16))
    nothing = cli("resume", path.name)
    assert nothing.exit_code == 0
    assert "nothing is missing" in nothing.stdout
    assert cli("run", "small.yaml", "--out", "whole").exit_code == 0
    [whole] = (tmp_path / "whole").iterdir()
    frames = [
        pd.read_csv(folder / "scores.csv").drop(columns=["fit_time", "predict_time", "time"])
        for folder in (path, whole)
    ]
    pd.testing.assert_frame_equal(frames[0], frames[1], check_exact=True)
    listed = cli("list").stdout
    assert path.name in listed
    assert "16/16" in listed


def make_status(folder: Path, state: str, days: float = 0.0, **values: Any) -> None:
    when = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="milliseconds")
    folder.mkdir(parents=True)
    status = {"state": state, "created": when, "updated": when, **values}
    (folder / "status.json").write_text(json.dumps(status))


def test_clean_asks_and_takes_no_for_an_answer(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    for name, state, days in (("a", "done", 90), ("b", "failed", 90), ("c", "cancelled", 1)):
        make_status(out / name, state, days)
    refused = CliRunner().invoke(app, ["clean"], input="n\n")
    assert refused.exit_code == 1
    assert "Remove 2 runs" in refused.stdout
    assert len(list(out.iterdir())) == 3
    assert cli("clean", "--dry-run", "--state", "done").stdout.startswith("a  done")
    assert len(list(out.iterdir())) == 3
    assert CliRunner().invoke(app, ["clean", "--older-than", "30d"], input="y\n").exit_code == 0
    assert {path.name for path in out.iterdir()} == {"a", "c"}
    assert cli("clean", "--yes", "--state", "done", "--state", "cancelled").exit_code == 0
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["show", "nothing"], ["nothing", "no such run in runs", "newest there: a"]),
        (["resume", "nothing"], ["no such run in runs"]),
        (["cancel", "a"], ["not going on (it is failed)"]),
        (["cancel", "far"], ["'another-machine'", "cancel it there"]),
        (["resume", "a"], ["before its specification was written", "start it anew"]),
        (["list", "--state", "fialed"], ["'fialed'", "Did you mean 'failed'"]),
        (["clean", "--state", "old"], ["unknown state 'old'", "interrupted"]),
        (["clean", "--older-than", "soon"], ["'soon'", "30d"]),
    ],
)
def test_mistakes_are_one_message(
    cli: Cli, tmp_path: Path, arguments: list[str], fragments: list[str]
) -> None:
    make_status(tmp_path / "runs" / "far", "running", 2, host="another-machine", pid=1)
    make_status(tmp_path / "runs" / "a", "failed", 1)
    result = cli(*arguments)
    assert result.exit_code == 2, result.output
    for fragment in fragments:
        assert fragment in result.stderr
    assert "error: " in result.stderr
    assert "Traceback" not in result.stderr


def test_another_process_with_the_same_number_is_never_ended(cli: Cli, tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        started = process_start_time(child.pid)
        assert started is not None
        make_status(
            tmp_path / "runs" / "a",
            "running",
            pid=child.pid,
            process_start_time=started - 3600,
            host=this_host(),
        )
        result = cli("cancel", "a")
        assert result.exit_code == 2
        assert "it is interrupted" in result.stderr
        assert child.poll() is None
    finally:
        child.communicate(b"\n", timeout=30)


def test_show_tells_what_failed(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "a"
    make_status(folder, "failed", n_tasks=9, n_done=1, n_failed=8, dataset="SimulatedMI")
    keys = {"session": "0", "fold": 0, "seed": 0, "pipeline": "csp"}
    score = {"session": "0", "score": 0.75, "n_test": 8}
    log = FoldLog(folder / "folds.jsonl")
    log.append({"task": 0, "subject": 1, **keys, "status": "done", "scores": [score]})
    for task in range(1, 9):
        ended = {"status": "failed", "error": "ZeroDivisionError: no luck\ntoday"}
        log.append({"task": task, "subject": task, **keys, **ended})
    shown = cli("show", "a")
    assert shown.exit_code == 0, shown.output
    for fragment in (
        "a: failed",
        "SimulatedMI",
        "1/9, 8 failed",
        "csp  0.750  (1 sessions, 1 scores)",
        "8 failed:",
        "csp: subject 5 session 0 fold 0 seed 0: ZeroDivisionError: no luck",
        "... and 3 more in folds.jsonl",
        "'hypeeg resume runs/a --failed' tries again.",
    ):
        assert fragment in shown.stdout
    assert "today" not in shown.stdout
