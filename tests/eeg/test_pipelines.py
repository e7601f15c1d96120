"""Pipelines by name: what a spec allows, what is built from it, what twins share."""

from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn import get_config
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.model_selection import StratifiedKFold, cross_val_score

from hypeeg.eeg.pipeline_spec import PipelineSpec, TrainingSpec, check_pipelines, training_of
from hypeeg.eeg.pipelines import build_pipeline
from hypeeg.eeg.routing import requested

RUN = TrainingSpec(max_epochs=3, lr=0.01)
OURS = PipelineSpec(
    name="ours",
    model="HyperbolicEEGNet",
    params={"F1": 4, "head": "prototypes"},
    training=TrainingSpec(lr=0.02, lr_schedule=None),
    standardise="trial",
)
TWIN = PipelineSpec(name="twin", model="EEGNet", twin_of="ours")
CSP = PipelineSpec(name="csp", model="csp_lda")


@pytest.fixture
def trials():
    """Two classes that differ in the power of a mixture of channels."""
    rng = np.random.default_rng(0)
    y = np.array(["left", "right"] * 30)
    X = rng.standard_normal((60, 4, 128))
    X[y == "right", 0] *= 2.5
    X[y == "left", 1] *= 2.5
    return np.einsum("ij,njt->nit", rng.standard_normal((4, 4)), X).astype(np.float32), y


def test_the_spec_imports_no_learning_library():
    code = (
        "import sys, hypeeg.eeg.pipeline_spec\n"
        "print({'torch', 'sklearn', 'mne', 'moabb', 'braindecode'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_spec_comes_back_from_plain_data_as_it_was():
    for spec in (OURS, TWIN, CSP):
        assert PipelineSpec.model_validate(spec.model_dump(mode="json")) == spec
    assert OURS.model_dump()["training"] == {"lr": 0.02, "lr_schedule": None}


def test_training_fields_are_the_classifiers_parameters():
    from hypeeg import HypEEGClassifier

    defaults = HypEEGClassifier().get_params()
    for name, value in TrainingSpec().model_dump().items():
        assert defaults[name] == value


def test_overrides_count_only_where_given():
    merged = training_of(OURS, [OURS, TWIN], RUN)
    assert (merged.max_epochs, merged.lr, merged.lr_schedule) == (3, 0.02, None)
    assert training_of(TWIN, [OURS, TWIN], RUN) == merged
    assert merged.model_fields_set == set(TrainingSpec.model_fields)
    # A default that is given on purpose is an override too.
    back = RUN.override(TrainingSpec(max_epochs=60))
    assert back.max_epochs == 60


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "x", "model": "EEGNet", "lr": 1}, "Extra inputs"),
        ({"name": "", "model": "EEGNet"}, "at least 1 character"),
        (
            {"name": "x", "model": "EEGNet", "bands": [[8, 12]]},
            "bands belong to the models csp_lda, .*, not 'EEGNet'",
        ),
        ({"name": "x", "model": "ts_lr", "bands": [[12, 8]]}, "0 < low < high"),
        ({"name": "x", "model": "ts_lr", "bands": []}, "bands is empty"),
        ({"name": "x", "model": "ts_lr", "training": {"lr": 1}}, "training is for networks"),
        ({"name": "x", "model": "csp_lda", "twin_of": "y"}, "twin_of is for networks"),
        ({"name": "x", "model": "EEGNet", "twin_of": "x"}, "cannot be its own twin"),
        (
            {"name": "x", "model": "EEGNet", "twin_of": "y", "training": {"lr": 1}},
            "shares its training; set it there",
        ),
        ({"name": "x", "model": "EEGNet", "training": {"lr": -1}}, "greater than 0"),
        ({"name": "x", "model": "EEGNet", "training": {"c": 30}}, "less than or equal to 20"),
        ({"name": "x", "model": "EEGNet", "training": {"curvature": "sharp"}}, "sharpness_aware"),
        (
            {"name": "x", "model": "EEGNet", "training": {"curvature": "sharpness_aware", "c": 12}},
            "c=12 must be at most 10 with curvature: sharpness_aware",
        ),
        ({"name": "x", "model": "EEGNet", "training": {"sharpness_every": 0}}, "or equal to 1"),
        ({"name": "x", "model": "EEGNet", "training": {"momentum": 0.9}}, "Extra inputs"),
        ({"name": "x", "model": "EEGNet", "training": {"class_weight": {"a": 0}}}, "positive"),
    ],
)
def test_wrong_specs(data, message):
    with pytest.raises(ValidationError, match=message):
        PipelineSpec.model_validate(data)


