"""Vision runs: their files, divisions, records, and what they say of wrong ones."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hypeeg.experiments.fold import FoldOptions
from hypeeg.experiments.gather import read_embeddings
from hypeeg.experiments.html_report import write_report
from hypeeg.experiments.kinds import read_run_spec, run_spec_from_data
from hypeeg.experiments.recorded import RecordedRun
from hypeeg.experiments.resume import ResumeError, resume
from hypeeg.experiments.runner import run
from hypeeg.experiments.saved import load_pipeline
from hypeeg.experiments.spec_errors import SpecError
from hypeeg.experiments.vision_spec import VisionRunSpec, params_of, training_of
from hypeeg.experiments.vision_wing import VisionData, VisionWing
from hypeeg.experiments.wings import Job, wing_of
from hypeeg.vision.synthetic import synthetic_shapes

TINY = {"blocks": [1], "widths": [4]}
PIPELINES = Path(__file__).parents[2] / "pipelines"


def data(**changes):
    """Plain data of a small valid run file; sections are merged."""
    plain = {
        "name": "tiny",
        "kind": "vision",
        "dataset": {"name": "SyntheticShapes", "n_train": 8, "n_test": 4},
        "evaluation": {"seeds": [0]},
        "training": {"max_epochs": 1, "batch_size": 32},
        "device": "cpu",
        "pipelines": [
            {"name": "hyper", "model": "HybridResNet", "params": TINY},
            {"name": "flat", "model": "ResNet", "twin_of": "hyper"},
        ],
    }
    for key, value in changes.items():
        plain[key] = {**plain[key], **value} if isinstance(value, dict) else value
    return plain


def spec(**changes):
    made = run_spec_from_data(data(**changes))
    assert isinstance(made, VisionRunSpec)
    return made


def planned(**changes):
    made = spec(**changes)
    wing = wing_of(made)
    loaded = wing.load(made)
    return wing.plan(made, loaded), loaded


# -- run files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(PIPELINES.glob("vision_*.yaml")), ids=lambda p: p.stem)
def test_shipped_files_are_read_and_written(path):
    read = read_run_spec(path)
    assert read.kind == "vision"
    assert VisionRunSpec.from_text(read.to_yaml()) == read
    assert read.resolve() == read


def test_reading_imports_nothing_heavy():
    code = (
        "import sys; from hypeeg.experiments.kinds import read_run_spec; "
        f"read_run_spec({str(PIPELINES / 'vision_shapes.yaml')!r}); "
        "found = {'torch', 'mne', 'moabb', 'sklearn', 'braindecode'} & set(sys.modules); "
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"dataset": {"name": "CIFAR100Subst"}}, "dataset.name", "CIFAR100Subset"),
        ({"dataset": {"noise": {"rate": 1.2}}}, "dataset.noise.rate", "less than 1"),
        ({"dataset": {"imbalance": 0.5}}, "dataset.imbalance", "1"),
        ({"dataset": {"classes": ["disc", "disc"]}}, "dataset.classes", "more than once"),
        ({"training": {"domain": "subject"}}, "training.domain", "unknown key"),
        ({"training": {"crop": -1}}, "training.crop", "0"),
        ({"evaluation": {"kind": "fewshot"}}, "evaluation.kind", "few_shot"),
        ({"evaluation": {"few_shot": {"n_way": 2}}}, "evaluation", "kind: few_shot"),
        ({"evaluation": {"validation_fraction": 0.1}}, "evaluation", "kind: validation"),
        (
            {"evaluation": {"kind": "few_shot"}, "dataset": {"labels": "groups"}},
            "",
            "set dataset.labels: classes",
        ),
        (
            {"pipelines": [{"name": "a", "model": "LorentzResnet"}]},
            "pipelines.0.model",
            "LorentzResNet",
        ),
        (
            {"pipelines": [{"name": "a", "model": "ResNet", "params": {"slope": 3}}]},
            "pipelines.0",
            "params.slope is not for ResNet",
        ),
        (
            {"pipelines": [{"name": "a", "model": "ResNet", "params": {"width": [3]}}]},
            "pipelines.0.params.width",
            "widths",
        ),
        (
            {"pipelines": [{"name": "a", "model": "ResNet", "params": {"widths": [3]}}]},
            "pipelines.0.params",
            "blocks has 4 stages and widths 1",
        ),
        (
            {"pipelines": [{"name": "a", "model": "ResNet", "twin_of": "b"}]},
            "pipelines",
            "no other pipeline",
        ),
        (
            {"pipelines": [{"name": "a b", "model": "ResNet"}, {"name": "a_B", "model": "ResNet"}]},
            "pipelines",
            "rename one of them",
        ),
    ],
)
def test_what_is_wrong_is_named(changes, path, message):
    with pytest.raises(SpecError) as caught:
        run_spec_from_data(data(**changes))
    found = [p for p in caught.value.problems if p.path == path and message in p.message]
    assert found, str(caught.value)


def test_twins_share_arguments_and_training():
    parent = {"name": "hyper", "model": "HybridResNet", "training": {"lr": 0.5}}
    parent["params"] = {**TINY, "embedding_dim": 3, "slope": 4.0, "head": "prototypes"}
    twin = {"name": "flat", "model": "ResNet", "twin_of": "hyper"}
    made = spec(pipelines=[parent, twin])
    assert training_of(made, made.pipelines[1]).lr == 0.5
    shared = {**TINY, "embedding_dim": 3, "head": "prototypes"}
    assert params_of(made, made.pipelines[1]) == shared
    for wrong, message in (
        ({"params": {"head": "mlr"}}, "twins share their arguments"),
        ({"training": {"lr": 0.1}}, "shares its training"),
        ({"model": "LorentzResNet"}, "is hyperbolic"),
    ):
        with pytest.raises(SpecError, match=message):
            spec(pipelines=[parent, {**twin, **wrong}])


# -- divisions ----------------------------------------------------------------------------------


def test_every_pipeline_and_seed_is_a_task_on_the_same_images():
    tasks, loaded = planned(evaluation={"seeds": [3, 5]})
    assert [(t.index, t.pipeline, t.fold.seed) for t in tasks] == [
        (0, "hyper", 3),
        (1, "flat", 3),
        (2, "hyper", 5),
        (3, "flat", 5),
    ]
    assert tasks[0].fold is tasks[1].fold
    assert not np.array_equal(tasks[0].fold.train, tasks[2].fold.train)
    codes, is_test = loaded.images.codes, loaded.images.is_test
    for task in tasks:
        assert not is_test[task.fold.train].any()
        assert is_test[task.fold.test].all()
        assert np.bincount(codes[task.fold.train]).tolist() == [8] * 12
        assert np.bincount(codes[task.fold.test]).tolist() == [4] * 12


def test_validation_never_sees_test_images():
    tasks, loaded = planned(
        evaluation={"kind": "validation", "validation_fraction": 0.25}, dataset={"n_test": None}
    )
    fold = tasks[0].fold
    both = np.concatenate([fold.train, fold.test])
    assert not loaded.images.is_test[both].any()
    assert len(set(both.tolist())) == len(both)
    assert np.bincount(loaded.images.codes[fold.test]).tolist() == [10] * 12


def test_new_classes_are_never_trained_on():
    few = {"n_way": 3, "n_query": 5}
    tasks, loaded = planned(
        evaluation={"kind": "few_shot", "few_shot": few, "seeds": [0, 1]}, dataset={"n_test": None}
    )
    codes = loaded.images.codes
    new = [set(codes[t.fold.test].tolist()) for t in tasks]
    for task, classes in zip(tasks, new, strict=True):
        assert len(classes) == 3
        assert not classes & set(codes[task.fold.train].tolist())
        assert len(task.fold.test) == 3 * 60
        assert not loaded.images.is_test[task.fold.train].any()
    assert new[0] == new[1] != new[2]


def test_long_tail_and_classes_by_group():
    tasks, loaded = planned(dataset={"classes": ["ring", "disc"], "n_train": 32, "imbalance": 32.0})
    assert loaded.images.groups == ("disc", "ring")
    assert np.bincount(loaded.images.codes[tasks[0].fold.train]).tolist() == [32, 16, 8, 4, 2, 1]
    tasks, loaded = planned(dataset={"labels": "groups"})
    assert loaded.images.classes == ("disc", "square", "cross", "ring")
    assert np.bincount(loaded.images.codes[tasks[0].fold.train]).tolist() == [8] * 4


@pytest.mark.parametrize("kind", ["symmetric", "asymmetric"])
def test_only_training_labels_are_wrong(kind):
    tasks, loaded = planned(dataset={"noise": {"kind": kind, "rate": 0.5}})
    fold = tasks[0].fold
    told, true = loaded.labels(fold), loaded.images.codes[fold.train]
    assert (told != true).mean() == 0.5
    np.testing.assert_array_equal(told, loaded.labels(fold))
    same_group = told // 3 == true // 3
    assert same_group.all() == (kind == "asymmetric")


class Spy:
    """Fits nothing; keeps what it was given, and guesses what it is told to."""

    curvature_ = None
    history_ = ()
    curvature_history_ = ()

    def __init__(self, guess):
        self.guess = guess

    def __sklearn_clone__(self):
        return self

    def get_params(self, deep=True):
        return {}

    def fit(self, X, y):
        self.X, self.y, self.classes_ = X, y, np.unique(y)
        return self

    def predict_proba(self, X):
        return np.eye(len(self.classes_))[[self.classes_.tolist().index(g) for g in self.guess]]

    def transform(self, X):
        return X[:, :, 0, 0].astype(np.float32)


def test_networks_are_told_wrong_labels_and_judged_by_right_ones(tmp_path):
    tasks, loaded = planned(dataset={"noise": {"rate": 0.5}, "imbalance": 8.0})
    fold = tasks[0].fold
    truth = loaded.images.y[fold.test]
    guess = truth.copy()
    guess[truth == "red_disc"] = "blue_disc"  # in its group, a class with many images
    guess[truth == "blue_ring"] = "red_disc"  # in another, the class with the fewest
    spy = Spy(guess)
    options = FoldOptions("accuracy", True, os.getpid())
    record = VisionWing().run_task(Job(tasks[0], spy, options, tmp_path / "parts/0.npz"), loaded)
    assert (spy.y != loaded.images.y[fold.train]).mean() == pytest.approx(0.5, abs=0.05)
    np.testing.assert_array_equal(spy.X, loaded.images.X[fold.train])
    [row] = record["scores"]
    assert row["score"] == pytest.approx(10 / 12)
    assert (row["n_test"], row["n_correct"], row["n_classes"]) == (48, 40, 12)
    assert row["measures"] == {
        "group_accuracy": pytest.approx(11 / 12),
        "error_height": 1.5,
        "top5_accuracy": pytest.approx(row["measures"]["top5_accuracy"]),
        "many_accuracy": 0.75,
        "medium_accuracy": 1.0,
        "few_accuracy": 0.75,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": {"classes": ["disk"]}}, "Did you mean 'disc'"),
        ({"dataset": {"classes": ["disc"], "labels": "groups"}}, "'disc' alone"),
        ({"dataset": {"n_train": 41}}, "n_train=41 .* has 40"),
        ({"dataset": {"n_test": 21}}, "n_test=21 .* has 20"),
        ({"evaluation": {"kind": "few_shot"}}, "3 new classes"),
    ],
)
def test_what_images_do_not_allow_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        planned(**changes)


def test_groups_of_the_data_set_in_the_loss():
    made = spec(training={"class_groups": "dataset"})
    wing = VisionWing()
    estimator = wing.build(made, made.pipelines[0], wing.load(made), 0)
    assert estimator.class_groups["ring"] == ["red_ring", "green_ring", "blue_ring"]
    made = spec(training={"class_groups": "dataset"}, dataset={"labels": "groups"})
    with pytest.raises(SpecError, match="4 classes are in 4 groups"):
        wing.build(made, made.pipelines[0], wing.load(made), 0)


# -- records ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two seeds that was done in one go."""
    made = spec(evaluation={"seeds": [0, 1]}, training={"max_epochs": 2, "flip": True})
    return run(made, tmp_path_factory.mktemp("runs"), progress=False)


