r"""Sharpness, and curvatures that are chosen by it.

A curvature that lowers the training loss need not be one under which the minimum is flat.
:class:`SharpnessAwareCurvature` learns it by the loss at *perturbed* weights instead, as the upper
level of a bi-level problem whose lower level is ordinary training. The algorithm is this package's
own, made after the abstract of [1]_ (a sharpness measure for curvatures, a bi-level problem,
implicit differentiation with approximated gradients); it is not a reproduction of that paper's.

References
----------
.. [1] Curvature Learning for Generalization of Hyperbolic Neural Networks, arXiv 2508.17232.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hypeeg.geometry import CurvatureParameter
from hypeeg.optim.curvature import FollowingMove
from hypeeg.optim.hypergradient import (
    Differences,
    Hypergradient,
    Objective,
    implicit_term,
    upper_derivative,
)
from hypeeg.optim.passes import ExtraPasses, RandomState
from hypeeg.optim.scope import ScopeSharpness, scope_sharpness
from hypeeg.optim.sharpness_options import Mode, check_options
from hypeeg.optim.trusted_adam import check_learned, trusted_adam
from hypeeg.optim.weight_space import WeightSpace, move_curvatures_
from hypeeg.optim.wrapping import WrappingOptimizer, evaluate

__all__ = ["ScopeSharpness", "SharpnessAwareCurvature", "scope_sharpness"]


# Power iterations for the largest eigenvalue: an estimate 10 % low still lets the series converge.
_POWER_ITERATIONS = 8


class SharpnessAwareCurvature(WrappingOptimizer):
    r"""Learn curvatures by the loss at perturbed weights, beside an optimiser that trains the rest.

    Every ``every``-th step, after the gradients of the batch are known and before the weights
    move, the weights are perturbed by :math:`\hat\epsilon = \rho g/|g|` (``g`` the gradient of the
    batch, manifold parameters along geodesics, one joint norm), the batch is evaluated there, and
    the curvatures get the derivative of the upper-level loss

    ``"perturbed"`` (default)
        :math:`\Phi = L(w + \hat\epsilon, c)`;
    ``"ssm"``
        :math:`\Phi = L(w + \hat\epsilon, c) - L(w, c)`, the bare sharpness. On it curvatures
        collapse to their lower bound: flat space is sharp nowhere.

    Derivatives in a curvature are taken **along the curvature move**: they hold fixed what the
    points keep when the curvature changes, not their coordinates. Each curvature then takes a step
    of Adam in ``log c``, at most ``trust`` long, and the points follow. The wrapped optimiser,
    which takes all other steps, leaves the curvatures alone.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Takes the steps of the weights; holds all parameters, and through them the curvatures.
    rho : float, default 0.05
        Length of the perturbation.
    every : int, default 5
        Steps from one update of the curvatures to the next.
    objective : {"perturbed", "ssm"}, default "perturbed"
        Upper-level loss.
    mode : {"direct", "neumann"}, default "direct"
        Whether the derivative is that at held weights (one extra pass), or also counts how the
        trained weights would follow the curvature: implicit differentiation with a Neumann series
        for the inverse Hessian. The latter needs a second batch, see :meth:`step`.
    terms : int, default 0
        Terms ``J`` of the series beyond the first. An update takes ``3`` extra passes at 0, and
        ``4 + J`` from 1 on.
    alpha : "power" or float, default "power"
        Step of the series: a number, or one over the largest eigenvalue of the Hessian by power
        iterations, renewed every ``alpha_every`` steps.
    damping : float, optional
        Added to the Hessian: the decay of Euclidean weights, if the closure's loss lacks it, or a
        regularisation. Must be given for more than 5 terms, as the series diverges where the
        Hessian has negative eigenvalues; 0 says that it has none.
    differentiate_step : bool, default False
        Whether the perturbation counts as a function of weights and curvatures (two more passes).
    lr : float, default 1e-2
        Learning rate of ``log c``; schedulers do not act on it.
    betas : tuple of float, default (0.9, 0.99)
        Decay rates of Adam's moments.
    eps : float, default 1e-8
        Added to the root of the second moment.
    trust : float, default 0.1
        Longest step in ``log c``.
    bounds : tuple of float, default (0.01, 10.0)
        Smallest and largest curvature, within those of the curvatures themselves.
    curvature_move : {"exp", "scale"}, default "exp"
        How points follow, whatever the wrapped optimiser's own move is. Along the homothety the
        derivative at held weights can have the wrong sign.
    total_steps : int, optional
        Length of the training, by which ``warmup`` and ``freeze`` are counted. Without it
        curvatures learn from the first step on and never stop.
    warmup : float, default 0.05
        Share of the training before the first update.
    freeze : float, default 0.1
        Share of the training, at its end, in which curvatures rest.
    alpha_every : int, default 500
        Steps between two estimates of the largest eigenvalue.
    fd_step : float, optional
        Length of finite differences, in the joint norm of all weights; by default from the dtype
        (5e-3 in float32).
    module : Module, optional
        The model, whose buffers extra passes are to leave alone. Without it they are found by a
        hook on all modules, because of which a compiled model is compiled once more.

    Attributes
    ----------
    passes : int
        Runs of closures so far.
    steps, updates : int
        Steps so far, and how many of them updated the curvatures.
    last : Hypergradient or None
        Derivatives and losses of the latest update.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If an argument lies outside its range, or no curvature is learnable.

    Notes
    -----
    *Extra passes* replay the random numbers of the step's own pass (dropout), and leave gradients,
    buffers (batch-norm statistics) and generators as they found them. Weights are restored by copy.
    Those for finite differences run with autocast switched off; put ``torch.autocast`` around
    ``step``, since one inside the closure cannot be seen from here.

    *Several optimisers*: all manifold parameters of a learned curvature must belong to the wrapped
    one, or they would not follow.

    References
    ----------
    .. [1] Curvature Learning for Generalization of Hyperbolic Neural Networks, arXiv 2508.17232
       (the idea; the algorithm here is another).

    Examples
    --------
    >>> import torch
    >>> from hypeeg.nn import HyperbolicMLP
    >>> from hypeeg.optim import RiemannianAdamW
    >>> model = HyperbolicMLP(4, 3, learnable_curvature=True)
    >>> optimizer = SharpnessAwareCurvature(RiemannianAdamW(model.parameters()), every=1)
    >>> x, y = torch.randn(8, 4), torch.arange(8) % 3
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = torch.nn.functional.cross_entropy(model(x), y)
    ...     loss.backward()
    ...     return loss
    >>> loss = optimizer.step(closure)
    >>> optimizer.passes
    2
    """

    def __init__(
        self,
        optimizer: Optimizer,
        rho: float = 0.05,
        every: int = 5,
        objective: Objective = "perturbed",
        mode: Mode = "direct",
        terms: int = 0,
        alpha: Literal["power"] | float = "power",
        *,
        damping: float | None = None,
        differentiate_step: bool = False,
        lr: float = 1e-2,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        trust: float = 0.1,
        bounds: tuple[float, float] = (0.01, 10.0),
        curvature_move: FollowingMove = "exp",
        total_steps: int | None = None,
        warmup: float = 0.05,
        freeze: float = 0.1,
        alpha_every: int = 500,
        fd_step: float | None = None,
        module: nn.Module | None = None,
    ) -> None:
        super().__init__(optimizer)
        check_options(
            rho=rho,
            every=every,
            objective=objective,
            mode=mode,
            terms=terms,
            alpha=alpha,
            damping=damping,
            lr=lr,
            betas=betas,
            eps=eps,
            trust=trust,
            bounds=bounds,
            total_steps=total_steps,
            warmup=warmup,
            freeze=freeze,
            alpha_every=alpha_every,
            fd_step=fd_step,
            curvature_move=curvature_move,
        )
        self.curvature_move: FollowingMove = curvature_move
        self.rho, self.every, self.objective, self.mode = float(rho), every, objective, mode
        self.terms, self.alpha = terms, alpha
        self.damping = float(damping or 0.0)
        self.differentiate_step = differentiate_step
        self.lr, self.betas, self.eps, self.trust = lr, betas, eps, trust
        self.bounds = (float(bounds[0]), float(bounds[1]))
        self.total_steps, self.warmup, self.freeze = total_steps, warmup, freeze
        self.alpha_every, self.fd_step = alpha_every, fd_step
        self.module = module
        self.passes = self.steps = self.updates = 0
        self.last: Hypergradient | None = None
        self._alpha: Tensor | None = None
        self._alpha_at = 0
        self._moments: dict[Tensor, tuple[Tensor, Tensor]] = {}
        check_learned(self._learned(), self.bounds)

    # ----------------------------------------------------------------- step

    @torch.no_grad()
    def step(
        self,
        closure: Callable[[], Any] | None = None,
        lower_closure: Callable[[], Any] | None = None,
    ) -> Any:
        """Take one step: gradients, weights, and when it is their turn curvatures.

        Parameters
        ----------
        closure : callable
            Clears gradients, evaluates the training loss of one batch, calls ``backward`` and
            returns the loss. It runs again in some steps and must then see the same batch.
        lower_closure : callable, optional
            The same on a batch drawn **independently** of the first; required by
            ``mode="neumann"``, for the Hessian and the mixed derivative. On the same batch the
            implicit term would reward gradient noise and drive curvatures away.

        Returns
        -------
        object
            What ``closure`` returned at the weights.

        Raises
        ------
        TypeError
            If there is no closure.
        ValueError
            If ``mode="neumann"`` has no closure of an independent batch. Nothing has changed then.
        """
        closure = self._checked(closure)
        if self.mode == "neumann" and (lower_closure is None or lower_closure is closure):
            raise ValueError(
                "mode='neumann' needs lower_closure, on a batch independent of closure's: with the "
                "same batch curvatures follow gradient noise and diverge. Pass "
                "step(closure, lower_closure), or use mode='direct'"
            )
        update = self._is_turn()
        params = self.parameters()
        learned = self._learned()
        random = RandomState.now(dict.fromkeys(p.device for p in params)) if update else None
        loss = evaluate(closure)
        self.passes += 1
        if random is not None:
            self.last = self._hypergradient(closure, lower_closure, params, learned, loss, random)
        self._step_weights(learned)
        if random is not None and self.last is not None:
            self._step_curvatures(learned, self.last.curvature)
        self.steps += 1
        return loss

    def _is_turn(self) -> bool:
        if (self.steps + 1) % self.every:
            return False
        if self.total_steps is None:
            return True
        first = math.ceil(self.warmup * self.total_steps)
        last = self.total_steps - math.floor(self.freeze * self.total_steps)
        return first <= self.steps < last

    def _hypergradient(
        self,
        closure: Callable[[], Any],
        lower_closure: Callable[[], Any] | None,
        params: list[Tensor],
        learned: list[CurvatureParameter],
        loss: Any,
        random: RandomState,
    ) -> Hypergradient:
        space = WeightSpace(params, learned, self.curvature_move)
        with space.anchored():
            base = space.read()
            with ExtraPasses([*params, *learned], self.module) as passes:
                by_c, by_w, perturbed = upper_derivative(
                    space,
                    passes,
                    closure,
                    base,
                    random,
                    rho=self.rho,
                    objective=self.objective,
                    differentiate_step=self.differentiate_step,
                    fd_step=self.fd_step,
                )
                if self.mode == "neumann" and lower_closure is not None:
                    # Gradients of the passes to come may be written where those of the last are.
                    by_w = [None if t is None else t.clone() for t in by_w]
                    differences = Differences(space, passes, lower_closure, fd_step=self.fd_step)
                    implicit = implicit_term(
                        differences, by_w, self._series_step(differences), self.terms, self.damping
                    )
                    by_c = [a + b for a, b in zip(by_c, implicit, strict=True)]
        self.passes += passes.count
        return Hypergradient(by_c, _value(loss), _value(perturbed))

    def _series_step(self, differences: Differences) -> Tensor | float:
        if not isinstance(self.alpha, str):
            return self.alpha
        if self._alpha is None or self.steps - self._alpha_at >= self.alpha_every:
            size = differences.largest_eigenvalue(self.steps, _POWER_ITERATIONS, self.damping)
            self._alpha, self._alpha_at = size.reciprocal(), self.steps
        return self._alpha

    def _step_weights(self, learned: list[CurvatureParameter]) -> None:
        """Let the wrapped optimiser step, with curvatures it does not learn."""
        for log_c in learned:
            log_c.grad = None
            log_c.requires_grad_(False)  # or a "consistent" curvature would step without a gradient
        try:
            self.optimizer.step()
        finally:
            for log_c in learned:
                log_c.requires_grad_(True)

    def _step_curvatures(self, learned: list[CurvatureParameter], grads: list[Tensor]) -> None:
        self.updates += 1
        moved = trusted_adam(
            learned,
            grads,
            self._moments,
            self.updates,
            lr=self.lr,
            betas=self.betas,
            eps=self.eps,
            trust=self.trust,
            bounds=self.bounds,
        )
        move_curvatures_(self.parameters(), learned, moved, self.curvature_move)

    # ----------------------------------------------------------------- what it works on

    def _learned(self) -> list[CurvatureParameter]:
        return [log_c for log_c in self.curvatures() if log_c.requires_grad]

    # ----------------------------------------------------------------- keeping

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the wrapped optimiser with that of the curvatures beside it."""
        own = {
            "steps": self.steps,
            "updates": self.updates,
            "passes": self.passes,
            "alpha": self._alpha,
            "alpha_at": self._alpha_at,
            "moments": [self._moments.get(log_c) for log_c in self._learned()],
        }
        return {**self.optimizer.state_dict(), "sharpness": own}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state that :meth:`state_dict` returned, or one of the wrapped optimiser's."""
        state = dict(state_dict)
        own = state.pop("sharpness", None)
        learned = self._learned()
        if own is not None and len(own["moments"]) != len(learned):
            raise ValueError(
                f"the state has {len(own['moments'])} learned curvatures, the optimizer "
                f"{len(learned)}; load it into the optimizer of the same model"
            )
        self.optimizer.load_state_dict(state)
        if own is None:
            return
        self.steps, self.updates, self.passes = own["steps"], own["updates"], own["passes"]
        self._alpha, self._alpha_at = own["alpha"], own["alpha_at"]
        self._moments = {
            log_c: (pair[0].detach().clone().to(log_c), pair[1].detach().clone().to(log_c))
            for log_c, pair in zip(learned, own["moments"], strict=True)
            if pair is not None
        }


def _value(loss: Any) -> Any:
    return loss.detach() if isinstance(loss, Tensor) else loss
