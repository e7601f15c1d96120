"""Classical baselines against what they are wired from: pyRiemann, MOABB, scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from moabb.pipelines.classification import SSVEP_CCA, SSVEP_TRCA
from moabb.pipelines.features import AugmentedDataset, LogVariance
from pydantic import ValidationError
from pyriemann.classification import MDM, FgMDM
from pyriemann.estimation import (
    BlockCovariances,
    Covariances,
    ERPCovariances,
    XdawnCovariances,
)
from pyriemann.spatialfilters import CSP, Xdawn
from pyriemann.tangentspace import TangentSpace
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC

from hypeeg.eeg.baseline_steps import time_courses
from hypeeg.eeg.baselines import MAKERS
from hypeeg.eeg.pipeline_spec import (
    BAND_MODELS,
    CLASSICAL_MODELS,
    PipelineSpec,
    StimulusBands,
    TuningSpec,
)
from hypeeg.eeg.pipelines import build_pipeline
from hypeeg.eeg.ssvep import StimulusFilterBank, stimulus_frequencies
from hypeeg.eeg.transformers import FilterBank
from hypeeg.experiments.runner import run
from hypeeg.experiments.spec import RunSpec

SFREQ = 128.0


def make_lights(frequencies=("9", "13", "17"), n=12, strength=0.7, seed=0):
    """Trials of four channels with an oscillation at the frequency of their class."""
    rng = np.random.default_rng(seed)
    y = np.array(list(frequencies) * n)
    t = np.arange(256) / SFREQ
    X = rng.standard_normal((len(y), 4, 256))
    mix = np.array([1.0, 0.5, -0.5, 0.2])[:, None]
    for trial, name in zip(X, y):
        trial += strength * mix * np.sin(2 * np.pi * float(name) * t)
    return X, y


def make_erp(seed=0):
    """Trials with a bump at the first channel, or none."""
    rng = np.random.default_rng(seed)
    y = np.array(["NonTarget", "Target"] * 30)
    X = rng.standard_normal((60, 4, 64))
    X[y == "Target", 0] += 2.5 * np.exp(-0.5 * ((np.arange(64) - 30) / 5) ** 2)
    return X, y


def epochs(X, y):
    import mne

    codes = {name: code for code, name in enumerate(sorted(set(y)), start=1)}
    events = np.array([(i, 0, codes[name]) for i, name in enumerate(y)])
    info = mne.create_info(X.shape[1], SFREQ, "eeg")
    return mne.EpochsArray(X.copy(), info, events=events, event_id=codes, verbose="ERROR")


def test_every_classical_model_can_be_made():
    assert set(MAKERS) == set(CLASSICAL_MODELS)
    assert set(BAND_MODELS) <= set(CLASSICAL_MODELS)
    for name in CLASSICAL_MODELS:
        assert clone(build_pipeline(name, sfreq=SFREQ)).steps[0][0] == "check"


PERIOD = {
    "mdm": lambda: make_pipeline(Covariances("oas"), MDM()),
    "fgmdm": lambda: make_pipeline(Covariances("oas"), FgMDM()),
    "ts_svm": lambda: make_pipeline(Covariances("oas"), TangentSpace(), SVC(kernel="linear")),
    "logvar_lda": lambda: make_pipeline(LogVariance(), LinearDiscriminantAnalysis()),
    "acm_ts_svm": lambda: make_pipeline(
        AugmentedDataset(order=3, lag=2), Covariances("oas"), TangentSpace(), SVC()
    ),
}
EVOKED = {
    "xdawn_lda": lambda: make_pipeline(
        Xdawn(estimator="oas"),
        FunctionTransformer(lambda X: X.reshape(len(X), -1)),
        LinearDiscriminantAnalysis(),
    ),
    "xdawn_ts_lr": lambda: make_pipeline(
        XdawnCovariances(estimator="oas", xdawn_estimator="oas"),
        TangentSpace(),
        LogisticRegression(max_iter=1000),
    ),
    "erpcov_mdm": lambda: make_pipeline(ERPCovariances(estimator="oas"), MDM()),
}
PARAMS = {
    "acm_ts_svm": {"order": 3, "lag": 2},
    "xdawn_lda": {"n_steps": None, "shrinkage": None},
}


@pytest.mark.parametrize("model", [*PERIOD, *EVOKED])
def test_baselines_are_the_libraries_own(model):
    X, y = make_lights() if model in PERIOD else make_erp()
    spec = PipelineSpec(name="a", model=model, params=PARAMS.get(model, {}))
    ours = build_pipeline(spec).fit(X[:27].astype(np.float32), y[:27])
    theirs = {**PERIOD, **EVOKED}[model]().fit(X[:27].astype(np.float32).astype(float), y[:27])
    test = X[27:].astype(np.float32)
    np.testing.assert_array_equal(ours.predict(test), theirs.predict(test.astype(float)))
    method = "predict_proba" if hasattr(theirs, "predict_proba") else "decision_function"
    np.testing.assert_allclose(
        getattr(ours, method)(test), getattr(theirs, method)(test.astype(float)), rtol=1e-7
    )


@pytest.mark.parametrize("model", ["xdawn_lda", "xdawn_ts_lr", "erpcov_mdm"])
def test_evoked_responses_are_found(model):
    X, y = make_erp()
    assert (build_pipeline(model).fit(X[:40], y[:40]).predict(X[40:]) == y[40:]).mean() >= 0.9


def test_time_courses_are_means_of_steps():
    X = np.random.default_rng(0).standard_normal((3, 2, 10))
    features = time_courses(X, 4).reshape(3, 2, 4)
    expected = [X[..., a:b].mean(-1) for a, b in ((0, 2), (2, 5), (5, 7), (7, 10))]
    np.testing.assert_allclose(features, np.stack(expected, -1))
    assert time_courses(X, 32).shape == time_courses(X, None).shape == (3, 20)


def test_order_and_lag_are_chosen_inside_the_training_trials():
    X, y = make_lights(n=10)
    spec = PipelineSpec(
        name="a", model="acm_ts_svm", params={"order": [1, 3], "lag": [2, 4], "n_folds": 2}
    )
    pipeline = build_pipeline(spec)
    train, test = next(StratifiedKFold(3).split(X, y))
    Z = X.copy()
    Z[test] = 1e3  # whatever the test trials hold
    a, b = clone(pipeline).fit(X[train], y[train]), clone(pipeline).fit(Z[train], y[train])
    search = a[-1]
    assert isinstance(search, GridSearchCV)
    # One candidate of order 1, whatever the lag, and two of order 3.
    assert len(search.cv_results_["params"]) == 3
    assert search.best_params_ == b[-1].best_params_
    assert search.best_params_["augment__order"] == 3
    with pytest.raises(ValueError, match="order 200 and lag 2 use up all 256 samples"):
        build_pipeline(spec.model_copy(update={"params": {"order": 200, "lag": 2}})).fit(X, y)


def test_svm_probabilities_on_request():
    X, y = make_lights()
    assert not hasattr(build_pipeline("ts_svm").fit(X, y), "predict_proba")
    spec = PipelineSpec(name="a", model="ts_svm", params={"probability": True})
    np.testing.assert_allclose(build_pipeline(spec).fit(X, y).predict_proba(X).sum(1), 1)


@pytest.mark.parametrize("model", ["csp_lda", "mdm", "fgmdm", "ts_lr", "ts_svm"])
@pytest.mark.parametrize("blocks", [False, True])
def test_bands_are_extended_or_block_diagonal_covariances(model, blocks):
    X, y = make_lights()
    bands = [(8.0, 10.0), (12.0, 14.0), (16.0, 18.0)]
    spec = PipelineSpec(name="a", model=model, bands=bands, params={"blocks": blocks})
    pipeline = build_pipeline(spec, sfreq=SFREQ).fit(X[:27], y[:27])
    stacked = FilterBank(bands, SFREQ).fit(X).transform(X)
    matrices = (BlockCovariances(4, "oas") if blocks else Covariances("oas")).fit_transform(stacked)
    before = pipeline[: [n for n, _ in pipeline.steps].index("covariances") + 1]
    np.testing.assert_allclose(before.transform(X), matrices)
    assert (pipeline.predict(X[27:]) == y[27:]).mean() == 1
    assert (build_pipeline(model).fit(X[:27], y[:27]).predict(X[27:]) == y[27:]).mean() < 1


def test_filter_bank_csp_has_filters_of_single_bands():
    X, y = make_lights(("9", "13"))
    spec = PipelineSpec(
        name="a", model="csp_lda", bands=[(8, 10), (12, 14)], params={"blocks": True}
    )
    csp = build_pipeline(spec, sfreq=SFREQ).fit(X, y).named_steps["csp"]
    assert isinstance(csp, CSP)
    weight = np.abs(csp.filters_).reshape(-1, 2, 4).sum(2)
    assert (weight.min(1) < 1e-6 * weight.max(1)).all()


def test_blocks_without_bands_are_refused():
    with pytest.raises(ValueError, match="blocks needs bands"):
        build_pipeline(PipelineSpec(name="a", model="mdm", params={"blocks": True}))


def test_bands_of_the_stimuli_come_from_the_class_names():
    X, y = make_lights(("9", "13", "17.5"))
    y[:3] = "rest"
    bank = StimulusFilterBank(SFREQ, half_width=1.0, harmonics=2).fit(X, y)
    assert bank.bands_ == [(8, 10), (12, 14), (16.5, 18.5), (17, 19), (25, 27), (34, 36)]
    np.testing.assert_array_equal(
        bank.transform(X), FilterBank(bank.bands_, SFREQ).fit(X).transform(X)
    )
    spec = PipelineSpec(name="a", model="ts_lr", bands="stimuli")
    assert spec.bands == StimulusBands()
    pipeline = build_pipeline(spec, sfreq=SFREQ).fit(X, y)
    assert pipeline.named_steps["bands"].bands_[-1] == (17.0, 18.0)
    assert list(pipeline.classes_) == ["13", "17.5", "9", "rest"]


def test_bands_of_stimuli_that_cannot_be():
    X, y = make_lights()
    bank = StimulusFilterBank(SFREQ)
    with pytest.raises(ValueError, match="class 'left' is named after no frequency"):
        bank.fit(X, np.where(y == "9", "left", y))
    with pytest.raises(ValueError, match=r"67\.5-68\.5 Hz .* fewer harmonics"):
        StimulusFilterBank(SFREQ, harmonics=4).fit(X, y)
    with pytest.raises(ValueError, match="needs y"):
        bank.fit(X)
    with pytest.raises(ValueError, match="hold no stimulus"):
        bank.fit(X, np.full(len(y), "rest"))
    with pytest.raises(ValidationError, match="'alpha' names no bands"):
        PipelineSpec(name="a", model="ts_lr", bands="alpha")
    with pytest.raises(ValidationError, match="greater than 0"):
        PipelineSpec(name="a", model="ts_lr", bands={"half_width": 0})


def test_stimulus_frequencies_are_sorted_by_value():
    assert list(stimulus_frequencies(["13", "9", "rest"], skip=["rest"])) == ["9", "13"]
    assert stimulus_frequencies(["a"], freqs={"a": 8}) == {"a": 8.0}
    for names in (["0"], ["-3"], ["nan"], ["inf"]):
        with pytest.raises(ValueError, match="named after no frequency"):
            stimulus_frequencies(names)
    with pytest.raises(ValueError, match="same stimulus frequency"):
        stimulus_frequencies(["9", "9.0"])


@pytest.mark.parametrize("model", ["cca", "trca"])
def test_ssvep_classifiers_are_moabbs(model):
    """The names 9, 13, 17 sort as text otherwise than as numbers."""
    X, y = make_lights(n=8, strength=0.4)
    theirs = SSVEP_CCA(n_harmonics=2) if model == "cca" else SSVEP_TRCA(n_fbands=2)
    params = {"n_harmonics": 2} if model == "cca" else {"n_fbands": 2}
    spec = PipelineSpec(name="a", model=model, params=params)
    ours = build_pipeline(spec, sfreq=SFREQ).fit(X[:15], y[:15])
    theirs.fit(epochs(X[:15], y[:15]), y[:15])
    expected = theirs.predict(epochs(X[15:], y[15:]))
    np.testing.assert_array_equal(ours.predict(X[15:]), expected)
    np.testing.assert_allclose(
        ours.predict_proba(X[15:]), theirs.predict_proba(epochs(X[15:], y[15:]))
    )
    assert (ours.predict(X[15:]) == y[15:]).mean() > 0.7
    # Classes by other names, whose order is another one.
    names = np.array([{"9": "c", "13": "b", "17": "a"}[label] for label in y])
    freqs = {"a": 17, "b": 13.0, "c": 9}
    renamed = PipelineSpec(name="a", model=model, params={**params, "freqs": freqs})
    again = build_pipeline(renamed, sfreq=SFREQ).fit(X[:15], names[:15])
    assert list(again.classes_) == ["a", "b", "c"]
    assert [freqs[name] for name in again.predict(X[15:])] == [
        float(name) for name in ours.predict(X[15:])
    ]
    np.testing.assert_allclose(
        again.predict_proba(X[15:])[:, [1, 0, 2]],  # 13, 17, 9
        ours.predict_proba(X[15:]),
    )


def test_ssvep_classifiers_say_what_is_wrong():
    X, y = make_lights()
    with pytest.raises(ValueError, match="class 'rest' is named after no frequency"):
        build_pipeline("cca", sfreq=SFREQ).fit(X, np.where(y == "9", "rest", y))
    with pytest.raises(ValueError, match="needs sfreq"):
        build_pipeline("trca")
    fitted = build_pipeline("cca", sfreq=SFREQ).fit(X, y)
    with pytest.raises(ValueError, match="4 at fit"):
        fitted.predict(X[:, :3])


def test_tuning_specs_are_checked():
    spec = PipelineSpec.model_validate(
        {
            "name": "a",
            "model": "EEGNet",
            "tuning": {
                "grid": {"params.F1": [4, 8], "training.lr": [1e-3], "standardise": ["trial"]}
            },
        }
    )
    assert spec.tuning is not None
    assert spec.tuning.n_candidates == 2
    assert PipelineSpec.model_validate(spec.model_dump(mode="json")) == spec
    tuned = spec.with_values({"params.F1": 8, "training.lr": 1e-3, "standardise": "trial"})
    assert (tuned.params, tuned.standardise, tuned.tuning) == ({"F1": 8}, "trial", None)
    assert tuned.model_dump()["training"] == {"lr": 1e-3}
    assert TuningSpec(grid={"bands": ["stimuli", [[8, 12]]]}).n_candidates == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tuning": {"grid": {}}}, "grid is empty"),
        ({"tuning": {"grid": {"lr": [1]}}}, "'lr' cannot be tuned"),
        ({"tuning": {"grid": {"params.": [1]}}}, "cannot be tuned"),
        ({"tuning": {"grid": {"training.rate": [1]}}}, "no training option"),
        ({"tuning": {"grid": {"params.F1": []}}}, "has no values"),
        ({"tuning": {"grid": {"training.lr": [1e-3, -1]}}}, "greater than 0"),
        ({"tuning": {"grid": {"bands": ["stimuli"]}}}, "holds bands, which belong to the models"),
        ({"tuning": {"grid": {"params.F1": [4]}, "n_folds": 1}}, "greater than or equal to 2"),
        ({"model": "mdm", "tuning": {"grid": {"training.lr": [1]}}}, "training is for networks"),
        (
            {"twin_of": "b", "tuning": {"grid": {"params.F1": [4]}}},
            "shares its tuning; set it there",
        ),
        ({"model": "cca", "bands": "stimuli"}, "bands belong to the models"),
    ],
)
def test_wrong_tuning_and_bands(change, message):
    with pytest.raises(ValidationError, match=message):
        PipelineSpec.model_validate({"name": "a", "model": "EEGNet", **change})


def kalunga(subjects, pipelines, **evaluation):
    """Four classes in MOABB's window of 2 s, as in the published scores."""
    return RunSpec.model_validate(
        {
            "name": "kalunga",
            "dataset": {
                "name": "Kalunga2016",
                "subjects": subjects,
                "events": ["13", "17", "21", "rest"],
            },
            "preprocessing": {"fmin": 5, "fmax": 45, "tmin": 0, "tmax": 2, "resample": None},
            "evaluation": {"kind": "within_session", "scoring": "accuracy", **evaluation},
            "save": {"embeddings": False, "models": "none"},
            "pipelines": pipelines,
        }
    )


