"""MAtt of spd-learn as a model of braindecode."""

from __future__ import annotations

from typing import Any

import torch
from braindecode.models.base import EEGModuleMixin
from torch import Tensor, nn

from hypeeg.eeg.models.pieces import check_trials
from hypeeg.eeg.models.spd import spd_learn
from hypeeg.nn.linear import working_dtype


class MAtt(EEGModuleMixin, nn.Module):
    r"""Manifold attention network [1]_, built of spd-learn's layers.

    A spatial and a temporal convolution, the covariance matrices of successive patches, attention
    between them by log-Euclidean distances, their logarithms and a linear layer. It is a baseline:
    nothing in it is hyperbolic; ``LorentzCovarianceNet`` is in its spirit. Needs the extra
    ``hypeeg[baselines]``.

    Parameters
    ----------
    n_chans, n_outputs, n_times : int
        Channels, classes, samples per trial.
    n_patches : int, default 2
        Patches a trial is cut into.
    temporal_out_channels : int, default 20
        Temporal filters, the size of the first matrices.
    temporal_kernel_size : int, default 12
        Their length in samples; padded by half of it on both sides.
    attention_out_features : int, default 18
        The size of the matrices that attend to each other.
    chs_info : list of dict, optional
        ``info["chs"]`` of MNE.
    input_window_seconds, sfreq : float, optional
        Window length in seconds and sampling frequency in Hz.

    Raises
    ------
    ImportError
        If spd-learn is not installed.
    ValueError
        If a patch has no more samples than a matrix has rows.

    References
    ----------
    .. [1] Y.-T. Pan, J.-L. Chou, C.-S. Wei: MAtt: a manifold attention network for EEG decoding,
       NeurIPS 2022.
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
        n_patches: int = 2,
        temporal_out_channels: int = 20,
        temporal_kernel_size: int = 12,
        attention_out_features: int = 18,
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
        models = spd_learn("models", "MAtt")
        padding = temporal_kernel_size // 2
        samples = self.n_times + 2 * padding - temporal_kernel_size + 1
        if samples // n_patches <= temporal_out_channels:
            raise ValueError(
                f"n_times={self.n_times} is too short for n_patches={n_patches}: the covariance of "
                f"{temporal_out_channels} filters needs more samples; give longer trials, "
                "fewer patches or fewer temporal_out_channels"
            )
        theirs = models.MAtt(
            n_patches=n_patches,
            n_chans=self.n_chans,
            n_outputs=self.n_outputs,
            temporal_out_channels=temporal_out_channels,
            temporal_kernel_size=temporal_kernel_size,
            temporal_padding=padding,
            attention_in_features=temporal_out_channels,
            attention_out_features=attention_out_features,
        )
        self.mapping = {"linear.weight": "final_layer.weight", "linear.bias": "final_layer.bias"}
        for name, layer in theirs.named_children():
            self.add_module("final_layer" if name == "linear" else name, layer)

    def reset_head(self, n_outputs: int) -> None:
        """Replace the head by a new one for ``n_outputs`` classes, a positive number."""
        EEGModuleMixin._set_n_outputs(self, n_outputs)
        old: Any = self.get_submodule("final_layer")
        head = nn.Linear(old.in_features, n_outputs)
        self.final_layer = head.to(old.weight.device, old.weight.dtype)

    def forward(self, x: Tensor, *, return_features: bool = False) -> Any:
        """Return the logits of trials ``(N, n_chans, n_times)``, or the input of the last layer."""
        check_trials(x, self.n_chans, self.n_times)
        layers: Any = self
        z = layers.spatial_batch_norm(layers.spatial_filter(layers.add_extra_dim(x)))
        z = layers.temporal_batch_norm(layers.temporal_feature_extractor(z))
        with torch.autocast(x.device.type, enabled=False):
            # Of half precision eigenvalues would be left with the digits of their sum.
            z = layers.squeeze_channel(z).to(working_dtype(layers.final_layer.weight))
            z = layers.manifold_attention(layers.patch_cov_layer(z))
            features = layers.flatten(layers.tangent(layers.re_eig(z)))
            if return_features:
                return {"features": features, "cls_token": None}
            return layers.final_layer(features)
