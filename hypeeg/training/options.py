"""Check of the training options, when a fit starts."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

# The upper bound that hypeeg.optim.SharpnessAwareCurvature sets by default.
HIGHEST_SHARPNESS_AWARE_C = 10.0
_INTEGERS = {"max_epochs": 1, "batch_size": 1, "patience": 1, "sharpness_every": 1}
_NUMBERS = ("lr", "curvature_lr", "c", "sharpness_rho", "validation_fraction")
_CHOICES: dict[str, tuple[Any, ...]] = {
    "optimizer": ("radamw", "radam", "adamw"),
    "lr_schedule": ("cosine", None),
    "curvature": ("learned", "sharpness_aware", "fixed"),
    "curvature_move": ("exp", "scale", "none"),
    "curvature_gradient": ("autograd", "consistent"),
}


def check_training_options(estimator: Any) -> None:
    """Check the training parameters of an estimator.

    Parameters
    ----------
    estimator : HyperbolicClassifier
        Being fitted.

    Raises
    ------
    ValueError
        Naming the first parameter that cannot be used, its value and what it may be.
    """
    for name, low in _INTEGERS.items():
        value = getattr(estimator, name)
        if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
            raise ValueError(f"{name}={value!r} must be an integer of {low} or more")
    for name in _NUMBERS:
        if not _is_finite(getattr(estimator, name)) or getattr(estimator, name) <= 0:
            raise ValueError(f"{name}={getattr(estimator, name)!r} must be a number above 0")
    if not _is_finite(estimator.weight_decay) or estimator.weight_decay < 0:
        raise ValueError(f"weight_decay={estimator.weight_decay!r} must be a number of 0 or more")
    if estimator.validation_fraction >= 1:
        raise ValueError(
            f"validation_fraction={estimator.validation_fraction!r} must lie between 0 and 1"
        )
    for name, allowed in _CHOICES.items():
        value = getattr(estimator, name)
        if not any(value is a or (isinstance(value, str) and value == a) for a in allowed):
            raise ValueError(f"{name}={value!r} must be one of {', '.join(map(repr, allowed))}")
    if not isinstance(estimator.compile, bool):
        raise ValueError(f"compile={estimator.compile!r} must be True or False")
    if estimator.curvature == "sharpness_aware" and estimator.c > HIGHEST_SHARPNESS_AWARE_C:
        raise ValueError(
            f"c={estimator.c!r} must be at most {HIGHEST_SHARPNESS_AWARE_C:g} with "
            "curvature='sharpness_aware'; start lower, or use curvature='learned'"
        )
    if estimator.curvature == "sharpness_aware" and estimator.curvature_move == "none":
        raise ValueError(
            "curvature_move='none' is not for curvature='sharpness_aware', the points of which "
            "always follow; use 'exp' or 'scale', or curvature='learned'"
        )


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
