"""Starting a run as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hypeeg.experiments import process, start
from hypeeg.experiments.spec_errors import SpecError

SPEC = """\
name: tiny
dataset: {name: SimulatedMI, subjects: [1]}
pipelines: [{name: CSP, model: csp_lda}]
"""
MAKE_FOLDER = """\
import sys, time
from hypeeg.experiments.store import RunFolder
run, file, option, out = sys.argv[1:]
assert (run, option) == ("run", "--out")
folder = RunFolder.create(out, "tiny")
folder.update_status("planned")
print("made", flush=True)
time.sleep(60)
"""


def wait(until: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Run other code in place of hypeeg; it gets the same arguments."""
    return lambda code: monkeypatch.setattr(process, "HYPEEG", (sys.executable, "-c", code))


def test_a_run_has_a_session_of_its_own_and_is_found_by_its_process(
    tmp_path: Path, instead: Callable[[str], None]
) -> None:
    instead(MAKE_FOLDER)
    started = start.start_run(SPEC, tmp_path)
    try:
        assert started.is_alive
        assert os.getsid(started.pid) == started.pid != os.getsid(0)
        wait(started.find_run)
        run = started.find_run()
        assert run is not None
        assert run.parent == tmp_path.resolve()
        assert run.name.startswith("tiny-2")
        assert (started.folder / "tiny.yaml").read_text() == SPEC
        # The same folder of another process, or of an earlier one with the same number.
        status = run / "status.json"
        status.write_text(status.read_text().replace(f'"pid": {started.pid}', '"pid": 1'))
        assert started.find_run() is None
    finally:
        os.kill(started.pid, signal.SIGKILL)
    wait(lambda: not started.is_alive)


def test_a_run_that_fails_at_once_leaves_its_words(
    tmp_path: Path, instead: Callable[[str], None]
) -> None:
    instead("import sys; print('error: the disk is on fire', file=sys.stderr); sys.exit(2)")
    started = start.start_run(SPEC, tmp_path)
    wait(lambda: not started.is_alive)
    assert started.find_run() is None
    assert started.words == "error: the disk is on fire"


def test_a_wrong_file_starts_nothing(tmp_path: Path) -> None:
    for name in ("../outside", "a/b", "..", "-x; rm"):
        with pytest.raises(SpecError, match="name"):
            start.start_run(SPEC.replace("tiny", f"'{name}'"), tmp_path / "runs")
    assert not list(tmp_path.iterdir())


def test_old_starts_are_forgotten(tmp_path: Path, instead: Callable[[str], None]) -> None:
    instead("pass")
    for number in range(start.KEPT + 3):
        old = tmp_path / start.STARTS / f"20200101T{number:06d}Z-old"
        old.mkdir(parents=True)
        (old / "log.txt").touch()
    (tmp_path / start.STARTS / "somebody-elses").mkdir()
    started = start.start_run(SPEC, tmp_path)
    names = sorted(path.name for path in (tmp_path / start.STARTS).iterdir())
    assert len(names) == start.KEPT + 1
    assert started.folder.name in names
    assert "somebody-elses" in names
    wait(lambda: not started.is_alive)


def test_the_command_is_one_a_shell_takes_as_it_is_meant() -> None:
    text = start.shell_command("my file.yaml", "/data/runs; true")
    shown = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {text}"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.splitlines() == [
        *("hypeeg", "run", "my file.yaml", "--out", "/data/runs; true")
    ]
