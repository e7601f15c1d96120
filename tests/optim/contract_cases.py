"""The optimisers under contract, and points to begin from."""

from __future__ import annotations

import math

import torch
from ambient_oracle import CHARTS, from_space

from hypeeg.geometry import ManifoldParameter
from hypeeg.optim import RiemannianAdam, RiemannianAdamW, RiemannianSGD

F64 = torch.float64
CURVATURES = [0.05, 0.3, 1.0, 4.0, 20.0]

# name: our optimiser, torch's, options
OPTIMIZERS = {
    "sgd": (RiemannianSGD, torch.optim.SGD, {"lr": 0.03}),
    "momentum": (
        RiemannianSGD,
        torch.optim.SGD,
        {"lr": 0.02, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.2},
    ),
    "nesterov": (
        RiemannianSGD,
        torch.optim.SGD,
        {"lr": 0.02, "momentum": 0.8, "nesterov": True, "weight_decay": 0.2},
    ),
    "adam": (RiemannianAdam, torch.optim.Adam, {"lr": 0.03, "weight_decay": 0.2}),
    "amsgrad": (RiemannianAdam, torch.optim.Adam, {"lr": 0.03, "amsgrad": True}),
    "adamw": (RiemannianAdamW, torch.optim.AdamW, {"lr": 0.03, "weight_decay": 0.2}),
    "adamw-amsgrad": (
        RiemannianAdamW,
        torch.optim.AdamW,
        {"lr": 0.03, "amsgrad": True, "betas": (0.8, 0.9)},
    ),
}


def scalar(value):
    return torch.tensor(value, dtype=F64)


def start(c, rows=9, n=3):
    """Space parts of points from near the origin to radius 4 / sqrt(c)."""
    z = torch.nn.functional.normalize(torch.randn(rows, n, dtype=F64), dim=-1)
    r = torch.cat([torch.tensor([1e-6, 1e-3]), torch.linspace(0.1, 4, rows - 2)]).double()
    return z * torch.sinh(r)[:, None] / math.sqrt(c)


def parameter(x, c, chart, dtype=F64, learnable=False, **options):
    """A parameter at space parts ``x``."""
    manifold = CHARTS[chart](c, learnable=learnable, bounds=(1e-3, 1e3))
    return ManifoldParameter(from_space(x, c, chart).to(dtype), manifold, **options)
