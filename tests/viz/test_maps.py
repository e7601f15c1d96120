"""Exp, log, transport and rescaling in the disk, against the hyperboloid and against torch."""

from __future__ import annotations

import numpy as np
import pytest

from hypeeg.viz.disk import disk_distance, disk_to_lorentz, geodesic
from hypeeg.viz.maps import (
    disk_exp,
    disk_log,
    disk_transport,
    from_polar,
    largest_distance,
    rescaled_distance,
    sheet_error,
    to_polar,
)

CURVATURES = [0.1, 1.0, 3.0]


def lorentz_distance(u: np.ndarray, w: np.ndarray, c: float) -> float:
    """The textbook formula on the hyperboloid."""
    x, y = disk_to_lorentz(u, c), disk_to_lorentz(w, c)
    times = np.sqrt((1 / c + x @ x) * (1 / c + y @ y))
    return float(np.arccosh(max(1.0, c * (times - x @ y))) / np.sqrt(c))


def points(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    angle, radius = rng.uniform(0, 2 * np.pi, n), 0.9 * np.sqrt(rng.uniform(size=n))
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])


@pytest.mark.parametrize("c", CURVATURES)
def test_polar_coordinates_are_distances_and_return(c: float) -> None:
    u = from_polar(1.7, 0.4, c)
    assert lorentz_distance(u, np.zeros(2), c) == pytest.approx(1.7)
    assert to_polar(u, c) == pytest.approx((1.7, 0.4))
    assert to_polar(from_polar(1.0, -0.5, c), c)[1] == pytest.approx(2 * np.pi - 0.5)


@pytest.mark.parametrize("c", CURVATURES)
def test_exp_arrives_at_its_length_and_log_returns(c: float) -> None:
    for u, v in zip(points(6), points(6, seed=1) * 2.5, strict=True):
        w = disk_exp(u, v, c)
        assert lorentz_distance(u, w, c) == pytest.approx(np.linalg.norm(v), rel=1e-6)
        np.testing.assert_allclose(disk_log(u, w, c), v, atol=1e-7)
        # The way begins in the direction of v, as it is drawn.
        near = disk_exp(u, 1e-6 * v, c) - u
        np.testing.assert_allclose(near / np.linalg.norm(near), v / np.linalg.norm(v), atol=1e-5)


def test_exp_and_log_of_nothing() -> None:
    u = np.array([0.3, -0.2])
    np.testing.assert_allclose(disk_exp(u, np.zeros(2), 2.0), u, atol=1e-15)
    np.testing.assert_allclose(disk_log(u, u, 2.0), 0.0, atol=1e-15)


def test_transport_keeps_length_and_the_angle_to_the_geodesic() -> None:
    for u, w in zip(points(6), points(6, seed=2), strict=True):
        ahead = disk_log(u, w, 1.0)
        # The direction of the geodesic is carried to its own direction at the end.
        arrived = disk_transport(u, w, ahead)
        np.testing.assert_allclose(arrived, -disk_log(w, u, 1.0), atol=1e-9)
        turn = np.array([[0.0, -1.0], [1.0, 0.0]])
        np.testing.assert_allclose(disk_transport(u, w, turn @ ahead), turn @ arrived, atol=1e-9)


def test_transport_to_the_origin_and_back_along_a_triangle_turns_by_its_area() -> None:
    a, b = from_polar(1.0, 0.2, 1.0), from_polar(1.5, 1.3, 1.0)
    v = np.array([0.0, 1.0])
    home = disk_transport(b, np.zeros(2), disk_transport(a, b, disk_transport(np.zeros(2), a, v)))
    turned = np.arctan2(home[1], home[0]) - np.arctan2(v[1], v[0])
    # Gauss-Bonnet for curvature -1: the holonomy is minus the area; the area of O, a, b by
    # tan(area / 2) = t1 t2 sin(C) / (1 + t1 t2 cos(C)) with t = tanh(side / 2), negated cosine.
    t = np.tanh(0.5) * np.tanh(0.75)
    area = 2 * np.arctan(t * np.sin(1.1) / (1 - t * np.cos(1.1)))
    assert abs(turned) == pytest.approx(area, rel=1e-9)


def test_maps_are_those_of_the_library() -> None:
    torch = pytest.importorskip("torch")
    from hypeeg.geometry import Lorentz
    from hypeeg.geometry.rescaling import max_dist

    for c in CURVATURES:
        space = Lorentz(c=c)
        r = np.linspace(0.1, 3 * largest_distance(c, "float64"), 40)
        z = torch.tensor(np.column_stack([r, 0 * r]))
        for slope in (2.65, 3.0, 5.0):
            expected = space.dist0(space.rescale(space.expmap0(z), slope=slope))
            ours = rescaled_distance(r, slope, largest_distance(c, "float64"))
            np.testing.assert_allclose(ours, expected.detach(), rtol=1e-8)
        for name in ("float32", "float64"):
            expected_cap = float(max_dist(c, getattr(torch, name)))
            assert largest_distance(c, name) == pytest.approx(expected_cap, rel=1e-6)


def test_rescaling_stays_below_its_cap_and_grows() -> None:
    r = np.linspace(0, 100, 300)
    after = rescaled_distance(r, 3.0, 7.0)
    assert after[0] == 0
    assert (np.diff(after) >= 0).all()
    assert after.max() <= 7.0
    assert (after <= r).all()


def test_rounding_takes_the_geometry_where_the_cap_says() -> None:
    r = np.linspace(0, 30, 301)
    for dtype in ("float32", "float64"):
        error = sheet_error(r, 1.0, dtype)
        cap = largest_distance(1.0, dtype)
        assert error[0] <= 4 * np.finfo(dtype).eps
        assert error[r <= cap].max() < 0.2
        assert error[-1] == 1.0
    # In units of the space: a four times larger curvature leaves half the room.
    np.testing.assert_allclose(sheet_error(r / 2, 4.0), sheet_error(r, 1.0))


def test_points_of_an_exponential_lie_on_the_geodesic() -> None:
    u, v = np.array([0.4, 0.1]), np.array([-0.5, 1.2])
    along = disk_exp(u, np.linspace(0, 1, 9)[:, None] * v, 2.0)
    np.testing.assert_allclose(along, geodesic(u, along[-1], 9), atol=1e-12)
    np.testing.assert_allclose(disk_distance(along[:-1], along[1:], 2.0), np.ptp([0, 1.3 / 8]))
