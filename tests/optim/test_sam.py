"""Sharpness-aware minimisation against its definition, Euclidean and on hyperbolic space."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypeeg.geometry import Lorentz, LorentzTangent, ManifoldParameter, PoincareBall
from hypeeg.optim import RiemannianAdamW
from hypeeg.optim.sam import SAM, RiemannianSAM


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def network(drop: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ELU(), nn.Dropout(drop), nn.Linear(8, 3)
    )


def data(seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(16, 4, generator=generator), torch.arange(16) % 3


def closure_of(model, optimizer, batch):
    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        return loss

    return closure


@pytest.mark.parametrize("kind", [SAM, RiemannianSAM])
@pytest.mark.parametrize("drop", [0.0, 0.5])
def test_euclidean_steps_are_those_of_the_paper(kind, drop):
    model, reference = network(drop), network(drop)
    optimizer = kind(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), rho=0.2)
    inner = torch.optim.SGD(reference.parameters(), lr=0.1, momentum=0.9)
    weights = list(reference.parameters())
    for seed in range(6):
        x, y = data(seed)
        torch.manual_seed(seed)
        loss = optimizer.step(closure_of(model, optimizer, (x, y)))
        after = torch.get_rng_state()

        torch.manual_seed(seed)
        first = F.cross_entropy(reference(x), y)
        statistics = copy.deepcopy(dict(reference.named_buffers()))
        g = torch.autograd.grad(first, weights)
        length = torch.sqrt(sum(t.double().square().sum() for t in g))
        kept = [w.detach().clone() for w in weights]
        torch.manual_seed(seed)
        with torch.no_grad():
            for w, t in zip(weights, g, strict=True):
                w.add_(t * (0.2 / length))
        inner.zero_grad()
        F.cross_entropy(reference(x), y).backward()
        with torch.no_grad():
            for w, t in zip(weights, kept, strict=True):
                w.copy_(t)
            for name, buffer in reference.named_buffers():
                buffer.copy_(statistics[name])
        inner.step()
        assert loss.item() == first.item()
        assert torch.equal(after, torch.get_rng_state())
        for a, b in zip(model.state_dict().values(), reference.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def minkowski(u: Tensor, v: Tensor) -> Tensor:
    return (u[..., 1:] * v[..., 1:]).sum(-1, keepdim=True) - u[..., :1] * v[..., :1]


def lift(x: Tensor, c: float) -> Tensor:
    return torch.cat([(1 / c + x.square().sum(-1, keepdim=True)).sqrt(), x], -1)


class Spread(nn.Module):
    """A loss of points and of a Euclidean weight, in ambient coordinates."""

    def __init__(self, target: Tensor) -> None:
        super().__init__()
        self.target = target

    def forward(self, points: Tensor, w: Tensor, c: float) -> Tensor:
        d = torch.acosh(-c * minkowski(points[:, None], self.target)) / c**0.5
        return (w * d.squeeze(-1).square()).mean() + w.square().mean()


@pytest.mark.parametrize("c", [0.05, 0.3, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("chart", [Lorentz, PoincareBall, LorentzTangent])
def test_riemannian_step_in_ambient_coordinates(chart, c):
    """Gradient, exponential map, gradient, transport back: each as a textbook writes it."""
    torch.manual_seed(0)
    rho, rate = 0.3 / c**0.5, 0.05
    lorentz, m = Lorentz(c), chart(c)
    x = lorentz.expmap0(torch.randn(4, 3, dtype=torch.float64) / c**0.5)
    loss = Spread(lift(lorentz.expmap0(torch.randn(5, 3, dtype=torch.float64) / c**0.5), c))
    w = nn.Parameter(torch.rand(5, dtype=torch.float64))
    p = ManifoldParameter(m.from_lorentz(x).detach().clone(), manifold=m)
    seen = {}

    class Keep(torch.optim.SGD):
        def step(self, closure=None):
            seen.update(p=p.grad.clone(), w=w.grad.clone(), at=p.detach().clone())
            super().step(closure)

    optimizer = RiemannianSAM(Keep([w, p], lr=rate), rho=rho)
    start = p.detach().clone()

    def closure():
        optimizer.zero_grad()
        value = loss(lift(m.to_lorentz(p), c), w, c)
        value.backward()
        return value

    w0 = w.detach().clone()
    optimizer.step(closure)
    assert torch.equal(seen["at"], start)

    def gradients(points: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        points, w = points.clone().requires_grad_(), w.clone().requires_grad_()
        e, g = torch.autograd.grad(loss(points, w, c), (points, w))
        e = torch.cat([-e[:, :1], e[:, 1:]], -1)
        return (e + c * minkowski(points, e) * points).detach(), g

    X = lift(x, c)
    r, g = gradients(X, w0)
    step = rho / (minkowski(r, r).sum() + g.square().sum()).sqrt()
    t = c**0.5 * step * minkowski(r, r).sqrt()
    Y = torch.cosh(t) * X + torch.sinh(t) / t * step * r
    there, g = gradients(Y, w0 + step * g)
    back = there + c * minkowski(X, there) / (1 - c * minkowski(X, Y)) * (X + Y)
    torch.testing.assert_close(seen["w"], g)
    found = lorentz.egrad2rgrad(x, m.gradient_to_lorentz(start, seen["p"]))
    torch.testing.assert_close(found, back[:, 1:], rtol=1e-6, atol=1e-9)


def test_around_riemannian_adamw_with_a_learned_curvature():
    torch.manual_seed(0)
    m = Lorentz(1.0, learnable=True)
    p = ManifoldParameter(torch.randn(6, 3) * 0.3, manifold=m)
    target = 2 * torch.rand(6, 6)
    optimizer = RiemannianSAM(RiemannianAdamW([p], lr=5e-2), rho=0.02)
    losses = []
    for _ in range(150):

        def closure():
            optimizer.zero_grad()
            loss = (m.dist_pairwise(p, p) - target).square().mean()
            loss.backward()
            return loss

        losses.append(optimizer.step(closure).item())
    assert losses[-1] < 0.7 * losses[0]
    assert m.curvature.value != 1.0
    again = pickle.loads(pickle.dumps(optimizer.state_dict()))
    optimizer.load_state_dict(again)


def test_rho_of_zero_is_the_wrapped_optimiser():
    model, reference = network(), network()
    optimizer = SAM(torch.optim.AdamW(model.parameters()), rho=0.0)
    plain = torch.optim.AdamW(reference.parameters())
    for seed in range(4):
        optimizer.step(closure_of(model, optimizer, data(seed)))
        plain.step(closure_of(reference, plain, data(seed)))
    for a, b in zip(model.state_dict().values(), reference.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_sparse_gradients():
    torch.manual_seed(0)
    embedding = nn.Embedding(10, 3, sparse=True)
    dense = nn.Embedding(10, 3)
    dense.load_state_dict(embedding.state_dict())
    index = torch.tensor([1, 4, 4])
    for table in (embedding, dense):
        optimizer = SAM(torch.optim.SGD(table.parameters(), lr=0.1), rho=0.5)

        def closure(table=table, optimizer=optimizer):
            optimizer.zero_grad()
            loss = (table(index) ** 4).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
    torch.testing.assert_close(embedding.weight, dense.weight)


def test_mistakes():
    model = network()
    with pytest.raises(ValueError, match="rho must lie in"):
        SAM(torch.optim.SGD(model.parameters(), lr=0.1), rho=-1.0)
    with pytest.raises(TypeError, match="needs a closure"):
        SAM(torch.optim.SGD(model.parameters(), lr=0.1)).step()
    p = ManifoldParameter(torch.ones(2, 3), manifold=Lorentz(1.0))
    with pytest.raises(ValueError, match="use RiemannianSAM"):
        SAM(RiemannianAdamW([p]))
    optimizer = SAM(torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ValueError, match="use RiemannianSAM"):
        optimizer.add_param_group({"params": [p]})
