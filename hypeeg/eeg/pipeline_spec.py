"""What a pipeline of a run is, as data: the part of a run file that names models and training.

Nothing heavy is imported here (pydantic alone), so that a run file is checked in well under a
second.  ``hypeeg.eeg.pipelines.build_pipeline`` turns a :class:`PipelineSpec` into a scikit-learn
estimator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from hypeeg.eeg.training_spec import TrainingSpec as TrainingSpec
from hypeeg.eeg.tuning_spec import TuningSpec as TuningSpec
from hypeeg.eeg.tuning_spec import extremes
from hypeeg.training.relations import check_relations

CLASSICAL_MODELS = (
    *("csp_lda", "logvar_lda"),
    *("mdm", "fgmdm", "ts_lr", "ts_svm", "acm_ts_svm"),
    *("xdawn_lda", "xdawn_ts_lr", "erpcov_mdm"),
    *("cca", "trca"),
)
"""Pipelines without a network; every other model name is a network's."""

BAND_MODELS = ("csp_lda", "logvar_lda", "mdm", "fgmdm", "ts_lr", "ts_svm")
"""Classical pipelines that take a filter bank: the bands are stacked before the covariances."""

StandardiseMode = Literal["channel", "trial", "none"]


class StimulusBands(BaseModel):
    """Bands around the stimulus frequencies of an SSVEP data set, read off the class names.

    ``bands: stimuli`` in a run file is this with its defaults.  The classes of the training trials
    must be frequencies in Hz, such as ``"13"``; classes named in `skip` have no band.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    half_width: float = Field(
        default=0.5, gt=0, description="Each band is the frequency minus to plus this many Hz."
    )
    harmonics: int = Field(
        default=1,
        ge=1,
        description="Bands for each frequency: 1 the frequency alone, 2 also twice.",
    )
    skip: tuple[str, ...] = Field(
        default=("rest",), description="Class names that are no stimulus and have no band."
    )


class PipelineSpec(BaseModel):
    """One row of a run's table: a model, its parameters and how it is trained.

    Examples
    --------
    >>> spec = PipelineSpec(name="ours", model="HyperbolicEEGNet", params={"F1": 8})
    >>> spec.is_classical
    False
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(min_length=1, description="Label in the scores table, unique in a run.")
    model: str = Field(
        min_length=1,
        description=f"{', '.join(CLASSICAL_MODELS)}, one of hypeeg's networks, or a braindecode "
        "model class.",
    )
    params: dict[str, Any] = Field(
        default_factory=dict, description="Parameters of the model itself."
    )
    training: TrainingSpec | None = Field(
        default=None, description="Training options that differ from the run's; networks only."
    )
    twin_of: str | None = Field(
        default=None,
        description="Name of the hyperbolic pipeline whose Euclidean twin this one is.",
    )
    variant_of: str | None = Field(
        default=None,
        description="Name of the pipeline that this one differs from in one respect, in an "
        "ablation: the two are compared.",
    )
    standardise: StandardiseMode | None = Field(
        default=None, description="How trials are standardised, if not as the run says."
    )
    bands: list[tuple[float, float]] | StimulusBands | None = Field(
        default=None,
        description="Filter bank of a classical pipeline: pairs (low, high) in Hz, or stimuli for "
        "bands around the frequencies that the classes are named after; none uses the signal as it "
        "is.",
    )
    tuning: TuningSpec | None = Field(
        default=None,
        description="Values to choose from inside the training trials; a twin takes its parent's.",
    )

    @property
    def is_classical(self) -> bool:
        """Whether the pipeline holds no network."""
        return self.model in CLASSICAL_MODELS

    @field_validator(
        "bands",
        mode="before",
        json_schema_input_type=list[tuple[float, float]]
        | StimulusBands
        | Literal["stimuli"]
        | None,
    )
    @classmethod
    def _name_bands(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value != "stimuli":
                raise ValueError(
                    f"bands: {value!r} names no bands; give stimuli, or pairs such as [[8, 12]]"
                )
            return StimulusBands()
        return value

    @field_validator("bands")
    @classmethod
    def _check_bands(
        cls, value: list[tuple[float, float]] | StimulusBands | None
    ) -> list[tuple[float, float]] | StimulusBands | None:
        if value is None or isinstance(value, StimulusBands):
            return value
        if not value:
            raise ValueError(
                "bands is empty; leave it out, or give pairs such as [[8, 12], [12, 30]]"
            )
        for low, high in value:
            if not 0 < low < high:
                raise ValueError(f"band ({low}, {high}) Hz must satisfy 0 < low < high")
        return value

    @field_serializer("training")
    def _dump_training(self, value: TrainingSpec | None) -> dict[str, Any] | None:
        # Defaults must not turn into overrides when a spec goes through YAML and back.
        return None if value is None else value.model_dump(exclude_unset=True)

    @model_validator(mode="after")
    def _check_fit_for_model(self) -> PipelineSpec:
        if self.bands is not None and self.model not in BAND_MODELS:
            raise ValueError(
                f"pipeline {self.name!r}: bands belong to the models {', '.join(BAND_MODELS)}, not "
                f"{self.model!r}; remove them"
            )
        self._check_tuning()
        if self.is_classical:
            given = [f for f in ("training", "twin_of") if getattr(self, f) is not None]
            if given:
                raise ValueError(
                    f"pipeline {self.name!r}: {' and '.join(given)} is for networks, "
                    f"and {self.model!r} is none; remove it"
                )
        if self.twin_of is not None:
            if self.twin_of == self.name:
                raise ValueError(f"pipeline {self.name!r} cannot be its own twin; fix twin_of")
            given = [
                f for f in ("training", "standardise", "tuning") if getattr(self, f) is not None
            ]
            if given:
                raise ValueError(
                    f"pipeline {self.name!r} is the twin of {self.twin_of!r} and shares its "
                    f"{' and '.join(given)}; set it there instead"
                )
        return self

    def _check_tuning(self) -> None:
        if self.tuning is None:
            return
        field = f"tuning.{self.tuning.field}"
        for key, choices in self.tuning.choices.items():
            if key.startswith("training.") and self.is_classical:
                raise ValueError(
                    f"pipeline {self.name!r}: {field} holds {key!r}, but training is for "
                    f"networks, and {self.model!r} is none; remove it"
                )
            if key == "bands" and self.model not in BAND_MODELS:
                raise ValueError(
                    f"pipeline {self.name!r}: {field} holds bands, which belong to the models "
                    f"{', '.join(BAND_MODELS)}, not {self.model!r}; remove them"
                )
            for value in extremes(choices):
                # Each value goes through the checks that it would go through outside a search.
                try:
                    self.with_values({key: value})
                except ValidationError as error:
                    said = "; ".join(str(item["msg"]) for item in error.errors(include_url=False))
                    raise ValueError(
                        f"pipeline {self.name!r}: {field}: {key}: {value!r} is not taken: {said}"
                    ) from error

    def with_values(self, values: Mapping[str, Any]) -> PipelineSpec:
        """Return the pipeline with tuned values in place, and nothing left to tune.

        A twin takes its training options from the pipeline that it is compared with: to build a
        twin with values of its own, give them to that pipeline and build the twin beside it.

        Parameters
        ----------
        values : mapping
            Values by key, as in ``tuning.grid`` and ``tuning.space``.

        Returns
        -------
        PipelineSpec

        Raises
        ------
        ValueError
            For a key that cannot be tuned or a value that its field does not take.
        """
        data = self.model_dump(exclude={"tuning"})
        for key, value in values.items():
            part, _, field = key.partition(".")
            if part in ("params", "training"):
                data[part] = {**(data[part] or {}), field: value}
            elif part in ("standardise", "bands"):
                data[part] = value
            else:
                raise ValueError(
                    f"{key!r} cannot be tuned; keys are params.X, training.X, standardise or bands"
                )
        return PipelineSpec.model_validate(data)


def check_pipelines(pipelines: Sequence[PipelineSpec]) -> None:
    """Check a run's pipelines against each other.

    Parameters
    ----------
    pipelines : sequence of PipelineSpec
        All pipelines of a run.

    Raises
    ------
    ValueError
        If there is none, names repeat, a variant names no other, or a twin names no network of the
        run, names another twin, or gives a parameter another value than the pipeline it is compared
        with.
    """
    by_name = check_relations(pipelines)
    for spec in pipelines:
        if spec.twin_of is None:
            continue
        parent = by_name[spec.twin_of]
        if parent.is_classical:
            raise ValueError(
                f"pipeline {spec.name!r}: twin_of names {parent.name!r}, which is a classical "
                "pipeline; name a hyperbolic network"
            )
        for key in sorted(spec.params.keys() & parent.params.keys()):
            if spec.params[key] != parent.params[key]:
                raise ValueError(
                    f"pipeline {spec.name!r}: params.{key} is {spec.params[key]!r} but "
                    f"{parent.params[key]!r} in {parent.name!r}; twins share their parameters"
                )


def training_of(
    spec: PipelineSpec, pipelines: Sequence[PipelineSpec], defaults: TrainingSpec
) -> TrainingSpec:
    """Return the training options that a pipeline really runs with.

    Parameters
    ----------
    spec : PipelineSpec
        The pipeline; a twin takes the options of the pipeline it is compared with.
    pipelines : sequence of PipelineSpec
        All pipelines of the run.
    defaults : TrainingSpec
        The run's options.

    Returns
    -------
    TrainingSpec
        Every field set.
    """
    source = spec
    if spec.twin_of is not None:
        source = next(p for p in pipelines if p.name == spec.twin_of)
    return defaults.override(source.training)
