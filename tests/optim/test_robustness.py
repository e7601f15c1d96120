"""Gradients too long for their dtype, curvatures at rest, and two optimisers of one curvature."""

from __future__ import annotations

import logging

import pytest
import torch

from hypeeg.geometry import Lorentz, ManifoldParameter
from hypeeg.optim import RiemannianAdam, RiemannianAdamW, RiemannianSGD, curvature_step
from hypeeg.optim.clip import riemannian_grad_norm
from hypeeg.optim.frame import vector_length
from hypeeg.optim.tables import RowBlock

KINDS = {
    "adamw": (RiemannianAdamW, {"lr": 0.01}),
    "adam": (RiemannianAdam, {"lr": 0.01, "weight_decay": 0.1}),
    "sgd": (RiemannianSGD, {"lr": 1e-21}),
    "momentum": (RiemannianSGD, {"lr": 1e-21, "momentum": 0.9}),
    "nesterov": (RiemannianSGD, {"lr": 1e-21, "momentum": 0.9, "nesterov": True}),
}


@pytest.mark.parametrize("rows", [3, 10_000])
@pytest.mark.parametrize("name", KINDS)
def test_gradients_whose_squares_overflow(name, rows):
    """In float32 1e20 has no square; a float64 table takes the same steps without trouble."""
    kind, options = KINDS[name]
    ends = {}
    for dtype in (torch.float32, torch.float64):
        p = ManifoldParameter(torch.full((rows, 8), 0.1, dtype=dtype), Lorentz(1.0))
        optimizer = kind([p], **options)
        for factor in (1.0, -0.5):
            p.grad = torch.full((rows, 8), factor * 1e20, dtype=dtype)
            optimizer.step()
        assert p.isfinite().all()
        ends[dtype] = p.detach().double()
    if "adam" not in name:  # the second moment of a float32 table is infinite: no further steps
        torch.testing.assert_close(ends[torch.float32], ends[torch.float64], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 20_000])
@pytest.mark.parametrize("long", [1e-15, 1.0, 1e19, 1e30])
def test_length_of_long_vectors(rows, long):
    v = torch.tensor([[3.0, 4.0, 0.0, 12.0]]).expand(rows, 4) * long
    torch.testing.assert_close(
        vector_length(v), torch.full((rows, 1), 13.0 * long, dtype=torch.float64), rtol=1e-6, atol=0
    )


def test_norm_of_long_gradients():
    p = ManifoldParameter(torch.zeros(1, 2), Lorentz(1.0))
    p.grad = torch.tensor([[3e25, 4e25]])
    torch.testing.assert_close(riemannian_grad_norm(p), torch.tensor(5e25))


def test_points_rest_when_the_curvature_does():
    """At a bound the step of log c is undone; points are then left alone to the last bit."""
    manifold = Lorentz(1.0, learnable=True, bounds=(0.5, 1.0))
    p = ManifoldParameter(torch.randn(50, 3), manifold)
    before = p.detach().clone()
    optimizer = RiemannianAdamW([p], curvature_lr=0.1)
    manifold.curvature.log_c.grad = torch.tensor(-1.0, dtype=torch.float64)
    optimizer.step()
    assert manifold.curvature.value == 1.0
    assert torch.equal(p, before)
    manifold.curvature.log_c.grad = torch.tensor(100.0, dtype=torch.float64)
    optimizer.step()
    assert manifold.curvature.value < 1.0
    assert not torch.equal(p, before)


def test_tables_move_in_pieces_as_in_one(monkeypatch):
    ends = []
    for rows in (7, 1000):
        monkeypatch.setattr(curvature_step, "_CACHED_ROWS", rows)
        torch.manual_seed(0)
        manifold = Lorentz(1.0, learnable=True)
        p = ManifoldParameter(torch.randn(50, 3), manifold)
        manifold.curvature.log_c.grad = torch.tensor(1.0, dtype=torch.float64)
        RiemannianAdamW([p], curvature_lr=0.1).step()
        ends.append(p.detach())
    assert torch.equal(*ends)


@pytest.mark.parametrize(
    "shapes", [[(3,), (3,)], [(2, 3), (1, 3)], [(2, 2, 3), (3,), (4, 3)], [(2, 1, 3), (2, 2, 3)]]
)
def test_tensors_of_any_dimension_join_and_come_back(shapes):
    tensors = [torch.randn(shape) for shape in shapes]
    expected = [2 * t for t in tensors]
    block = RowBlock(tensors)
    assert torch.equal(block.rows, torch.cat([t.reshape(-1, 3) for t in tensors]))
    block.rows.mul_(2)
    block.write_back()
    for t, e in zip(tensors, expected, strict=True):
        assert torch.equal(t, e)


def test_two_optimizers_that_take_turns_are_told(caplog):
    manifold = Lorentz(1.0, learnable=True)
    points = [ManifoldParameter(torch.randn(5, 3), manifold) for _ in range(2)]
    first, second = (RiemannianAdamW([p]) for p in points)

    def step(optimizer):
        manifold.curvature.log_c.grad = torch.tensor(1.0, dtype=torch.float64)
        optimizer.step()

    with caplog.at_level(logging.WARNING):
        step(first)
        step(first)
        step(second)  # may be what training goes on with
        step(second)
        assert not caplog.records
        step(first)
        step(second)
    assert len(caplog.records) == 1
    assert "two optimizers take turns" in caplog.records[0].message


def test_an_optimizer_that_is_gone_takes_no_turns(caplog):
    manifold = Lorentz(1.0, learnable=True)
    p = ManifoldParameter(torch.randn(5, 3), manifold)
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            manifold.curvature.log_c.grad = torch.tensor(1.0, dtype=torch.float64)
            RiemannianAdamW([p]).step()
    assert not caplog.records
