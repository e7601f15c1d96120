"""What an EEG run is: one pydantic model, one YAML file.

Reading and checking a run file imports neither torch nor MOABB nor braindecode, so that a typing
mistake is reported in well under a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
)

from hypeeg.eeg.manifest import load_manifest
from hypeeg.eeg.pipeline_spec import (
    CLASSICAL_MODELS,
    PipelineSpec,
    TrainingSpec,
    check_pipelines,
)
from hypeeg.eeg.preprocessing import PreprocessingSpec
from hypeeg.experiments.base_spec import BaseRunSpec as BaseRunSpec
from hypeeg.experiments.base_spec import check_file_names
from hypeeg.experiments.base_spec import slug as slug
from hypeeg.experiments.evaluation_spec import EvaluationSpec as EvaluationSpec
from hypeeg.experiments.kinds import read_run_spec as read_run_spec
from hypeeg.experiments.model_names import is_known, known_models
from hypeeg.experiments.sections import SaveSpec as SaveSpec
from hypeeg.experiments.sections import Section, as_list
from hypeeg.experiments.spec_errors import Problem, SpecError, did_you_mean, problems_of


def as_names(value: Any) -> Any:
    """Take sessions named ``0``, ``1``, ..., which YAML reads as numbers, and one for a list."""
    value = as_list(value)
    if isinstance(value, list):
        return [str(v) if isinstance(v, int) else v for v in value]
    return value


def _listing(items: Sequence[Any]) -> str:
    """Write a list, and a long run of numbers as a range."""
    numbers = [item for item in items if isinstance(item, int)]
    if len(numbers) == len(items) > 3 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, items))


class DatasetSpec(Section):
    """Which recordings a run reads."""

    name: str = Field(min_length=1, description="Name of a data manifest, or a path to one (YAML).")
    subjects: Annotated[list[int] | None, BeforeValidator(as_list)] = Field(
        None, min_length=1, description="Subjects to use; none given means all of the manifest."
    )
    sessions: Annotated[list[str] | None, BeforeValidator(as_names)] = Field(
        None, min_length=1, description="Sessions to use; none given means all."
    )
    events: Annotated[list[str] | None, BeforeValidator(as_list)] = Field(
        None, min_length=2, description="Classes to tell apart; none given means the manifest's."
    )
    runs_as_sessions: bool = Field(
        False,
        description="Take each run for a session: where MOABB calls recording days runs "
        "(Kalunga2016).",
    )

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        manifest = load_manifest(value)
        return value if is_manifest_path(value) else manifest.name

    @field_validator("subjects", "sessions", "events")
    @classmethod
    def _check_unique(cls, value: list[Any] | None) -> list[Any] | None:
        twice = sorted({v for v in value or [] if (value or []).count(v) > 1})
        if twice:
            raise ValueError(f"given more than once: {twice}; name each one once")
        return value

    @field_validator("subjects", "sessions", "events")
    @classmethod
    def _check_in_manifest(cls, value: list[Any] | None, info: ValidationInfo) -> list[Any] | None:
        # A wrong name is reported by itself; nothing can be said about its subjects then.
        if value is None or "name" not in info.data:
            return value
        manifest = load_manifest(info.data["name"])
        valid: list[Any] = list(getattr(manifest, str(info.field_name)))
        if not valid:  # names of sessions that MOABB's tables do not give: loading will tell
            return value
        wrong = [item for item in value if item not in valid]
        if wrong:
            near = did_you_mean(wrong[0], map(str, valid)) if info.field_name == "events" else ""
            raise ValueError(
                f"{manifest.name} has no {', '.join(map(repr, wrong))}; "
                f"allowed: {_listing(valid)}.{near}"
            )
        return value


class RunSpec(BaseRunSpec):
    """One EEG run: a data set, how it is prepared and divided, and the pipelines on it.

    Examples
    --------
    >>> spec = RunSpec.from_yaml("pipelines/quickstart.yaml")  # doctest: +SKIP
    >>> spec.apply_overrides(["dataset.subjects=[1]", "training.max_epochs=5"])  # doctest: +SKIP
    """

    kind: Literal["eeg"] = Field(
        "eeg", description="What the run trains on: eeg, vision or hierarchy."
    )
    dataset: DatasetSpec = Field(description="Which recordings to read.")
    preprocessing: PreprocessingSpec = Field(
        default_factory=PreprocessingSpec,
        description="From recordings to trials; what is left out is as the manifest recommends.",
    )
    evaluation: EvaluationSpec = Field(
        default_factory=lambda: EvaluationSpec.model_validate({}), description="Folds and score."
    )
    training: TrainingSpec = Field(
        default_factory=lambda: TrainingSpec.model_validate({}),
        description="How networks are trained.",
    )
    pipelines: list[PipelineSpec] = Field(min_length=1, description="What is compared.")

    @field_serializer("preprocessing")
    def _dump_preprocessing(self, value: PreprocessingSpec) -> dict[str, Any]:
        # Only what was given counts against the manifest's recommendation: a dump that spelled
        # out the defaults would turn them into decisions.
        return value.model_dump(mode="json", exclude_unset=True)

    @field_validator("pipelines")
    @classmethod
    def _check_pipelines(cls, value: list[PipelineSpec]) -> list[PipelineSpec]:
        names = known_models()
        wrong = [
            f"pipeline {p.name!r}: unknown model {p.model!r}; known: "
            f"{', '.join(CLASSICAL_MODELS)}, "
            "hypeeg's networks, the model classes of braindecode, and Hyperbolic(...) of these."
            f"{did_you_mean(p.model, names)}"
            for p in value
            if not is_known(p.model)
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        check_pipelines(value)
        check_file_names(pipeline.name for pipeline in value)
        return value

    def resolve(self) -> RunSpec:
        """Return the spec with what it leaves to the manifest filled in.

        Returns
        -------
        RunSpec
            Subjects, events and every preprocessing field given.

        Raises
        ------
        SpecError
            If the preprocessing given and the manifest's recommendation contradict each other.
        """
        manifest = load_manifest(self.dataset.name)
        try:
            preprocessing = manifest.resolve_preprocessing(self.preprocessing)
            preprocessing.check_sfreq(manifest.sfreq, manifest.name)
        except ValidationError as error:
            problems = [
                Problem(f"preprocessing.{p.path}".rstrip("."), f"with {manifest.name}: {p.message}")
                for p in problems_of(error, PreprocessingSpec, {})
            ]
            raise SpecError(problems, self.name) from error
        except ValueError as error:
            raise SpecError([Problem("preprocessing", str(error))], self.name) from error
        dataset = self.dataset.model_copy(
            update={
                "subjects": self.dataset.subjects or manifest.default_subjects,
                "events": self.dataset.events or list(manifest.default_events),
            }
        )
        # Validating marks every preprocessing field as given, so that a dump is complete.
        complete = PreprocessingSpec.model_validate(preprocessing.model_dump())
        return self.model_copy(update={"dataset": dataset, "preprocessing": complete})


def is_manifest_path(name: str) -> bool:
    """Whether a data set is named by a path to a manifest rather than by a manifest's name."""
    return name.lower().endswith((".yaml", ".yml"))
