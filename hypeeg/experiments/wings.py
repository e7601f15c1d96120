"""What the engine asks of each kind of experiment: EEG, vision, hierarchies.

The engine (:mod:`hypeeg.experiments.active`) plans, runs, records and resumes tasks.  What the data
are, how they are divided, and what it means to fit and score one pipeline is a wing's: one module
a kind, imported only when a run of that kind begins.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hypeeg.experiments.parts import KeptPart
from hypeeg.experiments.tasks import Task

_MODULES = {
    "eeg": "hypeeg.experiments.eeg_wing",
    "vision": "hypeeg.experiments.vision_wing",
    "hierarchy": "hypeeg.experiments.hierarchy_wing",
}


@dataclass(frozen=True)
class FoldOptions:
    """What is the same for every task of a run.

    Attributes
    ----------
    scoring : str
        Name of the score; for EEG, a scikit-learn scorer.
    embeddings : bool
        Keep embeddings of test trials.
    parent : int
        Number of the process that collects the records.
    predictions : bool
        Keep predicted classes and probabilities of test trials.
    trialwise : bool
        Predict test trials one at a time.
    threads : int
        Threads of numerical libraries for each task.
    gpus : tuple of int or None
        GPUs to choose from, one a worker; None leaves the choice to ``device``.
    embedding_epochs : int or None
        Keep embeddings of test trials every so many epochs of training, too.
    """

    scoring: str
    embeddings: bool
    parent: int
    predictions: bool = True
    trialwise: bool = False
    threads: int = 1
    gpus: tuple[int, ...] | None = None
    embedding_epochs: int | None = None


@dataclass(frozen=True)
class Job:
    """One task with everything it takes but the data; small, it travels to the worker.

    Attributes
    ----------
    task : Task
        Pipeline and fold.
    estimator : estimator
        Unfitted; a clone of it is fitted.
    options : FoldOptions
        Shared settings.
    part : Path or KeptPart
        File for the arrays of this task, see :func:`hypeeg.experiments.parts.write_part`.
    model : Path or None
        Folder for the fitted model, None to keep none.
    study : Path or None
        File for the SQLite study of a search inside the training trials.
    """

    task: Task
    estimator: Any
    options: FoldOptions
    part: Path | KeptPart
    model: Path | None = None
    study: Path | None = None


@dataclass(frozen=True)
class DataFacts:
    """What the engine must know of the data that were read.

    Attributes
    ----------
    scoring : str
        Name of the score; ``"auto"`` is decided.
    line : str
        What was read, in one line for the log.
    n_sessions : int
        Sessions a subject has, 1 where there are none.
    cautions : tuple of str
        What a reader of the scores must know; logged as warnings.
    trialwise : bool
        Predict test trials one at a time.
    """

    scoring: str
    line: str
    n_sessions: int = 1
    cautions: tuple[str, ...] = ()
    trialwise: bool = False


class Wing(Protocol):
    """One kind of experiment.

    The specification of every kind has ``name``, ``description``, ``kind``, ``device``, ``n_jobs``
    and ``save``; ``dataset.name``; ``evaluation.kind`` and ``evaluation.seeds``; and ``pipelines``,
    each with ``name`` and ``twin_of``: tables, comparisons and reports read these.  A wing is
    pickled and sent to workers: it keeps settings, not data.
    """

    def load(self, spec: Any) -> Any:
        """Read the data; on a cluster once a worker, with the same result everywhere."""

    def facts(self, spec: Any, data: Any) -> DataFacts:
        """Say what the engine must know of the data."""

    def plan(self, spec: Any, data: Any) -> list[Task]:
        """List every task; the same list for the same specification and data.

        Without subjects, sessions or folds, ``Fold(subject=1, session=None, fold=0, ...)``.
        """

    def build(self, spec: Any, pipeline: Any, data: Any, seed: int) -> Any:
        """Make the unfitted estimator of one pipeline; called once a pipeline and seed."""

    def run_task(self, job: Job, data: Any) -> dict[str, Any]:
        """Fit and score one pipeline on one fold, and write its arrays to ``job.part``.

        Called by :func:`hypeeg.experiments.fold.carry_out_job`, which limits threads, collects
        warnings and records whatever is raised.

        Returns
        -------
        dict
            ``fit_time`` and ``predict_time`` (seconds), ``curvature`` (float or None),
            ``n_train``, ``n_channels`` and ``scores``: one mapping a tested session with
            ``session`` (str), ``score``, ``n_test``, ``n_correct`` (None where nothing is
            classified), ``n_classes``, and, if wanted, ``measures``: further numbers by name, which
            become columns of ``scores.csv``.
        """

    def describe_data(self, spec: Any, data: Any, tasks: Sequence[Task]) -> dict[str, Any]:
        """Describe data and folds for ``data.json``: ``dataset``, ``shape``, ``dtype``, ``sha256``.

        ``sha256`` maps names (``X``, ``y``, ``folds``, ...) to hashes; a run is resumed only if
        all are as they were.
        """


def wing_of(spec: Any) -> Wing:
    """Return the wing of a specification.

    Parameters
    ----------
    spec : BaseRunSpec
        Any run specification; ``kind`` decides.

    Returns
    -------
    Wing
        What the function ``make_wing()`` of its module makes.

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    kind = getattr(spec, "kind", "eeg")
    if kind not in _MODULES:
        raise ValueError(f"kind: {kind!r} is not known; known: {', '.join(_MODULES)}")
    wing: Wing = importlib.import_module(_MODULES[kind]).make_wing()
    return wing
