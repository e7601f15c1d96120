"""What a fitted classifier says of the test trials, each thing asked once.

Scores, kept predictions and kept embeddings ask the same questions, and every answer begins with
the same steps of a pipeline: these are done once for each tested session.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hypeeg.eeg.scoring import Trialwise

_METHODS = ("predict", "predict_proba", "decision_function", "transform")


class Remembering(Trialwise):
    """A fitted classifier that answers a question about the same array once.

    Parameters
    ----------
    estimator : estimator
        Fitted.  Of a :class:`sklearn.pipeline.Pipeline`, the steps before the last are done once
        for each array, too.
    """

    def __init__(self, estimator: Any) -> None:
        super().__init__(estimator)
        # The array is kept beside the answers, so that its id stays its own.
        self._known: dict[int, tuple[np.ndarray, dict[str, Any]]] = {}

    def _each(self, method: str, X: np.ndarray) -> np.ndarray:
        _, answers = self._known.setdefault(id(X), (X, {}))
        if method not in answers:
            steps = _plain_steps(self.estimator)
            if steps is None:
                answers[method] = np.asarray(getattr(self.estimator, method)(X))
            else:
                if "prefix" not in answers:
                    before = X
                    for step in steps[:-1]:
                        before = step.transform(before)
                    answers["prefix"] = before
                answers[method] = np.asarray(getattr(steps[-1], method)(answers["prefix"]))
        found: np.ndarray = answers[method]
        return found


def _plain_steps(estimator: Any) -> list[Any] | None:
    """Return the steps of a pipeline that does nothing but call them one after the other."""
    from sklearn import get_config
    from sklearn.pipeline import Pipeline

    if not isinstance(estimator, Pipeline) or get_config()["enable_metadata_routing"]:
        return None
    kinds = type(estimator).__mro__
    own = kinds[: kinds.index(Pipeline)]
    if any(method in vars(kind) for kind in own for method in _METHODS):
        return None
    steps = [step for _, step in estimator.steps]
    return None if any(step is None or isinstance(step, str) for step in steps) else steps


class TestTrials:
    """The test trials of a fold, session by session.

    Parameters
    ----------
    X : ndarray, shape (n_trials, ...)
        Trials.
    sessions : ndarray of str, shape (n_trials,)
        Their sessions.
    """

    __test__ = False  # no test, whatever its name says to pytest

    def __init__(self, X: np.ndarray, sessions: np.ndarray) -> None:
        names = dict.fromkeys(sessions.tolist())
        self.where = {name: np.flatnonzero(sessions == name) for name in names}
        single = len(self.where) == 1
        self.blocks = {name: X if single else X[here] for name, here in self.where.items()}

    def ask(self, judged: Any, method: str) -> np.ndarray:
        """Return the answers for all trials, in their order.

        Parameters
        ----------
        judged : estimator
            Fitted; asked about each session by itself, as :func:`hypeeg.eeg.scoring.by_session`
            does.
        method : str
            Such as ``predict``.

        Returns
        -------
        ndarray, shape (n_trials, ...)
        """
        answers = [np.asarray(getattr(judged, method)(block)) for block in self.blocks.values()]
        if len(answers) == 1:
            return answers[0]
        order = np.argsort(np.concatenate(list(self.where.values())))
        found: np.ndarray = np.concatenate(answers)[order]
        return found

    def scores(self, judged: Any, y: np.ndarray, scoring: str) -> dict[str, float]:
        """Score each session by itself, see :func:`hypeeg.eeg.scoring.session_scores`."""
        from hypeeg.eeg.scoring import session_scores

        found: dict[str, float] = {}
        for name, here in self.where.items():
            block = self.blocks[name]
            found |= session_scores(judged, block, y[here], np.full(len(here), name), scoring)
        return found
