"""The estimator's contract: what scikit-learn's own checks (tests/eeg) do not look at."""

from __future__ import annotations

import logging
import pickle
import random

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback, EarlyStopping
from torch.nn import functional as F

from hypeeg.nn import hyperbolize
from hypeeg.optim.sharpness import SharpnessAwareCurvature
from hypeeg.training import TrainingDivergedError
from hypeeg.training.randomness import spawn_seeds


def weights_of(estimator):
    return {k: v.clone() for k, v in estimator.module_.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(params=["hyperbolic", "euclidean"])
def kind(request):
    return request.getfixturevalue(request.param)


def test_equal_seeds_give_equal_bits_and_others_do_not(kind, blobs):
    X, y = blobs
    options = {"max_epochs": 4, "batch_size": 16, "early_stopping": True, "device": "cpu"}
    first = kind(random_state=1, **options).fit(X, y)
    torch.manual_seed(123)  # the caller's generator is no part of it
    again = kind(random_state=1, **options).fit(X, y)
    other = kind(random_state=2, **options).fit(X, y)
    assert same(weights_of(first), weights_of(again))
    assert not same(weights_of(first), weights_of(other))
    assert [r["train_loss"] for r in first.history_] == [r["train_loss"] for r in again.history_]


def test_global_generators_are_neither_used_nor_moved(kind, blobs):
    X, y = blobs
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    for seed in (0, None, np.random.RandomState(4)):
        estimator = kind(random_state=seed, max_epochs=2, early_stopping=True).fit(X, y)
        estimator.predict(X)
    after = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    np.testing.assert_array_equal(before[1], after[1])
    assert before[2] == after[2]


def test_seed_of_an_unseeded_fit_repeats_it(hyperbolic, blobs):
    X, y = blobs
    first = hyperbolic(max_epochs=2).fit(X, y)
    assert first.seed_ != hyperbolic(max_epochs=2).fit(X, y).seed_
    again = hyperbolic(max_epochs=2, random_state=first.seed_).fit(X, y)
    assert same(weights_of(first), weights_of(again))


def test_generator_as_random_state_moves_on(hyperbolic, blobs):
    X, y = blobs
    estimator = hyperbolic(max_epochs=1, random_state=np.random.RandomState(0))
    assert estimator.fit(X, y).seed_ != estimator.fit(X, y).seed_


def test_training_is_torchs_own_adamw_with_cosine_decay(euclidean, blobs):
    """A loop written out with nothing but torch ends at the same weights."""
    X, y = blobs
    options = {"max_epochs": 5, "batch_size": 32, "lr": 0.01, "weight_decay": 0.1}
    estimator = euclidean(random_state=7, refresh_batch_norm=False, device="cpu", **options)
    estimator.fit(X, y)

    torch_seed, order_seed, _ = spawn_seeds(7, 3)
    codes = torch.from_numpy(np.unique(y, return_inverse=True)[1])
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed)
        module = euclidean()._build_module({"n_features": 4, "n_outputs": 3})
        optimizer = torch.optim.AdamW(module.parameters(), lr=0.01, weight_decay=0.1)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)
        order = torch.Generator().manual_seed(order_seed)
        losses = []
        for _ in range(5):
            total = 0.0
            for index in torch.randperm(len(X), generator=order).split(32):
                loss = F.cross_entropy(module(torch.from_numpy(X)[index]), codes[index])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(index)
            losses.append(total / len(X))
            schedule.step()
    for name, value in module.state_dict().items():
        torch.testing.assert_close(estimator.module_.state_dict()[name], value)
    np.testing.assert_allclose([r["train_loss"] for r in estimator.history_], losses, rtol=1e-5)


@pytest.mark.parametrize(
    "names", [["b", "a", "c"], [7, 3, -2], np.array(["x", "y", "z"], dtype=object), [2.0, 0.0, 1.0]]
)
def test_any_labels(hyperbolic, blobs, names):
    X, y = blobs
    y = np.asarray(names)[np.unique(y, return_inverse=True)[1]]
    estimator = hyperbolic(max_epochs=30, lr=0.02, random_state=0).fit(X, y)
    np.testing.assert_array_equal(estimator.classes_, np.unique(y))
    assert estimator.score(X, y) > 0.7
    assert estimator.predict(X).dtype == np.unique(y).dtype
    proba = estimator.predict_proba(X)
    np.testing.assert_array_equal(estimator.classes_[proba.argmax(1)], estimator.predict(X))


