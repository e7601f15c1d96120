"""Dtypes, autocast, forms of c, torch.compile and torch.func."""

from __future__ import annotations

import pytest
import torch

from hypeeg.geometry import Curvature, lorentz, poincare, rescaling

HALVES = (torch.float16, torch.bfloat16)


def calls(x, y, u, c):
    """Every function on float inputs of one dtype."""
    ambient = torch.cat([u, u[..., :1]], -1)
    return {
        "time": lorentz.time(x, c),
        "to_ambient": lorentz.to_ambient(x, c),
        "tangent_to_ambient": lorentz.tangent_to_ambient(x, u, c),
        "proj_tangent": lorentz.proj_tangent(x, ambient, c),
        "egrad2rgrad": lorentz.egrad2rgrad(x, u, c),
        "inner": lorentz.inner(x, u, u, c),
        "norm": lorentz.norm(x, u, c),
        "dist0": lorentz.dist0(x, c),
        "dist": lorentz.dist(x, y, c),
        "dist_pairwise": lorentz.dist_pairwise(x, y, c),
        "sqdist": lorentz.sqdist_lorentz(x, y, c),
        "expmap0": lorentz.expmap0(u, c),
        "logmap0": lorentz.logmap0(x, c),
        "expmap": lorentz.expmap(x, u, c),
        "logmap": lorentz.logmap(x, y, c),
        "transp": lorentz.transp(x, y, u, c),
        "transp0": lorentz.transp0(x, u, c),
        "transp0back": lorentz.transp0back(x, u, c),
        "centroid": lorentz.centroid(x, c, x[..., 0].abs()),
        "rescale": rescaling.rescale(x, c),
        "to_poincare": poincare.lorentz_to_poincare(x, c),
        "from_poincare": poincare.poincare_to_lorentz(x / 64, c),
    }


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(4, 3, generator=generator) for _ in range(3))


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_half_precision_is_raised_to_float32(inputs, half):
    rounded = [t.to(half) for t in inputs]
    got, expected = calls(*rounded, 0.3), calls(*(t.float() for t in rounded), 0.3)
    for name, value in got.items():
        assert value.dtype == torch.float32, name
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_autocast_leaves_the_geometry_in_float32(inputs, half):
    expected = calls(*inputs, 0.3)
    with torch.autocast("cpu", half):
        got = calls(*inputs, Curvature(0.3).c)
        low = inputs[0] @ inputs[1].T
    assert low.dtype == half  # autocast is really on
    for name, value in got.items():
        assert value.dtype == torch.float32, name
        torch.testing.assert_close(value, expected[name])


def test_the_points_decide_the_dtype_whatever_the_curvature_is(inputs):
    forms = {
        "number": 0.3,
        "int": 1,
        "float64 tensor": torch.tensor(0.3, dtype=torch.float64, requires_grad=True),
        "float32 tensor": torch.tensor(0.3),
        "learned": Curvature(0.3, learnable=True).c,
    }
    for dtype in (torch.float32, torch.float64):
        points = [t.to(dtype) for t in inputs]
        for form, c in forms.items():
            number = float(c.detach()) if isinstance(c, torch.Tensor) else float(c)
            expected = calls(*points, number)
            for name, value in calls(*points, c).items():
                assert value.dtype == dtype, (form, name)
                torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-6)


def test_gradient_of_a_float64_curvature_from_float32_points(inputs):
    curvature = Curvature(0.3, learnable=True)
    total = sum(value.sum() for value in calls(*inputs, curvature.c).values())
    total.backward()
    exact = Curvature(0.3, learnable=True)
    sum(v.sum() for v in calls(*(t.double() for t in inputs), exact.c).values()).backward()
    gradient = curvature.log_c.grad
    assert gradient.dtype == torch.float64
    # rescale caps at another radius in float64, which moves the gradient a little.
    torch.testing.assert_close(gradient, exact.log_c.grad, rtol=1e-2, atol=0)


def test_one_curvature_per_point(inputs):
    x, y, u = inputs
    c = torch.tensor([0.05, 0.3, 1.0, 20.0])
    for function, arguments in (
        (lorentz.dist, (x, y)),
        (lorentz.expmap0, (u,)),
        (lorentz.logmap, (x, y)),
        (lorentz.transp, (x, y, u)),
        (rescaling.rescale, (x,)),
    ):
        together = function(*arguments, c)
        for i in range(4):
            alone = function(*(a[i] for a in arguments), float(c[i]))
            torch.testing.assert_close(together[i], alone)


def test_shapes_broadcast(inputs):
    x, y, _ = inputs
    assert lorentz.dist(x[:, None], y[None], 1.0).shape == (4, 4)
    assert lorentz.logmap(x[0], y, 1.0).shape == (4, 3)
    assert lorentz.transp(x[0], y, x[0], 1.0).shape == (4, 3)
    assert lorentz.dist(x[:0], y[:0], 1.0).shape == (0,)


@pytest.mark.parametrize("of_points", [lorentz.dist, lorentz.expmap0, rescaling.rescale])
def test_compiles_to_one_graph(of_points, inputs):
    curvature = Curvature(0.3, learnable=True)
    arguments = inputs[:2] if of_points is lorentz.dist else inputs[:1]

    def function(*tensors):
        return of_points(*tensors, curvature.c)

    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    results = []
    for f in (function, compiled):
        leaves = [t.clone().requires_grad_() for t in arguments]
        curvature.log_c.grad = None
        value = f(*leaves)
        value.sum().backward()
        results.append((value.detach(), *(t.grad for t in leaves), curvature.log_c.grad.clone()))
    for eager, traced in zip(*results, strict=True):
        torch.testing.assert_close(traced, eager, rtol=1e-6, atol=1e-7)


def test_vmap_and_jacrev(inputs):
    x, y, _ = (t.double() for t in inputs)
    c = torch.tensor(0.3, dtype=torch.float64)
    mapped = torch.func.vmap(lorentz.dist, in_dims=(0, 0, None))(x, y, c)
    torch.testing.assert_close(mapped, lorentz.dist(x, y, c))
    jacobian = torch.func.vmap(torch.func.jacrev(lorentz.dist, argnums=(0, 2)), (0, 0, None))
    by_x, by_c = jacobian(x, y, c)
    x.requires_grad_()
    c.requires_grad_()
    gradient_x, gradient_c = torch.autograd.grad(lorentz.dist(x, y, c).sum(), (x, c))
    torch.testing.assert_close(by_x, gradient_x)
    torch.testing.assert_close(by_c.sum(), gradient_c)
    forward = torch.func.jacfwd(lorentz.logmap)(x[0].detach(), y[0], 0.3)
    torch.testing.assert_close(forward, torch.func.jacrev(lorentz.logmap)(x[0].detach(), y[0], 0.3))
