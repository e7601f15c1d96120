"""Optimisers on a GPU: the CPU's steps, and nothing that waits for the device."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from ambient_oracle import CHARTS
from contract_cases import OPTIMIZERS, parameter, start
from torch import nn

from hypeeg.geometry import Lorentz
from hypeeg.nn import HyperbolicMLP
from hypeeg.optim import RiemannianAdamW, RiemannianSAM, SharpnessAwareCurvature, clip_grad_norm_

F32, F64 = torch.float32, torch.float64
optimizers = pytest.mark.parametrize("name", OPTIMIZERS)
charts = pytest.mark.parametrize("chart", CHARTS)


class Model(nn.Module):
    """Points of which the distances are wanted, a learned curvature, and a flat weight."""

    def __init__(self, chart: str, dtype: torch.dtype, c: float = 0.7) -> None:
        super().__init__()
        self.points = parameter(start(c), c, chart, dtype, learnable=True)
        self.manifold = self.points.manifold
        self.weight = nn.Parameter(torch.ones(3, dtype=dtype))
        self.register_buffer("target", 0.3 * start(c).flip(0).to(dtype))

    def forward(self) -> torch.Tensor:
        y = self.manifold.to_lorentz(self.points)
        lorentz = Lorentz(curvature=self.manifold.curvature)
        near = lorentz.dist(y * self.weight, self.target).sum()
        return near * lorentz.c.sqrt() + lorentz.dist0(y).mean()


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, n: int) -> None:
    for _ in range(n):
        optimizer.zero_grad()
        model().backward()
        clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()


@optimizers
@charts
@pytest.mark.parametrize("move", ["exp", "scale"])
@pytest.mark.parametrize("gradient", ["autograd", "consistent"])
def test_steps_are_the_cpus(name, chart, move, gradient):
    kind, _, options = OPTIMIZERS[name]
    torch.manual_seed(0)
    here = Model(chart, F64)
    there = copy.deepcopy(here).cuda()
    options = {**options, "curvature_lr": 0.02, "curvature_move": move}
    for model in (here, there):
        steps(model, kind(model.parameters(), **options, curvature_gradient=gradient), 12)
    for (key, a), b in zip(here.named_parameters(), there.parameters(), strict=True):
        torch.testing.assert_close(b.detach().cpu(), a.detach(), rtol=1e-8, atol=1e-8, msg=key)
    assert abs(here.manifold.curvature.value / 0.7 - 1) > 0.01


@optimizers
@charts
@pytest.mark.parametrize("move", ["exp", "scale"])
@pytest.mark.parametrize("gradient", ["autograd", "consistent"])
def test_no_step_waits_for_the_device(name, chart, move, gradient, no_waiting):
    kind, _, options = OPTIMIZERS[name]
    torch.manual_seed(0)
    model = Model(chart, F32).cuda()
    optimizer = kind(
        model.parameters(), **options, curvature_lr=0.02, curvature_move=move,
        curvature_gradient=gradient,
    )  # fmt: skip
    steps(model, optimizer, 2)
    with no_waiting():
        steps(model, optimizer, 3)


@pytest.mark.parametrize("learned", [False, True])
def test_sparse_rows_are_the_cpus_and_do_not_wait(learned, no_waiting):
    ends = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        table = parameter(0.1 * torch.randn(50, 8, dtype=F64), 0.7, "lorentz", learnable=learned)
        holder = nn.ParameterList([table, *table.manifold.parameters()]).to(device)
        table = holder[0]
        optimizer = RiemannianAdamW(holder.parameters(), lr=0.05)

        def step(i, table=table, optimizer=optimizer, device=device):
            optimizer.zero_grad()
            rows = torch.arange(4).add(i).to(device, non_blocking=True)
            picked = nn.functional.embedding(rows, table, sparse=True)
            table.manifold.dist0(picked).square().sum().backward()
            optimizer.step()

        for i in range(6):
            step(i)
        ends.append([p.detach().cpu() for p in holder])
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-8, atol=1e-10)


def blobs(device: str) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 3
    x = torch.randn(60, 4, generator=generator) + 2 * torch.eye(4, 4)[y]
    return x.to(device).double(), y.to(device)


@pytest.mark.parametrize("kind", ["sharpness", "sam"])
def test_sharpness_aware_steps_are_the_cpus(kind):
    torch.manual_seed(0)
    model = HyperbolicMLP(4, 3, hidden=8, drop_prob=0.0, c=0.8, learnable_curvature=True).double()
    ends = []
    for device in ("cpu", "cuda"):
        net = copy.deepcopy(model).to(device)
        x, y = blobs(device)
        inner = RiemannianAdamW(net.parameters(), lr=1e-2)
        if kind == "sam":
            optimizer = RiemannianSAM(inner, rho=0.05)
        else:
            optimizer = SharpnessAwareCurvature(inner, module=net, rho=0.05, every=2, lr=1e-2)

        def closure(net=net, x=x, y=y, optimizer=optimizer):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            return loss

        for _ in range(8):
            optimizer.step(closure)
        ends.append([p.detach().cpu() for p in net.parameters()])
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("direction", ["cuda", "cpu"])
def test_state_resumes_on_another_device(direction):
    """A checkpoint of one device goes on on the other as if it had never left."""
    torch.manual_seed(0)
    whole = Model("lorentz", F64)
    first, second = ("cpu", "cuda") if direction == "cuda" else ("cuda", "cpu")
    moved = copy.deepcopy(whole).to(first)
    whole_optimizer = RiemannianAdamW(whole.parameters(), lr=0.02)
    steps(whole, whole_optimizer, 10)
    optimizer = RiemannianAdamW(moved.parameters(), lr=0.02)
    steps(moved, optimizer, 5)
    file = io.BytesIO()
    torch.save({"model": moved.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True, map_location=second)
    again = Model("lorentz", F64).to(second)
    again.load_state_dict(saved["model"])
    optimizer = RiemannianAdamW(again.parameters(), lr=0.02)
    optimizer.load_state_dict(saved["optimizer"])
    steps(again, optimizer, 5)
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(b.detach().cpu(), a.detach(), rtol=1e-8, atol=1e-10)
