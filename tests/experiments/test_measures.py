"""Calibration, agreement, confusion and learned spaces against scikit-learn and definitions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from hypeeg.experiments import measures, report, spaces
from hypeeg.experiments.calibration import calibration, calibration_error, reliability_table
from hypeeg.experiments.runner import run
from hypeeg.experiments.spec import RunSpec

CLASSES = np.array(["feet", "hand", "rest"])


def predictions(n: int = 300, seed: int = 0, sharpness: float = 2.0) -> dict[str, np.ndarray]:
    """Predictions of three classes, unequally frequent, by two seeds; float32 as they are kept."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    logits = rng.standard_normal((n, 3)) + 1.2 * np.eye(3)[truth]
    proba = np.exp(sharpness * logits)
    proba /= proba.sum(axis=1, keepdims=True)
    return {
        "proba": proba.astype(np.float32),
        "y_true": CLASSES[truth],
        "y_pred": CLASSES[proba.argmax(axis=1)],
        "classes": CLASSES,
        "seed": np.arange(n) % 2,
        "subject": np.where(np.arange(n) < n // 2, "1", "2"),
        "session": np.full(n, "0"),
        "fold": np.zeros(n, dtype=int),
        "embedding": rng.standard_normal((n, 4)).astype(np.float32),
        "curvature": np.full(n, np.nan, dtype=np.float32),
    }


def ece_written_out(proba: np.ndarray, truth: np.ndarray, bounds: np.ndarray) -> float:
    """Guo et al. (2017), equation 3, with half-open bins (low, high]."""
    total = 0.0
    for low, high in itertools.pairwise(bounds):
        inside = [i for i, p in enumerate(proba) if low < p.max() <= high]
        if inside:
            right = sum(CLASSES[proba[i].argmax()] == truth[i] for i in inside) / len(inside)
            sure = sum(proba[i].max() for i in inside) / len(inside)
            total += len(inside) / len(proba) * abs(right - sure)
    return total


def test_calibration_is_that_of_its_definitions() -> None:
    t = predictions()
    proba = t["proba"].astype(float)
    proba /= proba.sum(axis=1, keepdims=True)
    found = calibration(proba, t["y_true"], CLASSES)
    stored = calibration(t["proba"], t["y_true"], CLASSES)
    assert stored.ece == pytest.approx(found.ece, abs=1e-6)
    assert found.ece == pytest.approx(ece_written_out(proba, t["y_true"], np.linspace(0, 1, 11)))
    confidence = np.sort(proba.max(axis=1))
    # Ten bins of thirty: the bounds are the largest confidences of each thirty.
    bounds = np.concatenate([[0.0], confidence[29::30]])
    assert found.ece_adaptive == pytest.approx(ece_written_out(proba, t["y_true"], bounds))
    assert found.nll == pytest.approx(metrics.log_loss(t["y_true"], proba))
    one_hot = (t["y_true"][:, None] == CLASSES).astype(float)
    brier = sum(
        metrics.brier_score_loss(one_hot[:, k], np.clip(proba[:, k], 0, 1)) for k in range(3)
    )
    assert found.brier == pytest.approx(brier)


def test_calibration_of_clear_cases() -> None:
    certain = np.eye(3)[[0, 1, 2, 0]]
    right = calibration(certain, CLASSES[[0, 1, 2, 0]], CLASSES)
    assert (right.ece, right.ece_adaptive, right.brier, right.nll) == (0, 0, 0, 0)
    wrong = calibration(certain, CLASSES[[1, 2, 0, 1]], CLASSES)
    assert (wrong.ece, wrong.brier) == (1.0, 2.0)
    assert wrong.nll == pytest.approx(-math.log(np.finfo(np.float32).eps))
    # Half sure and half right.
    half = np.tile([[0.5, 0.5]], (10, 1))
    honest = calibration(half, np.array(["a", "b"] * 5), np.array(["a", "b"]))
    assert (honest.ece, honest.brier) == (0.0, 0.5)
    # A class that training did not have was given no probability.
    assert calibration(certain, np.full(4, "tongue"), CLASSES).ece == 1.0


def test_overconfidence_shows() -> None:
    honest, bold = (predictions(3000, sharpness=s) for s in (1.2, 6.0))
    errors = [calibration(t["proba"], t["y_true"], CLASSES).ece for t in (honest, bold)]
    assert errors[0] < 0.05 < 0.2 < errors[1]


def test_reliability_table_holds_every_trial_once() -> None:
    t = predictions()
    for adaptive in (False, True):
        table = reliability_table(t["proba"], t["y_true"], CLASSES, adaptive=adaptive)
        assert table["n"].sum() == 300
        assert (table["confidence"] <= table["high"] + 1e-12).all()
        assert (table["confidence"] >= table["low"] - 1e-12).all()
        accuracy = (t["y_true"] == t["y_pred"]).mean()
        assert (table["accuracy"] * table["n"]).sum() / 300 == pytest.approx(accuracy)
    assert set(table["n"]) == {30}
    assert 0 < calibration_error(table) < 1


def test_numbers_that_are_no_probabilities_are_refused() -> None:
    truth = CLASSES[[0, 1]]
    for bad in (np.full((2, 3), 0.5), np.full((2, 3), math.nan), np.full((2, 2), 0.5)):
        with pytest.raises(ValueError, match="proba"):
            calibration(bad, truth, CLASSES)


def test_agreement_is_the_mean_of_scikit_learns_over_seeds() -> None:
    t = predictions()
    found = measures.prediction_measures(t, "p")
    seeds = [t["seed"] == s for s in (0, 1)]
    for name, score in {
        "accuracy": metrics.accuracy_score,
        "balanced_accuracy": metrics.balanced_accuracy_score,
        "kappa": metrics.cohen_kappa_score,
        "macro_f1": lambda a, b: metrics.f1_score(a, b, average="macro"),
    }.items():
        expected = np.mean([score(t["y_true"][s], t["y_pred"][s]) for s in seeds])
        assert found[name] == pytest.approx(expected), name
    own = [calibration(t["proba"][s], t["y_true"][s], CLASSES).ece for s in seeds]
    assert found["ece"] == pytest.approx(np.mean(own))
    assert found["n_trials"] == 150


def test_a_class_without_test_trials_is_no_zero() -> None:
    t = predictions()
    keep = t["y_true"] != "rest"
    t = {k: v if k == "classes" else v[keep] for k, v in t.items()}
    found = measures.prediction_measures({**t, "seed": np.zeros(keep.sum())}, "p")
    recalls = [(t["y_pred"] == c)[t["y_true"] == c].mean() for c in ("feet", "hand")]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    table = measures.confusion_table(t)
    assert table.loc[table["y_true"] == "rest", "rate"].isna().all()
    assert len(table) == 9


def test_no_probabilities_no_calibration(caplog: pytest.LogCaptureFixture) -> None:
    t = predictions()
    without = {**t, "proba": np.empty((300, 0), dtype=np.float32)}
    assert "ece" not in measures.prediction_measures(without, "svm")
    assert not caplog.records
    broken = {**t, "proba": np.where(t["proba"] > 0.9, np.nan, t["proba"])}
    found = measures.prediction_measures(broken, "odd")
    assert "ece" not in found
    assert found["kappa"] > 0
    assert "odd: calibration is left out" in caplog.text


def test_confusion_and_classes_are_scikit_learns() -> None:
    t = predictions()
    table = measures.confusion_table(t)
    square = table.pivot(index="y_true", columns="y_pred", values="count").loc[CLASSES, CLASSES]
    expected = metrics.confusion_matrix(t["y_true"], t["y_pred"], labels=CLASSES)
    np.testing.assert_array_equal(square, expected)
    np.testing.assert_allclose(table.groupby("y_true")["rate"].sum(), 1.0)
    by_class = measures.class_table(t).set_index("class")
    full = metrics.classification_report(t["y_true"], t["y_pred"], output_dict=True)
    for name in CLASSES:
        assert by_class.loc[name, "precision"] == pytest.approx(full[name]["precision"])
        assert by_class.loc[name, "f1"] == pytest.approx(full[name]["f1-score"])
        assert by_class.loc[name, "support"] == full[name]["support"] / 2


def on_hyperboloid(z: np.ndarray, c: float) -> np.ndarray:
    """Space parts of the exponential at the origin: sinh(sqrt(c) |z|) / (sqrt(c) |z|) z."""
    r = math.sqrt(c) * np.linalg.norm(z, axis=1, keepdims=True)
    return np.sinh(r) / r * z


def test_radii_are_distances_in_units_of_the_curvature() -> None:
    t = predictions()
    z = np.random.default_rng(0).standard_normal((300, 3))
    for c in (0.25, 4.0):
        own = {**t, "embedding": on_hyperboloid(z, c), "curvature": np.full(300, c)}
        space = spaces.describe_space(own, "cross_subject")
        lengths = math.sqrt(c) * np.linalg.norm(z, axis=1)
        assert space.radius == pytest.approx(np.median(lengths))
        assert space.radius_95 == pytest.approx(np.quantile(lengths, 0.95))
        assert (space.curvature, space.dim, space.delta_points) == (c, 3, 64)


def test_curvature_that_is_used_shows_and_curvature_that_is_not_does_not() -> None:
    t = predictions()
    z = np.random.default_rng(0).standard_normal((300, 2))
    far = {**t, "embedding": on_hyperboloid(4 * z, 1.0), "curvature": np.ones(300)}
    near = {**t, "embedding": on_hyperboloid(0.01 * z, 1.0), "curvature": np.ones(300)}
    used, unused = (spaces.describe_space(x, "cross_subject") for x in (far, near))
    assert used.delta_rel < 0.6 * used.delta_rel_flat
    assert used.delta_rel_random < 0.6 * used.delta_rel_random_flat
    assert unused.delta_rel == pytest.approx(unused.delta_rel_flat, rel=1e-3)
    assert used.delta_rel_flat == pytest.approx(unused.delta_rel_flat, rel=1e-6)


def test_a_euclidean_space_is_measured_without_curvature() -> None:
    t = predictions()
    space = spaces.describe_space(t, "cross_subject")
    assert 0 < space.delta_rel == space.delta_rel_flat < 1
    assert space.delta_rel_random == space.delta_rel_random_flat
    assert math.isnan(space.curvature)
    assert math.isnan(space.radius)
    moved = spaces.describe_space({**t, "embedding": t["embedding"] + 5}, "cross_subject")
    assert moved.delta_rel_random == pytest.approx(space.delta_rel_random, rel=1e-4)


def test_points_on_a_line_are_a_tree() -> None:
    t = predictions()
    line = np.random.default_rng(0).standard_normal((300, 1)) * [[1.0, 2.0, 0.5]]
    assert spaces.describe_space({**t, "embedding": line}, "cross_subject").delta_rel < 1e-6


def test_each_fit_has_a_space_of_its_own() -> None:
    t = predictions()
    assert [len(rows) for rows in spaces.fits(t, "cross_subject")] == [75] * 4
    sessions = np.where(np.arange(300) % 4 < 2, "0", "1")
    assert [len(r) for r in spaces.fits({**t, "session": sessions}, "cross_session")] == [75] * 4
    both = list(spaces.fits({**t, "session": sessions}, "within_session"))
    assert len(both) == 8
    np.testing.assert_array_equal(np.sort(np.concatenate(both)), np.arange(300))
    sized = {**t, "data_size": np.arange(300) // 2 % 3}
    assert len(list(spaces.fits(sized, "cross_subject"))) == 12
    # Spaces that lie elsewhere must not be pooled: shifting one moves no distance inside it.
    shifted = t["embedding"] + 100 * t["seed"][:, None]
    same = spaces.describe_space({**t, "embedding": shifted}, "cross_subject")
    expected = spaces.describe_space(t, "cross_subject").delta_rel
    assert same.delta_rel == pytest.approx(expected, rel=1e-4)


def test_what_cannot_be_measured_is_left_out() -> None:
    t = predictions()
    none = spaces.describe_space({k: v for k, v in t.items() if k != "embedding"}, "cross_subject")
    assert none == spaces.describe_space({**t, "embedding": np.empty((300, 0))}, "cross_subject")
    assert math.isnan(none.delta_rel)
    holes = t["embedding"].copy()
    holes[::3] = np.nan
    assert math.isfinite(spaces.describe_space({**t, "embedding": holes}, "x").delta_rel)
    few = {k: v if k == "classes" else v[:3] for k, v in t.items()}
    assert math.isnan(spaces.describe_space(few, "cross_subject").delta_rel)
    collapsed = {**t, "embedding": np.ones((300, 3))}
    assert math.isnan(spaces.describe_space(collapsed, "cross_subject").delta_rel)


def curve_scores() -> pd.DataFrame:
    rows = [
        ("b", size, perm, subject, "0", 0, 0, 0.5 + 0.01 * size + 0.1 * subject + 0.02 * perm)
        for size in (5, 10)
        for perm in (0, 1)
        for subject in (1, 2, 3)
    ]
    columns = ["pipeline", "data_size", "permutation", "subject", "session", "fold", "seed"]
    frame = pd.DataFrame(rows, columns=[*columns, "score"])
    return pd.concat([frame, frame.assign(pipeline="a", score=frame["score"] - 0.1)])


def test_learning_curve_is_over_subjects() -> None:
    scores = curve_scores()
    table = measures.learning_curve(scores)
    assert table["pipeline"].tolist() == ["b", "b", "a", "a"]
    assert table["data_size"].tolist() == [5, 10, 5, 10]
    assert table["mean"].tolist() == pytest.approx([0.76, 0.81, 0.66, 0.71])
    assert table["std"].tolist() == pytest.approx([0.1] * 4)
    assert table["n_subjects"].tolist() == [3] * 4
    header, rows = report.learning_curve_rows(table)
    assert header == ["pipeline", "5", "10"]
    assert rows[0] == ["b", "0.760 ± 0.100", "0.810 ± 0.100"]
    assert measures.learning_curve(scores.drop(columns="data_size")).empty
    assert measures.learning_curve(scores.assign(data_size=np.nan)).empty


def test_shares_of_unequal_sessions_are_put_together() -> None:
    scores = curve_scores()
    longer = scores["subject"] == 3
    scores.loc[longer, "data_size"] *= 2
    table = measures.learning_curve(scores)
    # Subjects 1 and 2 learn from 5 or 10 trials, subject 3 from 10 or 20.
    assert table["data_size"].tolist() == pytest.approx([20 / 3, 40 / 3] * 2)
    assert table["n_subjects"].tolist() == [3] * 4
    assert table["mean"].tolist() == pytest.approx([0.76, 0.81, 0.66, 0.71])
    # A session that is too short for the largest size does not move the others.
    short = curve_scores()
    short = short[~((short["subject"] == 3) & (short["data_size"] == 10))]
    assert measures.learning_curve(short)["data_size"].tolist() == [5, 10, 5, 10]
    assert measures.learning_curve(short)["n_subjects"].tolist() == [3, 2, 3, 2]


def folder_with(tmp_path: Path, **pipelines: dict[str, np.ndarray]) -> Path:
    (tmp_path / "embeddings").mkdir()
    for name, trials in pipelines.items():
        np.savez(tmp_path / "embeddings" / f"{name}.npz", **trials)
    return tmp_path


def times(*names: str) -> pd.DataFrame:
    rows = [(n, 1, "0", f, 0, 0.5, 1.0 + f, 0.1) for n in names for f in range(3)]
    columns = ["pipeline", "subject", "session", "fold", "seed", "score", "fit_time"]
    return pd.DataFrame(rows, columns=[*columns, "predict_time"])


def test_a_run_is_measured_from_its_folder(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, a=predictions(), b=predictions(seed=1))
    found = measures.measure_run(folder, ["a", "b", "none"], times("a", "b"), "cross_subject")
    assert found.pipelines["pipeline"].tolist() == ["a", "b"]
    assert found.pipelines["fit_time"].tolist() == [2.0, 2.0]
    assert found.pipelines["delta_rel"].notna().all()
    assert len(found.confusion) == 18
    found.write(tmp_path)
    for name in ("measures", "confusion", "per_class", "reliability"):
        assert len(pd.read_csv(tmp_path / f"{name}.csv"))
    assert not (tmp_path / "learning_curve.csv").exists()
    header, rows = report.measure_rows(found.pipelines)
    assert (len(rows), len(rows[0])) == (2, len(header))
    header, rows = report.space_rows(found.pipelines)
    assert rows[0][:3] == ["a", "4", "–"]


def test_folders_without_predictions_still_tell_their_times(tmp_path: Path) -> None:
    old = {k: v for k, v in predictions().items() if k != "embedding"}
    folder = folder_with(tmp_path, a=old)
    found = measures.measure_run(folder, ["a", "b"], times("a", "b"), "within_session")
    table = found.pipelines.set_index("pipeline")
    assert table.loc["b", "predict_time"] == pytest.approx(0.1)
    assert math.isnan(table.loc["b", "kappa"])
    assert table.loc["a", "kappa"] > 0
    assert [row[0] for row in report.measure_rows(found.pipelines)[1]] == ["a"]
    assert report.space_rows(found.pipelines)[1] == []
    nothing = measures.measure_run(folder, ["b"], times("b"), "within_session")
    assert report.measure_rows(nothing.pipelines)[1] == []
    assert nothing.confusion.empty


def test_of_a_learning_curve_the_largest_training_set_is_measured(tmp_path: Path) -> None:
    t = predictions()
    size = np.where(np.arange(300) % 3 == 0, 20, 5)
    spoiled = np.where(size == 20, t["y_pred"], "feet")
    folder = folder_with(tmp_path, a={**t, "y_pred": spoiled, "data_size": size})
    found = measures.measure_run(folder, ["a"], times("a"), "within_session")
    here = size == 20
    expected = (t["y_true"] == t["y_pred"])[here]
    assert found.pipelines.loc[0, "accuracy"] == pytest.approx(
        np.mean([expected[t["seed"][here] == s].mean() for s in (0, 1)])
    )
    assert found.confusion["count"].sum() == 100


def test_a_run_writes_what_it_measured(
    tmp_path: Path,
    make_trials: Callable[..., SimpleNamespace],
    spec_data: Callable[..., dict[str, Any]],
    threshold: Any,
) -> None:
    trials = make_trials(subjects=7, sessions=1)
    data = spec_data(dataset={"name": "SimulatedMI"}, evaluation={"n_folds": 2, "seeds": [0, 1]})

    def build(spec: RunSpec, pipeline: Any, trials: Any, seed: int) -> Any:
        return threshold(seed, shift=0.5 if pipeline.name == "flat" else 0.0)

    spec = RunSpec.from_data(data)
    result = run(spec, tmp_path, load=lambda spec: trials, build=build, progress=False)
    table = pd.read_csv(result.folder / "measures.csv").set_index("pipeline")
    assert table.loc["hyper", "n_trials"] == 140
    own = result.scores[result.scores["pipeline"] == "hyper"]
    assert table.loc["hyper", "accuracy"] == pytest.approx(own["accuracy"].mean())
    assert table.loc["hyper", "curvature"] == 1.5
    compared = pd.read_csv(result.folder / "comparisons.csv")
    assert compared["family"].tolist() == ["twin", "baseline"]
    assert compared["n_subjects"].tolist() == [7, 7]
    text = (result.folder / "summary.md").read_text()
    for part in ("subjects as units", "## Predictions", "## Learned spaces", "hyper − flat: "):
        assert part in text
    assert pd.read_csv(result.folder / "confusion.csv")["count"].sum() == 3 * 280
