"""Ratios such as sinh(a)/a whose value and gradient stay exact through a = 0.

Each function switches to its Taylor polynomial near zero. Both branches are evaluated on
arguments that are harmless to them, so no branch can leak a NaN into the gradient.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Below this argument the polynomials and their derivatives are exact in float64; above it the
# closed forms lose little more than two digits of their derivative.
_SMALL = 0.1
_SINHC = tuple(1 / math.factorial(2 * k + 1) for k in range(7))
_TANHC = (
    *(1.0, -1 / 3, 2 / 15, -17 / 315, 62 / 2835, -1382 / 155925, 21844 / 6081075),
    *(-929569 / 638512875, 6404582 / 10854718875),
)
_ASINHC = tuple((-1 / 4) ** k * math.comb(2 * k, k) / (2 * k + 1) for k in range(10))


def _poly(t: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    result = t * coefficients[-1] + coefficients[-2]
    for coefficient in reversed(coefficients[:-2]):
        result = result * t + coefficient
    return result


def _split(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    small = a.abs() < _SMALL
    squared = torch.where(small, a, 0.0) ** 2
    return small, squared, torch.where(small, 1.0, a)


def sinhc(a: Tensor) -> Tensor:
    """Return ``sinh(a) / a``, 1 at zero."""
    small, t, safe = _split(a)
    series = _poly(t, _SINHC)
    return torch.where(small, series, torch.sinh(safe) / safe)


def tanhc(a: Tensor) -> Tensor:
    """Return ``tanh(a) / a``, 1 at zero."""
    small, t, safe = _split(a)
    series = _poly(t, _TANHC)
    return torch.where(small, series, torch.tanh(safe) / safe)


def asinh(a: Tensor) -> Tensor:
    """Return ``asinh(a)``, right in value and gradient over the whole range of the dtype.

    Magnitudes beyond 1e8 take ``log(2|a|)``: the derivative of ``torch.asinh`` squares its
    argument and would vanish in float32 beyond 1.8e19.
    """
    magnitude = a.abs()
    far = magnitude > 1e8
    near_value = torch.asinh(torch.where(far, 1.0, a))
    far_value = torch.log(torch.where(far, magnitude, 1.0)) + 0.6931471805599453
    return torch.where(far, torch.copysign(far_value, a), near_value)


def asinhc(a: Tensor) -> Tensor:
    """Return ``asinh(a) / a``, 1 at zero."""
    small, t, safe = _split(a)
    series = _poly(t, _ASINHC)
    return torch.where(small, series, asinh(safe) / safe)
