"""Fully connected layers between hyperboloids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypeeg.geometry import Lorentz
from hypeeg.nn.hyperplane import hyperplane_linear
from hypeeg.nn.pointwise import expmap0, geodesic_scale, logmap0, root_of, time_part

LinearKind = Literal["hyperplane", "extrinsic", "boost", "tangent"]


def working_dtype(parameter: Tensor) -> torch.dtype:
    """Return the dtype a layer computes in: that of its parameters, float32 at least."""
    return torch.float64 if parameter.dtype == torch.float64 else torch.float32


def orthonormal(weight: Tensor) -> Tensor:
    """Return the orthonormal columns that span those of ``weight`` (out, in), out >= in.

    Orthonormal weights are returned as they are: of the two signs of each column in the QR
    decomposition, that of the given column is taken.
    """
    q, r = torch.linalg.qr(weight)
    sign = torch.where(torch.diagonal(r).detach() < 0, -1.0, 1.0).to(q.dtype)
    columns: Tensor = q * sign
    return columns


def boost(x: Tensor, b: Tensor, c: Tensor, dim: int = -1) -> Tensor:
    """Apply the Lorentz boost that carries the origin to ``exp_o(b)``.

    Parameters
    ----------
    x : Tensor
        Space parts with their dimension n at ``dim``.
    b : Tensor, shape (n,)
        Tangent vector at the origin.
    c : Tensor
        Curvature magnitude.
    dim : int, default -1

    Returns
    -------
    Tensor
        Space parts of the boosted points, all distances kept.
    """
    shape = [1] * x.dim()
    shape[dim] = -1
    target = expmap0(b, c).view(shape)
    # x_s + (c x_s.q / (1 + sqrt(c) q_t) + sqrt(c) x_t) q: no direction of q is needed at q = 0.
    root = root_of(c, x)
    rise = root * root * (x * target).sum(dim, keepdim=True)
    rise = rise / (1 + root * time_part(target, c, dim)) + root * time_part(x, c, dim)
    return x + rise * target


class LorentzLinear(nn.Module):
    r"""Linear layer from hyperboloid points to hyperboloid points.

    Kinds, each with the time part of the output derived from its space part:

    - ``"hyperplane"`` [1]_: each output coordinate is a scaled signed distance to a hyperplane of
      direction ``u_j`` and offset ``a_j``,

      .. math:: y_j = \cosh(t_j) \langle x_s, u_j\rangle + x_t |u_j| \sinh(t_j),
                \qquad t_j = \sqrt{c}\, a_j / |u_j|,

      one matrix product without hyperbolic functions of the data;
    - ``"extrinsic"``: a linear layer on the space part;
    - ``"boost"`` [2]_: an isometry and a dilation. The weight's columns are made orthonormal when
      ``out_features >= in_features`` (otherwise no isometry exists and the weight is taken as it
      is), distances to the origin are multiplied by a learned ``scale``, and the offset, a tangent
      vector at the origin, is a Lorentz boost of the result;
    - ``"tangent"``: a linear layer on the logarithm at the origin, for comparison.

    As ``c -> 0`` all become ``torch.nn.Linear`` (``"boost"`` with its orthonormal weight, scaled).

    Parameters
    ----------
    in_features, out_features : int
        Dimensions n of the input and output points.
    bias : bool, default True
        Whether there are offsets.
    manifold : Lorentz
        Manifold of input and output.
    kind : {"hyperplane", "extrinsic", "boost", "tangent"}, default "hyperplane"
    activation : callable, optional
        Applied to the space part of the output.

    Attributes
    ----------
    weight : Parameter, shape (out_features, in_features)
        Directions ``u_j``, Euclidean parameters, initially orthogonal.
    bias : Parameter, shape (out_features,), or None
        Offsets ``a_j``, distances from the origin, initially zero.
    scale : Parameter, 0-dimensional, or None
        Of kind ``"boost"``; initially 1.

    Raises
    ------
    ValueError
        If ``kind`` is unknown.

    Notes
    -----
    Input ``(..., in_features)``, output ``(..., out_features)``, float32 or float64; half
    precision is raised to float32, also under autocast. In float32 coordinates may reach 1e32.

    References
    ----------
    .. [1] arXiv 2601.21529 (fast and geometrically grounded Lorentz layers), with ``c`` the
       curvature magnitude.
    .. [2] A. Bdeir, N. Landwehr: Robust Hyperbolic Learning with Curvature-Aware Optimization,
       arXiv 2405.13979; the offset as a boost is this package's.
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
        self.scale = nn.Parameter(torch.empty(())) if kind == "boost" else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw orthogonal directions, set the offsets to zero and the scale to one."""
        nn.init.orthogonal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        if self.scale is not None:
            nn.init.ones_(self.scale)

    def forward(self, x: Tensor) -> Tensor:
        """Return the space parts of the output points."""
        with torch.autocast(x.device.type, enabled=False):
            dtype = working_dtype(self.weight)
            x, weight = x.to(dtype), self.weight.to(dtype)
            bias = None if self.bias is None else self.bias.to(dtype)
            if self.kind == "extrinsic":
                y = F.linear(x, weight, bias)
            elif self.kind == "hyperplane":
                y = (
                    F.linear(x, weight)
                    if bias is None
                    else hyperplane_linear(x, weight, bias, self.manifold.c)
                )
            elif self.kind == "tangent":
                c = self.manifold.c
                y = expmap0(F.linear(logmap0(x, c), weight, bias), c)
            else:
                assert self.scale is not None
                c = self.manifold.c
                if self.out_features >= self.in_features:
                    weight = orthonormal(weight)
                y = geodesic_scale(F.linear(x, weight), c, self.scale.to(dtype))
                y = y if bias is None else boost(y, bias, c)
        return y if self.activation is None else self.activation(y)

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, kind={self.kind!r}"
        )
