"""The Lorentz-core bottleneck: a hyperbolic convolution inside a Euclidean residual block."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hypeeg.geometry import Lorentz
from hypeeg.nn.conv import LorentzConv2d
from hypeeg.nn.lift import Lift, Rescale
from hypeeg.nn.linear import LinearKind
from hypeeg.nn.pointwise import logmap0


class LorentzCoreBlock(nn.Module):
    """Bottleneck with a hyperbolic core [1]_.

    Euclidean 1x1 convolution, lift onto the hyperboloid with maximum-distance rescaling, Lorentz
    3x3 convolution, logarithm at the origin, Euclidean 1x1 convolution, Euclidean shortcut. Input
    and output are Euclidean feature maps.

    Parameters
    ----------
    in_channels : int
        Channels of the input.
    width : int
        Channels of the core, the dimension of its points.
    out_channels : int, optional
        Channels of the output; by default ``in_channels``.
    stride : int, default 1
        Stride of the core's convolution; the shortcut is then a strided 1x1 convolution.
    manifold : Lorentz
        Manifold of the core.
    kind : str, default "hyperplane"
        Kind of the core's convolution; see :class:`LorentzConv2d`.
    scale : float, optional
        Factor on features before the lift; by default ``1 / sqrt(width)``, with which normalised
        features are lifted to radius about 1.
    norm_layer : callable, default torch.nn.BatchNorm2d
        Makes the Euclidean normalisation of a number of channels.

    Notes
    -----
    Input ``(N, in_channels, H, W)``, output ``(N, out_channels, H', W')``, Euclidean features.

    References
    ----------
    .. [1] arXiv 2405.13979.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        out_channels: int | None = None,
        stride: int = 1,
        *,
        manifold: Lorentz,
        kind: LinearKind = "hyperplane",
        scale: float | None = None,
        norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        out_channels = in_channels if out_channels is None else out_channels
        self.manifold = manifold
        self.reduce = nn.Conv2d(in_channels, width, 1, bias=False)
        self.norm1 = norm_layer(width)
        self.lift = Lift(manifold, width**-0.5 if scale is None else scale, axis=1)
        self.rescale = Rescale(manifold, axis=1)
        self.core = LorentzConv2d(
            width, width, 3, stride, 1, manifold=manifold, kind=kind, rescale=True
        )
        self.norm2 = norm_layer(width)
        self.expand = nn.Conv2d(width, out_channels, 1, bias=False)
        self.norm3 = norm_layer(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or out_channels != in_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                norm_layer(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the output feature map."""
        y = torch.relu(self.norm1(self.reduce(x)))
        y = logmap0(self.core(self.rescale(self.lift(y))), self.manifold.c, 1)
        y = self.norm3(self.expand(torch.relu(self.norm2(y))))
        out: Tensor = torch.relu(y + self.shortcut(x))
        return out
