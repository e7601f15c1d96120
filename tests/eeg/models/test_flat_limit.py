"""Each hyperbolic model becomes its Euclidean twin as the curvature vanishes, weights shared."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hypeeg.eeg.models.registry import get_model_class, twin_of
from hypeeg.nn import LorentzLinear

FLAT = 1e-12


def pair(name: str, n_times: int = 200, **options: Any) -> tuple[nn.Module, nn.Module]:
    """Return a model of no curvature and its twin, float64, in evaluation mode."""
    shape = {"n_chans": 4, "n_outputs": 3, "n_times": n_times}
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        twin = get_model_class(twin_of(name))(**shape, **options).double().eval()
        ours = get_model_class(name)(**shape, **options).double().eval()
    for part in [*twin.modules(), *ours.modules()]:
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2.0)
    sizes = {key: value.shape for key, value in ours.state_dict().items()}
    shared = {k: v for k, v in twin.state_dict().items() if sizes.get(k, v.shape) == v.shape}
    _, unexpected = ours.load_state_dict(shared, strict=False)
    curvature = ours.manifold.curvature
    curvature.bounds = (FLAT, 20.0)
    with torch.no_grad():
        curvature.log_c.fill_(math.log(FLAT))
        for part in ours.modules():
            if isinstance(part, LorentzLinear) and part not in attention_layers(ours):
                part.weight.copy_(torch.eye(part.in_features))
    ours.unexpected = unexpected  # keys of the twin alone
    return ours, twin


def attention_layers(model: nn.Module) -> set[nn.Module]:
    inside = [m for n, m in model.named_modules() if n.split(".")[-1] == "attention"]
    return {layer for part in inside for layer in part.modules()}


def trials(n_times: int = 200) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(5, 4, n_times, generator=generator, dtype=torch.float64)


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    assert expected.std() > 1e-4
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["HyperbolicShallowFBCSPNet", "HyperbolicDeep4Net"])
def test_convolutional_networks(name: str) -> None:
    n_times = 200 if "Shallow" in name else 450
    ours, twin = pair(name, n_times)
    assert all(key.startswith("final_layer") for key in ours.unexpected)
    kernel = twin.final_layer.conv_classifier.weight.detach()
    with torch.no_grad():
        twin.final_layer.conv_classifier.bias.zero_()
        ours.final_layer.weight.copy_(kernel.squeeze(3).transpose(1, 2).flatten(1))
    assert_close(ours(trials(n_times)), twin(trials(n_times)))


@pytest.mark.parametrize("name", ["HyperbolicShallowFBCSPNet", "HyperbolicDeep4Net"])
def test_convolutional_networks_start_from_their_twins_classifier(name: str) -> None:
    shape = {"n_chans": 4, "n_outputs": 3, "n_times": 450}
    torch.manual_seed(0)
    twin = get_model_class(twin_of(name))(**shape)
    torch.manual_seed(0)
    ours = get_model_class(name)(**shape)
    kernel = twin.final_layer.conv_classifier.weight
    ordered = ours.final_layer.weight.view(3, kernel.shape[2], kernel.shape[1]).transpose(1, 2)
    torch.testing.assert_close(ordered, kernel.squeeze(3))


@pytest.mark.parametrize(
    "name", ["HyperbolicEEGTCNet", "Hyperbolic(EEGNeX)", "Hyperbolic(EEGNet)", "Hyperbolic(ATCNet)"]
)
def test_heads(name: str) -> None:
    ours, twin = pair(name, 320)
    assert all(key.startswith("final_layer") for key in ours.unexpected)
    theirs = [m for m in twin.final_layer.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    heads = [m for m in ours.final_layer.modules() if hasattr(m, "copy_linear_")]
    assert len(theirs) == len(heads) >= 1
    for old, head in zip(theirs, heads):
        with torch.no_grad():
            if hasattr(old, "parametrizations"):  # a max-norm
                original = old.parametrizations.weight.original.flatten(1)
                head.classifier.parametrizations.weight.original.copy_(original)
                norm = old.weight.flatten(1).norm(dim=1)
                head.classifier.bias.copy_(-old.bias * head.shrink / norm)
            else:
                head.copy_linear_(old.weight.flatten(1), old.bias)
    assert_close(ours(trials(320)), twin(trials(320)))


class Distances(nn.Module):
    """braindecode's attention with squared distances for inner products."""

    def __init__(self, old: nn.Module) -> None:
        super().__init__()
        self.old = old

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        old = self.old
        q, k, v = (old.rearrange_stack(f(x)) for f in (old.queries, old.keys, old.values))
        scores = -torch.cdist(q, k).square() / (2 * math.sqrt(old.head_dim))
        return old.projection(old.rearrange_unstack(scores.softmax(-1) @ v))


