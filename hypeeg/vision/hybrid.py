"""A Euclidean residual network with a hyperbolic head."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hypeeg.geometry import Lorentz
from hypeeg.nn import HyperbolicHead
from hypeeg.nn.hyperbolize import Head
from hypeeg.vision.euclidean import ResNetFeatures
from hypeeg.vision.resnet import Stem, check_stages


class HybridResNet(nn.Module):
    """Euclidean residual network whose pooled features are classified on the hyperboloid.

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
    manifold : Lorentz, optional
        Manifold of the embedding; by default of curvature -1, learned.
    head : {"mlr", "prototypes"}, default "mlr"
        Head on the points.
    embedding_dim : int, optional
        Dimension of the points; by default ``widths[-1]``.
    scale, slope
        Of the lift and the rescaling; see :class:`hypeeg.nn.HyperbolicHead`.

    Attributes
    ----------
    manifold : Lorentz
    final_layer : HyperbolicHead
        The input of its classifier is the embedding.

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
        manifold: Lorentz | None = None,
        head: Head = "mlr",
        embedding_dim: int | None = None,
        scale: float | None = None,
        slope: float = 3.0,
    ) -> None:
        super().__init__()
        check_stages(blocks, widths, stem, head)
        self.manifold = Lorentz(1.0, learnable=True) if manifold is None else manifold
        self.features = ResNetFeatures(in_channels, blocks, widths, stem)
        self.final_layer = HyperbolicHead(
            widths[-1],
            n_classes,
            manifold=self.manifold,
            head=head,
            scale=scale,
            slope=slope,
            embedding_dim=embedding_dim,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.final_layer(self.features(x))
        return logits
