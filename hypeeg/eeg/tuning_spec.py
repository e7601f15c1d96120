"""What a pipeline chooses inside the training trials, as data; pydantic alone is imported here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from hypeeg.eeg.training_spec import TrainingSpec


class RangeSpec(BaseModel):
    """Numbers from `low` to `high`, both included.

    Examples
    --------
    >>> RangeSpec(low=0.1, high=1, log=True).is_integer
    False
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    low: int | float = Field(description="Smallest number.")
    high: int | float = Field(description="Largest number.")
    log: bool = Field(default=False, description="Draw the logarithm evenly; low must be over 0.")
    step: int | float | None = Field(
        default=None, gt=0, description="Distance of the numbers that count; not with log."
    )
    integer: bool | None = Field(
        default=None, description="Whole numbers; if not given, where low and high are written so."
    )

    @property
    def is_integer(self) -> bool:
        """Whether only whole numbers are drawn."""
        whole = all(isinstance(value, int) for value in (self.low, self.high, self.step or 1))
        return whole if self.integer is None else self.integer

    @model_validator(mode="after")
    def _check(self) -> RangeSpec:
        if not self.low < self.high:
            raise ValueError(f"low is {self.low} and high {self.high}; low must be less")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low} and log is true; give a low over 0")
        if self.log and self.step is not None:
            raise ValueError(f"step is {self.step} and log is true; remove one of them")
        if self.step is not None and self.step > self.high - self.low:
            raise ValueError(f"step is {self.step}, more than from {self.low} to {self.high}")
        if self.integer:
            numbers = {"low": self.low, "high": self.high, "step": self.step or 1}
            wrong = [f"{name} is {value}" for name, value in numbers.items() if value != int(value)]
            if wrong:
                raise ValueError(f"integer is true and {', '.join(wrong)}; give whole numbers")
        return self


def _branch(value: Any) -> str:
    return "range" if isinstance(value, Mapping | RangeSpec) else "values"


Choices = Annotated[
    Annotated[list[Any], Tag("values")] | Annotated[RangeSpec, Tag("range")],
    Discriminator(_branch),
]
"""What one value is chosen from: a list, or a range of numbers."""


class TuningSpec(BaseModel):
    """Values to choose from inside the training trials of each fold.

    Every combination of a grid is tried, or Optuna's TPE draws `n_trials` of a space, each from
    what the earlier ones scored.

    Examples
    --------
    >>> TuningSpec(grid={"params.F1": [4, 8], "training.lr": [1e-3, 3e-3]}).n_candidates
    4
    >>> space = {"params.F1": [4, 8], "training.lr": {"low": 1e-4, "high": 1e-2, "log": True}}
    >>> TuningSpec(search="optuna", space=space, n_trials=30).n_candidates
    30
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    search: Literal["grid", "optuna"] = Field(
        default="grid", description="Try all of grid, or let Optuna (TPE) search space."
    )
    grid: dict[str, list[Any]] = Field(
        default_factory=dict,
        description="Values of params.X, training.X, standardise or bands; all combinations count "
        "(search: grid).",
    )
    space: dict[str, Choices] = Field(
        default_factory=dict,
        description="Values, or a range {low: 0.1, high: 1, log: true}, of params.X, training.X, "
        "standardise or bands (search: optuna).",
    )
    n_trials: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        validate_default=False,
        description="Combinations that are tried (search: optuna only; 20 if not given).",
    )
    n_folds: int = Field(default=3, ge=2, description="Inner folds of the training trials.")
    scoring: str | None = Field(
        default=None, description="What is maximised; none takes the run's scoring."
    )

    @property
    def n_candidates(self) -> int:
        """Number of combinations that are tried."""
        if self.search == "optuna":
            return int(self.n_trials or 20)
        return math.prod(len(values) for values in self.grid.values())

    @property
    def field(self) -> Literal["grid", "space"]:
        """Name of the field that says what is tried."""
        return "space" if self.search == "optuna" else "grid"

    @property
    def choices(self) -> Mapping[str, list[Any] | RangeSpec]:
        """What each value is chosen from."""
        return self.space if self.search == "optuna" else self.grid

    @field_validator("grid", "space")
    @classmethod
    def _check_keys(cls, value: dict[str, Any]) -> dict[str, Any]:
        from hypeeg.training.near_names import near_name

        for key, values in value.items():
            part, dot, name = key.partition(".")
            if part in ("standardise", "bands") and not dot:
                pass
            elif part == "training" and name:
                known = list(TrainingSpec.model_fields)
                if name not in known:
                    raise ValueError(
                        f"{key!r} is no training option; those are {', '.join(known)}."
                        f"{near_name(name, known)}"
                    )
            elif part != "params" or not name:
                raise ValueError(
                    f"{key!r} cannot be tuned; keys are params.X, training.X, standardise or "
                    f"bands.{near_name(key, ('standardise', 'bands'))}"
                )
            if isinstance(values, list) and not values:
                raise ValueError(f"{key!r} has no values; give at least one")
        return value

    @model_validator(mode="before")
    @classmethod
    def _fill_trials(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("search") == "optuna":
            return {**data, "n_trials": 20 if data.get("n_trials") is None else data["n_trials"]}
        return data

    @model_validator(mode="after")
    def _check_search(self) -> TuningSpec:
        other = "grid" if self.field == "space" else "space"
        if getattr(self, other):
            raise ValueError(
                f"{other} is given and search is {self.search}; remove {other}, or set search: "
                f"{'grid' if other == 'grid' else 'optuna'}"
            )
        if not self.choices:
            example = (
                "{training.lr: {low: 0.0005, high: 0.01, log: true}}"
                if self.search == "optuna"
                else "{training.lr: [0.001, 0.003]}"
            )
            raise ValueError(f"{self.field} is empty; give values, such as {example}")
        if self.search == "grid" and self.n_trials is not None:
            raise ValueError(
                f"n_trials is {self.n_trials}, which is for search: optuna; a grid tries all its "
                f"{self.n_candidates} combinations: remove n_trials, or set search: optuna and "
                "rename grid to space"
            )
        return self


def extremes(choices: list[Any] | RangeSpec) -> list[Any]:
    """Return values that a model must take if it is to take all: a list's, or a range's ends.

    Parameters
    ----------
    choices : list or RangeSpec
        What one value is chosen from.
    """
    if isinstance(choices, RangeSpec):
        ends = [choices.low, choices.high]
        return [int(v) for v in ends] if choices.is_integer else [float(v) for v in ends]
    return list(choices)
