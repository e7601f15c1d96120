"""The EEG classifier and domains: metadata routing, a planted shift, epochs, persistence."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut, cross_validate
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.metadata_routing import get_routing_for_object

from hypeeg import HypEEGClassifier

NETWORKS = ("HyperbolicEEGNetDSBN", "EEGNetDSBN")
SFREQ = 64.0
OFFERED = {"subjects", "sessions", "X_target_unlabeled", "X_target_labeled", "y_target_labeled"}
SMALL = {"F1": 4, "kernel_length": 32}
GAINS = {"a": (1, 1, 1), "b": (2.5, 0.7, 1), "c": (0.6, 2, 1), "d": (1.5, 1.5, 1)}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def recording(n: int, seed: int, gain: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a 10 Hz rhythm at channel 0 or 1 by class, each channel with its own gain."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    time = np.arange(128) / SFREQ
    X = rng.standard_normal((n, 3, 128))
    phase = rng.uniform(0, 2 * np.pi, n)
    X[np.arange(n), y] += 1.5 * np.sin(2 * np.pi * 10 * time + phase[:, None])
    X *= np.array(gain)[:, None]
    return X.astype(np.float32), np.array(["left", "right"])[y]


@pytest.fixture(scope="module")
def source() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    parts = [recording(30, i, gain) for i, gain in enumerate(GAINS.values())]
    X, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return X, y, np.repeat(list(GAINS), 30)


@pytest.fixture(scope="module")
def target() -> tuple[np.ndarray, np.ndarray]:
    return recording(60, 9, (0.4, 4.0, 1.0))


def classifier(model: str = NETWORKS[0], **options: Any) -> HypEEGClassifier:
    given = {"max_epochs": 1, "batch_size": 40, "random_state": 0, "device": "cpu", "lr": 5e-3}
    return HypEEGClassifier(model, model_params=SMALL, **(given | options))


@pytest.mark.parametrize("model", NETWORKS)
def test_a_planted_shift_is_undone_by_unlabelled_trials(model, source, target):
    X, y, subjects = source
    calibration, test, labels = target[0][:30], target[0][30:], target[1][30:]
    options = {"max_epochs": 15}
    without = classifier(model, **options).fit(X, y)
    assert without.score(test, labels) < 0.8
    adapted = classifier(model, domain="subject", **options).fit(
        X, y, subjects=subjects, X_target_unlabeled=calibration
    )
    assert adapted.score(test, labels) > 0.95
    assert adapted.domains_ == ["a", "b", "c", "d"]
    assert adapted.module_config_["n_domains"] == 5
    # Told nothing of the target, the block that is predicted does as well.
    block = classifier(model, domain="subject", **options).fit(X, y, subjects=subjects)
    assert block.score(test, labels) > 0.95


def test_adaptive_batch_norm_undoes_the_shift_of_a_network_without_domains(source, target):
    X, y, _ = source
    calibration, test, labels = target[0][:30], target[0][30:], target[1][30:]
    given = {"X_target_unlabeled": calibration}
    plain = classifier("EEGNet", max_epochs=20).fit(X, y, **given)
    adapted = classifier("EEGNet", max_epochs=20, adapt_batch_norm=True).fit(X, y, **given)
    assert plain.score(test, labels) < 0.8
    assert adapted.score(test, labels) > 0.95
    for name, value in plain.module_.named_parameters():
        assert torch.equal(value, dict(adapted.module_.named_parameters())[name]), name
    alone = classifier("EEGNet", max_epochs=20, adapt_batch_norm=True).fit(X, y)
    np.testing.assert_array_equal(alone.decision_function(test), plain.decision_function(test))


def test_labels_of_the_target_are_no_part_of_unlabelled_adaptation(source, target):
    # Only statistics of the last domain follow the target's trials.
    X, y, subjects = source
    fits = [
        classifier(domain="subject").fit(X, y, subjects=subjects, X_target_unlabeled=trials)
        for trials in (target[0][:10], 7 * target[0][20:50])
    ]
    one, other = (f.module_.state_dict() for f in fits)
    changed = {k for k in one if not torch.equal(one[k], other[k])}
    assert changed == {
        "domain_norm.layer.running_mean",
        "domain_norm.layer.running_dispersion",
        "domain_norm.layer.num_batches_tracked",
    } - {k for k in one if "tracked" in k and torch.equal(one[k], other[k])}
    mean = "domain_norm.layer.running_mean"
    assert torch.equal(one[mean][:4], other[mean][:4])


def test_networks_without_domains_ignore_them(source):
    X, y, subjects = source
    told = classifier("HyperbolicEEGNet", domain="subject").fit(X, y, subjects=subjects)
    untold = classifier("HyperbolicEEGNet").fit(X, y)
    np.testing.assert_array_equal(told.decision_function(X), untold.decision_function(X))
    np.testing.assert_array_equal(told.predict_proba(X[:1]), untold.predict_proba(X[:1]))
    features = X[:, 0, :5]
    table = HypEEGClassifier(max_epochs=1, domain="subject").fit(features, y, subjects=subjects)
    assert table.domains_ == list("abcd")
    assert table.predict(features[:1]).shape == (1,)


@pytest.mark.parametrize(
    ("options", "requested"),
    [
        ({}, set()),
        ({"domain": "subject"}, OFFERED - {"sessions"}),
        ({"domain": "session"}, OFFERED - {"subjects"}),
        ({"adapt_batch_norm": True}, {"X_target_unlabeled"}),
    ],
)
def test_what_a_fit_requests(options, requested):
    """As MOABB's evaluations and ours ask."""
    pipeline = Pipeline([("copy", FunctionTransformer()), ("clf", classifier(**options))])
    with config_context(enable_metadata_routing=True):
        for estimator in (options and classifier(**options), pipeline, clone(pipeline)):
            if estimator:
                found = get_routing_for_object(estimator).consumes("fit", OFFERED)
                assert set(found) == requested
        # What was refused stays refused, and what was asked for stays asked for.
        chosen = classifier(**options).set_fit_request(X_target_unlabeled=False, sessions=True)
        found = get_routing_for_object(chosen).consumes("fit", OFFERED)
        assert set(found) == (requested - {"X_target_unlabeled"}) | {"sessions"}


