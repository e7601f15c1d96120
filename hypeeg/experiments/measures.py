"""Beyond the score: what the test trials of a run say about each pipeline.

Everything is computed from the predictions in the run folder, never by predicting again.  A seed
tests all trials once: measures are taken over the trials of a seed and averaged over seeds.  Of a
learning curve they are those of the largest training set.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hypeeg.experiments.calibration import calibration, reliability_table
from hypeeg.experiments.gather import read_embeddings, select_trials
from hypeeg.experiments.spaces import Space, describe_space
from hypeeg.experiments.spec import slug
from hypeeg.experiments.store import replace_file

logger = logging.getLogger(__name__)

CONFUSION_COLUMNS = ("pipeline", "y_true", "y_pred", "count", "rate")
PER_CLASS_COLUMNS = ("pipeline", "class", "precision", "recall", "f1", "support")
RELIABILITY_COLUMNS = ("pipeline", "low", "high", "n", "confidence", "accuracy")


@dataclass(frozen=True)
class Measures:
    """Tables of a run.

    Attributes
    ----------
    pipelines : DataFrame
        ``measures.csv``: one row a pipeline with ``n_trials`` (test trials a seed), ``accuracy``,
        ``balanced_accuracy``, ``kappa``, ``macro_f1``, ``ece``, ``ece_adaptive``, ``brier``,
        ``nll``, ``fit_time`` and ``predict_time`` (median seconds a fold) and the columns of
        :class:`~hypeeg.experiments.spaces.Space`.
    confusion : DataFrame
        ``confusion.csv``: trials of all seeds by pipeline, true and predicted class; ``rate`` is
        the share of the true class.
    per_class : DataFrame
        ``per_class.csv``: precision, recall, F1 of each class; ``support`` counts trials a seed.
    reliability : DataFrame
        ``reliability.csv``: confidence and accuracy by bin of the confidence, all seeds together.
    learning_curve : DataFrame
        ``learning_curve.csv``: mean score by pipeline and ``data_size``; empty without one.
    """

    pipelines: pd.DataFrame
    confusion: pd.DataFrame
    per_class: pd.DataFrame
    reliability: pd.DataFrame
    learning_curve: pd.DataFrame = field(default_factory=pd.DataFrame)

    def write(self, folder: Path) -> None:
        """Write the tables that are not empty into a run folder, each in one step."""
        for name, table in (
            ("measures", self.pipelines),
            ("confusion", self.confusion),
            ("per_class", self.per_class),
            ("reliability", self.reliability),
            ("learning_curve", self.learning_curve),
        ):
            if not table.empty:
                replace_file(folder / f"{name}.csv", table.to_csv(index=False).encode("utf-8"))


def measure_run(
    folder: Path, pipelines: Sequence[str], scores: pd.DataFrame, kind: str
) -> Measures:
    """Measure the pipelines of a run.

    Parameters
    ----------
    folder : Path
        Run folder; pipelines without predictions in it keep their times and have NaN elsewhere.
    pipelines : sequence of str
        Names.
    scores : DataFrame
        Scores table of the run.
    kind : str
        Its evaluation.

    Returns
    -------
    Measures
    """
    rows, confusion, per_class, reliability = [], [], [], []
    for name in pipelines:
        own = scores[scores["pipeline"] == name]
        if own.empty:
            continue
        row: dict[str, Any] = {"pipeline": name}
        path = folder / "embeddings" / f"{slug(name)}.npz"
        space = Space()
        if path.exists():
            trials = _most_training(read_embeddings(path))
            row |= prediction_measures(trials, name)
            space = describe_space(trials, kind)
            confusion.append(confusion_table(trials).assign(pipeline=name))
            per_class.append(class_table(trials).assign(pipeline=name))
            if "ece" in row:
                bins = reliability_table(trials["proba"], trials["y_true"], trials["classes"])
                reliability.append(bins.assign(pipeline=name))
        # A fold that tests several sessions was fitted once.
        fits = own.drop_duplicates(["subject", "fold", "seed", "fit_time"])
        row["fit_time"] = float(fits["fit_time"].median())
        row["predict_time"] = float(fits["predict_time"].median())
        rows.append({**row, **asdict(space)})
    return Measures(
        pd.DataFrame(rows),
        _together(confusion, CONFUSION_COLUMNS),
        _together(per_class, PER_CLASS_COLUMNS),
        _together(reliability, RELIABILITY_COLUMNS),
        learning_curve(scores),
    )


def _most_training(trials: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Keep what the largest training set of each session predicted; everything without a curve."""
    size = trials.get("data_size")
    if size is None or not np.isfinite(size.astype(float)).any():
        return trials
    frame = pd.DataFrame({k: trials[k] for k in ("subject", "session", "data_size")})
    largest = frame.groupby(["subject", "session"])["data_size"].transform("max").to_numpy()
    here = size == largest
    return select_trials(trials, here)


