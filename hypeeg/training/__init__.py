"""Training: the scikit-learn estimator that every wing builds on, and its callbacks.

Names load on first use: :mod:`hypeeg.training.spec`, which run files are checked with, needs no
torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hypeeg.training.callbacks import CurvatureHistory as CurvatureHistory
    from hypeeg.training.callbacks import KeepBest as KeepBest
    from hypeeg.training.callbacks import NaNGuard as NaNGuard
    from hypeeg.training.callbacks import StopTraining as StopTraining
    from hypeeg.training.callbacks import TrainingDivergedError as TrainingDivergedError
    from hypeeg.training.callbacks import find_curvature as find_curvature
    from hypeeg.training.distributed import data_parallel as data_parallel
    from hypeeg.training.estimator import HyperbolicClassifier as HyperbolicClassifier

_LAZY = {
    "CurvatureHistory": "callbacks",
    "HyperbolicClassifier": "estimator",
    "KeepBest": "callbacks",
    "NaNGuard": "callbacks",
    "StopTraining": "callbacks",
    "TrainingDivergedError": "callbacks",
    "data_parallel": "distributed",
    "find_curvature": "callbacks",
}

__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {__all__}")


def __dir__() -> list[str]:
    return __all__
