"""Principal components of points, for plots: in the tangent space of their Fréchet mean."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hypeeg.geometry import lorentz
from hypeeg.geometry.base import HyperbolicChart
from hypeeg.geometry.frechet import frechet_mean
from hypeeg.geometry.numerics import prepare


class TangentPCA(NamedTuple):
    """Principal geodesic directions at the Fréchet mean [1]_; made by :func:`tangent_pca`.

    Attributes
    ----------
    manifold : HyperbolicChart
        The manifold of the points.
    mean : Tensor, shape (n,)
        Fréchet mean as a space part.
    components : Tensor, shape (k, n)
        Orthonormal directions at the mean, carried to the origin.
    variance : Tensor, shape (k,)
        Variance of the points along each.
    variance_ratio : Tensor, shape (k,)
        The same over the sum of all n variances.

    References
    ----------
    .. [1] P. T. Fletcher, C. Lu, S. M. Pizer, S. Joshi: Principal Geodesic Analysis for the Study
       of Nonlinear Statistics of Shape, IEEE Transactions on Medical Imaging 23, 2004.
    """

    manifold: HyperbolicChart
    mean: Tensor
    components: Tensor
    variance: Tensor
    variance_ratio: Tensor

    def transform(self, p: Tensor) -> Tensor:
        """Coordinates ``(..., k)`` of points: logarithms at the origin of a k-dimensional space.

        ``Lorentz(c).expmap0`` of them are points of that space, whose origin is the mean; distances
        to the mean are kept for points spanned by the components.
        """
        c = self.manifold.c
        x = self.manifold.to_lorentz(p)
        u = lorentz.transp0back(self.mean, lorentz.logmap(self.mean, x, c), c)
        with torch.autocast(u.device.type, enabled=False):
            return u @ self.components.mT

    def inverse_transform(self, coordinates: Tensor) -> Tensor:
        """Points of the manifold from coordinates ``(..., k)``."""
        c = self.manifold.c
        (coordinates,) = prepare(coordinates)
        with torch.autocast(coordinates.device.type, enabled=False):
            u = coordinates @ self.components
        return self.manifold.from_lorentz(
            lorentz.expmap(self.mean, lorentz.transp0(self.mean, u, c), c)
        )


@torch.no_grad()
def tangent_pca(
    p: Tensor, manifold: HyperbolicChart, k: int = 2, w: Tensor | None = None
) -> TangentPCA:
    """Principal component analysis in the tangent space of the Fréchet mean.

    Parameters
    ----------
    p : Tensor, shape (N, n)
        Points in the coordinates of the manifold.
    manifold : HyperbolicChart
        The manifold.
    k : int, default 2
        Number of components, at most n.
    w : Tensor, shape (N,), optional
        Non-negative weights of any scale.

    Returns
    -------
    TangentPCA
        Components by descending variance; the largest entry of each is positive.

    Raises
    ------
    ValueError
        If ``p`` is not ``(N, n)`` or ``k`` not between 1 and n.
    """
    if p.dim() != 2:
        raise ValueError(f"p must hold points (N, n); got shape {tuple(p.shape)}")
    if not 1 <= k <= p.shape[-1]:
        raise ValueError(f"k must be between 1 and n = {p.shape[-1]}; got {k}")
    c = manifold.c
    x = manifold.to_lorentz(p)
    mean = frechet_mean(x, c, w)
    u = lorentz.transp0back(mean, lorentz.logmap(mean, x, c), c)
    weights = torch.ones_like(u[:, :1]) if w is None else prepare(w)[0].to(u.dtype).unsqueeze(-1)
    weights = weights / weights.sum()
    # The mean of the logarithms is zero up to rounding: it is their Fréchet mean.
    _, singular, directions = torch.linalg.svd(torch.sqrt(weights) * u, full_matrices=False)
    variance = torch.zeros(u.shape[-1], dtype=u.dtype, device=u.device)
    variance[: len(singular)] = singular**2
    if len(singular) < k:
        raise ValueError(f"{len(singular)} points span fewer than k = {k} directions")
    directions = directions[:k]
    signs = torch.sign(directions.gather(1, directions.abs().argmax(1, keepdim=True)))
    total = variance.sum()
    ratio = variance[:k] / torch.where(total > 0, total, 1.0)
    return TangentPCA(manifold, mean, directions * signs, variance[:k], ratio)
