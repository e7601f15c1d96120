"""Update rules on hyperbolic space: the optimisers one uses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from hypeeg.optim.base import RiemannianOptimizer
from hypeeg.optim.curvature import CurvatureGradient, CurvatureMove
from hypeeg.optim.euclidean import adamw_step
from hypeeg.optim.frame import Radial, decayed, geodesic_step_
from hypeeg.optim.groups import Group, check_number
from hypeeg.optim.tables import Table


class RiemannianAdamW(RiemannianOptimizer):
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
    curvature_lr : float or Tensor, default 1e-2
        Learning rate of ``log c``.
    curvature_move : {"exp", "scale"}, default "exp"
        How points follow the curvature: keep their distance to the origin, or scale by
        ``sqrt(c / c')``. See :mod:`hypeeg.optim.curvature`.
    curvature_gradient : {"autograd", "consistent"}, default "autograd"
        Derivative by which a curvature learns: at fixed coordinates as autograd returns it (which
        can have the wrong sign), or of the loss as the points follow the curvature (which is
        exact, and greedy: from a bad start it can drive ``c`` to its bound).
        ``benchmarks/curvature_gradient.py`` compares them.
    maximize : bool, default False
        Maximise instead of minimising.
    foreach : bool, optional
        For Euclidean parameters as in torch. Small manifold parameters of one manifold are
        joined into one table unless it is False.

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

    _frame_state = ("exp_avg",)
    _row_state = ("exp_avg_sq",)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        curvature_lr: float | Tensor = 1e-2,
        curvature_move: CurvatureMove = "exp",
        curvature_gradient: CurvatureGradient = "autograd",
        maximize: bool = False,
        foreach: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
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
        )

    def _check_options(self, options: Group) -> None:
        check_number("lr", options["lr"], remedy="The default is 1e-3.")
        check_number("eps", options["eps"], remedy="The default is 1e-8.")
        check_number("weight_decay", options["weight_decay"], remedy="Give 0 for none.")
        betas = options["betas"]
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise TypeError(f"betas must be two numbers, such as (0.9, 0.999); got {betas!r}")
        for i, beta in enumerate(betas):
            if isinstance(beta, Tensor):
                raise TypeError(f"betas[{i}] must be a plain number; got a tensor")
            check_number(f"betas[{i}]", beta, high=1.0, remedy="The default is (0.9, 0.999).")
        if options["foreach"] and isinstance(options["lr"], Tensor):
            raise ValueError("lr as a tensor is not supported with foreach=True; leave it None")

    def _step_euclidean(self, group: Group, params: list[Tensor]) -> None:
        grads: list[Any] = [p.grad for p in params]
        adamw_step(self.state, group, params, grads, foreach=group["foreach"])

    def _step_table(self, table: Table, radial: Radial, x_dot_g: Tensor) -> tuple[Tensor, Tensor]:
        x, g = table.points.rows, table.gradient
        m, v = table.state["exp_avg"].rows, table.state["exp_avg_sq"].rows
        group = table.group
        lr, (beta1, beta2) = group["lr"], group["betas"]
        if isinstance(lr, Tensor):
            lr = lr.reshape(()).to(radial.cosh)

        # Riemannian gradient in the frame of the origin: g + shift x, of square |g|^2 + c <x, g>^2
        c_x_dot_g = x_dot_g * radial.c
        shift = c_x_dot_g / radial.cosh_1
        m.lerp_(g, 1 - beta1).addcmul_(x, shift.to(x.dtype), value=1 - beta1)
        g_norm: Tensor = torch.linalg.vector_norm(g, dim=-1, keepdim=True)
        radial_square = c_x_dot_g.mul_(x_dot_g).to(v.dtype)
        v.mul_(beta2).addcmul_(g_norm, g_norm, value=1 - beta2).add_(radial_square, alpha=1 - beta2)

        correction1 = 1 - beta1**table.step
        correction2 = 1 - beta2**table.step
        root = v.sqrt().add_(group["eps"] * correction2**0.5).reciprocal_()
        step = root.to(radial.cosh).mul_(lr * correction2**0.5 / correction1)
        decay = None
        if group["weight_decay"] != 0:
            decay = decayed(radial, lr * group["weight_decay"])
        return geodesic_step_(x, m, radial, step, decay, table.scratch)
