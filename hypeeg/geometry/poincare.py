"""The Poincaré ball and its isometry with the Lorentz model.

The ball of curvature ``-c`` has radius ``1/sqrt(c)``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hypeeg.geometry.numerics import as_curvature, hypot1, prepare, unit_norm


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
    c = as_curvature(c, x)
    return x / (1 + hypot1(unit_norm(x, c)))


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
        ``2 p / (1 - c|p|^2)``; not finite on the boundary, ``nan`` outside the ball.
    """
    (p,) = prepare(p)
    radius = unit_norm(p, as_curvature(c, p))
    gap = (1 - radius) * (1 + radius)
    return 2 * p / torch.where(gap >= 0, gap, torch.nan)
