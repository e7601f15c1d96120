"""The folds of a run: MOABB's own splitters, with names for what each fold tests.

Folds are the same for every pipeline of a run, so that scores can be compared in pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hypeeg.experiments.divisible import DataProblem
from hypeeg.experiments.evaluation_spec import MOABB_MODES, EvaluationSpec


@dataclass(frozen=True, eq=False)
class Fold:
    """One division of the trials.

    Attributes
    ----------
    subject : int or str
        Whose trials are tested.
    session : str or None
        Session tested, or None when a fold tests all sessions of a subject.
    fold : int
        Number of the fold, from 0, within what is divided.
    seed : int
        Seed of the division and of everything trained on it.
    train, test : ndarray of int, shape (n_train,), (n_test,)
        Positions of the trials.
    target : ndarray of int, shape (n_target,), or None
        Positions of trials of the tested subject that a pipeline may see.
    target_labeled : bool
        Whether it may see their classes too.
    data_size : int or None
        Training trials of this step of a learning curve.
    permutation : int or None
        Division of the session that a learning curve's step belongs to, from 1.
    """

    subject: int | str
    session: str | None
    fold: int
    seed: int
    train: np.ndarray
    test: np.ndarray
    target: np.ndarray | None = None
    target_labeled: bool = False
    data_size: int | None = None
    permutation: int | None = None


def folds_of(
    y: np.ndarray, metadata: pd.DataFrame, evaluation: EvaluationSpec, dataset: str = "data"
) -> Iterator[Fold]:
    """Yield the folds of MOABB's splitter.

    Parameters
    ----------
    y : ndarray of str, shape (n_trials,)
        Class of each trial.
    metadata : DataFrame
        One row a trial with a default index, columns ``subject`` and ``session``.
    evaluation : EvaluationSpec
        How to divide.
    dataset : str
        Name of the data set, for messages.

    Yields
    ------
    Fold

    Raises
    ------
    DataProblem
        If a learning curve asks for more training trials than a session has.
    """
    # Sorted by subject and session: the splitter's own order is shuffled.
    for seed in evaluation.seeds:
        folds = list(_split(y, metadata, evaluation, seed, dataset))
        folds.sort(key=lambda f: (str(type(f.subject)), f.subject, str(f.session), f.fold))
        yield from folds


def moabb_mode(evaluation: EvaluationSpec) -> Any:
    """Return the :class:`moabb.evaluations.CrossSubjectMode` that an evaluation stands for."""
    from moabb.evaluations import CrossSubjectMode

    return CrossSubjectMode(MOABB_MODES[evaluation.adaptation])


def make_splitter(evaluation: EvaluationSpec, seed: int) -> Any:
    """Make the splitter of :mod:`moabb.evaluations.splitters` for an evaluation.

    Parameters
    ----------
    evaluation : EvaluationSpec
        How to divide.
    seed : int
        Seed of what is drawn.

    Returns
    -------
    WithinSessionSplitter, CrossSessionSplitter or CrossSubjectSplitter
    """
    from moabb.evaluations.splitters import (
        CrossSessionSplitter,
        CrossSubjectSplitter,
        LearningCurveSplitter,
        WithinSessionSplitter,
    )

    if evaluation.kind == "cross_subject":
        mode = moabb_mode(evaluation)
        return CrossSubjectSplitter(
            random_state=seed,
            calibration_size=mode.calibration_size,
            calibration_labeled=mode.calibration_labeled,
        )
    if evaluation.kind == "cross_session":
        return CrossSessionSplitter(random_state=seed)
    curve = evaluation.learning_curve
    if curve is not None:
        return WithinSessionSplitter(
            cv_class=LearningCurveSplitter,
            shuffle=True,
            random_state=seed,
            data_size={"policy": curve.policy, "value": np.array(curve.sizes)},
            n_perms=curve.n_perms,
            test_size=curve.test_size,
        )
    return WithinSessionSplitter(
        n_folds=evaluation.n_folds,
        shuffle=evaluation.shuffle,
        random_state=seed if evaluation.shuffle else None,
    )


def _split(
    y: np.ndarray, metadata: pd.DataFrame, evaluation: EvaluationSpec, seed: int, dataset: str
) -> Iterator[Fold]:
    splitter = make_splitter(evaluation, seed)
    within = evaluation.kind == "within_session"
    counts: dict[object, int] = {}
    pieces = splitter.split(y, metadata)
    while True:
        try:
            piece = next(pieces, None)
        except ValueError as error:
            if evaluation.learning_curve is None:
                raise
            raise DataProblem(
                f"{dataset}: evaluation.learning_curve asks for more trials than a session has: "
                f"{error} Lower sizes or test_size"
            ) from error
        if piece is None:
            return
        train, *target, test = (np.asarray(part) for part in piece)
        first = metadata.iloc[test[0]]
        session = None if evaluation.kind == "cross_subject" else str(first["session"])
        subject = _plain(first["subject"])
        where = (subject, session) if within else subject
        number = counts.get(where, 0)
        counts[where] = number + 1
        said = splitter.get_metadata() or {}
        yield Fold(
            subject,
            session,
            number,
            seed,
            train,
            test,
            target=target[0] if target else None,
            target_labeled=bool(target) and bool(said.get("calibration_labeled", False)),
            data_size=said.get("data_size"),
            permutation=said.get("permutation"),
        )


def _plain(value: object) -> int | str:
    """Return a subject's identity as a plain number or text."""
    return int(value) if isinstance(value, int | np.integer) else str(value)
