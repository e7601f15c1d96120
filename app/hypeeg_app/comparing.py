"""What the Compare page shows: runs to begin with, all pipelines of runs, pairs of scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from hypeeg.experiments.spec_errors import SpecError
from hypeeg_app.results import comparison_of, recorded
from hypeeg_app.runs import Run, UnreadableError, read_run, read_scores, read_summary

TRIED = 6
"""So many pairs of runs are looked at for two that can be compared."""

KEYS = ["subject", "session", "fold", "seed"]


def first_choice(runs: Sequence[Run]) -> list[str]:
    """Return two runs to begin with: the newest that are done and can be compared fold by fold.

    Without such a pair, the newest two on the same data set, or the newest two.
    """
    done = [run for run in runs if run.state == "done"] or list(runs)
    alike = [
        (run, other)
        for number, run in enumerate(done)
        for other in done[number + 1 :]
        if (run.dataset, run.kind) == (other.dataset, other.kind)
    ][:TRIED]
    for run, other in alike:
        if _comparable(run, other):
            return [run.name, other.name]
    return [run.name for run in (alike[0] if alike else done[:2])]


def _comparable(first: Run, second: Run) -> bool:
    try:
        comparison_of(read_run(first.path), read_run(second.path))
    except (SpecError, UnreadableError):
        return False
    return True


def overview(runs: Sequence[Run]) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return one row a run and pipeline, and why runs are left out, by their names."""
    rows, left_out = [], {}
    for run in runs:
        try:
            summary = read_summary(run)
            score = run.scoring if summary.empty else run.score_name(read_scores(run))
        except UnreadableError as error:
            left_out[run.name] = str(error)
            continue
        for row in summary.to_dict("records"):
            rows.append(
                {
                    "Run": run.name,
                    "Pipeline": row["pipeline"],
                    "Mean": row["mean"],
                    "± std": row["std"],
                    "Accuracy": row["accuracy"],
                    "Fit time": row["fit_time"],
                    "Learned c": row["curvature"],
                    "Data set": run.dataset,
                    "Kind": run.kind.replace("_", " "),
                    "Score": score,
                }
            )
    return pd.DataFrame(rows), left_out


def short_names(runs: Sequence[Run]) -> dict[str, str]:
    """Return what runs are called where room is short: their titles, if no two are the same."""
    titles = [run.title or run.name for run in runs]
    return {
        run.name: title if titles.count(title) == 1 else run.name
        for run, title in zip(runs, titles, strict=True)
    }


def said_once(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the table without what is the same in all rows, and what that is, in words."""
    same = [name for name in ("Data set", "Kind", "Score") if table[name].nunique() == 1]
    words = [str(table[name].iloc[0]) for name in same]
    shown = table.drop(columns=same)
    numbers = shown[["Accuracy", "Mean"]].astype(float)
    if "Score" in same and np.allclose(numbers["Accuracy"], numbers["Mean"], equal_nan=True):
        shown = shown.drop(columns="Accuracy")
    return shown, words


def paired_scores(first: Run, second: Run, names: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Return the scores of common folds, as :func:`hypeeg.viz.pairs.pairs_figure` takes them.

    Parameters
    ----------
    first, second : Run
        A and B.
    names : sequence of (str, str)
        Pairs as a comparison names them: ``"<pipeline> [A]"``, ``"<pipeline> [B]"``.
    """
    parts = []
    a, b = (recorded(run.path).scores for run in (first, second))
    for in_a, in_b in names:
        of_a, of_b = in_a.removesuffix(" [A]"), in_b.removesuffix(" [B]")
        pair = of_a if of_a == of_b else f"{of_a} / {of_b}"
        own, other = a[a["pipeline"] == of_a], b[b["pipeline"] == of_b]
        common = own[KEYS].merge(other[KEYS], on=KEYS).drop_duplicates()
        parts += [
            part.merge(common, on=KEYS).assign(pair=pair, side=side)
            for part, side in ((own, "A"), (other, "B"))
        ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def named(runs: Sequence[Run], names: Sequence[str]) -> Iterator[Run]:
    """Yield the runs with given names that can be read, in the order of the names."""
    known = {run.name: run for run in runs}
    for name in names:
        run = read_run(known[name].path)
        if run.state != "unreadable":
            yield run
