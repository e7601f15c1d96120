"""What UMAP of embeddings takes: the dashboard's own process, by number of trials.

Points in 32 dimensions of the hyperboloid, in eight groups. Processor time, time on the clock and
largest memory of the process, start and compiling included; one core. Needs ``hypeeg[umap]``::

    python benchmarks/umap_time.py [--repeats 3]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

APP = Path(__file__).resolve().parents[1] / "app"
DIMENSIONS, GROUPS, NEIGHBOURS = 32, 8, 15


def points(n: int) -> np.ndarray:
    """Return space parts at curvature -1."""
    rng = np.random.default_rng(0)
    direction = 0.15 * rng.normal(size=(n, DIMENSIONS))
    direction[np.arange(n), rng.integers(0, GROUPS, n)] += 1.0
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return np.sinh(rng.uniform(0.5, 4.0, n))[:, None] * direction


def once(folder: Path, n: int) -> tuple[float, float, float]:
    """Return processor seconds, seconds on the clock and MiB of one picture."""
    request, out = folder / "request.npz", folder / "out.npy"
    np.savez(request, x=points(n), c=1.0)
    command = [sys.executable, "-m", "hypeeg_app.umap_worker", str(request), str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(APP)}
    start = time.perf_counter()
    process = subprocess.Popen([*command, str(NEIGHBOURS)], env=environment)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"the worker ended with {os.waitstatus_to_exitcode(status)}")
    if np.load(out).shape != (n, 2):
        raise RuntimeError("the worker returned something else than a place for each point")
    per_mib = 2**20 if sys.platform == "darwin" else 2**10
    clock = time.perf_counter() - start
    return used.ru_utime + used.ru_stime, clock, used.ru_maxrss / per_mib


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    if importlib.util.find_spec("umap") is None:
        print("umap-learn is not installed (pip install 'hypeeg[umap]'): nothing measured")
        return
    print(f"{'trials':>8}{'processor':>12}{'clock':>10}{'MiB':>8}   median of {arguments.repeats}")
    with tempfile.TemporaryDirectory() as folder:
        for n in (10, 500, 5000, 20000):
            found = [once(Path(folder), n) for _ in range(arguments.repeats)]
            cpu, clock, memory = (statistics.median(values) for values in zip(*found, strict=True))
            print(f"{n:>8}{cpu:>10.1f} s{clock:>8.1f} s{memory:>8.0f}", flush=True)


if __name__ == "__main__":
    main()
