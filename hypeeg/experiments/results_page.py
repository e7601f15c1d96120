"""A page of results: run files, and what is to be said of each, made into one Markdown document.

``hypeeg results docs/results.yaml`` runs what has not been run and writes ``docs/results.md``. The
numbers come from run folders alone; the page file holds words.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hypeeg.experiments.library import find_spec
from hypeeg.experiments.report import markdown_table
from hypeeg.experiments.runner import RunResult
from hypeeg.experiments.runner import run as run_spec
from hypeeg.experiments.spec import BaseRunSpec, read_run_spec
from hypeeg.experiments.spec_errors import Problem, SpecError, problems_of
from hypeeg.experiments.statistics import holm
from hypeeg.experiments.store import RunFolder, replace_file
from hypeeg.experiments.yaml_io import YamlError, parse_yaml

logger = logging.getLogger(__name__)

# What stays in the run folder: a page that shows everything shows nothing.
_LEFT_OUT = ("What to keep in mind",)


class PageSection(BaseModel):
    """One run of a page of results."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spec: str = Field(description="Name of a run file of hypeeg's, or its path.")
    heading: str
    overrides: list[str] = Field(default_factory=list, description="As after --set of hypeeg run.")
    before: str = Field("", description="Markdown before the tables.")
    after: str = Field("", description="Markdown after them.")
    leave_out: list[str] = Field(
        default_factory=list,
        description="Beginnings of headings of the run's summary that are not shown.",
    )
    primary: list[str] = Field(
        default_factory=list,
        description="Pipelines whose difference from their twins enters the table over all runs.",
    )


class ResultsPage(BaseModel):
    """A page of results.

    Examples
    --------
    >>> page = ResultsPage.from_yaml("docs/results.yaml")  # doctest: +SKIP
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = "Results"
    intro: str = Field("", description="Markdown at the top.")
    closing: str = Field("", description="Markdown at the end.")
    family: str = Field(
        "", description="Markdown before the table of all primary comparisons; none leaves it out."
    )
    runs: list[PageSection] = Field(min_length=1)

    @classmethod
    def from_yaml(cls, path: str | Path) -> ResultsPage:
        """Read a page file.

        Raises
        ------
        SpecError
            If it cannot be read, or a field is wrong.
        """
        source = str(path)
        try:
            data = parse_yaml(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, YamlError) as error:
            raise SpecError([Problem("", f"cannot be read: {error}")], source) from error
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise SpecError(problems_of(error, cls, data), source) from error


Runner = Callable[..., RunResult]


def find_run(spec: BaseRunSpec, out: str | Path) -> Path | None:
    """Return the newest finished run of a specification, None if there is none.

    Parameters
    ----------
    spec : BaseRunSpec
        How many folds run at once and on which device is of no account.
    out : path
        Folder of run folders.
    """
    wanted = _identity(spec.resolve().model_dump(mode="json"))
    for folder in sorted(Path(out).glob(f"{spec.name}-*"), reverse=True):
        kept = folder / "spec_resolved.yaml"
        if not kept.is_file() or RunFolder(folder).read_status().get("state") != "done":
            continue
        try:
            # Through the present schema: a field that is newer than the run has its default.
            found = read_run_spec(kept)
        except SpecError:
            logger.warning("%s is not read by this version of hypeeg; passed over", kept)
            continue
        if _identity(found.model_dump(mode="json")) == wanted:
            return folder
    return None


def _identity(data: dict[str, Any]) -> dict[str, Any]:
    aside = ("n_jobs", "device", "backend", "resources", "description", "save")
    return {key: value for key, value in data.items() if key not in aside}


def make_page(
    page: ResultsPage,
    out: str | Path,
    target: str | Path,
    *,
    missing: str = "run",
    run: Runner = run_spec,
) -> Path:
    """Run what is missing and write the page.

    Parameters
    ----------
    page : ResultsPage
        What to show.
    out : path
        Folder of run folders; finished runs of the same specification are taken from there.
    target : path
        Markdown file to write.
    missing : {"run", "skip", "raise"}
        What to do about a run that is not there: run it, say so on the page, or raise.
    run : callable
        As :func:`hypeeg.experiments.run`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    SpecError
        If a run file is wrong, or with ``missing="raise"`` has not been run.
    RuntimeError
        If a run does not end well.
    """
    if missing not in ("run", "skip", "raise"):
        raise ValueError(f"missing must be 'run', 'skip' or 'raise'; got {missing!r}")
    parts = [f"# {page.title}", page.intro]
    sections: list[str] = []
    primary: list[pd.DataFrame] = []
    for section in page.runs:
        path = find_spec(section.spec)
        spec = read_run_spec(Path(path), section.overrides)
        folder = find_run(spec, out)
        if folder is None and missing == "raise":
            raise SpecError([Problem("", f"no finished run in {out}; run it first")], section.spec)
        if folder is None and missing == "run":
            logger.info("running %s", spec.name)
            result = run(spec, out, overrides=section.overrides)
            if result.state != "done":
                raise RuntimeError(
                    f"{section.spec}: the run ended as {result.state}; see {result.folder}"
                )
            folder = result.folder
        sections.append(_section(section, folder))
        if folder is not None and section.primary:
            primary.append(_primary_rows(section, spec, folder))
    if primary and page.family:
        parts += [page.family, family_table(pd.concat(primary, ignore_index=True))]
    parts += [*sections, page.closing]
    text = "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"
    target = Path(target)
    replace_file(target, text.encode("utf-8"))
    return target


def _section(section: PageSection, folder: Path | None) -> str:
    changes = "".join(f" --set {change}" for change in section.overrides)
    lines = [f"## {section.heading}", f"    hypeeg run {section.spec}{changes}", section.before]
    if folder is None:
        lines.append("*Not run.*")
    else:
        summary = (folder / "summary.md").read_text(encoding="utf-8")
        lines.append(_tables(summary, (*_LEFT_OUT, *section.leave_out)))
    lines.append(section.after)
    return "\n\n".join(line.rstrip() for line in lines if line.strip())


def _tables(summary: str, leave_out: tuple[str, ...]) -> str:
    """Return the sections of a run's summary, one level lower, without its title and state."""
    pieces = re.split(r"^## ", summary, flags=re.MULTILINE)[1:]
    kept = [piece for piece in pieces if not piece.startswith(leave_out)]
    return "\n".join(f"### {piece.rstrip()}\n" for piece in kept)


