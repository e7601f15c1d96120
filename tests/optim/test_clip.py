"""Clipping by Riemannian norm."""

from __future__ import annotations

import math

import pytest
import torch
from ambient_oracle import CHARTS, from_space, lift, minkowski, to_space
from torch import nn

from hypeeg.geometry import Lorentz, ManifoldParameter
from hypeeg.optim import clip_grad_norm_, riemannian_grad_norm

F64 = torch.float64


def ambient_norms(x, g, c):
    """Norms of projected gradients at the points, as the formula stands."""
    ambient = torch.cat([torch.zeros_like(g[..., :1]), g], -1)
    point = lift(x, c)
    rgrad = ambient + c * minkowski(point, ambient) * point
    return minkowski(rgrad, rgrad).sqrt()


def model(c, chart, dtype=F64):
    """Points with a gradient, and the ambient norms of it by point."""
    manifold = CHARTS[chart](c, learnable=True)
    x, g = torch.randn(7, 3, dtype=F64) / math.sqrt(c), torch.randn(7, 3, dtype=F64)
    coordinates = from_space(x, c, chart).requires_grad_()
    (gradient,) = torch.autograd.grad(to_space(coordinates, c, chart), coordinates, g)
    p = ManifoldParameter(coordinates.detach().to(dtype), manifold)
    p.grad = gradient.to(dtype)
    return p, ambient_norms(x, g, c)


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("c", [0.05, 0.3, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("order", [1.0, 2.0, math.inf])
def test_norm_is_that_of_projected_gradients(chart, c, dtype, order):
    p, norms = model(c, chart, dtype)
    expected = norms.flatten().norm(order)
    tolerance = 1e-12 if dtype == F64 else 1e-5
    torch.testing.assert_close(
        riemannian_grad_norm(p, order), expected.to(dtype), rtol=tolerance, atol=0
    )


@pytest.mark.parametrize("foreach", [None, False])
def test_one_joint_norm(foreach):
    points = [model(c, chart)[0] for c, chart in ((0.3, "lorentz"), (4.0, "ball"))]
    weight, idle = nn.Parameter(torch.ones(4, 2)), nn.Parameter(torch.ones(3))
    weight.grad = torch.randn(4, 2)
    log_c = points[0].manifold.curvature.log_c
    log_c.grad = torch.tensor(3.0, dtype=F64)
    params = [*points, weight, idle, log_c]
    squares = [riemannian_grad_norm(p).double().square() for p in params if p.grad is not None]
    before = [None if p.grad is None else p.grad.clone() for p in params]
    total = clip_grad_norm_(iter(params), 0.5, foreach=foreach)
    torch.testing.assert_close(total, torch.stack(squares).sum().sqrt(), rtol=1e-6, atol=0)
    factor = 0.5 / total
    for p, g in zip(params, before, strict=True):
        if g is not None:
            torch.testing.assert_close(p.grad.double(), factor * g.double(), rtol=1e-5, atol=0)
    assert clip_grad_norm_(params, 0.5) == pytest.approx(0.5, rel=1e-5)
    kept = [p.grad.clone() for p in points]
    clip_grad_norm_(params, 10.0)  # and what is short enough stays, bit by bit
    assert all(torch.equal(p.grad, g) for p, g in zip(points, kept, strict=True))


def test_equals_torch_without_manifolds():
    ours, torchs = nn.Linear(5, 4), nn.Linear(5, 4)
    for p, q in zip(ours.parameters(), torchs.parameters(), strict=True):
        p.grad = torch.randn_like(p)
        q.grad = p.grad.clone()
    for order in (2.0, 3.0, math.inf):
        one = clip_grad_norm_(ours.parameters(), 0.7, order)
        other = nn.utils.clip_grad_norm_(torchs.parameters(), 0.7, order)
        torch.testing.assert_close(one, other)
        for p, q in zip(ours.parameters(), torchs.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad)


def test_every_parameter_by_its_own():
    (p, norms), (q, _) = model(1.0, "lorentz"), model(2.0, "tangent")
    q.grad *= 1e-3
    small = q.grad.clone()
    returned = clip_grad_norm_([p, q], 0.25, per_parameter=True)
    assert returned.shape == (2,)
    torch.testing.assert_close(returned[0], norms.square().sum().sqrt())
    assert riemannian_grad_norm(p) == pytest.approx(0.25, rel=1e-5)
    assert torch.equal(q.grad, small)


def test_norm_far_out_is_not_that_of_the_coordinates():
    """One unit of length at radius 8: coordinates see exp(-8), the norm sees 1."""
    m = Lorentz(1.0)
    p = ManifoldParameter(torch.tensor([[math.sinh(8.0), 0.0]]), m)
    m.dist0(p).sum().backward()
    assert p.grad.norm() < 1e-3
    assert riemannian_grad_norm(p) == pytest.approx(1.0, rel=1e-5)


def test_what_is_refused():
    p, _ = model(1.0, "lorentz")
    with pytest.raises(ValueError, match="max_norm must be at least 0; got -1"):
        clip_grad_norm_([p], -1)
    p.grad[0, 0] = torch.nan
    with pytest.raises(RuntimeError, match="not finite: nan"):
        clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    assert clip_grad_norm_(p, 1.0).isnan()
    p.grad = None
    assert clip_grad_norm_([p], 1.0) == 0
    with pytest.raises(ValueError, match=r"shape \(7, 3\) has no gradient"):
        riemannian_grad_norm(p)
