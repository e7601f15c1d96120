"""Learning a curvature by sharpness: what fails, what the defaults do, and what a step costs.

A small hyperbolic classifier (a linear layer, points of the hyperboloid, prototypes) is trained on
few noisy samples of a tree of classes. Three tables:

1. How many times a closure runs per step at the default interval.
2. Two choices that are known to fail, beside the ones that replace them, all at thirty times the
   default pace and with an update at every step, so that a short run shows where they drift. The
   bare sharpness as objective drives c to its lower bound: flat space is sharp nowhere. The
   implicit term on the batch of the perturbation itself rewards gradient noise, which drives c up;
   the optimiser refuses it, and here it gets that batch as if it were another.
3. Where the defaults end at a moderate pace, beside a fixed c and one learned with the weights,
   with the loss on clean held-out samples. Read from it what there is: how far the end depends on
   start and seed, and whether the held-out loss differs at all.

Every cell is a median over the seeds with the range.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypeeg.geometry import Lorentz, ManifoldParameter
from hypeeg.optim import RiemannianAdamW
from hypeeg.optim.sharpness import SharpnessAwareCurvature

BOUNDS = (0.01, 10.0)
ENDS, STARTS = (0.1, 6.0), (0.1, 1.0, 6.0)
CLASSES = 8

FAST, MODERATE = 0.3, 0.03
BATCH, NOISE = 8, 0.2

Options = dict[str, Any] | None

# Each with where it is expected to end.
FAILURES: dict[str, tuple[dict[str, Any], str]] = {
    "ssm, direct": ({"objective": "ssm"}, "at the lower bound"),
    "perturbed, direct (default)": ({"objective": "perturbed"}, "off the bounds"),
    "perturbed, J = 0, same batch": ({"mode": "neumann", "same": True}, "at the upper bound"),
    "perturbed, J = 0, other batch": ({"mode": "neumann"}, "off the bounds"),
}

CHOICES: dict[str, Options] = {
    "fixed": None,
    "learned with the weights": {},
    "perturbed, direct (default)": {"objective": "perturbed"},
}

# What an update costs, in closure runs per step at the default interval.
COSTS: dict[str, tuple[dict[str, Any], float]] = {
    "direct (default)": ({}, 1.2),
    "neumann, J = 0": ({"mode": "neumann", "alpha": 0.1}, 1.6),
    "neumann, J = 3": ({"mode": "neumann", "terms": 3, "alpha": 0.1}, 2.4),
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
    start: float, seed: int, steps: int, options: Options, lr: float = MODERATE, every: int = 1
) -> tuple[float, float, float]:
    """Train once; return the last c, the loss on held-out samples and closure runs per step.

    ``lr`` is the pace of the curvature, in ``log c`` per step.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x, y = tree(128, generator, noise=NOISE)
    x_new, y_new = tree(2000, generator, noise=0.0)
    model = Classifier(start, learnable=options is not None)
    optimizer: torch.optim.Optimizer = RiemannianAdamW(model.parameters(), lr=1e-2, curvature_lr=lr)
    if options:
        own: dict[str, Any] = {"lr": lr, "trust": max(lr, 0.1), "every": every, "bounds": BOUNDS}
        own.update((k, v) for k, v in options.items() if k != "same")
        optimizer = SharpnessAwareCurvature(optimizer, total_steps=steps, module=model, **own)
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
        first, second = torch.randint(len(x), (2, BATCH), generator=generator)
        if options and "mode" in options:
            optimizer.step(on(first), on(first if options.get("same") else second))
        else:
            optimizer.step(on(first))
    with torch.no_grad():
        held_out = F.cross_entropy(model(x_new), y_new).item()
    return model.manifold.curvature.value, held_out, runs / steps


def main(seeds: int = 3, steps: int = 1000, fast_seeds: int = 2, fast_steps: int = 600) -> None:
    """Measure and print the tables."""
    torch.set_num_threads(1)
    low, high = BOUNDS
    begin = time.perf_counter()
    print("1. closure runs per step, every 5 steps, warm-up and freeze left out")
    for name, (options, target) in COSTS.items():
        runs = fit(1.0, 0, 100, {**options, "warmup": 0.0, "freeze": 0.0}, every=5)[2]
        print(f"   {name:<30}{runs:.2f}, target {target} {'met' if runs <= target else 'MISSED'}")

    print(f"\n2. c in [{low:g}, {high:g}], lr {FAST}, {fast_steps} steps, {fast_seeds} seeds")
    print(f"   {'':<30}{heads(ENDS)}{'held-out loss':>24}  at low, at high, expected")
    for name, (options, expected) in FAILURES.items():
        rows = table(ENDS, fast_seeds, fast_steps, options, FAST)
        ends = rows[:, :, 0].ravel()
        at_low, at_high = np.sum(ends < 1.25 * low), np.sum(ends > high / 1.25)
        verdict = f"{at_low} of {len(ends)}, {at_high} of {len(ends)}, {expected}"
        print(
            f"   {name:<30}{cells(rows)}{spread(rows[..., 1].ravel()):>24}  {verdict}", flush=True
        )

    print(f"\n3. c in [{low:g}, {high:g}], lr {MODERATE}, {steps} steps, {seeds} seeds")
    print(f"   {'':<30}{heads(STARTS)}{'all':>24}")
    for name, choice in CHOICES.items():
        rows = table(STARTS, seeds, steps, choice, MODERATE)
        everything = rows.reshape(-1, 3)
        print(f"   {name + ', c':<30}{cells(rows)}{spread(everything[:, 0]):>24}")
        print(f"   {'  held-out loss':<30}{cells(rows, 1)}{spread(everything[:, 1]):>24}")
        print(f"   {'  runs per step':<30}{everything[:, 2].mean():.2f}", flush=True)
    print(f"\n{(time.perf_counter() - begin) / 60:.1f} minutes")


def table(
    starts: Sequence[float], seeds: int, steps: int, options: Options, lr: float
) -> np.ndarray:
    """Return what :func:`fit` returns by start and seed."""
    return np.array([[fit(c, seed, steps, options, lr) for seed in range(seeds)] for c in starts])


def heads(starts: Sequence[float]) -> str:
    """Write the heads of the columns of starts."""
    return "".join(f"{f'last c from {c:g}':>24}" for c in starts)


def cells(rows: np.ndarray, column: int = 0) -> str:
    """Write one column of numbers by start."""
    return "".join(f"{spread(row[:, column]):>24}" for row in rows)


def spread(values: np.ndarray) -> str:
    """Write a median and the range; a NaN among the values is named."""
    if not np.isfinite(values).all():
        return f"NaN in {np.sum(~np.isfinite(values))} of {len(values)}"
    digits = 3 if math.fabs(float(np.median(values))) < 1 else 2
    return f"{np.median(values):.{digits}f} [{values.min():.{digits}f}, {values.max():.{digits}f}]"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--fast-seeds", type=int, default=2)
    parser.add_argument("--fast-steps", type=int, default=600)
    main(**vars(parser.parse_args()))
