"""The planned comparisons of a run: who is ahead, by how much, and how sure one can be.

Families of comparisons are planned by a run file, before any score is seen, and each is
corrected as a whole (Holm): ``twin``, every hyperbolic network minus its Euclidean twin, which is
the question a run asks; ``variant``, every variant in an ablation minus what it varies; and
``baseline``, every other network minus every classical pipeline.  The unit is a subject: sessions,
folds and seeds are averaged first.  Runs without people, of images or taxonomies, have seeds for
units: what they find speaks of new seeds, not of new data.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from hypeeg.eeg.pipeline_spec import PipelineSpec
from hypeeg.experiments.intervals import ROPE, bayesian_signed_rank, bootstrap_interval
from hypeeg.experiments.statistics import (
    EQUAL,
    MIN_PAIRS,
    cohen_dz,
    crossed_test,
    holm,
    p_text,
    rank_biserial,
    signed_rank,
    smallest_p,
)

ALPHA = 0.05
SURE = 0.95
"""Posterior probability from which two pipelines are called equivalent."""

Family = Literal["twin", "variant", "baseline"]
Unit = Literal["subject", "seed"]
"""What one difference belongs to: a person, or a seed where a run has no people."""

_OVER_PEOPLE = {"within_session", "cross_session", "cross_subject"}


class Planned(NamedTuple):
    """A comparison a run file asks for: `pipeline` minus `other`."""

    pipeline: str
    other: str
    family: Family


@dataclass(frozen=True)
class PairedResult:
    """What a planned comparison found; one row of ``comparisons.csv``.

    Attributes
    ----------
    pipeline, other : str
        Names; differences are `pipeline` minus `other` on folds that both finished.
    family : {"twin", "variant", "baseline"}
        Comparisons that are corrected together.
    n_subjects, n_sessions, n_seeds : int
        What the differences are over.  Where the unit is a seed, `n_subjects` counts these, and
        "subject" below means seed.
    mean, low, high : float
        Mean over subjects with its 95 % bootstrap interval over subjects and seeds, NaN for
        fewer than six subjects.
    wins, losses : int
        Subjects in which `pipeline` is ahead, and behind.
    p, p_holm : float
        Two-sided Wilcoxon signed-rank test over subjects, as it is and corrected over the family;
        NaN where too few subjects differ.
    family_size : int
        Tests in the family.
    rank_biserial, smd : float
        Effect sizes: matched-pairs rank-biserial correlation, and Cohen's d_z, which is MOABB's
        standardised mean difference.
    p_seeds : float
        Test of the mean over new subjects and new seeds; NaN with one seed.
    subject_std, seed_std, residual_std : float
        Variance components of the differences as standard deviations.
    p_worse, p_equivalent, p_better : float
        Bayesian signed-rank test with the region of practical equivalence `rope`.
    rope : float
        Its half width.
    statement : str
        All this in a sentence.
    unit : {"subject", "seed"}
        What one difference belongs to.
    """

    pipeline: str
    other: str
    family: Family
    n_subjects: int
    n_sessions: int
    n_seeds: int
    mean: float
    low: float
    high: float
    wins: int
    losses: int
    p: float
    p_holm: float
    family_size: int
    rank_biserial: float
    smd: float
    p_seeds: float
    subject_std: float
    seed_std: float
    residual_std: float
    p_worse: float
    p_equivalent: float
    p_better: float
    rope: float
    statement: str = ""
    unit: Unit = "subject"


def planned_comparisons(pipelines: Sequence[PipelineSpec]) -> list[Planned]:
    """Return the comparisons a run file plans.

    Parameters
    ----------
    pipelines : sequence of PipelineSpec
        Its pipelines.

    Returns
    -------
    list of Planned
        First each network minus its twin, then each variant minus what it varies, then each
        other network minus each classical pipeline, in the order of the file.
    """
    twins = [Planned(p.twin_of, p.name, "twin") for p in pipelines if p.twin_of is not None]
    variants = [
        Planned(p.name, p.variant_of, "variant") for p in pipelines if p.variant_of is not None
    ]
    networks = [
        p.name
        for p in pipelines
        if not p.is_classical and p.twin_of is None and p.variant_of is None
    ]
    classical = [p.name for p in pipelines if p.is_classical]
    baselines = [Planned(n, c, "baseline") for n in networks for c in classical]
    return [*twins, *variants, *baselines]


def unit_of(evaluation: str) -> Unit:
    """Return what one difference belongs to in an evaluation of a kind."""
    return "subject" if evaluation in _OVER_PEOPLE else "seed"


def fold_differences(scores: pd.DataFrame, pipeline: str, other: str) -> pd.Series:
    """Subtract scores fold by fold.

    Parameters
    ----------
    scores : DataFrame
        Scores table.
    pipeline, other : str
        Names.

    Returns
    -------
    Series
        `pipeline` minus `other`, indexed by subject, session, fold, seed and, in learning curves,
        data size and permutation.  A fold that one of them failed is left out: it must not weigh
        on the other's mean.
    """
    keys = ["subject", "session", "fold", "seed"]
    keys += [key for key in ("data_size", "permutation") if key in scores]
    # Runs without a learning curve may carry empty columns; NaN keys would match nothing.
    keys = [key for key in keys if not scores[key].isna().all()]
    own, against = (
        scores[scores["pipeline"] == name].set_index(keys)["score"] for name in (pipeline, other)
    )
    return (own - against).dropna()


def difference_table(scores: pd.DataFrame, pipeline: str, other: str) -> pd.DataFrame:
    """Return mean differences, one row a subject and one column a seed (NaN: not finished)."""
    both = fold_differences(scores, pipeline, other)
    by_session = both.groupby(level=["subject", "session", "seed"]).mean()
    return by_session.groupby(level=["subject", "seed"]).mean().unstack("seed")


def compare_all(
    scores: pd.DataFrame,
    planned: Iterable[Planned],
    scoring: str,
    rope: float = ROPE,
    unit: Unit = "subject",
) -> list[PairedResult]:
    """Carry out planned comparisons.

    Parameters
    ----------
    scores : DataFrame
        Scores table.
    planned : iterable of Planned
        See :func:`planned_comparisons`.
    scoring : str
        Name of the score, for the sentences.
    rope : float
        Half width of the region of practical equivalence, in units of the score.
    unit : {"subject", "seed"}
        What the differences are averaged to before they are compared; see :func:`unit_of`.

    Returns
    -------
    list of PairedResult
        Without those that have no common fold.
    """
    found = [r for plan in planned if (r := _compare(scores, plan, rope, unit)) is not None]
    by_family: dict[str, list[int]] = {}
    for index, result in enumerate(found):
        by_family.setdefault(result.family, []).append(index)
    for members in by_family.values():
        adjusted = holm([found[index].p for index in members])
        size = int(np.count_nonzero(~np.isnan(adjusted)))
        for index, p in zip(members, adjusted, strict=True):
            found[index] = replace(found[index], p_holm=float(p), family_size=size)
    return [replace(result, statement=state(result, scoring)) for result in found]


def _compare(scores: pd.DataFrame, plan: Planned, rope: float, unit: Unit) -> PairedResult | None:
    table = difference_table(scores, plan.pipeline, plan.other)
    if table.empty:
        return None
    if unit == "seed":
        table = table.mean().to_frame()
    cells = table.to_numpy(dtype=float)
    by_subject = np.nanmean(cells, axis=1)
    test = signed_rank(by_subject)
    low, high = bootstrap_interval(cells)
    crossed = crossed_test(cells)
    posterior = bayesian_signed_rank(by_subject, rope)
    differences = fold_differences(scores, plan.pipeline, plan.other)
    missing = math.nan
    return PairedResult(
        *plan,
        n_subjects=len(by_subject),
        n_sessions=int(differences.groupby(level=["subject", "session"]).ngroups),
        n_seeds=cells.shape[1],
        mean=float(by_subject.mean()),
        low=low,
        high=high,
        wins=int((by_subject >= EQUAL).sum()),
        losses=int((by_subject <= -EQUAL).sum()),
        p=missing if test.p is None else test.p,
        p_holm=missing,
        family_size=0,
        rank_biserial=rank_biserial(by_subject),
        smd=cohen_dz(by_subject),
        p_seeds=missing if crossed is None else crossed.p,
        subject_std=missing if crossed is None else crossed.subject_std,
        seed_std=missing if crossed is None else crossed.seed_std,
        residual_std=missing if crossed is None else crossed.residual_std,
        p_worse=posterior.worse,
        p_equivalent=posterior.equivalent,
        p_better=posterior.better,
        rope=rope,
        unit=unit,
    )


def state(result: PairedResult, scoring: str) -> str:
    """Say what a comparison shows, no more and no less.

    Parameters
    ----------
    result : PairedResult
        With `p_holm` and `family_size` filled in.
    scoring : str
        Name of the score.

    Returns
    -------
    str
        It begins with the verdict: ahead, behind, equivalent, no evidence of a difference, or too
        few subjects to tell.
    """
    r = result
    pair = f"{r.pipeline} − {r.other}"
    size = f"{scoring} {signed(r.mean)}{interval_text(r.low, r.high)}"
    over = f"over {r.n_subjects} {r.unit}{'s' if r.n_subjects > 1 else ''}"
    if r.n_subjects < 2:
        return f"{pair}: too few {r.unit}s to tell; {size} in one {r.unit} says nothing of others."
    if r.p_holm < ALPHA:
        return _found(r, scoring, over)
    if r.n_subjects >= MIN_PAIRS and r.p_equivalent >= SURE:
        return (
            f"{pair}: equivalent within ±{r.rope:g} with probability {r.p_equivalent:.2f} {over}; "
            f"{size}."
        )
    n = r.wins + r.losses
    comparisons = max(1, r.family_size)
    if smallest_p(n) * comparisons >= ALPHA:
        several = f" in {comparisons} comparisons" if comparisons > 1 else ""
        least = min(1.0, smallest_p(n) * comparisons)
        return (
            f"{pair}: too few {r.unit}s to tell; {size} {over}, of which {n} differ, and even a "
            f"clean sweep of these{several} would give {p_text(least, 'p_Holm')}."
        )
    return (
        f"{pair}: no evidence of a difference; {size} {over} ({p_text(r.p_holm, 'p_Holm')}, "
        f"{r.wins} better, {r.losses} worse). This is not evidence of none: the probability of a "
        f"difference below {r.rope:g} is {r.p_equivalent:.2f}."
    )


def _found(r: PairedResult, scoring: str, over: str) -> str:
    # The test ranks, the mean does not: with a few large losses they can disagree.
    side = "ahead" if r.rank_biserial > 0 else "behind"
    text = (
        f"{r.pipeline} − {r.other}: {side} by {abs(r.mean):.3f} {scoring}"
        f"{interval_text(*sorted((abs(r.low), abs(r.high))))} {over}"
    )
    if (r.mean > 0) != (r.rank_biserial > 0) or r.low <= 0 <= r.high:
        text = (
            f"{r.pipeline} − {r.other}: {side} in most {r.unit}s, but the mean difference is not "
            f"clear: {scoring} {signed(r.mean)}{interval_text(r.low, r.high)} {over}"
        )
    text += (
        f" ({p_text(r.p_holm, 'p_Holm')}, {r.wins} better, {r.losses} worse, rank-biserial "
        f"correlation {signed(r.rank_biserial, 2)})."
    )
    if r.p_seeds >= ALPHA:
        text += f" New seeds may undo it: over subjects and seeds {p_text(r.p_seeds)}."
    elif r.n_seeds == 1 and r.unit == "subject":
        text += " One seed: it speaks of the networks of that seed."
    if r.p_equivalent > 0.5:
        text += (
            f" It is small: below {r.rope:g} with probability {r.p_equivalent:.2f}, so it may not "
            "matter."
        )
    return text


def signed(value: float, digits: int = 3) -> str:
    """Write a number with its sign (a true minus)."""
    return f"{value:+.{digits}f}".replace("-", "−")


def interval_text(low: float, high: float) -> str:
    """Write a 95 % interval, or nothing where there is none."""
    if math.isnan(low):
        return ""
    return f" [{low:.3f}, {high:.3f}]".replace("-", "−")


def comparison_frame(results: Iterable[PairedResult]) -> pd.DataFrame:
    """Return the content of ``comparisons.csv``: one row a comparison, fields of `PairedResult`."""
    return pd.DataFrame([asdict(result) for result in results])


def effect_rows(results: Sequence[PairedResult]) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of the comparisons for people."""
    header = ["difference", "mean [95 %]", "better / worse / equal", "p", "p_Holm"]
    header += ["rank-biserial", "SMD", f"P(within ±{results[0].rope:g})", "std of seeds"]
    return header, [_row(r) for r in results]


def _row(r: PairedResult) -> list[str]:
    values: list[Any] = [
        f"{r.pipeline} − {r.other}",
        f"{signed(r.mean)}{interval_text(r.low, r.high)}",
        f"{r.wins} / {r.losses} / {r.n_subjects - r.wins - r.losses}",
        _number(r.p, 2, "g"),
        _number(r.p_holm, 2, "g"),
        _number(r.rank_biserial, 2),
        _number(r.smd, 2),
        _number(r.p_equivalent, 2),
        _number(r.seed_std, 3),
    ]
    return values


def _number(value: float, digits: int, kind: str = "f") -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}{kind}}".replace("-", "−")
