"""From one hyperboloid to another of another curvature."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hypeeg.geometry import Lorentz


class ManifoldChange(nn.Module):
    r"""Carry points from one manifold to another along the rays of the origin.

    ``x' = rescale(exp_o^{c2}(log_o^{c1}(x)))`` [1]_: distances to the origin are kept, up to the
    rescaling to the maximum distance of the target.

    Parameters
    ----------
    source, target : Lorentz
        Manifolds of input and output.
    slope : float or None, default 3.0
        Slope of the maximum-distance rescaling; None for none.
    axis : int, default -1
        Manifold dimension; 1 for the layout of convolutions.

    Raises
    ------
    ValueError
        If ``slope`` is below 2.65.

    Notes
    -----
    Input and output have one shape. Both curvatures receive gradients.

    References
    ----------
    .. [1] arXiv 2405.13979: one curvature for the encoder, one for the head.
    """

    def __init__(
        self, source: Lorentz, target: Lorentz, slope: float | None = 3.0, axis: int = -1
    ) -> None:
        super().__init__()
        if slope is not None and not slope >= 2.65:
            raise ValueError(f"slope must be at least 2.65, or small norms grow; got {slope}")
        self.source = source
        self.target = target
        self.slope = slope
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        """Return the points on the target."""
        with torch.autocast(x.device.type, enabled=False):
            x = self.target.expmap0(self.source.logmap0(x.movedim(self.axis, -1)))
            if self.slope is not None:
                x = self.target.rescale(x, self.slope)
            return x.movedim(-1, self.axis)

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return f"slope={self.slope}, axis={self.axis}"
