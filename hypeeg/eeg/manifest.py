"""Data manifests: what a dataset is, where its truth is known, and which traps it holds.

One YAML file in ``data_manifests/`` describes one dataset. A manifest says which MOABB class reads
the recordings and what they should contain, so that :mod:`hypeeg.eeg.datasets` can check them, and
lists known defects in a form that code can act on. Those in ``data_manifests/moabb/`` are written
by :mod:`hypeeg.eeg.catalogue` from MOABB's own tables. This module loads no EEG library.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from hypeeg.eeg.errors import DataError, ManifestError, describe_validation, suggest
from hypeeg.eeg.manifest_parts import UNKNOWN as UNKNOWN
from hypeeg.eeg.manifest_parts import Catalogue as Catalogue
from hypeeg.eeg.manifest_parts import Channels as Channels
from hypeeg.eeg.manifest_parts import Citation as Citation
from hypeeg.eeg.manifest_parts import DuplicateTrap as DuplicateTrap
from hypeeg.eeg.manifest_parts import Event as Event
from hypeeg.eeg.manifest_parts import ExcludeTrap as ExcludeTrap
from hypeeg.eeg.manifest_parts import ExpectedTrials as ExpectedTrials
from hypeeg.eeg.manifest_parts import Files as Files
from hypeeg.eeg.manifest_parts import NoteTrap as NoteTrap
from hypeeg.eeg.manifest_parts import Paradigm as Paradigm
from hypeeg.eeg.manifest_parts import Recording as Recording
from hypeeg.eeg.manifest_parts import Size as Size
from hypeeg.eeg.manifest_parts import Strict as Strict
from hypeeg.eeg.manifest_parts import Trap as Trap
from hypeeg.eeg.manifest_parts import TrialException as TrialException
from hypeeg.eeg.own_data import OwnData
from hypeeg.eeg.preprocessing import PreprocessingSpec

# The C parser reads all manifests in a fraction of a second; the pure one takes several.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# What an own manifest may leave to the headers of the recordings.
_FROM_HEADERS = ("subjects", "sessions", "events", "interval", "channels", "sfreq")


class Manifest(Strict):
    """Description of one dataset; see ``data_manifests/`` for examples of every field.

    Parameters
    ----------
    name : str
        Name by which runs ask for the dataset.
    title : str
        One line for people.
    moabb_class : str
        Class that reads it: a name in ``moabb.datasets`` or a dotted path; empty with ``own``.
    moabb_params : dict
        Keyword arguments for that class.
    own : OwnData or None
        One's own recordings, in place of a class.
    paradigm : str
        MOABB paradigm that cuts the epochs: ``left_right_imagery``, ``motor_imagery`` (any
        classes that follow a cue), ``ssvep``, ``p300`` (any event-related potential), ``cvep``
        or ``resting_state`` (windows of a lasting state).
    subjects : list of int or str
        Subject numbers; ``"1-109"`` is short for a range.
    sessions : list of str
        Session names as MOABB gives them; empty where they are not known before reading.
    n_sessions : int or None
        Sessions of a subject (at most, where subjects differ); None if not known.
    events : dict of str to Event
        All event types; ``default_events`` are the classes used when a run names none.
    interval : (float, float)
        Task interval in seconds after the cue: the origin of ``preprocessing.tmin``.
    channels : Channels
        Their number, names and montage.
    sfreq : float
        Sampling rate of the recordings, Hz.
    licence, citation, size
        What may be done with the data (``"unknown"`` where nobody says), what to cite, how much
        it is (None if not known).
    trials : ExpectedTrials or None
        How many trials there should be; None where no source says so exactly.
    files : Files or None
        Where the recordings lie; None when the class makes them itself or knows better.
    catalogue : Catalogue or None
        What MOABB's tables say, in a manifest written from them.
    traps : list
        Known defects and cautions.
    preprocessing : PreprocessingSpec
        Recommended preprocessing, used where a run gives none.
    """

    name: str
    title: str
    moabb_class: str = ""
    moabb_params: dict[str, Any] = Field(default_factory=dict)
    own: OwnData | None = None
    paradigm: Paradigm
    subjects: list[int] = Field(min_length=1)
    sessions: list[str] = Field(default_factory=list)
    n_sessions: int | None = Field(default=None, gt=0)
    events: dict[str, Event] = Field(min_length=1)
    default_events: list[str] = Field(min_length=1)
    interval: tuple[float, float]
    channels: Channels
    sfreq: float = Field(gt=0)
    licence: str
    citation: Citation
    size: Size | None = None
    trials: ExpectedTrials | None = None
    files: Files | None = None
    catalogue: Catalogue | None = None
    traps: list[Trap] = Field(default_factory=list)
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

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, value: Any) -> Any:
        """Count the sessions that are named, and take all events where no default is given."""
        if not isinstance(value, dict):
            return value
        value = dict(value)
        if isinstance(value.get("sessions"), list) and value["sessions"]:
            value.setdefault("n_sessions", len(value["sessions"]))
        if isinstance(value.get("events"), dict):
            value.setdefault("default_events", [str(name) for name in value["events"]])
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        if bool(self.moabb_class) == (self.own is not None):
            raise ValueError("give either moabb_class or own (one's own recordings)")
        if len(set(self.subjects)) != len(self.subjects):
            raise ValueError("subjects: a number is listed twice; list each once")
        counted = []
        if self.trials is not None:
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
    def is_moabb(self) -> bool:
        """Whether one of MOABB's own classes reads it (and may download it)."""
        return bool(self.moabb_class) and "." not in self.moabb_class

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
    return sorted((_name(path) for path in _manifest_files()), key=str.lower)


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
    MissingDataError
        If it describes one's own recordings by their headers and they are not there.
    """
    own_file = isinstance(name, Path) or str(name).lower().endswith((".yaml", ".yml"))
    if own_file:
        path = Path(name).expanduser()
        if not path.is_file():
            raise ManifestError(
                f"dataset manifest {str(name)!r}: no such file ({path.absolute()}); give the path "
                f"of a YAML file or one of {_shortened(list_manifests())}"
            )
    else:
        by_key = {_key(file.stem): file for file in _manifest_files()}
        if _key(str(name)) not in by_key:
            raise ManifestError(f"unknown dataset {name!r}; {suggest(str(name), list_manifests())}")
        path = by_key[_key(str(name))]
    content = _read(path)
    try:
        if "own" in content:
            content = _complete_own(content, path if own_file else None)
        return Manifest.model_validate(content)
    except ValidationError as error:
        raise ManifestError(f"data manifest {path}:\n{describe_validation(error)}") from error


def paradigms_called(word: str) -> set[str]:
    """Paradigms of manifests that a word stands for: their own names, or wider ones.

    Parameters
    ----------
    word : str
        Such as ``"imagery"`` (with and without hands), ``"erp"``, ``"ssvep"``.

    Raises
    ------
    DataError
        If it is none of them.
    """
    known = {name: {name} for name in get_args(Paradigm)}
    known["imagery"] = {"motor_imagery", "left_right_imagery"}
    known |= {"erp": {"p300"}, "rstate": {"resting_state"}, "c-vep": {"cvep"}}
    if word.lower() not in known:
        raise DataError(f"paradigm {word!r}: {suggest(word, sorted(known))}")
    return known[word.lower()]


def _complete_own(content: dict[str, Any], path: Path | None) -> dict[str, Any]:
    """Fill in what a manifest of own recordings leaves to their headers."""
    given = content["own"]
    if path is not None and isinstance(given, dict):
        given = {"base": str(path.absolute().parent), **given}
    own = OwnData.model_validate(given)
    content = {**content, "own": own}
    if all(field in content for field in _FROM_HEADERS):
        return content
    from hypeeg.eeg.own_headers import describe

    try:
        return {**describe(own, content), **content}
    except DataError as error:
        error.add_note(f"data manifest {path or content.get('name')}")
        raise


def _manifest_files() -> list[Path]:
    folder = manifests_dir()
    return sorted([*folder.glob("*.yaml"), *folder.glob("moabb/*.yaml")])


def _name(path: Path) -> str:
    """The dataset's name, without reading the whole file where its first line says it."""
    with path.open(encoding="utf-8") as stream:
        match = re.fullmatch(r"name: *([\w.-]+)\s*", stream.readline())
    return match.group(1) if match else str(_read(path).get("name", path.stem))


def _shortened(names: list[str]) -> str:
    return ", ".join(names[:12]) + (", … ('hypeeg data list')" if len(names) > 12 else "")


def _key(name: str) -> str:
    # The file of PhysionetMI is physionet_mi.yaml: compare letters and digits alone.
    return "".join(character for character in name.lower() if character.isalnum())


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # a safe loader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ManifestError(f"data manifest {path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ManifestError(f"data manifest {path}: expected fields such as 'name: …', found none")
    return content