def test_record(finished):
    assert finished.state == "done"
    scores = pd.read_csv(finished.folder / "scores.csv")
    assert scores[["pipeline", "subject", "fold", "seed"]].to_numpy().tolist() == [
        ["hyper", 1, 0, 0],
        ["flat", 1, 0, 0],
        ["hyper", 1, 0, 1],
        ["flat", 1, 0, 1],
    ]
    assert set(scores["n_train"]) == {96}
    assert set(scores["n_classes"]) == {12}
    assert scores["group_accuracy"].between(0, 1).all()
    assert scores.loc[scores["pipeline"] == "hyper", "curvature"].notna().all()
    history = pd.read_csv(finished.folder / "history.csv")
    assert len(history) == 8
    curvature = pd.read_csv(finished.folder / "curvature_history.csv")
    assert curvature["epoch"].tolist() == [0, 1, 2] * 2
    trials = read_embeddings(finished.folder / "embeddings" / "hyper.npz")
    assert trials["embedding"].shape == (96, 4)
    own = trials["seed"] == 0
    accuracy = (trials["y_true"] == trials["y_pred"])[own].mean()
    assert accuracy == scores.loc[0, "score"]
    described = json.loads((finished.folder / "data.json").read_text())
    assert described["classes"]["red_disc"] == 60