def test_outputs_agree_for_two_classes(hyperbolic, blobs):
    X, y = blobs
    two = y != "rest"
    estimator = hyperbolic(max_epochs=3, random_state=0).fit(X[two], y[two])
    score, proba = estimator.decision_function(X), estimator.predict_proba(X)
    assert score.shape == (len(X),)
    np.testing.assert_allclose(proba[:, 1], 1 / (1 + np.exp(-score)), rtol=1e-5)
    np.testing.assert_array_equal(estimator.predict(X), estimator.classes_[(score > 0).astype(int)])


def test_refit_on_another_shape_and_other_classes(euclidean, blobs):
    X, y = blobs
    estimator = euclidean(max_epochs=2, random_state=0).fit(X, y)
    wide = np.random.default_rng(0).standard_normal((20, 3, 5)).astype(np.float32)
    estimator.fit(wide, np.arange(20) % 2)
    assert estimator.predict_proba(wide).shape == (20, 2)
    assert estimator.input_shape_ == (3, 5)
    assert estimator.n_features_in_ == 3
    assert len(estimator.history_) == 2
    with pytest.raises(ValueError, match=r"fitted on trials of shape \(3, 5\)"):
        estimator.predict(X)
    with pytest.raises(ValueError, match=r"shape \(3, 6\).*shape \(3, 5\)"):
        estimator.predict(np.zeros((2, 3, 6)))
    with pytest.raises(ValueError, match="one trial"):
        estimator.predict(wide[0])


def test_curvature_is_learned_or_held(hyperbolic, euclidean, blobs):
    X, y = blobs
    options = {"max_epochs": 6, "random_state": 0, "c": 0.7, "curvature_lr": 0.05}
    learned = hyperbolic(curvature="learned", **options).fit(X, y)
    fixed = hyperbolic(curvature="fixed", **options).fit(X, y)
    assert len(learned.curvature_history_) == 7
    assert learned.curvature_history_[0] == pytest.approx(0.7)
    assert learned.curvature_history_[-1] == learned.curvature_
    assert len(set(learned.curvature_history_)) == 7
    assert set(fixed.curvature_history_) == {fixed.curvature_}
    assert fixed.curvature_ == pytest.approx(0.7)
    flat = euclidean(**options).fit(X, y)
    assert flat.curvature_ is None
    assert flat.curvature_history_ == []


def test_sharpness_aware_curvature(hyperbolic, euclidean, blobs):
    """Learned on the optimiser's schedule, the loss recorded being that of the weights."""
    X, y = blobs
    options = {"max_epochs": 10, "batch_size": 16, "random_state": 0, "device": "cpu"}
    aware = hyperbolic(curvature="sharpness_aware", curvature_lr=0.05, **options).fit(X, y)
    optimizer = aware.net_.optimizer_
    assert isinstance(optimizer, SharpnessAwareCurvature)
    assert optimizer.steps == optimizer.total_steps == 60
    assert optimizer.updates == len([i for i in range(3, 54) if (i + 1) % 5 == 0])
    assert optimizer.passes == 60 + optimizer.updates
    assert optimizer.lr == 0.05
    history = aware.curvature_history_
    assert history[0] == 1.0
    assert history[-2] == history[-1]  # at rest at the end
    assert len(set(history)) > 5
    again = hyperbolic(curvature="sharpness_aware", curvature_lr=0.05, **options).fit(X, y)
    assert same(weights_of(aware), weights_of(again))
    # While the curvature has not moved, training is that of a fixed one.
    fixed = hyperbolic(curvature="fixed", **options).fit(X, y)
    late = hyperbolic(curvature="sharpness_aware", sharpness_every=100, **options).fit(X, y)
    assert late.net_.optimizer_.updates == 0
    assert [r["train_loss"] for r in late.history_] == [r["train_loss"] for r in fixed.history_]
    assert late.history_[0]["train_loss"] == pytest.approx(aware.history_[0]["train_loss"])
    wide = hyperbolic(curvature="sharpness_aware", sharpness_rho=0.5, **options).fit(X, y)
    assert wide.net_.optimizer_.rho == 0.5
    # A network without a curvature has nothing to be aware of.
    flat = euclidean(curvature="sharpness_aware", **options).fit(X, y)
    assert same(weights_of(flat), weights_of(euclidean(**options).fit(X, y)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"curvature": "sharp"}, "'learned', 'sharpness_aware', 'fixed'"),
        ({"sharpness_rho": 0.0}, "sharpness_rho=0.0 must be a number above 0"),
        ({"sharpness_every": 0}, "sharpness_every=0 must be an integer of 1 or more"),
        ({"curvature": "sharpness_aware", "c": 12.0}, "c=12.0 must be at most 10"),
    ],
)
def test_bad_sharpness_options(hyperbolic, blobs, options, message):
    with pytest.raises(ValueError, match=message):
        hyperbolic(max_epochs=1, **options).fit(*blobs)


