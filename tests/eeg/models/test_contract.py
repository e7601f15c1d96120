"""What braindecode expects of a model, for every model of ours.

Equivalent to braindecode's own test_integration, test_model_contract, test_return_features and
test_functional, which loop over its registry.
"""

from __future__ import annotations

import copy
import inspect
import json
import math
import warnings
from typing import Any

import mne
import pytest
import torch
from torch import nn

from hypeeg.eeg.models.registry import (
    MODELS,
    get_model_class,
    is_hyperbolic,
    twin_of,
)
from hypeeg.geometry import CurvatureParameter, Lorentz
from hypeeg.optim import RiemannianAdamW

NAMES = [*MODELS, "Hyperbolic(EEGNeX)", "Hyperbolic(ATCNet)"]
HYPERBOLIC = [name for name in NAMES if is_hyperbolic(name)]
# Small kernels where the defaults need long trials.
SMALL: dict[str, dict[str, Any]] = {
    "HyperbolicDeep4Net": {
        "filter_time_length": 5,
        "filter_length_2": 5,
        "filter_length_3": 4,
        "filter_length_4": 3,
        "pool_time_length": 2,
        "pool_time_stride": 2,
        "n_filters_4": 40,
    },
    "HyperbolicShallowFBCSPNet": {"n_filters_time": 8, "n_filters_spat": 8},
    "HyperbolicEEGConformer": {"num_layers": 2, "n_filters_time": 20},
    "LorentzCovarianceNet": {"n_filters": 6, "embedding_dim": 8},
    "CovarianceAttentionNet": {"n_filters": 6, "embedding_dim": 8},
    "LorentzPairNet": {"sfreq": 100.0, "embedding_dim": 8},
    "PairNet": {"sfreq": 100.0, "embedding_dim": 8},
    "Hyperbolic(ATCNet)": {"conv_block_pool_size_1": 4, "conv_block_pool_size_2": 4},
}
SHAPE = {"n_chans": 4, "n_outputs": 3, "n_times": 200}
# Several heads classify one point each; their logits are averaged.
SLOW_TO_EXPORT = ("LorentzEEGNet", "HyperbolicEEGConformer")
SEVERAL_HEADS = ("Hyperbolic(ATCNet)",)
# Linear between the logarithms and the head.
WITHOUT_ACTIVATION = ("LorentzPairNet", "PairNet")
TIME = {"n_times", "sfreq", "input_window_seconds"}


def build(name: str, **kwargs: Any) -> nn.Module:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_model_class(name)(**{**SHAPE, **SMALL.get(name, {}), **kwargs})


def trials(n: int = 4, n_chans: int = 4, n_times: int = 200) -> torch.Tensor:
    return torch.randn(n, n_chans, n_times, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_output_shape_for_other_sizes(name: str) -> None:
    for n_chans, n_times, n_outputs in ((2, 200, 2), (9, 263, 5)):
        model = build(name, n_chans=n_chans, n_times=n_times, n_outputs=n_outputs).eval()
        y = model(trials(2, n_chans, n_times))
        assert y.shape == (2, n_outputs)
        assert torch.isfinite(y).all()
        assert model(trials(1, n_chans, n_times)).shape == (1, n_outputs)


def test_signal_parameters_in_every_combination(name: str) -> None:
    info = mne.create_info(["C3", "Cz", "C4", "Pz"], 250.0, "eeg")
    by_channels = [{"chs_info": info["chs"]}, {"n_chans": 4}]
    by_time = [
        {"n_times": 200, "sfreq": 250.0},
        {"sfreq": 250.0, "input_window_seconds": 0.8},
        {"n_times": 200, "input_window_seconds": 0.8},
    ]
    cases = [{**by_channels[i % 2], **time} for i, time in enumerate(by_time)]
    small = {key: value for key, value in SMALL.get(name, {}).items() if key not in TIME}
    for given in cases:
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = get_model_class(name)(n_outputs=3, **small, **given)
        assert (model.n_chans, model.n_times, model.n_outputs) == (4, 200, 3)
        assert model.eval()(trials()).shape == (4, 3)


def test_eval_is_deterministic_and_trials_do_not_mix(name: str) -> None:
    model = build(name).eval()
    x = trials()
    kept, state = x.clone(), copy.deepcopy(model.state_dict())
    y = model(x)
    assert torch.equal(model(x), y)
    assert torch.equal(x, kept)
    torch.testing.assert_close(model(x.flip(0)), y.flip(0), rtol=1e-4, atol=1e-5)
    other = x.clone()
    other[1] = 1 - 3 * other[1]
    torch.testing.assert_close(model(other)[0], y[0], rtol=1e-4, atol=1e-5)
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_training_mode_draws_dropout_and_keeps_its_statistics(name: str) -> None:
    model = build(name).train()
    state = copy.deepcopy(model.state_dict())
    x = trials()
    assert not torch.equal(model(x), model(x))
    changed = [k for k, v in model.state_dict().items() if not torch.equal(v, state[k])]
    assert changed
    assert all("running" in key or "tracked" in key for key in changed)


@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_outputs_and_gradients_are_finite(name: str, scale: float) -> None:
    model = build(name).train()
    x = (scale * trials()).requires_grad_()
    loss = nn.functional.cross_entropy(model(x), torch.tensor([0, 1, 2, 0]))
    loss.backward()
    assert torch.isfinite(loss)
    trained = {key: p for key, p in model.named_parameters() if p.requires_grad}
    without = [key for key, p in trained.items() if p.grad is None]
    assert without == []
    bad = [key for key, p in trained.items() if not torch.isfinite(p.grad).all()]
    assert bad == []
    assert torch.isfinite(x.grad).all()


def test_far_features_stay_finite_in_evaluation(name: str) -> None:
    # Running statistics of a new model do not bring such trials back.
    model = build(name).eval()
    for scale in (1e2, 1e6):
        assert torch.isfinite(model(scale * trials())).all()


def test_autocast_gives_float32_near_full_precision(name: str) -> None:
    model = build(name).eval()
    x = trials()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = model(x)
    if is_hyperbolic(name):
        assert y.dtype == torch.float32
    expected = model(x)
    assert (y - expected).abs().max() <= 0.05 * (1 + expected.abs().max())


def test_float64(name: str) -> None:
    # Not the numbers of float32: the maximum distance is that of the dtype.
    y = build(name).eval().double()(trials().double())
    assert y.dtype == torch.float64
    assert torch.isfinite(y).all()


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW_TO_EXPORT else []) for n in NAMES],
)
def test_export_gives_the_same_logits(name: str) -> None:
    model = build(name).eval()
    exported = torch.export.export(model, (trials(),)).module()
    torch.testing.assert_close(exported(trials()), model(trials()))