@pytest.mark.parametrize("lorentz_attention", [True, False])
def test_conformer(lorentz_attention: bool) -> None:
    from braindecode.modules import MultiHeadAttention

    torch.manual_seed(0)
    shape = {"n_chans": 4, "n_outputs": 3, "n_times": 200, "num_layers": 2, "num_heads": 5}
    twin = get_model_class("EEGConformer")(**shape)
    torch.manual_seed(0)
    cls = get_model_class("HyperbolicEEGConformer")
    ours = cls(**shape, lorentz_attention=lorentz_attention)
    weights = {
        k: v
        for k, v in twin.state_dict().items()
        if k in ours.state_dict() and not k.startswith("final_layer")
    }
    for module in (twin, ours):
        module.double().eval()
    ours.load_state_dict(weights, strict=False)
    curvature = ours.manifold.curvature
    curvature.bounds = (FLAT, 20.0)
    with torch.no_grad():
        curvature.log_c.fill_(math.log(FLAT))
    ours.final_layer.copy_linear_(twin.final_layer.weight, twin.final_layer.bias)
    expected = twin(trials())
    if lorentz_attention:
        # The weights of attention came over when the model was built.
        for name, part in list(twin.named_modules()):
            if isinstance(part, MultiHeadAttention):
                parent, _, attribute = name.rpartition(".")
                setattr(twin.get_submodule(parent), attribute, Distances(part))
        assert not torch.allclose(twin(trials()), expected, rtol=1e-4)
        expected = twin(trials())
    assert_close(ours(trials()), expected)


def test_covariance_net() -> None:
    ours, twin = pair("LorentzCovarianceNet", n_filters=5, embedding_dim=8)
    lift = ours.rescale.shrink
    with torch.no_grad():
        for name in ("query", "key", "value", "out"):
            nn.init.normal_(getattr(twin.attention, name).bias, 0, 0.1)
            getattr(ours.attention, name).weight.copy_(getattr(twin.attention, name).weight)
            getattr(ours.attention, name).bias.copy_(getattr(twin.attention, name).bias * lift)
        nn.init.normal_(twin.attention.log_scale)
        ours.attention.log_scale.copy_(twin.attention.log_scale - 2 * math.log(lift))
        weight, bias = twin.final_layer.weight, twin.final_layer.bias
        ours.final_layer.weight.copy_(weight)
        ours.final_layer.bias.copy_(-bias / ours.final_layer.temperature / weight.norm(dim=1))
    assert_close(ours(trials()), twin(trials()))
    dot = get_model_class("CovarianceAttentionNet")
    torch.manual_seed(0)
    shape = {"n_chans": 4, "n_outputs": 3, "n_times": 200, "n_filters": 5, "embedding_dim": 8}
    other = dot(**shape, scores="dot").double().eval()
    other.load_state_dict(twin.state_dict())
    assert not torch.allclose(other(trials()), twin(trials()), rtol=1e-4)


class MeanDistanceNorm(nn.Module):
    """The flat limit of Lorentz batch normalisation, then that of rescaling."""

    def __init__(self, mean: torch.Tensor, dispersion: torch.Tensor, weight: torch.Tensor) -> None:
        super().__init__()
        self.mean, self.dispersion, self.weight = mean, dispersion, weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        centred = x - self.mean.view(1, -1, 1, 1)
        return self.weight * centred / (self.dispersion + 1e-3) * math.atanh(0.99) / 3


