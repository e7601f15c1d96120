"""Names of data sets and networks, for run files: nothing is imported here."""

from __future__ import annotations

DATASETS = ("SyntheticShapes", "CIFAR100Subset", "Omniglot")
MODELS = ("LorentzResNet", "HybridResNet", "ResNet")
HYPERBOLIC_MODELS = ("LorentzResNet", "HybridResNet")

_SHARED = ("blocks", "widths", "head", "stem")
MODEL_PARAMS: dict[str, tuple[str, ...]] = {
    "LorentzResNet": (*_SHARED, "kind", "bias", "lift_scale", "temperature"),
    "HybridResNet": (*_SHARED, "embedding_dim", "scale", "slope"),
    "ResNet": (*_SHARED, "embedding_dim"),
}
"""Arguments of each network that a run file may give."""
