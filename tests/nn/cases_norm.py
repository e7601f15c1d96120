"""Contract cases: normalisation, attention, heads, manifold change, with ambient oracles."""

from __future__ import annotations

import math

import torch
from contract import LayerCase, randomise
from torch import Tensor, nn
from torch.nn import functional as F

from hypeeg.geometry import Lorentz
from hypeeg.nn.attention import LorentzMultiheadAttention
from hypeeg.nn.batchnorm import LorentzBatchNorm1d, LorentzBatchNorm2d
from hypeeg.nn.domain import LorentzDomainBatchNorm
from hypeeg.nn.heads import LorentzMLR, LorentzPrototypes
from hypeeg.nn.layernorm import LorentzLayerNorm, LorentzRMSNorm
from hypeeg.nn.swap import ManifoldChange

# Textbook formulas in ambient coordinates, time first; float64 carries their cancellation.


def ambient(x: Tensor, c: float) -> Tensor:
    return torch.cat([torch.sqrt(1 / c + (x**2).sum(-1, keepdim=True)), x], -1)


def form(x: Tensor, y: Tensor) -> Tensor:
    return (x[..., 1:] * y[..., 1:]).sum(-1, keepdim=True) - x[..., :1] * y[..., :1]


def mean_point(x: Tensor, c: float, w: Tensor | None = None) -> Tensor:
    """Centroid over the second last dimension, weights (..., N)."""
    s = x.sum(-2) if w is None else (w.unsqueeze(-1) * x).sum(-2)
    return s / torch.sqrt(-c * form(s, s))


def logarithm(x: Tensor, y: Tensor, c: float) -> Tensor:
    u = y + c * form(x, y) * x
    length = torch.sqrt(form(u, u).clamp_min(1e-300))
    return u / length * torch.acosh((-c * form(x, y)).clamp_min(1)) / c**0.5


def transport(x: Tensor, y: Tensor, v: Tensor, c: float) -> Tensor:
    return v + c * form(y, v) / (1 - c * form(x, y)) * (x + y)


def exponential(x: Tensor, u: Tensor, c: float) -> Tensor:
    length = torch.sqrt(c * form(u, u).clamp_min(1e-300))
    return torch.cosh(length) * x + torch.sinh(length) / length * u


def normalise(layer: nn.Module, x: Tensor, c: float, mean=None, sigma=None) -> Tensor:
    """Batch normalisation of points (N, n)."""
    points = ambient(x, c)
    mu = mean_point(points, c) if mean is None else ambient(mean, c)
    u = logarithm(mu, points, c)
    if sigma is None:
        sigma = torch.sqrt(form(u, u)).mean()
    weight = 1.0 if layer.weight is None else layer.weight
    u = weight * u / (sigma + layer.eps)
    beta = ambient(torch.zeros_like(x[0]) if layer.bias is None else layer.bias, c)
    return exponential(beta, transport(mu, beta, u, c), c)[..., 1:]


def batch_norm(layer: nn.Module, x: Tensor, c: float) -> Tensor:
    flat = x.movedim(1, -1)
    return normalise(layer, flat.reshape(-1, x.shape[1]), c).view(flat.shape).movedim(-1, 1)


def batch_norm_eval(layer: nn.Module, x: Tensor, c: float) -> Tensor:
    z = layer.running_mean
    length = z.norm()
    mean = torch.sinh(c**0.5 * length) / (c**0.5 * length) * z
    flat = x.movedim(1, -1)
    y = normalise(layer, flat.reshape(-1, x.shape[1]), c, mean, layer.running_dispersion)
    return y.view(flat.shape).movedim(-1, 1)


def domain_batch_norm(layer: nn.Module, x: Tensor, c: float, domain: Tensor) -> Tensor:
    y = torch.empty_like(x)
    for d in domain.unique():
        y[domain == d] = batch_norm(layer, x[domain == d], c)
    return y


def flat_batch_norm(layer: nn.Module, x: Tensor) -> Tensor:
    points = x.movedim(1, -1)
    centred = points - points.reshape(-1, x.shape[1]).mean(0)
    sigma = centred.norm(dim=-1).mean()
    y = layer.weight * centred / (sigma + layer.eps) + layer.bias
    return y.movedim(-1, 1)


