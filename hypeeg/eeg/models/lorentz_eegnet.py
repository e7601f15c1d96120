"""EEGNet with every layer on the hyperboloid."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from braindecode.models import EEGNet
from braindecode.models.base import EEGModuleMixin
from braindecode.modules.parametrization import MaxNormParametrize
from einops.layers.torch import Rearrange
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hypeeg.eeg.models.on_backbone import naming_short_trials
from hypeeg.eeg.models.pieces import (
    HyperbolicNetwork,
    TangentRescale,
    check_head,
    check_trials,
    make_head,
)
from hypeeg.geometry import Lorentz
from hypeeg.nn import (
    Lift,
    LorentzActivation,
    LorentzAvgPool2d,
    LorentzBatchNorm2d,
    LorentzConv2d,
    LorentzDropout,
    LorentzFlatten,
    LorentzMLR,
    LorentzPrototypes,
    Rescale,
)


class LorentzEEGNet(HyperbolicNetwork, EEGModuleMixin, nn.Sequential):  # type: ignore[misc]
    r"""EEGNet on the hyperboloid from the first layer to the last.

    Each sample of each channel is lifted to a point of the hyperbolic line. The temporal, the
    spatial and the separable convolutions of EEGNet [1]_, batch normalisation, activation, average
    pooling and dropout act on points (:mod:`hypeeg.nn`), channels being the manifold dimension; a
    Lorentz head classifies the hyperbolic concatenation over time. Layers have the names, sizes and
    initial weights of :class:`braindecode.models.EEGNet`. As ``c -> 0`` the network is an EEGNet
    but for two things: a batch normalisation has one scale for all features, their mean distance
    to the mean, and maximum-distance rescaling follows it.

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
    conv_bias : bool, default True
        Whether convolutions have offsets. EEGNet needs none, since batch normalisation removes
        them; on the hyperboloid it does not: without offsets hyperplanes meet the origin.
    activation : type of nn.Module, default ELU
    batch_norm_momentum, batch_norm_eps : float
    drop_prob : float, default 0.25
    head : {"mlr", "prototypes"}, default "mlr"
    final_layer_with_constraint : bool, default False
        Whether the directions of the ``"mlr"`` head have a max-norm, as in EEGNet.
    norm_rate : float, default 0.25
        That max-norm.
    c : float, default 1.0
        Initial curvature magnitude; the space has curvature ``-c``.
    learnable_curvature : bool, default True
        Whether the curvature is learned.
    lift_scale : float, default 1.0
        Factor on the signal before the lift.
    rescale_slope : float, default 3.0
        Slope of the maximum-distance rescaling, at least 2.65.
    chs_info : list of dict, optional
        ``info["chs"]`` of MNE.
    input_window_seconds, sfreq : float, optional
        Window length in seconds and sampling frequency in Hz.

    References
    ----------
    .. [1] V. J. Lawhern et al.: EEGNet: a compact convolutional neural network for EEG-based
       brain-computer interfaces, J. Neural Eng. 15 (2018) 056013.
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
        conv_bias: bool = True,
        activation: type[nn.Module] = nn.ELU,
        batch_norm_momentum: float = 0.01,
        batch_norm_eps: float = 1e-3,
        drop_prob: float = 0.25,
        head: Literal["mlr", "prototypes"] = "mlr",
        final_layer_with_constraint: bool = False,
        norm_rate: float = 0.25,
        c: float = 1.0,
        learnable_curvature: bool = True,
        lift_scale: float = 1.0,
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
        sizes: dict[str, Any] = {
            "F1": F1,
            "D": D,
            "F2": F2,
            "kernel_length": kernel_length,
            "depthwise_kernel_length": depthwise_kernel_length,
            "pool1_kernel_size": pool1_kernel_size,
            "pool2_kernel_size": pool2_kernel_size,
            "conv_spatial_max_norm": conv_spatial_max_norm,
        }
        with naming_short_trials("EEGNet", {"n_times": self.n_times}):
            twin = EEGNet(
                n_chans=self.n_chans,
                n_outputs=self.n_outputs,
                n_times=self.n_times,
                final_layer_with_constraint=True,  # no deprecation warning
                **sizes,
            )
        self.head = head
        manifold = Lorentz(c, learnable_curvature)
        width, F2 = F1 * D, int(twin.F2)

        def convolution(name: str, n_in: int, n_out: int, kernel: Any, **options: Any) -> None:
            layer = LorentzConv2d(n_in, n_out, kernel, bias=conv_bias, manifold=manifold, **options)
            with torch.no_grad():
                layer.weight.copy_(getattr(twin, name).weight)
            self.add_module(name, layer)

        def normalisation(name: str, n: int) -> None:
            layer = LorentzBatchNorm2d(
                n, eps=batch_norm_eps, momentum=batch_norm_momentum, manifold=manifold
            )
            self.add_module(f"bnorm_{name}", layer)
            self.add_module(f"rescale_{name}", Rescale(manifold, rescale_slope, axis=1))

        def activated(name: str, pool: int) -> None:
            self.add_module(f"elu_{name}", LorentzActivation(activation(), manifold))
            self.add_module(f"pool_{name}", LorentzAvgPool2d((1, pool), manifold=manifold))
            self.add_module(f"drop_{name}", LorentzDropout(drop_prob, manifold=manifold))

        self.add_module("dimshuffle", Rearrange("batch ch t -> batch 1 ch t"))
        self.add_module("rescale", TangentRescale(manifold, lift_scale, rescale_slope, axis=1))
        self.add_module("lift", Lift(manifold, axis=1))
        convolution("conv_temporal", 1, F1, (1, kernel_length), padding=(0, kernel_length // 2))
        normalisation("temporal", F1)
        convolution("conv_spatial", F1, width, (self.n_chans, 1), groups=F1)
        constraint = MaxNormParametrize(conv_spatial_max_norm)
        parametrize.register_parametrization(
            self.get_submodule("conv_spatial"), "weight", constraint
        )
        normalisation("1", width)
        activated("1", pool1_kernel_size)
        convolution(
            "conv_separable_depth",
            width,
            width,
            (1, depthwise_kernel_length),
            padding=(0, depthwise_kernel_length // 2),
            groups=width,
        )
        convolution("conv_separable_point", width, F2, (1, 1))
        normalisation("2", F2)
        activated("2", pool2_kernel_size)
        self.add_module("concatenate", LorentzFlatten(manifold))
        # Normalised points lie at mean distance 1, normalised features at the root of their number.
        self.shrink = math.atanh(0.99) / rescale_slope / math.sqrt(F2)
        self.final_layer: LorentzMLR | LorentzPrototypes = make_head(
            head,
            F2 * int(twin.final_conv_length),
            self.n_outputs,
            manifold,
            self.shrink,
            norm_rate if final_layer_with_constraint else None,
        )

    def _logits(self, x: Tensor, **inputs: Any) -> Any:
        check_trials(x, self.n_chans, self.n_times)
        return super()._logits(x, **inputs)
