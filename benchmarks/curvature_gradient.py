"""Settle which derivative a learned curvature follows, and how points follow it.

Six choices: the curvature fixed; learned naively (plain Adam on ``log c``, points keep their
coordinates while their space changes); and the curvature-aware step with the exp or the scale
move, each with autograd's gradient or the consistent one. Three tasks:

``points``
    Recover the curvature of fifty points drawn in a space of known curvature from their distances,
    from a start near the solution and from a small random heap.
``tree``
    Embed a tree, by its path lengths, in three dimensions.
``eeg``
    The quickstart's simulated motor imagery: HyperbolicEEGNet with prototypes, trained on one
    session of a subject and tested on the other.

Points and trees are fitted at two learning rates. For every task, start and rate the table shows,
over the seeds, the error, the curvature, and the mean rank of the choice among the six (1 is best;
every seed gives each choice the same start). **The rule, fixed before any figure was seen:** the
winner is the learned choice with the smallest mean rank, the three tasks counting alike; a choice
that is not finite ranks last. The second learning rate was added later, because the first left the
two gradients of the scale move level: 2.65 for the consistent one, 2.78 for autograd's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from hypeeg.geometry import CurvatureParameter, Lorentz, ManifoldParameter
from hypeeg.optim import RiemannianAdamW

CHOICES: dict[str, dict[str, Any]] = {
    "fixed c": {"learnable": False},
    "naive": {"naive": True},
    "exp, autograd": {"curvature_move": "exp", "curvature_gradient": "autograd"},
    "exp, consistent": {"curvature_move": "exp", "curvature_gradient": "consistent"},
    "scale, autograd": {"curvature_move": "scale", "curvature_gradient": "autograd"},
    "scale, consistent": {"curvature_move": "scale", "curvature_gradient": "consistent"},
}


class Outcome(NamedTuple):
    """Error by which choices are ranked, a second figure, and the curvature at the end."""

    error: float
    other: float
    c: float


class NaiveCurvature:
    """Points by Riemannian AdamW, curvatures by plain Adam; points keep their coordinates."""

    def __init__(self, params: Iterable[Tensor], curvatures: list[CurvatureParameter], lr: float):
        self.points = RiemannianAdamW(
            params, lr=lr, weight_decay=0.0, curvature_gradient="autograd"
        )
        self.curvatures = curvatures
        self.adam = torch.optim.Adam(curvatures, lr=1e-2)
        self.param_groups = [*self.points.param_groups, *self.adam.param_groups]

    def zero_grad(self) -> None:
        """Clear all gradients."""
        self.points.zero_grad()
        self.adam.zero_grad()

    def step(self) -> None:
        """Step points, then curvatures, apart from one another."""
        gradients = [log_c.grad for log_c in self.curvatures]
        for log_c in self.curvatures:
            log_c.grad = None  # a curvature without a gradient takes no step, and nothing moves
        self.points.step()
        for log_c, gradient in zip(self.curvatures, gradients, strict=True):
            log_c.grad = gradient
        self.adam.step()
        for log_c in self.curvatures:
            log_c.project_()


def make_optimizer(params: Iterable[Tensor], manifold: Lorentz, lr: float, choice: dict) -> Any:
    """Return the optimiser of a choice; without weight decay, which would mix two effects."""
    if choice.get("naive"):
        return NaiveCurvature(params, [manifold.curvature.log_c], lr)
    options = {k: v for k, v in choice.items() if k.startswith("curvature_")}
    return RiemannianAdamW(params, lr=lr, weight_decay=0.0, **options)


# ------------------------------------------------------------------ points and trees


def embed(
    target: Tensor, start: Callable[[Lorentz], Tensor], choice: dict, steps: int, lr: float
) -> tuple[Lorentz, Tensor]:
    """Fit points to distances; the loss is the mean squared error relative to each distance."""
    m = Lorentz(1.0, learnable=choice.get("learnable", True))
    points = ManifoldParameter(start(m), manifold=m)
    optimizer = make_optimizer([points], m, lr, choice)
    i, j = torch.triu_indices(len(target), len(target), 1)
    wanted = target[i, j]
    for _ in range(steps):
        optimizer.zero_grad()
        (m.dist(points[i], points[j]) / wanted - 1).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        return m, m.dist(points[i], points[j]) / wanted - 1


def point_task(
    near: bool, steps: int, lr: float, true_c: float = 2.5
) -> Callable[[int, dict], Outcome]:
    """Recover a known curvature; error: relative error of distances; other: |log(c / true c)|."""

    def run(seed: int, choice: dict) -> Outcome:
        generator = torch.Generator().manual_seed(seed)
        space = Lorentz(true_c)
        z = torch.randn(50, 3, generator=generator)
        noise = torch.randn(50, 3, generator=generator)
        x = space.expmap0(z)
        target = space.dist_pairwise(x, x).detach()
        start = z + 0.2 * noise if near else 0.1 * noise
        m, error = embed(target, lambda m: m.expmap0(start), choice, steps, lr)
        c = m.curvature.value
        return Outcome(error.square().mean().sqrt().item(), abs(np.log(c / true_c)), c)

    return run


def tree_task(steps: int, lr: float, depth: int = 5) -> Callable[[int, dict], Outcome]:
    """Embed a random tree; error: mean absolute distortion; other: the worst distortion."""

    def run(seed: int, choice: dict) -> Outcome:
        rng = np.random.default_rng(seed)
        parents, level = [-1], [0]
        for _ in range(depth):
            level = [
                len(parents) - 1
                for node in level
                for _ in range(rng.integers(1, 4))
                if parents.append(node) is None
            ]
        n = len(parents)
        target = torch.zeros(n, n)
        for node in range(1, n):
            target[node, :node] = target[parents[node], :node] + 1
            target[:node, node] = target[node, :node]
        generator = torch.Generator().manual_seed(seed)
        z = 0.1 * torch.randn(n, 3, generator=generator)
        m, error = embed(target, lambda m: m.expmap0(z), choice, steps, lr)
        return Outcome(error.abs().mean().item(), error.abs().max().item(), m.curvature.value)

    return run


# ------------------------------------------------------------------ EEG


def eeg_task(epochs: int) -> Callable[[int, dict], Outcome]:
    """Train on one session, test on the other; error: 1 - AUC; other: log loss."""
    from sklearn.metrics import log_loss, roc_auc_score

    from hypeeg.eeg.datasets import load_epochs
    from hypeeg.eeg.models.registry import get_model_class
    from hypeeg.eeg.transformers import Standardize

    folds = []
    for subject in (1, 2):
        data = load_epochs("SimulatedMI", [subject], preprocessing={"fmin": 4, "fmax": 38})
        sessions = data.metadata["session"].to_numpy()
        y = np.unique(data.y, return_inverse=True)[1]
        first = sessions == np.unique(sessions)[0]
        scaler = Standardize().fit(data.X[first])
        X = torch.from_numpy(np.asarray(scaler.transform(data.X), dtype=np.float32))
        folds.append((X[first], torch.from_numpy(y[first]), X[~first], y[~first]))

    def run(seed: int, choice: dict) -> Outcome:
        X, labels, X_test, y_test = folds[seed % len(folds)]
        torch.manual_seed(seed)
        model = get_model_class("HyperbolicEEGNet")(
            n_chans=X.shape[1],
            n_times=X.shape[2],
            n_outputs=2,
            head="prototypes",
            batch_norm_momentum=0.1,
            learnable_curvature=choice.get("learnable", True),
        )
        batches = -(-len(X) // 32)
        optimizer = make_optimizer(model.parameters(), model.manifold, 2e-3, choice)
        rates = [group["lr"] for group in optimizer.param_groups]
        for step in range(epochs * batches):
            if step % batches == 0:
                order = torch.randperm(len(X))
            part = order[step % batches * 32 :][:32]
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * (1 + np.cos(np.pi * step / (epochs * batches))) / 2
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(X[part]), labels[part]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            p = torch.softmax(model(X_test), -1)[:, 1].double().numpy()
        auc = float(roc_auc_score(y_test, p))
        return Outcome(1 - auc, log_loss(y_test, p), model.manifold.curvature.value)

    return run


# ------------------------------------------------------------------ table


def spread(values: np.ndarray) -> str:
    """Write a median and its quartiles."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:.3g} [{low:.3g}, {high:.3g}]"


