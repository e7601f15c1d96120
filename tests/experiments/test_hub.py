"""A shared model: the folder is braindecode's, the estimator comes back, nothing else comes in."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import hypeeg
from hypeeg.cli import app
from hypeeg.eeg import load_epochs
from hypeeg.experiments import hub
from hypeeg.experiments.recorded import RecordedRun
from hypeeg.experiments.runner import run
from hypeeg.experiments.spec import RunSpec
from hypeeg.experiments.spec_errors import SpecError
from hypeeg.experiments.store import RecordError

HAS_SKOPS = importlib.util.find_spec("skops") is not None
needs_skops = pytest.mark.skipif(not HAS_SKOPS, reason="classical pipelines are kept with skops")

PREDICT = """
import sys
import numpy as np
import hypeeg
X = np.load(sys.argv[1])
for folder in sys.argv[2:]:
    np.save(folder + "-proba.npy", hypeeg.load(folder, device="cpu").predict_proba(X))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RecordedRun:
    """A run that keeps a network, its twin and a classical pipeline."""
    spec = RunSpec.from_data(
        {
            "name": "shared",
            "dataset": {"name": "SimulatedMI", "subjects": [1, 2], "sessions": [0]},
            "evaluation": {"n_folds": 2, "scoring": "accuracy"},
            "training": {"max_epochs": 2, "curvature_lr": 0.2},
            "device": "cpu",
            "pipelines": [
                {"name": "hyper", "model": "HyperbolicEEGNet", "params": {"head": "prototypes"}},
                {"name": "flat", "model": "EEGNet", "twin_of": "hyper"},
                {"name": "ts", "model": "ts_lr"},
            ],
        }
    )
    result = run(spec, tmp_path_factory.mktemp("runs"), progress=False)
    assert result.state == "done", result.failures
    return RecordedRun.open(result.folder)


@pytest.fixture(scope="module")
def X() -> np.ndarray:
    return load_epochs("SimulatedMI", subjects=[1], sessions=["0"]).X[:6]


