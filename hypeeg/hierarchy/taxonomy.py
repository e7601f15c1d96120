"""A taxonomy as data: which node is a kind of which other, and what follows from that.

Edges point from a node to what it is a kind of: (child, ancestor). Nothing here needs torch.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph


class TaxonomyError(ValueError):
    """Edges that are no taxonomy, or a taxonomy that cannot be found."""


@dataclass(frozen=True, eq=False)
class Taxonomy:
    """Nodes and the relation "is a kind of" between them.

    Attributes
    ----------
    name : str
        Of the data set.
    nodes : ndarray of str, shape (n_nodes,)
        Names of the nodes, each once.
    edges : ndarray of int64, shape (n_edges, 2)
        Pairs (child, ancestor) of indices into ``nodes``, sorted, each once.

    Examples
    --------
    >>> pairs = [("cat", "mammal"), ("dog", "mammal"), ("poodle", "dog")]
    >>> taxonomy = Taxonomy.from_pairs(pairs)
    >>> len(taxonomy.edges), len(taxonomy.closure().edges)
    (3, 4)
    >>> dict(zip(taxonomy.nodes.tolist(), taxonomy.depth.tolist()))
    {'cat': 1, 'dog': 1, 'mammal': 0, 'poodle': 2}
    """

    name: str
    nodes: np.ndarray
    edges: np.ndarray

    def __post_init__(self) -> None:
        edges = np.asarray(self.edges)
        if edges.ndim != 2 or edges.shape[1] != 2 or edges.dtype.kind not in "iu":
            raise TaxonomyError(
                f"{self.name}: edges must be integers of shape (n_edges, 2), got {edges.dtype} of "
                f"shape {edges.shape}"
            )
        if not len(edges):
            raise TaxonomyError(f"{self.name}: there is no edge; a taxonomy has at least one")
        if edges.min() < 0 or edges.max() >= len(self.nodes):
            raise TaxonomyError(
                f"{self.name}: edges name nodes {edges.min()} to {edges.max()}, and there are "
                f"{len(self.nodes)} (0 to {len(self.nodes) - 1})"
            )

    @classmethod
    def from_pairs(
        cls, pairs: Sequence[tuple[str, str]] | np.ndarray, name: str = "taxonomy"
    ) -> Taxonomy:
        """Make a taxonomy of pairs of names.

        Parameters
        ----------
        pairs : sequence of (str, str), or ndarray of shape (n, 2)
            Child and ancestor; repeated pairs count once.
        name : str
            For messages and records.

        Returns
        -------
        Taxonomy
            Nodes in alphabetical order.

        Raises
        ------
        TaxonomyError
            If a node is said to be a kind of itself, directly or around a circle.
        """
        table = np.asarray(pairs, dtype=str)
        if table.ndim != 2 or table.shape[1] != 2:
            raise TaxonomyError(
                f"{name}: expected pairs (child, ancestor), got shape {table.shape}; give at "
                "least one"
            )
        nodes, index = np.unique(table, return_inverse=True)
        edges = np.unique(index.reshape(-1, 2).astype(np.int64), axis=0)
        taxonomy = cls(name, nodes, edges)
        taxonomy._check_acyclic()
        return taxonomy

    @property
    def n_nodes(self) -> int:
        """How many nodes there are."""
        return len(self.nodes)

    @property
    def n_edges(self) -> int:
        """How many pairs (child, ancestor) there are."""
        return len(self.edges)

    def sha256(self) -> str:
        """Hash of nodes and edges, 64 hexadecimal digits."""
        digest = hashlib.sha256("\n".join(self.nodes.tolist()).encode("utf-8"))
        digest.update(np.ascontiguousarray(self.edges, dtype="<i8").tobytes())
        return digest.hexdigest()

    def with_edges(self, edges: np.ndarray) -> Taxonomy:
        """Return the same nodes with other edges, int64 (n, 2)."""
        return Taxonomy(self.name, self.nodes, np.asarray(edges, dtype=np.int64))

    @functools.cached_property
    def matrix(self) -> sparse.csr_array:
        """Sparse 0/1 matrix, shape (n_nodes, n_nodes): row child, column ancestor."""
        return _matrix(self.edges, self.n_nodes)

    def closure(self) -> Taxonomy:
        """Return the transitive closure: every node with all its ancestors."""
        reached = self.matrix
        while True:
            further = reached + reached @ reached
            further.data[:] = 1
            if further.nnz == reached.nnz:
                return self.with_edges(_edges(reached))
            reached = further

    def reduction(self) -> Taxonomy:
        """Return the transitive reduction: the pairs that no others imply."""
        closed = self.closure().matrix
        implied = closed @ closed
        implied.data[:] = 1
        direct = closed - closed.multiply(implied)
        direct.eliminate_zeros()
        return self.with_edges(_edges(sparse.csr_array(direct)))

    @functools.cached_property
    def depth(self) -> np.ndarray:
        """Longest way up to a root, int64 (n_nodes,); 0 for roots."""
        depth = np.zeros(self.n_nodes, dtype=np.int64)
        child, parent = self.edges.T
        while True:
            before = depth.copy()
            np.maximum.at(depth, child, depth[parent] + 1)
            if np.array_equal(before, depth):
                return depth

    @functools.cached_property
    def roots(self) -> np.ndarray:
        """Nodes that are a kind of nothing else, int64 (n_roots,)."""
        return np.setdiff1d(np.arange(self.n_nodes), self.edges[:, 0])

    def branches(self, n: int = 9) -> np.ndarray:
        """Divide the nodes into some ``n`` large branches, to colour and to name them by.

        The largest branch is divided into its children until there are ``n``, or none has as many
        nodes; a node belongs to the deepest branch above it, and what lies under none is named
        after the top of the largest tree.

        Parameters
        ----------
        n : int, default 9
            How many branches there are at most, beside what is above or outside of them.

        Returns
        -------
        ndarray of str, shape (n_nodes,)
            Name of the node at the top of each node's branch.
        """
        closed = self.closure().matrix
        below = np.asarray(closed.sum(axis=0)).ravel()
        direct = sparse.csc_array(self.reduction().matrix)
        tops = {int(root) for root in self.roots}
        while True:
            # A branch with fewer nodes than there are names to give would be all names.
            divisible = [t for t in tops if below[t] >= n]
            if len(tops) >= n or not divisible:
                break
            # The name decides between branches of one size, so that labels do not depend on order.
            largest = max(divisible, key=lambda t: (below[t], self.nodes[t]))
            children = direct.indices[direct.indptr[largest] : direct.indptr[largest + 1]]
            tops = (tops - {largest}) | {int(child) for child in children}
        kept = sorted(tops, key=lambda t: (-below[t], self.nodes[t]))[:n]
        top_of = np.full(self.n_nodes, -1)
        for top in sorted(kept, key=lambda t: (self.depth[t], -below[t])):
            column = closed[:, [top]].tocoo()
            top_of[column.coords[0]] = top
            top_of[top] = top
        rest = int(max(self.roots, key=lambda t: (below[t], self.nodes[t])))
        top_of[top_of < 0] = rest
        return self.nodes[top_of]

    def distances(self, sources: np.ndarray | None = None) -> np.ndarray:
        """Steps along direct edges, up or down, between nodes.

        Parameters
        ----------
        sources : ndarray of int, shape (k,), optional
            From which nodes; by default from all.

        Returns
        -------
        ndarray of float64, shape (k, n_nodes)
            Infinite between nodes of unconnected parts.
        """
        return csgraph.shortest_path(
            self.reduction().matrix, directed=False, unweighted=True, indices=sources
        )

    def _check_acyclic(self) -> None:
        loops = self.edges[self.edges[:, 0] == self.edges[:, 1], 0]
        if len(loops):
            raise TaxonomyError(
                f"{self.name}: {str(self.nodes[loops[0]])!r} is said to be a kind of itself "
                f"({len(loops)} such edges); remove them"
            )
        n_parts, part = csgraph.connected_components(self.matrix, connection="strong")
        if n_parts < self.n_nodes:
            sizes = np.bincount(part)
            around = self.nodes[part == int(sizes.argmax())]
            raise TaxonomyError(
                f"{self.name}: edges run in a circle through {', '.join(around[:5].tolist())}"
                f"{', …' if len(around) > 5 else ''}; a taxonomy has none"
            )


def _matrix(edges: np.ndarray, n: int) -> sparse.csr_array:
    ones = np.ones(len(edges), dtype=np.int32)
    return sparse.csr_array((ones, (edges[:, 0], edges[:, 1])), shape=(n, n))


def _edges(matrix: sparse.csr_array) -> np.ndarray:
    found = matrix.tocoo()
    edges = np.stack(found.coords, axis=1).astype(np.int64)
    return edges[np.lexsort((edges[:, 1], edges[:, 0]))]
