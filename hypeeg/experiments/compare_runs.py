"""Two runs compared pipeline by pipeline, on the folds that both have.

What may differ is what was tried: preprocessing, training, models.  What must agree is what was
tested: data set, classes, division into folds, score.  That is checked in the specifications, in
the sizes of the folds and, where both runs keep predictions, trial by trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hypeeg.experiments.comparisons import (
    PairedResult,
    Planned,
    compare_all,
    effect_rows,
    fold_differences,
    unit_of,
)
from hypeeg.experiments.gather import read_embeddings
from hypeeg.experiments.recorded import RecordedRun
from hypeeg.experiments.report import markdown_table
from hypeeg.experiments.spec_errors import Problem, SpecError, did_you_mean

KEYS = ["subject", "session", "fold", "seed"]
CURVE_KEYS = ["data_size", "permutation"]

# Parts of the evaluation that decide what is trained on and tested.
_DIVISION = ("kind", "n_folds", "shuffle", "adaptation", "learning_curve")
_DATASET = ("name", "events", "runs_as_sessions")


@dataclass(frozen=True)
class RunComparison:
    """What comparing run A with run B found.

    Attributes
    ----------
    first, second : RecordedRun
        A and B; differences are B minus A.
    results : list of PairedResult
        One a pair of pipelines, named ``"<pipeline> [A]"`` and ``"<pipeline> [B]"``, corrected
        together (Holm).
    n_folds : dict of str to (int, int, int)
        By the pair's name in B: common scores, and those only in A and only in B.
    notes : list of str
        What was left out, and what differs between the runs.
    """

    first: RecordedRun
    second: RecordedRun
    results: list[PairedResult]
    n_folds: dict[str, tuple[int, int, int]]
    notes: list[str]

    def to_text(self) -> str:
        """Return the comparison for people, as Markdown."""
        lines = [f"A: {self.first.path}", f"B: {self.second.path}", ""]
        lines += [f"- {result.statement}" for result in self.results]
        lines += ["", markdown_table(*effect_rows(self.results)), ""]
        lines += [f"- {note}" for note in self.notes]
        return "\n".join(lines).rstrip()


def parse_pairs(pairs: Sequence[str]) -> list[tuple[str, str]]:
    """Read ``A=B`` as pairs of pipeline names.

    Raises
    ------
    SpecError
        If one has no equals sign.
    """
    found = []
    for text in pairs:
        first, equals, second = text.partition("=")
        if not (equals and first.strip() and second.strip()):
            message = f"got {text!r}; write PIPELINE_OF_A=PIPELINE_OF_B"
            raise SpecError([Problem("--pair", message)], "hypeeg compare")
        found.append((first.strip(), second.strip()))
    return found


def compare_runs(
    first: RecordedRun, second: RecordedRun, pairs: Sequence[tuple[str, str]] = ()
) -> RunComparison:
    """Compare pipelines of two runs, paired over common subjects, sessions, folds and seeds.

    Parameters
    ----------
    first, second : RecordedRun
        Runs A and B.
    pairs : sequence of (str, str)
        Names in A and in B; by default all pipelines of the same name.

    Returns
    -------
    RunComparison

    Raises
    ------
    SpecError
        If the runs tested different things, or nothing in common; every difference is named.
    """
    source = f"{first.name} against {second.name}"
    problems = _differences(first, second)
    if problems:
        raise SpecError(problems, source)
    chosen = _pairs(first, second, pairs, source)
    notes = _notes(first, second)
    tables, planned, n_folds = [], [], {}
    for one, other in chosen:
        a, b = _scores_of(first, one), _scores_of(second, other)
        keys = _keys(a, b)
        together = a.merge(b, on=keys, suffixes=("", "_b"))
        _check_sizes(together, one, other, source)
        checked = _check_trials(first, second, one, other, source)
        if not checked:
            notes.append(
                f"{one} and {other}: folds were compared by their sizes only, because not both "
                "runs keep predictions"
            )
        names = f"{one} [A]", f"{other} [B]"
        tables += [a.assign(pipeline=names[0]), b.assign(pipeline=names[1])]
        planned.append(Planned(names[1], names[0], "variant"))
        common = len(together)
        n_folds[names[1]] = common, len(a) - common, len(b) - common
        if len(a) != common or len(b) != common:
            notes.append(
                f"{names[1]} − {names[0]}: {common} common scores; {len(a) - common} only in A and "
                f"{len(b) - common} only in B are left out"
            )
    scores = pd.concat(tables, ignore_index=True)
    empty = [p for p in planned if fold_differences(scores, p.pipeline, p.other).empty]
    if len(empty) == len(planned):
        message = (
            "no common subject, session, fold and seed; run both with the same "
            "evaluation.seeds on the same dataset.subjects"
        )
        raise SpecError([Problem("", message)], source)
    results = compare_all(scores, planned, first.scoring, unit=unit_of(first.kind))
    return RunComparison(first, second, results, n_folds, notes)


def _differences(first: RecordedRun, second: RecordedRun) -> list[Problem]:
    """Say in which settings the runs tested different things."""
    problems = []
    for name, run in (("A", first), ("B", second)):
        if run.scores.empty:
            problems.append(Problem(name, f"no fold of {run.name} finished; there is no score"))
    if problems:
        return problems
    checked = [("dataset", key) for key in _DATASET] + [("evaluation", key) for key in _DIVISION]
    if first.kind == "cross_subject":
        # Who is trained on follows from who takes part.
        checked.append(("dataset", "subjects"))
    if first.kind != "within_session":
        checked.append(("dataset", "sessions"))
    for section, key in checked:
        a, b = (_default(run, section, key) for run in (first, second))
        if a != b:
            message = (
                f"{a!r} in A but {b!r} in B: the runs tested different folds; run B again with "
                f"--set {section}.{key}={_written(a)}"
            )
            problems.append(Problem(f"{section}.{key}", message))
    if first.scoring != second.scoring:
        message = (
            f"{first.scoring} in A but {second.scoring} in B; run B again with "
            f"--set evaluation.scoring={first.scoring}"
        )
        problems.append(Problem("evaluation.scoring", message))
    hashes = _changed_hashes(first, second)
    for name, what in (("y", "classes of the trials"), ("metadata", "order of the trials")):
        if name in hashes:
            message = (
                f"the {what} differ between A and B (data.json), so their folds do too; see what "
                f"changed with 'hypeeg data check {first.dataset}', and run A again"
            )
            problems.append(Problem("data", message))
    return problems


def _changed_hashes(first: RecordedRun, second: RecordedRun) -> list[str]:
    """Return the parts of the data that differ though they should not."""
    if first.section("dataset") != second.section("dataset"):
        return []
    a, b = (run.data.get("sha256") or {} for run in (first, second))
    same = first.section("preprocessing") == second.section("preprocessing")
    names = ("X", "y", "metadata") if same else ("y", "metadata")
    return [name for name in names if name in a and name in b and a[name] != b[name]]


# What a field that is missing in a run of an earlier version meant.
_MISSING: Mapping[str, Any] = {
    "shuffle": True,
    "adaptation": "none",
    "runs_as_sessions": False,
}


def _default(run: RecordedRun, section: str, key: str) -> Any:
    value = run.section(section).get(key)
    value = _MISSING.get(key) if value is None else value
    if key in ("events", "subjects", "sessions") and isinstance(value, list):
        return sorted(map(str, value))
    return value


def _written(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    return "null" if value is None else str(value).lower() if value in (True, False) else str(value)


def _pairs(
    first: RecordedRun, second: RecordedRun, pairs: Sequence[tuple[str, str]], source: str
) -> list[tuple[str, str]]:
    own, other = (list(dict.fromkeys(run.scores["pipeline"])) for run in (first, second))
    if not pairs:
        common = [(name, name) for name in own if name in other]
        if not common:
            message = (
                f"no pipeline of the same name: A has {', '.join(own)}, B has {', '.join(other)}; "
                "say which to compare with --pair PIPELINE_OF_A=PIPELINE_OF_B"
            )
            raise SpecError([Problem("pipelines", message)], source)
        return common
    problems = [
        Problem("--pair", f"{which} has no pipeline {name!r}.{did_you_mean(name, known)}")
        for pair in pairs
        for which, name, known in zip("AB", pair, (own, other), strict=True)
        if name not in known
    ]
    if problems:
        raise SpecError(problems, source)
    return list(pairs)


def _scores_of(run: RecordedRun, pipeline: str) -> pd.DataFrame:
    scores = run.scores
    return scores[scores["pipeline"] == pipeline].astype({"session": str})


def _keys(a: pd.DataFrame, b: pd.DataFrame) -> list[str]:
    curve = [k for k in CURVE_KEYS if all(k in t and t[k].notna().all() for t in (a, b))]
    return [*KEYS, *curve]


def _check_sizes(together: pd.DataFrame, one: str, other: str, source: str) -> None:
    for column, what in (("n_test", "tests"), ("n_train", "trains on")):
        wrong = together[together[column] != together[f"{column}_b"]]
        if len(wrong):
            row = wrong.iloc[0]
            message = (
                f"{one} and {other}, subject {row['subject']}, session {row['session']}, fold "
                f"{row['fold']}: A {what} {row[column]} trials and B {row[f'{column}_b']}, in "
                f"{len(wrong)} folds; the trials differ, so compare runs on the same recordings "
                "and the same epochs (dataset, preprocessing.tmin and tmax)"
            )
            raise SpecError([Problem("folds", message)], source)


def _check_trials(
    first: RecordedRun, second: RecordedRun, one: str, other: str, source: str
) -> bool:
    """Check that folds that both have tested the same trials; False if that is not recorded."""
    paths = first.embeddings_path(one), second.embeddings_path(other)
    if not all(path.is_file() for path in paths):
        return False
    a, b = map(_tested, map(read_embeddings, paths))
    for key in a.keys() & b.keys():
        if a[key] != b[key]:
            where = ", ".join(f"{k} {v}" for k, v in zip([*KEYS, *CURVE_KEYS], key, strict=False))
            message = (
                f"{one} and {other}, {where}: A and B tested different trials; the folds differ, "
                "so run B again on the recordings and with the evaluation of A"
            )
            raise SpecError([Problem("folds", message)], source)
    return True


def _tested(trials: Mapping[str, np.ndarray]) -> dict[tuple[str, ...], frozenset[tuple[str, str]]]:
    """Return the test trials of each fold with their classes."""
    keys = [*KEYS, *(key for key in CURVE_KEYS if key in trials)]
    found: dict[tuple[str, ...], set[tuple[str, str]]] = {}
    columns = [trials[key].astype(str) for key in (*keys, "trial", "y_true")]
    for *key, trial, label in zip(*(column.tolist() for column in columns), strict=True):
        found.setdefault(tuple(key), set()).add((trial, label))
    return {key: frozenset(value) for key, value in found.items()}


def _notes(first: RecordedRun, second: RecordedRun) -> list[str]:
    """Say what differs between runs that may be compared."""
    notes = []
    for name, run in (("A", first), ("B", second)):
        if run.state != "done":
            notes.append(f"{name} is {run.state}: this may not be the whole run")
    for section in ("preprocessing", "training"):
        a, b = first.section(section), second.section(section)
        changed = [
            f"{key} {a.get(key)!r} → {b.get(key)!r}"
            for key in dict.fromkeys([*a, *b])
            if a.get(key) != b.get(key)
        ]
        if changed:
            notes.append(f"{section} differs: {', '.join(changed)}")
    if "X" in _changed_hashes(first, second):
        notes.append(
            "the samples differ though the preprocessing is the same: other versions of "
            f"libraries, or changed recordings ('hypeeg data check {first.dataset}')"
        )
    versions = first.environment.get("packages") or {}, second.environment.get("packages") or {}
    moved = [k for k in versions[0] if versions[1].get(k, versions[0][k]) != versions[0][k]]
    if moved:
        changed = [f"{k} {versions[0][k]} → {versions[1][k]}" for k in moved]
        notes.append(f"package versions differ: {', '.join(changed)}")
    own, other = (set(run.scores["pipeline"]) for run in (first, second))
    for name, left in (("A", own - other), ("B", other - own)):
        if left:
            notes.append(f"only in {name}: {', '.join(sorted(left))}")
    return notes
