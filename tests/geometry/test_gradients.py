"""Gradients of every function by every argument, c included, against finite differences."""

from __future__ import annotations

import math

import hyperboloid_oracle as oracle
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from hypeeg.geometry import lorentz, poincare, rescaling

N = 3


def tensor(*shape, seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, dtype=torch.float64, generator=generator) * scale).requires_grad_()


Y, U, V = (tensor(4, N, seed=s) for s in (1, 2, 3))
AMBIENT = tensor(4, N + 1, seed=4)
W = torch.rand(4, dtype=torch.float64, generator=torch.Generator().manual_seed(5)).requires_grad_()
BASES = {
    "at the origin": torch.zeros(4, N, dtype=torch.float64, requires_grad=True),
    "near it": tensor(4, N, seed=6, scale=1e-3),
    "at radius one": tensor(4, N, seed=7),
    "far": tensor(4, N, seed=8, scale=30.0),
}

# name -> function of (base point x, curvature c, ...) and the other arguments
FUNCTIONS = {
    "time": (lambda x, c: lorentz.time(x, c), ()),
    "to_ambient": (lambda x, c: lorentz.to_ambient(x, c), ()),
    "tangent_to_ambient": (lambda x, c, u: lorentz.tangent_to_ambient(x, u, c), (U,)),
    "proj_tangent": (lambda x, c, v: lorentz.proj_tangent(x, v, c), (AMBIENT,)),
    "egrad2rgrad": (lambda x, c, u: lorentz.egrad2rgrad(x, u, c), (U,)),
    "inner": (lambda x, c, u, v: lorentz.inner(x, u, v, c), (U, V)),
    "norm": (lambda x, c, u: lorentz.norm(x, u, c), (U,)),
    "dist from x": (lambda x, c, y: lorentz.dist(x, y, c), (Y,)),
    "dist to x": (lambda x, c, y: lorentz.dist(y, x, c), (Y,)),
    "dist_pairwise": (lambda x, c, y: lorentz.dist_pairwise(x, y, c), (Y,)),
    "sqdist_lorentz": (lambda x, c, y: lorentz.sqdist_lorentz(x, y, c), (Y,)),
    "expmap": (lambda x, c, u: lorentz.expmap(x, u, c), (U,)),
    "expmap of zero": (lambda x, c, u: lorentz.expmap(x, u, c), (BASES["at the origin"],)),
    "logmap from x": (lambda x, c, y: lorentz.logmap(x, y, c), (Y,)),
    "logmap to x": (lambda x, c, y: lorentz.logmap(y, x, c), (Y,)),
    "transp from x": (lambda x, c, y, v: lorentz.transp(x, y, v, c), (Y, V)),
    "transp to x": (lambda x, c, y, v: lorentz.transp(y, x, v, c), (Y, V)),
    "transp0": (lambda x, c, v: lorentz.transp0(x, v, c), (V,)),
    "transp0back": (lambda x, c, v: lorentz.transp0back(x, v, c), (V,)),
    "expmap0": (lambda x, c: lorentz.expmap0(x / 10, c), ()),
    "logmap0": (lambda x, c: lorentz.logmap0(x, c), ()),
    "centroid": (lambda x, c, w: lorentz.centroid(x, c, w), (W,)),
    "centroid with others": (
        lambda x, c, y: lorentz.centroid(torch.stack([x, y, 3 * y], -2), c),
        (Y,),
    ),
    "rescale": (lambda x, c: rescaling.rescale(x, c), ()),
    "lorentz_to_poincare": (lambda x, c: poincare.lorentz_to_poincare(x, c), ()),
    "poincare_to_lorentz": (
        lambda x, c: poincare.poincare_to_lorentz(x / (2 + x.square().sum()) / c.sqrt(), c),
        (),
    ),
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_finite_differences(name, base):
    function, others = FUNCTIONS[name]
    c = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    x = BASES[base]
    assert gradcheck(function, (x, c, *others), eps=1e-6, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["logmap", "transp", "sqdist_lorentz"])
@pytest.mark.parametrize("base", BASES)
def test_finite_differences_at_coincident_points(name, base):
    x = BASES[base]
    y = x.detach().clone().requires_grad_()
    c = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    others = (V,) if name == "transp" else ()
    assert gradcheck(getattr(lorentz, name), (x, y, *others, c), atol=1e-6, rtol=1e-5)


def test_distance_to_the_origin_away_from_it():
    c = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    for base in ("near it", "at radius one", "far"):
        assert gradcheck(lorentz.dist0, (BASES[base], c))


def test_second_derivatives():
    c = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    x = BASES["at radius one"]
    assert gradgradcheck(lorentz.dist, (x, Y, c))
    assert gradgradcheck(lorentz.sqdist_lorentz, (x, Y, c))
    assert gradgradcheck(lorentz.expmap0, (x, c))
    assert gradgradcheck(lorentz.logmap0, (x, c))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_where_the_gradient_does_not_exist_it_is_zero(dtype):
    zero = torch.zeros(2, N, dtype=dtype)
    x = torch.randn(2, N, dtype=dtype, generator=torch.Generator().manual_seed(0))
    for function in (
        lambda z: lorentz.dist0(z, 0.3),
        lambda z: lorentz.norm(x, z, 0.3),
        lambda z: lorentz.dist(x, x + z, 0.3),
        lambda z: lorentz.dist(z, zero, 0.3),
    ):
        z = zero.clone().requires_grad_()
        value = function(z)
        value.sum().backward()
        assert (value == 0).all()
        assert (z.grad == 0).all()


def test_a_point_at_the_origin_is_attracted():
    """A prototype that starts at zero must feel the distance to the data."""
    origin = torch.zeros(3, requires_grad=True)
    y = torch.tensor([3.0, 0.0, -4.0])
    for c in (0.05, 1.0, 20.0):
        for pair in ((origin, y), (y, origin)):
            (gradient,) = torch.autograd.grad(lorentz.dist(*pair, c), origin)
            torch.testing.assert_close(gradient, -y / 5)


@pytest.mark.parametrize("radius", [1e-6, 1e-4, 1e-2, 1.0, 3.0, 5.0, 7.5])
@pytest.mark.parametrize("c", [0.05, 1.0, 20.0])
def test_float32_gradients_follow_float64(radius, c):
    """On the same inputs; the float64 gradients are those checked above."""
    generator = torch.Generator().manual_seed(9)

    def points():
        return math.sinh(radius) * oracle.directions(16, 5, generator=generator) / math.sqrt(c)

    x, y = points().float(), points().float()
    step = 1e-2 * oracle.directions(16, 5, generator=generator) / math.sqrt(c)
    near = lorentz.expmap(x.double(), lorentz.transp0(x.double(), step, c), c).float()
    u = lorentz.transp0(x.double(), 50 * step, c).float()
    z = (radius * oracle.directions(16, 5, generator=generator) / math.sqrt(c)).float()
    # A difference across the rays is eps cosh(r) of the coordinates.
    far_loss = 1e-6 + 2e-7 * math.cosh(radius)
    cases = {
        "dist": (lorentz.dist, (x, y), 1e-6),
        "dist near": (lorentz.dist, (x, near), far_loss),
        "sqdist near": (lorentz.sqdist_lorentz, (x, near), far_loss),
        "logmap": (lorentz.logmap, (x, y), far_loss),
        "logmap near": (lorentz.logmap, (x, near), far_loss),
        "transp": (lorentz.transp, (x, y, u), far_loss),
        "transp near": (lorentz.transp, (x, near, u), far_loss),
        "expmap": (lorentz.expmap, (x, u), far_loss),
        "norm": (lorentz.norm, (x, u), far_loss),
        "inner": (lambda a, v, c: lorentz.inner(a, v, v, c), (x, u), far_loss),
        "expmap0": (lorentz.expmap0, (z,), 2e-6),
        "logmap0": (lorentz.logmap0, (x,), 1e-6),
        "centroid": (lambda a, c: lorentz.centroid(a.view(4, 4, 5), c), (x,), 1e-6),
    }
    for name, (function, arguments, tolerance) in cases.items():
        gradients = []
        for dtype in (torch.float32, torch.float64):
            inputs = [a.detach().to(dtype).requires_grad_() for a in arguments]
            value = function(*inputs, torch.tensor(c, dtype=torch.float32).to(dtype))
            seeds = torch.randn(value.shape, generator=torch.Generator().manual_seed(3))
            (value * seeds.to(dtype)).sum().backward()
            gradients.append([a.grad.double() for a in inputs])
        for got, expected in zip(*gradients, strict=True):
            assert (got - expected).norm() <= tolerance * expected.norm(), name
