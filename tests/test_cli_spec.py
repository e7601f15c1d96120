"""`hypeeg init` and `schema`, dry runs, and sweeps from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from hypeeg.cli import app
from hypeeg.cli_common import backend_changes
from hypeeg.experiments.spec import RunSpec, read_run_spec
from hypeeg.experiments.sweep_index import read_sweep

Cli = Callable[..., Result]

SWEEP = """
name: sw
dataset: {name: SimulatedMI, subjects: [1], sessions: [0]}
evaluation: {n_folds: 2}
save: {models: none}
pipelines:
  - {name: csp, model: csp_lda}
  - {name: var, model: logvar_lda}
sweep:
  grid: {pipelines.csp.params.n_components: [2, 4], preprocessing.fmax: [30]}
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


@pytest.mark.parametrize("kind", ["eeg", "vision", "hierarchy"])
def test_init_writes_a_file_that_can_be_run(kind: str, cli: Cli, tmp_path: Path) -> None:
    result = cli("init", "deep/mine.yaml", "--kind", kind, "--schema")
    assert result.exit_code == 0, result.stderr
    text = (tmp_path / "deep" / "mine.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=run-spec.schema.json\n")
    schema = json.loads((tmp_path / "deep" / "run-spec.schema.json").read_text())
    assert schema["properties"]["kind"]["enum"] == ["eeg", "vision", "hierarchy"]
    assert read_run_spec(tmp_path / "deep" / "mine.yaml").name == "mine"
    planned = cli("run", "deep/mine.yaml", "--dry-run")
    assert planned.exit_code == 0, planned.stderr
    assert "Nothing was run." in planned.stdout
    assert not (tmp_path / "runs").exists()
    again = cli("init", "deep/mine.yaml")
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert cli("init", "deep/mine.yaml", "--force").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["init", "a.yaml", "--kind", "hiearchy"], "'hierarchy'?"),
        (["init", "a.yaml", "--dataset", "Kalunga"], "'Kalunga2016'"),
        (["init", "a.yaml", "--kind", "vision", "--dataset", "Omniglott"], "'Omniglot'"),
        (["run", "quickstart", "--set", "kind=visoin"], "'vision'?"),
        (["run", "quickstart", "--backend", "dsk"], "'dask'?"),
        (["run", "quickstart", "--backend", "dask"], "scheduler is missing"),
        (["run", "quickstart", "--scheduler", "here"], "tcp://node7:8786"),
        (["run", "quickstart", "--set", "sweep.grid={training.lrr: [1]}"], "'lr'?"),
    ],
)
def test_mistakes_are_one_message(
    cli: Cli, tmp_path: Path, arguments: list[str], fragment: str
) -> None:
    result = cli(*arguments)
    assert result.exit_code == 2
    assert fragment in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_schema_is_shown_or_written(cli: Cli, tmp_path: Path) -> None:
    shown = cli("schema")
    assert cli("schema", "--out", "docs/s.json").exit_code == 0
    assert json.loads(shown.stdout) == json.loads((tmp_path / "docs" / "s.json").read_text())


def test_the_backend_of_a_run_is_that_of_the_options() -> None:
    assert backend_changes(None, None) == []
    for options in ((None, "tcp://a:1"), ("dask", "tcp://a:1")):
        spec = read_run_spec(
            "name: a\ndataset: {name: SimulatedMI}\npipelines: [{name: a, model: csp_lda}]\n",
            backend_changes(*options),
        )
        assert (spec.backend.name, spec.backend.scheduler) == ("dask", "tcp://a:1")


def test_a_dry_run_tells_what_it_takes(cli: Cli) -> None:
    result = cli("run", "quickstart", "--dry-run", "--set", "dataset.subjects=[1]")
    assert "# 10 folds × 1 seeds × 4 pipelines = 40 fits" in result.stdout
    for fragment in ("# Memory, roughly: ", "96 trials × 22 channels", "# Time, very roughly: "):
        assert fragment in result.stdout


