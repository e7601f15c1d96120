"""EEGConformer with Lorentz attention and a hyperbolic head."""

from __future__ import annotations

import math
from typing import Any

import torch
from braindecode.models import EEGConformer
from braindecode.modules import MultiHeadAttention
from torch import Tensor, nn

from hypeeg.eeg.models.on_backbone import OnBackbone
from hypeeg.eeg.models.pieces import Head, TangentRescale
from hypeeg.geometry import Lorentz
from hypeeg.nn import LorentzMultiheadAttention, hyperbolize
from hypeeg.nn.linear import working_dtype
from hypeeg.nn.pointwise import expmap0, logmap0


class TangentAttention(nn.Module):
    r"""Lorentz attention between Euclidean tokens: exponential map, attention, logarithm.

    Parameters
    ----------
    old : MultiHeadAttention
        Of braindecode; the sizes, the dropout and the weights to start from.
    manifold : Lorentz
    scale, slope : float
        See :class:`~hypeeg.eeg.models.pieces.TangentRescale`.

    Notes
    -----
    Input and output ``(N, L, n)``. As ``c -> 0`` scores become
    ``(q . k - |k|^2 / 2) / sqrt(d)``, that is distances in the place of inner products, and all
    else that of ``old``.
    """

    def __init__(
        self, old: MultiHeadAttention, manifold: Lorentz, scale: float, slope: float
    ) -> None:
        super().__init__()
        self.rescale = TangentRescale(manifold, scale, slope)
        self.attention = LorentzMultiheadAttention(
            old.emb_size, old.num_heads, old.att_drop, manifold=manifold
        )
        shrink = self.rescale.shrink
        parts = {"query": "queries", "key": "keys", "value": "values", "out": "projection"}
        with torch.no_grad():
            # -s |q - k|^2 holds 2 s q.k, of vectors that are shorter by shrink.
            self.attention.log_scale.fill_(-math.log(2 * math.sqrt(old.head_dim) * shrink**2))
            for ours, theirs in parts.items():
                layer, linear = getattr(self.attention, ours), getattr(old, theirs)
                layer.weight.copy_(linear.weight)
                layer.bias.copy_(linear.bias * shrink)

    def forward(self, x: Tensor) -> Tensor:
        """Return the attended tokens."""
        c = self.rescale.manifold.c
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(working_dtype(self.attention.log_scale))
            points = self.attention(expmap0(self.rescale(x), c))
            return logmap0(points, c) / self.rescale.shrink


class HyperbolicEEGConformer(OnBackbone, EEGConformer):
    r"""EEGConformer with Lorentz attention in its encoder and a hyperbolic head.

    The layers are those of :class:`braindecode.models.EEGConformer`, under their names, but for
    two: in each encoder block tokens attend to each other on the hyperboloid [1]_ (scores are
    distances, averages Lorentz centroids), from the exponential map of the normalised tokens to the
    logarithm of the result; and the last linear layer is a Lorentz multinomial logistic regression
    or prototypes. Both are on one manifold. Attention starts from the weights of the EEGConformer.
    Other arguments than the following are those of that class.

    Parameters
    ----------
    head : {"mlr", "prototypes"}, default "mlr"
    lorentz_attention : bool, default True
        Whether the encoder attends on the hyperboloid; else only the head lies there, and the
        network is an EEGConformer as ``c -> 0`` with the ``"mlr"`` head.
    c : float, default 1.0
        Initial curvature magnitude; the space has curvature ``-c``.
    learnable_curvature : bool, default True
        Whether the curvature is learned.
    lift_scale : float, optional
        Factor on tokens and features before the lift; by default one over the square root of their
        dimension.
    rescale_slope : float, default 3.0
        Slope of the maximum-distance rescaling, at least 2.65.

    References
    ----------
    .. [1] W. Chen et al.: Fully hyperbolic neural networks, ACL 2022.
    """

    def _convert(
        self,
        *,
        head: Head = "mlr",
        lorentz_attention: bool = True,
        c: float = 1.0,
        learnable_curvature: bool = True,
        lift_scale: float | None = None,
        rescale_slope: float = 3.0,
    ) -> None:
        model: Any = self
        manifold = Lorentz(c, learnable_curvature)
        parts = list(model.transformer.named_modules()) if lorentz_attention else []
        for name, part in parts:
            if isinstance(part, MultiHeadAttention):
                scale = 1 / math.sqrt(part.emb_size) if lift_scale is None else lift_scale
                parent, _, attribute = name.rpartition(".")
                attention = TangentAttention(part, manifold, scale, rescale_slope)
                setattr(model.transformer.get_submodule(parent), attribute, attention)
        hyperbolize(model, head=head, manifold=manifold, scale=lift_scale, slope=rescale_slope)
