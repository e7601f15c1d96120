"""Learning a curvature by sharpness: what the defaults avoid, and what a step costs.

A small hyperbolic classifier (a linear layer, points of the hyperboloid, prototypes) is trained on
few noisy samples of a tree of classes, from a low and a high curvature. Prints, over the seeds, the
median of the last c with its range, the loss on clean held-out samples, and how many times a
closure ran per step. Two choices are known to fail and are shown for it: the bare sharpness as
objective drives c to its lower bound, and the implicit term on the batch of the perturbation
itself, which the optimiser refuses (here it gets that batch as if it were another), follows
gradient noise. Curvatures are updated at every step, three times as fast as by default, so that a
short run shows where they go.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypeeg.geometry import Lorentz, ManifoldParameter
from hypeeg.optim import RiemannianAdamW
from hypeeg.optim.sharpness import SharpnessAwareCurvature

BOUNDS = (0.01, 10.0)
STARTS = (0.1, 6.0)
CLASSES = 8

CHOICES: dict[str, dict[str, Any] | None] = {
    "fixed": None,
    "learned with the weights": {},
    "perturbed, direct (default)": {"objective": "perturbed"},
    "perturbed, J = 0": {"objective": "perturbed", "mode": "neumann"},
    "perturbed, J = 0, same batch": {"objective": "perturbed", "mode": "neumann", "same": True},
    "ssm, direct": {"objective": "ssm"},
    "ssm, J = 0": {"objective": "ssm", "mode": "neumann"},
    "ssm, J = 0, same batch": {"objective": "ssm", "mode": "neumann", "same": True},
}

# What an update costs, in closure runs per step at the default interval.
COSTS: dict[str, dict[str, Any]] = {
    "direct (default)": {},
    "neumann, J = 0": {"mode": "neumann", "alpha": 0.1},
    "neumann, J = 3": {"mode": "neumann", "terms": 3, "alpha": 0.1},
}


class Classifier(nn.Module):
    """A linear layer onto the hyperboloid, and prototypes there."""

    def __init__(self, c: float, *, learnable: bool) -> None:
        super().__init__()
        self.manifold = Lorentz(c, learnable, bounds=BOUNDS)
        self.linear = nn.Linear(10, 2)
        start = self.manifold.expmap0(0.3 * torch.randn(CLASSES, 2)).detach()
        self.prototypes = ManifoldParameter(start, manifold=self.manifold)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, minus the squared distances to the prototypes."""
        points = self.manifold.expmap0(self.linear(x))
        return -self.manifold.dist(points[:, None], self.prototypes).square()


def tree(count: int, generator: torch.Generator, noise: float) -> tuple[Tensor, Tensor]:
    """Draw samples of the leaves of a binary tree; a share of the labels is wrong."""
    steps = torch.randn(3, CLASSES, 10, generator=torch.Generator().manual_seed(0))
    centres = sum(
        steps[level, torch.arange(CLASSES) >> (2 - level)] * 1.5 / 1.5**level for level in range(3)
    )
    y = torch.randint(CLASSES, (count,), generator=generator)
    x = centres[y] + torch.randn(count, 10, generator=generator)
    wrong = torch.rand(count, generator=generator) < noise
    return x, torch.where(wrong, torch.randint(CLASSES, (count,), generator=generator), y)


def fit(
    start: float, seed: int, steps: int, every: int, options: dict[str, Any] | None
) -> tuple[float, float, float]:
    """Train once; return the last c, the loss on held-out samples and closure runs per step."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x, y = tree(128, generator, noise=0.1)
    x_new, y_new = tree(2000, generator, noise=0.0)
    model = Classifier(start, learnable=options is not None)
    optimizer: torch.optim.Optimizer = RiemannianAdamW(
        model.parameters(), lr=1e-2, curvature_lr=3e-2
    )
    if options:
        own = {k: v for k, v in options.items() if k != "same"}
        optimizer = SharpnessAwareCurvature(
            optimizer, every=every, lr=3e-2, bounds=BOUNDS, total_steps=steps, module=model, **own
        )
    runs = 0

    def on(index: Tensor) -> Callable[[], Tensor]:
        def closure() -> Tensor:
            nonlocal runs
            runs += 1
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[index]), y[index])
            loss.backward()
            return loss

        return closure

    for _ in range(steps):
        first, second = torch.randint(len(x), (2, 16), generator=generator)
        if options and "mode" in options:
            optimizer.step(on(first), on(first if options.get("same") else second))  # type: ignore[call-arg]
        else:
            optimizer.step(on(first))
    with torch.no_grad():
        held_out = F.cross_entropy(model(x_new), y_new).item()
    return model.manifold.curvature.value, held_out, runs / steps


def main(seeds: int = 2, steps: int = 800, every: int = 1) -> None:
    """Measure and print the table."""
    torch.set_num_threads(1)
    low, high = BOUNDS
    print("closure runs per step at the default interval, warm-up and freeze left out")
    for name, options in COSTS.items():
        runs = fit(1.0, 0, 100, 5, {**options, "warmup": 0.0, "freeze": 0.0})[2]
        target = ", target 1.2" if name == "direct (default)" else ""
        print(f"  {name:<28}{runs:.2f}{target}")
    print(f"\n{seeds} seeds, {steps} steps, c in [{low:g}, {high:g}], every {every} steps")
    heads = "".join(f"{f'last c from {start:g}':>24}" for start in STARTS)
    print(f"{'':<30}{heads}{'held-out loss':>24}{'runs/step':>11}")
    for name, options in CHOICES.items():
        rows = np.array(
            [[fit(start, seed, steps, every, options) for seed in range(seeds)] for start in STARTS]
        )
        cells = "".join(f"{spread(row[:, 0]):>24}" for row in rows)
        print(
            f"{name:<30}{cells}{spread(rows[:, :, 1].ravel()):>24}{rows[..., 2].mean():>11.2f}",
            flush=True,
        )


def spread(values: np.ndarray) -> str:
    """Write a median and the range; a NaN among the values is named."""
    if not np.isfinite(values).all():
        return f"NaN in {np.sum(~np.isfinite(values))} of {len(values)}"
    digits = 3 if math.fabs(float(np.median(values))) < 1 else 2
    return f"{np.median(values):.{digits}f} [{values.min():.{digits}f}, {values.max():.{digits}f}]"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--every", type=int, default=1)
    main(**vars(parser.parse_args()))
