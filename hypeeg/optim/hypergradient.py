r"""The derivative of an upper-level loss in the curvatures, weights following as they would.

Lower level: :math:`w^*(c) = \arg\min_w F(w, c)`. Upper level: :math:`\Phi(c) = U(w^*(c), c)`. Then

.. math:: \frac{d\Phi}{dc} = \partial_c U - (\nabla_w U)^\top H^{-1}\, \partial_c \nabla_w F,
          \qquad H = \nabla_w^2 F.

The inverse is replaced by a truncated Neumann series and both second derivatives by differences of
gradients, so that first-order passes through the model suffice. Everything happens in a
:class:`~hypeeg.optim.weight_space.WeightSpace`: derivatives in the curvature are taken along the
curvature move, those in the weights of manifold parameters in Riemannian normal coordinates,
whatever chart they are stored in.

The algorithm is this package's own, after the idea of [1]_ of treating the choice of a curvature as
a bi-level problem about sharpness.

References
----------
.. [1] Curvature Learning for Generalization of Hyperbolic Neural Networks, arXiv 2508.17232.
.. [2] J. Lorraine, P. Vicol, D. Duvenaud: Optimizing Millions of Hyperparameters by Implicit
   Differentiation, AISTATS 2020 (Neumann series).
.. [3] H. Liu, K. Simonyan, Y. Yang: DARTS, ICLR 2019 (mixed derivatives by differences).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from hypeeg.optim.passes import Closure, ExtraPasses, RandomState
from hypeeg.optim.weight_space import (
    Reading,
    Tangent,
    WeightSpace,
    combine,
    dot,
    norm,
    scaled,
)

Objective = Literal["perturbed", "ssm"]

# Lengths of finite differences, as powers of the dtype's epsilon: where truncation and rounding
# balance for a central difference, and (somewhat longer) for a one-sided one.
_CENTRAL = 1 / 3
_ONE_SIDED = 0.4


class Hypergradient(NamedTuple):
    """Derivatives in ``log c``, and the losses they were taken between.

    Attributes
    ----------
    curvature : list of Tensor
        One derivative per curvature, 0-dimensional.
    loss, perturbed : object
        What the closure returned at the weights and at the perturbed weights.
    """

    curvature: list[Tensor]
    loss: object
    perturbed: object


def ascent(gradient: Tangent, rho: float) -> tuple[Tangent, Tensor]:
    """Return the step of joint length ``rho`` along a gradient, and the length of the gradient.

    A gradient of zero gives no step.
    """
    length = norm(gradient)
    tiny = torch.finfo(length.dtype).tiny
    return scaled(gradient, rho / length.clamp_min(tiny)), length


def difference_step(space: WeightSpace, exponent: float) -> float:
    """Return the length of a finite difference, from the coarsest dtype among the weights."""
    coarsest = max((torch.finfo(p.dtype).eps for p in space.params), default=1.2e-7)
    return float(coarsest**exponent)


class Differences:
    """Second derivatives of a closure's loss at the base point, by differences of gradients.

    Parameters
    ----------
    space : WeightSpace
        Anchored at the base point.
    passes : ExtraPasses
        What to run the closure in.
    closure : callable
        Evaluates the loss and calls ``backward``.
    random : RandomState, optional
        Generators at the start of every run.
    fd_step : float, optional
        Length of the differences; by default from the dtype.
    """

    def __init__(
        self,
        space: WeightSpace,
        passes: ExtraPasses,
        closure: Closure,
        random: RandomState | None = None,
        fd_step: float | None = None,
    ) -> None:
        self._space, self._passes = space, passes
        self._closure, self._random = closure, random
        self._central = difference_step(space, _CENTRAL) if fd_step is None else fd_step
        self._forward = difference_step(space, _ONE_SIDED) if fd_step is None else fd_step
        self._base: Tangent | None = None

    def read(self, v: Tangent, factor: Tensor | float) -> Reading:
        """Read the gradients at the base point displaced by ``factor v``."""
        self._space.displace_(v, factor)
        self._passes.run(self._closure, self._random, full_precision=True)
        return self._space.read()

    def central(self, v: Tangent) -> Reading:
        """Differentiate a reading at the base point along ``v``; two passes."""
        unit, length = ascent(v, 1.0)
        ahead, behind = self.read(unit, self._central), self.read(unit, -self._central)
        slope = length / (2 * self._central)
        return Reading(
            [
                (a - b) * slope.to(a.device)
                for a, b in zip(ahead.curvature, behind.curvature, strict=True)
            ],
            scaled(combine(ahead.step, behind.step, -1.0), slope),
            scaled(combine(ahead.point, behind.point, -1.0), slope),
        )

    def hessian(self, v: Tangent) -> Tangent:
        """Multiply ``v`` by the Riemannian Hessian; one pass, one more the first time."""
        if self._base is None:
            self._space.restore_()
            self._passes.run(self._closure, self._random, full_precision=True)
            # Copied: gradients of the next pass may be written into the same memory.
            self._base = [None if t is None else t.clone() for t in self._space.read().step]
        unit, length = ascent(v, 1.0)
        ahead = self.read(unit, self._forward).step
        return scaled(combine(ahead, self._base, -1.0), length / self._forward)

    def largest_eigenvalue(self, seed: int, iterations: int, damping: float) -> Tensor:
        """Estimate the largest magnitude among the Hessian's eigenvalues, ``damping`` added.

        Parameters
        ----------
        seed : int
            Of the random start; torch's generators are left alone.
        iterations : int
            Power iterations, one pass each.
        damping : float
            Added to the Hessian.

        Returns
        -------
        Tensor, 0-dimensional
        """
        generator = torch.Generator().manual_seed(seed)
        v: Tangent = [
            torch.randn(p.shape, generator=generator, dtype=torch.float32).to(p)
            for p in (q.detach() for q in self._space.params)
        ]
        size = norm(v)
        for _ in range(iterations):
            v, _ = ascent(v, 1.0)
            v = combine(self.hessian(v), v, damping)
            size = norm(v)
        return size


def inverse_hessian(
    differences: Differences, u: Tangent, alpha: Tensor | float, terms: int, damping: float
) -> Tangent:
    r"""Return :math:`\alpha \sum_{j \le J} (I - \alpha (H + \mathrm{damping}))^j u`.

    The distance to the solution is at most :math:`(1 - \alpha\mu)^{J + 1} |u| / \mu` where all
    eigenvalues lie in :math:`[\mu, 1/\alpha]`.
    """
    total = u
    for _ in range(terms):
        product = combine(differences.hessian(u), u, damping)
        u = combine(u, scaled(product, alpha), -1.0)
        total = combine(total, u, 1.0)
    return scaled(total, alpha)


def upper_derivative(
    space: WeightSpace,
    passes: ExtraPasses,
    closure: Closure,
    base: Reading,
    random: RandomState,
    *,
    rho: float,
    objective: Objective,
    differentiate_step: bool = False,
    fd_step: float | None = None,
) -> tuple[list[Tensor], Tangent, object]:
    """Differentiate the upper-level loss in the curvatures and in the weights.

    Parameters
    ----------
    space : WeightSpace
        Anchored at the weights.
    passes : ExtraPasses
        What to run the closure in.
    closure : callable
        The mini-batch.
    base : Reading
        Its gradients at the weights; not altered.
    random : RandomState
        Generators as they were before the pass of ``base``.
    rho : float
        Length of the perturbation.
    objective : {"perturbed", "ssm"}
        Loss at the perturbed weights, or its excess over the loss at the weights.
    differentiate_step : bool, default False
        Whether the perturbation itself counts as a function of weights and curvatures (two more
        passes), or is held fixed.
    fd_step : float, optional
        Length of finite differences.

    Returns
    -------
    curvature : list of Tensor
        Derivatives in ``log c``.
    point : list of Tensor or None
        Gradient in the weights.
    perturbed : object
        What the closure returned at the perturbed weights.
    """
    step, length = ascent(base.step, rho)
    space.displace_(step)
    perturbed = passes.run(closure, random)
    there = space.read()
    by_c, by_w = list(there.curvature), there.point
    if objective == "ssm":
        by_c = [a - b for a, b in zip(by_c, base.curvature, strict=True)]
        by_w = combine(by_w, base.point, -1.0)
    if differentiate_step:
        # d step = rho (I - n n^T) dg / |g| with n = g / |g|
        unit, _ = ascent(base.step, 1.0)
        across = combine(there.step, unit, -dot(there.step, unit))
        tiny = torch.finfo(length.dtype).tiny
        across = scaled(across, rho / length.clamp_min(tiny))
        turn = Differences(space, passes, closure, random, fd_step).central(across)
        by_c = [a + b for a, b in zip(by_c, turn.curvature, strict=True)]
        by_w = combine(by_w, turn.point, 1.0)
    return by_c, by_w, perturbed


def implicit_term(
    differences: Differences, by_w: Tangent, alpha: Tensor | float, terms: int, damping: float
) -> list[Tensor]:
    """Return what the weights, following the curvatures, add to the derivative in ``log c``."""
    v = inverse_hessian(differences, by_w, alpha, terms, damping)
    return [-t for t in differences.central(v).curvature]
