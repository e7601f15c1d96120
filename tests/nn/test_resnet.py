"""The Lorentz residual network: shapes, training, autocast, export."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from hypeeg.geometry import Lorentz
from hypeeg.nn.conv import LorentzConv2d
from hypeeg.optim import RiemannianAdamW
from hypeeg.vision import LorentzResNet, lorentz_resnet18


def small(**options) -> LorentzResNet:
    torch.manual_seed(0)
    return LorentzResNet(4, (1, 1), (8, 12), **options)


def task(n: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(4, (n,), generator=generator)
    x = 0.5 * torch.randn(n, 3, 12, 12, generator=generator)
    for i in range(n):  # the class is where the bright patch is
        row, column = divmod(int(y[i]), 2)
        x[i, :, 6 * row : 6 * row + 6, 6 * column : 6 * column + 6] += 1.0
    return x, y


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_embedding_is_a_point_within_reach(stem: str) -> None:
    model = small(stem=stem)
    seen = []
    model.final_layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    assert model(30 * torch.randn(2, 3, 32, 32)).shape == (2, 4)
    assert seen[0].shape == (2, 12)
    assert (model.manifold.dist0(seen[0]) <= model.manifold.max_dist() * (1 + 1e-5)).all()


def test_resnet18_has_the_layers_of_its_twin() -> None:
    model = lorentz_resnet18(10, manifold=Lorentz(0.5))
    convolutions = [part for part in model.modules() if isinstance(part, LorentzConv2d)]
    assert len(convolutions) == 20
    weights = sum(part.weight.numel() for part in convolutions) + model.final_layer.weight.numel()
    # The usual count for a 3x3 stem and ten classes, less batch norms and the head's bias.
    assert weights == 11_173_962 - 9_600 - 10
    assert {id(part.manifold) for part in convolutions} == {id(model.manifold)}


def train(steps: int, dtype: torch.dtype | None) -> tuple[list[float], LorentzResNet]:
    model = small()
    optimizer = RiemannianAdamW(model.parameters(), lr=1e-2)
    x, y = task()
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses, model


def test_learns_and_its_curvature_moves() -> None:
    losses, model = train(25, None)
    assert losses[-1] < 0.6 * losses[0]
    assert model.manifold.curvature.value != 1.0
    x, _labels = task()
    assert torch.isfinite(model.eval()(x)).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_trains_under_autocast_as_in_float32(dtype: torch.dtype) -> None:
    half, _ = train(6, dtype)
    full, _ = train(6, None)
    torch.testing.assert_close(torch.tensor(half), torch.tensor(full), rtol=0.02, atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_200_steps_under_autocast_end_within_noise_of_float32(dtype: torch.dtype) -> None:
    half, _ = train(200, dtype)
    full, _ = train(200, None)
    assert all(math.isfinite(loss) for loss in half)
    assert half[-1] < 0.05 * half[0]
    assert abs(half[-1] - full[-1]) < 0.02


def test_exports_and_follows_the_curvature() -> None:
    model = LorentzResNet(4, (1,), (6,)).eval()
    x = torch.randn(2, 3, 8, 8)
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), model(x), rtol=1e-4, atol=1e-5)
    before = model(x)
    with torch.no_grad():
        model.manifold.curvature.log_c.add_(1.0)
    assert not torch.allclose(before, model(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stem": "nope"}, "stem must be one of"),
        ({"blocks": (1,), "widths": (4, 4)}, "one entry for each stage"),
        ({"blocks": (), "widths": ()}, "one entry for each stage"),
    ],
)
def test_bad_arguments_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LorentzResNet(4, **options)
