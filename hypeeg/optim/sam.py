r"""Sharpness-aware minimisation, of Euclidean weights and of weights on hyperbolic space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hypeeg.geometry import ManifoldParameter, lorentz
from hypeeg.optim.groups import check_number
from hypeeg.optim.hypergradient import ascent
from hypeeg.optim.passes import ExtraPasses, RandomState
from hypeeg.optim.weight_space import WeightSpace, wide
from hypeeg.optim.wrapping import WrappingOptimizer, evaluate


class RiemannianSAM(WrappingOptimizer):
    r"""Sharpness-aware minimisation for models whose parameters partly live on hyperbolic space.

    Every step takes two passes over the batch. The first gives the gradient, along which the
    weights go up by ``rho``: with the **joint** norm ``N`` of all Riemannian gradients, Euclidean
    weights by ``rho g / N``, points on a manifold to :math:`\exp_p(\rho\,\mathrm{grad}/N)`. The
    second gives the gradient there, which is transported back along the same geodesics; the
    weights are put back bit by bit, and the wrapped optimiser steps with that gradient.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        What takes the steps, such as :class:`~hypeeg.optim.RiemannianAdamW`.
    rho : float, default 0.05
        Length of the perturbation.
    module : Module, optional
        The model, whose buffers the second pass is to leave alone. Without it they are found by a
        hook on all modules, because of which a compiled model is compiled once more.

    Raises
    ------
    TypeError
        If ``optimizer`` is no optimiser.
    ValueError
        If ``rho`` is negative.

    Notes
    -----
    The second pass replays the random numbers of the first (dropout) and leaves buffers such as
    batch-norm statistics as the first left them. Curvatures are not perturbed; their gradient is
    that of the second pass.

    References
    ----------
    .. [1] P. Foret et al.: Sharpness-Aware Minimization for Efficiently Improving Generalization,
       ICLR 2021.
    .. [2] J. Yun, E. Yang: Riemannian SAM: Sharpness-Aware Minimization on Riemannian Manifolds,
       NeurIPS 2023.

    Examples
    --------
    >>> import torch
    >>> from hypeeg.geometry import Lorentz, ManifoldParameter
    >>> from hypeeg.optim import RiemannianAdamW
    >>> m = Lorentz(c=1.0)
    >>> points = ManifoldParameter(torch.full((3, 2), 0.5), manifold=m)
    >>> optimizer = RiemannianSAM(RiemannianAdamW([points], lr=0.1))
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = m.dist0(points).sum()
    ...     loss.backward()
    ...     return loss
    >>> loss = optimizer.step(closure)
    """

    def __init__(
        self, optimizer: Optimizer, rho: float = 0.05, *, module: nn.Module | None = None
    ) -> None:
        super().__init__(optimizer)
        check_number("rho", rho, remedy="The default is 0.05.")
        self.rho, self.module = float(rho), module

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        Parameters
        ----------
        closure : callable
            Clears gradients, evaluates the loss of one batch, calls ``backward`` and returns the
            loss. It runs twice.

        Returns
        -------
        object
            What the closure returned at the weights (not at the perturbed ones).

        Raises
        ------
        TypeError
            If there is no closure.
        """
        closure = self._checked(closure)
        params = self.parameters()
        random = RandomState.now(dict.fromkeys(p.device for p in params))
        loss = evaluate(closure)
        space = WeightSpace(params)
        with space.anchored():
            step, _ = ascent(space.read().step, self.rho)
            with ExtraPasses(params, self.module) as passes:
                space.displace_(step)
                passes.run(closure, random)
                gradients = self._brought_back(space, params)
        for p, gradient in gradients:
            p.grad = gradient
        self.optimizer.step()
        return loss

    def _brought_back(
        self, space: WeightSpace, params: list[Tensor]
    ) -> list[tuple[Tensor, Tensor | None]]:
        """Return the gradients of all parameters, those on manifolds at the base point."""
        found: dict[int, Tensor | None] = {id(p): p.grad for p in params}
        for p, base in zip(space.params, space.base, strict=True):
            if isinstance(p, ManifoldParameter) and p.grad is not None:
                found[id(p)] = _transported(p, base)
        return [(p, found[id(p)]) for p in params]


class SAM(RiemannianSAM):
    """Sharpness-aware minimisation for Euclidean weights.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        What takes the steps, such as ``torch.optim.SGD``.
    rho : float, default 0.05
        Length of the perturbation, in the joint norm of all weights.
    module : Module, optional
        As in :class:`RiemannianSAM`.

    Raises
    ------
    TypeError
        If ``optimizer`` is no optimiser.
    ValueError
        If ``rho`` is negative, or a parameter lives on a manifold.

    References
    ----------
    .. [1] P. Foret et al.: Sharpness-Aware Minimization for Efficiently Improving Generalization,
       ICLR 2021.

    Examples
    --------
    >>> import torch
    >>> layer = torch.nn.Linear(2, 1)
    >>> optimizer = SAM(torch.optim.SGD(layer.parameters(), lr=0.1))
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = layer(torch.ones(3, 2)).square().mean()
    ...     loss.backward()
    ...     return loss
    >>> loss = optimizer.step(closure)
    """

    def __init__(
        self, optimizer: Optimizer, rho: float = 0.05, *, module: nn.Module | None = None
    ) -> None:
        super().__init__(optimizer, rho, module=module)
        self._check_euclidean()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group to the wrapped optimiser."""
        super().add_param_group(param_group)
        self._check_euclidean()

    def _check_euclidean(self) -> None:
        for p in self.parameters():
            if isinstance(p, ManifoldParameter):
                raise ValueError(
                    f"a parameter of shape {tuple(p.shape)} lives on a manifold, where SAM's step "
                    "has no meaning; use RiemannianSAM"
                )


def _transported(p: ManifoldParameter, base: Tensor) -> Tensor:
    """Return the gradient that ``p`` has where it is, transported to ``base``, for its chart.

    The result is such that its Riemannian gradient at ``base`` is the transported one.
    """
    chart, dtype = p.manifold, wide(p.device)
    c = chart.c.detach().to(device=p.device, dtype=dtype)
    grad = p.grad
    assert grad is not None
    if grad.is_sparse:
        grad = grad.to_dense()
    x = chart.to_lorentz(p.detach().to(dtype)).detach()
    v = lorentz.egrad2rgrad(x, chart.gradient_to_lorentz(p.detach().to(dtype), grad.to(dtype)), c)
    with torch.enable_grad():
        origin = base.detach().to(dtype).requires_grad_()
        x0 = chart.to_lorentz(origin)
        v = lorentz.transp(x, x0.detach(), v.detach(), c)
        # The metric turns a tangent vector into a gradient: in space parts, v - x <x, v> / x_t^2.
        along = (x0 * v).sum(-1, keepdim=True) / (1 / c + x0.square().sum(-1, keepdim=True))
        metric = (v - along * x0).detach()
        (result,) = torch.autograd.grad((metric * x0).sum(), origin)
    return result.to(p.dtype)
