"""Everything torch.optim.AdamW can be asked for: groups, state, schedulers, scaling, closures."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from hypeeg.geometry import Curvature, Lorentz, ManifoldParameter
from hypeeg.optim import RiemannianAdamW


class Net(nn.Module):
    """Two curvatures, three manifold parameters, Euclidean weights."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(4, 3)
        self.manifold = Lorentz(c=1.0, learnable=True)
        self.prototypes = ManifoldParameter(torch.randn(5, 3), manifold=self.manifold)
        self.offset = ManifoldParameter(torch.randn(3), manifold=self.manifold)
        self.head = Lorentz(c=0.5, learnable=True)
        self.anchors = ManifoldParameter(torch.randn(2, 2, 3), manifold=self.head)

    def forward(self, x):
        z = self.manifold.expmap0(self.encoder(x))
        to_prototypes = self.manifold.dist_pairwise(z, self.prototypes)
        to_offset = self.manifold.dist(z, self.offset)
        to_anchors = self.head.dist(z[:, None, None], self.anchors)
        return to_prototypes.square().mean() + to_offset.mean() + to_anchors.square().mean()


@pytest.fixture
def data():
    return torch.randn(30, 8, 4)


def train(net, optimizer, batches, scheduler=None):
    for x in batches:
        optimizer.zero_grad()
        net(x).backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()


def assert_same(net, other):
    for (name, a), b in zip(net.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


# ------------------------------------------------------------------------------ groups


def test_finds_curvatures_by_itself():
    net = Net()
    only_points = RiemannianAdamW([net.prototypes, net.offset, net.anchors])
    whole = RiemannianAdamW(net.parameters(), lr=0.1, weight_decay=0.3, curvature_lr=0.02)
    for optimizer in (only_points, whole):
        *_, curvatures = optimizer.param_groups
        assert len(optimizer.param_groups) == 2
        assert {id(p) for p in curvatures["params"]} == {
            id(net.manifold.curvature.log_c),
            id(net.head.curvature.log_c),
        }
    assert curvatures["lr"] == 0.02
    assert curvatures["weight_decay"] == 0.0
    assert len(whole.param_groups[0]["params"]) == 5
    assert whole.param_groups[0]["lr"] == 0.1


def test_a_euclidean_model_has_no_extra_group():
    optimizer = RiemannianAdamW(nn.Linear(2, 2).parameters())
    assert len(optimizer.param_groups) == 1


def test_named_parameters():
    net = Net()
    optimizer = RiemannianAdamW(net.named_parameters())
    names = optimizer.param_groups[0]["param_names"]
    assert names == ["prototypes", "offset", "anchors", "encoder.weight", "encoder.bias"]
    assert optimizer.param_groups[1]["param_names"] == [
        "manifold.curvature.log_c",
        "head.curvature.log_c",
    ]
    alone = RiemannianAdamW([("p", net.prototypes)])
    assert alone.param_groups[1]["param_names"] == ["p.manifold.curvature.log_c"]


def test_options_by_group():
    net = Net()
    optimizer = RiemannianAdamW(
        [
            {"params": net.encoder.parameters(), "lr": 0.5},
            {"params": [net.prototypes, net.offset], "weight_decay": 0.0, "curvature_lr": 0.3},
            {"params": net.anchors, "betas": (0.5, 0.6), "curvature_move": "exp"},
        ],
        lr=0.1,
        curvature_lr=0.2,
    )
    groups = optimizer.param_groups
    assert [g["lr"] for g in groups] == [0.5, 0.1, 0.1, 0.3, 0.2]
    assert [g["weight_decay"] for g in groups] == [0.01, 0.0, 0.01, 0.0, 0.0]
    assert groups[2]["betas"] == (0.5, 0.6)
    assert [g["curvature_move"] for g in groups[3:]] == ["scale", "exp"]
    assert groups[3]["params"] == [net.manifold.curvature.log_c]
    assert not any(key.startswith("curvature") for g in groups[:3] for key in g)


@pytest.mark.parametrize("first", [True, False])
def test_a_group_of_curvatures_keeps_its_rate(first):
    net = Net()
    mine = {"params": [net.manifold.curvature.log_c], "lr": 0.7}
    others = {"params": [net.prototypes, net.anchors, net.encoder.weight]}
    optimizer = RiemannianAdamW([mine, others] if first else [others, mine], curvature_lr=0.2)
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert len(rates) == 5
    assert rates[id(net.manifold.curvature.log_c)] == 0.7
    assert rates[id(net.head.curvature.log_c)] == 0.2


def test_a_curvature_shared_by_two_groups_is_held_once():
    shared = Curvature(learnable=True)
    nets = [Lorentz(curvature=shared) for _ in range(2)]
    groups = [
        {"params": [ManifoldParameter(torch.ones(2), manifold=m), *m.parameters()]} for m in nets
    ]
    optimizer = RiemannianAdamW(groups)
    assert [len(g["params"]) for g in optimizer.param_groups] == [1, 1, 1]


def test_add_param_group():
    net = Net()
    optimizer = RiemannianAdamW(net.encoder.parameters(), lr=0.1)
    optimizer.add_param_group({"params": [net.prototypes], "lr": 0.2, "curvature_lr": 0.3})
    optimizer.add_param_group({"params": [net.offset]})
    optimizer.add_param_group({"params": [net.anchors]})
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.2, 0.3, 0.1, 0.1, 0.01]
    start = net.anchors.detach().clone()
    train(net, optimizer, torch.randn(2, 8, 4))
    assert not torch.equal(net.anchors, start)


