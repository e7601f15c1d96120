"""Contract cases: linear layers, convolutions and the simple layers, with their oracles."""

from __future__ import annotations

import math

import torch
from contract import LayerCase
from torch import Tensor, nn
from torch.nn import functional as F

from hypeeg.nn.activation import LorentzActivation, LorentzDropout, LorentzReLU
from hypeeg.nn.conv import LorentzConv1d, LorentzConv2d
from hypeeg.nn.core_block import LorentzCoreBlock
from hypeeg.nn.lift import Lift, Rescale
from hypeeg.nn.linear import LorentzLinear
from hypeeg.nn.pooling import (
    LorentzAdaptiveAvgPool2d,
    LorentzAvgPool1d,
    LorentzAvgPool2d,
    LorentzGlobalAvgPool,
)
from hypeeg.nn.residual import LorentzFlatten, LorentzResidual
from hypeeg.nn.transposed import LorentzConvTranspose1d, LorentzConvTranspose2d

# ---------------------------------------------------------------- geometry, written out in float64


def ambient(x: Tensor, c: float) -> Tensor:
    return torch.cat([torch.sqrt(1 / c + (x**2).sum(-1, keepdim=True)), x], -1)


def log0(x: Tensor, c: float) -> Tensor:
    rho = torch.acosh(c**0.5 * ambient(x, c)[..., :1])
    return rho / c**0.5 * x / x.norm(dim=-1, keepdim=True)


def exp0(z: Tensor, c: float) -> Tensor:
    r = z.norm(dim=-1, keepdim=True)
    return torch.sinh(c**0.5 * r) / c**0.5 * z / r


def centroid(x: Tensor, c: float, dim: int, w: Tensor | None = None) -> Tensor:
    a = ambient(x, c)
    s = (a if w is None else a * w).sum(dim)
    norm2 = s[..., 0] ** 2 - (s[..., 1:] ** 2).sum(-1)
    return s[..., 1:] / (c * norm2).sqrt().unsqueeze(-1)


def hyperplanes(x: Tensor, weight: Tensor, bias: Tensor, c: float) -> Tensor:
    """|u| sinh(sqrt(c) d) / sqrt(c), d the signed distance to the hyperplane at -a/|u| along u.

    The hyperplane's unit normal is that of the origin carried along by a boost.
    """
    columns = []
    for u, a in zip(weight, bias):
        length = u.norm()
        t = c**0.5 * a / length
        normal = torch.cat([-torch.sinh(t)[None], torch.cosh(t) * u / length])  # space-like
        product = ambient(x, c) @ (normal * torch.tensor([-1.0] + [1.0] * len(u)).double())
        d = torch.asinh(c**0.5 * product) / c**0.5
        columns.append(length * torch.sinh(c**0.5 * d) / c**0.5)
    return torch.stack(columns, -1)


def gram_schmidt(weight: Tensor) -> Tensor:
    columns: list[Tensor] = []
    for w in weight.T:
        for q in columns:
            w = w - (q @ w) * q
        columns.append(w / w.norm())
    return torch.stack(columns, 1)


def boosted(x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor, c: float) -> Tensor:
    """Dilation of the image, then the Lorentz boost as the exponential of its generator."""
    if weight.shape[0] >= weight.shape[1]:
        weight = gram_schmidt(weight)
    y = ambient(exp0(scale * log0(x @ weight.T, c), c), c)
    generator = torch.zeros(len(bias) + 1, len(bias) + 1, dtype=torch.float64)
    generator[0, 1:] = generator[1:, 0] = c**0.5 * bias
    return (y @ torch.matrix_exp(generator).T)[..., 1:]


def linear(layer: nn.Module, x: Tensor, c: float) -> Tensor:
    if layer.kind == "hyperplane":
        return hyperplanes(x, layer.weight, layer.bias, c)
    if layer.kind == "tangent":
        return exp0(log0(x, c) @ layer.weight.T + layer.bias, c)
    if layer.kind == "boost":
        return boosted(x, layer.weight, layer.bias, layer.scale, c)
    return x @ layer.weight.T + layer.bias


