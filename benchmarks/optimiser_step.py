"""Time of an optimiser step: RiemannianAdamW beside torch's AdamW on Euclidean tables of that size.

All contestants take one step in turn, in one process on one thread, many times over; a ratio is
taken within each turn, so that what else the machine does strikes both sides alike. Times are the
processor time of that thread, which on an idle machine is the time on the clock and on a busy one
leaves out the waiting. Printed are medians with their quartiles. The first case is the one with a
target. Run::

    python benchmarks/optimiser_step.py [--turns 300]
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from hypeeg.geometry import Lorentz, ManifoldParameter
from hypeeg.optim import RiemannianAdamW

TARGET = 2.0
WARM_UP = 20
CASES = {
    "one table 10,000 x 64": [(10_000, 64)],
    "100 tables 20 x 64": [(20, 64)] * 100,
    "100 vectors of 64": [(64,)] * 100,
}


class Contestant:
    """An optimiser with its parameters; gradients are renewed before every step."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, params: list[Tensor], renew: Callable[[], None]
    ) -> None:
        self.optimizer, self.params, self.renew = optimizer, params, renew

    def time_step(self) -> float:
        """Take one step and return its seconds."""
        self.renew()
        start = time.thread_time()
        self.optimizer.step()
        return time.thread_time() - start


def starts(shapes: list[tuple[int, ...]]) -> Iterator[Tensor]:
    """Yield the same moderate points for every contestant."""
    generator = torch.Generator().manual_seed(0)
    for shape in shapes:
        yield 0.1 * torch.randn(shape, generator=generator)


def noise(shape: torch.Size) -> Tensor:
    """Return a gradient of realistic size."""
    return 1e-2 * torch.randn(shape, generator=torch.Generator().manual_seed(1))


def ours(shapes: list[tuple[int, ...]], learnable: bool, **options: Any) -> Contestant:
    """Return RiemannianAdamW on manifold parameters that share one curvature."""
    manifold = Lorentz(c=1.0, learnable=learnable)
    params = [ManifoldParameter(x, manifold=manifold) for x in starts(shapes)]
    for p in params:
        p.grad = noise(p.shape)
    log_c = manifold.curvature.log_c
    sign = -1.0

    def renew() -> None:
        nonlocal sign
        sign = -sign  # c hovers about 1 instead of running to a bound
        log_c.grad = torch.tensor(sign, dtype=log_c.dtype) if learnable else None

    return Contestant(RiemannianAdamW(params, **options), params, renew)


def torch_adamw(shapes: list[tuple[int, ...]]) -> Contestant:
    """Return torch's AdamW, multi-tensor, on Euclidean parameters."""
    params = [nn.Parameter(x) for x in starts(shapes)]
    for p in params:
        p.grad = noise(p.shape)
    return Contestant(torch.optim.AdamW(params, foreach=True), params, lambda: None)


def geoopt_adam(shapes: list[tuple[int, ...]]) -> Contestant:
    """Return geoopt's RiemannianAdam on its Lorentz model, points in n + 1 coordinates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # its use of torch.jit
        import geoopt

    manifold = geoopt.Lorentz(k=1.0)
    params: list[Tensor] = []
    for x in starts(shapes):
        time_part = (1 + x.square().sum(-1, keepdim=True)).sqrt()
        params.append(geoopt.ManifoldParameter(torch.cat([time_part, x], -1), manifold=manifold))
    gradients = [noise(p.shape) for p in params]

    def renew() -> None:  # geoopt overwrites gradients
        for p, g in zip(params, gradients, strict=True):
            p.grad = g.clone()

    return Contestant(geoopt.optim.RiemannianAdam(params, lr=1e-3), params, renew)


def measure(contestants: dict[str, Contestant], turns: int) -> dict[str, list[float]]:
    """Time every contestant once a turn, in random order."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    order = random.Random(0)
    for turn in range(-WARM_UP, turns):
        for name in order.sample(names, len(names)):
            seconds = contestants[name].time_step()
            if turn >= 0:
                times[name].append(seconds)
    return times


def spread(values: list[float]) -> tuple[float, float, float]:
    """Return median, first and third quartile."""
    low, median, high = statistics.quantiles(values, n=4)
    return median, low, high


def main(turns: int = 300) -> list[dict[str, Any]]:
    """Run all cases, print the table, say whether the target is met and return the rows."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    print(f"torch {torch.__version__}, float32, one thread, {turns} turns")
    head = f"{'case':<24}{'optimiser':<40}{'ms':>7} {'quartiles':>15}"
    print(head + f"{'x AdamW':>9} {'quartiles':>13}")
    try:
        for case, shapes in CASES.items():
            contestants = {
                "torch AdamW(foreach=True)": torch_adamw(shapes),
                "RiemannianAdamW, learned c": ours(shapes, learnable=True),
                "RiemannianAdamW, learned c, consistent": ours(
                    shapes, learnable=True, curvature_gradient="consistent"
                ),
                "RiemannianAdamW, fixed c": ours(shapes, learnable=False),
            }
            if importlib.util.find_spec("geoopt") is not None:
                contestants["geoopt RiemannianAdam, fixed c"] = geoopt_adam(shapes)
            times = measure(contestants, turns)
            baseline = times["torch AdamW(foreach=True)"]
            for name, values in times.items():
                ratios = [a / b for a, b in zip(values, baseline, strict=True)]
                ms, ratio = spread([1e3 * v for v in values]), spread(ratios)
                rows.append({"case": case, "optimiser": name, "ms": ms, "ratio": ratio})
                print(
                    f"{case:<24}{name:<40}{ms[0]:7.3f} [{ms[1]:6.3f},{ms[2]:6.3f}]"
                    f"{ratio[0]:9.2f} [{ratio[1]:5.2f},{ratio[2]:5.2f}]"
                )
    finally:
        torch.set_num_threads(threads)
    got = rows[1]["ratio"][0]
    verdict = "met" if got <= TARGET else "missed"
    print(f"target: learned c, one table, at most {TARGET:g} x AdamW: {got:.2f}, {verdict}")
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=300, help="steps per optimiser")
    main(parser.parse_args().turns)
