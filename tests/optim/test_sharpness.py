"""The optimiser around another: what it changes, what it leaves alone, when and how far."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hypeeg.geometry import Lorentz, LorentzTangent, ManifoldParameter, PoincareBall
from hypeeg.nn import Lift, LorentzLinear, LorentzPrototypes
from hypeeg.optim import RiemannianAdamW
from hypeeg.optim.sharpness import SharpnessAwareCurvature, scope_sharpness
from hypeeg.optim.weight_space import WeightSpace


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


class Network(nn.Module):
    """Batch norm, dropout, a Lorentz layer and points on a manifold."""

    def __init__(self, c: float = 1.0, drop: float = 0.3) -> None:
        super().__init__()
        self.manifold = Lorentz(c, learnable=True)
        self.body = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ELU(), nn.Dropout(drop))
        self.lift = Lift(self.manifold)
        self.linear = LorentzLinear(6, 5, manifold=self.manifold)
        self.head = LorentzPrototypes(5, 3, manifold=self.manifold)

    def forward(self, x):
        return self.head(self.linear(self.lift(self.body(x))))


def batches(count: int, size: int = 16):
    generator = torch.Generator().manual_seed(5)
    centres = 2 * torch.randn(3, 4, generator=generator)
    y = torch.arange(size) % 3
    return [(centres[y] + torch.randn(size, 4, generator=generator), y) for _ in range(count)]


def closure_of(model, optimizer, batch, calls=None):
    def closure():
        if calls is not None:
            calls.append(1)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        return loss

    return closure


def build(seed=0, c=1.0, lr=1e-2, drop=0.3, base=None, **options):
    torch.manual_seed(seed)
    model = Network(c, drop)
    inner = RiemannianAdamW(model.parameters(), lr=2e-2, **(base or {}))
    return model, SharpnessAwareCurvature(inner, lr=lr, **options)


def train(model, optimizer, data, second=None, seed=7):
    torch.manual_seed(seed)
    losses = []
    for i, batch in enumerate(data):
        lower = None if second is None else closure_of(model, optimizer, second[i])
        losses.append(optimizer.step(closure_of(model, optimizer, batch), lower).item())
    return losses


def states_equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.values(), b.values(), strict=True))


# ----------------------------------------------------------------- what it leaves alone


@pytest.mark.parametrize("mode", ["direct", "neumann"])
@pytest.mark.parametrize("set_to_none", [True, False])
def test_extra_passes_leave_no_trace(mode, set_to_none):
    """With a curvature that takes no step, training is the wrapped optimiser's bit by bit."""
    data, second = batches(12), batches(12, 10)
    options = {"terms": 2, "differentiate_step": True} if mode == "neumann" else {}
    model, optimizer = build(lr=0.0, every=2, mode=mode, **options)
    original = optimizer.zero_grad
    optimizer.zero_grad = lambda: original(set_to_none)
    losses = train(model, optimizer, data, second)

    torch.manual_seed(0)
    plain = Network()
    plain.manifold.curvature.learnable = False
    reference = RiemannianAdamW(plain.parameters(), lr=2e-2)
    torch.manual_seed(7)
    expected = []
    for batch in data:
        expected.append(reference.step(closure_of(plain, reference, batch)).item())
    assert losses == expected
    assert states_equal(model.state_dict(), plain.state_dict())
    assert optimizer.passes > 12


def test_random_numbers_and_gradients_are_as_after_one_pass():
    model, optimizer = build(every=1)
    data = batches(1)[0]
    torch.manual_seed(3)
    loss = closure_of(model, optimizer, data)()
    after = torch.get_rng_state()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters()}

    other, wrapped = build(every=1)
    seen = {}
    wrapped.optimizer.register_step_pre_hook(
        lambda *_: seen.update({n: p.grad for n, p in other.named_parameters()})
    )
    torch.manual_seed(3)
    assert wrapped.step(closure_of(other, wrapped, data)).item() == loss.item()
    assert torch.equal(torch.get_rng_state(), after)
    log_c = "manifold.curvature.log_c"
    assert seen.pop(log_c) is None  # the wrapped optimiser is not to learn it
    for name, gradient in seen.items():
        assert torch.equal(gradient, gradients[name]), name


def test_the_perturbed_pass_sees_the_same_dropout_and_batch():
    """Without a perturbation to speak of, both passes have one loss."""
    model, optimizer = build(every=1, rho=1e-12)
    train(model, optimizer, batches(3))
    assert optimizer.last.perturbed.item() == pytest.approx(optimizer.last.loss.item(), rel=1e-6)


