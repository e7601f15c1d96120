"""Choose a pipeline's values by Optuna's TPE on inner folds of the training trials."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hypeeg.eeg.tuning import NestedSearch
from hypeeg.eeg.tuning_spec import RangeSpec
from hypeeg.eeg.tuning_variants import Values, probes

STUDY_NAME = "inner folds"
"""Name of the study in its SQLite file."""

_PLAIN = (bool, int, float, str, type(None))


def check_optuna() -> None:
    """Check that Optuna can be imported, without importing it.

    Raises
    ------
    ValueError
        Otherwise, with what to install.
    """
    missing = [name for name in ("optuna", "sqlalchemy") if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"tuning.search is optuna and {' and '.join(missing)} is not installed; "
            "run: pip install 'hypeeg[sweep]', or use search: grid"
        )


class StudySearch(NestedSearch):
    """The best of `n_trials` estimators that Optuna's TPE proposes, fitted on all training trials.

    Inner folds are those of :class:`~hypeeg.eeg.tuning.NestedSearch`.  Each proposal follows from
    what the earlier ones scored there; the same seed and trials give the same proposals.  Values
    that are proposed again are not fitted again.

    Parameters
    ----------
    space : dict of str to list or RangeSpec
        What each value is chosen from.
    build : callable
        Takes values by key, returns an unfitted estimator; must be picklable.
    n_trials : int
        Proposals.
    kind, scoring, n_folds, shuffle, calibration_size, calibration_labeled, trialwise
        As in :class:`~hypeeg.eeg.tuning.NestedSearch`.
    random_state : int, default 0
        Seed of the inner folds and of the sampler.
    study_path : str, optional
        SQLite file to keep the study in, replaced if there is one; read it with
        ``optuna.load_study(study_name="inner folds", storage="sqlite:///FILE")``.

    Attributes
    ----------
    best_values_, best_index_, best_estimator_, search_scores_, classes_, tried_
        As in :class:`~hypeeg.eeg.tuning.NestedSearch`, a candidate being a proposal.

    References
    ----------
    Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011 (TPE).
    """

    def __init__(
        self,
        space: Mapping[str, list[Any] | RangeSpec],
        build: Callable[[Values], Any],
        n_trials: int,
        kind: Literal["within_session", "cross_session", "cross_subject"],
        scoring: str,
        n_folds: int = 3,
        shuffle: bool = True,
        calibration_size: float = 0.0,
        calibration_labeled: bool = False,
        trialwise: bool = False,
        random_state: int = 0,
        study_path: str | None = None,
    ) -> None:
        self.space = space
        self.build = build
        self.n_trials = n_trials
        self.kind = kind
        self.scoring = scoring
        self.n_folds = n_folds
        self.shuffle = shuffle
        self.calibration_size = calibration_size
        self.calibration_labeled = calibration_labeled
        self.trialwise = trialwise
        self.random_state = random_state
        self.study_path = study_path

    def _examples(self) -> Iterable[Any]:
        return (self.build(values) for values in probes(self.space))

    def _choose(
        self, X: np.ndarray, y: np.ndarray, subjects: np.ndarray, sessions: np.ndarray
    ) -> Any:
        check_optuna()
        inner = list(self._divide(y, subjects, sessions))
        seen: dict[str, list[float]] = {}
        scores: list[list[float]] = []
        self.tried_ = []
        with _quiet_optuna():
            import optuna

            sampler = optuna.samplers.TPESampler(seed=self.random_state)
            study = optuna.create_study(
                study_name=STUDY_NAME, sampler=sampler, direction="maximize"
            )
            study.set_user_attr("scoring", self.scoring)
            distributions, originals = _distributions(self.space)
            while len(self.tried_) < self.n_trials:
                trial = study.ask(distributions)
                values = {key: originals[key](value) for key, value in trial.params.items()}
                label = json.dumps(values, sort_keys=True)
                if label not in seen:
                    candidate = self.build(values)
                    seen[label] = [
                        self._judge(candidate, X, y, subjects, sessions, fold) for fold in inner
                    ]
                trial.set_user_attr("inner_scores", seen[label])
                study.tell(trial, float(np.mean(seen[label])))
                self.tried_.append(values)
                scores.append(seen[label])
            if self.study_path is not None:
                _keep(study, Path(self.study_path))
        self._note_scores(scores)
        return self.build(self.best_values_)


def _distributions(
    space: Mapping[str, list[Any] | RangeSpec],
) -> tuple[dict[str, Any], dict[str, Callable[[Any], Any]]]:
    """Return Optuna's distribution of each key, and what turns its proposals into values."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    distributions: dict[str, Any] = {}
    originals: dict[str, Callable[[Any], Any]] = {}
    for key, choices in space.items():
        if isinstance(choices, RangeSpec):
            if choices.is_integer:
                step = int(choices.step or 1)
                # Optuna asks that the step divide the range, and warns where it does not.
                high = int(choices.low) + (int(choices.high) - int(choices.low)) // step * step
                distributions[key] = IntDistribution(
                    int(choices.low), high, log=choices.log, step=step
                )
                originals[key] = int
            else:
                distributions[key] = FloatDistribution(
                    choices.low, choices.high, log=choices.log, step=choices.step
                )
                originals[key] = float
        elif all(isinstance(value, _PLAIN) for value in choices):
            distributions[key] = CategoricalDistribution(choices)
            originals[key] = _as_it_is
        else:
            # Optuna keeps plain values alone: bands and the like are named by their JSON.
            distributions[key] = CategoricalDistribution([json.dumps(v) for v in choices])
            originals[key] = json.loads
    return distributions, originals


def _as_it_is(value: Any) -> Any:
    return value


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Keep Optuna from announcing each study on the screen."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _keep(study: Any, path: Path) -> None:
    """Write a finished study to a SQLite file in one step.

    The search itself runs in memory: a study that grew on disk would, after a killed process, have
    to be thrown away in any case, since a task that is begun again begins anew.
    """
    import optuna

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.tmp")
    partial.unlink(missing_ok=True)
    storage = optuna.storages.RDBStorage(f"sqlite:///{partial}")
    try:
        optuna.copy_study(
            from_study_name=STUDY_NAME,
            from_storage=study._storage,
            to_storage=storage,
        )
    finally:
        storage.engine.dispose()
    partial.replace(path)
