"""The estimator: what it learns, what it draws, and what it refuses."""

from __future__ import annotations

import math
import warnings

import mpmath
import numpy as np
import pytest
import torch
from sklearn.base import clone

from hypeeg.geometry import Lorentz, ManifoldParameter
from hypeeg.hierarchy import Taxonomy, TaxonomyEmbedding, TaxonomyError, balanced_tree, objectives
from hypeeg.hierarchy.objectives import (
    KnownPairs,
    cone_energy,
    cone_loss,
    draw_negatives,
    softmax_loss,
)
from hypeeg.training import TrainingDivergedError

QUICK = {"dim": 2, "epochs": 60, "lr": 0.1, "batch_size": 32, "n_negatives": 10, "burn_in": 5}


@pytest.fixture(scope="module")
def tree():
    return balanced_tree(2, 4)


@pytest.fixture(scope="module")
def fitted(tree):
    return TaxonomyEmbedding(**QUICK, learn_c=True, random_state=0, device="cpu").fit(tree)


@pytest.mark.parametrize("table", [True, False])
def test_negatives_are_no_ancestors_and_evenly_drawn(monkeypatch, table):
    if not table:
        monkeypatch.setattr(objectives, "_TABLE_NUMBERS", 0)
    edges = torch.tensor([[0, 1], [0, 2], [1, 2], [3, 2]])
    known = KnownPairs(edges, 5)
    grid = torch.cartesian_prod(torch.arange(5), torch.arange(5))
    expected = [tuple(pair) in {tuple(e) for e in edges.tolist()} for pair in grid.tolist()]
    assert known.contains(grid[:, 0], grid[:, 1]).tolist() == expected
    u = torch.tensor([0, 3])
    drawn, excluded = draw_negatives(u, known, 5, 20000, torch.Generator().manual_seed(0))
    assert set(drawn[0][~excluded[0]].tolist()) == {3, 4}
    assert set(drawn[1][~excluded[1]].tolist()) == {0, 1, 4}
    shares = torch.bincount(drawn[0]) / 20000
    assert (shares - 0.2).abs().max() < 0.015


def test_softmax_loss_is_that_of_the_paper():
    positive, negative = torch.tensor([0.5, 2.0]), torch.tensor([[1.0, 0.1], [3.0, 0.2]])
    excluded = torch.tensor([[False, False], [False, True]])
    first = -math.log(math.exp(-0.5) / (math.exp(-0.5) + math.exp(-1.0) + math.exp(-0.1)))
    second = -math.log(math.exp(-2.0) / (math.exp(-2.0) + math.exp(-3.0)))
    loss = softmax_loss(positive, negative, excluded)
    assert float(loss) == pytest.approx((first + second) / 2, rel=1e-6)


@mpmath.workdps(40)
def exterior_angle(u, v, c):
    """Angle at v between the geodesic to u and the ray on from the origin: law of cosines."""
    u, v, c = ([mpmath.mpf(float(x)) for x in p] for p in (u, v, [c]))
    c = c[0]

    def time(x):
        return mpmath.sqrt(1 / c + mpmath.fdot(x, x))

    def dist(x, y):
        return mpmath.acosh(c * (time(x) * time(y) - mpmath.fdot(x, y)))

    zero = [mpmath.mpf(0)] * len(u)
    a, b, side = dist(zero, v), dist(v, u), dist(zero, u)
    inside = (mpmath.cosh(a) * mpmath.cosh(b) - mpmath.cosh(side)) / (
        mpmath.sinh(a) * mpmath.sinh(b)
    )
    return mpmath.pi - mpmath.acos(inside)


@pytest.mark.parametrize("c", [0.3, 1.0, 4.0])
def test_cone_energy_against_the_law_of_cosines(c):
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, 20, 3)) * 2
    energy = cone_energy(*map(torch.tensor, (u, v)), torch.tensor(c, dtype=torch.float64))
    for i in range(20):
        width = mpmath.asin(2 * 0.1 / (mpmath.sqrt(c) * np.linalg.norm(v[i])))
        expected = max(0.0, float(exterior_angle(u[i], v[i], c) - width))
        assert float(energy[i]) == pytest.approx(expected, abs=1e-9)


