"""Which derivative should a learned curvature follow? Recovering the curvature of a point set.

Fifty points are drawn in a space of known curvature; others, on a manifold of learned curvature
that starts at c = 1, are fitted to their pairwise distances, from a start near the solution and
from a small random heap. Prints, over the seeds, the median stress (mean squared error of the
distances relative to their mean square) and the median of c, each with its quartiles, for a fixed
curvature and for both curvature moves with both curvature gradients.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch

from hypeeg.geometry import Lorentz, ManifoldParameter
from hypeeg.optim import RiemannianAdamW

TRUE_C = 2.5


def fit(seed: int, steps: int, lr: float, *, near: bool, **options: Any) -> tuple[float, float]:
    """Return the final stress and the final curvature of one fit."""
    generator = torch.Generator().manual_seed(seed)
    learnable = bool(options)
    space, m = Lorentz(TRUE_C), Lorentz(1.0, learnable=learnable)
    z = torch.randn(50, 3, generator=generator)
    noise = torch.randn(50, 3, generator=generator)
    x = space.expmap0(z)
    target = space.dist_pairwise(x, x)
    points = ManifoldParameter(m.expmap0(z + 0.2 * noise if near else 0.1 * noise), manifold=m)
    optimizer = RiemannianAdamW([points], lr=lr, weight_decay=0.0, **options)
    for _ in range(steps):
        optimizer.zero_grad()
        (m.dist_pairwise(points, points) - target).square().mean().backward()
        optimizer.step()
    error = (m.dist_pairwise(points, points) - target).square().mean() / target.square().mean()
    return error.item(), m.curvature.value


def spread(values: np.ndarray) -> str:
    """Write a median and its quartiles."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:8.2g} [{low:.2g}, {high:.2g}]"


def main(seeds: int = 5, steps: int = 1500, lr: float = 2e-2) -> None:
    """Measure and print the table."""
    torch.set_num_threads(1)
    choices: list[dict[str, str]] = [{}]
    choices += [
        {"curvature_move": move, "curvature_gradient": gradient}
        for move in ("exp", "scale")
        for gradient in ("autograd", "consistent")
    ]
    print(f"true c {TRUE_C}, {seeds} seeds, {steps} steps, lr {lr:g}: median [quartiles]")
    for near in (True, False):
        print(f"\nstart {'near the solution' if near else 'in a heap'}")
        print(f"{'choice':<20}{'stress':>26}{'c':>26}")
        for options in choices:
            rows = np.array([fit(s, steps, lr, near=near, **options) for s in range(seeds)])
            label = ", ".join(options.values()) or "fixed c = 1"
            print(f"{label:<20}{spread(rows[:, 0]):>26}{spread(rows[:, 1]):>26}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--lr", type=float, default=2e-2)
    main(**vars(parser.parse_args()))
