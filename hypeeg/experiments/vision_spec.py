"""What a vision run is: images, what makes them hard, and the networks that are compared.

Nothing heavy is imported here, so that a run file is checked in well under a second.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_serializer, field_validator, model_validator

from hypeeg.experiments.base_spec import BaseRunSpec, check_file_names
from hypeeg.experiments.sections import Section, as_list
from hypeeg.experiments.spec_errors import did_you_mean
from hypeeg.training.relations import check_relations
from hypeeg.training.spec import NetworkTraining
from hypeeg.vision.names import HYPERBOLIC_MODELS, MODEL_PARAMS

# Kept in step with hypeeg.vision.names by a test.
DatasetName = Literal["SyntheticShapes", "CIFAR100Subset", "Omniglot"]
ModelName = Literal["LorentzResNet", "HybridResNet", "ResNet"]


class NoiseSpec(Section):
    """Wrong labels among the training images; the test images keep their own."""

    kind: Literal["symmetric", "asymmetric"] = Field(
        "symmetric",
        description="Wrong class: any other with equal probability, or the next of the same group.",
    )
    rate: float = Field(gt=0, lt=1, description="Share of wrong labels in each class.")


class VisionDatasetSpec(Section):
    """Which images a run reads, and what is made of them."""

    name: DatasetName = Field(
        description="SyntheticShapes (generated, 12 classes in 4 groups), CIFAR100Subset or "
        "Omniglot."
    )
    classes: Annotated[list[str] | None, BeforeValidator(as_list)] = Field(
        None,
        min_length=1,
        description="Classes to tell apart, or groups, which stand for all their classes; none "
        "given means all.",
    )
    labels: Literal["classes", "groups"] = Field(
        "classes", description="What is told apart: classes, or the groups above them."
    )
    n_train: int | None = Field(
        None,
        ge=1,
        description="Training images of each class (of the largest, with imbalance), drawn anew "
        "for each seed; none given means all.",
    )
    n_test: int | None = Field(
        None, ge=1, description="Test images of each class, the first ones; none given means all."
    )
    imbalance: float = Field(
        1.0,
        ge=1,
        description="Training images of the largest class over those of the smallest: they fall "
        "exponentially from class to class. 1: balanced.",
    )
    noise: NoiseSpec | None = Field(None, description="Wrong labels among the training images.")

    @field_validator("classes")
    @classmethod
    def _check_unique(cls, value: list[str] | None) -> list[str] | None:
        twice = sorted({v for v in value or [] if (value or []).count(v) > 1})
        if twice:
            raise ValueError(f"given more than once: {twice}; name each one once")
        return value


class FewShotSpec(Section):
    """Episodes of new classes."""

    n_way: int = Field(5, ge=2, description="Classes of an episode.")
    k_shot: int = Field(1, ge=1, description="Labelled images of each class.")
    n_query: int = Field(15, ge=1, description="Images of each class to classify.")
    n_episodes: int = Field(600, ge=2, description="Episodes; their mean accuracy is the score.")
    novel_share: float = Field(
        0.25,
        gt=0,
        lt=1,
        description="Share of the classes that is new: drawn for each seed, never trained on.",
    )


class VisionEvaluationSpec(Section):
    """What networks are judged by."""

    kind: Literal["test", "validation", "few_shot"] = Field(
        "test",
        description="test: the data set's test images; validation: a part of the training images, "
        "for choices that must not see the test images; few_shot: episodes of new classes.",
    )
    validation_fraction: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of each class's training images (validation only; 0.2).",
    )
    few_shot: FewShotSpec | None = Field(None, description="Episodes (few_shot only).")
    seeds: Annotated[list[int], BeforeValidator(as_list)] = Field(
        [0], min_length=1, description="Everything is run once with each: draws and networks."
    )
    scoring: Literal["accuracy", "balanced_accuracy"] = Field(
        "accuracy", description="Share of right classes, of all images or averaged over classes."
    )

    @field_validator("seeds")
    @classmethod
    def _check_seeds(cls, value: list[int]) -> list[int]:
        wrong = [seed for seed in value if not 0 <= seed < 2**31]
        if wrong:
            raise ValueError(f"seeds must lie in 0 ... 2147483647, got {wrong}")
        if len(set(value)) < len(value):
            raise ValueError(f"seeds repeat in {value}; a repeated seed repeats the same run")
        return value

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        if data.get("kind") == "few_shot" and data.get("few_shot") is None:
            return {**data, "few_shot": {}}
        if data.get("kind") == "validation" and data.get("validation_fraction") is None:
            return {**data, "validation_fraction": 0.2}
        return data

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        for field, kind in (("few_shot", "few_shot"), ("validation_fraction", "validation")):
            if getattr(self, field) is not None and self.kind != kind:
                raise ValueError(
                    f"{field} is for kind: {kind}, and kind is {self.kind}; remove it, or set "
                    f"kind: {kind}"
                )
        if self.kind == "few_shot" and self.scoring != "accuracy":
            raise ValueError(
                f"scoring is {self.scoring}, but episodes are balanced; remove it, or set it to "
                "accuracy"
            )
        return self


class VisionTrainingSpec(NetworkTraining):
    """How networks are trained; one for a run, shared by hyperbolic networks and their twins.

    The fields are the parameters of the same name of :class:`hypeeg.vision.HypVisionClassifier`.
    """

    class_groups: dict[str, list[str]] | Literal["dataset"] | None = Field(  # type: ignore[assignment]
        default=None,
        description="Labels by name of group, or dataset for the data set's own groups; the cross "
        "entropy of the groups is added to that of the classes.",
    )
    crop: int = Field(
        default=0, ge=0, description="Pixels that training images are shifted by, at most."
    )
    flip: bool = Field(
        default=False, description="Whether every second training image is mirrored."
    )


class VisionParams(Section):
    """Arguments of the networks; each takes some of them."""

    blocks: list[Annotated[int, Field(ge=1)]] | None = Field(
        None, min_length=1, description="Residual blocks of each stage; ResNet-18 if not given."
    )
    widths: list[Annotated[int, Field(ge=1)]] | None = Field(
        None, min_length=1, description="Channels of each stage."
    )
    head: Literal["mlr", "prototypes"] | None = Field(
        None,
        description="Multinomial logistic regression (a linear layer, in the Euclidean network), "
        "or distances to a prototype of each class.",
    )
    stem: Literal["cifar", "imagenet"] | None = Field(
        None, description="First convolution: 3x3, or 7x7 with stride 2 and pooling."
    )
    kind: Literal["hyperplane", "extrinsic", "boost", "tangent"] | None = Field(
        None, description="Kind of the Lorentz convolutions (LorentzResNet)."
    )
    bias: bool | None = Field(
        None, description="Whether Lorentz convolutions have offsets (LorentzResNet)."
    )
    lift_scale: float | None = Field(
        None, gt=0, description="Factor on the pixels before the lift (LorentzResNet)."
    )
    temperature: float | None = Field(
        None, gt=0, description="Factor on the logits (LorentzResNet); by default from the width."
    )
    embedding_dim: int | None = Field(
        None, ge=1, description="Dimension of the embedding (HybridResNet, ResNet)."
    )
    scale: float | None = Field(
        None, gt=0, description="Factor on the features before the lift (HybridResNet)."
    )
    slope: float | None = Field(
        None, ge=2.65, description="Slope of the maximum-distance rescaling (HybridResNet)."
    )

    @model_validator(mode="after")
    def _check_stages(self) -> Self:
        blocks, widths = self.blocks or [0] * 4, self.widths or [0] * 4
        if len(blocks) != len(widths):
            raise ValueError(
                f"blocks has {len(blocks)} stages and widths {len(widths)}; give one entry of "
                "both for each stage"
            )
        return self

    @property
    def given(self) -> dict[str, Any]:
        """What was given."""
        return self.model_dump(exclude_none=True)


class VisionPipelineSpec(Section):
    """One row of a run's table: a network, its arguments and how it is trained."""

    name: str = Field(min_length=1, description="Label in the scores table, unique in a run.")
    model: ModelName = Field(
        description="LorentzResNet (every layer hyperbolic), HybridResNet (the head alone) or "
        "ResNet (none)."
    )
    params: VisionParams = Field(
        default_factory=lambda: VisionParams.model_validate({}),
        description="Arguments of the network; a twin takes those of the pipeline it is compared "
        "with.",
    )
    training: VisionTrainingSpec | None = Field(
        None, description="Training options that differ from the run's."
    )
    twin_of: str | None = Field(
        None, description="Name of the hyperbolic pipeline whose Euclidean twin this one is."
    )
    variant_of: str | None = Field(
        None, description="Name of the pipeline that this one differs from in one respect."
    )

    @property
    def is_classical(self) -> bool:
        """Whether the pipeline holds no network: never."""
        return False

    @field_serializer("training")
    def _dump_training(self, value: VisionTrainingSpec | None) -> dict[str, Any] | None:
        # Defaults must not turn into overrides when a spec goes through YAML and back.
        return None if value is None else value.model_dump(exclude_unset=True)

    @field_serializer("params")
    def _dump_params(self, value: VisionParams) -> dict[str, Any]:
        return value.given

    @model_validator(mode="after")
    def _check_fit_for_model(self) -> Self:
        allowed = MODEL_PARAMS[self.model]
        for key in self.params.given:
            if key not in allowed:
                raise ValueError(
                    f"pipeline {self.name!r}: params.{key} is not for {self.model}, which takes "
                    f"{', '.join(allowed)}.{did_you_mean(key, allowed)}"
                )
        if self.twin_of is not None:
            if self.model in HYPERBOLIC_MODELS:
                raise ValueError(
                    f"pipeline {self.name!r}: twin_of is for Euclidean networks, and {self.model} "
                    "is hyperbolic; use model: ResNet, or variant_of"
                )
            if self.training is not None:
                raise ValueError(
                    f"pipeline {self.name!r} is the twin of {self.twin_of!r} and shares its "
                    "training; set it there instead"
                )
        return self


