"""What varies in a sweep: the ``sweep`` section of a run file."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator

from hypeeg.experiments.sections import Section, as_list

MAX_POINTS = 1000


class SweepSpec(Section):
    """Values to run a file with, one run folder for each combination.

    Nothing is chosen by a sweep: it shows how scores depend on values.  To choose values by the
    training trials alone, use ``pipelines[].tuning``.

    Examples
    --------
    >>> SweepSpec(grid={"training.lr": [1e-3, 3e-3], "training.c": [0.5, 1, 2]}).n_points
    6
    """

    grid: dict[str, list[Any]] = Field(
        default_factory=dict,
        description="Values by path, as after --set: {training.lr: [0.001, 0.003]}; all "
        "combinations are run, each in a run folder of its own.",
    )
    seeds: Annotated[list[int] | None, BeforeValidator(as_list)] = Field(
        None,
        min_length=1,
        description="Seeds of every combination, inside its run folder: they replace "
        "evaluation.seeds.",
    )

    @property
    def n_points(self) -> int:
        """Number of combinations, each of them one run."""
        return math.prod(len(values) for values in self.grid.values())

    @field_validator("grid")
    @classmethod
    def _check_grid(cls, value: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for path, values in value.items():
            if not path or not all(path.split(".")):
                raise ValueError(
                    f"{path!r} is no path; write keys as after --set, such as training.lr"
                )
            section = path.partition(".")[0]
            if section in ("sweep", "kind", "name", "description"):
                raise ValueError(f"{path!r} cannot vary inside a sweep; remove it")
            if not values:
                raise ValueError(f"{path!r} has no values; give at least one")
            twice = [v for i, v in enumerate(values) if _among(v, values[:i])]
            if twice:
                raise ValueError(f"{path!r} repeats {twice[0]!r}; name each value once")
        return value

    @model_validator(mode="after")
    def _check_size(self) -> SweepSpec:
        if not self.grid and self.seeds is None:
            raise ValueError(
                "nothing varies; give grid, such as {training.lr: [0.001, 0.003]}, or seeds"
            )
        if self.n_points > MAX_POINTS:
            raise ValueError(
                f"the grid has {self.n_points} combinations, each of them a run; at most "
                f"{MAX_POINTS} are taken: give fewer values"
            )
        if self.seeds is not None and "evaluation.seeds" in self.grid:
            raise ValueError("seeds are given twice: as sweep.seeds and in the grid; keep one")
        return self


def _among(value: Any, others: list[Any]) -> bool:
    """Whether a value is in a list; True is not 1 here."""
    return any(type(value) is type(other) and value == other for other in others)
