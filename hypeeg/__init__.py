"""Hyperbolic deep learning for EEG and brain-computer interfaces.

The public names are loaded on first use, so that ``import hypeeg`` stays light and does not
import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from hypeeg.eeg.classifier import HypEEGClassifier as HypEEGClassifier
    from hypeeg.eeg.models.hyperbolic_eegnet import HyperbolicEEGNet as HyperbolicEEGNet
    from hypeeg.experiments.use import load as load
    from hypeeg.geometry.curvature import Curvature as Curvature
    from hypeeg.geometry.manifold import Lorentz as Lorentz
    from hypeeg.geometry.manifold import ManifoldParameter as ManifoldParameter
    from hypeeg.optim.riemannian import RiemannianAdamW as RiemannianAdamW

_LAZY = {
    "HypEEGClassifier": "hypeeg.eeg.classifier",
    "HyperbolicEEGNet": "hypeeg.eeg.models.hyperbolic_eegnet",
    "Curvature": "hypeeg.geometry.curvature",
    "Lorentz": "hypeeg.geometry.manifold",
    "ManifoldParameter": "hypeeg.geometry.manifold",
    "RiemannianAdamW": "hypeeg.optim.riemannian",
    "load": "hypeeg.experiments.use",
}
_SUBMODULES = {"eeg", "experiments", "geometry", "nn", "optim", "training", "viz"}

__all__ = ["__version__", *sorted(_LAZY)]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name in _SUBMODULES:
        return importlib.import_module(f"hypeeg.{name}")
    raise AttributeError(f"module 'hypeeg' has no attribute {name!r}; it offers {sorted(_LAZY)}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_SUBMODULES])
