"""Row-sparse gradients step the rows they name and nothing else."""

from __future__ import annotations

import copy

import pytest
import torch
from ambient_oracle import CHARTS
from torch import nn
from torch.nn.functional import embedding

from hypeeg.geometry import Lorentz, ManifoldParameter
from hypeeg.optim import (
    RiemannianAdam,
    RiemannianAdamW,
    RiemannianSGD,
    clip_grad_norm_,
    riemannian_grad_norm,
)

F64 = torch.float64
KINDS = [
    (RiemannianSGD, {"momentum": 0.9, "nesterov": True}),
    (RiemannianAdam, {"weight_decay": 0.1, "amsgrad": True}),
    (RiemannianAdamW, {"weight_decay": 0.1}),
]
kinds = pytest.mark.parametrize(("kind", "options"), KINDS)


def sparse(index, values, rows):
    return torch.sparse_coo_tensor(
        torch.tensor(index)[None], values, (rows, *values.shape[1:]), check_invariants=True
    )


@kinds
@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_steps_equal_dense_ones_on_the_rows_they_name(kind, options, chart, dtype):
    """Every row named at every step; others are a parameter that idles."""
    m = CHARTS[chart](0.8)
    x = 0.2 * torch.randn(7, 3, dtype=dtype)
    table = ManifoldParameter(x.clone(), m)
    rows = ManifoldParameter(x[[5, 1, 2]].clone(), m)
    one, other = kind([table], lr=0.05, **options), kind([rows], lr=0.05, **options)
    for _ in range(5):
        g = torch.randn(3, 3, dtype=dtype)
        table.grad, rows.grad = sparse([5, 1, 2], g, 7), g
        one.step()
        other.step()
    torch.testing.assert_close(table[[5, 1, 2]], rows, rtol=1e-6, atol=1e-7)
    idle = [0, 3, 4, 6]
    assert torch.equal(table[idle], x[idle])
    for name in set(one.state[table]) - {"step"}:
        assert not one.state[table][name][idle].any()
        torch.testing.assert_close(one.state[table][name][[5, 1, 2]], other.state[rows][name])


def test_is_lazy_as_sparse_adam_is():
    """In flat space, vectors of size 1: torch.optim.SparseAdam, rows coming and going."""
    x = torch.randn(20, 1, dtype=F64)
    p = ManifoldParameter(x.clone(), Lorentz(1e-12, bounds=(1e-13, 1.0)))
    q = nn.Parameter(x.clone())
    # SparseAdam adds eps before the bias correction, Adam after it
    options = {"lr": 0.03, "eps": 1e-12}
    ours, torchs = RiemannianAdam([p], **options), torch.optim.SparseAdam([q], **options)
    for _ in range(60):
        index = torch.randint(0, 20, (8,)).tolist()  # some of them twice
        g = torch.randn(8, 1, dtype=F64)
        p.grad, q.grad = sparse(index, g, 20), sparse(index, g, 20)
        ours.step()
        torchs.step()
        torch.testing.assert_close(p.detach(), q.detach(), rtol=0, atol=1e-8)
    assert (q - x).abs().max() > 0.1


@kinds
@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("move", ["exp", "scale"])
def test_a_change_of_curvature_carries_all_rows(kind, options, chart, move):
    m = CHARTS[chart](1.0, learnable=True)
    table = ManifoldParameter(0.2 * torch.randn(6, 3, dtype=F64), m)
    optimizer = kind([table], lr=0.05, curvature_lr=0.1, curvature_move=move, **options)
    radius = m.dist0(table.detach())
    table.grad = sparse([2], torch.zeros(1, 3, dtype=F64), 6)
    m.curvature.log_c.grad = torch.tensor(1.0, dtype=F64)
    optimizer.step()
    ratio = 1.0 if move == "exp" else m.curvature.value**-0.5
    assert m.curvature.value < 0.95
    idle = [0, 1, 3, 4, 5]
    torch.testing.assert_close(m.dist0(table.detach())[idle], ratio * radius[idle])


