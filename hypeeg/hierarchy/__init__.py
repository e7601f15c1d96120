"""Hierarchy wing: taxonomies, their embeddings in hyperbolic and Euclidean space, and measures.

Names load on first use, because torch takes seconds to import.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hypeeg.hierarchy.data import balanced_tree as balanced_tree
    from hypeeg.hierarchy.data import load_taxonomy as load_taxonomy
    from hypeeg.hierarchy.embedding import TaxonomyEmbedding as TaxonomyEmbedding
    from hypeeg.hierarchy.measures import distortion as distortion
    from hypeeg.hierarchy.measures import rank_edges as rank_edges
    from hypeeg.hierarchy.split import split_edges as split_edges
    from hypeeg.hierarchy.taxonomy import Taxonomy as Taxonomy
    from hypeeg.hierarchy.taxonomy import TaxonomyError as TaxonomyError

_LAZY = {
    "Taxonomy": "taxonomy",
    "TaxonomyEmbedding": "embedding",
    "TaxonomyError": "taxonomy",
    "balanced_tree": "data",
    "distortion": "measures",
    "load_taxonomy": "data",
    "rank_edges": "measures",
    "split_edges": "split",
}

__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {__all__}")


def __dir__() -> list[str]:
    return __all__
