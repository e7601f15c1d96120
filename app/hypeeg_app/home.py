"""What the Home page tells: what is here, in numbers and a few words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from hypeeg.experiments.process import GOING_ON
from hypeeg.experiments.run_index import RunInfo


@dataclass(frozen=True)
class Overview:
    """Runs of a folder in numbers.

    Attributes
    ----------
    total, going, finished, broken : int
        Runs; those that go on, that are done, and that ended otherwise.
    """

    total: int
    going: int
    finished: int
    broken: int

    @property
    def words(self) -> str:
        """The numbers as a sentence."""
        if not self.total:
            return "None yet: the quickstart makes the first one."
        parts = [f"{self.finished} done"]
        parts += [f"{self.going} going on"] if self.going else []
        parts += [f"{self.broken} ended early or with failures"] if self.broken else []
        return f"{', '.join(parts)}."


def overview(runs: Sequence[RunInfo]) -> Overview:
    """Count runs by how they stand.

    Parameters
    ----------
    runs : sequence of RunInfo
        All runs.
    """
    going = sum(run.state in GOING_ON for run in runs)
    finished = sum(run.state == "done" for run in runs)
    return Overview(len(runs), going, finished, len(runs) - going - finished)


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """Say how long ago something was.

    Parameters
    ----------
    moment : datetime or None
        When it was (UTC).
    now : datetime, optional
        The present.
    """
    if moment is None:
        return "at an unknown time"
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def progress(run: RunInfo) -> float:
    """Return the share of a run's folds that ended."""
    return min(1.0, (run.n_done + run.n_failed) / run.n_tasks) if run.n_tasks else 0.0
