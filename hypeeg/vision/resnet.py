"""Residual networks whose every layer acts on points of the hyperboloid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from torch import Tensor, nn

from hypeeg.geometry import Lorentz
from hypeeg.nn.activation import LorentzReLU
from hypeeg.nn.batchnorm import LorentzBatchNorm2d
from hypeeg.nn.conv import LorentzConv2d
from hypeeg.nn.heads import LorentzMLR, LorentzPrototypes
from hypeeg.nn.hyperbolize import Head
from hypeeg.nn.lift import Lift, Rescale
from hypeeg.nn.linear import LinearKind
from hypeeg.nn.pooling import LorentzAvgPool2d, LorentzGlobalAvgPool
from hypeeg.nn.residual import LorentzResidual

Stem = Literal["cifar", "imagenet"]


def check_stages(blocks: Sequence[int], widths: Sequence[int], stem: str, head: str) -> None:
    """Check what all residual networks of this package take.

    Raises
    ------
    ValueError
        If the stem or the head is unknown, or ``blocks`` and ``widths`` differ in length, are
        empty, or hold a number below 1.
    """
    for name, value, allowed in (("stem", stem, get_args(Stem)), ("head", head, get_args(Head))):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {allowed}; got {value!r}")
    if len(blocks) != len(widths) or not blocks or min(*blocks, *widths) < 1:
        raise ValueError(
            f"blocks and widths must have one entry for each stage, each at least 1; "
            f"got {tuple(blocks)} and {tuple(widths)}"
        )


class LorentzBasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation and a shortcut, all of points.

    The branches are summed in the space parts and rescaled to the maximum distance [1]_.

    Parameters
    ----------
    in_channels, out_channels : int
        Dimensions of the input and output points.
    stride : int, default 1
        Stride of the first convolution; where it or the channels change, the shortcut is a 1x1
        convolution with batch normalisation.
    manifold : Lorentz
        Manifold of input and output.
    kind : {"hyperplane", "extrinsic", "boost", "tangent"}, default "hyperplane"
        Kind of the convolutions; see :class:`hypeeg.nn.conv.LorentzConv2d`.
    bias : bool, default True
        Whether the convolutions have offsets. Batch normalisation moves the centroid of their
        output, which undoes no offset exactly: an offset bends the map.

    Notes
    -----
    Input ``(N, in_channels, H, W)``, output ``(N, out_channels, H', W')``, the manifold dimension
    at axis 1.

    References
    ----------
    .. [1] arXiv 2405.13979.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        manifold: Lorentz,
        kind: LinearKind = "hyperplane",
        bias: bool = True,
    ) -> None:
        super().__init__()
        options: dict[str, Any] = {"manifold": manifold, "kind": kind, "bias": bias}
        self.conv1 = LorentzConv2d(in_channels, out_channels, 3, stride, 1, **options)
        self.norm1 = LorentzBatchNorm2d(out_channels, manifold=manifold)
        self.conv2 = LorentzConv2d(out_channels, out_channels, 3, 1, 1, **options)
        self.norm2 = LorentzBatchNorm2d(out_channels, manifold=manifold)
        self.activation = LorentzReLU(manifold)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                LorentzConv2d(in_channels, out_channels, 1, stride, **options),
                LorentzBatchNorm2d(out_channels, manifold=manifold),
            )
        self.residual = LorentzResidual(manifold, axis=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the space parts of the output points."""
        y = self.activation(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        out: Tensor = self.activation(self.residual(y, self.shortcut(x)))
        return out


class LorentzResNet(nn.Module):
    """Residual network of images on the hyperboloid.

    Pixels are lifted to points, whose dimension is the channels. Lorentz convolutions, batch
    normalisations, activations and residual sums follow as in the Euclidean network [1]_ of the
    same blocks; the centroid of all points of the last feature map is the embedding and a Lorentz
    multinomial logistic regression classifies it [2]_.

    Parameters
    ----------
    n_classes : int
        Number of classes.
    blocks : sequence of int, default (2, 2, 2, 2)
        Number of blocks of each stage; the default is ResNet-18.
    widths : sequence of int, default (64, 128, 256, 512)
        Channels of each stage; all but the first halve the feature map.
    in_channels : int, default 3
        Channels of the images.
    stem : {"cifar", "imagenet"}, default "cifar"
        A 3x3 convolution, or a 7x7 one of stride 2 and a centroid pooling of stride 2.
    manifold : Lorentz, optional
        Manifold of all layers; by default of curvature -1, learned.
    kind : {"hyperplane", "extrinsic", "boost", "tangent"}, default "hyperplane"
        Kind of the convolutions.
    bias : bool, default True
        Whether the convolutions have offsets.
    lift_scale : float, default 0.5
        Factor on the pixels, normalised as usual, before the lift.
    head : {"mlr", "prototypes"}, default "mlr"
        Multinomial logistic regression, or the squared distances to a prototype of each class.
    temperature : float, default 1.0
        Factor on the logits. Batch normalisation leaves points at distances of about 1 whatever
        their dimension, features of the Euclidean network at about ``sqrt(widths[-1])``: with that
        (squared for prototypes) the logits are of one size at the start.

    Attributes
    ----------
    manifold : Lorentz
    final_layer : LorentzMLR or LorentzPrototypes
        Its input, ``(N, widths[-1])`` space parts, is the embedding.

    Raises
    ------
    ValueError
        If ``stem`` or ``head`` is unknown, or ``blocks`` and ``widths`` differ in length or are
        empty.

    Notes
    -----
    Input ``(N, in_channels, H, W)``, output ``(N, n_classes)`` logits. Rescaling to the maximum
    distance follows the lift and each residual sum; batch normalisation follows each convolution.

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren, J. Sun: Deep residual learning for image recognition, 2016.
    .. [2] arXiv 2405.13979.
    """

    def __init__(
        self,
        n_classes: int,
        blocks: Sequence[int] = (2, 2, 2, 2),
        widths: Sequence[int] = (64, 128, 256, 512),
        in_channels: int = 3,
        *,
        stem: Stem = "cifar",
        manifold: Lorentz | None = None,
        kind: LinearKind = "hyperplane",
        bias: bool = True,
        lift_scale: float = 0.5,
        head: Head = "mlr",
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        check_stages(blocks, widths, stem, head)
        m = Lorentz(1.0, learnable=True) if manifold is None else manifold
        self.manifold = m
        options: dict[str, Any] = {"manifold": m, "kind": kind, "bias": bias}
        self.lift = Lift(m, lift_scale, axis=1)
        self.rescale = Rescale(m, axis=1)
        size, stride, padding = (3, 1, 1) if stem == "cifar" else (7, 2, 3)
        self.stem = nn.Sequential(
            LorentzConv2d(in_channels, widths[0], size, stride, padding, **options),
            LorentzBatchNorm2d(widths[0], manifold=m),
            LorentzReLU(m),
        )
        if stem == "imagenet":
            self.stem.append(LorentzAvgPool2d(3, 2, 1, False, manifold=m))
        stages, channels = [], widths[0]
        for i, (count, width) in enumerate(zip(blocks, widths)):
            for j in range(count):
                step = 2 if i > 0 and j == 0 else 1
                stages.append(LorentzBasicBlock(channels, width, step, **options))
                channels = width
        self.blocks = nn.Sequential(*stages)
        self.pool = LorentzGlobalAvgPool(m)
        self.final_layer: LorentzMLR | LorentzPrototypes
        if head == "mlr":
            self.final_layer = LorentzMLR(channels, n_classes, manifold=m, temperature=temperature)
        else:
            self.final_layer = LorentzPrototypes(
                channels, n_classes, manifold=m, temperature=1 / temperature
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        points = self.stem(self.rescale(self.lift(x)))
        logits: Tensor = self.final_layer(self.pool(self.blocks(points)))
        return logits


def lorentz_resnet18(n_classes: int, **options: Any) -> LorentzResNet:
    """Return a :class:`LorentzResNet` with the blocks and widths of ResNet-18.

    Parameters
    ----------
    n_classes : int
        Number of classes.
    **options
        Further arguments of :class:`LorentzResNet`.
    """
    return LorentzResNet(n_classes, (2, 2, 2, 2), (64, 128, 256, 512), **options)