def test_lorentz_eegnet() -> None:
    """EEGNet itself, but for batch normalisation."""
    ours, twin = pair("LorentzEEGNet", n_times=160)
    assert all(k.startswith(("final_layer", "bnorm")) for k in ours.unexpected)
    for name in ("temporal", "1", "2"):
        norm = getattr(ours, f"bnorm_{name}")
        norm.running_mean.normal_(0, 0.1)
        norm.running_dispersion.fill_(0.7)
        nn.init.constant_(norm.weight, 1.3)
        flat = MeanDistanceNorm(norm.running_mean, norm.running_dispersion, norm.weight)
        setattr(twin, f"bnorm_{name}", flat)
    names = ("conv_temporal", "conv_spatial", "conv_separable_depth", "conv_separable_point")
    kernel = twin.final_layer.conv_classifier.weight.detach()  # (classes, features, 1, steps)
    with torch.no_grad():
        ours.final_layer.weight.copy_(kernel.flatten(1))
        twin.final_layer.conv_classifier.bias.zero_()
        for name in names:
            bias = nn.init.normal_(getattr(ours, name).bias, 0, 0.1)
            getattr(twin, name).register_forward_hook(
                lambda _m, _i, y, bias=bias: y + bias.view(1, -1, 1, 1)
            )
    lift = math.atanh(0.99) / 3
    assert_close(ours(trials(160)), twin(lift * trials(160)) / ours.shrink)


def test_log_euclidean_vectors_match_scipy() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    encoder = get_model_class("LorentzCovarianceNet")(
        n_chans=4, n_outputs=2, n_times=200, n_filters=3, n_windows=2, embedding_dim=4
    ).encoder.double()
    encoder.eval()
    seen: list[torch.Tensor] = []
    encoder.bnorm_tangent.register_forward_pre_hook(lambda _m, args: seen.append(args[0].detach()))
    signals: list[torch.Tensor] = []
    encoder.bnorm_temporal.register_forward_hook(lambda _m, _i, y: signals.append(y.detach()))
    encoder(trials())
    for trial in range(5):
        for window in range(2):
            part = signals[0][trial, :, 100 * window : 100 * (window + 1)].detach()
            matrix = torch.cov(part, correction=0)
            shrunk = 0.95 * matrix + (0.05 * matrix.trace() / 3 + 1e-6) * torch.eye(3).double()
            log = torch.as_tensor(linalg.logm(shrunk.numpy()))
            row, column = torch.triu_indices(3, 3)
            root = torch.where(row == column, 1.0, math.sqrt(2.0))
            torch.testing.assert_close(
                seen[0][2 * trial + window], log[row, column] * root, rtol=1e-11, atol=1e-11
            )


def test_logm_derivative_at_equal_and_near_eigenvalues() -> None:
    from hypeeg.eeg.models.logm import logm

    generator = torch.Generator().manual_seed(0)
    q, _ = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64))
    cases = (
        [1, 1, 1, 1],
        [1, 1.018, 1, 1.018],
        [2, 2, 3, 5],
        [1, 1 + 1e-9, 1.02, 7],
        [1e-3, 0.1, 1, 40],
    )
    for values in cases:
        matrix = (q * torch.tensor(values, dtype=torch.float64)) @ q.mT
        matrix = ((matrix + matrix.mT) / 2).requires_grad_()
        weight = torch.randn(4, 4, generator=generator, dtype=torch.float64)
        direction = torch.randn(4, 4, generator=generator, dtype=torch.float64)
        direction = (direction + direction.mT) * min(values) * 0.05
        (gradient,) = torch.autograd.grad((logm(matrix) * weight).sum(), matrix)
        differences = []
        for h in (5e-3, 1e-2):
            up, down = (logm(matrix.detach() + step * direction) for step in (h, -h))
            differences.append(((up - down) * weight).sum() / (2 * h))
        expected = (4 * differences[0] - differences[1]) / 3  # Richardson's extrapolation
        torch.testing.assert_close((gradient * direction).sum(), expected, rtol=1e-6, atol=1e-10)


def test_softmax_scores_of_the_twins_attention() -> None:
    """The attention of CovarianceAttentionNet, written out."""
    model = get_model_class("CovarianceAttentionNet")(
        n_chans=4, n_outputs=2, n_times=100, n_filters=4, embedding_dim=6, num_heads=2
    ).double()
    x = torch.randn(3, 5, 6, dtype=torch.float64)
    part = model.attention
    outputs = []
    for head in range(2):
        cut = slice(3 * head, 3 * head + 3)
        q, k, v = (getattr(part, n)(x)[..., cut] for n in ("query", "key", "value"))
        scores = -part.log_scale.exp()[head] * torch.cdist(q, k).square()
        outputs.append(F.softmax(scores, -1) @ v)
    torch.testing.assert_close(part(x), part.out(torch.cat(outputs, -1)))