def _primary_rows(section: PageSection, spec: BaseRunSpec, folder: Path) -> pd.DataFrame:
    table = pd.read_csv(folder / "comparisons.csv")
    chosen = table[(table["family"] == "twin") & table["pipeline"].isin(section.primary)]
    absent = set(section.primary) - set(chosen["pipeline"])
    if absent:
        raise SpecError(
            [Problem("primary", f"{sorted(absent)} have no twin in this run")], section.spec
        )
    return chosen.assign(heading=section.heading)


def family_table(rows: pd.DataFrame) -> str:
    """Return primary comparisons of several runs with one Holm correction over all of them.

    Parameters
    ----------
    rows : DataFrame
        Rows of ``comparisons.csv`` of the runs, with a column ``heading``.

    Returns
    -------
    str
        A Markdown table; comparisons without a p value are listed and not corrected for.
    """
    tested = rows["p"].notna().to_numpy()
    corrected = pd.Series(float("nan"), index=rows.index)
    corrected[tested] = holm(rows.loc[tested, "p"].to_numpy())
    cells = [
        [
            str(row["heading"]),
            f"{row['pipeline']} − {row['other']}",
            f"{row['mean']:+.3f}".replace("-", "−"),
            "–"
            if pd.isna(row["low"])
            else f"[{row['low']:+.3f}, {row['high']:+.3f}]".replace("-", "−"),
            f"{row['wins']:.0f} / {row['losses']:.0f}",
            "–" if pd.isna(row["p"]) else f"{row['p']:.2g}",
            "–" if pd.isna(p) else f"{p:.2g}",
        ]
        for (_, row), p in zip(rows.iterrows(), corrected, strict=True)
    ]
    header = ["data", "difference", "mean", "95 %", "better / worse", "p", "p_Holm over all"]
    return markdown_table(header, cells)
