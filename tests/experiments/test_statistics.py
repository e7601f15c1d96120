"""Tests, corrections, effect sizes and intervals against scipy, MOABB, written-out definitions."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hypeeg.experiments import statistics as st
from hypeeg.experiments.intervals import bayesian_signed_rank, bootstrap_interval


def holm_written_out(p: list[float]) -> list[float]:
    """Holm as R's p.adjust states it: cumulative maximum of (m - i + 1) p_(i)."""
    m = len(p)
    rank = sorted(range(m), key=lambda i: p[i])
    adjusted, running = [0.0] * m, 0.0
    for i, index in enumerate(rank):
        running = max(running, (m - i) * p[index])
        adjusted[index] = min(1.0, running)
    return adjusted


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_that_of_its_definition(seed: int) -> None:
    p = (np.random.default_rng(seed).random(2 + seed * 2) ** 3).tolist()
    assert st.holm(p).tolist() == pytest.approx(holm_written_out(p), abs=1e-15)


def test_holm_worked_example_and_ties() -> None:
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert st.holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert st.holm([0.02, 0.02]).tolist() == pytest.approx([0.04, 0.04])
    assert st.holm([0.9, 0.8]).tolist() == [1.0, 1.0]


def test_comparisons_without_a_test_are_no_members_of_the_family() -> None:
    adjusted = st.holm([math.nan, 0.01, 0.03])
    assert math.isnan(adjusted[0])
    assert adjusted[1:].tolist() == pytest.approx([0.02, 0.03])
    assert np.isnan(st.holm([math.nan])).all()
    assert len(st.holm([])) == 0


@pytest.mark.parametrize("n", [6, 9, 25])
def test_smallest_p_is_that_of_a_clean_sweep(n: int) -> None:
    assert st.smallest_p(n) == pytest.approx(stats.wilcoxon(np.arange(1.0, n + 1)).pvalue)


def test_rank_biserial_is_the_share_of_pairs_of_pairs() -> None:
    d = np.random.default_rng(0).normal(0.3, 1, 15)
    result = stats.wilcoxon(d, alternative="greater")  # statistic: rank sum of the positive ones
    total = 15 * 16 / 2
    assert st.rank_biserial(d) == pytest.approx(2 * result.statistic / total - 1)
    assert st.rank_biserial(-d) == pytest.approx(-st.rank_biserial(d))
    assert st.rank_biserial([0.1, 0.2, 0.0]) == 1.0
    assert math.isnan(st.rank_biserial([0.0, 0.0]))


def test_dz_is_the_smd_of_moabb() -> None:
    meta = pytest.importorskip("moabb.analysis.meta_analysis")
    rng = np.random.default_rng(0)
    for own in (rng.random(9), rng.random(2), np.full(5, 0.5)):
        table = pd.DataFrame({"a": own, "b": rng.random(len(own))})
        expected = meta.compute_effect(table)[0, 1]
        assert st.cohen_dz((table["a"] - table["b"]).to_numpy()) == pytest.approx(expected)
    assert st.cohen_dz([0.0, 0.0]) == 0.0
    assert st.cohen_dz([-0.1, -0.1]) == -math.inf
    assert math.isnan(st.cohen_dz([0.1]))


def test_unfinished_pairs_are_refused() -> None:
    for function in (st.signed_rank, st.rank_biserial, st.cohen_dz):
        with pytest.raises(ValueError, match="drop unfinished pairs"):
            function([0.1, math.nan])


def table_of(
    rng: np.random.Generator, n: int, m: int, mean: float, subject: float, seed: float, noise: float
) -> np.ndarray:
    """Differences with planted variance components."""
    return (
        mean
        + subject * rng.standard_normal((n, 1))
        + seed * rng.standard_normal((1, m))
        + noise * rng.standard_normal((n, m))
    )


def test_components_are_found_again() -> None:
    rng = np.random.default_rng(0)
    found = [st.crossed_test(table_of(rng, 40, 30, 0.1, 0.03, 0.02, 0.01)) for _ in range(200)]
    means = np.mean([[f.mean, f.subject_std, f.seed_std, f.residual_std] for f in found], axis=0)
    assert means == pytest.approx([0.1, 0.03, 0.02, 0.01], abs=0.002)


def test_mean_squares_are_those_of_the_analysis_of_variance() -> None:
    values = table_of(np.random.default_rng(1), 7, 4, 0.05, 0.0, 0.2, 0.05)
    n, m = values.shape
    # Sums of squares as differences of residual sums of nested least-squares fits.
    rows, columns = np.eye(n)[np.repeat(range(n), m)], np.eye(m)[np.tile(range(m), n)]

    def rss(*designs: np.ndarray) -> float:
        design = np.hstack([np.ones((n * m, 1)), *designs])
        fit = design @ np.linalg.lstsq(design, values.ravel(), rcond=None)[0]
        return float(((values.ravel() - fit) ** 2).sum())

    both = rss(rows, columns)
    ms_subject = (rss(columns) - both) / (n - 1)
    ms_seed = (rss(rows) - both) / (m - 1)
    ms_residual = both / ((n - 1) * (m - 1))
    error = ms_subject + ms_seed - ms_residual
    df = error**2 / (
        ms_subject**2 / (n - 1) + ms_seed**2 / (m - 1) + ms_residual**2 / (n - 1) / (m - 1)
    )
    test = st.crossed_test(values)
    assert test is not None
    assert test.df == pytest.approx(df)
    assert test.seed_std == pytest.approx(math.sqrt((ms_seed - ms_residual) / n))
    expected = 2 * stats.t.sf(abs(values.mean()) / math.sqrt(error / (n * m)), df)
    assert test.p == pytest.approx(expected)


