"""Gromov hyperbolicity against its definition, trees, cycles and the hyperbolic plane."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import shortest_path

from hypeeg.geometry import hyperbolicity, lorentz


def four_points(d: np.ndarray) -> float:
    """The definition, quadruple by quadruple."""
    worst = 0.0
    for a, b, c, e in itertools.combinations(range(len(d)), 4):
        sums = sorted([d[a, b] + d[c, e], d[a, c] + d[b, e], d[a, e] + d[b, c]])
        worst = max(worst, (sums[2] - sums[1]) / 2)
    return worst


def cloud(n: int, dim: int, seed: int = 0) -> torch.Tensor:
    x = np.random.default_rng(seed).standard_normal((n, dim))
    return torch.cdist(torch.from_numpy(x), torch.from_numpy(x))


@pytest.mark.parametrize(("n", "dim"), [(1, 2), (3, 2), (4, 2), (9, 1), (17, 3), (14, 10)])
def test_is_the_largest_over_quadruples(n: int, dim: int) -> None:
    d = cloud(n, dim, seed=n)
    d = (d + d.T) / 2
    d.fill_diagonal_(0)
    delta = hyperbolicity.gromov_delta(d)
    assert float(delta) == pytest.approx(four_points(d.numpy()), abs=1e-12)
    if n > 1:
        expected = 2 * four_points(d.numpy()) / float(d.max())
        assert float(hyperbolicity.relative_delta(d)) == pytest.approx(expected, abs=1e-12)


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    d = cloud(20, 3)
    whole = hyperbolicity.gromov_delta(d)
    monkeypatch.setattr(hyperbolicity, "_BLOCK_NUMBERS", 3 * 20**2)
    assert float(hyperbolicity.gromov_delta(d)) == float(whole) > 0.1


def test_trees_have_none_and_cycles_do() -> None:
    rng = np.random.default_rng(3)
    n = 60
    tree = np.zeros((n, n))
    for child in range(1, n):
        tree[child, rng.integers(child)] = rng.uniform(0.1, 3.0)
    d = torch.from_numpy(shortest_path(tree, directed=False))
    assert float(hyperbolicity.relative_delta(d)) == pytest.approx(0.0, abs=1e-14)
    # A cycle of 4k points has delta k; a square has 1.
    for k in (1, 2, 4):
        steps = np.abs(np.subtract.outer(np.arange(4 * k), np.arange(4 * k)))
        cycle = torch.from_numpy(np.minimum(steps, 4 * k - steps).astype(float))
        assert float(hyperbolicity.gromov_delta(cycle)) == k
        assert float(hyperbolicity.relative_delta(cycle)) == 1.0


def plane(c: float, radius: float, n: int = 80) -> torch.Tensor:
    """Points all over a disk of the hyperbolic plane; `radius` in units of 1 / sqrt(c)."""
    rng = np.random.default_rng(1)
    angle = rng.uniform(0, 2 * math.pi, n)
    r = radius * np.sqrt(rng.uniform(0, 1, n)) / math.sqrt(c)
    z = np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1)
    x = lorentz.expmap0(torch.from_numpy(z), c)
    return lorentz.dist_pairwise(x, x, c)


@pytest.mark.parametrize("c", [0.25, 1.0, 9.0])
def test_the_hyperbolic_plane_keeps_its_bound(c: float) -> None:
    small, large = (
        math.sqrt(c) * float(hyperbolicity.gromov_delta(plane(c, radius))) for radius in (0.01, 8.0)
    )
    # Near a point the plane is flat; far out delta is close to its bound ln 2, never above it.
    flat = float(hyperbolicity.relative_delta(plane(c, 0.01)))
    assert 0.9 * math.log(2) < large <= math.log(2) + 1e-9
    assert small < 0.01
    assert float(hyperbolicity.relative_delta(plane(c, 8.0))) < 0.12 < 0.3 < flat


def test_one_base_point_gives_between_half_and_all_of_it() -> None:
    d = cloud(30, 2)
    exact = float(hyperbolicity.gromov_delta(d))
    single = [float(hyperbolicity.gromov_delta(d, [base])) for base in range(30)]
    assert max(single) == exact
    assert exact / 2 - 1e-12 <= min(single) < exact


def test_what_is_no_distance_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match="square"):
        hyperbolicity.gromov_delta(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="finite"):
        hyperbolicity.gromov_delta(torch.full((4, 4), math.nan))
    with pytest.raises(ValueError, match="symmetric"):
        hyperbolicity.gromov_delta(torch.ones(4, 4))
    assert math.isnan(float(hyperbolicity.relative_delta(torch.zeros(5, 5))))
