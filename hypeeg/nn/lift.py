"""The way onto the hyperboloid and maximum-distance rescaling, as layers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypeeg.geometry import Lorentz
from hypeeg.nn.pointwise import expmap0, rescale

SMALLEST_SLOPE = 2.65


class Lift(nn.Module):
    """Map Euclidean features to points: the exponential map at the origin of scaled features.

    Parameters
    ----------
    manifold : Lorentz
        Manifold of the points.
    scale : float, default 1.0
        Factor on the features before the map. Features of length ``L`` become points at
        distance ``scale * L`` from the origin; a distance near ``1/sqrt(c)`` is where curvature
        begins to matter.
    axis : int, default -1
        Axis of the features; 1 for channels.

    Raises
    ------
    ValueError
        If ``scale`` is not positive.

    Notes
    -----
    Input and output have one shape, ``(..., n)`` by default.
    """

    def __init__(self, manifold: Lorentz, scale: float = 1.0, axis: int = -1) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"scale must be positive; got {scale}")
        self.manifold = manifold
        self.scale = float(scale)
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        """Return the space parts of the lifted features."""
        return expmap0(x if self.scale == 1 else x * self.scale, self.manifold.c, self.axis)

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return f"scale={self.scale:.4g}, axis={self.axis}"


class Rescale(nn.Module):
    """Maximum-distance rescaling of points; see :func:`hypeeg.geometry.rescaling.rescale`.

    Parameters
    ----------
    manifold : Lorentz
        Manifold of the points.
    slope : float, default 3.0
        At least 2.65, below which small norms would grow.
    max_dist : float, optional
        Largest distance to the origin; by default what the dtype keeps at the current curvature.
    learnable : bool, default False
        Whether the slope is learned, as ``2.65 + softplus(raw_slope)``.
    axis : int, default -1
        Axis of the manifold dimension; 1 for channels.

    Attributes
    ----------
    raw_slope : Parameter, 0-dimensional
        Only of a learnable slope.

    Raises
    ------
    ValueError
        If ``slope`` is below 2.65 (or equal to it when learned) or ``max_dist`` is not positive.

    Notes
    -----
    Input and output have one shape, ``(..., n)`` by default.
    """

    def __init__(
        self,
        manifold: Lorentz,
        slope: float = 3.0,
        max_dist: float | None = None,
        *,
        learnable: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__()
        if not slope >= SMALLEST_SLOPE:
            raise ValueError(f"slope must be at least 2.65, or small norms grow; got {slope}")
        if max_dist is not None and not max_dist > 0:
            raise ValueError(f"max_dist must be positive; got {max_dist}")
        if learnable and slope == SMALLEST_SLOPE:
            raise ValueError("a learnable slope must start above 2.65, its bound; got 2.65")
        self.manifold = manifold
        self._slope = float(slope)
        self.max_dist = max_dist
        self.learnable = learnable
        self.axis = axis
        if learnable:
            raw = math.log(math.expm1(slope - SMALLEST_SLOPE))
            self.raw_slope = nn.Parameter(torch.tensor(raw))

    @property
    def slope(self) -> float | Tensor:
        """The slope: a number, or a tensor where it is learned."""
        return SMALLEST_SLOPE + F.softplus(self.raw_slope) if self.learnable else self._slope

    def forward(self, x: Tensor) -> Tensor:
        """Return the rescaled space parts."""
        return rescale(x, self.manifold.c, self.slope, self.max_dist, self.axis)

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        slope = self.slope.detach() if isinstance(self.slope, Tensor) else self.slope
        return (
            f"slope={slope:.4g}, max_dist={self.max_dist}, learnable={self.learnable}, "
            f"axis={self.axis}"
        )
