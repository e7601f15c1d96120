"""Fully connected layers between hyperboloids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypeeg.geometry import Lorentz

LinearKind = Literal["hyperplane", "extrinsic"]


class LorentzLinear(nn.Module):
    r"""Linear layer from hyperboloid points to hyperboloid points.

    With kind ``"hyperplane"`` [1]_ each output coordinate is a scaled signed distance to a
    hyperplane of direction ``u_j`` and offset ``a_j``,

    .. math:: y_j = \cosh(t_j) \langle x_s, u_j\rangle + x_t |u_j| \sinh(t_j),
              \qquad t_j = \sqrt{c}\, a_j / |u_j|,

    one matrix product without hyperbolic functions of the data; as ``c -> 0`` it becomes
    ``torch.nn.Linear``. With kind ``"extrinsic"`` it is a linear layer on the space part. In both
    the time part of the output is derived.

    Parameters
    ----------
    in_features, out_features : int
        Dimensions n of the input and output points.
    bias : bool, default True
        Whether there are offsets.
    manifold : Lorentz
        Manifold of input and output.
    kind : {"hyperplane", "extrinsic"}, default "hyperplane"
    activation : callable, optional
        Applied to the space part of the output.

    Attributes
    ----------
    weight : Parameter, shape (out_features, in_features)
        Directions ``u_j``, Euclidean parameters, initially orthogonal.
    bias : Parameter, shape (out_features,), or None
        Offsets ``a_j``, initially zero.

    Notes
    -----
    Input ``(..., in_features)``, output ``(..., out_features)``, float32 or float64; half
    precision is raised to float32, also under autocast.

    References
    ----------
    .. [1] arXiv 2601.21529 (fast and geometrically grounded Lorentz layers), with ``c`` the
       curvature magnitude.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        manifold: Lorentz,
        kind: LinearKind = "hyperplane",
        activation: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        if kind not in get_args(LinearKind):
            raise ValueError(f"kind must be one of {get_args(LinearKind)}; got {kind!r}")
        self.in_features, self.out_features = in_features, out_features
        self.kind = kind
        self.manifold = manifold
        self.activation = activation
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw orthogonal directions and set the offsets to zero."""
        nn.init.orthogonal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the space parts of the output points."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.weight.dtype)
            if self.kind == "extrinsic" or self.bias is None:
                y = F.linear(x, self.weight, self.bias)
            else:
                length = torch.linalg.vector_norm(self.weight, dim=-1)
                t = torch.sqrt(self.manifold.c).to(x.dtype) * self.bias / length
                y = F.linear(x, torch.cosh(t).unsqueeze(-1) * self.weight)
                y = y + self.manifold.time(x) * (length * torch.sinh(t))
        return y if self.activation is None else self.activation(y)

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, kind={self.kind!r}"
        )
