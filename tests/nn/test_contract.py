"""Every layer passes this contract, in float32 and float64 and over two and a half decades of c."""

from __future__ import annotations

import copy
import importlib
import math
from pathlib import Path

import pytest
import torch
from contract import CURVATURES, LayerCase, build, extras, relative_error, run, sample_points

from hypeeg.geometry import Lorentz, ManifoldParameter

DTYPES = [torch.float32, torch.float64]


def _collect() -> list[LayerCase]:
    names = sorted(path.stem for path in Path(__file__).parent.glob("cases_*.py"))
    return [case for name in names for case in importlib.import_module(name).CASES]


ALL = _collect()


def cases(keep=lambda case: True):
    return pytest.mark.parametrize("case", [c for c in ALL if keep(c)], ids=str)


def test_names_are_unique() -> None:
    names = [case.name for case in ALL]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@cases(lambda case: case.oracle is not None)
def test_output_is_the_oracles(case: LayerCase, dtype: torch.dtype, c: float) -> None:
    if dtype not in case.dtypes:
        pytest.skip("the oracle holds in float64 only")
    m = Lorentz(c)
    module = build(case, m, dtype)
    x, inputs = sample_points(m, case.shape, case.axis, dtype=dtype), extras(case, m, dtype)
    reference = copy.deepcopy(module).double()
    exact = [t.double() if t.is_floating_point() else t for t in inputs]
    expected = case.oracle(reference, x.double(), m.curvature.value, *exact)
    actual = run(module, x, *inputs)
    assert actual.dtype == dtype
    assert actual.shape == expected.shape
    assert relative_error(actual, expected, case) < (
        1e-9 if dtype == torch.float64 else case.tolerance
    )


