"""EEGNet with its features on the hyperboloid."""

from __future__ import annotations

import math
from typing import Any, Literal

from braindecode.models import EEGNet
from braindecode.models.base import EEGModuleMixin
from torch import Tensor, nn

from hypeeg.eeg.models.on_backbone import naming_short_trials
from hypeeg.eeg.models.pieces import HyperbolicNetwork, check_head, check_trials, make_head
from hypeeg.eeg.models.steps import add_steps
from hypeeg.geometry import Lorentz
from hypeeg.nn import LorentzMLR, LorentzPrototypes


class HyperbolicEEGNet(HyperbolicNetwork, EEGModuleMixin, nn.Sequential):  # type: ignore[misc]
    r"""EEGNet encoder, Lorentz layers and a Lorentz head with learned curvature.

    The temporal, spatial and separable convolutions are those of
    :class:`braindecode.models.EEGNet` [1]_, with its initialisation, normalisation, dropout and
    max-norm constraint, so that EEGNet is the Euclidean twin in every detail. Its ``F2`` features
    at each of the ``T`` remaining time steps are lifted to a point of the hyperboloid
    and rescaled to the maximum distance [2]_; Lorentz linear layers act on the points (as a 1x1
    convolution does); the hyperbolic concatenation over time is the embedding, and a Lorentz
    multinomial logistic regression or prototypes classify it. With the former, the scales of lift,
    rescaling and head cancel as ``c -> 0``, where the network becomes an EEGNet.

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
    head : {"mlr", "prototypes"}, default "mlr"
    n_lorentz_layers : int, default 1
        Number of Lorentz linear layers between lift and head.
    final_layer_with_constraint : bool, default False
        Whether the directions of the ``"mlr"`` head have a max-norm, as in EEGNet.
    norm_rate : float, default 0.25
        That max-norm.
    c : float, default 1.0
        Initial curvature magnitude; the space has curvature ``-c``.
    learnable_curvature : bool, default True
    lift_scale : float, optional
        Factor on EEGNet's features before the lift; by default one over the square root of their
        number at a time step, so that points start at about distance 1 from the origin.
    rescale_slope : float, default 3.0
        Slope of the maximum-distance rescaling, at least 2.65.
    chs_info : list of dict, optional
        ``info["chs"]`` of MNE.
    input_window_seconds, sfreq : float, optional
        Window length in seconds and sampling frequency in Hz.

    Attributes
    ----------
    manifold : Lorentz
        Manifold of all Lorentz layers and of the embedding.
    final_layer : LorentzMLR or LorentzPrototypes
        Its input, ``(N, F2 * T)`` space parts, is the embedding.

    References
    ----------
    .. [1] V. J. Lawhern et al.: EEGNet: a compact convolutional neural network for EEG-based
       brain-computer interfaces, J. Neural Eng. 15 (2018) 056013.
    .. [2] arXiv 2405.13979.
    """

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
        head: Literal["mlr", "prototypes"] = "mlr",
        n_lorentz_layers: int = 1,
        final_layer_with_constraint: bool = False,
        norm_rate: float = 0.25,
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
        self.head = head
        self.n_lorentz_layers = n_lorentz_layers
        self.final_layer_with_constraint = final_layer_with_constraint
        self.norm_rate = norm_rate

        # The twin's layers under the twin's names: its weights load here.
        for name, layer in encoder.named_children():
            if name != "final_layer":
                self.add_module(name, layer)
        n_features, n_steps = int(encoder.F2), int(encoder.final_conv_length)
        manifold = Lorentz(c, learnable_curvature)
        scale = 1 / math.sqrt(n_features) if lift_scale is None else lift_scale
        rescale = add_steps(
            self,
            "batch features 1 time -> batch time features",
            n_features,
            manifold,
            lift_scale=scale,
            rescale_slope=rescale_slope,
            n_lorentz_layers=n_lorentz_layers,
        )
        self.lift_scale = scale
        # Lift and rescaling shrink short features by this factor; the head undoes it.
        self.shrink: float = rescale.shrink
        self.final_layer: LorentzMLR | LorentzPrototypes = make_head(
            head,
            n_steps * n_features,
            int(encoder.n_outputs),
            manifold,
            self.shrink,
            norm_rate if final_layer_with_constraint else None,
        )

    def _logits(self, x: Tensor, **inputs: Any) -> Any:
        check_trials(x, self.n_chans, self.n_times)
        return super()._logits(x, **inputs)