def with_statistics(module: nn.Module) -> None:
    """Off the initial values, with running statistics that are those of no batch."""
    randomise(module, unit=1 / math.sqrt(module.manifold.curvature.value))
    n = module.num_features
    generator = torch.Generator().manual_seed(4)
    root = math.sqrt(module.manifold.curvature.value)
    module.running_mean.copy_(torch.randn(n, generator=generator) / root / n**0.5)
    module.running_dispersion.fill_(0.8 / root)


def linear(layer: nn.Module, x: Tensor, c: float) -> Tensor:
    """Hyperplane layer: each coordinate the sinh of a signed distance (method, section 5)."""
    length = layer.weight.norm(dim=-1)
    t = c**0.5 * layer.bias / length
    x_t = torch.sqrt(1 / c + (x**2).sum(-1, keepdim=True))
    return (x @ layer.weight.T) * torch.cosh(t) + x_t * length * torch.sinh(t)


def attend(layer: nn.Module, x: Tensor, c: float, *inputs: Tensor) -> Tensor:
    """Attention head by head and pair by pair; further inputs are key and value."""
    k_in = inputs[0] if inputs else x
    v_in = inputs[1] if len(inputs) > 1 else k_in
    q, k, v = linear(layer.query, x, c), linear(layer.key, k_in, c), linear(layer.value, v_in, c)
    d = layer.head_dim
    heads = []
    for h in range(layer.num_heads):
        part = slice(h * d, (h + 1) * d)
        qs, ks, vs = (ambient(t[..., part], c) for t in (q, k, v))
        s = layer.log_scale[h].exp()
        if layer.kind == "full":
            squared = -2 / c - 2 * form(qs.unsqueeze(-2), ks.unsqueeze(-3)).squeeze(-1)
            w = torch.softmax(-s * squared, dim=-1)
        else:
            w = focused(s * qs[..., 1:]) @ focused(s * ks[..., 1:]).mT
        heads.append(mean_point(vs.unsqueeze(-3), c, w)[..., 1:])
    return linear(layer.out, torch.cat(heads, -1), c)


def focused(x: Tensor) -> Tensor:
    f = torch.exp(torch.asinh(x))
    return f**2 * f.norm(dim=-1, keepdim=True) / (f**2).norm(dim=-1, keepdim=True)


def flat_attend(layer: nn.Module, x: Tensor) -> Tensor:
    def split(t: Tensor) -> Tensor:
        return t.unflatten(-1, (layer.num_heads, -1)).transpose(-2, -3)

    q, k, v = (
        split(F.linear(x, part.weight, part.bias)) for part in (layer.query, layer.key, layer.value)
    )
    scale = layer.log_scale.exp()[:, None, None]
    if layer.kind == "full":
        w = torch.softmax(-scale * torch.cdist(q, k) ** 2, dim=-1)
    else:
        w = focused(scale * q) @ focused(scale * k).mT
        w = w / w.sum(-1, keepdim=True)
    y = (w @ v).transpose(-2, -3).flatten(-2)
    return F.linear(y, layer.out.weight, layer.out.bias)


def mlr(layer: nn.Module, x: Tensor, c: float) -> Tensor:
    """Signed distances, found by boosting each hyperplane to the origin."""
    root = c**0.5
    x_t = torch.sqrt(1 / c + (x**2).sum(-1))
    columns = []
    for z, a in zip(layer.weight, layer.bias):
        boosted = torch.cosh(root * a) * (x @ (z / z.norm())) - torch.sinh(root * a) * x_t
        columns.append(layer.temperature * z.norm() * torch.asinh(root * boosted) / root)
    return torch.stack(columns, -1)


def prototypes(layer: nn.Module, x: Tensor, c: float) -> Tensor:
    p, x = ambient(layer.prototypes, c), ambient(x, c)
    return (2 / c + 2 * form(x.unsqueeze(-2), p).squeeze(-1)) / layer.temperature


def change(layer: nn.Module, x: Tensor, c: float) -> Tensor:
    other = layer.target.curvature.value
    length = x.norm(dim=-1, keepdim=True)
    r = torch.asinh(c**0.5 * length) / c**0.5
    return torch.sinh(other**0.5 * r) / other**0.5 * x / length


