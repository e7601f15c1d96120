"""The Fréchet mean: stationary to rounding, derivatives of the implicit function, wide spreads."""

from __future__ import annotations

import math

import pytest
import torch

from hypeeg.geometry import Lorentz, frechet, lorentz


def cloud(c, radius, n=4, count=9, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(count, n, dtype=torch.float64, generator=generator)
    r = radius * torch.rand(count, 1, dtype=torch.float64, generator=generator)
    x = lorentz.expmap0(r * z / z.norm(dim=-1, keepdim=True) / math.sqrt(c), c)
    return x.to(dtype), torch.rand(count, dtype=torch.float64, generator=generator).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("radius", [1e-3, 1.0, 4.0, 8.0])
@pytest.mark.parametrize("c", [0.05, 1.0, 20.0])
def test_forces_balance(c, radius, dtype):
    """The weighted logarithms at the mean sum to zero, checked in float64."""
    for seed in range(2):
        x, w = cloud(c, radius, dtype=dtype, seed=seed)
        mean = frechet.frechet_mean(x, c, w).double()
        u = lorentz.transp0back(mean, lorentz.logmap(mean, x.double(), c), c)
        force = (w.double()[:, None] * u).sum(0).norm() / w.double().sum() * math.sqrt(c)
        spread = min(radius, 1.0)
        assert force <= 30 * torch.finfo(dtype).eps * spread * math.cosh(radius), (seed, force)


def test_the_mean_is_the_minimum_that_a_general_optimizer_finds():
    scipy = pytest.importorskip("scipy.optimize")
    x, w = cloud(1.0, 3.0, n=2)

    def objective(z):
        mean = lorentz.expmap0(torch.as_tensor(z), 1.0)
        return float((w * lorentz.dist(x, mean, 1.0) ** 2).sum())

    found = scipy.minimize(objective, [0.1, 0.1], method="Nelder-Mead", options={"xatol": 1e-8})
    mean = lorentz.logmap0(frechet.frechet_mean(x, 1.0, w), 1.0)
    torch.testing.assert_close(mean, torch.as_tensor(found.x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("c", [0.3, 4.0])
def test_derivatives_by_points_weights_and_curvature(c):
    x, w = cloud(c, 2.0, n=3, count=5)
    scalar = torch.tensor(c, dtype=torch.float64)
    leaves = tuple(t.requires_grad_() for t in (x, scalar, w))
    assert torch.autograd.gradcheck(frechet.frechet_mean, leaves, eps=1e-6, atol=1e-7)


def test_batches_equal_points_and_symmetry():
    m = Lorentz(0.7)
    x, w = cloud(0.7, 2.0)
    batch = torch.stack([x, x.flip(0), 0.5 * x])
    each = torch.stack([m.frechet_mean(t, w) for t in batch])
    torch.testing.assert_close(m.frechet_mean(batch, w), each)
    same = x[:1].expand(4, -1).clone().requires_grad_()
    mean = m.frechet_mean(same)
    torch.testing.assert_close(mean, x[0])
    mean.sum().backward()
    torch.testing.assert_close(same.grad.sum(0), torch.ones(4, dtype=torch.float64))
    pair = torch.stack([x[0], -x[0]])
    assert m.frechet_mean(pair).norm() < 1e-12
    torch.testing.assert_close(m.frechet_mean(x, 7 * w), m.frechet_mean(x, w))
    alone = torch.zeros(len(x), dtype=torch.float64)
    alone[3] = 2.0
    torch.testing.assert_close(m.frechet_mean(x, alone), x[3])
    with pytest.raises(ValueError, match="iterations must be a positive number; got 0"):
        m.frechet_mean(x, iterations=0)


def test_vmap_over_any_argument():
    x, w = cloud(0.7, 2.0)
    c = torch.tensor([0.3, 0.7, 2.0], dtype=torch.float64)
    batch = torch.stack([x, 0.5 * x, x.flip(0)])
    weights = torch.stack([w, w.flip(0), w**2])
    mean = frechet.frechet_mean
    for dims in ((0, None, None), (0, 0, 0), (None, 0, None), (None, None, 0), (1, None, None)):
        arguments = [
            (t.movedim(0, d) if d is not None else t[0])
            for t, d in zip((batch, c, weights), dims, strict=True)
        ]
        got = torch.func.vmap(mean, in_dims=dims)(*arguments)
        expected = torch.stack(
            [
                mean(*(t[i] if d is not None else t[0] for t, d in zip((batch, c, weights), dims)))
                for i in range(3)
            ]
        )
        torch.testing.assert_close(got, expected)


def test_compiles_to_one_graph():
    m = Lorentz(0.7, learnable=True)
    x, w = cloud(0.7, 2.0)
    compiled = torch.compile(m.frechet_mean, fullgraph=True, backend="aot_eager")
    results = []
    for f in (m.frechet_mean, compiled):
        leaf = x.clone().requires_grad_()
        m.curvature.log_c.grad = None
        f(leaf, w).sum().backward()
        results.append((leaf.grad, m.curvature.log_c.grad.clone()))
    for eager, traced in zip(*results, strict=True):
        torch.testing.assert_close(traced, eager)
