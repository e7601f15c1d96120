from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hypeeg.experiments import active as active_module
from hypeeg.experiments import backends, eeg_wing, fold_log, gather, store
from hypeeg.experiments.gather import read_embeddings
from hypeeg.experiments.process import judged_state, this_host
from hypeeg.experiments.recorder import Recorder
from hypeeg.experiments.resume import ResumeError, resume
from hypeeg.experiments.runner import RunResult, build_estimator, run
from hypeeg.experiments.spec import RunSpec
from hypeeg.experiments.store import DiskFullError, FoldLog, RecordError, RunFolder

WHOLE: list[Path] = []
# A run that was killed early has that of its second attempt only.
ENVIRONMENTS = {"environment.json", *(f"environment-{n}.json" for n in range(2, 10))}


class Lab:
    """Runs small specifications, also in a process of their own that can be killed."""

    def __init__(self, out: Path, make_trials: Any, spec_data: Any, threshold: Any) -> None:
        self.out = out
        self.trials = make_trials()
        self.spec = RunSpec.from_data(spec_data())
        self.threshold = threshold
        self.on_fit: Callable[[str], None] = lambda _: None

    def build(self, _spec: Any, pipeline: Any, _trials: Any, seed: int) -> Any:
        def called(_X: Any, _y: Any) -> None:
            self.on_fit(pipeline.name)

        return self.threshold(seed, 0.1 * (pipeline.name == "flat"), called)

    def run(self) -> RunResult:
        return run(self.spec, self.out, load=lambda _: self.trials, build=self.build)

    def whole(self) -> Path:
        """Return a run that was left alone; all tests share the data and compare with one."""
        if not WHOLE:
            WHOLE.append(Lab.run(self).folder)
        return WHOLE[0]

    def resume(self, path: Path, **options: Any) -> RunResult:
        return resume(path, load=lambda _: self.trials, build=self.build, **options)

    def run_and_die(self, prepare: Callable[[], None] = lambda: None) -> Path:
        """Run in a process that `prepare` makes kill itself; return the run folder."""

        def work() -> None:
            prepare()
            self.run()

        return self.die(work)

    def resume_and_die(self, path: Path, prepare: Callable[[], None]) -> None:
        def work() -> None:
            prepare()
            self.resume(path)

        self.die(work)

    def die(self, work: Callable[[], None]) -> Path:
        child = multiprocessing.get_context("fork").Process(target=work)
        child.start()
        child.join(60)
        assert child.exitcode == -signal.SIGKILL
        return self.newest()

    def newest(self) -> Path:
        return max(self.out.iterdir(), key=lambda path: path.stat().st_ctime_ns)


