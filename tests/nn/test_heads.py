"""The fast functions under the heads, and the change of manifold."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch
from contract import CURVATURES, sample_points

from hypeeg.geometry import Lorentz
from hypeeg.nn import (
    LorentzLayerNorm,
    LorentzMLR,
    LorentzPrototypes,
    LorentzRMSNorm,
    ManifoldChange,
)
from hypeeg.nn.arcsinh import fast_asinh
from hypeeg.nn.signed_distance import signed_distances


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@mpmath.workdps(30)
def test_fast_asinh_is_exact_to_a_few_digits_of_the_last_place(dtype: torch.dtype) -> None:
    top = math.log10(torch.finfo(dtype).max) - 0.1
    magnitude = torch.cat(
        [torch.logspace(-30, top, 150, dtype=dtype), torch.linspace(0.01, 5, 150, dtype=dtype)]
    )
    a = torch.cat([magnitude, -magnitude, torch.zeros(1, dtype=dtype)])
    exact = [mpmath.asinh(mpmath.mpf(v)) for v in a.tolist()]
    worst = max(
        abs((mpmath.mpf(v) - e) / e) if e else abs(mpmath.mpf(v))
        for v, e in zip(fast_asinh(a).tolist(), exact)
    )
    assert worst < 3 * torch.finfo(dtype).eps


def test_fast_asinh_works_with_function_transforms() -> None:
    a = torch.randn(7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(fast_asinh, a)
    assert torch.autograd.gradgradcheck(fast_asinh, a)
    slope = 1 / torch.sqrt(1 + a.detach() ** 2)
    x = a.detach()
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(fast_asinh))(x), slope)
    torch.testing.assert_close(torch.func.jvp(fast_asinh, (x,), (x,))[1], slope * x)


def inputs() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    x, z, a = (
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in ((3, 5, 4), (6, 4), (6,))
    )
    return x, z, a, torch.tensor(0.7, dtype=torch.float64, requires_grad=True)


def test_signed_distances_have_both_derivatives() -> None:
    assert torch.autograd.gradcheck(signed_distances, inputs())
    assert torch.autograd.gradgradcheck(signed_distances, inputs())


def test_signed_distances_work_with_function_transforms() -> None:
    x, z, a, c = (t.detach() for t in inputs())
    by_loop = [torch.autograd.functional.jacobian(lambda t: signed_distances(t, z, a, c), row)
               for row in x[0]]  # fmt: skip
    by_vmap = torch.func.vmap(torch.func.jacrev(signed_distances), (0, None, None, None))(
        x[0], z, a, c
    )
    torch.testing.assert_close(by_vmap, torch.stack(by_loop))


@pytest.mark.parametrize("c", CURVATURES)
def test_mlr_logits_vanish_on_the_hyperplane(c: float) -> None:
    m = Lorentz(c)
    head = LorentzMLR(4, 3, manifold=m).double()
    torch.nn.init.normal_(head.bias, std=1 / math.sqrt(c))
    for k in range(3):
        direction = head.weight[k] / head.weight[k].norm()
        on = m.expmap0(head.bias[k] * direction)
        assert abs(float(head(on.detach())[k])) < 1e-9 / math.sqrt(c)


def test_mlr_of_far_points_in_float32() -> None:
    m = Lorentz(1.0)
    head = LorentzMLR(8, 5, manifold=m)
    x = sample_points(m, (50, 8), radius=7.0, exact=True)
    exact = head.double()(x)
    torch.testing.assert_close(head.float()(x.float()).double(), exact, rtol=1e-5, atol=1e-3)


def test_a_vanishing_direction_has_logit_zero_and_harms_no_gradient() -> None:
    head = LorentzMLR(3, 2, manifold=Lorentz(learnable=True))
    with torch.no_grad():
        head.weight[0] = 0
        head.bias.fill_(0.3)
    x = torch.randn(4, 3, requires_grad=True)
    y = head(x)
    assert not y[:, 0].any()
    y.square().sum().backward()
    for p in (x, *head.parameters()):
        assert torch.isfinite(p.grad).all()


def test_prototypes_survive_assignment_of_a_state() -> None:
    head = LorentzPrototypes(3, 2, manifold=Lorentz())
    state = {k: v.clone() for k, v in head.state_dict().items()}
    head.load_state_dict(state, assign=True)
    assert head.prototypes.manifold is head.manifold


@pytest.mark.parametrize("c", CURVATURES)
def test_manifold_change_keeps_distances_to_the_origin_up_to_rescaling(c: float) -> None:
    source, target = Lorentz(c), Lorentz(2.0)
    x = sample_points(source, (20, 4))
    r = source.dist0(x)
    plain = ManifoldChange(source, target, slope=None)
    torch.testing.assert_close(target.dist0(plain(x)), r)
    cap = target.max_dist(torch.float64)
    expected = cap * torch.tanh(r * math.atanh(0.99) / (3 * cap))
    torch.testing.assert_close(target.dist0(ManifoldChange(source, target)(x)), expected)
    channels = ManifoldChange(source, target, axis=1)(x.T.unsqueeze(0))
    torch.testing.assert_close(channels[0].T, ManifoldChange(source, target)(x))


def test_manifold_change_passes_gradients_to_both_curvatures() -> None:
    source, target = Lorentz(0.5, learnable=True), Lorentz(2.0, learnable=True)
    ManifoldChange(source, target)(torch.randn(5, 3)).square().sum().backward()
    assert source.curvature.log_c.grad != 0
    assert target.curvature.log_c.grad != 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: ManifoldChange(m, m, slope=1.0), "slope must be at least 2.65"),
        (lambda m: LorentzLayerNorm(0, manifold=m), "num_features must be positive"),
        (lambda m: LorentzRMSNorm(3, eps=0, manifold=m), "eps must be positive"),
    ],
)
def test_bad_arguments_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(Lorentz())
