"""From a :class:`~hypeeg.eeg.pipeline_spec.PipelineSpec` to a scikit-learn estimator."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from hypeeg.eeg.pipeline_spec import (
    CLASSICAL_MODELS,
    PipelineSpec,
    StandardiseMode,
    TrainingSpec,
    training_of,
)
from hypeeg.eeg.transformers import FilterBank, Standardize, check_epochs


def build_pipeline(
    spec: PipelineSpec | str,
    *,
    sfreq: float | None = None,
    ch_names: Sequence[str] | None = None,
    random_state: int | None = None,
    device: str = "auto",
    training: TrainingSpec | None = None,
    standardise: StandardiseMode = "channel",
    pipelines: Sequence[PipelineSpec] = (),
    verbose: int = 0,
) -> Pipeline:
    """Make an unfitted estimator.

    Parameters
    ----------
    spec : PipelineSpec or str
        What to make; a string is a model name with nothing else to say: ``"csp_lda"``,
        ``"ts_lr"``, a network of hypeeg or a braindecode model class.
    sfreq : float, optional
        Sampling rate of the trials in Hz.
    ch_names : sequence of str, optional
        Channel names of the trials.
    random_state : int, optional
        Seed of a network's training; the classical pipelines draw nothing.
    device : str, default "auto"
        Where networks compute.
    training : TrainingSpec, optional
        The run's training options.
    standardise : "channel", "trial" or "none", default "channel"
        How the trials of networks are standardised, unless the pipeline says otherwise.  The
        classical pipelines stand on covariances and are left alone, unless they ask.
    pipelines : sequence of PipelineSpec
        All pipelines of the run.  A twin takes from the pipeline that it is compared with the
        training options, the standardisation, and every parameter that its own model knows.
    verbose : int, default 0
        Passed to :class:`hypeeg.HypEEGClassifier`.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Takes ``(n_trials, n_channels, n_times)``.  What learns from trials is a step of it, so
        that it learns from training trials alone.

    Raises
    ------
    ValueError
        For an unknown model or parameter, bands without `sfreq`, or a twin without its pair.
    """
    if isinstance(spec, str):
        spec = PipelineSpec(name=spec, model=spec)
    defaults = TrainingSpec() if training is None else training
    if spec.is_classical:
        return _classical(spec, sfreq)
    parent = _parent_of(spec, pipelines)
    params = {**_shared_params(spec, parent), **spec.params}
    options = training_of(spec, pipelines, defaults)

    from hypeeg.eeg.classifier import HypEEGClassifier, check_model_params

    check_model_params(spec.model, params)
    classifier = HypEEGClassifier(
        spec.model,
        model_params=params or None,
        sfreq=sfreq,
        ch_names=None if ch_names is None else list(ch_names),
        device=device,
        random_state=random_state,
        verbose=verbose,
        **options.model_dump(),
    )
    mode = (parent or spec).standardise or standardise
    return Pipeline([("standardise", Standardize(mode)), ("classifier", classifier)])


def _parent_of(spec: PipelineSpec, pipelines: Sequence[PipelineSpec]) -> PipelineSpec | None:
    if spec.twin_of is None:
        return None
    for candidate in pipelines:
        if candidate.name == spec.twin_of:
            return candidate
    raise ValueError(
        f"pipeline {spec.name!r}: twin_of names {spec.twin_of!r}, which is not among the pipelines "
        f"given ({', '.join(p.name for p in pipelines) or 'none'}); give it too"
    )


def _shared_params(spec: PipelineSpec, parent: PipelineSpec | None) -> dict[str, Any]:
    """Return what a twin inherits: a difference in width would pass for one in geometry."""
    if parent is None or not parent.params:
        return {}
    from hypeeg.eeg.models.registry import get_model_class

    known = inspect.signature(get_model_class(spec.model)).parameters
    return {key: value for key, value in parent.params.items() if key in known}


def _classical(spec: PipelineSpec, sfreq: float | None) -> Pipeline:
    steps: list[tuple[str, Any]] = [("check", _check_step(spec.model))]
    if spec.standardise is not None:
        steps.append(("standardise", Standardize(spec.standardise)))
    if spec.bands is not None:
        if sfreq is None:
            raise ValueError(f"pipeline {spec.name!r}: bands need sfreq; give the sampling rate")
        steps.append(("bands", FilterBank(bands=spec.bands, sfreq=sfreq)))
    make = _MAKERS[spec.model]
    accepted = inspect.signature(make).parameters
    for key in spec.params:
        if key not in accepted:
            raise ValueError(
                f"pipeline {spec.name!r}: params holds {key!r}, which {spec.model} does not take; "
                f"it takes {', '.join(accepted)}"
            )
    return Pipeline(steps + make(**spec.params))


def _check_step(owner: str) -> Any:
    from sklearn.preprocessing import FunctionTransformer

    return FunctionTransformer(_checked_float64, kw_args={"owner": owner})


def _checked_float64(X: Any, owner: str) -> np.ndarray:
    # Eigenvalues of covariances span more orders of magnitude than float32 has digits.
    return check_epochs(X, owner=owner).astype(np.float64)


def _csp_lda(n_components: int = 6, covariance: str = "oas") -> list[tuple[str, Any]]:
    from pyriemann.estimation import Covariances
    from pyriemann.spatialfilters import CSP
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    return [
        ("covariances", Covariances(covariance)),
        ("csp", CSP(nfilter=n_components)),
        ("classifier", LinearDiscriminantAnalysis()),
    ]


def _ts_lr(
    C: float = 1.0, covariance: str = "oas", metric: str = "riemann"
) -> list[tuple[str, Any]]:
    from pyriemann.estimation import Covariances
    from pyriemann.tangentspace import TangentSpace
    from sklearn.linear_model import LogisticRegression

    return [
        ("covariances", Covariances(covariance)),
        ("tangent_space", TangentSpace(metric=metric)),
        ("classifier", LogisticRegression(C=C, max_iter=1000)),
    ]


_MAKERS: dict[str, Callable[..., list[tuple[str, Any]]]] = dict(
    zip(CLASSICAL_MODELS, (_csp_lda, _ts_lr), strict=True)
)
