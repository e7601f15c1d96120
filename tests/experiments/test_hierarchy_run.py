"""Hierarchy runs: the run file, the tasks, the record, and going on with it."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hypeeg.experiments.gather import read_embeddings
from hypeeg.experiments.hierarchy_spec import (
    MODELS,
    NAMES,
    EmbeddingTrainingSpec,
    HierarchyRunSpec,
    training_of,
)
from hypeeg.experiments.html_report import write_report
from hypeeg.experiments.kinds import read_run_spec
from hypeeg.experiments.recorded import RecordedRun
from hypeeg.experiments.resume import ResumeError, resume
from hypeeg.experiments.runner import run
from hypeeg.experiments.spec_errors import SpecError
from hypeeg.experiments.store import RunFolder

PIPELINES = Path(__file__).parents[2] / "pipelines"


def spec_data(**changes):
    data = {
        "name": "tree",
        "kind": "hierarchy",
        "dataset": {"name": "BalancedTree", "branching": 2, "depth": 3},
        "evaluation": {"seeds": [0, 1]},
        "training": {"epochs": 12, "batch_size": 16, "n_negatives": 5, "burn_in": 2, "lr": 0.1},
        "device": "cpu",
        "pipelines": [
            {
                "name": "Lorentz",
                "model": "LorentzEmbedding",
                "dim": [2, 3],
                "params": {"learn_c": True},
            },
            {"name": "Flat", "model": "EuclideanEmbedding", "twin_of": "Lorentz"},
        ],
    }
    return {**data, **changes}


def make_spec(**changes):
    return HierarchyRunSpec.from_data(spec_data(**changes))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(make_spec(), tmp_path_factory.mktemp("runs"), progress=False)


# --- the run file ---------------------------------------------------------------------------------


def test_dimensions_become_pipelines_and_resolving_twice_changes_nothing():
    resolved = make_spec().resolve()
    assert [(p.name, p.dim, p.twin_of) for p in resolved.pipelines] == [
        ("Lorentz-2d", 2, None),
        ("Flat-2d", 2, "Lorentz-2d"),
        ("Lorentz-3d", 3, None),
        ("Flat-3d", 3, "Lorentz-3d"),
    ]
    assert resolved.resolve() == resolved
    assert read_run_spec(resolved.to_yaml()) == resolved
    assert read_run_spec(make_spec().to_yaml()) == make_spec()


def test_a_twin_shares_the_budget_and_may_have_its_own_rate():
    pipelines = spec_data()["pipelines"]
    pipelines[0]["training"] = {"epochs": 7, "lr": 0.3}
    pipelines[1]["training"] = {"lr": 0.01}
    spec = make_spec(pipelines=pipelines).resolve()
    options = training_of(spec, spec.pipelines[1])
    assert (options.epochs, options.lr, options.batch_size) == (7, 0.01, 16)
    assert training_of(spec, spec.pipelines[0]).lr == 0.3


def test_names_and_defaults_are_those_of_the_wing():
    from hypeeg.hierarchy.data import NAMES as known
    from hypeeg.hierarchy.embedding import OBJECTIVES, OPTIMIZERS, TaxonomyEmbedding

    assert known == NAMES
    assert len(MODELS) == 2
    signature = inspect.signature(TaxonomyEmbedding).parameters
    for name, value in EmbeddingTrainingSpec().model_dump().items():
        assert signature[name].default == value, name
    for model in OPTIMIZERS:
        EmbeddingTrainingSpec(optimizer=model)
    for objective in OBJECTIVES:
        make_spec(
            pipelines=[
                {"name": "a", "model": "LorentzEmbedding", "params": {"objective": objective}}
            ]
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": {"name": "WordNetMamals"}}, r"dataset\.name.*Did you mean 'WordNetMammals'"),
        ({"dataset": {"name": "WordNetMammals", "depth": 3}}, "depth make the tree of name"),
        ({"evaluation": {"held_out": 0.1}}, "held_out divide the pairs of kind: link_prediction"),
        ({"evaluation": {"seeds": [1, 1]}}, "seeds repeat"),
        ({"training": {"epoch": 3}}, r"training\.epoch.*Did you mean 'epochs'"),
        ({"pipelines": [{"name": "a", "model": "PoincareEmbedding"}]}, r"pipelines\.0\.model"),
        (
            {
                "pipelines": [
                    {"name": "a", "model": "EuclideanEmbedding", "params": {"learn_c": True}}
                ]
            },
            "flat space has no curvature",
        ),
        (
            {"pipelines": [{"name": "a", "model": "LorentzEmbedding", "twin_of": "b"}]},
            "twin_of names 'b', which is no other pipeline",
        ),
        (
            {"pipelines": [{"name": "a", "model": "LorentzEmbedding", "variant_of": "a"}]},
            "variant_of names 'a', which is no other pipeline",
        ),
        (
            {
                "pipelines": [
                    {"name": "a", "model": "LorentzEmbedding", "dim": 2},
                    {"name": "b", "model": "EuclideanEmbedding", "dim": 3, "twin_of": "a"},
                ]
            },
            "remove dim, it is shared",
        ),
        (
            {
                "pipelines": [
                    {"name": "a", "model": "LorentzEmbedding"},
                    {
                        "name": "b",
                        "model": "EuclideanEmbedding",
                        "twin_of": "a",
                        "training": {"epochs": 9},
                    },
                ]
            },
            "shares its epochs",
        ),
        (
            {
                "pipelines": [
                    {"name": "a", "model": "LorentzEmbedding", "dim": [2, 5]},
                    {"name": "a-2d", "model": "LorentzEmbedding", "dim": 2},
                ]
            },
            "would share the file name",
        ),
    ],
)
def test_mistakes_are_named_with_their_place(changes, message):
    with pytest.raises(SpecError, match=message):
        make_spec(**changes)


def test_shipped_run_files_are_valid():
    for path in sorted(PIPELINES.glob("hierarchy_*.yaml")):
        spec = read_run_spec(path)
        assert isinstance(spec, HierarchyRunSpec)
        assert spec.resolve().resolve() == spec.resolve()


def test_checking_a_run_file_loads_nothing_heavy():
    code = (
        "import sys; from hypeeg.experiments.kinds import read_run_spec; from pathlib import Path;"
        f"read_run_spec(Path({str(PIPELINES / 'hierarchy_mammals.yaml')!r})).resolve();"
        "print([m for m in ('torch', 'mne', 'moabb', 'sklearn', 'scipy') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


# --- the run --------------------------------------------------------------------------------------


def test_scores_are_those_of_the_estimator(whole):
    from hypeeg.hierarchy import TaxonomyEmbedding, balanced_tree

    assert (whole.state, whole.n_tasks, len(whole.scores)) == ("done", 8, 8)
    tree = balanced_tree(2, 3)
    training = spec_data()["training"]
    for row in whole.scores.itertuples():
        lorentz = row.pipeline.startswith("Lorentz")
        own = TaxonomyEmbedding(
            int(row.pipeline[-2]),
            "lorentz" if lorentz else "euclidean",
            learn_c=lorentz,
            random_state=row.seed,
            device="cpu",
            **training,
        ).fit(tree)
        assert row.score == pytest.approx(own.score(tree), rel=1e-9)
        record = next(
            r for r in whole.records if (r["pipeline"], r["seed"]) == (row.pipeline, row.seed)
        )
        measures = record["scores"][0]["measures"]
        assert measures["mean_rank"] == pytest.approx(own.rank(tree.edges).mean_rank)
        assert set(measures) == {
            *("mean_rank", "hits_1", "hits_10"),
            *("distortion", "worst_distortion", "depth_correlation"),
        }
        assert row.mean_rank == pytest.approx(measures["mean_rank"])
        assert (row.curvature == pytest.approx(own.curvature_)) if lorentz else True
    assert (whole.scores["n_train"] == tree.n_edges).all()


def test_points_labels_and_histories_are_kept(whole):
    trials = read_embeddings(whole.folder / "embeddings" / "Lorentz-2d.npz")
    assert trials["embedding"].shape == (30, 2)
    assert trials["trial"].tolist() == [*range(15)] * 2
    assert set(trials["y_true"].tolist()) == {"r", "r.0", "r.1"}
    assert np.isfinite(trials["curvature"]).all()
    right = (trials["y_true"] == trials["y_pred"]).reshape(2, 15).mean(axis=1)
    rows = whole.scores[whole.scores["pipeline"] == "Lorentz-2d"]
    np.testing.assert_allclose(rows["accuracy"], right)
    flat = read_embeddings(whole.folder / "embeddings" / "Flat-2d.npz")
    assert np.isnan(flat["curvature"]).all()
    history = pd.read_csv(whole.folder / "history.csv")
    assert len(history) == 8 * 12
    curvatures = pd.read_csv(whole.folder / "curvature_history.csv")
    assert set(curvatures["pipeline"]) == {"Lorentz-2d", "Lorentz-3d"}
    assert len(curvatures) == 4 * 13


def test_the_model_that_is_kept_is_that_of_the_run(whole):
    from hypeeg.hierarchy import TaxonomyEmbedding

    (folder,) = (whole.folder / "models" / "Lorentz-3d").iterdir()
    loaded = TaxonomyEmbedding.load(folder)
    trials = read_embeddings(whole.folder / "embeddings" / "Lorentz-3d.npz")
    np.testing.assert_array_equal(loaded.transform(), trials["embedding"][trials["seed"] == 1])


def test_a_report_is_made_with_its_disk(whole, tmp_path):
    recorded = RecordedRun.open(whole.folder)
    assert recorded.twins == {"Flat-2d": "Lorentz-2d", "Flat-3d": "Lorentz-3d"}
    path = tmp_path / "report.html"
    write_report([recorded], path)
    text = path.read_text(encoding="utf-8")
    assert "Lorentz-2d" in text
    assert "BalancedTree" in text


def test_the_summary_speaks_of_seeds_not_of_people(whole):
    kept = (whole.folder / "summary.md").read_text(encoding="utf-8")
    assert "One taxonomy: the ± is over 2 seeds" in kept
    assert "other sessions or people" not in kept


def cut(whole, tmp_path, keep):
    """Return a copy of a run that was cancelled after some tasks."""
    import shutil

    again = run(make_spec(), tmp_path, progress=False)
    lines = (again.folder / "folds.jsonl").read_text().splitlines(keepends=True)
    assert len(lines) == 8
    path = tmp_path / "cut"
    shutil.copytree(again.folder, path)
    (path / "folds.jsonl").write_text("".join(lines[:keep]))
    status = json.loads((path / "status.json").read_text())
    (path / "status.json").write_text(json.dumps({**status, "state": "cancelled"}))
    return path


def test_a_cancelled_run_goes_on_to_the_same_scores(whole, tmp_path):
    # A run that is done has given up its parts, so all tasks are done again but recorded once.
    path = cut(whole, tmp_path, keep=3)
    result = resume(path, progress=False)
    assert result.state == "done"
    timed = ["fit_time", "predict_time", "time"]
    pd.testing.assert_frame_equal(
        result.scores.drop(columns=timed), whole.scores.drop(columns=timed)
    )
    for name in ("Lorentz-2d", "Flat-3d"):
        before = read_embeddings(whole.folder / "embeddings" / f"{name}.npz")
        after = read_embeddings(path / "embeddings" / f"{name}.npz")
        assert (before["embedding"] == after["embedding"]).all()
    assert len(RunFolder(path).folds.latest()) == 8


def test_other_data_are_refused(whole, tmp_path):
    path = cut(whole, tmp_path, keep=3)
    data = json.loads((path / "data.json").read_text())
    data["sha256"]["X"] = "0" * 64
    (path / "data.json").write_text(json.dumps(data))
    with pytest.raises(ResumeError, match="not the data of this run"):
        resume(path, progress=False)


def test_tasks_travel_to_other_processes(whole, tmp_path):
    import pickle

    from hypeeg.experiments.wings import FoldOptions, Job, wing_of

    spec = make_spec().resolve()
    wing = wing_of(spec)
    data = wing.load(spec)
    task = wing.plan(spec, data)[2]
    estimator = wing.build(spec, spec.pipelines[2], data, 0)
    job = Job(task, estimator, FoldOptions("map", True, 0), tmp_path / "part.npz")
    wing, job, data = pickle.loads(pickle.dumps((wing, job, data)))
    record = wing.run_task(job, data)
    assert record["scores"][0]["score"] == whole.scores["score"][2]


def test_link_prediction_ranks_pairs_that_were_held_out(tmp_path):
    from hypeeg.hierarchy import TaxonomyEmbedding, balanced_tree, split_edges

    spec = make_spec(
        evaluation={"kind": "link_prediction", "held_out": 0.5, "seeds": [3]},
        pipelines=[{"name": "a", "model": "LorentzEmbedding", "dim": 2}],
    )
    result = run(spec, tmp_path, progress=False)
    tree = balanced_tree(2, 3)
    split = split_edges(tree, 0.5, 3)
    own = TaxonomyEmbedding(2, random_state=3, device="cpu", **spec_data()["training"])
    own.fit(tree.with_edges(split.train))
    ranking = own.rank(split.test, ignored=split.train)
    (row,) = result.scores.itertuples()
    assert row.score == pytest.approx(ranking.mean_average_precision, rel=1e-9)
    assert row.n_train == len(split.train)
    # Training on what is asked would give another score.
    assert row.score != pytest.approx(own.fit(tree).rank(split.test).mean_average_precision)


def test_large_taxonomies_are_asked_in_part(tmp_path):
    spec = make_spec(
        evaluation={"max_queries": 10},
        pipelines=[{"name": "a", "model": "LorentzEmbedding", "dim": 2}],
    )
    result = run(spec, tmp_path, progress=False)
    trials = read_embeddings(result.folder / "embeddings" / "a.npz")
    assert len(trials["trial"]) == 10
    assert "10 of 15 nodes are ranked" in (result.folder / "log.txt").read_text()


def test_missing_data_are_an_error_that_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("HYPEEG_DATA", "")
    with pytest.raises(SpecError, match="HYPEEG_DATA is not set"):
        run(make_spec(dataset={"name": "WordNetMammals"}), tmp_path, progress=False)
    with pytest.raises(SpecError, match="no such file of edges"):
        make_spec(dataset={"name": "none.csv"}).resolve()


def test_a_run_gives_back_its_embedding(whole):
    import hypeeg

    loaded = hypeeg.load(whole.folder, "Lorentz-2d")
    trials = read_embeddings(whole.folder / "embeddings" / "Lorentz-2d.npz")
    points = trials["embedding"][trials["seed"] == 1]
    np.testing.assert_array_equal(loaded.transform(["r", "r.0"]), points[:2])
