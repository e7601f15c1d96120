"""The files behind a dataset: where they should be, whether they are whole, and their hashes."""

from __future__ import annotations

from pathlib import Path

from hypeeg.eeg.errors import CorruptDataError, MissingDataError
from hypeeg.eeg.lock import read_lock
from hypeeg.eeg.lock import sha256 as sha256
from hypeeg.eeg.manifest import Manifest
from hypeeg.eeg.own_data import own_root, own_subject_files
from hypeeg.eeg.paths import DATA_VARIABLE, mne_setting

_EDF_FIXED_HEADER = 256
_EDF_SIGNAL_HEADER = 256
_EDF_SAMPLES_FIELD = 216  # offset of "samples per record", in bytes per signal


def storage_root(manifest: Manifest) -> Path:
    """Folder that MOABB would look in for this dataset.

    Parameters
    ----------
    manifest : Manifest
        A manifest whose ``files`` or ``own`` is not None.
    """
    if manifest.own is not None:
        return own_root(manifest.own)
    if manifest.files is None:
        raise ValueError(f"{manifest.name} is not read from files")
    found = mne_setting(f"MNE_DATASETS_{manifest.files.sign.upper()}_PATH")
    found = found or mne_setting("MNE_DATA") or "~/mne_data"
    return Path(found).expanduser()


def subject_files(manifest: Manifest, subject: int) -> tuple[list[Path], list[Path]]:
    """Files of one subject: those that are here, and those that should be but are not.

    Parameters
    ----------
    manifest : Manifest
        Dataset description.
    subject : int
        Subject number.

    Returns
    -------
    present, missing : list of Path
        Both empty for a dataset that is not read from files, and for one whose files only MOABB
        knows and that ``hypeeg data fetch`` has not recorded.
    """
    if manifest.own is not None:
        return own_subject_files(manifest.own, subject)
    if manifest.files is None and not manifest.is_moabb:
        return [], []
    if manifest.files is None:
        recorded = [Path(f.path) for f in read_lock(manifest.name).get(subject, [])]
        return [p for p in recorded if p.is_file()], [p for p in recorded if not p.is_file()]
    root = storage_root(manifest)
    present: list[Path] = []
    missing: list[Path] = []
    for candidates in manifest.files.candidates(subject):
        paths = [root / relative for relative in candidates]
        here = next((path for path in paths if path.is_file()), None)
        (present if here else missing).append(here or paths[0])
    return present, missing


def available_subjects(manifest: Manifest) -> list[int]:
    """Subjects all of whose recordings are on this machine.

    Parameters
    ----------
    manifest : Manifest
        Dataset description.
    """
    found = {s: subject_files(manifest, s) for s in manifest.subjects}
    return [s for s, (present, missing) in found.items() if not missing and present]


def missing_error(manifest: Manifest, subject: int, missing: list[Path]) -> MissingDataError:
    """The error for absent recordings: subject, path and remedy.

    Parameters
    ----------
    manifest : Manifest
        Dataset description.
    subject : int
        Subject whose recordings are absent.
    missing : list of Path
        Files that were looked for.
    """
    here = available_subjects(manifest)
    shown = ", ".join(map(str, here[:12])) + (", …" if len(here) > 12 else "")
    more = f" (and {len(missing) - 1} more of this subject)" if len(missing) > 1 else ""
    if here:
        remedy = f"complete here: subjects {shown} (set dataset.subjects to some of these), or put"
    else:
        folder = f"eeg/{manifest.files.folder}" if manifest.files else "them"
        remedy = f"no subject is complete there: set {DATA_VARIABLE} to the folder that holds "
        remedy += f"{folder}, or put"
    return MissingDataError(
        f"{manifest.name} subject {subject}: no file {missing[0]}{more}; {remedy} the recordings "
        f"there (source: {manifest.citation.url or manifest.citation.text}); "
        f"'hypeeg data check {manifest.name}' lists what is here"
    )


def check_whole(path: Path) -> None:
    """Raise if an EDF or BDF file is shorter or longer than its own header says.

    MNE reads a truncated EDF as a shorter recording with no more than a warning, so trials at its
    end vanish silently. Other formats pass: their readers notice.

    Parameters
    ----------
    path : Path
        File to check.

    Raises
    ------
    CorruptDataError
        Naming the file, its size and the size it should have.

    References
    ----------
    Kemp et al. (1992), A simple format for exchange of digitized polygraphic recordings,
    Electroencephalography and Clinical Neurophysiology 82, 391-393.
    """
    suffix = path.suffix.lower()
    if suffix not in (".edf", ".bdf"):
        return
    size = path.stat().st_size
    remedy = "copy or download it again"
    with path.open("rb") as stream:
        fixed = stream.read(_EDF_FIXED_HEADER)
        try:
            header_size = int(fixed[184:192])
            n_records = int(fixed[236:244])
            n_signals = int(fixed[252:256])
            stream.seek(_EDF_FIXED_HEADER + _EDF_SAMPLES_FIELD * n_signals)
            fields = stream.read(8 * n_signals)
            samples = [int(fields[8 * i : 8 * (i + 1)]) for i in range(n_signals)]
        except ValueError as error:
            raise CorruptDataError(
                f"{path}: no readable {suffix[1:].upper()} header ({size} bytes); {remedy}"
            ) from error
    record = sum(samples) * (3 if suffix == ".bdf" else 2)
    if header_size != _EDF_FIXED_HEADER + _EDF_SIGNAL_HEADER * n_signals or record <= 0:
        raise CorruptDataError(f"{path}: inconsistent {suffix[1:].upper()} header; {remedy}")
    body = size - header_size
    # A header may leave the number of records open (-1) while recording; then count whole ones.
    expected = header_size + record * (n_records if n_records >= 0 else body // record)
    if size != expected:
        what = "truncated" if size < expected else "longer than its header says"
        raise CorruptDataError(
            f"{path}: {what}: {size} bytes where its header asks for {expected} "
            f"({n_records} records of {record} bytes); {remedy}"
        )
