"""What figures show, against geometry written without our code: Klein lines, boosts, torch."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("plotly")

from hypeeg.viz import Picture, picture_figure, picture_of
from hypeeg.viz.frame import Frame
from hypeeg.viz.heads import Head
from hypeeg.viz.overlays import add_geodesics, add_regions
from hypeeg.viz.regions import decision_regions

C = 1.3
CLASSES = ("a", "b", "c")


def some_points(d: int, n: int = 40) -> np.ndarray:
    return np.random.default_rng(d).normal(size=(n, d)) * np.linspace(1.4, 0.6, d)


def disk_distances(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Textbook formula of the Poincaré disk, curvature -1."""
    gap = np.sum((u - v) ** 2, axis=-1)
    room = (1 - np.sum(u * u, axis=-1)) * (1 - np.sum(v * v, axis=-1))
    return np.arccosh(1 + 2 * gap / room)


def drawn_points(picture: Picture) -> np.ndarray:
    figure = picture_figure(picture, fit=False)
    trace = next(t for t in figure.data if t.name == "trials")
    return np.stack([np.array(trace.x), np.array(trace.y)], axis=1)


@pytest.mark.parametrize("centre", [None, 5])
def test_drawn_geodesics_are_straight_in_the_klein_disk_and_run_between_the_points(
    centre: int | None,
) -> None:
    picture = picture_of(some_points(6), C, "centroid")
    if centre is not None:
        picture = picture.centred_on(centre)
    ends = [3, 11, 20]
    figure = picture_figure(picture, marked=7, neighbours=ends)
    add_geodesics(figure, picture.points[7], picture.points[ends], ["", "", ""], True)
    near = next(t for t in figure.data if t.name == "nearest trials")
    gaps = [i for i, x in enumerate(near.x) if x is None]
    starts = [0, *(i + 1 for i in gaps[:-1])]
    lines = [
        np.stack([near.x[i:j], near.y[i:j]], axis=1).astype(float)
        for i, j in zip(starts, gaps, strict=True)
    ]
    lines += [np.stack([t.x, t.y], axis=1) for t in figure.data if t.name == "geodesics"]
    assert len(lines) == 6
    shown = drawn_points(picture)
    for line, end in zip(lines, ends * 2, strict=True):
        u, v = shown[7], shown[end]
        # In the Klein disk, k = 2u / (1 + |u|^2), geodesics are straight.
        klein = 2 * line / (1 + np.sum(line**2, axis=1, keepdims=True))
        k, ahead = klein - klein[0], klein[-1] - klein[0]
        np.testing.assert_allclose(k[:, 0] * ahead[1] - k[:, 1] * ahead[0], 0.0, atol=1e-10)
        np.testing.assert_allclose(line[[0, -1]], [u, v], atol=1e-10)
        there, on = disk_distances(line, u), disk_distances(line, v)
        np.testing.assert_allclose(there + on, disk_distances(u, v), atol=1e-6)
        # Seen to be curved: a straight line between the points would not do.
        assert np.diff(there).min() > 0


@pytest.mark.parametrize("d", [2, 6])
def test_recentring_keeps_all_distances_that_are_drawn(d: int) -> None:
    picture = picture_of(some_points(d), C, "centroid")
    before, after = drawn_points(picture), drawn_points(picture.centred_on(9).centred_on(2))
    assert np.abs(after - before).max() > 0.05
    np.testing.assert_allclose(after[2], 0.0, atol=1e-12)

    def every(u: np.ndarray) -> np.ndarray:
        return disk_distances(u[:, None], u[None])

    np.testing.assert_allclose(np.cosh(every(after)), np.cosh(every(before)), rtol=1e-9)
    if d == 2:
        x = some_points(2)
        time = np.sqrt(1 / C + np.sum(x * x, axis=1))
        space = C * (np.outer(time, time) - x @ x.T)
        np.testing.assert_allclose(np.cosh(every(after)), space, rtol=1e-9)


def in_space(u: np.ndarray, frame: Frame) -> np.ndarray:
    """Where drawn points lie in the space: complex Möbius maps back, then a boost matrix."""
    z = u[:, 0] + 1j * u[:, 1]
    for move in reversed(frame.moves):
        a = complex(*move)
        z = (z + a) / (1 + np.conj(a) * z)
    size = np.abs(z) ** 2
    plane = np.stack([2 * z.real, 2 * z.imag], axis=1) / (1 - size)[:, None]
    time = (1 + size) / (1 - size)
    ambient = np.concatenate([time[:, None], plane @ frame.axes], axis=1)
    p = frame.centre
    gamma = np.sqrt(1 + p @ p)
    boost = np.eye(len(p) + 1)
    boost[0, 0], boost[0, 1:], boost[1:, 0] = gamma, p, p
    boost[1:, 1:] += np.outer(p, p) / (1 + gamma)
    return (ambient @ boost.T)[:, 1:] / np.sqrt(C)


@pytest.mark.parametrize("reduction", ["tangent", "horospherical"])
@pytest.mark.parametrize("kind", ["lorentz_mlr", "lorentz_prototypes"])
def test_drawn_regions_are_the_decisions_of_the_layer_in_float64(kind: str, reduction: str) -> None:
    torch = pytest.importorskip("torch")
    from hypeeg.geometry import Lorentz
    from hypeeg.nn import LorentzMLR, LorentzPrototypes

    torch.manual_seed(0)
    manifold = Lorentz(C, learnable=False)
    if kind == "lorentz_mlr":
        layer = LorentzMLR(6, 3, manifold=manifold, temperature=2.0).double()
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.normal_(layer.bias, std=0.3)
        weight, bias, temperature = layer.weight, layer.bias, 2.0
    else:
        layer = LorentzPrototypes(
            6, 3, manifold=manifold, temperature=0.5, init_radius=1.0
        ).double()
        weight, bias, temperature = layer.prototypes, torch.zeros(3), 0.5
    arrays = [t.detach().numpy() for t in (weight, bias)]
    head = Head(kind, *arrays, temperature, C, CLASSES)
    picture = picture_of(some_points(6), C, "centroid", reduction).centred_on(4)
    assert picture.frame is not None
    figure = picture_figure(picture)
    add_regions(figure, decision_regions(picture.frame, head, 1.04), CLASSES)
    drawn = next(t for t in figure.data if t.name == "regions")
    y, x = np.meshgrid(np.array(drawn.y), np.array(drawn.x), indexing="ij")
    label = np.array(drawn.z, dtype=float)
    # At the very boundary the drawing asks just inside, where the layer has lost its digits.
    asked = np.hypot(x, y) < 0.999
    assert np.isfinite(label[asked]).all()
    space = in_space(np.stack([x[asked], y[asked]], axis=1), picture.frame)
    with torch.no_grad():
        logits = layer(torch.from_numpy(space)).numpy()
    best = np.sort(logits, axis=1)
    clear = best[:, -1] - best[:, -2] > 1e-6 * np.abs(best).max(axis=1)
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(label[asked][clear], logits.argmax(axis=1)[clear])
    assert len(np.unique(label[asked])) > 1
