"""Manifolds on a GPU: the CPU's numbers, gradients too, and nothing that waits for the device."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hypeeg.geometry import Euclidean, Lorentz, LorentzTangent, PoincareBall, Product

MANIFOLDS = {
    "Lorentz": lambda c: Lorentz(c, learnable=True),
    "LorentzTangent": lambda c: LorentzTangent(c, learnable=True),
    "PoincareBall": lambda c: PoincareBall(c, learnable=True),
    "Euclidean": lambda c: Euclidean(),
    "Product": lambda c: Product(
        [Lorentz(c, learnable=True), Euclidean(), PoincareBall(c, learnable=True)], [4, 4, 4]
    ),
}
OPERATIONS = {
    "dist": lambda m, x, y, u: m.dist(x, y),
    "dist0": lambda m, x, y, u: m.dist0(x),
    "dist_pairwise": lambda m, x, y, u: m.dist_pairwise(x, y),
    "expmap": lambda m, x, y, u: m.expmap(x, u),
    "expmap0": lambda m, x, y, u: m.expmap0(u),
    "logmap": lambda m, x, y, u: m.logmap(x, y),
    "logmap0": lambda m, x, y, u: m.logmap0(x),
    "transp": lambda m, x, y, u: m.transp(x, y, u),
    "transp0": lambda m, x, y, u: m.transp0(x, u),
    "inner": lambda m, x, y, u: m.inner(x, u, u),
    "projx": lambda m, x, y, u: m.projx(x),
    "rgrad": lambda m, x, y, u: m.egrad2rgrad(x, u),
}


def numbers(name: str, c: float, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Points within radius 2 and tangent vectors, by the map from the origin."""
    generator = torch.Generator().manual_seed(0)
    m = MANIFOLDS[name](c)
    z = torch.randn(3, 40, 12, dtype=torch.float64, generator=generator)
    z = z / z.norm(dim=-1, keepdim=True) / math.sqrt(c)
    z = z * torch.linspace(1e-3, 1.0, 40, dtype=torch.float64)[:, None]
    with torch.no_grad():
        x, y = m.expmap0(z[0]), m.expmap0(z[1])
    return x.to(dtype), y.to(dtype), z[2].to(dtype)


def value_and_gradients(
    name: str, operation: str, c: float, dtype: torch.dtype, device: str
) -> list[Tensor]:
    m = MANIFOLDS[name](c).to(device)
    inputs = [t.to(device).requires_grad_() for t in numbers(name, c, dtype)]
    y = OPERATIONS[operation](m, *inputs)
    # weights of the sum by formula, the same on every device
    weights = torch.cos(torch.arange(y.numel(), dtype=torch.float64)).reshape(y.shape)
    (y * weights.to(device, y.dtype)).sum().backward()
    curvatures = [p.grad for p in m.parameters() if p.requires_grad]
    found = [y, *(t.grad for t in inputs), *curvatures]
    return [t.detach().cpu().double() for t in found if t is not None]


@pytest.mark.parametrize("c", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", MANIFOLDS)
def test_values_and_gradients_are_the_cpus(name, operation, dtype, c):
    exact = value_and_gradients(name, operation, c, torch.float64, "cpu")
    here = value_and_gradients(name, operation, c, dtype, "cpu")
    there = value_and_gradients(name, operation, c, dtype, "cuda")
    assert len(here) == len(there)
    eps = torch.finfo(dtype).eps
    for a, b, e in zip(there, here, exact, strict=True):
        # As near to float64 as the CPU comes, up to roundings in sums of another order.
        allowed = 3 * (b - e).abs().max() + 1024 * eps * e.abs().max()
        assert (a - e).abs().max() <= allowed


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", ["Lorentz", "LorentzTangent", "PoincareBall", "Product"])
def test_nothing_waits_for_the_device(name, operation, no_waiting):
    m = MANIFOLDS[name](0.7).cuda()
    inputs = [t.cuda().requires_grad_() for t in numbers(name, 0.7, torch.float32)]
    OPERATIONS[operation](m, *inputs).sum().backward()  # what is made once is made here
    with no_waiting():
        OPERATIONS[operation](m, *inputs).sum().backward()


@pytest.mark.parametrize("kind", [Lorentz, PoincareBall, LorentzTangent])
def test_compiled_distance_is_the_eager_one(kind):
    m = kind(0.5, learnable=True).cuda()
    x, y, _ = (t.cuda() for t in numbers("Lorentz", 0.5, torch.float32))
    x, y = (0.3 * t for t in (x, y))

    def run(function):
        a, b = x.clone().requires_grad_(), y.clone().requires_grad_()
        m.zero_grad()
        out = function(a, b)
        out.sum().backward()
        return out.detach(), a.grad, b.grad, *(p.grad.clone() for p in m.parameters())

    for a, b in zip(run(torch.compile(m.dist, fullgraph=True)), run(m.dist), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-5)


def test_blocks_of_pairs_need_the_memory_of_a_block():
    m = Lorentz(1.0).cuda()
    x = torch.randn(2048, 64, device="cuda", requires_grad=True)

    def peak(**kwargs):
        x.grad = None
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        m.dist_pairwise(x, x.detach(), **kwargs).sum().backward()
        return torch.cuda.max_memory_allocated() - before

    assert peak(block_size=16) < 0.4 * peak(block_size=128)
    assert peak(block_size=128) < 0.2 * peak(block_size=2048)
