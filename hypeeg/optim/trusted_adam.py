"""The steps of curvatures that learn apart from the weights: Adam in ``log c``, kept short."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from hypeeg.geometry import CurvatureParameter
from hypeeg.optim.groups import value_of

Bounds = tuple[float, float]
Moments = dict[Tensor, tuple[Tensor, Tensor]]


def trusted_adam(
    curvatures: list[CurvatureParameter],
    grads: list[Tensor],
    moments: Moments,
    step: int,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    trust: float,
    bounds: Bounds,
) -> dict[int, Tensor]:
    """Return where a step of Adam, at most ``trust`` long, takes curvatures.

    Parameters
    ----------
    curvatures : list of CurvatureParameter
        Curvatures, not altered.
    grads : list of Tensor
        Derivatives in their ``log c``.
    moments : dict
        Moments of Adam by curvature; updated.
    step : int
        Number of the step, from 1.
    lr : float
        Learning rate of ``log c``.
    betas : tuple of float
        Decay rates of the moments.
    eps : float
        Added to the root of the second moment.
    trust : float
        Longest step in ``log c``.
    bounds : tuple of float
        Smallest and largest ``c``, within those of a curvature itself.

    Returns
    -------
    dict of int to Tensor
        New values of ``log c`` by the ``id`` of the curvature.
    """
    beta1, beta2 = betas
    moved: dict[int, Tensor] = {}
    for log_c, grad in zip(curvatures, grads, strict=True):
        g = grad.to(log_c)
        m, v = moments.setdefault(log_c, (torch.zeros_like(g), torch.zeros_like(g)))
        m.lerp_(g, 1 - beta1)
        v.lerp_(g.square(), 1 - beta2)
        root = (v / (1 - beta2**step)).sqrt_() + eps
        change = (lr * m / (1 - beta1**step) / root).clamp_(-trust, trust)
        low, high = common_bounds(log_c, bounds)
        moved[id(log_c)] = (log_c.detach() - change).clamp_(math.log(low), math.log(high))
    return moved


def common_bounds(log_c: CurvatureParameter, bounds: Bounds) -> Bounds:
    """Return what bounds have in common with those of a curvature.

    Raises
    ------
    ValueError
        If that is nothing.
    """
    low, high = max(bounds[0], log_c.bounds[0]), min(bounds[1], log_c.bounds[1])
    if low >= high:
        raise ValueError(
            f"bounds {bounds} and those of a curvature, {log_c.bounds}, have nothing in "
            "common; widen one of them"
        )
    return low, high


def check_learned(curvatures: Iterable[CurvatureParameter], bounds: Bounds) -> None:
    """Raise a ValueError unless there are curvatures, within their bounds and those given."""
    curvatures = list(curvatures)
    if not curvatures:
        raise ValueError(
            "no parameter of the optimizer has a learnable curvature; build the manifold with "
            "learnable=True"
        )
    for log_c in curvatures:
        low, high = common_bounds(log_c, bounds)
        c = float(value_of(log_c))
        if not low <= c <= high:
            raise ValueError(
                f"a curvature is {c:g}, outside its bounds [{low:g}, {high:g}]; give bounds "
                "that contain it"
            )
