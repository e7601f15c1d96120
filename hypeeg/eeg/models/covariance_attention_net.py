"""Attention between the covariance matrices of windows."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from braindecode.models.base import EEGModuleMixin
from torch import Tensor, nn
from torch.nn import functional as F

from hypeeg.eeg.models.logm import covariances, half_vector, logm
from hypeeg.eeg.models.pieces import check_trials
from hypeeg.nn.linear import working_dtype

Scores = Literal["distance", "dot"]


class WindowTangents(nn.Module):
    """Log-Euclidean vectors of the covariance matrices of successive windows.

    A spatial and a temporal convolution, each with batch normalisation; the covariance matrix of
    the filters in each of ``n_windows`` windows without overlap, shrunk; its logarithm as a vector;
    batch normalisation, whose mean is the log-Euclidean mean; a linear layer.

    Parameters
    ----------
    n_chans, n_times : int
    n_filters : int
        Spatial filters, the size of the matrices.
    filter_time_length : int
        Length of the temporal kernels in samples.
    n_windows : int
    shrinkage : float
        Weight of the identity in the covariance matrices, in (0, 1].
    embedding_dim : int
        Length of the vectors.
    drop_prob : float
    activation : type of nn.Module
        After the linear layer.

    Raises
    ------
    ValueError
        If an option is out of its range or a window has fewer than two samples.

    Notes
    -----
    Input ``(N, n_chans, n_times)``, output ``(N, n_windows, embedding_dim)``.
    """

    def __init__(
        self,
        n_chans: int,
        n_times: int,
        n_filters: int,
        filter_time_length: int,
        n_windows: int,
        shrinkage: float,
        embedding_dim: int,
        drop_prob: float,
        activation: type[nn.Module],
    ) -> None:
        super().__init__()
        if not 0 < shrinkage <= 1:
            raise ValueError(f"shrinkage must lie in (0, 1]; got {shrinkage}")
        for name, number in (("n_filters", n_filters), ("n_windows", n_windows)):
            if number < 1:
                raise ValueError(f"{name} must be positive; got {number}")
        self.n_windows, self.window = n_windows, n_times // n_windows
        if self.window < 2:
            raise ValueError(
                f"n_times={n_times} is too short for n_windows={n_windows}: a window needs two "
                "samples; give longer trials or fewer windows"
            )
        self.shrinkage = float(shrinkage)
        self.conv_spatial = nn.Conv1d(n_chans, n_filters, 1, bias=False)
        self.bnorm_spatial = nn.BatchNorm1d(n_filters)
        self.conv_temporal = nn.Conv1d(
            n_filters, n_filters, filter_time_length, padding="same", bias=False
        )
        self.bnorm_temporal = nn.BatchNorm1d(n_filters)
        self.bnorm_tangent = nn.BatchNorm1d(n_filters * (n_filters + 1) // 2)
        self.drop = nn.Dropout(drop_prob)
        self.project = nn.Linear(self.bnorm_tangent.num_features, embedding_dim)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        """Return the vectors of the windows."""
        x = self.bnorm_spatial(self.conv_spatial(x))
        x = self.bnorm_temporal(self.conv_temporal(x))
        with torch.autocast(x.device.type, enabled=False):
            # Of half precision eigenvalues would be left with the digits of their sum.
            x = x.to(working_dtype(self.project.weight))
            windows = x[..., : self.n_windows * self.window].unflatten(-1, (self.n_windows, -1))
            matrices = covariances(windows.transpose(1, 2), self.shrinkage)
            vectors = half_vector(logm(matrices))
            vectors = self.bnorm_tangent(vectors.flatten(0, 1)).view(vectors.shape)
        z: Tensor = self.activation(self.project(self.drop(vectors)))
        return z


def _orthogonal(n: int) -> nn.Linear:
    # As Lorentz linear layers start.
    layer = nn.Linear(n, n)
    nn.init.orthogonal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class DistanceAttention(nn.Module):
    r"""Attention of vectors, with squared distances or inner products for scores.

    Parameters
    ----------
    embed_dim, num_heads : int
    dropout : float
    scores : {"distance", "dot"}
        ``-s |q - k|^2``, the flat limit of :class:`hypeeg.nn.LorentzMultiheadAttention`, or
        ``2 s q . k``, with a learned ``s`` for each head, initially ``1 / (2 sqrt(d))``.
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float, scores: Scores) -> None:
        super().__init__()
        if num_heads < 1 or embed_dim % num_heads:
            raise ValueError(
                f"num_heads must divide embed_dim; got num_heads={num_heads}, embed_dim={embed_dim}"
            )
        if scores not in get_args(Scores):
            raise ValueError(f"scores must be one of {get_args(Scores)}; got {scores!r}")
        self.num_heads, self.dropout, self.scores = num_heads, dropout, scores
        self.query = _orthogonal(embed_dim)
        self.key = _orthogonal(embed_dim)
        self.value = _orthogonal(embed_dim)
        self.out = _orthogonal(embed_dim)
        start = -math.log(2 * math.sqrt(embed_dim // num_heads))
        self.log_scale = nn.Parameter(torch.full((num_heads,), start))

    def forward(self, x: Tensor) -> Tensor:
        """Return the attended vectors, ``(N, L, n)``."""
        q, k, v = (
            layer(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        scale = self.log_scale.exp().to(q.dtype).view(-1, 1, 1)
        mask = None
        if self.scores == "distance":
            mask = -(k * k).sum(-1).unsqueeze(-2) * scale
            mask = mask.expand(-1, -1, q.shape[-2], -1)
        drop = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(
            2 * scale * q, k, v, attn_mask=mask, dropout_p=drop, scale=1.0
        )
        attended: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return attended


class CovarianceAttentionNet(EEGModuleMixin, nn.Module):
    r"""Attention between the covariance matrices of windows, in the spirit of MAtt [1]_.

    Convolutions, covariance matrices of windows and their log-Euclidean vectors; attention between
    windows with a residual connection; the mean over windows; a linear layer. It is the Euclidean
    twin of ``LorentzCovarianceNet``, which shares all but the geometry.

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
        Length of the vectors that attend to each other.
    num_heads : int, default 4
        A divisor of ``embedding_dim``.
    scores : {"distance", "dot"}, default "distance"
        Attention by squared distances, the limit of Lorentz attention, or by inner products.
    activation : type of nn.Module, default Identity
        After the linear layer that leads to the vectors.
    drop_prob, att_drop_prob : float, default 0.25 and 0.0
    chs_info : list of dict, optional
        ``info["chs"]`` of MNE.
    input_window_seconds, sfreq : float, optional
        Window length in seconds and sampling frequency in Hz.

    References
    ----------
    .. [1] Y.-T. Pan, J.-L. Chou, C.-S. Wei: MAtt: a manifold attention network for EEG decoding,
       NeurIPS 2022. There attention averages on the manifold of matrices.
    """

    n_chans: int
    n_outputs: int
    n_times: int

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
        scores: Scores = "distance",
        activation: type[nn.Module] = nn.Identity,
        drop_prob: float = 0.25,
        att_drop_prob: float = 0.0,
        chs_info: list[dict[str, Any]] | None = None,
        input_window_seconds: float | None = None,
        sfreq: float | None = None,
    ) -> None:
        super().__init__(
            n_outputs=n_outputs,
            n_chans=n_chans,
            chs_info=chs_info,
            n_times=n_times,
            input_window_seconds=input_window_seconds,
            sfreq=sfreq,
        )
        self.mapping: dict[str, str] = {}
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
        self.attention = DistanceAttention(embedding_dim, num_heads, att_drop_prob, scores)
        self.final_layer = nn.Linear(embedding_dim, self.n_outputs)

    def reset_head(self, n_outputs: int) -> None:
        """Replace the head by a new one for ``n_outputs`` classes, a positive number."""
        EEGModuleMixin._set_n_outputs(self, n_outputs)
        weight = self.final_layer.weight
        head = nn.Linear(self.final_layer.in_features, n_outputs)
        self.final_layer = head.to(weight.device, weight.dtype)

    def forward(self, x: Tensor, *, return_features: bool = False) -> Any:
        """Return the logits of trials ``(N, n_chans, n_times)``, or the input of the last layer."""
        check_trials(x, self.n_chans, self.n_times)
        z = self.encoder(x)
        with torch.autocast(x.device.type, enabled=False):
            # In full precision, as its twin on the hyperboloid.
            z = z.to(working_dtype(self.final_layer.weight))
            features = (z + self.attention(z)).mean(1)
            if return_features:
                return {"features": features, "cls_token": None}
            return self.final_layer(features)
