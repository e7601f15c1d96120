"""What a run will take, before any recording is read: folds, fits, memory, time.

Numbers of trials come from the data set's manifest; images and taxonomies, which are small, are
read (:mod:`hypeeg.experiments.wing_costs`).  Memory is that of loading
(:mod:`hypeeg.eeg.memory`) or of training, whichever is more.  Time is scaled from earlier runs of
the same pipelines on the same data, in proportion to training trials × epochs × fits; without any,
from a rule of thumb that may be wrong by a factor of five either way.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypeeg.eeg.manifest import Manifest, load_manifest
from hypeeg.eeg.memory import MemoryEstimate, available_memory, estimate_memory, human
from hypeeg.eeg.pipeline_spec import PipelineSpec, training_of
from hypeeg.experiments.base_spec import BaseRunSpec
from hypeeg.experiments.spec import RunSpec
from hypeeg.experiments.wing_costs import WingCosts, wing_costs

# A worker holds the libraries (torch, MNE, scikit-learn) beside its training trials.
WORKER_BYTES = 600_000_000
# Copies of the training trials that a fit makes: the fold's own, a standardised one.
TRAIN_COPIES = 3
# Rule of thumb of one busy core, measured on the quickstart (22 channels): seconds for each
# number of a training trial, once for a classical pipeline and once an epoch for a network.
CLASSICAL_SECONDS = 6e-8
NETWORK_SECONDS = 3e-7
FIT_SECONDS = 0.1
RUNS_LOOKED_AT = 20


@dataclass(frozen=True)
class PipelineCost:
    """What one pipeline of a run takes.

    Attributes
    ----------
    name : str
        The pipeline.
    fits : int
        Fits of one task: 1, or those of its search and one more.
    seconds : float or None
        Estimated time of one task; None where nothing is known.
    source : str
        What the time is taken from.
    """

    name: str
    fits: int
    seconds: float | None
    source: str


@dataclass(frozen=True)
class RunEstimate:
    """What a run takes.

    Attributes
    ----------
    n_folds : int
        Folds of one seed, at most.
    n_seeds : int
        Seeds.
    pipelines : tuple of PipelineCost
        What each pipeline takes.
    n_jobs : int
        Tasks that run at the same time.
    memory : MemoryEstimate or None
        Of loading; None where nothing says how many trials there are.
    train_bytes : int
        Training trials of the largest fold.
    costs : WingCosts or None
        Of images or a taxonomy, in place of `memory` and `train_bytes`.
    note : str
        What the numbers rest on.
    """

    n_folds: int
    n_seeds: int
    pipelines: tuple[PipelineCost, ...]
    n_jobs: int
    memory: MemoryEstimate | None = None
    train_bytes: int = 0
    costs: WingCosts | None = None
    note: str = field(default="", repr=False)

    @property
    def n_tasks(self) -> int:
        """Tasks: folds × seeds × pipelines."""
        return self.n_folds * self.n_seeds * len(self.pipelines)

    @property
    def n_fits(self) -> int:
        """Fits, those of searches inside training trials included."""
        return self.n_folds * self.n_seeds * sum(p.fits for p in self.pipelines)

    @property
    def seconds(self) -> float | None:
        """Estimated time of the run, with all jobs busy; None where it is not known."""
        known = [p.seconds for p in self.pipelines if p.seconds is not None]
        if len(known) < len(self.pipelines):
            return None
        total = self.n_folds * self.n_seeds * sum(known)
        return total / max(1, min(self.n_jobs, self.n_tasks))

    @property
    def peak_bytes(self) -> int | None:
        """Most memory at any moment: of loading, or of training in all jobs at once."""
        if self.costs is not None:
            tasks = max(1, min(self.n_jobs, self.n_tasks)) * (WORKER_BYTES + self.costs.task_bytes)
            return self.costs.data_bytes + tasks
        if self.memory is None:
            return None
        workers = self.n_jobs * (WORKER_BYTES + TRAIN_COPIES * self.train_bytes)
        return max(self.memory.peak_bytes, self.memory.epochs_bytes + workers)


def estimate_run(spec: BaseRunSpec, out: str | Path | None = None) -> RunEstimate:
    """Estimate what a run takes; no recording is read.

    Parameters
    ----------
    spec : BaseRunSpec
        The run; it may be resolved or not.
    out : str or Path, optional
        Folder of earlier runs to take times from.

    Returns
    -------
    RunEstimate
    """
    spec = spec.resolve()
    if not isinstance(spec, RunSpec):
        return _estimate_other(spec, out)
    manifest = load_manifest(spec.dataset.name)
    subjects, sessions = list(spec.dataset.subjects or []), _n_sessions(spec, manifest)
    memory = estimate_memory(
        manifest, subjects, spec.dataset.events or manifest.default_events, spec.preprocessing
    )
    n_train = 0.0
    if memory is not None:
        share = sessions / (_all_sessions(spec, manifest) or sessions)
        n_train = _training_trials(spec, memory.trials * share, len(subjects), sessions)
    numbers = 0 if memory is None else memory.n_channels * memory.n_times
    earlier = _unit_seconds(spec, out)
    costs = []
    for pipeline in spec.pipelines:
        fits, weight = _fits(pipeline, spec.pipelines)
        epochs = _epochs(pipeline, spec)
        units = n_train * epochs * weight
        seconds: float | None = None
        source = "unknown: nothing says how many trials there are"
        if memory is not None and _key(pipeline) in earlier:
            seconds, source = units * earlier[_key(pipeline)], "earlier runs"
        elif memory is not None:
            rate = CLASSICAL_SECONDS if pipeline.is_classical else NETWORK_SECONDS
            seconds, source = units * numbers * rate + fits * FIT_SECONDS, "rule of thumb"
        costs.append(PipelineCost(pipeline.name, fits, seconds, source))
    return RunEstimate(
        n_folds=spec.evaluation.count_folds(len(subjects), sessions),
        n_seeds=len(spec.evaluation.seeds),
        pipelines=tuple(costs),
        n_jobs=spec.n_jobs,
        memory=memory,
        train_bytes=int(4 * n_train * numbers),
        note=f"{len(subjects)} subjects, up to {sessions} sessions each",
    )


def describe_plan(spec: BaseRunSpec, out: str | Path | None = None) -> list[str]:
    """Say what a run or sweep would do and take, line by line.

    Parameters
    ----------
    spec : BaseRunSpec
        The run or sweep.
    out : str or Path, optional
        Folder of earlier runs to take times from.

    Returns
    -------
    list of str
    """
    if spec.sweep is None:
        return [*_describe_run(estimate_run(spec, out)), "Nothing was run."]
    from hypeeg.experiments.sweep import named_points

    lines = []
    estimates = []
    for point in named_points(spec):
        estimate = estimate_run(point.spec, out)
        estimates.append(estimate)
        lines.append(f"{point.spec.name}: {point.label}: {estimate.n_tasks} tasks")
    peaks = [e.peak_bytes for e in estimates]
    total = sum(e.n_tasks for e in estimates)
    lines.append(f"{len(estimates)} runs one after the other, {total} tasks in all")
    lines.append(_memory_line(max(p for p in peaks if p is not None) if all(peaks) else None))
    times = [e.seconds for e in estimates]
    known = [t for t in times if t is not None]
    lines.append(_time_line(sum(known) if len(known) == len(times) else None, estimates))
    return [*lines, "Nothing was run."]


def _describe_run(estimate: RunEstimate) -> list[str]:
    lines = [
        f"{estimate.n_folds} folds × {estimate.n_seeds} seeds × {len(estimate.pipelines)} "
        f"pipelines = {estimate.n_tasks} fits" + (f" ({estimate.note})." if estimate.note else ".")
    ]
    if estimate.n_fits > estimate.n_tasks:
        searched = ", ".join(f"{p.name} {p.fits}" for p in estimate.pipelines if p.fits > 1)
        lines.append(
            f"Searches inside training trials make {estimate.n_fits} fits of them; fits of one "
            f"task: {searched}."
        )
    lines.append(_memory_line(estimate.peak_bytes, estimate.memory, estimate.n_jobs))
    lines.append(_time_line(estimate.seconds, [estimate]))
    return lines


def _memory_line(
    peak: int | None, memory: MemoryEstimate | None = None, n_jobs: int | None = None
) -> str:
    if peak is None:
        return "Memory: unknown: nothing says how large the data are, or they cannot be read here."
    detail = "" if memory is None else f": {memory.describe()}"
    jobs = "" if n_jobs is None else f", with {n_jobs} jobs"
    free = available_memory()
    left = "" if free is None else f"; {human(free)} are free"
    return f"Memory, roughly: {human(peak)} at the peak{jobs}{left}{detail}."


def _time_line(seconds: float | None, estimates: Sequence[RunEstimate]) -> str:
    if seconds is None:
        return "Time: unknown; earlier runs of these pipelines in --out would tell."
    sources = {p.source for estimate in estimates for p in estimate.pipelines}
    if sources == {"earlier runs"}:
        return f"Time: about {show_time(seconds)}, as earlier runs of these pipelines took."
    low, high = show_time(seconds / 5), show_time(seconds * 5)
    part = " in part" if len(sources) > 1 else ""
    return (
        f"Time, very roughly: {show_time(seconds)} ({low} to {high}); a rule of thumb{part}, "
        "earlier runs in --out make it better."
    )


def show_time(seconds: float) -> str:
    """Return a time in the largest fitting unit, for example ``'3 min'``.

    Parameters
    ----------
    seconds : float
        Time.
    """
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.2g} {unit}"
    return f"{max(seconds, 1):.2g} s"


def _estimate_other(spec: BaseRunSpec, out: str | Path | None) -> RunEstimate:
    """Estimate a run on images or a taxonomy: earlier runs' times, or by the size of its data."""
    known = wing_costs(spec)
    found: dict[str, list[float]] = {}
    names = set(spec.pipeline_names)
    for record, _ in _earlier_records(spec, out):
        if record["pipeline"] in names:
            found.setdefault(record["pipeline"], []).append(_took(record))
    costs = []
    for name in spec.pipeline_names:
        seconds: float | None = None
        source = "unknown: the data cannot be read"
        if name in found:
            seconds, source = statistics.median(found[name]), "earlier runs"
        elif known is not None:
            seconds, source = known.seconds[name] + FIT_SECONDS, "rule of thumb"
        costs.append(PipelineCost(name, 1, seconds, source))
    return RunEstimate(
        n_folds=spec.n_folds_per_seed,
        n_seeds=len(spec.seeds),
        pipelines=tuple(costs),
        n_jobs=spec.n_jobs,
        costs=known,
        note=spec.data_name if known is None else known.note,
    )


