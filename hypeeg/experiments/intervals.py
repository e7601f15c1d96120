"""How large a difference may be: bootstrap over subjects and seeds, Bayesian signed-rank test."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hypeeg.experiments.statistics import MIN_PAIRS

ROPE = 0.02
"""Half width of the region of practical equivalence: smaller differences of a score are no news."""

N_BOOTSTRAP = 10_000
N_POSTERIOR = 20_000


@dataclass(frozen=True)
class Posterior:
    """Probabilities of a Bayesian signed-rank test; they sum to 1.

    Attributes
    ----------
    worse, equivalent, better : float
        That the difference lies below, within and above the region of practical equivalence.
    """

    worse: float
    equivalent: float
    better: float


def bootstrap_interval(
    table: np.ndarray,
    level: float = 0.95,
    n_samples: int = N_BOOTSTRAP,
    random_state: int = 0,
) -> tuple[float, float]:
    """Return a bootstrap interval of the mean difference over subjects and seeds.

    Subjects and seeds are drawn anew with replacement, each on its own, and a cell weighs as often
    as its row times its column was drawn: seeds are crossed with subjects, because the same seed
    starts the networks of all of them.  A subject counts once however many seeds it finished.
    Percentiles are widened for small samples: plain ones are those of a normal interval with n in
    place of n - 1 and of Student's t.

    Parameters
    ----------
    table : ndarray, shape (n_subjects, n_seeds) or (n_subjects,)
        Differences; NaN where a cell is missing.
    level : float
        Confidence.
    n_samples : int
        Bootstrap samples.
    random_state : int
        Seed; the same data give the same interval.

    Returns
    -------
    (float, float)
        NaN with fewer than `MIN_PAIRS` subjects: drawing from a handful shows little beyond them.

    Raises
    ------
    ValueError
        If a subject has no seed at all, or `level` is not between 0 and 1.

    References
    ----------
    A. B. Owen, "The pigeonhole bootstrap", Ann. Appl. Stat. 1, 386-411, 2007.
    T. C. Hesterberg, "What teachers should know about the bootstrap", Am. Stat. 69, 371-386, 2015
    (expanded percentiles).
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie between 0 and 1, as in 0.95")
    values = np.asarray(table, dtype=float)
    values = values[:, None] if values.ndim == 1 else values
    present = np.isfinite(values)
    if not present.any(axis=1).all():
        raise ValueError("a subject has no finished seed; drop its row before the bootstrap")
    n, m = values.shape
    if n < MIN_PAIRS:
        return math.nan, math.nan
    from scipy.stats import norm, t

    rng = np.random.default_rng(random_state)
    subjects = rng.multinomial(n, np.full(n, 1 / n), size=n_samples)
    seeds = rng.multinomial(m, np.full(m, 1 / m), size=n_samples)
    weight = seeds @ present.T
    total = seeds @ np.where(present, values, 0.0).T
    # A subject whose seeds were not drawn keeps its own mean: leaving it out would bend the sample.
    own = np.nanmean(values, axis=1)
    means = np.where(weight > 0, total / np.maximum(weight, 1), own)
    samples = (subjects * means).sum(axis=1) / n
    z = math.sqrt(n / (n - 1)) * float(t.ppf((1 + level) / 2, n - 1))
    tail = float(norm.sf(z))
    low, high = np.quantile(samples, [tail, 1 - tail])
    return float(low), float(high)


def bayesian_signed_rank(
    differences: np.ndarray,
    rope: float = ROPE,
    prior: float = 0.5,
    n_samples: int = N_POSTERIOR,
    random_state: int = 0,
) -> Posterior:
    """Return how probable it is that a new pair is better, equivalent or worse.

    The distribution of differences has a Dirichlet process prior of strength `prior` at zero.  For
    each posterior sample the mean of two draws falls below, into or above the region of practical
    equivalence with some probabilities; what is returned is how often each of the three is the
    largest.

    Parameters
    ----------
    differences : ndarray, shape (n,)
        One a subject.
    rope : float
        Half width of the region, in units of the score; 0 leaves only better and worse.
    prior : float
        Weight of the pseudo observation 0.
    n_samples : int
        Posterior samples.
    random_state : int
        Seed.

    Returns
    -------
    Posterior

    Raises
    ------
    ValueError
        Without differences, if one is not finite, or for a negative `rope`.

    References
    ----------
    A. Benavoli, G. Corani, J. Demsar, M. Zaffalon, "Time for a change: a tutorial for comparing
    multiple classifiers through Bayesian analysis", JMLR 18, 1-36, 2017.
    """
    values = np.asarray(differences, dtype=float)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(
            f"differences must be one finite number a subject, got {values.shape} numbers; drop "
            "unfinished pairs first"
        )
    if rope < 0 or prior <= 0:
        raise ValueError(f"rope is {rope} and prior {prior}; rope >= 0 and prior > 0 are needed")
    points = np.concatenate([[0.0], values])
    weights = np.random.default_rng(random_state).dirichlet(
        np.concatenate([[prior], np.ones(len(values))]), n_samples
    )
    sums = points[:, None] + points
    above = _step(sums - 2 * rope)
    below = _step(-sums - 2 * rope)
    p_better = np.einsum("si,ij,sj->s", weights, above, weights, optimize=True)
    p_worse = np.einsum("si,ij,sj->s", weights, below, weights, optimize=True)
    shares = np.stack([p_worse, 1 - p_worse - p_better, p_better], axis=1)
    # On a tie each side gets its part: all differences equal to zero say neither side leads.
    largest = np.isclose(shares, shares.max(axis=1, keepdims=True), rtol=0, atol=1e-9)
    worse, equivalent, better = (largest / largest.sum(axis=1, keepdims=True)).mean(axis=0)
    return Posterior(float(worse), float(equivalent), float(better))


def _step(values: np.ndarray) -> np.ndarray:
    """Return 1 above zero, 0 below it and 1/2 on it."""
    near = np.abs(values) < 1e-12
    return np.where(near, 0.5, (values > 0).astype(float))