def test_where_seeds_move_nothing_it_is_the_t_test_over_subjects() -> None:
    by_subject = np.random.default_rng(0).normal(0.02, 0.05, 9)
    test = st.crossed_test(np.tile(by_subject[:, None], (1, 3)))
    assert test is not None
    assert test.p == pytest.approx(stats.ttest_1samp(by_subject, 0).pvalue)
    assert test.seed_std == 0.0
    assert st.crossed_test(by_subject[:, None]) is None
    assert st.crossed_test(np.where(np.eye(9, 3) == 1, math.nan, 0.1)) is None


def test_it_holds_its_level_where_a_test_over_subjects_does_not() -> None:
    """No difference over all seeds, but each seed shifts all subjects alike."""
    rng = np.random.default_rng(0)
    tables = [table_of(rng, 10, 5, 0.0, 0.02, 0.05, 0.01) for _ in range(400)]
    crossed = np.mean([st.crossed_test(t).p < 0.05 for t in tables])
    subjects = np.mean([stats.ttest_1samp(t.mean(axis=1), 0).pvalue < 0.05 for t in tables])
    assert crossed < 0.09
    assert subjects > 0.3


def test_interval_covers_the_mean_over_subjects_and_seeds() -> None:
    rng = np.random.default_rng(0)
    covered, narrow = [], []
    for _ in range(300):
        table = table_of(rng, 8, 5, 0.1, 0.03, 0.03, 0.01)
        low, high = bootstrap_interval(table, n_samples=600)
        covered.append(low <= 0.1 <= high)
        # Seeds as given: what the second factor is for.
        low, high = bootstrap_interval(table.mean(axis=1), n_samples=600)
        narrow.append(low <= 0.1 <= high)
    assert 0.9 < np.mean(covered) <= 1.0
    assert np.mean(narrow) < np.mean(covered) - 0.1


def test_interval_over_subjects_alone_is_about_that_of_students_t() -> None:
    d = np.random.default_rng(3).normal(0.05, 0.1, 12)
    expected = stats.t.interval(0.95, 11, d.mean(), stats.sem(d))
    assert bootstrap_interval(d) == pytest.approx(expected, abs=0.01)
    assert bootstrap_interval(d) == bootstrap_interval(d[:, None])
    assert bootstrap_interval(d) == bootstrap_interval(np.tile(d[:, None], (1, 3)))


def test_interval_says_when_it_cannot_be() -> None:
    assert np.isnan(bootstrap_interval(np.arange(5.0))).all()
    with pytest.raises(ValueError, match="no finished seed"):
        bootstrap_interval(np.full((8, 2), math.nan))
    with pytest.raises(ValueError, match="between 0 and 1"):
        bootstrap_interval(np.arange(8.0), level=95)
    holes = np.random.default_rng(0).random((8, 3))
    holes[0, :2] = math.nan
    assert np.isfinite(bootstrap_interval(holes)).all()


def posterior_written_out(d: np.ndarray, rope: float, n: int) -> list[float]:
    """Benavoli et al. (2017), section 4.2, sample by sample and pair by pair."""
    rng = np.random.default_rng(5)
    z = [0.0, *d]
    wins = np.zeros(3)
    for w in rng.dirichlet([0.5] + [1.0] * len(d), n):
        theta = np.zeros(3)
        for i, a in enumerate(z):
            for j, b in enumerate(z):
                side = 0 if a + b < -2 * rope else 2 if a + b > 2 * rope else 1
                theta[side] += w[i] * w[j]
        wins[theta.argmax()] += 1
    return (wins / n).tolist()


@pytest.mark.parametrize(("mean", "rope"), [(0.02, 0.02), (0.0, 0.03), (-0.03, 0.01)])
def test_posterior_is_that_of_its_definition(mean: float, rope: float) -> None:
    d = np.random.default_rng(1).normal(mean, 0.03, 8)
    found = bayesian_signed_rank(d, rope)
    expected = posterior_written_out(d, rope, 1500)
    assert [found.worse, found.equivalent, found.better] == pytest.approx(expected, abs=0.04)
    mirrored = bayesian_signed_rank(-d, rope)
    assert mirrored.worse == pytest.approx(found.better, abs=1e-12)


def test_posterior_of_clear_cases() -> None:
    same = bayesian_signed_rank(np.zeros(8), 0.02)
    assert same.equivalent == pytest.approx(1.0)
    assert bayesian_signed_rank(np.full(8, 0.1), 0.02).better > 0.99
    tied = bayesian_signed_rank(np.zeros(8), 0.0)
    assert (tied.worse, tied.better) == (pytest.approx(0.5), pytest.approx(0.5))
    with pytest.raises(ValueError, match="drop unfinished pairs"):
        bayesian_signed_rank(np.array([math.nan]))