def test_words_speak_of_images_and_seeds(finished, tmp_path):
    kept = (finished.folder / "summary.md").read_text(encoding="utf-8")
    assert "accuracy on SyntheticShapes, test, std over 2 seeds" in kept
    page, tables = write_report([RecordedRun.open(finished.folder)], tmp_path / "report.html")
    assert "test, 2 seeds. ± is the standard deviation over seeds" in page.read_text("utf-8")
    for text in (kept, tables.read_text("utf-8")):
        assert "subject" not in text
        assert "session" not in text


def test_kept_network_predicts_what_the_run_predicted(finished):
    [folder] = (finished.folder / "models" / "hyper").iterdir()
    loaded = load_pipeline(folder, device="cpu")
    trials = read_embeddings(finished.folder / "embeddings" / "hyper.npz")
    own = trials["seed"] == 1
    images = synthetic_shapes()
    X = images.X[trials["trial"][own]]
    np.testing.assert_array_equal(loaded.predict(X), trials["y_pred"][own])
    np.testing.assert_allclose(loaded.transform(X), trials["embedding"][own], atol=1e-6)


def test_resumed_run_equals_one_in_one_go(finished, tmp_path):
    folder = tmp_path / finished.folder.name
    shutil.copytree(finished.folder, folder)
    lines = (folder / "folds.jsonl").read_text().splitlines(keepends=True)
    # As it was when the second of four tasks had ended: the parts are gone with the finished run,
    # so that those tasks are run again as well.
    (folder / "folds.jsonl").write_text("".join(lines[:2]))
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    again = resume(folder, progress=False)
    assert again.state == "done"
    columns = ["pipeline", "seed", "score", "accuracy", "curvature", "group_accuracy"]
    pd.testing.assert_frame_equal(again.scores[columns], finished.scores[columns])
    first, second = (
        read_embeddings(path / "embeddings" / "hyper.npz") for path in (finished.folder, folder)
    )
    np.testing.assert_array_equal(first["embedding"], second["embedding"])


