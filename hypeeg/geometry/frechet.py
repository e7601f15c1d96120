r"""The Fréchet mean on the Lorentz model, differentiable in points, weights and curvature.

The mean minimises :math:`F(\mu) = \tfrac12\sum_i w_i\, d(x_i, \mu)^2`. Squared distance is a
concave function of :math:`\cosh\sqrt c d`, so the Lorentz centroid with the weights
:math:`w_i \rho_i / \sinh\rho_i` never increases F [1]_; near the mean Newton's step converges
quadratically. Each iteration takes the better of the two.

References
----------
.. [1] The argument of Weiszfeld's algorithm: the tangent of a concave function lies above it.
   For another iteration with the same aim see A. Lou et al.: Differentiating through the Fréchet
   Mean, ICML 2020.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hypeeg.geometry import lorentz
from hypeeg.geometry.numerics import (
    as_curvature,
    broadcast_shape,
    hypot1,
    lorentz_chord,
    prepare,
)
from hypeeg.geometry.series import asinh, asinhc


def frechet_mean(
    x: Tensor, c: Tensor | float, w: Tensor | None = None, *, iterations: int = 16
) -> Tensor:
    """Weighted Fréchet mean over the second last dimension.

    Parameters
    ----------
    x : Tensor, shape (..., N, n)
        Space parts.
    c : Tensor or float
        Curvature magnitude, 0-dimensional.
    w : Tensor, shape (..., N), optional
        Non-negative weights of any scale, not all zero. Equal weights by default.
    iterations : int, default 16
        Number of iterations, the same for all inputs: nothing waits for the device. 16 reach the
        precision of the dtype for points within radius ``8/sqrt(c)`` of each other.

    Returns
    -------
    Tensor, shape (..., n)
        Space part of the mean.

    Raises
    ------
    ValueError
        If ``iterations`` is not positive.

    Notes
    -----
    The derivative is that of the implicit function: the iterations are not recorded, and one
    Newton step from the solution, with its matrix held fixed, is. It needs the memory of one
    iteration, and is right for first derivatives only.
    """
    if iterations < 1:
        raise ValueError(f"iterations must be a positive number; got {iterations}")
    (x,) = prepare(x)
    c = as_curvature(c, x)
    if w is None:
        weights = torch.full_like(x[..., 0], 1 / x.shape[-2])
    else:
        weights = prepare(w)[0].to(x.dtype)
        weights = weights / weights.sum(-1, keepdim=True)
    with torch.autocast(x.device.type, enabled=False):
        mean = _iterate(x.detach(), c.detach(), weights.detach(), iterations)
        step, _ = _newton_step(mean, x, c, weights)
        return lorentz.expmap(mean, step, c)


@torch.library.custom_op("hypeeg::frechet_mean", mutates_args=())
def _iterate(x: Tensor, c: Tensor, w: Tensor, iterations: int) -> Tensor:
    # One operation to compilers, which would otherwise unroll thousands; it has no derivative.
    mean = lorentz.centroid(x, c, w)
    for _ in range(iterations):
        mean = _improve(mean, x, c, w)
    return mean


@_iterate.register_fake
def _shape(x: Tensor, c: Tensor, w: Tensor, iterations: int) -> Tensor:
    return x.new_empty(broadcast_shape(x.shape[:-2], w.shape[:-1]) + x.shape[-1:])


def _map(
    info: Any, in_dims: tuple[int | None, ...], x: Tensor, c: Tensor, w: Tensor, iterations: int
) -> tuple[Tensor, int]:
    x_dim, c_dim, w_dim, _ = in_dims
    x = x.unsqueeze(0) if x_dim is None else x.movedim(x_dim, 0)
    w = w.unsqueeze(0) if w_dim is None else w.movedim(w_dim, 0)
    # leading dimensions broadcast from the right: fill in those that one of them lacks
    lead = max(x.dim() - 1, w.dim())
    x = x.reshape(x.shape[:1] + (1,) * (lead - x.dim() + 1) + x.shape[1:])
    w = w.reshape(w.shape[:1] + (1,) * (lead - w.dim()) + w.shape[1:])
    if c_dim is None:
        return _iterate(x, c, w, iterations).expand(info.batch_size, *[-1] * (lead - 1)), 0
    x, w = (t.expand(info.batch_size, *t.shape[1:]) for t in (x, w))
    each = zip(x, c.movedim(c_dim, 0), w, strict=True)
    return torch.stack([_iterate(*arguments, iterations) for arguments in each]), 0


_iterate.register_vmap(_map)


def _objective(mean: Tensor, x: Tensor, c: Tensor, w: Tensor) -> Tensor:
    return (w * lorentz.dist(x, mean.unsqueeze(-2), c) ** 2).sum(-1)


def _improve(mean: Tensor, x: Tensor, c: Tensor, w: Tensor) -> Tensor:
    step, concave_weights = _newton_step(mean, x, c, w)
    newton = lorentz.expmap(mean, step, c)
    majorised = lorentz.centroid(x, c, concave_weights)
    better = _objective(newton, x, c, w) <= _objective(majorised, x, c, w)
    return torch.where(better.unsqueeze(-1), newton, majorised)


def _newton_step(mean: Tensor, x: Tensor, c: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Return Newton's step as a tangent at ``mean``, and the weights of the majorising centroid.

    The Hessian of ``d^2 / 2`` is 1 along the geodesic and ``rho coth(rho)`` across it; it is held
    fixed in derivatives.
    """
    base = mean.unsqueeze(-2)
    # Vectors carried to the origin: an orthonormal frame.
    logs = lorentz.transp0back(base, lorentz.logmap(base, x, c), c)
    half = lorentz_chord(base, x, c) / 2
    shrink = asinhc(half) / hypot1(half)  # rho / sinh(rho)
    with torch.no_grad():
        still = logs.detach()
        square = (still * still).sum(-1, keepdim=True)
        rho = 2 * asinh(half.detach())
        tanh = half.detach() * hypot1(half.detach()) / (hypot1(half.detach()) ** 2 - 0.5)
        across = torch.where(rho > 0, rho / torch.where(rho > 0, tanh, 1.0), 1.0)
        heavy = w.detach().unsqueeze(-1)
        unit = still / torch.sqrt(torch.where(square > 0, square, 1.0))
        outer = (unit * (heavy * (1 - across))).mT @ unit
        eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
        hessian = (heavy * across).sum(-2, keepdim=True) * eye + outer
    gradient = (w.unsqueeze(-1) * logs).sum(-2, keepdim=True)
    step = torch.linalg.solve(hessian, gradient.mT).mT.squeeze(-2)
    return lorentz.transp0(mean, step, c), w * shrink.detach().squeeze(-1)