@pytest.fixture(scope="module")
def pushed(trained: RecordedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hub.push(
        trained.path, tmp_path_factory.mktemp("hub") / "hyper", "hyper", licence="bsd-3-clause"
    )


@pytest.fixture
def copy(pushed: Path, tmp_path: Path) -> Path:
    """A pushed network to damage."""
    return Path(shutil.copytree(pushed, tmp_path / "copy"))


@needs_skops
def test_a_pulled_folder_predicts_the_same_in_a_fresh_process(
    trained: RecordedRun, X: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", X)
    for name in ("hyper", "flat", "ts"):
        hub.push(trained.path, tmp_path / "there" / name, name)
        hub.pull(tmp_path / "there" / name, tmp_path / name)
    shutil.rmtree(tmp_path / "there")
    folders = [str(tmp_path / name) for name in ("hyper", "flat", "ts")]
    command = [sys.executable, "-c", PREDICT, str(tmp_path / "x.npy"), *folders]
    subprocess.run(command, check=True, cwd="/", capture_output=True, timeout=300)
    for name in ("hyper", "flat", "ts"):
        expected = hypeeg.load(trained.path, name, device="cpu").predict_proba(X)
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}-proba.npy"), expected)


def test_config_and_weights_are_those_of_the_network(
    trained: RecordedRun, pushed: Path, X: np.ndarray
) -> None:
    """Read as braindecode does without the hub: `from_config`, then all weights, strictly."""
    import safetensors.torch
    import torch

    from hypeeg.eeg.models.hyperbolic_eegnet import HyperbolicEEGNet

    config = json.loads((pushed / "config.json").read_text())
    assert config["head"] == "prototypes"
    network = HyperbolicEEGNet.from_config(config)
    safetensors.torch.load_model(network, pushed / "model.safetensors", strict=True)
    kept = hypeeg.load(trained.path, "hyper", device="cpu")[-1]
    c = float(network.manifold.c.detach())
    assert c == float(kept.module_.manifold.c.detach())
    assert abs(c - 1.0) > 0.05
    batch = torch.from_numpy(X)
    with torch.no_grad():
        torch.testing.assert_close(
            network.eval()(batch), kept.module_.eval()(batch), rtol=0, atol=0
        )


@pytest.mark.skipif(
    importlib.util.find_spec("huggingface_hub") is None, reason="huggingface_hub is not installed"
)
def test_the_folder_is_what_save_pretrained_writes(
    trained: RecordedRun, pushed: Path, X: np.ndarray, tmp_path: Path
) -> None:
    import torch

    from hypeeg.eeg.models.hyperbolic_eegnet import HyperbolicEEGNet

    kept = hypeeg.load(trained.path, "hyper", device="cpu")[-1].module_
    kept.save_pretrained(tmp_path)
    weights = [content(f / "model.safetensors") for f in (pushed, tmp_path)]
    assert weights[0] == weights[1]
    mine, theirs = (json.loads((f / "config.json").read_text()) for f in (pushed, tmp_path))
    assert repr(mine) == repr(theirs)  # NaN is not equal to itself
    network = HyperbolicEEGNet.from_pretrained(str(pushed), strict=True)
    with torch.no_grad():
        batch = torch.from_numpy(X)
        torch.testing.assert_close(network.eval()(batch), kept.eval()(batch), rtol=0, atol=0)


def test_the_card_says_what_the_run_found(trained: RecordedRun, pushed: Path) -> None:
    text = (pushed / "README.md").read_text()
    _, header, body = text.split("---\n", 2)
    front = yaml.safe_load(header)
    scores = pd.read_csv(trained.path / "scores.csv").query("pipeline == 'hyper'")
    units = scores.groupby(["subject", "session"])["score"].mean()
    metric = front["model-index"][0]["results"][0]["metrics"][0]
    assert metric["value"] == pytest.approx(units.mean(), abs=1e-4)
    assert f"{units.mean():.3f} ± {units.std(ddof=1):.3f}" in body
    assert front["license"] == "bsd-3-clause"
    assert front["library_name"] == "braindecode"
    last = scores[(scores["subject"] == 2) & (scores["fold"] == 1)].iloc[0]
    assert f"trained on {last['n_train']} trials, scored {last['score']:.3f}" in body
    assert f"curvature -{last['curvature']:.4g}" in body
    assert 'hypeeg.load("' in body
    # No place of this machine is told.
    told = b"".join(path.read_bytes() for path in pushed.iterdir())
    assert str(trained.path.parent).encode() not in told


def content(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Notes and tensors of a safetensors file, whose notes stand in any order."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        return file.metadata(), {k: file.get_tensor(k).tolist() for k in file.keys()}  # noqa: SIM118


def set_files(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    facts = json.loads((folder / hub.MANIFEST).read_text())
    change(facts)
    (folder / hub.MANIFEST).write_text(json.dumps(facts))


def entry(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "sha256": hub._sha256(path)}


@pytest.mark.parametrize("name", ["../outside.json", "/etc/hostname", "sub/x", "evil.pkl", ""])
def test_a_name_that_leads_elsewhere_is_refused(copy: Path, name: str) -> None:
    outside = copy.parent / "outside.json"
    outside.write_text("{}")
    set_files(copy, lambda facts: facts["files"].update({name: entry(outside)}))
    with pytest.raises(RecordError, match=r"no file of a model.*Nothing is loaded"):
        hypeeg.load(copy)
    with pytest.raises(RecordError, match="no file of a model"):
        hub.pull(copy, copy.parent / "pulled")
    assert not (copy.parent / "pulled").exists()


def test_links_are_refused(copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.rename(copy.parent / "elsewhere")
    weights.symlink_to(copy.parent / "elsewhere")
    with pytest.raises(RecordError, match="is a link"):
        hypeeg.load(copy)
    card = copy / "README.md"
    weights.unlink()
    (copy.parent / "elsewhere").rename(weights)
    card.unlink()
    card.symlink_to("/etc/hostname")
    hub.pull(copy, copy.parent / "pulled")
    assert not (copy.parent / "pulled" / "README.md").exists()


def test_wrong_and_huge_files_are_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, manifest = copy / "model.safetensors", copy / hub.MANIFEST
    good, facts = weights.read_bytes(), manifest.read_text()

    def refused(words: str) -> None:
        with pytest.raises(RecordError, match=words):
            hypeeg.load(copy)
        weights.write_bytes(good)
        manifest.write_text(facts)

    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    refused("other checksum")
    weights.write_bytes(good[:-1])
    refused(f"{len(good) - 1} bytes, but {len(good)} were pushed")
    weights.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    refused("git lfs pull")
    weights.unlink()
    refused("missing; the copy is not complete")
    manifest.write_text("{")
    refused("damaged")
    manifest.write_text("[" * 100_000)
    refused("damaged")
    manifest.write_text("[]")
    refused("describes no model")
    set_files(copy, lambda f: f.update(version=2))
    refused("version 2")
    set_files(copy, lambda f: f.update(files=["x"]))
    refused("lists no files")
    set_files(copy, lambda f: f["files"].pop("model.safetensors"))
    refused("lists no model.safetensors")
    set_files(copy, lambda f: f["files"].update({"config.json": {"size": "1"}}))
    refused("size or sha256 of config.json is missing")
    monkeypatch.setattr(hub, "MAX_BYTES", 10)
    refused("more than the 10 that are read")
    monkeypatch.undo()
    assert hypeeg.load(copy, device="cpu")[-1].model == "HyperbolicEEGNet"


def test_weights_of_another_network_are_refused(copy: Path, trained: RecordedRun) -> None:
    hub.push(trained.path, copy.parent / "flat", "flat")
    shutil.copy(copy.parent / "flat" / "model.safetensors", copy / "model.safetensors")
    path = copy / "model.safetensors"
    set_files(copy, lambda f: f["files"].update({path.name: entry(path)}))
    with pytest.raises(ValueError, match="other checksum"):
        hypeeg.load(copy, device="cpu")


@needs_skops
def test_where_a_model_may_be_put(trained: RecordedRun, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    (clone / ".git").mkdir(parents=True)
    hub.push(trained.path, clone, "hyper")
    with pytest.raises(SpecError, match="--replace"):
        hub.push(trained.path, clone, "ts")
    hub.push(trained.path, clone, "ts", replace=True)
    names = {path.name for path in clone.iterdir()}
    assert names == {".git", "README.md", "estimator.json", "hypeeg.json", "model.skops"}
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("x")
    for replace in (False, True):
        with pytest.raises(SpecError, match=r"holds thesis.tex and no model"):
            hub.push(trained.path, tmp_path / "thesis", "ts", replace=replace)
    with pytest.raises(SpecError, match="is the folder that the model lies in"):
        hub.pull(clone, clone, replace=True)
    assert hypeeg.load(clone).classes_.tolist() == ["left_hand", "right_hand"]


def test_the_commands(trained: RecordedRun, X: np.ndarray, tmp_path: Path) -> None:
    def call(*arguments: object, code: int = 0) -> str:
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        assert result.exit_code == code, result.output
        return result.output if code else result.stdout

    first, second = tmp_path / "first", tmp_path / "second"
    assert "Wrote" in call("push", trained.path, first, "--pipeline", "flat")
    assert "flat: whole" in call("pull", first, second)
    np.save(tmp_path / "x.npy", X)
    predict = ["predict", second, tmp_path / "x.npy", "--device", "cpu"]
    call(*predict, "--to", tmp_path / "out.parquet")
    table = pd.read_parquet(tmp_path / "out.parquet")
    lines = [json.loads(line) for line in call(*predict, "--format", "json").splitlines()]
    expected = hypeeg.load(trained.path, "flat", device="cpu").predict_proba(X)
    columns = ["p_left_hand", "p_right_hand"]
    np.testing.assert_allclose(table[columns], expected, rtol=1e-6)
    np.testing.assert_allclose([[row[c] for c in columns] for row in lines], expected, rtol=1e-6)
    assert "name a file with --to" in call(*predict, "--format", "parquet", code=2)
    assert "Did you mean 'json'" in call(*predict, "--format", "jsno", code=2)
    assert "the folder holds flat" in call(*predict, "--pipeline", "hyper", code=2)
    assert "no hypeeg.json" in call("pull", trained.path, tmp_path / "third", code=2)
    assert "no such folder" in call("pull", tmp_path / "none", tmp_path / "third", code=2)