def measure(name: str, run: Callable[[int, dict], Outcome], seeds: int) -> np.ndarray:
    """Run every choice on every seed, print the table and return the ranks, (choices, seeds)."""
    rows = np.array([[run(s, choice) for s in range(seeds)] for choice in CHOICES.values()])
    error = np.where(np.isfinite(rows[..., 0]), rows[..., 0], np.inf)
    ranks = rankdata(error, axis=0)
    print(f"\n{name}, {seeds} seeds: median [quartiles]")
    print(f"{'choice':<20}{'error':>30}{'second figure':>30}{'c':>24}{'mean rank':>12}")
    for label, values, rank in zip(CHOICES, rows, ranks, strict=True):
        columns = f"{spread(values[:, 0]):>30}{spread(values[:, 1]):>30}{spread(values[:, 2]):>24}"
        print(f"{label:<20}{columns}{rank.mean():>12.2f}", flush=True)
    return ranks


def main(seeds: int = 10, epochs: int = 60) -> None:
    """Measure and print the tables and the winner."""
    torch.set_num_threads(1)
    points, tree = [], []
    for steps, lr in ((1500, 2e-2), (4000, 5e-3)):
        how = f"{steps} steps of {lr:g}"
        for start, near in (("near the solution", True), ("in a heap", False)):
            title = f"points, start {start}, {how}"
            points.append(measure(title, point_task(near, steps, lr), seeds))
        tree.append(measure(f"tree, {how}", tree_task(steps, lr), seeds))
    title = "eeg, prototypes (error: 1 - AUC; second figure: log loss)"
    eeg = measure(title, eeg_task(epochs), seeds)
    ranks = [np.concatenate(points, axis=1), np.concatenate(tree, axis=1), eeg]
    # Seeds are drawn anew within each task: the spread of the mean rank over seeds.
    rng = np.random.default_rng(0)
    draws = np.mean(
        [t[:, rng.integers(t.shape[1], size=(1000, t.shape[1]))].mean(-1) for t in ranks], axis=0
    )
    overall = np.mean([t.mean(1) for t in ranks], axis=0)
    print("\nmean rank, the three tasks counting alike [95 % of bootstrap draws of the seeds]")
    for label, rank, values in zip(CHOICES, overall, draws, strict=True):
        low, high = np.percentile(values, [2.5, 97.5])
        print(f"{label:<20}{rank:>8.2f} [{low:.2f}, {high:.2f}]")
    learned = [i for i, choice in enumerate(CHOICES.values()) if choice.get("learnable", True)]
    print("winner among learned curvatures:", list(CHOICES)[min(learned, key=overall.__getitem__)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=60)
    main(**vars(parser.parse_args()))
