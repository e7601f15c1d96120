from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hypeeg.experiments import report
from hypeeg.experiments.cautions import cautions


def scores_of(values: dict[str, list[list[float]]], n_test: int = 20) -> pd.DataFrame:
    """Scores with one list a session (session 0 of subjects 1, 2, ...), one number a fold."""
    rows = [
        {
            "dataset": "SimulatedMI",
            "subject": subject,
            "session": "0",
            "fold": fold,
            "seed": 0,
            "pipeline": pipeline,
            "score": score,
            "accuracy": score,
            "n_test": n_test,
            "n_classes": 2,
            "fit_time": 1.0 + fold,
            "curvature": 2.0 if pipeline == "h" else math.nan,
        }
        for pipeline, sessions in values.items()
        for subject, folds in enumerate(sessions, start=1)
        for fold, score in enumerate(folds)
    ]
    return pd.DataFrame(rows)


def test_wilcoxon_is_that_of_scipy_on_session_means() -> None:
    rng = np.random.default_rng(0)
    h = rng.uniform(0.5, 1.0, (9, 5))
    e = h - rng.normal(0.03, 0.05, (9, 5))
    scores = scores_of({"h": h.tolist(), "e": e.tolist()})
    result = report.compare(scores, "h", "e")
    assert result is not None
    expected = stats.wilcoxon(h.mean(axis=1), e.mean(axis=1))
    assert result.over_sessions.p == pytest.approx(expected.pvalue, rel=1e-12)
    assert result.over_sessions.n == 9
    difference = h.mean(axis=1) - e.mean(axis=1)
    assert result.mean == pytest.approx(difference.mean())
    assert result.std == pytest.approx(difference.std(ddof=1))
    assert (result.wins, result.losses) == ((difference > 0).sum(), (difference < 0).sum())


@pytest.mark.parametrize(("n", "enough"), [(5, False), (6, True)])
def test_no_p_value_where_none_can_be_small(n: int, enough: bool) -> None:
    test = report.signed_rank(np.arange(1.0, n + 1))
    assert (test.p is not None) == enough
    # The reason for the limit: a clean sweep of five pairs gives p = 1/16.
    assert (stats.wilcoxon(np.arange(1.0, n + 1)).pvalue < 0.05) == enough
    assert ("too small" in test.text) != enough


def test_equal_pairs_do_not_count() -> None:
    values = [0.0, 1e-17, 0.1, 0.2, -0.05, 0.3, 0.15, 0.25]
    test = report.signed_rank(values)
    assert test.n == 6
    assert test.p == pytest.approx(stats.wilcoxon([v for v in values if abs(v) > 1e-9]).pvalue)
    assert report.signed_rank([0.0] * 20).p is None


def test_sessions_of_a_subject_are_one_unit_for_the_test_over_subjects() -> None:
    rng = np.random.default_rng(1)
    first = scores_of({"h": rng.random((7, 2)).tolist(), "e": rng.random((7, 2)).tolist()})
    second = first.assign(session="1", score=rng.random(len(first)))
    both = pd.concat([first, second])
    result = report.compare(both, "h", "e")
    assert result is not None
    assert (result.n, result.over_sessions.n, result.over_subjects.n) == (14, 14, 7)
    wide = both.pivot_table(index="subject", columns="pipeline", values="score")
    assert result.over_subjects.p == pytest.approx(stats.wilcoxon(wide["h"], wide["e"]).pvalue)


