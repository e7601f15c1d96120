from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import roc_auc_score

from hypeeg.experiments.gather import SCORE_COLUMNS, read_embeddings
from hypeeg.experiments.runner import RunResult, run
from hypeeg.experiments.spec import RunSpec
from hypeeg.experiments.store import FoldLog, RunFolder
from hypeeg.experiments.tasks import DataProblem

Go = Callable[..., RunResult]


@pytest.fixture
def go(
    tmp_path: Path,
    make_trials: Callable[..., SimpleNamespace],
    spec_data: Callable[..., dict[str, Any]],
    threshold: Any,
) -> Go:
    """Runs a small specification on made-up trials with estimators that need no network."""

    def go(
        on_fit: Callable[[str, Any, Any], None] | None = None,
        trials: SimpleNamespace | None = None,
        **changes: Any,
    ) -> RunResult:
        def build(_spec: Any, pipeline: Any, _trials: Any, seed: int) -> Any:
            def called(X: Any, y: Any) -> None:
                if on_fit is not None:
                    on_fit(pipeline.name, X, y)

            return threshold(seed, shift=0.1 * (pipeline.name == "flat"), on_fit=called)

        spec = RunSpec.from_data(spec_data(**changes))
        data = trials if trials is not None else make_trials()
        return run(spec, tmp_path / "runs", load=lambda _: data, build=build, progress=False)

    return go


def records_of(result: RunResult) -> list[dict[str, Any]]:
    return FoldLog(result.folder / "folds.jsonl").read()


def test_a_run_leaves_a_whole_record(go: Go, make_trials: Callable[..., SimpleNamespace]) -> None:
    trials = make_trials()
    result = go(trials=trials, evaluation={"n_folds": 2, "seeds": [0, 1]})
    assert result.state == "done"
    names = {path.name for path in result.folder.iterdir()}
    assert names == {
        "spec_given.yaml",
        "spec_resolved.yaml",
        "environment.json",
        "tasks.csv",
        "data.json",
        "folds.jsonl",
        "scores.csv",
        "embeddings",
        "history.csv",
        "curvature_history.csv",
        "summary.md",
        "summary.csv",
        "comparisons.csv",
        "measures.csv",
        "per_class.csv",
        "confusion.csv",
        "reliability.csv",
        "log.txt",
        "status.json",
    }
    scores = pd.read_csv(result.folder / "scores.csv", dtype={"session": str})
    pd.testing.assert_frame_equal(scores, result.scores, check_dtype=False)
    assert list(scores.columns) == list(SCORE_COLUMNS)
    # 2 subjects, 2 sessions, 2 folds, 2 seeds, 3 pipelines.
    assert len(scores) == len(records_of(result)) == 48
    assert set(scores.groupby("pipeline").size()) == {16}
    status = RunFolder(result.folder).read_status()
    assert (status["state"], status["n_done"], status["n_tasks"]) == ("done", 48, 48)
    resolved = RunSpec.from_yaml(result.folder / "spec_resolved.yaml")
    assert resolved == resolved.resolve()


def test_scores_are_those_of_the_estimator_on_the_test_trials(
    go: Go, make_trials: Callable[..., SimpleNamespace], threshold: Any
) -> None:
    trials = make_trials()
    result = go(trials=trials)
    stored = read_embeddings(result.folder / "embeddings" / "hyper.npz")
    for row in result.scores[result.scores["pipeline"] == "hyper"].itertuples():
        here = (stored["subject"] == str(row.subject)) & (stored["session"] == row.session)
        test = stored["trial"][here & (stored["fold"] == row.fold)]
        all_here = (
            (trials.metadata["subject"] == row.subject)
            & (trials.metadata["session"] == row.session)
        ).to_numpy()
        train = np.setdiff1d(np.flatnonzero(all_here), test)
        fitted = threshold().fit(trials.X[train], trials.y[train])
        expected = roc_auc_score(trials.y[test], fitted.predict_proba(trials.X[test])[:, 1])
        assert row.score == pytest.approx(expected, abs=1e-15)
        correct = fitted.predict(trials.X[test]) == trials.y[test]
        assert row.accuracy == pytest.approx(correct.mean())
        assert (row.n_train, row.n_test, row.samples) == (len(train), len(test), 20)


