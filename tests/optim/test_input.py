"""What is wrong is said at once: which argument, which value, what to do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hypeeg.geometry import Curvature, Lorentz, ManifoldParameter
from hypeeg.optim import RiemannianAdam, RiemannianAdamW, RiemannianSGD


def points(*shape, manifold=None, dtype=torch.float32):
    return ManifoldParameter(torch.ones(shape, dtype=dtype), manifold=manifold or Lorentz())


@pytest.mark.parametrize(
    ("option", "value", "error", "message"),
    [
        ("lr", -0.1, ValueError, r"lr must lie in \[0, inf\); got -0.1"),
        ("lr", float("nan"), ValueError, "lr must lie in"),
        ("lr", float("inf"), ValueError, "lr must lie in"),
        ("lr", "1e-3", TypeError, "lr must be a number; got '1e-3'"),
        ("lr", torch.ones(2), ValueError, r"lr as a tensor must hold 1 element; got shape \(2,\)"),
        ("eps", -1e-8, ValueError, "eps must lie in"),
        ("weight_decay", -1, ValueError, "weight_decay must lie in"),
        ("weight_decay", None, TypeError, "weight_decay must be a number; got None"),
        ("betas", (1.0, 0.999), ValueError, r"betas\[0\] must lie in \[0, 1\); got 1.0"),
        ("betas", (0.9, -0.1), ValueError, r"betas\[1\] must lie in"),
        ("betas", 0.9, TypeError, "betas must be two numbers"),
        ("betas", (0.9,), TypeError, "betas must be two numbers"),
        ("betas", (torch.tensor(0.9), 0.999), TypeError, r"betas\[0\] must be a plain number"),
        ("curvature_lr", -1.0, ValueError, "curvature_lr must lie in"),
        ("curvature_lr", True, TypeError, "curvature_lr must be a number"),
        ("curvature_move", "log", ValueError, "curvature_move must be one of .* got 'log'"),
        ("curvature_gradient", None, ValueError, "curvature_gradient must be one of .* got None"),
    ],
)
@pytest.mark.parametrize("in_group", [True, False])
def test_options(option, value, error, message, in_group):
    if in_group:
        params, options = [{"params": [points(2)], option: value}], {}
    else:
        params, options = [points(2)], {option: value}
    with pytest.raises(error, match=message):
        RiemannianAdamW(params, **options)


def test_tensor_rate_with_foreach():
    with pytest.raises(ValueError, match="lr as a tensor is not supported with foreach=True"):
        RiemannianAdamW([points(2)], lr=torch.tensor(0.1), foreach=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64])
def test_dtypes_without_room_for_the_hyperboloid(dtype):
    with pytest.raises(TypeError, match=rf"'net.p' of shape \(3, 2\) is {dtype}.*autocast"):
        RiemannianAdamW([("net.p", points(3, 2, dtype=dtype))])


def test_model_halved_after_the_optimizer_was_built():
    p, w = points(3, 2), nn.Parameter(torch.ones(2))
    optimizer = RiemannianAdamW([w, p])
    p.data = p.data.half()
    p.grad, w.grad = torch.ones_like(p), torch.ones_like(w)
    with pytest.raises(TypeError, match=r"1 of group 0 .*is torch.float16"):
        optimizer.step()
    assert w[0] == 1  # nothing was changed


@pytest.mark.parametrize("manifold", [True, False])
def test_sparse_gradients(manifold):
    w = nn.Parameter(torch.ones(2))
    p = points(3, 2) if manifold else nn.Parameter(torch.ones(3, 2))
    optimizer = RiemannianAdamW([("weight", w), ("table", p)])
    p.grad, w.grad = torch.ones(3, 2).to_sparse(), torch.ones(2)
    what = "does not name whole rows" if manifold else "has a sparse gradient.*Euclidean"
    with pytest.raises(RuntimeError, match=rf"'table' \(shape \(3, 2\)\) {what}"):
        optimizer.step()
    assert w[0] == 1


@pytest.mark.parametrize(
    ("option", "value", "error", "message"),
    [
        ("lr", -0.1, ValueError, r"lr must lie in \[0, inf\); got -0.1"),
        ("momentum", -0.1, ValueError, r"momentum must lie in \[0, inf\); got -0.1"),
        ("dampening", None, TypeError, "dampening must be a number; got None"),
        ("weight_decay", float("nan"), ValueError, "weight_decay must lie in"),
        ("nesterov", 1, TypeError, "nesterov must be True or False; got 1"),
        ("nesterov", True, ValueError, "nesterov=True needs momentum > 0 and dampening = 0"),
    ],
)
def test_options_of_sgd(option, value, error, message):
    with pytest.raises(error, match=message):
        RiemannianSGD([points(2)], **{option: value})


@pytest.mark.parametrize("kind", [RiemannianAdam, RiemannianAdamW])
def test_amsgrad_is_a_flag(kind):
    with pytest.raises(TypeError, match="amsgrad must be True or False; got 'yes'"):
        kind([points(2)], amsgrad="yes")


def test_manifold_exchanged_after_the_optimizer_was_built():
    p = points(3, 2)
    optimizer = RiemannianAdamW([p])
    p.manifold.curvature = Curvature(c=2.0)
    p.grad = torch.ones(3, 2)
    with pytest.raises(RuntimeError, match=r"curvature of parameter 0 of group 0.*build"):
        optimizer.step()


def test_a_curvature_in_two_groups_of_its_own():
    log_c = Curvature(learnable=True).log_c
    with pytest.raises(ValueError, match="more than one parameter group"):
        RiemannianAdamW([{"params": [log_c]}, {"params": [log_c]}])
    optimizer = RiemannianAdamW([log_c])
    with pytest.raises(ValueError, match="more than one parameter group"):
        optimizer.add_param_group({"params": [log_c]})


def test_what_torch_itself_refuses():
    with pytest.raises(ValueError, match="empty parameter list"):
        RiemannianAdamW([])
    with pytest.raises(TypeError, match="iterable of Tensors or dicts"):
        RiemannianAdamW(torch.ones(2))
    with pytest.raises(TypeError, match="ordered collections"):
        RiemannianAdamW([{"params": {points(2)}}])
    with pytest.raises(TypeError, match="can only optimize Tensors"):
        RiemannianAdamW([1.0])
    with pytest.raises(ValueError, match="non-leaf"):
        RiemannianAdamW([nn.Parameter(torch.ones(2)) * 2])
    p = points(2)
    with pytest.raises(ValueError, match="more than one parameter group"):
        RiemannianAdamW([{"params": [p]}, {"params": [p]}])
    optimizer = RiemannianAdamW([p])
    with pytest.raises(TypeError, match="must be a dict; got list"):
        optimizer.add_param_group([p])
    with pytest.raises(ValueError, match=r"needs 'params'; it holds \['lr'\]"):
        optimizer.add_param_group({"lr": 0.1})


def test_moment_of_what_has_none():
    p, w = points(3, 2), nn.Parameter(torch.ones(2))
    optimizer = RiemannianAdamW([p, w])
    assert torch.equal(optimizer.moment(p), torch.zeros(3, 2))
    with pytest.raises(TypeError, match="p must be a ManifoldParameter; got Parameter"):
        optimizer.moment(w)
    with pytest.raises(ValueError, match="not among the parameters"):
        optimizer.moment(points(3, 2))
    with pytest.raises(ValueError, match=r"name must be one of \('exp_avg',\); got 'momentum'"):
        optimizer.moment(p, "momentum")
