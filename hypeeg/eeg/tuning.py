"""Choose among variants of a pipeline by inner folds of the training trials.

The test trials of the outer fold are never seen: a search is an estimator like any other, fitted on
training trials, and what it chooses depends on these alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils.metadata_routing import MetadataRequest
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from hypeeg.eeg.routing import ROUTED, fit_routed, requested
from hypeeg.eeg.scoring import Trialwise, session_scores
from hypeeg.eeg.tuning_variants import Values
from hypeeg.eeg.tuning_variants import tuned_variants as tuned_variants


def _candidates_have(method: str) -> Any:
    def check(self: NestedSearch) -> bool:
        fitted = getattr(self, "best_estimator_", None)
        getattr(next(iter(self._examples())) if fitted is None else fitted, method)
        return True

    return check


class NestedSearch(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """The best of several estimators by inner folds, fitted again on all training trials.

    Inner folds repeat the outer division on the training trials: whole subjects are left out for
    ``kind="cross_subject"``, whole sessions for ``"cross_session"``, and stratified folds are made
    for ``"within_session"`` and wherever the training trials are of one subject or session alone.
    Each left-out session is scored by itself and the mean counts; of equals the first wins.

    With `calibration_size` > 0 each inner fold leaves out one subject, `n_folds` of them drawn at
    random, and hands the same share of its trials to the candidates as the outer fold hands out of
    the tested subject's: they are compared on the task that they will have.

    Parameters
    ----------
    candidates : list of (dict, estimator)
        Values that make a candidate, and the candidate, unfitted.
    kind : "within_session", "cross_session" or "cross_subject"
        The outer division.
    scoring : str
        Name of the scikit-learn scorer that is maximised.
    n_folds : int, default 3
        Inner folds; fewer if there are fewer groups or trials of a class.
    shuffle : bool, default True
        Shuffle trials before stratified folds are made.
    calibration_size : float, default 0.0
        Share of a left-out subject's sessions that candidates may see, cross_subject only.
    calibration_labeled : bool, default False
        Whether they see the classes too.
    trialwise : bool, default False
        Predict left-out trials one at a time.
    random_state : int, default 0
        Seed of the inner folds.

    Attributes
    ----------
    best_values_ : dict
        Values of the winner.
    best_index_ : int
        Its position among the candidates.
    tried_ : list of dict
        Values of each candidate.
    best_estimator_ : estimator
        The winner, fitted on all training trials.
    search_scores_ : ndarray, shape (n_candidates, n_inner_folds)
        Score of each candidate on each inner fold; no columns with a single candidate.
    classes_ : ndarray
        Classes.
    """

    def __init__(
        self,
        candidates: list[tuple[Values, Any]],
        kind: Literal["within_session", "cross_session", "cross_subject"],
        scoring: str,
        n_folds: int = 3,
        shuffle: bool = True,
        calibration_size: float = 0.0,
        calibration_labeled: bool = False,
        trialwise: bool = False,
        random_state: int = 0,
    ) -> None:
        self.candidates = candidates
        self.kind = kind
        self.scoring = scoring
        self.n_folds = n_folds
        self.shuffle = shuffle
        self.calibration_size = calibration_size
        self.calibration_labeled = calibration_labeled
        self.trialwise = trialwise
        self.random_state = random_state

    def get_metadata_routing(self) -> MetadataRequest:
        """Ask for subjects and sessions, to divide by, and for what any candidate asks for."""
        offered = dict.fromkeys(ROUTED)
        names = {"subjects", "sessions"}
        for candidate in self._examples():
            names |= requested(candidate, offered).keys()
        request = MetadataRequest(owner=self)
        for name in sorted(names):
            request.fit.add_request(param=name, alias=True)
        return request

    def fit(
        self,
        X: np.ndarray,
        y: np.ndarray,
        *,
        subjects: np.ndarray | None = None,
        sessions: np.ndarray | None = None,
        X_target_unlabeled: np.ndarray | None = None,
        X_target_labeled: np.ndarray | None = None,
        y_target_labeled: np.ndarray | None = None,
    ) -> NestedSearch:
        """Compare the candidates on inner folds and fit the best one.

        Parameters
        ----------
        X : ndarray, shape (n_trials, n_channels, n_times)
            Training trials.
        y : ndarray, shape (n_trials,)
            Their classes.
        subjects : ndarray, shape (n_trials,), optional
            Their subjects; one subject if not given.
        sessions : ndarray of str, shape (n_trials,), optional
            Their sessions, different for different subjects; one session a subject if not given.
        X_target_unlabeled, X_target_labeled, y_target_labeled : ndarray, optional
            Trials of the tested subject, for the winner alone: inner folds make their own.

        Returns
        -------
        NestedSearch

        Raises
        ------
        ValueError
            If the training trials cannot be divided, or an inner score is no finite number.
        """
        y = np.asarray(y)
        self.classes_ = np.unique(y)
        subjects = np.zeros(len(y), dtype=int) if subjects is None else np.asarray(subjects)
        sessions = subjects.astype(str) if sessions is None else np.asarray(sessions).astype(str)
        winner = self._choose(X, y, subjects, sessions)
        outer = {
            "subjects": subjects,
            "sessions": sessions,
            "X_target_unlabeled": X_target_unlabeled,
            "X_target_labeled": X_target_labeled,
            "y_target_labeled": y_target_labeled,
        }
        outer = {name: value for name, value in outer.items() if value is not None}
        self.best_estimator_ = fit_routed(clone(winner), X, y, outer)
        return self

    def _examples(self) -> Iterable[Any]:
        """Return candidates that ask for all that any candidate asks for."""
        return [candidate for _, candidate in self.candidates]

    def _choose(
        self, X: np.ndarray, y: np.ndarray, subjects: np.ndarray, sessions: np.ndarray
    ) -> Any:
        """Compare the candidates; return the winner, unfitted."""
        self.tried_ = [dict(values) for values, _ in self.candidates]
        scores: list[list[float]] = [[] for _ in self.candidates]
        if len(self.candidates) > 1:
            for inner in self._divide(y, subjects, sessions):
                for (_, candidate), found in zip(self.candidates, scores, strict=True):
                    found.append(self._judge(candidate, X, y, subjects, sessions, inner))
        self._note_scores(scores)
        return self.candidates[self.best_index_][1]

    def _note_scores(self, scores: list[list[float]]) -> None:
        self.search_scores_ = np.array(scores, dtype=float)
        means = self.search_scores_.mean(axis=1) if self.search_scores_.size else [0.0]
        self.best_index_ = int(np.argmax(means))
        self.best_values_ = dict(self.tried_[self.best_index_])

    def _judge(
        self,
        candidate: Any,
        X: np.ndarray,
        y: np.ndarray,
        subjects: np.ndarray,
        sessions: np.ndarray,
        inner: tuple[np.ndarray, np.ndarray, np.ndarray | None],
    ) -> float:
        """Score one candidate on one inner fold: the mean over its left-out sessions."""
        train, validation, target = inner
        offered = self._offer(X, y, train, target, subjects, sessions)
        fitted = fit_routed(clone(candidate), X[train], y[train], offered)
        judged = Trialwise(fitted) if self.trialwise else fitted
        by_session = session_scores(
            judged, X[validation], y[validation], sessions[validation], self.scoring
        )
        return float(np.mean(list(by_session.values())))

    def _offer(
        self,
        X: np.ndarray,
        y: np.ndarray,
        train: np.ndarray,
        target: np.ndarray | None,
        subjects: np.ndarray,
        sessions: np.ndarray,
    ) -> dict[str, Any]:
        offered: dict[str, Any] = {"subjects": subjects[train], "sessions": sessions[train]}
        if target is not None and self.calibration_labeled:
            offered |= {"X_target_labeled": X[target], "y_target_labeled": y[target]}
        elif target is not None:
            offered["X_target_unlabeled"] = X[target]
        return offered

    def _divide(
        self, y: np.ndarray, subjects: np.ndarray, sessions: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
        """Yield inner folds: training, validation and, if any, target trials."""
        pieces: Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]
        groups = {"cross_subject": subjects, "cross_session": sessions}.get(self.kind)
        if groups is None or len(np.unique(groups)) < 2:
            pieces = self._stratified(y)
        elif self.calibration_size > 0:
            pieces = self._adapted(y, subjects, sessions)
        else:
            pieces = self._grouped(y, groups)
        for train, validation, target in pieces:
            lost = sorted(set(y.tolist()) - set(y[train].tolist()))
            if lost:
                raise ValueError(
                    f"tuning: an inner fold has no training trials of {', '.join(map(str, lost))}; "
                    "leave that class out (dataset.events), or remove tuning"
                )
            yield train, validation, target

    def _stratified(self, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, None]]:
        from sklearn.model_selection import StratifiedKFold

        names, counts = np.unique(y, return_counts=True)
        if counts.min() < 2:
            raise ValueError(
                f"tuning: class {names[counts.argmin()]} has one training trial and inner folds "
                "need two; give more training trials, or remove tuning"
            )
        folds = StratifiedKFold(
            int(min(self.n_folds, counts.min())),
            shuffle=self.shuffle,
            random_state=self.random_state if self.shuffle else None,
        )
        for train, validation in folds.split(y, y):
            yield train, validation, None

    def _grouped(
        self, y: np.ndarray, groups: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, None]]:
        from sklearn.model_selection import GroupKFold

        folds = GroupKFold(min(self.n_folds, len(np.unique(groups))))
        for train, validation in folds.split(y, y, groups):
            yield train, validation, None

    def _adapted(
        self, y: np.ndarray, subjects: np.ndarray, sessions: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        from moabb.evaluations.splitters import CrossSubjectSplitter

        names = np.unique(subjects)
        left_out = np.random.default_rng(self.random_state).permutation(names)[: self.n_folds]
        splitter = CrossSubjectSplitter(
            random_state=self.random_state,
            calibration_size=self.calibration_size,
            calibration_labeled=self.calibration_labeled,
        )
        metadata = pd.DataFrame({"subject": subjects, "session": sessions})
        for train, target, validation in splitter.split(y, metadata):
            if subjects[validation[0]] in left_out:
                yield train, validation, target

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the winner's classes, shape (n_trials,)."""
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_.predict(X)

    @available_if(_candidates_have("predict_proba"))
    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return the winner's probabilities, shape (n_trials, n_classes)."""
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_.predict_proba(X)

    @available_if(_candidates_have("decision_function"))
    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Return what the winner tells classes apart by."""
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_.decision_function(X)

    @available_if(_candidates_have("transform"))
    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return the winner's embeddings."""
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_.transform(X)
