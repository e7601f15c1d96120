"""The page of runs: what is listed, what each state says, and what can be done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from hypeeg.experiments.process import process_start_time
from hypeeg.experiments.run_index import read_info

APP = Path(__file__).resolve().parents[2] / "app"
REPOSITORY = APP.parent

MakeRun = Callable[..., Path]


def open_page(run: Path | None = None) -> AppTest:
    at = AppTest.from_file(APP / "main.py", default_timeout=30)
    if run is not None:
        at.session_state["run"] = run.name
    at.switch_page("views/runs.py").run()
    assert not at.exception, at.exception
    return at


def texts(at: AppTest) -> str:
    kinds = (at.markdown, at.caption, at.info, at.warning, at.error, at.success)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def keys(at: AppTest) -> set[str | None]:
    return {button.key for button in at.button}


def listed(at: AppTest) -> list[str]:
    return [name.rsplit("-", 1)[0] for name in at.dataframe[0].value["Run"]]


def tick(at: AppTest, *positions: int) -> None:
    """Choose rows of the list, several being allowed."""
    names = list(at.dataframe[0].value["Run"])
    key = f"runs-several-{zlib.crc32(' '.join(names).encode()):08x}"
    at.session_state[key] = {"selection": {"rows": list(positions), "columns": [], "cells": []}}
    at.run()


def change_status(run: Path, **values: Any) -> None:
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps(status | values))


@pytest.fixture
def child() -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start Python code as a process that ends with the test."""
    started = []

    def start(code: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_search_filters_and_order(make_run: MakeRun) -> None:
    for name, options in (
        ("apple", {}),
        ("pear", {"state": "failed", "fail": 2}),
        ("plum", {"kind": "cross_subject"}),
    ):
        change_status(make_run(name, **options), created=f"2026-01-0{len(name) - 3}T00:00:00+00:00")
    at = open_page()
    assert listed(at) == ["apple", "plum", "pear"] or listed(at) == ["apple", "pear", "plum"]
    at.text_input("runs-search").set_value("P lum").run()
    assert listed(at) == ["plum"]
    at.text_input("runs-search").set_value("").run()
    at.multiselect("runs-state").set_value(["failed"]).run()
    assert listed(at) == ["pear"]
    at.multiselect("runs-state").set_value([]).run()
    at.multiselect("runs-kind").set_value(["within session"]).run()
    assert set(listed(at)) == {"apple", "pear"}
    at.selectbox("runs-order").set_value("Name").run()
    assert listed(at) == ["apple", "pear"]
    at.text_input("runs-search").set_value("cherry").run()
    assert "No run passes" in texts(at)
    assert not at.exception


@pytest.mark.parametrize(
    ("options", "words", "offered"),
    [
        ({"state": "running", "finished": 8}, "subject", {"cancel"}),
        ({"state": "interrupted", "finished": 4}, "process is gone", {"resume", "delete"}),
        ({"state": "cancelled", "finished": 4}, "ended by its user", {"resume", "delete"}),
        ({"state": "failed", "fail": 3}, "1 of 24 folds failed", {"resume-failed", "delete"}),
        ({"state": "done"}, "± ", {"delete"}),
    ],
)
def test_each_state_says_what_it_means_and_offers_what_helps(
    make_run: MakeRun, options: dict[str, Any], words: str, offered: set[str]
) -> None:
    run = make_run("one", **options)
    if options["state"] == "running":
        change_status(run, current="Twin: subject 1", n_done=8)
    at = open_page(run)
    metrics = " ".join(f"{tile.value} {tile.delta}" for tile in at.metric)
    progress = " ".join(str(bar.proto.text) for bar in at.get("progress"))
    assert words in texts(at) + metrics + progress
    assert keys(at) & {"cancel", "resume", "resume-failed", "delete"} == offered


def test_a_running_run_tells_how_far_it_is(make_run: MakeRun) -> None:
    run = make_run("going", state="running", finished=6)
    before = time.time() - 60
    created = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(before))
    updated = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    change_status(run, created=created, updated=updated)
    (run / "log.txt").write_text("2026-01-01 10:00:00,123 INFO    hypeeg.x: [6/24] fold\n" * 20)
    at = open_page(run)
    tiles = {tile.label: tile.value for tile in at.metric}
    assert tiles["Folds"] == "6 / 24"
    # Six folds took a minute: 18 more take three, less what passed until the page was drawn.
    assert tiles["Left"].startswith(("≈ 3 min 0", "≈ 2 min"))
    log = next(code.value for code in at.code if "[6/24]" in code.value)
    assert log.splitlines()[0] == "10:00:00 INFO [6/24] fold"
    assert len(log.splitlines()) == 12


def test_guesses_are_written_roughly() -> None:
    from hypeeg_app.run_list import about

    seconds = (None, 30, 599, 3427, 3900)
    assert list(map(about, seconds)) == ["–", "≈ 30 s", "≈ 9 min 59 s", "≈ 57 min", "≈ 1 h 05 min"]


