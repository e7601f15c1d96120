from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

import hypeeg
from hypeeg.cli import app
from hypeeg.experiments.gather import read_embeddings
from hypeeg.experiments.saved import load_pipeline
from hypeeg.experiments.spec import RunSpec
from hypeeg.experiments.store import RunFolder

Cli = Callable[..., Result]

TINY = """
name: tiny
description: Two networks for one epoch and two classical pipelines.
dataset: {name: SimulatedMI, subjects: [1], sessions: [0]}
evaluation: {n_folds: 2}
training: {max_epochs: 1}
pipelines:
  - {name: hyperbolic, model: HyperbolicEEGNet}
  - {name: flat, model: EEGNet, twin_of: hyperbolic}
  - {name: csp, model: csp_lda}
  - {name: ts, model: ts_lr}
"""


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """Calls the command in an empty folder, without a folder of recordings."""
    before = dict(os.environ)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYPEEG_DATA", raising=False)

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments))

    yield call
    # The command points MNE and MOABB at a folder through the environment.
    os.environ.clear()
    os.environ.update(before)


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from hypeeg.cli import app\n"
        "for arguments in (['--help'], ['--version'], ['run', '--help']):\n"
        "    try:\n"
        "        app(arguments)\n"
        "    except SystemExit as end:\n"
        "        assert end.code == 0, end.code\n"
        "heavy = {'torch', 'moabb', 'braindecode', 'mne', 'sklearn', 'pandas', 'numpy'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "heavy: []" in done.stdout
    assert f"hypeeg {hypeeg.__version__}" in done.stdout
    assert "--set" in done.stdout


def test_a_run_from_the_command_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    result = cli("run", "tiny.yaml", "--set", "evaluation.seeds=[3]", "--out", "mine")
    assert result.exit_code == 0, result.stderr
    [folder] = (tmp_path / "mine").iterdir()
    assert folder.name in result.stdout.replace("\n", "")
    for fragment in ("hyperbolic − flat", "too few", "48 different test trials", "learned c"):
        assert fragment in result.stdout
    scores = pd.read_csv(folder / "scores.csv")
    assert scores["pipeline"].value_counts().to_dict() == dict.fromkeys(
        ("hyperbolic", "flat", "csp", "ts"), 2
    )
    assert set(scores["seed"]) == {3}
    hyperbolic = scores["pipeline"] == "hyperbolic"
    assert scores.loc[hyperbolic, "curvature"].notna().all()
    assert scores.loc[~hyperbolic, "curvature"].isna().all()
    # The file as it was given, and as it was meant.
    assert (folder / "spec_given.yaml").read_text() == TINY
    assert RunSpec.from_yaml(folder / "spec_resolved.yaml").evaluation.seeds == [3]
    assert RunFolder(folder).read_status()["state"] == "done"
    environment = (folder / "environment.json").read_text()
    assert '"torch"' in environment
    assert str(Path.home()) not in environment
    assert str(tmp_path) not in environment


def test_a_saved_network_predicts_as_it_did(cli: Cli, tmp_path: Path) -> None:
    from hypeeg.eeg.datasets import load_epochs

    (tmp_path / "tiny.yaml").write_text(TINY)
    assert cli("run", "tiny.yaml").exit_code == 0
    [folder] = (tmp_path / "runs").iterdir()
    trials = load_epochs("SimulatedMI", subjects=[1], sessions=["0"])
    for name in ("hyperbolic", "flat"):
        [saved] = (folder / "models" / name).iterdir()
        assert saved.name == "subject-1_session-0_fold-1_seed-0"
        assert (saved / "model.safetensors").is_file()
        stored = read_embeddings(folder / "embeddings" / f"{name}.npz")
        rows = stored["fold"] == 1
        X = trials.X[stored["trial"][rows]]
        loaded = load_pipeline(saved, device="cpu")
        assert (loaded.predict(X) == stored["y_pred"][rows]).all()
        assert abs(loaded.transform(X) - stored["embedding"][rows]).max() < 1e-5
    # Classical pipelines are kept where skops is installed.
    kept = {p.name for p in (folder / "models").iterdir()}
    assert kept - {"csp", "ts"} == {"hyperbolic", "flat"}


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["run", "quikstart"], ["no such run file", "'quickstart'"]),
        (["run", "missing.yaml"], ["missing.yaml", "quickstart"]),
        (
            ["run", "quickstart", "--set", "dataset.name=PhysionetM"],
            ["dataset.name", "'PhysionetMI'"],
        ),
        (["run", "quickstart", "--set", "pipelines.0.model=EEGNett"], ["EEGNett", "'EEGNet'"]),
        (["run", "quickstart", "--set", "trainig.lr=1"], ["trainig", "'training'"]),
        (["run", "quickstart", "--set", "device"], ["path.to.key=value"]),
        (["data", "show", "Kalunga"], ["'Kalunga2016'"]),
        (["data", "check", "SimulatedMI", "--subjects", "1-x"], ["'1-x'", "1,2,5-8"]),
        (["data", "check", "SimulatedMI", "--subjects", "9"], ["9"]),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(
    cli: Cli, tmp_path: Path, arguments: list[str], fragments: list[str]
) -> None:
    result = cli(*arguments)
    assert result.exit_code == 2
    for fragment in fragments:
        assert fragment in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("error: ")
    assert not (tmp_path / "runs").exists()


