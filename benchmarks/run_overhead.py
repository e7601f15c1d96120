"""What the engine costs: wall time of a run against its folds' own time, two workers against one.

Each repetition carries out the same tasks, the classical pipelines of the quickstart, with one
worker and with two, in turn.  Time counts from the first task to the last record: reading data,
imports and tables are the same for all and are shown by themselves.  Paired ratios are printed with
their spread; the first run of each kind warms up and does not count, but what starting workers
costs is shown.

Run with ``python benchmarks/run_overhead.py`` on a machine with two idle cores.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sklearn.base import clone

from hypeeg.experiments import active
from hypeeg.experiments.eeg_wing import EEGWing
from hypeeg.experiments.guard import limited_threads
from hypeeg.experiments.library import find_spec
from hypeeg.experiments.runner import load_trials, run
from hypeeg.experiments.spec import RunSpec


def timed(spec: RunSpec, out: Path, trials: Any) -> tuple[float, float, float]:
    """Return seconds of the tasks, of the folds' own fit and predict, and of the whole run."""
    seconds: list[float] = []
    original = active.ActiveRun.execute

    def execute(self: Any, *args: Any) -> None:
        start = time.perf_counter()
        original(self, *args)
        seconds.append(time.perf_counter() - start)

    active.ActiveRun.execute = execute
    start = time.perf_counter()
    try:
        result = run(spec, out, load=lambda _: trials, progress=False)
    finally:
        active.ActiveRun.execute = original
    whole = time.perf_counter() - start
    if result.state != "done":
        raise RuntimeError(f"{result.folder}: {result.failures[0]['error']}")
    own = sum(r["fit_time"] + r["predict_time"] for r in result.records)
    return seconds[0], own, whole


def bare(spec: RunSpec, trials: Any) -> float:
    """Return seconds that fit and predict of the same folds take in a loop without the engine.

    Time that a run's own threads take from a fit is in the times that the run records; here it is
    not.
    """
    wing = EEGWing()
    tasks = wing.plan(spec, trials)
    pipelines = {pipeline.name: pipeline for pipeline in spec.pipelines}
    wanted = {(task.pipeline, task.fold.seed) for task in tasks}
    estimators = {(n, s): wing.build(spec, pipelines[n], trials, s) for n, s in wanted}
    seconds = 0.0
    with limited_threads(1):
        for task in tasks:
            fold = task.fold
            fitted = clone(estimators[task.pipeline, fold.seed])
            start = time.perf_counter()
            fitted.fit(trials.X[fold.train], trials.y[fold.train])
            fitted.predict(trials.X[fold.test])
            seconds += time.perf_counter() - start
    return seconds


def spread(values: Sequence[float]) -> str:
    """Write median, least and largest."""
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seeds", type=int, default=5, help="Seeds of each fold: more tasks.")
    arguments = parser.parse_args()
    base = RunSpec.from_yaml(find_spec("quickstart"))
    classical = [p.model_dump(mode="json") for p in base.pipelines if p.is_classical]
    data = {**base.model_dump(mode="json"), "pipelines": classical}
    data["evaluation"]["seeds"] = list(range(arguments.seeds))
    specs = {n: RunSpec.from_data({**data, "n_jobs": n}).resolve() for n in (1, 2)}
    trials = load_trials(specs[1])
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        first = {n: timed(spec, out, trials) for n, spec in specs.items()}
        bare(specs[1], trials)
        rounds = list(_rounds(specs, out, trials, arguments.repeats))
    pairs = [(one, two) for _, one, two in rounds]
    n_tasks = 2 * 2 * 5 * arguments.seeds * len(classical)
    print(f"{n_tasks} tasks: {', '.join(p['name'] for p in classical)}")
    print(f"one worker, tasks / own fit + predict: {spread([a[0] / a[1] for a, _ in pairs])}")
    print(
        f"one worker, tasks / fits and predictions in a bare loop: "
        f"{spread([one[0] / loop for loop, one, _ in rounds])}"
    )
    print(f"two workers, own fit + predict / tasks: {spread([b[1] / b[0] for _, b in pairs])}")
    print(f"one worker / two workers, tasks:       {spread([a[0] / b[0] for a, b in pairs])}")
    print(f"seconds of the tasks, one worker:      {spread([a[0] for a, _ in pairs])}")
    print(f"seconds around them, one worker:       {spread([a[2] - a[0] for a, _ in pairs])}")
    print(f"starting two workers, once, seconds:   {first[2][0] - pairs[0][1][0]:.3f}")


def _rounds(
    specs: dict[int, RunSpec], out: Path, trials: Any, repeats: int
) -> Iterator[tuple[float, tuple[float, float, float], tuple[float, float, float]]]:
    for _ in range(repeats):
        yield bare(specs[1], trials), timed(specs[1], out, trials), timed(specs[2], out, trials)


if __name__ == "__main__":
    main()
