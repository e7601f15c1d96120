"""What is drawn over and beside pictures of embeddings."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("plotly")

from hypeeg.viz import picture_figure, picture_of
from hypeeg.viz.embeddings import HOVER_POINTS
from hypeeg.viz.heads import Head
from hypeeg.viz.overlays import add_class_points, add_density, add_geodesics, add_regions
from hypeeg.viz.palette import style
from hypeeg.viz.regions import decision_regions
from hypeeg.viz.topomap import compare_figure, spread_over_head, topomap_figure
from hypeeg.viz.uncertainty import radius_bins, rank_correlation


def test_regions_have_the_colours_of_their_classes() -> None:
    points = np.random.default_rng(0).normal(size=(30, 2))
    picture = picture_of(points, 1.0)
    head = Head(
        "lorentz_mlr", np.array([[0.0, 1.0], [1.0, 0.0]]), np.zeros(2), 1.0, 1.0, ("b", "a")
    )
    figure = picture_figure(picture, np.array(["a", "b"] * 15), names=("a", "b"))
    regions = decision_regions(picture.frame, head, 1.04)
    add_regions(figure, regions, ("a", "b"), planes=True)
    heat = next(t for t in figure.data if t.name == "regions")
    # Class "b" comes first in the head and second in the legend.
    red, green, blue = (int(style(1)["color"][i : i + 2], 16) for i in (1, 3, 5))
    assert heat.colorscale[0][1].startswith(f"rgba({red}, {green}, {blue}")
    names = [t.name for t in figure.data]
    assert {"decision boundary", "hyperplane of a", "hyperplane of b"} <= set(names)
    # A hyperplane through the origin is a straight line.
    plane = next(t for t in figure.data if t.name == "hyperplane of b")
    assert max(abs(y) for y in plane.y if y is not None) < 1e-6


def test_class_points_geodesics_and_density_are_drawn() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b"], 100)
    points = rng.normal(size=(200, 2)) * 0.4 + np.where(labels == "a", 2.0, -2.0)[:, None]
    picture = picture_of(points, 1.0)
    figure = picture_figure(picture, labels, selected=np.array([1, 150]))
    assert [list(t.selectedpoints) for t in figure.data if t.name in ("a", "b")] == [[1], [50]]
    add_density(figure, picture.points, labels, ("a", "b"), 0.5)
    line = next(t for t in figure.data if t.name == "50% of a")
    assert min(x for x in line.x if x is not None) > 0
    add_class_points(figure, {"a": np.array([0.3, 0.2])}, ("a", "b"), "prototype")
    add_geodesics(figure, picture.points[0], picture.points[[150]], ["far"], True)
    assert next(t for t in figure.data if t.name == "prototypes").x == (0.3,)
    arc = next(t for t in figure.data if t.name == "geodesics")
    np.testing.assert_allclose([arc.x[0], arc.y[0]], picture.points[0])


def test_of_many_points_some_have_a_text() -> None:
    points = np.random.default_rng(0).normal(size=(20_000, 2))
    asked = []

    def hover(index: np.ndarray) -> list[str]:
        asked.append(len(index))
        return ["text"] * len(index)

    figure = picture_figure(picture_of(points, 1.0), np.array(["a"] * 20_000), hover)
    assert asked == [HOVER_POINTS]
    kinds = {t.name: t.type for t in figure.data}
    assert kinds["a"] == kinds["some trials"] == "scattergl"
    assert len(next(t for t in figure.data if t.name == "a").x) == 20_000
    assert len(figure.to_json()) < 1_500_000


def test_radius_bins_and_rank_correlation() -> None:
    radius = np.arange(50.0)
    bins = radius_bins(radius, radius / 50, radius >= 25)
    assert bins.shape == (5, 3)
    assert bins[0, 2] == 0.0
    assert bins[-1].tolist() == pytest.approx([44.5, 0.89, 1.0])
    assert rank_correlation(radius, -(radius**3)) == pytest.approx(-1.0)
    assert np.isnan(rank_correlation(radius, np.ones(50)))


def test_a_head_map_goes_through_its_sensors_and_not_beyond() -> None:
    angle = np.linspace(0, 2 * np.pi, 9)[:-1]
    points = np.vstack([0.5 * np.stack([np.cos(angle), np.sin(angle)], axis=1), [[0.0, 0.0]]])
    values = np.append(np.zeros(8), 1.0)
    axis = np.linspace(-1, 1, 61)
    z = spread_over_head(points, values, axis, 1.0)
    assert z[30, 30] == pytest.approx(1.0, abs=1e-3)
    assert z[30, 45] == pytest.approx(0.0, abs=1e-3)
    assert np.isnan(z[0, 0])
    assert np.nanmin(z) >= 0.0
    figure = topomap_figure(points, [values, values, 0 * values], ["a", "b", "a - b"], unit="dB")
    assert [t.type for t in figure.data].count("heatmap") == 3
    # Sensors in a row span no plane.
    assert np.isfinite(spread_over_head(points[[0, 4, 8]], values[[0, 4, 8]], axis, 1.0)).any()


def test_two_curves_with_their_errors() -> None:
    x = np.linspace(0, 1, 5)
    figure = compare_figure(
        x, x, 1 - x, np.full((2, 5), 0.1), labels=("selection", "rest"), x_title="s", y_title="µV"
    )
    assert [t.name for t in figure.data if t.fill is None] == ["rest", "selection"]
    band = next(t for t in figure.data if t.name == "selection: standard error")
    assert max(band.y) == pytest.approx(1.1)
