"""Products of manifolds, their parameters, pairwise blocks and what loading leaves of types."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from hypeeg.geometry import (
    Euclidean,
    KeepsManifoldParameters,
    Lorentz,
    LorentzTangent,
    ManifoldParameter,
    PoincareBall,
    Product,
    ProductParameter,
)
from hypeeg.geometry.pairwise import pairwise


def make():
    lorentz = Lorentz(0.5, learnable=True)
    return Product([lorentz, Euclidean(), PoincareBall(2.0), lorentz], [3, 2, 2, 1])


def test_every_factor_does_its_part():
    m = make()
    generator = torch.Generator().manual_seed(0)
    x, y, u, g = 0.15 * torch.randn(4, 6, 8, dtype=torch.float64, generator=generator)
    parts = list(zip(m.factors, *(m.split(t) for t in (x, y, u, g)), strict=True))
    squares = sum(f.dist(a, b) ** 2 for f, a, b, _, _ in parts)
    torch.testing.assert_close(m.dist(x, y), squares.sqrt())
    squares = sum(f.dist0(a) ** 2 for f, a, *_ in parts)
    torch.testing.assert_close(m.dist0(x), squares.sqrt())
    inner = sum(f.inner(a, s, t) for f, a, _, s, t in parts)
    torch.testing.assert_close(m.inner(x, u, g), inner)
    for name, arguments in {
        "expmap": (x, u),
        "logmap": (x, y),
        "transp": (x, y, u),
        "egrad2rgrad": (x, g),
        "expmap0": (u,),
        "logmap0": (x,),
        "transp0": (x, u),
        "transp0back": (x, u),
        "projx": (x,),
    }.items():
        split = [m.split(t) for t in arguments]
        expected = [getattr(f, name)(*p) for f, *p in zip(m.factors, *split, strict=True)]
        torch.testing.assert_close(getattr(m, name)(*arguments), torch.cat(expected, -1))
    w = torch.rand(6, dtype=torch.float64)
    expected = [f.frechet_mean(a, w) for f, a, *_ in parts]
    torch.testing.assert_close(m.frechet_mean(x, w), torch.cat(expected, -1))
    torch.testing.assert_close(m.c, torch.tensor([0.5, 0.0, 2.0, 0.5]).double())
    assert m.learnable
    assert m.dim == 8
    assert m.manifolds[0] is m.manifolds[3]
    assert m.curvatures[1] is None
    assert len(list(m.parameters())) == 2


def test_parameters_of_a_product():
    m = make()
    start = 0.1 * torch.randn(5, 8)
    points = ProductParameter(start, m, decay=False)
    assert torch.equal(points(), start)
    kinds = [type(p) for p in points.components]
    assert kinds == [ManifoldParameter, nn.Parameter, ManifoldParameter, ManifoldParameter]
    assert points.components[0].manifold is points.components[3].manifold is m.manifolds[0]
    assert points.components[0].decay is False
    m.dist0(points()).sum().backward()
    assert all(p.grad.isfinite().all() for p in points.components)
    assert m.manifolds[0].curvature.log_c.grad is not None
    other = copy.deepcopy(points)
    assert other.components[0].manifold is other.manifold.manifolds[0] is not m.manifolds[0]
    assert torch.equal(pickle.loads(pickle.dumps(points))(), points())
    other.load_state_dict(m.parameter(start + 1).state_dict())
    assert torch.equal(other(), start + 1)
    assert not any(p.requires_grad for p in m.parameter(start, requires_grad=False).components)


def test_bad_products():
    with pytest.raises(ValueError, match=r"2 manifolds and dims=\(1,\)"):
        Product([Lorentz(), Euclidean()], [1])
    with pytest.raises(ValueError, match="one positive dimension"):
        Product([Lorentz()], [0])
    with pytest.raises(ValueError, match=r"8 coordinates .* got a last dimension of 7"):
        make().dist0(torch.zeros(3, 7))
    with pytest.raises(TypeError, match="pass its factors to one Product"):
        Product([make()], [8]).parameter(torch.zeros(1, 8))


@pytest.mark.parametrize("manifold", [Lorentz, LorentzTangent, PoincareBall])
def test_manifold_parameters_of_every_chart(manifold):
    p = ManifoldParameter(torch.zeros(2, 3), manifold(0.3), decay=False)
    for q in (copy.deepcopy(p), pickle.loads(pickle.dumps(p)), copy.copy(p)):
        assert isinstance(q, ManifoldParameter)
        assert isinstance(q.manifold, manifold)
        assert q.decay is False
        assert q.requires_grad
    assert ManifoldParameter(torch.zeros(2, 3), manifold(0.3)).decay is True
    with pytest.raises(TypeError, match="got Euclidean"):
        ManifoldParameter(torch.zeros(2), Euclidean())


class Points(KeepsManifoldParameters):
    def __init__(self, manifold):
        super().__init__()
        self.manifold = manifold
        self.p = ManifoldParameter(torch.ones(2, 3), manifold, decay=False)


def test_types_survive_meta_device_and_assignment():
    model = nn.Sequential(Points(Lorentz(0.3)), nn.Linear(2, 2))
    with torch.device("meta"):
        empty = nn.Sequential(Points(Lorentz(0.5)), nn.Linear(2, 2))
    assert empty[0].p.is_meta
    empty.to_empty(device="cpu")
    empty.load_state_dict(model.state_dict())
    assert torch.equal(empty[0].p, model[0].p)
    empty.load_state_dict({k: v.clone() for k, v in model.state_dict().items()}, assign=True)
    for p in (empty[0].p, model.to(torch.float64)[0].p):
        assert isinstance(p, ManifoldParameter)
        assert p.decay is False
        assert p.requires_grad
    assert empty[0].p.manifold is empty[0].manifold
    assert empty[0].manifold.curvature.value == pytest.approx(0.3)


@pytest.mark.parametrize("block_size", [1, 3, 7, 100])
def test_blocks_equal_the_whole(block_size):
    m = Lorentz(0.7, learnable=True)
    x, y = torch.randn(2, 7, 3, dtype=torch.float64), torch.randn(2, 5, 3, dtype=torch.float64)
    weight = torch.randn(2, 7, 5, dtype=torch.float64)
    results = []
    for size in (None, block_size):
        leaves = [t.clone().requires_grad_() for t in (x, y)]
        m.curvature.log_c.grad = None
        d = m.dist_pairwise(*leaves, block_size=size)
        (weight * d).sum().backward()
        results.append((d.detach(), *(t.grad for t in leaves), m.curvature.log_c.grad.clone()))
    for whole, blocks in zip(*results, strict=True):
        torch.testing.assert_close(blocks, whole)


def test_blocks_bound_the_memory():
    """Largest intermediate tensor that autograd keeps, counted rather than timed."""
    x, y = torch.randn(64, 4, requires_grad=True), torch.randn(64, 4, requires_grad=True)
    m = Lorentz(0.7)
    sizes = {}
    for size in (None, 4):
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, kept=kept: (kept.append(t.numel()), t)[1], lambda t: t
        ):
            m.dist_pairwise(x, y, block_size=size).sum()
        sizes[size] = sum(kept)
    assert sizes[4] < sizes[None] / 4
    assert m.dist_pairwise(x[:0], y).shape == (0, 64)
    assert m.dist_pairwise(x, y[:0]).shape == (64, 0)
    with pytest.raises(ValueError, match=r"block_size must be a positive number .* got 0"):
        m.dist_pairwise(x, y, block_size=0)


def test_large_sets_are_blocked_without_being_asked(monkeypatch):
    monkeypatch.setattr("hypeeg.geometry.pairwise._BLOCK_NUMBERS", 100)
    seen = []

    def distance(a, b):
        seen.append(a.shape[-3])
        return (a - b).norm(dim=-1)

    x, y = torch.randn(9, 3), torch.randn(10, 3)
    d = pairwise(distance, x, y)
    assert seen == [3, 3, 3]
    torch.testing.assert_close(d, torch.cdist(x, y))
