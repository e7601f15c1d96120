"""How well an embedding tells a taxonomy: ranks, precision, distortion, order of depths.

Ranks are those of Nickel and Kiela (2017): all nodes are ordered by how close they are to a node;
its ancestors should come first. Ties count against the embedding, so that a collapsed one, where
all distances are 0, has the rank of the last and not of the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor

# Numbers in one intermediate tensor of a block: 32 MiB in float64.
_BLOCK_NUMBERS = 2**22

Dissimilarity = Callable[[Tensor], Tensor]
"""From nodes int64 (b,) to how far every node is from each, (b, n_nodes)."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Where the ancestors of nodes stand among all nodes.

    Attributes
    ----------
    ranks : ndarray of int64, shape (n_edges,)
        For each edge (u, v), 1 + the number of nodes as close to u as v that u is no kind of.
    queries : ndarray of int64, shape (n_queries,)
        Nodes u that have edges, in rising order.
    average_precision : ndarray of float64, shape (n_queries,)
        Of the ancestors of each among all nodes.
    """

    ranks: np.ndarray
    queries: np.ndarray
    average_precision: np.ndarray

    @property
    def mean_rank(self) -> float:
        """Mean over edges; 1 is perfect."""
        return float(self.ranks.mean())

    @property
    def mean_average_precision(self) -> float:
        """Mean over nodes; 1 is perfect."""
        return float(self.average_precision.mean())

    def hits(self, k: int) -> float:
        """Share of edges whose rank is at most `k`."""
        return float((self.ranks <= k).mean())


@torch.no_grad()
def rank_edges(
    dissimilarity: Dissimilarity,
    edges: np.ndarray,
    n_nodes: int,
    *,
    ignored: np.ndarray | None = None,
    device: torch.device | str = "cpu",
    block: int | None = None,
) -> Ranking:
    """Rank the ancestors of nodes among all nodes.

    Parameters
    ----------
    dissimilarity : callable
        From nodes (b,) to a tensor (b, n_nodes): small for likely ancestors.
    edges : ndarray of int64, shape (n_edges, 2)
        Pairs (child, ancestor) to rank, each once.
    n_nodes : int
        How many nodes there are.
    ignored : ndarray of int64, shape (k, 2), optional
        True pairs that are not asked for, such as those trained on: they take no rank.
    device : torch.device or str
        Of the tensors.
    block : int, optional
        Nodes at a time; by default as many as keep intermediate tensors below 32 MiB.

    Returns
    -------
    Ranking
        Edges in the order given.

    Raises
    ------
    ValueError
        If there is no edge, or a dissimilarity is NaN or infinite.
    """
    edges = np.asarray(edges, dtype=np.int64)
    if not len(edges):
        raise ValueError("there is no edge to rank; give at least one pair (child, ancestor)")
    order = np.argsort(edges[:, 0], kind="stable")
    queries, first, counts = np.unique(edges[order, 0], return_index=True, return_counts=True)
    ranks = np.empty(len(edges), dtype=np.int64)
    precision = np.empty(len(queries))
    skipped = _by_child(ignored, n_nodes)
    block = block or max(1, _BLOCK_NUMBERS // n_nodes)
    for start in range(0, len(queries), block):
        here = slice(start, start + block)
        u = torch.from_numpy(queries[here]).to(device)
        far = dissimilarity(u)
        if not bool(torch.isfinite(far).all()):
            raise ValueError(
                "distances are NaN or infinite; the embedding has diverged, lower its learning rate"
            )
        rows = torch.arange(len(u), device=u.device)
        far[rows, u] = torch.inf
        n, width = counts[here], int(counts[here].max())
        filled = np.arange(width) < n[:, None]
        # Edges of one child follow each other in `order`.
        positions = np.where(filled, first[here][:, None] + np.arange(width), 0)
        ancestors = torch.from_numpy(edges[order[positions], 1]).to(u.device)
        mask = torch.from_numpy(filled).to(u.device)
        if skipped is not None:
            row, column = skipped(queries[here])
            far[torch.from_numpy(row).to(u.device), torch.from_numpy(column).to(u.device)] = (
                torch.inf
            )
        at = far.gather(1, ancestors).masked_fill(~mask, torch.inf)
        counted = _counts(far, at)
        # Divided in float64 on the CPU: not every device has it.
        n_all, n_true = (count.cpu().numpy() for count in counted)
        shares = np.divide(n_true, n_all, where=filled, out=np.zeros(filled.shape))
        precision[here] = shares.sum(1) / n
        rank = n_all - n_true + 1
        ranks[order[positions[filled]]] = rank[filled]
    return Ranking(ranks, queries, precision)


def _counts(far: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Count the nodes, and the ancestors, that are at most as far as each ancestor.

    Parameters
    ----------
    far : Tensor, shape (b, n_nodes)
    at : Tensor, shape (b, p)
        Values of `far` at the ancestors, infinite where there are fewer.

    Returns
    -------
    n_all, n_true : Tensor of int64, shape (b, p)
    """
    levels, order = at.sort(dim=1)
    # Every node falls between two ancestors: how many fall where is counted once per node.
    place = torch.searchsorted(levels, far)
    bins = torch.zeros((len(at), at.shape[1] + 1), dtype=torch.int64, device=at.device)
    bins.scatter_add_(1, place, torch.ones_like(place))
    n_all = bins.cumsum(1)[:, :-1]
    # Ties: an ancestor counts the nodes of all ancestors at its level.
    n_true = torch.searchsorted(levels, levels, right=True)
    n_all = n_all.gather(1, (n_true - 1))
    back = order.argsort(dim=1)
    return n_all.gather(1, back), n_true.gather(1, back)