def linear_flat(layer: nn.Module, x: Tensor) -> Tensor:
    if layer.kind == "boost":
        weight = gram_schmidt(layer.weight) if layer.out_features >= layer.in_features else None
        weight = layer.weight if weight is None else weight
        return layer.scale * F.linear(x, weight) + layer.bias
    return F.linear(x, layer.weight, layer.bias)


# --------------------------------------------------------------------------- convolutions


def rescaled(x: Tensor, c: float, slope: float = 3.0, cap: float | None = None) -> Tensor:
    """The formula of maximum-distance rescaling, the cap that of float32 (not reached here)."""
    z = log0(x, c)
    r = z.norm(dim=-1, keepdim=True)
    cap = cap if cap is not None else 0.9 * math.acosh(5e7) / c**0.5
    return exp0(z / r * cap * torch.tanh(r * math.atanh(0.99) / (slope * cap)), c)


def patches(layer: nn.Module, x: Tensor, two: bool) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Unfold (N, C, H, W) into concatenated patches (N, L, C k) and give one kernel row each."""
    k, s, d = layer.kernel_size, layer.stride, layer.dilation
    p, weight = layer.padding, layer.weight
    if not two:
        k, s, d, p = (1, *k), (1, *s), (1, *d), (0, *p)
    if layer.transposed:  # put origins between and around the points, flip the kernel
        n, channels, h, w = x.shape
        stuffed = x.new_zeros(n, channels, (h - 1) * s[0] + 1, (w - 1) * s[1] + 1)
        stuffed[:, :, :: s[0], :: s[1]] = x
        extra = layer.output_padding if two else (0, *layer.output_padding)
        around = [d[i] * (k[i] - 1) - p[i] for i in (0, 1)]
        x = F.pad(stuffed, (around[1], around[1] + extra[1], around[0], around[0] + extra[0]))
        weight = weight.flip(list(range(2, weight.dim()))).transpose(0, 1)
        s, p = (1, 1), (0, 0)
    size = tuple((x.shape[2 + i] + 2 * p[i] - d[i] * (k[i] - 1) - 1) // s[i] + 1 for i in (0, 1))
    unfolded = F.unfold(x, k, d, p, s).transpose(1, 2)
    return unfolded, weight.flatten(1), size


def conv(layer: nn.Module, x: Tensor, c: float) -> Tensor:
    """Unfold, concatenate, apply the linear layer's oracle to each patch; group by group."""
    two = x.dim() == 4
    x4 = x if two else x.unsqueeze(2)
    if layer.groups > 1:
        pieces = []
        width_in, width_out = x.shape[1] // layer.groups, layer.out_channels // layer.groups
        for g in range(layer.groups):
            part = slice(g * width_out, (g + 1) * width_out)
            channels = x4[:, g * width_in : (g + 1) * width_in]
            unfolded, _, size = patches(layer, channels, two)
            weight = layer.weight[part].flatten(1)
            pieces.append(hyperplanes(unfolded, weight, layer.bias[part], c))
        y = torch.cat(pieces, -1)
    else:
        unfolded, weight, size = patches(layer, x4, two)
        if layer.kind == "hyperplane":
            y = hyperplanes(unfolded, weight, layer.bias, c)
        elif layer.kind == "boost":
            y = boosted(unfolded, weight, layer.bias, layer.scale, c)
        else:
            y = unfolded @ weight.T + layer.bias
    y = rescaled(y, c) if layer.rescale else y
    y = y.transpose(1, 2).unflatten(-1, size)
    return y if two else y.squeeze(2)


def conv_flat(layer: nn.Module, x: Tensor) -> Tensor:
    name = ("conv_transpose" if layer.transposed else "conv") + f"{x.dim() - 2}d"
    if layer.transposed:
        y = F.conv_transpose2d if x.dim() == 4 else F.conv_transpose1d
        return y(
            x,
            layer.weight,
            layer.bias,
            layer.stride,
            layer.padding,
            layer.output_padding,
            layer.groups,
            layer.dilation,
        )
    return getattr(F, name)(
        x, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups
    )


