"""Tests, effect sizes and corrections for paired differences, on plain arrays.

A difference belongs to one subject unless said otherwise: sessions, folds and seeds of a subject
share data and are averaged before anything here is asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIN_PAIRS = 6
"""With fewer pairs not even a clean sweep reaches p < 0.05 in a two-sided signed-rank test."""

EQUAL = 1e-12
"""Averages of the same scores in another order differ in their last digits: that is no win."""

Values = Sequence[float] | np.ndarray


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
        return f"{p_text(self.p)} (n = {self.n})"


@dataclass(frozen=True)
class CrossedTest:
    """A test of a mean difference that speaks of other subjects **and** other seeds.

    Attributes
    ----------
    mean : float
        Of all cells.
    subject_std, seed_std, residual_std : float
        Square roots of the variance components: of subjects, of seeds (what a seed does to all
        subjects alike), and of the two together with noise.
    df : float
        Degrees of freedom (Satterthwaite).
    p : float
        Two-sided.
    """

    mean: float
    subject_std: float
    seed_std: float
    residual_std: float
    df: float
    p: float


def p_text(p: float, name: str = "p") -> str:
    """Write a p value for people."""
    return f"{name} {'< 0.001' if p < 1e-3 else f'= {p:.2g}'}"


def _differences(values: Values) -> np.ndarray:
    found = np.asarray(values, dtype=float)
    if found.ndim != 1 or not np.isfinite(found).all():
        raise ValueError(
            f"differences must be one finite number a pair, got shape {found.shape} with "
            f"{int((~np.isfinite(found)).sum())} that are not finite; drop unfinished pairs first"
        )
    return np.where(np.abs(found) < EQUAL, 0.0, found)


def signed_rank(differences: Values) -> SignedRank:
    """Test whether paired differences are centred on zero.

    Parameters
    ----------
    differences : sequence of float
        One a pair.

    Returns
    -------
    SignedRank
        Without a p value if fewer than `MIN_PAIRS` pairs differ.

    Raises
    ------
    ValueError
        If a difference is not finite.

    References
    ----------
    F. Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1, 80-83, 1945.
    """
    values = _differences(differences)
    n = int(np.count_nonzero(values))
    if n < MIN_PAIRS:
        return SignedRank(n, None)
    from scipy.stats import wilcoxon

    return SignedRank(n, float(wilcoxon(values[values != 0]).pvalue))


def smallest_p(n: int) -> float:
    """Return the p value of a clean sweep of `n` pairs: the least a signed-rank test can give."""
    return min(1.0, 2.0 ** (1 - n))


def holm(p_values: Values) -> np.ndarray:
    """Correct the p values of one family of tests.

    Parameters
    ----------
    p_values : sequence of float
        NaN where no test was possible; such a member does not count.

    Returns
    -------
    ndarray of float64
        Adjusted p values in the same order: comparing them with alpha keeps the chance of any
        false finding in the family below alpha.

    References
    ----------
    S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 6, 65-70,
    1979.
    """
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps)) if len(order) else steps
    return adjusted


def rank_biserial(differences: Values) -> float:
    """Return the matched-pairs rank-biserial correlation, the effect size of the Wilcoxon test.

    Parameters
    ----------
    differences : sequence of float
        One a pair; equal pairs are left out as in the test.

    Returns
    -------
    float
        Share of the rank sum in favour minus the share against: 1 if every pair is positive, 0 if
        both sides balance; NaN if no pair differs.

    References
    ----------
    D. S. Kerby, "The simple difference formula", Comprehensive Psychology 3, 1, 2014.
    """
    values = _differences(differences)
    values = values[values != 0]
    if not len(values):
        return math.nan
    from scipy.stats import rankdata

    ranks = rankdata(np.abs(values))
    return float((ranks * np.sign(values)).sum() / ranks.sum())


def cohen_dz(differences: Values) -> float:
    """Return Cohen's d_z, the mean of paired differences in units of their standard deviation.

    This is the standardised mean difference (SMD) of ``moabb.analysis``, its limits included.

    Parameters
    ----------
    differences : sequence of float
        One a pair.

    Returns
    -------
    float
        0 if all are zero, plus or minus infinity if all are the same, NaN for a single pair.

    References
    ----------
    J. Cohen, "Statistical Power Analysis for the Behavioral Sciences", 2nd ed., 1988.
    """
    values = _differences(differences)
    if len(values) < 2:
        return math.nan
    mean = float(values.mean())
    if np.ptp(values) < EQUAL:
        return 0.0 if abs(mean) < EQUAL else math.copysign(math.inf, mean)
    return mean / float(values.std(ddof=1))


def crossed_test(table: np.ndarray) -> CrossedTest | None:
    """Test the mean of a complete table of differences, subjects by seeds, both random.

    A test over subjects alone takes the seeds that were run as given.  Here the error of the mean
    is the sum of what subjects, seeds and both together contribute,
    ``(MS_subject + max(0, MS_seed - MS_residual)) / (n_subjects n_seeds)``, with Satterthwaite's
    degrees of freedom: the analysis of variance of a crossed design without replicates.  Where
    seeds move nothing it is the paired t test over subjects.

    Parameters
    ----------
    table : ndarray, shape (n_subjects, n_seeds)
        Differences.

    Returns
    -------
    CrossedTest or None
        None with fewer than two subjects or seeds, or if a cell is missing (NaN).

    References
    ----------
    F. E. Satterthwaite, "An approximate distribution of estimates of variance components",
    Biometrics Bulletin 2, 110-114, 1946.
    H. H. Clark, "The language-as-fixed-effect fallacy", J. Verbal Learning and Verbal Behavior
    12, 335-359, 1973 (both factors random).
    """
    values = np.asarray(table, dtype=float)
    if values.ndim != 2:
        raise ValueError(f"table must be subjects by seeds, got shape {values.shape}")
    n, m = values.shape
    if n < 2 or m < 2 or not np.isfinite(values).all():
        return None
    from scipy.stats import t

    mean = float(values.mean())
    by_subject, by_seed = values.mean(axis=1) - mean, values.mean(axis=0) - mean
    residual = values - mean - by_subject[:, None] - by_seed
    ms_subject = m * float((by_subject**2).sum()) / (n - 1)
    ms_seed = n * float((by_seed**2).sum()) / (m - 1)
    ms_residual = float((residual**2).sum()) / ((n - 1) * (m - 1))
    error, df = ms_subject, float(n - 1)
    if ms_seed > ms_residual:
        error += ms_seed - ms_residual
        parts = (
            ms_subject**2 / (n - 1),
            ms_seed**2 / (m - 1),
            ms_residual**2 / ((n - 1) * (m - 1)),
        )
        df = error**2 / sum(parts)
    if error <= EQUAL**2:
        p = 1.0 if abs(mean) < EQUAL else 0.0
    else:
        p = float(2 * t.sf(abs(mean) / math.sqrt(error / (n * m)), df))
    return CrossedTest(
        mean=mean,
        subject_std=math.sqrt(max(0.0, ms_subject - ms_residual) / m),
        seed_std=math.sqrt(max(0.0, ms_seed - ms_residual) / n),
        residual_std=math.sqrt(ms_residual),
        df=df,
        p=p,
    )
