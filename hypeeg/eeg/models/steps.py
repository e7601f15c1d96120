"""Lorentz layers on the features of each time step, and the head on their concatenation."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from einops.layers.torch import Rearrange
from torch import Tensor, nn

from hypeeg.eeg.models.on_backbone import OnBackbone
from hypeeg.eeg.models.pieces import Head, TangentRescale, check_head, check_trials, make_head
from hypeeg.geometry import Lorentz
from hypeeg.nn import Lift, LorentzLinear, LorentzMLR


def add_steps(
    model: nn.Sequential,
    pattern: str,
    n_features: int,
    manifold: Lorentz,
    *,
    lift_scale: float,
    rescale_slope: float,
    n_lorentz_layers: int,
) -> TangentRescale:
    """Append the way from feature maps to the embedding to a sequential network.

    Parameters
    ----------
    model : nn.Sequential
        Gets the modules ``steps``, ``rescale``, ``lift``, ``lorentz_linear_0`` and so on, and
        ``concatenate``.
    pattern : str
        Of einops, from the feature maps to ``batch time features``.
    n_features : int
        Dimension of the points of a time step.
    manifold : Lorentz
    lift_scale, rescale_slope : float
        See :class:`~hypeeg.eeg.models.pieces.TangentRescale`.
    n_lorentz_layers : int

    Returns
    -------
    TangentRescale
        The module ``rescale``, which knows the factor on short features.

    Raises
    ------
    ValueError
        If an option is out of its range.
    """
    if n_lorentz_layers < 0:
        raise ValueError(f"n_lorentz_layers must not be negative; got {n_lorentz_layers}")
    model.add_module("steps", Rearrange(pattern))
    rescale = TangentRescale(manifold, lift_scale, rescale_slope)
    model.add_module("rescale", rescale)
    model.add_module("lift", Lift(manifold))
    for i in range(n_lorentz_layers):
        layer = LorentzLinear(n_features, n_features, manifold=manifold)
        model.add_module(f"lorentz_linear_{i}", layer)
    model.add_module("concatenate", nn.Flatten())
    return rescale


class StepsOnHyperboloid(OnBackbone):
    """Mix-in for sequential braindecode models that end in a convolution over all time steps.

    That convolution, ``final_layer.conv_classifier``, gives way to points, one for each time step,
    Lorentz linear layers, the hyperbolic concatenation over time and a Lorentz head, which starts
    from the weights of the convolution.
    """

    _without: ClassVar[tuple[str, ...]] = ("final_conv_length",)

    def _convert(
        self,
        *,
        head: Head = "mlr",
        n_lorentz_layers: int = 1,
        c: float = 1.0,
        learnable_curvature: bool = True,
        lift_scale: float | None = None,
        rescale_slope: float = 3.0,
    ) -> None:
        check_head(head)
        model: Any = self
        kernel = model.final_layer.conv_classifier.weight.detach()  # (classes, features, steps, 1)
        del model.final_layer
        n_features, n_steps = kernel.shape[1:3]
        scale = 1 / math.sqrt(n_features) if lift_scale is None else lift_scale
        manifold = Lorentz(c, learnable_curvature)
        rescale = add_steps(
            model,
            "batch features time 1 -> batch time features",
            n_features,
            manifold,
            lift_scale=scale,
            rescale_slope=rescale_slope,
            n_lorentz_layers=n_lorentz_layers,
        )
        model.final_layer = make_head(
            head, n_steps * n_features, model.n_outputs, manifold, rescale.shrink
        )
        if isinstance(model.final_layer, LorentzMLR):
            with torch.no_grad():
                model.final_layer.weight.copy_(kernel.squeeze(3).transpose(1, 2).flatten(1))

    def _logits(self, x: Tensor, **inputs: Any) -> Any:
        model: Any = self
        check_trials(x, model.n_chans, model.n_times)
        return super()._logits(x, **inputs)
