"""What a hierarchy run is: a taxonomy, the spaces it is embedded in, and what is asked of them.

Nothing heavy is imported here, so that a run file is checked in well under a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    field_serializer,
    field_validator,
    model_validator,
)

from hypeeg.experiments.base_spec import BaseRunSpec, check_file_names
from hypeeg.experiments.sections import Section, as_list
from hypeeg.experiments.spec_errors import Problem, SpecError, did_you_mean
from hypeeg.training.relations import check_relations

NAMES = ("WordNetMammals", "WordNetNouns", "BalancedTree")
"""Data sets that are known by name, as in :data:`hypeeg.hierarchy.data.NAMES`."""

MODELS = ("LorentzEmbedding", "EuclideanEmbedding")
"""What ``pipelines[].model`` may be."""

DEFAULT_DIM = 5

# What makes the budget of a fit: a twin shares it, while its best learning rate may be another.
_BUDGET = ("epochs", "batch_size", "n_negatives", "optimizer")


class HierarchyDatasetSpec(Section):
    """Which taxonomy a run embeds."""

    name: str = Field(
        min_length=1,
        description="WordNetMammals, WordNetNouns (both under $HYPEEG_DATA), BalancedTree, or a "
        "path to a CSV file with columns id1 (child) and id2 (ancestor).",
    )
    branching: int | None = Field(
        None, ge=1, le=1000, description="Children of an inner node (BalancedTree only; 3)."
    )
    depth: int | None = Field(
        None, ge=1, le=30, description="Steps from root to leaf (BalancedTree only; 4)."
    )

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if value in NAMES or value.lower().endswith((".csv", ".csv.gz")):
            return value
        raise ValueError(
            f"got {value!r}; allowed: {', '.join(NAMES)}, or a path to a .csv file of edges."
            f"{did_you_mean(value, NAMES)}"
        )

    @model_validator(mode="after")
    def _check_tree(self) -> Self:
        given = [k for k in ("branching", "depth") if getattr(self, k) is not None]
        if given and self.name != "BalancedTree":
            raise ValueError(
                f"{' and '.join(given)} make the tree of name: BalancedTree, and name is "
                f"{self.name}; remove them"
            )
        return self

    def resolved(self) -> HierarchyDatasetSpec:
        """Return the data set with what it leaves open filled in."""
        if self.name != "BalancedTree":
            return self
        return self.model_copy(update={"branching": self.branching or 3, "depth": self.depth or 4})


class HierarchyEvaluationSpec(Section):
    """What an embedding is asked."""

    kind: Literal["reconstruction", "link_prediction"] = Field(
        "reconstruction",
        description="reconstruction: embed all pairs and rank them; link_prediction: hold out "
        "pairs that follow from others by transitivity, and rank those.",
    )
    held_out: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of the implied pairs that is tested (link_prediction only; 0.1).",
    )
    train_share: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of the other implied pairs that is trained on, beside all direct ones "
        "(link_prediction only; 1).",
    )
    seeds: Annotated[list[int], BeforeValidator(as_list)] = Field(
        [0], min_length=1, description="Every pipeline is run with each: start, draws and split."
    )
    scoring: Literal["map"] = Field(
        "map", description="map: mean average precision of each node's ancestors among all nodes."
    )
    max_queries: int = Field(
        5000,
        ge=10,
        description="Nodes that are ranked, labelled and kept; of larger taxonomies as many are "
        "drawn, the same for every pipeline.",
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
        if not isinstance(data, dict) or data.get("kind") != "link_prediction":
            return data
        held_out, share = data.get("held_out"), data.get("train_share")
        return {
            **data,
            "held_out": 0.1 if held_out is None else held_out,
            "train_share": 1.0 if share is None else share,
        }

    @model_validator(mode="after")
    def _check_held_out(self) -> Self:
        given = [k for k in ("held_out", "train_share") if getattr(self, k) is not None]
        if given and self.kind == "reconstruction":
            raise ValueError(
                f"{' and '.join(given)} divide the pairs of kind: link_prediction, and kind is "
                "reconstruction; remove them or change kind"
            )
        return self


class EmbeddingTrainingSpec(Section):
    """How points are moved; see :class:`hypeeg.hierarchy.TaxonomyEmbedding`."""

    optimizer: Literal["adam", "adamw", "sgd"] = Field(
        "adam", description="Riemannian Adam, AdamW or SGD; flat points take the plain steps."
    )
    lr: float = Field(0.02, gt=0, description="Learning rate.")
    curvature_lr: float = Field(0.01, gt=0, description="Learning rate of log c.")
    weight_decay: float = Field(0.0, ge=0, description="Pull towards the origin.")
    epochs: int = Field(300, ge=1, description="Passes over the pairs.")
    batch_size: int = Field(512, ge=1, description="Pairs a step.")
    n_negatives: int = Field(50, ge=1, description="Nodes drawn for each pair.")
    burn_in: int = Field(20, ge=0, description="First epochs, at a smaller learning rate.")
    burn_in_factor: float = Field(0.1, gt=0, description="How much smaller.")
    lr_end: float = Field(
        0.1, gt=0, description="Share of the learning rate that is left in the last epoch."
    )
    warm_up: int = Field(
        100, ge=0, description="Epochs of the softmax loss that cones begin with (cones only)."
    )

    def override(self, other: EmbeddingTrainingSpec | None) -> EmbeddingTrainingSpec:
        """Return the options with those that another names replaced."""
        if other is None:
            return self
        return self.model_copy(update=other.model_dump(exclude_unset=True))


class EmbeddingParams(Section):
    """The space and the loss of an embedding."""

    c: float | None = Field(
        None, ge=0.05, le=20, description="Curvature magnitude (LorentzEmbedding only; 1)."
    )
    learn_c: bool | None = Field(
        None, description="Learn the curvature (LorentzEmbedding only; false)."
    )
    objective: Literal["softmax", "cones"] = Field(
        "softmax", description="Nickel and Kiela's softmax over negatives, or entailment cones."
    )
    distance: Literal["geodesic", "squared"] = Field(
        "geodesic", description="What the softmax compares: distances, or squared ones."
    )
    init_scale: float = Field(1e-3, gt=0, description="Coordinates start within this range.")


class HierarchyPipelineSpec(Section):
    """One embedding; with several dimensions, one for each."""

    name: str = Field(min_length=1, max_length=60, description="Name in tables and figures.")
    model: Literal["LorentzEmbedding", "EuclideanEmbedding"] = Field(
        description="The space: hyperbolic or flat."
    )
    dim: int | list[int] | None = Field(
        None,
        description="Dimension of the space; a list makes one pipeline for each, named after it "
        "(a twin takes those of the pipeline it is compared with; else 5).",
    )
    params: EmbeddingParams = Field(
        default_factory=lambda: EmbeddingParams.model_validate({}), description="Space and loss."
    )
    training: EmbeddingTrainingSpec | None = Field(
        None,
        description="Options that differ from the run's; a twin may change lr, not its budget.",
    )
    twin_of: str | None = Field(
        None, description="Pipeline that this is the flat twin of: the same dimension and budget."
    )
    variant_of: str | None = Field(
        None, description="Pipeline that this varies, for a comparison with it."
    )

    @property
    def is_classical(self) -> bool:
        """Whether nothing is trained by gradients: never."""
        return False

    @property
    def dims(self) -> list[int] | None:
        """Dimensions, None where they are a parent's or the default."""
        return [self.dim] if isinstance(self.dim, int) else self.dim

    @field_validator("dim")
    @classmethod
    def _check_dim(cls, value: int | list[int] | None) -> int | list[int] | None:
        values = [value] if isinstance(value, int) else value
        if values is None:
            return None
        if not values or any(not 1 <= d <= 10000 for d in values) or len(set(values)) < len(values):
            raise ValueError(
                f"dim must be a number from 1 to 10000, or a list of different ones; got {value}"
            )
        return value

    @field_serializer("training")
    def _dump_training(self, value: EmbeddingTrainingSpec | None) -> dict[str, Any] | None:
        # Defaults must not turn into overrides when a spec goes through YAML and back.
        return None if value is None else value.model_dump(exclude_unset=True)

    @model_validator(mode="after")
    def _check_fit_for_model(self) -> Self:
        if self.model == "EuclideanEmbedding":
            given = [k for k in ("c", "learn_c") if getattr(self.params, k) is not None]
            if given:
                raise ValueError(
                    f"pipeline {self.name!r}: params {' and '.join(given)} are for "
                    "LorentzEmbedding, and flat space has no curvature; remove them"
                )
        if self.twin_of is not None and self.training is not None:
            wrong = [k for k in _BUDGET if k in self.training.model_fields_set]
            if wrong:
                raise ValueError(
                    f"pipeline {self.name!r} is the twin of {self.twin_of!r} and shares its "
                    f"{' and '.join(wrong)}; set it there instead"
                )
        return self


