"""Transposed convolutions between hyperboloids, the manifold dimension at the channel axis."""

from __future__ import annotations

from hypeeg.geometry import Lorentz
from hypeeg.nn.conv import LorentzConv, Size
from hypeeg.nn.linear import LinearKind


class _LorentzConvTranspose(LorentzConv):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        *,
        manifold: Lorentz,
        kind: LinearKind = "hyperplane",
        rescale: bool | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            manifold=manifold,
            kind=kind,
            rescale=rescale,
            output_padding=output_padding,
        )


class LorentzConvTranspose2d(_LorentzConvTranspose):
    """Two-dimensional transposed convolution of points; channels are the manifold dimension.

    It is the convolution of the input with origins put between and around its points: each
    output point is a Lorentz linear layer of the concatenation of those input points that
    reach it.

    Parameters
    ----------
    in_channels, out_channels : int
        Dimensions of the input and output points.
    kernel_size, stride, padding, output_padding, groups, bias, dilation
        As in ``torch.nn.ConvTranspose2d``, in its order.
    manifold : Lorentz
        Manifold of input and output.
    kind : {"hyperplane", "extrinsic", "boost", "tangent"}, default "hyperplane"
        See :class:`LorentzConv2d`.
    rescale : bool, optional
        Whether maximum-distance rescaling follows; by default for kind ``"boost"`` only.

    Attributes
    ----------
    weight : Parameter, shape (in_channels, out_channels / groups, ...)
    bias : Parameter, shape (out_channels,), or None
    scale : Parameter, 0-dimensional, or None

    Raises
    ------
    ValueError
        As :class:`LorentzConv2d`.

    Notes
    -----
    Input ``(N, in_channels, H, W)``, output ``(N, out_channels, H', W')``.
    """

    spatial = 2


class LorentzConvTranspose1d(_LorentzConvTranspose):
    """One-dimensional transposed convolution of points; channels are the manifold dimension.

    See :class:`LorentzConvTranspose2d`, whose parameters it takes.

    Notes
    -----
    Input ``(N, in_channels, L)``, output ``(N, out_channels, L')``.
    """

    spatial = 1