class VisionRunSpec(BaseRunSpec):
    """One vision run: images, what makes them hard, and the networks on them.

    Examples
    --------
    >>> spec = VisionRunSpec.from_yaml("pipelines/vision_shapes.yaml")  # doctest: +SKIP
    """

    kind: Literal["vision"] = Field(
        "vision", description="What the run trains on: eeg, vision or hierarchy."
    )
    dataset: VisionDatasetSpec = Field(description="Which images to read.")
    evaluation: VisionEvaluationSpec = Field(
        default_factory=lambda: VisionEvaluationSpec.model_validate({}),
        description="What networks are judged by.",
    )
    training: VisionTrainingSpec = Field(
        default_factory=lambda: VisionTrainingSpec.model_validate({}),
        description="How networks are trained.",
    )
    pipelines: list[VisionPipelineSpec] = Field(min_length=1, description="What is compared.")

    @field_validator("pipelines")
    @classmethod
    def _check_pipelines(cls, value: list[VisionPipelineSpec]) -> list[VisionPipelineSpec]:
        by_name = check_relations(value)
        check_file_names(by_name)
        for pipeline in value:
            if pipeline.twin_of is not None:
                _check_twin(pipeline, by_name[pipeline.twin_of])
        return value

    @model_validator(mode="after")
    def _check_settings(self) -> Self:
        if self.evaluation.kind == "few_shot" and self.dataset.labels == "groups":
            raise ValueError(
                "evaluation.kind: few_shot makes episodes of classes, and dataset.labels is "
                "groups; set dataset.labels: classes"
            )
        return self


