"""A hyperbolic multilayer perceptron for feature vectors."""

from __future__ import annotations

import math

from torch import Tensor, nn

from hypeeg.geometry import Lorentz
from hypeeg.nn.heads import LorentzMLR
from hypeeg.nn.lift import Lift, Rescale
from hypeeg.nn.linear import LorentzLinear


class HyperbolicMLP(nn.Module):
    """Features, a Euclidean hidden layer, points of the hyperboloid, logits.

    Parameters
    ----------
    in_features : int
        Number of features.
    n_outputs : int
        Number of classes.
    hidden : int, default 32
        Width of the hidden layer and dimension of the embedding.
    drop_prob : float, default 0.0
        Dropout after the hidden layer.
    c : float, default 1.0
        Initial curvature magnitude.
    learnable_curvature : bool, default True

    Attributes
    ----------
    manifold : Lorentz
    final_layer : LorentzMLR
        Its input is the embedding.
    """

    def __init__(
        self,
        in_features: int,
        n_outputs: int,
        hidden: int = 32,
        *,
        drop_prob: float = 0.0,
        c: float = 1.0,
        learnable_curvature: bool = True,
    ) -> None:
        super().__init__()
        self.manifold = Lorentz(c, learnable_curvature)
        scale = 1 / math.sqrt(hidden)
        self.encoder = nn.Sequential(
            nn.Linear(in_features, hidden), nn.ELU(), nn.Dropout(drop_prob)
        )
        self.points = nn.Sequential(
            Lift(self.manifold, scale),
            LorentzLinear(hidden, hidden, manifold=self.manifold),
            Rescale(self.manifold),
        )
        self.final_layer = LorentzMLR(
            hidden, n_outputs, manifold=self.manifold, temperature=1 / scale
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(N, n_outputs)`` of features ``(N, in_features)``."""
        logits: Tensor = self.final_layer(self.points(self.encoder(x)))
        return logits
