"""A small bi-level problem in plain ambient formulas, solved to machine precision.

Points ``exp_o(1.5 tanh(X W))`` are compared with prototypes by squared Lorentz distance; the
lower level is the cross entropy of all data plus decay of ``W`` and of the prototypes' distances
to the origin, the upper level the loss of a part of the data at perturbed weights. Nothing of the
package is used: points are ``(n + 1)``-vectors, derivatives autograd's, optima Newton's.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

DECAY = 0.4


def minkowski(u: Tensor, v: Tensor) -> Tensor:
    return (u[..., 1:] * v[..., 1:]).sum(-1) - u[..., 0] * v[..., 0]


def at_origin(z: Tensor, c: Tensor) -> Tensor:
    """Exponential map at the origin, ambient."""
    r = z.norm(dim=-1, keepdim=True)
    s = torch.sinh(c.sqrt() * r) / (c.sqrt() * r) * z
    return torch.cat([torch.cosh(c.sqrt() * r) / c.sqrt(), s], -1)


def problem(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(30) % 3
    centres = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    x = centres[y] + 0.8 * torch.randn(30, 3, generator=generator, dtype=torch.float64)
    return x, y


def loss(w: Tensor, prototypes: Tensor, c: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Cross entropy; ``prototypes`` are ambient points."""
    points = at_origin(1.5 * torch.tanh(x @ w), c)
    distances = -2 / c - 2 * minkowski(points[:, None], prototypes)
    return F.cross_entropy(-distances, y)


class Bilevel:
    """The problem; ``c`` enters as ``log c``, what is held fixed is chosen by the move."""

    def __init__(self, seed: int = 0, part: int = 10, rho: float = 0.05) -> None:
        self.x, self.y = problem(seed)
        self.part, self.rho = part, rho

    def unpack(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        return theta[:6].view(3, 2), theta[6:].view(3, 2)

    def lower(self, theta: Tensor, log_c: Tensor) -> Tensor:
        w, z = self.unpack(theta)
        decay = DECAY / 2 * theta.square().sum()  # |z| is the distance of a prototype to the origin
        c = log_c.exp()
        return loss(w, at_origin(z, c), c, self.x, self.y) + decay

    def solve(self, log_c: float, start: Tensor | None = None) -> Tensor:
        """Minimise the lower level."""
        fixed = torch.tensor(log_c, dtype=torch.float64)
        generator = torch.Generator().manual_seed(1)
        theta = torch.randn(12, generator=generator, dtype=torch.float64) * 0.3
        theta = theta if start is None else start.clone()
        if start is None:
            theta.requires_grad_()
            search = torch.optim.LBFGS([theta], max_iter=500, line_search_fn="strong_wolfe")

            def closure() -> Tensor:
                search.zero_grad()
                value = self.lower(theta, fixed)
                value.backward()
                return value

            search.step(closure)
            theta = theta.detach()
        for _ in range(8):
            theta.requires_grad_()
            (g,) = torch.autograd.grad(self.lower(theta, fixed), theta)
            theta = theta.detach()
            hessian = torch.autograd.functional.hessian(lambda t: self.lower(t, fixed), theta)
            theta = theta - torch.linalg.solve(hessian, g)
        assert g.abs().max() < 1e-13
        hessian = torch.autograd.functional.hessian(lambda t: self.lower(t, fixed), theta)
        assert torch.linalg.eigvalsh(hessian)[0] > 0
        return theta

    def upper(self, theta: Tensor, log_c: float, objective: str) -> float:
        """Loss of the part at perturbed weights (minus that at the weights, for "ssm")."""
        c = torch.tensor(log_c, dtype=torch.float64).exp()
        w, z = self.unpack(theta)
        x, y = self.x[: self.part], self.y[: self.part]
        w, p = w.clone().requires_grad_(), at_origin(z, c).requires_grad_()
        before = loss(w, p, c, x, y)
        g, e = torch.autograd.grad(before, (w, p))
        e = torch.cat([-e[:, :1], e[:, 1:]], -1)
        r = e + c * minkowski(p, e)[:, None] * p
        lengths = minkowski(r, r)
        step = self.rho / (g.square().sum() + lengths.sum()).sqrt()
        t = (c * lengths).sqrt()[:, None] * step
        moved = torch.cosh(t) * p + torch.sinh(t) / t * step * r
        after = loss(w + step * g, moved, c, x, y)
        return (after - before if objective == "ssm" else after).item()

    def total_derivative(self, log_c: float, objective: str, h: float = 1e-4) -> float:
        """Central difference, in ``log c``, of the upper level at re-solved optima."""
        theta = self.solve(log_c)
        values = [self.upper(self.solve(log_c + d, theta), log_c + d, objective) for d in (h, -h)]
        return (values[0] - values[1]) / (2 * h)
