from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hypeeg.experiments import report
from hypeeg.experiments.process import (
    holder_of,
    judged_state,
    process_start_time,
    terminate,
    this_host,
)
from hypeeg.experiments.run_index import (
    failures,
    list_runs,
    locate_run,
    parse_age,
    pipeline_scores,
    read_info,
    removable,
    remove_run,
)
from hypeeg.experiments.runner import RunResult, run
from hypeeg.experiments.spec import RunSpec
from hypeeg.experiments.store import FoldLog, RecordError, RunFolder, latest_records


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing until it is ended."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield child
    if child.poll() is None:
        child.kill()
    child.communicate(timeout=30)


def status_of(child: subprocess.Popen[bytes], **changes: Any) -> dict[str, Any]:
    started = process_start_time(child.pid)
    assert started is not None
    known = {"pid": child.pid, "process_start_time": started, "host": this_host()}
    return {"state": "running", **known, **changes}


def test_running_is_believed_only_if_everything_matches(
    sleeper: subprocess.Popen[bytes],
) -> None:
    status = status_of(sleeper)
    assert holder_of(status) == "alive"
    assert judged_state(status) == "running"
    assert judged_state({**status, "state": "planned"}) == "planned"
    for change, holder in (
        ({"process_start_time": status["process_start_time"] - 60}, "gone"),
        ({"process_start_time": None}, "gone"),
        ({"pid": None}, "gone"),
        ({"pid": True}, "gone"),
        ({"pid": 2**22 + 1}, "gone"),
        ({"host": "another-machine"}, "elsewhere"),
    ):
        assert holder_of({**status, **change}) == holder, change
        assert judged_state({**status, **change}) == "interrupted"
    # What has ended is believed whoever said it.
    for state in ("done", "failed", "cancelled"):
        assert judged_state({"state": state}) == state
    # Early records do not name the machine.
    del status["host"]
    assert holder_of(status) == "alive"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_process_that_nobody_has_buried_yet_is_gone(sleeper: subprocess.Popen[bytes]) -> None:
    status = status_of(sleeper)
    os.kill(sleeper.pid, signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{sleeper.pid}/stat").exists()
    assert holder_of(status) == "gone"


def test_only_the_process_of_the_run_is_asked_to_end(sleeper: subprocess.Popen[bytes]) -> None:
    status = status_of(sleeper)
    for change in (
        {"process_start_time": status["process_start_time"] + 60},
        {"process_start_time": None},
        {"host": "another-machine"},
    ):
        assert not terminate({**status, **change})
    assert sleeper.poll() is None
    assert terminate(status)
    assert sleeper.wait(30) == -signal.SIGTERM
    assert not terminate(status)


@pytest.fixture
def go(tmp_path: Path, make_trials: Any, spec_data: Any, threshold: Any) -> Callable[..., Any]:
    """Runs a small specification; `fail` names a pipeline whose folds fail."""

    def go(fail: str = "") -> RunResult:
        def build(_spec: Any, pipeline: Any, _trials: Any, seed: int) -> Any:
            def called(_X: Any, _y: Any) -> None:
                if pipeline.name == fail:
                    raise ZeroDivisionError("no luck today")

            return threshold(seed, shift=0.1 * (pipeline.name == "flat"), on_fit=called)

        spec = RunSpec.from_data(spec_data())
        return run(spec, tmp_path / "runs", load=lambda _: make_trials(), build=build)

    return go


def test_the_list_tells_what_the_record_says(go: Callable[..., RunResult], tmp_path: Path) -> None:
    whole, broken = go(), go("flat")
    out = tmp_path / "runs"
    (out / "no-run").mkdir()
    (out / "link").symlink_to(whole.folder)
    torn = out / "torn"
    torn.mkdir()
    (torn / "status.json").write_text('{"state": "do')
    infos = {info.name: info for info in list_runs(out)}
    assert set(infos) == {whole.folder.name, broken.folder.name, "torn"}
    assert infos["torn"].state == "unreadable"
    info = infos[whole.folder.name]
    assert (info.state, info.n_tasks, info.n_done, info.n_failed) == ("done", 24, 24, 0)
    assert (info.dataset, info.status["evaluation"]) == ("SimulatedMI", "within_session")
    assert info.status["pipelines"] == ["hyper", "flat", "csp"]
    expected = report.summarise(whole.scores).set_index("pipeline")["mean"]
    assert info.best is not None
    assert info.best[1] == expected.max()
    assert expected[info.best[0]] == expected.max()
    assert (infos[broken.folder.name].state, infos[broken.folder.name].n_failed) == ("failed", 8)
    assert [i.name for i in list_runs(out)][-1] == "torn"
    assert list_runs(tmp_path / "nowhere") == []


def test_scores_of_pipelines_are_those_of_the_summary(go: Callable[..., RunResult]) -> None:
    result = go("csp")
    expected = report.summarise(result.scores).set_index("pipeline")["mean"]
    shown = pipeline_scores(result.folder)
    assert {row.name for row in shown} == {"hyper", "flat"}
    for row in shown:
        assert row.score == pytest.approx(expected[row.name], abs=1e-12)
        assert (row.n_units, row.n_scores) == (4, 8)
    # Without the table, from the folds themselves: the same.
    (result.folder / "scores.csv").unlink()
    assert pipeline_scores(result.folder) == shown
    failed = failures(result.folder)
    assert len(failed) == 8
    assert {record["error"] for record in failed} == {"ZeroDivisionError: no luck today"}


def test_the_last_record_of_a_task_counts(go: Callable[..., RunResult]) -> None:
    result = go("csp")
    log = FoldLog(result.folder / "folds.jsonl")
    records = log.read()
    failed = [r for r in records if r["status"] == "failed"]
    twin = next(r for r in records if r["pipeline"] == "flat")
    log.append({**twin, **{k: failed[0][k] for k in ("task", "pipeline")}})
    assert len(failures(result.folder)) == 7
    assert [r["task"] for r in log.latest()] == [r["task"] for r in records]
    assert len(latest_records(log.read())) == 24
    from hypeeg.experiments.gather import scores_frame

    frame = scores_frame(log.read(), "D", "within_session", 2)
    assert frame["pipeline"].value_counts().to_dict() == {"hyper": 8, "flat": 8, "csp": 1}


def test_damage_is_told(go: Callable[..., RunResult]) -> None:
    result = go()
    (result.folder / "scores.csv").write_text("pipeline,subject,session,score\na,1,0,x\n")
    with pytest.raises(RecordError, match="scores cannot be read"):
        pipeline_scores(result.folder)


def test_a_run_is_found_by_what_a_person_types(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    names = ["mi-20260101T000000Z", "mi-20260102T000000Z", "erp-20260103T000000Z"]
    for day, name in enumerate(names, start=1):
        (out / name).mkdir(parents=True)
        status = {"state": "done", "created": f"2026-01-0{day}T00:00:00.000+00:00"}
        (out / name / "status.json").write_text(json.dumps(status))
    assert locate_run(out / names[0], out) == out / names[0]
    assert locate_run(names[1], out) == out / names[1]
    assert locate_run("erp", out) == out / names[2]
    assert locate_run("last", out).name == names[2]
    with pytest.raises(RecordError, match="2 runs begin so"):
        locate_run("mi", out)
    with pytest.raises(RecordError, match=f"no such run in .*newest there: {names[2]}"):
        locate_run("ssvep", out)
    with pytest.raises(RecordError, match="no run folder"):
        locate_run(out, out)


@pytest.mark.parametrize(
    ("text", "age"),
    [("12h", timedelta(hours=12)), ("30d", timedelta(days=30)), (" 2w", timedelta(weeks=2))],
)
def test_ages(text: str, age: timedelta) -> None:
    assert parse_age(text) == age


@pytest.mark.parametrize("text", ["", "3", "d", "-1d", "1y", "1.5d"])
def test_ages_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="such as 12h, 30d or 2w"):
        parse_age(text)


def make_status(folder: Path, state: str, days: float = 0.0, **values: Any) -> Path:
    when = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="milliseconds")
    folder.mkdir(parents=True)
    status = {"state": state, "created": when, "updated": when, **values}
    (folder / "status.json").write_text(json.dumps(status))
    return folder


