"""Riemannian SGD, Adam and AdamW in ambient float64 coordinates, as in the papers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hypeeg.geometry import Lorentz, LorentzTangent, PoincareBall

CHARTS = {"lorentz": Lorentz, "ball": PoincareBall, "tangent": LorentzTangent}


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


def to_space(p: Tensor, c: float, chart: str) -> Tensor:
    """Space parts of coordinates, differentiable, in float64."""
    p = p.double()
    if chart == "ball":
        return 2 * p / (1 - c * p.square().sum(-1, keepdim=True))
    if chart == "tangent":
        r = math.sqrt(c) * p.norm(dim=-1, keepdim=True)
        return p * torch.sinh(r) / r
    return p * 1.0


def from_space(x: Tensor, c: float, chart: str) -> Tensor:
    sinh = math.sqrt(c) * x.norm(dim=-1, keepdim=True)
    if chart == "ball":
        return x / (1 + (1 + sinh.square()).sqrt())
    return x * torch.asinh(sinh) / sinh if chart == "tangent" else x.clone()


class AmbientOptimizer:
    """One table of points, stepped by the rule of a name in ``test_contract.OPTIMIZERS``."""

    def __init__(
        self, x, c, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=None,
        momentum=0.0, dampening=0.0, nesterov=False, amsgrad=False, *, rule,
    ):  # fmt: skip
        if weight_decay is None:
            weight_decay = 1e-2 if rule.startswith("adamw") else 0.0
        self.c, self.rule, self.lr, self.betas, self.eps = c, rule, lr, betas, eps
        self.weight_decay, self.momentum, self.dampening = weight_decay, momentum, dampening
        self.nesterov, self.amsgrad = nesterov, amsgrad
        self.x = lift(x.detach().double().clone(), c)
        self.m = torch.zeros_like(self.x)
        self.v = torch.zeros_like(self.x[..., :1])
        self.largest = self.v.clone()
        self.t = 0

    @property
    def origin(self) -> Tensor:
        o = torch.zeros_like(self.x)
        o[..., 0] = self.c**-0.5
        return o

    def covector(self, at_origin: Tensor) -> Tensor:
        """Gradient in the space parts whose Riemannian gradient transports to ``at_origin``."""
        u = torch.cat([torch.zeros_like(self.v), at_origin], -1)
        v = transport(self.origin, self.x, u, self.c)
        # <g, w_s> = <v, w>_L for every tangent w, whose time is <x_s, w_s> / x_t
        return v[..., 1:] - v[..., :1] / self.x[..., :1] * self.x[..., 1:]

    def gradient(self, g: Tensor) -> Tensor:
        ambient = torch.cat([torch.zeros_like(self.v), g.double()], -1)
        return ambient + self.c * minkowski(self.x, ambient) * self.x

    def log_of_origin(self) -> Tensor:
        """The vector at the points that leads to the origin."""
        o, c = self.origin, self.c
        v = o + c * minkowski(o, self.x) * self.x
        sinh = math.sqrt(c) * self.x[..., 1:].norm(dim=-1, keepdim=True)
        return v * torch.asinh(sinh) / sinh

    def step(self, g: Tensor) -> None:
        self.t += 1
        c, gradient = self.c, self.gradient(g)
        if self.rule.startswith("adamw"):
            a = self.lr * self.weight_decay
            mean = (1 - a) * self.x + a * self.origin
            decayed = mean / (c**0.5 * minkowski(mean, mean).abs().sqrt())
            gradient = transport(self.x, decayed, gradient, c)
            self.m = transport(self.x, decayed, self.m, c)
            self.x = decayed
        else:
            gradient = gradient - self.weight_decay * self.log_of_origin()
        if self.rule in ("sgd", "momentum", "nesterov"):
            take = 1.0 if self.t == 1 else 1 - self.dampening
            self.m = self.momentum * self.m + take * gradient
            direction = gradient + self.momentum * self.m if self.nesterov else self.m
        else:
            beta1, beta2 = self.betas
            self.m = beta1 * self.m + (1 - beta1) * gradient
            self.v = beta2 * self.v + (1 - beta2) * minkowski(gradient, gradient)
            self.largest = torch.maximum(self.largest, self.v)
            v = self.largest if self.amsgrad else self.v
            direction = self.m / (1 - beta1**self.t)
            direction = direction / ((v / (1 - beta2**self.t)).sqrt() + self.eps)
        new = exponential(self.x, -self.lr * direction, c)
        self.m = transport(self.x, new, self.m, c)
        self.x = lift(new[..., 1:], c)

    def moment_at_origin(self) -> Tensor:
        return transport(self.x, self.origin, self.m, self.c)[..., 1:]

    def move_curvature(self, c_new: float, move: str, chart: str = "lorentz") -> None:
        c, x = self.c, self.x[..., 1:]
        at_origin = transport(self.x, self.origin, self.m, c)
        if move == "exp":
            norm = x.norm(dim=-1, keepdim=True)
            r = torch.asinh(c**0.5 * norm) / c**0.5
            moved = x / norm * torch.sinh(c_new**0.5 * r) / c_new**0.5
        elif move == "scale":
            moved = x * (c / c_new) ** 0.5
        else:  # one and the same coordinates mean another point
            moved = to_space(from_space(x, c, chart), c_new, chart)
        self.c, self.x = c_new, lift(moved, c_new)
        self.m = transport(self.origin, self.x, at_origin, c_new)

    def distance(self, x: Tensor) -> Tensor:
        """Distances of space parts to the points, from the chord."""
        difference = lift(x.double(), self.c) - self.x
        chord = (self.c * minkowski(difference, difference)).clamp_min(0).sqrt()
        return 2 * torch.asinh(chord / 2) / math.sqrt(self.c)
