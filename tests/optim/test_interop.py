"""Parameters of geoopt: converted, or refused with a word on how."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

from hypeeg.geometry import Lorentz, ManifoldParameter, PoincareBall
from hypeeg.optim import RiemannianAdam, RiemannianAdamW, from_geoopt

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its use of torch.jit
    import geoopt

F64 = torch.float64


def theirs(manifold, *shape, requires_grad=True):
    torch.manual_seed(1)
    points = manifold.expmap0(0.3 * torch.randn(*shape, dtype=F64).index_fill(-1, ZERO, 0.0))
    return geoopt.ManifoldParameter(points.detach(), manifold, requires_grad)


ZERO = torch.tensor([0])


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("learnable", [True, False])
def test_lorentz(dtype, learnable):
    space = geoopt.Lorentz(k=torch.tensor(1.0, dtype=F64), learnable=learnable)
    p = geoopt.ManifoldParameter(theirs(space, 6, 4).detach().to(dtype), manifold=space)
    q = from_geoopt(p)
    assert isinstance(q, ManifoldParameter)
    assert isinstance(q.manifold, Lorentz)
    assert q.dtype == dtype
    assert q.shape == (6, 3)
    assert q.manifold.learnable is learnable
    d = space.dist(p.detach().double()[:, None], p.detach().double()[None])
    off = ~torch.eye(6, dtype=torch.bool)
    torch.testing.assert_close(
        q.manifold.dist_pairwise(q, q).double()[off], d[off], rtol=1e-5, atol=1e-6
    )
    q.data.zero_()
    assert p.detach()[:, 1:].any()  # a copy


@pytest.mark.parametrize("k", [0.01, 0.5, 1.0, 100.0])
def test_k_is_the_reciprocal_of_c(k):
    q = from_geoopt(theirs(geoopt.Lorentz(k=torch.tensor(k, dtype=F64)), 2, 4))
    assert q.manifold.curvature.value == pytest.approx(1 / k, rel=1e-6)


@pytest.mark.parametrize("c", [0.02, 1.0, 4.0])
@pytest.mark.parametrize("kind", ["PoincareBall", "PoincareBallExact", "Stereographic"])
@pytest.mark.parametrize("learnable", [True, False])
def test_ball(c, kind, learnable):
    scalar = torch.tensor(c if kind != "Stereographic" else -c, dtype=F64)
    space = getattr(geoopt, kind)(scalar, learnable=learnable)
    p = theirs(space, 5, 3, requires_grad=False)
    q = from_geoopt(p)
    assert isinstance(q.manifold, PoincareBall)
    assert not q.requires_grad
    assert q.manifold.learnable is learnable
    assert torch.equal(q, p)
    d = space.dist(p.detach()[:, None], p.detach()[None])
    torch.testing.assert_close(q.manifold.dist_pairwise(q, q), d, rtol=1e-6, atol=1e-7)


def test_euclidean():
    q = from_geoopt(geoopt.ManifoldParameter(torch.ones(2, 3), manifold=geoopt.Euclidean()))
    assert type(q) is nn.Parameter


@pytest.mark.parametrize(
    "make",
    [
        lambda: geoopt.ManifoldParameter(torch.eye(3), manifold=geoopt.Stiefel()),
        lambda: geoopt.ManifoldParameter(torch.zeros(3), manifold=geoopt.SphereProjection()),
        lambda: geoopt.ManifoldParameter(
            torch.zeros(6), manifold=geoopt.ProductManifold((geoopt.PoincareBall(), 6))
        ),
    ],
)
def test_manifolds_without_a_counterpart(make):
    with pytest.raises(TypeError, match="can be converted"):
        from_geoopt(make())


@pytest.mark.parametrize("source", [nn.Parameter(torch.ones(2)), 3.0])
def test_what_is_not_geoopts(source):
    with pytest.raises(TypeError, match="source must be a geoopt manifold parameter or a module"):
        from_geoopt(source)


class Model(nn.Module):
    """Points on one ball, used twice, and on a hyperboloid; distances by the manifold's name."""

    def __init__(self):
        super().__init__()
        self.ball = geoopt.PoincareBall(torch.tensor(1.0, dtype=F64), learnable=True)
        self.points = theirs(self.ball, 6, 3)
        self.others = theirs(self.ball, 4, 3)
        self.tied = self.points
        self.inner = nn.Sequential(nn.Linear(3, 2, dtype=F64))
        self.inner.anchor = theirs(geoopt.Lorentz(), 2, 3)

    def forward(self):
        return self.ball.dist(self.points[:, None], self.others[None]).sum()


def test_module():
    model = Model()
    before = model().item()
    assert from_geoopt(model) is model
    assert isinstance(model.ball, PoincareBall)
    assert model.points.manifold is model.others.manifold is model.ball
    assert model.tied is model.points
    assert isinstance(model.inner.anchor.manifold, Lorentz)
    assert model().item() == pytest.approx(before, rel=1e-9)
    assert not any("geoopt" in type(p).__module__ for p in model.parameters())
    optimizer = RiemannianAdamW(model.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = (model() - 10).square()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert model.ball.curvature.value != 1.0


def test_module_that_cannot_be_converted_is_left_alone():
    model = Model()
    model.stiefel = geoopt.ManifoldParameter(torch.eye(3), manifold=geoopt.Stiefel())
    kept = dict(model.named_parameters())
    with pytest.raises(TypeError, match="can be converted"):
        from_geoopt(model)
    assert all(p is kept[name] for name, p in model.named_parameters())


def test_training_goes_on_where_geoopt_was():
    """Fixed curvature, no decay: the step after the conversion is the one geoopt would take."""
    space = geoopt.PoincareBallExact(torch.tensor(1.0, dtype=F64))
    p = theirs(space, 6, 3)
    q = from_geoopt(p)
    one, other = RiemannianAdam([q], lr=0.05), geoopt.optim.RiemannianAdam([p], lr=0.05)
    for _ in range(10):
        g = torch.randn(6, 3, dtype=F64)
        p.grad, q.grad = g.clone(), g
        one.step()
        other.step()
    torch.testing.assert_close(q.detach(), p.detach().as_subclass(torch.Tensor), rtol=1e-6, atol=0)


def test_optimizers_name_the_converter():
    model = Model()
    message = r"'points' of shape \(6, 3\) is a geoopt manifold parameter.*hypeeg.optim.from_geoopt"
    with pytest.raises(TypeError, match=message):
        RiemannianAdamW(model.named_parameters())
    optimizer = RiemannianAdamW([nn.Parameter(torch.ones(2))])
    with pytest.raises(TypeError, match="from_geoopt"):
        optimizer.add_param_group({"params": [model.points]})


def test_geoopt_is_not_imported():
    code = "import sys, hypeeg.optim; assert 'geoopt' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