def test_run_on_other_images_does_not_go_on(finished, tmp_path):
    folder = tmp_path / finished.folder.name
    shutil.copytree(finished.folder, folder)
    lines = (folder / "folds.jsonl").read_text().splitlines(keepends=True)
    (folder / "folds.jsonl").write_text("".join(lines[:2]))
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    with pytest.raises(ResumeError, match="samples"):
        resume(folder, wing=VisionWing(lambda name: synthetic_shapes(seed=1)), progress=False)


def test_few_shot_run(tmp_path):
    few = {"n_way": 3, "k_shot": 2, "n_query": 4, "n_episodes": 50}
    made = spec(
        evaluation={"kind": "few_shot", "few_shot": few},
        dataset={"n_test": 8, "noise": {"rate": 0.2}},
    )
    result = run(made, tmp_path, progress=False)
    assert result.state == "done", result.records
    row = result.scores.iloc[0]
    assert row["n_test"] == 50 * 3 * 4
    assert row["n_classes"] == 3
    assert row["accuracy"] == pytest.approx(row["score"])
    assert 0 < row["ci95"] < 0.2
    trials = read_embeddings(result.folder / "embeddings" / "hyper.npz")
    assert len(trials["y_true"]) == 3 * 8
    assert set(trials["y_pred"].tolist()) <= set(trials["y_true"].tolist())
    assert trials["proba"].shape == (24, 3)
    assert row["nearest_mean"] == (trials["y_true"] == trials["y_pred"]).mean()


