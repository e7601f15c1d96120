"""The Poincaré ball and its isometry with the Lorentz model.

The ball of curvature ``-c`` has radius ``1/sqrt(c)``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hypeeg.geometry.lorentz import _curvature, _hypot1, _unit_norm, prepare


def lorentz_to_poincare(x: Tensor, c: Tensor | float) -> Tensor:
    """Map space parts of hyperboloid points into the Poincaré ball.

    Parameters
    ----------
    x : Tensor, shape (..., n)
        Space parts.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., n)
        ``x / (1 + sqrt(c) x_t)``, of norm below ``1/sqrt(c)``.
    """
    (x,) = prepare(x)
    c = _curvature(c, x)
    return x / (1 + _hypot1(_unit_norm(x, c)))


def poincare_to_lorentz(p: Tensor, c: Tensor | float) -> Tensor:
    """Map points of the Poincaré ball to space parts on the hyperboloid.

    Parameters
    ----------
    p : Tensor, shape (..., n)
        Points with ``sqrt(c) |p| < 1``.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (..., n)
        ``2 p / (1 - c|p|^2)``; ``inf`` on the boundary and ``nan`` outside the ball.
    """
    (p,) = prepare(p)
    radius = _unit_norm(p, _curvature(c, p))
    gap = (1 - radius) * (1 + radius)
    return 2 * p / torch.where(gap >= 0, gap, torch.nan)