def test_a_sharpness_aware_model_is_kept(hyperbolic, blobs, tmp_path):
    X, y = blobs
    fitted = hyperbolic(max_epochs=3, curvature="sharpness_aware", random_state=0).fit(X, y)
    loaded = hyperbolic.load(fitted.save(tmp_path / "model"), device="cpu")
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    copied = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copied.predict_proba(X), fitted.predict_proba(X))


@pytest.mark.parametrize("rate", [0.003, 0.1])
def test_curvature_has_a_learning_rate_of_its_own(hyperbolic, blobs, rate):
    X, y = blobs
    estimator = hyperbolic(max_epochs=1, batch_size=100, curvature_lr=rate, random_state=0)
    before, after = estimator.fit(X, y).curvature_history_
    # Adam's first step is the learning rate itself, here in log c.
    assert abs(np.log(after / before)) == pytest.approx(rate, rel=1e-3)


@pytest.mark.parametrize("move", ["exp", "scale", "none"])
@pytest.mark.parametrize("gradient", ["autograd", "consistent"])
def test_curvature_options_reach_the_optimiser(hyperbolic, blobs, move, gradient):
    estimator = hyperbolic(max_epochs=1, curvature_move=move, curvature_gradient=gradient)
    group = estimator.fit(*blobs).net_.optimizer_.param_groups[-1]  # the curvature's own
    assert (group["curvature_move"], group["curvature_gradient"]) == (move, gradient)


def test_history_and_learning_rates(hyperbolic, blobs):
    X, y = blobs
    estimator = hyperbolic(max_epochs=4, lr=0.01, random_state=0).fit(X, y)
    assert set(estimator.history_[0]) == {
        "epoch", "train_loss", "valid_loss", "valid_acc", "lr", "dur"
    }  # fmt: skip
    assert [row["epoch"] for row in estimator.history_] == [1, 2, 3, 4]
    assert estimator.n_iter_ == 4
    expected = 0.01 * (1 + np.cos(np.pi * np.arange(4) / 4)) / 2
    np.testing.assert_allclose([row["lr"] for row in estimator.history_], expected)
    assert all(row["valid_loss"] is None and row["dur"] > 0 for row in estimator.history_)
    batches = estimator.net_.history[-1]["batches"]
    mean = np.average(
        [b["train_loss"] for b in batches], weights=[b["train_batch_size"] for b in batches]
    )
    assert estimator.history_[-1]["train_loss"] == pytest.approx(mean)
    constant = hyperbolic(max_epochs=3, lr=0.01, lr_schedule=None).fit(X, y)
    assert {row["lr"] for row in constant.history_} == {0.01}


class Keep(Callback):
    """Keep the data sets that an epoch saw."""

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        self.train, self.valid = dataset_train, dataset_valid


def test_early_stopping_returns_to_the_best_epoch(kind, blobs):
    X, y = blobs
    keep = Keep()
    estimator = kind(
        max_epochs=200, lr=0.05, lr_schedule=None, early_stopping=True, patience=4,
        validation_fraction=0.3, random_state=0, callbacks=[keep],
    ).fit(X, y)  # fmt: skip
    losses = [row["valid_loss"] for row in estimator.history_]
    best = int(np.argmin(losses))
    assert estimator.n_iter_ == best + 1 + 4 < 200
    held_out = keep.valid.X.numpy()
    proba = estimator.predict_proba(held_out)[np.arange(len(held_out)), keep.valid.y.numpy()]
    assert -np.log(proba).mean() == pytest.approx(losses[best], rel=1e-4)
    accuracy = (estimator.predict(held_out) == estimator.classes_[keep.valid.y.numpy()]).mean()
    assert accuracy == pytest.approx(estimator.history_[best]["valid_acc"])
    if estimator.curvature_ is not None:
        assert estimator.curvature_ == estimator.curvature_history_[best + 1]


