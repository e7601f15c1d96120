"""Few-shot episodes against loops over formulas of the hyperboloid."""

from __future__ import annotations

import numpy as np
import pytest

from hypeeg.vision import few_shot_accuracy
from hypeeg.vision.episodes import EpisodeScores, nearest_mean
from hypeeg.vision.images import ImageDataError


def cloud(n_classes=6, per_class=12, dim=3, spread=0.8, seed=0):
    rng = np.random.default_rng(seed)
    centres = 1.5 * rng.standard_normal((n_classes, dim))
    codes = np.repeat(np.arange(n_classes), per_class)
    points = centres[codes] + spread * rng.standard_normal((len(codes), dim))
    return points.astype(np.float32), codes


def ambient(x, c):
    x = np.asarray(x, dtype=float)
    return np.concatenate([np.sqrt(1 / c + (x**2).sum(-1, keepdims=True)), x], axis=-1)


def minkowski(u, v):
    return (u[..., 1:] * v[..., 1:]).sum(-1) - u[..., 0] * v[..., 0]


def centroid(points, c):
    s = points.sum(axis=0)
    return s / np.sqrt(-c * minkowski(s, s))


def nearest_by_loop(x, codes, c, i):
    """The class of the nearest mean of all other images, on the hyperboloid in ambient space."""
    z = ambient(x, c)
    far = []
    for code in np.unique(codes):
        own = [j for j in np.flatnonzero(codes == code) if j != i]
        far.append(np.arccosh(-c * minkowski(z[i], centroid(z[own], c))) / np.sqrt(c))
    return int(np.argmin(far)), np.array(far)


@pytest.mark.parametrize("c", [0.3, 2.0])
def test_nearest_mean_leaves_the_image_out(c):
    x, codes = cloud()
    found, probabilities = nearest_mean(x, codes, c)
    for i in range(len(x)):
        expected, far = nearest_by_loop(x, codes, c, i)
        assert found[i] == expected
        softmax = np.exp(-(far**2)) / np.exp(-(far**2)).sum()
        np.testing.assert_allclose(probabilities[i], softmax, rtol=1e-6, atol=1e-12)
    assert not np.array_equal(found, codes)  # else the case is too easy to tell anything


def test_nearest_mean_in_flat_space():
    x, codes = cloud()
    found, _ = nearest_mean(x, codes, None)
    for i in range(len(x)):
        means = [
            x[[j for j in np.flatnonzero(codes == k) if j != i]].mean(axis=0) for k in range(6)
        ]
        assert found[i] == np.argmin([((x[i] - m) ** 2).sum() for m in means])


def test_curvature_matters_and_vanishes():
    x, codes = cloud(spread=1.2)
    flat = few_shot_accuracy(x, codes, None, n_query=5, n_episodes=200).accuracies
    almost = few_shot_accuracy(x, codes, 1e-6, n_query=5, n_episodes=200).accuracies
    curved = few_shot_accuracy(x, codes, 3.0, n_query=5, n_episodes=200).accuracies
    assert (flat != almost).mean() < 0.02
    assert (flat != curved).mean() > 0.3


def test_episodes_of_points_apart_are_solved_and_of_noise_are_not():
    x, codes = cloud(spread=0.01)
    scores = few_shot_accuracy(x, codes, 1.0, n_query=5, n_episodes=50)
    assert scores.mean == 1
    assert scores.ci95 == 0
    assert scores.n_correct == 50 * 25
    rng = np.random.default_rng(0)
    noise = few_shot_accuracy(rng.standard_normal(x.shape), codes, None, n_query=5)
    assert abs(noise.mean - 0.2) < 0.06  # means of few images are not apart by chance alone
    assert noise.accuracies.shape == (600,)


def test_more_shots_help_and_seeds_repeat():
    x, codes = cloud(spread=1.5)
    one = few_shot_accuracy(x, codes, 1.0, k_shot=1, n_query=5, seed=4)
    five = few_shot_accuracy(x, codes, 1.0, k_shot=5, n_query=5, seed=4)
    assert five.mean > one.mean + one.ci95 + five.ci95
    again = few_shot_accuracy(x, codes, 1.0, k_shot=1, n_query=5, seed=4)
    np.testing.assert_array_equal(one.accuracies, again.accuracies)
    other = few_shot_accuracy(x, codes, 1.0, k_shot=1, n_query=5, seed=5)
    assert not np.array_equal(one.accuracies, other.accuracies)


def test_confidence_interval():
    scores = EpisodeScores(np.array([0.2, 0.4, 0.6, 0.8]), 5)
    assert scores.mean == pytest.approx(0.5)
    assert scores.ci95 == pytest.approx(1.96 * np.sqrt(0.2 / 3) / 2)
    assert scores.n_correct == 10


@pytest.mark.parametrize("changes", [{"n_way": 7}, {"n_query": 12}])
def test_too_few_images_are_named(changes):
    x, codes = cloud()
    with pytest.raises(ImageDataError, match="6 new classes with at least 12 images"):
        few_shot_accuracy(x, codes, None, **{"n_query": 5, **changes})