def test_points_of_fewer_dimensions_are_padded_and_none_is_lost(
    go: Go, monkeypatch: pytest.MonkeyPatch, threshold: Any
) -> None:
    def transform(self: Any, X: np.ndarray) -> np.ndarray:
        # As where tuning chooses a dimension for each fold.
        return X[:, : 2 if self.centres_[0] < 0 else 3].mean(axis=2) + 1

    monkeypatch.setattr(threshold, "transform", transform)
    result = go(evaluation={"n_folds": 5, "seeds": [0]})
    stored = read_embeddings(result.folder / "embeddings" / "hyper.npz")
    points = stored["embedding"]
    assert points.shape == (len(stored["y_true"]), 3)
    fits = ["subject", "session", "fold"]
    last = pd.DataFrame({name: stored[name] for name in fits}).assign(last=points[:, 2])
    by_fit = last.groupby(fits)["last"].agg(["min", "max"])
    padded = by_fit["max"] == 0
    assert 0 < padded.sum() < len(by_fit)
    assert (by_fit["min"][~padded] > 0.1).all()
    assert np.isfinite(pd.read_csv(result.folder / "measures.csv")["delta_rel"]).all()


def test_embeddings_cover_each_trial_once_a_seed_with_its_label(
    go: Go, make_trials: Callable[..., SimpleNamespace]
) -> None:
    trials = make_trials()
    result = go(trials=trials, evaluation={"n_folds": 2, "seeds": [0, 5]})
    stored = read_embeddings(result.folder / "embeddings" / "flat.npz")
    for seed in (0, 5):
        rows = stored["seed"] == seed
        trial = stored["trial"][rows]
        assert np.array_equal(np.sort(trial), np.arange(len(trials.y)))
        assert np.array_equal(stored["y_true"][rows], trials.y[trial])
        expected = trials.X[trial][:, :2].mean(axis=2)
        np.testing.assert_allclose(stored["embedding"][rows], expected, rtol=1e-6)
    assert stored["embedding"].dtype == np.float32
    assert set(stored["curvature"]) == {np.float32(1.5)}
    assert stored["classes"].tolist() == ["class0", "class1"]
    np.testing.assert_allclose(stored["proba"].sum(axis=1), 1.0, rtol=1e-5)
    history = pd.read_csv(result.folder / "curvature_history.csv")
    assert history["c"].tolist() == [1.0, 1.5] * len(records_of(result))
    assert history["epoch"].tolist() == [0, 1] * len(records_of(result))
    losses = pd.read_csv(result.folder / "history.csv")
    assert losses.groupby("epoch")["train_loss"].first().to_dict() == {1: 0.7, 2: 0.5}


def test_embeddings_can_be_left_out_and_predictions_stay(go: Go) -> None:
    whole = go()
    result = go(save={"embeddings": False})
    assert result.state == "done"
    for name, path in _embedding_files(result).items():
        stored = read_embeddings(path)
        other = read_embeddings(_embedding_files(whole)[name])
        assert stored["embedding"].shape == (len(stored["trial"]), 0)
        for key in ("y_true", "y_pred", "proba", "trial"):
            np.testing.assert_array_equal(stored[key], other[key])
    assert len(pd.read_csv(result.folder / "history.csv")) == 2 * len(records_of(result))


def test_predictions_can_be_left_out_too(go: Go) -> None:
    result = go(save={"embeddings": False, "predictions": False})
    assert result.state == "done"
    assert not (result.folder / "embeddings").exists()


def test_no_pipeline_is_fitted_on_a_test_trial(
    go: Go, make_trials: Callable[..., SimpleNamespace]
) -> None:
    trials = make_trials()
    trials.X[:, 2, 0] = np.arange(len(trials.X))
    seen: list[set[int]] = []
    result = go(lambda _n, X, _y: seen.append(set(X[:, 2, 0].astype(int))), trials=trials)
    records = records_of(result)
    stored = {name: read_embeddings(p) for name, p in _embedding_files(result).items()}
    assert len(seen) == len(records) == 24
    for fitted_on, record in zip(seen, records, strict=True):
        arrays = stored[record["pipeline"]]
        rows = (
            (arrays["subject"] == str(record["subject"]))
            & (arrays["session"] == record["session"])
            & (arrays["fold"] == record["fold"])
        )
        assert rows.any()
        assert not fitted_on & set(arrays["trial"][rows].tolist())