@pytest.mark.parametrize(
    ("pipelines", "message"),
    [
        ([], "give at least one"),
        ([OURS, OURS], "two pipelines are named 'ours'"),
        ([TWIN], "no other pipeline of this run; the others are none"),
        ([CSP, TWIN.model_copy(update={"twin_of": "csp"})], "a classical pipeline"),
        (
            [OURS, TWIN, TWIN.model_copy(update={"name": "b", "twin_of": "twin"})],
            "a twin itself",
        ),
        ([OURS, TWIN.model_copy(update={"params": {"F1": 8}})], r"params\.F1 is 8 but 4"),
        ([OURS, TWIN.model_copy(update={"twin_of": "our"})], "Did you mean 'ours'"),
        (
            [
                OURS.model_copy(update={"variant_of": "csp"}),
                CSP.model_copy(update={"variant_of": "ours"}),
            ],
            "in a circle: ours, csp, ours",
        ),
    ],
)
def test_pipelines_that_do_not_go_together(pipelines, message):
    with pytest.raises(ValueError, match=message):
        check_pipelines(pipelines)


def test_twins_share_everything_that_both_know():
    check_pipelines([OURS, TWIN, CSP])
    options = {
        "sfreq": 64.0,
        "ch_names": ["C3", "C4"],
        "random_state": 3,
        "device": "cpu",
        "training": RUN,
        "pipelines": [OURS, TWIN, CSP],
    }
    ours, twin = (build_pipeline(spec, **options) for spec in (OURS, TWIN))
    a, b = ours[-1].get_params(), twin[-1].get_params()
    assert (a.pop("model"), b.pop("model")) == ("HyperbolicEEGNet", "EEGNet")
    assert a.pop("model_params") == {"F1": 4, "head": "prototypes"}
    assert b.pop("model_params") == {"F1": 4}  # a head of prototypes is no matter of EEGNet's
    assert a == b
    assert (a["lr"], a["max_epochs"], a["random_state"]) == (0.02, 3, 3)
    assert ours[0].mode == twin[0].mode == "trial"
    with pytest.raises(ValueError, match=r"not among the pipelines given \(none\)"):
        build_pipeline(TWIN)


def test_networks_learn_their_scale_from_training_trials_alone(trials):
    X, y = trials
    spec = PipelineSpec(name="net", model="EEGNet", params={"kernel_length": 16})
    pipeline = build_pipeline(spec, training=TrainingSpec(max_epochs=1), random_state=0)
    train, test = next(StratifiedKFold(3).split(X, y))
    Z = X.copy()
    Z[test] = 1e4  # whatever the test trials hold
    a, b = clone(pipeline).fit(X[train], y[train]), clone(pipeline).fit(Z[train], y[train])
    np.testing.assert_allclose(a[0].mean_.ravel(), X[train].mean(axis=(0, 2)), atol=1e-5)
    np.testing.assert_array_equal(a.predict_proba(X[test]), b.predict_proba(X[test]))
    assert a.transform(X[test]).shape[0] == len(test)


def test_classical_pipelines_are_pyriemanns(trials):
    from pyriemann.estimation import Covariances
    from pyriemann.spatialfilters import CSP as PyCSP
    from pyriemann.tangentspace import TangentSpace
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    X, y = trials
    references = {
        "csp_lda": make_pipeline(
            Covariances("oas"), PyCSP(nfilter=6), LinearDiscriminantAnalysis()
        ),
        "ts_lr": make_pipeline(
            Covariances("oas"), TangentSpace(), LogisticRegression(max_iter=1000)
        ),
    }
    for name, reference in references.items():
        ours = build_pipeline(name).fit(X[:40], y[:40])
        reference.fit(X[:40].astype(np.float64), y[:40])
        np.testing.assert_allclose(
            ours.decision_function(X[40:]),
            reference.decision_function(X[40:].astype(np.float64)),
            rtol=1e-8,
        )
        assert cross_val_score(ours, X, y, cv=3).mean() > 0.9


def test_a_filter_bank_uses_every_band(trials):
    """Two classes that a single band cannot tell apart as well as both."""
    X, y = trials
    spec = PipelineSpec(name="fb", model="ts_lr", bands=[(4, 12), (12, 28)], params={"C": 0.5})
    pipeline = build_pipeline(spec, sfreq=64.0).fit(X, y)
    assert pipeline.named_steps["covariances"].transform(
        pipeline.named_steps["bands"].transform(X)
    ).shape == (60, 8, 8)
    assert pipeline[-1].C == 0.5
    with pytest.raises(ValueError, match="bands need sfreq"):
        build_pipeline(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("HyperbolicEEGNeet", "HyperbolicEEGNet"),
        (PipelineSpec(name="a", model="csp_lda", params={"n": 3}), "it takes n_components, cov"),
        (PipelineSpec(name="a", model="EEGNet", params={"F9": 3}), "'F9', which EEGNet does not"),
        (PipelineSpec(name="a", model="EEGNet", params={"c": 3}), "set c of the estimator"),
    ],
)
def test_what_cannot_be_built_is_said_before_training(spec, message):
    with pytest.raises(ValueError, match=message):
        build_pipeline(spec)


