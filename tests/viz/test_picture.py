"""From embeddings to the plane."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from hypeeg.viz.disk import disk_distance, distances, lorentz_to_disk
from hypeeg.viz.picture import picture_of


@pytest.fixture
def plane_points() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(25, 2))


def test_two_dimensions_are_shown_as_they_are(plane_points: np.ndarray) -> None:
    picture = picture_of(plane_points, 1.7)
    np.testing.assert_allclose(picture.points, lorentz_to_disk(plane_points, 1.7), atol=1e-12)
    assert (picture.hyperbolic, picture.reduced, picture.kept, picture.c) == (True, False, 1.0, 1.7)


@pytest.mark.parametrize("around", ["origin", "centroid"])
def test_every_distance_survives_where_nothing_is_left_out(
    plane_points: np.ndarray, around: str
) -> None:
    picture = picture_of(plane_points, 0.4, around)
    found = disk_distance(picture.points, picture.points[3], 0.4)
    np.testing.assert_allclose(found, distances(plane_points, plane_points[3], 0.4), atol=1e-9)
    np.testing.assert_allclose(picture.distances_to(3), found)


def test_centring_keeps_distances_and_brings_the_point_to_the_middle(
    plane_points: np.ndarray,
) -> None:
    picture = picture_of(plane_points, 2.0)
    moved = picture.centred_on(4)
    np.testing.assert_allclose(moved.points[4], 0.0, atol=1e-12)
    np.testing.assert_allclose(moved.distances_to(7), picture.distances_to(7), atol=1e-9)


def test_reduction_at_the_origin_keeps_no_more_than_the_true_radius() -> None:
    x = np.random.default_rng(1).normal(size=(40, 12))
    picture = picture_of(x, 1.0)
    shown = 2 * np.arctanh(np.linalg.norm(picture.points, axis=1))
    true = np.arcsinh(np.linalg.norm(x, axis=1))
    assert picture.reduced
    assert 0.2 < picture.kept < 1.0
    assert (shown <= true + 1e-12).all()
    assert np.sum(shown**2) / np.sum(true**2) == pytest.approx(picture.kept)


def test_euclidean_vectors_get_the_principal_components() -> None:
    x = np.random.default_rng(2).normal(size=(50, 6)) * [5, 3, 1, 1, 1, 1] + 10
    picture = picture_of(x, np.full(50, np.nan), "centroid")
    covariance = np.cov(x.T)
    largest = np.sort(np.linalg.eigvalsh(covariance))[::-1]
    assert not picture.hyperbolic
    np.testing.assert_allclose(picture.points.var(axis=0, ddof=1), largest[:2])
    assert picture.kept == pytest.approx(largest[:2].sum() / largest.sum())
    np.testing.assert_allclose(picture.centred_on(3).points[3], 0.0)


def test_points_of_several_curvatures_have_no_common_one() -> None:
    picture = picture_of(np.ones((3, 2)), np.array([1.0, 2.0, 3.0]))
    assert picture.c is None
    np.testing.assert_allclose(
        picture.points, lorentz_to_disk(np.ones((3, 2)), np.array([1.0, 2.0, 3.0])), atol=1e-12
    )


def test_one_dimension_lies_on_a_line() -> None:
    picture = picture_of(np.array([[1.0], [-2.0]]))
    np.testing.assert_array_equal(picture.points, [[1.0, 0.0], [-2.0, 0.0]])


@pytest.mark.parametrize(
    ("embeddings", "curvature", "message"),
    [
        (np.empty((0, 2)), 1.0, r"shape \(0, 2\)"),
        (np.empty((3, 0)), 1.0, r"shape \(3, 0\)"),
        (np.array([[1.0, 2.0], [np.nan, 0.0]]), 1.0, "1 of 2 embeddings are not finite"),
        (np.ones((2, 2)), -1.0, "above 0, got -1"),
        (np.ones((2, 2)), np.array([1.0, np.nan]), "missing for 1 of 2"),
    ],
)
def test_bad_input_is_named(embeddings: np.ndarray, curvature: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        picture_of(embeddings, curvature)


def test_unknown_middle_is_named() -> None:
    with pytest.raises(ValueError, match="around is 'mean'"):
        picture_of(np.ones((2, 2)), 1.0, "mean")


def test_viz_imports_neither_torch_nor_the_runs() -> None:
    code = (
        "import sys; from hypeeg import viz; [getattr(viz, name) for name in viz.__all__]; "
        "bad = [m for m in sys.modules if m.split('.')[0] in ('torch', 'moabb', 'mne', 'sklearn')"
        " or m.startswith(('hypeeg.experiments', 'hypeeg.eeg', 'hypeeg.geometry'))]; "
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