def test_validation_trials_are_held_out_in_proportion(hyperbolic, blobs):
    X, y = blobs
    keep = Keep()
    hyperbolic(max_epochs=1, early_stopping=True, random_state=0, callbacks=[keep]).fit(X, y)
    rows = [{tuple(x) for x in part.X.numpy().tolist()} for part in (keep.train, keep.valid)]
    assert not rows[0] & rows[1]
    assert len(rows[0]) == 72
    assert np.bincount(keep.valid.y).tolist() == [6, 6, 6]


def test_too_few_trials_to_hold_any_out(hyperbolic, blobs):
    X, y = blobs
    few = [*np.flatnonzero(y == "rest")[:1], *np.flatnonzero(y != "rest")[:9]]
    with pytest.raises(ValueError, match=r"early_stopping.*every class.*early_stopping=False"):
        hyperbolic(early_stopping=True).fit(X[few], y[few])


def test_class_weights_shift_the_decision(hyperbolic, blobs):
    X, y = blobs
    options = {"max_epochs": 15, "lr": 0.02, "random_state": 0}
    counts = [
        (hyperbolic(class_weight=w, **options).fit(X, y).predict(X) == "left").sum()
        for w in ({"left": 0.01}, None, {"left": 100.0})
    ]
    assert counts[0] < counts[1] < counts[2]


def test_balanced_is_the_inverse_share(hyperbolic, blobs):
    X, y = blobs
    some = np.flatnonzero((y != "rest") | (np.arange(len(y)) % 3 == 0))
    X, y = X[some], y[some]
    labels, counts = np.unique(y, return_counts=True)
    options = {"max_epochs": 3, "random_state": 0}
    balanced = hyperbolic(class_weight="balanced", **options).fit(X, y)
    explicit = hyperbolic(
        class_weight={k: len(y) / (3 * n) for k, n in zip(labels, counts, strict=True)}, **options
    ).fit(X, y)
    plain = hyperbolic(**options).fit(X, y)
    np.testing.assert_allclose(balanced.predict_proba(X), explicit.predict_proba(X), atol=1e-5)
    assert np.abs(balanced.predict_proba(X) - plain.predict_proba(X)).max() > 1e-4


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ({"lift": 2.0}, r"\['lift'\].*the classes are"),
        ("even", "'even' is unknown"),
        ({"left": -1.0}, "none negative"),
        ({"left": float("nan")}, "finite"),
        ({"left": 0, "right": 0, "rest": 0}, "some positive"),
        (2.0, "must be 'balanced'"),
    ],
)
def test_wrong_class_weights(hyperbolic, blobs, class_weight, message):
    with pytest.raises(ValueError, match=message):
        hyperbolic(class_weight=class_weight).fit(*blobs)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_epochs", 0), ("max_epochs", 1.5), ("batch_size", 0), ("patience", 0), ("lr", 0),
        ("lr", float("inf")), ("lr", "fast"), ("weight_decay", -1), ("lr_schedule", "step"),
        ("curvature", "frozen"), ("c", -1.0), ("curvature_lr", 0.0), ("curvature_move", "jump"),
        ("curvature_gradient", "none"), ("optimizer", "sgd"), ("validation_fraction", 1.0),
        ("random_state", "x"), ("random_state", -1), ("device", "abacus"),
    ],
)  # fmt: skip
def test_wrong_options_are_named_with_their_value(hyperbolic, blobs, name, value):
    estimator = hyperbolic().set_params(**{name: value})
    with pytest.raises(ValueError, match=f"{name}={value!r}"):
        estimator.fit(*blobs)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_unavailable_device(hyperbolic, blobs):
    with pytest.raises(ValueError, match=r"device='cuda'.*use device='auto'"):
        hyperbolic(device="cuda").fit(*blobs)


def test_one_class_only(hyperbolic, blobs):
    X, _ = blobs
    with pytest.raises(ValueError, match=r"one class only \('left'\)"):
        hyperbolic().fit(X, ["left"] * len(X))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bad_values_are_found_by_trial(euclidean, value):
    X = np.zeros((6, 2, 3))
    X[4, 1, 1] = value
    kind = "NaN" if np.isnan(value) else "infinity"
    with pytest.raises(ValueError, match=rf"X contains {kind} in 1 of 6 trials \(trial 4\)"):
        euclidean().fit(X, [0, 1] * 3)
    good = euclidean(max_epochs=1).fit(np.zeros((6, 2, 3)), [0, 1] * 3)
    with pytest.raises(ValueError, match="trial 4"):
        good.predict(X)


