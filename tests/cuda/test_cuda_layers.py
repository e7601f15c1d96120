"""Layers on a GPU: the CPU's numbers, autocast, no waiting for the device."""

from __future__ import annotations

import copy
import importlib
from pathlib import Path

import pytest
import torch
from contract import LayerCase, build, extras, relative_error, run, sample_points
from torch import nn

from hypeeg.geometry import Lorentz

_FILES = sorted(p.stem for p in (Path(__file__).parents[1] / "nn").glob("cases_*.py"))
ALL: list[LayerCase] = [c for name in _FILES for c in importlib.import_module(name).CASES]
every_case = pytest.mark.parametrize("case", ALL, ids=str)


def has_dropout(module: nn.Module) -> bool:
    return any("Dropout" in type(m).__name__ and m.p > 0 for m in module.modules() if m.training)


def prepared(case: LayerCase, dtype: torch.dtype, c: float = 0.8):
    """Build the module on the CPU, put it on the GPU, and give inputs for both."""
    m = Lorentz(c, learnable=True)
    module = build(case, m, dtype)
    x, inputs = sample_points(m, case.shape, case.axis, dtype=dtype), extras(case, m, dtype)
    return module, copy.deepcopy(module).cuda(), x, inputs


def with_gradients(module: nn.Module, x: torch.Tensor, *inputs: torch.Tensor):
    x = x.clone().requires_grad_()
    y = run(module, x, *inputs)
    weights = torch.cos(torch.arange(y.numel(), dtype=torch.float64)).reshape(y.shape)
    (y * weights.to(y)).sum().backward()
    found = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    return y, {"the input": x.grad, **found}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@every_case
def test_outputs_and_gradients_are_the_cpus(case, dtype):
    here, there, x, inputs = prepared(case, dtype)
    if has_dropout(here):
        pytest.skip("chance differs between devices")
    y, gradients = with_gradients(here, x, *inputs)
    y_gpu, gradients_gpu = with_gradients(there, x.cuda(), *(t.cuda() for t in inputs))
    assert y_gpu.dtype == y.dtype
    tight = dtype == torch.float64
    assert relative_error(y_gpu.cpu(), y, case) < (1e-9 if tight else max(case.tolerance, 1e-4))
    assert gradients.keys() == gradients_gpu.keys()
    # of gradients that vanish but for rounding, only that they do can be asked
    largest = max(float(g.abs().max()) for g in gradients.values())
    for name, expected in gradients.items():
        error = (gradients_gpu[name].cpu() - expected).abs().max()
        size = max(float(expected.abs().max()), 1e-3 * largest)
        assert error <= (1e-8 if tight else 2e-3) * size, name


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("case", [c for c in ALL if not c.euclidean], ids=str)
def test_autocast_leaves_the_geometry_in_float32(case, half):
    _, module, x, inputs = prepared(case, torch.float32)
    x, inputs = x.cuda(), tuple(t.cuda() for t in inputs)
    if has_dropout(module):
        module.eval()
    plain = run(copy.deepcopy(module), x, *inputs)
    with torch.autocast("cuda", dtype=half):
        y = run(module, x, *inputs)
    assert y.dtype == torch.float32
    assert torch.equal(y, plain)


@every_case
def test_nothing_waits_for_the_device(case, no_waiting):
    _, module, x, inputs = prepared(case, torch.float32)
    x, inputs = x.cuda().requires_grad_(), tuple(t.cuda() for t in inputs)
    module(x, *inputs).sum().backward()  # what is made once is made here
    with no_waiting():
        module(x, *inputs).sum().backward()
