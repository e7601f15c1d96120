"""Covariance matrices of channel pairs in frequency bands, as points of hyperbolic planes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from hypeeg.geometry import Lorentz
from hypeeg.nn.domain_norm import DomainNorm, Unseen
from hypeeg.nn.recentre import stats_dtype

EEG_BANDS = ((4.0, 8.0), (8.0, 13.0), (13.0, 20.0), (20.0, 30.0), (30.0, 45.0))
"""Theta, alpha, low and high beta, low gamma, in Hz."""

_FLOOR = 1e-6  # variance that constant channels are given
_ORDER = 4
# Frequencies that a band lets through less than this share of are left out.
_NEGLIGIBLE = 1e-4


def usable_bands(
    bands: Sequence[Sequence[float]] | None, sfreq: float
) -> tuple[tuple[float, float], ...]:
    """Return the bands of a network, checked.

    Parameters
    ----------
    bands : sequence of (low, high) or None
        In Hz; None takes those of :data:`EEG_BANDS` that fit below the Nyquist frequency.
    sfreq : float
        Sampling frequency in Hz.

    Returns
    -------
    tuple of (float, float)

    Raises
    ------
    ValueError
        If there is no band, or one is not within (0, sfreq / 2).
    """
    nyquist = sfreq / 2
    if bands is None:
        bands = [band for band in EEG_BANDS if band[1] < nyquist]
    if not len(bands):
        raise ValueError(
            f"bands is empty (sfreq={sfreq:g} Hz); give (low, high) pairs below {nyquist:g} Hz"
        )
    for low, high in bands:
        if not 0 < low < high < nyquist:
            raise ValueError(
                f"bands: ({low:g}, {high:g}) Hz must satisfy 0 < low < high < {nyquist:g} Hz, half "
                f"of sfreq={sfreq:g}"
            )
    return tuple((float(low), float(high)) for low, high in bands)


class BandPairs(nn.Module):
    r"""Covariance matrices of all pairs of channels in frequency bands, in two parts.

    A covariance matrix of two signals is ``s P`` with ``s`` the root of its determinant and ``P``
    of determinant one. Such ``P`` under the affine-invariant metric are the hyperbolic plane: with

    .. math:: x = \frac{1}{2 s} (C_{11} - C_{22},\ 2 C_{12}),

    ``1 + |x|^2 = ((C_11 + C_22) / 2s)^2``, so that ``x`` is the space part of a point of the
    hyperboloid of curvature -1. Changes of basis of the two signals act as its isometries, and
    ``|log C|^2 = 2 (log s)^2 + 2 d(o, x)^2`` [1]_.

    Band-pass filtering is done on the spectrum: cross-spectra are summed with the squared gain of a
    Butterworth filter of order 4 that runs forward and backward.

    Parameters
    ----------
    n_chans, n_times : int
    sfreq : float
        Sampling frequency in Hz.
    bands : sequence of (low, high)
        In Hz.
    shrinkage : float
        Weight, in [0, 1), of the mean variance in the variances of a band.

    Attributes
    ----------
    n_planes : int
        Bands times pairs of channels.

    Raises
    ------
    ValueError
        With fewer than two channels, a shrinkage out of range or trials too short for a band.

    Notes
    -----
    Input ``(N, n_chans, n_times)``; output tangent vectors at the origin ``(N, 2 n_planes)``, the
    logarithms of ``x`` with all first coordinates before all second ones, and ``log s``, shape
    ``(N, n_planes)``. Everything is computed in float32 or float64, also under autocast.

    References
    ----------
    .. [1] R. Bhatia: Positive Definite Matrices, Princeton 2007, chapter 6.
    """

    weights: Tensor
    row: Tensor
    column: Tensor

    def __init__(
        self,
        n_chans: int,
        n_times: int,
        sfreq: float,
        bands: Sequence[Sequence[float]],
        shrinkage: float,
    ) -> None:
        super().__init__()
        if n_chans < 2:
            raise ValueError(f"n_chans={n_chans}: pairs need at least two channels")
        if not 0 <= shrinkage < 1:
            raise ValueError(f"shrinkage must lie in [0, 1); got {shrinkage}")
        gains = _squared_gains(n_times, sfreq, bands)
        used = gains.max(0) > _NEGLIGIBLE
        for band, gain in zip(bands, gains, strict=True):
            if not (gain > 0.5).any():
                raise ValueError(
                    f"n_times={n_times} is too short for bands: at sfreq={sfreq:g} Hz frequencies "
                    f"are {sfreq / n_times:g} Hz apart, and none is in {tuple(band)} Hz; widen the "
                    "band or give longer trials"
                )
        first = int(np.flatnonzero(used)[0])
        self.first, self.last = first, int(np.flatnonzero(used)[-1]) + 1
        kept = torch.from_numpy(gains[:, first : self.last]).float()
        self.register_buffer("weights", kept, persistent=False)
        row, column = torch.triu_indices(n_chans, n_chans, 1)
        self.register_buffer("row", row, persistent=False)
        self.register_buffer("column", column, persistent=False)
        self.shrinkage = float(shrinkage)
        self.bands = tuple(tuple(band) for band in bands)
        self.n_planes = len(bands) * len(row)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logarithms of the points and of the scales."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(torch.promote_types(x.dtype, self.weights.dtype))
            matrices = self._covariances(x)
            variance = matrices.diagonal(dim1=-2, dim2=-1)
            mean = variance.mean(-1, keepdim=True)
            keep = 1 - self.shrinkage
            variance = keep * variance + (self.shrinkage * mean + _FLOOR)
            a, b = variance[..., self.row], variance[..., self.column]
            cross = keep * matrices[..., self.row, self.column]
            # Nearly coherent signals: rounding must not take the determinant below zero.
            squared = torch.maximum(a * b - cross * cross, 1e-6 * a * b)
            scale = torch.sqrt(squared)
            u, v = (a - b) / (2 * scale), cross / scale
            return _logs(u.flatten(1), v.flatten(1), scale.new_ones(())), scale.log().flatten(1)

    def _covariances(self, x: Tensor) -> Tensor:
        """Return the covariance matrices of the bands, ``(N, bands, n_chans, n_chans)``."""
        centred = x - x.mean(-1, keepdim=True)
        spectrum = torch.fft.rfft(centred)[..., self.first : self.last]
        # Real arithmetic: the real part of the cross-spectrum is the covariance.
        parts = torch.cat([spectrum.real, spectrum.imag], -1)
        root = torch.sqrt(self.weights.to(x.dtype)).repeat(1, 2).unsqueeze(1)
        filtered = parts.unsqueeze(1) * root
        return filtered @ filtered.mT * (2 / x.shape[-1] ** 2)

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return f"planes={self.n_planes}, bands={self.bands}, shrinkage={self.shrinkage}"


def _squared_gains(n_times: int, sfreq: float, bands: Sequence[Sequence[float]]) -> np.ndarray:
    """Return the power gain of each band at each frequency, (bands, n_times // 2 + 1)."""
    from scipy.signal import butter, sosfreqz

    hertz = np.fft.rfftfreq(n_times, 1 / sfreq)
    gains = []
    for low, high in bands:
        sos = butter(_ORDER, [low, high], btype="bandpass", fs=sfreq, output="sos")
        _, response = sosfreqz(sos, worN=hertz, fs=sfreq)
        gains.append(np.abs(response) ** 4)  # forward and backward, and squared
    return np.stack(gains)


def _points(logs: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return space parts and ``sqrt(c)`` times time parts of points by their logarithms.

    Coordinates of one kind lie side by side, all first ones before all second ones: operations on
    pairs of neighbours would take several times as long.
    """
    first, second = logs.chunk(2, -1)
    r = torch.sqrt(c * (first * first + second * second) + torch.finfo(logs.dtype).tiny)
    sinhc = torch.sinh(r) / r
    return first * sinhc, second * sinhc, torch.cosh(r)


def _logs(u: Tensor, v: Tensor, c: Tensor) -> Tensor:
    """Return logarithms at the origin of points by their space parts."""
    r = torch.sqrt(c * (u * u + v * v) + torch.finfo(u.dtype).tiny)
    asinhc = torch.asinh(r) / r
    return torch.cat([u * asinhc, v * asinhc], -1)


class PlaneNorm(DomainNorm):
    r"""Batch normalisation of pair covariances: each plane recentred, all scaled alike.

    In each plane the centroid of the trial's domain is moved to the origin by the isometry along
    their geodesic, which for covariance matrices is whitening by their mean; ``log s`` loses its
    mean. All coordinates are then divided by one number, their root mean square, so that the metric
    of the matrices is kept: division coordinate by coordinate would throw it away.

    Parameters
    ----------
    n_planes : int
    manifold : Lorentz or None
        Geometry of the planes: curvature -1 is the affine-invariant metric of the matrices. None
        takes the logarithms as vectors, the log-Euclidean metric, which is the limit of no
        curvature.
    n_domains : int, default 1
        With one, no domain need be given, and before training the centre is the origin and the
        dispersion 1.
    momentum : float or None, default 0.1
        Weight of a batch in the statistics, after a domain's first, which are its statistics; None
        for the plain mean over batches.
    eps : float, default 1e-5
    unseen : {"raise", "batch"}, default "raise"

    Attributes
    ----------
    running_mean : Tensor, shape (n_domains, 3 n_planes)
        Logarithms of the centroids, then means of ``log s``.
    running_dispersion : Tensor, shape (n_domains,)

    Notes
    -----
    Input logarithms ``(N, 2 n_planes)`` and ``log s`` ``(N, n_planes)``; output
    ``(N, 3 n_planes)``, the logarithms about the centre and the differences of ``log s``.

    References
    ----------
    .. [1] R. Kobler et al.: SPD domain-specific batch normalization to crack interpretable
       unsupervised domain adaptation in EEG, NeurIPS 2022.
    """

    def __init__(
        self,
        n_planes: int,
        manifold: Lorentz | None,
        *,
        n_domains: int = 1,
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        unseen: Unseen = "raise",
    ) -> None:
        self._check_domains(n_domains, unseen)
        super().__init__()
        self.n_planes, self.n_domains = n_planes, n_domains
        self.momentum, self.eps, self.unseen = momentum, eps, unseen
        self.manifold = manifold
        self.domain = 0 if n_domains == 1 else None
        self.register_buffer("running_mean", torch.zeros(n_domains, 3 * n_planes))
        self.register_buffer("running_dispersion", torch.ones(n_domains))
        self.register_buffer("num_batches_tracked", torch.zeros(n_domains, dtype=torch.long))

    def forward(self, logs: Tensor, scales: Tensor) -> Tensor:
        """Return the normalised coordinates."""
        index = self._index(logs, self.domain)
        with torch.autocast(logs.device.type, enabled=False):
            if self.training:
                members, count = self._members(index, 1, stats_dtype(logs))
                self._require(count != 1, "needs more than 1 trial in training", index)
                mean, dispersion = self._statistics(logs, scales, index, members, count)
                self._track_rows(mean.detach(), dispersion.detach(), count > 0)
            else:
                mean, dispersion = self._of_domains(logs, scales, index)
            y = self._about(logs, scales, mean, index)
            return y / (dispersion[index].unsqueeze(-1) + self.eps)

    def _of_domains(self, logs: Tensor, scales: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.running_mean.to(logs.dtype)
        dispersion = self.running_dispersion.to(logs.dtype)
        if self.unseen == "raise":
            if self.n_domains > 1:
                self._require_seen(index)
            return mean, dispersion
        members, count = self._members(index, 1, stats_dtype(logs))
        fresh = self._statistics(logs, scales, index, members, count)
        seen = self.num_batches_tracked > 0
        mean = torch.where(seen.unsqueeze(-1), mean, fresh[0])
        return mean, torch.where(seen, dispersion, fresh[1])

    def _statistics(
        self, logs: Tensor, scales: Tensor, index: Tensor, members: Tensor, count: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return centres (domains, 3 n_planes) and dispersions (domains,)."""
        share = members / count.clamp(min=1).unsqueeze(-1)
        level = (share @ scales.to(share.dtype)).to(scales.dtype)
        mean = torch.cat([self._centroids(logs, share, count), level], 1)
        y = self._about(logs, scales, mean, index)
        squared = (y * y).mean(1).to(share.dtype)
        # Without trials of a domain there is nothing to take the root of.
        spread = torch.where(count > 0, share @ squared, 1.0)
        return mean, torch.sqrt(spread + torch.finfo(logs.dtype).tiny).to(logs.dtype)

    def _centroids(self, logs: Tensor, share: Tensor, count: Tensor) -> Tensor:
        """Return the logarithms of the centroids, (domains, 2 n_planes)."""
        if self.manifold is None:
            return (share @ logs.to(share.dtype)).to(logs.dtype)
        c = self.manifold.c.to(share.dtype)
        u, v, t = _points(logs.to(share.dtype), c)
        time = torch.where((count > 0).unsqueeze(-1), share @ t, 1.0)
        u, v = share @ u, share @ v
        # At least 1 for points of the hyperboloid, in float64 as good as exactly.
        norm = torch.sqrt((time * time - c * (u * u + v * v)).clamp(min=1.0))
        return _logs(u / norm, v / norm, c).to(logs.dtype)

    def _about(self, logs: Tensor, scales: Tensor, mean: Tensor, index: Tensor) -> Tensor:
        """Return coordinates about the centres of the samples, (N, 3 n_planes)."""
        centre, level = mean.split((2 * self.n_planes, self.n_planes), 1)
        # One centre for all broadcasts; several are spread over the trials.
        rows = slice(None) if self.n_domains == 1 else index
        if self.manifold is None:
            moved = logs - centre[rows]
        else:
            c = self.manifold.c.to(logs.dtype)
            u, v, t = _points(logs, c)
            mu, mv, mt = (part[rows] for part in _points(centre, c))
            # The isometry that takes the centre to the origin along their geodesic.
            k = c * (u * mu + v * mv) / (1 + mt) - t
            moved = _logs(u + k * mu, v + k * mv, c)
        return torch.cat([moved, scales - level[rows]], 1)

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return (
            f"{self.n_planes}, n_domains={self.n_domains}, momentum={self.momentum}, "
            f"unseen={self.unseen!r}"
        )
