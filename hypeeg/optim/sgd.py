"""Stochastic gradient descent on hyperbolic space."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim.optimizer import ParamsT

from hypeeg.optim.base import RiemannianOptimizer
from hypeeg.optim.curvature import CurvatureGradient, CurvatureMove
from hypeeg.optim.euclidean import sgd_step
from hypeeg.optim.groups import Group, check_flag, check_number
from hypeeg.optim.rules import Outcome, SGDRates, sgd_
from hypeeg.optim.tables import Table


class RiemannianSGD(RiemannianOptimizer):
    r"""SGD for models whose parameters partly live on hyperbolic space.

    A drop-in for :class:`torch.optim.SGD`; Euclidean parameters take exactly its steps. Every
    :class:`~hypeeg.geometry.ManifoldParameter` :math:`\theta` moves along geodesics:

    1. ``g`` is the Riemannian gradient, plus that of :math:`\tfrac{\lambda}{2} d(\theta, o)^2`
       where there is weight decay;
    2. ``m = momentum m + (1 - dampening) g``, at the first step ``m = g``;
    3. :math:`\theta' = \exp_\theta(-lr\,m)`, with Nesterov momentum
       :math:`\exp_\theta(-lr\,(g + momentum\,m))`, and ``m`` is transported along that geodesic.

    The curvature step, sparse gradients, charts and bounds against overflow are those of
    :class:`~hypeeg.optim.RiemannianAdamW`; ``log c`` takes steps of Adam here too.

    Parameters
    ----------
    params : iterable
        Parameters, ``named_parameters()`` or parameter groups.
    lr : float or Tensor, default 1e-3
        Learning rate.
    momentum : float, default 0
        Factor of the moment.
    dampening : float, default 0
        What the gradient is reduced by as it enters the moment.
    weight_decay : float, default 0
        Coupled weight decay.
    nesterov : bool, default False
        Nesterov momentum; needs momentum and no dampening.
    curvature_lr, curvature_move, curvature_gradient, maximize, foreach, compile
        As in :class:`~hypeeg.optim.RiemannianAdamW`.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or a manifold parameter is neither float32 nor float64.
    ValueError
        If an argument lies outside its range, or Nesterov momentum lacks momentum or is damped.

    Notes
    -----
    No step is longer than ``8/sqrt(c)``: on the hyperboloid, gradients of ordinary losses grow
    exponentially with the radius. ``state[p]["momentum_buffer"]`` of a manifold parameter is its
    moment transported to the origin; :meth:`moment` returns it at the points. Under sparse
    gradients the moment of a row that no gradient names does not change; the first gradient of
    a row enters it damped unless the step is the first of the parameter.

    References
    ----------
    .. [1] S. Bonnabel: Stochastic Gradient Descent on Riemannian Manifolds, IEEE TAC 2013.

    Examples
    --------
    >>> import torch
    >>> from hypeeg.geometry import Lorentz, ManifoldParameter
    >>> m = Lorentz(c=1.0)
    >>> p = ManifoldParameter(torch.full((3, 2), 0.5), manifold=m)
    >>> optimizer = RiemannianSGD([p], lr=0.1, momentum=0.9, nesterov=True)
    >>> m.dist0(p).sum().backward()
    >>> optimizer.step()
    """

    _frame_state = ("momentum_buffer",)
    _sparse_euclidean = True

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        curvature_lr: float | Tensor = 1e-2,
        curvature_move: CurvatureMove = "scale",
        curvature_gradient: CurvatureGradient = "autograd",
        maximize: bool = False,
        foreach: bool | None = None,
        compile: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
        }
        self._check_options(defaults)
        super().__init__(
            params,
            defaults,
            curvature_lr=curvature_lr,
            curvature_move=curvature_move,
            curvature_gradient=curvature_gradient,
            compile=compile,
        )

    def _check_options(self, options: Group) -> None:
        check_number("lr", options["lr"], remedy="The default is 1e-3.")
        check_number("momentum", options["momentum"], remedy="Give 0 for none.")
        check_number("weight_decay", options["weight_decay"], remedy="Give 0 for none.")
        check_number("dampening", options["dampening"], remedy="Give 0 for none.")
        check_flag("nesterov", options["nesterov"])
        if options["nesterov"] and (options["momentum"] == 0 or options["dampening"] != 0):
            raise ValueError(
                "nesterov=True needs momentum > 0 and dampening = 0; got momentum="
                f"{options['momentum']} and dampening={options['dampening']}"
            )

    def _state_names(self, group: Group) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return (self._frame_state if group["momentum"] != 0 else ()), ()

    def _step_euclidean(self, group: Group, params: list[Tensor]) -> None:
        grads: list[Any] = [p.grad for p in params]
        sgd_step(self.state, group, params, grads)

    def _step_table(self, table: Table, c: Tensor) -> Outcome:
        group, lr = table.group, table.group["lr"]
        momentum, weight_decay = group["momentum"], group["weight_decay"]
        rates = SGDRates(
            lr=lr.reshape(()).to(c) if isinstance(lr, Tensor) else lr,
            momentum=momentum,
            take=1.0 if table.step == 1 else 1.0 - group["dampening"],
            weight_decay=weight_decay,
        )
        moment = table.state.get("momentum_buffer")
        outcome: Outcome = self._run(
            sgd_,
            table.points.rows,
            table.gradient,
            None if moment is None else moment.rows,
            table.scratch,
            c,
            rates,
            decay="coupled" if weight_decay != 0 and table.decays else "none",
            nesterov=group["nesterov"],
        )
        return outcome