def test_what_is_removed_and_what_stays(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    me = {"pid": os.getpid(), "process_start_time": process_start_time(os.getpid())}
    make_status(out / "done", "done", 50)
    make_status(out / "old", "failed", 50)
    make_status(out / "new", "failed", 1)
    make_status(out / "dead", "running", 50, host=this_host(), pid=1, process_start_time=1.0)
    make_status(out / "alive", "running", 50, host=this_host(), **me)
    make_status(out / "far", "running", 50, host="another-machine", **me)
    runs = list_runs(out)

    def chosen(*states: str, age: str = "0h") -> set[str]:
        return {run.name for run in removable(runs, states, parse_age(age))}

    assert chosen("failed") == {"old", "new"}
    assert chosen("failed", age="30d") == {"old"}
    assert chosen("interrupted", "running", "planned") == {"dead"}
    assert chosen("done", "failed", "interrupted", age="30d") == {"done", "old", "dead"}
    for name in ("alive", "far"):
        with pytest.raises(RecordError, match="going on"):
            remove_run(read_info(out / name), out)
    remove_run(read_info(out / "old"), out)
    assert {path.name for path in out.iterdir()} == {"done", "new", "dead", "alive", "far"}


def test_nothing_outside_the_folder_of_runs_is_removed(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    out.mkdir()
    outside = make_status(tmp_path / "elsewhere" / "run", "failed", 50)
    (out / "link").symlink_to(outside)
    inner = make_status(out / "group" / "run", "failed", 50)
    plain = out / "notes"
    plain.mkdir()
    for path in (outside, out / "link", inner, plain, out / "group" / ".." / ".." / "elsewhere"):
        with pytest.raises(RecordError, match="nothing was removed"):
            remove_run(read_info(path), out)
    assert all((path / "status.json").exists() for path in (outside, inner))
    assert plain.is_dir()


def test_a_run_that_is_worked_on_is_not_removed(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    path = make_status(tmp_path / "runs" / "a", "failed")
    with RunFolder(path).held(), pytest.raises(RecordError, match="another process"):
        remove_run(read_info(path), path.parent)
    assert path.is_dir()


def test_lists_and_single_runs_are_read_without_pandas(tmp_path: Path) -> None:
    """What makes ``list`` and ``show`` quick with 10,000 folds."""
    folder = make_status(tmp_path / "runs" / "a", "interrupted", n_tasks=200, n_done=200)
    rng = np.random.default_rng(0)
    log = FoldLog(folder / "folds.jsonl")
    for task in range(200):
        row = {"session": "0", "score": float(rng.random()), "n_test": 8}
        own = {"task": task, "pipeline": f"p{task % 2}", "subject": task // 20, "status": "done"}
        log.append({**own, "scores": [row]})
    code = (
        "import sys\n"
        "from hypeeg.cli import app\n"
        "for arguments in (['list'], ['show', 'a'], ['clean', '--dry-run']):\n"
        "    try:\n"
        "        app(arguments)\n"
        "    except SystemExit as end:\n"
        "        assert end.code == 0, end.code\n"
        "heavy = {'torch', 'moabb', 'mne', 'sklearn', 'pandas', 'numpy', 'scipy'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=tmp_path,
    )
    assert "heavy: []" in done.stdout
    assert "200/200" in done.stdout
    assert "10 sessions, 100 scores" in done.stdout
