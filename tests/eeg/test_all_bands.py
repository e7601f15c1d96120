"""Every band of a filter bank reaches the classifier, through the runner, on real recordings.

MOABB's evaluations hand on the first band of a filter-bank paradigm only, and nobody notices but
the score. Here each fitted pipeline is asked: a tone inside any of its bands must move it, a tone
outside all of them must not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.metaestimators import available_if

from hypeeg.eeg.pipeline_spec import BAND_MODELS, PipelineSpec
from hypeeg.experiments.runner import build_estimator, load_trials, run
from hypeeg.experiments.spec import RunSpec

STIMULI = (13.0, 17.0, 21.0)
BANDS = [[f - 0.5, f + 0.5] for f in STIMULI]
OUTSIDE = (10.0, 15.0, 19.0, 30.0)


class Kept(ClassifierMixin, BaseEstimator):
    """An estimator that leaves its fitted copy behind."""

    fitted: dict = {}  # noqa: RUF012

    def __init__(self, name, estimator):
        self.name = name
        self.estimator = estimator

    def fit(self, X, y):
        self.estimator_ = clone(self.estimator).fit(X, y)
        self.classes_ = self.estimator_.classes_
        Kept.fitted[self.name] = (self.estimator_, X[:4])
        return self

    def predict(self, X):
        return self.estimator_.predict(X)

    @available_if(lambda self: hasattr(self.estimator_, "predict_proba"))
    def predict_proba(self, X):
        return self.estimator_.predict_proba(X)


def beliefs(estimator, X):
    """What the classifier makes of trials before it decides: scores, or distances to means."""
    ask = estimator.decision_function if hasattr(estimator, "decision_function") else None
    return np.asarray((ask or estimator.transform)(X), dtype=float)


def tone(hz, X, sfreq):
    """A smoothly switched tone, as loud as the trials, on every other channel."""
    n = X.shape[2]
    wave = np.sin(2 * np.pi * hz * np.arange(n) / sfreq) * np.hanning(n)
    return 2 * X.std() * wave * (np.arange(X.shape[1]) % 2)[:, None]


def moves(estimator, X, hz, sfreq):
    """Largest change of belief by a tone."""
    return np.abs(beliefs(estimator, X + tone(hz, X, sfreq)) - beliefs(estimator, X)).max()


@pytest.mark.realdata
def test_every_band_reaches_every_classifier(hypeeg_data: Path, tmp_path: Path) -> None:
    spec = RunSpec.model_validate(
        {
            "name": "bands",
            "dataset": {"name": "Kalunga2016", "subjects": [1]},
            "evaluation": {"kind": "within_session", "n_folds": 2, "seeds": [0]},
            "pipelines": [
                *(PipelineSpec(name=model, model=model, bands=BANDS) for model in BAND_MODELS),
                PipelineSpec(name="stimuli", model="ts_lr", bands="stimuli"),
            ],
        }
    )
    trials = load_trials(spec.resolve())

    def build(given, pipeline, loaded, seed):
        return Kept(pipeline.name, build_estimator(given, pipeline, loaded, seed))

    Kept.fitted.clear()
    result = run(spec, tmp_path, build=build, load=lambda _: trials, progress=False)
    assert result.state == "done", [record["error"] for record in result.failures]
    assert set(Kept.fitted) == {pipeline.name for pipeline in spec.pipelines}
    for name, (estimator, X) in Kept.fitted.items():
        inside = [moves(estimator, X, hz, trials.sfreq) for hz in STIMULI]
        outside = [moves(estimator, X, hz, trials.sfreq) for hz in OUTSIDE]
        assert min(inside) > 5 * max(outside), (name, inside, outside)


@pytest.mark.realdata
def test_a_pipeline_that_lost_bands_is_found_out(hypeeg_data: Path) -> None:
    """The test above can fail: with the first band only, tones in the others change nothing."""
    spec = RunSpec.model_validate(
        {
            "name": "bands",
            "dataset": {"name": "Kalunga2016", "subjects": [1]},
            "pipelines": [{"name": "mdm", "model": "mdm", "bands": BANDS[:1]}],
        }
    ).resolve()
    trials = load_trials(spec)
    estimator = build_estimator(spec, spec.pipelines[0], trials, 0).fit(trials.X, trials.y)
    moved = [moves(estimator, trials.X, hz, trials.sfreq) for hz in STIMULI]
    assert moved[0] > 5 * max(moved[1:])
