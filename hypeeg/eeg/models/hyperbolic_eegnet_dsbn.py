"""HyperbolicEEGNet with a normalisation of its own for each subject or session."""

from __future__ import annotations

import math
from typing import Any, Literal

from torch import Tensor, nn

from hypeeg.eeg.models.hyperbolic_eegnet import HyperbolicEEGNet
from hypeeg.eeg.models.on_backbone import OnBackbone
from hypeeg.eeg.models.pieces import make_head
from hypeeg.nn import LorentzDomainBatchNorm, Rescale, use_domain


class PointsOfSteps(nn.Module):
    """Apply a layer with the manifold dimension at axis 1 to points ``(N, steps, n)``."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return the points of the layer."""
        return self.layer(x.mT.contiguous()).mT


class HyperbolicEEGNetDSBN(OnBackbone, HyperbolicEEGNet):  # type: ignore[misc]
    r"""HyperbolicEEGNet with hyperbolic domain-specific batch normalisation [1]_, [2]_.

    As :class:`HyperbolicEEGNet`; before the concatenation over time the points of all steps are
    normalised (:class:`hypeeg.nn.LorentzDomainBatchNorm`) with the centroid and the mean distance
    of the trial's domain: its subject, session or recording. A batch may mix domains. The
    statistics of a new domain come from its unlabelled trials, with
    ``hypeeg.nn.adapt_domain_statistics(model, batches, domain)``. ``forward`` takes ``domain``, an
    integer or a tensor ``(N,)``; see also :func:`hypeeg.nn.use_domain`. Other arguments than the
    following are those of :class:`HyperbolicEEGNet`.

    Parameters
    ----------
    n_domains : int, default 1
        Number of domains, target domains included. With one, no domain need be given, and the
        layer is an ordinary batch normalisation that starts at the origin and at dispersion 1.
    unseen : {"raise", "batch"}, default "raise"
        What evaluation does with a domain without statistics: raise, or take those of the batch.
    domain_momentum : float or None, default 0.1
        Weight of a batch in the statistics of its domains; None for the plain mean over batches.

    References
    ----------
    .. [1] R. Kobler et al.: SPD domain-specific batch normalization to crack interpretable
       unsupervised domain adaptation in EEG, NeurIPS 2022.
    .. [2] HEEGNet: Hyperbolic embeddings for EEG, ICLR 2026.
    """

    def _convert(
        self,
        *,
        n_domains: int = 1,
        unseen: Literal["raise", "batch"] = "raise",
        domain_momentum: float | None = 0.1,
    ) -> None:
        model: Any = self
        old = model.final_layer
        n_features = model.conv_separable_point.out_channels
        norm = LorentzDomainBatchNorm(
            n_features, n_domains, momentum=domain_momentum, manifold=old.manifold, unseen=unseen
        )
        if n_domains == 1:
            norm.domain = 0
            norm.num_batches_tracked.fill_(1)
        concatenate = model.concatenate
        del model.concatenate, model.final_layer
        slope = model.rescale.slope
        self.add_module("domain_norm", PointsOfSteps(norm))
        self.add_module("domain_rescale", Rescale(old.manifold, slope))
        self.add_module("concatenate", concatenate)
        # Normalised points lie at mean distance 1, normalised features at the root of their number.
        self.shrink = math.atanh(0.99) / slope / math.sqrt(n_features)
        max_norm = model.norm_rate if model.final_layer_with_constraint else None
        self.final_layer = make_head(
            model.head, old.in_features, self.n_outputs, old.manifold, self.shrink, max_norm
        )

    def _logits(self, x: Tensor, domain: int | Tensor | None = None, **inputs: Any) -> Any:
        if domain is None:
            return super()._logits(x, **inputs)
        with use_domain(self, domain):
            return super()._logits(x, **inputs)
