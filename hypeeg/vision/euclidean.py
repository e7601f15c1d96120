"""The Euclidean residual network: twin of the hyperbolic ones, and the backbone of the hybrid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hypeeg.nn.hyperbolize import Head
from hypeeg.vision.resnet import Stem, check_stages


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation and a shortcut [1]_.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of input and output.
    stride : int, default 1
        Stride of the first convolution.

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren, J. Sun: Deep residual learning for image recognition, 2016.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the feature map."""
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class ResNetFeatures(nn.Sequential):
    """Residual network up to its pooled features; blocks and widths as in ``LorentzResNet``.

    Parameters
    ----------
    in_channels : int
        Channels of the images.
    blocks, widths : sequence of int
        Blocks and channels of each stage.
    stem : {"cifar", "imagenet"}
        See :class:`hypeeg.vision.LorentzResNet`.

    Notes
    -----
    Input ``(N, in_channels, H, W)``, output ``(N, widths[-1])``.
    """

    def __init__(
        self, in_channels: int, blocks: Sequence[int], widths: Sequence[int], stem: Stem
    ) -> None:
        size, stride, padding = (3, 1, 1) if stem == "cifar" else (7, 2, 3)
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, widths[0], size, stride, padding, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        ]
        if stem == "imagenet":
            layers.append(nn.AvgPool2d(3, 2, 1, count_include_pad=False))
        channels = widths[0]
        for i, (count, width) in enumerate(zip(blocks, widths, strict=True)):
            for j in range(count):
                layers.append(BasicBlock(channels, width, 2 if i > 0 and j == 0 else 1))
                channels = width
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class EuclideanPrototypes(nn.Module):
    """Class prototypes in flat space: twin of :class:`hypeeg.nn.LorentzPrototypes`.

    Parameters
    ----------
    in_features : int
        Dimension of the features.
    n_classes : int
        Number of classes.
    init_radius : float
        Scale of the prototypes' initial lengths.

    Notes
    -----
    Input ``(N, n)``, output ``(N, n_classes)``: minus the squared distances.
    """

    def __init__(self, in_features: int, n_classes: int, init_radius: float = 0.1) -> None:
        super().__init__()
        spread = init_radius / math.sqrt(in_features)
        self.prototypes = nn.Parameter(spread * torch.randn(n_classes, in_features))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return -(x.unsqueeze(-2) - self.prototypes).square().sum(dim=-1)


class ResNet(nn.Module):
    """Euclidean residual network, with the blocks and widths of its hyperbolic twins.

    Parameters
    ----------
    n_classes : int
        Number of classes.
    blocks, widths : sequence of int
        Blocks and channels of each stage; the default is ResNet-18.
    in_channels : int, default 3
        Channels of the images.
    stem : {"cifar", "imagenet"}, default "cifar"
        A 3x3 convolution, or a 7x7 one of stride 2 and a pooling of stride 2.
    head : {"mlr", "prototypes"}, default "mlr"
        A linear layer, or the squared distances to a prototype of each class.
    embedding_dim : int, optional
        Width of a linear layer before the head.

    Attributes
    ----------
    final_layer : nn.Linear or EuclideanPrototypes
        Its input is the embedding.

    Raises
    ------
    ValueError
        If an argument cannot be used.

    Notes
    -----
    Input ``(N, in_channels, H, W)``, output ``(N, n_classes)`` logits.
    """

    def __init__(
        self,
        n_classes: int,
        blocks: Sequence[int] = (2, 2, 2, 2),
        widths: Sequence[int] = (64, 128, 256, 512),
        in_channels: int = 3,
        *,
        stem: Stem = "cifar",
        head: Head = "mlr",
        embedding_dim: int | None = None,
    ) -> None:
        super().__init__()
        check_stages(blocks, widths, stem, head)
        if embedding_dim is not None and embedding_dim < 1:
            raise ValueError(f"embedding_dim must be positive; got {embedding_dim}")
        self.features = ResNetFeatures(in_channels, blocks, widths, stem)
        width = widths[-1]
        self.bottleneck: nn.Module = nn.Identity()
        if embedding_dim is not None:
            self.bottleneck, width = nn.Linear(width, embedding_dim), embedding_dim
        self.final_layer: nn.Module
        if head == "mlr":
            self.final_layer = nn.Linear(width, n_classes)
        else:
            self.final_layer = EuclideanPrototypes(width, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.final_layer(self.bottleneck(self.features(x)))
        return logits
