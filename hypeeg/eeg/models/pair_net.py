"""Covariances of channel pairs, and a Euclidean head."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from braindecode.models.base import EEGModuleMixin
from torch import Tensor, nn

from hypeeg.eeg.models.band_pairs import BandPairs, PlaneNorm, usable_bands
from hypeeg.eeg.models.pieces import Head, check_head, check_trials
from hypeeg.geometry import Lorentz
from hypeeg.nn import use_domain
from hypeeg.nn.domain_norm import Unseen


class PairCoordinates(nn.Module):
    """Normalised coordinates of the covariance matrices of channel pairs in frequency bands.

    Parameters
    ----------
    n_chans, n_times : int
    sfreq : float
        In Hz.
    bands : sequence of (low, high) or None
    n_filters : int or None
        Learned spatial filters before the pairs.
    shrinkage : float
    manifold : Lorentz or None
        Geometry of the planes; None for vectors.
    n_domains : int
    unseen : {"raise", "batch"}
    momentum : float or None

    Attributes
    ----------
    out_features : int
        Number of coordinates.

    Raises
    ------
    ValueError
        If an option is out of its range.
    """

    def __init__(
        self,
        n_chans: int,
        n_times: int,
        sfreq: float,
        bands: Sequence[Sequence[float]] | None,
        n_filters: int | None,
        shrinkage: float,
        manifold: Lorentz | None,
        n_domains: int,
        unseen: Unseen,
        momentum: float | None,
    ) -> None:
        super().__init__()
        if n_filters is not None and n_filters < 2:
            raise ValueError(f"n_filters must be at least 2, or None for channels; got {n_filters}")
        self.conv_spatial = (
            nn.Identity() if n_filters is None else nn.Conv1d(n_chans, n_filters, 1, bias=False)
        )
        self.pairs = BandPairs(
            n_chans if n_filters is None else n_filters,
            n_times,
            sfreq,
            usable_bands(bands, sfreq),
            shrinkage,
        )
        self.norm = PlaneNorm(
            self.pairs.n_planes,
            manifold,
            n_domains=n_domains,
            momentum=momentum,
            unseen=unseen,
        )
        self.out_features = 3 * self.pairs.n_planes

    def forward(self, x: Tensor) -> Tensor:
        """Return coordinates ``(N, out_features)`` of trials ``(N, n_chans, n_times)``."""
        coordinates: Tensor = self.norm(*self.pairs(self.conv_spatial(x)))
        return coordinates


class Prototypes(nn.Module):
    """Minus squared distances to class prototypes, the flat limit of ``LorentzPrototypes``.

    Parameters
    ----------
    in_features, n_classes : int
    init_radius : float, default 0.1
        Scale of the prototypes' initial length.
    """

    def __init__(self, in_features: int, n_classes: int, init_radius: float = 0.1) -> None:
        super().__init__()
        self.in_features, self.n_classes, self.init_radius = in_features, n_classes, init_radius
        spread = init_radius / math.sqrt(in_features)
        self.prototypes = nn.Parameter(spread * torch.randn(n_classes, in_features))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, ``(N, n_classes)``."""
        return -(x.unsqueeze(-2) - self.prototypes).square().sum(-1)

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return f"{self.in_features}, {self.n_classes}"


class PairNet(EEGModuleMixin, nn.Module):
    r"""Log-Euclidean coordinates of channel pairs, and a linear head.

    The covariance matrices of all pairs of channels in frequency bands, as logarithms
    (:class:`~hypeeg.eeg.models.band_pairs.BandPairs`); their mean is subtracted, for each subject
    or session if asked; a linear layer and a linear head, or prototypes, follow. It is the
    Euclidean twin of :class:`~hypeeg.eeg.models.lorentz_pair_net.LorentzPairNet`, which shares all
    but the geometry.

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
        Length of the vectors that are classified.
    drop_prob : float, default 0.5
        Of the coordinates, before the linear layer.
    n_domains : int, default 1
        Number of subjects or sessions with statistics of their own, target domains included.
    unseen : {"raise", "batch"}, default "raise"
        What evaluation does with a domain without statistics: raise, or take those of the batch.
    norm_momentum : float or None, default 0.1
        Weight of a batch in the statistics; None for the plain mean over batches.
    head : {"mlr", "prototypes"}, default "mlr"
        Multinomial logistic regression, which is a linear layer, or squared distances to
        prototypes: the limits of those of ``LorentzPairNet``.
    chs_info : list of dict, optional
        ``info["chs"]`` of MNE.
    input_window_seconds, sfreq : float, optional
        Window length in seconds and sampling frequency in Hz; two of these and ``n_times`` are
        needed.
    """

    n_chans: int
    n_outputs: int
    n_times: int
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
        chs_info: list[dict[str, Any]] | None = None,
        input_window_seconds: float | None = None,
        sfreq: float | None = None,
    ) -> None:
        check_head(head)
        super().__init__(
            n_outputs=n_outputs,
            n_chans=n_chans,
            chs_info=chs_info,
            n_times=n_times,
            input_window_seconds=input_window_seconds,
            sfreq=sfreq,
        )
        self.mapping: dict[str, str] = {}
        self.head = head
        self.coordinates = PairCoordinates(
            self.n_chans, self.n_times, self.sfreq, bands, n_filters, shrinkage, None,
            n_domains, unseen, norm_momentum,
        )  # fmt: skip
        self.drop = nn.Dropout(drop_prob)
        self.project = nn.Linear(self.coordinates.out_features, embedding_dim)
        self.final_layer = self._new_head(embedding_dim)

    def _new_head(self, embedding_dim: int) -> nn.Linear | Prototypes:
        kind = nn.Linear if self.head == "mlr" else Prototypes
        return kind(embedding_dim, self.n_outputs)

    def reset_head(self, n_outputs: int) -> None:
        """Replace the head by a new one for ``n_outputs`` classes, a positive number."""
        EEGModuleMixin._set_n_outputs(self, n_outputs)
        old = next(self.final_layer.parameters())
        self.final_layer = self._new_head(self.project.out_features).to(old.device, old.dtype)

    def forward(
        self, x: Tensor, domain: int | Tensor | None = None, *, return_features: bool = False
    ) -> Any:
        """Return the logits of trials ``(N, n_chans, n_times)``, or the input of the last layer.

        Parameters
        ----------
        x : Tensor, shape (N, n_chans, n_times)
        domain : int or Tensor, shape (N,), optional
            Subject or session of the trials, with several domains.
        return_features : bool, default False
        """
        if domain is not None:
            with use_domain(self, domain):
                return self.forward(x, return_features=return_features)
        check_trials(x, self.n_chans, self.n_times)
        features = self.project(self.drop(self.coordinates(x)))
        if return_features:
            return {"features": features, "cls_token": None}
        return self.final_layer(features)