class Change(ManifoldChange):
    """To a manifold of a curvature three times that of the source."""

    def __init__(self, manifold: Lorentz) -> None:
        c = manifold.curvature
        target = Lorentz(3 * c.value, manifold.learnable, bounds=(1e-10, 100.0))
        super().__init__(manifold, target, slope=None)

    @property
    def manifold(self) -> Lorentz:
        return self.source


CURVATURE = ("curvature.log_c",)  # not used where the layer acts on the space part alone
BATCH = {"oracle": batch_norm, "flat": flat_batch_norm}


CASES = [
    LayerCase(
        "batch-norm-1d", lambda m: LorentzBatchNorm1d(5, manifold=m), (12, 5), axis=1, **BATCH
    ),
    LayerCase(
        "batch-norm-1d-length",
        lambda m: LorentzBatchNorm1d(5, manifold=m),
        (4, 5, 6),
        axis=1,
        **BATCH,
    ),
    LayerCase(
        "batch-norm-2d", lambda m: LorentzBatchNorm2d(4, manifold=m), (3, 4, 5, 2), axis=1, **BATCH
    ),
    LayerCase(
        "batch-norm-plain",
        lambda m: LorentzBatchNorm1d(5, affine=False, manifold=m),
        (12, 5),
        axis=1,
        oracle=batch_norm,
        rotation=True,
    ),
    LayerCase(
        "batch-norm-2d-eval",
        lambda m: LorentzBatchNorm2d(4, manifold=m),
        (3, 4, 5, 2),
        axis=1,
        oracle=batch_norm_eval,
        train=False,
        prepare=with_statistics,
    ),
    LayerCase(
        "domain-batch-norm",
        lambda m: LorentzDomainBatchNorm(5, 3, manifold=m),
        (8, 5, 3),
        axis=1,
        oracle=domain_batch_norm,
        inputs=lambda m: (torch.tensor([0, 2, 2, 0, 0, 2, 2, 0]),),
        export=False,  # refuses to evaluate domains it has not seen
    ),
    LayerCase(
        "domain-batch-norm-2d",
        lambda m: LorentzDomainBatchNorm(3, 2, manifold=m, unseen="batch"),
        (5, 3, 2, 2),
        axis=1,
        oracle=domain_batch_norm,
        inputs=lambda m: (torch.tensor([0, 1, 1, 0, 1]),),
    ),
    LayerCase(
        "layer-norm",
        lambda m: LorentzLayerNorm(6, manifold=m),
        (5, 6),
        oracle=lambda layer, x, c: (
            (x - x.mean(-1, keepdim=True))
            / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + layer.eps)
            * layer.weight
            + layer.bias
        ),
        unreached=CURVATURE,
    ),
    LayerCase(
        "rms-norm",
        lambda m: LorentzRMSNorm(6, manifold=m),
        (5, 6),
        oracle=lambda layer, x, c: (
            x / torch.sqrt((x**2).mean(-1, keepdim=True) + layer.eps) * layer.weight
        ),
        unreached=CURVATURE,
    ),
    LayerCase(
        "attention-full",
        lambda m: LorentzMultiheadAttention(6, 2, manifold=m),
        (2, 5, 6),
        oracle=attend,
        flat=flat_attend,
        prepare=lambda layer: randomise(layer, unit=1 / math.sqrt(layer.manifold.curvature.value)),
    ),
    LayerCase(
        "attention-linear",
        lambda m: LorentzMultiheadAttention(6, 3, manifold=m, kind="linear"),
        (2, 5, 6),
        oracle=attend,
        flat=flat_attend,
    ),
    LayerCase(
        "mlr",
        lambda m: LorentzMLR(5, 3, manifold=m, temperature=2.0),
        (6, 5),
        output="logits",
        oracle=mlr,
        flat=lambda layer, x: (
            2.0 * F.linear(x, layer.weight, -layer.bias * layer.weight.norm(dim=-1))
        ),
    ),
    LayerCase(
        "prototypes",
        lambda m: LorentzPrototypes(5, 3, manifold=m, temperature=2.0),
        (6, 5),
        output="logits",
        oracle=prototypes,
        flat=lambda layer, x: -(torch.cdist(x, layer.prototypes) ** 2) / 2.0,
    ),
    LayerCase("manifold-change", Change, (6, 5), oracle=change, rotation=True),
]