def _embedding_files(result: RunResult) -> dict[str, Path]:
    return {path.stem: path for path in (result.folder / "embeddings").iterdir()}


def test_a_failing_fold_is_recorded_and_the_others_go_on(go: Go) -> None:
    calls: list[str] = []

    def fail_once(name: str, _X: Any, _y: Any) -> None:
        calls.append(name)
        if calls.count("flat") == 2 and name == "flat":
            raise ZeroDivisionError("no luck today")

    result = go(fail_once)
    assert result.state == "failed"
    assert len(calls) == 24
    [failure] = result.failures
    assert failure["error"] == "ZeroDivisionError: no luck today"
    assert "fail_once" in failure["traceback"]
    assert failure["pipeline"] == "flat"
    assert len(result.scores) == 23
    summary = (result.folder / "summary.md").read_text()
    assert "1 of 24 folds failed" in summary
    assert "flat: subject 1 session 0 fold 1 seed 0: ZeroDivisionError" in summary
    status = RunFolder(result.folder).read_status()
    assert (status["state"], status["n_failed"]) == ("failed", 1)
    assert "no luck today" in (result.folder / "log.txt").read_text()


def test_a_run_of_failures_alone_says_so(go: Go) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("never works")

    result = go(fail)
    assert result.state == "failed"
    assert result.scores.empty
    assert len(result.failures) == 24
    assert "24 of 24 folds failed" in (result.folder / "summary.md").read_text()


def test_an_interruption_keeps_what_was_finished(go: Go) -> None:
    calls: list[str] = []

    def interrupt(name: str, _X: Any, _y: Any) -> None:
        calls.append(name)
        if len(calls) == 8:
            raise KeyboardInterrupt

    result = go(interrupt)
    assert result.state == "cancelled"
    assert [r["task"] for r in records_of(result)] == list(range(7))
    assert len(pd.read_csv(result.folder / "scores.csv")) == 7
    status = RunFolder(result.folder).read_status()
    assert (status["state"], status["n_done"], status["error"]) == ("cancelled", 7, "interrupted")
    assert "17 of 24 folds were not run" in (result.folder / "summary.md").read_text()
    # What a later attempt needs to go on is still there.
    assert len(list((result.folder / "parts").iterdir())) == 7


def test_too_few_trials_end_the_run_before_any_training(
    go: Go, make_trials: Callable[..., SimpleNamespace], tmp_path: Path
) -> None:
    calls: list[Any] = []
    with pytest.raises(DataProblem, match="n_folds to 3 or less"):
        go(lambda *a: calls.append(a), trials=make_trials(per_class=3), evaluation={"n_folds": 4})
    assert not calls
    [folder] = (tmp_path / "runs").iterdir()
    status = RunFolder(folder).read_status()
    assert status["state"] == "failed"
    assert "n_folds" in status["error"]
    assert "DataProblem" in (folder / "log.txt").read_text()


def test_a_cut_off_line_is_not_taken_for_a_fold(go: Go) -> None:
    result = go()
    path = result.folder / "folds.jsonl"
    path.write_bytes(path.read_bytes()[:-3])
    assert [r["task"] for r in records_of(result)] == list(range(23))


def test_cross_subject_scores_each_session_of_the_test_subject(
    go: Go, make_trials: Callable[..., SimpleNamespace]
) -> None:
    trials = make_trials(subjects=3)
    result = go(trials=trials, evaluation={"kind": "cross_subject"})
    own = result.scores[result.scores["pipeline"] == "hyper"]
    assert own[["subject", "session"]].values.tolist() == [[s, v] for s in (1, 2, 3) for v in "01"]
    assert set(own["n_test"]) == {20}
    assert set(own["n_train"]) == set(own["samples"]) == {80}


