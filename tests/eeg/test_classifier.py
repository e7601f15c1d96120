"""The EEG classifier: scikit-learn's contract in full, EEG input, twins, learning."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.stats import binom
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from hypeeg import HypEEGClassifier
from hypeeg.eeg.transformers import Standardize

NETWORKS = ("HyperbolicEEGNet", "EEGNet")
SFREQ = 64.0
CH_NAMES = ["C3", "C4", "Cz", "Pz"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def planted(n: int, seed: int, amplitude: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a 10 Hz rhythm over C3 or C4, depending on the class."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 2)
    time = np.arange(128) / SFREQ
    X = rng.standard_normal((n, 4, 128))
    phase = rng.uniform(0, 2 * np.pi, n)
    X[np.arange(n), y] += amplitude * np.sin(2 * np.pi * 10 * time + phase[:, None])
    return X.astype(np.float32), np.array(["left", "right"])[y]


@pytest.fixture(scope="module", params=NETWORKS)
def fitted(request):
    X, y = planted(80, seed=0, amplitude=1.5)
    return HypEEGClassifier(
        request.param, max_epochs=40, batch_size=32, random_state=0, device="cpu"
    ).fit(X, y)


@parametrize_with_checks([HypEEGClassifier()])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def test_separable_trials_are_told_apart(fitted):
    X, y = planted(100, seed=1, amplitude=1.5)
    assert roc_auc_score(y == "right", fitted.decision_function(X)) > 0.9
    assert fitted.score(X, y) > 0.8  # the threshold is right too, not the order alone


@pytest.mark.parametrize("model", NETWORKS)
def test_shuffled_labels_give_chance(model):
    X, y = planted(80, seed=0)
    y = np.random.default_rng(2).permutation(y)
    estimator = HypEEGClassifier(model, max_epochs=15, random_state=0).fit(X, y)
    X, y = planted(200, seed=1)
    low, high = binom.interval(0.999, 200, 0.5)
    assert low <= (estimator.predict(X) == y).sum() <= high


def test_the_twin_is_braindecodes_network_with_the_same_training(fitted):
    import braindecode.models

    X, _ = planted(10, seed=3)
    if fitted.model == "EEGNet":
        assert type(fitted.module_) is braindecode.models.EEGNet
        assert fitted.curvature_ is None
        assert fitted.curvature_history_ == []
    else:
        assert fitted.curvature_ > 0
        assert len(fitted.curvature_history_) == 41
    assert (fitted.n_chans_, fitted.n_times_) == (4, 128)
    assert fitted.module_.n_outputs == 2
    assert fitted.predict_proba(X).shape == (10, 2)


def test_embeddings_are_points_that_the_head_reads(fitted):
    X, _ = planted(50, seed=3)
    Z = fitted.transform(X)
    assert Z.dtype == np.float32
    assert Z.ndim == 2
    assert np.isfinite(Z).all()
    with torch.no_grad():
        points = torch.from_numpy(Z)
        if fitted.curvature_ is not None:
            logits = fitted.module_.final_layer(points)
            np.testing.assert_allclose(
                (logits[:, 1] - logits[:, 0]).numpy(),
                fitted.decision_function(X),
                rtol=1e-4,
                atol=1e-5,
            )
            manifold = fitted.module_.manifold
            assert manifold.curvature.value == fitted.curvature_
            radius = np.sqrt(fitted.curvature_) * np.linalg.norm(Z.astype(float), axis=1)
            np.testing.assert_allclose(
                manifold.dist0(points).numpy(),
                np.arcsinh(radius) / np.sqrt(fitted.curvature_),
                rtol=1e-5,
            )
    np.testing.assert_array_equal(Z, fitted.transform(X))
    # One batch or many: the same embedding up to rounding.
    np.testing.assert_allclose(
        Z[:3], np.concatenate([fitted.transform(x[None]) for x in X[:3]]), rtol=1e-3, atol=1e-5
    )


def test_saved_networks_predict_the_same_bits(fitted, tmp_path):
    X, _ = planted(20, seed=4)
    loaded = HypEEGClassifier.load(fitted.save(tmp_path), device="cpu")
    np.testing.assert_array_equal(loaded.decision_function(X), fitted.decision_function(X))
    np.testing.assert_array_equal(loaded.transform(X), fitted.transform(X))
    assert type(loaded.module_) is type(fitted.module_)
    assert (loaded.n_chans_, loaded.n_times_) == (4, 128)


@pytest.mark.parametrize("model", NETWORKS)
def test_equal_seeds_train_equal_networks(model):
    X, y = planted(24, seed=0)
    first, again, other = (
        HypEEGClassifier(model, max_epochs=2, random_state=s).fit(X, y).decision_function(X)
        for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4


def test_prototypes_move_under_the_riemannian_optimiser():
    X, y = planted(24, seed=0)
    estimator = HypEEGClassifier(
        model_params={"head": "prototypes"}, max_epochs=1, random_state=0, lr=0.01
    )
    one, many = (clone(estimator).set_params(max_epochs=n).fit(X, y) for n in (1, 8))
    moved = one.module_.final_layer.prototypes - many.module_.final_layer.prototypes
    assert float(moved.detach().abs().max()) > 1e-3
    assert np.isfinite(many.decision_function(X)).all()


def test_in_a_pipeline_with_scikit_learns_tools():
    X, y = planted(40, seed=0, amplitude=2.0)
    pipeline = make_pipeline(Standardize("channel"), HypEEGClassifier(max_epochs=2, random_state=0))
    scores = cross_val_score(pipeline, X * 1e-6, y, cv=StratifiedKFold(2), scoring="roc_auc")
    np.testing.assert_array_equal(
        scores,
        cross_val_score(clone(pipeline), X * 1e-6, y, cv=StratifiedKFold(2), scoring="roc_auc"),
    )
    search = GridSearchCV(
        pipeline, {"hypeegclassifier__model": NETWORKS}, cv=StratifiedKFold(2)
    ).fit(X, y)
    assert len(search.cv_results_["params"]) == 2
    assert search.transform(X).shape[0] == 40


def test_sharpness_aware_curvature():
    X, y = planted(40, seed=0)
    options = {"max_epochs": 6, "batch_size": 8, "random_state": 0, "device": "cpu"}
    fitted = HypEEGClassifier(curvature="sharpness_aware", curvature_lr=0.05, **options).fit(X, y)
    optimizer = fitted.net_.optimizer_
    assert optimizer.steps == 30
    assert optimizer.passes == 30 + optimizer.updates == 35
    assert fitted.curvature_ != 1.0
    learned = HypEEGClassifier(curvature="learned", curvature_lr=0.05, **options).fit(X, y)
    assert fitted.curvature_ != learned.curvature_
    twin = HypEEGClassifier("EEGNet", curvature="sharpness_aware", **options).fit(X, y)
    assert twin.curvature_ is None


def test_refit_on_other_trials_and_on_features():
    X, y = planted(16, seed=0)
    estimator = HypEEGClassifier(max_epochs=1, random_state=0).fit(X, y)
    three = np.array(["a", "b", "c", "a"] * 4)
    estimator.fit(X[:, :3, :100], three)
    assert (estimator.n_chans_, estimator.n_times_) == (3, 100)
    assert estimator.predict_proba(X[:, :3, :100]).shape == (16, 3)
    estimator.fit(X[:, 0, :5], y)
    assert estimator.n_chans_ is None
    assert estimator.curvature_ is not None
    with pytest.raises(ValueError, match="fitted on trials of shape"):
        estimator.predict(X)


def test_wrong_trials_at_predict_are_named(fitted):
    X, _ = planted(4, seed=0)
    with pytest.raises(ValueError, match=r"X has 3 channels.*fitted on 4; pick the same"):
        fitted.predict(X[:, :3])
    with pytest.raises(ValueError, match=r"X has 100 samples.*fitted on 128; crop or resample"):
        fitted.transform(X[:, :, :100])
    with pytest.raises(ValueError, match=r"fitted on trials of shape \(4, 128\)"):
        fitted.predict(X[:, :, 0])
    X[2, 1, 5] = np.nan
    with pytest.raises(ValueError, match=r"NaN in 1 of 4 trials \(trial 2\)"):
        fitted.predict_proba(X)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "HyperbolicEEGnet"}, "HyperbolicEEGnet.*HyperbolicEEGNet"),
        ({"model": "HyperbolicMLP"}, "takes features"),
        ({"model_params": {"F3": 1}}, r"'F3', which HyperbolicEEGNet does not take; .*F1, D"),
        # braindecode's EEGNet would swallow this one by its **kwargs.
        ({"model": "EEGNet", "model_params": {"F3": 1}}, "'F3', which EEGNet does not take"),
        ({"model_params": {"n_times": 1}}, "'n_times', which follows from the data"),
        ({"model_params": {"c": 1.0}}, "set c of the estimator"),
        ({"model_params": {"learnable_curvature": True}}, "set curvature of the estimator"),
        ({"model_params": {"sfreq": 1.0}}, "set sfreq of the estimator"),
        ({"ch_names": ["C3"]}, "ch_names has 1 names, but X has 4 channels"),
    ],
)
def test_wrong_models_are_named_with_a_remedy(options, message):
    X, y = planted(8, seed=0)
    with pytest.raises(ValueError, match=message):
        HypEEGClassifier(**options).fit(X, y)


def test_wrong_input_is_named():
    X, y = planted(8, seed=0)
    with pytest.raises(ValueError, match=r"model='EEGNet' needs trials"):
        HypEEGClassifier("EEGNet").fit(X[:, 0], y)
    with pytest.raises(ValueError, match=r"X has shape \(8, 1, 4, 128\); give trials"):
        HypEEGClassifier().fit(X[:, None], y)
    with pytest.raises(ValueError, match="'drop', which HyperbolicMLP does not take"):
        HypEEGClassifier(model_params={"drop": 1}).fit(X[:, 0], y)
    with pytest.raises(ValueError, match="one class only"):
        HypEEGClassifier().fit(X, ["left"] * 8)
    with pytest.raises(ValueError, match="requires y"):
        HypEEGClassifier().fit(X)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        HypEEGClassifier().fit(X, y[:-1])
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        HypEEGClassifier().fit(X[:0], y[:0])


def test_volts_are_warned_of():
    X, y = planted(8, seed=0)
    with pytest.warns(UserWarning, match="volts"):
        HypEEGClassifier(max_epochs=1).fit(X * 1e-6, y)


def test_a_feature_that_does_not_vary_is_harmless():
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    X = np.stack([rng.standard_normal(40) + 3 * y, np.full(40, 1e6)], axis=1)
    estimator = HypEEGClassifier(max_epochs=30, lr=0.02, random_state=0).fit(X, y)
    assert estimator.score(X, y) > 0.85


@pytest.fixture
def epochs():
    import mne

    X, y = planted(20, seed=0)
    events = np.stack([np.arange(20) * 200, np.zeros(20), 1 + (y == "right")], axis=1).astype(int)
    info = mne.create_info(CH_NAMES, SFREQ, "eeg")
    return mne.EpochsArray(
        X, info, events, event_id={"left": 1, "right": 2}, verbose="error", proj=False
    )


def test_mne_epochs_as_they_are(epochs):
    X, y = planted(20, seed=0)
    estimator = HypEEGClassifier(max_epochs=2, random_state=0).fit(epochs)
    assert (estimator.sfreq_, estimator.ch_names_) == (SFREQ, CH_NAMES)
    assert estimator.module_.sfreq == SFREQ
    assert [ch["ch_name"] for ch in estimator.module_.chs_info] == CH_NAMES
    arrays = HypEEGClassifier(max_epochs=2, random_state=0, sfreq=SFREQ).fit(X, y)
    np.testing.assert_array_equal(estimator.predict_proba(epochs), arrays.predict_proba(X))
    np.testing.assert_array_equal(estimator.classes_, ["left", "right"])
    assert estimator.score(epochs, y) == arrays.score(X, y)
    with pytest.raises(ValueError, match=r"channels \['C4', 'C3'.*same order"):
        estimator.predict(epochs.copy().reorder_channels(["C4", "C3", "Cz", "Pz"]))
    with pytest.raises(ValueError, match=r"sfreq=32.0 Hz, but HypEEGClassifier has 64.0 Hz"):
        estimator.predict(epochs.copy().resample(32, verbose="error"))
    with pytest.raises(ValueError, match=r"has 100\.0 Hz; resample"):
        HypEEGClassifier(sfreq=100).fit(epochs)


def test_channel_names_and_rate_survive_saving(epochs, tmp_path):
    estimator = HypEEGClassifier(max_epochs=1, random_state=0).fit(epochs)
    loaded = HypEEGClassifier.load(estimator.save(tmp_path))
    assert (loaded.sfreq_, loaded.ch_names_) == (SFREQ, CH_NAMES)
    np.testing.assert_array_equal(loaded.predict_proba(epochs), estimator.predict_proba(epochs))


def test_another_braindecode_network_trains_saves_and_embeds(tmp_path):
    X, y = planted(16, seed=0)
    estimator = HypEEGClassifier(
        "ShallowFBCSPNet",
        model_params={"n_filters_time": 4, "n_filters_spat": 4},
        max_epochs=1,
        random_state=0,
    ).fit(X, y)
    loaded = HypEEGClassifier.load(estimator.save(tmp_path))
    np.testing.assert_array_equal(loaded.transform(X), estimator.transform(X))
    assert estimator.transform(X).shape[0] == 16