def tangent_conv(layer: nn.Module, x: Tensor, c: float) -> Tensor:
    z = log0(x.movedim(1, -1), c).movedim(-1, 1)
    return exp0(conv_flat(layer, z).movedim(1, -1), c).movedim(-1, 1)


REPRESENTATIVE = ("conv2d-groups", "conv1d-boost-wide", "conv2d-tangent", "conv-transpose2d")


def conv_case(name: str, cls: type, shape: tuple[int, ...], *args, **options) -> LayerCase:
    rescales = options.get("kind") == "boost" or "rescale" in options
    return LayerCase(
        name,
        lambda m: cls(shape[1], *args, manifold=m, **options),
        shape,
        1,
        oracle=tangent_conv if options.get("kind") == "tangent" else conv,
        flat=None if rescales else conv_flat,
        # In float32 the cap of the rescaling is another.
        dtypes=(torch.float64,) if rescales else (torch.float32, torch.float64),
        # No curvature in a Euclidean convolution of space parts.
        unreached=("log_c",) if options.get("kind") == "extrinsic" else (),
        export=name in REPRESENTATIVE,
        compiles=name in REPRESENTATIVE,
    )


# --------------------------------------------------------------------------- simple layers


def last(f, x: Tensor, *args) -> Tensor:
    """Apply a function of the last dimension to axis 1."""
    return f(x.movedim(1, -1), *args).movedim(-1, 1)


def pool(layer: nn.Module, x: Tensor, c: float) -> Tensor:
    """Loop over the windows."""
    two = x.dim() == 4
    x = x if two else x.unsqueeze(2)
    k, s, p = layer.kernel_size, layer.stride, layer.padding
    k, s, p = (k, s, p) if two else ((1, *k), (1, *s), (0, *p))
    inside = F.pad(torch.ones_like(x[:, :1]), (p[1], p[1], p[0], p[0]))
    inside = torch.ones_like(inside) if layer.count_include_pad else inside
    x = F.pad(x, (p[1], p[1], p[0], p[0]))
    rows = []
    for i in range(0, x.shape[2] - k[0] + 1, s[0]):
        row = []
        for j in range(0, x.shape[3] - k[1] + 1, s[1]):
            window = (slice(None), slice(None), slice(i, i + k[0]), slice(j, j + k[1]))
            points = x[window].flatten(2).transpose(1, 2)
            row.append(centroid(points, c, -2, inside[window].flatten(2).transpose(1, 2)))
        rows.append(torch.stack(row, -1))
    y = torch.stack(rows, -2)
    return y if two else y.squeeze(2)


def adaptive_pool(layer: nn.Module, x: Tensor, c: float) -> Tensor:
    """Torch's adaptive pooling of ambient coordinates, put back onto the hyperboloid."""
    a = F.adaptive_avg_pool2d(last(ambient, x, c), layer.output_size)
    return a[:, 1:] / (c * (a[:, :1] ** 2 - (a[:, 1:] ** 2).sum(1, keepdim=True))).sqrt()


def core_flat(block: nn.Module, x: Tensor) -> Tensor:
    """The block with its core as a Euclidean convolution, lift and rescalings as factors."""
    shrink = math.atanh(0.99) / 3
    y = torch.relu(block.norm1(F.conv2d(x, block.reduce.weight)))
    y = y * block.lift.scale * shrink
    y = shrink * F.conv2d(y, block.core.weight, block.core.bias, block.core.stride, 1)
    y = block.norm3(F.conv2d(torch.relu(block.norm2(y)), block.expand.weight))
    return torch.relu(y + block.shortcut(x))


