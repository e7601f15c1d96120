"""From a :class:`~hypeeg.eeg.pipeline_spec.PipelineSpec` to a scikit-learn estimator."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object

from hypeeg.eeg.pipeline_spec import (
    PipelineSpec,
    StandardiseMode,
    StimulusBands,
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
    trial_steps: Sequence[tuple[str, Any]] = (),
    verbose: int = 0,
) -> TrialPipeline:
    """Make an unfitted estimator.

    Parameters
    ----------
    spec : PipelineSpec or str
        What to make; a string is a model name with nothing else to say: one of
        :data:`hypeeg.eeg.pipeline_spec.CLASSICAL_MODELS`, a network of hypeeg or a braindecode
        model class.
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
    trial_steps : sequence of (str, transformer)
        Steps before all others, of classical pipelines too; clones of them are used.
    verbose : int, default 0
        Passed to :class:`hypeeg.HypEEGClassifier`.

    Returns
    -------
    TrialPipeline
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
    first = [(name, clone(step)) for name, step in trial_steps]
    if spec.is_classical:
        return _routed(first + _classical(spec, sfreq))
    parent = _parent_of(spec, pipelines)
    params = {**_shared_params(spec, parent), **spec.params}
    options = training_of(spec, pipelines, defaults)

    from hypeeg.eeg.classifier import HypEEGClassifier, check_model_params

    check_model_params(spec.model, params)
    if options.augmentation:
        from hypeeg.eeg.augmentation import make_augmentation

        # Made here to be found wrong before anything is trained.
        domains = options.domain is not None
        make_augmentation(
            options.augmentation, sfreq=sfreq, ch_names=ch_names, seed=0, domains=domains
        )
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
    _ask_for_metadata(classifier, options)
    mode = (parent or spec).standardise or standardise
    return _routed([*first, ("standardise", Standardize(mode)), ("classifier", classifier)])


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


def _classical(spec: PipelineSpec, sfreq: float | None) -> list[tuple[str, Any]]:
    from hypeeg.eeg.baselines import MAKERS, Context

    steps: list[tuple[str, Any]] = [("check", _check_step(spec.model))]
    if spec.standardise is not None:
        steps.append(("standardise", Standardize(spec.standardise)))
    make = MAKERS[spec.model]
    accepted = [name for name in inspect.signature(make).parameters if name != "context"]
    for key in spec.params:
        if key not in accepted:
            takes = ", ".join(accepted) if accepted else "none"
            raise ValueError(
                f"pipeline {spec.name!r}: params holds {key!r}, which {spec.model} does not take; "
                f"it takes {takes}"
            )
    return steps + make(Context(sfreq, _filter_bank(spec, sfreq)), **spec.params)


def _filter_bank(spec: PipelineSpec, sfreq: float | None) -> Any:
    if spec.bands is None:
        return None
    if sfreq is None:
        raise ValueError(f"pipeline {spec.name!r}: bands need sfreq; give the sampling rate")
    if isinstance(spec.bands, StimulusBands):
        from hypeeg.eeg.ssvep import StimulusFilterBank

        return StimulusFilterBank(sfreq, **spec.bands.model_dump())
    return FilterBank(bands=spec.bands, sfreq=sfreq)


def _check_step(owner: str) -> Any:
    from sklearn.preprocessing import FunctionTransformer

    return FunctionTransformer(_checked_float64, kw_args={"owner": owner})


def _checked_float64(X: Any, owner: str) -> np.ndarray:
    # Eigenvalues of covariances span more orders of magnitude than float32 has digits.
    return check_epochs(X, owner=owner).astype(np.float64)


class TrialPipeline(Pipeline):
    """A scikit-learn pipeline that hands `fit` arguments to the steps that ask for them.

    As :class:`sklearn.pipeline.Pipeline`, with metadata routing on while it is fitted: a caller
    need not switch it on to pass ``subjects``, ``sessions`` or trials of the target.
    """

    def fit(self, X: Any, y: Any = None, **params: Any) -> TrialPipeline:
        """Fit the steps.

        Parameters
        ----------
        X : array-like of shape (n_trials, n_channels, n_times)
            Training trials.
        y : array-like of shape (n_trials,)
            Their classes.
        **params : arrays
            What steps ask for: ``subjects``, ``sessions``, ``X_target_unlabeled``,
            ``X_target_labeled`` and ``y_target_labeled``.  Target trials pass through the steps
            before the one that asks.

        Returns
        -------
        TrialPipeline
            Itself.

        Raises
        ------
        TypeError
            If no step asks for one of them.
        """
        with config_context(enable_metadata_routing=True):
            super().fit(X, y, **params)
        return self


def _ask_for_metadata(classifier: Any, options: TrainingSpec) -> None:
    """Say for each argument of `fit` whether the network wants it: to be silent is an error."""
    by_domain = options.domain is not None
    with config_context(enable_metadata_routing=True):
        classifier.set_fit_request(
            subjects=options.domain == "subject",
            sessions=options.domain == "session",
            X_target_unlabeled=by_domain or options.adapt_batch_norm,
            # Labelled trials of the target are training trials to every network.
            X_target_labeled=True,
            y_target_labeled=True,
        )


def _routed(steps: list[tuple[str, Any]]) -> TrialPipeline:
    """Make the pipeline, with target trials carried to the steps that ask for them."""
    carried = [
        name
        for name in ("X_target_unlabeled", "X_target_labeled")
        if any(_requests(step, name) for _, step in steps[1:])
    ]
    return TrialPipeline(steps, transform_input=carried or None)


def _requests(step: Any, name: str) -> bool:
    with config_context(enable_metadata_routing=True):
        return bool(get_routing_for_object(step).consumes("fit", [name]))
