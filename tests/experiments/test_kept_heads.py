"""Heads and embeddings of epochs in a run folder, and signals of its trials."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hypeeg import HypEEGClassifier
from hypeeg.experiments.epoch_embeddings import epoch_arrays, together, watched
from hypeeg.experiments.gather import _heads
from hypeeg.experiments.heads import head_arrays, read_heads


def trials(n: int = 24) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 3, 128)).astype("float32"), np.array(["a", "b"] * (n // 2))


@pytest.mark.parametrize(
    ("model", "kind"), [("HyperbolicEEGNet", "lorentz_mlr"), ("EEGNet", "linear")]
)
def test_what_is_kept_of_a_head_gives_its_probabilities(model: str, kind: str) -> None:
    X, y = trials()
    classifier = HypEEGClassifier(model, max_epochs=1, random_state=0).fit(X, y)
    points, proba = classifier.transform(X), classifier.predict_proba(X)
    kept = head_arrays(classifier, points, proba)
    part = {**kept, "classes": classifier.classes_, "embedding": points}
    file = {
        **_heads([part, {"classes": classifier.classes_, "embedding": points}], part["classes"]),
        "classes": part["classes"],
        "network": np.zeros(len(points), dtype=int),
        "curvature": np.full(len(points), classifier.curvature_ or np.nan),
    }
    heads = read_heads(file)
    assert {number: head.kind for number, head in heads.items()} == {0: kind}
    np.testing.assert_allclose(heads[0].probabilities(points), proba, atol=1e-5)
    # Probabilities of another network: nothing is kept rather than something wrong.
    assert head_arrays(classifier, points, np.roll(proba, 1, axis=1)) == {}


def test_watching_a_training_changes_nothing() -> None:
    X, y = trials()
    alone = HypEEGClassifier("HyperbolicEEGNet", max_epochs=4, random_state=0).fit(X, y)
    seen = HypEEGClassifier("HyperbolicEEGNet", max_epochs=4, random_state=0)
    with watched(seen, 2):
        seen.fit(X, y)
    assert seen.callbacks is None
    np.testing.assert_array_equal(seen.transform(X), alone.transform(X))
    arrays = epoch_arrays(seen, lambda: seen.transform(X))
    assert arrays["epochs"].tolist() == [0, 2, 4]
    # The last state is the trained network, the one before is what two epochs make.
    np.testing.assert_array_equal(arrays["epoch_embedding"][:, 2], alone.transform(X))
    assert np.abs(arrays["epoch_embedding"][:, 1] - alone.transform(X)).max() > 1e-4
    np.testing.assert_allclose(arrays["epoch_curvature"][0, [0, 2]], [1.0, alone.curvature_])
    np.testing.assert_array_equal(seen.transform(X), alone.transform(X))
    assert epoch_arrays(alone, lambda: None) == {}


def test_trainings_of_different_lengths_are_put_together() -> None:
    def part(n_epochs: int, width: int) -> dict[str, Any]:
        return {
            "epochs": np.arange(n_epochs) * 5,
            "epoch_embedding": np.ones((4, n_epochs, width), dtype=np.float32),
            "epoch_curvature": np.ones((4, n_epochs), dtype=np.float32),
        }

    found = together([part(3, 2), part(1, 3)], 3)
    assert found["epochs"].tolist() == [0, 5, 10]
    assert found["epoch_embedding"].shape == (8, 3, 3)
    assert found["epoch_embedding"][0, 0].tolist() == [1, 1, 0]
    assert np.isnan(found["epoch_embedding"][5, 1]).all()
    assert together([part(3, 2), {}], 3) == {}


def test_signals_of_a_selection_are_means_over_its_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hypeeg.experiments import eeg_wing, trial_signals
    from hypeeg.experiments.kinds import run_spec_from_data

    X, y = trials()
    t = np.arange(128) / 64
    X[:6, 1] += 10 * np.sin(2 * np.pi * 12 * t)
    data = SimpleNamespace(X=X, y=y, sfreq=64.0, ch_names=("Fz", "Cz", "Pz"))
    monkeypatch.setattr(eeg_wing, "load_trials", lambda spec: data)
    spec = run_spec_from_data(
        {
            "name": "s",
            "dataset": {"name": "SimulatedMI"},
            "preprocessing": {"tmin": 0.5},
            "pipelines": [{"name": "m", "model": "csp_lda"}],
        }
    )
    (tmp_path / "spec_resolved.yaml").write_text(spec.to_yaml())
    request, out = tmp_path / "request.npz", tmp_path / "out.npz"
    chosen, others = np.arange(6), np.arange(6, 24)
    np.savez(request, chosen=chosen, others=others, labels=y)
    command = [str(tmp_path), "--request", str(request), "--out", str(out)]
    assert trial_signals.main(command) == 0
    found = trial_signals.load_signals(out)
    np.testing.assert_allclose(found.mean[0], X[:6].mean(axis=0), atol=1e-5)
    expected = X[6:].std(axis=0, ddof=1) / np.sqrt(18)
    np.testing.assert_allclose(found.error[1], expected, rtol=1e-4)
    assert found.times[0] == 0.5
    assert found.frequencies[found.psd[0, 1].argmax()] == 12.0
    assert found.psd[0, 1].max() > 10 * found.psd[1, 1].max()
    assert found.counts == (6, 18)
    np.savez(request, chosen=chosen, others=others, labels=y[::-1])
    assert trial_signals.main(command) == 1
    assert "recordings or manifest have changed" in capsys.readouterr().err


def test_trials_are_chosen_without_cutting_what_belongs_to_networks() -> None:
    from hypeeg.experiments.gather import select_trials
    from hypeeg.experiments.report_figures import representative

    n = 6
    arrays = {
        "embedding": np.arange(2.0 * n).reshape(n, 2),
        "y_true": np.array(["a", "b", "a"] * 2),
        "y_pred": np.array(["a", "a", "a", "b", "a", "b"]),
        "classes": np.array(["a", "b"]),
        "subject": np.repeat(["1", "2"], 3),
        "session": np.full(n, "0"),
        "fold": np.zeros(n, int),
        "seed": np.zeros(n, int),
        "network": np.repeat([0, 1], 3),
        "head_kind": np.array(["mlr", "mlr"]),
        "head_weight": np.zeros((2, 2, 2)),
        "head_bias": np.zeros((2, 2)),
        "head_temperature": np.ones(2),
        "epochs": np.array([0, 5]),
    }
    chosen = select_trials(arrays, arrays["subject"] == "2")
    assert chosen["embedding"][:, 0].tolist() == [6, 8, 10]
    assert chosen["head_weight"].shape == (2, 2, 2)
    assert chosen["epochs"].tolist() == [0, 5]
    shown, network = representative(arrays, "cross_subject")
    assert "subject 1" in network
    assert len(shown["embedding"]) == 3
