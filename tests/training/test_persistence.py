"""Models that are saved, pickled and copied, and folders that are not models."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone

from hypeeg import HypEEGClassifier
from hypeeg.geometry import CurvatureParameter
from hypeeg.training import HyperbolicClassifier


def outputs(estimator, X):
    return [
        getattr(estimator, name)(X)
        for name in ("predict", "predict_proba", "decision_function", "transform")
    ]


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    y = np.array([3, 7, 11])[np.arange(60) % 3]
    X = rng.standard_normal((60, 4)) + y[:, None] * [0.3, -0.3, 0, 0]
    return X, y


@pytest.fixture
def fitted(features):
    return HypEEGClassifier(
        max_epochs=3, random_state=0, class_weight={3: 2.0, 7: 1.0}, model_params={"hidden": 6}
    ).fit(*features)


def test_a_saved_model_predicts_the_same_bits(fitted, features, tmp_path):
    X, _ = features
    folder = fitted.save(tmp_path / "new" / "model")
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
    torch.manual_seed(0)
    before = torch.get_rng_state()
    loaded = HypEEGClassifier.load(folder)
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(outputs(fitted, X), outputs(loaded, X), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    assert loaded.get_params() == fitted.get_params()
    for name in ("history_", "curvature_", "curvature_history_", "seed_", "input_shape_"):
        assert getattr(loaded, name) == getattr(fitted, name)
    assert loaded.n_features_in_ == 4
    # It is whole: it can be saved again and trained again.
    again = HypEEGClassifier.load(loaded.save(tmp_path / "again"))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(
        loaded.fit(*features).predict_proba(X), clone(fitted).fit(*features).predict_proba(X)
    )


@pytest.mark.parametrize("labels", [["a", "bb"], [True, False], np.array(["u", "v"], dtype=object)])
def test_labels_keep_their_type(features, tmp_path, labels):
    X, _ = features
    y = np.asarray(labels)[np.arange(60) % 2]
    fitted = HypEEGClassifier(max_epochs=1, random_state=0).fit(X, y)
    loaded = HypEEGClassifier.load(fitted.save(tmp_path))
    np.testing.assert_array_equal(loaded.classes_, fitted.classes_)
    assert loaded.classes_.dtype == fitted.classes_.dtype


def test_the_file_keeps_curvature_to_the_last_digit(fitted, tmp_path):
    from safetensors.torch import load_file

    stored = load_file(fitted.save(tmp_path) / "model.safetensors")
    logs = [v for k, v in stored.items() if k.endswith("log_c")]
    assert logs[0].dtype == torch.float64
    assert np.exp(float(logs[0])) == pytest.approx(fitted.curvature_, rel=1e-15)


@pytest.mark.parametrize(
    "duplicate",
    [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy],
    ids=["pickle", "deepcopy"],
)
def test_copies_predict_the_same_and_share_one_curvature(fitted, features, duplicate):
    X, y = features
    other = duplicate(fitted)
    for a, b in zip(outputs(fitted, X), outputs(other, X), strict=True):
        np.testing.assert_array_equal(a, b)
    parameters = list(other.module_.parameters())
    assert sum(isinstance(p, CurvatureParameter) for p in parameters) == 1
    assert not {p.data_ptr() for p in parameters} & {
        p.data_ptr() for p in fitted.module_.parameters()
    }
    other.fit(X, y)
    assert other.curvature_ == fitted.curvature_


def test_unfitted_estimators_copy_too(fitted):
    assert clone(fitted).get_params() == fitted.get_params()
    assert not hasattr(pickle.loads(pickle.dumps(clone(fitted))), "net_")


def test_a_pickle_from_an_absent_device_runs_on_the_cpu(fitted, features, caplog):
    if torch.cuda.is_available():
        pytest.skip("needs a machine without CUDA")
    X, _ = features
    expected = fitted.predict_proba(X)
    data = pickle.dumps(fitted.set_params(device="cuda"))
    np.testing.assert_array_equal(pickle.loads(data).predict_proba(X), expected)
    assert "using the CPU" in caplog.text


def test_folders_that_hold_no_model(fitted, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        HypEEGClassifier.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        HypEEGClassifier.load(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="does not describe a hypeeg classifier"):
        HypEEGClassifier.load(tmp_path)
    (tmp_path / "config.json").write_text('{"format": ')
    with pytest.raises(ValueError, match="not valid JSON"):
        HypEEGClassifier.load(tmp_path)
    folder = fitted.save(tmp_path / "model")
    with pytest.raises(ValueError, match="holds a HypEEGClassifier, not a HyperbolicClassifier"):
        HyperbolicClassifier.load(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "version": 99}))
    with pytest.raises(ValueError, match="version 99"):
        HypEEGClassifier.load(folder)


def test_damaged_and_mixed_folders(fitted, features, tmp_path):
    folder = fitted.save(tmp_path / "model")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-8])
    with pytest.raises(ValueError, match="other checksum"):
        HypEEGClassifier.load(folder)
    other = clone(fitted).set_params(random_state=1).fit(*features).save(tmp_path / "other")
    weights.write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match="other checksum"):
        HypEEGClassifier.load(folder)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match="incomplete"):
        HypEEGClassifier.load(folder)
    fitted.save(folder)
    assert HypEEGClassifier.load(folder).curvature_ == fitted.curvature_


def test_a_crash_while_saving_never_passes_for_a_model(fitted, tmp_path, monkeypatch):
    from pathlib import Path

    replace = Path.replace

    def crash(self, target):
        if Path(target).name == "config.json":
            raise OSError("disk full")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(OSError, match="disk full"):
        fitted.save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
    with pytest.raises(FileNotFoundError, match="no complete model"):
        HypEEGClassifier.load(tmp_path)


def test_what_json_cannot_hold_is_named_before_anything_is_written(fitted, tmp_path):
    fitted.model_params = {"hidden": object()}
    with pytest.raises(TypeError, match=r"model_params\['hidden'\].*pickle the estimator"):
        fitted.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_feature_names_and_random_states(features, tmp_path):
    import pandas as pd

    X, y = features
    frame = pd.DataFrame(X, columns=list("abcd"))
    fitted = HypEEGClassifier(max_epochs=1, random_state=np.random.RandomState(0)).fit(frame, y)
    loaded = HypEEGClassifier.load(fitted.save(tmp_path))
    assert loaded.feature_names_in_.tolist() == list("abcd")
    assert loaded.random_state == fitted.seed_
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.predict(frame[list("bacd")])
