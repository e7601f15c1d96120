"""Channel pairs on hyperbolic planes, and a hyperbolic head."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from braindecode.models.base import EEGModuleMixin
from torch import Tensor, nn

from hypeeg.eeg.models.pair_net import PairCoordinates
from hypeeg.eeg.models.pieces import (
    Head,
    HyperbolicNetwork,
    TangentRescale,
    check_head,
    check_trials,
    make_head,
)
from hypeeg.geometry import Lorentz
from hypeeg.nn import Lift, LorentzMLR, LorentzPrototypes, use_domain


class LorentzPairNet(HyperbolicNetwork, EEGModuleMixin, nn.Module):
    r"""Covariances of channel pairs as points of hyperbolic planes, and a hyperbolic head.

    A two-by-two covariance matrix up to scale is a point of the hyperbolic plane, exactly: the
    affine-invariant distance is the hyperbolic one
    (:class:`~hypeeg.eeg.models.band_pairs.BandPairs`). In each frequency band and for each pair of
    channels the points are recentred by isometries
    (:class:`~hypeeg.eeg.models.band_pairs.PlaneNorm`), for each subject or session if asked; a
    linear layer leads from their logarithms and those of the scales to vectors that are lifted to
    the hyperboloid within the maximum distance [1]_, where a Lorentz multinomial logistic
    regression or prototypes classify them. With no curvature it is
    :class:`~hypeeg.eeg.models.pair_net.PairNet`, its Euclidean twin.

    Parameters
    ----------
    n_chans, n_outputs, n_times : int
        Channels, classes, samples per trial.
    bands : sequence of (low, high), optional
        Frequency bands in Hz; by default theta to low gamma as far as the sampling allows. For
        SSVEP narrow ones around the stimuli and their harmonics.
    n_filters : int, optional
        Learned spatial filters, the pairs of which are taken; by default pairs of channels. There
        are ``n (n - 1) / 2`` pairs in each band.
    shrinkage : float, default 0.0
        Weight, in [0, 1), of the mean variance in the variances of a band.
    embedding_dim : int, default 16
        Dimension of the points that are classified.
    drop_prob : float, default 0.5
        Of the coordinates, before the linear layer.
    n_domains : int, default 1
        Number of subjects or sessions with statistics of their own, target domains included.
    unseen : {"raise", "batch"}, default "raise"
        What evaluation does with a domain without statistics: raise, or take those of the batch.
    norm_momentum : float or None, default 0.1
        Weight of a batch in the statistics; None for the plain mean over batches.
    head : {"mlr", "prototypes"}, default "mlr"
    plane_curvature : float, default 1.0
        Fixed curvature magnitude of the planes. 1 is the geometry of the matrices; with 0 their
        logarithms are vectors, as in ``PairNet``, and the head alone is hyperbolic.
    c : float, default 1.0
        Initial curvature magnitude of the embedding; the space has curvature ``-c``.
    learnable_curvature : bool, default True
        Whether that curvature is learned.
    lift_scale : float, optional
        Factor on the vectors before the lift; by default one over the square root of their length.
    rescale_slope : float or None, default 3.0
        Slope of the maximum-distance rescaling, at least 2.65; None for no rescaling.
    chs_info : list of dict, optional
        ``info["chs"]`` of MNE.
    input_window_seconds, sfreq : float, optional
        Window length in seconds and sampling frequency in Hz; two of these and ``n_times`` are
        needed.

    References
    ----------
    .. [1] A. Bdeir, N. Landwehr: Robust Hyperbolic Learning with Curvature-Aware Optimization,
       arXiv 2405.13979.
    """

    sfreq: float

    def __init__(
        self,
        n_chans: int | None = None,
        n_outputs: int | None = None,
        n_times: int | None = None,
        *,
        bands: Sequence[Sequence[float]] | None = None,
        n_filters: int | None = None,
        shrinkage: float = 0.0,
        embedding_dim: int = 16,
        drop_prob: float = 0.5,
        n_domains: int = 1,
        unseen: Literal["raise", "batch"] = "raise",
        norm_momentum: float | None = 0.1,
        head: Head = "mlr",
        plane_curvature: float = 1.0,
        c: float = 1.0,
        learnable_curvature: bool = True,
        lift_scale: float | None = None,
        rescale_slope: float | None = 3.0,
        chs_info: list[dict[str, Any]] | None = None,
        input_window_seconds: float | None = None,
        sfreq: float | None = None,
    ) -> None:
        check_head(head)
        EEGModuleMixin.__init__(
            self,
            n_outputs=n_outputs,
            n_chans=n_chans,
            chs_info=chs_info,
            n_times=n_times,
            input_window_seconds=input_window_seconds,
            sfreq=sfreq,
        )
        self.mapping: dict[str, str] = {}
        planes = None if plane_curvature == 0 else Lorentz(plane_curvature, learnable=False)
        self.coordinates = PairCoordinates(
            self.n_chans, self.n_times, self.sfreq, bands, n_filters, shrinkage, planes,
            n_domains, unseen, norm_momentum,
        )  # fmt: skip
        self.drop = nn.Dropout(drop_prob)
        self.project = nn.Linear(self.coordinates.out_features, embedding_dim)
        manifold = Lorentz(c, learnable_curvature)
        scale = 1 / math.sqrt(embedding_dim) if lift_scale is None else lift_scale
        self.rescale = TangentRescale(manifold, scale, rescale_slope)
        self.lift = Lift(manifold)
        self.final_layer: LorentzMLR | LorentzPrototypes = make_head(
            head, embedding_dim, self.n_outputs, manifold, self.rescale.shrink
        )

    def _logits(self, x: Tensor, domain: int | Tensor | None = None, **inputs: Any) -> Any:
        if domain is not None:
            with use_domain(self, domain):
                return self._logits(x)
        check_trials(x, self.n_chans, self.n_times)
        z = self.project(self.drop(self.coordinates(x)))
        return self.final_layer(self.lift(self.rescale(z)))
