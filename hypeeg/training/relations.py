"""What pipelines of a run may say of each other, whatever they are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from hypeeg.training.near_names import near_name


class Related(Protocol):
    """A pipeline of a run file."""

    @property
    def name(self) -> str:
        """Its label, unique in the run."""

    @property
    def twin_of(self) -> str | None:
        """Name of the hyperbolic pipeline whose Euclidean twin it is."""

    @property
    def variant_of(self) -> str | None:
        """Name of the pipeline that it differs from in one respect."""


P = TypeVar("P", bound=Related)


def check_relations(pipelines: Sequence[P]) -> dict[str, P]:
    """Check that names are unique, and that twins and variants name other pipelines, in no circle.

    Parameters
    ----------
    pipelines : sequence
        All pipelines of a run.

    Returns
    -------
    dict
        The pipelines by name.

    Raises
    ------
    ValueError
        If there is none, names repeat, ``twin_of`` or ``variant_of`` names no other pipeline of
        the run, ``twin_of`` names a twin, or pipelines name each other in a circle.
    """
    if not pipelines:
        raise ValueError("pipelines is empty; give at least one")
    by_name: dict[str, P] = {}
    for pipeline in pipelines:
        if pipeline.name in by_name:
            raise ValueError(f"two pipelines are named {pipeline.name!r}; give each its own name")
        by_name[pipeline.name] = pipeline
    for pipeline in pipelines:
        for field, other in (("twin_of", pipeline.twin_of), ("variant_of", pipeline.variant_of)):
            if other is not None and (other == pipeline.name or other not in by_name):
                others = [name for name in by_name if name != pipeline.name]
                raise ValueError(
                    f"pipeline {pipeline.name!r}: {field} names {other!r}, which is no other "
                    f"pipeline of this run; the others are {', '.join(others) or 'none'}."
                    f"{near_name(other, others)}"
                )
        if pipeline.twin_of is not None and by_name[pipeline.twin_of].twin_of is not None:
            raise ValueError(
                f"pipeline {pipeline.name!r}: twin_of names {pipeline.twin_of!r}, which is a twin "
                "itself; name the pipeline that it is compared with"
            )
    for pipeline in pipelines:
        path = [pipeline.name]
        while (other := by_name[path[-1]].twin_of or by_name[path[-1]].variant_of) is not None:
            if other in path:
                raise ValueError(
                    f"pipelines are compared in a circle: {', '.join([*path, other])}; remove one "
                    "variant_of or twin_of"
                )
            path.append(other)
    return by_name
