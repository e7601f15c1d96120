from __future__ import annotations

import json
import multiprocessing
import os
import platform
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hypeeg.experiments.store import (
    FoldLog,
    RecordError,
    RunFolder,
    process_start_time,
    replace_file,
    to_json,
)


def test_runs_started_at_once_get_folders_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        folders = list(pool.map(lambda _: RunFolder.create(tmp_path / "runs", "a").path, range(40)))
    assert len(set(folders)) == 40
    assert all(path.is_dir() and path.name.startswith("a-") for path in folders)


def _create(args: tuple[str, int]) -> str:
    return RunFolder.create(args[0], "a").path.name


def test_processes_started_at_once_get_folders_of_their_own(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        names = pool.map(_create, [(str(tmp_path), i) for i in range(20)], chunksize=1)
    assert len(set(names)) == 20


def test_records_come_back_in_order_and_exactly(tmp_path: Path) -> None:
    log = FoldLog(tmp_path / "folds.jsonl")
    assert log.read() == []
    records = [{"task": i, "score": 0.1 * i, "text": "ä\n|", "none": None} for i in range(5)]
    for record in records:
        log.append(record)
    assert log.read() == records


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_cut_off_last_line_does_not_count(tmp_path: Path, cut: int) -> None:
    log = FoldLog(tmp_path / "folds.jsonl")
    for task in range(3):
        log.append({"task": task, "score": 0.5, "padding": "x" * 30})
    content = log.path.read_bytes()
    log.path.write_bytes(content[:-cut])
    assert [r["task"] for r in log.read()] == [0, 1]
    # The next record starts a line of its own.
    log.append({"task": 9})
    assert [r["task"] for r in log.read()] == [0, 1, 9]


def test_a_file_that_is_only_a_cut_off_line(tmp_path: Path) -> None:
    log = FoldLog(tmp_path / "folds.jsonl")
    log.path.write_bytes(b'{"task": 0, "sco')
    assert log.read() == []
    log.append({"task": 1})
    assert log.read() == [{"task": 1}]


@pytest.mark.parametrize("damage", [b'{"task": 1, "sc\n', b"[1]\n", b"\n"])
def test_damage_that_no_interruption_explains_is_an_error(tmp_path: Path, damage: bytes) -> None:
    log = FoldLog(tmp_path / "folds.jsonl")
    log.append({"task": 0})
    with log.path.open("ab") as file:
        file.write(damage)
    log.append({"task": 2})
    with pytest.raises(RecordError, match=r"folds\.jsonl, line 2: damaged record"):
        log.read()


def test_a_full_disk_leaves_only_whole_records(tmp_path: Path) -> None:
    # A limit on the size of files makes the kernel take a part of a write, as a full disk does.
    code = textwrap.dedent(
        """
        import resource, signal, sys
        from hypeeg.experiments.store import FoldLog
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        log = FoldLog(sys.argv[1])
        try:
            for task in range(100):
                log.append({"task": task, "padding": "x" * 100})
        except OSError as error:
            print(task, type(error).__name__)
        """
    )
    path = tmp_path / "folds.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    failed, name = done.stdout.split()
    assert name == "OSError"
    assert path.read_bytes().endswith(b"}\n")
    assert [r["task"] for r in FoldLog(path).read()] == list(range(int(failed)))


def test_replacing_a_file_keeps_the_old_one_on_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "status.json"
    replace_file(path, b"old")

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_status_tells_state_and_process(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "a")
    with pytest.raises(RecordError, match="not a run folder"):
        folder.read_status()
    folder.update_status("planned")
    first = folder.read_status()
    assert first["state"] == "planned"
    assert first["pid"] == os.getpid()
    assert first["process_start_time"] == process_start_time(os.getpid())
    assert first["host"] == platform.node()
    folder.update_status("running", n_tasks=10, n_done=0)
    folder.update_status(n_done=1)
    folder.update_status("failed", n_done=2)
    last = folder.read_status()
    assert (last["state"], last["n_done"], last["n_tasks"]) == ("failed", 2, 10)
    assert last["created"] == first["created"]


def test_taking_over_keeps_what_is_known_and_forgets_how_it_ended(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "a")
    folder.update_status("planned")
    folder.update_status("cancelled", n_done=3, error="interrupted", finished="x", current="y")
    first = folder.read_status()
    folder.write_json("status.json", {**first, "pid": 1, "host": "another-machine"})
    RunFolder(folder.path).take_over(resumed=[1])
    last = folder.read_status()
    assert (last["state"], last["n_done"], last["resumed"]) == ("planned", 3, [1])
    assert (last["pid"], last["host"]) == (os.getpid(), platform.node())
    assert last["created"] == first["created"]
    assert not last.keys() & {"error", "finished", "current"}


def test_one_process_at_a_time_holds_a_run(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    folder = RunFolder.create(tmp_path, "a")
    code = (
        "import sys; from hypeeg.experiments.store import RunFolder\n"
        "with RunFolder(sys.argv[1]).held(): print('mine', flush=True); input()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(folder.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"mine\n"
    with pytest.raises(RecordError, match="another process is working on this run"), folder.held():
        pass
    # However it ends, the hold ends with it.
    child.kill()
    child.communicate(timeout=30)
    with folder.held():
        pass
    with folder.held():
        pass
    assert list(folder.path.iterdir()) == []


def test_only_what_was_being_written_is_removed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    kept = ["status.json", "parts/000001.npz", "models/net/subject-1/model.safetensors"]
    left = [".status.json.7.tmp", "parts/.000002.npz.7.tmp", "embeddings/.net.npz.tmp"]
    left.append("models/net/.subject-2.7.tmp/model.safetensors")
    for name in kept + left:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    folder.remove_temporary()
    found = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert found == set(kept)


def test_start_time_tells_processes_apart() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        mine, theirs = process_start_time(os.getpid()), process_start_time(child.pid)
        assert mine is not None
        assert theirs is not None
        assert mine <= theirs
    finally:
        child.communicate(b"\n", timeout=30)
    assert process_start_time(child.pid) is None


def test_json_is_readable_by_everyone() -> None:
    text = to_json({"a": float("nan"), "b": np.float32(0.5), "c": np.arange(2), 3: (1, None)})
    assert json.loads(text) == {"a": None, "b": 0.5, "c": [0, 1], "3": [1, None]}
    assert "NaN" not in text


def test_records_of_an_earlier_version_still_make_a_table() -> None:
    from hypeeg.experiments.gather import SCORE_COLUMNS, scores_frame

    row = {"session": "0", "score": 0.75, "n_test": 8, "n_correct": 6, "n_classes": 2}
    record = {
        **{"task": 0, "pipeline": "a", "subject": 1, "session": "0", "fold": 0, "seed": 0},
        **{"status": "done", "fit_time": 0.5, "predict_time": 0.1, "curvature": None},
        **{"n_train": 32, "n_channels": 3, "scores": [row], "messages": []},
    }
    frame = scores_frame([record], "D", "within_session", 1)
    assert list(frame.columns) == list(SCORE_COLUMNS)
    assert frame.loc[0, ["score", "accuracy", "samples", "channels"]].tolist() == [
        0.75,
        0.75,
        40,
        3,
    ]
    # Beside records of today, what they lack is missing.
    newer = {**record, "task": 1, "pipeline": "b", "tuned": {"params.F1": 4}}
    frame = scores_frame([record, newer], "D", "within_session", 1)
    assert list(frame.columns) == [*SCORE_COLUMNS, "tuned"]
    assert frame["tuned"].isna().tolist() == [True, False]
    assert frame["tuned"][1] == '{"params.F1": 4}'


def test_part_files_of_an_earlier_version_are_still_gathered(tmp_path: Path) -> None:
    from hypeeg.experiments.gather import gather_parts, read_embeddings

    folder = RunFolder(tmp_path)
    n = 4
    arrays = {
        "history": np.array("[]"),
        "curvature_history": np.zeros(0),
        "embedding": np.zeros((n, 2), np.float32),
        "curvature": np.full(n, np.nan, np.float32),
        "y_true": np.array(["a", "b"] * 2),
        "y_pred": np.array(["a", "a"] * 2),
        "proba": np.full((n, 2), 0.5, np.float32),
        "classes": np.array(["a", "b"]),
        "subject": np.full(n, "1"),
        "session": np.full(n, "0"),
        "fold": np.zeros(n, np.int32),
        "seed": np.zeros(n, np.int64),
        "trial": np.arange(n),
    }
    folder.part(0).parent.mkdir()
    np.savez(folder.part(0), **arrays)
    keys = {"task": 0, "pipeline": "p", "subject": 1, "session": "0", "fold": 0, "seed": 0}
    gather_parts(folder, [{**keys, "status": "done"}])
    stored = read_embeddings(tmp_path / "embeddings" / "p.npz")
    assert set(stored) - {"network"} == set(arrays) - {"history", "curvature_history"}
