"""One training step of a Lorentz ResNet-18 beside the Euclidean one, paired in one process.

Images of CIFAR size, a 3x3 stem, forward, loss, backward and optimiser step; eager, float32, one
thread. The twin is torchvision's ResNet-18 with the same stem. Prints the median ratio of times
with its quartiles and both peaks of memory; ``--profile`` adds where the time of a step goes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from _paired import HEADER, Comparison, compare
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from hypeeg.optim import RiemannianAdamW
from hypeeg.vision import lorentz_resnet18

TARGET = 1.6
CLASSES = 10


class Block(nn.Module):
    """The basic block of ResNet, as in torchvision."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.activation = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the output feature map."""
        y = self.activation(self.norm1(self.conv1(x)))
        return self.activation(self.norm2(self.conv2(y)) + self.shortcut(x))


def euclidean_resnet18(n_classes: int) -> nn.Module:
    """Return ResNet-18 with a 3x3 stem."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 3, 1, 1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
    ]
    before = 64
    for i, width in enumerate((64, 128, 256, 512)):
        for j in range(2):
            layers.append(Block(before, width, 2 if i and j == 0 else 1))
            before = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, n_classes)
    )


def make_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: int, device: torch.device
) -> Callable[[], None]:
    """Return a function that trains ``model`` on one fixed batch."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 3, 32, 32, generator=generator).to(device)
    y = torch.randint(CLASSES, (batch,), generator=generator).to(device)
    model.to(device).train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def main(repeats: int = 9, batch: int = 16, device: str = "cpu", show: bool = False) -> Comparison:
    """Measure and print."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    where = torch.device(device)
    ours, twin = lorentz_resnet18(CLASSES), euclidean_resnet18(CLASSES)
    ours_step = make_step(ours, RiemannianAdamW(ours.parameters(), lr=1e-3), batch, where)
    twin_step = make_step(
        twin, torch.optim.AdamW(twin.parameters(), lr=1e-3, foreach=True), batch, where
    )
    print(HEADER)
    row = compare(
        f"ResNet-18 training step, batch {batch}",
        ours_step,
        twin_step,
        target=TARGET,
        repeats=repeats,
        device=where,
    )
    if show:
        for name, step in (("Lorentz", ours_step), ("Euclidean", twin_step)):
            kinds = [ProfilerActivity.CPU]
            kinds += [ProfilerActivity.CUDA] if where.type == "cuda" else []
            with profile(activities=kinds) as profiler:
                for _ in range(2):
                    step()
            order = "self_cuda_time_total" if where.type == "cuda" else "self_cpu_time_total"
            table = profiler.key_averages().table(sort_by=order, row_limit=25)
            print(f"{name}\n{table}")
    return row


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--profile", action="store_true", dest="show")
    main(**vars(parser.parse_args()))
