"""How much memory a request needs, before anything is read, and whether there is that much.

The estimate is the peak of :func:`hypeeg.eeg.load_epochs`: all epochs in float32, once more while
they are joined, and one subject's recordings and epochs in MNE's float64. Trial counts come from
the manifest, from the headers of one's own recordings, or from MOABB's summary table, whose counts
are multiplied by the sessions because MOABB does not say whether they are per session: an upper
bound.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hypeeg.eeg import files as _files
from hypeeg.eeg.errors import TooLargeError
from hypeeg.eeg.manifest import Manifest
from hypeeg.eeg.preprocessing import PreprocessingSpec

# Left to the rest of the process: models, copies that pipelines make.
_SHARE = 0.8
# Bytes of float64 for each byte of file, twice: the filter works on a copy.
_EXPANSION = {".edf": 8.0, ".gdf": 8.0, ".bdf": 5.4}
_OTHER_EXPANSION = 4.0


@dataclass(frozen=True)
class MemoryEstimate:
    """What a request needs.

    Parameters
    ----------
    trials : int
        Trials of all subjects.
    largest_subject : int
        Trials of the subject with most.
    n_subjects, n_channels, n_times : int
        Size of the arrays after resampling.
    epochs_bytes : int
        All epochs, float32.
    peak_bytes : int
        The most that is held at any moment of loading.
    source : str
        Where the trial counts come from.
    """

    trials: int
    largest_subject: int
    n_subjects: int
    n_channels: int
    n_times: int
    epochs_bytes: int
    peak_bytes: int
    source: str

    def describe(self) -> str:
        """The estimate in one line."""
        return (
            f"{self.trials} trials × {self.n_channels} channels × {self.n_times} samples × 4 bytes "
            f"= {human(self.epochs_bytes)} ({self.source}), {human(self.peak_bytes)} at the peak "
            "of loading"
        )


def human(n_bytes: float) -> str:
    """Bytes in the largest fitting unit, for example ``'3.4 GB'``.

    Parameters
    ----------
    n_bytes : float
        Number of bytes.
    """
    for unit in ("B", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} GB"


def estimate_memory(
    manifest: Manifest,
    subjects: Sequence[int],
    events: Sequence[str],
    spec: PreprocessingSpec,
    *,
    mapped: bool = False,
) -> MemoryEstimate | None:
    """Estimate what loading needs.

    Parameters
    ----------
    manifest : Manifest
        Dataset description.
    subjects : sequence of int
        Subjects to load.
    events : sequence of str
        Classes to load.
    spec : PreprocessingSpec
        With the manifest's recommendations filled in.
    mapped : bool
        Whether the epochs stay on disk (a cache folder is given): then only one subject at a
        time is in memory.

    Returns
    -------
    MemoryEstimate or None
        None where nothing says how many trials there are.
    """
    counted = [_trials(manifest, subject, events) for subject in subjects]
    known = [pair for pair in counted if pair is not None]
    if len(known) < len(counted) or not known:
        return None
    tmax = manifest.interval[1] - manifest.interval[0] if spec.tmax is None else spec.tmax
    seconds = max(tmax - spec.tmin, 0.0)
    n_channels = len(spec.channels) if spec.channels else manifest.channels.count
    # Recording steps may have changed the rate before the epochs are cut.
    sfreq = spec.recording_sfreq(manifest.sfreq)
    raw_times = int(seconds * sfreq) + 1
    n_times = int(seconds * (spec.resample or sfreq)) + 1
    trials, largest = sum(n for n, _ in known), max(n for n, _ in known)
    epochs_bytes = 4 * trials * n_channels * n_times
    # MNE holds the epochs in float64 before and after resampling.
    recordings = _recording_bytes(manifest, subjects, seconds, largest)
    # Each step works on a copy of one recording while the subject's others are held.
    recordings = int(recordings * max(1.0, sfreq / manifest.sfreq))
    if spec.recording_steps or spec.reference is not None:
        recordings += recordings // 2
    subject_bytes = 8 * largest * n_channels * (raw_times + n_times) + recordings
    joined = 0 if mapped else epochs_bytes * (2 if len(known) > 1 else 1)
    return MemoryEstimate(
        trials=trials,
        largest_subject=largest,
        n_subjects=len(known),
        n_channels=n_channels,
        n_times=n_times,
        epochs_bytes=epochs_bytes,
        peak_bytes=int(joined + subject_bytes),
        source=known[0][1],
    )


def check_memory(name: str, estimate: MemoryEstimate | None, limit: float | None = None) -> None:
    """Raise if a request needs more memory than there is.

    Parameters
    ----------
    name : str
        Name of the dataset.
    estimate : MemoryEstimate or None
        From :func:`estimate_memory`; None passes.
    limit : float or None
        Bytes that may be used; None takes 80 % of what is free now.

    Raises
    ------
    TooLargeError
        With the numbers, and what to do.
    """
    allowed = usable_memory(limit)
    if estimate is None or allowed is None or estimate.peak_bytes <= allowed:
        return
    words = f"{human(allowed)} may be used"
    if limit is None:
        words += f" ({_SHARE:.0%} of what is free)"
    limit = allowed
    fits = int(limit / estimate.peak_bytes * estimate.n_subjects)
    fewer = f"fewer subjects (about {fits} fit)" if fits else "fewer subjects"
    raise TooLargeError(
        f"{name}: {estimate.n_subjects} subjects need {estimate.describe()}; {words}. Choose "
        f"{fewer}, fewer channels, a lower preprocessing.resample or a shorter window; or set "
        "HYPEEG_CACHE to a folder, where epochs are kept on disk and read as they are needed"
    )


def usable_memory(limit: float | None = None) -> float | None:
    """Bytes that epochs may take: the limit, else 80 % of what is free now.

    Parameters
    ----------
    limit : float or None
        Bytes.

    Returns
    -------
    float or None
        None where there is no limit and the system does not say what is free.
    """
    if limit is not None:
        return limit
    free = available_memory()
    return None if free is None else _SHARE * free


def available_memory() -> int | None:
    """Bytes that this process may still use: of the machine, or of its container if that is less.

    Returns
    -------
    int or None
        None on systems that do not say.
    """
    found = [n for n in (_machine_memory(), _container_memory()) if n is not None]
    return min(found) if found else None


def _machine_memory() -> int | None:
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        match = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), flags=re.M)
        if match:
            return 1024 * int(match.group(1))
    try:
        import psutil  # type: ignore[import-untyped]
    except ImportError:
        return None
    return int(psutil.virtual_memory().available)


def _container_memory(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    limit, usage = root / "memory.max", root / "memory.current"
    try:
        text = limit.read_text().strip()
        if text == "max":
            return None
        used = int(usage.read_text())
        # Cached file pages count as used, but give way at once.
        stat = (root / "memory.stat").read_text()
        match = re.search(r"^inactive_file (\d+)", stat, flags=re.M)
        return int(text) - used + (int(match.group(1)) if match else 0)
    except (OSError, ValueError):
        return None


def _trials(manifest: Manifest, subject: int, events: Sequence[str]) -> tuple[int, str] | None:
    """Trials of one subject and where the number comes from."""
    if manifest.trials is not None:
        return _expected(manifest, subject, events), "counts of the manifest"
    if manifest.own is not None:
        n = _own_trials(manifest, subject)
        return None if n is None else (n, "headers of the recordings")
    n = _catalogued(manifest, len(events))
    return None if n is None else (n, "at most, after MOABB's summary table")


def _expected(manifest: Manifest, subject: int, events: Sequence[str]) -> int:
    trials = manifest.trials
    assert trials is not None
    total = 0
    for session in manifest.sessions or ["0"]:
        counts, tolerance = trials.expected(subject, session, "0")
        # An event that nobody counted is taken to be as frequent as the most frequent one.
        most = max(counts.values(), default=0)
        here = sum(counts.get(event, most) + tolerance for event in events)
        runs = 1
        if trials.per == "run" and manifest.files is not None:
            runs = len(manifest.files.runs_by_subject.get(subject, manifest.files.runs))
        total += here * runs
    return total


def _own_trials(manifest: Manifest, subject: int) -> int | None:
    own = manifest.own
    assert own is not None
    if own.arrays is not None:
        shape = _npz_shape(own.place(own.arrays))
        return None if shape is None else shape[0]
    if own.window is None or own.recordings is None:
        return None  # trials are marked inside the files
    from hypeeg.eeg.own_reader import read_raw

    step = own.step or own.window
    total = 0
    for path in _files.subject_files(manifest, subject)[0]:
        raw = read_raw(path, own, preload=False)
        seconds = raw.n_times / raw.info["sfreq"]
        windows = max(int((seconds - own.window) / step) + 1, 0)
        total += min(windows, own.max_windows or windows)
    return total


def _npz_shape(path: Path) -> tuple[int, ...] | None:
    """Shape of the array X without reading it."""
    import numpy as np

    try:
        with zipfile.ZipFile(path) as archive, archive.open("X.npy") as stream:
            version = np.lib.format.read_magic(stream)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            return tuple(read(stream)[0])
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None


def _catalogued(manifest: Manifest, n_events: int) -> int | None:
    """An upper bound of a subject's trials from MOABB's summary table."""
    if manifest.catalogue is None:
        return None
    row = manifest.catalogue.row
    cell = row.get("#Epochs / class") or row.get("#Trials / class") or row.get("#Blocks / class")
    numbers = [int(n) for n in re.findall(r"\d+", cell or "")]
    if not numbers:
        return None
    by_class = len(re.findall(r"\d+ *(?:NT|T)\b", cell or "")) > 1
    per_session = sum(numbers) if by_class else max(numbers) * n_events
    return per_session * (manifest.n_sessions or 1)


def _recording_bytes(
    manifest: Manifest, subjects: Sequence[int], seconds: float, trials: int
) -> int:
    """One subject's continuous recordings in float64, with the filter's copy."""
    sizes = [
        sum(
            path.stat().st_size * _EXPANSION.get(path.suffix.lower(), _OTHER_EXPANSION)
            for path in _files.subject_files(manifest, subject)[0]
        )
        for subject in subjects
    ]
    if any(sizes):
        return int(max(sizes))
    # Nothing is here yet: recordings are at least as long as their trials.
    return int(16 * trials * seconds * manifest.sfreq * manifest.channels.count)
