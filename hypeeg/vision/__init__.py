"""Vision wing: image data with class hierarchies, networks on the hyperboloid, their twins.

Names load on first use, because torch takes seconds to import.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hypeeg.vision.classifier import HypVisionClassifier as HypVisionClassifier
    from hypeeg.vision.episodes import few_shot_accuracy as few_shot_accuracy
    from hypeeg.vision.euclidean import ResNet as ResNet
    from hypeeg.vision.hybrid import HybridResNet as HybridResNet
    from hypeeg.vision.images import ImageData as ImageData
    from hypeeg.vision.resnet import LorentzBasicBlock as LorentzBasicBlock
    from hypeeg.vision.resnet import LorentzResNet as LorentzResNet
    from hypeeg.vision.resnet import lorentz_resnet18 as lorentz_resnet18
    from hypeeg.vision.sources import load_images as load_images

_LAZY = {
    "HybridResNet": "hybrid",
    "HypVisionClassifier": "classifier",
    "ImageData": "images",
    "LorentzBasicBlock": "resnet",
    "LorentzResNet": "resnet",
    "ResNet": "euclidean",
    "few_shot_accuracy": "episodes",
    "load_images": "sources",
    "lorentz_resnet18": "resnet",
}

__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {__all__}")


def __dir__() -> list[str]:
    return __all__