LINEAR = [
    LayerCase(
        f"linear-{kind}-{a}-{b}",
        lambda m, kind=kind, a=a, b=b: LorentzLinear(a, b, manifold=m, kind=kind),
        (6, a) if a == 5 else (2, 3, a),
        oracle=linear,
        flat=linear_flat,
        # No curvature in a Euclidean linear layer of space parts.
        unreached=("log_c",) if kind == "extrinsic" else (),
        tolerance=3e-4 if kind == "boost" else 1e-4,
        export=a == 5,
        compiles=a == 5,
    )
    for kind in ("hyperplane", "extrinsic", "boost", "tangent")
    for a, b in ((5, 4), (3, 6))
]

CONVOLUTIONS = [
    conv_case("conv2d", LorentzConv2d, (2, 3, 5, 6), 4, 3, padding=1),
    conv_case("conv2d-stride-dilation", LorentzConv2d, (2, 3, 7, 8), 4, (3, 2), (2, 1), (1, 2), 2),
    conv_case("conv2d-1x1", LorentzConv2d, (2, 3, 4, 4), 5, 1, 2),
    conv_case("conv2d-groups", LorentzConv2d, (2, 4, 5, 5), 6, 3, 1, 1, groups=2),
    conv_case("conv2d-extrinsic", LorentzConv2d, (2, 3, 4, 4), 4, 3, padding=1, kind="extrinsic"),
    conv_case("conv2d-boost", LorentzConv2d, (2, 3, 4, 4), 4, 3, padding=1, kind="boost"),
    conv_case("conv1d-boost-wide", LorentzConv1d, (2, 2, 6), 7, 3, padding=1, kind="boost"),
    conv_case("conv2d-tangent", LorentzConv2d, (2, 3, 4, 4), 4, 3, padding=1, kind="tangent"),
    conv_case("conv1d", LorentzConv1d, (2, 4, 9), 3, 5, padding=2),
    conv_case("conv1d-rescale", LorentzConv1d, (2, 4, 9), 3, 4, stride=2, rescale=True),
    conv_case(
        "conv-transpose2d", LorentzConvTranspose2d, (2, 3, 4, 3), 4, (3, 2), 2, 1, output_padding=1
    ),
    conv_case("conv-transpose1d", LorentzConvTranspose1d, (2, 3, 5), 4, 3, 2, dilation=2),
]

