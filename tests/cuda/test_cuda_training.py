"""Training on a GPU: models, estimators, runs and slots, against the CPU."""

from __future__ import annotations

import inspect
import pickle
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hypeeg import HypEEGClassifier
from hypeeg.eeg.models.registry import MODELS, get_model_class
from hypeeg.experiments.runner import run
from hypeeg.experiments.spec import RunSpec
from hypeeg.hierarchy import TaxonomyEmbedding, balanced_tree
from hypeeg.nn import use_domain
from hypeeg.optim import RiemannianAdamW
from hypeeg.vision import HypVisionClassifier

SHAPE = {"n_chans": 22, "n_outputs": 3, "n_times": 1000, "sfreq": 250.0}


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind = get_model_class(name)
        more = {"n_domains": 2} if "n_domains" in inspect.signature(kind).parameters else {}
        return kind(**SHAPE, **more)


def domains_for(module: nn.Module, n: int, device: str) -> Any:
    """Return a context in which the first half of a batch is of one domain, the rest of another.

    Networks without domains do not look at them.
    """
    return use_domain(module, (torch.arange(n) // (n // 2)).to(device))


def planted(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a 10 Hz rhythm over one of two channels, depending on the class."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 2)
    X = rng.standard_normal((n, 4, 128))
    phase = rng.uniform(0, 2 * np.pi, n)
    X[np.arange(n), y] += 1.5 * np.sin(2 * np.pi * 10 / 64 * np.arange(128) + phase[:, None])
    return X.astype(np.float32), np.array(["left", "right"])[y]


@pytest.mark.parametrize("name", [*MODELS, "Hyperbolic(EEGNeX)"])
def test_models_compute_what_they_do_on_the_cpu(name):
    model = build(name)
    x = torch.randn(6, 22, 1000, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), domains_for(model, 6, "cpu"):
        model.train()(x)  # statistics of batch normalisation
        here = model.eval()(x)
    model.cuda()
    with torch.no_grad(), domains_for(model, 6, "cuda"):
        there = model(x.cuda())
    scale = float(here.abs().max())
    torch.testing.assert_close(there.cpu(), here, rtol=1e-3, atol=1e-3 * scale)


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", [*MODELS, "Hyperbolic(EEGNeX)"])
def test_a_training_step_does_not_wait_for_the_device(name, autocast, no_waiting):
    model = build(name).cuda().train()
    optimizer = RiemannianAdamW(model.parameters(), lr=1e-3)
    x = torch.randn(16, 22, 1000, device="cuda")
    y = (torch.arange(16) % 3).cuda()

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=autocast):
            loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()

    # torch.linalg.eigh looks at its own error code on the host, every time
    decomposes = "Covariance" in name
    with domains_for(model, 16, "cuda"):
        for _ in range(2):
            step()
        with nullcontext() if decomposes else no_waiting():
            for _ in range(3):
                step()
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("model", ["HyperbolicEEGNet", "EEGNet"])
def test_an_epoch_waits_as_often_however_many_batches_it_has(model):
    def waits(n_trials: int) -> int:
        X, y = planted(n_trials)
        estimator = HypEEGClassifier(
            model, max_epochs=3, batch_size=16, random_state=0, device="cuda"
        )
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                estimator.fit(X, y)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return sum("synchronizing" in str(w.message) for w in caught)

    waits(64)
    assert waits(640) <= waits(64)


@pytest.mark.parametrize("model", ["HyperbolicEEGNet", "LorentzEEGNet", "LorentzPairNet", "EEGNet"])
def test_the_estimator_learns_and_predicts_on_any_device(model):
    X, y = planted(120)
    held, truth = planted(100, seed=1)
    estimator = HypEEGClassifier(
        model, max_epochs=40, batch_size=32, random_state=0, device="auto",
        sfreq=64.0,
    )  # fmt: skip
    estimator.fit(X, y)
    assert next(estimator.module_.parameters()).device.type == "cuda"
    assert estimator.score(held, truth) > 0.8
    moved = pickle.loads(pickle.dumps(estimator.set_params(device="cpu")))
    np.testing.assert_allclose(
        moved.predict_proba(held), estimator.predict_proba(held), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("model", ["HyperbolicEEGNet", "EEGNet"])
def test_compiled_training_is_the_same_training(model):
    X, y = planted(70)
    options = {"max_epochs": 10, "batch_size": 16, "random_state": 0, "device": "cuda"}
    options["model_params"] = {"drop_prob": 0.0}
    plain = HypEEGClassifier(model, **options).fit(X, y)
    compiled = HypEEGClassifier(model, compile=True, **options).fit(X, y)
    np.testing.assert_allclose(
        compiled.predict_proba(X), plain.predict_proba(X), rtol=1e-2, atol=1e-3
    )


def test_a_model_saved_on_the_gpu_opens_where_there_is_none(tmp_path: Path):
    X, y = planted(60)
    estimator = HypEEGClassifier(max_epochs=3, random_state=0, device="cuda").fit(X, y)
    estimator.save(tmp_path / "model")
    opened = HypEEGClassifier.load(tmp_path / "model", device="cpu")
    assert next(opened.module_.parameters()).device.type == "cpu"
    np.testing.assert_allclose(
        opened.predict_proba(X), estimator.predict_proba(X), rtol=1e-3, atol=1e-4
    )


def test_two_fits_from_one_seed_are_alike():
    X, y = planted(80)
    first, second = (
        HypEEGClassifier(max_epochs=8, random_state=3, device="cuda").fit(X, y) for _ in range(2)
    )
    np.testing.assert_allclose(
        first.predict_proba(X), second.predict_proba(X), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("curvature", ["learned", "sharpness_aware"])
@pytest.mark.parametrize("model", ["HybridResNet", "LorentzResNet", "ResNet"])
def test_images(model, curvature):
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    X = rng.integers(0, 60, (120, 3, 16, 16), dtype=np.uint8)
    for k in range(3):
        X[y == k, k] += 120
    estimator = HypVisionClassifier(
        model, model_params={"blocks": [1, 1], "widths": [8, 16]}, max_epochs=12, batch_size=32,
        crop=2, flip=True, curvature=curvature if model != "ResNet" else "fixed",
        random_state=0, device="cuda",
    )  # fmt: skip
    assert estimator.fit(X, y).score(X, y) > 0.9


def test_a_taxonomy():
    tree = balanced_tree(2, 5)
    embedding = TaxonomyEmbedding(dim=3, epochs=200, lr=0.1, random_state=0, device="cuda").fit(
        tree
    )
    assert next(embedding.module_.parameters()).device.type == "cuda"
    assert embedding.score(tree) > 0.65


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_run_with_gpu_slots(tmp_path: Path, n_jobs: int):
    spec = RunSpec.from_data(
        {
            "name": "slots",
            "dataset": {"name": "SimulatedMI", "subjects": [1]},
            "evaluation": {"kind": "within_session", "n_folds": 3, "seeds": [0]},
            "training": {"max_epochs": 2, "batch_size": 32},
            "pipelines": [{"name": "H", "model": "HyperbolicEEGNet"}],
            "n_jobs": n_jobs,
            "device": "cuda",
            "resources": {"gpus": [0, 0]},
        }
    ).resolve()
    result = run(spec, tmp_path, progress=False)
    assert result.state == "done"
    assert len(result.records) == 6
    assert all(0 <= row["score"] <= 1 for r in result.records for row in r["scores"])
