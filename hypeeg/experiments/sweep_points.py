"""The runs that a sweep stands for: one specification for each combination of values."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypeeg.experiments.base_spec import BaseRunSpec
from hypeeg.experiments.overrides import set_value
from hypeeg.experiments.spec_errors import Problem, SpecError


@dataclass(frozen=True)
class SweepPoint:
    """One run of a sweep.

    Attributes
    ----------
    index : int
        Position in the sweep, from 0.
    values : mapping
        Values of the grid by path.
    spec : BaseRunSpec
        The run, without a sweep.
    """

    index: int
    values: Mapping[str, Any]
    spec: BaseRunSpec = field(repr=False)

    @property
    def label(self) -> str:
        """One line for people, such as ``training.lr=0.001, training.c=2``."""
        return ", ".join(f"{path}={value}" for path, value in self.values.items()) or "the file"


def sweep_points(spec: BaseRunSpec) -> list[SweepPoint]:
    """List the runs of a sweep.

    Parameters
    ----------
    spec : BaseRunSpec
        A run file with a ``sweep`` section.

    Returns
    -------
    list of SweepPoint
        All combinations of the grid; the last path changes fastest.  One point without values if
        only seeds are given, or if there is no sweep.

    Raises
    ------
    SpecError
        If a combination is no valid run file, naming it.
    """
    if spec.sweep is None:
        return [SweepPoint(0, {}, spec)]
    grid = spec.sweep.grid
    points: list[SweepPoint] = []
    for combination in itertools.product(*grid.values()):
        values = dict(zip(grid, combination, strict=True))
        points.append(SweepPoint(len(points), values, _with_values(spec, values, spec.name)))
    return points


def check_sweep(spec: BaseRunSpec, source: str) -> None:
    """Try each value of a sweep by itself.

    Combinations are only built by :func:`sweep_points`: there may be a thousand of them.

    Raises
    ------
    SpecError
        Naming every path that does not exist and every value that is not taken there.
    """
    assert spec.sweep is not None
    problems: list[Problem] = []
    for path, values in spec.sweep.grid.items():
        for value in values:
            try:
                _with_values(spec, {path: value}, source, seeds=False)
            except SpecError as error:
                problems += [p for p in error.problems if p not in problems]
    try:
        _with_values(spec, {}, source)
    except SpecError as error:
        problems += [p for p in error.problems if p not in problems]
    if problems:
        raise SpecError(problems, source)


def _with_values(
    spec: BaseRunSpec, values: Mapping[str, Any], source: str, seeds: bool = True
) -> BaseRunSpec:
    assert spec.sweep is not None
    data = spec.model_dump(mode="json", exclude={"sweep"})
    changes = dict(values)
    if seeds and spec.sweep.seeds is not None:
        changes[spec.SEEDS] = spec.sweep.seeds
    for path, value in changes.items():
        at = "sweep.seeds" if path == spec.SEEDS and path not in values else f"sweep.grid.{path}"
        try:
            set_value(data, path, value)
        except ValueError as error:
            raise SpecError([Problem(at, str(error))], source) from error
    try:
        return type(spec).from_data(data, source)
    except SpecError as error:
        raise SpecError(
            [_blame(problem, changes, spec) for problem in error.problems], source
        ) from error


def _blame(problem: Problem, changes: Mapping[str, Any], spec: BaseRunSpec) -> Problem:
    """Say which values of the sweep a problem comes of."""
    tried = ", ".join(f"{path}={value}" for path, value in changes.items())
    if len(changes) != 1:
        return Problem("sweep.grid", f"with {tried}: {problem}")
    [path] = changes
    assert spec.sweep is not None
    at = f"sweep.grid.{path}" if path in spec.sweep.grid else "sweep.seeds"
    if problem.path == path:
        return Problem(at, problem.message)
    return Problem(at, f"with {tried}: {problem}")
