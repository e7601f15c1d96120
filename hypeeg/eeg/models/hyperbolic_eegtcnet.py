"""EEGTCNet with a hyperbolic head."""

from __future__ import annotations

from braindecode.models import EEGTCNet

from hypeeg.eeg.models.hyperbolic_head import HeadOnly
from hypeeg.eeg.models.pieces import Head


class HyperbolicEEGTCNet(HeadOnly, EEGTCNet):
    r"""EEGTCNet whose last time step is a point of the hyperboloid, classified there.

    All layers but the last are those of :class:`braindecode.models.EEGTCNet` under their names, the
    max-norm of the classifier's directions included. With the ``"mlr"`` head the network is an
    EEGTCNet as ``c -> 0``. Other arguments than the following are those of that class.

    Parameters
    ----------
    head : {"mlr", "prototypes"}, default "mlr"
    embedding_dim : int, optional
        Dimension of the points, to which a linear layer leads; by default that of the features.
    c : float, default 1.0
        Initial curvature magnitude; the space has curvature ``-c``.
    learnable_curvature : bool, default True
        Whether the curvature is learned.
    lift_scale : float, optional
        Factor on the features before the lift; by default one over the square root of their number.
    rescale_slope : float, default 3.0
        Slope of the maximum-distance rescaling, at least 2.65.
    """

    def _convert(
        self,
        *,
        head: Head = "mlr",
        embedding_dim: int | None = None,
        c: float = 1.0,
        learnable_curvature: bool = True,
        lift_scale: float | None = None,
        rescale_slope: float = 3.0,
    ) -> None:
        training = self.training
        self.eval()
        self.get_output_shape()  # too few samples for the poolings are found here
        self.train(training)
        super()._convert(
            head=head,
            embedding_dim=embedding_dim,
            c=c,
            learnable_curvature=learnable_curvature,
            lift_scale=lift_scale,
            rescale_slope=rescale_slope,
        )
