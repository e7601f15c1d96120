"""EEGNet with a normalisation of its features for each subject or session."""

from __future__ import annotations

import math
from typing import Any, Literal

from braindecode.models import EEGNet
from braindecode.models.base import EEGModuleMixin
from braindecode.modules import LinearWithConstraint
from einops.layers.torch import Rearrange
from torch import Tensor, nn

from hypeeg.eeg.models.on_backbone import naming_short_trials
from hypeeg.eeg.models.pieces import check_trials
from hypeeg.nn.domain_euclidean import DomainBatchNorm
from hypeeg.nn.domain_norm import use_domain


class Scale(nn.Module):
    """Multiply by a fixed factor.

    Parameters
    ----------
    factor : float
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Return the product."""
        return x * self.factor

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return f"{self.factor:.4g}"


class EEGNetDSBN(EEGModuleMixin, nn.Sequential):  # type: ignore[misc]
    r"""EEGNet with domain-specific batch normalisation [1]_, the twin of HyperbolicEEGNetDSBN.

    As :class:`braindecode.models.EEGNet` [2]_; before the linear head the features of all time
    steps are normalised (:class:`hypeeg.nn.domain_euclidean.DomainBatchNorm`) with the mean and
    the mean distance to it, or the variances, of the trial's domain: its subject, session or
    recording. A batch may mix domains. The statistics of a new domain come from its unlabelled
    trials, with ``hypeeg.nn.adapt_domain_statistics(model, batches, domain)``. ``forward`` takes
    ``domain``, an integer or a tensor ``(N,)``. With the mean distance it is the flat limit of
    ``HyperbolicEEGNetDSBN`` without its Lorentz linear layers.

    Parameters
    ----------
    n_chans, n_outputs, n_times : int
        Channels, classes, samples per trial.
    F1, D, F2, kernel_length : int
        Temporal filters, spatial filters for each, pointwise filters (``F1 * D`` if None), length
        of the temporal kernel in samples.
    depthwise_kernel_length, pool1_kernel_size, pool2_kernel_size : int
        Lengths of the separable convolution's kernel and of the two poolings in samples.
    conv_spatial_max_norm : float, default 1
        Max-norm of the spatial filters.
    activation : type of nn.Module, default ELU
    batch_norm_momentum, batch_norm_eps : float
    drop_prob : float, default 0.25
    final_layer_with_constraint : bool, default False
        Whether the head has a max-norm.
    norm_rate : float, default 0.25
        That max-norm.
    n_domains : int, default 1
        Number of domains, target domains included. With one, no domain need be given, and the
        layer is an ordinary batch normalisation.
    unseen : {"raise", "batch"}, default "raise"
        What evaluation does with a domain without statistics: raise, or take those of the batch.
    domain_momentum : float or None, default 0.1
        Weight of a batch in the statistics of its domains; None for the plain mean over batches.
    dispersion : {"distance", "variance"}, default "distance"
        Divide by the mean distance, or each feature by its own standard deviation.
    chs_info : list of dict, optional
        ``info["chs"]`` of MNE.
    input_window_seconds, sfreq : float, optional
        Window length in seconds and sampling frequency in Hz.

    Attributes
    ----------
    final_layer : nn.Linear
        Its input, ``(N, T * F2)``, is the embedding.

    References
    ----------
    .. [1] W.-G. Chang et al.: Domain-specific batch normalization for unsupervised domain
       adaptation, CVPR 2019.
    .. [2] V. J. Lawhern et al.: EEGNet: a compact convolutional neural network for EEG-based
       brain-computer interfaces, J. Neural Eng. 15 (2018) 056013.
    """

    n_chans: int
    n_outputs: int
    n_times: int

    def __init__(
        self,
        n_chans: int | None = None,
        n_outputs: int | None = None,
        n_times: int | None = None,
        F1: int = 8,
        D: int = 2,
        F2: int | None = None,
        kernel_length: int = 64,
        *,
        depthwise_kernel_length: int = 16,
        pool1_kernel_size: int = 4,
        pool2_kernel_size: int = 8,
        conv_spatial_max_norm: float = 1,
        activation: type[nn.Module] = nn.ELU,
        batch_norm_momentum: float = 0.01,
        batch_norm_eps: float = 1e-3,
        drop_prob: float = 0.25,
        final_layer_with_constraint: bool = False,
        norm_rate: float = 0.25,
        n_domains: int = 1,
        unseen: Literal["raise", "batch"] = "raise",
        domain_momentum: float | None = 0.1,
        dispersion: Literal["distance", "variance"] = "distance",
        chs_info: list[dict[str, Any]] | None = None,
        input_window_seconds: float | None = None,
        sfreq: float | None = None,
    ) -> None:
        EEGModuleMixin.__init__(
            self,
            n_outputs=n_outputs,
            n_chans=n_chans,
            chs_info=chs_info,
            n_times=n_times,
            input_window_seconds=input_window_seconds,
            sfreq=sfreq,
        )
        with naming_short_trials("EEGNet", {"n_times": self.n_times}):
            encoder = EEGNet(
                n_chans=self.n_chans,
                n_outputs=self.n_outputs,
                n_times=self.n_times,
                F1=F1,
                D=D,
                F2=F2,
                kernel_length=kernel_length,
                depthwise_kernel_length=depthwise_kernel_length,
                pool1_kernel_size=pool1_kernel_size,
                pool2_kernel_size=pool2_kernel_size,
                conv_spatial_max_norm=conv_spatial_max_norm,
                activation=activation,
                batch_norm_momentum=batch_norm_momentum,
                batch_norm_eps=batch_norm_eps,
                drop_prob=drop_prob,
                # Its head is not used; this one is built without a deprecation warning.
                final_layer_with_constraint=True,
            )
        self.mapping: dict[str, str] = {}
        self.max_norm = norm_rate if final_layer_with_constraint else None
        for name, layer in encoder.named_children():
            if name != "final_layer":
                self.add_module(name, layer)
        n_features, n_steps = int(encoder.F2), int(encoder.final_conv_length)
        norm = DomainBatchNorm(
            n_features, n_domains, momentum=domain_momentum, dispersion=dispersion, unseen=unseen
        )
        if n_domains == 1:
            norm.domain = 0
            norm.num_batches_tracked.fill_(1)
        self.add_module("domain_norm", norm)
        # Vectors at mean distance 1 have features of the root of their number.
        factor = math.sqrt(n_features) if dispersion == "distance" else 1.0
        self.add_module("domain_rescale", Scale(factor))
        concatenate = Rearrange("batch features 1 time -> batch (time features)")
        self.add_module("concatenate", concatenate)
        self.final_layer = self._head(n_steps * n_features, self.n_outputs)

    def _head(self, in_features: int, n_outputs: int) -> nn.Linear:
        # As braindecode initialises EEGNet.
        if self.max_norm is None:
            head = nn.Linear(in_features, n_outputs)
            nn.init.xavier_uniform_(head.weight)
        else:
            head = LinearWithConstraint(in_features, n_outputs, max_norm=self.max_norm)
            norms: Any = head.parametrizations["weight"]
            nn.init.xavier_uniform_(norms.original)
        nn.init.zeros_(head.bias)
        return head

    def reset_head(self, n_outputs: int) -> None:
        """Replace the head by a new one for ``n_outputs`` classes, a positive number."""
        EEGModuleMixin._set_n_outputs(self, n_outputs)
        old = self.final_layer
        head = self._head(old.in_features, n_outputs).to(old.bias.device, old.bias.dtype)
        self.final_layer = head.train(old.training)

    def forward(
        self, x: Tensor, domain: int | Tensor | None = None, *, return_features: bool = False
    ) -> Any:
        """Return the logits of trials ``(N, n_chans, n_times)``, or the input of the last layer.

        Parameters
        ----------
        x : Tensor, shape (N, n_chans, n_times)
        domain : int or Tensor, shape (N,), optional
            Domain of the trials; may be left out with one domain, or inside ``use_domain``.
        return_features : bool, default False
            Whether to return ``{"features": ..., "cls_token": None}`` in the place of logits.
        """
        check_trials(x, self.n_chans, self.n_times)
        if domain is not None:
            with use_domain(self, domain):
                return self.forward(x, return_features=return_features)
        for name, layer in self.named_children():
            if name == "final_layer" and return_features:
                return {"features": x, "cls_token": None}
            x = layer(x)
        return x
