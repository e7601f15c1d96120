"""Models by name: ours, and every model of braindecode."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelEntry:
    """Where one of our models lives and which braindecode model is its Euclidean twin."""

    module: str
    twin: str


MODELS: dict[str, ModelEntry] = {
    "HyperbolicEEGNet": ModelEntry("hypeeg.eeg.models.hyperbolic_eegnet", twin="EEGNet"),
}


def get_model_class(name: str) -> type[Any]:
    """Return the class of a model.

    Parameters
    ----------
    name : str
        A name in :data:`MODELS` or of a model of ``braindecode.models``.

    Returns
    -------
    type
        An ``nn.Module`` class that takes ``n_chans``, ``n_outputs``, ``n_times``.

    Raises
    ------
    ValueError
        If no model has that name; the message holds the nearest names.
    """
    if name in MODELS:
        found: type[Any] = getattr(importlib.import_module(MODELS[name].module), name)
        return found
    known = braindecode_models()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, [*MODELS, *known], n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"ours are {', '.join(MODELS)}."
    raise ValueError(f"model: no model is named {name!r}; {hint}")


def braindecode_models() -> dict[str, type[Any]]:
    """Return braindecode's model classes by name."""
    from braindecode.models import util

    if not util.models_dict:
        util._init_models_dict()
    return dict(util.models_dict)


def is_hyperbolic(name: str) -> bool:
    """Tell whether a model name is one of ours."""
    return name in MODELS


def twin_of(name: str) -> str:
    """Return the braindecode model that is the Euclidean twin of one of our models.

    Raises
    ------
    ValueError
        If the model is not one of ours.
    """
    if name not in MODELS:
        raise ValueError(
            f"model: {name!r} has no Euclidean twin; models with one are {', '.join(MODELS)}"
        )
    return MODELS[name].twin
