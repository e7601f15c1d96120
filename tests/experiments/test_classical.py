"""Classical pipelines on disk: every one comes back as it was, and nothing else comes in."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from hypeeg.eeg.alignment import DomainAlignment
from hypeeg.eeg.pipeline_spec import CLASSICAL_MODELS, PipelineSpec
from hypeeg.eeg.pipelines import build_pipeline
from hypeeg.eeg.trial_steps import Baseline
from hypeeg.experiments import classical
from hypeeg.experiments.saved import load_pipeline, save_pipeline
from hypeeg.experiments.store import RecordError

skops_io = pytest.importorskip("skops.io", reason="classical pipelines are kept with skops")

SFREQ = 128.0
STIMULI = ("cca", "trca")
BANDS = [[8, 12], [12, 20]]
VARIANTS: list[dict[str, Any]] = [
    *({"model": name} for name in CLASSICAL_MODELS),
    {"model": "csp_lda", "bands": BANDS, "params": {"blocks": True}},
    {"model": "ts_lr", "bands": BANDS, "standardise": "channel"},
    {"model": "ts_svm", "params": {"probability": True}},
    {"model": "acm_ts_svm", "params": {"order": 2, "lag": 1, "kernel": "rbf"}},
]


def trials(model: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.array(["8.0", "10.0", "12.0"] * 6 if model in STIMULI else ["a", "b"] * 10)
    X = 10 * rng.standard_normal((len(y), 3, 256)).astype(np.float32)
    X[y == y[0], 0] *= 2
    return X, y


def fitted(spec: dict[str, Any], **options: Any) -> tuple[Any, np.ndarray]:
    X, y = trials(spec["model"])
    made = build_pipeline(PipelineSpec(name="it", **spec), sfreq=SFREQ, **options)
    return made.fit(X, y), X


@pytest.mark.parametrize("spec", VARIANTS, ids=lambda spec: "-".join(map(str, spec.values())))
def test_every_classical_pipeline_comes_back(spec: dict[str, Any], tmp_path: Path) -> None:
    model, X = fitted(spec)
    assert save_pipeline(model, tmp_path / "kept")
    again = load_pipeline(tmp_path / "kept")
    assert again is not model
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert hasattr(again, "predict_proba") == hasattr(model, "predict_proba")
    if hasattr(model, "predict_proba"):
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_steps_of_the_trials_come_back_too(tmp_path: Path) -> None:
    steps = [("baseline", Baseline(0.0, 0.5, 0.0, SFREQ)), ("align", DomainAlignment())]
    X, y = trials("ts_lr")
    model = build_pipeline("ts_lr", sfreq=SFREQ, trial_steps=steps)
    model.fit(X, y, subjects=np.arange(len(y)) % 2)
    assert save_pipeline(model, tmp_path / "kept")
    again = load_pipeline(tmp_path / "kept")
    np.testing.assert_array_equal(again.predict_proba(X + 1), model.predict_proba(X + 1))


def test_what_hypeeg_does_not_make_is_not_kept(tmp_path: Path) -> None:
    class Mine(FunctionTransformer):
        pass

    model, _ = fitted({"model": "mdm"})
    assert not save_pipeline(Pipeline([("mine", Mine()), *model.steps]), tmp_path / "p" / "kept")
    # A part of a library that hypeeg uses, with a function inside that no pipeline has.
    odd = Pipeline([("odd", FunctionTransformer(os.path.join)), *model.steps])
    assert not save_pipeline(odd, tmp_path / "p" / "kept")
    assert not (tmp_path / "p").exists()


def disguised(folder: Path, content: bytes) -> None:
    """Put a file in the place of a kept pipeline, with a description that vouches for it."""
    model, _ = fitted({"model": "mdm"})
    assert save_pipeline(model, folder)
    (folder / classical.MODEL_FILE).write_bytes(content)
    config = json.loads((folder / classical.CONFIG_FILE).read_text())
    config["model_sha256"] = hashlib.sha256(content).hexdigest()
    (folder / classical.CONFIG_FILE).write_text(json.dumps(config))


def test_a_file_that_would_run_something_is_refused(tmp_path: Path) -> None:
    class Calls:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "was_run"),)

    import pickle

    for number, content in enumerate(
        (
            skops_io.dumps(FunctionTransformer(os.system)),
            skops_io.dumps(Pipeline([("f", FunctionTransformer(np.save))])),
            pickle.dumps(Calls()),
        )
    ):
        folder = tmp_path / f"kept{number}"
        disguised(folder, content)
        with pytest.raises(RecordError, match=r"consists of|no skops file"):
            load_pipeline(folder)
    assert not (tmp_path / "was_run").exists()


def test_damaged_and_huge_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, X = fitted({"model": "mdm"})
    folder = tmp_path / "kept"
    assert save_pipeline(model, folder)
    good = (folder / classical.MODEL_FILE).read_bytes()
    (folder / classical.MODEL_FILE).write_bytes(good[:-1])
    with pytest.raises(RecordError, match="other checksum"):
        load_pipeline(folder)
    disguised(folder, good[: len(good) // 2])
    with pytest.raises(RecordError, match=r"no skops file|cannot be read"):
        load_pipeline(folder)
    disguised(folder, good)
    assert len(load_pipeline(folder).predict(X)) == len(X)
    monkeypatch.setattr(classical, "MAX_BYTES", 100)
    with pytest.raises(RecordError, match="more than the 100"):
        load_pipeline(folder)


def test_without_skops_nothing_is_kept_and_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = fitted({"model": "mdm"})
    assert save_pipeline(model, tmp_path / "kept")
    monkeypatch.setattr(classical.importlib.util, "find_spec", lambda name: None)
    assert not save_pipeline(model, tmp_path / "other" / "kept")
    with pytest.raises(RecordError, match=r"pip install 'hypeeg\[models\]'"):
        load_pipeline(tmp_path / "kept")
