"""The way onto the hyperboloid and maximum-distance rescaling, as layers."""

from __future__ import annotations

from torch import Tensor, nn

from hypeeg.geometry import Lorentz


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

    Notes
    -----
    Input and output have shape ``(..., n)``.
    """

    def __init__(self, manifold: Lorentz, scale: float = 1.0) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"scale must be positive; got {scale}")
        self.manifold = manifold
        self.scale = float(scale)

    def forward(self, x: Tensor) -> Tensor:
        """Return the space parts of the lifted features."""
        return self.manifold.expmap0(x * self.scale)

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return f"scale={self.scale:.4g}"


class Rescale(nn.Module):
    """Maximum-distance rescaling of points; see :func:`hypeeg.geometry.rescaling.rescale`.

    Parameters
    ----------
    manifold : Lorentz
        Manifold of the points.
    slope : float, default 3.0
        At least 2.65.
    max_dist : float, optional
        Largest distance to the origin; by default what the dtype keeps at the current curvature.

    Notes
    -----
    Input and output have shape ``(..., n)``.
    """

    def __init__(
        self, manifold: Lorentz, slope: float = 3.0, max_dist: float | None = None
    ) -> None:
        super().__init__()
        if not slope >= 2.65:
            raise ValueError(f"slope must be at least 2.65, or small norms grow; got {slope}")
        self.manifold = manifold
        self.slope = slope
        self.max_dist = max_dist

    def forward(self, x: Tensor) -> Tensor:
        """Return the rescaled space parts."""
        return self.manifold.rescale(x, self.slope, self.max_dist)

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return f"slope={self.slope}, max_dist={self.max_dist}"