TS_LR = {"name": "TS+LR", "model": "ts_lr", "bands": "stimuli"}
NEAREST = {"name": "MDM", "model": "mdm", "bands": "stimuli"}


@pytest.mark.realdata
def test_bands_of_the_stimuli_are_moabbs_filter_bank(hypeeg_data, tmp_path):
    """One subject: MOABB filters the recording, we the trials, alike but for the edges."""
    from moabb.datasets import Kalunga2016
    from moabb.paradigms import FilterBankSSVEP
    from moabb.pipelines import ExtendedSSVEPSignal
    from sklearn.model_selection import cross_val_score

    result = run(kalunga([4], [TS_LR]), tmp_path, progress=False)  # sets MOABB's folders too
    dataset = Kalunga2016()
    X, y, _ = FilterBankSSVEP(n_classes=4, tmin=0, tmax=2).get_data(dataset, subjects=[4])
    assert X.shape[-1] == 3  # the bands
    theirs = make_pipeline(
        ExtendedSSVEPSignal(), Covariances("oas"), TangentSpace(), LogisticRegression(max_iter=1000)
    )
    reference = cross_val_score(theirs, X, y, cv=StratifiedKFold(5, shuffle=True, random_state=0))
    # 64 trials: the standard error of either is 0.06, and both see the same trials.
    assert abs(result.scores["score"].mean() - reference.mean()) < 0.1
    assert result.scores["score"].mean() > 0.5


