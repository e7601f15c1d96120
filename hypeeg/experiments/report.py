"""What a run's scores say: summary tables, paired differences and how sure one can be.

Pure functions of the scores table (see :data:`hypeeg.experiments.gather.SCORE_COLUMNS`).  The unit
of comparison is one session of one subject: folds and seeds are averaged first, because they
share trials and are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from hypeeg.experiments.comparisons import fold_differences
from hypeeg.experiments.statistics import EQUAL, SignedRank, signed_rank
from hypeeg.experiments.statistics import MIN_PAIRS as MIN_PAIRS

UNIT = ["subject", "session"]


@dataclass(frozen=True)
class Comparison:
    """Two pipelines compared on the same sessions.

    Attributes
    ----------
    pipeline, twin : str
        Names; differences are `pipeline` minus `twin`.
    n : int
        Sessions that both finished.
    mean, std : float
        Of the differences; ``std`` is NaN for a single session.
    wins, losses : int
        Sessions where `pipeline` scored higher, and lower.
    over_sessions, over_subjects : SignedRank
        With sessions as units, and with subjects (the mean of their sessions), which alone are
        independent of each other.
    """

    pipeline: str
    twin: str
    n: int
    mean: float
    std: float
    wins: int
    losses: int
    over_sessions: SignedRank
    over_subjects: SignedRank


def unit_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Average folds and seeds.

    Parameters
    ----------
    scores : DataFrame
        Scores table.

    Returns
    -------
    DataFrame
        One row a subject and session, one column a pipeline, in order of appearance.
    """
    order = list(dict.fromkeys(scores["pipeline"]))
    table = scores.pivot_table(index=UNIT, columns="pipeline", values="score", aggfunc="mean")
    return table.reindex(columns=order)


