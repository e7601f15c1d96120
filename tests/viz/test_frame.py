"""Planes in hyperbolic space, heads on them, and where they decide."""

from __future__ import annotations

import numpy as np
import pytest

from hypeeg.viz.disk import centroid, disk_distance, distances, translate
from hypeeg.viz.heads import Head
from hypeeg.viz.horospherical import horospherical_directions, plane_axes, project_horospherical
from hypeeg.viz.picture import picture_of
from hypeeg.viz.regions import decision_regions, level_lines


@pytest.fixture
def points() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 6)) * np.array([1.5, 1.0, 0.5, 0.3, 0.2, 0.1])


@pytest.mark.parametrize("reduction", ["tangent", "horospherical"])
@pytest.mark.parametrize("around", ["origin", "centroid"])
def test_the_slice_comes_back_to_the_plane(points: np.ndarray, reduction, around) -> None:
    picture = picture_of(points, 1.7, around, reduction).centred_on(3)
    # Half the radius: horospherical projection folds what lies beyond the geodesic of its points.
    at = 0.5 * picture_of(points, 1.7, around, reduction).points[:20]
    frame = picture_of(points, 1.7, around, reduction).frame
    assert frame is not None
    assert picture.frame is not None
    np.testing.assert_allclose(frame.project(frame.lift(at, 1.7), 1.7), at, atol=1e-9)
    np.testing.assert_allclose(picture.frame.project(points, 1.7), picture.points, atol=1e-9)
    # The slice is totally geodesic: distances in the picture are those of the space.
    lifted = frame.lift(at, 1.7)
    found = disk_distance(at, at[0], 1.7)
    np.testing.assert_allclose(found, distances(lifted, lifted[0], 1.7), atol=1e-8)


def test_horospherical_projection_keeps_busemann_functions_and_stretches_nothing(
    points: np.ndarray,
) -> None:
    y = translate(points, centroid(points, 1.0), 1.0)
    ideal = horospherical_directions(y)
    axes = plane_axes(ideal)
    u = project_horospherical(y, ideal, axes)
    flat = (2 * u / (1 - np.sum(u * u, axis=1, keepdims=True))) @ axes

    def busemann(x: np.ndarray) -> np.ndarray:
        return np.log(np.hypot(1, np.linalg.norm(x, axis=1))[:, None] - x @ ideal.T)

    np.testing.assert_allclose(busemann(flat), busemann(y), atol=1e-9)
    for row in range(5):
        assert (disk_distance(u, u[row]) <= distances(y, y[row], 1.0) + 1e-9).all()


def test_horospherical_pca_keeps_more_of_the_distances_between_points(points: np.ndarray) -> None:
    def spread(reduction: str) -> float:
        u = picture_of(3 * points, 1.0, "centroid", reduction).points  # type: ignore[arg-type]
        return float(np.mean([np.mean(disk_distance(u, p) ** 2) for p in u]))

    assert spread("horospherical") > spread("tangent")


def test_prototypes_divide_the_disk_by_their_bisector() -> None:
    c = 0.7
    prototypes = np.array([[0.8, 0.1], [-0.4, 0.5], [0.1, -0.9]])
    names = ("a", "b", "c")
    head = Head("lorentz_prototypes", prototypes, np.zeros(3), 1.0, c, names)
    frame = picture_of(np.random.default_rng(1).normal(size=(9, 2)), c).frame
    assert frame is not None
    regions = decision_regions(frame, head, 1.04)
    middles = regions.boundaries.mean(axis=1)
    inner = middles[np.linalg.norm(middles, axis=1) < 0.95]
    assert len(inner) > 50
    apart = np.sort(head.distances(frame.lift(inner, c)), axis=1)
    # On a boundary the two nearest prototypes are equally far.
    np.testing.assert_allclose(apart[:, 0], apart[:, 1], atol=0.03)
    for number, prototype in enumerate(prototypes):
        at = frame.project(prototype[None], c)[0]
        row, column = (
            int(np.argmin(np.abs(axis - v))) for axis, v in ((regions.y, at[1]), (regions.x, at[0]))
        )
        assert regions.winner[row, column] == number
    assert np.isnan(regions.winner[0, 0])


@pytest.mark.parametrize("kind", ["lorentz_mlr", "lorentz_prototypes", "linear", "prototypes"])
def test_heads_are_those_of_the_networks(kind: str) -> None:
    torch = pytest.importorskip("torch")
    from hypeeg.geometry import Lorentz
    from hypeeg.nn import LorentzMLR, LorentzPrototypes

    torch.manual_seed(0)
    x = torch.randn(7, 5)
    manifold = Lorentz(1.3, learnable=False)
    if kind == "lorentz_mlr":
        layer = LorentzMLR(5, 3, manifold=manifold, temperature=2.0)
        torch.nn.init.normal_(layer.bias)
        weight, bias, temperature = layer.weight, layer.bias, 2.0
    elif kind == "lorentz_prototypes":
        layer = LorentzPrototypes(5, 3, manifold=manifold, temperature=0.5, init_radius=1.0)
        weight, bias, temperature = layer.prototypes, torch.zeros(3), 0.5
    elif kind == "linear":
        layer = torch.nn.Linear(5, 3)
        weight, bias, temperature = layer.weight, layer.bias, 1.0
    else:
        weight, bias, temperature = torch.randn(3, 5), torch.zeros(3), 1.0

        def layer(x: torch.Tensor) -> torch.Tensor:
            return -(torch.cdist(x, weight) ** 2)

    head = Head(
        kind, weight.detach().numpy(), bias.detach().numpy(), temperature, 1.3, ("a", "b", "c")
    )
    expected = layer(x).detach().numpy()
    np.testing.assert_allclose(head.logits(x.numpy()), expected, rtol=2e-4, atol=2e-5)
    if kind == "lorentz_prototypes":
        np.testing.assert_allclose(
            head.distances(x.numpy())[:, 0], distances(x.numpy(), head.weight[0], 1.3), rtol=1e-6
        )


def test_level_lines_lie_on_a_circle() -> None:
    axis = np.linspace(-1, 1, 81)
    values = np.hypot(*np.meshgrid(axis, axis)) - 0.6
    lines = level_lines(axis, axis, values)
    np.testing.assert_allclose(np.linalg.norm(lines, axis=2), 0.6, atol=1e-3)
    assert np.linalg.norm(lines[:, 1] - lines[:, 0], axis=1).sum() == pytest.approx(
        2 * np.pi * 0.6, rel=1e-2
    )
    values[40:] = np.nan
    assert (level_lines(axis, axis, values)[..., 1] <= 0).all()
