"""Show that training under autocast ends where float32 training ends.

Two hundred steps of the quickstart's HyperbolicEEGNet (simulated motor imagery, one session,
tested on the other) and of a small Lorentz ResNet (scikit-learn's digits), in float32, under
bfloat16 autocast, and under float16 autocast with a gradient scaler, from the same starts and in
the same order of batches. Prints the loss of the last twenty steps and the test accuracy over the
seeds, the paired difference to float32 with its standard error, and whether the mean difference
lies within noise: within two standard errors, or the spread of float32 over the seeds.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hypeeg.optim import RiemannianAdamW

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Task(NamedTuple):
    """Training and test data, and how to build the network."""

    X: Tensor
    y: Tensor
    X_test: Tensor
    y_test: Tensor
    build: Callable[[], nn.Module]


def eeg() -> Task:
    """Return the quickstart's data: subject 1, first session against second."""
    from hypeeg.eeg.datasets import load_epochs
    from hypeeg.eeg.models.registry import get_model_class
    from hypeeg.eeg.transformers import Standardize

    data = load_epochs("SimulatedMI", [1], preprocessing={"fmin": 4, "fmax": 38})
    sessions = data.metadata["session"].to_numpy()
    first = sessions == np.unique(sessions)[0]
    y = torch.from_numpy(np.unique(data.y, return_inverse=True)[1])
    X = torch.from_numpy(
        np.asarray(Standardize().fit(data.X[first]).transform(data.X), dtype=np.float32)
    )

    def build() -> nn.Module:
        return get_model_class("HyperbolicEEGNet")(
            n_chans=X.shape[1], n_times=X.shape[2], n_outputs=2, batch_norm_momentum=0.1
        )

    first = torch.from_numpy(first)
    return Task(X[first], y[first], X[~first], y[~first], build)


def digits() -> Task:
    """Return 8 x 8 images of digits, 1,000 to train and 797 to test."""
    from sklearn.datasets import load_digits

    from hypeeg.vision import LorentzResNet

    images, labels = load_digits(return_X_y=True)
    X = torch.from_numpy(images.astype(np.float32)).view(-1, 1, 8, 8) / 8 - 1
    y = torch.from_numpy(labels)

    def build() -> nn.Module:
        return LorentzResNet(10, (1, 1), (16, 32), in_channels=1)

    return Task(X[:1000], y[:1000], X[1000:], y[1000:], build)


def train(task: Task, dtype: torch.dtype | None, seed: int, steps: int, device: str):
    """Return the mean loss of the last twenty steps, the test accuracy and whether NaN appeared."""
    where = torch.device(device)
    torch.manual_seed(seed)
    model = task.build().to(where)
    optimizer = RiemannianAdamW(model.parameters(), lr=2e-3)
    scaler = torch.amp.GradScaler(where.type, enabled=dtype is torch.float16, init_scale=2.0**10)
    region: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext
    if dtype is not None:
        region = functools.partial(torch.autocast, where.type, dtype)
    X, y = task.X.to(where), task.y.to(where)
    losses = []
    for step in range(steps):
        if step * 32 % len(X) < 32:
            order = torch.randperm(len(X))
        start = step * 32 % len(X)
        part = order[start : start + 32].to(where)
        optimizer.zero_grad()
        with region():
            loss = nn.functional.cross_entropy(model(X[part]).float(), y[part])
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.detach())
    model.eval()
    with torch.no_grad(), region():
        scores = torch.cat([model(part).float() for part in task.X_test.to(where).split(256)])
    accuracy = (scores.argmax(-1).cpu() == task.y_test).double().mean().item()
    losses = torch.stack(losses)
    finite = bool(losses.isfinite().all()) and all(
        bool(p.isfinite().all()) for p in model.parameters()
    )
    return losses[-20:].mean().item(), accuracy, finite


def main(seeds: int = 5, steps: int = 200, device: str = "cpu") -> bool:
    """Measure and print; return whether everything stayed finite and within noise."""
    torch.set_num_threads(1)
    good = True
    for name, make in (("HyperbolicEEGNet, quickstart", eeg), ("Lorentz ResNet, digits", digits)):
        task = make()
        rows = {}
        for label, dtype in PRECISIONS.items():
            rows[label] = np.array([train(task, dtype, s, steps, device) for s in range(seeds)])
        print(f"\n{name}: {steps} steps, {seeds} seeds ({device})")
        print(f"{'':<10}{'last loss':>18}{'accuracy':>18}{'difference, accuracy':>24}  finite")
        for label, values in rows.items():
            gap = values[:, 1] - rows["float32"][:, 1]
            error = gap.std(ddof=1) / np.sqrt(seeds)
            noise = rows["float32"][:, 1].std(ddof=1)
            finite = bool(values[:, 2].all())
            # the mean difference against what another seed would have made
            within = abs(gap.mean()) <= max(2 * error, noise)
            good = good and finite and within
            cells = [f"{values[:, i].mean():.4f} ± {values[:, i].std(ddof=1):.4f}" for i in (0, 1)]
            note = "within noise" if within else "OUTSIDE NOISE"
            print(
                f"{label:<10}{cells[0]:>18}{cells[1]:>18}{f'{gap.mean():+.4f} ± {error:.4f}':>24}"
                f"  {'yes' if finite else 'NO'}, {note}",
                flush=True,
            )
    return good


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--device", default="cpu")
    main(**vars(parser.parse_args()))