@pytest.mark.parametrize("chart", CHARTS)
def test_consistent_gradient_of_the_curvature_is_that_of_the_dense_one(chart):
    used = []
    for is_sparse in (True, False):
        m = CHARTS[chart](1.3, learnable=True)
        weight = ManifoldParameter(torch.linspace(-0.3, 0.5, 15, dtype=F64).view(5, 3), m)
        optimizer = RiemannianAdamW([weight], curvature_gradient="consistent", maximize=True)
        rows = embedding(torch.tensor([1, 3, 3]), weight, sparse=is_sparse)
        m.dist_pairwise(rows, rows).sum().backward()
        assert weight.grad.is_sparse is is_sparse
        optimizer.step()
        used.append(optimizer.state[m.curvature.log_c]["exp_avg"])
    torch.testing.assert_close(*used)


def test_an_embedding_layer():
    """The layer of torch with its weight put on a manifold; rows of more than one point."""
    m = Lorentz(1.0, learnable=True)
    layer = nn.Embedding(50, 4, sparse=True)
    layer.weight = ManifoldParameter(0.01 * torch.randn(50, 4), m)
    optimizer = RiemannianAdamW([*layer.parameters(), *m.parameters()], lr=0.05)
    pairs = torch.tensor([[0, 1], [2, 3], [0, 3]])
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        x = layer(pairs)
        loss = (m.dist(x[:, 0], x[:, 1]) - 1).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]

    points = ManifoldParameter(torch.randn(4, 2, 3), Lorentz())
    before = points.detach().clone()
    points.grad = sparse([3], torch.randn(1, 2, 3), 4)
    RiemannianAdamW([points]).step()
    assert (points[3] != before[3]).all()
    assert torch.equal(points[:3], before[:3])


def test_euclidean_embeddings_under_sgd():
    p, q = (nn.Parameter(torch.ones(6, 2)) for _ in range(2))
    ours, torchs = (
        RiemannianSGD([p], lr=0.1, momentum=0.9),
        torch.optim.SGD([q], lr=0.1, momentum=0.9),
    )
    for _ in range(3):
        g = torch.randn(2, 2)
        p.grad, q.grad = sparse([4, 0], g, 6), sparse([4, 0], g, 6)
        ours.step()
        torchs.step()
    assert torch.equal(p, q)


def test_resume_with_sparse_gradients_is_bit_exact():
    m = Lorentz(1.0)
    gradients = [sparse([i % 5, 7], torch.randn(2, 3), 9) for i in range(8)]
    x = torch.randn(9, 3)

    def run(p, optimizer, part):
        for g in part:
            p.grad = g
            optimizer.step()

    p = ManifoldParameter(x.clone(), m)
    optimizer = RiemannianAdamW([p], lr=0.1)
    run(p, optimizer, gradients[:4])
    q = ManifoldParameter(p.detach().clone(), m)
    again = RiemannianAdamW([q])
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    run(p, optimizer, gradients[4:])
    run(q, again, gradients[4:])
    assert torch.equal(p, q)


@pytest.mark.parametrize("chart", CHARTS)
def test_clipping(chart):
    m = CHARTS[chart](2.0)
    p = ManifoldParameter(0.3 * torch.randn(6, 3, dtype=F64), m)
    g = torch.randn(3, 3, dtype=F64)
    p.grad = sparse([4, 0, 4], g, 6)
    norm = riemannian_grad_norm(p)
    twin = ManifoldParameter(p.detach().clone(), m)
    twin.grad = p.grad.to_dense()
    torch.testing.assert_close(riemannian_grad_norm(twin), norm)
    assert clip_grad_norm_([p], 0.1 * norm.item()) == norm
    torch.testing.assert_close(p.grad.to_dense(), 0.1 * twin.grad, rtol=1e-5, atol=0)
    p.grad = p.grad.to_dense().to_sparse()
    with pytest.raises(RuntimeError, match="does not name whole rows"):
        clip_grad_norm_([p], 1.0)
