"""Training: the scikit-learn estimator that every wing builds on, and its callbacks."""

from hypeeg.training.callbacks import (
    CurvatureHistory,
    KeepBest,
    NaNGuard,
    StopTraining,
    TrainingDivergedError,
    find_curvature,
)
from hypeeg.training.estimator import HyperbolicClassifier

__all__ = [
    "CurvatureHistory",
    "HyperbolicClassifier",
    "KeepBest",
    "NaNGuard",
    "StopTraining",
    "TrainingDivergedError",
    "find_curvature",
]
