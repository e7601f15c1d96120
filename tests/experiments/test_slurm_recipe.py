"""The SLURM recipe of the docs, with a stand-in for SLURM that runs jobs as processes here."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from hypeeg.experiments.runner import run
from hypeeg.experiments.spec import RunSpec

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cluster.md"
TIMES = ["fit_time", "predict_time", "time"]
# What SLURM's commands do, as far as the recipe needs them.
SBATCH = """#!/bin/sh
number=$(ls "$JOBS" | wc -l)
cp "$1" "$JOBS/$number.sh"
setsid bash "$JOBS/$number.sh" > "$JOBS/../log-$number" 2>&1 &
echo $! > "$JOBS/../pid-$!"
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
for job in "$@"; do kill -TERM -- "-$job"; done
"""

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("dask_jobqueue") is None, reason="takes the extra 'cluster'"
    ),
    pytest.mark.skipif(sys.platform != "linux", reason="needs setsid"),
]


def recipe() -> str:
    """Return the code of the page, with what is local to a cluster taken out."""
    [code] = re.findall(r"```python\n(from dask_jobqueue.*?)```", PAGE.read_text("utf-8"), re.S)
    local = '        "source /shared/venv/bin/activate",\n'
    assert local in code
    return code.replace(local, "").replace(
        '"export HYPEEG_DATA=/shared/recordings HYPEEG_CACHE=/shared/cache"',
        '"export OMP_NUM_THREADS=1"',
    )


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Give an environment in which there is a SLURM."""
    tools, jobs = tmp_path / "bin", tmp_path / "jobs"
    tools.mkdir()
    jobs.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    try:
        yield {**os.environ, "PATH": path, "JOBS": str(jobs), "OMP_NUM_THREADS": "1"}
    finally:
        for file in tmp_path.glob("pid-*"):
            subprocess.run(["kill", "-KILL", "--", f"-{file.name[4:]}"], check=False)


def gone(tmp_path: Path) -> bool:
    pids = [int(file.name[4:]) for file in tmp_path.glob("pid-*")]
    return bool(pids) and not any(
        psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        for pid in pids
    )


def test_the_recipe_starts_jobs_that_carry_out_a_run(
    slurm: dict[str, str], tmp_path: Path, spec_data: Callable[..., dict[str, Any]]
) -> None:
    pipelines = [{"name": "csp", "model": "csp_lda", "params": {"n_components": 2}}]
    spec = RunSpec.from_data(spec_data(pipelines=pipelines))
    whole = run(spec, tmp_path / "local", progress=False)
    cluster = subprocess.Popen(
        [sys.executable, "-u", "-c", recipe()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(tmp_path / "errors").open("w"),
        env=slurm,
        cwd=tmp_path,
        text=True,
    )
    assert cluster.stdin is not None
    assert cluster.stdout is not None
    try:
        address = cluster.stdout.readline().strip()
        assert address.startswith("tcp://"), (tmp_path / "errors").read_text()
        there = spec.apply_overrides(["backend.name=dask", f"backend.scheduler={address}"])
        result = run(there, tmp_path / "shared", progress=False)
        script = (tmp_path / "jobs" / "0.sh").read_text()
        cluster.stdin.write("\n")
        cluster.stdin.close()
        assert cluster.wait(60) == 0, (tmp_path / "errors").read_text()
    finally:
        cluster.kill()
        cluster.wait()
    pd.testing.assert_frame_equal(
        pd.read_csv(result.folder / "scores.csv").drop(columns=TIMES),
        pd.read_csv(whole.folder / "scores.csv").drop(columns=TIMES),
    )
    for directive in ("-p gpu", "-t 08:00:00", "--cpus-per-task=1", "--mem=15G", "--gres=gpu:1"):
        assert f"#SBATCH {directive}" in script, script
    assert "--nthreads 1" in script
    assert "--lifetime 7h" in script
    end = time.monotonic() + 30
    while not gone(tmp_path):
        assert time.monotonic() < end, "jobs outlive the cluster"
        time.sleep(0.2)