def test_other_optimisers_gradients_and_replaced_buffers_are_kept():
    class Replaces(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(()))
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x):
            self.seen = self.seen + 1
            return self.scale * x

    torch.manual_seed(0)
    model = nn.Sequential(Replaces(), Network())
    optimizer = SharpnessAwareCurvature(RiemannianAdamW(model[1].parameters()), every=1)
    train(model, optimizer, batches(1))
    assert model[0].seen.item() == 1
    one = model[0].scale.grad.clone()
    reference = nn.Sequential(Replaces(), build()[0])
    torch.manual_seed(7)
    x, y = batches(1)[0]
    F.cross_entropy(reference(x), y).backward()
    assert torch.equal(one, reference[0].scale.grad)


def test_an_error_in_an_extra_pass_restores_everything():
    model, optimizer = build(every=1)
    before = copy.deepcopy(model.state_dict())
    batch, calls = batches(1)[0], []
    inner = closure_of(model, optimizer, batch, calls)

    def closure():
        if len(calls) == 1:
            raise RuntimeError("out of memory")
        return inner()

    with pytest.raises(RuntimeError, match="out of memory"):
        optimizer.step(closure)
    after = model.state_dict()
    for name in before:
        if "running" not in name and "num_batches" not in name:  # the first pass counted
            assert torch.equal(before[name], after[name]), name
    train(model, optimizer, batches(2))


# ----------------------------------------------------------------- passes and schedule


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        ({}, 1.2),
        ({"mode": "neumann", "alpha": 0.1}, 1.6),
        ({"mode": "neumann", "terms": 3, "alpha": 0.1}, 2.4),
        ({"differentiate_step": True}, 1.6),
    ],
)
def test_passes_per_step(options, passes):
    model, optimizer = build(**options)
    calls: list[int] = []
    x, y = batches(1)[0]
    for _ in range(40):
        optimizer.step(
            closure_of(model, optimizer, (x, y), calls),
            closure_of(model, optimizer, (x + 0.1, y), calls),
        )
    assert len(calls) / 40 == passes
    assert optimizer.passes == len(calls)
    assert optimizer.updates == 8


def test_schedule_warms_up_and_freezes():
    model, optimizer = build(every=5, total_steps=100, warmup=0.1, freeze=0.2)
    values = []
    for batch in batches(100):
        optimizer.step(closure_of(model, optimizer, batch))
        values.append(model.manifold.curvature.value)
    changes = [i for i in range(1, 100) if values[i] != values[i - 1]]
    assert changes == list(range(14, 80, 5))
    assert optimizer.updates == len(changes)


def test_first_step_is_the_learning_rate_and_trust_cuts_it():
    for lr, trust, expected in ((0.03, 0.1, 0.03), (0.5, 0.1, 0.1), (0.5, 0.02, 0.02)):
        model, optimizer = build(lr=lr, trust=trust, every=1)
        log_c = model.manifold.curvature.log_c
        before = log_c.item()
        train(model, optimizer, batches(1))
        sign = -torch.sign(optimizer.last.curvature[0]).item()
        assert log_c.item() - before == pytest.approx(sign * expected, rel=1e-4)


def test_adam_in_log_c_against_torch():
    model, optimizer = build(every=1, lr=1e-2, drop=0.0)
    log_c = model.manifold.curvature.log_c
    mirror = nn.Parameter(log_c.detach().clone())
    adam = torch.optim.Adam([mirror], lr=1e-2, betas=(0.9, 0.99))
    for batch in batches(15):
        optimizer.step(closure_of(model, optimizer, batch))
        mirror.grad = optimizer.last.curvature[0].clone()
        adam.step()
        assert log_c.item() == pytest.approx(mirror.item(), abs=1e-12)


def test_bounds_hold():
    model, optimizer = build(every=1, lr=0.5, objective="ssm", bounds=(0.97, 1.02))
    for batch in batches(10):
        optimizer.step(closure_of(model, optimizer, batch))
        assert 0.97 * (1 - 1e-9) <= model.manifold.curvature.value <= 1.02 * (1 + 1e-9)
    with pytest.raises(ValueError, match=r"a curvature is 12, outside its bounds \[0.05, 10\]"):
        build(c=12.0)
    with pytest.raises(ValueError, match="nothing in common"):
        build(bounds=(1e-4, 1e-3))


