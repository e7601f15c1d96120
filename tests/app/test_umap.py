"""UMAP of embeddings: which neighbours it is given, what comes out, and what the page says."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

APP = Path(__file__).resolve().parents[2] / "app"
MakeRun = Callable[..., Path]

# Not imported here: numba, which comes with it, is the worker's alone.
needs_umap = pytest.mark.skipif(
    importlib.util.find_spec("umap") is None, reason="needs hypeeg[umap]"
)


def minkowski_distances(x: np.ndarray, c: float) -> np.ndarray:
    """All distances on the hyperboloid, by the textbook formula."""
    time = np.sqrt(1 / c + (x * x).sum(axis=1))
    return np.arccosh(np.maximum(c * (np.outer(time, time) - x @ x.T), 1.0)) / np.sqrt(c)


def tree(rng: np.random.Generator, n: int, c: float) -> np.ndarray:
    """Points of a hyperbolic space in groups that lie far out, each in a direction of its own."""
    group = rng.integers(0, 6, n)
    direction = 0.12 * rng.normal(size=(n, 10))
    direction[np.arange(n), group] += 1.0
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    distance = rng.uniform(1.0, 4.0, n)[:, None]
    return np.sinh(np.sqrt(c) * distance) / np.sqrt(c) * direction


@pytest.mark.parametrize("c", [None, 0.4])
def test_neighbours_are_the_nearest_of_all_pairs(c: float | None) -> None:
    from hypeeg_app.umap_worker import nearest_neighbours

    x = tree(np.random.default_rng(0), 400, c or 1.0)
    x[7] = x[300]
    x[30:90] = x[30]
    near, apart = nearest_neighbours(x, c, 12)
    every = np.linalg.norm(x[:, None] - x[None], axis=2) if c is None else minkowski_distances(x, c)
    np.fill_diagonal(every, 0.0)
    # arccosh loses half the digits near 1: points at the same place seem 1e-7 apart.
    np.testing.assert_allclose(apart, np.sort(every, axis=1)[:, :12], atol=2e-6, rtol=1e-6)
    np.testing.assert_allclose(apart, np.take_along_axis(every, near, axis=1), atol=2e-6, rtol=1e-6)
    np.testing.assert_array_equal(near[:, 0], np.arange(400))
    assert (near[7, 1], near[300, 1]) == (300, 7)
    if c is not None:
        # Not the neighbours of the space parts, which lie apart where the space is wide.
        flat = nearest_neighbours(x, None, 12)[0]
        assert np.mean([len(set(a) & set(b)) for a, b in zip(near, flat, strict=True)]) < 11


def test_neighbours_far_out_and_close_together_are_told_apart() -> None:
    from hypeeg_app.umap_worker import nearest_neighbours

    # 8 from the origin, 1e-4 from each other: there the product of two points has lost its digits.
    rng = np.random.default_rng(0)
    x = np.array([np.sinh(8.0), 0.0, 0.0]) + rng.normal(size=(60, 3)) * [0.3, 2e-4, 2e-4]
    near, _ = nearest_neighbours(x, 1.0, 6)
    wide = x.astype(np.longdouble)
    if np.finfo(np.longdouble).eps > 1e-18:
        pytest.skip("needs a float wider than 64 bits")
    time = np.sqrt(1 + (wide * wide).sum(axis=1))
    product = time[:, None] * time - wide @ wide.T
    expected = np.argsort(product, axis=1)[:, :6]
    np.testing.assert_array_equal(np.sort(near, axis=1), np.sort(expected, axis=1))


def test_few_points_have_few_neighbours() -> None:
    from hypeeg_app.umap_worker import nearest_neighbours

    near, apart = nearest_neighbours(np.eye(3), 1.0, 15)
    assert near.shape == apart.shape == (3, 3)
    assert sorted(near[1]) == [0, 1, 2]


@needs_umap
def test_the_worker_keeps_hyperbolic_neighbours() -> None:
    from hypeeg_app.signals import umap_points
    from sklearn.manifold import trustworthiness

    rng = np.random.default_rng(1)
    x = tree(rng, 300, 0.4)
    found = umap_points("test-worker", 15, x, 0.4)
    assert found.shape == (300, 2)
    every = minkowski_distances(x, 0.4)
    np.fill_diagonal(every, 0.0)

    def trust(points: np.ndarray) -> float:
        return float(trustworthiness(every, points, n_neighbors=10, metric="precomputed"))

    # The two coordinates that differ most are what one would see without a reduction.
    widest = x[:, np.argsort(x.var(axis=0))[-2:]]
    assert trust(rng.normal(size=(300, 2))) < 0.55
    assert trust(found) > max(0.9, trust(widest) + 0.05)


@needs_umap
def test_an_error_of_the_worker_is_told() -> None:
    from hypeeg_app.signals import ProcessError, umap_points

    with pytest.raises(ProcessError, match="NaN"):
        umap_points("test-nan", 15, np.full((20, 3), np.nan), 1.0)


def test_of_too_many_points_evenly_chosen_ones_are_shown(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hypeeg_app import embedding_picture, signals
    from hypeeg_app.runs import load_embeddings
    from hypeeg_app.trials import Trials

    from hypeeg.viz import picture_figure

    monkeypatch.setattr(signals, "UMAP_POINTS", 6)
    rng = np.random.default_rng(0)
    monkeypatch.setattr(
        embedding_picture, "umap_points", lambda key, n, x, c: rng.normal(size=(len(x), 2))
    )
    path = make_run("many") / "embeddings" / "Hyperbolic.npz"
    trials = Trials.from_arrays(load_embeddings(path), "within_session")
    trials = trials.only((trials.table["network"] == trials.table["network"][0]).to_numpy())
    shown = embedding_picture.umap_picture("many", trials)
    assert np.isfinite(shown.points).all(axis=1).sum() == 6
    text = embedding_picture.explain(shown, trials, "Centroid", "Tangent PCA", False)
    assert f"hyperbolic distances between 6 of {len(trials)} test trials" in text
    figure = picture_figure(shown, trials.colors("Label"), trials.hover)
    # Points without a place do not widen the axes to nothing.
    assert 0 < figure.layout.xaxis.range[1] < 10
    assert figure.layout.xaxis.title.text == "UMAP 1"


def test_umap_is_offered_for_one_network_with_enough_trials(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hypeeg_app import embedding_choices

    run = make_run("offered")
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: found("json" if name == "umap" else name, *a)
    )
    at = AppTest.from_file(APP / "main.py", default_timeout=60)
    at.session_state["run"] = run.name
    at.switch_page("views/embeddings.py").run()
    assert not at.exception, at.exception
    assert "UMAP" in at.button_group("space").options
    at.selectbox("network").select(embedding_choices.EVERY_NETWORK).run()
    assert "UMAP" not in at.button_group("space").options
    assert "choose one" in at.button_group("space").proto.help
    monkeypatch.setattr(embedding_choices, "UMAP_LEAST", 100)
    at.selectbox("network").select_index(0).run()
    assert "needs 100 trials, has 12" in at.button_group("space").proto.help
