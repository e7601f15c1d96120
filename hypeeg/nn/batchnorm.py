"""Batch normalisation of points of the hyperboloid."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hypeeg.geometry import KeepsManifoldParameters, Lorentz, ManifoldParameter
from hypeeg.geometry.numerics import prepare
from hypeeg.nn.recentre import (
    BatchNormalise,
    from_origin,
    to_origin,
)


class LorentzBatchNormBase(KeepsManifoldParameters, nn.Module):
    """What batch normalisation of one and of many domains share; manifold dimension at axis 1."""

    _dims: tuple[int, ...] = (2, 3, 4)
    _statistics_shape: tuple[int, ...] = ()
    running_mean: Tensor
    running_dispersion: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        manifold: Lorentz,
    ) -> None:
        super().__init__()
        if num_features < 1:
            raise ValueError(f"num_features must be positive; got {num_features}")
        if not eps > 0:
            raise ValueError(f"eps must be positive; got {eps}")
        if momentum is not None and not 0 <= momentum <= 1:
            raise ValueError(
                f"momentum must lie in [0, 1] or be None for a plain mean; got {momentum}"
            )
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.manifold = manifold
        if affine:
            self.weight = nn.Parameter(torch.empty(1))
            self.bias = ManifoldParameter(torch.empty(num_features), manifold, decay=False)
        else:
            self.register_parameter("weight", None)
            self.register_parameter("bias", None)
        self._make_statistics(self._statistics_shape)
        self.reset_parameters()

    def _make_statistics(self, shape: tuple[int, ...]) -> None:
        if self.track_running_stats:
            self.register_buffer("running_mean", torch.zeros(*shape, self.num_features))
            self.register_buffer("running_dispersion", torch.ones(shape))
            self.register_buffer("num_batches_tracked", torch.zeros(shape, dtype=torch.long))
        else:
            for name in ("running_mean", "running_dispersion", "num_batches_tracked"):
                self.register_buffer(name, None)

    def reset_running_stats(self) -> None:
        """Forget the running statistics: centroid at the origin, dispersion 1."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_dispersion.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Set scale 1, centre at the origin, and forget the running statistics."""
        self.reset_running_stats()
        if self.affine:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias)

    def _check(self, x: Tensor) -> None:
        if x.dim() not in self._dims or x.shape[1] != self.num_features:
            shapes = {2: "(N, n)", 3: "(N, n, L)", 4: "(N, n, H, W)"}
            allowed = " or ".join(shapes[d] for d in self._dims)
            raise ValueError(
                f"x must have shape {allowed} with n = num_features = {self.num_features} at axis "
                f"1; got {tuple(x.shape)}"
            )

    def _columns(self, x: Tensor) -> Tensor:
        """View points as (B, n, P)."""
        (x,) = prepare(x)
        if self.affine:
            x = x.to(self.weight.dtype)
        return x.unsqueeze(0).mT if x.dim() == 2 else x.flatten(2)

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )


class LorentzBatchNorm1d(LorentzBatchNormBase):
    r"""Batch normalisation of points ``(N, n)`` or ``(N, n, L)``, manifold dimension at axis 1.

    With centroid ``mu`` of the batch and mean distance ``sigma`` to it [1]_,

    .. math:: y = \exp_\beta\Bigl(\mathrm{PT}_{\mu\to\beta}\,
              \frac{\gamma}{\sigma + \epsilon} \log_\mu(x)\Bigr).

    Parameters
    ----------
    num_features : int
        Dimension n of the points.
    eps : float, default 1e-5
        Added to the mean distance.
    momentum : float or None, default 0.1
        Weight of the new batch in the running statistics; None for the plain mean over batches.
    affine : bool, default True
        Whether ``gamma`` and ``beta`` are learned.
    track_running_stats : bool, default True
        Whether evaluation uses running statistics; else those of the batch.
    manifold : Lorentz
        Manifold of input and output.

    Attributes
    ----------
    weight : Parameter, shape (1,), or None
        ``gamma``, initially 1.
    bias : ManifoldParameter, shape (n,), or None
        ``beta``, initially the origin; left out of weight decay.
    running_mean : Tensor, shape (n,)
        Logarithm at the origin of the running centroid. It is averaged there, and stays what it is
        when the curvature changes.
    running_dispersion : Tensor, 0-dimensional
        Running mean distance.
    num_batches_tracked : Tensor, 0-dimensional

    Raises
    ------
    ValueError
        If the input has another shape, or one point in training.

    Notes
    -----
    Input and output are space parts of the same shape, float32 or float64; half precision is raised
    to float32, also under autocast. Points farther apart from the centroid than 40 (float64: 300)
    times ``1/sqrt(c)`` after scaling are held at that distance, where coordinates end;
    :class:`~hypeeg.nn.Rescale` brings them back. With the statistics of the batch the backward
    pass cannot be differentiated again. As ``c -> 0`` the layer becomes
    ``beta + gamma (x - mean) / (mean |x - mean| + eps)``.

    References
    ----------
    .. [1] A. Bdeir, N. Landwehr: Robust Hyperbolic Learning with Curvature-Aware Optimization,
       arXiv 2405.13979.
    """

    _dims: tuple[int, ...] = (2, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised points."""
        self._check(x)
        columns = self._columns(x)
        with torch.autocast(x.device.type, enabled=False):
            if self.training or not self.track_running_stats:
                y = self._from_batch(columns)
            else:
                y = self._from_running(columns)
        return y.mT.squeeze(0) if x.dim() == 2 else y.view(x.shape)

    def _from_batch(self, x: Tensor) -> Tensor:
        if x.shape[0] * x.shape[2] < 2:
            raise ValueError(
                "batch normalisation needs more than 1 point in training; got 1. Use a larger "
                "batch, or eval() for the running statistics."
            )
        weight: Tensor = self.weight if self.affine else x.new_ones(1)
        bias: Tensor = self.bias if self.affine else x.new_zeros(x.shape[1])
        c = self.manifold.c
        y: Tensor
        y, mean, dispersion = BatchNormalise.apply(x, weight, bias, c, self.eps)
        if self.training and self.track_running_stats:
            self._track(mean, dispersion)
        return y

    @torch.no_grad()
    def _track(self, mean: Tensor, dispersion: Tensor) -> None:
        self.num_batches_tracked.add_(1)
        dtype = self.running_mean.dtype
        momentum: Any = self.momentum
        if momentum is None:
            momentum = (1 / self.num_batches_tracked).to(dtype)
        self.running_mean.lerp_(self.manifold.logmap0(mean).to(dtype), momentum)
        self.running_dispersion.lerp_(dispersion.to(dtype), momentum)

    def _from_running(self, x: Tensor) -> Tensor:
        mean = self.manifold.expmap0(self.running_mean.to(x.dtype)).view(1, -1, 1)
        return self._apply_statistics(x, mean, self.running_dispersion.to(x.dtype))

    def _apply_statistics(self, x: Tensor, mean: Tensor, dispersion: Tensor) -> Tensor:
        c = self.manifold.c.to(x.dtype)
        w, p = to_origin(x, mean, c)
        scale = 1 / (dispersion + self.eps)
        if self.affine:
            scale = self.weight * scale
        return from_origin(w, p, mean, scale, self.bias, c)


class LorentzBatchNorm2d(LorentzBatchNorm1d):
    """Batch normalisation of points ``(N, n, H, W)``, manifold dimension at axis 1.

    All points of the batch, ``N H W`` of them, share one centroid and one mean distance.
    Parameters, attributes and formula are those of :class:`LorentzBatchNorm1d`.
    """

    _dims: tuple[int, ...] = (4,)
