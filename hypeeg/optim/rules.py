"""Update rules for one table of points, as functions of tensors alone.

They know neither parameters nor groups, change points and state in place, and can be compiled.
Vectors are in the frame of the origin, row scalars in float64; see :mod:`hypeeg.optim.frame`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hypeeg.optim.curvature import CurvatureMove, move_factor
from hypeeg.optim.frame import Radial, decayed, geodesic_step_, reach, row_dot, vector_length

Number = float | Tensor


class Outcome(NamedTuple):
    """What a rule leaves to be done, and what it knows about the points before the step.

    Attributes
    ----------
    factor : Tensor, shape (rows, 1)
        What the points are still to be multiplied by.
    cosh_1 : Tensor, shape (rows, 1)
        As in :class:`~hypeeg.optim.frame.Radial`, of the new points.
    radial : Radial
        Scalars of the old points.
    x_dot_g : Tensor, shape (rows, 1)
        Inner products of the old points with the gradient.
    """

    factor: Tensor
    cosh_1: Tensor
    radial: Radial
    x_dot_g: Tensor


class AdamRates(NamedTuple):
    """Numbers of a step of Adam; ``correction1`` and ``correction2`` are ``1 - beta**step``."""

    lr: Number
    beta1: Number
    beta2: Number
    eps: Number
    correction1: Number
    correction2: Number
    weight_decay: Number


class SGDRates(NamedTuple):
    """Numbers of a step of SGD; ``take`` is the weight of the gradient in the moment."""

    lr: Number
    momentum: Number
    take: Number
    weight_decay: Number


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a compiled function, the same for all optimisers."""
    result: Callable[..., Any] = torch.compile(function)
    return result


def _as(number: Number, like: Tensor) -> Number:
    """Return a number fit to be combined with a tensor: a 0-dimensional one takes its dtype."""
    return number.to(like.dtype) if isinstance(number, Tensor) else number


def _shift(radial: Radial, x_dot_g: Tensor, weight_decay: Number | None) -> Tensor:
    """Return what multiplies ``x`` in the Riemannian gradient, ``g + shift x``.

    A coupled weight decay adds the gradient of ``weight_decay / 2`` times the squared distance to
    the origin, which in this frame is the multiple of the logarithm at the origin.
    """
    shift = (x_dot_g * radial.c).div_(radial.cosh_1)
    if weight_decay is not None:
        shift.add_(radial.angle().div_(radial.sinh).mul_(weight_decay))
    return shift


def adam_(
    x: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    largest: Tensor | None,
    scratch: Tensor | None,
    c: Tensor,
    rates: AdamRates,
    *,
    decay: str,
) -> Outcome:
    """Take a step of Riemannian Adam.

    Parameters
    ----------
    x, g, m : Tensor, shape (rows, n)
        Space parts, autograd's gradient in them, first moment.
    v, largest : Tensor, shape (rows, 1)
        Second moment, and its maximum so far for AMSGrad.
    scratch : Tensor, shape (rows, n), optional
        Working memory.
    c : Tensor, 0-dimensional
        Curvature magnitude.
    rates : AdamRates
        The numbers of this step.
    decay : {"none", "coupled", "decoupled"}
        Where weight decay acts: nowhere, in the gradient, or on the points.
    """
    radial = Radial.of(x, c)
    x_dot_g = row_dot(x, g, scratch)
    take1, take2 = 1 - rates.beta1, 1 - rates.beta2
    if decay == "coupled":
        shift = _shift(radial, x_dot_g, rates.weight_decay)
        gradient = torch.mul(x, shift.to(x.dtype), out=scratch).add_(g)
        m.lerp_(gradient, _as(take1, m))
        square = vector_length(gradient).square_()
    else:
        shift = x_dot_g * radial.c
        # the Riemannian gradient g + shift x has square |g|^2 + c <x, g>^2
        square = vector_length(g).square_().addcmul_(x_dot_g, shift)
        shift.div_(radial.cosh_1)
        m.lerp_(g, _as(take1, m)).addcmul_(x, shift.mul_(take1).to(x.dtype))
    v.mul_(_as(rates.beta2, v)).add_(square.mul_(take2).to(v.dtype))
    second = v if largest is None else torch.maximum(largest, v, out=largest)

    root2 = rates.correction2**0.5
    step = second.to(square.dtype).sqrt().add_(rates.eps * root2).reciprocal_()
    step.mul_(rates.lr * root2 / rates.correction1)
    shorter = decayed(radial, rates.lr * rates.weight_decay) if decay == "decoupled" else None
    factor, cosh_1 = geodesic_step_(x, m, radial, step, shorter, scratch)
    return Outcome(factor, cosh_1, radial, x_dot_g)


def sgd_(
    x: Tensor,
    g: Tensor,
    m: Tensor | None,
    scratch: Tensor | None,
    c: Tensor,
    rates: SGDRates,
    *,
    decay: str,
    nesterov: bool,
) -> Outcome:
    """Take a step of Riemannian SGD; parameters as in :func:`adam_`.

    ``m`` is None without momentum. ``decay`` is ``"none"`` or ``"coupled"``.
    """
    radial = Radial.of(x, c)
    x_dot_g = row_dot(x, g, scratch)
    shift = _shift(radial, x_dot_g, rates.weight_decay if decay == "coupled" else None)
    step = torch.zeros_like(radial.cosh).add_(rates.lr)
    if m is None:
        direction = torch.addcmul(g, x, shift.to(x.dtype))
        carried = direction  # what is carried along is thrown away
    elif nesterov:
        direction = torch.addcmul(g, x, shift.to(x.dtype))
        m.mul_(_as(rates.momentum, m)).add_(direction)  # Nesterov momentum has no dampening
        direction.add_(torch.mul(m, _as(rates.momentum, m), out=scratch))
        carried = m
    else:
        m.mul_(_as(rates.momentum, m)).add_(torch.mul(g, _as(rates.take, m), out=scratch))
        direction = carried = m.addcmul_(x, shift.mul_(rates.take).to(x.dtype))
    other = carried if carried is not direction else None
    factor, cosh_1 = geodesic_step_(x, direction, radial, step, None, scratch, other)
    return Outcome(factor, cosh_1, radial, x_dot_g)


def finish_(
    x: Tensor, factor: Tensor, cosh_1: Tensor, c: Tensor, c_new: Tensor | None, move: CurvatureMove
) -> None:
    """Multiply points by what a rule left to be done, and let them follow a curvature.

    Parameters
    ----------
    x : Tensor, shape (rows, n)
        Space parts; overwritten.
    factor, cosh_1 : Tensor, shape (rows, 1)
        From an :class:`Outcome`.
    c, c_new : Tensor, 0-dimensional
        Curvature magnitude before and after; None where it stays.
    move : {"exp", "scale", "none"}
        How points follow it.
    """
    limit = reach(c, cosh_1, x.dtype)
    if c_new is None:
        limit.clamp_max_(1.0)
    else:
        limit = torch.minimum(limit, move_factor(Radial.from_cosh_1(c, cosh_1), c_new, move))
    x.mul_(limit.mul_(factor).to(x.dtype))
