"""Domain alignment against MOABB's own transformer, pyriemann and numpy, and its routing."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from pyriemann.geometry.base import invsqrtm
from pyriemann.geometry.covariance import covariances
from pyriemann.geometry.mean import gmean, mean_riemann
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object

from hypeeg.eeg import PreprocessingSpec
from hypeeg.eeg.alignment import DomainAlignment
from hypeeg.eeg.epochs import EpochsData
from hypeeg.eeg.pipelines import build_pipeline
from hypeeg.eeg.transformers import Standardize


def trials(n=12, channels=4, times=200, seed=0):
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((channels, channels)) + 2 * np.eye(channels)
    return np.einsum("cd,ndt->nct", mixing, rng.standard_normal((n, channels, times)))


@pytest.fixture
def three():
    """Three subjects with mixings of their own, shuffled; a fourth is the target."""
    X = np.concatenate([trials(8 + 4 * k, seed=k) for k in range(3)])
    subjects = np.repeat([1, 2, 3], [8, 12, 16])
    order = np.random.default_rng(9).permutation(len(X))
    return X[order], subjects[order], trials(10, seed=3)


def mean_covariance(X):
    return np.einsum("nct,ndt->cd", X, X) / (len(X) * X.shape[2])


def test_training_trials_are_whitened_by_their_own_domain(three):
    X, subjects, _ = three
    step = DomainAlignment("subject", estimator="cov")
    Z = step.fit_transform(X, subjects=subjects)
    for subject in (1, 2, 3):
        found = np.mean([np.cov(trial) for trial in Z[subjects == subject]], axis=0)
        np.testing.assert_allclose(found, np.eye(4), atol=1e-9)
    assert list(step.references_) == [1, 2, 3]


@pytest.mark.parametrize("estimator", ["lwf", "oas"])
def test_one_domain_is_moabbs_transformer(estimator):
    from moabb.datasets.preprocessing import EuclideanAlignment

    X, other = trials(), trials(seed=5)
    theirs = EuclideanAlignment(estimator).fit(X)
    ours = DomainAlignment(None, estimator=estimator)
    np.testing.assert_allclose(ours.fit_transform(X), theirs.transform(X), rtol=1e-10)
    np.testing.assert_allclose(ours.transform(other), theirs.transform(other), rtol=1e-10)


def test_riemannian_reference_is_pyriemanns():
    X = trials()
    step = DomainAlignment(None, metric="riemann").fit(X)
    expected = mean_riemann(covariances(X, estimator="lwf"))
    np.testing.assert_allclose(step.references_[0], expected, rtol=1e-8)
    euclid = DomainAlignment(None).fit(X)
    assert not np.allclose(step.references_[0], euclid.references_[0], rtol=1e-6)


@pytest.mark.parametrize("metric", ["euclid", "riemann"])
def test_reference_of_an_unseen_domain(three, metric):
    X, subjects, target = three
    own = {
        s: gmean(covariances(X[subjects == s], estimator="lwf"), metric=metric) for s in (1, 2, 3)
    }
    source = gmean(np.stack(list(own.values())), metric=metric)
    block = gmean(covariances(target, estimator="lwf"), metric=metric)

    def expected(reference):
        return np.einsum("cd,ndt->nct", invsqrtm(reference), target)

    fit = {"subjects": subjects}
    by_source = DomainAlignment(metric=metric).fit(X, **fit)
    np.testing.assert_allclose(by_source.transform(target), expected(source), rtol=1e-7)
    by_block = DomainAlignment(metric=metric, unseen="block").fit(X, **fit)
    np.testing.assert_allclose(by_block.transform(target), expected(block), rtol=1e-7)
    for unseen in ("source", "block"):
        for name in ("X_target_unlabeled", "X_target_labeled"):
            routed = DomainAlignment(metric=metric, unseen=unseen).fit(X, **fit, **{name: target})
            np.testing.assert_allclose(routed.transform(target), expected(block), rtol=1e-7)
            # The reference is fixed: single trials are treated as in the block.
            np.testing.assert_allclose(
                routed.transform(target[2:3]), expected(block)[2:3], rtol=1e-7
            )


def test_source_treats_trials_one_by_one_and_block_does_not(three):
    X, subjects, target = three
    source = DomainAlignment().fit(X, subjects=subjects)
    alone = np.concatenate([source.transform(x[None]) for x in target])
    np.testing.assert_allclose(source.transform(target), alone, rtol=1e-12)
    block = DomainAlignment(unseen="block").fit(X, subjects=subjects)
    poisoned = target.copy()
    poisoned[0] *= 100
    assert not np.allclose(block.transform(poisoned)[1:], block.transform(target)[1:], rtol=0.1)
    np.testing.assert_array_equal(source.transform(poisoned)[1:], source.transform(target)[1:])
    with pytest.raises(ValueError, match=r"single trial.*X_target_unlabeled.*unseen='source'"):
        block.transform(target[:1])


def test_alignment_makes_subjects_alike(three):
    """Mixtures differ between subjects; after alignment mean covariances do not."""
    X, subjects, target = three
    step = DomainAlignment(unseen="block")
    Z, W = step.fit_transform(X, subjects=subjects), step.transform(target)

    def spread(parts):
        matrices = np.stack([mean_covariance(part) for part in parts])
        return matrices.std(axis=0).max() / np.trace(matrices.mean(axis=0))

    before = spread([*(X[subjects == s] for s in (1, 2, 3)), target])
    after = spread([*(Z[subjects == s] for s in (1, 2, 3)), W])
    assert after < before / 10


def test_sessions_are_domains_too(three):
    X, subjects, _ = three
    sessions = np.array([f"{s}/{k % 2}" for k, s in enumerate(subjects)])
    step = DomainAlignment("session").fit(X, subjects=subjects, sessions=sessions)
    assert sorted(step.references_) == sorted(set(sessions.tolist()))
    assert list(DomainAlignment(None).fit(X, subjects=subjects).references_) == [0]


def test_no_metadata_is_one_domain_and_said(three):
    X, subjects, _ = three
    with pytest.warns(UserWarning, match=r"got no subjects: all.*one domain.*enable_metadata_rout"):
        step = DomainAlignment().fit(X)
    np.testing.assert_array_equal(
        step.source_reference_, DomainAlignment(None).fit(X).source_reference_
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DomainAlignment().fit_transform(X, subjects=subjects)


@pytest.mark.parametrize(
    ("options", "fit", "message"),
    [
        ({"domain": "run"}, {}, "domain='run': choose one of"),
        ({"metric": "logm"}, {}, "metric='logm'"),
        ({"unseen": "guess"}, {}, "unseen='guess'"),
        ({}, {"subjects": [1, 2]}, r"subjects has shape \(2,\), but X holds 12"),
        (
            {"domain": None},
            {"X_target_unlabeled": trials(3, channels=3)},
            r"\(target\): X has 3 channels, but 4 at fit",
        ),
    ],
)
def test_mistakes_are_named(options, fit, message):
    with pytest.raises(ValueError, match=message):
        DomainAlignment(**options).fit(trials(), **fit)


def test_singular_reference_is_refused_and_shrinking_mends_it():
    X = trials()
    X -= X.mean(axis=1, keepdims=True)  # an average reference
    with pytest.raises(ValueError, match=r"of domain 0 .*singular; use a shrinking estimator"):
        DomainAlignment(None, estimator="cov").fit(X)
    Z = DomainAlignment(None).fit_transform(X)
    assert np.isfinite(Z).all()
    assert np.abs(Z).max() < 20


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_clone_and_pickle(three, dtype):
    X, subjects, target = three
    step = clone(DomainAlignment("subject", "riemann", "block", "oas"))
    Z = step.fit_transform(X.astype(dtype), subjects=subjects)
    assert Z.dtype == dtype
    assert step.transform(target.astype(dtype)).dtype == dtype
    again = pickle.loads(pickle.dumps(step))
    np.testing.assert_array_equal(again.transform(target), step.transform(target))
    exact = DomainAlignment("subject", "riemann", "block", "oas").fit_transform(
        X, subjects=subjects
    )
    np.testing.assert_allclose(Z, exact, rtol=1e-4, atol=1e-4)


class Spy(ClassifierMixin, BaseEstimator):
    """Keeps what reaches it."""

    __metadata_request__fit = {  # noqa: RUF012
        "X_target_unlabeled": True,
        "subjects": True,
    }
    seen: dict = {}  # noqa: RUF012

    def fit(self, X, y, X_target_unlabeled=None, subjects=None):
        self.classes_ = np.unique(y)
        Spy.seen = {"fit": X, "target": X_target_unlabeled, "subjects": subjects}
        return self

    def predict(self, X):
        Spy.seen["predict"] = X
        return np.full(len(X), self.classes_[0])


def test_a_pipeline_routes_domains_and_target_data(three):
    X, subjects, target = three
    y = np.arange(len(X)) % 2
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = Pipeline(
            [("scale", Standardize("channel")), ("align", DomainAlignment()), ("spy", Spy())],
            transform_input=["X_target_unlabeled"],
        )
        offered = {"subjects", "sessions", "X_target_unlabeled", "y_target_labeled"}
        wanted = get_routing_for_object(pipe).consumes("fit", offered)
        assert wanted == offered - {"y_target_labeled"}
        pipe.fit(X, y, subjects=subjects, X_target_unlabeled=target)
    scaled = Standardize("channel").fit(X)
    align = DomainAlignment()
    Z = align.fit_transform(
        scaled.transform(X), subjects=subjects, X_target_unlabeled=scaled.transform(target)
    )
    np.testing.assert_allclose(Spy.seen["fit"], Z, rtol=1e-10)
    expected = align.transform(scaled.transform(target))
    np.testing.assert_allclose(Spy.seen["target"], expected, rtol=1e-10)
    np.testing.assert_array_equal(Spy.seen["subjects"], subjects)
    pipe.predict(target[:4])
    np.testing.assert_allclose(Spy.seen["predict"], expected[:4], rtol=1e-10)


def planted(n_subjects=4, n=24, seed=0):
    """Two classes that differ in the power of one source; each subject has gains of its own."""
    rng = np.random.default_rng(seed)
    mixing = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    X, y, subjects = [], [], []
    for subject in range(n_subjects):
        gains = rng.lognormal(0, 1.2, (4, 1))
        labels = np.arange(n) % 2
        sources = rng.standard_normal((n, 4, 150))
        sources[:, 0] *= np.where(labels, 2.0, 1.0)[:, None]
        X.append(gains * np.einsum("cd,ndt->nct", mixing, sources))
        y.append(labels)
        subjects.append(np.full(n, subject))
    return np.concatenate(X), np.concatenate(y), np.concatenate(subjects)


@pytest.mark.parametrize("metric", ["euclid", "riemann"])
def test_alignment_carries_a_classifier_over_to_a_new_subject(metric):
    X, y, subjects = planted()
    scores = {}
    for name, step in {
        "none": None,
        "source": DomainAlignment(metric=metric),
        "block": DomainAlignment(metric=metric, unseen="block"),
        "routed": DomainAlignment(metric=metric),
    }.items():
        correct = []
        for held in np.unique(subjects):
            train, test = subjects != held, subjects == held
            steps = [] if step is None else [("align", step)]
            pipeline = build_pipeline("ts_lr", trial_steps=steps)
            given = {"subjects": subjects[train]} if steps else {}
            if name == "routed":
                given["X_target_unlabeled"] = X[test][:12]
            pipeline.fit(X[train], y[train], **given)
            correct.append((pipeline.predict(X[test]) == y[test])[12:].mean())
        scores[name] = np.mean(correct)
    assert min(scores["block"], scores["routed"]) > 0.9
    assert max(scores["none"], scores["source"]) < min(scores["block"], scores["routed"]) - 0.15


@pytest.mark.parametrize("adaptation", ["none", "unlabeled_50"])
def test_the_runner_hands_subjects_and_target_data_to_the_alignment(
    tmp_path, monkeypatch, adaptation
):
    from hypeeg.experiments.runner import run
    from hypeeg.experiments.spec import RunSpec

    X, y, subjects = planted(3, 12)
    data = EpochsData(
        X=X.astype(np.float32),
        y=np.where(y, "right_hand", "left_hand"),
        metadata=pd.DataFrame({"subject": subjects + 1, "session": "0", "run": "0"}),
        sfreq=128.0,
        ch_names=("C3", "Cz", "C4", "Pz"),
        dataset="SimulatedMI",
        paradigm="left_right_imagery",
        scoring="roc_auc",
        preprocessing=PreprocessingSpec(),
    )
    seen = []
    plain = DomainAlignment._fit

    def spy(self, X, subjects, sessions, unlabeled, labeled):
        seen.append((set(np.unique(subjects).tolist()), unlabeled is None, labeled is None))
        return plain(self, X, subjects, sessions, unlabeled, labeled)

    monkeypatch.setattr(DomainAlignment, "_fit", spy)
    spec = RunSpec.model_validate(
        {
            "name": "align",
            "dataset": {"name": "SimulatedMI"},
            "preprocessing": {"steps": [{"step": "align"}]},
            "evaluation": {"kind": "cross_subject", "seeds": [0], "adaptation": adaptation},
            "pipelines": [{"name": "ts", "model": "ts_lr"}],
        }
    )
    result = run(spec, tmp_path, load=lambda _: data, progress=False)
    assert result.state == "done", result.failures
    assert {frozenset(s) for s, _, _ in seen} == {frozenset(p) for p in ({1, 2}, {1, 3}, {2, 3})}
    assert {(u, k) for _, u, k in seen} == {(adaptation == "none", True)}
