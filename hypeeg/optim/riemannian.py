"""Optimisers of the Adam family on hyperbolic space."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim.optimizer import ParamsT

from hypeeg.optim.base import RiemannianOptimizer
from hypeeg.optim.curvature import CurvatureGradient, CurvatureMove
from hypeeg.optim.euclidean import adam_step
from hypeeg.optim.groups import Group, check_flag, check_number
from hypeeg.optim.rules import AdamRates, Outcome, adam_
from hypeeg.optim.tables import Table


class _AdamFamily(RiemannianOptimizer):
    """What RiemannianAdam and RiemannianAdamW share: all but where weight decay acts."""

    _frame_state = ("exp_avg",)
    _decoupled: bool

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        amsgrad: bool,
        *,
        curvature_lr: float | Tensor,
        curvature_move: CurvatureMove,
        curvature_gradient: CurvatureGradient,
        maximize: bool,
        foreach: bool | None,
        compile: bool,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
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

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("amsgrad", False)

    def _check_options(self, options: Group) -> None:
        check_number("lr", options["lr"], remedy="The default is 1e-3.")
        check_number("eps", options["eps"], remedy="The default is 1e-8.")
        check_number("weight_decay", options["weight_decay"], remedy="Give 0 for none.")
        check_flag("amsgrad", options["amsgrad"])
        betas = options["betas"]
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise TypeError(f"betas must be two numbers, such as (0.9, 0.999); got {betas!r}")
        for i, beta in enumerate(betas):
            if isinstance(beta, Tensor):
                raise TypeError(f"betas[{i}] must be a plain number; got a tensor")
            check_number(f"betas[{i}]", beta, high=1.0, remedy="The default is (0.9, 0.999).")
        if options["foreach"] and isinstance(options["lr"], Tensor):
            raise ValueError("lr as a tensor is not supported with foreach=True; leave it None")

    def _state_names(self, group: Group) -> tuple[tuple[str, ...], tuple[str, ...]]:
        largest = ("max_exp_avg_sq",) if group["amsgrad"] else ()
        return ("exp_avg",), ("exp_avg_sq", *largest)

    def _step_euclidean(self, group: Group, params: list[Tensor]) -> None:
        grads: list[Any] = [p.grad for p in params]
        adam_step(
            self.state, group, params, grads, foreach=group["foreach"], decoupled=self._decoupled
        )

    def _step_table(self, table: Table, c: Tensor) -> Outcome:
        group, state = table.group, table.state
        lr, (beta1, beta2) = group["lr"], group["betas"]
        weight_decay = group["weight_decay"]
        kind = "decoupled" if self._decoupled else "coupled"
        rates = AdamRates(
            lr=lr.reshape(()).to(c) if isinstance(lr, Tensor) else lr,
            beta1=beta1,
            beta2=beta2,
            eps=group["eps"],
            correction1=1 - beta1**table.step,
            correction2=1 - beta2**table.step,
            weight_decay=weight_decay,
        )
        largest = state["max_exp_avg_sq"].rows if group["amsgrad"] else None
        outcome: Outcome = self._run(
            adam_,
            table.points.rows,
            table.gradient,
            state["exp_avg"].rows,
            state["exp_avg_sq"].rows,
            largest,
            table.scratch,
            c,
            rates,
            decay=kind if weight_decay != 0 and table.decays else "none",
        )
        return outcome


class RiemannianAdamW(_AdamFamily):
    r"""AdamW for models whose parameters partly live on hyperbolic space.

    A drop-in for :class:`torch.optim.AdamW`. Euclidean parameters take exactly its steps.
    Every :class:`~hypeeg.geometry.ManifoldParameter` :math:`\theta` with gradient ``g`` moves
    along geodesics, with ``a = lr * weight_decay``:

    1. decay on the manifold: :math:`\tilde\theta` is the centroid of :math:`\theta` and the
       origin, weights ``1 - a`` and ``a``;
    2. the Riemannian gradient and the first moment are transported to :math:`\tilde\theta`;
    3. ``m = beta1 m + (1 - beta1) g`` and ``v = beta2 v + (1 - beta2) |g|^2``, where ``v`` is **one
       number per point**: second moments per coordinate would leave the tangent space;
    4. :math:`\theta' = \exp_{\tilde\theta}(-lr\,\hat m / (\sqrt{\hat v} + eps))`, and ``m`` is
       transported to :math:`\theta'`.

    Curvatures are found by themselves, both among ``params`` and through the manifolds of
    manifold parameters, and form parameter groups of their own after those of the caller. After
    all parameters each takes a step of plain Adam in ``log c``, without decay, and is projected
    onto its bounds; then all manifold parameters held by this optimiser follow it.

    Parameters
    ----------
    params : iterable
        Parameters, ``named_parameters()`` or parameter groups.
    lr : float or Tensor, default 1e-3
        Learning rate.
    betas : tuple of float, default (0.9, 0.999)
        Decay rates of the first and second moment.
    eps : float, default 1e-8
        Added to the root of the second moment.
    weight_decay : float, default 1e-2
        Decoupled weight decay; on the hyperboloid a pull towards the origin.
    amsgrad : bool, default False
        Divide by the root of the largest second moment so far.
    curvature_lr : float or Tensor, default 1e-2
        Learning rate of ``log c``.
    curvature_move : {"exp", "scale", "none"}, default "scale"
        How points follow the curvature: keep their distance to the origin, scale by
        ``sqrt(c / c')``, or not at all, their coordinates staying as they are: the naive way, a
        baseline. See :mod:`hypeeg.optim.curvature`.
    curvature_gradient : {"autograd", "consistent"}, default "autograd"
        Derivative by which a curvature learns: at fixed coordinates as autograd returns it, or of
        the loss as the points follow the curvature, which is exact, and greedy: with the exp move
        it can drive ``c`` to its bound. ``benchmarks/curvature_gradient.py`` decided both defaults.
    maximize : bool, default False
        Maximise instead of minimising.
    foreach : bool, optional
        For Euclidean parameters as in torch. Small manifold parameters of one manifold are
        joined into one table unless it is False.
    compile : bool, default False
        Compile the step of tables of manifold parameters with :func:`torch.compile`; worth it for
        long runs with large tables.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or a manifold parameter is neither float32 nor float64.
    ValueError
        If an argument lies outside its range.

    Notes
    -----
    *State.* ``state[p]["exp_avg"]`` of a manifold parameter is its first moment transported to the
    origin, which neither decay nor a change of curvature alters; :meth:`moment` returns it as
    tangent vectors at the points. ``exp_avg_sq`` has shape ``(..., 1)``.

    *Which parameters follow.* All manifold parameters of a curvature must be given to the
    optimiser that steps it, also those with ``requires_grad=False``: one left out would
    keep its coordinates while its space changes. A parameter without a gradient takes no step,
    but follows.

    *Charts.* Parameters on :class:`~hypeeg.geometry.PoincareBall` and
    :class:`~hypeeg.geometry.LorentzTangent` take the same step: they are converted to float64 space
    parts, stepped, and converted back. Weight decay leaves out parameters with ``decay=False``.

    *Sparse gradients* of whole rows, as of ``nn.Embedding(sparse=True)``, are lazy for manifold
    parameters, as in :class:`torch.optim.SparseAdam`: only the rows they name are stepped and
    decayed, the moments of others neither decay nor change, and bias corrections count the
    steps of the whole parameter. A change of the curvature carries all rows.

    *Bounds against overflow.* No step is longer than ``8/sqrt(c)``, and points stop where squares
    of their coordinates would overflow, in float32 ``42/sqrt(c)`` from the origin: far beyond where
    the dtype carries any geometry (see :func:`hypeeg.geometry.rescaling.max_dist`).

    *Without a gradient for the curvature.* Under ``"consistent"`` a learnable curvature also steps
    when autograd gave it no gradient, if parameters of its manifolds have one: they move with it,
    so the loss depends on it. To hold it, use ``requires_grad_(False)``.

    *Schedulers* act on the groups of curvatures too. One that takes a list with a value per group
    needs one for each of them; one that sets a rate outright, such as ``OneCycleLR`` with a single
    ``max_lr``, sets theirs as well.

    References
    ----------
    .. [1] A. Bdeir, N. Landwehr: Robust Hyperbolic Learning with Curvature-Aware Optimization,
       arXiv 2405.13979.
    .. [2] I. Loshchilov, F. Hutter: Decoupled Weight Decay Regularization, ICLR 2019.

    Examples
    --------
    >>> import torch
    >>> from hypeeg.geometry import Lorentz, ManifoldParameter
    >>> m = Lorentz(c=1.0, learnable=True)
    >>> points = ManifoldParameter(torch.full((3, 2), 0.5), manifold=m)
    >>> optimizer = RiemannianAdamW([points], lr=0.1)
    >>> m.dist0(points).sum().backward()
    >>> optimizer.step()
    """

    _decoupled = True

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        curvature_lr: float | Tensor = 1e-2,
        curvature_move: CurvatureMove = "scale",
        curvature_gradient: CurvatureGradient = "autograd",
        maximize: bool = False,
        foreach: bool | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            curvature_lr=curvature_lr,
            curvature_move=curvature_move,
            curvature_gradient=curvature_gradient,
            maximize=maximize,
            foreach=foreach,
            compile=compile,
        )


class RiemannianAdam(_AdamFamily):
    r"""Adam for models whose parameters partly live on hyperbolic space.

    A drop-in for :class:`torch.optim.Adam`; Euclidean parameters take exactly its steps. Manifold
    parameters move as under :class:`RiemannianAdamW`, where all other options, the notes and the
    curvature step are described, except that weight decay is coupled: it adds to the gradient
    that of

    .. math:: \tfrac{\lambda}{2}\, d(\theta, o)^2,

    whose transport to the origin is :math:`\lambda \log_o(\theta)`. That is torch's
    :math:`\lambda\theta` as c vanishes, and the same on every chart.

    Parameters
    ----------
    params : iterable
        Parameters, ``named_parameters()`` or parameter groups.
    lr : float or Tensor, default 1e-3
        Learning rate.
    betas : tuple of float, default (0.9, 0.999)
        Decay rates of the first and second moment; the second is one number per point.
    eps : float, default 1e-8
        Added to the root of the second moment.
    weight_decay : float, default 0
        Coupled weight decay.
    amsgrad : bool, default False
        Divide by the root of the largest second moment so far.
    curvature_lr, curvature_move, curvature_gradient, maximize, foreach, compile
        As in :class:`RiemannianAdamW`.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or a manifold parameter is neither float32 nor float64.
    ValueError
        If an argument lies outside its range.

    References
    ----------
    .. [1] G. Bécigneul, O.-E. Ganea: Riemannian Adaptive Optimization Methods, ICLR 2019.
    """

    _decoupled = False

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        curvature_lr: float | Tensor = 1e-2,
        curvature_move: CurvatureMove = "scale",
        curvature_gradient: CurvatureGradient = "autograd",
        maximize: bool = False,
        foreach: bool | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            curvature_lr=curvature_lr,
            curvature_move=curvature_move,
            curvature_gradient=curvature_gradient,
            maximize=maximize,
            foreach=foreach,
            compile=compile,
        )
