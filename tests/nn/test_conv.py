"""What the contract does not ask of convolutions and of the written-out derivatives."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from contract import randomise, sample_points
from torch import nn
from torch.nn import functional as F

from hypeeg.geometry import Lorentz
from hypeeg.nn.conv import LorentzConv1d, LorentzConv2d
from hypeeg.nn.hyperplane import hyperplane_coefficients, hyperplane_linear
from hypeeg.nn.linear import LorentzLinear
from hypeeg.nn.pointwise import point_norm
from hypeeg.nn.transposed import LorentzConvTranspose1d, LorentzConvTranspose2d


def make(cls: type, *args, c: float = 0.8, **options) -> nn.Module:
    torch.manual_seed(0)
    layer = cls(*args, manifold=Lorentz(c, learnable=True), **options).double()
    randomise(layer)
    return layer


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: make(LorentzLinear, 3, 4), (2, 3)),
        (lambda: make(LorentzConv2d, 2, 4, 2, 1, 1, groups=2), (2, 2, 3, 3)),
        (lambda: make(LorentzConvTranspose1d, 2, 3, 3, 2), (2, 2, 3)),
    ],
    ids=["linear", "conv2d", "transposed"],
)
def test_second_derivatives_match_finite_differences(layer, shape: tuple[int, ...]) -> None:
    layer = layer()
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    parameters = list(layer.parameters())

    def forward(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        return layer(x)

    assert torch.autograd.gradgradcheck(forward, (x, *parameters), atol=1e-5, fast_mode=True)


def test_jacobians_by_vmap_equal_those_row_by_row() -> None:
    layer = make(LorentzLinear, 3, 4)
    x = torch.randn(5, 3, dtype=torch.float64)
    expected = torch.autograd.functional.jacobian(layer, x)
    torch.testing.assert_close(torch.func.jacrev(layer)(x), expected)
    conv = make(LorentzConv1d, 2, 3, 2)
    x = torch.randn(2, 2, 4, dtype=torch.float64)
    expected = torch.autograd.functional.jacobian(conv, x)
    torch.testing.assert_close(torch.func.jacrev(conv)(x), expected)
    batches = torch.randn(3, 2, 2, 4, dtype=torch.float64)
    torch.testing.assert_close(
        torch.func.vmap(conv)(batches), torch.stack([conv(b) for b in batches])
    )


@pytest.mark.parametrize("kernel", [3, 4])
@pytest.mark.parametrize("dilation", [1, 3])
def test_padding_same_keeps_the_size_and_pads_with_the_origin(kernel: int, dilation: int) -> None:
    layer = make(LorentzConv2d, 3, 4, kernel, padding="same", dilation=dilation)
    x = torch.randn(2, 3, 9, 10, dtype=torch.float64)
    y = layer(x)
    assert y.shape == (2, 4, 9, 10)
    total = dilation * (kernel - 1)
    valid = make(LorentzConv2d, 3, 4, kernel, padding="valid", dilation=dilation)
    valid.load_state_dict(layer.state_dict())
    padded = F.pad(x, [total // 2, total - total // 2] * 2)
    torch.testing.assert_close(y, valid(padded))


def test_kernel_of_one_is_the_linear_layer_at_each_pixel() -> None:
    conv, linear = make(LorentzConv2d, 3, 4, 1), make(LorentzLinear, 3, 4)
    with torch.no_grad():
        linear.weight.copy_(conv.weight.flatten(1))
        linear.bias.copy_(conv.bias)
    x = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(conv(x), linear(x.movedim(1, -1)).movedim(-1, 1))


def test_transposed_convolution_without_offsets_is_the_adjoint() -> None:
    conv = make(LorentzConv2d, 3, 4, 3, 2, 1, bias=False)
    back = make(LorentzConvTranspose2d, 4, 3, 3, 2, 1, bias=False)
    with torch.no_grad():
        back.weight.copy_(conv.weight)
    x = torch.randn(2, 3, 7, 7, dtype=torch.float64)
    y = torch.randn(2, 4, 4, 4, dtype=torch.float64)
    torch.testing.assert_close((conv(x) * y).sum(), (x * back(y)).sum())


@pytest.mark.parametrize("cls", [LorentzConvTranspose1d, LorentzConvTranspose2d])
def test_groups_of_a_transposed_convolution_are_convolutions_of_their_own(cls: type) -> None:
    layer = make(cls, 4, 6, 3, 2, 1, groups=2)
    shape = (2, 4, 5) if cls is LorentzConvTranspose1d else (2, 4, 5, 4)
    x = torch.randn(shape, dtype=torch.float64)
    parts = []
    for g in (0, 1):
        part = make(cls, 2, 3, 3, 2, 1)
        with torch.no_grad():
            part.weight.copy_(layer.weight[2 * g : 2 * g + 2])
            part.bias.copy_(layer.bias[3 * g : 3 * g + 3])
        parts.append(part(x[:, 2 * g : 2 * g + 2]))
    torch.testing.assert_close(layer(x), torch.cat(parts, 1))


@pytest.mark.parametrize("c", [0.05, 1.0, 20.0])
def test_float32_is_right_where_squares_would_overflow(c: float) -> None:
    m = Lorentz(c)
    layer = LorentzConv1d(3, 2, 3, padding=1, manifold=m)
    randomise(layer, unit=1 / math.sqrt(c))
    x = sample_points(m, (2, 3, 5), 1, radius=60.0, exact=True, dtype=torch.float32)
    assert x.abs().max() > 1e24
    y = layer(x)
    expected = copy.deepcopy(layer).double()(x.double())
    assert torch.isfinite(y).all()
    torch.testing.assert_close(
        y.double(), expected, rtol=1e-4, atol=1e-5 * float(expected.detach().abs().max())
    )
    linear = LorentzLinear(3, 2, manifold=m)
    randomise(linear, unit=1 / math.sqrt(c))
    y, points = linear(x.movedim(1, -1)), x.movedim(1, -1)
    expected = copy.deepcopy(linear).double()(points.double())
    torch.testing.assert_close(
        y.double(), expected, rtol=1e-4, atol=1e-5 * float(expected.detach().abs().max())
    )


def test_memory_format_of_the_input_changes_nothing() -> None:
    layer = LorentzConv2d(8, 6, 3, 2, 1, groups=2, manifold=Lorentz(0.6, learnable=True))
    randomise(layer)
    x = torch.randn(3, 8, 9, 9)
    results = []
    for form in (torch.contiguous_format, torch.channels_last):
        leaf = x.clone(memory_format=form).requires_grad_()
        layer.zero_grad()
        y = layer(leaf)
        (y**2).sum().backward()
        results.append([y, leaf.grad, *(p.grad.clone() for p in layer.parameters())])
    for a, b in zip(*results):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_directions_of_length_zero_without_offset_give_zero() -> None:
    for layer in (make(LorentzLinear, 3, 4), make(LorentzConv2d, 3, 4, 1)):
        with torch.no_grad():
            layer.weight.zero_()
            layer.bias.zero_()
        x = torch.randn(2, 3, 3, 3, dtype=torch.float64, requires_grad=True)
        y = layer(x)
        y.sum().backward()
        assert (y == 0).all()
        assert torch.isfinite(x.grad).all()
        assert all(torch.isfinite(p.grad).all() for p in (layer.weight, layer.bias))


def test_written_out_derivative_allocates_no_second_copy_of_the_data() -> None:
    saved: list[int] = []
    layer = LorentzConv2d(16, 16, 3, padding=1, manifold=Lorentz())
    x = torch.randn(4, 16, 16, 16, requires_grad=True)

    def pack(t: torch.Tensor) -> torch.Tensor:
        saved.append(t.numel())
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        layer(x)
    assert sum(n >= x.numel() for n in saved) == 1  # the input itself


def test_coefficients_are_those_of_the_formula() -> None:
    w, a, c = torch.randn(3, 4).double(), torch.randn(3).double(), torch.tensor(0.7).double()
    scaled, offset = hyperplane_coefficients(w, a, c)
    t = math.sqrt(0.7) * a / w.norm(dim=1)
    torch.testing.assert_close(scaled, torch.cosh(t)[:, None] * w)
    torch.testing.assert_close(offset, torch.sinh(t) * w.norm(dim=1))
    x = torch.randn(2, 5, 4).double()
    time = torch.sqrt(1 / c + (x**2).sum(-1, keepdim=True))
    torch.testing.assert_close(hyperplane_linear(x, w, a, c), x @ scaled.T + time * offset)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_norm_over_any_dimension(dim: int) -> None:
    x = torch.randn(4, 5, 6)
    torch.testing.assert_close(point_norm(x, dim), x.norm(dim=dim, keepdim=True))
    huge = point_norm(x * 1e30, dim)
    torch.testing.assert_close(huge, x.norm(dim=dim, keepdim=True) * 1e30)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: LorentzConv2d(3, 4, 3, manifold=m, kind="nope"), "kind must be one of"),
        (lambda m: LorentzConv2d(3, 4, 3, groups=2, manifold=m), "in_channels must be a multiple"),
        (lambda m: LorentzConv2d(4, 3, 3, groups=2, manifold=m), "out_channels must be a mult"),
        (lambda m: LorentzConv2d(4, 3, 3, padding="full", manifold=m), "padding must be a number"),
        (lambda m: LorentzConv2d(4, 3, 3, 2, "same", manifold=m), "'same' needs stride 1"),
        (lambda m: LorentzConvTranspose1d(4, 3, 3, padding="same", manifold=m), "must be a number"),
        (lambda m: LorentzConv2d(4, 3, 3, manifold=m)(torch.randn(4, 8, 8)), r"\(N, C, H, W\)"),
        (lambda m: LorentzConv1d(4, 3, 3, manifold=m)(torch.randn(4, 8)), r"\(N, C, L\)"),
    ],
)
def test_bad_arguments_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(Lorentz())
