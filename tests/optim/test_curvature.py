"""The curvature step: where points and moments go, and by which gradient c learns."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch
from torch import nn

from hypeeg.geometry import Curvature, Lorentz, ManifoldParameter
from hypeeg.optim import RiemannianAdamW, consistent_gradient, move_points_

F64 = torch.float64
MOVES = ["exp", "scale"]


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=F64)


# ------------------------------------------------------------------------------ points


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize(("c", "c_new"), [(1.0, 1.01), (0.05, 20.0), (20.0, 0.05), (0.3, 0.3)])
@mpmath.workdps(40)
def test_exp_move_against_mpmath(dtype, c, c_new):
    """Same direction, same distance to the origin: from 1e-12 away to the edge of float32."""
    radii = [1e-12, 1e-6, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 5.0, 9.0]
    x = torch.tensor([[math.sinh(math.sqrt(c) * r) / math.sqrt(c) * d for d in (0.6, -0.8)]
                      for r in radii], dtype=F64).to(dtype)  # fmt: skip
    moved = move_points_(x.clone(), scalar(c), scalar(c_new))
    for row, got in zip(x.double().tolist(), moved.double().tolist(), strict=True):
        exact = [mpmath.mpf(v) for v in row]
        norm = mpmath.sqrt(sum(v * v for v in exact))
        r = mpmath.asinh(mpmath.sqrt(c) * norm) / mpmath.sqrt(c)
        factor = mpmath.sinh(mpmath.sqrt(c_new) * r) / mpmath.sqrt(c_new) / norm
        for v, w in zip(exact, got, strict=True):
            error = abs(w / (v * factor) - 1)
            # sinh turns an error of a rounding in sqrt(c') r into a relative one that many times
            # as large
            assert error < (2 + 2 * float(mpmath.sqrt(c_new) * r)) * torch.finfo(dtype).eps


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize(("c", "c_new"), [(1.0, 1.05), (0.4, 6.0), (6.0, 0.4)])
def test_what_each_move_keeps(move, c, c_new):
    before, after = Lorentz(c=c), Lorentz(c=c_new)
    x = torch.randn(40, 5, dtype=F64)
    y = move_points_(x.clone(), scalar(c), scalar(c_new), move)
    assert (torch.cosine_similarity(x, y) > 1 - 1e-14).all()
    if move == "exp":
        torch.testing.assert_close(after.dist0(y), before.dist0(x), rtol=1e-13, atol=0)
    else:
        shrunk = before.dist_pairwise(x, x) * math.sqrt(c / c_new)
        torch.testing.assert_close(after.dist_pairwise(y, y), shrunk, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("move", MOVES)
def test_moves_compose_and_invert(move):
    x = torch.randn(10, 3, dtype=F64)
    y = move_points_(x.clone(), scalar(1.0), scalar(3.0), move)
    z = move_points_(y.clone(), scalar(3.0), scalar(0.5), move)
    direct = move_points_(x.clone(), scalar(1.0), scalar(0.5), move)
    back = move_points_(z.clone(), scalar(0.5), scalar(1.0), move)
    torch.testing.assert_close(z, direct, rtol=1e-13, atol=0)
    torch.testing.assert_close(back, x, rtol=1e-13, atol=0)


@pytest.mark.parametrize("move", MOVES)
def test_origin_stays_the_origin(move):
    x = torch.zeros(3, 4)
    assert torch.equal(move_points_(x, scalar(1.0), scalar(2.0), move), torch.zeros(3, 4))


def test_points_never_leave_float32():
    x = torch.full((2, 3), 1e15)
    y = move_points_(x.clone(), scalar(0.05), scalar(20.0))
    assert y.square().sum().isfinite()
    assert (y >= x).all()


def test_unknown_move():
    with pytest.raises(ValueError, match=r"curvature_move must be one of .*got 'exponential'"):
        move_points_(torch.ones(1, 2), scalar(1.0), scalar(2.0), "exponential")


# ------------------------------------------------------------------------------ moments


def trained(move, **options):
    """An optimiser with a moment, and its curvature about to jump."""
    m = Lorentz(c=1.3, learnable=True)
    p = ManifoldParameter(torch.randn(15, 4, dtype=F64), manifold=m)
    optimizer = RiemannianAdamW([p], lr=0.1, curvature_move=move, curvature_lr=0.5, **options)
    for _ in range(4):
        p.grad = torch.randn(15, 4, dtype=F64)
        m.curvature.log_c.grad = torch.randn((), dtype=F64)
        optimizer.step()
    return m, p, optimizer


@pytest.mark.parametrize("move", MOVES)
def test_moment_moves_by_the_rule_of_the_paper(move):
    """m = alpha e_r + m_perp becomes alpha e_r' + m_perp; v does not change."""
    m, p, optimizer = trained(move)
    c, x, w = m.curvature.value, p.detach().clone(), optimizer.moment(p)
    v = optimizer.state[p]["exp_avg_sq"].clone()
    norms = m.norm(x, w)
    p.grad = None
    m.curvature.log_c.grad = scalar(1.0)
    optimizer.step()
    c_new, y = m.curvature.value, p.detach()
    assert abs(math.log(c_new / c)) > 0.05

    def radial(point, curvature):
        """Space part of the unit vector e_r, cosh(rho) n."""
        n = point / point.norm(dim=-1, keepdim=True)
        return n, (1 + curvature * point.square().sum(-1, keepdim=True)).sqrt() * n

    n, e_r = radial(x, c)
    alpha = (w * n).sum(-1, keepdim=True) / e_r.norm(dim=-1, keepdim=True)
    perpendicular = w - alpha * e_r
    expected = alpha * radial(y, c_new)[1] + perpendicular
    torch.testing.assert_close(optimizer.moment(p), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(m.norm(y, optimizer.moment(p)), norms, rtol=1e-12, atol=0)
    assert torch.equal(optimizer.state[p]["exp_avg_sq"], v)


@pytest.mark.parametrize("move", MOVES)
def test_whole_steps_equal_the_literal_formulas(ambient_adamw, move):
    """Parameters under the old c, then c by plain Adam on log c, then points and moments move."""
    x = torch.randn(10, 3, dtype=F64)
    m = Lorentz(c=0.8, learnable=True)
    p = ManifoldParameter(x.clone(), manifold=m)
    options = {"lr": 0.05, "weight_decay": 0.2}
    optimizer = RiemannianAdamW(
        [p], **options, curvature_lr=0.02, curvature_move=move, curvature_gradient="autograd"
    )
    reference = ambient_adamw(x, 0.8, **options)
    log_c = nn.Parameter(scalar(math.log(0.8)))
    adam = torch.optim.Adam([log_c], lr=0.02)
    for _ in range(200):
        g, g_c = torch.randn(10, 3, dtype=F64), torch.randn((), dtype=F64)
        p.grad, m.curvature.log_c.grad, log_c.grad = g, g_c, g_c.clone()
        optimizer.step()
        reference.step(g)
        adam.step()
        reference.move_curvature(math.exp(log_c.item()), move)
        assert m.curvature.log_c.item() == log_c.item()
        torch.testing.assert_close(p.detach(), reference.x[..., 1:], rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(
            optimizer.moment(p), reference.m[..., 1:], rtol=1e-10, atol=1e-10
        )


# ------------------------------------------------------------------------------ gradient


def loss_of(m, p, q, w):
    """Depends on c in itself, on points through distances, on a Euclidean parameter."""
    return (
        (m.dist_pairwise(p, q) - 1.5).square().sum()
        + (m.logmap0(p) * w).sum()
        + 0.3 * m.c.square()
        + m.dist0(q).sum() * w.sum()
    )


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("c", [0.1, 1.0, 5.0])
def test_consistent_gradient_is_the_derivative_along_the_move(move, c):
    torch.manual_seed(3)
    starts = [torch.randn(6, 3, dtype=F64), 1e-3 * torch.randn(4, 3, dtype=F64)]
    w = torch.randn(3, dtype=F64)

    def moved_loss(c_new):
        x, y = (move_points_(s.clone(), scalar(c), scalar(c_new), move) for s in starts)
        return loss_of(Lorentz(c=c_new), x, y, w).item()

    m = Lorentz(c=c, learnable=True)
    p, q = (ManifoldParameter(s.clone(), manifold=m) for s in starts)
    loss_of(m, p, q, w).backward()
    fixed = m.curvature.log_c.grad.item()
    term = sum(consistent_gradient(t.detach(), t.grad, m.c, move) for t in (p, q)).item()
    h = 1e-5
    numeric = (moved_loss(c * math.exp(h)) - moved_loss(c * math.exp(-h))) / (2 * h)
    assert fixed + term == pytest.approx(numeric, rel=1e-7, abs=1e-7)
    assert abs(term) > 1e-3 * abs(numeric)

    # what the optimiser uses, read off the first moment of its Adam: (1 - beta1) times it
    for gradient, expected in (("consistent", numeric), ("autograd", fixed)):
        optimizer = RiemannianAdamW([p, q], curvature_move=move, curvature_gradient=gradient)
        m.curvature.log_c.data.fill_(math.log(c))
        p.data, q.data = (s.clone() for s in starts)
        optimizer.step()
        used = optimizer.state[m.curvature.log_c]["exp_avg"].item() / (1 - 0.9)
        assert used == pytest.approx(expected, rel=1e-7, abs=1e-7)


@pytest.mark.parametrize("scale", [1e-9, 1e-6, 1e-3, 1.0, 30.0])
def test_terms_cancel_for_a_distance_the_exp_move_keeps(scale):
    m = Lorentz(c=1.7, learnable=True)
    p = ManifoldParameter(scale * torch.randn(20, 3, dtype=F64), manifold=m)
    m.dist0(p).square().sum().backward()
    fixed = m.curvature.log_c.grad
    term = consistent_gradient(p.detach(), p.grad, m.c)
    terms = m.dist0(p).square().sum().item()
    # near the origin both are differences of numbers as large as the squared distance
    assert abs(fixed + term) < 1e-11 * abs(term) + 3e-15 * terms
    assert abs(term) > 0.1 * min(1.0, scale**2) * terms - 3e-15 * terms


def test_autograd_gradient_can_have_the_wrong_sign():
    """Why the choice matters: a target the exp move can only approach one way."""
    m = Lorentz(c=1.0, learnable=True)
    p = ManifoldParameter(torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=F64), manifold=m)
    m.dist(p[0], p[1]).backward()
    fixed = m.curvature.log_c.grad.item()
    total = fixed + consistent_gradient(p.detach(), p.grad, m.c).item()
    assert fixed < 0 < total


def test_closed_form_of_the_scale_move():
    x, g = torch.randn(5, 2, dtype=F64), torch.randn(5, 2, dtype=F64)
    expected = -(x * g).sum() / 2
    torch.testing.assert_close(consistent_gradient(x, g, scalar(2.0), "scale"), expected)


def test_a_curvature_without_autograd_gradient_learns_through_the_points():
    m = Lorentz(c=1.0, learnable=True)
    for gradient, learns in (("consistent", True), ("autograd", False)):
        p = ManifoldParameter(torch.ones(3, 2, dtype=F64), manifold=m)
        optimizer = RiemannianAdamW([p], curvature_gradient=gradient)
        before = m.curvature.value
        p.square().sum().backward()
        assert m.curvature.log_c.grad is None
        optimizer.step()
        assert (m.curvature.value != before) is learns


# ------------------------------------------------------------------------------ the step


def test_fixed_curvature_stays():
    m = Lorentz(c=1.0)
    p = ManifoldParameter(torch.ones(3, 2), manifold=m)
    optimizer = RiemannianAdamW([p], curvature_gradient="consistent")
    p.grad = torch.ones(3, 2)
    optimizer.step()
    assert m.curvature.log_c.item() == 0.0
    m.curvature.learnable = True  # unfreezing needs no new optimiser
    optimizer.step()
    assert m.curvature.log_c.item() != 0.0
    m.curvature.learnable = False  # freezing holds it, whatever gradient was left behind
    before, m.curvature.log_c.grad = m.curvature.log_c.item(), scalar(1.0)
    optimizer.step()
    assert m.curvature.log_c.item() == before


@pytest.mark.parametrize(("sign", "bound"), [(-1.0, 1.2), (1.0, 0.9)])
def test_bounds_hold_by_projection(sign, bound):
    m = Lorentz(c=1.0, learnable=True, bounds=(0.9, 1.2))
    optimizer = RiemannianAdamW([m.curvature.log_c], curvature_lr=0.03)
    for _ in range(20):
        m.curvature.log_c.grad = scalar(sign)
        optimizer.step()
    assert m.curvature.value == pytest.approx(bound, rel=1e-12)
    m.curvature.log_c.grad = scalar(-100 * sign)  # and it comes back
    for _ in range(5):
        optimizer.step()
    assert abs(m.curvature.value - bound) > 1e-3


def test_curvature_is_never_decayed():
    m = Lorentz(c=3.0, learnable=True)
    w = nn.Parameter(torch.ones(2))
    optimizer = RiemannianAdamW([w, m.curvature.log_c], weight_decay=10.0)
    w.grad, m.curvature.log_c.grad = torch.zeros(2), scalar(0.0)
    optimizer.step()
    assert m.curvature.value == pytest.approx(3.0, rel=1e-15)
    assert w[0] < 1


def test_parameters_without_gradient_and_frozen_ones_follow():
    m = Lorentz(c=1.0, learnable=True)
    frozen = ManifoldParameter(torch.randn(4, 3, dtype=F64), manifold=m, requires_grad=False)
    unused = ManifoldParameter(torch.randn(2, 3, dtype=F64), manifold=m)
    used = ManifoldParameter(torch.randn(2, 3, dtype=F64), manifold=m)
    optimizer = RiemannianAdamW([frozen, unused, used], curvature_lr=0.1, curvature_move="exp")
    radii = [m.dist0(p).detach() for p in (frozen, unused)]
    starts = [p.detach().clone() for p in (frozen, unused)]
    (m.dist0(used) * m.c).sum().backward()
    optimizer.step()
    assert m.curvature.value != 1.0
    for p, r, start in zip((frozen, unused), radii, starts, strict=True):
        torch.testing.assert_close(m.dist0(p).detach(), r, rtol=1e-13, atol=0)
        assert not torch.equal(p, start)
        assert not optimizer.state.get(p)


def test_a_shared_curvature_steps_once():
    shared = Curvature(c=1.0, learnable=True)
    first, second = Lorentz(curvature=shared), Lorentz(curvature=shared)
    params = [ManifoldParameter(torch.ones(2, 2), manifold=m) for m in (first, second)]
    optimizer = RiemannianAdamW([*params, shared.log_c])
    assert [len(g["params"]) for g in optimizer.param_groups] == [2, 1]
    shared.log_c.grad = scalar(1.0)
    optimizer.step()
    assert shared.log_c.item() == pytest.approx(-1e-2, rel=1e-6)
    torch.testing.assert_close(*[p.detach() for p in params])


def test_two_curvatures_learn_apart():
    a, b = Lorentz(c=1.0, learnable=True), Lorentz(c=2.0, learnable=True)
    params = [ManifoldParameter(torch.ones(2, 2, dtype=F64), manifold=m) for m in (a, b)]
    optimizer = RiemannianAdamW(params, curvature_gradient="autograd")
    radius = b.dist0(params[1]).detach()
    a.curvature.log_c.grad = scalar(1.0)
    optimizer.step()
    assert a.curvature.value != 1.0
    assert b.curvature.value == pytest.approx(2.0)
    assert torch.equal(b.dist0(params[1]).detach(), radius)
