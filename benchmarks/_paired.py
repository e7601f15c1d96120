"""Paired measurement: two functions alternate in one process, and the ratio of their times counts.

Every benchmark of speed prints its rows through :func:`compare`, so that all read alike: median of
the ratios with its quartiles, both median times, both peaks of memory, and whether the target is
met. One thread; processor time on the CPU, wall time on an accelerator.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler writes to stderr otherwise

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

HEADER = f"{'':<44}{'ratio [quartiles]':>24}{'ours':>11}{'rival':>11}{'MiB':>9}{'rival':>8}  target"


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` measured: ratio of times with quartiles, seconds, bytes at peak."""

    name: str
    low: float
    ratio: float
    high: float
    ours: float
    rival: float
    memory: float
    rival_memory: float
    target: float | None

    def __str__(self) -> str:
        verdict = "-"
        if self.target is not None:
            verdict = f"{self.target:g} {'met' if self.ratio <= self.target else 'MISSED'}"
        spread = f"{self.ratio:.2f} [{self.low:.2f}, {self.high:.2f}]"
        return (
            f"{self.name:<44}{spread:>24}{self.ours * 1e3:>8.2f} ms{self.rival * 1e3:>8.2f} ms"
            f"{self.memory / 2**20:>9.1f}{self.rival_memory / 2**20:>8.1f}  {verdict}"
        )


def seconds(function: Callable[[], object], device: torch.device, loops: int = 1) -> float:
    """Return the seconds of one call, averaged over ``loops`` calls in a row."""
    if device.type == "cpu":
        start = time.process_time()
        for _ in range(loops):
            function()
        return (time.process_time() - start) / loops
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    for _ in range(loops):
        function()
    torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / loops


def peak_memory(function: Callable[[], object], device: torch.device) -> float:
    """Return the most bytes that one call holds at a time beyond what was held before."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        torch.cuda.synchronize(device)
        return float(torch.cuda.max_memory_allocated(device) - before)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    results = profiler.profiler.kineto_results
    events = [e for e in results.events() if e.name() == "[memory]"]
    events.sort(key=lambda e: e.start_ns())
    return float(max(np.cumsum([e.nbytes() for e in events]), default=0))


def compare(
    name: str,
    ours: Callable[[], object],
    rival: Callable[[], object],
    *,
    target: float | None = None,
    repeats: int = 40,
    shortest: float = 2e-3,
    device: str | torch.device = "cpu",
) -> Comparison:
    """Measure two functions in turn, print the row and return it.

    Parameters
    ----------
    name : str
        What is measured.
    ours, rival : callable
        Functions without arguments.
    target : float, optional
        Largest ratio that counts as met.
    repeats : int, default 40
        Number of pairs.
    shortest : float, default 2e-3
        A function that takes less (seconds) is called several times per measurement.
    device : str or torch.device, default "cpu"
    """
    where = torch.device(device)
    for _ in range(3):
        ours()
        rival()
    loops = [max(1, int(np.ceil(shortest / max(seconds(f, where), 1e-7)))) for f in (ours, rival)]
    times = np.empty((repeats, 2))
    for i in range(repeats):
        # who goes first changes from pair to pair
        for j in (0, 1) if i % 2 else (1, 0):
            times[i, j] = seconds((ours, rival)[j], where, loops[j])
    low, median, high = np.percentile(times[:, 0] / times[:, 1], [25, 50, 75])
    row = Comparison(
        name,
        low,
        median,
        high,
        *np.median(times, axis=0),
        peak_memory(ours, where),
        peak_memory(rival, where),
        target,
    )
    print(row, flush=True)
    return row
