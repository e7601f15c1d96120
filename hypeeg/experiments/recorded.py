"""A run as its folder tells it, finished or not, of this version or an earlier one."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from hypeeg.eeg.pipeline_spec import PipelineSpec
from hypeeg.experiments.divisible import resolve_scoring
from hypeeg.experiments.gather import scores_frame
from hypeeg.experiments.process import judged_state
from hypeeg.experiments.run_index import locate_run
from hypeeg.experiments.spec import slug
from hypeeg.experiments.spec_errors import Problem, SpecError
from hypeeg.experiments.store import RecordError, RunFolder
from hypeeg.experiments.yaml_io import YamlError, parse_yaml

_TEXT = ("dataset", "session", "pipeline", "other", "family", "statement", "tuned")
_TEXT_OF_CLASSES = ("y_true", "y_pred", "class")


@dataclass(frozen=True)
class OtherPipeline:
    """What tables and comparisons read of a pipeline of a vision or hierarchy run.

    Attributes
    ----------
    name : str
        In tables and figures.
    model : str
        What is trained.
    twin_of, variant_of : str or None
        Pipeline that it is compared with.
    is_classical : bool
        Whether nothing is trained by gradients.
    """

    name: str
    model: str = ""
    twin_of: str | None = None
    variant_of: str | None = None
    is_classical: bool = False


def _pipelines(data: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the pipelines of a specification."""
    given = data.get("pipelines") or []
    if data.get("kind", "eeg") == "eeg":
        return tuple(map(PipelineSpec.model_validate, given))
    names = ("name", "model", "twin_of", "variant_of")
    return tuple(OtherPipeline(**{key: p[key] for key in names if key in p}) for p in given)


@dataclass(frozen=True)
class RecordedRun:
    """What is known of a run without its data set.

    Attributes
    ----------
    path : Path
        Its folder.
    spec : dict
        The resolved specification as plain data, read loosely: neither the manifest nor the
        recordings need to be there, and fields of other versions do no harm.
    pipelines : tuple of PipelineSpec or OtherPipeline
        Its pipelines; what is common to all where the run is of another kind than EEG.
    status : dict
        What ``status.json`` says.
    """

    path: Path
    spec: dict[str, Any] = field(repr=False)
    pipelines: tuple[Any, ...] = field(repr=False)
    status: dict[str, Any] = field(repr=False)

    @classmethod
    def open(cls, path: str | Path) -> RecordedRun:
        """Read the description of a run.

        Parameters
        ----------
        path : str or Path
            Run folder; or, of those under ``runs``, the name, its beginning, or ``last``.

        Returns
        -------
        RecordedRun

        Raises
        ------
        SpecError
            If it is no run folder, or its specification cannot be read.
        """
        try:
            folder = locate_run(path)
            status = RunFolder(folder).read_status()
            data = parse_yaml((folder / "spec_resolved.yaml").read_text(encoding="utf-8"))
            if not isinstance(data, dict):
                raise YamlError("spec_resolved.yaml holds no mapping")
            pipelines = _pipelines(data)
        except (RecordError, OSError, ValueError, TypeError) as error:
            problem = Problem("", f"is no run folder that can be read: {error}")
            raise SpecError([problem], str(path)) from error
        return cls(folder, data, pipelines, status)

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.resolve().name

    @property
    def title(self) -> str:
        """Name of the specification."""
        return str(self.spec.get("name") or self.name)

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return str(self.section("dataset").get("name", ""))

    @property
    def kind(self) -> str:
        """Kind of the evaluation."""
        return str(self.section("evaluation").get("kind", "within_session"))

    @property
    def state(self) -> str:
        """State of the run; one that is going on is believed only while its process is there."""
        return judged_state(self.status)

    @property
    def n_missing(self) -> int:
        """Planned folds that neither finished nor failed."""
        counts = [int(self.status.get(key) or 0) for key in ("n_tasks", "n_done", "n_failed")]
        return max(0, counts[0] - counts[1] - counts[2])

    @property
    def scoring(self) -> str:
        """Name of the score, ``auto`` resolved if anything was scored."""
        named = str(self.section("evaluation").get("scoring", "auto"))
        if self.scores.empty:
            return named
        return resolve_scoring(named, int(self.scores["n_classes"].max()))

    @property
    def twins(self) -> dict[str, str]:
        """Twin to the pipeline that it is compared with."""
        return {p.name: p.twin_of for p in self.pipelines if p.twin_of is not None}

    def section(self, name: str) -> Mapping[str, Any]:
        """Return one block of the specification, empty if it has none."""
        value = self.spec.get(name)
        return value if isinstance(value, dict) else {}

    @functools.cached_property
    def scores(self) -> pd.DataFrame:
        """The scores table; from ``folds.jsonl`` while there is no ``scores.csv``."""
        path = self.path / "scores.csv"
        if path.exists():
            return self.table("scores")
        records = RunFolder(self.path).folds.read()
        return scores_frame(records, self.dataset, self.kind, 0)

    @functools.cached_property
    def environment(self) -> dict[str, Any]:
        """What ``environment.json`` says, empty without it."""
        return self._json("environment.json")

    @functools.cached_property
    def data(self) -> dict[str, Any]:
        """What ``data.json`` says of the trials, empty without it."""
        return self._json("data.json")

    def _json(self, name: str) -> dict[str, Any]:
        path = self.path / name
        if not path.exists():
            return {}
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RecordError(f"{path}: damaged: {error}") from error
        return value if isinstance(value, dict) else {}

    def table(self, name: str) -> pd.DataFrame:
        """Return a table of the run folder, empty if it is not there.

        Parameters
        ----------
        name : str
            File without its ending, such as ``"measures"``.

        Raises
        ------
        RecordError
            If the file is damaged.
        """
        path = self.path / f"{name}.csv"
        if not path.exists():
            return pd.DataFrame()
        # A pipeline or a class may be named "NA": only numbers may be missing.
        texts = (*_TEXT, *_TEXT_OF_CLASSES)
        try:
            header = pd.read_csv(path, nrows=0)
            numbers = {column: [""] for column in header.columns if column not in texts}
            return pd.read_csv(
                path,
                dtype={column: str for column in texts if column in header},
                keep_default_na=False,
                na_values=numbers,
            )
        except (OSError, ValueError) as error:
            raise RecordError(f"{path}: damaged: {error}") from error

    def embeddings_path(self, pipeline: str) -> Path:
        """Return where the test trials of a pipeline lie."""
        return self.path / "embeddings" / f"{slug(pipeline)}.npz"
