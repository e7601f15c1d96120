"""The list of runs: which of them are shown, in what order, and what a row says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from hypeeg_app.runs import Run, UnreadableError, read_best

STATE_SIGNS = {
    "done": "✓",
    "failed": "✗",
    "running": "▶",
    "planned": "▷",
    "cancelled": "■",
    "interrupted": "⚡",
}
STATES = ("running", "planned", "done", "failed", "interrupted", "cancelled", "unreadable")
WINGS = {"eeg": "EEG", "vision": "vision", "hierarchy": "hierarchy"}


def duration(seconds: float | None) -> str:
    """Write a duration for people."""
    if seconds is None or seconds != seconds or seconds in (float("inf"), float("-inf")):
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02d} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def about(seconds: float | None) -> str:
    """Write a duration that is a guess: without seconds where it is long."""
    if seconds is not None and 600 <= seconds < 3600:
        return f"≈ {round(seconds / 60)} min"
    text = duration(seconds)
    return text if text == "–" else f"≈ {text}"


def best_of(run: Run) -> tuple[str, float] | None:
    """Return the best pipeline and its score, None where no score can be read."""
    try:
        return None if run.state == "unreadable" else read_best(run)
    except UnreadableError:
        # The list shows every run; the page of this one says what is wrong with it.
        return None


def _best_score(run: Run) -> float:
    best = best_of(run)
    return float("-inf") if best is None else best[1]


SORTS: dict[str, tuple[Callable[[Run], Any], bool]] = {
    "Newest first": (lambda run: (str(run.started or ""), run.name), True),
    "Oldest first": (lambda run: (str(run.started or ""), run.name), False),
    "Name": (lambda run: run.name.lower(), False),
    "Best score": (_best_score, True),
    "Longest": (lambda run: run.elapsed or 0.0, True),
    "Progress": (lambda run: run.progress, True),
}
"""Name of an order to the key of a run, and whether the greatest comes first."""


def matches(run: Run, words: str) -> bool:
    """Whether every word occurs in what a row says of the run, whatever the case."""
    said = (run.name, run.title, run.dataset, run.kind, run.wing, run.sweep, run.state)
    pipelines = run.status.get("pipelines")
    named = map(str, pipelines) if isinstance(pipelines, list) else ()
    text = " ".join([*said, *named]).lower()
    return all(word in text for word in words.lower().split())


def chosen_of(
    runs: Iterable[Run],
    words: str = "",
    states: Iterable[str] = (),
    datasets: Iterable[str] = (),
    kinds: Iterable[str] = (),
    order: str = "Newest first",
) -> list[Run]:
    """Return the runs that pass the filters, in order; an empty filter lets all pass."""
    allowed, sets, evaluations = set(states), set(datasets), set(kinds)
    passed = [
        run
        for run in runs
        if matches(run, words)
        and (not allowed or run.state in allowed)
        and (not sets or run.dataset in sets)
        and (not evaluations or kind_of(run) in evaluations)
    ]
    key, descending = SORTS[order]
    return sorted(passed, key=key, reverse=descending)


def kind_of(run: Run) -> str:
    """Say what sort of run it is: its evaluation, and its wing where that is not EEG."""
    kind = run.kind.replace("_", " ")
    return f"{run.wing}, {kind}" if run.wing not in ("", "eeg") and kind else kind or run.wing


def table_of(runs: Iterable[Run]) -> pd.DataFrame:
    """Return one row a run, in the order given."""
    rows = []
    for run in runs:
        best = best_of(run)
        rows.append(
            {
                "Run": run.name,
                "State": f"{STATE_SIGNS.get(run.state, '')} {run.state}".strip(),
                "Progress": 100.0 * run.progress,
                "Left": None if run.remaining is None else about(run.remaining),
                "Data set": run.dataset or None,
                "Kind": kind_of(run) or None,
                "Best score": None if best is None else best[1],
                "Best pipeline": None if best is None else best[0],
                "Took": duration(run.elapsed),
                "Started": run.started,
                "Sweep": run.sweep or None,
            }
        )
    table = pd.DataFrame(rows)
    # Columns that say nothing of any run would only push the others out of sight.
    empty = [name for name in ("Left", "Sweep") if name in table and table[name].isna().all()]
    return table.drop(columns=empty)
