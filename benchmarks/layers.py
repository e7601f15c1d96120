"""Layers beside their Euclidean twins, forward and backward, paired in one process.

float32, one thread, learnable curvature; gradients reach inputs, parameters and the curvature.
Each row is the median ratio of times with its quartiles, both times, both peaks of memory and the
target. ``--profile ROW`` prints where the time of the rows whose name contains ROW goes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from _paired import HEADER, compare
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from hypeeg.geometry import Lorentz
from hypeeg.nn.attention import LorentzMultiheadAttention
from hypeeg.nn.batchnorm import LorentzBatchNorm1d, LorentzBatchNorm2d
from hypeeg.nn.conv import LorentzConv1d, LorentzConv2d
from hypeeg.nn.heads import LorentzMLR
from hypeeg.nn.linear import LorentzLinear
from hypeeg.nn.pooling import LorentzAvgPool2d
from hypeeg.nn.transposed import LorentzConvTranspose2d

Row = tuple[str, nn.Module, nn.Module, tuple[int, ...], float | None]


class SelfAttention(nn.Module):
    """Attention of a sequence to itself, the first output only."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        """Return the attended sequence."""
        result = self.attention(x, x, x)
        return result if isinstance(result, Tensor) else result[0]


class TorchAttention(nn.Module):
    """``torch.nn.MultiheadAttention`` without the weights, its fast path."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the attended sequence."""
        result: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return result


def rows() -> list[Row]:
    """Return name, layer, twin, shape of the input and target."""
    m = Lorentz(1.0, learnable=True)
    return [
        (
            "conv2d 64-64, 3x3, 32x64x16x16",
            LorentzConv2d(64, 64, 3, padding=1, manifold=m),
            nn.Conv2d(64, 64, 3, padding=1),
            (32, 64, 16, 16),
            1.3,
        ),
        (
            "conv2d 64-64, 3x3, 32x64x32x32",
            LorentzConv2d(64, 64, 3, padding=1, manifold=m),
            nn.Conv2d(64, 64, 3, padding=1),
            (32, 64, 32, 32),
            1.3,
        ),
        (
            "conv2d 256-256, 3x3, 32x256x8x8",
            LorentzConv2d(256, 256, 3, padding=1, manifold=m),
            nn.Conv2d(256, 256, 3, padding=1),
            (32, 256, 8, 8),
            1.3,
        ),
        (
            "conv1d 64-40, 25, EEG 32x64x480",
            LorentzConv1d(64, 40, 25, padding=12, manifold=m),
            nn.Conv1d(64, 40, 25, padding=12),
            (32, 64, 480),
            1.3,
        ),
        (
            "transposed conv2d 64-64, 4x4, 16x64x8x8",
            LorentzConvTranspose2d(64, 64, 4, 2, 1, manifold=m),
            nn.ConvTranspose2d(64, 64, 4, 2, 1),
            (16, 64, 8, 8),
            None,
        ),
        (
            "linear 512-512, batch 256",
            LorentzLinear(512, 512, manifold=m),
            nn.Linear(512, 512),
            (256, 512),
            1.3,
        ),
        (
            "linear 64-64, batch 256",
            LorentzLinear(64, 64, manifold=m),
            nn.Linear(64, 64),
            (256, 64),
            3.0,
        ),
        (
            "batch norm, 32x64x16x16",
            LorentzBatchNorm2d(64, manifold=m),
            nn.BatchNorm2d(64),
            (32, 64, 16, 16),
            3.0,
        ),
        (
            "batch norm, 256x64",
            LorentzBatchNorm1d(64, manifold=m),
            nn.BatchNorm1d(64),
            (256, 64),
            3.0,
        ),
        (
            "logits 64-100, batch 256",
            LorentzMLR(64, 100, manifold=m),
            nn.Linear(64, 100),
            (256, 64),
            4.0,
        ),
        (
            "attention 64, 4 heads, 16x128",
            SelfAttention(LorentzMultiheadAttention(64, 4, manifold=m)),
            TorchAttention(64, 4),
            (16, 128, 64),
            None,
        ),
        (
            "pooling 2x2, 32x64x16x16",
            LorentzAvgPool2d(2, manifold=m),
            nn.AvgPool2d(2),
            (32, 64, 16, 16),
            None,
        ),
    ]


def both_ways(layer: nn.Module, x: Tensor) -> Callable[[], None]:
    """Return a function that runs the layer forward and backward."""
    parameters = [p for p in layer.parameters() if p.requires_grad]
    with torch.no_grad():
        gradient = torch.randn_like(layer(x))

    def call() -> None:
        x.grad = None
        for p in parameters:
            p.grad = None
        layer(x).backward(gradient)

    return call


def main(repeats: int = 30, device: str = "cpu", only: str = "", show: str = "") -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(HEADER)
    for name, ours, twin, shape, target in rows():
        if (only or show) and not ((only and only in name) or (show and show in name)):
            continue
        # Points at radius up to about one; the twins take the same numbers.
        x = (torch.randn(shape) / 8).to(device).requires_grad_()
        mine = both_ways(ours.to(device), x)
        theirs = both_ways(twin.to(device), x)
        compare(name, mine, theirs, target=target, repeats=repeats, device=device)
        if show:
            with profile(activities=[ProfilerActivity.CPU]) as profiler:
                for _ in range(20):
                    mine()
            print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=30))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--profile", default="", metavar="ROW", dest="show")
    main(**vars(parser.parse_args()))