def test_routed_through_scikit_learns_tools(source, target):
    X, y, subjects = source
    X = X * 1e-6  # the target's trials must go through the scaling as well
    pipeline = Pipeline(
        [("scale", FunctionTransformer(lambda x: x * 1e6)), ("clf", classifier(domain="subject"))],
        transform_input=["X_target_unlabeled"],
    )
    with config_context(enable_metadata_routing=True):
        fitted = clone(pipeline).fit(X, y, subjects=subjects, X_target_unlabeled=target[0] * 1e-6)
        direct = classifier(domain="subject").fit(
            (X * 1e6), y, subjects=subjects, X_target_unlabeled=target[0]
        )
        np.testing.assert_allclose(
            fitted.decision_function(X), direct.decision_function(X * 1e6), rtol=1e-3, atol=1e-4
        )
        scores = cross_validate(
            pipeline,
            X,
            y,
            cv=LeaveOneGroupOut(),
            params={"subjects": subjects, "groups": subjects},
            return_estimator=True,
        )
        assert [e[-1].domains_ for e in scores["estimator"]] == [
            [s for s in "abcd" if s != out] for out in "abcd"
        ]
        search = GridSearchCV(pipeline, {"clf__model": NETWORKS}, cv=2)
        assert search.fit(X, y, subjects=subjects).best_estimator_[-1].domains_ == list("abcd")


def test_sessions_are_domains_of_their_own(source):
    X, y, subjects = source
    sessions = np.array([f"{s}/{i % 2}" for i, s in enumerate(subjects)])
    fitted = classifier(domain="session").fit(X, y, subjects=subjects, sessions=sessions)
    assert fitted.domains_ == sorted(set(sessions))
    assert fitted.module_.domain_norm.layer.n_domains == 9


@pytest.mark.parametrize("model", NETWORKS)
def test_one_trial_alone(model, source, target):
    X, y, subjects = source
    block = classifier(model, domain="subject").fit(X, y, subjects=subjects)
    with pytest.raises(ValueError, match=r"X has 1 trial of a domain .*set unseen='source'"):
        block.predict(target[0][:1])
    mean = classifier(model, domain="subject", unseen="source").fit(X, y, subjects=subjects)
    alone = np.concatenate([mean.decision_function(x[None]) for x in target[0][:5]])
    np.testing.assert_allclose(alone, mean.decision_function(target[0][:5]), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("model", NETWORKS)
def test_saved_pickled_and_with_every_training_option(model, source, target, tmp_path):
    X, y, subjects = source
    fitted = classifier(
        model,
        domain="subject",
        max_epochs=3,
        early_stopping=True,
        curvature="sharpness_aware",
        sharpness_every=2,
        adapt_batch_norm=True,
        class_weight="balanced",
    ).fit(X, y, subjects=subjects, X_target_unlabeled=target[0])
    expected = fitted.decision_function(target[0])
    assert np.isfinite(expected).all()
    loaded = HypEEGClassifier.load(fitted.save(tmp_path), device="cpu")
    for other in (loaded, pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(other.decision_function(target[0]), expected)
        np.testing.assert_array_equal(other.transform(target[0]), fitted.transform(target[0]))
        assert other.get_params() == fitted.get_params()
    assert loaded.domains_ == list("abcd")
    again = clone(fitted).fit(X, y, subjects=subjects, X_target_unlabeled=target[0])
    np.testing.assert_array_equal(again.decision_function(target[0]), expected)


def test_models_saved_before_there_were_domains_still_load(source, tmp_path):
    import json

    X, y, _ = source
    fitted = classifier().fit(X, y)
    path = fitted.save(tmp_path) / "config.json"
    config = json.loads(path.read_text())
    for name in ("domain", "unseen", "adapt_batch_norm"):
        del config["params"][name]
    del config["state"]["domains_"], config["state"]["module_config_"]["n_domains"]
    path.write_text(json.dumps(config))
    loaded = HypEEGClassifier.load(tmp_path, device="cpu")
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))


