"""Joining points: residual sums, hyperbolic concatenation and flattening."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from hypeeg.geometry import Lorentz
from hypeeg.geometry.numerics import prepare
from hypeeg.nn.pointwise import rescale

ResidualKind = Literal["sum", "centroid"]


class LorentzResidual(nn.Module):
    r"""Join the branches of a residual block.

    - ``"sum"`` [1]_: the sum of the space parts, then maximum-distance rescaling;
    - ``"centroid"`` [2]_: the Lorentz centroid, ``(x + w y) / (\sqrt{c} |x + w y|_L)`` in ambient
      coordinates. It lies between the two points, so it becomes ``(x + w y) / (1 + w)``, not
      the sum, as ``c -> 0``.

    Parameters
    ----------
    manifold : Lorentz
        Manifold of both branches and of the output.
    kind : {"sum", "centroid"}, default "sum"
    weight : float, default 1.0
        Positive weight ``w`` of the second branch.
    learnable : bool, default False
        Whether the weight is learned, as the exponential of ``log_weight``.
    rescale : bool, default True
        Whether rescaling follows the sum.
    axis : int, default -1
        Axis of the manifold dimension; 1 for channels.

    Raises
    ------
    ValueError
        If ``kind`` is unknown or ``weight`` is not positive.

    Notes
    -----
    Two inputs and an output of one shape.

    References
    ----------
    .. [1] arXiv 2405.13979.
    .. [2] N. He, M. Yang, R. Ying: Lorentzian residual neural networks, arXiv 2412.14695.
    """

    def __init__(
        self,
        manifold: Lorentz,
        kind: ResidualKind = "sum",
        *,
        weight: float = 1.0,
        learnable: bool = False,
        rescale: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__()
        if kind not in get_args(ResidualKind):
            raise ValueError(f"kind must be one of {get_args(ResidualKind)}; got {kind!r}")
        if not weight > 0:
            raise ValueError(f"weight must be positive; got {weight}")
        self.manifold = manifold
        self.kind = kind
        self.learnable = learnable
        self.rescale = rescale
        self.axis = axis
        self._weight = float(weight)
        if learnable:
            self.log_weight = nn.Parameter(torch.tensor(weight).log())

    @property
    def weight(self) -> float | Tensor:
        """The weight of the second branch."""
        return self.log_weight.exp() if self.learnable else self._weight

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the space parts of the joined points."""
        x, y = prepare(x, y)
        weight, c = self.weight, self.manifold.c
        if self.kind == "centroid":
            pair = torch.stack([x.movedim(self.axis, -1), y.movedim(self.axis, -1)], dim=-2)
            first = torch.ones((), dtype=x.dtype, device=x.device)
            weights = torch.stack([first, first * weight])
            return self.manifold.centroid(pair, weights).movedim(-1, self.axis)
        total = x + y if isinstance(weight, float) and weight == 1 else x + weight * y
        return rescale(total, c, dim=self.axis) if self.rescale else total

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return f"kind={self.kind!r}, rescale={self.rescale}, axis={self.axis}"


def lorentz_concat(points: Sequence[Tensor], dim: int = -1) -> Tensor:
    """Hyperbolic concatenation: join space parts along the manifold dimension.

    The time part of the result follows from ``x_t^2 = 1/c + sum_i |x_i|^2``, so its distance to the
    origin is at least that of each part.

    Parameters
    ----------
    points : sequence of Tensor
        Space parts that differ in size at ``dim`` only, on manifolds of one curvature.
    dim : int, default -1
        Manifold dimension.

    Returns
    -------
    Tensor
        Space parts; half precision is raised to float32.

    Raises
    ------
    ValueError
        If there are no points.
    """
    if not points:
        raise ValueError("points must hold at least one tensor; got none")
    return torch.cat(prepare(*points), dim)


class LorentzFlatten(nn.Module):
    """Hyperbolic concatenation of all points of a sample into one.

    Parameters
    ----------
    manifold : Lorentz
        Manifold of input and output.
    start_dim, end_dim : int, default 1 and -1
        Axes that are joined; the manifold dimension must be among them.

    Notes
    -----
    Input ``(N, ...)``, output ``(N, n)`` with n the product of the joined sizes.
    """

    def __init__(self, manifold: Lorentz, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.manifold = manifold
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        """Return the space parts of the concatenations."""
        return prepare(x)[0].flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
