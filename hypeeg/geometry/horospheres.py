"""Hyperplanes, Busemann functions and horospheres of the Lorentz model.

Points are space parts ``(..., n)``, as in :mod:`hypeeg.geometry.lorentz`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hypeeg.geometry.numerics import as_curvature, hypot1, prepare, unit_norm, vector_norm
from hypeeg.geometry.series import asinh


def hyperplane_dist(x: Tensor, z: Tensor, a: Tensor | float, c: Tensor | float) -> Tensor:
    r"""Return the signed distance of points to hyperplanes.

    The hyperplane of direction ``z`` and offset ``a`` is orthogonal to the geodesic that leaves the
    origin along ``z`` and meets it at distance ``a``:

    .. math:: d = \frac{1}{\sqrt c}\operatorname{asinh}\bigl(\sqrt c\,(\cosh(\sqrt c a)
              \langle x_s, \hat z\rangle - \sinh(\sqrt c a)\, x_t)\bigr).

    Parameters
    ----------
    x : Tensor, shape (..., n)
        Space parts.
    z : Tensor, shape (..., n)
        Directions of any length but zero.
    a : Tensor or float
        Offsets; a tensor broadcasts against the leading dimensions.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (...)
        Positive on the side to which ``z`` points.

    Notes
    -----
    With ``P^2 = 1/c + |x_s|^2 - <x_s, z>^2`` the difference above is ``P sinh(tau - sqrt(c) a)``,
    ``P sinh(tau) = <x_s, z>``: nothing cancels near a hyperplane that lies far out.
    """
    x, z = prepare(x, z)
    c = as_curvature(c, x)
    a = as_curvature(a, x)
    root = torch.sqrt(c)
    n = z / vector_norm(z)
    along = (x * n).sum(-1, keepdim=True)
    across = hypot1(unit_norm(x - along * n, c))
    tau = asinh(root * along / across)
    return (asinh(across * torch.sinh(tau - root * a)) / root).squeeze(-1)


def busemann(x: Tensor, omega: Tensor, c: Tensor | float) -> Tensor:
    r"""Return the Busemann function of ideal points.

    .. math:: b_\omega(x) = \lim_{t\to\infty} d(x, \exp_o(t\omega)) - t
              = \frac{1}{\sqrt c}\log\bigl(\sqrt c\,(x_t - \langle x_s, \omega\rangle)\bigr)

    Parameters
    ----------
    x : Tensor, shape (..., n)
        Space parts.
    omega : Tensor, shape (..., n)
        Directions of the ideal points, of any length but zero.
    c : Tensor or float
        Curvature magnitude.

    Returns
    -------
    Tensor, shape (...)
        0 at the origin, negative towards the ideal point. Level sets are the horospheres.

    Notes
    -----
    ``x_t - <x_s, omega>`` is formed as ``x_t - |x_s|``, a quotient, and a term in the square of the
    difference of the directions: it keeps its digits towards the ideal point.
    """
    x, omega = prepare(x, omega)
    c = as_curvature(c, x)
    root = torch.sqrt(c)
    omega = omega / vector_norm(omega)
    norm_x = vector_norm(x)
    p = root * norm_x
    far = p >= 1
    n = torch.where(far, x, 0.0) / torch.where(far, norm_x, 1.0)
    apart = ((n - omega) ** 2).sum(-1, keepdim=True)
    gamma = hypot1(p)
    away = torch.log(1 / (gamma + p) + torch.where(far, p, 0.0) * apart / 2)
    close = torch.where(far, 0.0, x) * root
    square = (close * close).sum(-1, keepdim=True)
    rise = square / (1 + torch.sqrt(1 + square)) - (close * omega).sum(-1, keepdim=True)
    return (torch.where(far, away, torch.log1p(rise)) / root).squeeze(-1)


def horosphere_dist(x: Tensor, omega: Tensor, level: Tensor | float, c: Tensor | float) -> Tensor:
    """Return the signed distance of points to horospheres, ``busemann(x) - level``.

    Parameters
    ----------
    x, omega, c
        As in :func:`busemann`.
    level : Tensor or float
        Value of the Busemann function on the horosphere; broadcasts against ``(...)``.

    Returns
    -------
    Tensor, shape (...)
        Negative inside the horosphere, on the side of its ideal point.
    """
    return busemann(x, omega, c) - level
