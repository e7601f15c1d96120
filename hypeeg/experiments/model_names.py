"""Names of models a run file may use, found without importing any deep-learning library."""

from __future__ import annotations

import ast
import functools
import importlib.util
import logging
from pathlib import Path

from hypeeg.eeg.models.registry import BASELINES, MODELS, backbone_of
from hypeeg.eeg.pipeline_spec import CLASSICAL_MODELS

logger = logging.getLogger(__name__)

# Building blocks that stand in the same list.
_NOT_MODELS = ("EEGModuleMixin", "HybridNet", "TCN")
_WRAPPERS = "Interpolated"


def known_models() -> list[str]:
    """Return every name that ``pipelines[].model`` may take.

    Returns
    -------
    list of str
        Classical pipelines, hypeeg's networks, those of spd-learn, then braindecode's classes.
    """
    return [*CLASSICAL_MODELS, *MODELS, *BASELINES, *braindecode_models()]


def is_known(name: str) -> bool:
    """Tell whether ``pipelines[].model`` may be ``name``.

    Beside :func:`known_models` these are ``Hyperbolic(X)`` with a model class X of braindecode.
    """
    backbone = backbone_of(name)
    return name in known_models() if backbone is None else backbone in braindecode_models()


@functools.cache
def braindecode_models() -> tuple[str, ...]:
    """Return the model classes of the installed braindecode, read from its source.

    Importing braindecode takes seconds; the names are a list of literals in one of its files.

    Returns
    -------
    tuple of str
        Sorted; empty if braindecode is not installed.
    """
    found = importlib.util.find_spec("braindecode")
    if found is None or found.origin is None:
        return ()
    source = Path(found.origin).parent / "models" / "__init__.py"
    try:
        tree = ast.parse(source.read_text(encoding="utf-8"))
    except (OSError, SyntaxError):
        logger.warning("cannot read the model names of braindecode from %s", source.name)
        return ()
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
    models = {n for n in names if n[:1].isupper() and not n.startswith(_WRAPPERS)}
    return tuple(sorted(models.difference(_NOT_MODELS)))
