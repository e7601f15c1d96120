r"""Losses that place a taxonomy in a space, and the pairs they are taken over.

The softmax loss of Nickel and Kiela lets the distance of an edge (u, v) compete with those of
negatives, nodes v' that u is no kind of:

.. math:: L(u, v) = -\log \frac{e^{-d(u, v)}}{e^{-d(u, v)} + \sum_{v'} e^{-d(u, v')}}

Entailment cones (Ganea et al.) ask that a node lies in the cone behind each of its ancestors. The
energy of (u, v) is how far u lies outside the cone of v,
:math:`E(u, v) = \max(0, \Xi(v, u) - \psi(v))`, with the half-aperture
:math:`\psi(v) = \arcsin(2K / (\sqrt c |v_s|))` and :math:`\Xi` the angle at v between the ray from
the origin and the geodesic to u; the loss is :math:`E` of edges plus :math:`\max(0, \gamma - E)` of
negatives.

References
----------
M. Nickel, D. Kiela: Poincaré Embeddings for Learning Hierarchical Representations, NeurIPS 2017.
M. Nickel, D. Kiela: Learning Continuous Hierarchies in the Lorentz Model, ICML 2018.
O.-E. Ganea, G. Bécigneul, T. Hofmann: Hyperbolic Entailment Cones, ICML 2018 (the energy; here in
the coordinates of the Lorentz model).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

CONE_WIDTH = 0.1
"""K of the half-aperture."""

CONE_MARGIN = 0.1
"""Energy in radians that a negative shall have at least."""

# All pairs of up to 8192 nodes are looked up in a table of bytes, those of more in a sorted list.
_TABLE_NUMBERS = 2**26


class KnownPairs:
    """A set of pairs of nodes that many pairs at once can be looked up in, on any device.

    Parameters
    ----------
    edges : Tensor, shape (n_edges, 2), int64
        The pairs.
    n_nodes : int
        Nodes are 0 to ``n_nodes`` - 1.
    """

    def __init__(self, edges: Tensor, n_nodes: int) -> None:
        self._n_nodes = n_nodes
        keys = edges[:, 0] * n_nodes + edges[:, 1]
        self._keys = torch.sort(keys).values
        self._table: Tensor | None = None
        if n_nodes**2 <= _TABLE_NUMBERS:
            self._table = torch.zeros(n_nodes**2, dtype=torch.bool, device=edges.device)
            self._table[keys] = True

    def contains(self, u: Tensor, v: Tensor) -> Tensor:
        """Tell which pairs are known, without waiting for the device.

        Parameters
        ----------
        u, v : Tensor of int64, shapes that broadcast

        Returns
        -------
        Tensor of bool
        """
        keys = u * self._n_nodes + v
        if self._table is not None:
            return self._table[keys]
        at = torch.searchsorted(self._keys, keys).clamp_max_(len(self._keys) - 1)
        return self._keys[at] == keys


def draw_negatives(
    u: Tensor, known: KnownPairs, n_nodes: int, n_negatives: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw nodes evenly, and say which of them are no negatives.

    Parameters
    ----------
    u : Tensor of int64, shape (n,)
        Nodes to draw for.
    known : KnownPairs
        Pairs that are true.
    n_nodes : int
        Nodes to draw from.
    n_negatives : int
        How many for each.
    generator : torch.Generator
        On the device of ``u``.

    Returns
    -------
    nodes : Tensor of int64, shape (n, n_negatives)
    excluded : Tensor of bool, shape (n, n_negatives)
        Where a node is ``u`` itself or an ancestor of it.  They are left out rather than drawn
        again: how many they are is known to the device alone.
    """
    shape = (len(u), n_negatives)
    nodes = torch.randint(n_nodes, shape, device=u.device, generator=generator)
    column = u.unsqueeze(-1)
    return nodes, known.contains(column, nodes) | (nodes == column)


def softmax_loss(positive: Tensor, negative: Tensor, excluded: Tensor) -> Tensor:
    """Cross-entropy of edges among their negatives.

    Parameters
    ----------
    positive : Tensor, shape (n,)
        Distances of edges.
    negative : Tensor, shape (n, k)
        Distances to negatives.
    excluded : Tensor of bool, shape (n, k)
        Negatives that do not count.

    Returns
    -------
    Tensor, shape ()
        Mean over edges.
    """
    closeness = torch.cat(
        [-positive.unsqueeze(-1), (-negative).masked_fill(excluded, -math.inf)], dim=-1
    )
    return (torch.logsumexp(closeness, dim=-1) + positive).mean()


def cone_loss(positive: Tensor, negative: Tensor, excluded: Tensor) -> Tensor:
    """Energies of edges, and what those of negatives lack to the margin.

    Parameters
    ----------
    positive : Tensor, shape (n,)
        Energies of edges, see :func:`cone_energy`.
    negative : Tensor, shape (n, k)
        Energies of negatives.
    excluded : Tensor of bool, shape (n, k)
        Negatives that do not count.

    Returns
    -------
    Tensor, shape ()
        Mean over edges of an energy and the sum over its negatives.
    """
    lacking = F.relu(CONE_MARGIN - negative).masked_fill(excluded, 0.0)
    return (positive + lacking.sum(-1)).mean()


def cone_energy(child: Tensor, ancestor: Tensor, c: Tensor) -> Tensor:
    r"""How far a point lies outside the cone of another, in radians.

    With :math:`\rho` the distance to the origin times :math:`\sqrt c`, a the angle at the origin
    between the two points, the angle at the ancestor follows from the hyperbolic law of
    sines and cosines as ``atan2(sinh(rho_u) sin a, cosh(rho_v) sinh(rho_u) cos a -
    sinh(rho_v) cosh(rho_u))``, which loses no digits where an arc cosine would.

    Parameters
    ----------
    child, ancestor : Tensor, shapes (..., n) that broadcast
        Space parts.
    c : Tensor, shape ()
        Curvature magnitude; 0 for Euclidean space, whose cones have half-apertures
        :math:`\arcsin(K / |v|)`.

    Returns
    -------
    Tensor, shape (...)
        From 0, inside, to pi.
    """
    eps = torch.finfo(child.dtype).tiny ** 0.5
    length_u = torch.linalg.vector_norm(child, dim=-1).clamp_min(eps)
    length_v = torch.linalg.vector_norm(ancestor, dim=-1).clamp_min(eps)
    unit_u, unit_v = child / length_u.unsqueeze(-1), ancestor / length_v.unsqueeze(-1)
    cos = (unit_u * unit_v).sum(-1)
    across = torch.linalg.vector_norm(unit_u - cos.unsqueeze(-1) * unit_v, dim=-1)
    c = c.to(child)
    time_u = torch.sqrt(1 + c * length_u.square())
    time_v = torch.sqrt(1 + c * length_v.square())
    along = time_v * length_u * cos - length_v * time_u
    # A node seen from itself has no direction; any value keeps NaN out of the gradient.
    along = torch.where((across == 0) & (along == 0), torch.ones_like(along), along)
    angle = torch.atan2(length_u * across, along)
    # Near the origin no cone is that wide: there it is a half-space.
    root = torch.where(c > 0, c.sqrt() / 2, torch.ones_like(c))
    sine = (CONE_WIDTH / (root * length_v)).clamp_max(1 - 1e-6)
    return F.relu(angle - torch.asin(sine))
