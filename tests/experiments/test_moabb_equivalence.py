"""Our runner against MOABB's own evaluations, on the same trials and the same pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import matplotlib
import numpy as np
import pandas as pd
import pytest
from moabb.datasets.base import BaseDataset
from moabb.evaluations import (
    CrossSessionEvaluation,
    CrossSubjectEvaluation,
    CrossSubjectMode,
    WithinSessionEvaluation,
)
from moabb.evaluations.base import BaseEvaluation
from moabb.evaluations.splitters import LearningCurveSplitter
from moabb.paradigms import LeftRightImagery
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from hypeeg.eeg.datasets import EpochsData, load_epochs
from hypeeg.eeg.pipelines import build_pipeline
from hypeeg.eeg.simulated import SimulatedMI
from hypeeg.experiments.moabb_table import MOABB_COLUMNS, moabb_table
from hypeeg.experiments.runner import RunResult, run
from hypeeg.experiments.spec import RunSpec

BAND = {"fmin": 8.0, "fmax": 32.0, "tmin": 0.5, "tmax": 2.5}
KEYS = ["subject", "session"]


class Float32Imagery(LeftRightImagery):
    """MOABB's paradigm with trials rounded as our loader rounds them, read once for all tests."""

    read: ClassVar[dict[str, tuple[Any, ...]]] = {}

    def get_data(self, dataset: BaseDataset, subjects: Any = None, **kwargs: Any) -> Any:
        key = repr((dataset.code, subjects or dataset.subject_list))
        if key not in self.read:
            X, y, metadata = super().get_data(dataset, subjects=subjects, **kwargs)
            self.read[key] = np.asarray(X, dtype=np.float32), y, metadata
        X, y, metadata = self.read[key]
        return X.copy(), y.copy(), metadata.copy()


