"""What a run has found, as the pages on results need it; each file is read once a change."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from hypeeg.experiments.compare_runs import RunComparison, compare_runs
from hypeeg.experiments.comparisons import PairedResult, compare_all, planned_comparisons
from hypeeg.experiments.recorded import RecordedRun
from hypeeg.experiments.spec_errors import SpecError
from hypeeg.experiments.store import RecordError
from hypeeg.experiments.tables import paired_results
from hypeeg_app.runs import Run, Stamp, UnreadableError, read_scores, stamp_of

REPORT_SECONDS = 180
TABLES = (
    "scores",
    "summary",
    "comparisons",
    "measures",
    "confusion",
    "per_class",
    "reliability",
    "learning_curve",
    "history",
    "curvature_history",
)
"""Tables of a run folder, in the order in which they are offered."""

_STANDARD = {"score", "fit_time", "predict_time", "accuracy", "curvature", "time"}
_COUNTS = {
    "subject", "fold", "seed", "n_train", "n_test", "samples", "samples_test", "n_classes",
    "channels", "n_sessions", "data_size", "permutation",
}  # fmt: skip

VERDICTS: dict[str, tuple[str, str, str]] = {
    "ahead": (":material/trending_up:", "green", "ahead"),
    "behind": (":material/trending_down:", "red", "behind"),
    "equivalent": (":material/equal:", "blue", "equivalent"),
    "no evidence": (":material/question_mark:", "gray", "no evidence"),
    "too few": (":material/hourglass_empty:", "orange", "too few {unit}s"),
}
"""How a statement begins to the sign, colour and words of its badge."""

CORRECT = {
    "eeg": ("Trials correct", "Share of all test trials that were classified correctly."),
    "vision": ("Images correct", "Share of all test images that were classified correctly."),
    "hierarchy": ("Branch kept", "Share of nodes whose nearest other node is of their branch."),
}
"""Name and meaning of the column of accuracies, by wing."""

COUNTED = {
    "eeg": "Test trials of all folds and seeds",
    "vision": "Test images of all seeds",
    "hierarchy": "Nodes of all seeds by the branch of their nearest other node",
}
"""What a confusion matrix counts, by wing."""

FAMILIES = {
    "twin": "Hyperbolic against its Euclidean twin",
    "variant": "Variants against what they vary",
    "baseline": "Networks against classical pipelines",
}


def recorded(path: Path) -> RecordedRun:
    """Return a run as the functions of `hypeeg.experiments` take it.

    Raises
    ------
    UnreadableError
        If its specification cannot be read.
    """
    names = ("status.json", "spec_resolved.yaml", "scores.csv", "folds.jsonl")
    return _recorded(tuple(stamp_of(path / name) for name in names))


@st.cache_resource(show_spinner=False, max_entries=50)
def _recorded(stamps: tuple[Stamp, ...]) -> RecordedRun:
    try:
        return RecordedRun.open(Path(stamps[0][0]).parent)
    except (SpecError, RecordError) as error:
        raise UnreadableError(str(error)) from error


def read_table(run: Run, name: str) -> pd.DataFrame:
    """Return a table of a run folder, empty if it is not there.

    Raises
    ------
    UnreadableError
        If it is damaged.
    """
    if not (run.path / f"{name}.csv").exists():
        return pd.DataFrame()
    return _table(stamp_of(run.path / f"{name}.csv"), name, recorded(run.path))


@st.cache_data(show_spinner=False, max_entries=200)
def _table(stamp: Stamp, name: str, _run: RecordedRun) -> pd.DataFrame:
    try:
        return _run.table(name)
    except RecordError as error:
        raise UnreadableError(str(error)) from error


def comparisons(run: Run) -> list[PairedResult]:
    """Return the planned comparisons: as recorded, or of what is finished so far.

    Raises
    ------
    UnreadableError
        If the record is damaged.
    """
    stamps = tuple(
        stamp_of(run.path / name) for name in ("comparisons.csv", "scores.csv", "folds.jsonl")
    )
    return _comparisons(stamps, run.going_on, run)


@st.cache_data(show_spinner=False, max_entries=100)
def _comparisons(stamps: tuple[Stamp, ...], going_on: bool, _run: Run) -> list[PairedResult]:
    known = recorded(_run.path)
    try:
        if not going_on:
            return paired_results(known)
        scores = read_scores(_run)
        planned = planned_comparisons(known.pipelines)
        return [] if scores.empty else compare_all(scores, planned, _run.score_name(scores))
    except (RecordError, KeyError, TypeError, ValueError) as error:
        raise UnreadableError(f"{stamps[0][0]}: {error}") from error


def comparison_of(
    first: Run, second: Run, pairs: tuple[tuple[str, str], ...] = ()
) -> RunComparison:
    """Compare two runs on the folds that both have; see :func:`compare_runs`.

    Raises
    ------
    SpecError
        If they tested different things.
    UnreadableError
        If one of them is damaged.
    """
    names = ("status.json", "scores.csv", "folds.jsonl")
    stamps = tuple(stamp_of(run.path / name) for run in (first, second) for name in names)
    return _comparison(stamps, pairs, first, second)


@st.cache_data(show_spinner="Comparing …", max_entries=20)
def _comparison(
    stamps: tuple[Stamp, ...], pairs: tuple[tuple[str, str], ...], _first: Run, _second: Run
) -> RunComparison:
    try:
        return compare_runs(recorded(_first.path), recorded(_second.path), pairs)
    except SpecError:
        raise
    except (RecordError, OSError, KeyError, TypeError, ValueError) as error:
        raise UnreadableError(f"{_first.name}, {_second.name}: {error}") from error


def verdict(result: PairedResult) -> tuple[str, str, str]:
    """Return sign, colour and words of what a comparison found, as its statement says it."""
    said = statement_of(result)
    for start, (icon, color, words) in VERDICTS.items():
        if said.startswith(start):
            return icon, color, words.format(unit=result.unit)
    return VERDICTS["no evidence"]


def statement_of(result: PairedResult) -> str:
    """Return the sentences of a comparison without the names it begins with."""
    return result.statement.removeprefix(f"{result.pipeline} − {result.other}: ")


def further_measures(scores: pd.DataFrame) -> pd.DataFrame:
    """Return means of the scores that only this sort of run has, one row a pipeline; or nothing."""
    names = [
        name
        for name in scores.columns
        if name not in _STANDARD | _COUNTS and pd.api.types.is_numeric_dtype(scores[name])
    ]
    if not names:
        return pd.DataFrame()
    return scores.groupby("pipeline", sort=False)[names].mean().reset_index()


def plain(text: Any) -> str:
    """Return text with every sign that Markdown would read as a command written out."""
    return "".join(f"\\{sign}" if sign in r"\`*_$[]<>~#|:" else sign for sign in str(text))


def make_report(paths: Sequence[Path]) -> bytes:
    """Write the HTML report of runs in a process of its own and return it.

    The report of a large run takes seconds and memory that the app does not give back otherwise.

    Raises
    ------
    UnreadableError
        If it cannot be made; the message is what the process said.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "report.html"
        command = [sys.executable, "-m", "hypeeg.cli", "report", "--to", str(target), "--"]
        try:
            done = subprocess.run(
                [*command, *(str(path.resolve()) for path in paths)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=REPORT_SECONDS,
                check=False,
            )
            if done.returncode == 0:
                return target.read_bytes()
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnreadableError(f"the report could not be made: {error}") from error
    words = done.stderr.decode("utf-8", errors="replace").strip().splitlines()
    raise UnreadableError("the report could not be made: " + " ".join(words[-6:]))
