"""Experiments: what a run is, how it is carried out, where it is kept, what it says.

Names load on first use, so that checking a run file stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hypeeg.experiments.gather import read_embeddings as read_embeddings
    from hypeeg.experiments.library import find_spec as find_spec
    from hypeeg.experiments.moabb_table import moabb_table as moabb_table
    from hypeeg.experiments.runner import RunResult as RunResult
    from hypeeg.experiments.runner import run as run
    from hypeeg.experiments.saved import load_pipeline as load_pipeline
    from hypeeg.experiments.spec import RunSpec as RunSpec
    from hypeeg.experiments.spec_errors import SpecError as SpecError
    from hypeeg.experiments.store import RunFolder as RunFolder

_LAZY = {
    "RunFolder": "store",
    "RunResult": "runner",
    "RunSpec": "spec",
    "SpecError": "spec_errors",
    "find_spec": "library",
    "load_pipeline": "saved",
    "moabb_table": "moabb_table",
    "read_embeddings": "gather",
    "run": "runner",
}

__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {__all__}")


def __dir__() -> list[str]:
    return __all__