class TargetCentred(ClassifierMixin, BaseEstimator):
    """Log variances standardised by person, LDA; takes all that MOABB offers of the target.

    Without target data it standardises the block of trials it is given.  So every mode changes the
    scores, and one that is not passed on, or passed on wrongly, shows.
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {
        "subjects": True,
        "X_target_unlabeled": True,
        "X_target_labeled": True,
        "y_target_labeled": True,
    }

    def fit(
        self,
        X: np.ndarray,
        y: np.ndarray,
        subjects: Any = None,
        X_target_unlabeled: Any = None,
        X_target_labeled: Any = None,
        y_target_labeled: Any = None,
    ) -> TargetCentred:
        F = self._features(X)
        subjects = np.zeros(len(X)) if subjects is None else subjects
        # A shift alone would leave the area under the curve as it is: the spread is taken too.
        self.centre_, self.spread_ = F.mean(axis=0), F.std(axis=0)
        for subject in np.unique(subjects):
            own = subjects == subject
            F[own] = (F[own] - F[own].mean(axis=0)) / F[own].std(axis=0)
        self.adapted_ = X_target_labeled is not None or X_target_unlabeled is not None
        target = X_target_labeled if X_target_unlabeled is None else X_target_unlabeled
        if target is not None:
            extra = self._features(target)
            self.centre_, self.spread_ = extra.mean(axis=0), extra.std(axis=0)
            if y_target_labeled is not None:
                F = np.concatenate([F, (extra - self.centre_) / self.spread_])
                y = np.concatenate([y, y_target_labeled])
        self.lda_ = LinearDiscriminantAnalysis().fit(F, y)
        self.classes_ = self.lda_.classes_
        return self

    def _features(self, X: np.ndarray) -> np.ndarray:
        return np.log(np.var(np.asarray(X, dtype=float), axis=2))

    def _standardised(self, X: np.ndarray) -> np.ndarray:
        F = self._features(X)
        if self.adapted_ or len(F) == 1:
            return (F - self.centre_) / self.spread_
        return (F - F.mean(axis=0)) / F.std(axis=0)

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.lda_.predict(self._standardised(X))

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return self.lda_.predict_proba(self._standardised(X))


def simulated(subjects: int = 2) -> BaseDataset:
    dataset = SimulatedMI()
    dataset.subject_list = list(range(1, subjects + 1))
    return dataset


@pytest.fixture(scope="module")
def trials() -> EpochsData:
    return load_epochs("SimulatedMI", [1, 2, 3], preprocessing={**BAND, "resample": None})


def exact_results(evaluation: BaseEvaluation, pipelines: dict[str, Any]) -> pd.DataFrame:
    """What MOABB logs; its table is kept in float32."""
    found: list[dict[str, object]] = []
    patch = pytest.MonkeyPatch()
    with patch.context() as here:
        here.setattr(evaluation, "_log_result", found.append)
        evaluation.process(pipelines)
    return pd.DataFrame(found).astype({"subject": str, "score": float})


def ours(
    tmp_path: Path, trials: EpochsData | None, evaluation: dict[str, Any], estimator: Any = None
) -> RunResult:
    """Run one pipeline of ours on trials that are given, or read as in life."""
    spec = RunSpec.from_data(
        {
            "name": "same",
            "dataset": {"name": "SimulatedMI", "subjects": [1, 2]},
            "preprocessing": {**BAND, "standardise": "none"},
            "evaluation": evaluation,
            "pipelines": [{"name": "csp", "model": "csp_lda"}],
        }
    )
    how: dict[str, Any] = {}
    if trials is not None:
        how["load"] = lambda _: trials
    if estimator is not None:
        how["build"] = lambda *_: estimator
    result = run(spec, tmp_path / "runs", progress=False, **how)
    assert result.state == "done"
    return result


@pytest.mark.parametrize("kind", ["within_session", "cross_subject"])
def test_scores_equal_moabbs(kind: str, tmp_path: Path) -> None:
    mine = ours(tmp_path, None, {"kind": kind, "seeds": [42]})
    assert mine.scoring == "roc_auc"
    evaluate = WithinSessionEvaluation if kind == "within_session" else CrossSubjectEvaluation
    evaluation = evaluate(
        paradigm=Float32Imagery(**BAND),
        datasets=[simulated()],
        random_state=42,
        hdf5_path=str(tmp_path / "moabb"),
        overwrite=True,
    )
    theirs = exact_results(evaluation, {"csp": build_pipeline("csp_lda")})
    by_session = mine.scores.astype({"subject": str}).groupby(KEYS)["score"].mean()
    other = theirs.set_index(KEYS)["score"].sort_index()
    pd.testing.assert_series_equal(by_session, other, rtol=0, atol=1e-12, check_names=False)
    # Scores that were all 1 would agree whatever the folds are.
    assert len(by_session) == 4
    assert mine.scores["score"].nunique() > 1
    kept = evaluation.results.to_dataframe()
    table = moabb_table(mine.scores)
    assert list(table.columns) == list(MOABB_COLUMNS)
    assert set(table.columns) == set(kept.columns) - {"carbon_emission", "codecarbon_task_name"}
    table, kept = (t.set_index(KEYS).sort_index() for t in (table, kept))
    for column in ("samples", "samples_test", "n_classes", "channels", "n_sessions"):
        assert table[column].tolist() == kept[column].astype(int).tolist(), column


@pytest.mark.parametrize(
    ("evaluation", "make"),
    [
        pytest.param(
            {"kind": "within_session", "n_folds": 4, "shuffle": False},
            lambda **k: WithinSessionEvaluation(n_splits=4, cv_kwargs={"shuffle": False}, **k),
            id="chronological",
        ),
        pytest.param({"kind": "cross_session"}, CrossSessionEvaluation, id="cross_session"),
    ],
)
def test_scores_of_further_kinds_equal_moabbs(
    evaluation: dict[str, Any], make: Any, tmp_path: Path, trials: EpochsData
) -> None:
    mine = ours(tmp_path, trials, {**evaluation, "seeds": [3]})
    theirs = make(
        paradigm=Float32Imagery(**BAND),
        datasets=[simulated(3)],
        random_state=3,
        hdf5_path=str(tmp_path / "moabb"),
        overwrite=True,
    )
    other = exact_results(theirs, {"csp": build_pipeline("csp_lda")}).set_index(KEYS).sort_index()
    table = moabb_table(mine.scores).set_index(KEYS).sort_index()
    assert len(table) == 6
    np.testing.assert_allclose(table["score"], other["score"], rtol=0, atol=1e-12)
    assert table["score"].nunique() > 1
    assert table["samples"].tolist() == other["n_samples"].tolist()
    if evaluation["kind"] == "cross_session":
        assert mine.scores["session"].tolist() == ["0", "1"] * 3


@pytest.fixture(scope="module")
def plain_scores(tmp_path_factory: pytest.TempPathFactory, trials: EpochsData) -> pd.Series:
    evaluation = {"kind": "cross_subject", "seeds": [1]}
    return ours(tmp_path_factory.mktemp("plain"), trials, evaluation, TargetCentred()).scores[
        "score"
    ]


@pytest.mark.parametrize(
    ("adaptation", "mode"),
    [
        ("none", CrossSubjectMode.TRAIN),
        ("trialwise", CrossSubjectMode.TRAIN_TRIALWISE),
        ("unlabeled_20", CrossSubjectMode.TRAIN_AND_TARGET_UNLABELED_20P),
        ("unlabeled_50", CrossSubjectMode.TRAIN_AND_TARGET_UNLABELED_50P),
        ("unlabeled_full", CrossSubjectMode.TRAIN_AND_TARGET_UNLABELED_FULL),
        ("labeled_20", CrossSubjectMode.TRAIN_AND_TARGET_LABELED_20P),
        ("labeled_50", CrossSubjectMode.TRAIN_AND_TARGET_LABELED_50P),
    ],
)
def test_scores_with_target_data_equal_moabbs(
    adaptation: str,
    mode: CrossSubjectMode,
    tmp_path: Path,
    trials: EpochsData,
    plain_scores: pd.Series,
) -> None:
    evaluation = {"kind": "cross_subject", "adaptation": adaptation, "seeds": [1]}
    mine = ours(tmp_path, trials, evaluation, TargetCentred()).scores
    theirs = CrossSubjectEvaluation(
        paradigm=Float32Imagery(**BAND),
        datasets=[simulated(3)],
        random_state=1,
        hdf5_path=str(tmp_path / "moabb"),
        overwrite=True,
        cs_mode=mode,
    )
    other = exact_results(theirs, {"csp": TargetCentred()}).set_index(KEYS).sort_index()
    own = mine.astype({"subject": str}).set_index(KEYS).sort_index()
    np.testing.assert_allclose(own["score"], other["score"], rtol=0, atol=1e-12)
    assert own["n_test"].tolist() == other["n_samples_test"].tolist()
    assert own["n_train"].tolist() == other["n_samples"].tolist()
    assert np.array_equal(mine["score"], plain_scores) == (adaptation == "none")


@pytest.mark.parametrize(
    ("policy", "sizes", "n_perms"), [("per_class", [3, 8], [3, 2]), ("ratio", [0.25, 1.0], 2)]
)
def test_learning_curves_equal_moabbs(
    policy: str, sizes: list[float], n_perms: Any, tmp_path: Path, trials: EpochsData
) -> None:
    curve = {"policy": policy, "sizes": sizes, "n_perms": n_perms, "test_size": 0.25}
    mine = ours(tmp_path, trials, {"learning_curve": curve, "seeds": [5]}, TargetCentred())
    theirs = WithinSessionEvaluation(
        paradigm=Float32Imagery(**BAND),
        datasets=[simulated(3)],
        random_state=5,
        hdf5_path=str(tmp_path / "moabb"),
        overwrite=True,
        cv_class=LearningCurveSplitter,
        cv_kwargs={
            "data_size": {"policy": policy, "value": np.array(sizes)},
            "n_perms": n_perms if isinstance(n_perms, int) else np.array(n_perms),
            "test_size": 0.25,
        },
    )
    keys = [*KEYS, "data_size", "permutation"]
    other = exact_results(theirs, {"csp": TargetCentred()}).astype(dict.fromkeys(keys[2:], int))
    other = other.set_index(keys).sort_index()
    own = moabb_table(mine.scores).set_index(keys).sort_index()
    assert len(own) == 6 * (5 if policy == "per_class" else 4)
    assert own.index.tolist() == other.index.tolist()
    np.testing.assert_allclose(own["score"], other["score"], rtol=0, atol=1e-12)
    assert own["samples"].tolist() == other["n_samples"].tolist()


def test_moabbs_analysis_takes_our_scores(tmp_path: Path) -> None:
    matplotlib.use("Agg")
    from moabb.analysis import meta_analysis, plotting

    rng = np.random.default_rng(0)
    rows = [
        {
            **dict.fromkeys(MOABB_COLUMNS, 10),
            "dataset": dataset,
            "subject": subject,
            "session": session,
            "fold": fold,
            "seed": seed,
            "pipeline": pipeline,
            "n_classes": 2,
            "score": 0.6 + lead + 0.02 * subject + 0.01 * rng.standard_normal(),
        }
        for dataset in ("A", "B")
        for subject in range(1, 9)
        for session in ("0", "1")
        for fold in range(2)
        for seed in (0, 1)
        for pipeline, lead in (("hyper", 0.1), ("flat", 0.0))
    ]
    scores = pd.DataFrame(rows)
    table = moabb_table(scores)
    assert len(table) == 2 * 8 * 2 * 2
    first = (scores["dataset"] == "A") & (scores["subject"] == 1) & (scores["session"] == "0")
    expected = scores[first & (scores["pipeline"] == "hyper")]["score"].mean()
    assert table["score"].iloc[0] == pytest.approx(expected, abs=1e-15)
    statistics = meta_analysis.compute_dataset_statistics(table)
    assert set(statistics["nsub"]) == {8}
    p, effect = meta_analysis.find_significant_differences(statistics)
    assert p.loc["hyper", "flat"] < 0.01 < 0.5 < p.loc["flat", "hyper"]
    assert effect.loc["hyper", "flat"] > 2
    figure, _ = plotting.score_plot(table)
    paired = plotting.paired_plot(table, "hyper", "flat")
    summary = plotting.summary_plot(p, effect)
    meta = plotting.meta_analysis_plot(statistics, "hyper", "flat")
    for made in (figure, paired, summary, meta):
        matplotlib.pyplot.close(made)


def test_a_pipeline_with_fewer_folds_cannot_be_compared() -> None:
    row = dict.fromkeys([*MOABB_COLUMNS, "fold", "seed"], 1)
    rows = [{**row, "pipeline": p, "fold": f} for p in "ab" for f in range(3)]
    with pytest.raises(ValueError, match=r"lack scores .* b \(1\)"):
        moabb_table(pd.DataFrame(rows[:-1]))
    with pytest.raises(ValueError, match="no column score"):
        moabb_table(pd.DataFrame(rows).drop(columns="score"))