def test_divergence_is_an_error_and_leaves_nothing_fitted(euclidean, blobs):
    X, y = blobs
    estimator = euclidean(max_epochs=3, random_state=0).fit(X, y)
    estimator.set_params(lr=1e30, lr_schedule=None)
    with pytest.raises(TrainingDivergedError, match=r"epoch \d at learning rate 1e\+30; lower lr"):
        estimator.fit(X, y)
    with pytest.raises(NotFittedError):
        estimator.predict(X)


class Spoil(Callback):
    """Write a NaN into a weight after the last epoch."""

    def on_epoch_end(self, net, **kwargs):
        with torch.no_grad():
            net.module_.final_layer.weight[0, 0] = float("nan")


def test_weights_spoilt_by_the_last_step_are_noticed(hyperbolic, blobs):
    with pytest.raises(TrainingDivergedError, match="is not finite in epoch 1"):
        hyperbolic(max_epochs=1, callbacks=[Spoil()]).fit(*blobs)


class Interrupt(Callback):
    def on_epoch_end(self, net, **kwargs):
        raise KeyboardInterrupt


def test_interruption_is_passed_on(hyperbolic, blobs):
    X, y = blobs
    estimator = hyperbolic(callbacks=[Interrupt()])
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X, y)
    with pytest.raises(NotFittedError):
        estimator.predict(X)
    with pytest.raises(ValueError, match="use early_stopping=True"):
        hyperbolic(callbacks=[EarlyStopping()]).fit(X, y)


def test_epochs_are_logged_never_printed(hyperbolic, blobs, caplog, capsys):
    X, y = blobs
    with caplog.at_level(logging.DEBUG, logger="hypeeg"):
        hyperbolic(max_epochs=2, early_stopping=True, random_state=0).fit(X, y)
        assert not caplog.records
        hyperbolic(max_epochs=2, early_stopping=True, random_state=0, verbose=1).fit(X, y)
    lines = [r.getMessage() for r in caplog.records if r.name == "hypeeg.training.callbacks"]
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1/2: train_loss ")
    assert capsys.readouterr().out == ""


def test_transform_gives_the_inputs_of_the_last_layer(kind, blobs):
    X, y = blobs
    estimator = kind(max_epochs=3, batch_size=32, random_state=0).fit(X, y)
    Z = estimator.transform(X)
    assert Z.dtype == np.float32
    assert Z.shape == (90, 8)
    with torch.no_grad():
        logits = estimator.module_.final_layer(torch.from_numpy(Z)).numpy()
    np.testing.assert_allclose(logits, estimator.decision_function(X), rtol=1e-5, atol=1e-6)
    names = estimator.get_feature_names_out()
    assert len(names) == 8


def test_the_embedding_of_a_hyperbolized_network_is_points(euclidean, blobs):
    class Hyperbolized(euclidean):
        def _build_module(self, config):
            return hyperbolize(super()._build_module(config), c=self.c, embedding_dim=5)

    X, y = blobs
    estimator = Hyperbolized(max_epochs=3, batch_size=32, random_state=0).fit(X, y)
    Z = estimator.transform(X)
    assert Z.shape == (90, 5)
    with torch.no_grad():
        logits = estimator.module_.final_layer.classifier(torch.from_numpy(Z)).numpy()
    np.testing.assert_allclose(logits, estimator.decision_function(X), rtol=1e-5, atol=1e-6)
    assert estimator.curvature_ != estimator.c  # found, and learned


def test_a_last_layer_that_runs_twice_has_no_embedding(euclidean, blobs):
    class Twice(euclidean):
        def _build_module(self, config):
            module = super()._build_module(config)
            module.forward = lambda x: (
                module.final_layer(module.body(x)) + module.final_layer(module.body(x))
            )
            return module

    class Nameless(euclidean):
        def _build_module(self, config):
            return torch.nn.Linear(4, 3)

    with pytest.raises(RuntimeError, match="ran 2 times for 1 batches"):
        Twice(max_epochs=1).fit(*blobs)
    with pytest.raises(TypeError, match="no layer named final_layer"):
        Nameless(max_epochs=1).fit(*blobs)


def test_callers_arrays_stay_as_they_are(hyperbolic, blobs):
    X, y = blobs
    before = X.copy()
    X.setflags(write=False)
    threads = torch.get_num_threads()
    estimator = hyperbolic(max_epochs=2, random_state=0).fit(X, y)
    estimator.predict(X)
    np.testing.assert_array_equal(X, before)
    assert torch.get_num_threads() == threads
