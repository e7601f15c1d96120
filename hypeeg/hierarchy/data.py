"""Taxonomies to embed: WordNet's mammals and nouns, one's own edges, and a balanced tree."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hypeeg.hierarchy.taxonomy import Taxonomy, TaxonomyError

DATA_VARIABLE = "HYPEEG_DATA"


@dataclass(frozen=True)
class WordNetFile:
    """A file of WordNet 3.0 under ``$HYPEEG_DATA/hierarchy/wordnet``.

    Attributes
    ----------
    file : str
        Its name; pairs of the transitive closure, columns ``id1, id2, weight``.
    n_nodes, n_edges : int
        What it holds.
    sha256 : str
        Of its bytes.
    """

    file: str
    n_nodes: int
    n_edges: int
    sha256: str


WORDNET = {
    "WordNetMammals": WordNetFile(
        "mammal_closure.csv",
        1180,
        6540,
        "e85e1a84f04ab7d5627bd79dd28ff1d7ced17ac7aacfcfbcffe4c439baa91a7a",
    ),
    "WordNetNouns": WordNetFile(
        "noun_closure.csv.gz",
        82115,
        743086,
        "27b60228d4991eea069f51053d5765ebfbcfba0433f1fe98236b6c56d7b56e22",
    ),
}
"""Transitive closures of WordNet 3.0 (its notice lies beside the files)."""

NAMES = (*WORDNET, "BalancedTree")
"""Data sets that are known by name; anything that ends in .csv or .csv.gz is a file of edges."""


def is_edge_file(name: str) -> bool:
    """Whether a data set is named by a path to a table of edges."""
    return name.lower().endswith((".csv", ".csv.gz"))


def load_taxonomy(name: str, *, branching: int = 3, depth: int = 4) -> Taxonomy:
    """Read a taxonomy, closed under "is a kind of".

    Parameters
    ----------
    name : str
        ``"WordNetMammals"``, ``"WordNetNouns"`` (both under ``$HYPEEG_DATA``), ``"BalancedTree"``,
        or a path to a CSV file with columns ``id1`` (child) and ``id2`` (ancestor); further
        columns are not read.
    branching, depth : int
        Of the balanced tree.

    Returns
    -------
    Taxonomy
        Its edges are the transitive closure, whether or not a file holds all of it.

    Raises
    ------
    TaxonomyError
        If the name is unknown, the file is missing, damaged or no table of edges, or its edges
        run in a circle.
    """
    if name in WORDNET:
        return _read_wordnet(name)
    if name == "BalancedTree":
        return balanced_tree(branching, depth)
    if is_edge_file(name):
        path = Path(name).expanduser()
        if not path.is_file():
            raise TaxonomyError(f"{path}: no such file of edges (columns id1, id2)")
        return read_edges(path, path.name).closure()
    raise TaxonomyError(
        f"unknown taxonomy {name!r}; known: {', '.join(NAMES)}, or a path to a .csv file of edges"
    )


def balanced_tree(branching: int = 3, depth: int = 4) -> Taxonomy:
    """Return a tree in which every inner node has as many children, closed.

    Parameters
    ----------
    branching : int, default 3
        Children of an inner node.
    depth : int, default 4
        Steps from the root to a leaf.

    Returns
    -------
    Taxonomy
        Nodes are named by their way from the root, such as ``r.0.2``.

    Raises
    ------
    TaxonomyError
        If either is below 1, or the tree would have more than a million nodes.
    """
    if branching < 1 or depth < 1:
        raise TaxonomyError(f"branching and depth must be at least 1, got {branching} and {depth}")
    if sum(branching**level for level in range(depth + 1)) > 10**6:
        raise TaxonomyError(
            f"a tree of branching {branching} and depth {depth} has more than 10^6 nodes; lower one"
        )
    pairs: list[tuple[str, str]] = []
    level = ["r"]
    for _ in range(depth):
        below = []
        for parent in level:
            children = [f"{parent}.{i}" for i in range(branching)]
            pairs += [(child, parent) for child in children]
            below += children
        level = below
    return Taxonomy.from_pairs(pairs, f"BalancedTree({branching}, {depth})").closure()


def read_edges(path: str | Path, name: str | None = None) -> Taxonomy:
    """Read pairs (child, ancestor) from the columns ``id1`` and ``id2`` of a CSV file.

    Parameters
    ----------
    path : str or Path
        Plain or gzipped.
    name : str, optional
        Of the taxonomy; by default that of the file.

    Raises
    ------
    TaxonomyError
        If the file cannot be read, a column or a value is missing, or edges run in a circle.
    """
    import pandas as pd

    path = Path(path)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError, EOFError) as error:
        raise TaxonomyError(f"{path}: cannot be read as a table of edges: {error}") from error
    missing = [column for column in ("id1", "id2") if column not in table]
    if missing:
        raise TaxonomyError(
            f"{path}: column {' and '.join(missing)} is missing "
            f"(found {', '.join(table.columns)}); id1 names the child and id2 its ancestor"
        )
    pairs = table[["id1", "id2"]].to_numpy(dtype=str)
    empty = np.flatnonzero((pairs == "").any(axis=1))
    if len(empty):
        # Line 1 holds the names of the columns.
        raise TaxonomyError(f"{path}, line {empty[0] + 2}: id1 or id2 is empty; name both nodes")
    return Taxonomy.from_pairs(pairs, name or path.name)


def wordnet_path(name: str) -> Path:
    """Return where a file of WordNet lies.

    Raises
    ------
    TaxonomyError
        If ``HYPEEG_DATA`` is not set or the file is not there.
    """
    root = os.environ.get(DATA_VARIABLE, "").strip()
    inside = Path("hierarchy") / "wordnet" / WORDNET[name].file
    if not root:
        raise TaxonomyError(
            f"{name} is read from ${DATA_VARIABLE}/{inside.as_posix()} and {DATA_VARIABLE} is not "
            "set; set it to the data folder, or use BalancedTree or a file of edges"
        )
    path = Path(root).expanduser() / inside
    if not path.is_file():
        raise TaxonomyError(f"{path}: no such file; {DATA_VARIABLE} must name the data folder")
    return path


def _read_wordnet(name: str) -> Taxonomy:
    known, path = WORDNET[name], wordnet_path(name)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != known.sha256:
        raise TaxonomyError(
            f"{path}: SHA-256 is {found}, expected {known.sha256}; the file is damaged or another "
            "version, put back the original"
        )
    taxonomy = read_edges(path, name)
    if (taxonomy.n_nodes, taxonomy.n_edges) != (known.n_nodes, known.n_edges):
        raise TaxonomyError(
            f"{path}: {taxonomy.n_nodes} nodes and {taxonomy.n_edges} edges, expected "
            f"{known.n_nodes} and {known.n_edges}"
        )
    return taxonomy
