"""Removing whole sweeps: by the page, by ``hypeeg clean``, and what stays."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hypeeg.cli import app
from hypeeg.experiments.process import process_start_time, this_host
from hypeeg.experiments.run_index import parse_age
from hypeeg.experiments.store import RecordError, RunFolder
from hypeeg.experiments.sweep_index import list_sweeps, removable_sweeps, remove_sweep


def make_sweep(out: Path, name: str, states: Sequence[str], days: float = 0) -> Path:
    """Write a sweep of three points; runs of the first ones are in the given states."""
    folder = out / name
    folder.mkdir(parents=True)
    when = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    points = [{"point": k, "run": f"{name}-p{k}", "values": {"training.lr": k}} for k in range(3)]
    (folder / "sweep.json").write_text(json.dumps({"created": when, "points": points}))
    for number, state in enumerate(states):
        run = folder / f"{name}-p{number}-20260101T000000Z"
        run.mkdir()
        status = {"state": state, "created": when, "updated": when, "host": this_host()}
        if state in ("running", "planned"):
            status |= {"pid": os.getpid(), "process_start_time": process_start_time(os.getpid())}
        elif state == "elsewhere":
            status |= {"state": "running", "host": "another-machine", "pid": 1}
        (run / "status.json").write_text(json.dumps(status))
    return folder


def names(out: Path, states: Sequence[str], age: str | None = None) -> list[str]:
    older = None if age is None else parse_age(age)
    return sorted(sweep.name for sweep in removable_sweeps(list_sweeps(out), states, older))


def test_a_sweep_is_chosen_if_all_its_runs_are(tmp_path: Path) -> None:
    make_sweep(tmp_path, "broken", ["failed", "cancelled"], days=40)
    make_sweep(tmp_path, "mixed", ["done", "failed"])
    make_sweep(tmp_path, "empty", [], days=3)
    make_sweep(tmp_path, "live", ["failed", "running"])
    make_sweep(tmp_path, "far", ["failed", "elsewhere"])
    (tmp_path / "link").symlink_to(tmp_path / "broken")
    ended = ["failed", "cancelled", "interrupted"]
    assert names(tmp_path, ended) == ["broken", "empty"]
    assert names(tmp_path, ["failed"]) == []
    assert names(tmp_path, [*ended, "done"]) == ["broken", "empty", "mixed"]
    assert names(tmp_path, [*ended, "done", "running", "planned"]) == ["broken", "empty", "mixed"]
    assert names(tmp_path, ended, "30d") == ["broken"]
    assert names(tmp_path, ended, "1d") == ["broken", "empty"]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (["done", "planned"], "running"),
        (["running"], "running"),
        (["done", "elsewhere"], "incomplete"),
        (["done"], "incomplete"),
        (["done", "done", "failed"], "failed"),
        ([], "incomplete"),
    ],
)
def test_a_run_that_reads_its_data_goes_on(
    tmp_path: Path, states: list[str], expected: str
) -> None:
    """Before its first fold a run is planned, as a point is that has not begun."""
    make_sweep(tmp_path, "one", states)
    (sweep,) = list_sweeps(tmp_path)
    assert sweep.state == expected


@pytest.mark.parametrize("state", ["running", "planned", "elsewhere"])
def test_a_sweep_with_a_run_that_goes_on_is_not_removed(tmp_path: Path, state: str) -> None:
    sweep = make_sweep(tmp_path, "live", ["done", state])
    with pytest.raises(RecordError, match=r"live-p1-2026.* is going on; cancel it first"):
        remove_sweep(sweep, tmp_path)
    assert len(list(sweep.iterdir())) == 3


def test_a_sweep_between_two_points_is_not_removed(tmp_path: Path) -> None:
    """No run goes on then; the process of the sweep holds its folder."""
    sweep = make_sweep(tmp_path, "live", ["done"])
    with RunFolder(sweep).held(), pytest.raises(RecordError):
        remove_sweep(sweep, tmp_path)
    with RunFolder(next(sweep.glob("live-p0*"))).held(), pytest.raises(RecordError):
        remove_sweep(sweep, tmp_path)
    assert (sweep / "sweep.json").is_file()


def test_nothing_outside_is_removed(tmp_path: Path) -> None:
    out, outside = tmp_path / "runs", tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    elsewhere = make_sweep(tmp_path / "other", "far", ["done"])
    sweep = make_sweep(out, "mine", ["done"])
    (out / "link").symlink_to(elsewhere)
    plain = out / "plain"
    plain.mkdir()
    for path in (elsewhere, out / "link", out / ".." / "other" / "far", out, plain):
        with pytest.raises(RecordError, match="nothing was removed"):
            remove_sweep(path, out)
    assert len(list(elsewhere.iterdir())) == 2
    # Links in it go; what they lead to stays.
    (sweep / "run").symlink_to(elsewhere / "far-p0-20260101T000000Z")
    (sweep / "folder").symlink_to(outside)
    remove_sweep(sweep, out)
    assert sorted(path.name for path in out.iterdir()) == ["link", "plain"]
    assert (outside / "precious").read_text() == "x"
    assert len(list(elsewhere.iterdir())) == 2


def test_a_sweep_that_cannot_be_read_can_be_removed(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, "torn", ["done"])
    (sweep / "sweep.json").write_text("{torn")
    remove_sweep(sweep, tmp_path)
    assert not list(tmp_path.iterdir())


def test_clean_leaves_sweeps_alone_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "runs"
    broken = make_sweep(out, "broken", ["failed", "cancelled"])
    done = make_sweep(out, "fine", ["done"])
    cli = CliRunner()
    assert "nothing to remove" in cli.invoke(app, ["clean", "--yes"]).stdout
    shown = cli.invoke(app, ["clean", "--sweeps", "--dry-run"])
    assert shown.stdout.startswith("broken  incomplete  2 runs")
    asked = cli.invoke(app, ["clean", "--sweeps"], input="n\n")
    assert asked.exit_code == 1
    assert "Remove 1 sweep from runs?" in asked.stdout
    assert broken.exists()
    gone = cli.invoke(app, ["clean", "--sweeps", "--yes"])
    assert gone.exit_code == 0
    assert gone.stdout.endswith("removed 1 sweep\n")
    assert [path.name for path in out.iterdir()] == [done.name]
