"""How the networks of an EEG run are trained, as data; pydantic alone is imported here."""

from __future__ import annotations

import difflib
from typing import Any, Literal

from pydantic import Field, field_validator

from hypeeg.training.spec import NetworkTraining

# Transforms of braindecode.augmentation.  Mixup is not among them: its targets are pairs of labels.
AUGMENTATIONS = (
    "AmplitudeScale",
    "BandRotation",
    "BandstopFilter",
    "ChannelsDropout",
    "ChannelsReref",
    "ChannelsShuffle",
    "ChannelsSymmetry",
    "FTSurrogate",
    "FrequencyShift",
    "GaussianNoise",
    "MaskEncoding",
    "SegmentationReconstruction",
    "SensorsXRotation",
    "SensorsYRotation",
    "SensorsZRotation",
    "SignFlip",
    "SmoothTimeMask",
    "TimeReverse",
)


class TrainingSpec(NetworkTraining):
    """How networks are trained; one for a run, shared by its hyperbolic and Euclidean networks.

    The fields are the parameters of the same name of :class:`hypeeg.HypEEGClassifier`.  A
    pipeline may hold a `TrainingSpec` of its own, of which only the fields that were given count
    (see :meth:`override`).
    """

    domain: Literal["subject", "session"] | None = Field(
        default=None,
        description="What a domain of networks with batch norm by domain is; none has no domains.",
    )
    unseen: Literal["block", "source"] = Field(
        default="block",
        description="Statistics of a domain that training saw nothing of: of the block of trials "
        "to predict, or the mean of the training domains.",
    )
    adapt_batch_norm: bool = Field(
        default=False,
        description="Give ordinary batch norm the statistics of the target's unlabelled trials.",
    )
    augmentation: list[str | dict[str, Any]] | None = Field(
        default=None,
        description="Transforms of braindecode.augmentation for training batches: names, or "
        "{name: ..., probability: 0.5, ...} with their arguments.",
    )

    @field_validator("augmentation")
    @classmethod
    def _check_augmentation(cls, value: Any) -> Any:
        for step in value or []:
            name = step if isinstance(step, str) else step.get("name")
            if name not in AUGMENTATIONS:
                near = difflib.get_close_matches(str(name), AUGMENTATIONS, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise ValueError(
                    f"unknown transform {name!r}; known: {', '.join(AUGMENTATIONS)}.{hint}"
                )
        return value