@cases(lambda case: case.flat is not None)
def test_becomes_euclidean_as_c_vanishes(case: LayerCase) -> None:
    m = Lorentz(1e-10, bounds=(1e-12, 1.0))
    module = build(case, Lorentz(1.0), torch.float64)  # parameters of ordinary size
    for part in module.modules():
        if isinstance(getattr(part, "manifold", None), Lorentz):
            part.manifold = m
    x = torch.randn(case.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    inputs = tuple(
        t.to(torch.float64) if t.is_floating_point() else t
        for t in ((case.inputs(Lorentz(1.0))) if case.inputs else ())
    )
    expected = case.flat(copy.deepcopy(module), x, *inputs)
    torch.testing.assert_close(run(module, x, *inputs), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("c", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@cases()
def test_values_and_gradients_are_finite_everywhere(
    case: LayerCase, dtype: torch.dtype, c: float
) -> None:
    m = Lorentz(c, learnable=True)
    module = build(case, m, dtype)
    inputs = extras(case, m, dtype)
    far = case.far * float(m.max_dist().detach()) * math.sqrt(c)
    places = {"origin": 0.0, "tiny": 1e-6, "near": 1e-3, "far": far, "mixed": far}
    for place, radius in places.items():
        exact = place != "mixed"
        x = sample_points(m, case.shape, case.axis, radius=radius, dtype=dtype, exact=exact)
        if place == "mixed":
            x.movedim(case.axis, -1)[0] = 0.0
        x.requires_grad_()
        module.zero_grad()
        y = run(module, x, *inputs)
        assert y.dtype == dtype
        assert torch.isfinite(y).all(), place
        (y * torch.randn_like(y)).sum().backward()
        assert torch.isfinite(x.grad).all(), place
        for name, p in module.named_parameters():
            assert p.grad is None or torch.isfinite(p.grad).all(), (place, name)


@pytest.mark.parametrize("c", [0.3, 4.0])
@cases(lambda case: case.differentiable)
def test_gradients_match_finite_differences(case: LayerCase, c: float) -> None:
    m = Lorentz(c, learnable=True)
    module = build(case, m, torch.float64)
    x = sample_points(m, case.shape, case.axis, radius=1.5).requires_grad_()
    inputs = extras(case, m, torch.float64)
    parameters = [p for p in module.parameters() if p.requires_grad]

    def forward(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        return run(module, x, *inputs)  # parameters are perturbed in place

    assert torch.autograd.gradcheck(
        forward, (x, *parameters), eps=1e-6, atol=1e-5, rtol=1e-4, fast_mode=True
    )


@cases(lambda case: case.rotation)
def test_commutes_with_rotations(case: LayerCase) -> None:
    m = Lorentz(0.7)
    module = build(case, m, torch.float64)
    x = sample_points(m, case.shape, case.axis)
    n = x.shape[case.axis]
    q = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64)).Q

    def rotate(t: torch.Tensor, axis: int) -> torch.Tensor:
        return (t.movedim(axis, -1) @ q).movedim(-1, axis)

    inputs = extras(case, m, torch.float64)
    out = case.axis if case.output_axis is None else case.output_axis
    actual = run(copy.deepcopy(module), rotate(x, case.axis), *inputs)
    expected = run(copy.deepcopy(module), x, *inputs)
    if case.output == "points":
        expected = rotate(expected, out)
    torch.testing.assert_close(actual, expected, atol=1e-9, rtol=1e-8)


@cases(lambda case: not case.euclidean)
def test_geometry_stays_in_float32_under_autocast(case: LayerCase) -> None:
    m = Lorentz(0.8)
    module = build(case, m)
    x = sample_points(m, case.shape, case.axis, dtype=torch.float32)
    inputs = extras(case, m, torch.float32)
    expected = run(copy.deepcopy(module), x, *inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = run(copy.deepcopy(module), x, *inputs)
    assert actual.dtype == torch.float32
    assert relative_error(actual, expected, case) < 1e-4


@cases(lambda case: not case.euclidean)
def test_half_precision_points_are_raised(case: LayerCase) -> None:
    m = Lorentz(0.8)
    module = build(case, m)
    x = sample_points(m, case.shape, case.axis, dtype=torch.bfloat16)
    inputs = extras(case, m, torch.float32)
    actual = run(copy.deepcopy(module), x, *inputs)
    assert actual.dtype == torch.float32
    expected = run(copy.deepcopy(module), x.float(), *inputs)
    assert relative_error(actual, expected, case) < 1e-5


@cases(lambda case: case.euclidean)
def test_runs_under_autocast(case: LayerCase) -> None:
    module = build(case, Lorentz(0.8))
    x = torch.randn(case.shape, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = run(module, x)
    y.float().sum().backward()
    assert torch.isfinite(y).all()
    assert torch.isfinite(x.grad).all()


@cases()
def test_state_round_trips(case: LayerCase) -> None:
    module = build(case, Lorentz(0.8, learnable=True), seed=0)
    x = sample_points(Lorentz(0.8), case.shape, case.axis, dtype=torch.float32)
    inputs = extras(case, Lorentz(0.8), torch.float32)
    run(module, x, *inputs)  # running statistics
    other = build(case, Lorentz(1.7, learnable=True), seed=5)
    other.load_state_dict(module.state_dict())
    module.eval()
    other.eval()
    torch.testing.assert_close(run(other, x, *inputs), run(module, x, *inputs), rtol=0, atol=0)


@cases()
def test_copies_share_one_copied_manifold(case: LayerCase) -> None:
    module = build(case, Lorentz(0.8, learnable=True))
    copied = copy.deepcopy(module)
    before = {id(part) for part in module.modules() if isinstance(part, Lorentz)}
    after = {id(part) for part in copied.modules() if isinstance(part, Lorentz)}
    assert len(before) == len(after) > 0
    assert not before & after
    for p in copied.parameters():
        if isinstance(p, ManifoldParameter):
            assert id(p.manifold) in after


@cases()
def test_gradient_reaches_every_parameter(case: LayerCase) -> None:
    m = Lorentz(0.8, learnable=True)
    module = build(case, m, torch.float64)
    x = sample_points(m, case.shape, case.axis).requires_grad_()
    y = run(module, x, *extras(case, m, torch.float64))
    (
        y * torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(2))
    ).sum().backward()
    assert x.grad.abs().max() > 0
    for name, p in module.named_parameters():
        if not p.requires_grad or name.endswith(case.unreached or ("\0",)):
            continue
        assert p.grad is not None, f"{name} receives no gradient"
        assert p.grad.abs().max() > 0, f"the gradient of {name} is zero"


@cases()
def test_repr_names_the_manifold(case: LayerCase) -> None:
    assert "Lorentz" in repr(build(case, Lorentz(0.8)))


@cases(lambda case: case.compiles)
def test_compiles_without_a_graph_break(case: LayerCase) -> None:
    m = Lorentz(0.8, learnable=True)
    module = build(case, m)
    x = sample_points(m, case.shape, case.axis, dtype=torch.float32)
    inputs = extras(case, m, torch.float32)
    eager, compiled = copy.deepcopy(module), copy.deepcopy(module)
    torch._dynamo.reset()
    results = []
    for call in (eager, torch.compile(compiled, fullgraph=True, backend="aot_eager")):
        leaf = x.clone().requires_grad_()
        torch.manual_seed(7)
        y = call(leaf, *inputs)
        (y**2).sum().backward()
        results.append((y.detach(), leaf.grad))
    for actual, expected in zip(results[1], results[0]):
        torch.testing.assert_close(
            actual, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max())
        )


@cases(lambda case: case.export)
def test_exports(case: LayerCase) -> None:
    m = Lorentz(0.8, learnable=True)
    module = build(case, m).eval()
    x = sample_points(m, case.shape, case.axis, dtype=torch.float32)
    inputs = extras(case, m, torch.float32)
    exported = torch.export.export(module, (x, *inputs)).module()
    torch.testing.assert_close(exported(x, *inputs), module(x, *inputs), rtol=1e-5, atol=1e-5)
