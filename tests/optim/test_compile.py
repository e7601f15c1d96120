"""The compiled step: the same numbers, one graph, no compilation anew from step to step."""

from __future__ import annotations

import copy

import pytest
import torch
from ambient_oracle import CHARTS
from torch import nn
from torch.optim import lr_scheduler

from hypeeg.geometry import ManifoldParameter
from hypeeg.optim import RiemannianAdam, RiemannianAdamW, RiemannianSGD, base

F64 = torch.float64
KINDS = [
    (RiemannianSGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (RiemannianSGD, {}),
    (RiemannianAdam, {"weight_decay": 0.1, "amsgrad": True}),
    (RiemannianAdamW, {"weight_decay": 0.1}),
]


@pytest.fixture
def compiled(monkeypatch):
    """Compile without inductor, refuse graph breaks, and count compilations."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    functions = {}

    def compile_(function):
        if function not in functions:
            functions[function] = torch.compile(function, backend=backend, fullgraph=True)
        return functions[function]

    torch._dynamo.reset()
    monkeypatch.setattr(base, "compiled", compile_)
    return graphs


def run(kind, options, chart, dtype, compile_, steps, graphs=None):
    """Train with every number of the step changing, and return points and state."""
    torch.manual_seed(0)
    m = CHARTS[chart](1.0, learnable=True)
    p = ManifoldParameter(0.2 * torch.randn(6, 3, dtype=dtype), m)
    idle = ManifoldParameter(0.2 * torch.randn(5, 3, dtype=dtype), m)
    optimizer = kind([p, idle], lr=0.05, compile=compile_, **options)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.9)
    for step in range(steps):
        p.grad = torch.randn(6, 3, dtype=dtype)
        m.curvature.log_c.grad = torch.randn((), dtype=F64)
        optimizer.step()
        scheduler.step()
        if graphs is not None and step == 3:
            graphs.append("early")
    return [p.detach(), idle.detach(), m.c.detach()]


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("chart", CHARTS)
def test_equals_the_eager_step_and_compiles_once(compiled, kind, options, chart):
    for dtype in (torch.float32, F64):
        expected = run(kind, options, chart, dtype, False, 8)
        compiled.clear()
        got = run(kind, options, chart, dtype, True, 8, compiled)
        tolerance = {"rtol": 1e-12, "atol": 1e-12} if dtype == F64 else {}
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a, b, **tolerance)
        assert compiled[-1] == "early"
        assert 1 <= len(compiled) - 1 <= 4


def test_rows_of_any_number(compiled):
    """Sparse gradients name another number of rows at every step."""
    m = CHARTS["lorentz"](1.0)
    params = [ManifoldParameter(torch.ones(40, 3, dtype=F64), m) for _ in range(2)]
    optimizers = [RiemannianAdamW([p], lr=0.1, compile=c) for p, c in zip(params, (True, False))]
    for k in (3, 5, 4, 9, 17, 2, 30):
        index, g = torch.randperm(40)[:k], torch.randn(k, 3, dtype=F64)
        for p, optimizer in zip(params, optimizers, strict=True):
            p.grad = torch.sparse_coo_tensor(index[None], g, (40, 3), check_invariants=True)
            optimizer.step()
    torch.testing.assert_close(*[p.detach() for p in params], rtol=1e-12, atol=1e-12)
    assert len(compiled) <= 4


def test_compiling_the_whole_step_is_one_graph_break():
    """As one does with torch's own optimisers; it must not fall to pieces."""
    m = CHARTS["lorentz"](1.0, learnable=True)
    x = torch.randn(6, 3)
    results = []
    for whole in (True, False):
        p, w = ManifoldParameter(x.clone(), m), nn.Parameter(torch.ones(2))
        m.curvature.log_c.data.zero_()
        optimizer = RiemannianAdamW([p, w], lr=0.1)
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        step = torch.compile(optimizer.step, backend="eager") if whole else optimizer.step
        for _ in range(4):
            p.grad, w.grad = torch.ones_like(p), torch.ones_like(w)
            step()
        results.append(p.detach())
        assert sum(torch._dynamo.utils.counters["graph_break"].values()) == whole
    assert torch.equal(*results)


def test_copies_stay_compiled(compiled):
    p = ManifoldParameter(torch.ones(4, 3), CHARTS["lorentz"]())
    optimizer = RiemannianAdamW([p, nn.Parameter(torch.ones(2))], compile=True)
    p.grad = torch.ones(4, 3)
    optimizer.step()
    twin, twin_optimizer = copy.deepcopy((p, optimizer))
    assert twin_optimizer.compile
    for q, o in ((p, optimizer), (twin, twin_optimizer)):
        q.grad = torch.ones(4, 3)
        o.step()
    assert torch.equal(p, twin)
