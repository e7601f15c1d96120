"""The page of results: words of the page file, numbers of the run folders, one correction."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from hypeeg.experiments.results_page import ResultsPage, family_table, find_run, make_page
from hypeeg.experiments.runner import run
from hypeeg.experiments.spec import RunSpec
from hypeeg.experiments.spec_errors import SpecError


@pytest.fixture
def counted_run(make_trials: Callable[..., Any], threshold: type[Any]) -> tuple[Any, list[str]]:
    """A runner on made-up trials of eight subjects, and the names of the runs it made."""
    made: list[str] = []

    def build(_spec: Any, pipeline: Any, _trials: Any, seed: int) -> Any:
        # The twin's class means are off by more than the classes are apart.
        return threshold(seed, shift=0.4 if pipeline.name == "flat" else 0.0)

    def runner(spec: RunSpec, out: Path, **kwargs: Any) -> Any:
        made.append(spec.name)
        load = partial(make_trials, subjects=8)
        return run(spec, out, load=lambda _: load(), build=build, progress=False, **kwargs)

    return runner, made


@pytest.fixture
def page_file(tmp_path: Path, spec_data: Callable[..., dict[str, Any]]) -> Path:
    for name in ("one", "two"):
        text = RunSpec.from_data(spec_data(name=name)).to_yaml()
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "page.yaml").write_text(
        f"""
title: Findings
intro: Words at the top.
family: All together.
runs:
  - {{spec: {tmp_path / "one.yaml"}, heading: First, primary: [hyper], after: A caveat.,
     leave_out: [Learned spaces]}}
  - {{spec: {tmp_path / "two.yaml"}, heading: Second, primary: [hyper]}}
"""
    )
    return tmp_path / "page.yaml"


def test_page_runs_what_is_missing_once(
    page_file: Path, tmp_path: Path, counted_run: tuple[Any, list[str]]
) -> None:
    runner, made = counted_run
    page, out, target = ResultsPage.from_yaml(page_file), tmp_path / "runs", tmp_path / "page.md"
    make_page(page, out, target, missing="skip", run=runner)
    assert target.read_text().count("*Not run.*") == 2
    with pytest.raises(SpecError, match="no finished run"):
        make_page(page, out, target, missing="raise", run=runner)
    make_page(page, out, target, run=runner)
    assert made == ["one", "two"]
    first = target.read_text()
    make_page(page, out, target, run=runner)
    assert made == ["one", "two"]
    assert target.read_text() == first

    assert first.startswith("# Findings\n\nWords at the top.\n\nAll together.\n\n| data |")
    for words in ("## First", "hypeeg run", "A caveat.", "### roc_auc on", "hyper − flat: ahead"):
        assert words in first
    assert "What to keep in mind" not in first
    assert first.count("### Learned spaces") == 1
    # Both runs have the same p: the correction over the two doubles it.
    [folder, _] = sorted(out.iterdir())
    table = pd.read_csv(folder / "comparisons.csv")
    p = float(table.loc[table["family"] == "twin", "p"].iloc[0])
    assert first.count(f"| {p:.2g} | {2 * p:.2g} |") == 2


def test_another_specification_is_another_run(
    page_file: Path, tmp_path: Path, counted_run: tuple[Any, list[str]]
) -> None:
    runner, _ = counted_run
    page = ResultsPage.from_yaml(page_file)
    out = tmp_path / "runs"
    make_page(page, out, tmp_path / "page.md", run=runner)
    spec = RunSpec.from_yaml(tmp_path / "one.yaml")
    assert find_run(spec, out) is not None
    assert find_run(spec.apply_overrides(["n_jobs=2"]), out) is not None
    assert find_run(spec.apply_overrides(["training.max_epochs=3"]), out) is None
    [folder, _] = sorted(out.iterdir())
    (folder / "status.json").write_text('{"state": "cancelled"}')
    assert find_run(spec, out) is None


def test_holm_over_runs_and_untested_rows() -> None:
    rows = pd.DataFrame(
        {
            "heading": ["a", "b", "c"],
            "pipeline": ["x"] * 3,
            "other": ["y"] * 3,
            "mean": [0.1, -0.2, 0.0],
            "low": [0.05, float("nan"), -0.1],
            "high": [0.15, float("nan"), 0.1],
            "wins": [8, 1, 4],
            "losses": [0, 2, 4],
            "p": [stats.wilcoxon(range(1, 9)).pvalue, float("nan"), 0.9],
        }
    )
    lines = family_table(rows).splitlines()
    assert lines[2] == "| a | x − y | +0.100 | [+0.050, +0.150] | 8 / 0 | 0.0078 | 0.016 |"
    assert lines[3] == "| b | x − y | −0.200 | – | 1 / 2 | – | – |"
    assert lines[4].endswith("| 0.9 | 0.9 |")


def test_mistakes_in_a_page_are_named(page_file: Path, tmp_path: Path) -> None:
    page_file.write_text(page_file.read_text().replace("heading: First", "headline: First"))
    with pytest.raises(SpecError, match=r"runs\.0\.headline"):
        ResultsPage.from_yaml(page_file)
    with pytest.raises(SpecError, match="cannot be read"):
        ResultsPage.from_yaml(tmp_path / "absent.yaml")


def test_a_primary_pipeline_without_a_twin_is_refused(
    page_file: Path, tmp_path: Path, counted_run: tuple[Any, list[str]]
) -> None:
    page_file.write_text(
        page_file.read_text().replace("primary: [hyper], after", "primary: [csp], after")
    )
    with pytest.raises(SpecError, match=r"\['csp'\] have no twin"):
        make_page(
            ResultsPage.from_yaml(page_file),
            tmp_path / "runs",
            tmp_path / "p.md",
            run=counted_run[0],
        )
