"""What a run's scores say: summary tables, paired differences and how sure one can be.

Pure functions of the scores table (see :data:`hypeeg.experiments.gather.SCORE_COLUMNS`).  The unit
of comparison is one session of one subject: folds and seeds are averaged first, because they
share trials and are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

UNIT = ["subject", "session"]

MIN_PAIRS = 6
"""With fewer pairs not even a clean sweep reaches p < 0.05 in a two-sided signed-rank test."""


@dataclass(frozen=True)
class SignedRank:
    """A two-sided Wilcoxon signed-rank test.

    Attributes
    ----------
    n : int
        Pairs that differ; equal ones say nothing.
    p : float or None
        None if there are too few pairs.
    """

    n: int
    p: float | None

    @property
    def text(self) -> str:
        """The p value, or why there is none."""
        if self.p is None:
            return f"n too small ({self.n} < {MIN_PAIRS})"
        return f"p {'< 0.001' if self.p < 1e-3 else f'= {self.p:.2g}'} (n = {self.n})"


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
    over_sessions, over_subjects : Test
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
        seconds; ``curvature`` mean and ``curvature_std``, NaN for pipelines that have none.
    """
    rows = []
    for pipeline, own in scores.groupby("pipeline", sort=False):
        units = own.groupby(UNIT)["score"].mean()
        several = len(units) > 1
        spread = units if several else own["score"]
        # Every seed tests the same trials again: they count once in the interval.
        trials = own.groupby("seed")["n_test"].sum()
        n_trials = int(trials.max())
        accuracy = float((own["accuracy"] * own["n_test"]).sum() / own["n_test"].sum())
        low, high = wilson_interval(accuracy * n_trials, n_trials)
        fits = own.drop_duplicates(["subject", "fold", "seed", "fit_time"])
        curvatures = fits["curvature"].dropna()
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
            }
        )
    return pd.DataFrame(rows)


def signed_rank(differences: Sequence[float] | np.ndarray) -> SignedRank:
    """Test whether paired differences are centred on zero.

    Parameters
    ----------
    differences : sequence of float
        One a pair.

    Returns
    -------
    SignedRank
        Without a p value if fewer than `MIN_PAIRS` pairs differ.

    References
    ----------
    F. Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1, 80-83, 1945.
    """
    values = np.asarray(differences, dtype=float)
    # Averages of the same scores in another order differ in their last digits: that is no win.
    values = np.where(np.abs(values) < 1e-12, 0.0, values)
    n = int(np.count_nonzero(values))
    if n < MIN_PAIRS:
        return SignedRank(n, None)
    from scipy.stats import wilcoxon

    return SignedRank(n, float(wilcoxon(values[values != 0]).pvalue))


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
    keys = [*UNIT, "fold", "seed"]
    own = scores[scores["pipeline"] == pipeline].set_index(keys)["score"]
    other = scores[scores["pipeline"] == twin].set_index(keys)["score"]
    # A fold that one of them failed must not weigh on the other's mean.
    both = (own - other).dropna()
    if both.empty:
        return None
    by_session = both.groupby(level=UNIT).mean()
    by_subject = by_session.groupby(level="subject").mean()
    clear = by_session[by_session.abs() >= 1e-12]
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


def cautions(scores: pd.DataFrame, scoring: str) -> list[str]:
    """Say what keeps these scores from meaning more than they do.

    Parameters
    ----------
    scores : DataFrame
        Scores table.
    scoring : str
        Name of the score.

    Returns
    -------
    list of str
        Sentences; empty for large data.
    """
    if scores.empty:
        return []
    found = []
    table = summarise(scores)
    n_trials = int(table["n_trials"].max())
    n_classes = int(scores["n_classes"].max())
    chance = 1.0 / n_classes
    worst = math.sqrt(0.25 / n_trials)
    if n_trials < 500:
        found.append(
            f"{n_trials} different test trials: the standard error of an accuracy is up to "
            f"{worst:.3f}, so differences below about {2 * worst:.2f} mean little."
        )
    if len(unit_scores(scores)) == 1:
        found.append(
            "One session of one subject: the ± is over folds that share training trials; it says "
            "nothing about other sessions or people."
        )
    if scores["seed"].nunique() > 1:
        by_seed = scores.groupby(["pipeline", "seed"], sort=False)["score"].mean()
        moving = [
            f"{name} {', '.join(f'{mean:.3f}' for mean in means)}"
            for name, means in by_seed.groupby(level="pipeline", sort=False)
            if means.max() - means.min() >= 5e-4
        ]
        if moving:
            found.append(
                f"By seed: {'; '.join(moving)}. A seed starts every fold alike, so no test over "
                "subjects or sessions speaks of other seeds."
            )
    also = " and for roc_auc" if scoring == "roc_auc" else ""
    found.append(f"Chance is {chance:.2f} for the accuracy of {n_classes} balanced classes{also}.")
    return found


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


def comparison_rows(comparisons: Sequence[Comparison]) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of the paired differences for people."""
    header = [
        "difference",
        "mean ± std",
        "better / worse / equal",
        "Wilcoxon, sessions",
        "Wilcoxon, subjects",
    ]
    rows = [
        [
            f"{c.pipeline} − {c.twin}",
            plus_minus(c.mean, c.std).replace("-", "−"),
            f"{c.wins} / {c.losses} / {c.n - c.wins - c.losses}",
            c.over_sessions.text,
            c.over_subjects.text,
        ]
        for c in comparisons
    ]
    return header, rows


def comparison_lines(comparison: Comparison, scoring: str) -> list[str]:
    """Say a paired difference in sentences, for narrow screens."""
    c = comparison
    difference = plus_minus(c.mean, c.std).replace("-", "−")
    units = "session" if c.n == 1 else "sessions"
    if c.over_sessions.p is None and c.over_subjects.p is None:
        test = f"n too small ({c.over_sessions.n} unequal pairs, {MIN_PAIRS} needed)"
    else:
        test = f"over sessions {c.over_sessions.text}, over subjects {c.over_subjects.text}"
    return [
        f"{c.pipeline} − {c.twin} on the same folds: {scoring} {difference}",
        f"  better in {c.wins}, worse in {c.losses} of {c.n} {units}",
        f"  Wilcoxon signed-rank test: {test}",
    ]


def unit_rows(scores: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of the scores by subject and session."""
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
