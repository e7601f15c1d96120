"""Scores as MOABB keeps them, so that :mod:`moabb.analysis` works on a run of ours."""

from __future__ import annotations

import pandas as pd

MOABB_COLUMNS = (
    "score",
    "time",
    "samples",
    "samples_test",
    "n_classes",
    "subject",
    "session",
    "channels",
    "n_sessions",
    "dataset",
    "pipeline",
)
"""Columns of the tables that MOABB's evaluations return."""

_CURVE = ("data_size", "permutation")


def moabb_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return one row a session and pipeline, as MOABB's evaluations do.

    Folds are averaged within each seed, then seeds: MOABB knows one seed.  A learning curve keeps
    one row a training set size and permutation.

    Parameters
    ----------
    scores : DataFrame
        Scores table of a run (``scores.csv``), or those of several runs one after another.

    Returns
    -------
    DataFrame
        Columns `MOABB_COLUMNS` and, for a learning curve, ``data_size`` and ``permutation``;
        ``subject`` and ``session`` are text.  It is what
        :func:`moabb.analysis.meta_analysis.compute_dataset_statistics` and the functions of
        :mod:`moabb.analysis.plotting` take.

    Raises
    ------
    ValueError
        If a column is missing, or pipelines differ in the sessions that they have scores for:
        failed folds would make the comparison unfair.

    Examples
    --------
    >>> from moabb.analysis.meta_analysis import compute_dataset_statistics  # doctest: +SKIP
    >>> compute_dataset_statistics(moabb_table(result.scores))  # doctest: +SKIP
    """
    missing = [name for name in (*MOABB_COLUMNS, "seed") if name not in scores.columns]
    if missing:
        raise ValueError(
            f"the scores table has no column {', '.join(missing)}; give the scores of a run, see "
            "hypeeg.experiments.gather.SCORE_COLUMNS"
        )
    curve = [name for name in _CURVE if name in scores.columns]
    unit = ["dataset", "subject", "session", *curve]
    frame = scores.astype({"subject": str, "session": str})
    _check_complete(frame, [*unit, "fold", "seed"])
    means = ["score", "time", "samples_test"]
    same = ["samples", "n_classes", "channels", "n_sessions"]
    by_seed = frame.groupby([*unit, "pipeline", "seed"], sort=False, dropna=False, observed=True)
    seeds = by_seed.agg(dict.fromkeys(means, "mean") | dict.fromkeys(same, "max")).reset_index()
    table = seeds.groupby([*unit, "pipeline"], sort=False, dropna=False, observed=True)
    result = table.agg(dict.fromkeys(means, "mean") | dict.fromkeys(same, "max")).reset_index()
    whole = dict.fromkeys(["samples_test", *same], int)
    return result.astype(whole)[[*MOABB_COLUMNS, *curve]]


def _check_complete(frame: pd.DataFrame, unit: list[str]) -> None:
    """Check that every pipeline of a data set has the same units."""
    for dataset, rows in frame.groupby("dataset", sort=False, observed=True):
        units = {
            str(name): set(own[unit].itertuples(index=False, name=None))
            for name, own in rows.groupby("pipeline", sort=False, observed=True)
        }
        every = set().union(*units.values())
        lacking = {name: len(every) - len(own) for name, own in units.items() if own != every}
        if lacking:
            listed = ", ".join(f"{name} ({count})" for name, count in lacking.items())
            raise ValueError(
                f"{dataset}: pipelines lack scores of folds that others have: {listed}; run the "
                "failed folds again, or leave those folds out for all"
            )
