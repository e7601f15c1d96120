"""Hyperbolic heads on networks of braindecode and torchvision."""

from __future__ import annotations

import copy
import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hypeeg.geometry import Lorentz, ManifoldParameter
from hypeeg.nn import HyperbolicConvHead, HyperbolicHead, LorentzMLR, hyperbolize

BRAINDECODE = {
    "ATCNet": {},
    "AttentionBaseNet": {},
    "CTNet": {},
    "Deep4Net": {},
    "EEGConformer": {},
    "EEGITNet": {},
    "EEGInceptionERP": {},
    "EEGNeX": {},
    "EEGNet": {},
    "EEGSimpleConv": {},
    "EEGTCNet": {},
    "FBCNet": {},
    "SCCNet": {},
    "ShallowFBCSPNet": {},
    "SleepStagerChambon2018": {},
    "TIDNet": {},
    "TSception": {},
    "USleep": {},
}


def flat() -> Lorentz:
    return Lorentz(1e-10, bounds=(1e-12, 1.0))


def check(model: nn.Module, x: torch.Tensor) -> None:
    """With copied weights the flat limit is the network itself; both heads train."""
    model = model.double().eval()
    x = x.double()
    expected = model(x)
    twin = hyperbolize(copy.deepcopy(model), manifold=flat(), copy_weights=True)
    torch.testing.assert_close(twin(x), expected, rtol=1e-6, atol=1e-6)
    curved = hyperbolize(copy.deepcopy(model).float(), head="prototypes", embedding_dim=4, c=2.0)
    y = curved(x.float())
    assert y.shape == expected.shape
    assert y.dtype == torch.float32
    y.square().sum().backward()
    points = [p for p in curved.parameters() if isinstance(p, ManifoldParameter)]
    assert points
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in points)


@pytest.mark.parametrize("name", sorted(BRAINDECODE))
def test_braindecode(name: str) -> None:
    import braindecode.models

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build = getattr(braindecode.models, name)
        model = build(n_chans=4, n_outputs=3, n_times=512, sfreq=128.0, **BRAINDECODE[name])
        check(model, torch.randn(2, 4, 512))


