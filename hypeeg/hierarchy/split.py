"""Edges to hold out: which pairs of a closed taxonomy can be asked for after training on the rest.

A pair of the transitive reduction ("poodle is a dog") follows from nothing else: held out, it could
not be predicted from the rest but by guessing. Held out are therefore, as for entailment cones
(Ganea et al. 2018), only pairs that the others imply ("poodle is an animal"): all direct edges stay
in the training set, so its transitive closure is the whole taxonomy, no node loses its place in
it, and what is tested is whether the geometry has understood transitivity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hypeeg.hierarchy.taxonomy import Taxonomy, TaxonomyError


@dataclass(frozen=True, eq=False)
class EdgeSplit:
    """A division of the pairs of a taxonomy.

    Attributes
    ----------
    train, test : ndarray of int64, shapes (n_train, 2), (n_test, 2)
        Pairs (child, ancestor), sorted.
    """

    train: np.ndarray
    test: np.ndarray


def split_edges(
    taxonomy: Taxonomy, held_out: float = 0.1, random_state: int = 0, train_share: float = 1.0
) -> EdgeSplit:
    """Hold out pairs that follow from the others.

    Parameters
    ----------
    taxonomy : Taxonomy
        Its closure is divided.
    held_out : float, default 0.1
        Share of the implied pairs that is tested.
    random_state : int, default 0
        Which ones.
    train_share : float, default 1.0
        Share of the other implied pairs that is trained on, beside all direct edges; 0 trains on
        direct edges alone.

    Returns
    -------
    EdgeSplit

    Raises
    ------
    TaxonomyError
        If a share lies outside its range, or no pair is left to test.
    """
    if not 0 < held_out < 1:
        raise TaxonomyError(f"held_out must lie between 0 and 1, got {held_out}")
    if not 0 <= train_share <= 1:
        raise TaxonomyError(f"train_share must lie in [0, 1], got {train_share}")
    closed, direct = taxonomy.closure().edges, taxonomy.reduction().edges
    n = taxonomy.n_nodes
    is_direct = np.isin(closed[:, 0] * n + closed[:, 1], direct[:, 0] * n + direct[:, 1])
    implied = np.flatnonzero(~is_direct)
    n_test = round(held_out * len(implied))
    if n_test == 0:
        raise TaxonomyError(
            f"{taxonomy.name}: held_out = {held_out} of {len(implied)} implied pairs leaves none "
            "to test; use a deeper taxonomy, or hold out more"
        )
    shuffled = np.random.default_rng(random_state).permutation(implied)
    test, others = shuffled[:n_test], shuffled[n_test:]
    kept = others[: round(train_share * len(others))]
    train = np.sort(np.concatenate([np.flatnonzero(is_direct), kept]))
    return EdgeSplit(closed[train], closed[np.sort(test)])
