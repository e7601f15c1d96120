"""Disk geometry against formulas that share nothing with it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypeeg.viz import disk

CURVATURES = [0.07, 1.0, 13.0]


def points(seed: int, n: int = 30, d: int = 3, scale: float = 1.5) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=scale, size=(n, d))


def ambient_distance(x: np.ndarray, y: np.ndarray, c: float) -> np.ndarray:
    """Textbook distance: acosh of the Minkowski product of ambient points."""
    time_x = np.sqrt(1 / c + np.sum(x * x, axis=-1))
    time_y = np.sqrt(1 / c + np.sum(y * y, axis=-1))
    product = time_x * time_y - np.sum(x * y, axis=-1)
    return np.arccosh(np.maximum(c * product, 1.0)) / np.sqrt(c)


@pytest.mark.parametrize("c", CURVATURES)
def test_radius_in_the_disk_is_tanh_of_half_the_distance(c: float) -> None:
    direction = np.array([0.6, -0.8])
    for r in (1e-6, 0.3, 2.0, 9.0):
        x = np.sinh(np.sqrt(c) * r) / np.sqrt(c) * direction
        expected = np.tanh(np.sqrt(c) * r / 2) * direction
        np.testing.assert_allclose(disk.lorentz_to_disk(x, c), expected, rtol=1e-12)
        np.testing.assert_allclose(disk.tangent_to_disk(r * direction, c), expected, rtol=1e-12)
        np.testing.assert_allclose(disk.log_origin(x, c), r * direction, rtol=1e-12)


@pytest.mark.parametrize("c", CURVATURES)
def test_disk_and_hyperboloid_are_isometric(c: float) -> None:
    x, y = points(0), points(1)
    u, v = disk.lorentz_to_disk(x, c), disk.lorentz_to_disk(y, c)
    np.testing.assert_allclose(disk.disk_distance(u, v, c), ambient_distance(x, y, c), rtol=1e-9)
    np.testing.assert_allclose(disk.disk_to_lorentz(u, c), x, rtol=1e-9)


def test_each_point_may_have_a_curvature_of_its_own() -> None:
    x, c = points(2), np.linspace(0.1, 9.0, 30)
    u = disk.lorentz_to_disk(x, c)
    one_by_one = np.stack([disk.lorentz_to_disk(p, k) for p, k in zip(x, c, strict=True)])
    np.testing.assert_allclose(u, one_by_one, rtol=1e-14)


def test_the_origin_stays_the_origin() -> None:
    zero = np.zeros((1, 2))
    for moved in (
        disk.lorentz_to_disk(zero, 2.0),
        disk.log_origin(zero, 2.0),
        disk.tangent_to_disk(zero, 2.0),
    ):
        np.testing.assert_array_equal(moved, zero)


coordinates = st.floats(-0.69, 0.69)


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[coordinates] * 6))
def test_mobius_translation_is_the_complex_formula_and_an_isometry(values: tuple) -> None:
    u, v, a = np.array(values[:2]), np.array(values[2:4]), np.array(values[4:])
    moved = disk.mobius_translate(np.stack([u, v, a]), a)
    z, w = complex(*u), complex(*a)
    expected = (z - w) / (1 - w.conjugate() * z)
    np.testing.assert_allclose(moved[0], [expected.real, expected.imag], atol=1e-12)
    np.testing.assert_allclose(moved[2], 0.0, atol=1e-12)

    def distance(p: np.ndarray, q: np.ndarray) -> float:
        # Textbook formula of the disk, with acosh.
        gap, room = np.sum((p - q) ** 2), (1 - p @ p) * (1 - q @ q)
        return float(np.arccosh(1 + 2 * gap / room))

    assert distance(moved[0], moved[1]) == pytest.approx(distance(u, v), abs=1e-6)


def test_mobius_translation_refuses_a_centre_outside() -> None:
    with pytest.raises(ValueError, match="norm 1, which is not inside"):
        disk.mobius_translate(np.zeros((1, 2)), np.array([1.0, 0.0]))


@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("d", [2, 5])
def test_translation_of_the_hyperboloid_is_mobius_translation_of_the_ball(c: float, d: int) -> None:
    x, p = points(3, d=d), points(4, n=1, d=d)[0]
    moved = disk.translate(x, p, c)
    expected = disk.mobius_translate(disk.lorentz_to_disk(x, c), disk.lorentz_to_disk(p, c))
    np.testing.assert_allclose(disk.lorentz_to_disk(moved, c), expected, atol=1e-9)
    np.testing.assert_allclose(disk.translate(p, p, c), 0.0, atol=1e-9)


@pytest.mark.parametrize("c", CURVATURES)
def test_distances_agree_with_ambient_ones_and_keep_near_pairs_apart(c: float) -> None:
    x, p = points(5), points(6, n=1)[0]
    np.testing.assert_allclose(disk.distances(x, p, c), ambient_distance(x, p, c), rtol=1e-8)
    step = np.array([[0.0, 1e-9, 0.0]])
    near = disk.distances(p * np.array([1, 0, 1]) + step, p * np.array([1, 0, 1]), c)
    # Across the radius the metric is the Euclidean one of the space part.
    np.testing.assert_allclose(near, 1e-9, rtol=1e-5)


@pytest.mark.parametrize("c", CURVATURES)
def test_centroid_balances_the_points_around_it(c: float) -> None:
    x = points(7)
    moved = disk.translate(x, disk.centroid(x, c), c)
    # Seen from the centroid, the space parts sum to zero.
    np.testing.assert_allclose(moved.mean(axis=0), 0.0, atol=1e-9 * np.abs(moved).max())


def test_geodesic_is_evenly_spaced_and_meets_the_unit_circle_at_right_angles() -> None:
    u, v = np.array([0.7, 0.1]), np.array([-0.2, 0.65])
    line = disk.geodesic(u, v, n=9)
    np.testing.assert_allclose(line[[0, -1]], [u, v], atol=1e-12)
    np.testing.assert_allclose(
        disk.disk_distance(line[:-1], line[1:]), disk.disk_distance(u, v) / 8, rtol=1e-9
    )
    # A circle orthogonal to the unit circle through u and v: |m|^2 = 1 + R^2, so that
    # 2 m.p = 1 + |p|^2 for every point p on it.
    centre = np.linalg.solve(2 * np.stack([u, v]), [1 + u @ u, 1 + v @ v])
    np.testing.assert_allclose(2 * line @ centre, 1 + np.sum(line**2, axis=1), atol=1e-12)


def test_geodesic_of_a_point_to_itself_stays_there() -> None:
    u = np.array([0.3, -0.4])
    np.testing.assert_array_equal(disk.geodesic(u, u, n=3), [u, u, u])


def test_tangent_pca_of_plane_points_is_a_rotation_or_reflection() -> None:
    z = points(8, d=2)
    reduced, kept = disk.tangent_pca(z)
    np.testing.assert_allclose(reduced @ reduced.T, z @ z.T, atol=1e-10)
    assert kept == pytest.approx(1.0)


def test_tangent_pca_finds_a_plane_hidden_in_many_dimensions() -> None:
    rng = np.random.default_rng(9)
    plane = np.linalg.qr(rng.normal(size=(20, 2)))[0]
    flat = rng.normal(size=(40, 2)) + np.array([3.0, 0.0])
    reduced, kept = disk.tangent_pca(flat @ plane.T)
    np.testing.assert_allclose(reduced @ reduced.T, flat @ flat.T, atol=1e-9)
    assert kept == pytest.approx(1.0)


def test_tangent_pca_says_what_it_keeps() -> None:
    z = np.diag([3.0, 2.0, 1.0])
    reduced, kept = disk.tangent_pca(z)
    assert kept == pytest.approx((9 + 4) / (9 + 4 + 1))
    np.testing.assert_allclose(np.linalg.norm(reduced, axis=1), [3.0, 2.0, 0.0], atol=1e-12)


def test_tangent_pca_pads_what_has_too_few_dimensions() -> None:
    reduced, kept = disk.tangent_pca(np.array([[1.0, 2.0, 2.0]]))
    np.testing.assert_allclose(reduced, [[3.0, 0.0]])
    assert kept == pytest.approx(1.0)
    assert disk.tangent_pca(np.zeros((4, 3)))[1] == 1.0