def test_a_failed_fold_is_left_out_of_both_sides() -> None:
    scores = scores_of({"h": [[0.9, 0.9, 0.1]], "e": [[0.8, 0.8, 0.9]]})
    without = scores[~((scores["pipeline"] == "h") & (scores["fold"] == 2))]
    result = report.compare(without, "h", "e")
    assert result is not None
    assert result.mean == pytest.approx(0.1)
    assert report.compare(without[without["pipeline"] == "h"], "h", "e") is None


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (33, 45), (1, 3), (700, 1000)])
def test_interval_is_wilsons(k: int, n: int) -> None:
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert report.wilson_interval(k, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_interval_needs_trials() -> None:
    with pytest.raises(ValueError, match="n is 0"):
        report.wilson_interval(0, 0)


def test_summary_averages_folds_before_sessions() -> None:
    table = report.summarise(scores_of({"h": [[0.5, 0.7], [0.9]], "e": [[0.5, 0.5], [0.6]]}))
    h = table[table["pipeline"] == "h"].iloc[0]
    assert h["mean"] == pytest.approx((0.6 + 0.9) / 2)
    assert h["std"] == pytest.approx(np.std([0.6, 0.9], ddof=1))
    assert h["spread"] == "sessions"
    assert h["accuracy"] == pytest.approx((0.5 + 0.7 + 0.9) / 3)
    assert h["n_trials"] == 60
    assert h["curvature"] == 2.0
    assert table["pipeline"].tolist() == ["h", "e"]
    assert math.isnan(table["curvature"].iloc[1])


def test_seeds_do_not_make_more_trials() -> None:
    one = scores_of({"h": [[0.6, 0.8]]})
    both = pd.concat([one, one.assign(seed=1)])
    first, second = report.summarise(one).iloc[0], report.summarise(both).iloc[0]
    assert second["n_trials"] == first["n_trials"] == 40
    assert second["accuracy_low"] == first["accuracy_low"]
    assert second["spread"] == "folds"


def test_little_data_is_said_to_be_little() -> None:
    text = " ".join(cautions(scores_of({"h": [[0.7] * 5]}, n_test=9), "roc_auc"))
    assert "45 different test trials" in text
    assert "0.075" in text
    assert "One session of one subject" in text
    large = " ".join(cautions(scores_of({"h": [[0.7]] * 50}), "accuracy"))
    assert "standard error" not in large
    assert "Chance is 0.50" in large


def test_images_have_no_subjects_to_be_careful_with() -> None:
    one = scores_of({"h": [[0.7]]}).assign(dataset="CIFAR100Subset")
    text = " ".join(cautions(one, "accuracy"))
    assert "One set of images, divided once: one seed shows no spread" in text
    assert "subject" not in text
    both = pd.concat([one, one.assign(seed=1, score=0.5)])
    text = " ".join(cautions(both, "accuracy"))
    assert "the ± is over 2 seeds" in text
    assert "subject" not in text


def test_seeds_that_differ_are_shown_apart() -> None:
    first = scores_of({"h": [[0.7], [0.9]], "fixed": [[0.6], [0.6]]})
    second = scores_of({"h": [[0.5], [0.6]], "fixed": [[0.6], [0.6]]}).assign(seed=1)
    assert not any("By seed" in line for line in cautions(first, "accuracy"))
    lines = cautions(pd.concat([first, second]), "accuracy")
    (line,) = [line for line in lines if line.startswith("By seed")]
    assert "h 0.800, 0.550." in line
    assert "fixed" not in line


def test_markdown_has_one_cell_a_column() -> None:
    scores = scores_of({"a|b": [[0.5], [0.25]], "h": [[1.0], [0.75]]})
    text = report.markdown_table(*report.unit_rows(scores))
    assert text.splitlines() == [
        "| subject | session | a\\|b | h |",
        "| --- | --- | --- | --- |",
        "| 1 | 0 | 0.500 | 1.000 |",
        "| 2 | 0 | 0.250 | 0.750 |",
    ]


def test_scores_without_people_are_told_by_seed() -> None:
    one = scores_of({"h": [[0.5]], "a": [[1.0]]})
    both = pd.concat([one, one.assign(seed=3, score=[0.25, 0.75])])
    header, rows = report.unit_rows(both, "seed")
    assert header == ["seed", "h", "a"]
    assert rows == [["0", "0.500", "1.000"], ["3", "0.250", "0.750"]]


def test_spread_of_seeds_is_over_their_means() -> None:
    first = scores_of({"h": [[0.7, 0.9], [0.9, 0.9]]})
    second = scores_of({"h": [[0.5, 0.5], [0.6, 0.6]]}).assign(seed=1)
    table = report.summarise(pd.concat([first, second]))
    assert table["seed_std"].iloc[0] == pytest.approx(np.std([0.85, 0.55], ddof=1))
    assert math.isnan(report.summarise(first)["seed_std"].iloc[0])


def test_permutations_do_not_make_more_trials() -> None:
    """A learning curve tests the same trials again and again: the interval must not shrink."""
    one = scores_of({"h": [[0.6], [0.7]]})
    curve = pd.concat(
        [one.assign(data_size=s, permutation=p, fold=p) for s in (5, 10) for p in range(10)]
    )
    assert report.summarise(curve)["n_trials"].iloc[0] == report.summarise(one)["n_trials"].iloc[0]
    unused = one.assign(data_size=math.nan, permutation=math.nan)
    assert report.summarise(unused)["n_trials"].iloc[0] == 40
