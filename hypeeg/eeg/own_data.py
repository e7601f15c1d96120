"""One's own recordings, described in a few lines of YAML: a BIDS folder, files, or arrays.

A manifest with the block ``own`` needs no MOABB class. What it leaves out (subjects, events,
channels, sampling rate) is read from the recordings' headers by :mod:`hypeeg.eeg.own_headers` when
the manifest is loaded. The shortest manifests are one line::

    {name: Mine, own: {bids: /data/mine, interval: [0, 4]}}
    {name: Mine, own: {recordings: "/data/s{subject}_{label}.edf", window: 4}}
    {name: Mine, own: {arrays: /data/epochs.npz}}
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from hypeeg.eeg.errors import MissingDataError
from hypeeg.eeg.manifest_parts import Strict
from hypeeg.eeg.paths import DATA_VARIABLE

SUFFIXES = (".edf", ".bdf", ".gdf", ".fif", ".set", ".vhdr")
_FIELDS = ("subject", "session", "run", "label")


class OwnData(Strict):
    """Where one's own recordings lie and how they are labelled.

    Exactly one of ``bids``, ``recordings`` and ``arrays`` is given. Paths may start with ``~``;
    relative ones are looked for beside the manifest, then in ``HYPEEG_DATA/eeg`` and
    ``HYPEEG_DATA``.

    Parameters
    ----------
    bids : str or None
        Root of a BIDS dataset, read by MOABB's ``LocalBIDSDataset``.
    recordings : str, list of str or None
        Path of the EDF, BDF, GDF, FIF, SET or BrainVision (``.vhdr``) files, with the places
        ``{subject}``, ``{session}``, ``{run}`` and ``{label}`` where their names differ, and
        ``*`` for anything. A list holds several such patterns.
    arrays : str or None
        An ``.npz`` file with ``X`` (trials, channels, times), ``y`` and ``sfreq``, and, where
        there are any, ``subject``, ``session``, ``run`` (one a trial) and ``ch_names``.
    labels_from : str or None
        ``"name"``: the ``{label}`` of the file's name, one label a file. ``"annotations"``: the
        annotations (or the event channel) in the file. Else the path of a CSV or TSV table with
        the columns ``file`` and ``label`` (one label a file), and ``onset`` in seconds where
        the table lists trials. None takes the name if the pattern has ``{label}``, else the
        annotations.
    labels : dict of str to str
        Event name for each label as it stands in the files; labels that it leaves out are not
        used. Empty: labels are event names.
    window, step : float or None
        Length and distance in seconds of the windows that a file with one label is cut into.
    max_windows : int or None
        Windows to keep of each such file, spread evenly over it: makes recordings of different
        length count the same.
    interval : (float, float) or None
        Task interval after each annotation, in seconds; for windows it follows from ``window``.
    exclude_channels : list of str
        Channels that are not EEG or not wanted, by their names in the file.
    channel_prefix : str
        What to strip from channel names, such as ``"EEG "``.
    unit : float
        Volts of one unit as MNE reads the file; 1e-6 if an array holds microvolts.
    base : str or None
        Folder that relative paths start from; set to the manifest's own by ``load_manifest``.
    """

    bids: str | None = None
    recordings: str | list[str] | None = None
    arrays: str | None = None
    labels_from: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    window: float | None = Field(default=None, gt=0)
    step: float | None = Field(default=None, gt=0)
    max_windows: int | None = Field(default=None, gt=0)
    interval: tuple[float, float] | None = None
    exclude_channels: list[str] = Field(default_factory=list)
    channel_prefix: str = ""
    unit: float = Field(default=1.0, gt=0)
    base: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> OwnData:
        given = [k for k in ("bids", "recordings", "arrays") if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of bids, recordings and arrays; here: {given or 'none'}"
            )
        if self.recordings is None:
            return self
        for pattern in self.patterns:
            unknown = [f for f in re.findall(r"\{(\w*)\}", pattern) if f not in _FIELDS]
            if unknown:
                raise ValueError(
                    f"recordings: {pattern!r} may name {', '.join(_FIELDS)} in braces, "
                    f"not {unknown}"
                )
        if self.labels_from == "name" and not all("{label}" in p for p in self.patterns):
            raise ValueError("labels_from: name needs {label} in every pattern of recordings")
        if self.whole_files and self.window is None:
            raise ValueError("window: files with one label each need a window length in seconds")
        if not self.whole_files and self.window is None and self.interval is None:
            raise ValueError("interval: labelled trials need [start, end] in seconds after them")
        return self

    @property
    def patterns(self) -> list[str]:
        """The patterns of ``recordings``, as a list."""
        given = self.recordings or []
        return [given] if isinstance(given, str) else given

    @property
    def label_source(self) -> str:
        """Where labels come from, with the default filled in."""
        if self.labels_from is not None:
            return self.labels_from
        named = bool(self.patterns) and all("{label}" in pattern for pattern in self.patterns)
        return "name" if named else "annotations"

    @property
    def whole_files(self) -> bool:
        """Whether a file is known to hold one label only (a table may say either)."""
        return self.recordings is not None and self.label_source == "name"

    def place(self, given: str) -> Path:
        """The absolute path that a path of this block means.

        Parameters
        ----------
        given : str
            As written; may be a pattern, whose fixed beginning decides.

        Raises
        ------
        MissingDataError
            If it is relative and in none of the places looked at.
        """
        path = Path(given).expanduser()
        if path.is_absolute():
            return path
        data = os.environ.get(DATA_VARIABLE, "").strip()
        roots = [Path(self.base)] if self.base else []
        roots += [Path(data).expanduser() / "eeg", Path(data).expanduser()] if data else []
        fixed = _fixed_beginning(path)
        for root in roots:
            if (root / fixed).exists():
                return root / path
        looked = ", ".join(map(str, roots)) or "no folder (it is not set)"
        raise MissingDataError(
            f"no {str(fixed)!r} in {looked}; set {DATA_VARIABLE} to the folder that holds it, or "
            "write an absolute path in the manifest"
        )


def _fixed_beginning(path: Path) -> Path:
    """The leading part of a pattern without places or wildcards (at least its first folder)."""
    fixed: list[str] = []
    for part in path.parts:
        if any(sign in part for sign in "{*?["):
            break
        fixed.append(part)
    return Path(*fixed) if fixed else Path()


class OwnFile(Strict):
    """One recording, with what its name says."""

    path: str
    subject: str
    session: str = "0"
    run: str | None = None
    label: str | None = None


def find_recordings(own: OwnData) -> list[OwnFile]:
    """Files that the patterns match, in the order of subject, session, run and name.

    Parameters
    ----------
    own : OwnData
        With ``recordings``.

    Returns
    -------
    list of OwnFile
        Empty if nothing matches.

    Raises
    ------
    MissingDataError
        If the folder does not exist.
    """
    found: dict[str, OwnFile] = {}
    for pattern in own.patterns:
        absolute = own.place(pattern)
        wildcard = re.sub(r"\{\w+\}", "*", absolute.as_posix())
        regex = _regex(absolute.as_posix())
        root = _fixed_beginning(absolute)
        for path in sorted(root.glob(str(Path(wildcard).relative_to(root)))):
            match = re.fullmatch(regex, path.as_posix())
            if match and path.suffix.lower() in SUFFIXES:
                names = {k: v for k, v in match.groupdict().items() if v is not None}
                names.setdefault("subject", path.stem)
                found[str(path)] = OwnFile(path=str(path), **names)
    files = list(found.values())
    return sorted(
        files,
        key=lambda f: (natural(f.subject), natural(f.session), natural(f.run or ""), f.path),
    )


def own_root(own: OwnData) -> Path:
    """Folder that one's own recordings lie in.

    Parameters
    ----------
    own : OwnData
        Where the recordings lie.
    """
    path = own.place(own.bids or own.arrays or own.patterns[0])
    if own.bids is not None:
        return path
    return path.parent if own.arrays is not None else _fixed_beginning(path)


def own_subject_files(own: OwnData, subject: int) -> tuple[list[Path], list[Path]]:
    """Files of one subject: those that are here, and what is missing if there are none.

    Parameters
    ----------
    own : OwnData
        Where the recordings lie.
    subject : int
        Subject number.

    Returns
    -------
    present, missing : list of Path
    """
    if own.arrays is not None:
        path = own.place(own.arrays)
        return ([path], []) if path.is_file() else ([], [path])
    if own.bids is not None:
        root = own.place(own.bids)
        labels = sorted((p.name for p in root.glob("sub-*") if p.is_dir()), key=natural)
        folder = {n: label for label, n in number_subjects(labels).items()}.get(subject)
        found = sorted((root / folder).rglob("*")) if folder else []
        kept = [path for path in found if path.is_file()]
        return (kept, []) if kept else ([], [root / f"sub-{subject}"])
    try:
        files = find_recordings(own)
    except MissingDataError:
        return [], [Path(own.patterns[0])]
    numbers = number_subjects(list(dict.fromkeys(file.subject for file in files)))
    here = [Path(file.path) for file in files if numbers[file.subject] == subject]
    return (here, []) if here else ([], [own.place(own.patterns[0])])


def _regex(pattern: str) -> str:
    pieces = re.split(r"(\{\w+\}|\*+)", pattern)
    seen: set[str] = set()
    out = []
    for piece in pieces:
        if piece.startswith("{"):
            name = piece[1:-1]
            # A place that stands twice must read the same both times.
            out.append(f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+?)")
            seen.add(name)
        elif piece.startswith("*"):
            out.append(".*" if piece == "**" else "[^/]*")
        else:
            out.append(re.escape(piece))
    return "".join(out)


def natural(text: str) -> list[Any]:
    """Sort key that puts ``s2`` before ``s10``."""
    pieces = re.split(r"(\d+)", text)
    return [(1, int(p), "") if p.isdigit() else (0, 0, p) for p in pieces]


def number_subjects(names: list[str]) -> dict[str, int]:
    """Subject numbers: those in the names where they are all different, else 1, 2, ….

    Parameters
    ----------
    names : list of str
        Different subject names, in order.

    Returns
    -------
    dict of str to int
    """
    digits = [re.findall(r"\d+", name) for name in names]
    if all(len(found) == 1 for found in digits):
        numbers = [int(found[0]) for found in digits]
        if len(set(numbers)) == len(numbers):
            return dict(zip(names, numbers))
    return {name: k for k, name in enumerate(names, start=1)}


def indexed(names: list[str]) -> dict[str, str]:
    """Session or run names as MOABB wants them: a number first, then letters and numbers only.

    Parameters
    ----------
    names : list of str
        Different names, in order.

    Returns
    -------
    dict of str to str
        Unchanged where they already are so and their numbers differ; else with their position
        in front.
    """
    matches = [re.fullmatch(r"(\d+)(|[a-zA-Z]+[a-zA-Z0-9]*)", name) for name in names]
    numbers = [int(match.group(1)) for match in matches if match]
    if len(numbers) == len(names) == len(set(numbers)):
        return {name: name for name in names}
    clean = [re.sub(r"[^a-zA-Z0-9]", "", name) for name in names]
    return {
        name: f"{k}{word if word[:1].isalpha() else 'n' + word}" if word else str(k)
        for k, (name, word) in enumerate(zip(names, clean))
    }
