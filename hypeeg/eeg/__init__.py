"""EEG wing: manifests, MOABB datasets, MNE preprocessing, models and the classifier.

Names load on first use, because MOABB and torch take seconds to import.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hypeeg.eeg.alignment import DomainAlignment as DomainAlignment
    from hypeeg.eeg.classifier import HypEEGClassifier as HypEEGClassifier
    from hypeeg.eeg.datasets import check_dataset as check_dataset
    from hypeeg.eeg.datasets import load_epochs as load_epochs
    from hypeeg.eeg.ica import IcaCleaner as IcaCleaner
    from hypeeg.eeg.manifest import list_manifests as list_manifests
    from hypeeg.eeg.manifest import load_manifest as load_manifest
    from hypeeg.eeg.paths import configure_data_paths as configure_data_paths
    from hypeeg.eeg.pipelines import build_pipeline as build_pipeline
    from hypeeg.eeg.preprocessing import PreprocessingSpec as PreprocessingSpec
    from hypeeg.eeg.simulated import SimulatedMI as SimulatedMI
    from hypeeg.eeg.simulated_evoked import SimulatedERP as SimulatedERP
    from hypeeg.eeg.simulated_evoked import SimulatedSSVEP as SimulatedSSVEP
    from hypeeg.eeg.simulated_hierarchy import SimulatedFlat as SimulatedFlat
    from hypeeg.eeg.simulated_hierarchy import SimulatedHierarchy as SimulatedHierarchy
    from hypeeg.eeg.transformers import FilterBank as FilterBank
    from hypeeg.eeg.transformers import Standardize as Standardize
    from hypeeg.eeg.trial_steps import make_trial_steps as make_trial_steps

_LAZY = {
    "DomainAlignment": "alignment",
    "FilterBank": "transformers",
    "HypEEGClassifier": "classifier",
    "IcaCleaner": "ica",
    "PreprocessingSpec": "preprocessing",
    "SimulatedERP": "simulated_evoked",
    "SimulatedFlat": "simulated_hierarchy",
    "SimulatedHierarchy": "simulated_hierarchy",
    "SimulatedMI": "simulated",
    "SimulatedSSVEP": "simulated_evoked",
    "Standardize": "transformers",
    "build_pipeline": "pipelines",
    "check_dataset": "datasets",
    "configure_data_paths": "paths",
    "list_manifests": "manifest",
    "load_epochs": "datasets",
    "load_manifest": "manifest",
    "make_trial_steps": "trial_steps",
}

__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {__all__}")


def __dir__() -> list[str]:
    return __all__