def _together(tables: list[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    if not tables:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(tables, ignore_index=True)[list(columns)]


def prediction_measures(trials: Mapping[str, np.ndarray], name: str) -> dict[str, float]:
    """Return agreement and calibration of predictions, means over seeds.

    Parameters
    ----------
    trials : mapping of str to ndarray
        See :func:`hypeeg.experiments.gather.read_embeddings`.
    name : str
        Pipeline, for the log.

    Returns
    -------
    dict
        Without calibration if there are no probabilities, or some are none (which is logged).
    """
    from sklearn.metrics import cohen_kappa_score, f1_score, recall_score

    proba = trials.get("proba")
    if proba is not None and proba.shape != (len(trials["y_true"]), len(trials["classes"])):
        proba = None
    calibrated: list[dict[str, float]] = []
    by_seed = []
    for seed in np.unique(trials["seed"]):
        here = trials["seed"] == seed
        true, predicted = trials["y_true"][here], trials["y_pred"][here]
        present = np.unique(true)
        row = {
            "n_trials": float(here.sum()),
            "accuracy": float((true == predicted).mean()),
            # Recall of the classes that were tested: a class without trials has none.
            "balanced_accuracy": float(
                recall_score(true, predicted, labels=present, average="macro", zero_division=0)
            ),
            "kappa": _kappa(cohen_kappa_score, true, predicted),
            "macro_f1": float(
                f1_score(true, predicted, labels=present, average="macro", zero_division=0)
            ),
        }
        by_seed.append(row)
        if proba is not None:
            try:
                calibrated.append(asdict(calibration(proba[here], true, trials["classes"])))
            except ValueError as error:
                logger.warning("%s: calibration is left out: %s", name, error)
                proba = None
    found = {key: float(np.mean([row[key] for row in by_seed])) for key in by_seed[0]}
    if proba is not None:
        found |= {k: float(np.mean([row[k] for row in calibrated])) for k in calibrated[0]}
    return found


def _kappa(score: Any, true: np.ndarray, predicted: np.ndarray) -> float:
    # With a single class there is no agreement beyond chance to speak of.
    if len(np.unique(np.concatenate([true, predicted]))) < 2:
        return math.nan
    return float(score(true, predicted))


def confusion_table(trials: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Count test trials by true and predicted class.

    Parameters
    ----------
    trials : mapping of str to ndarray
        With ``y_true``, ``y_pred`` and ``classes``.

    Returns
    -------
    DataFrame
        Columns ``y_true``, ``y_pred``, ``count`` (all seeds), ``rate`` (share of the true class,
        NaN for one without trials); every pair of classes has a row.
    """
    from sklearn.metrics import confusion_matrix

    true, predicted = trials["y_true"], trials["y_pred"]
    labels = _labels(trials)
    counts = confusion_matrix(true, predicted, labels=labels)
    total = counts.sum(axis=1, keepdims=True)
    rates = np.where(total > 0, counts / np.maximum(total, 1), math.nan)
    rows, columns = np.meshgrid(labels, labels, indexing="ij")
    return pd.DataFrame(
        {
            "y_true": rows.ravel(),
            "y_pred": columns.ravel(),
            "count": counts.ravel(),
            "rate": rates.ravel(),
        }
    )


def class_table(trials: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return precision, recall and F1 of each class over the trials of all seeds.

    Parameters
    ----------
    trials : mapping of str to ndarray
        With ``y_true``, ``y_pred``, ``classes`` and ``seed``.

    Returns
    -------
    DataFrame
        Columns ``class``, ``precision``, ``recall``, ``f1`` (0 where nothing was predicted),
        ``support`` (trials of one seed).
    """
    from sklearn.metrics import precision_recall_fscore_support

    labels = _labels(trials)
    precision, recall, f1, support = precision_recall_fscore_support(
        trials["y_true"], trials["y_pred"], labels=labels, zero_division=0
    )
    n_seeds = len(np.unique(trials["seed"]))
    return pd.DataFrame(
        {
            "class": labels,
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "support": support / n_seeds,
        }
    )


def _labels(trials: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the classes in their order, then those that only test trials have."""
    known = list(trials["classes"])
    return np.array([*known, *sorted(set(trials["y_true"].tolist()) - set(map(str, known)))])


def learning_curve(scores: pd.DataFrame) -> pd.DataFrame:
    """Return scores by the amount of training data.

    Parameters
    ----------
    scores : DataFrame
        Scores table; without a column ``data_size`` there is no curve.

    Returns
    -------
    DataFrame
        Columns ``pipeline``, ``data_size`` (training trials), ``mean`` and ``std`` over subjects
        (the means of their sessions, permutations and seeds; NaN for one), ``n_subjects``.  Where
        sizes are shares of sessions that are not equally long, the first, second, ... sizes of all
        of them are put together and ``data_size`` is their mean.
    """
    if "data_size" not in scores or scores["data_size"].isna().all():
        return pd.DataFrame()
    keys = ["pipeline", "data_size"]
    sizes = scores.groupby(["subject", "session"])["data_size"]
    if scores["data_size"].nunique() > sizes.nunique().max():
        step = sizes.rank("dense")
        scores = scores.assign(data_size=scores["data_size"].groupby(step).transform("mean"))
    by_session = scores.groupby([*keys, "subject", "session"], sort=False)["score"].mean()
    by_subject = by_session.groupby(level=[*keys, "subject"], sort=False).mean()
    table = by_subject.groupby(level=keys, sort=False).agg(["mean", "std", "count"]).reset_index()
    table = table.rename(columns={"count": "n_subjects"})
    order = {name: number for number, name in enumerate(dict.fromkeys(scores["pipeline"]))}
    return table.sort_values(
        keys, key=lambda c: c.map(order) if c.name == "pipeline" else c, ignore_index=True
    )
