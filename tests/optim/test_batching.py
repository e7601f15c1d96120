"""Joining parameters into tables changes nothing, copies nothing large and waits for no device."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from hypeeg.geometry import Lorentz, ManifoldParameter
from hypeeg.optim import RiemannianAdamW, tables
from hypeeg.optim.tables import RowBlock, sort_into_tables

SHAPES = [(3,), (5, 3), (2, 4, 3), (1, 3), (5, 2), (0, 3), (6000, 3)]


def run(batched, steps=6, dtype=torch.float64):
    torch.manual_seed(0)
    m = Lorentz(c=1.2, learnable=True)
    params = [ManifoldParameter(torch.randn(s, dtype=dtype), manifold=m) for s in SHAPES]
    # parameters of any layout
    params.append(ManifoldParameter(torch.randn(3, 7, dtype=dtype).T, manifold=m))
    optimizer = RiemannianAdamW(params, lr=0.05, foreach=batched, curvature_lr=0.05)
    for i in range(steps):
        for j, p in enumerate(params):
            g = torch.randn(*p.shape[:-1], 2 * p.shape[-1], dtype=dtype)
            p.grad = None if (i + j) % 5 == 0 else g[..., ::2]
        m.curvature.log_c.grad = torch.randn((), dtype=torch.float64)
        optimizer.step()
    return params, optimizer, m


def test_batched_and_unbatched_agree():
    for (p, opt, m), (q, reference, k) in [(run(True), run(False)), (run(None), run(False))]:
        assert m.curvature.value == pytest.approx(k.curvature.value, rel=1e-13)
        for a, b in zip(p, q, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)
            for name in ("step", "exp_avg", "exp_avg_sq"):
                if name in opt.state[a]:
                    torch.testing.assert_close(opt.state[a][name], reference.state[b][name])


def test_every_point_is_stepped_alone():
    """The table of one parameter equals as many parameters of one point."""
    x, m = torch.randn(6, 3, dtype=torch.float64), Lorentz(c=2.0)
    whole = ManifoldParameter(x.clone(), manifold=m)
    rows = [ManifoldParameter(row.clone(), manifold=m) for row in x]
    optimizers = [RiemannianAdamW([whole], lr=0.1), RiemannianAdamW(rows, lr=0.1)]
    for _ in range(5):
        g = torch.randn(6, 3, dtype=torch.float64)
        whole.grad = g
        for row, gradient in zip(rows, g, strict=True):
            row.grad = gradient
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(whole.detach(), torch.stack([r.detach() for r in rows]))


def test_what_shares_a_table():
    one, other = Lorentz(), Lorentz()

    def point(*shape, m=one, dtype=torch.float32):
        return ManifoldParameter(torch.ones(shape, dtype=dtype), manifold=m)

    together = [point(3), point(4, 3), point(2, 2, 3)]
    apart = [point(4), point(3, m=other), point(3, dtype=torch.float64), point(6000, 3)]
    lists = sort_into_tables([*together, *apart])
    assert [len(bucket) for bucket in lists] == [3, 1, 1, 1, 1]
    assert [len(b) for b in sort_into_tables(together, steps=[1.0, 2.0, 1.0])] == [2, 1]
    assert len(sort_into_tables(together, batch=False)) == 3


def test_a_lone_contiguous_tensor_is_not_copied():
    x = torch.randn(4, 5, 3)
    block = RowBlock([x])
    assert block.is_view
    assert block.rows.data_ptr() == x.data_ptr()
    joined = RowBlock([x, torch.randn(3)])
    assert not joined.is_view
    joined.rows.zero_()
    joined.write_back()
    assert x.abs().sum() == 0


def test_number_of_calls_does_not_grow_with_the_parameters():
    class Count(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.arithmetic = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            moved = ("detach", "view", "_local_scalar_dense", "cat", "copy", "split", "zeros_like")
            self.arithmetic += not any(word in func.name() for word in moved)
            return func(*args, **(kwargs or {}))

    counts = []
    for number in (2, 40):
        m = Lorentz()
        params = [ManifoldParameter(torch.randn(3), manifold=m) for _ in range(number)]
        optimizer = RiemannianAdamW(params)
        for p in params:
            p.grad = torch.randn(3)
        optimizer.step()
        with Count() as count:
            optimizer.step()
        counts.append(count.arithmetic)
    assert counts[0] == counts[1]


def test_only_step_counters_are_read(monkeypatch):
    """No number leaves a device: on the meta device nothing else could even be read."""

    class NoSync(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            waits = ("_local_scalar_dense", "aten::item", "is_nonzero", "nonzero", "equal")
            tensor = args[0] if args else None
            # whether a curvature moved is asked where it costs nothing: of one kept on the CPU
            at_rest = func.name() == "aten::equal" and tensor.dim() == 0 and tensor.is_cpu
            if any(word in func.name() for word in waits) and not at_rest:
                assert tensor.data_ptr() in counters, f"{func} reads a tensor on a device"
            return func(*args, **(kwargs or {}))

    m = Lorentz(learnable=True)
    params = [ManifoldParameter(torch.randn(s), manifold=m) for s in SHAPES]
    params += [ManifoldParameter(torch.randn(2, 3), manifold=m), nn.Parameter(torch.randn(4))]
    optimizer = RiemannianAdamW(params, weight_decay=0.1)
    for _ in range(2):
        for p in [*params[:-2], params[-1], m.curvature.log_c]:
            p.grad = torch.ones_like(p)
        optimizer.step()
    counters = {s["step"].data_ptr() for s in optimizer.state.values() if "step" in s}
    with NoSync():
        optimizer.step()


def test_steps_on_a_device_that_holds_no_numbers():
    with torch.device("meta"):
        m = Lorentz(learnable=True)
    params = [ManifoldParameter(torch.empty(s, device="meta"), manifold=m) for s in SHAPES]
    params.append(ManifoldParameter(torch.empty(3, device="meta"), manifold=m))
    weight = nn.Parameter(torch.empty(5, device="meta"))
    optimizer = RiemannianAdamW([*params, weight])
    for p in [*params[:-1], weight, m.curvature.log_c]:
        p.grad = torch.empty_like(p)
    for _ in range(2):
        optimizer.step()
    assert optimizer.state[params[0]]["step"].device.type == "cpu"
    assert optimizer.moment(params[1]).is_meta


def test_counters_of_a_checkpoint_return_to_the_cpu():
    p = ManifoldParameter(torch.ones(3), manifold=Lorentz())
    optimizer = RiemannianAdamW([p])
    p.grad = torch.ones(3)
    optimizer.step()
    state = optimizer.state_dict()

    class Remote(torch.Tensor):
        """Stands for a counter that torch.load put onto a device."""

        def cpu(self):
            return torch.tensor(float(self)).as_subclass(torch.Tensor)

    state["state"][0]["step"] = state["state"][0]["step"].as_subclass(Remote)
    optimizer.load_state_dict(state)
    assert type(optimizer.state[p]["step"]) is torch.Tensor


def test_working_memory_is_reused_and_not_saved():
    p = ManifoldParameter(torch.randn(200, 8), manifold=Lorentz())
    optimizer = RiemannianAdamW([p])
    p.grad = torch.randn(200, 8)
    optimizer.step()
    buffer = optimizer._scratch.like(p)
    optimizer.step()
    assert optimizer._scratch.like(p).data_ptr() == buffer.data_ptr()
    assert "_scratch" not in optimizer.__getstate__()


def test_mixed_dtypes_in_one_optimizer(monkeypatch):
    monkeypatch.setattr(tables, "_LARGE_CPU", 10)
    m = Lorentz(learnable=True)
    p = ManifoldParameter(torch.ones(4, 3), manifold=m)
    q = ManifoldParameter(torch.ones(4, 3, dtype=torch.float64), manifold=m)
    optimizer = RiemannianAdamW([p, q])
    for _ in range(3):
        p.grad, q.grad = torch.ones_like(p), torch.ones_like(q)
        optimizer.step()
    torch.testing.assert_close(p.detach().double(), q.detach(), rtol=1e-5, atol=1e-6)