class HierarchyRunSpec(BaseRunSpec):
    """One hierarchy run: a taxonomy, and the embeddings that compete on it.

    Examples
    --------
    >>> spec = HierarchyRunSpec.from_yaml("pipelines/hierarchy_tree.yaml")  # doctest: +SKIP
    """

    kind: Literal["hierarchy"] = Field(
        "hierarchy", description="What the run trains on: eeg, vision or hierarchy."
    )
    dataset: HierarchyDatasetSpec = Field(description="Which taxonomy to embed.")
    evaluation: HierarchyEvaluationSpec = Field(
        default_factory=lambda: HierarchyEvaluationSpec.model_validate({}),
        description="What is asked of the embeddings.",
    )
    training: EmbeddingTrainingSpec = Field(
        default_factory=lambda: EmbeddingTrainingSpec.model_validate({}),
        description="How points are moved.",
    )
    pipelines: list[HierarchyPipelineSpec] = Field(min_length=1, description="What is compared.")

    @field_validator("pipelines")
    @classmethod
    def _check_pipelines(cls, value: list[HierarchyPipelineSpec]) -> list[HierarchyPipelineSpec]:
        by_name = check_relations(value)
        for pipeline in value:
            _check_dimensions(pipeline, by_name)
        check_file_names(pipeline.name for pipeline in expand(value))
        return value

    def resolve(self) -> HierarchyRunSpec:
        """Return the spec with one pipeline for each dimension, and the data set complete.

        Raises
        ------
        SpecError
            If the data set is a file that is not there.
        """
        name = self.dataset.name
        if name not in NAMES and not Path(name).expanduser().is_file():
            raise SpecError([Problem("dataset.name", f"no such file of edges: {name}")], self.name)
        return self.model_copy(
            update={"dataset": self.dataset.resolved(), "pipelines": expand(self.pipelines)}
        )