# ----------------------------------------------------------------- the curvature move


@pytest.mark.parametrize("gradient", ["autograd", "consistent"])
def test_only_the_upper_level_moves_curvatures(gradient):
    model, optimizer = build(every=3, base={"curvature_gradient": gradient})
    c = model.manifold.curvature.value
    train(model, optimizer, batches(2))
    assert model.manifold.curvature.value == c
    assert model.manifold.curvature.learnable
    train(model, optimizer, batches(1))
    assert model.manifold.curvature.value != c


@pytest.mark.parametrize("chart", [Lorentz, PoincareBall, LorentzTangent])
@pytest.mark.parametrize("move", ["exp", "scale"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_follow_the_curvature(chart, move, dtype):
    torch.manual_seed(1)
    m = chart(0.8, learnable=True)
    lorentz = Lorentz(curvature=m.curvature)
    start = m.from_lorentz(lorentz.expmap0(torch.randn(5, 3, dtype=dtype))).detach()
    p = ManifoldParameter(start.clone(), manifold=m)
    held = ManifoldParameter(start[:2].clone(), manifold=m, requires_grad=False)
    inner = RiemannianAdamW([p, held], lr=0.0)
    optimizer = SharpnessAwareCurvature(inner, every=1, lr=0.2, trust=1.0, curvature_move=move)

    def closure():
        optimizer.zero_grad()
        x = m.to_lorentz(p)
        loss = lorentz.dist_pairwise(x, x).square().mean() + m.dist0(p).mean()
        loss.backward()
        return loss

    c, distance = m.curvature.value, m.dist0(p).detach()
    optimizer.step(closure)
    assert m.curvature.value != c
    expected = distance if move == "exp" else distance * (c / m.curvature.value) ** 0.5
    tolerance = {torch.float32: 3e-6, torch.float64: 1e-12}[dtype]
    torch.testing.assert_close(m.dist0(p), expected, rtol=tolerance, atol=0)
    torch.testing.assert_close(p[:2].detach(), held.detach(), rtol=tolerance, atol=1e-15)
    direction = F.normalize(m.to_lorentz(p.detach()), dim=-1)
    m2 = chart(c)
    torch.testing.assert_close(direction, F.normalize(m2.to_lorentz(start), dim=-1))


def test_every_curvature_has_its_own_derivative():
    torch.manual_seed(0)
    first, second = Lorentz(0.5, learnable=True), Lorentz(2.0, learnable=True)
    fixed = Lorentz(1.5)
    params = [
        ManifoldParameter(m.expmap0(torch.randn(4, 2, dtype=torch.float64)).detach(), manifold=m)
        for m in (first, second, fixed)
    ]
    w = nn.Parameter(torch.randn(3, dtype=torch.float64))
    optimizer = SharpnessAwareCurvature(RiemannianAdamW([*params, w]), every=1)

    def loss_of(points):
        total = w.square().sum()
        for i, (m, p) in enumerate(zip((first, second, fixed), points, strict=True)):
            total = total + (w[i] * m.sqdist(p[:2], p[2:])).sum()
        return total

    def closure():
        optimizer.zero_grad()
        loss = loss_of(params)
        loss.backward()
        return loss

    assert len(optimizer.curvatures()) == 3
    together = copy.deepcopy(optimizer)  # its parameters are copies: only the count matters here
    assert len(together.curvatures()) == 3
    optimizer.step(closure)
    assert len(optimizer.last.curvature) == 2
    assert fixed.curvature.value == pytest.approx(1.5)
    assert first.curvature.value != 0.5
    assert second.curvature.value != 2.0
    assert optimizer.last.curvature[0] != optimizer.last.curvature[1]


# ----------------------------------------------------------------- drop-in


def test_state_round_trip_resumes_bit_by_bit():
    data = batches(20)
    options = {"every": 2, "total_steps": 20, "warmup": 0.0, "freeze": 0.0}
    model, optimizer = build(**options)
    train(model, optimizer, data[:9])
    weights = copy.deepcopy(model.state_dict())
    state = pickle.loads(pickle.dumps(optimizer.state_dict()))
    expected = train(model, optimizer, data[9:])

    other, resumed = build(seed=1, **options)
    other.load_state_dict(weights)
    resumed.load_state_dict(state)
    assert train(other, resumed, data[9:]) == expected
    assert states_equal(model.state_dict(), other.state_dict())


def test_a_state_of_the_wrapped_optimiser_can_be_loaded():
    model, optimizer = build()
    train(model, optimizer, batches(3))
    state = optimizer.optimizer.state_dict()
    _, other = build(seed=1)
    other.load_state_dict(state)
    assert other.steps == 0
    with pytest.raises(ValueError, match="learned curvatures"):
        other.load_state_dict({**state, "sharpness": {"moments": []}})


def test_copies_and_pickles():
    model, optimizer = build(every=1)
    train(model, optimizer, batches(2))
    other_model, other = pickle.loads(pickle.dumps((model, optimizer)))
    expected = train(model, optimizer, batches(3))
    assert train(other_model, other, batches(3)) == expected


def test_schedulers_hooks_and_groups():
    model, optimizer = build()
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    train(model, optimizer, batches(1))
    schedule.step()
    assert optimizer.optimizer.param_groups[0]["lr"] == pytest.approx(1e-2)
    assert optimizer.lr == 1e-2
    extra = nn.Parameter(torch.ones(3))
    optimizer.add_param_group({"params": [extra], "lr": 0.1})
    assert any(extra is p for p in optimizer.optimizer.param_groups[-1]["params"])


def test_any_torch_optimiser_can_be_wrapped():
    torch.manual_seed(0)
    m = Lorentz(1.0, learnable=True)
    w = nn.Parameter(torch.randn(4, 3))
    optimizer = SharpnessAwareCurvature(
        torch.optim.SGD([w, m.curvature.log_c], lr=0.1), every=1, rho=0.1
    )

    def closure():
        optimizer.zero_grad()
        x = m.expmap0(w)
        loss = m.sqdist(x[:2], x[2:]).sum()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    assert optimizer.updates == 3
    assert m.curvature.value != 1.0


def test_finite_differences_run_in_full_precision():
    model, optimizer = build(every=1, mode="neumann", alpha=0.1, drop=0.0)
    seen = []
    model.body[0].register_forward_hook(lambda *args: seen.append(args[-1].dtype))
    batch, second = batches(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        optimizer.step(closure_of(model, optimizer, batch), closure_of(model, optimizer, second))
    assert seen == [torch.bfloat16] * 2 + [torch.float32] * 2


def test_compiled_model():
    model, optimizer = build(every=1, drop=0.0)
    optimizer.module = model
    compiled = torch.compile(model, backend="aot_eager")
    for batch in batches(3):
        optimizer.step(closure_of(compiled, optimizer, batch))
    other, reference = build(every=1, drop=0.0)
    train(other, reference, batches(3))
    assert int(model.body[1].num_batches_tracked) == 3
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


# ----------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rho": 0.0}, "rho must lie in"),
        ({"every": 0}, "every must be an integer of 1 or more; got 0"),
        ({"objective": "flat"}, "objective must be one of"),
        ({"mode": "exact"}, "mode must be one of"),
        ({"terms": 2}, "terms=2 has no effect with mode='direct'"),
        ({"mode": "neumann", "terms": 6}, "terms=6 needs damping"),
        ({"mode": "neumann", "alpha": -1.0}, "alpha must lie in"),
        ({"warmup": 1.0}, "warmup must lie in"),
        ({"bounds": (2.0, 1.0)}, "bounds must satisfy"),
        ({"betas": (0.9, 1.0)}, r"betas\[1\] must lie in"),
        ({"total_steps": 2.5}, "total_steps must be an integer"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_the_same_batch_for_both_levels_is_refused():
    model, optimizer = build(mode="neumann")
    before = copy.deepcopy(model.state_dict())
    closure = closure_of(model, optimizer, batches(1)[0])
    for arguments in ((closure,), (closure, closure)):
        with pytest.raises(ValueError, match="on a batch independent of closure's"):
            optimizer.step(*arguments)
    assert states_equal(before, model.state_dict())
    assert optimizer.passes == optimizer.steps == 0


def test_needs_a_closure_an_optimiser_and_a_learnable_curvature():
    _, optimizer = build()
    with pytest.raises(TypeError, match="needs a closure"):
        optimizer.step()
    with pytest.raises(TypeError, match=r"must be a torch.optim.Optimizer"):
        SharpnessAwareCurvature([nn.Parameter(torch.ones(2))])
    m = Lorentz(1.0)
    p = ManifoldParameter(torch.ones(2, 2), manifold=m)
    with pytest.raises(ValueError, match="learnable=True"):
        SharpnessAwareCurvature(RiemannianAdamW([p]))


# ----------------------------------------------------------------- scope sharpness


@pytest.mark.parametrize("c", [0.05, 0.3, 1.0, 4.0, 20.0])
def test_displacement_is_geodesic_of_the_given_joint_length(c):
    torch.manual_seed(0)
    m = Lorentz(c)
    x = m.expmap0(torch.randn(6, 3, dtype=torch.float64) * 2 / c**0.5)
    p, w = (
        ManifoldParameter(x.clone(), manifold=m),
        nn.Parameter(torch.randn(4, dtype=torch.float64)),
    )
    ball = PoincareBall(c)
    q = ManifoldParameter(ball.from_lorentz(x[:2]).detach(), manifold=ball)
    space = WeightSpace([p, w, q])
    v = [torch.randn_like(t.detach()) for t in (p, w, q)]
    with space.anchored():
        space.displace_(v, 0.3)
        torch.testing.assert_close(m.dist(x, p), 0.3 * v[0].norm(dim=-1))
        expected = m.expmap(x, m.transp0(x, 0.3 * v[0]))
        torch.testing.assert_close(p.detach(), expected)
        torch.testing.assert_close(ball.dist(ball.from_lorentz(x[:2]), q), 0.3 * v[2].norm(dim=-1))
        torch.testing.assert_close(w.detach(), space.base[1] + 0.3 * v[1])
    assert torch.equal(p.detach(), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("c", [0.05, 1.0, 20.0])
def test_scope_sharpness_of_a_distance(c, dtype):
    """Of the distance to a point the sharpness is rho, in any space and any chart."""
    torch.manual_seed(0)
    lorentz = Lorentz(c)
    start = lorentz.expmap0(torch.randn(2, 3, dtype=dtype) / c**0.5)
    for chart in (Lorentz, PoincareBall, LorentzTangent):
        m = chart(c)
        p = ManifoldParameter(m.from_lorentz(start[:1]), manifold=m)
        target = m.from_lorentz(start[1:])

        def closure(p=p, m=m, target=target):
            p.grad = None
            loss = m.dist(p, target).sum()
            loss.backward()
            return loss

        before = p.detach().clone()
        for steps in (1, 4):
            found = scope_sharpness([p], closure, rho=0.1, ascent_steps=steps)
            tolerance = 3e-5 if dtype == torch.float32 else 1e-9
            assert found.sharpness.item() == pytest.approx(0.1, rel=tolerance)
            assert (found.perturbed - found.loss).item() == found.sharpness.item()
        assert torch.equal(p.detach(), before)
        assert p.grad is None


def test_scope_sharpness_of_a_model_leaves_it_alone():
    model, optimizer = build()
    batch = batches(1)[0]
    before = copy.deepcopy(model.state_dict())
    generator = torch.get_rng_state()
    few = scope_sharpness(model, closure_of(model, optimizer, batch), rho=0.2)
    many = scope_sharpness(model, closure_of(model, optimizer, batch), rho=0.2, ascent_steps=10)
    assert states_equal(before, model.state_dict())
    assert torch.equal(generator, torch.get_rng_state())
    assert all(p.grad is None for p in model.parameters())
    assert few.loss == many.loss
    assert 0 < few.sharpness < many.sharpness * 1.05
    half = scope_sharpness(model, closure_of(model, optimizer, batch), rho=0.1)
    assert half.sharpness < few.sharpness
    with pytest.raises(ValueError, match="ascent_steps must be at least 1"):
        scope_sharpness(model, closure_of(model, optimizer, batch), ascent_steps=0)
    with pytest.raises(ValueError, match="nothing to perturb"):
        scope_sharpness([torch.ones(2)], closure_of(model, optimizer, batch))


def test_points_far_out_are_perturbed_without_loss():
    """The log-at-origin store reaches radius 100, where space parts would overflow float32."""
    m = LorentzTangent(1.0, learnable=True)
    z = torch.tensor([[60.0, 0.0], [90.0, 5.0]])
    p = ManifoldParameter(z.clone(), manifold=m)
    space = WeightSpace([p])
    with space.anchored():
        space.displace_([torch.tensor([[0.5, 0.0], [0.0, 0.0]])])
        assert m.dist(z, p).tolist() == pytest.approx([0.5, 0.0], abs=1e-4)
