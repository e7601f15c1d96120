"""HyperbolicEEGNet: braindecode's model contract, and its twin in the flat limit."""

from __future__ import annotations

import copy
import json
import math
import warnings

import pytest
import torch

from hypeeg.eeg.models.registry import get_model_class, twin_of
from hypeeg.geometry import CurvatureParameter

HyperbolicEEGNet = get_model_class("HyperbolicEEGNet")
SHAPE = {"n_chans": 6, "n_outputs": 3, "n_times": 160}


@pytest.fixture(params=["mlr", "prototypes"])
def model(request: pytest.FixtureRequest):
    torch.manual_seed(0)
    return HyperbolicEEGNet(**SHAPE, head=request.param).eval()


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(4, 6, 160, generator=torch.Generator().manual_seed(1))


def test_is_euclidean_twin_as_curvature_vanishes(x: torch.Tensor) -> None:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        twin = get_model_class(twin_of("HyperbolicEEGNet"))(**SHAPE).double().eval()
    ours = HyperbolicEEGNet(**SHAPE).double().eval()
    missing, unexpected = ours.load_state_dict(twin.state_dict(), strict=False)
    assert all(name.startswith("final_layer.") for name in unexpected)
    assert all("lorentz" in n or "manifold" in n or "final_layer" in n for n in missing)
    curvature = ours.manifold.curvature
    curvature.bounds = (1e-12, 20.0)
    with torch.no_grad():
        curvature.log_c.fill_(math.log(1e-12))
        ours.lorentz_linear_0.weight.copy_(torch.eye(16))
        kernel = twin.final_layer.conv_classifier.weight  # (classes, features, 1, steps)
        ours.final_layer.weight.copy_(kernel.squeeze(2).transpose(1, 2).flatten(1))
    torch.testing.assert_close(ours(x.double()), twin(x.double()), rtol=1e-6, atol=1e-8)


def test_logits_depend_on_curvature(model, x: torch.Tensor) -> None:
    x = 50 * x  # near the origin every curvature looks flat
    before = model(x)
    with torch.no_grad():
        model.manifold.curvature.log_c.fill_(math.log(5.0))
    assert not torch.allclose(before, model(x), rtol=1e-2, atol=0)


def test_one_learned_curvature_is_shared_by_all_layers(model) -> None:
    curvatures = [p for p in model.parameters() if isinstance(p, CurvatureParameter)]
    assert len(curvatures) == 1
    assert curvatures[0].requires_grad
    fixed = HyperbolicEEGNet(**SHAPE, learnable_curvature=False)
    assert not fixed.manifold.learnable


def test_config_round_trip_is_json_and_keeps_outputs(model, x: torch.Tensor) -> None:
    config = json.loads(json.dumps(model.get_config()))
    rebuilt = HyperbolicEEGNet.from_config(config).eval()
    rebuilt.load_state_dict(model.state_dict())
    assert torch.equal(rebuilt(x), model(x))
    assert rebuilt.get_config() == model.get_config()


def test_deepcopy_keeps_one_manifold_and_is_independent(model, x: torch.Tensor) -> None:
    twin = copy.deepcopy(model)
    assert torch.equal(twin(x), model(x))
    assert twin.lift.manifold is twin.final_layer.manifold is twin.rescale.manifold
    if model.head == "prototypes":
        assert twin.final_layer.prototypes.manifold is twin.manifold
    assert twin.manifold.curvature.log_c is not model.manifold.curvature.log_c


def test_eval_outputs_of_a_trial_do_not_depend_on_the_batch(model, x: torch.Tensor) -> None:
    kept = x.clone()
    alone = torch.cat([model(trial[None]) for trial in x])
    torch.testing.assert_close(model(x), alone)
    assert torch.equal(x, kept)


def test_export_gives_the_same_logits(model, x: torch.Tensor) -> None:
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), model(x))


def test_reset_head(model, x: torch.Tensor) -> None:
    manifold = model.manifold
    model.reset_head(5)
    assert model(x).shape == (4, 5)
    assert model.n_outputs == 5
    assert model.get_config()["n_outputs"] == 5
    assert model.manifold is manifold
    with pytest.raises(ValueError, match="n_outputs must be positive"):
        model.reset_head(0)


def test_signal_parameters_are_inferred_from_mne_info() -> None:
    import mne

    info = mne.create_info(["C3", "Cz", "C4"], 128.0, "eeg")
    model = HyperbolicEEGNet(
        n_outputs=2, chs_info=info["chs"], sfreq=128.0, input_window_seconds=2.0
    )
    assert (model.n_chans, model.n_times) == (3, 256)
    assert model(torch.randn(2, 3, 256)).shape == (2, 2)


def test_embedding_is_the_input_of_the_final_layer_within_reach(model, x: torch.Tensor) -> None:
    captured = []
    model.final_layer.register_forward_pre_hook(lambda _, args: captured.append(args[0]))
    model(100 * x)
    (embedding,) = captured
    assert embedding.shape == (4, 16 * (160 // 32))
    assert torch.isfinite(model.manifold.dist0(embedding)).all()


def test_bfloat16_autocast_training_step_is_finite(model, x: torch.Tensor) -> None:
    model.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = torch.nn.functional.cross_entropy(model(x), torch.tensor([0, 1, 2, 0]))
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"head": "softmax"}, "head must be 'mlr' or 'prototypes'"),
        ({"n_lorentz_layers": -1}, "n_lorentz_layers must not be negative"),
        ({"c": 100.0}, r"must lie in \[0.05, 20.0\]; got 100.0"),
        ({"rescale_slope": 1.0}, "slope must be at least 2.65"),
    ],
)
def test_bad_arguments_are_named(kwargs, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HyperbolicEEGNet(**SHAPE, **kwargs)


def test_unknown_model_name_lists_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean HyperbolicEEGNet"):
        get_model_class("HyperbolicEegnet")
    assert get_model_class("ShallowFBCSPNet").__name__ == "ShallowFBCSPNet"