def _check_dimensions(
    pipeline: HierarchyPipelineSpec, by_name: dict[str, HierarchyPipelineSpec]
) -> None:
    for other in (pipeline.twin_of, pipeline.variant_of):
        if other is None:
            continue
        parent = by_name[other]
        dims = parent.dims or [DEFAULT_DIM]
        if pipeline.dims is not None and pipeline.dims != dims:
            raise ValueError(
                f"pipeline {pipeline.name!r}: dim is {pipeline.dim} and that of {other!r}, which "
                f"it is compared with, is {parent.dim or DEFAULT_DIM}; remove dim, it is shared"
            )


def expand(pipelines: list[HierarchyPipelineSpec]) -> list[HierarchyPipelineSpec]:
    """Return one pipeline for each dimension.

    Parameters
    ----------
    pipelines : list of HierarchyPipelineSpec
        With a list of dimensions, ``Lorentz`` becomes ``Lorentz-2d``, ``Lorentz-5d``, ...

    Returns
    -------
    list of HierarchyPipelineSpec
        Each of one dimension, with its whole list of parents; expanding once more changes nothing.
    """
    by_name = {pipeline.name: pipeline for pipeline in pipelines}

    def dims_of(pipeline: HierarchyPipelineSpec) -> int | list[int]:
        if pipeline.dim is not None:
            return pipeline.dim
        other = by_name.get(pipeline.twin_of or pipeline.variant_of or "")
        return DEFAULT_DIM if other is None else dims_of(other)

    found = []
    for pipeline in pipelines:
        dims = dims_of(pipeline)
        if isinstance(dims, int):
            found.append(pipeline.model_copy(update={"dim": dims}))
            continue
        for d in dims:
            renamed = {
                field: None if (other := getattr(pipeline, field)) is None else f"{other}-{d}d"
                for field in ("twin_of", "variant_of")
            }
            found.append(
                pipeline.model_copy(update={"name": f"{pipeline.name}-{d}d", "dim": d, **renamed})
            )
    # Pipelines of one dimension follow each other, so that tables show what is compared.
    order = {d: i for i, d in enumerate(dict.fromkeys(p.dim for p in found))}  # type: ignore[misc]
    return sorted(found, key=lambda p: order[p.dim])  # type: ignore[index]


def training_of(spec: HierarchyRunSpec, pipeline: HierarchyPipelineSpec) -> EmbeddingTrainingSpec:
    """Return the training options that a pipeline really runs with.

    Parameters
    ----------
    spec : HierarchyRunSpec
        The run.
    pipeline : HierarchyPipelineSpec
        One of its pipelines; a twin takes those of the pipeline it is compared with, then its own.

    Returns
    -------
    EmbeddingTrainingSpec
    """
    options = spec.training
    if pipeline.twin_of is not None:
        parent = next(p for p in spec.pipelines if p.name == pipeline.twin_of)
        options = options.override(parent.training)
    return options.override(pipeline.training)
