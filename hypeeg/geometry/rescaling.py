"""Maximum-distance rescaling: keep points where their dtype still carries geometry.

References
----------
.. [1] A. Bdeir, N. Landwehr: Robust Hyperbolic Learning with Curvature-Aware Optimization,
   arXiv 2405.13979.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hypeeg.geometry.numerics import as_curvature, prepare, unit_norm
from hypeeg.geometry.series import asinhc, sinhc, tanhc

# Largest x_t sqrt(c) for which x_t^2 - |x_s|^2 is still more than rounding noise.
_MAX_COSH = {torch.float32: 2e3, torch.float64: 5e7}


def max_dist(c: Tensor | float, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the radius ``D_max`` within which points of a dtype keep their geometry.

    ``0.9 acosh(kappa) / sqrt(c)`` with kappa = 2e3 in float32 (and below), 5e7 in float64: beyond
    it ``x_t^2 - |x_s|^2`` is rounding noise [1]_.
    """
    compute = dtype if dtype == torch.float64 else torch.float32
    c = torch.as_tensor(c, dtype=compute)
    return _rho_max(compute) / torch.sqrt(c)


def _rho_max(dtype: torch.dtype) -> float:
    return 0.9 * math.acosh(_MAX_COSH[dtype])


def rescale(
    x: Tensor,
    c: Tensor | float,
    slope: Tensor | float = 3.0,
    max_dist: Tensor | float | None = None,
) -> Tensor:
    """Maximum-distance rescaling: pull points smoothly inside radius ``D_max`` [1]_.

    ``r' = D_max tanh(r atanh(0.99) / (slope D_max))`` along each ray.

    Parameters
    ----------
    x : Tensor, shape (..., n)
        Space parts.
    c : Tensor or float
        Curvature magnitude.
    slope : Tensor or float, default 3.0
        At least 2.65, below which small norms would grow.
    max_dist : Tensor or float, optional
        ``D_max`` in units of distance; by default :func:`max_dist` of ``c`` and the dtype.

    Returns
    -------
    Tensor, shape (..., n)

    Raises
    ------
    ValueError
        If ``slope`` is a number below 2.65 or ``max_dist`` is not positive.
    """
    (x,) = prepare(x)
    if not isinstance(slope, Tensor) and not slope >= 2.65:
        raise ValueError(f"slope must be at least 2.65, or small norms grow; got {slope}")
    c = as_curvature(c, x)
    if max_dist is None:
        cap: Tensor | float = _rho_max(x.dtype)
    elif isinstance(max_dist, Tensor):
        cap = torch.sqrt(c) * max_dist.to(x.dtype)
    elif max_dist > 0:
        cap = torch.sqrt(c) * max_dist
    else:
        raise ValueError(f"max_dist must be positive; got {max_dist}")
    p = unit_norm(x, c)
    per_radius = asinhc(p)  # rho / p
    rate = math.atanh(0.99) / slope
    shrink = rate * tanhc(p * per_radius * rate / cap)  # rho' / rho
    return sinhc(p * per_radius * shrink) * shrink * per_radius * x