def _all_sessions(spec: RunSpec, manifest: Manifest) -> int:
    runs = len(manifest.files.runs) if manifest.files is not None else 1
    named = len(manifest.sessions) or manifest.n_sessions or 1
    return named * (runs if spec.dataset.runs_as_sessions else 1)


def _n_sessions(spec: RunSpec, manifest: Manifest) -> int:
    """Sessions of a subject that the run uses, at most."""
    sessions = len(spec.dataset.sessions or manifest.sessions) or manifest.n_sessions or 1
    if spec.dataset.runs_as_sessions and manifest.files is not None:
        sessions *= len(manifest.files.runs)
    return sessions


def _training_trials(spec: RunSpec, trials: float, n_subjects: int, n_sessions: int) -> float:
    """Training trials of a fold, of the mean subject."""
    kind, curve = spec.evaluation.kind, spec.evaluation.learning_curve
    if kind == "cross_subject":
        return trials * (n_subjects - 1) / max(n_subjects, 1)
    by_subject = trials / max(n_subjects, 1)
    if kind == "cross_session":
        return by_subject * (n_sessions - 1) / max(n_sessions, 1)
    session = by_subject / max(n_sessions, 1)
    if curve is None:
        n_folds = int(spec.evaluation.n_folds or 5)
        return session * (n_folds - 1) / n_folds
    mean = sum(curve.sizes) / len(curve.sizes)
    if curve.policy == "ratio":
        return session * (1 - curve.test_size) * mean
    return mean * len(spec.dataset.events or [1, 2])


