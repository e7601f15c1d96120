"""Who else is told how a run goes: observers, such as the one that logs to MLflow.

An observer looks on.  Whatever it raises is written to the log of the run and ends the observer,
never the run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from hypeeg.experiments.active import RunResult
    from hypeeg.experiments.tasks import Task

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunStart:
    """What an observer is told when the tasks of a run are about to begin.

    Attributes
    ----------
    folder : Path
        The run folder; specification, environment, data hashes and plan are in it.
    spec : BaseRunSpec
        What is run, resolved.
    tasks : sequence of Task
        Everything that is planned, in order.
    recorded : sequence of mapping
        Records of earlier attempts that stand; their tasks are not run again.
    """

    folder: Path
    spec: Any
    tasks: Sequence[Task] = field(repr=False)
    recorded: Sequence[Mapping[str, Any]] = field(default=(), repr=False)


class RunObserver(Protocol):
    """Looks on while a run goes on.  Called in the process that writes the record."""

    def on_start(self, start: RunStart) -> None:
        """The tasks are planned and about to begin."""

    def on_task(self, record: Mapping[str, Any], part: Path) -> None:
        """A task has ended: its record is on disk, its arrays are in `part` if it did not fail."""

    def on_end(self, result: RunResult) -> None:
        """The run has ended; tables, summary and the final state are on disk."""


class Observers:
    """Several observers as one, none of which can end a run.

    Parameters
    ----------
    observers : iterable of RunObserver
        Told in this order.
    """

    def __init__(self, observers: Iterable[RunObserver] = ()) -> None:
        self._observers = list(observers)

    def __len__(self) -> int:
        return len(self._observers)

    def start(self, start: RunStart) -> None:
        """Tell that the tasks are about to begin."""
        self._tell("on_start", start)

    def task(self, record: Mapping[str, Any], part: Path) -> None:
        """Tell that a task has ended."""
        self._tell("on_task", record, part)

    def end(self, result: RunResult) -> None:
        """Tell that the run has ended."""
        self._tell("on_end", result)

    def _tell(self, method: str, *what: Any) -> None:
        for observer in list(self._observers):
            try:
                getattr(observer, method)(*what)
            # Scores must not be lost because a server or a chart could not be reached.
            except Exception as error:
                self._observers.remove(observer)
                logger.warning(
                    "%s is told no more of this run: %s: %s",
                    type(observer).__name__,
                    type(error).__name__,
                    error,
                )
                logger.info("what it raised", exc_info=True)


def default_observers(folder: str | Path) -> Observers:
    """Return the observers that the environment asks for.

    Parameters
    ----------
    folder : str or Path
        Run folder.

    Returns
    -------
    Observers
        One that logs to MLflow if ``MLFLOW_TRACKING_URI`` is set, or if an earlier attempt of
        this run logged there; none otherwise.
    """
    from hypeeg.experiments.mlflow_log import MLflowObserver, tracking_uri

    uri = tracking_uri(Path(folder))
    return Observers() if uri is None else Observers([MLflowObserver(uri)])