def test_a_sweep_from_the_command_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "sw.yaml").write_text(SWEEP)
    planned = cli("run", "sw.yaml", "--dry-run")
    assert "# sw-p001: pipelines.csp.params.n_components=4" in planned.stdout
    assert not (tmp_path / "runs").exists()
    result = cli("run", "sw.yaml", "--set", "evaluation.seeds=[5]")
    assert result.exit_code == 0, result.stderr
    assert "[2/2] sw-p001" in result.stderr
    [folder] = (tmp_path / "runs").iterdir()
    assert folder.name in result.stdout.replace("\n", "")
    assert (folder / "spec_given.yaml").read_text() == SWEEP
    assert json.loads((folder / "sweep.json").read_text())["overrides"] == ["evaluation.seeds=[5]"]
    info = read_sweep(folder)
    for point, n_components in zip(info.points, (2, 4), strict=True):
        assert point.folder is not None
        kept = RunSpec.from_yaml(point.folder / "spec_resolved.yaml")
        assert kept.pipelines[0].params == {"n_components": n_components}
        assert (kept.preprocessing.fmax, kept.seeds, kept.sweep) == (30, [5], None)
    table = pd.read_csv(folder / "points.csv")
    shown = cli("show", "sw-sweep").stdout
    assert "done (2 points: 2 done)" in shown
    assert f"{table['score'].iloc[0]:.3f}" in shown
    listed = cli("list")
    assert "sweep of pipelines.csp.params.n_components, preprocessing.fmax" in listed.stdout
    assert "2/2 points done" in listed.stdout
    points = cli("list", "--out", str(folder)).stdout
    assert "sw-p000-" in points
    assert "nothing is missing" in cli("resume", folder.name).stdout
    assert "not going on (it is done)" in cli("cancel", folder.name).stderr


def test_a_sweep_is_cancelled_killed_and_gone_on_with(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "sw.yaml").write_text(SWEEP)
    many = "evaluation={n_folds: 8, seeds: [0, 1, 2, 3, 4, 5, 6, 7]}"
    command = [sys.executable, "-m", "hypeeg.cli", "run", "sw.yaml", "--set", many]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    out, end = tmp_path / "runs", time.monotonic() + 120
    while not any(out.glob("*/*/folds.jsonl")) and time.monotonic() < end:
        time.sleep(0.01)
    [folder] = out.iterdir()
    refused = cli("resume", folder.name)
    assert refused.exit_code == 2
    assert "another process" in refused.stderr
    cancelled = cli("cancel", folder.name)
    assert "cancelled" in cancelled.stdout, cancelled.stderr
    # The whole sweep ends, not one point of it.
    assert child.wait(60) == 130
    assert [p.state for p in read_sweep(folder).points] == ["cancelled", "planned"]
    resumed = subprocess.Popen(
        [sys.executable, "-m", "hypeeg.cli", "resume", folder.name],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not any(folder.glob("sw-p001-*/folds.jsonl")) and time.monotonic() < end + 120:
        assert resumed.poll() is None
        time.sleep(0.01)
    resumed.send_signal(signal.SIGKILL)
    resumed.wait(60)
    assert [p.state for p in read_sweep(folder).points] == ["done", "interrupted"]
    assert "incomplete" in cli("show", folder.name).stdout
    wrong = cli("resume", folder.name, "--backend", "dsk")
    assert wrong.exit_code == 2
    assert "'dask'?" in wrong.stderr
    result = cli("resume", folder.name, "--backend", "local")
    assert result.exit_code == 0, result.stderr
    assert read_sweep(folder).state == "done"
    for run in folder.glob("sw-p*"):
        scores = pd.read_csv(run / "scores.csv")
        identity = ["pipeline", "subject", "session", "fold", "seed"]
        assert len(scores) == 2 * 8 * 8
        assert not scores.duplicated(identity).any()
    assert len(list(folder.glob("sw-p*"))) == 2