@pytest.mark.parametrize("model", ["csp_lda", "ts_lr", "EEGNet"])
def test_bad_values_are_named(trials, model):
    X, y = trials
    X[7, 2, 5] = np.nan
    with pytest.raises(ValueError, match="trial 7, channel 2"):
        build_pipeline(model).fit(X, y)


def test_classical_standardisation_only_on_request():
    assert "standardise" not in build_pipeline(CSP, standardise="channel").named_steps
    asked = CSP.model_copy(update={"standardise": "channel"})
    assert build_pipeline(asked).named_steps["standardise"].mode == "channel"


class Shift(TransformerMixin, BaseEstimator):
    """Adds 1, and notes the subjects and the target trials that it was given."""

    __metadata_request__fit = {"subjects": True, "X_target_unlabeled": True}  # noqa: RUF012

    def fit(self, X, y=None, subjects=None, X_target_unlabeled=None):
        self.subjects_, self.target_ = subjects, X_target_unlabeled
        return self

    def transform(self, X):
        return X + 1


def test_trial_steps_come_first_in_every_pipeline(trials):
    X, y = trials
    step = Shift()
    for spec in ("csp_lda", PipelineSpec(name="n", model="EEGNet", params={"kernel_length": 16})):
        pipeline = build_pipeline(
            spec, trial_steps=[("shift", step)], training=TrainingSpec(max_epochs=1)
        )
        assert next(iter(pipeline.named_steps)) == "shift"
        assert pipeline[0] is not step
        who = np.arange(60) // 20
        pipeline.fit(X, y, subjects=who, X_target_unlabeled=X[:5])
        np.testing.assert_array_equal(pipeline[0].subjects_, who)
        np.testing.assert_array_equal(pipeline[0].target_, X[:5])
        # Plain use asks for nothing and leaves the global switch alone.
        clone(pipeline).fit(X, y)
        assert not get_config()["enable_metadata_routing"]


def test_target_trials_pass_through_the_steps_before(trials, monkeypatch):
    """The network gets them shifted and standardised, as it will those it predicts."""
    from hypeeg import HypEEGClassifier

    seen = {}

    def spy(self, X, y=None, **params):
        seen.update(params, X=X)
        self.classes_ = np.unique(y)
        return self

    spy.__signature__ = inspect.signature(HypEEGClassifier.fit)
    monkeypatch.setattr(HypEEGClassifier, "fit", spy)
    X, y = trials
    who = np.repeat(["a", "b", "c"], 20)
    spec = PipelineSpec(
        name="n", model="HyperbolicEEGNetDSBN", training=TrainingSpec(domain="subject")
    )
    pipeline = build_pipeline(spec, trial_steps=[("shift", Shift())])
    pipeline.fit(X, y, subjects=who, X_target_unlabeled=3 * X[:7])
    before = pipeline[:-1]
    np.testing.assert_array_equal(seen["subjects"], who)
    np.testing.assert_allclose(seen["X"], before.transform(X), rtol=1e-6)
    np.testing.assert_allclose(seen["X_target_unlabeled"], before.transform(3 * X[:7]), rtol=1e-6)
    assert "sessions" not in seen


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ({}, {"X_target_labeled", "y_target_labeled"}),
        (
            {"domain": "subject"},
            {"subjects", "X_target_unlabeled", "X_target_labeled", "y_target_labeled"},
        ),
        (
            {"domain": "session"},
            {"sessions", "X_target_unlabeled", "X_target_labeled", "y_target_labeled"},
        ),
        (
            {"adapt_batch_norm": True},
            {"X_target_unlabeled", "X_target_labeled", "y_target_labeled"},
        ),
    ],
)
def test_what_networks_ask_for(training, expected):
    spec = PipelineSpec(name="n", model="HyperbolicEEGNetDSBN", training=TrainingSpec(**training))
    offered = dict.fromkeys(
        ("subjects", "sessions", "X_target_unlabeled", "X_target_labeled", "y_target_labeled")
    )
    assert set(requested(clone(build_pipeline(spec)), offered)) == expected
    assert requested(build_pipeline("ts_lr"), offered) == {}


def test_a_twin_shares_the_domain():
    parent = OURS.model_copy(update={"training": TrainingSpec(domain="session")})
    assert training_of(TWIN, [parent, TWIN], RUN).domain == "session"