def test_group_options_change_the_step():
    """Each manifold parameter is stepped with the options of its own group."""
    m = Lorentz()
    x = torch.randn(4, 3)
    params = [ManifoldParameter(x.clone(), manifold=m) for _ in range(2)]
    optimizer = RiemannianAdamW(
        [{"params": [params[0]], "lr": 0.1}, {"params": [params[1]], "lr": 0.2}], weight_decay=0
    )
    for p in params:
        p.grad = torch.ones_like(x)
    optimizer.step()
    lengths = [m.dist(x, p.detach()) for p in params]
    torch.testing.assert_close(lengths[0], torch.full((4,), 0.1))
    torch.testing.assert_close(lengths[1], torch.full((4,), 0.2))


# ------------------------------------------------------------------------------ state


@pytest.mark.parametrize("options", [{}, {"curvature_move": "scale", "foreach": False}])
@pytest.mark.parametrize("through_file", [True, False])
def test_resume_is_bit_exact(data, options, through_file):
    net = Net()
    optimizer = RiemannianAdamW(net.parameters(), lr=0.05, **options)
    train(net, optimizer, data[:10])
    saved = {"net": net.state_dict(), "optimizer": optimizer.state_dict()}
    if through_file:
        file = io.BytesIO()
        torch.save(saved, file)
        file.seek(0)
        saved = torch.load(file, weights_only=True)
    else:
        saved = copy.deepcopy(saved)
    train(net, optimizer, data[10:])

    resumed = Net()
    resumed.load_state_dict(saved["net"])
    again = RiemannianAdamW(resumed.parameters(), lr=9.0, weight_decay=9.0, curvature_lr=9.0)
    again.load_state_dict(saved["optimizer"])
    train(resumed, again, data[10:])
    assert_same(net, resumed)
    for p, q in zip(net.parameters(), resumed.parameters(), strict=True):
        for name, value in optimizer.state[p].items():
            assert torch.equal(value, again.state[q][name])
            assert value.dtype == again.state[q][name].dtype


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_train_on_alike_and_apart(data, copier):
    net = Net()
    optimizer = RiemannianAdamW(net.parameters(), lr=0.05, curvature_move="scale")
    train(net, optimizer, data[:5])
    twin, twin_optimizer = copier((net, optimizer))
    held = {id(p) for g in twin_optimizer.param_groups for p in g["params"]}
    assert held == {id(p) for p in twin.parameters()}
    train(net, optimizer, data[5:])
    before = copy.deepcopy(twin.state_dict())
    assert not torch.equal(before["prototypes"], net.prototypes)
    train(twin, twin_optimizer, data[5:])
    assert_same(net, twin)
    twin_optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))]})


def test_state_dict_of_another_model_is_refused():
    net = Net()
    other = RiemannianAdamW(net.encoder.parameters()).state_dict()
    with pytest.raises(ValueError, match="different number of parameter groups"):
        RiemannianAdamW(net.parameters()).load_state_dict(other)


def test_zero_grad_reaches_every_group(data):
    net = Net()
    optimizer = RiemannianAdamW(net.parameters())
    net(data[0]).backward()
    assert all(p.grad is not None for p in net.parameters())
    optimizer.zero_grad()
    assert all(p.grad is None for p in net.parameters())