def test_cones_hold_what_lies_behind_and_their_gradients_are_finite():
    apex = torch.tensor([1.0, 0.0], dtype=torch.float64)
    points = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    points.requires_grad_()
    energy = cone_energy(points, apex, torch.tensor(1.0))
    assert energy[0] == 0
    assert float(energy[1].detach()) == pytest.approx(math.pi - math.asin(0.2))
    loss = cone_loss(energy[:1], energy[None, 1:], torch.tensor([[False, True, False]]))
    loss.backward()
    assert torch.isfinite(points.grad).all()


def test_flat_cones_are_the_limit_of_small_curvature():
    rng = torch.Generator().manual_seed(0)
    u, v = torch.randn(2, 50, 3, generator=rng, dtype=torch.float64)
    # The aperture is another function of the radius; angles are what has a limit.
    flat = cone_energy(u, 1e3 * v, torch.tensor(0.0))
    near = cone_energy(1e-9 * u, 1e-6 * v, torch.tensor(1.0)) + math.asin(1 - 1e-6)
    angles = torch.acos(((u - 1e3 * v) * v).sum(-1) / (u - 1e3 * v).norm(dim=-1) / v.norm(dim=-1))
    width = torch.asin(0.1 / (1e3 * v.norm(dim=-1)))
    torch.testing.assert_close(flat, angles - width, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(near.clamp_min(angles), near, rtol=1e-6, atol=1e-4)


def test_a_small_tree_is_learned_and_points_are_on_the_hyperboloid(tree, fitted):
    assert isinstance(fitted.module_.points, ManifoldParameter)
    assert fitted.score(tree) > 0.6
    assert fitted.history_[-1]["train_loss"] < 0.5 * fitted.history_[0]["train_loss"]
    assert len(fitted.history_) == 60
    assert len(fitted.curvature_history_) == 61
    assert fitted.curvature_history_[0] == pytest.approx(1)
    assert fitted.curvature_history_[-1] == fitted.curvature_ != 1
    # The root lies inside: a tree grows outward from it.
    radius = np.linalg.norm(fitted.transform(), axis=1)
    assert radius[tree.roots[0]] < np.median(radius)


def test_the_twin_is_flat_and_worse_in_two_dimensions(tree, fitted):
    flat = clone(fitted).set_params(geometry="euclidean", device="cpu").fit(tree)
    assert flat.curvature_ is None
    assert flat.curvature_history_ == []
    assert not isinstance(flat.module_.points, ManifoldParameter)
    assert flat.score(tree) < fitted.score(tree) - 0.1


def test_hyperbolic_embedding_needs_its_geometry(tree, fitted):
    """Read as flat vectors, the points of a hyperbolic embedding tell the tree far worse."""
    points = torch.from_numpy(fitted.transform()).double()
    from hypeeg.hierarchy import rank_edges

    flat = rank_edges(lambda n: torch.cdist(points[n], points), tree.edges, tree.n_nodes)
    curved = rank_edges(
        lambda n: Lorentz(c=fitted.curvature_).dist_pairwise(points[n], points),
        tree.edges,
        tree.n_nodes,
    )
    assert curved.mean_average_precision == pytest.approx(fitted.score(tree), abs=1e-3)
    assert flat.mean_average_precision < curved.mean_average_precision - 0.1


def test_the_same_seed_gives_the_same_bits_and_another_does_not(tree):
    quick = {**QUICK, "epochs": 4}
    torch.manual_seed(0)
    before = torch.get_rng_state()
    a, b, c = (
        TaxonomyEmbedding(**quick, random_state=s, device="cpu").fit_transform(tree)
        for s in (1, 1, 2)
    )
    assert (a == b).all()
    assert not (a == c).all()
    assert (torch.get_rng_state() == before).all()


@pytest.mark.parametrize(
    "options",
    [
        {"objective": "cones", "warm_up": 20},
        {"objective": "cones", "warm_up": 20, "geometry": "euclidean"},
        {"distance": "squared"},
        {"distance": "squared", "geometry": "euclidean"},
        {"optimizer": "sgd", "lr": 1.0},
        {"optimizer": "adamw", "weight_decay": 1e-3},
    ],
)
def test_every_objective_and_optimiser_learns(tree, options):
    params = {**QUICK, "epochs": 40, **options}
    estimator = TaxonomyEmbedding(**params, random_state=0, device="cpu").fit(tree)
    start = TaxonomyEmbedding(**{**params, "epochs": 1}, random_state=0, device="cpu").fit(tree)
    assert estimator.score(tree) > start.score(tree) + 0.1


def test_names_lead_to_points(tree, fitted):
    both = fitted.transform(["r.0", "r"])
    np.testing.assert_array_equal(both, fitted.transform()[fitted.index(["r.0", "r"])])
    pairs = [("r.0", "r"), ("r.1", "r")]
    assert fitted.score(pairs) == fitted.score(Taxonomy.from_pairs(pairs))
    with pytest.raises(TaxonomyError, match=r"1 of 2 nodes are unknown: 'r.9'; did you mean 'r"):
        fitted.transform(["r", "r.9"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"geometry": "spherical"}, "geometry='spherical' is not known; allowed: lorentz"),
        ({"dim": 0}, "dim=0 must be a whole number from 1"),
        ({"epochs": 2.5}, "epochs=2.5"),
        ({"lr": -1.0}, "lr=-1.0 must be a positive number"),
        ({"c": 100.0}, "curvature magnitude"),
    ],
)
def test_wrong_parameters_are_named(tree, options, message):
    with pytest.raises(ValueError, match=message):
        TaxonomyEmbedding(**options, device="cpu").fit(tree)