def test_a_run_at_another_machine_is_left_alone(make_run: MakeRun) -> None:
    run = make_run("far", state="running", finished=6)
    change_status(run, host="another-machine")
    at = open_page(run)
    assert "'another-machine'" in texts(at)
    assert any("--force" in code.value for code in at.code)
    assert not keys(at) & {"cancel", "resume", "delete"}


def test_failed_folds_are_shown_with_their_tracebacks(make_run: MakeRun) -> None:
    at = open_page(make_run("broken", state="failed", fail=3))
    (folded,) = [e for e in at.expander if "failed folds" in e.label]
    assert "deliberately broken" in folded.code[0].value
    assert "Hyperbolic: subject 1 session 0 fold 1" in folded.markdown[0].value


def test_cancel_ends_the_process_of_the_run_and_nothing_else(
    make_run: MakeRun, child: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    sleeping = "import time; print('up', flush=True); time.sleep(60)"
    own, other = child(sleeping), child(sleeping)
    run = make_run("going", state="running", finished=6)
    change_status(run, pid=own.pid, process_start_time=process_start_time(own.pid))
    at = open_page(run)
    at.button("cancel").click().run()
    assert not at.exception
    assert own.wait(timeout=10) == -signal.SIGTERM
    assert other.poll() is None
    at.run()
    assert "process is gone" in texts(at)


def test_a_run_that_ended_meanwhile_is_not_signalled(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hypeeg_app import actions

    run = make_run("over", state="cancelled", finished=6)
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("signalled"))
    with pytest.raises(actions.ActionError, match="is not going on: it is cancelled"):
        actions.cancel(run, run.parent)


def test_deleting_asks_first_and_removes_only_what_was_chosen(make_run: MakeRun) -> None:
    stays, goes = make_run("stays"), make_run("goes")
    at = open_page(goes)
    at.button("delete").click().run()
    assert goes.exists()
    assert any(goes.name in code.value for code in at.code)
    at.button("delete-no").click().run()
    assert goes.exists()
    assert "delete-yes" not in keys(at)
    at.button("delete").click().run()
    at.button("delete-yes").click().run()
    assert not at.exception
    assert not goes.exists()
    assert stays.exists()
    assert f"Deleted: {goes.name}" in texts(at)


def test_several_runs_are_deleted_together_and_live_ones_stay(make_run: MakeRun) -> None:
    runs = [make_run("a"), make_run("b"), make_run("c", state="running", finished=3)]
    at = open_page()
    at.toggle("runs-several").set_value(True).run()
    at.selectbox("runs-order").set_value("Name").run()
    tick(at, 0, 1, 2)
    assert "**3 runs chosen**" in texts(at)
    at.button("bulk-delete").click().run()
    at.button("delete-yes").click().run()
    assert [run.exists() for run in runs] == [False, False, True]


def test_nothing_outside_the_runs_folder_is_touched(make_run: MakeRun, tmp_path: Path) -> None:
    from hypeeg_app import actions

    run = make_run("inside")
    root, outside = run.parent, tmp_path / "outside"
    run.rename(outside)
    (root / "link").symlink_to(outside)
    for path in (outside, root / "link", root / ".." / "outside", root):
        removed, refused = actions.delete([path], root)
        assert not removed
        assert "not in the runs folder" in refused[0]
        for action in (actions.cancel, actions.resume):
            with pytest.raises(actions.ActionError, match="not in the runs folder"):
                action(path, root)
    assert (outside / "status.json").is_file()


class Fake:
    """Stands for a process that was started."""

    pid, code = 999_999_999, None

    def __init__(self, arguments: list[str], log: Path) -> None:
        self.arguments = arguments
        log.write_bytes(b"Error: the recordings are missing; fetch them\n")

    def poll(self) -> int | None:
        return self.code


@pytest.mark.parametrize(("button", "failed"), [("resume", []), ("resume-failed", ["--failed"])])
def test_going_on_starts_a_process(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, button: str, failed: list[str]
) -> None:
    from hypeeg_app import actions

    run = make_run("one", state="failed", fail=1, finished=10)
    started: list[Fake] = []

    def start(arguments: list[str], log: Path) -> Fake:
        started.append(Fake(arguments, log))
        return started[-1]

    monkeypatch.setattr(actions, "start_detached", start)
    at = open_page(run)
    at.button(button).click().run()
    (process,) = started
    assert process.arguments == ["resume", str(run.resolve()), *failed]
    assert "its process is starting" in texts(at)
    assert at.button(button).disabled
    # It fails before it has the run in hand: its words are all there is.
    process.code = 2
    at.run()
    assert "could not go on" in texts(at)
    assert any("recordings are missing; fetch them" in code.value for code in at.code)


def test_sweeps_show_their_points_and_their_runs_are_in_the_list(
    make_run: MakeRun, runs: Path
) -> None:
    from .conftest import write_run

    sweep = make_sweep(runs, "grid")
    point = write_run(sweep, "grid-p0")
    at = open_page(point)
    assert list(at.dataframe[0].value["Sweep"]) == [sweep.name]
    table = at.dataframe[1].value
    assert set(table["state"]) == {"done", "planned"}
    assert "sweep-resume" in keys(at)
    at.button("delete").click().run()
    at.button("delete-yes").click().run()
    assert not point.exists()
    assert sweep.exists()


def make_sweep(root: Path, name: str, n_points: int = 2) -> Path:
    sweep = root / f"{name}-sweep-20260101T000000Z"
    sweep.mkdir(parents=True)
    points = [
        {"point": k, "run": f"{name}-p{k}", "values": {"training.lr": k}} for k in range(n_points)
    ]
    about = {"created": "2026-01-01T00:00:00+00:00", "points": points}
    (sweep / "sweep.json").write_text(json.dumps(about))
    return sweep


def test_a_sweep_is_deleted_whole_after_asking(make_run: MakeRun, runs: Path) -> None:
    from .conftest import write_run

    sweep, other = make_sweep(runs, "grid"), make_sweep(runs, "live")
    points = [write_run(sweep, f"grid-p{k}") for k in range(2)]
    stays = make_run("stays")
    going = write_run(other, "live-p0", state="running", finished=3)
    at = open_page(going)
    # The sweep of the chosen run is the one that is shown, and it is going on.
    assert at.selectbox("sweep").value == other.name
    assert "sweep-delete" not in keys(at)
    at.selectbox("run").select(points[0].name).run()
    assert at.selectbox("sweep").value == sweep.name
    at.button("sweep-delete").click().run()
    assert sweep.exists()
    (question,) = [code.value for code in at.code if sweep.name in code.value]
    assert question.split() == [sweep.name, *sorted((p.name for p in points), reverse=True)]
    at.button("delete-yes").click().run()
    assert not at.exception
    assert not sweep.exists()
    assert stays.exists()
    assert going.exists()
    assert f"Deleted: {sweep.name}" in texts(at)


def test_a_sweep_that_goes_on_is_not_deleted(runs: Path) -> None:
    """A run may begin between the question and its answer."""
    from hypeeg_app import actions

    from .conftest import write_run

    sweep = make_sweep(runs, "live")
    write_run(sweep, "live-p0", state="running", finished=3)
    removed, refused = actions.delete([sweep], runs)
    assert removed == []
    assert "is going on; cancel it first" in refused[0]
    outside = sweep.rename(runs.parent / "outside")
    (runs / "link").symlink_to(outside)
    for path in (outside, runs / "link", runs / ".." / "outside"):
        assert "not in the runs folder" in actions.delete([path], runs)[1][0]
    assert (outside / "sweep.json").is_file()


def test_a_damaged_sweep_can_be_deleted(make_run: MakeRun, runs: Path) -> None:
    make_run("one")
    sweep = make_sweep(runs, "torn")
    (sweep / "sweep.json").write_text("{torn")
    at = open_page()
    assert "sweep.json cannot be read" in texts(at)
    at.button("sweep-delete").click().run()
    at.button("delete-yes").click().run()
    assert not sweep.exists()


@pytest.mark.slow
def test_a_real_run_is_cancelled_without_leaving_children_and_goes_on(runs: Path) -> None:
    """The whole way with the engine itself: two workers, none is left."""
    runs.mkdir()
    spec = runs.parent / "tiny.yaml"
    spec.write_text(
        "name: tiny\ndataset: {name: SimulatedMI, subjects: [1]}\n"
        "evaluation: {kind: within_session, n_folds: 5, seeds: [0, 1]}\nn_jobs: 2\n"
        "training: {max_epochs: 200}\n"
        "pipelines: [{name: Net, model: EEGNet}]\n"
    )
    command = [sys.executable, "-m", "hypeeg.cli", "run", str(spec), "--out", str(runs)]
    process = subprocess.Popen(command, start_new_session=True, cwd=REPOSITORY)
    try:
        wait_for(lambda: any(read_info(p).n_tasks for p in runs.iterdir()), 240)
        (run,) = runs.iterdir()
        wait_for(lambda: len(session_of(process.pid)) > 1, 120)
        at = open_page(run)
        at.button("cancel").click().run()
        process.wait(timeout=60)
        wait_for(lambda: not session_of(process.pid), 30)
        assert read_info(run).state == "cancelled"
    finally:
        for pid in session_of(process.pid):
            os.kill(pid, signal.SIGKILL)
    at.run()
    assert at.button("resume")


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.2)


def session_of(leader: int) -> list[int]:
    """Processes alive in the session that a process leads."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] not in "ZX":
            found.append(int(path.parent.name))
    return found