# ------------------------------------------------------------------------------ schedulers


@pytest.mark.parametrize(
    "make",
    [
        lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=10),
        lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
        lambda o: lr_scheduler.OneCycleLR(o, max_lr=[0.1, 0.02], total_steps=40),
        lambda o: lr_scheduler.SequentialLR(
            o,
            [
                lr_scheduler.LinearLR(o, start_factor=0.1, total_iters=3),
                lr_scheduler.StepLR(o, step_size=2),
            ],
            milestones=[3],
        ),
    ],
)
def test_schedulers(data, make):
    net = Net()
    optimizer = RiemannianAdamW(net.parameters(), lr=0.05, curvature_lr=0.01)
    scheduler = make(optimizer)
    rates, momenta = [], []
    for x in data[:10]:
        train(net, optimizer, [x], scheduler)
        rates.append([g["lr"] for g in optimizer.param_groups])
        momenta.append(optimizer.param_groups[0]["betas"][0])
    assert rates[0] != rates[-1]
    assert rates[0][1] != rates[-1][1]
    assert (len(set(momenta)) > 1) == isinstance(scheduler, lr_scheduler.OneCycleLR)
    assert all(p.isfinite().all() for p in net.parameters())


def test_rate_of_the_scheduler_is_the_length_of_the_step():
    m = Lorentz()
    p = ManifoldParameter(torch.randn(4, 3, dtype=torch.float64), manifold=m)
    optimizer = RiemannianAdamW([p], lr=0.1, betas=(0.0, 0.0), weight_decay=0.0)
    scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    for expected in (0.1, 0.05, 0.025):
        x = p.detach().clone()
        p.grad = torch.randn(4, 3, dtype=torch.float64)
        optimizer.step()
        scheduler.step()
        torch.testing.assert_close(
            m.dist(x, p.detach()), torch.full((4,), expected, dtype=x.dtype), rtol=1e-7, atol=0
        )


def test_tensor_learning_rate(data):
    nets = []
    for lr in (0.05, torch.tensor(0.05), torch.tensor([0.05])):
        torch.manual_seed(0)
        net = Net().double()
        rates = {"lr": lr, "curvature_lr": lr * 0.1}
        train(net, RiemannianAdamW(net.parameters(), **rates), data[:5].double())
        nets.append(net)
    for net in nets[1:]:
        for a, b in zip(nets[0].parameters(), net.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


# ------------------------------------------------------------------------------ scaling, closure


def test_grad_scaler_on_cpu(data):
    plain, scaled = Net(), Net()
    scaled.load_state_dict(plain.state_dict())
    train(plain, RiemannianAdamW(plain.parameters(), lr=0.05), data[:8])
    optimizer = RiemannianAdamW(scaled.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for x in data[:8]:
        optimizer.zero_grad()
        scaler.scale(scaled(x)).backward()
        scaler.step(optimizer)
        scaler.update()
    assert_same(plain, scaled)  # powers of two scale exactly


def test_grad_scaler_skips_a_step_with_inf(data):
    net = Net()
    optimizer = RiemannianAdamW(net.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    train(net, optimizer, data[:2])
    before = copy.deepcopy(net.state_dict())
    optimizer.zero_grad()
    scaler.scale(net(data[2])).backward()
    net.head.curvature.log_c.grad.fill_(torch.inf)  # found through the group of curvatures
    scaler.step(optimizer)
    scaler.update()
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])
    assert scaler.get_scale() == 2.0**9


def test_closure(data):
    net, twin = Net(), Net()
    twin.load_state_dict(net.state_dict())
    optimizer, other = RiemannianAdamW(net.parameters()), RiemannianAdamW(twin.parameters())

    def closure():
        optimizer.zero_grad()
        loss = net(data[0])
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    assert loss.item() == twin(data[0]).item()
    train(twin, other, data[:1])
    assert_same(net, twin)
    assert torch.is_grad_enabled()


def test_hooks_run(data):
    net = Net()
    optimizer = RiemannianAdamW(net.parameters())
    calls = []
    optimizer.register_step_pre_hook(lambda *_: calls.append("pre"))
    optimizer.register_step_post_hook(lambda *_: calls.append("post"))
    train(net, optimizer, data[:2])
    assert calls == ["pre", "post"] * 2


def test_is_an_optimizer_with_a_readable_repr():
    optimizer = RiemannianAdamW(Net().parameters())
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert "curvature_move: scale" in repr(optimizer)
