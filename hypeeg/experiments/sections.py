"""Sections that the run files of every wing share: what is kept, and what a run runs on."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)


def as_list(value: Any) -> Any:
    """Take one item for a list of one: ``--set evaluation.seeds=1``."""
    return [value] if isinstance(value, int | float | str) else value


class Section(BaseModel):
    """A part of a run file: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SaveSpec(Section):
    """What a run keeps beside its scores."""

    embeddings: bool = Field(True, description="Keep embeddings of test trials.")
    predictions: bool = Field(
        True, description="Keep predicted classes and probabilities of test trials."
    )
    embedding_epochs: int | None = Field(
        None,
        ge=1,
        description="Keep embeddings of test trials before training and every so many epochs, too, "
        "for the slider of the dashboard. None keeps those of the trained network alone; so do "
        "pipelines that tune, and networks with statistics of each domain.",
    )
    models: Literal["last", "all", "none"] = Field(
        "last", description="Networks kept: of each pipeline's last fold, of every fold, or none."
    )


class BackendSpec(Section):
    """Where tasks run; scores do not depend on it.

    ``backend: local`` in a run file is ``backend: {name: local}``.
    """

    name: Literal["local", "dask"] = Field(
        "local", description="local: processes of this computer; dask: workers of a Dask cluster."
    )
    scheduler: str | None = Field(
        None,
        pattern=r"^([a-z]+://)?[^\s/:]+:\d{1,5}$|^[a-z]+://\S+$",
        description="Address of the Dask scheduler, such as tcp://node7:8786 (name: dask only).",
    )

    @model_validator(mode="after")
    def _check_scheduler(self) -> BackendSpec:
        if self.name == "dask" and self.scheduler is None:
            raise ValueError(
                "name is dask and scheduler is missing; give the address that 'dask scheduler' "
                "prints, such as tcp://node7:8786"
            )
        if self.name == "local" and self.scheduler is not None:
            raise ValueError(
                f"scheduler is {self.scheduler!r}, which is for name: dask, and name is local; "
                "remove scheduler, or set name: dask"
            )
        return self


def as_backend(value: Any) -> Any:
    """Take the name of a backend for the backend: ``backend: local``."""
    return {"name": value} if isinstance(value, str) else value


class ResourcesSpec(Section):
    """What each task may use of the computer that it runs on."""

    gpus: Annotated[list[int] | None, BeforeValidator(as_list)] = Field(
        None,
        min_length=1,
        description="GPUs of this computer to share out, one task at a time each; a GPU given "
        "twice takes two tasks. None leaves the choice to device.",
    )
    threads: int = Field(
        1, ge=1, le=1024, description="Threads that one task may use for its arithmetic."
    )

    @field_validator("gpus")
    @classmethod
    def _check_gpus(cls, value: list[int] | None) -> list[int] | None:
        wrong = [gpu for gpu in value or [] if gpu < 0]
        if wrong:
            raise ValueError(f"GPUs are numbered from 0, got {wrong}; see nvidia-smi")
        return value
