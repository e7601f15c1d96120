"""Planned comparisons: units, families and what the sentences claim."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hypeeg.eeg.pipeline_spec import PipelineSpec, check_pipelines
from hypeeg.experiments import comparisons as cp
from hypeeg.experiments.statistics import holm


def scores_of(tables: dict[str, np.ndarray], folds: int = 2) -> pd.DataFrame:
    """Scores from tables (subjects, sessions, seeds); folds scatter about each cell."""
    rows = []
    for pipeline, table in tables.items():
        for (subject, session, seed), score in np.ndenumerate(table):
            for fold in range(folds):
                shift = 0.01 * (fold - (folds - 1) / 2)
                rows.append((subject + 1, str(session), fold, seed, pipeline, score + shift))
    columns = ["subject", "session", "fold", "seed", "pipeline", "score"]
    return pd.DataFrame(rows, columns=columns)


def pair(difference: float, spread: float, n: int = 10, seeds: int = 3, seed: int = 0):
    """Scores of `h` and `e`, whose differences scatter by `spread` over subjects."""
    rng = np.random.default_rng(seed)
    e = rng.uniform(0.5, 0.9, (n, 2, 1)) + np.zeros((1, 1, seeds))
    d = difference + spread * rng.standard_normal((n, 1, 1))
    return scores_of({"h": e + d + 0.001 * rng.standard_normal((n, 2, seeds)), "e": e})


TWIN = [cp.Planned("h", "e", "twin")]


def only(scores: pd.DataFrame, **options) -> cp.PairedResult:
    [result] = cp.compare_all(scores, TWIN, "accuracy", **options)
    return result


def test_a_run_plans_twins_and_baselines() -> None:
    pipelines = [
        PipelineSpec(name="h", model="HyperbolicEEGNet"),
        PipelineSpec(name="e", model="EEGNet", twin_of="h"),
        PipelineSpec(name="h2", model="HyperbolicEEGNet"),
        PipelineSpec(name="csp", model="csp_lda"),
        PipelineSpec(name="ts", model="ts_lr"),
    ]
    assert cp.planned_comparisons(pipelines) == [
        ("h", "e", "twin"),
        ("h", "csp", "baseline"),
        ("h", "ts", "baseline"),
        ("h2", "csp", "baseline"),
        ("h2", "ts", "baseline"),
    ]
    assert cp.planned_comparisons(pipelines[:1]) == []


def test_subjects_are_the_units_whatever_they_have_more_of() -> None:
    scores = pair(0.05, 0.05)
    result = only(scores)
    wide = scores.pivot_table(index="subject", columns="pipeline", values="score")
    d = wide["h"] - wide["e"]
    assert result.p == pytest.approx(stats.wilcoxon(d).pvalue)
    assert result.mean == pytest.approx(d.mean())
    assert result.smd == pytest.approx(d.mean() / d.std(ddof=1))
    assert (result.n_subjects, result.n_sessions, result.n_seeds) == (10, 20, 3)
    assert (result.wins, result.losses) == ((d > 0).sum(), (d < 0).sum())
    # Twice the folds, the same answer.
    more = only(pd.concat([scores, scores.assign(fold=scores["fold"] + 2)]))
    assert (more.p, more.low, more.high) == pytest.approx((result.p, result.low, result.high))


def test_families_are_corrected_apart_and_as_a_whole() -> None:
    rng = np.random.default_rng(0)
    names = ["h1", "h2", "h3", "e", "c"]
    scores = scores_of({name: rng.random((9, 1, 2)) for name in names})
    plan = [cp.Planned(h, "e", "twin") for h in names[:3]]
    plan += [cp.Planned(h, "c", "baseline") for h in names[:2]]
    found = cp.compare_all(scores, plan, "accuracy")
    raw = [r.p for r in found]
    assert [r.p_holm for r in found[:3]] == pytest.approx(holm(raw[:3]).tolist())
    assert [r.p_holm for r in found[3:]] == pytest.approx(holm(raw[3:]).tolist())
    assert [r.family_size for r in found] == [3, 3, 3, 2, 2]
    assert any(r.p_holm > r.p for r in found)


def test_unfinished_folds_weigh_on_neither_side() -> None:
    scores = pair(0.1, 0.0)
    broken = scores.copy()
    broken.loc[(broken["pipeline"] == "e") & (broken["fold"] == 1), "score"] = 0.0
    cut = broken[~((broken["pipeline"] == "h") & (broken["fold"] == 1))]
    assert only(cut).mean == pytest.approx(only(scores).mean, abs=1e-3)
    assert cp.compare_all(scores[scores["pipeline"] == "h"], TWIN, "accuracy") == []


def test_learning_curves_are_compared_size_by_size() -> None:
    scores = pair(0.1, 0.01)
    small = scores.assign(data_size=10, permutation=0)
    large = scores.assign(data_size=20, permutation=0)
    # At 20 trials the twin catches up; a pairing across sizes would see four differences, not two.
    large.loc[large["pipeline"] == "e", "score"] += 0.1
    both = pd.concat([small, large]).sample(frac=1, random_state=0)
    result = only(both)
    differences = cp.fold_differences(both, "h", "e")
    assert len(differences) == len(scores)
    assert result.mean == pytest.approx(0.05, abs=0.01)
    empty = scores.assign(data_size=math.nan, permutation=math.nan)
    assert only(empty) == only(scores)


def test_ahead_and_behind() -> None:
    ahead = only(pair(0.06, 0.03))
    assert "h − e: ahead by 0.0" in ahead.statement
    assert "p_Holm = 0.002" in ahead.statement
    assert "10 better, 0 worse" in ahead.statement
    assert "New seeds" not in ahead.statement
    behind = only(pair(-0.06, 0.03))
    assert "h − e: behind by 0.0" in behind.statement
    numbers = behind.statement.split("[")[1].split("]")[0].split(", ")
    assert 0 < float(numbers[0]) < abs(behind.mean) < float(numbers[1])


def test_no_evidence_is_said_to_be_none() -> None:
    result = only(pair(0.0, 0.08, n=12, seed=3))
    assert result.p_holm > 0.05
    assert "no evidence of a difference" in result.statement
    assert "This is not evidence of none" in result.statement


def test_equivalence_needs_a_posterior_that_says_so() -> None:
    result = only(pair(0.0, 0.004, n=12, seed=1))
    assert result.p_equivalent > 0.95
    assert "equivalent within ±0.02 with probability" in result.statement
    strict = only(pair(0.0, 0.004, n=12, seed=1), rope=0.001)
    assert "equivalent within" not in strict.statement


def test_a_small_clear_difference_is_called_small() -> None:
    result = only(pair(0.008, 0.001, n=12))
    assert result.p_holm < 0.05
    assert "ahead by 0.008" in result.statement
    assert "so it may not matter" in result.statement


def test_few_subjects_never_make_a_claim() -> None:
    for n in (2, 5):
        result = only(pair(0.3, 0.01, n=n))
        assert math.isnan(result.p_holm)
        assert "too few subjects to tell" in result.statement
    assert "one subject" in only(pair(0.3, 0.01, n=1)).statement
    # Seven subjects can be enough for one comparison and never for four.
    seven = pair(0.3, 0.01, n=7)
    assert "ahead" in only(seven).statement
    four = cp.compare_all(seven, TWIN * 4, "accuracy")
    assert all("clean sweep of these in 4 comparisons" in r.statement for r in four)


def test_a_lead_that_hangs_on_the_seeds_says_so() -> None:
    rng = np.random.default_rng(0)
    e = rng.uniform(0.5, 0.8, (12, 1, 1)) + np.zeros((1, 1, 3))
    shift = np.array([0.2, 0.01, -0.03])[None, None]
    result = only(scores_of({"h": e + shift + 0.01 * rng.standard_normal((12, 1, 3)), "e": e}))
    assert result.p_holm < 0.05 < result.p_seeds
    assert result.seed_std == pytest.approx(np.std(shift, ddof=1), abs=0.01)
    assert result.low < 0 < result.high
    assert "New seeds may undo it" in result.statement
    assert "the mean difference is not clear" in result.statement
    single = only(pair(0.06, 0.03, seeds=1))
    assert math.isnan(single.p_seeds)
    assert "One seed" in single.statement


def test_no_difference_gives_few_false_claims() -> None:
    """Of comparisons without a difference at most about one in twenty is called one."""
    claims = [
        "ahead" in r.statement or "behind" in r.statement
        for seed in range(60)
        for r in [only(pair(0.0, 0.05, n=9, seed=seed))]
    ]
    assert np.mean(claims) <= 0.1


def test_tables_carry_what_was_found() -> None:
    result = only(pair(0.06, 0.03))
    frame = cp.comparison_frame([result])
    assert frame.loc[0, "statement"] == result.statement
    assert frame.loc[0, "p_holm"] == result.p_holm
    header, rows = cp.effect_rows([result, replace(result, p=math.nan, low=math.nan)])
    assert all(len(row) == len(header) for row in rows)
    assert rows[1][3] == "–"
    assert "[" not in rows[1][1]


def test_variants_are_a_family_of_their_own() -> None:
    pipelines = [
        PipelineSpec(name="full", model="HyperbolicEEGNet"),
        PipelineSpec(name="twin", model="EEGNet", twin_of="full"),
        PipelineSpec(name="fixed", model="HyperbolicEEGNet", variant_of="full"),
        PipelineSpec(name="csp", model="csp_lda"),
    ]
    assert cp.planned_comparisons(pipelines) == [
        ("full", "twin", "twin"),
        ("fixed", "full", "variant"),
        ("full", "csp", "baseline"),
    ]
    for wrong in ("fixed", "nobody"):
        changed = [
            p.model_copy(update={"variant_of": wrong}) if p.name == "fixed" else p
            for p in pipelines
        ]
        with pytest.raises(ValueError, match=rf"variant_of names '{wrong}'.*full, twin"):
            check_pipelines(changed)


def test_runs_without_people_have_seeds_for_units() -> None:
    rng = np.random.default_rng(0)
    e = rng.uniform(0.5, 0.6, (1, 1, 8))
    d = np.linspace(0.1, 0.2, 8)
    scores = scores_of({"h": e + d, "e": e})
    result = only(scores, unit=cp.unit_of("reconstruction"))
    assert (result.unit, result.n_subjects, result.wins) == ("seed", 8, 8)
    assert result.mean == pytest.approx(0.15)
    assert result.p == pytest.approx(stats.wilcoxon(d).pvalue)
    assert result.low > 0.1
    assert "ahead by 0.150" in result.statement
    assert "over 8 seeds" in result.statement
    assert "subject" not in result.statement
    # The same scores of one person say nothing of others.
    person = only(scores, unit=cp.unit_of("within_session"))
    assert person.n_subjects == 1
    assert "too few subjects" in person.statement
