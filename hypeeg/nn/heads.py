"""Classification heads: logits from points of the hyperboloid."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hypeeg.geometry import KeepsManifoldParameters, Lorentz, ManifoldParameter
from hypeeg.nn.linear import working_dtype
from hypeeg.nn.signed_distance import signed_distances


class LorentzMLR(nn.Module):
    r"""Multinomial logistic regression on the hyperboloid.

    The logit of class k is the scaled signed distance to the hyperplane of direction ``z_k`` and
    offset ``a_k`` [1]_,

    .. math:: \alpha_k = \cosh(\sqrt{c} a_k)\langle x_s, z_k\rangle
              - \sinh(\sqrt{c} a_k) |z_k| x_t, \qquad
              \ell_k = \tau \frac{|z_k|}{\sqrt{c}}
              \operatorname{asinh}\Bigl(\frac{\sqrt{c}\,\alpha_k}{|z_k|}\Bigr),

    which becomes ``tau (<x, z_k> - a_k |z_k|)`` as ``c -> 0``.

    Parameters
    ----------
    in_features : int
        Dimension n of the points.
    n_classes : int
        Number of classes K.
    manifold : Lorentz
        Manifold of the points.
    max_norm : float, optional
        Upper bound of ``|z_k|``, applied in the forward pass, as EEGNet bounds its last layer.
    temperature : float, default 1.0
        Fixed factor ``tau`` on the logits; the inverse of the scale with which features were
        lifted keeps their effect on the logits.

    Attributes
    ----------
    weight : Parameter, shape (K, n)
        Directions ``z_k``; Euclidean parameters.
    bias : Parameter, shape (K,)
        Offsets ``a_k``, distances from the origin.

    Notes
    -----
    Input ``(..., n)``, output ``(..., K)``.

    References
    ----------
    .. [1] arXiv 2405.13979, with ``c`` the curvature magnitude.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        *,
        manifold: Lorentz,
        max_norm: float | None = None,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        if max_norm is not None and not max_norm > 0:
            raise ValueError(f"max_norm must be positive or None; got {max_norm}")
        if not temperature > 0:
            raise ValueError(f"temperature must be positive; got {temperature}")
        self.in_features, self.n_classes = in_features, n_classes
        self.manifold = manifold
        self.max_norm = max_norm
        self.temperature = float(temperature)
        self.weight = nn.Parameter(torch.empty(n_classes, in_features))
        self.bias = nn.Parameter(torch.empty(n_classes))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise like ``torch.nn.Linear``: uniform directions; zero offsets."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        with torch.autocast(x.device.type, enabled=False):
            dtype = working_dtype(self.weight)
            z: Tensor = self.weight.to(dtype)
            if self.max_norm is not None:
                z = torch.renorm(z, p=2, dim=0, maxnorm=self.max_norm)
            distances = signed_distances(x.to(dtype), z, self.bias.to(dtype), self.manifold.c)
            return distances if self.temperature == 1 else distances * self.temperature

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return (
            f"in_features={self.in_features}, n_classes={self.n_classes}, "
            f"max_norm={self.max_norm}, temperature={self.temperature:.4g}"
        )


class LorentzPrototypes(KeepsManifoldParameters, nn.Module):
    r"""Class prototypes on the hyperboloid.

    The logit of class k is ``-d_L(x, p_k)^2 / temperature`` with the squared Lorentz distance
    ``d_L^2 = -2/c - 2 <x, p_k>``. The prototypes are manifold parameters: a Riemannian
    optimiser moves them along geodesics and carries them along when the curvature changes.

    Parameters
    ----------
    in_features : int
        Dimension n of the points.
    n_classes : int
        Number of classes K.
    manifold : Lorentz
        Manifold of points and prototypes.
    temperature : float, default 1.0
    init_radius : float, default 0.1
        Scale of the prototypes' initial distance to the origin, in units of ``1/sqrt(c)``.

    Attributes
    ----------
    prototypes : ManifoldParameter, shape (K, n)

    Notes
    -----
    Input ``(..., n)``, output ``(..., K)``.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        *,
        manifold: Lorentz,
        temperature: float = 1.0,
        init_radius: float = 0.1,
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be positive; got {temperature}")
        self.in_features, self.n_classes = in_features, n_classes
        self.manifold = manifold
        self.temperature = float(temperature)
        self.init_radius = init_radius
        self.prototypes = ManifoldParameter(torch.empty(n_classes, in_features), manifold=manifold)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw prototypes around the origin."""
        root = torch.sqrt(self.manifold.c).to(self.prototypes.dtype)
        spread = self.init_radius / math.sqrt(self.in_features)
        self.prototypes.copy_(
            self.manifold.expmap0(torch.randn_like(self.prototypes) * (spread / root))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        x = x.to(self.prototypes.dtype)
        return -self.manifold.sqdist(x.unsqueeze(-2), self.prototypes) / self.temperature

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return (
            f"in_features={self.in_features}, n_classes={self.n_classes}, "
            f"temperature={self.temperature:.4g}"
        )