class Transformer(nn.Module):
    """The head of torchvision's ViT, at the length of a test."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(12, 8)
        self.heads = nn.Sequential()
        self.heads.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.heads(self.body(x.flatten(1)[:, :12]))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "vit-like"])
def test_torchvision(name: str) -> None:
    torch.manual_seed(0)
    if name == "vit-like":
        check(Transformer(), torch.randn(2, 3, 4, 4))
        return
    models = pytest.importorskip("torchvision.models")
    check(getattr(models, name)(num_classes=3), torch.randn(2, 3, 64, 64))


def test_max_norm_constraints_go_over() -> None:
    from braindecode.modules import LinearWithConstraint, MaxNormLinear

    for layer in (LinearWithConstraint(6, 3, max_norm=0.1), MaxNormLinear(6, 3, max_norm_val=0.1)):
        nn.init.normal_(layer.parametrizations.weight.original)
        model = nn.Sequential(nn.Tanh(), layer)
        kept = hyperbolize(copy.deepcopy(model), copy_weights=True, manifold=flat())[-1]
        torch.testing.assert_close(kept.classifier.weight, layer.weight)
        x = torch.randn(5, 6)
        torch.testing.assert_close(kept(x), layer(x), rtol=1e-4, atol=1e-5)
        fresh = hyperbolize(copy.deepcopy(model))[-1]
        with torch.no_grad():
            fresh.classifier.parametrizations.weight.original.mul_(100)
        axis = 1 if isinstance(layer, LinearWithConstraint) else 0
        assert (fresh.classifier.weight.norm(dim=axis) <= 0.1 * (1 + 1e-4)).all()


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(3, 4, (2, 3), stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
        nn.Conv2d(3, 4, 3, padding="same", bias=False),
        nn.Conv1d(3, 4, 5, stride=2, padding=2),
        nn.Conv2d(3, 4, 1),
    ],
    ids=["dilated", "same", "conv1d", "pointwise"],
)
def test_convolutions_become_heads_at_every_position(conv: nn.Module) -> None:
    x = torch.randn(2, 3, *((9, 8) if isinstance(conv, nn.Conv2d) else (11,)))
    head = HyperbolicConvHead(conv, 4, manifold=flat()).double()
    head.copy_linear_(conv.weight.flatten(1), conv.bias)
    torch.testing.assert_close(head(x.double()).float(), conv(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("c", [0.05, 1.0, 20.0])
def test_head_lifts_rescales_and_classifies(c: float) -> None:
    m = Lorentz(c)
    head = HyperbolicHead(5, 3, manifold=m, scale=0.7, slope=2.8).double()
    f = torch.randn(6, 5, dtype=torch.float64) * 3
    r = 0.7 * f.norm(dim=-1, keepdim=True)
    cap = 0.9 * math.acosh(5e7) / math.sqrt(c)
    r = cap * torch.tanh(r * math.atanh(0.99) / (2.8 * cap))
    expected = torch.sinh(math.sqrt(c) * r) / math.sqrt(c) * F.normalize(f, dim=-1)
    torch.testing.assert_close(head.points(f), expected)
    torch.testing.assert_close(head(f), head.classifier(expected))
    far = HyperbolicHead(5, 3, manifold=m)(1e6 * torch.randn(4, 5))
    assert torch.isfinite(far).all()
    origin = torch.zeros(2, 5, requires_grad=True)
    HyperbolicHead(5, 3, manifold=m)(origin).sum().backward()
    assert torch.isfinite(origin.grad).all()
    assert origin.grad.any()


def test_head_compiles_exports_and_runs_under_autocast() -> None:
    head = HyperbolicHead(5, 3, manifold=Lorentz(learnable=True), embedding_dim=4)
    x = torch.randn(6, 5)
    expected = head(x)
    compiled = torch.compile(copy.deepcopy(head), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), expected)
    torch.testing.assert_close(torch.export.export(head, (x,)).module()(x), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = head(x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, expected, rtol=0.05, atol=0.05)


def test_options() -> None:
    m = Lorentz(0.5)
    base = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    model = hyperbolize(copy.deepcopy(base), manifold=m, n_outputs=7)
    assert model[-1].manifold is m
    assert model(torch.randn(2, 4)).shape == (2, 7)
    fixed = hyperbolize(copy.deepcopy(base), c=3.0, learnable_curvature=False)
    assert not fixed[-1].manifold.learnable
    assert fixed[-1].manifold.curvature.value == pytest.approx(3.0)
    named = hyperbolize(copy.deepcopy(base), layer="0")
    assert isinstance(named[0], HyperbolicHead)
    assert isinstance(named[2], nn.Linear)
    alone = hyperbolize(nn.Linear(4, 2).eval())
    assert isinstance(alone, HyperbolicHead)
    assert isinstance(alone.classifier, LorentzMLR)
    assert not alone.training


class Odd(nn.Module):
    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.n_outputs = 3


def zero_rows() -> nn.Module:
    layer = nn.Linear(4, 3)
    nn.init.zeros_(layer.weight)
    return layer


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hyperbolize(Odd(top=nn.Linear(2, 3))), "Odd has no layer with weights named"),
        (lambda: hyperbolize(Odd(fc=nn.Identity())), "Odd has no layer with weights named"),
        (lambda: hyperbolize(Odd(fc=nn.LSTM(2, 3))), "fc ends in LSTM"),
        (lambda: hyperbolize(Odd(fc=nn.MultiheadAttention(4, 2))), "fc ends in MultiheadAttention"),
        (
            lambda: hyperbolize(Odd(fc=nn.Linear(2, 5))),
            "5 outputs, but the network has n_outputs=3",
        ),
        (lambda: hyperbolize(Odd(fc=nn.LazyLinear(3))), "run the network once"),
        (lambda: hyperbolize(Odd(fc=nn.Conv3d(2, 3, 1))), "only nn.Linear, nn.Conv1d"),
        (lambda: hyperbolize(Odd(fc=nn.ConvTranspose2d(2, 3, 1))), "only nn.Linear, nn.Conv1d"),
        (lambda: hyperbolize(Odd(fc=nn.Conv2d(3, 3, 1, groups=3))), "groups=3"),
        (lambda: hyperbolize(nn.Linear(2, 2), layer="body.top"), "layer='body.top'"),
        (lambda: hyperbolize(nn.Linear(2, 2), head="softmax"), "head must be one of"),
        (lambda: hyperbolize(zero_rows(), copy_weights=True), "nonzero weights"),
        (lambda: hyperbolize(nn.Linear(2, 2), copy_weights=True, n_outputs=3), "copy_weights=True"),
        (lambda: hyperbolize(nn.Linear(2, 2), scale=0.0), "scale must be positive"),
        (lambda: hyperbolize(nn.Linear(2, 2), slope=1.0), "slope must be at least 2.65"),
        (lambda: hyperbolize(nn.Linear(2, 2), embedding_dim=0), "embedding_dim must be positive"),
    ],
)
def test_what_cannot_be_replaced_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