@pytest.fixture
def lab(tmp_path: Path, make_trials: Any, spec_data: Any, threshold: Any) -> Lab:
    return Lab(tmp_path / "runs", make_trials, spec_data, threshold)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying(module: Any, name: str, at_call: int = 1, after: bool = False) -> Callable[[], None]:
    """Return a function that makes the n-th call of a function its process's last."""

    def prepare() -> None:
        original = getattr(module, name)
        calls = []

        def replaced(*args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            if len(calls) == at_call and not after:
                die()
            value = original(*args, **kwargs)
            if len(calls) == at_call:
                die()
            return value

        setattr(module, name, replaced)
        if name == "carry_out_job":
            wait_for_each_record()

    return prepare


def wait_for_each_record() -> None:
    """Let a task begin only when the one before it is on disk: how many are is certain then."""
    original = Recorder.hand_over

    def hand_over(self: Recorder, record: dict[str, Any]) -> Sequence[dict[str, Any]]:
        self.pause = 0
        found = list(original(self, record))
        # The thread may have been quick, and the record be among these.
        while record["task"] not in [written["task"] for written in found]:
            time.sleep(0.002)
            self._complain()
            found += self._news()
        return found

    Recorder.hand_over = hand_over


def state_of(path: Path) -> str:
    return judged_state(RunFolder(path).read_status())


def assert_same_results(one: Path, other: Path) -> None:
    """Every file that a run leaves says the same, times aside."""
    names = [{p.name for p in path.iterdir()} - ENVIRONMENTS for path in (one, other)]
    assert names[0] == names[1]
    for name in ("scores", "summary", "measures"):
        a, b = (pd.read_csv(path / f"{name}.csv", dtype={"session": str}) for path in (one, other))
        columns = [c for c in a.columns if "time" not in c]
        assert {"scores": 16, "summary": 3, "measures": 5}[name] <= len(columns)
        pd.testing.assert_frame_equal(a[columns], b[columns], check_exact=True)
    for name in (
        "tasks.csv",
        "data.json",
        "comparisons.csv",
        "confusion.csv",
        "per_class.csv",
        "reliability.csv",
        "history.csv",
        "curvature_history.csv",
        "spec_resolved.yaml",
    ):
        # There are no comparisons where none are planned.
        if name != "comparisons.csv" or (other / name).exists():
            assert (one / name).read_bytes() == (other / name).read_bytes(), name
    names = sorted(path.name for path in (other / "embeddings").iterdir())
    assert sorted(path.name for path in (one / "embeddings").iterdir()) == names
    for name in names:
        a, b = (read_embeddings(path / "embeddings" / name) for path in (one, other))
        assert a.keys() == b.keys()
        for key, values in a.items():
            np.testing.assert_array_equal(values, b[key])
    assert without_times(one / "summary.md") == without_times(other / "summary.md")


def without_times(path: Path) -> list[list[str]]:
    """Return the cells of every line of a Markdown file, columns of seconds left out."""
    lines, drop = [], set()
    before = ""
    for line in path.read_text().splitlines():
        cells = line.split("|")
        if not before.startswith("|"):
            drop = {n for n, cell in enumerate(cells) if "(s)" in cell}
        lines.append([cell for n, cell in enumerate(cells) if n not in drop])
        before = line
    return lines


def assert_each_task_once(path: Path, n_tasks: int = 24) -> None:
    lines = (path / "folds.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["task"] for line in lines) == list(range(n_tasks))


MOMENTS = {
    "before the status": dying(store, "replace_file", 3),
    "before the environment": dying(store, "replace_file", 4),
    "before the data are read": dying(eeg_wing, "plan_tasks"),
    "before the tasks are written": dying(store, "replace_file", 6),
    "before the first fold": dying(backends, "carry_out_job"),
    "before a line": dying(fold_log, "to_json", 7),
    "between arrays and line": dying(backends, "carry_out_job", 4, after=True),
    "before the tables": dying(active_module, "scores_frame"),
    "while arrays are gathered": dying(gather, "_write_embeddings", 2),
    "before the summary": dying(active_module, "write_summary"),
    "before the last status": dying(active_module, "_best"),
}


@pytest.mark.parametrize("moment", list(MOMENTS)[1:])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(lab: Lab, moment: str) -> None:
    path = lab.run_and_die(MOMENTS[moment])
    assert state_of(path) == "interrupted"
    before = (path / "folds.jsonl").read_bytes() if (path / "folds.jsonl").exists() else b""
    fitted: list[str] = []
    lab.on_fit = fitted.append
    result = lab.resume(path)
    assert (result.state, result.n_tasks, len(result.records)) == ("done", 24, 24)
    assert result.folder == path
    assert len(fitted) == 24 - before.count(b"\n")
    assert (path / "folds.jsonl").read_bytes().startswith(before)
    assert_each_task_once(path)
    assert not (path / "parts").exists()
    assert not list(path.glob("**/.*.tmp"))
    status = RunFolder(path).read_status()
    assert (status["state"], status["n_done"], status["pid"]) == ("done", 24, os.getpid())
    [attempt] = status["resumed"]
    assert attempt["state_before"] == "interrupted"
    assert attempt["n_recorded"] == before.count(b"\n")
    assert_same_results(path, lab.whole())


def test_a_run_killed_before_its_first_status_is_no_run(lab: Lab) -> None:
    path = lab.run_and_die(MOMENTS["before the status"])
    with pytest.raises(RecordError, match="not a run folder"):
        lab.resume(path)


@pytest.mark.parametrize("name", ["log.txt", "folds.jsonl", "parts/000003.npz"])
def test_a_run_with_files_that_lead_elsewhere_does_not_go_on(
    lab: Lab, tmp_path: Path, name: str
) -> None:
    """Run folders come from other people too: nothing outside is written to."""
    path = lab.run_and_die(dying(backends, "carry_out_job", 9))
    other = tmp_path / "somebody's file"
    other.write_bytes((path / name).read_bytes() if (path / name).exists() else b"kept")
    before = other.read_bytes()
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to(other)
    with pytest.raises(ResumeError, match=r"is a link to .*put what it leads to in its place"):
        lab.resume(path)
    assert other.read_bytes() == before
    (path / name).unlink()
    (path / name).write_bytes(before)
    assert lab.resume(path).state == "done"
    assert_same_results(path, lab.whole())


def test_a_run_killed_while_parts_are_removed_is_done(lab: Lab) -> None:
    path = lab.run_and_die(dying(RunFolder, "remove_parts"))
    assert state_of(path) == "done"
    assert len(list((path / "parts").iterdir())) == 24
    with pytest.raises(ResumeError, match="done, nothing is missing"):
        lab.resume(path)


def test_a_run_may_be_killed_again_while_it_goes_on(lab: Lab) -> None:
    path = lab.run_and_die(dying(backends, "carry_out_job", 5))
    lab.resume_and_die(path, dying(backends, "carry_out_job", 7))
    assert state_of(path) == "interrupted"
    assert len(RunFolder(path).folds.read()) == 10
    assert lab.resume(path).state == "done"
    assert_each_task_once(path)
    attempts = RunFolder(path).read_status()["resumed"]
    assert [attempt["n_recorded"] for attempt in attempts] == [4, 10]
    assert {"environment.json", "environment-2.json", "environment-3.json"} <= {
        p.name for p in path.iterdir()
    }
    assert_same_results(path, lab.whole())


def test_a_torn_line_and_lost_arrays_are_done_again_and_nothing_else(lab: Lab) -> None:
    path = lab.run_and_die(dying(backends, "carry_out_job", 9))
    log = path / "folds.jsonl"
    log.write_bytes(log.read_bytes()[:-5])
    RunFolder(path).part(0).unlink()
    damaged = RunFolder(path).part(3)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged.write_bytes(content)
    cut = RunFolder(path).part(5)
    cut.write_bytes(cut.read_bytes()[:100])
    fitted: list[str] = []
    lab.on_fit = fitted.append
    result = lab.resume(path)
    assert result.state == "done"
    tasks = [json.loads(line)["task"] for line in log.read_text().splitlines()]
    # Seven whole lines, then what lost its arrays and what was never recorded.
    assert tasks == [*range(7), 0, 3, 5, *range(7, 24)]
    assert len(fitted) == 20
    assert "3 folds run again" in (path / "log.txt").read_text()
    assert_same_results(path, lab.whole())


def test_arrays_that_stay_lost_leave_their_fold_out_of_the_tables(lab: Lab) -> None:
    path = lab.run_and_die(dying(backends, "carry_out_job", 9))
    RunFolder(path).part(2).unlink()

    def interrupt(_name: str) -> None:
        raise KeyboardInterrupt

    lab.on_fit = interrupt
    result = lab.resume(path)
    assert (result.state, len(result.scores)) == ("cancelled", 7)
    lab.on_fit = lambda _: None
    assert lab.resume(path).state == "done"
    assert_same_results(path, lab.whole())


def test_a_cancelled_run_goes_on(lab: Lab) -> None:
    calls: list[str] = []

    def interrupt(name: str) -> None:
        calls.append(name)
        if len(calls) == 6:
            raise KeyboardInterrupt

    lab.on_fit = interrupt
    path = lab.run().folder
    assert state_of(path) == "cancelled"
    result = lab.resume(path)
    assert len(calls) == 6 + 19
    assert (result.state, result.error) == ("done", "")
    assert "error" not in {k for k, v in RunFolder(path).read_status().items() if v}
    assert_same_results(path, lab.whole())


def test_failed_tasks_run_again_only_when_asked_for(lab: Lab) -> None:
    calls: list[str] = []

    def fail(name: str) -> None:
        calls.append(name)
        if name == "flat" and len(calls) < 13:
            raise ZeroDivisionError("no luck today")
        if len(calls) == 14:
            die()

    lab.on_fit = fail
    path = lab.run_and_die(wait_for_each_record)
    n_failed = sum(r["status"] == "failed" for r in RunFolder(path).folds.read())
    assert n_failed == 4
    lab.on_fit = lambda _: None
    first = lab.resume(path)
    assert (first.state, len(first.failures), len(first.scores)) == ("failed", 4, 20)
    assert_each_task_once(path)
    with pytest.raises(ResumeError, match="--failed runs the 4 tasks"):
        lab.resume(path)
    second = lab.resume(path, failed=True)
    assert (second.state, len(second.failures), len(second.scores)) == ("done", 0, 24)
    assert len(RunFolder(path).folds.read()) == 28
    assert RunFolder(path).read_status()["n_failed"] == 0
    assert_same_results(path, lab.whole())


def test_a_run_that_is_alive_is_left_alone(lab: Lab) -> None:
    path = lab.run_and_die(dying(backends, "carry_out_job", 3))
    folder = RunFolder(path)
    status = folder.read_status()
    mine = {"pid": os.getpid(), "process_start_time": store.process_start_time(os.getpid())}
    folder.write_json("status.json", {**status, **mine})
    content = {p: p.read_bytes() for p in path.iterdir() if p.is_file()}
    with pytest.raises(ResumeError, match="is going on"):
        lab.resume(path, force=True)
    assert {p: p.read_bytes() for p in path.iterdir() if p.is_file()} == content
    # The same number, started at another time: another process.
    folder.write_json("status.json", {**status, **mine, "process_start_time": 1.0})
    assert lab.resume(path).state == "done"


def test_another_machine_must_be_given_up_by_hand(lab: Lab) -> None:
    path = lab.run_and_die(dying(backends, "carry_out_job", 3))
    folder = RunFolder(path)
    assert folder.read_status()["host"] == this_host()
    folder.write_json("status.json", {**folder.read_status(), "host": "another-machine"})
    with pytest.raises(ResumeError, match=r"'another-machine'.*--force"):
        lab.resume(path)
    assert lab.resume(path, force=True).state == "done"
    assert folder.read_status()["host"] == this_host()


def test_two_processes_do_not_go_on_with_one_run(lab: Lab) -> None:
    pytest.importorskip("fcntl")
    path = lab.run_and_die(dying(backends, "carry_out_job", 3))
    with (
        RunFolder(path).held(),
        pytest.raises(RecordError, match="another process is working on this run"),
    ):
        lab.resume(path)
    assert lab.resume(path).state == "done"


@pytest.mark.parametrize("change", ["X", "y", "metadata", "fewer", "folds"])
def test_other_data_are_refused_and_the_record_stays(
    lab: Lab, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lab.run_and_die(dying(backends, "carry_out_job", 3))
    content = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    trials = lab.trials
    if change == "X":
        trials.X[7, 1, 3] += 1e-6
    elif change == "y":
        swapped = np.flatnonzero(trials.y == "class0")[0], np.flatnonzero(trials.y == "class1")[0]
        trials.y[list(swapped)] = trials.y[list(swapped)[::-1]]
    elif change == "metadata":
        trials.metadata.loc[0, "run"] = "1"
    elif change == "fewer":
        lab.trials = SimpleNamespace(
            **{
                **vars(trials),
                "X": trials.X[:70],
                "y": trials.y[:70],
                "metadata": trials.metadata[:70],
            }
        )
    else:
        plan = eeg_wing.plan_tasks

        def other(*args: Any, **kwargs: Any) -> Any:
            tasks = plan(*args, **kwargs)
            tasks[0].fold.test[:2] = tasks[0].fold.test[1::-1].copy()
            return tasks

        monkeypatch.setattr(eeg_wing, "plan_tasks", other)
    expected = "list of tasks differs" if change == "fewer" else r"data\.json: not the data"
    with pytest.raises(ResumeError, match=expected):
        lab.resume(path)
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == content
    assert state_of(path) == "interrupted"


def test_a_spec_of_another_version_is_refused_with_a_remedy(lab: Lab) -> None:
    path = lab.run_and_die(dying(backends, "carry_out_job", 3))
    kept = path / "spec_resolved.yaml"
    kept.write_text(kept.read_text() + "warp_factor: 9\n")
    with pytest.raises(ResumeError, match=r"install hypeeg 0\.[\s\S]*spec_given[\s\S]*warp_factor"):
        lab.resume(path)


def test_other_package_versions_are_a_warning(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    path = lab.run_and_die(dying(backends, "carry_out_job", 3))
    kept = path / "environment.json"
    environment = json.loads(kept.read_text())
    environment["packages"]["numpy"] = "0.0.1"
    kept.write_text(json.dumps(environment))
    assert lab.resume(path).state == "done"
    [warning] = [r.getMessage() for r in caplog.records if "started with" in r.getMessage()]
    assert warning.endswith(f"scores may differ: numpy 0.0.1 → {np.__version__}")


def test_a_run_of_an_early_version_goes_on_with_a_warning(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    path = lab.run_and_die(dying(backends, "carry_out_job", 3))
    (path / "data.json").unlink()
    folder = RunFolder(path)
    gone = ("host", "dataset", "pipelines", "name", "evaluation")
    status = {k: v for k, v in folder.read_status().items() if k not in gone}
    folder.write_json("status.json", status)
    assert lab.resume(path).state == "done"
    assert "has no data.json" in caplog.text
    assert not (path / "data.json").exists()


def killed_at(lab: Lab, work: Callable[[], Any], delay: float) -> bool:
    """Kill a process after some time; False if it had ended by itself."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(delay)
    child.kill()
    child.join(60)
    return child.exitcode == -signal.SIGKILL


def kill_at_random(lab: Lab, times: int, build: Any) -> None:
    """Kill runs, and resumed ones, at random moments; compare with one that was left alone."""

    def start() -> RunResult:
        return run(lab.spec, lab.out, load=lambda _: lab.trials, build=build, progress=False)

    begun = time.monotonic()
    whole = start().folder
    span = time.monotonic() - begun
    chance = random.Random(5)
    kills = 0
    while kills < times:
        known = set(lab.out.iterdir())
        kills += killed_at(lab, start, chance.uniform(0.0, span))
        new = [p for p in lab.out.iterdir() if p not in known and (p / "status.json").exists()]
        for path in new:
            while state_of(path) != "done":
                assert state_of(path) == "interrupted"

                def go_on(path: Path = path) -> None:
                    resume(path, load=lambda _: lab.trials, build=build, progress=False)

                if kills < times and chance.random() < 0.5:
                    kills += killed_at(lab, go_on, chance.uniform(0.0, span))
                else:
                    go_on()
            assert_each_task_once(path)
            assert_same_results_of(path, whole)


def assert_same_results_of(path: Path, whole: Path) -> None:
    # Killed between the last status and the end: done, with arrays that nobody needs any more.
    shutil.rmtree(path / "parts", ignore_errors=True)
    assert_same_results(path, whole)


def test_runs_killed_at_random_moments(lab: Lab) -> None:
    kill_at_random(lab, 3, lab.build)


@pytest.mark.slow
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_classical_pipelines_killed_at_twenty_random_moments(
    lab: Lab, spec_data: Callable[..., dict[str, Any]], n_jobs: int
) -> None:
    pipelines = [
        {"name": "hyper", "model": "csp_lda", "params": {"n_components": 2}},
        {"name": "flat", "model": "ts_lr"},
        {"name": "mdm", "model": "mdm"},
    ]
    lab.spec = RunSpec.from_data(spec_data(pipelines=pipelines, n_jobs=n_jobs))
    kill_at_random(lab, 20, build_estimator)


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system with little space; where nothing may be mounted, the test is left out."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_run_on_a_full_disk_says_so_and_goes_on_elsewhere(
    lab: Lab, small_disk: Path, tmp_path: Path, n_jobs: int, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = lab.whole()
    lab.spec = lab.spec.apply_overrides([f"n_jobs={n_jobs}"])
    lab.out = small_disk / "runs"
    # Room for the plan and some of the tasks.
    stat = os.statvfs(small_disk)
    (small_disk / "other").write_bytes(bytes(stat.f_bavail * stat.f_frsize - 92_000))
    with pytest.raises(DiskFullError, match=r"no space left .* Free some space, or move"):
        lab.run()
    path = lab.newest()
    text = capfd.readouterr()
    assert "Logging error" not in text.err
    records = FoldLog(path / "folds.jsonl").read()
    assert 0 < len(records) < 24
    assert {r["status"] for r in records} == {"done"}
    json.loads((path / "status.json").read_text())
    # Another disk, as the message says.
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(path, elsewhere)
    status = json.loads((elsewhere / "status.json").read_text())
    if status["state"] == "running":
        # This process, which is alive, stands for one that ended.
        status["pid"], status["process_start_time"] = 1, 0.0
        (elsewhere / "status.json").write_text(json.dumps(status))
    result = lab.resume(elsewhere)
    assert (result.state, len(result.records)) == ("done", 24)
    assert_each_task_once(elsewhere)
    assert (elsewhere / "folds.jsonl").read_bytes().count(b"\n") == 24
    drop = ["fit_time", "predict_time", "time"]
    pd.testing.assert_frame_equal(
        pd.read_csv(whole / "scores.csv").drop(columns=drop),
        pd.read_csv(elsewhere / "scores.csv").drop(columns=drop),
        check_exact=True,
    )
