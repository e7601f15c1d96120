"""Compiled training passes: the same training, and really compiled."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from hypeeg.nn import HyperbolicMLP
from hypeeg.training import HyperbolicClassifier


class Exact(HyperbolicClassifier):
    """Without dropout, of which a compiled network draws other numbers."""

    def _module_config(self, X: np.ndarray, y: np.ndarray) -> dict:
        return {"n_features": X.shape[1]}

    def _build_module(self, config: dict) -> nn.Module:
        return HyperbolicMLP(
            config["n_features"],
            config["n_outputs"],
            hidden=8,
            drop_prob=0.0,
            c=self.c,
            learnable_curvature=self.curvature != "fixed",
        )


@pytest.fixture
def compilations(monkeypatch):
    """Compile without generating code, which takes long, and count what is compiled."""
    seen: list[object] = []
    original = torch.compile

    def compile_quickly(function, **kwargs):
        seen.append(function)
        return original(function, backend="aot_eager", **kwargs)

    monkeypatch.setattr(torch, "compile", compile_quickly)
    torch._dynamo.reset()
    yield seen
    torch._dynamo.reset()


@pytest.mark.parametrize("curvature", ["learned", "sharpness_aware"])
def test_compiled_training_is_the_same_training(blobs, compilations, curvature):
    X, y = blobs
    options = {"max_epochs": 8, "batch_size": 20, "random_state": 0, "device": "cpu"}
    options["curvature"] = curvature
    plain = Exact(**options).fit(X, y)
    assert not compilations
    compiled = Exact(compile=True, **options).fit(X, y)
    assert len(compilations) == 1
    assert compiled.n_iter_ == 8
    for a, b in zip(plain.history_, compiled.history_, strict=True):
        assert b["train_loss"] == pytest.approx(a["train_loss"], rel=1e-3)
    assert plain.history_[-1]["train_loss"] < 0.9 * plain.history_[0]["train_loss"]
    assert compiled.curvature_ == pytest.approx(plain.curvature_, rel=1e-3)
    np.testing.assert_allclose(compiled.predict_proba(X), plain.predict_proba(X), atol=2e-3)


def test_a_compiled_fit_is_kept_like_any_other(blobs, compilations, tmp_path):
    X, y = blobs
    fitted = Exact(compile=True, max_epochs=2, random_state=0, device="cpu").fit(X, y)
    names = set(fitted.module_.state_dict())
    assert not any("_orig_mod" in name for name in names)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    fitted.save(tmp_path / "model")
    opened = Exact.load(tmp_path / "model", device="cpu")
    np.testing.assert_allclose(opened.predict_proba(X), fitted.predict_proba(X), rtol=1e-6)


def test_compile_is_true_or_false(blobs):
    with pytest.raises(ValueError, match="compile='reduce-overhead' must be True or False"):
        Exact(compile="reduce-overhead", device="cpu").fit(*blobs)