@pytest.mark.slow
def test_compiles_without_graph_breaks(name: str) -> None:
    torch.compiler.reset()
    model = build(name).eval()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(trials()), model(trials()), rtol=1e-4, atol=1e-5)


def test_config_and_state_round_trip(name: str) -> None:
    activation = [
        p.name
        for p in inspect.signature(get_model_class(name)).parameters.values()
        if "activation" in p.name and isinstance(p.default, type)
    ]
    options: dict[str, Any] = {activation[0]: nn.Tanh} if activation else {}
    if is_hyperbolic(name):
        options |= {"c": 0.5, "head": "prototypes"}
    model = build(name, **options).eval()
    config = json.loads(json.dumps(model.get_config()))
    assert {**config, **{k: v for k, v in options.items() if k in ("c", "head")}} == config
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rebuilt = type(model).from_config(config).eval()
    rebuilt.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(rebuilt(trials()), model(trials()))
    assert rebuilt.get_config() == model.get_config()
    assert any(isinstance(part, nn.Tanh) for part in rebuilt.modules()) == bool(activation)


@pytest.mark.parametrize("head", ["mlr", "prototypes"])
def test_reset_head(name: str, head: str) -> None:
    model = build(name, **({"head": head} if is_hyperbolic(name) else {})).eval()
    before = model(trials(), return_features=True)["features"]
    manifold = getattr(model, "manifold", None)
    model.reset_head(5)
    assert model(trials()).shape == (4, 5)
    assert model.n_outputs == model.get_config()["n_outputs"] == 5
    assert torch.equal(model(trials(), return_features=True)["features"], before)
    assert getattr(model, "manifold", None) is manifold
    with pytest.raises(ValueError, match="n_outputs must be positive"):
        model.reset_head(0)


def test_return_features_are_what_the_head_takes(name: str) -> None:
    model = build(name).eval()
    out = model(trials(), return_features=True)
    assert set(out) == {"features", "cls_token"}
    assert out["cls_token"] is None
    features = out["features"]
    assert features.shape[0] == 4
    assert isinstance(model(trials()), torch.Tensor)
    if not is_hyperbolic(name):
        torch.testing.assert_close(model.final_layer(features), model(trials()))
        return
    reach = model.manifold.dist0(features)
    assert torch.isfinite(reach).all()
    heads = list(model._heads().values())
    if name in SEVERAL_HEADS:
        assert features.shape[1] == len(heads) > 1
        logits = torch.stack([h(features[:, i]) for i, h in enumerate(heads)]).mean(0)
    else:
        (head,) = heads
        logits = head(features)
    torch.testing.assert_close(logits, model(trials()))


def test_final_layer_and_mapping(name: str) -> None:
    model = build(name)
    assert "final_layer" in list(dict(model.named_children()))[-2:]
    assert isinstance(model.mapping, dict)
    assert not any("final_layer" in new for new in model.mapping.values())


