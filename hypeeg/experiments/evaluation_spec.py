"""How a run divides its trials and what it scores: the ``evaluation`` section of a run file."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from hypeeg.experiments.sections import SaveSpec as SaveSpec
from hypeeg.experiments.sections import Section as Section
from hypeeg.experiments.sections import as_list as as_list

Kind = Literal["within_session", "cross_session", "cross_subject"]
Scoring = Literal[
    "auto", "roc_auc", "accuracy", "balanced_accuracy", "f1_macro", "roc_auc_ovr", "neg_log_loss"
]
Adaptation = Literal[
    "none",
    "trialwise",
    "unlabeled_20",
    "unlabeled_50",
    "unlabeled_full",
    "labeled_20",
    "labeled_50",
]

MOABB_MODES: dict[str, str] = {
    "none": "train",
    "trialwise": "train_trialwise",
    "unlabeled_20": "train_and_target_unlabeled_20p",
    "unlabeled_50": "train_and_target_unlabeled_50p",
    "unlabeled_full": "train_and_target_unlabeled_full",
    "labeled_20": "train_and_target_labeled_20p",
    "labeled_50": "train_and_target_labeled_50p",
}
"""`adaptation` to the value of :class:`moabb.evaluations.CrossSubjectMode` it stands for."""


class LearningCurveSpec(Section):
    """Scores as a function of the number of training trials, inside each session.

    MOABB's :class:`~moabb.evaluations.splitters.LearningCurveSplitter`: the test trials of a
    permutation are the same for every size, and smaller training sets lie in larger ones.
    """

    policy: Literal["per_class", "ratio"] = Field(
        "per_class",
        description="Whether sizes count training trials of each class or are shares of them all.",
    )
    sizes: Annotated[list[int | float], BeforeValidator(as_list)] = Field(
        min_length=1, description="Training set sizes, rising: trials a class, or shares up to 1."
    )
    n_perms: int | list[int] = Field(
        5,
        description="Random divisions of a session: one number, or one a size that does not rise.",
    )
    test_size: float = Field(
        0.2, gt=0, lt=1, description="Share of a session's trials that is tested."
    )

    @field_validator("sizes")
    @classmethod
    def _check_sizes(cls, value: list[int | float], info: ValidationInfo) -> list[int | float]:
        if any(b <= a for a, b in itertools.pairwise(value)):
            raise ValueError(f"sizes must rise, got {value}; sort them and name each once")
        if info.data.get("policy") == "per_class":
            wrong = [v for v in value if v != int(v) or v < 1]
            if wrong:
                raise ValueError(
                    f"sizes count trials of a class with policy: per_class, got {wrong}; give "
                    "whole numbers from 1, or use policy: ratio"
                )
            return [int(v) for v in value]
        wrong = [v for v in value if not 0 < v <= 1]
        if wrong:
            raise ValueError(
                f"sizes are shares of the training trials with policy: ratio, got {wrong}; give "
                "numbers in (0, 1], or use policy: per_class"
            )
        return [float(v) for v in value]

    @model_validator(mode="after")
    def _check_perms(self) -> LearningCurveSpec:
        perms = self.n_perms if isinstance(self.n_perms, list) else [self.n_perms]
        if any(n < 1 for n in perms):
            raise ValueError(f"n_perms must be at least 1, got {self.n_perms}")
        if isinstance(self.n_perms, list):
            if len(perms) != len(self.sizes):
                raise ValueError(
                    f"n_perms has {len(perms)} items and sizes {len(self.sizes)}; give one number, "
                    "or one a size"
                )
            if any(b > a for a, b in itertools.pairwise(perms)):
                raise ValueError(
                    f"n_perms must not rise, got {perms}; small training sets vary most and need "
                    "the most permutations"
                )
        return self

    @property
    def n_splits(self) -> int:
        """Divisions of one session, all sizes together."""
        if isinstance(self.n_perms, list):
            return sum(self.n_perms)
        return self.n_perms * len(self.sizes)


class EvaluationSpec(Section):
    """How trials are divided into training and test sets, and what a score is.

    Notes
    -----
    ``adaptation`` says what a pipeline may see of the tested person: it stands for the modes of
    :class:`moabb.evaluations.CrossSubjectMode` (``none`` for ``TRAIN``, ``unlabeled_20`` for
    ``TRAIN_AND_TARGET_UNLABELED_20P``, ...).  ``trialwise`` predicts one trial at a time;
    ``unlabeled_full`` is transductive, adapting to the very trials that are tested.
    """

    kind: Kind = Field(
        "within_session",
        description="Folds inside each session, one session of a subject left out at a time, or "
        "one whole subject left out at a time.",
    )
    n_folds: int | None = Field(
        None,
        ge=2,
        validate_default=False,
        description="Folds a session is divided into (within_session only; 5 if not given).",
    )
    shuffle: bool = Field(
        True,
        description="Shuffle trials before dividing a session; false: chronological folds "
        "(within_session only).",
    )
    adaptation: Adaptation = Field(
        "none",
        description="What a pipeline may see of the tested subject (cross_subject only): nothing, "
        "nothing and one trial at a time, the first 20 or 50 percent of each session, or all.",
    )
    learning_curve: LearningCurveSpec | None = Field(
        None, description="Train on growing subsets of each session (within_session only)."
    )
    single_class_runs: Literal["refuse", "warn"] = Field(
        "refuse",
        description="What to do if within_session would divide recordings that hold one class "
        "each: scores then tell recordings apart.",
    )
    seeds: Annotated[list[int], BeforeValidator(as_list)] = Field(
        [0], min_length=1, description="Every fold is run once with each: splits and networks."
    )
    scoring: Scoring = Field(
        "auto", description="auto: area under the ROC curve for two classes, accuracy for more."
    )

    @field_validator("seeds")
    @classmethod
    def _check_seeds(cls, value: list[int]) -> list[int]:
        wrong = [seed for seed in value if not 0 <= seed < 2**31]
        if wrong:
            raise ValueError(f"seeds must lie in 0 ... 2147483647, got {wrong}")
        if len(set(value)) < len(value):
            raise ValueError(f"seeds repeat in {value}; a repeated seed repeats the same run")
        return value

    @model_validator(mode="before")
    @classmethod
    def _fill_folds(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("n_folds") is None:
            kind = data.get("kind", "within_session")
            plain = kind == "within_session" and data.get("learning_curve") is None
            return {**data, "n_folds": 5 if plain else None}
        return data

    @model_validator(mode="after")
    def _check_folds(self) -> EvaluationSpec:
        within = self.kind == "within_session"
        if not within and self.n_folds is not None:
            unit = "subject" if self.kind == "cross_subject" else "session"
            raise ValueError(
                f"n_folds is {self.n_folds}, but {self.kind} has one fold a {unit}; "
                "remove n_folds (or set it to null), or use kind: within_session"
            )
        if self.kind != "cross_subject" and self.adaptation != "none":
            raise ValueError(
                f"adaptation is {self.adaptation}, which is for kind: cross_subject, and kind is "
                f"{self.kind}; remove adaptation or change kind"
            )
        if self.learning_curve is None:
            return self
        if not within:
            raise ValueError(
                f"learning_curve divides single sessions and kind is {self.kind}; remove it, or "
                "use kind: within_session"
            )
        if self.n_folds is not None:
            raise ValueError(
                f"n_folds is {self.n_folds}, but a learning_curve has its own divisions; remove "
                "n_folds (or set it to null) and give learning_curve.n_perms"
            )
        if not self.shuffle:
            raise ValueError(
                "shuffle is false, but a learning_curve draws its trials at random; remove one"
            )
        return self

    def count_folds(self, n_subjects: int, n_sessions: int) -> int:
        """Say how many folds one seed and one pipeline take.

        Parameters
        ----------
        n_subjects : int
            Subjects of the run.
        n_sessions : int
            Sessions that each of them has.

        Returns
        -------
        int
            Fits of one pipeline, before the search of a tuned one.
        """
        if self.kind == "cross_subject":
            return n_subjects
        if self.kind == "cross_session":
            return n_subjects * n_sessions if n_sessions > 1 else 0
        curve = self.learning_curve
        return n_subjects * n_sessions * (curve.n_splits if curve else int(self.n_folds or 5))