def test_what_is_refused(source):
    X, y, subjects = source
    for options, given, message in (
        ({"domain": "subject"}, {}, r"domain='subject' needs subjects.*enable_metadata_routing"),
        ({"domain": "session"}, {"subjects": subjects}, "domain='session' needs sessions"),
        ({"domain": "run"}, {}, r"domain='run' must be one of None, 'subject', 'session'"),
        ({"unseen": "batch"}, {}, "unseen='batch' must be one of 'block', 'source'"),
        ({"domain": "subject"}, {"subjects": subjects[:-1]}, "inconsistent numbers of samples"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier(**options).fit(X, y, **given)
    with pytest.raises(ValueError, match=r"holds 'n_domains'.*set domain of the estimator"):
        HypEEGClassifier(NETWORKS[0], model_params={"n_domains": 3}).fit(X, y)


def test_epochs_as_target(source, target):
    import mne

    info = mne.create_info(["C3", "C4", "Cz"], SFREQ, "eeg")

    def epochs(X: np.ndarray, y: np.ndarray, info: mne.Info = info) -> mne.EpochsArray:
        events = np.stack(
            [np.arange(len(X)) * 200, np.zeros(len(X)), 1 + (y == "right")], axis=1
        ).astype(int)
        names = {"left": 1, "right": 2}
        return mne.EpochsArray(X, info, events, event_id=names, verbose="error", proj=False)

    X, y, subjects = source
    given = {"subjects": subjects, "X_target_labeled": epochs(target[0][:8], target[1][:8])}
    by_epochs = classifier(domain="subject").fit(epochs(X, y), **given)
    by_arrays = classifier(domain="subject", sfreq=SFREQ).fit(
        X,
        y,
        subjects=subjects,
        X_target_labeled=target[0][:8],
        y_target_labeled=target[1][:8],
    )
    np.testing.assert_array_equal(by_epochs.predict_proba(X), by_arrays.predict_proba(X))
    other = mne.create_info(["C3", "C4", "Pz"], SFREQ, "eeg")
    with pytest.raises(ValueError, match="pick the same channels"):
        classifier(domain="subject").fit(
            epochs(X, y),
            subjects=subjects,
            X_target_unlabeled=epochs(*target, info=other),
        )


@pytest.mark.parametrize(
    ("mode", "target_trials"),
    [
        ("train", {}),
        ("train_and_target_unlabeled_50p", {"X_target_unlabeled": 16}),
        ("train_and_target_labeled_20p", {"X_target_labeled": 6, "y_target_labeled": 6}),
    ],
)
def test_under_moabbs_own_evaluation(mode, target_trials, tmp_path, monkeypatch):
    from moabb.evaluations import CrossSubjectEvaluation
    from moabb.paradigms import LeftRightImagery

    from hypeeg.eeg.simulated import SimulatedMI

    told: list[dict[str, Any]] = []
    fit = HypEEGClassifier.fit

    @functools.wraps(fit)
    def spy(self, X, y, **given):
        told.append({"X": len(X), **{name: len(value) for name, value in given.items()}})
        return fit(self, X, y, **given)

    monkeypatch.setattr(HypEEGClassifier, "fit", spy)
    evaluation = CrossSubjectEvaluation(
        paradigm=LeftRightImagery(fmin=8, fmax=32, tmin=0.5, tmax=2.5),
        datasets=[SimulatedMI(n_subjects=3, n_sessions=2, n_trials=16)],
        hdf5_path=str(tmp_path),
        overwrite=True,
        cs_mode=mode,
    )
    results = evaluation.process({"dsbn": classifier(domain="subject")})
    assert len(results) == 6
    assert results["score"].between(0, 1).all()
    assert told == [{"X": 64, "subjects": 64, **target_trials}] * 3
