"""Kill the quickstart with ``kill -9`` at random moments, resume it, compare it with a whole run.

After each kill and resume, the record must hold every fold once, and the scores must be those of a
run that was left alone, bit for bit.  A run may be killed several times before it is through.

Run with ``python benchmarks/kill_and_resume.py``; it exits with 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

TIMES = ["fit_time", "predict_time", "time"]


def start(out: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a command of hypeeg."""
    command = [sys.executable, "-m", "hypeeg.cli", *arguments, "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def scores(run: Path) -> pd.DataFrame:
    """Return what a run found, without what the clock said."""
    return pd.read_csv(run / "scores.csv").drop(columns=TIMES)


def problem(run: Path, whole: Path) -> str:
    """Say what is wrong with a resumed run; empty if nothing is."""
    state = json.loads((run / "status.json").read_text())["state"]
    if state != "done":
        return f"state {state}"
    lines = (run / "folds.jsonl").read_text().splitlines()
    tasks = [json.loads(line)["task"] for line in lines]
    planned = len(pd.read_csv(run / "tasks.csv"))
    if sorted(tasks) != list(range(planned)):
        return f"{planned} tasks were planned and {len(tasks)} recorded, {len(set(tasks))} of them"
    try:
        pd.testing.assert_frame_equal(scores(run), scores(whole), check_exact=True)
    except AssertionError as error:
        return f"scores differ: {error}"
    return ""


def main() -> int:
    """Print one line a run and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=3, help="Epochs of the networks.")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    spec = ("run", "quickstart", "--set", f"training.max_epochs={arguments.epochs}")
    wrong = killed = unborn = 0
    with tempfile.TemporaryDirectory() as text:
        began = time.monotonic()
        if start(Path(text, "whole"), *spec).wait():
            raise RuntimeError("the run that was left alone failed")
        duration = time.monotonic() - began
        [whole] = Path(text, "whole").iterdir()
        while killed < arguments.kills:
            out = Path(text, f"killed-{killed}")
            kills = 0
            command: tuple[str, ...] = spec
            while True:
                process = start(out, *command)
                try:
                    process.wait(chance.uniform(0.0, duration))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    kills += 1
                found = [] if not out.is_dir() else [p for p in out.iterdir() if p.name[0] != "."]
                if not found or not (found[0] / "spec_resolved.yaml").exists():
                    unborn += 1
                    break
                run = found[0]
                if kills >= 3 or process.returncode == 0:
                    break
                command = ("resume", str(run))
            killed += kills
            if not found or not (found[0] / "spec_resolved.yaml").exists():
                continue
            if json.loads((run / "status.json").read_text())["state"] != "done":
                start(out, "resume", str(run)).wait()
            fault = problem(run, whole)
            wrong += bool(fault)
            print(f"killed {kills} times: {fault or 'whole, and the same scores'}", flush=True)
    print(
        f"{killed} kills (whole run {duration:.1f} s); {unborn} before there was anything to "
        f"resume; {wrong} runs wrong"
    )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
