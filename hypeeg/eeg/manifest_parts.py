"""The parts of a data manifest: events, channels, trial counts, files, traps.

Plain pydantic models without an EEG library behind them; :mod:`hypeeg.eeg.manifest` puts them
together.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

# What a manifest says where nobody states it.
UNKNOWN = "unknown"

Paradigm = Literal["left_right_imagery", "motor_imagery", "ssvep", "p300", "cvep", "resting_state"]


class Strict(BaseModel):
    """A frozen model that refuses unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Event(Strict):
    """One event type: its code (or codes) in the recordings and what it means, where known."""

    code: int | list[int]
    description: str = ""


class Channels(Strict):
    """EEG channels of the recordings; ``names`` fixes their order in every loaded array.

    ``listed`` are names that a catalogue gives and nobody has compared with the recordings: they
    are shown, never required.
    """

    count: int = Field(gt=0)
    names: list[str] | None = None
    listed: list[str] | None = None
    montage: str | None = None

    @model_validator(mode="after")
    def _counted(self) -> Channels:
        if self.names is not None and len(set(self.names)) != self.count:
            raise ValueError(
                f"count={self.count} but names lists {len(set(self.names))} different channels"
            )
        return self


class Citation(Strict):
    """What to cite."""

    text: str
    doi: str | None = None
    url: str | None = None


class Size(Strict):
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


class TrialException(Strict):
    """Trial counts of one subject (or one session of it) that differ from, or sharpen, the rule."""

    subject: int
    session: str | None = None
    run: str | None = None
    counts: dict[str, int]
    tolerance: int = Field(default=0, ge=0)


class ExpectedTrials(Strict):
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


class Files(Strict):
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


class Catalogue(Strict):
    """What MOABB's own tables say, word for word, with the version they were copied from.

    MOABB does not say whether its trial counts are per run, session or subject, so they are
    evidence for a person and an upper bound for memory, not something to check recordings against.

    Parameters
    ----------
    moabb : str
        Version of MOABB.
    table : str or None
        Summary table that lists the dataset, such as ``"imagery"``; None when none does.
    row : dict of str to str
        Its row of that table.
    trials : dict of str to str
        Trial counts in the class's own metadata.
    """

    moabb: str
    table: str | None = None
    row: dict[str, str] = {}
    trials: dict[str, str] = {}


class Recording(Strict):
    """One run, in MOABB's naming."""

    subject: int
    session: str
    run: str

    def __str__(self) -> str:
        return f"subject {self.subject} session {self.session} run {self.run}"


class DuplicateTrap(Strict):
    """A run that is a copy of another: leaks between subjects unless one of them is left out."""

    kind: Literal["duplicate"]
    recording: Recording
    original: Recording
    note: str = ""


class ExcludeTrap(Strict):
    """Subjects that are left out unless they are asked for by number."""

    kind: Literal["exclude"]
    subjects: list[int]
    note: str


class NoteTrap(Strict):
    """Something to know before drawing conclusions."""

    kind: Literal["note"]
    about: str
    note: str


Trap = Annotated[DuplicateTrap | ExcludeTrap | NoteTrap, Field(discriminator="kind")]