@pytest.mark.realdata
@pytest.mark.slow
def test_kalunga_within_session_agrees_with_moabbs_published_scores(hypeeg_data, tmp_path):
    """TS+LR 70.9 and MDM 70.9 over 12 subjects in the MOABB study of 2024; here subjects 1 to 8."""
    result = run(kalunga(list(range(1, 9)), [TS_LR, NEAREST]), tmp_path, progress=False)
    by_subject = result.scores.groupby(["pipeline", "subject"])["score"].mean()
    for name in ("TS+LR", "MDM"):
        of_subjects = by_subject[name]
        assert len(of_subjects) == 8
        # Two standard errors of a mean over eight of the subjects.
        assert abs(of_subjects.mean() - 0.709) < 2 * of_subjects.std() / np.sqrt(8)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("events", "reference"), [(["left_hand", "right_hand"], 0.733), (["hands", "feet"], 0.933)]
)
def test_physionet_csp_lda_lands_near_the_reference(hypeeg_data, events, reference):
    """45 trials: the standard error is 0.07 at 0.73 and 0.04 at 0.93."""
    from sklearn.model_selection import cross_val_score

    from hypeeg.eeg import load_epochs

    data = load_epochs("PhysionetMI", [1], events=events)
    folds = StratifiedKFold(5, shuffle=True, random_state=42)
    score = cross_val_score(build_pipeline("csp_lda"), data.X, data.y, cv=folds).mean()
    assert abs(score - reference) < 2 * np.sqrt(reference * (1 - reference) / 45)