def _check_twin(pipeline: VisionPipelineSpec, parent: VisionPipelineSpec) -> None:
    if parent.model not in HYPERBOLIC_MODELS:
        raise ValueError(
            f"pipeline {pipeline.name!r}: twin_of names {parent.name!r}, which is not hyperbolic; "
            f"name a pipeline of model {' or '.join(HYPERBOLIC_MODELS)}"
        )
    own, theirs = pipeline.params.given, parent.params.given
    for key in sorted(own):
        if key in MODEL_PARAMS[parent.model] and own[key] != theirs.get(key):
            raise ValueError(
                f"pipeline {pipeline.name!r}: params.{key} is {own[key]!r} but "
                f"{theirs.get(key)!r} in {parent.name!r}; twins share their arguments, leave it out"
            )


def _parent(spec: VisionRunSpec, pipeline: VisionPipelineSpec) -> VisionPipelineSpec | None:
    return next((p for p in spec.pipelines if p.name == pipeline.twin_of), None)


def training_of(spec: VisionRunSpec, pipeline: VisionPipelineSpec) -> VisionTrainingSpec:
    """Return the training options that a pipeline really runs with.

    Parameters
    ----------
    spec : VisionRunSpec
        The run.
    pipeline : VisionPipelineSpec
        One of its pipelines; a twin takes the options of the pipeline it is compared with.

    Returns
    -------
    VisionTrainingSpec
        Every field set.
    """
    parent = _parent(spec, pipeline)
    return spec.training.override((parent or pipeline).training)


def params_of(spec: VisionRunSpec, pipeline: VisionPipelineSpec) -> dict[str, Any]:
    """Return the arguments that a pipeline's network really has.

    Parameters
    ----------
    spec : VisionRunSpec
        The run.
    pipeline : VisionPipelineSpec
        One of its pipelines; a twin has those of the pipeline it is compared with that are not of
        hyperbolic space.

    Returns
    -------
    dict
    """
    parent = _parent(spec, pipeline)
    shared = {} if parent is None else parent.params.given
    allowed = MODEL_PARAMS[pipeline.model]
    return {**{k: v for k, v in shared.items() if k in allowed}, **pipeline.params.given}
