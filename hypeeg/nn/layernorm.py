"""Normalisation of single points: layer norm and RMS norm on the space part."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypeeg.geometry import Lorentz
from hypeeg.nn.linear import working_dtype


class LorentzLayerNorm(nn.Module):
    r"""Layer normalisation of the space part; the time part is derived from the result.

    As in [1]_ and [2]_: ``y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias`` over the n
    coordinates of the space part.

    Parameters
    ----------
    num_features : int
        Dimension n of the points.
    eps : float, default 1e-5
    elementwise_affine : bool, default True
        Whether there are a weight and a bias.
    bias : bool, default True
        Whether there is a bias, if there is a weight.
    manifold : Lorentz
        Manifold of input and output. Coordinates after normalisation are of size ``weight``
        whatever the curvature is: points lie near ``asinh(sqrt(c n)) / sqrt(c)`` at first.

    Attributes
    ----------
    weight, bias : Parameter, shape (n,), or None

    Notes
    -----
    Input and output ``(..., n)``, float32 or float64; half precision is raised to float32, also
    under autocast.

    References
    ----------
    .. [1] M. Yang et al.: Hypformer, arXiv 2407.01290.
    .. [2] W. Chen et al.: Fully hyperbolic neural networks, ACL 2022.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        manifold: Lorentz,
    ) -> None:
        super().__init__()
        _check(num_features, eps)
        self.num_features = num_features
        self.eps = eps
        self.manifold = manifold
        self.weight = nn.Parameter(torch.ones(num_features)) if elementwise_affine else None
        has_bias = elementwise_affine and bias
        self.bias = nn.Parameter(torch.zeros(num_features)) if has_bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised points."""
        with torch.autocast(x.device.type, enabled=False):
            x = _raised(x, self.weight)
            return F.layer_norm(x, (self.num_features,), self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return (
            f"{self.num_features}, eps={self.eps}, "
            f"elementwise_affine={self.weight is not None}, bias={self.bias is not None}"
        )


class LorentzRMSNorm(nn.Module):
    r"""Root-mean-square normalisation of the space part; the time part is derived.

    ``y = x / sqrt(mean(x^2) + eps) * weight``: every point goes to one distance from the origin
    along its ray, then the weight acts. Without a weight it commutes with rotations.

    Parameters
    ----------
    num_features : int
        Dimension n of the points.
    eps : float, default 1e-5
    elementwise_affine : bool, default True
        Whether there is a weight.
    manifold : Lorentz
        Manifold of input and output; see :class:`LorentzLayerNorm`.

    Attributes
    ----------
    weight : Parameter, shape (n,), or None

    Notes
    -----
    Input and output ``(..., n)``, float32 or float64; half precision is raised to float32, also
    under autocast.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        *,
        manifold: Lorentz,
    ) -> None:
        super().__init__()
        _check(num_features, eps)
        self.num_features = num_features
        self.eps = eps
        self.manifold = manifold
        self.weight = nn.Parameter(torch.ones(num_features)) if elementwise_affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised points."""
        with torch.autocast(x.device.type, enabled=False):
            x = _raised(x, self.weight)
            return F.rms_norm(x, (self.num_features,), self.weight, self.eps)

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return f"{self.num_features}, eps={self.eps}, elementwise_affine={self.weight is not None}"


def _check(num_features: int, eps: float) -> None:
    if num_features < 1:
        raise ValueError(f"num_features must be positive; got {num_features}")
    if not eps > 0:
        raise ValueError(f"eps must be positive; got {eps}")


def _raised(x: Tensor, weight: Tensor | None) -> Tensor:
    return x.to(working_dtype(x if weight is None else weight))