def _by_child(
    pairs: np.ndarray | None, n_nodes: int
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None:
    """Return a function from nodes to rows and columns of their pairs."""
    if pairs is None or not len(pairs):
        return None
    pairs = np.asarray(pairs, dtype=np.int64)
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    bounds = np.searchsorted(pairs[:, 0], np.arange(n_nodes + 1))

    def of(nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lengths = bounds[nodes + 1] - bounds[nodes]
        rows = np.repeat(np.arange(len(nodes)), lengths)
        offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return rows, pairs[bounds[nodes][rows] + offsets, 1]

    return of


@torch.no_grad()
def nearest_nodes(
    dissimilarity: Dissimilarity,
    nodes: np.ndarray,
    n_nodes: int,
    *,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Return the nearest other node of each node.

    Parameters
    ----------
    dissimilarity : callable
        From nodes (b,) to distances (b, n_nodes).
    nodes : ndarray of int64, shape (k,)
    n_nodes : int
    device : torch.device or str

    Returns
    -------
    ndarray of int64, shape (k,)
    """
    block = max(1, _BLOCK_NUMBERS // n_nodes)
    found = []
    for start in range(0, len(nodes), block):
        u = torch.from_numpy(np.array(nodes[start : start + block], dtype=np.int64)).to(device)
        far = dissimilarity(u)
        far[torch.arange(len(u), device=u.device), u] = torch.inf
        found.append(far.argmin(1).cpu().numpy())
    return np.concatenate(found)


@dataclass(frozen=True)
class Distortion:
    """How distances of an embedding differ from steps in the taxonomy.

    Attributes
    ----------
    mean : float
        Mean of ``|s d / g - 1|`` over pairs with the scale s that fits best (least squares):
        0 is perfect.
    worst : float
        Largest ``d / g`` over the smallest, 1 is perfect; infinite if two nodes coincide.
    """

    mean: float
    worst: float


def distortion(embedded: np.ndarray, graph: np.ndarray) -> Distortion:
    """Compare distances of an embedding with those of the taxonomy, up to a common scale.

    Parameters
    ----------
    embedded : ndarray, shape (k, n)
        Distances in the space.
    graph : ndarray, shape (k, n)
        Steps along edges; pairs at 0 (a node itself) or infinity (no connection) do not count.

    Returns
    -------
    Distortion
        NaN if no pair counts.
    """
    counts = np.isfinite(graph) & (graph > 0)
    if not counts.any():
        return Distortion(float("nan"), float("nan"))
    ratio = np.asarray(embedded, dtype=float)[counts] / np.asarray(graph, dtype=float)[counts]
    square = float(np.square(ratio).sum())
    scale = float(ratio.sum()) / square if square > 0 else 0.0
    smallest = float(ratio.min())
    worst = float(ratio.max()) / smallest if smallest > 0 else float("inf")
    return Distortion(float(np.abs(scale * ratio - 1).mean()), worst)


def depth_correlation(from_root: np.ndarray, depth: np.ndarray) -> float:
    """Rank correlation (Spearman) of distances to the root with depths in the taxonomy.

    Parameters
    ----------
    from_root : ndarray, shape (n,)
    depth : ndarray, shape (n,)

    Returns
    -------
    float
        From -1 to 1; NaN if either is constant.
    """
    if np.ptp(from_root) == 0 or np.ptp(depth) == 0:
        return float("nan")
    return float(stats.spearmanr(from_root, depth).statistic)
