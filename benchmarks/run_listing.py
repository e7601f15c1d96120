"""How long ``hypeeg list`` and ``hypeeg show`` take with 10,000 recorded folds.

The folds lie in one run, and once more in 200 runs of 50.  Each command is started as a person
does, in a process of its own, and timed with the start of Python.

Run with ``python benchmarks/run_listing.py``.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hypeeg.experiments.store import RunFolder, to_json


def record(task: int) -> dict[str, Any]:
    """Return what the engine writes for one fold."""
    return {
        "task": task, "pipeline": f"pipeline{task % 4}", "subject": task // 40 % 50, "session": "0",
        "fold": task % 5, "seed": task // 2000, "status": "done",
        "started": "2026-01-01T00:00:00.000+00:00", "fit_time": 1.25, "predict_time": 0.01,
        "curvature": 1.0, "n_train": 100, "n_channels": 22,
        "scores": [
            {"session": "0", "score": task % 97 / 97, "n_test": 20, "n_correct": 12, "n_classes": 2}
        ],
        "messages": [], "finished": "2026-01-01T00:00:01.000+00:00",
    }  # fmt: skip


def make_run(out: Path, n_folds: int) -> Path:
    """Write a run that was interrupted after its last fold: scores come from the record then."""
    folder = RunFolder.create(out, "listed")
    lines = "".join(to_json(record(task)) + "\n" for task in range(n_folds))
    (folder.path / "folds.jsonl").write_text(lines)
    headline = {"name": "listed", "dataset": "BNCI2014_001", "evaluation": "within_session"}
    folder.update_status("cancelled", **headline, n_tasks=n_folds + 1, n_done=n_folds, n_failed=0)
    return folder.path


def seconds(repeats: int, *arguments: str) -> list[float]:
    """Time a command of hypeeg."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        command = [sys.executable, "-m", "hypeeg.cli", *arguments]
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return taken


def main() -> None:
    """Print median, least and largest seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folds", type=int, default=10_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        one, many = Path(text, "one"), Path(text, "many")
        path = make_run(one, arguments.folds)
        for _ in range(200):
            make_run(many, arguments.folds // 200)
        commands = {
            "list, one run": ("list", "--out", str(one)),
            "show, one run": ("show", str(path)),
            "list, 200 runs": ("list", "--out", str(many)),
            "help (start of Python and typer)": ("--help",),
        }
        for name, command in commands.items():
            taken = seconds(arguments.repeats, *command)
            middle = statistics.median(taken)
            print(f"{name:<34}{middle:.2f} s ({min(taken):.2f} to {max(taken):.2f})")


if __name__ == "__main__":
    main()
