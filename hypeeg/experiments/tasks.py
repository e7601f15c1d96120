"""The list of tasks of a run: which trials train and test each pipeline, fold by fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hypeeg.experiments.divisible import DataProblem as DataProblem
from hypeeg.experiments.divisible import check_divisible, check_scorable
from hypeeg.experiments.divisible import resolve_scoring as resolve_scoring
from hypeeg.experiments.evaluation_spec import EvaluationSpec
from hypeeg.experiments.splits import Fold as Fold
from hypeeg.experiments.splits import folds_of as folds_of
from hypeeg.experiments.store import describe as describe


@dataclass(frozen=True, eq=False)
class Task:
    """One pipeline on one fold: what runs as a unit and is recorded as a unit.

    Attributes
    ----------
    index : int
        Position in the run's list of tasks.
    pipeline : str
        Name of the pipeline.
    fold : Fold
        The division of the trials.
    """

    index: int
    pipeline: str
    fold: Fold

    @property
    def identity(self) -> dict[str, object]:
        """What tells this task from every other of the run, ready for JSON."""
        fold = self.fold
        step = {"data_size": fold.data_size, "permutation": fold.permutation}
        return {
            "task": self.index,
            "pipeline": self.pipeline,
            "subject": fold.subject,
            "session": fold.session,
            "fold": fold.fold,
            "seed": fold.seed,
            **{key: int(value) for key, value in step.items() if value is not None},
        }

    @property
    def label(self) -> str:
        """One line for people."""
        return describe(self.identity)


def plan_tasks(
    y: np.ndarray,
    metadata: pd.DataFrame,
    evaluation: EvaluationSpec,
    pipelines: Sequence[str],
    dataset: str = "data",
) -> list[Task]:
    """List every task of a run.

    Parameters
    ----------
    y : ndarray of str, shape (n_trials,)
        Class of each trial.
    metadata : DataFrame
        One row a trial, columns ``subject``, ``session`` and, if known, ``run``.
    evaluation : EvaluationSpec
        How to divide.
    pipelines : sequence of str
        Names of the pipelines.
    dataset : str
        Name of the data set, for messages.

    Returns
    -------
    list of Task
        All pipelines of one fold follow each other, so that an interrupted run can be compared
        on the folds that it finished.

    Raises
    ------
    DataProblem
        If the trials do not allow the evaluation; see
        :func:`hypeeg.experiments.divisible.check_divisible`.
    """
    metadata = metadata.reset_index(drop=True)
    check_divisible(y, metadata, evaluation, dataset)
    folds = list(folds_of(y, metadata, evaluation, dataset))
    check_scorable(folds, y, metadata, evaluation, dataset)
    tasks: list[Task] = []
    for fold in folds:
        for pipeline in pipelines:
            tasks.append(Task(len(tasks), pipeline, fold))
    return tasks