def test_unknown_parameter_of_a_model_ends_before_training(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    result = cli("run", "tiny.yaml", "--set", "pipelines.0.params={F9: 4}")
    assert result.exit_code == 2
    assert "pipelines.0" in result.stderr
    assert "F9" in result.stderr
    [folder] = (tmp_path / "runs").iterdir()
    assert str(folder.name) in result.stderr
    assert RunFolder(folder).read_status()["state"] == "failed"
    assert not (folder / "folds.jsonl").exists()


def test_too_many_folds_is_bad_input(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    result = cli("run", "tiny.yaml", "--set", "evaluation.n_folds=25")
    assert result.exit_code == 2
    assert "n_folds to 24 or less" in result.stderr


def test_missing_data_folder_is_bad_input(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPEEG_DATA", str(tmp_path / "nowhere"))
    result = cli("run", "physionet_s001")
    assert result.exit_code == 2
    assert "nowhere" in result.stderr
    assert "Traceback" not in result.stderr


def test_failed_folds_make_exit_code_1(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    def fail(*_: object) -> None:
        raise ArithmeticError("singular")

    monkeypatch.setattr(LinearDiscriminantAnalysis, "fit", fail)
    (tmp_path / "tiny.yaml").write_text(TINY)
    result = cli("run", "tiny.yaml", "--set", "pipelines=[{name: a, model: csp_lda}]")
    assert result.exit_code == 1
    assert "2 of 2 folds failed" in result.stdout
    assert "ArithmeticError: singular" in result.stdout


def test_dry_run_shows_the_plan_and_writes_nothing(cli: Cli, tmp_path: Path) -> None:
    result = cli("run", "quickstart", "--dry-run", "--set", "dataset.subjects=[1,2]")
    assert result.exit_code == 0
    folds = re.search(r"# (\d+) folds × 1 seeds × 4 pipelines = (\d+) fits", result.stdout)
    assert folds is not None
    assert folds.groups() == ("20", "80")
    resolved = RunSpec.from_text(result.stdout.partition("# ")[0])
    assert resolved.dataset.subjects == [1, 2]
    assert list(tmp_path.iterdir()) == []


def test_data_list_show_and_check(cli: Cli) -> None:
    listed = cli("data", "list")
    assert listed.exit_code == 0
    for name in ("SimulatedMI", "PhysionetMI", "Kalunga2016"):
        assert name in listed.stdout
    shown = cli("data", "show", "PhysionetMI")
    assert "ODC-By" in shown.stdout
    checked = cli("data", "check", "SimulatedMI", "--subjects", "1-2")
    assert checked.exit_code == 0, checked.output
    assert "as expected" in checked.stdout


def test_data_list_filters(cli: Cli) -> None:
    ssvep = cli("data", "list", "--paradigm", "ssvep")
    assert "Wang2016" in ssvep.stdout
    assert "BI2012" not in ssvep.stdout
    assert "19 data sets" in ssvep.stderr
    # Names are whole where no terminal limits the width.
    assert "MartinezCagigal2023Checker" in cli("data", "list", "--paradigm", "c-vep").stdout
    assert "1 data sets" in cli("data", "list", "--search", "arithmetic against rest").stderr
    assert "SimulatedMI" in cli("data", "list", "--here").stdout
    wrong = cli("data", "list", "--paradigm", "p3")
    assert wrong.exit_code == 2
    assert "did you mean 'p300'" in wrong.stderr


def test_data_show_says_what_is_not_known(cli: Cli) -> None:
    shown = cli("data", "show", "BNCI2014_001").stdout
    assert "trials_context" in shown
    assert "# Not known before reading: session names, size, trials." in shown
    assert "Not known" not in cli("data", "show", "Kalunga2016").stdout


def test_data_fetch_of_what_is_not_downloaded(cli: Cli) -> None:
    result = cli("data", "fetch", "SimulatedMI")
    assert result.exit_code == 2
    assert "nothing to fetch" in result.stderr
    wrong = cli("data", "fetch", "Kalunga2016", "--subjects", "a")
    assert wrong.exit_code == 2
    assert "1,2,5-8" in wrong.stderr


def test_own_arrays_from_the_command_line(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    monkeypatch.setenv("HYPEEG_CACHE", str(tmp_path / "cache"))
    X = np.random.default_rng(0).standard_normal((8, 3, 50))
    np.savez(tmp_path / "a.npz", X=X, y=["a", "b"] * 4, sfreq=100)
    (tmp_path / "mine.yaml").write_text("{name: Mine, own: {arrays: a.npz}}")
    assert "count: 3" in cli("data", "show", "mine.yaml").stdout
    checked = cli("data", "check", "mine.yaml")
    assert checked.exit_code == 0, checked.output
    assert "a 4/? b 4/?" in checked.stdout
    assert (tmp_path / "cache" / "locks" / "Mine.json").is_file()
    np.savez(tmp_path / "a.npz", X=X + 1, y=["a", "b"] * 4, sfreq=100)
    changed = cli("data", "check", "mine.yaml")
    assert changed.exit_code == 1
    assert "changed since it was recorded" in changed.stdout
    assert cli("data", "check", "mine.yaml", "--accept-changes").exit_code == 0
    assert cli("data", "check", "mine.yaml").exit_code == 0
    beside = cli("data", "check", "mine.yaml", "--lock", "run/data.json")
    assert beside.exit_code == 0
    assert (tmp_path / "run" / "data.json").is_file()
    assert cli("data", "check", "--lock", "x.json").exit_code == 2


def test_data_check_of_recordings_that_are_not_there(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "eeg").mkdir(parents=True)
    monkeypatch.setenv("HYPEEG_DATA", str(tmp_path / "data"))
    result = cli("data", "check", "PhysionetMI")
    assert result.exit_code == 0
    assert "not on this machine" in result.stdout
    asked = cli("data", "check", "PhysionetMI", "--subjects", "1")
    assert asked.exit_code == 1
    assert "1 problem" in asked.stdout
