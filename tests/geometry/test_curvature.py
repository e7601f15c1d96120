"""The curvature module: value, bounds, gradient, and what survives moves and copies."""

from __future__ import annotations

import copy
import io
import math
import pickle

import pytest
import torch

from hypeeg.geometry import Curvature, CurvatureParameter, Lorentz


@pytest.mark.parametrize("c", [0.05, 0.3, 1.0, 4.0, 20.0])
def test_value_is_the_number_given(c):
    curvature = Curvature(c)
    assert curvature.value == pytest.approx(c, rel=1e-15)
    assert curvature.c.dim() == 0
    assert curvature().dtype == torch.float64
    assert float(curvature.log_c.detach()) == math.log(c)
    assert isinstance(curvature.log_c, CurvatureParameter)
    assert isinstance(curvature.log_c, torch.nn.Parameter)
    assert f"c={c:.6g}" in repr(curvature)


def test_learnable_can_be_set_and_unset():
    curvature = Curvature(2.0)
    assert not curvature.learnable
    assert not curvature.c.requires_grad
    curvature.learnable = True
    assert curvature.learnable
    curvature.c.backward()
    assert float(curvature.log_c.grad) == pytest.approx(2.0)  # dc / d log c = c
    curvature.learnable = False
    assert not curvature.c.requires_grad
    assert Curvature(1.0, learnable=True).learnable


def test_bounds_clamp_the_value_and_pass_the_gradient():
    curvature = Curvature(1.0, learnable=True, bounds=(0.5, 2.0))
    for log_c, value in ((3.0, 2.0), (-3.0, 0.5)):
        curvature.log_c.data.fill_(log_c)
        curvature.log_c.grad = None
        assert curvature.value == pytest.approx(value)
        curvature.c.backward()
        assert float(curvature.log_c.grad) == pytest.approx(value)
    curvature.log_c.data.fill_(3.0)
    assert curvature.log_c.project_() is curvature.log_c
    assert float(curvature.log_c.detach()) == pytest.approx(math.log(2.0))
    assert curvature.log_c.requires_grad


def test_bad_arguments_say_what_to_do():
    for c in (0.04, 21.0, 0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"must lie in \[0\.05, 20\.0\].*other bounds"):
            Curvature(c)
    assert Curvature(0.04, bounds=(0.01, 1.0)).bounds == (0.01, 1.0)
    for bounds in ((0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (1.0, math.inf), (math.nan, 1.0)):
        with pytest.raises(ValueError, match="bounds must satisfy"):
            Curvature(1.0, bounds=bounds)


@pytest.mark.parametrize(
    "move",
    [
        lambda m: m.half(),
        lambda m: m.to(torch.bfloat16),
        lambda m: m.float(),
        lambda m: m.double(),
        lambda m: m.to("cpu", torch.float16),
        lambda m: m.half().float(),
    ],
)
def test_moves_keep_the_curvature_exact(move):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), Lorentz(0.3, learnable=True))
    parameter = model[1].curvature.log_c
    moved = move(model)
    assert moved[1].curvature.log_c is parameter
    assert isinstance(parameter, CurvatureParameter)
    assert parameter.dtype == torch.float64
    assert parameter.requires_grad
    assert moved[1].curvature.value == pytest.approx(0.3, rel=1e-15)
    assert parameter.bounds == (0.05, 20.0)


def test_a_learned_gradient_follows_moves():
    curvature = Curvature(0.3, learnable=True)
    curvature.c.backward()
    curvature.half()
    assert curvature.log_c.grad.dtype == torch.float64


def test_state_round_trips():
    source, target = Curvature(0.3), Curvature(4.0, learnable=True)
    stream = io.BytesIO()
    torch.save(source.state_dict(), stream)
    stream.seek(0)
    target.load_state_dict(torch.load(stream, weights_only=True))
    assert target.value == pytest.approx(0.3, rel=1e-15)
    assert target.learnable
    assert isinstance(target.log_c, CurvatureParameter)
    target.load_state_dict({"log_c": torch.tensor(math.log(5.0))}, assign=True)
    assert target.value == pytest.approx(5.0, rel=1e-6)
    assert isinstance(target.log_c, CurvatureParameter)
    assert target.log_c.dtype == torch.float64
    assert target.bounds == (0.05, 20.0)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_keep_everything_and_share_nothing(duplicate):
    source = Curvature(0.3, learnable=True, bounds=(0.1, 3.0))
    other = duplicate(source)
    assert isinstance(other.log_c, CurvatureParameter)
    assert (other.value, other.learnable, other.bounds) == (source.value, True, (0.1, 3.0))
    with torch.no_grad():
        other.log_c.add_(0.5)
    assert source.value == pytest.approx(0.3, rel=1e-15)


def test_meta_device_and_back():
    with torch.device("meta"):
        curvature = Curvature(0.3, learnable=True, bounds=(0.1, 3.0))
    assert curvature.log_c.is_meta
    assert "c=?" in repr(curvature)
    curvature.to_empty(device="cpu")
    curvature.load_state_dict(Curvature(0.4).state_dict())
    assert isinstance(curvature.log_c, CurvatureParameter)
    assert curvature.value == pytest.approx(0.4, rel=1e-15)
    assert curvature.bounds == (0.1, 3.0)
    assert curvature.learnable


def test_manifolds_share_a_curvature():
    shared = Curvature(2.0, learnable=True)
    a, b = Lorentz(curvature=shared), Lorentz(curvature=shared)
    assert a.curvature is b.curvature is shared
    assert a.learnable
    model = torch.nn.ModuleList([a, b])
    assert len(list(model.parameters())) == 1
    with torch.no_grad():
        shared.log_c.fill_(0.0)
    assert a.c == b.c == 1.0
    (a.c * b.c).backward()
    assert float(shared.log_c.grad) == pytest.approx(2.0)
    copied = copy.deepcopy(model)
    assert copied[0].curvature is copied[1].curvature is not shared
