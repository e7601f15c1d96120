"""The optimiser of the literature, written out in ambient coordinates, as an oracle."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor


def minkowski(u: Tensor, v: Tensor) -> Tensor:
    return (u[..., 1:] * v[..., 1:]).sum(-1, keepdim=True) - u[..., :1] * v[..., :1]


def lift(x: Tensor, c: float) -> Tensor:
    return torch.cat([(1 / c + x.square().sum(-1, keepdim=True)).sqrt(), x], -1)


def transport(x: Tensor, y: Tensor, v: Tensor, c: float) -> Tensor:
    return v + c * minkowski(y, v) / (1 - c * minkowski(x, y)) * (x + y)


def exponential(x: Tensor, u: Tensor, c: float) -> Tensor:
    t = c**0.5 * minkowski(u, u).clamp_min(0).sqrt()
    sinhc = torch.where(t > 0, torch.sinh(t) / torch.where(t > 0, t, 1.0), 1.0)
    return torch.cosh(t) * x + sinhc * u


class AmbientAdamW:
    """Riemannian AdamW with points and moments as (n + 1)-vectors, in float64.

    Every step is the formula as published: centroid with the origin, projected gradient,
    parallel transport of gradient and moment, exponential map, transport again.
    """

    def __init__(self, x, c, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        self.c, self.options = c, (lr, *betas, eps, weight_decay)
        self.x = lift(x.double(), c)
        self.m = torch.zeros_like(self.x)
        self.v = torch.zeros_like(self.x[..., :1])
        self.t = 0

    @property
    def origin(self) -> Tensor:
        o = torch.zeros_like(self.x)
        o[..., 0] = self.c**-0.5
        return o

    def step(self, g: Tensor) -> None:
        """``g`` is the gradient in the space part, time being derived from it."""
        lr, beta1, beta2, eps, weight_decay = self.options
        c, self.t = self.c, self.t + 1
        a = lr * weight_decay
        mean = (1 - a) * self.x + a * self.origin
        decayed = mean / (c**0.5 * minkowski(mean, mean).abs().sqrt())
        # as a function of the ambient coordinates that ignores time; the sign flip of g_t is idle
        ambient = torch.cat([torch.zeros_like(self.v), g.double()], -1)
        gradient = ambient + c * minkowski(self.x, ambient) * self.x
        gradient = transport(self.x, decayed, gradient, c)
        m = transport(self.x, decayed, self.m, c)
        m = beta1 * m + (1 - beta1) * gradient
        self.v = beta2 * self.v + (1 - beta2) * minkowski(gradient, gradient)
        m_hat, v_hat = m / (1 - beta1**self.t), self.v / (1 - beta2**self.t)
        new = exponential(decayed, -lr * m_hat / (v_hat.sqrt() + eps), c)
        self.m = transport(decayed, new, m, c)
        self.x = lift(new[..., 1:], c)  # rounding leaves the hyperboloid: back onto it

    def move_curvature(self, c_new: float, move: str) -> None:
        c, x = self.c, self.x[..., 1:]
        if move == "exp":
            norm = x.norm(dim=-1, keepdim=True)
            z = x / norm * torch.asinh(c**0.5 * norm) / c**0.5
            r = z.norm(dim=-1, keepdim=True)
            moved = z / r * torch.sinh(c_new**0.5 * r) / c_new**0.5
        else:
            moved = x * (c / c_new) ** 0.5
        at_origin = transport(self.x, self.origin, self.m, c)
        self.c, self.x = c_new, lift(moved, c_new)
        self.m = transport(self.origin, self.x, at_origin, c_new)


@pytest.fixture
def ambient_adamw():
    return AmbientAdamW


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