def test_a_diverged_fit_says_in_which_epoch(tree, monkeypatch):
    from hypeeg.hierarchy import embedding

    calls = iter(range(10**6))

    def loss(positive, negative, excluded):
        return softmax_loss(positive, negative, excluded) * (math.nan if next(calls) > 25 else 1)

    monkeypatch.setattr(embedding, "softmax_loss", loss)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(TrainingDivergedError, match="epoch 7; lower lr"):
            # 98 pairs are 4 batches.
            TaxonomyEmbedding(**QUICK, random_state=0, device="cpu").fit(tree)


@pytest.mark.parametrize("geometry", ["lorentz", "euclidean"])
def test_saved_points_come_back_as_the_same_bits(tmp_path, tree, geometry):
    params = {**QUICK, "epochs": 3, "geometry": geometry, "learn_c": geometry == "lorentz"}
    estimator = TaxonomyEmbedding(**params, random_state=0, device="cpu").fit(tree)
    estimator.save(tmp_path / "model")
    loaded = TaxonomyEmbedding.load(tmp_path / "model", device="cpu")
    assert (loaded.transform() == estimator.transform()).all()
    assert loaded.nodes_.tolist() == estimator.nodes_.tolist()
    assert loaded.curvature_ == estimator.curvature_
    assert loaded.score(tree) == estimator.score(tree)
    assert loaded.history_ == estimator.history_
    assert {**loaded.get_params(), "device": 0, "random_state": 0} == {
        **estimator.get_params(),
        "device": 0,
        "random_state": 0,
    }


def test_damaged_folders_are_refused(tmp_path, fitted):
    fitted.save(tmp_path)
    nodes = tmp_path / "nodes.txt"
    nodes.write_text(nodes.read_text().replace("r.0", "x.0"))
    with pytest.raises(ValueError, match="the nodes are not those"):
        TaxonomyEmbedding.load(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors missing"):
        TaxonomyEmbedding.load(tmp_path)


def test_the_rate_burns_in_and_falls_to_its_end():
    from hypeeg.hierarchy.points import rate_factor

    rates = [rate_factor(epoch, 110, 10, 0.1, 0.2) for epoch in range(111)]
    assert rates[:10] == [0.1] * 10
    assert rates[10] == pytest.approx(1)
    assert rates[60] == pytest.approx(0.6)
    assert rates[110] == pytest.approx(0.2)


def test_data_that_cannot_be_written_to_raise_no_warning(tree):
    """Workers of a run share one copy of the data, mapped for reading."""
    edges = tree.edges.copy()
    edges.setflags(write=False)
    shared = Taxonomy(tree.name, tree.nodes, edges)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick = {**QUICK, "epochs": 6, "burn_in": 2}
        embedding = TaxonomyEmbedding(**quick, random_state=0, device="cpu").fit(shared)
        assert embedding.score(shared) > 0
