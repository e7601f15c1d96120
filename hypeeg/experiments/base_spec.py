"""What the run files of all wings share: reading, writing, changing and what runs them.

Reading and checking a run file imports neither torch nor MOABB nor braindecode, so that a typing
mistake is reported in well under a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, cast

from pydantic import BeforeValidator, Field, ValidationError

from hypeeg.experiments.overrides import with_overrides
from hypeeg.experiments.sections import BackendSpec, ResourcesSpec, SaveSpec, Section, as_backend
from hypeeg.experiments.spec_errors import Problem, SpecError, problems_of
from hypeeg.experiments.sweep_spec import SweepSpec
from hypeeg.experiments.yaml_io import YamlError, format_yaml, parse_yaml

AT_THE_END = ("device", "n_jobs", "backend", "resources", "save", "sweep")
"""Keys that a dump ends with, as a file that a person wrote: what is run, then how and where."""


class BaseRunSpec(Section):
    """What every run has, whatever it trains on.

    A wing's run file adds the sections ``dataset`` (with a ``name``), ``pipelines`` (each with a
    ``name``) and ``evaluation`` (with ``seeds``), or replaces the properties that read them.
    """

    SEEDS: ClassVar[str] = "evaluation.seeds"
    """Path of the seeds, for the seeds of a sweep."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=100,
        description="a short name of letters, digits and . _ - (run folders start with it).",
    )
    description: str = Field("", description="What the run is for, for people.")
    kind: str = Field(description="What the run trains on: eeg, vision or hierarchy.")
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="auto, cpu, mps, cuda, cuda:0, cuda:1, ...",
    )
    n_jobs: int = Field(1, ge=1, le=1024, description="Folds that run at the same time.")
    backend: Annotated[BackendSpec, BeforeValidator(as_backend)] = Field(
        default_factory=lambda: BackendSpec.model_validate({}),
        description="Where tasks run: on this computer, or on a Dask cluster.",
    )
    resources: ResourcesSpec = Field(
        default_factory=lambda: ResourcesSpec.model_validate({}),
        description="GPUs and threads of each task.",
    )
    save: SaveSpec = Field(
        default_factory=lambda: SaveSpec.model_validate({}), description="What is kept."
    )
    sweep: SweepSpec | None = Field(
        None, description="Values to run the file with, one run folder for each combination."
    )

    @property
    def data_name(self) -> str:
        """Name of the data."""
        return str(cast(Any, self).dataset.name)

    @property
    def pipeline_names(self) -> list[str]:
        """Names of the pipelines, in their order."""
        return [str(pipeline.name) for pipeline in cast(Any, self).pipelines]

    @property
    def seeds(self) -> list[int]:
        """Seeds that every fold is run with."""
        return list(cast(Any, self).evaluation.seeds)

    @property
    def n_folds_per_seed(self) -> int:
        """Divisions of the data for each seed, where no manifest tells: 1 unless a wing says so."""
        return 1

    @classmethod
    def from_data(cls, data: Any, source: str = "run specification") -> Self:
        """Build a spec from plain data.

        Parameters
        ----------
        data : object
            What a YAML file holds.
        source : str
            Where it came from, for error messages.

        Returns
        -------
        BaseRunSpec
            Of this class; :func:`hypeeg.experiments.kinds.read_run_spec` finds the class by
            ``kind``.

        Raises
        ------
        SpecError
            If anything is wrong with it, naming every problem.
        """
        if not isinstance(data, dict):
            found = "nothing" if data is None else type(data).__name__
            raise SpecError(
                [Problem("", f"a run file is a mapping of keys to values, found {found}")], source
            )
        try:
            spec = cls.model_validate(data)
        except ValidationError as error:
            raise SpecError(problems_of(error, cls, data), source) from error
        spec._check_sweep(source)
        return spec

    @classmethod
    def from_yaml(cls, path: str | Path, overrides: Sequence[str] = ()) -> Self:
        """Read a run file.

        Parameters
        ----------
        path : str or Path
            YAML file.
        overrides : sequence of str
            Changes ``path.to.key=value`` made before the file is checked.

        Returns
        -------
        BaseRunSpec

        Raises
        ------
        SpecError
            If the file cannot be read or is wrong, naming every problem.
        """
        return cls.from_text(read_text(path), source=str(path), overrides=overrides)

    @classmethod
    def from_text(
        cls, text: str, source: str = "run specification", overrides: Sequence[str] = ()
    ) -> Self:
        """Read a run from YAML text; see :meth:`from_yaml`."""
        return cls.from_data(plain_data(text, source, overrides), source)

    def to_yaml(self, path: str | Path | None = None) -> str:
        """Return the spec as YAML, with every default spelled out.

        Parameters
        ----------
        path : str or Path, optional
            File to write it to as well.

        Returns
        -------
        str
            ``RunSpec.from_text(spec.to_yaml()) == spec``.
        """
        data = self.model_dump(mode="json")
        text = format_yaml(
            {key: data[key] for key in sorted(data, key=lambda key: key in AT_THE_END)}
        )
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def resolve(self) -> Self:
        """Return the spec with what it leaves open filled in; nothing in this class.

        Raises
        ------
        SpecError
            If what is given and what is filled in contradict each other.
        """
        return self

    def apply_overrides(self, overrides: Sequence[str]) -> Self:
        """Return the spec with single values changed.

        Parameters
        ----------
        overrides : sequence of str
            Each ``path.to.key=value``; the value is YAML.  A pipeline is named by its position
            or its name: ``pipelines.0.params.F1=4``.

        Returns
        -------
        BaseRunSpec
            A new, checked spec.

        Raises
        ------
        SpecError
            If a path does not exist, or the changed spec is wrong.
        """
        if not overrides:
            return self
        return self.from_data(with_overrides(self.model_dump(mode="json"), overrides), self.name)

    def _check_sweep(self, source: str) -> None:
        """Try each value of a sweep by itself, so that a wrong one is found before any run."""
        if self.sweep is None:
            return
        from hypeeg.experiments.sweep_points import check_sweep

        check_sweep(self, source)


def read_text(path: str | Path) -> str:
    """Return the text of a run file.

    Raises
    ------
    SpecError
        If it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError([Problem("", f"cannot be read: {error}")], str(path)) from error


def plain_data(text: str, source: str, overrides: Sequence[str] = ()) -> Any:
    """Return what a run file holds, not checked yet, with single values changed.

    Raises
    ------
    SpecError
        If the text is no YAML, or an override is wrong.
    """
    try:
        data = parse_yaml(text)
    except YamlError as error:
        raise SpecError([Problem("", f"is not valid YAML: {error}")], source) from error
    return with_overrides(data, overrides) if overrides and isinstance(data, dict) else data


def slug(name: str) -> str:
    """Return `name` as it may appear in a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._") or "_"


def check_file_names(names: Iterable[str]) -> None:
    """Check that pipelines can be told apart by the names of their files.

    Parameters
    ----------
    names : iterable of str
        Of all pipelines of a run.

    Raises
    ------
    ValueError
        If two of them would share a file name; on some systems case does not count.
    """
    taken: dict[str, str] = {}
    for name in names:
        key = slug(name).lower()
        if key in taken:
            raise ValueError(
                f"pipelines {taken[key]!r} and {name!r} would share the file name {slug(name)!r}; "
                "rename one of them"
            )
        taken[key] = name
