"""The variants of a pipeline that its tuning asks for."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from hypeeg.eeg.pipeline_spec import PipelineSpec
from hypeeg.eeg.tuning_spec import extremes

Values = dict[str, Any]


def tuned_variants(
    spec: PipelineSpec, pipelines: Sequence[PipelineSpec]
) -> list[tuple[Values, PipelineSpec, list[PipelineSpec]]]:
    """List the variants of a pipeline that its tuning asks for.

    A twin has the grid of the pipeline that it is compared with, less the keys that mean nothing to
    it (parameters its model does not know, options of the curvature), and chooses for itself.

    Parameters
    ----------
    spec : PipelineSpec
        A pipeline of the run.
    pipelines : sequence of PipelineSpec
        All pipelines of the run.

    Returns
    -------
    list of (dict, PipelineSpec, list of PipelineSpec)
        Values chosen, the pipeline with them, and all pipelines of the run to build it among; one
        entry with no values if nothing is tuned.

    Raises
    ------
    ValueError
        If a combination of values is no valid pipeline, or a twin fixes what its pair tunes.
    """
    grid = tuned_choices(spec, pipelines)
    variants = []
    for combination in itertools.product(*grid.values()):
        values = dict(zip(grid, combination, strict=True))
        variants.append((values, *variant_of(spec, pipelines, values)))
    return variants


def tuning_source(spec: PipelineSpec, pipelines: Sequence[PipelineSpec]) -> PipelineSpec:
    """Return the pipeline whose ``tuning`` a pipeline follows: its own, or its pair's for a twin.

    Parameters
    ----------
    spec : PipelineSpec
        A pipeline of the run.
    pipelines : sequence of PipelineSpec
        All pipelines of the run.
    """
    if spec.twin_of is None:
        return spec
    return next((p for p in pipelines if p.name == spec.twin_of), spec)


def tuned_choices(spec: PipelineSpec, pipelines: Sequence[PipelineSpec]) -> dict[str, Any]:
    """Return what each tuned value of a pipeline is chosen from; nothing if nothing is tuned.

    Parameters
    ----------
    spec : PipelineSpec
        A pipeline of the run; see :func:`tuned_variants` for twins.
    pipelines : sequence of PipelineSpec
        All pipelines of the run.

    Returns
    -------
    dict
        A list, or for ``search: optuna`` perhaps a :class:`~hypeeg.eeg.tuning_spec.RangeSpec`, by
        key.

    Raises
    ------
    ValueError
        If a twin fixes what its pair tunes.
    """
    source = tuning_source(spec, pipelines)
    choices = dict(source.tuning.choices) if source.tuning is not None else {}
    if source is spec:
        return choices
    fixed = [key for key in choices if key.removeprefix("params.") in spec.params]
    if fixed:
        raise ValueError(
            f"pipeline {spec.name!r} fixes {', '.join(fixed)}, which {source.name!r} tunes; "
            "remove it, so that both choose among the same values"
        )
    known = _known_parameters(spec.model)
    return {key: values for key, values in choices.items() if _means_something(key, known)}


def variant_of(
    spec: PipelineSpec, pipelines: Sequence[PipelineSpec], values: Mapping[str, Any]
) -> tuple[PipelineSpec, list[PipelineSpec]]:
    """Return a pipeline with tuned values in place, and the pipelines to build it among.

    Parameters
    ----------
    spec : PipelineSpec
        A pipeline of the run.
    pipelines : sequence of PipelineSpec
        All pipelines of the run.
    values : mapping
        Values by key.

    Raises
    ------
    ValueError
        If the values make no valid pipeline.
    """
    source = tuning_source(spec, pipelines)
    changed = _with_values(source, values)
    among = [changed if p.name == source.name else p for p in pipelines]
    return (changed if source is spec else spec), among


def probes(choices: Mapping[str, Any]) -> list[Values]:
    """Return combinations in which every end of a range and every listed value occurs.

    They are built before anything is fitted: a value that a model does not take ends a run at once.

    Parameters
    ----------
    choices : mapping
        What each value is chosen from.

    Returns
    -------
    list of dict
        The first value of every key, then one key changed at a time.
    """
    ends = {key: extremes(values) for key, values in choices.items()}
    first = {key: values[0] for key, values in ends.items()}
    others = [{**first, key: value} for key, values in ends.items() for value in values[1:]]
    return [first, *others]


def _known_parameters(model: str) -> set[str]:
    import inspect

    from hypeeg.eeg.models.registry import get_model_class

    return set(inspect.signature(get_model_class(model)).parameters)


def _means_something(key: str, known: set[str]) -> bool:
    """Whether a tuned key changes a Euclidean network with parameters `known`."""
    section, _, name = key.partition(".")
    if section == "params":
        return name in known
    return not (
        section == "training" and (name == "c" or name.startswith(("curvature", "sharpness")))
    )


def _with_values(spec: PipelineSpec, values: Mapping[str, Any]) -> PipelineSpec:
    from pydantic import ValidationError

    try:
        return spec.with_values(values)
    except ValidationError as error:
        said = "; ".join(str(item["msg"]) for item in error.errors(include_url=False))
        raise ValueError(f"pipeline {spec.name!r}: tuning gives {dict(values)}: {said}") from error
