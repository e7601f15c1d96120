"""The derivative in a curvature against central differences of re-solved optima."""

from __future__ import annotations

import math
from functools import cache

import bilevel_oracle as oracle
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hypeeg.geometry import Lorentz, LorentzTangent, ManifoldParameter, PoincareBall
from hypeeg.optim import RiemannianAdamW
from hypeeg.optim.sharpness import SharpnessAwareCurvature

SERIES = {"mode": "neumann", "damping": 0.0}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@cache
def solved(seed: int, c: float) -> tuple[oracle.Bilevel, Tensor]:
    problem = oracle.Bilevel(seed)
    return problem, problem.solve(math.log(c))


@cache
def exact(seed: int, c: float, objective: str) -> float:
    return solved(seed, c)[0].total_derivative(math.log(c), objective)


def hypergradient(
    seed, c, *, chart=Lorentz, dtype=torch.float64, move="exp", decay_in_loss=True, **options
) -> float:
    """Return dPhi / dlog c as the package computes it, at the solved lower level."""
    problem, theta = solved(seed, c)
    m = chart(c, learnable=True)
    lorentz = Lorentz(curvature=m.curvature)
    start, z = problem.unpack(theta)
    w = torch.nn.Parameter(start.clone().to(dtype))
    with torch.no_grad():
        p = ManifoldParameter(m.from_lorentz(lorentz.expmap0(z)).to(dtype), manifold=m)
    x = problem.x.to(dtype)
    optimizer = SharpnessAwareCurvature(
        RiemannianAdamW([w, p]), every=1, curvature_move=move, **options
    )

    def closure_of(n: int, decay: float):
        def closure() -> Tensor:
            optimizer.zero_grad()
            points = lorentz.expmap0(1.5 * torch.tanh(x[:n] @ w))
            scores = -lorentz.sqdist(points[:, None], m.to_lorentz(p))
            loss = F.cross_entropy(scores, problem.y[:n])
            loss = loss + decay / 2 * (w.square().sum() + m.dist0(p).square().sum())
            loss.backward()
            return loss

        return closure

    decay = oracle.DECAY if decay_in_loss else 0.0
    optimizer.step(closure_of(problem.part, 0.0), closure_of(30, decay))
    return float(optimizer.last.curvature[0])


@pytest.mark.parametrize("objective", ["perturbed", "ssm"])
@pytest.mark.parametrize("c", [0.3, 1.0])
def test_twenty_terms_are_within_ten_percent(c, objective):
    for differentiate in (False, True):
        found = hypergradient(
            2, c, terms=20, objective=objective, differentiate_step=differentiate, **SERIES
        )
        tolerance = 0.01 if differentiate else 0.1
        assert found == pytest.approx(exact(2, c, objective), rel=tolerance)


@pytest.mark.parametrize(
    ("seed", "c", "objective", "move"),
    [(0, 1.0, "perturbed", "exp"), (0, 0.3, "ssm", "scale")],
)
def test_a_thousand_terms_are_exact(seed, c, objective, move):
    """Also in the other coordinates: what the move holds fixed is then immaterial."""
    found = hypergradient(
        seed, c, terms=1000, objective=objective, move=move, differentiate_step=True, **SERIES
    )
    assert found == pytest.approx(exact(seed, c, objective), rel=0.01)


def test_error_shrinks_with_the_terms():
    reference = exact(1, 1.0, "perturbed")
    errors = [
        abs(hypergradient(1, 1.0, terms=j, differentiate_step=True, **SERIES) / reference - 1)
        for j in (0, 5, 20)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3


@pytest.mark.parametrize("objective", ["perturbed", "ssm"])
@pytest.mark.parametrize("move", ["exp", "scale"])
def test_direct_derivative_is_along_the_move(objective, move):
    """Central difference with what the move keeps, and the frame of the step, held fixed."""
    problem, theta = solved(2, 1.0)
    w, z = problem.unpack(theta)
    x, y = problem.x[: problem.part], problem.y[: problem.part]
    one = torch.tensor(1.0, dtype=torch.float64)

    def points(log_c: float) -> Tensor:
        c = one * math.exp(log_c)
        if move == "exp":
            return oracle.at_origin(z, c)
        return oracle.at_origin(z, one) / c.sqrt()  # homothety from c = 1

    def transport(v: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        factor = c * oracle.minkowski(b, v) / (1 - c * oracle.minkowski(a, b))
        return v + factor[:, None] * (a + b)

    def origin(c: Tensor) -> Tensor:
        o = torch.zeros(3, 3, dtype=torch.float64)
        o[:, 0] = c.rsqrt()
        return o

    p = points(0.0).requires_grad_()
    w = w.clone().requires_grad_()
    g, e = torch.autograd.grad(oracle.loss(w, p, one, x, y), (w, p))
    w, p = w.detach(), p.detach()
    e = torch.cat([-e[:, :1], e[:, 1:]], -1)
    r = e + oracle.minkowski(p, e)[:, None] * p
    length = (g.square().sum() + oracle.minkowski(r, r).sum()).sqrt()
    step, frame = problem.rho / length * g, problem.rho / length * transport(r, p, origin(one), one)

    def upper(log_c: float) -> float:
        c, q = one * math.exp(log_c), points(log_c)
        u = transport(frame, origin(c), q, c)
        t = (c * oracle.minkowski(u, u)).sqrt()[:, None]
        value = oracle.loss(w + step, torch.cosh(t) * q + torch.sinh(t) / t * u, c, x, y)
        return float(value - oracle.loss(w, q, c, x, y) * (objective == "ssm"))

    h = 1e-5
    expected = (upper(h) - upper(-h)) / (2 * h)
    found = hypergradient(2, 1.0, objective=objective, move=move)
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("chart", [PoincareBall, LorentzTangent])
@pytest.mark.parametrize("move", ["exp", "scale"])
def test_no_chart_differs_from_another(chart, move):
    for options in ({}, {"terms": 3, "alpha": 0.3, "differentiate_step": True, **SERIES}):
        expected = hypergradient(0, 4.0, move=move, **options)
        assert hypergradient(0, 4.0, chart=chart, move=move, **options) == pytest.approx(
            expected, rel=1e-6
        )


def test_damping_stands_for_the_decay_of_euclidean_weights():
    """Exactly so where weights are Euclidean: here the points' part is what differs."""
    inside = hypergradient(2, 0.05, terms=20, differentiate_step=True, **SERIES)
    outside = hypergradient(
        2, 0.05, terms=20, differentiate_step=True, mode="neumann", damping=oracle.DECAY,
        decay_in_loss=False,
    )  # fmt: skip
    assert outside == pytest.approx(inside, rel=0.05)
    assert inside == pytest.approx(exact(2, 0.05, "perturbed"), rel=0.01)


def test_single_precision_agrees_with_double():
    options = {"terms": 5, "differentiate_step": True, **SERIES}
    expected = hypergradient(2, 1.0, **options)
    found = hypergradient(2, 1.0, dtype=torch.float32, **options)
    assert found == pytest.approx(expected, rel=0.02)


def test_power_iterations_find_the_largest_eigenvalue():
    """With one over it as the step the series converges; with three times that it diverges."""
    fine = hypergradient(2, 1.0, terms=40, alpha="power", **SERIES)
    steps = [hypergradient(2, 1.0, terms=40, alpha=a, **SERIES) for a in (0.2, 3.0)]
    assert steps[0] == pytest.approx(fine, rel=0.05)
    assert abs(steps[1]) > 100 * abs(fine)
