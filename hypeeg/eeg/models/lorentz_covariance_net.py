"""Lorentz attention between the covariance matrices of windows."""

from __future__ import annotations

import math
from typing import Any

from braindecode.models.base import EEGModuleMixin
from torch import Tensor, nn

from hypeeg.eeg.models.covariance_attention_net import WindowTangents
from hypeeg.eeg.models.pieces import (
    Head,
    HyperbolicNetwork,
    TangentRescale,
    check_head,
    check_trials,
    make_head,
)
from hypeeg.geometry import Lorentz
from hypeeg.nn import (
    Lift,
    LorentzMLR,
    LorentzMultiheadAttention,
    LorentzPrototypes,
    LorentzResidual,
    Rescale,
)


class LorentzCovarianceNet(HyperbolicNetwork, EEGModuleMixin, nn.Module):
    r"""Lorentz attention between the covariance matrices of windows, in the spirit of MAtt [1]_.

    Convolutions, covariance matrices of windows and their log-Euclidean vectors, which the
    exponential map at the origin lifts to the hyperboloid within the maximum distance; Lorentz
    attention between windows with a residual connection; the Lorentz centroid over windows; a
    Lorentz multinomial logistic regression or prototypes. With the former it becomes
    :class:`~hypeeg.eeg.models.covariance_attention_net.CovarianceAttentionNet` as ``c -> 0``.

    Parameters
    ----------
    n_chans, n_outputs, n_times : int
        Channels, classes, samples per trial.
    n_filters : int, default 16
        Spatial filters, the size of the covariance matrices.
    filter_time_length : int, default 25
        Length of the temporal kernels in samples.
    n_windows : int, default 4
        Windows a trial is cut into.
    shrinkage : float, default 0.05
        Weight of the identity in the covariance matrices, in (0, 1].
    embedding_dim : int, default 32
        Dimension of the points.
    num_heads : int, default 4
        A divisor of ``embedding_dim``.
    activation : type of nn.Module, default Identity
        After the linear layer that leads to the vectors that are lifted.
    drop_prob, att_drop_prob : float, default 0.25 and 0.0
    head : {"mlr", "prototypes"}, default "mlr"
    c : float, default 1.0
        Initial curvature magnitude; the space has curvature ``-c``.
    learnable_curvature : bool, default True
        Whether the curvature is learned.
    lift_scale : float, optional
        Factor on the vectors before the lift; by default one over the square root of their length.
    rescale_slope : float, default 3.0
        Slope of the maximum-distance rescaling, at least 2.65.
    chs_info : list of dict, optional
        ``info["chs"]`` of MNE.
    input_window_seconds, sfreq : float, optional
        Window length in seconds and sampling frequency in Hz.

    References
    ----------
    .. [1] Y.-T. Pan, J.-L. Chou, C.-S. Wei: MAtt: a manifold attention network for EEG decoding,
       NeurIPS 2022. There attention averages on the manifold of matrices.
    """

    def __init__(
        self,
        n_chans: int | None = None,
        n_outputs: int | None = None,
        n_times: int | None = None,
        *,
        n_filters: int = 16,
        filter_time_length: int = 25,
        n_windows: int = 4,
        shrinkage: float = 0.05,
        embedding_dim: int = 32,
        num_heads: int = 4,
        activation: type[nn.Module] = nn.Identity,
        drop_prob: float = 0.25,
        att_drop_prob: float = 0.0,
        head: Head = "mlr",
        c: float = 1.0,
        learnable_curvature: bool = True,
        lift_scale: float | None = None,
        rescale_slope: float = 3.0,
        chs_info: list[dict[str, Any]] | None = None,
        input_window_seconds: float | None = None,
        sfreq: float | None = None,
    ) -> None:
        check_head(head)
        EEGModuleMixin.__init__(
            self,
            n_outputs=n_outputs,
            n_chans=n_chans,
            chs_info=chs_info,
            n_times=n_times,
            input_window_seconds=input_window_seconds,
            sfreq=sfreq,
        )
        self.mapping: dict[str, str] = {}
        manifold = Lorentz(c, learnable_curvature)
        scale = 1 / math.sqrt(embedding_dim) if lift_scale is None else lift_scale
        self.encoder = WindowTangents(
            self.n_chans,
            self.n_times,
            n_filters,
            filter_time_length,
            n_windows,
            shrinkage,
            embedding_dim,
            drop_prob,
            activation,
        )
        self.rescale = TangentRescale(manifold, scale, rescale_slope)
        self.lift = Lift(manifold)
        self.attention = LorentzMultiheadAttention(
            embedding_dim, num_heads, att_drop_prob, manifold=manifold
        )
        # What the twin starts from, in units of the lifted vectors.
        start = -math.log(2 * math.sqrt(embedding_dim // num_heads) * self.rescale.shrink**2)
        nn.init.constant_(self.attention.log_scale, start)
        self.residual = LorentzResidual(manifold, rescale=False)
        self.residual_rescale = Rescale(manifold, rescale_slope)
        shrink = self.rescale.shrink * math.atanh(0.99) / rescale_slope
        self.final_layer: LorentzMLR | LorentzPrototypes = make_head(
            head, embedding_dim, self.n_outputs, manifold, shrink
        )

    def _logits(self, x: Tensor, **inputs: Any) -> Any:
        check_trials(x, self.n_chans, self.n_times)
        points = self.lift(self.rescale(self.encoder(x)))
        points = self.residual_rescale(self.residual(points, self.attention(points)))
        return self.final_layer(self.manifold.centroid(points))