SIMPLE = [
    LayerCase(
        "lift",
        lambda m: Lift(m, 0.5),
        (6, 5),
        oracle=lambda layer, x, c: exp0(0.5 * x, c),
        flat=lambda layer, x: 0.5 * x,
        rotation=True,
        far=0.5,
    ),
    LayerCase(
        "lift-channels",
        lambda m: Lift(m, 0.5, axis=1),
        (2, 4, 3, 3),
        1,
        oracle=lambda layer, x, c: last(exp0, 0.5 * x, c),
        rotation=True,
        far=0.5,
    ),
    LayerCase(
        "rescale",
        lambda m: Rescale(m, 2.9, max_dist=5.0),
        (6, 5),
        oracle=lambda layer, x, c: rescaled(x, c, 2.9, 5.0),
        rotation=True,
    ),
    LayerCase(
        "rescale-channels-learnable",
        lambda m: Rescale(m, 3.2, max_dist=4.0, axis=1, learnable=True),
        (2, 4, 3, 3),
        1,
        oracle=lambda layer, x, c: last(rescaled, x, c, float(layer.slope.detach()), 4.0),
        rotation=True,
    ),
    LayerCase(
        "activation",
        lambda m: LorentzActivation(nn.Tanh(), m),
        (6, 5),
        oracle=lambda layer, x, c: torch.tanh(x),
        flat=lambda layer, x: torch.tanh(x),
        unreached=("log_c",),  # no curvature in a function of coordinates
    ),
    LayerCase(
        "relu",
        LorentzReLU,
        (2, 4, 3, 3),
        1,
        oracle=lambda layer, x, c: torch.where(x > 0, x, 0.0),
        unreached=("log_c",),
        differentiable=False,
    ),
    LayerCase(
        "dropout",
        lambda m: LorentzDropout(0.4, manifold=m),
        (6, 5),
        unreached=("log_c",),
    ),
    LayerCase(
        "dropout-channels",
        lambda m: LorentzDropout(0.4, manifold=m, axis=1),
        (3, 8, 3, 3),
        1,
        unreached=("log_c",),
    ),
    LayerCase(
        "residual",
        lambda m: LorentzResidual(m, rescale=False, weight=0.7, learnable=True),
        (6, 5),
        inputs=lambda m: (torch.sin(torch.arange(30.0)).view(6, 5),),
        oracle=lambda layer, x, c, y: x + torch.exp(layer.log_weight) * y,
        flat=lambda layer, x, y: x + torch.exp(layer.log_weight) * y,
        unreached=("log_c",),  # a plain sum
    ),
    LayerCase(
        "residual-rescaled",
        lambda m: LorentzResidual(m, axis=1),
        (2, 4, 3, 3),
        1,
        inputs=lambda m: (torch.sin(torch.arange(72.0)).view(2, 4, 3, 3),),
        flat=lambda layer, x, y: math.atanh(0.99) / 3 * (x + y),
    ),
    LayerCase(
        "residual-centroid",
        lambda m: LorentzResidual(m, "centroid", weight=0.7, axis=1),
        (2, 4, 3, 3),
        1,
        inputs=lambda m: (torch.sin(torch.arange(72.0)).view(2, 4, 3, 3),),
        oracle=lambda layer, x, c, y: last(
            lambda x, y: centroid(
                torch.stack([x, y]),
                c,
                0,
                torch.tensor([1.0, 0.7], dtype=torch.float64).view(2, 1, 1, 1, 1),
            ),
            x,
            y.movedim(1, -1),
        ),
        flat=lambda layer, x, y: (x + 0.7 * y) / 1.7,
    ),
    LayerCase(
        "pool2d",
        lambda m: LorentzAvgPool2d((2, 3), (2, 1), manifold=m),
        (2, 4, 5, 5),
        1,
        oracle=pool,
        flat=lambda layer, x: F.avg_pool2d(x, (2, 3), (2, 1)),
        rotation=True,
    ),
    LayerCase(
        "pool2d-padded",
        lambda m: LorentzAvgPool2d(3, 2, 1, False, manifold=m),
        (2, 4, 5, 5),
        1,
        export=False,
        compiles=False,
        oracle=pool,
        flat=lambda layer, x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        rotation=True,
    ),
    LayerCase(
        "pool1d-padded",
        lambda m: LorentzAvgPool1d(3, 2, 1, manifold=m),
        (2, 4, 7),
        1,
        oracle=pool,
        flat=lambda layer, x: F.avg_pool1d(x, 3, 2, 1),
        rotation=True,
    ),
    LayerCase(
        "adaptive-pool2d",
        lambda m: LorentzAdaptiveAvgPool2d((2, 3), manifold=m),
        (2, 4, 5, 7),
        1,
        oracle=adaptive_pool,
        flat=lambda layer, x: F.adaptive_avg_pool2d(x, (2, 3)),
        rotation=True,
    ),
    LayerCase(
        "global-pool",
        LorentzGlobalAvgPool,
        (2, 4, 3, 5),
        1,
        oracle=lambda layer, x, c: centroid(x.flatten(2).transpose(1, 2), c, -2),
        flat=lambda layer, x: x.mean((2, 3)),
        rotation=True,
    ),
    LayerCase(
        "flatten",
        LorentzFlatten,
        (2, 4, 3),
        1,
        oracle=lambda layer, x, c: x.reshape(2, 12),
        unreached=("log_c",),  # space parts are joined; time is not computed here
    ),
    LayerCase(
        "core-block",
        lambda m: LorentzCoreBlock(4, 3, 6, 2, manifold=m),
        (3, 4, 6, 6),
        1,
        flat=core_flat,
        euclidean=True,
    ),
]

CASES = LINEAR + CONVOLUTIONS + SIMPLE
