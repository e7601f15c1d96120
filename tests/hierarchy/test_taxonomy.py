"""Taxonomies against graphs written out by hand and against networkx-free brute force."""

from __future__ import annotations

import gzip
import itertools

import numpy as np
import pytest

from hypeeg.hierarchy import Taxonomy, TaxonomyError, balanced_tree, load_taxonomy, split_edges
from hypeeg.hierarchy.data import WORDNET, read_edges, wordnet_path

PAIRS = [
    ("poodle", "dog"),
    ("dog", "canine"),
    ("dog", "pet"),
    ("canine", "animal"),
    ("pet", "animal"),
    ("cat", "pet"),
]


def names(taxonomy):
    return {(taxonomy.nodes[a], taxonomy.nodes[b]) for a, b in taxonomy.edges}


def reachable(pairs):
    """Closure by asking for every pair of nodes, over and over."""
    found = set(pairs)
    while True:
        more = {(a, d) for (a, b), (c, d) in itertools.product(found, found) if b == c}
        if more <= found:
            return found
        found |= more


def test_closure_and_reduction_of_a_written_out_taxonomy():
    taxonomy = Taxonomy.from_pairs(PAIRS)
    assert names(taxonomy.closure()) == reachable(PAIRS)
    assert len(taxonomy.closure().edges) == 11
    assert names(taxonomy.closure().reduction()) == set(PAIRS)
    shortcut = Taxonomy.from_pairs([*PAIRS, ("poodle", "animal")])
    assert names(shortcut.reduction()) == set(PAIRS)


@pytest.mark.parametrize("seed", range(4))
def test_closure_and_reduction_of_random_taxonomies(seed):
    rng = np.random.default_rng(seed)
    a, b = np.triu_indices(12, 1)
    kept = rng.random(len(a)) < 0.25
    pairs = [(f"n{i:02d}", f"n{j:02d}") for i, j in zip(a[kept], b[kept], strict=True)]
    taxonomy = Taxonomy.from_pairs(pairs)
    closed = reachable(pairs)
    assert names(taxonomy.closure()) == closed
    direct = {
        (u, v)
        for u, v in closed
        if not any((u, w) in closed and (w, v) in closed for w in taxonomy.nodes.tolist())
    }
    assert names(taxonomy.reduction()) == direct


def test_depth_is_the_longest_way_up_also_in_a_closure():
    taxonomy = Taxonomy.from_pairs([*PAIRS, ("poodle", "animal")])
    depth = dict(zip(taxonomy.nodes.tolist(), taxonomy.depth.tolist(), strict=True))
    assert depth == {"animal": 0, "canine": 1, "cat": 2, "dog": 2, "pet": 1, "poodle": 3}
    np.testing.assert_array_equal(taxonomy.closure().depth, taxonomy.depth)


def test_distances_are_steps_of_the_tree():
    tree = balanced_tree(2, 3)
    steps = tree.distances()
    position = {name: i for i, name in enumerate(tree.nodes.tolist())}

    def written_out(a, b):
        a, b = a.split("."), b.split(".")
        common = sum(1 for _ in itertools.takewhile(lambda p: p[0] == p[1], zip(a, b)))
        return len(a) + len(b) - 2 * common

    for a, b in itertools.product(position, position):
        assert steps[position[a], position[b]] == written_out(a, b)


def test_balanced_tree_counts():
    tree = balanced_tree(3, 4)
    assert tree.n_nodes == 121
    assert tree.n_edges == sum(level * 3**level for level in range(1, 5))
    assert tree.reduction().n_edges == 120
    assert [tree.nodes[i] for i in tree.roots] == ["r"]


def test_branches_divide_the_largest_first():
    tree = balanced_tree(2, 4)
    labels = dict(zip(tree.nodes.tolist(), tree.branches(4).tolist(), strict=True))
    tops = {"r.0.0", "r.0.1", "r.1.0", "r.1.1"}
    assert set(labels.values()) == {*tops, "r"}
    assert all(labels[n] == n[:5] for n in labels if len(n) >= 5)
    assert labels["r.1"] == labels["r"] == "r"