def wilson_interval(successes: float, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Binomial confidence interval of a proportion (Wilson, 95 % by default).

    Parameters
    ----------
    successes : float
        Correct trials; an average over seeds need not be whole.
    n : int
        Trials.
    z : float
        Normal quantile of the confidence level.

    Returns
    -------
    (float, float)
        Lower and upper bound.

    References
    ----------
    E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    J. Am. Stat. Assoc. 22, 209-212, 1927.
    """
    if n <= 0:
        raise ValueError(f"n is {n}; an interval needs at least one trial")
    p = successes / n
    scale = 1.0 + z * z / n
    centre = (p + z * z / (2 * n)) / scale
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / scale
    return max(0.0, centre - half), min(1.0, centre + half)


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Summarise each pipeline in one row.

    Parameters
    ----------
    scores : DataFrame
        Scores table.

    Returns
    -------
    DataFrame
        Columns ``pipeline``; ``mean`` and ``std`` of the score over sessions (over folds and
        seeds where there is a single session, then ``spread`` says "folds"); ``n_units``
        sessions; ``accuracy`` over all test trials with its 95 % interval ``accuracy_low``,
        ``accuracy_high`` and the number of different trials ``n_trials``; median ``fit_time`` in
        seconds; ``curvature`` mean and ``curvature_std``, NaN for pipelines that have none;
        ``seed_std``, the standard deviation between the means of single seeds, NaN for one seed.
    """
    rows = []
    for pipeline, own in scores.groupby("pipeline", sort=False):
        units = own.groupby(UNIT)["score"].mean()
        several = len(units) > 1
        spread = units if several else own["score"]
        # Every seed tests the same trials again: they count once in the interval.
        n_trials = _different_trials(own)
        accuracy = float((own["accuracy"] * own["n_test"]).sum() / own["n_test"].sum())
        low, high = wilson_interval(accuracy * n_trials, n_trials)
        fits = own.drop_duplicates(["subject", "fold", "seed", "fit_time"])
        curvatures = fits["curvature"].dropna()
        seeds = own.groupby([*UNIT, "seed"])["score"].mean().groupby(level="seed").mean()
        rows.append(
            {
                "pipeline": pipeline,
                "mean": float(units.mean()),
                "std": float(spread.std(ddof=1)) if len(spread) > 1 else math.nan,
                "spread": "sessions" if several else "folds",
                "n_units": len(units),
                "accuracy": accuracy,
                "accuracy_low": low,
                "accuracy_high": high,
                "n_trials": n_trials,
                "fit_time": float(fits["fit_time"].median()),
                "curvature": float(curvatures.mean()) if len(curvatures) else math.nan,
                "curvature_std": float(curvatures.std(ddof=1)) if len(curvatures) > 1 else math.nan,
                "seed_std": float(seeds.std(ddof=1)) if len(seeds) > 1 else math.nan,
            }
        )
    return pd.DataFrame(rows)


def _different_trials(own: pd.DataFrame) -> int:
    """Count the test trials of a pipeline, each once however often it was tested."""
    if "data_size" in own and not own["data_size"].isna().all():
        # Permutations of a learning curve test overlapping trials: one of them is sure to differ.
        per_session = own.groupby(["seed", *UNIT])["n_test"].max()
        return int(per_session.groupby(level="seed").sum().max())
    return int(own.groupby("seed")["n_test"].sum().max())


def compare(scores: pd.DataFrame, pipeline: str, twin: str) -> Comparison | None:
    """Compare two pipelines on the sessions that both finished.

    Parameters
    ----------
    scores : DataFrame
        Scores table.
    pipeline, twin : str
        Names.

    Returns
    -------
    Comparison or None
        None if there is no common fold.
    """
    both = fold_differences(scores, pipeline, twin)
    if both.empty:
        return None
    by_session = both.groupby(level=UNIT).mean()
    by_subject = by_session.groupby(level="subject").mean()
    clear = by_session[by_session.abs() >= EQUAL]
    return Comparison(
        pipeline=pipeline,
        twin=twin,
        n=len(by_session),
        mean=float(by_session.mean()),
        std=float(by_session.std(ddof=1)) if len(by_session) > 1 else math.nan,
        wins=int((clear > 0).sum()),
        losses=int((clear < 0).sum()),
        over_sessions=signed_rank(by_session.to_numpy()),
        over_subjects=signed_rank(by_subject.to_numpy()),
    )


def format_number(value: float, digits: int = 3) -> str:
    """Write a number, or a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def plus_minus(mean: float, std: float, digits: int = 3) -> str:
    """Write ``mean ± std``, leaving out what is not there."""
    if math.isnan(std):
        return format_number(mean, digits)
    return f"{format_number(mean, digits)} ± {format_number(std, digits)}"


def summary_rows(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of the summary for people.

    Parameters
    ----------
    table : DataFrame
        From :func:`summarise`.

    Returns
    -------
    (list of str, list of list of str)
        Header and rows.
    """
    header = ["pipeline", "mean ± std", "accuracy [95 % CI]", "fit (s)", "learned c"]
    rows = []
    for row in table.to_dict("records"):
        low, high = row["accuracy_low"], row["accuracy_high"]
        rows.append(
            [
                str(row["pipeline"]),
                plus_minus(row["mean"], row["std"]),
                f"{row['accuracy']:.3f} [{low:.2f}, {high:.2f}]",
                f"{row['fit_time']:.2f}",
                plus_minus(row["curvature"], row["curvature_std"], 2),
            ]
        )
    return header, rows


def measure_rows(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of agreement, calibration and time for people.

    Parameters
    ----------
    table : DataFrame
        ``measures.csv``; pipelines without predictions are left out.

    Returns
    -------
    (list of str, list of list of str)
        Header and rows.
    """
    shown = [
        ("balanced_accuracy", "balanced accuracy"),
        ("kappa", "kappa"),
        ("macro_f1", "macro F1"),
        ("ece", "ECE"),
        ("brier", "Brier"),
        ("nll", "NLL"),
        ("predict_time", "predict (s)"),
    ]
    known = table[table["kappa"].notna()] if "kappa" in table else table[:0]
    return _named_rows(known, [(column, title) for column, title in shown if column in known])


def space_rows(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of the learned spaces for people.

    Parameters
    ----------
    table : DataFrame
        ``measures.csv``; pipelines without embeddings are left out.

    Returns
    -------
    (list of str, list of list of str)
        Header and rows.
    """
    known = table[table["delta_rel"].notna()].assign(dim=lambda t: t["dim"].astype(int))
    return _named_rows(
        known,
        [
            ("dim", "d"),
            ("curvature", "learned c"),
            ("radius", "√c radius"),
            ("radius_95", "95 %"),
            ("delta_rel", "δ"),
            ("delta_rel_flat", "δ without c"),
            ("delta_rel_random", "δ, random directions"),
            ("delta_rel_random_flat", "δ of these without c"),
        ],
    )


def learning_curve_rows(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of a learning curve for people: one column a training set size."""
    sizes = sorted(table["data_size"].unique())
    cells = {
        (row["pipeline"], row["data_size"]): plus_minus(row["mean"], row["std"])
        for row in table.to_dict("records")
    }
    names = list(dict.fromkeys(table["pipeline"]))
    rows = [[str(name), *(cells.get((name, size), "–") for size in sizes)] for name in names]
    return ["pipeline", *(f"{size:.0f}" for size in sizes)], rows


def _named_rows(
    table: pd.DataFrame, columns: Sequence[tuple[str, str]]
) -> tuple[list[str], list[list[str]]]:
    rows = []
    for row in table.to_dict("records"):
        values = [row[column] for column, _ in columns]
        cells = [str(v) if isinstance(v, int) else format_number(float(v)) for v in values]
        rows.append([str(row["pipeline"]), *cells])
    return ["pipeline", *(title for _, title in columns)], rows


def unit_rows(scores: pd.DataFrame, unit: str = "subject") -> tuple[list[str], list[list[str]]]:
    """Return header and cells of the scores by subject and session, or by seed."""
    if unit == "seed":
        order = list(dict.fromkeys(scores["pipeline"]))
        seeds = scores.pivot_table(index="seed", columns="pipeline", values="score")[order]
        return ["seed", *order], [
            [str(seed), *(format_number(float(v)) for v in values)]
            for seed, values in zip(seeds.index, seeds.to_numpy(), strict=True)
        ]
    table = unit_scores(scores)
    header = ["subject", "session", *map(str, table.columns)]
    rows = [
        [str(subject), str(session), *(format_number(float(v)) for v in values)]
        for (subject, session), values in zip(table.index, table.to_numpy(), strict=True)
    ]
    return header, rows


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table."""
    lines = []
    for line in (header, ["---"] * len(header), *rows):
        cells = [cell.replace("|", "\\|") for cell in line]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
