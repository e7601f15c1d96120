r"""Weights as one space: displaced along geodesics, differentiated along the curvature move.

Sharpness-aware methods ask for the loss at weights a small step away. Here the weights of a
model are one point of a product of Euclidean and hyperbolic spaces, and a step is a *tangent*: a
list with one tensor per parameter. For a manifold parameter that tensor holds tangent vectors in
the frame of the origin (parallel transport along the geodesic from the origin), whose Euclidean
norm is their Riemannian norm; so tangents of all parameters have one joint norm, which does not
depend on the chart.

A manifold parameter at ``p``, displaced by ``e``, lies at

.. math:: \Psi(c, \zeta, e) = (x(c) \oplus \exp_o \zeta) \oplus \exp_o e, \qquad \zeta = 0,

where :math:`x(c)` is the point as the curvature move carries it and :math:`\oplus` the boost that
takes the origin to its left argument: :math:`x \oplus \exp_o v = \exp_x(\mathrm{transp}_{o \to x}
v)`. Differentiating it in ``c`` holds fixed what the curvature move holds fixed; in
:math:`\zeta` and ``e``, it gives the derivatives with respect to the point and to the step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from hypeeg.geometry import CurvatureParameter, ManifoldParameter, lorentz
from hypeeg.optim.curvature import FollowingMove, chart_of, move_points_
from hypeeg.optim.groups import value_of

Tangent: TypeAlias = list[Tensor | None]


class Reading(NamedTuple):
    """What one forward and backward pass at displaced weights tells.

    Attributes
    ----------
    curvature : list of Tensor
        Derivative in the ``log c`` of every curvature, float64, 0-dimensional, the points moving
        with ``c`` and the displacement held fixed.
    step : list of Tensor or None
        Gradient in the displacement; None for a parameter that the loss does not depend on.
    point : list of Tensor or None
        Gradient in the weights, the displacement held fixed. Equal to ``step`` for Euclidean
        parameters, and for all where there is no displacement.
    """

    curvature: list[Tensor]
    step: Tangent
    point: Tangent


def wide(device: torch.device) -> torch.dtype:
    """Return the dtype for scalars and points on a device: float64 where there is one."""
    return torch.float32 if device.type == "mps" else torch.float64


def dot(u: Tangent, v: Tangent) -> Tensor:
    """Return the inner product of two tangents, a 0-dimensional tensor."""
    parts = [
        torch.sum(a * b, dtype=wide(a.device))
        for a, b in zip(u, v, strict=True)
        if a is not None and b is not None
    ]
    return total(parts)


def norm(v: Tangent) -> Tensor:
    """Return the joint norm of a tangent, a 0-dimensional tensor."""
    present = [t for t in v if t is not None]
    lengths: list[Tensor] = list(torch._foreach_norm(present)) if present else []
    return total([n.to(wide(n.device)).square() for n in lengths]).sqrt()


def total(parts: Sequence[Tensor]) -> Tensor:
    """Return the sum of 0-dimensional tensors, which may lie on several devices."""
    if not parts:
        return torch.zeros((), dtype=torch.float64)
    return torch.stack([p.to(parts[0].device) for p in parts]).sum()


def combine(u: Tangent, v: Tangent, factor: Tensor | float) -> Tangent:
    """Return ``u + factor v``; ``factor`` is a number or a 0-dimensional tensor."""
    result: Tangent = []
    for a, b in zip(u, v, strict=True):
        if b is None:
            result.append(a)
        elif a is None:
            result.append(_times(b, factor))
        else:
            result.append(a + _times(b, factor))
    return result


def scaled(v: Tangent, factor: Tensor | float) -> Tangent:
    """Return ``factor v``."""
    return [None if t is None else _times(t, factor) for t in v]


def _times(t: Tensor, factor: Tensor | float) -> Tensor:
    return t * (factor.to(t.device) if isinstance(factor, Tensor) else factor)


def boost(x: Tensor, y: Tensor, c: Tensor) -> Tensor:
    """Return the image of ``y`` under the boost that takes the origin to ``x``; space parts.

    Free of cancellation for short ``y``, however far out ``x`` lies.
    """
    gamma = torch.sqrt(1 + c * x.square().sum(-1, keepdim=True))
    gamma_y = torch.sqrt(1 + c * y.square().sum(-1, keepdim=True))
    return y + (gamma_y + c * (x * y).sum(-1, keepdim=True) / (1 + gamma)) * x


class WeightSpace:
    """The weights of an optimiser, to be displaced, read and put back.

    Parameters
    ----------
    params : iterable of Tensor
        All parameters, curvatures among them or not. Those that require a gradient are displaced,
        curvatures never.
    curvatures : sequence of CurvatureParameter
        Curvatures whose derivatives are wanted.
    move : {"exp", "scale"}, default "exp"
        How points follow the curvature.
    """

    params: list[Tensor]

    def __init__(
        self,
        params: Iterable[Tensor],
        curvatures: Sequence[CurvatureParameter] = (),
        move: FollowingMove = "exp",
    ) -> None:
        self.params = [
            p for p in params if p.requires_grad and not isinstance(p, CurvatureParameter)
        ]
        self.curvatures = list(curvatures)
        self.move = move
        self._saved: list[Tensor] = []
        self._fixed: list[Tensor | None] = []
        self._steps: Tangent = []

    @property
    def base(self) -> list[Tensor]:
        """The weights at the base point, one tensor per parameter of :attr:`params`."""
        return self._saved

    @contextmanager
    def anchored(self) -> Iterator[None]:
        """Take the present weights for the base point, and put them back at the end, bit by bit."""
        with torch.no_grad():
            self._saved = [p.detach().clone() for p in self.params]
            self._fixed = [
                fixed_by_move(p, self.move) if isinstance(p, ManifoldParameter) else None
                for p in self.params
            ]
        self._steps = [None] * len(self.params)
        try:
            yield
        finally:
            self.restore_()
            self._saved, self._fixed, self._steps = [], [], []

    @torch.no_grad()
    def restore_(self) -> None:
        """Put the weights back to the base point, exactly."""
        self._steps = [None] * len(self.params)
        torch._foreach_copy_(self.params, self._saved)

    @torch.no_grad()
    def displace_(self, v: Tangent, factor: Tensor | float = 1.0) -> None:
        """Put the weights at the base point displaced by ``factor v``.

        Parameters
        ----------
        v : list of Tensor or None
            A tangent, one entry per parameter.
        factor : Tensor or float
            What to multiply it by.
        """
        self._steps = scaled(v, factor)
        for p, base, fixed, step in zip(
            self.params, self._saved, self._fixed, self._steps, strict=True
        ):
            if step is None:
                p.copy_(base)
            elif isinstance(p, ManifoldParameter) and fixed is not None:
                # rounding to the dtype of the parameter may leave the chart's domain
                p.copy_(p.manifold.projx(_displaced(p, fixed, self.move, step).to(p.dtype)))
            else:
                p.copy_(base + step)

    def read(self) -> Reading:
        """Collect the gradients that a backward pass at the present weights has left.

        Returns
        -------
        Reading
            Its tensors may share memory with the gradients of Euclidean parameters.
        """
        derivatives = {
            id(log_c): torch.zeros((), dtype=wide(log_c.device), device=log_c.device)
            if log_c.grad is None
            else log_c.grad.detach().to(wide(log_c.device))
            for log_c in self.curvatures
        }
        steps: Tangent = []
        points: Tangent = []
        for p, fixed, step in zip(self.params, self._fixed, self._steps, strict=True):
            grad = p.grad
            if grad is not None and grad.is_sparse:
                grad = grad.to_dense()
            if grad is None or not isinstance(p, ManifoldParameter) or fixed is None:
                steps.append(grad)
                points.append(grad)
                continue
            by_point, by_step, by_c = self._pull_back(p, grad, fixed, step)
            steps.append(by_step)
            points.append(by_point)
            key = id(p.manifold.curvature.log_c)
            if by_c is not None and key in derivatives:
                derivatives[key] = derivatives[key] + by_c.to(derivatives[key])
        return Reading([derivatives[id(k)] for k in self.curvatures], steps, points)

    def _pull_back(
        self, p: ManifoldParameter, grad: Tensor, fixed: Tensor, step: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        log_c = p.manifold.curvature.log_c
        with torch.enable_grad():
            shift = torch.zeros_like(fixed).requires_grad_()
            inputs: list[Tensor] = [shift]
            if step is not None:
                step = step.detach().requires_grad_()
                inputs.append(step)
            if log_c.requires_grad:
                inputs.append(log_c)
            moved = _displaced(p, fixed, self.move, step, shift)
            found = torch.autograd.grad((grad.to(moved.dtype) * moved).sum(), inputs)
        by_step = found[0] if step is None else found[1]
        return found[0], by_step, found[-1] if log_c.requires_grad else None


def fixed_by_move(p: ManifoldParameter, move: FollowingMove) -> Tensor:
    """Return what the curvature move holds fixed of a manifold parameter, in float64.

    ``log_o`` of the points for the exp move, their space parts times ``sqrt(c)`` for the homothety.
    """
    chart = p.manifold
    x = chart.to_lorentz(p.detach().to(wide(p.device)))
    if move == "scale":
        return (x * chart.c.sqrt()).detach()
    return lorentz.logmap0(x, chart.c).detach()


def carried(fixed: Tensor, c: Tensor, move: FollowingMove) -> Tensor:
    """Return the space parts of points under ``c`` from what the curvature move holds fixed."""
    c = c.to(fixed.device)
    return fixed / c.sqrt() if move == "scale" else lorentz.expmap0(fixed, c)


def _displaced(
    p: ManifoldParameter,
    fixed: Tensor,
    move: FollowingMove,
    step: Tensor | None,
    shift: Tensor | None = None,
) -> Tensor:
    """Return displaced points in the chart of the parameter, in float64."""
    c = p.manifold.c.to(device=fixed.device, dtype=fixed.dtype)
    x = carried(fixed, c, move)
    for v in (shift, step):
        if v is not None:
            x = boost(x, lorentz.expmap0(v, c), c)
    return p.manifold.from_lorentz(x)


@torch.no_grad()
def move_curvatures_(
    params: Iterable[Tensor],
    curvatures: Sequence[CurvatureParameter],
    new_log_c: dict[int, Tensor],
    move: FollowingMove,
) -> None:
    """Set curvatures to new values, and let the manifold parameters follow them, in place.

    Parameters
    ----------
    params : iterable of Tensor
        Parameters; those on manifolds of these curvatures follow.
    curvatures : sequence of CurvatureParameter
        What to set.
    new_log_c : dict of int to Tensor
        New values of ``log c`` by the ``id`` of the curvature.
    move : {"exp", "scale"}
        How points follow.
    """
    before = {id(log_c): value_of(log_c) for log_c in curvatures}
    for log_c in curvatures:
        log_c.copy_(new_log_c[id(log_c)])
    for p in params:
        if not isinstance(p, ManifoldParameter) or p.numel() == 0:
            continue
        log_c = p.manifold.curvature.log_c
        if id(log_c) in before:
            rows = p.detach().reshape(-1, p.shape[-1])
            chart = chart_of(p.manifold)
            move_points_(rows, before[id(log_c)], value_of(log_c), move, chart)
            p.copy_(rows.view(p.shape))
