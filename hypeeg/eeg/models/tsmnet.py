"""TSMNet of spd-learn as a model of braindecode, with batch norm by domain."""

from __future__ import annotations

from typing import Any, Literal

import torch
from braindecode.models.base import EEGModuleMixin
from torch import Tensor, nn

from hypeeg.eeg.models.pieces import check_trials
from hypeeg.eeg.models.spd import SPDDomainBatchNorm, spd_learn
from hypeeg.nn.domain_norm import use_domain
from hypeeg.nn.linear import working_dtype


class TSMNet(EEGModuleMixin, nn.Module):
    r"""Tangent space mapping network [1]_, built of spd-learn's layers.

    A temporal and a spatial convolution, the covariance matrix of their outputs, a bilinear map to
    smaller matrices, rectified eigenvalues, batch normalisation of matrices, their logarithms and a
    linear layer. It is a baseline: nothing in it is hyperbolic. Needs the extra
    ``hypeeg[baselines]``.

    Parameters
    ----------
    n_chans, n_outputs, n_times : int
        Channels, classes, samples per trial.
    n_temp_filters : int, default 4
        Temporal filters.
    temp_kernel_length : int, default 25
        Their length in samples.
    n_spatiotemp_filters : int, default 40
        Spatial filters, the size of the first matrices.
    n_bimap_filters : int, default 20
        The size of the second ones.
    reeig_threshold : float, default 1e-4
        Smallest eigenvalue after rectification.
    n_domains : int, default 1
        Number of domains, target domains included. With one, the batch normalisation is
        spd-learn's; with more, :class:`~hypeeg.eeg.models.spd.SPDDomainBatchNorm`, and ``forward``
        takes ``domain``.
    unseen : {"raise", "batch"}, default "raise"
        What evaluation does with a domain without statistics: raise, or take those of the batch.
    chs_info : list of dict, optional
        ``info["chs"]`` of MNE.
    input_window_seconds, sfreq : float, optional
        Window length in seconds and sampling frequency in Hz.

    Raises
    ------
    ImportError
        If spd-learn is not installed.
    ValueError
        If trials are shorter than half the temporal kernel.

    References
    ----------
    .. [1] R. Kobler et al.: SPD domain-specific batch normalization to crack interpretable
       unsupervised domain adaptation in EEG, NeurIPS 2022.
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
        n_temp_filters: int = 4,
        temp_kernel_length: int = 25,
        n_spatiotemp_filters: int = 40,
        n_bimap_filters: int = 20,
        reeig_threshold: float = 1e-4,
        n_domains: int = 1,
        unseen: Literal["raise", "batch"] = "raise",
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
        models = spd_learn("models", "TSMNet")
        if self.n_times <= temp_kernel_length // 2:
            raise ValueError(
                f"n_times={self.n_times} is too short for temp_kernel_length={temp_kernel_length}; "
                "give longer trials or shorter kernels"
            )
        theirs = models.TSMNet(
            n_chans=self.n_chans,
            n_outputs=self.n_outputs,
            n_temp_filters=n_temp_filters,
            temp_kernel_length=temp_kernel_length,
            n_spatiotemp_filters=n_spatiotemp_filters,
            n_bimap_filters=n_bimap_filters,
            reeig_threshold=reeig_threshold,
        )
        self.mapping = {"head.weight": "final_layer.weight", "head.bias": "final_layer.bias"}
        self.cnn, self.covpool, self.spdnet = theirs.cnn, theirs.covpool, theirs.spdnet
        self.spdbnorm = theirs.spdbnorm
        # spd-learn makes it a scalar and assigns (1, 1) in training: saved weights would not load.
        self.spdbnorm.running_var = self.spdbnorm.running_var.reshape(1, 1)
        if n_domains != 1:
            self.spdbnorm = SPDDomainBatchNorm(n_bimap_filters, n_domains, unseen=unseen)
        self.logeig = theirs.logeig
        self.final_layer = theirs.head

    def reset_head(self, n_outputs: int) -> None:
        """Replace the head by a new one for ``n_outputs`` classes, a positive number."""
        EEGModuleMixin._set_n_outputs(self, n_outputs)
        weight = self.final_layer.weight
        head = nn.Linear(self.final_layer.in_features, n_outputs)
        self.final_layer = head.to(weight.device, weight.dtype)

    def forward(
        self, x: Tensor, domain: int | Tensor | None = None, *, return_features: bool = False
    ) -> Any:
        """Return the logits of trials ``(N, n_chans, n_times)``, or the input of the last layer."""
        check_trials(x, self.n_chans, self.n_times)
        z = self.cnn(x.unsqueeze(1))
        with torch.autocast(x.device.type, enabled=False):
            # Of half precision eigenvalues would be left with the digits of their sum.
            matrices = self.spdnet(self.covpool(z.to(working_dtype(self.final_layer.weight))))
            if domain is None:
                normalised = self.spdbnorm(matrices)
            else:
                with use_domain(self, domain):
                    normalised = self.spdbnorm(matrices)
            features = self.logeig(normalised)
            if return_features:
                return {"features": features, "cls_token": None}
            return self.final_layer(features)
