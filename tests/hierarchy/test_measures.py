"""Ranks and precision against a loop that is written out, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from hypeeg.hierarchy.measures import depth_correlation, distortion, nearest_nodes, rank_edges


def from_matrix(matrix):
    table = torch.as_tensor(matrix, dtype=torch.float64)
    return lambda nodes: table[nodes].clone()


def written_out(matrix, edges, ignored=()):
    """Nickel and Kiela's evaluation, one node and one neighbour at a time; ties count against."""
    ignored = {tuple(pair) for pair in np.asarray(ignored).tolist()}
    ranks, precision = {}, {}
    for u in sorted({int(a) for a, _ in edges}):
        ancestors = {int(b) for a, b in edges if a == u}
        others = [
            v for v in range(len(matrix)) if v != u and v not in ancestors and (u, v) not in ignored
        ]
        for v in ancestors:
            ranks[u, v] = 1 + sum(matrix[u, w] <= matrix[u, v] for w in others)
        asked = [*ancestors, *others]
        truth = [v in ancestors for v in asked]
        precision[u] = average_precision_score(truth, [-matrix[u, v] for v in asked])
    return np.array([ranks[int(a), int(b)] for a, b in edges]), np.array(list(precision.values()))


def random_case(seed, n=30, ties=False):
    rng = np.random.default_rng(seed)
    matrix = rng.integers(1, 6, (n, n)).astype(float) if ties else rng.random((n, n))
    a, b = np.nonzero(rng.random((n, n)) < 0.15)
    edges = np.stack([a, b], axis=1)[a != b]
    return matrix, rng.permutation(edges)


def test_a_written_out_case():
    # From node 0, its ancestors 1 and 3 stand at places 1 and 3; node 2 comes between.
    matrix = np.array([[0, 1, 2, 3], [9, 0, 9, 9], [4, 1, 0, 2], [9, 9, 9, 0]], dtype=float)
    ranking = rank_edges(from_matrix(matrix), np.array([[0, 1], [0, 3], [2, 0]]), 4)
    assert ranking.ranks.tolist() == [1, 2, 3]
    assert ranking.queries.tolist() == [0, 2]
    np.testing.assert_allclose(ranking.average_precision, [(1 + 2 / 3) / 2, 1 / 3])
    assert ranking.mean_rank == 2.0
    assert ranking.hits(1) == pytest.approx(1 / 3)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("block", [None, 1, 7])
def test_ranks_and_precision_against_loops(ties, block):
    matrix, edges = random_case(3, ties=ties)
    ranking = rank_edges(from_matrix(matrix), edges, len(matrix), block=block)
    ranks, precision = written_out(matrix, edges)
    np.testing.assert_array_equal(ranking.ranks, ranks)
    np.testing.assert_allclose(ranking.average_precision, precision, rtol=1e-12)


def test_pairs_that_are_not_asked_for_take_no_rank():
    matrix, edges = random_case(4)
    asked, known = edges[:40], edges[40:]
    ranking = rank_edges(from_matrix(matrix), asked, len(matrix), ignored=known, block=4)
    ranks, precision = written_out(matrix, asked, known)
    np.testing.assert_array_equal(ranking.ranks, ranks)
    np.testing.assert_allclose(ranking.average_precision, precision, rtol=1e-12)
    assert (ranking.ranks < written_out(matrix, asked)[0]).any()


def test_a_collapsed_embedding_is_the_worst_not_the_best():
    edges = np.array([[0, 1], [2, 1]])
    ranking = rank_edges(from_matrix(np.zeros((5, 5))), edges, 5)
    assert ranking.ranks.tolist() == [4, 4]
    np.testing.assert_allclose(ranking.average_precision, [0.25, 0.25])


def test_what_has_diverged_is_refused():
    matrix = np.ones((3, 3))
    matrix[0, 1] = np.nan
    with pytest.raises(ValueError, match="diverged"):
        rank_edges(from_matrix(matrix), np.array([[0, 2]]), 3)
    with pytest.raises(ValueError, match="no edge"):
        rank_edges(from_matrix(matrix), np.empty((0, 2), dtype=int), 3)


def test_nearest_nodes_leave_out_the_node_itself():
    points = torch.tensor([0.0, 1.0, 1.5, 9.0], dtype=torch.float64)
    table = (points[:, None] - points).abs()
    assert nearest_nodes(from_matrix(table), np.array([0, 2, 3]), 4).tolist() == [1, 1, 2]


def test_distortion_knows_no_scale_and_finds_one_wrong_distance():
    steps = np.array([[0.0, 1, 2], [1, 0, 1], [2, 1, 0]])
    perfect = distortion(7 * steps, steps)
    assert perfect.mean == pytest.approx(0, abs=1e-12)
    assert perfect.worst == pytest.approx(1)
    bent = steps.copy()
    bent[0, 2] = bent[2, 0] = 4
    # Ratios 1, 1, 1, 1, 2, 2: the scale that fits best is 8 / 12.
    found = distortion(bent, steps)
    assert found.mean == pytest.approx((4 * (1 / 3) + 2 * (1 / 3)) / 6)
    assert found.worst == pytest.approx(2)
    apart = np.array([[0, np.inf], [np.inf, 0]])
    assert np.isnan(distortion(np.ones((2, 2)), apart).mean)
    assert np.isinf(distortion(np.zeros((2, 2)), 1 - np.eye(2)).worst)


def test_depth_correlation_is_of_ranks():
    depth = np.array([0, 1, 1, 2])
    assert depth_correlation(np.exp([0.0, 5, 5, 9]), depth) == pytest.approx(1)
    assert np.isnan(depth_correlation(np.ones(4), depth))
