"""How sharp the loss is around the present weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hypeeg.optim.groups import check_number
from hypeeg.optim.hypergradient import ascent
from hypeeg.optim.passes import ExtraPasses
from hypeeg.optim.weight_space import Tangent, WeightSpace, combine


class ScopeSharpness(NamedTuple):
    """How much the loss rises within a distance of the weights.

    Attributes
    ----------
    loss : Tensor, 0-dimensional
        At the weights.
    perturbed : Tensor, 0-dimensional
        Largest loss found within ``rho`` of them.
    sharpness : Tensor, 0-dimensional
        Their difference.
    """

    loss: Tensor
    perturbed: Tensor
    sharpness: Tensor


@torch.no_grad()
def scope_sharpness(
    params: nn.Module | Iterable[Tensor],
    closure: Callable[[], Any],
    rho: float = 0.05,
    *,
    ascent_steps: int = 1,
) -> ScopeSharpness:
    r"""Measure the sharpness of a model at its present weights and curvatures.

    .. math:: \max_{|\epsilon| \le \rho} L(w + \epsilon, c) - L(w, c)

    where the perturbation moves Euclidean weights by vectors, points on manifolds along geodesics,
    and curvatures not at all; its length is joint and does not depend on the chart. The maximum is
    sought by steps along the gradient: one step is the perturbation of sharpness-aware
    minimisation.

    Parameters
    ----------
    params : Module or iterable of Tensor
        Weights to perturb: a model, or its parameters. Those without ``requires_grad`` are held.
    closure : callable
        Clears gradients, evaluates the loss (of a batch, or of a whole data set), calls
        ``backward`` and returns the loss. It runs ``ascent_steps + 1`` times, always with the same
        random numbers.
    rho : float, default 0.05
        Length of the perturbation.
    ascent_steps : int, default 1
        Steps, each of length ``rho / ascent_steps`` in the coordinates of the geodesics from the
        weights.

    Returns
    -------
    ScopeSharpness
        Losses on the device of the closure's; nothing waits for it. Weights, gradients, buffers
        and random generators are afterwards as they were before, bit by bit.

    Raises
    ------
    ValueError
        If ``rho`` is negative, ``ascent_steps`` is less than 1, or there is nothing to perturb.

    References
    ----------
    .. [1] Curvature Learning for Generalization of Hyperbolic Neural Networks, arXiv 2508.17232.
    """
    check_number("rho", rho, remedy="The default is 0.05.")
    if ascent_steps < 1:
        raise ValueError(f"ascent_steps must be at least 1; got {ascent_steps}")
    module = params if isinstance(params, nn.Module) else None
    tensors = list(params.parameters() if isinstance(params, nn.Module) else params)
    space = WeightSpace(tensors)
    if not space.params:
        raise ValueError("params holds nothing to perturb; give weights that require a gradient")
    with space.anchored(), ExtraPasses(tensors, module) as passes:
        loss = best = torch.as_tensor(passes.run(closure)).detach()
        step: Tangent = [None] * len(space.params)
        for _ in range(ascent_steps):
            further, _ = ascent(space.read().step, rho / ascent_steps)
            step = combine(step, further, 1.0)
            space.displace_(step)
            best = torch.maximum(best, torch.as_tensor(passes.run(closure)).detach())
    return ScopeSharpness(loss, best, best - loss)