def test_two_runs_in_one_folder_do_not_mix(go: Go) -> None:
    first, second = go(), go()
    assert first.folder != second.folder
    assert first.folder.parent == second.folder.parent
    assert len(records_of(first)) == len(records_of(second)) == 24
    drop = ["fit_time", "predict_time", "time"]
    pd.testing.assert_frame_equal(first.scores.drop(columns=drop), second.scores.drop(columns=drop))


def test_warnings_of_models_go_to_the_log(go: Go, capsys: pytest.CaptureFixture[str]) -> None:
    def warn(name: str, _X: Any, _y: Any) -> None:
        if name == "csp":
            warnings.warn("covariance is odd", RuntimeWarning, stacklevel=2)

    result = go(warn)
    assert result.n_warnings == 8
    assert "RuntimeWarning: covariance is odd" in (result.folder / "log.txt").read_text()
    assert "covariance is odd" not in capsys.readouterr().err
    assert [m for r in records_of(result) for m in r["messages"]] == [
        "RuntimeWarning: covariance is odd"
    ] * 8


def test_logging_is_left_as_it_was(go: Go) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    go()
    assert (list(root.handlers), root.level) == before


def test_a_score_that_is_no_number_fails_its_fold(
    go: Go, monkeypatch: pytest.MonkeyPatch, threshold: Any
) -> None:
    monkeypatch.setattr(threshold, "score", lambda *_: float("nan"), raising=False)
    monkeypatch.setattr(
        threshold, "predict_proba", lambda self, X: np.full((len(X), 2), np.nan), raising=True
    )
    result = go(evaluation={"n_folds": 2, "scoring": "neg_log_loss"})
    assert result.state == "failed"
    assert len(result.failures) == 24


def test_several_workers_give_the_same_scores(
    tmp_path: Path,
    make_trials: Callable[..., SimpleNamespace],
    spec_data: Callable[..., dict[str, Any]],
) -> None:
    trials = make_trials(per_class=8)
    pipelines = [{"name": "csp", "model": "csp_lda", "params": {"n_components": 2}}]
    base = RunSpec.from_data(spec_data(pipelines=pipelines))
    frames = []
    for n_jobs in (1, 2):
        spec = base.apply_overrides([f"n_jobs={n_jobs}"])
        result = run(spec, tmp_path, load=lambda _: trials, progress=False)
        assert result.state == "done"
        assert sorted(r["task"] for r in records_of(result)) == list(range(8))
        frames.append(result.scores.drop(columns=["fit_time", "predict_time", "time"]))
    pd.testing.assert_frame_equal(frames[0], frames[1], check_exact=True)


def aligned_spec(spec_data: Callable[..., dict[str, Any]], *steps: str) -> RunSpec:
    """A network and a classical pipeline behind trial steps that learn."""
    return RunSpec.from_data(
        spec_data(
            dataset={"name": "SimulatedMI"},
            preprocessing={"steps": [{"step": name} for name in steps]},
            evaluation={"kind": "cross_subject", "adaptation": "unlabeled_20"},
            training={"max_epochs": 1},
            pipelines=[
                {"name": "net", "model": "EEGNet"},
                {"name": "csp", "model": "csp_lda", "params": {"n_components": 2}},
            ],
        )
    )