def test_arguments_have_braindecodes_names(name: str) -> None:
    arguments = inspect.signature(get_model_class(name)).parameters
    signal = {"n_chans", "n_outputs", "n_times", "chs_info", "input_window_seconds", "sfreq"}
    assert signal <= set(arguments)
    assert any("activation" in a for a in arguments) == (name not in WITHOUT_ACTIVATION)
    assert any("drop" in a for a in arguments)
    assert all(issubclass(p.default, nn.Module) for a, p in arguments.items() if "activation" in a)
    if is_hyperbolic(name):
        assert {"c", "learnable_curvature", "head"} <= set(arguments)
    documented = get_model_class(name).__doc__
    elsewhere: set[str] = set()
    if f":class:`braindecode.models.{twin_of(name)}`" in documented if is_hyperbolic(name) else "":
        elsewhere = set(inspect.signature(get_model_class(twin_of(name))).parameters)
    if name == "HyperbolicEEGNetDSBN":
        elsewhere = set(inspect.signature(get_model_class("HyperbolicEEGNet")).parameters)
    assert [a for a in arguments if a not in documented and a not in elsewhere] == []


@pytest.mark.parametrize("n_times", [1, 3])
def test_too_short_trials_are_named(name: str, n_times: int) -> None:
    if name in ("Hyperbolic(ATCNet)",):  # braindecode shortens its kernels
        pytest.skip("ATCNet adapts to any length")
    with pytest.raises(ValueError, match=rf"n_times={n_times} is too short"):
        build(name, n_times=n_times)


def test_other_trials_than_announced_are_named(name: str) -> None:
    if name.startswith("Hyperbolic(") or name in ("HyperbolicEEGTCNet", "HyperbolicEEGConformer"):
        pytest.skip("braindecode's own forward")
    model = build(name).eval()
    for shape in ((2, 5, 200), (2, 4, 90), (4, 200)):
        with pytest.raises(ValueError, match=r"n_chans=4, n_times=200"):
            model(torch.zeros(shape))


def learned(model: nn.Module) -> list[CurvatureParameter]:
    """Return the curvatures that receive gradients."""
    found = [p for p in model.parameters() if isinstance(p, CurvatureParameter)]
    return [p for p in found if p.requires_grad]


@pytest.mark.parametrize("name", HYPERBOLIC)
def test_one_learned_curvature_is_shared(name: str) -> None:
    model = build(name)
    curvatures = learned(model)
    assert len(curvatures) == 1
    assert model.manifold.curvature.log_c is curvatures[0]
    assert model.manifold.learnable
    manifolds = 2 if name == "LorentzPairNet" else 1  # covariances have a curvature of their own
    assert len({id(m) for m in model.modules() if isinstance(m, Lorentz)}) == manifolds
    twin = copy.deepcopy(model)
    assert len({id(m) for m in twin.modules() if isinstance(m, Lorentz)}) == manifolds
    assert twin.manifold.curvature.log_c is not curvatures[0]
    assert learned(build(name, learnable_curvature=False)) == []


@pytest.mark.parametrize("name", HYPERBOLIC)
def test_logits_depend_on_the_curvature(name: str) -> None:
    model = build(name).eval()
    x = 100 * trials()  # far enough for models that start with small features
    before = model(x)
    with torch.no_grad():
        model.manifold.curvature.log_c.fill_(math.log(8.0))
    assert not torch.allclose(before, model(x), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", HYPERBOLIC)
def test_bad_arguments_are_named(name: str) -> None:
    for wrong, message in (
        ({"head": "softmax"}, "head must be"),
        ({"c": 100.0}, r"must lie in \[0.05, 20.0\]; got 100.0"),
        ({"rescale_slope": 1.0}, "slope must be at least 2.65"),
        ({"lift_scale": -1.0}, "scale must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            build(name, **wrong)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        build(name, curvatur=1.0)


@pytest.mark.parametrize("name", [n for n in NAMES if is_hyperbolic(n)])
def test_twin_is_a_model_and_takes_the_shared_arguments(name: str) -> None:
    twin = get_model_class(twin_of(name))
    assert not is_hyperbolic(twin_of(name))
    theirs = set(inspect.signature(twin).parameters)
    assert set(SMALL.get(name, {})) <= theirs


def test_learns(name: str) -> None:
    """One class oscillates at one channel, the other at another."""
    drops = [p for p in inspect.signature(get_model_class(name)).parameters if "drop" in p]
    model = build(name, n_outputs=2, **dict.fromkeys(drops, 0.0)).train()
    y = torch.arange(16) % 2
    x = trials(16)
    wave = 3 * torch.sin(torch.arange(200) * 0.6)
    x[torch.arange(16), y] += wave
    optimizer = RiemannianAdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.35
