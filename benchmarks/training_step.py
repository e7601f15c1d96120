"""One training step of HyperbolicEEGNet beside braindecode's EEGNet, paired in one process.

Forward, loss, backward and optimiser step on 64 channels, 480 samples, batches of 64; one thread;
the two alternate, so that both see the same machine. Prints the median ratio with its
quartiles, both peaks of memory and whether the target is met.
"""

from __future__ import annotations

import argparse
import warnings

import torch
from _paired import HEADER, Comparison, compare
from torch import nn

from hypeeg.eeg.models.registry import get_model_class, twin_of
from hypeeg.optim import RiemannianAdamW

TARGET = 1.15
CHANNELS, TIMES, BATCH, CLASSES = 64, 480, 64, 4


def make_step(model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device):
    """Return a function that trains ``model`` on one fixed batch."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, CHANNELS, TIMES, generator=generator).to(device)
    y = torch.randint(CLASSES, (BATCH,), generator=generator).to(device)
    model.to(device).train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def main(repeats: int = 60, device: str = "cpu") -> Comparison:
    """Measure, print and return the comparison."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    where = torch.device(device)
    shape = {"n_chans": CHANNELS, "n_outputs": CLASSES, "n_times": TIMES}
    name = "HyperbolicEEGNet"
    ours = get_model_class(name)(**shape)
    twin = get_model_class(twin_of(name))(**shape)
    print(HEADER)
    return compare(
        f"training step, {name} / {twin_of(name)}",
        make_step(ours, RiemannianAdamW(ours.parameters(), lr=1e-3), where),
        make_step(twin, torch.optim.AdamW(twin.parameters(), lr=1e-3, foreach=True), where),
        target=TARGET,
        repeats=repeats,
        device=where,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--device", default="cpu")
    main(**vars(parser.parse_args()))