def _fits(pipeline: PipelineSpec, pipelines: Sequence[PipelineSpec]) -> tuple[int, float]:
    """Return the fits of one task, and how many fits of all its training trials they equal."""
    by_name = {p.name: p for p in pipelines}
    tuning = by_name.get(pipeline.twin_of or pipeline.name, pipeline).tuning
    if tuning is None or tuning.n_candidates == 1:
        return 1, 1.0
    inner = tuning.n_candidates * tuning.n_folds
    return inner + 1, 1.0 + inner * (tuning.n_folds - 1) / tuning.n_folds


def _epochs(pipeline: PipelineSpec, spec: RunSpec) -> int:
    if pipeline.is_classical:
        return 1
    return training_of(pipeline, spec.pipelines, spec.training).max_epochs


def _key(pipeline: PipelineSpec) -> tuple[str, str]:
    """What makes two pipelines cost the same for each training trial."""
    return pipeline.model, repr(sorted(pipeline.params.items(), key=lambda item: item[0]))


def _unit_seconds(spec: RunSpec, out: str | Path | None) -> dict[tuple[str, str], float]:
    """Seconds of each training trial, epoch and fit in earlier runs, by pipeline."""
    found: dict[tuple[str, str], list[float]] = {}
    for record, before in _earlier_records(spec, out):
        if not isinstance(before, RunSpec):
            continue
        pipeline = next((p for p in before.pipelines if p.name == record["pipeline"]), None)
        if pipeline is None or not record.get("n_train"):
            continue
        units = record["n_train"] * _epochs(pipeline, before)
        units *= _fits(pipeline, before.pipelines)[1]
        found.setdefault(_key(pipeline), []).append(_took(record) / units)
    return {key: statistics.median(values) for key, values in found.items()}


def _earlier_records(
    spec: BaseRunSpec, out: str | Path | None
) -> Iterator[tuple[Mapping[str, Any], BaseRunSpec]]:
    """Yield records of tasks that earlier runs on the same data did, newest run first."""
    if out is None:
        return
    from hypeeg.experiments.kinds import read_run_spec
    from hypeeg.experiments.run_index import list_runs
    from hypeeg.experiments.spec_errors import SpecError
    from hypeeg.experiments.store import RecordError, RunFolder

    same = [run for run in list_runs(out) if run.dataset == spec.data_name and run.n_done]
    for run in same[:RUNS_LOOKED_AT]:
        try:
            before = read_run_spec(run.path / "spec_resolved.yaml")
            records = RunFolder(run.path).folds.latest()
        except (SpecError, RecordError):
            # A run of another version, or a damaged one, tells nothing about time.
            continue
        for record in records:
            if record.get("status") == "done" and "fit_time" in record:
                yield record, before


def _took(record: Mapping[str, Any]) -> float:
    return float(record["fit_time"]) + float(record.get("predict_time") or 0.0)
