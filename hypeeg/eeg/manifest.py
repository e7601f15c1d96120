"""Data manifests: what a dataset is, where its truth is known, and which traps it holds.

One YAML file in ``data_manifests/`` describes one dataset. A manifest says which MOABB class reads
the recordings and what they should contain, so that :mod:`hypeeg.eeg.datasets` can check them, and
lists known defects in a form that code can act on. This module loads no EEG library.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from hypeeg.eeg.errors import DataError, ManifestError, describe_validation, suggest
from hypeeg.eeg.preprocessing import PreprocessingSpec

Paradigm = Literal["left_right_imagery", "motor_imagery", "ssvep"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Event(_Strict):
    """One event type: its code in the recordings and what it means."""

    code: int
    description: str


class Channels(_Strict):
    """EEG channels of the recordings; ``names`` fixes their order in every loaded array."""

    count: int = Field(gt=0)
    names: list[str] | None = None
    montage: str | None = None

    @model_validator(mode="after")
    def _counted(self) -> Channels:
        if self.names is not None and len(set(self.names)) != self.count:
            raise ValueError(
                f"count={self.count} but names lists {len(set(self.names))} different channels"
            )
        return self


class Citation(_Strict):
    """What to cite."""

    text: str
    doi: str | None = None
    url: str | None = None


class Size(_Strict):
    """Size of the full download, in bytes (0 when nothing is downloaded)."""

    bytes: int = Field(ge=0)
    note: str = ""

    @property
    def human(self) -> str:
        """Size in the largest fitting unit, for example ``'3.4 GB'``."""
        value = float(self.bytes)
        for unit in ("B", "kB", "MB", "GB"):
            if value < 1000 or unit == "GB":
                break
            value /= 1000
        return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


class TrialException(_Strict):
    """Trial counts of one subject (or one session of it) that differ from, or sharpen, the rule."""

    subject: int
    session: str | None = None
    run: str | None = None
    counts: dict[str, int]
    tolerance: int = Field(default=0, ge=0)


class ExpectedTrials(_Strict):
    """Trials of each event in each run or session of each subject, within ``tolerance``."""

    per: Literal["run", "session"]
    counts: dict[str, int]
    tolerance: int = Field(default=0, ge=0)
    exceptions: list[TrialException] = []

    def expected(
        self, subject: int, session: str, run: str | None = None
    ) -> tuple[dict[str, int], int]:
        """Counts and tolerance for one run (``per="run"``) or one session.

        Parameters
        ----------
        subject : int
            Subject number.
        session : str
            Session name.
        run : str or None
            Run name; needed when ``per`` is ``"run"``.

        Returns
        -------
        counts : dict of str to int
            Expected trials of each event.
        tolerance : int
            How far each count may be off.
        """
        for case in self.exceptions:
            if (
                case.subject == subject
                and case.session in (None, session)
                and case.run in (None, run)
            ):
                return dict(case.counts), case.tolerance
        return dict(self.counts), self.tolerance


class Files(_Strict):
    """Where MOABB keeps the recordings: ``<MNE_DATASETS_{sign}_PATH>/MNE-{sign}-data/<pattern>``.

    Each pattern is a format string with ``{subject}`` and ``{run}``; the first that exists is the
    file (MOABB has moved some of its folders between versions).
    """

    sign: str
    patterns: list[str] = Field(min_length=1)
    runs: list[int] = Field(min_length=1)
    runs_by_subject: dict[int, list[int]] = {}
    sha256: dict[str, str] = {}

    @field_validator("patterns")
    @classmethod
    def _formattable(cls, value: list[str]) -> list[str]:
        for pattern in value:
            try:
                pattern.format(subject=1, run=1)
            except (KeyError, IndexError, ValueError) as error:
                raise ValueError(
                    f"pattern {pattern!r} may use only {{subject}} and {{run}}"
                ) from error
        return value

    @property
    def folder(self) -> str:
        """Folder that MOABB makes for this source inside the data path."""
        return f"MNE-{self.sign.lower()}-data"

    def candidates(self, subject: int) -> list[list[str]]:
        """Relative paths of a subject's recordings: for each run, its possible places.

        Parameters
        ----------
        subject : int
            Subject number.
        """
        runs = self.runs_by_subject.get(subject, self.runs)
        return [
            [f"{self.folder}/{p.format(subject=subject, run=run)}" for p in self.patterns]
            for run in runs
        ]


class Recording(_Strict):
    """One run, in MOABB's naming."""

    subject: int
    session: str
    run: str

    def __str__(self) -> str:
        return f"subject {self.subject} session {self.session} run {self.run}"