def test_trial_steps_come_first_and_learn_from_what_they_are_offered(
    tmp_path: Path,
    make_trials: Callable[..., SimpleNamespace],
    spec_data: Callable[..., dict[str, Any]],
) -> None:
    from hypeeg.eeg.alignment import DomainAlignment
    from hypeeg.eeg.pipelines import build_pipeline
    from hypeeg.experiments.saved import load_pipeline

    trials = make_trials(subjects=3)
    trials.X = np.concatenate([trials.X, trials.X[:, :, ::-1]] * 4, axis=2)
    trials.X *= trials.metadata["subject"].to_numpy()[:, None, None]
    spec = aligned_spec(spec_data, "align")
    result = run(spec, tmp_path, load=lambda _: trials, progress=False)
    assert result.state == "done", result.failures
    subjects = trials.metadata["subject"].to_numpy()
    position = trials.metadata.groupby(["subject", "session"]).cumcount().to_numpy()
    for who in (1, 2, 3):
        train = np.flatnonzero(subjects != who)
        target = np.flatnonzero((subjects == who) & (position < 4))
        test = np.flatnonzero((subjects == who) & (position >= 4))
        align = DomainAlignment()
        aligned = align.fit_transform(
            trials.X[train], subjects=subjects[train], X_target_unlabeled=trials.X[target]
        )
        csp = build_pipeline(spec.pipelines[1]).fit(aligned, trials.y[train])
        expected = csp.predict_proba(align.transform(trials.X[test]))
        stored = read_embeddings(result.folder / "embeddings" / "csp.npz")
        rows = stored["subject"] == str(who)
        assert stored["trial"][rows].tolist() == test.tolist()
        np.testing.assert_allclose(stored["proba"][rows], expected, atol=1e-5)
    # What is kept of the network is the whole pipeline.
    [folder] = (result.folder / "models" / "net").iterdir()
    net = read_embeddings(result.folder / "embeddings" / "net.npz")
    rows = net["subject"] == "3"
    again = load_pipeline(folder, device="cpu").predict_proba(trials.X[net["trial"][rows]])
    np.testing.assert_allclose(again, net["proba"][rows], atol=1e-5)


def test_a_network_behind_a_step_that_cannot_be_kept_does_not_load(
    tmp_path: Path,
    make_trials: Callable[..., SimpleNamespace],
    spec_data: Callable[..., dict[str, Any]],
) -> None:
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer

    from hypeeg.experiments.runner import build_estimator
    from hypeeg.experiments.saved import load_pipeline, save_pipeline
    from hypeeg.experiments.store import RecordError

    trials = make_trials(subjects=1, sessions=1)
    trials.X = np.tile(trials.X, (1, 1, 8))
    spec = aligned_spec(spec_data)
    inner = build_estimator(spec.resolve(), spec.pipelines[0], trials, 0)
    fitted = Pipeline([("odd", FunctionTransformer()), *inner.steps]).fit(trials.X, trials.y)
    assert save_pipeline(fitted, tmp_path / "kept")
    with pytest.raises(RecordError, match=r"'odd'.*FunctionTransformer.*train the pipeline again"):
        load_pipeline(tmp_path / "kept", device="cpu")


class AboveMedian(ClassifierMixin, BaseEstimator):
    """Takes the upper half of the block it is given for class1: adapts to the block."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> AboveMedian:
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        value = X[:, 0].mean(axis=1)
        return self.classes_[(value > np.median(value)).astype(int)]


def test_a_block_is_one_session_in_scores_and_in_predictions(
    tmp_path: Path,
    make_trials: Callable[..., SimpleNamespace],
    spec_data: Callable[..., dict[str, Any]],
) -> None:
    trials = make_trials(subjects=2)
    # Offsets between sessions would put all trials of one into one class.
    trials.X += 5 * trials.metadata["session"].astype(int).to_numpy()[:, None, None]
    found = {}
    for adaptation in ("none", "trialwise"):
        evaluation = {"kind": "cross_subject", "adaptation": adaptation, "scoring": "accuracy"}
        spec = RunSpec.from_data(spec_data(evaluation=evaluation))
        result = run(
            spec, tmp_path, load=lambda _: trials, build=lambda *_: AboveMedian(), progress=False
        )
        assert result.state == "done", result.failures
        found[adaptation] = result.scores
        np.testing.assert_allclose(result.scores["score"], result.scores["accuracy"], atol=1e-12)
        stored = read_embeddings(result.folder / "embeddings" / "csp.npz")
        right = pd.Series(stored["y_true"] == stored["y_pred"])
        by_session = right.groupby([stored["subject"], stored["session"]]).mean()
        own = result.scores[result.scores["pipeline"] == "csp"]
        np.testing.assert_allclose(by_session, own["score"], atol=1e-12)
    assert found["none"]["score"].min() > 0.7
    # A single trial is never above its own median.
    assert set(found["trialwise"]["score"]) == {0.5}