def test_what_is_no_taxonomy_is_refused_with_the_nodes():
    with pytest.raises(TaxonomyError, match="'dog' is said to be a kind of itself"):
        Taxonomy.from_pairs([*PAIRS, ("dog", "dog")])
    with pytest.raises(TaxonomyError, match=r"circle through .*canine.*dog"):
        Taxonomy.from_pairs([*PAIRS, ("canine", "dog")])
    with pytest.raises(TaxonomyError, match="pairs"):
        Taxonomy.from_pairs([])
    with pytest.raises(TaxonomyError, match="0 to 1"):
        Taxonomy("t", np.array(["a", "b"]), np.array([[0, 2]]))


def test_own_edges_are_read_and_closed(tmp_path):
    path = tmp_path / "edges.csv.gz"
    text = "id1,id2,weight\n" + "".join(f"{a},{b},1\n" for a, b in PAIRS)
    path.write_bytes(gzip.compress(text.encode()))
    assert names(load_taxonomy(str(path))) == reachable(PAIRS)
    # A node may be called what pandas takes for a missing value.
    (tmp_path / "na.csv").write_text("id1,id2\nNA,null\n")
    assert load_taxonomy(str(tmp_path / "na.csv")).nodes.tolist() == ["NA", "null"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "column id1 and id2 is missing .found a, b."),
        ("id1,id2\nx,y\nz,\n", "line 3: id1 or id2 is empty"),
        ("", "cannot be read as a table"),
    ],
)
def test_damaged_tables_are_named(tmp_path, text, message):
    path = tmp_path / "edges.csv"
    path.write_text(text)
    with pytest.raises(TaxonomyError, match=message):
        read_edges(path)


def test_unknown_and_missing_data_say_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(TaxonomyError, match="known: WordNetMammals"):
        load_taxonomy("Mammals")
    with pytest.raises(TaxonomyError, match="no such file"):
        load_taxonomy(str(tmp_path / "none.csv"))
    monkeypatch.setenv("HYPEEG_DATA", "")
    with pytest.raises(TaxonomyError, match="HYPEEG_DATA is not set"):
        load_taxonomy("WordNetMammals")
    monkeypatch.setenv("HYPEEG_DATA", str(tmp_path))
    folder = tmp_path / "hierarchy" / "wordnet"
    folder.mkdir(parents=True)
    (folder / "mammal_closure.csv").write_text("id1,id2,weight\na,b,1\n")
    with pytest.raises(TaxonomyError, match="SHA-256"):
        load_taxonomy("WordNetMammals")


def test_held_out_pairs_follow_from_those_that_are_kept():
    tree = balanced_tree(3, 4)
    split = split_edges(tree, 0.3, random_state=5)
    assert len(split.test) == round(0.3 * (426 - 120))
    train = tree.with_edges(split.train)
    assert names(train.closure()) == names(tree)
    assert not names(tree.with_edges(split.test)) & names(train)
    assert names(tree.reduction()) <= names(train)
    again, other = split_edges(tree, 0.3, random_state=5), split_edges(tree, 0.3, random_state=6)
    np.testing.assert_array_equal(split.test, again.test)
    assert not np.array_equal(split.test, other.test)
    bare = split_edges(tree, 0.3, 5, train_share=0.0)
    assert names(tree.with_edges(bare.train)) == names(tree.reduction())
    np.testing.assert_array_equal(bare.test, split.test)


def test_splits_that_cannot_be_made_are_refused():
    with pytest.raises(TaxonomyError, match=r"held_out must lie between 0 and 1, got 1\.5"):
        split_edges(balanced_tree(2, 2), 1.5)
    with pytest.raises(TaxonomyError, match="leaves none"):
        split_edges(balanced_tree(3, 1), 0.5)


@pytest.mark.realdata
def test_wordnet_mammals(hypeeg_data, monkeypatch):
    monkeypatch.setenv("HYPEEG_DATA", str(hypeeg_data))
    if not (hypeeg_data / "hierarchy").is_dir():
        pytest.skip("HYPEEG_DATA holds no hierarchies")
    mammals = load_taxonomy("WordNetMammals")
    assert (mammals.n_nodes, mammals.n_edges) == (1180, 6540)
    assert [mammals.nodes[i] for i in mammals.roots] == ["mammal.n.01"]
    # The file says itself that it is closed, and mammal_tree.csv what its direct pairs are.
    assert mammals.closure().n_edges == 6540
    direct = read_edges(wordnet_path("WordNetMammals").with_name("mammal_tree.csv"))
    assert names(mammals.reduction()) == names(direct)
    assert len(set(mammals.branches().tolist())) <= 10
    assert WORDNET["WordNetMammals"].n_edges == mammals.n_edges