class DuplicateTrap(_Strict):
    """A run that is a copy of another: leaks between subjects unless one of them is left out."""

    kind: Literal["duplicate"]
    recording: Recording
    original: Recording
    note: str = ""


class ExcludeTrap(_Strict):
    """Subjects that are left out unless they are asked for by number."""

    kind: Literal["exclude"]
    subjects: list[int]
    note: str


class NoteTrap(_Strict):
    """Something to know before drawing conclusions."""

    kind: Literal["note"]
    about: str
    note: str


Trap = Annotated[DuplicateTrap | ExcludeTrap | NoteTrap, Field(discriminator="kind")]


class Manifest(_Strict):
    """Description of one dataset; see ``data_manifests/`` for examples of every field.

    Parameters
    ----------
    name : str
        Name by which runs ask for the dataset.
    title : str
        One line for people.
    moabb_class : str
        Class that reads it: a name in ``moabb.datasets`` or a dotted path.
    moabb_params : dict
        Keyword arguments for that class.
    paradigm : {"left_right_imagery", "motor_imagery", "ssvep"}
        MOABB paradigm that cuts the epochs.
    subjects : list of int or str
        Subject numbers; ``"1-109"`` is short for a range.
    sessions : list of str
        Session names as MOABB gives them.
    events : dict of str to Event
        All event types; ``default_events`` are the classes used when a run names none.
    interval : (float, float)
        Task interval in seconds after the cue: the origin of ``preprocessing.tmin``.
    channels : Channels
        Their number, names and montage.
    sfreq : float
        Sampling rate of the recordings, Hz.
    licence, citation, size
        What may be done with the data, what to cite, how much it is.
    trials : ExpectedTrials
        How many trials there should be.
    files : Files or None
        Where the recordings lie; None when the class makes them itself.
    traps : list
        Known defects and cautions.
    preprocessing : PreprocessingSpec
        Recommended preprocessing, used where a run gives none.
    """

    name: str
    title: str
    moabb_class: str
    moabb_params: dict[str, Any] = {}
    paradigm: Paradigm
    subjects: list[int] = Field(min_length=1)
    sessions: list[str] = Field(min_length=1)
    events: dict[str, Event] = Field(min_length=2)
    default_events: list[str] = Field(min_length=2)
    interval: tuple[float, float]
    channels: Channels
    sfreq: float = Field(gt=0)
    licence: str
    citation: Citation
    size: Size
    trials: ExpectedTrials
    files: Files | None = None
    traps: list[Trap] = []
    preprocessing: PreprocessingSpec = PreprocessingSpec()

    @field_validator("subjects", mode="before")
    @classmethod
    def _expand_range(cls, value: Any) -> Any:
        if isinstance(value, str):
            first, dash, last = value.partition("-")
            if not (dash and first.strip().isdigit() and last.strip().isdigit()):
                raise ValueError("write a list of numbers or a range such as '1-109'")
            return list(range(int(first), int(last) + 1))
        return value

    @field_validator("sessions", mode="before")
    @classmethod
    def _as_names(cls, value: Any) -> Any:
        return [str(name) for name in value] if isinstance(value, list) else value

    @field_validator("events", mode="before")
    @classmethod
    def _event_names(cls, value: Any) -> Any:
        # YAML reads the SSVEP event names 13, 17, 21 as integers.
        return {str(k): v for k, v in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        if len(set(self.subjects)) != len(self.subjects):
            raise ValueError("subjects: a number is listed twice; list each once")
        counted = [self.trials.counts, *(case.counts for case in self.trials.exceptions)]
        for field, names in (
            ("default_events", self.default_events),
            ("trials", [name for counts in counted for name in counts]),
        ):
            for event in names:
                if event not in self.events:
                    raise ValueError(
                        f"{field}: unknown event {event!r}; {suggest(event, self.events)}"
                    )
        for trap in self.traps:
            if isinstance(trap, DuplicateTrap):
                for recording in (trap.recording, trap.original):
                    if recording.subject not in self.subjects:
                        raise ValueError(f"traps: {recording} is not among the subjects")
                    if recording.session not in self.sessions:
                        raise ValueError(f"traps: {recording} is not among the sessions")
        if self.interval[0] >= self.interval[1]:
            raise ValueError(f"interval={self.interval}: start must be before end")
        self.preprocessing.check_sfreq(self.sfreq, f"{self.name} (field sfreq)")
        return self

    @property
    def duplicates(self) -> list[DuplicateTrap]:
        """Runs known to be copies of other runs."""
        return [trap for trap in self.traps if isinstance(trap, DuplicateTrap)]

    @property
    def default_subjects(self) -> list[int]:
        """Subjects used when a run names none: all but those a trap excludes."""
        out = {s for trap in self.traps if isinstance(trap, ExcludeTrap) for s in trap.subjects}
        return [s for s in self.subjects if s not in out]

    def resolve_preprocessing(
        self, given: PreprocessingSpec | dict[str, Any] | None = None
    ) -> PreprocessingSpec:
        """The recommended preprocessing with the fields that a run sets put in its place.

        Parameters
        ----------
        given : PreprocessingSpec, dict or None
            Only the fields that were set explicitly count.
        """
        if given is None:
            return self.preprocessing
        if isinstance(given, PreprocessingSpec):
            given = given.model_dump(include=given.model_fields_set)
        try:
            return self.preprocessing.updated(**given)
        except ValidationError as error:
            raise DataError(
                f"preprocessing of {self.name}, with the manifest's values where none are given:\n"
                f"{describe_validation(error)}"
            ) from error


def manifests_dir() -> Path:
    """Folder of the manifests: in the package when installed from a wheel, else in the repository.

    Raises
    ------
    ManifestError
        If neither exists.
    """
    here = Path(__file__).resolve()
    places = [here.parents[1] / "_data_manifests", here.parents[2] / "data_manifests"]
    for place in places:
        if place.is_dir():
            return place
    raise ManifestError(
        f"no folder of data manifests: looked for {places[0]} and {places[1]}; reinstall hypeeg"
    )


def list_manifests() -> list[str]:
    """Names of the datasets that have a manifest, in alphabetical order."""
    names = (_read(path).get("name", path.stem) for path in _manifest_files())
    return sorted((str(name) for name in names), key=str.lower)


def load_manifest(name: str | Path) -> Manifest:
    """Load a manifest by dataset name (any case) or from a YAML file of one's own.

    Parameters
    ----------
    name : str or Path
        ``"PhysionetMI"``, ``"physionet_mi"``, or a path that ends in ``.yaml`` or ``.yml``.

    Raises
    ------
    ManifestError
        If there is no such manifest (the message gives the nearest names) or it breaks the schema
        (the message names each field).
    """
    if isinstance(name, Path) or str(name).lower().endswith((".yaml", ".yml")):
        path = Path(name).expanduser()
        if not path.is_file():
            raise ManifestError(
                f"dataset manifest {str(name)!r}: no such file ({path.absolute()}); give the path "
                f"of a YAML file or one of {', '.join(list_manifests())}"
            )
    else:
        by_key = {_key(file.stem): file for file in _manifest_files()}
        if _key(name) not in by_key:
            raise ManifestError(f"unknown dataset {name!r}; {suggest(name, list_manifests())}")
        path = by_key[_key(name)]
    content = _read(path)
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        raise ManifestError(f"data manifest {path}:\n{describe_validation(error)}") from error


def _manifest_files() -> list[Path]:
    return sorted(manifests_dir().glob("*.yaml"))


def _key(name: str) -> str:
    # The file of PhysionetMI is physionet_mi.yaml: compare letters and digits alone.
    return "".join(character for character in name.lower() if character.isalnum())


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ManifestError(f"data manifest {path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ManifestError(f"data manifest {path}: expected fields such as 'name: …', found none")
    return content
