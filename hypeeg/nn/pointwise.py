r"""Maps along the ray of each point, with the manifold dimension at any axis.

The layers multiply each point by a number that depends on its distance to the origin. Here that
takes few passes over the data, also where the manifold dimension is that of the channels.

Conventions are those of :mod:`hypeeg.geometry.lorentz`: ``c`` is a 0-dimensional tensor or a
number, points are space parts. Coordinates in float32 may reach 1e32, radius ``75/sqrt(c)``.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from hypeeg.geometry.numerics import prepare
from hypeeg.geometry.rescaling import max_dist as largest_distance
from hypeeg.geometry.series import asinhc, sinhc, tanhc


def raw_norm(x: Tensor, dim: int = -1) -> Tensor:
    """Return the norm of :func:`point_norm` for use inside written-out derivatives.

    Its own derivative at zero is not finite.
    """
    if x.dtype == torch.float64:
        return (x * x).sum(dim, keepdim=True).sqrt()
    if dim == -1:
        norm: Tensor = torch.linalg.vector_norm(x * 2.0**-44, dim=-1, keepdim=True)
        return norm * 2.0**44
    squares = torch.addcmul(x.new_zeros(()), x, x, value=2.0**-88)
    return squares.sum(dim, keepdim=True).sqrt() * 2.0**44


class _PointNorm(torch.autograd.Function):
    """Euclidean norm over one dimension, kept; its gradient at zero is zero.

    Squares are taken of numbers scaled by a power of two, so that they do not overflow; what
    underflows is below 1e-9 and changes no function of the norm that is used here. (The kernel of
    ``torch.linalg.vector_norm`` is twenty times slower over the channel dimension.)
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, dim: int) -> Tensor:
        return raw_norm(x, dim)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x, norm = ctx.saved_tensors
        zero = norm == 0
        return x * torch.where(zero, 0.0, grad / torch.where(zero, 1.0, norm)), None


def point_norm(x: Tensor, dim: int = -1) -> Tensor:
    """Return ``|x_s|`` with dimension ``dim`` kept."""
    norm: Tensor = _PointNorm.apply(x, dim)
    return norm


def root_of(c: Tensor | float, like: Tensor) -> Tensor:
    """Return ``sqrt(c)`` in the dtype and on the device of ``like``."""
    if isinstance(c, Tensor):
        return torch.sqrt(c).to(like.dtype)
    return torch.as_tensor(math.sqrt(c), dtype=like.dtype, device=like.device)


def time_part(x: Tensor, c: Tensor | float, dim: int = -1) -> Tensor:
    """Return the time part ``sqrt(1/c + |x_s|^2)`` of points, dimension ``dim`` kept.

    Parameters
    ----------
    x : Tensor
        Space parts with their dimension at ``dim``, float32 or float64.
    c : Tensor or float
        Curvature magnitude.
    dim : int, default -1

    Returns
    -------
    Tensor
        As ``x`` with size 1 at ``dim``.
    """
    return torch.hypot(point_norm(x, dim), 1 / root_of(c, x))


def geodesic_scale(x: Tensor, c: Tensor | float, factor: Tensor | float, dim: int = -1) -> Tensor:
    """Multiply the distance of points to the origin by ``factor``, along their rays.

    Parameters
    ----------
    x : Tensor
        Space parts with their dimension at ``dim``.
    c : Tensor or float
        Curvature magnitude.
    factor : Tensor or float
        A number, or a tensor that broadcasts against ``x`` with size 1 at ``dim``.
    dim : int, default -1

    Returns
    -------
    Tensor
        ``sinh(factor rho) / sinh(rho) x`` with rho the distance times ``sqrt(c)``.
    """
    (x,) = prepare(x)
    p = root_of(c, x) * point_norm(x, dim)
    per_radius = asinhc(p)  # rho / p
    return sinhc(p * per_radius * factor) * factor * per_radius * x


def expmap0(z: Tensor, c: Tensor | float, dim: int = -1) -> Tensor:
    """Exponential map at the origin with the manifold dimension at ``dim``."""
    (z,) = prepare(z)
    return sinhc(root_of(c, z) * point_norm(z, dim)) * z


def logmap0(x: Tensor, c: Tensor | float, dim: int = -1) -> Tensor:
    """Logarithm at the origin with the manifold dimension at ``dim``."""
    (x,) = prepare(x)
    return asinhc(root_of(c, x) * point_norm(x, dim)) * x


def rescale(
    x: Tensor,
    c: Tensor | float,
    slope: Tensor | float = 3.0,
    max_dist: Tensor | float | None = None,
    dim: int = -1,
) -> Tensor:
    """Maximum-distance rescaling with the manifold dimension at ``dim``.

    See :func:`hypeeg.geometry.rescaling.rescale`, which has the formula and the constants.
    """
    (x,) = prepare(x)
    root = root_of(c, x)
    if max_dist is None:
        cap = largest_distance(1.0, x.dtype)  # in units of 1/sqrt(c)
    else:
        cap = root * max_dist
    rate = math.atanh(0.99) / slope
    p = root * point_norm(x, dim)
    per_radius = asinhc(p)
    rho = p * per_radius
    shrink = rate * tanhc(rho * rate / cap)  # rho' / rho
    return sinhc(rho * shrink) * shrink * per_radius * x


def rescale_tangent(z: Tensor, c: Tensor | float, dim: int = -1) -> Tensor:
    """Maximum-distance rescaling of features that are still to be lifted, short ones kept.

    ``expmap0`` of the result of ``z atanh(0.99) / slope`` is :func:`rescale` of ``expmap0(z)``,
    without the overflow of the exponential map on long features.

    Parameters
    ----------
    z : Tensor
        Tangent vectors at the origin, already multiplied by ``atanh(0.99) / slope``.
    c : Tensor or float
        Curvature magnitude.
    dim : int, default -1
        Axis of the features.

    Returns
    -------
    Tensor
        ``D_max tanh(|z| / D_max) z / |z|``, in the shape of ``z``.
    """
    return z * tanhc(point_norm(z, dim) / largest_distance(c, z.dtype).to(z.dtype))
