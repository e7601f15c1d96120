"""Records on their way to the disk."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hypeeg.experiments import recorder as recorder_module
from hypeeg.experiments.recorder import ARRAYS, Recorder
from hypeeg.experiments.store import DiskFullError, FoldLog, RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "run")


def tasks(records: Any) -> list[int]:
    return [record["task"] for record in records]


def until(condition: Any, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_every_record_comes_back_once_and_in_order(folder: RunFolder) -> None:
    found: list[int] = []
    with Recorder(folder, pause=0.02) as recorder:
        for number in range(40):
            found += tasks(recorder.hand_over({"task": number}))
            # What came back is on disk.
            assert tasks(folder.folds.read())[: len(found)] == found
            time.sleep(0.002)
        found += tasks(recorder.finish())
    assert found == tasks(folder.folds.read()) == list(range(40))


def test_the_first_is_written_at_once_and_those_of_a_pause_together(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    append = FoldLog.append

    def counted(self: FoldLog, *records: dict[str, Any]) -> None:
        written.append(len(records))
        append(self, *records)

    monkeypatch.setattr(FoldLog, "append", counted)
    with Recorder(folder, pause=30) as recorder:
        recorder.hand_over({"task": 0})
        until(lambda: written == [1])
        for number in range(1, 6):
            recorder.hand_over({"task": number})
        # Nobody waits for the pause when all is done.
        recorder.finish()
    assert written == [1, 5]


def test_nothing_handed_over_waits_longer_than_the_pause(folder: RunFolder) -> None:
    # The next task may take hours.
    with Recorder(folder, pause=0.1) as recorder:
        recorder.hand_over({"task": 0})
        until(lambda: tasks(folder.folds.read()) == [0])
        recorder.hand_over({"task": 1})
        until(lambda: tasks(folder.folds.read()) == [0, 1])


def test_arrays_are_on_disk_before_the_line_and_not_in_it(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = FoldLog.append

    def checked(self: FoldLog, *records: dict[str, Any]) -> None:
        for record in records:
            with np.load(folder.part(record["task"])) as part:
                assert part["numbers"].tolist() == [record["task"]]
        append(self, *records)

    monkeypatch.setattr(FoldLog, "append", checked)
    with Recorder(folder) as recorder:
        for number in range(3):
            recorder.hand_over({"task": number, ARRAYS: {"numbers": np.array([number])}})
        recorder.finish()
    assert folder.folds.read() == [{"task": number} for number in range(3)]


def test_a_full_disk_is_told_once_and_nothing_more_is_written(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Any) -> None:
        raise DiskFullError("full")

    monkeypatch.setattr(recorder_module, "sync_parts", full)
    with Recorder(folder, pause=0) as recorder:
        recorder.hand_over({"task": 0})
        until(lambda: recorder._error is not None)
        with pytest.raises(DiskFullError):
            recorder.hand_over({"task": 1})
        assert recorder.finish() == []
    assert folder.folds.read() == []


@pytest.mark.parametrize("room", [0, 1, 3, 5])
def test_what_had_room_on_a_full_disk_is_recorded(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """One batch of five: arrays of `room` fit, and lines only once those of the last are gone."""
    append = FoldLog.append

    def written(part: Path, arrays: dict[str, np.ndarray]) -> None:
        if len(list(folder.path.rglob("*.npz"))) == room:
            raise DiskFullError("full")
        part.parent.mkdir(exist_ok=True)
        part.write_bytes(b"")

    def appended(self: FoldLog, *records: dict[str, Any]) -> None:
        if records and len(list(folder.path.rglob("*.npz"))) >= max(room, 1):
            raise DiskFullError("full")
        append(self, *records)

    monkeypatch.setattr(recorder_module, "write_arrays", written)
    monkeypatch.setattr(FoldLog, "append", appended)
    with Recorder(folder, pause=30) as recorder, pytest.raises(DiskFullError):
        recorder._write([{"task": i, ARRAYS: {}} for i in range(5)])
    kept = tasks(folder.folds.read())
    assert kept == list(range(max(room - 1, 0)))
    # No arrays without a line, no line without arrays.
    assert {path.name for path in folder.path.rglob("*.npz")} == {folder.part(i).name for i in kept}


def test_a_full_disk_can_be_told_from_another_process() -> None:
    """Also by what libraries put in pickle's place, which call ``__new__`` of the class."""
    import pickle

    error = DiskFullError("the disk is full")
    assert str(pickle.loads(pickle.dumps(error))) == "the disk is full"
    assert isinstance(DiskFullError.__new__(DiskFullError, "full"), OSError)
