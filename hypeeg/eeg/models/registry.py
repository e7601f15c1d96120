"""Models by name: ours, every model of braindecode, and any of the latter with a hyperbolic head.

``Hyperbolic(EEGNeX)`` is braindecode's EEGNeX with a hyperbolic head.
"""

from __future__ import annotations

import difflib
import importlib
import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelEntry:
    """Where one of our models lives and which model is its Euclidean twin, None if it is one."""

    module: str
    twin: str | None


_HERE = "hypeeg.eeg.models."

MODELS: dict[str, ModelEntry] = {
    "HyperbolicEEGNet": ModelEntry(_HERE + "hyperbolic_eegnet", twin="EEGNet"),
    "HyperbolicEEGNetDSBN": ModelEntry(_HERE + "hyperbolic_eegnet_dsbn", twin="EEGNetDSBN"),
    "EEGNetDSBN": ModelEntry(_HERE + "eegnet_dsbn", twin=None),
    "LorentzEEGNet": ModelEntry(_HERE + "lorentz_eegnet", twin="EEGNet"),
    "HyperbolicShallowFBCSPNet": ModelEntry(_HERE + "hyperbolic_convnets", twin="ShallowFBCSPNet"),
    "HyperbolicDeep4Net": ModelEntry(_HERE + "hyperbolic_convnets", twin="Deep4Net"),
    "HyperbolicEEGTCNet": ModelEntry(_HERE + "hyperbolic_eegtcnet", twin="EEGTCNet"),
    "HyperbolicEEGConformer": ModelEntry(_HERE + "hyperbolic_eegconformer", twin="EEGConformer"),
    "LorentzCovarianceNet": ModelEntry(
        _HERE + "lorentz_covariance_net", twin="CovarianceAttentionNet"
    ),
    "CovarianceAttentionNet": ModelEntry(_HERE + "covariance_attention_net", twin=None),
    "LorentzPairNet": ModelEntry(_HERE + "lorentz_pair_net", twin="PairNet"),
    "PairNet": ModelEntry(_HERE + "pair_net", twin=None),
}

BASELINES: dict[str, ModelEntry] = {
    "TSMNet": ModelEntry(_HERE + "tsmnet", twin=None),
    "MAtt": ModelEntry(_HERE + "matt", twin=None),
}
"""Networks of other libraries, to compare with; they need the extra ``hypeeg[baselines]``."""

_HEAD = re.compile(r"Hyperbolic\((?P<backbone>[^()]*)\)")


def backbone_of(name: str) -> str | None:
    """Return ``EEGNeX`` for ``Hyperbolic(EEGNeX)``, None for names without that form."""
    found = _HEAD.fullmatch(name)
    return None if found is None else found["backbone"]


def get_model_class(name: str) -> type[Any]:
    """Return the class of a model.

    Parameters
    ----------
    name : str
        A name in :data:`MODELS` or :data:`BASELINES`, of a model of ``braindecode.models``, or
        ``Hyperbolic(...)`` with one of the latter: that model with a hyperbolic head.

    Returns
    -------
    type
        An ``nn.Module`` class that takes ``n_chans``, ``n_outputs``, ``n_times``.

    Raises
    ------
    ValueError
        If no model has that name; the message holds the nearest names.
    """
    entry = MODELS.get(name) or BASELINES.get(name)
    if entry is not None:
        found: type[Any] = getattr(importlib.import_module(entry.module), name)
        return found
    known = braindecode_models()
    if name in known:
        return known[name]
    backbone = backbone_of(name)
    if backbone in known:
        from hypeeg.eeg.models.hyperbolic_head import with_head

        return with_head(backbone)
    if backbone is None:
        near = difflib.get_close_matches(name, [*MODELS, *BASELINES, *known], n=3)
        ours = f"ours are {', '.join(MODELS)}, and Hyperbolic(...) of any model of braindecode"
        hint = f"did you mean {' or '.join(near)}?" if near else f"{ours}."
    else:
        near = difflib.get_close_matches(backbone, known, n=3)
        hint = "Hyperbolic(...) takes a model of braindecode"
        hint += f"; did you mean {' or '.join(f'Hyperbolic({n})' for n in near)}?" if near else "."
    raise ValueError(f"model: no model is named {name!r}; {hint}")


def braindecode_models() -> dict[str, type[Any]]:
    """Return braindecode's model classes by name."""
    from braindecode.models import util

    if not util.models_dict:
        util._init_models_dict()
    return dict(util.models_dict)


def is_hyperbolic(name: str) -> bool:
    """Tell whether a model lies on the hyperboloid, in part at least."""
    if name in MODELS:
        return MODELS[name].twin is not None
    return backbone_of(name) is not None


def twin_of(name: str) -> str:
    """Return the model that is the Euclidean twin of a hyperbolic one.

    Raises
    ------
    ValueError
        If the model is not hyperbolic.
    """
    twin = MODELS[name].twin if name in MODELS else backbone_of(name)
    if twin is None:
        having = ", ".join(n for n, entry in MODELS.items() if entry.twin is not None)
        raise ValueError(
            f"model: {name!r} has no Euclidean twin; models with one are {having}, Hyperbolic(...)"
        )
    return twin
