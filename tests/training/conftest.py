"""Small networks to train in a moment."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs
from torch import nn

from hypeeg.nn import HyperbolicMLP
from hypeeg.training import HyperbolicClassifier

sys.path.insert(0, str(Path(__file__).parent))


class Euclidean(nn.Module):
    """Two layers with dropout and batch norm, no manifold."""

    def __init__(self, n_features: int, n_outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(n_features, 8), nn.BatchNorm1d(8, momentum=0.01), nn.ELU(), nn.Dropout(0.3)
        )
        self.final_layer = nn.Linear(8, n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.final_layer(self.body(x.flatten(1)))


class Tables(HyperbolicClassifier):
    """Hyperbolic network on features."""

    def _module_config(self, X: np.ndarray, y: np.ndarray) -> dict:
        return {"n_features": int(np.prod(X.shape[1:]))}

    def _build_module(self, config: dict) -> nn.Module:
        return HyperbolicMLP(
            config["n_features"],
            config["n_outputs"],
            hidden=8,
            drop_prob=0.2,
            c=self.c,
            learnable_curvature=self.curvature != "fixed",
        )


class Twins(Tables):
    """Its Euclidean counterpart, for any shape of trial."""

    def _build_module(self, config: dict) -> nn.Module:
        return Euclidean(config["n_features"], config["n_outputs"])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def hyperbolic() -> type[HyperbolicClassifier]:
    return Tables


@pytest.fixture
def euclidean() -> type[HyperbolicClassifier]:
    return Twins


@pytest.fixture
def blobs() -> tuple[np.ndarray, np.ndarray]:
    X, y = make_blobs(n_samples=90, centers=3, n_features=4, cluster_std=2.5, random_state=3)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    return X.astype(np.float32), np.array(["rest", "left", "right"])[y]
