"""Figures from arrays: the Poincaré disk, scores and curvature, as Plotly objects.

Nothing here imports torch, so that screens stay light; Plotly itself loads with the first figure.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hypeeg.viz.curvature import curvature_figure as curvature_figure
    from hypeeg.viz.differences import differences_figure as differences_figure
    from hypeeg.viz.embeddings import disk_figure as disk_figure
    from hypeeg.viz.embeddings import picture_figure as picture_figure
    from hypeeg.viz.history import history_figure as history_figure
    from hypeeg.viz.lab import curves_figure as curves_figure
    from hypeeg.viz.lab import lab_figure as lab_figure
    from hypeeg.viz.lab import sheet_figure as sheet_figure
    from hypeeg.viz.learning import learning_figure as learning_figure
    from hypeeg.viz.pairs import pairs_figure as pairs_figure
    from hypeeg.viz.picture import Picture as Picture
    from hypeeg.viz.picture import picture_of as picture_of
    from hypeeg.viz.predictions import confusion_figure as confusion_figure
    from hypeeg.viz.predictions import reliability_figure as reliability_figure
    from hypeeg.viz.scores import scores_figure as scores_figure
    from hypeeg.viz.scores import sessions_figure as sessions_figure
    from hypeeg.viz.signals import balance_figure as balance_figure
    from hypeeg.viz.signals import head_figure as head_figure
    from hypeeg.viz.signals import signals_figure as signals_figure
    from hypeeg.viz.signals import spectra_figure as spectra_figure

_LAZY = {
    "Picture": "picture",
    "balance_figure": "signals",
    "confusion_figure": "predictions",
    "curvature_figure": "curvature",
    "curves_figure": "lab",
    "differences_figure": "differences",
    "disk_figure": "embeddings",
    "head_figure": "signals",
    "history_figure": "history",
    "lab_figure": "lab",
    "learning_figure": "learning",
    "pairs_figure": "pairs",
    "picture_figure": "embeddings",
    "picture_of": "picture",
    "reliability_figure": "predictions",
    "scores_figure": "scores",
    "sessions_figure": "scores",
    "sheet_figure": "lab",
    "signals_figure": "signals",
    "spectra_figure": "signals",
}

__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"hypeeg.viz.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'hypeeg.viz' has no attribute {name!r}; it offers {__all__}")


def __dir__() -> list[str]:
    return list(__all__)