def test_failed_fit_is_recorded_and_others_go_on(tmp_path):
    wild = {"lr": 1e30, "optimizer": "adamw", "weight_decay": 0.0}
    made = spec(
        pipelines=[
            {"name": "wild", "model": "ResNet", "params": TINY, "training": wild},
            {"name": "tame", "model": "ResNet", "params": TINY},
        ]
    )
    result = run(made, tmp_path, progress=False)
    assert result.state == "failed"
    assert [r["status"] for r in result.records] == ["failed", "done"]
    assert "diverged" in result.records[0]["error"]


# -- several processes --------------------------------------------------------------------------


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def by_torchrun(*command, processes=2):
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run"),
            *(f"--nproc-per-node={processes}", "--master-addr=127.0.0.1"),
            *(f"--master-port={free_port()}", "-m", "hypeeg.cli", *map(str, command)),
        ],
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_torchrun_makes_one_run(tmp_path):
    file = tmp_path / "joint.yaml"
    spec(training={"max_epochs": 2, "curvature": "sharpness_aware"}).to_yaml(file)
    done = by_torchrun("run", file, "--out", tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Run folder:") == 1
    [folder] = (tmp_path / "runs").iterdir()
    assert json.loads((folder / "status.json").read_text())["state"] == "done"
    scores = pd.read_csv(folder / "scores.csv")
    assert scores["pipeline"].tolist() == ["hyper", "flat"]
    # Resuming it with the last task missing does that task, again together.
    lines = (folder / "folds.jsonl").read_text().splitlines(keepends=True)
    (folder / "folds.jsonl").write_text(lines[0])
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    again = by_torchrun("resume", folder)
    assert again.returncode == 0, again.stderr
    columns = ["pipeline", "score", "curvature"]
    pd.testing.assert_frame_equal(pd.read_csv(folder / "scores.csv")[columns], scores[columns])


@pytest.mark.slow
def test_torchrun_refuses_what_processes_cannot_share(tmp_path):
    file = tmp_path / "joint.yaml"
    spec(n_jobs=2).to_yaml(file)
    done = by_torchrun("run", file, "--out", tmp_path / "runs")
    assert done.returncode != 0
    assert "n_jobs: 2 tasks at once cannot share processes; set it to 1" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_data_keeps_no_settings_of_its_own():
    made = spec()
    loaded = VisionWing().load(made)
    assert isinstance(loaded, VisionData)
    assert loaded.dataset is made.dataset
