"""Epochs kept on disk as float32, one entry a subject, named by the content they come from.

The key of an entry is the SHA-256 of everything that decides its numbers: the hashes of the
recordings and of the code that reads them, the preprocessing, the classes, and the versions of the
libraries. Nothing is ever updated in place: other input is another entry. An entry carries the
hash of its own array, which is compared each time it is opened; a damaged one is made again.
Folders can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hypeeg.eeg.lock import sha256
from hypeeg.eeg.manifest import Manifest
from hypeeg.eeg.paths import CACHE_VARIABLE
from hypeeg.eeg.preprocessing import PreprocessingSpec

logger = logging.getLogger(__name__)

_LAYOUT = 1  # of the entries; raise it when their meaning changes
_LIBRARIES = ("mne", "moabb", "numpy", "scipy")


@dataclass(frozen=True, eq=False)
class SubjectEpochs:
    """Epochs of one subject: what an entry holds.

    Parameters
    ----------
    X : ndarray of shape (n_trials, n_channels, n_times), float32
        Signals; memory-mapped and copied on write when they come from the cache.
    y : ndarray of str
        Event names.
    metadata : DataFrame
        Columns subject, session and run.
    ch_names : tuple of str
        Channels.
    sfreq : float
        Sampling rate, Hz.
    """

    X: np.ndarray
    y: np.ndarray
    metadata: pd.DataFrame
    ch_names: tuple[str, ...]
    sfreq: float


def cache_from(given: Path | str | None) -> EpochsCache | None:
    """The cache in a folder, else in the one that the environment names.

    Parameters
    ----------
    given : Path, str or None
        A folder; None takes ``HYPEEG_CACHE/epochs`` if that variable is set.
    """
    if given is not None:
        return EpochsCache(Path(given).expanduser())
    root = os.environ.get(CACHE_VARIABLE, "").strip()
    return EpochsCache(Path(root).expanduser() / "epochs") if root else None


def cache_key(
    manifest: Manifest,
    dataset: Any,
    params: dict[str, Any],
    subject: int,
    events: Sequence[str],
    spec: PreprocessingSpec,
    sources: Sequence[Path],
) -> str:
    """Key of one subject's epochs, from the content of everything that decides them.

    Parameters
    ----------
    manifest : Manifest
        Dataset description.
    dataset : object
        The dataset that reads it; the source code of its class counts.
    params : dict
        Its parameters.
    subject : int
        Subject number.
    events : sequence of str
        Classes.
    spec : PreprocessingSpec
        All but ``standardise`` and trial steps, which pipelines do later.
    sources : sequence of Path
        The recordings.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    described = {
        "layout": _LAYOUT,
        "versions": {name: _version(name) for name in (*_LIBRARIES, "hypeeg")},
        "reader": _source_hash(type(dataset)),
        "class": manifest.moabb_class,
        "own": None if manifest.own is None else manifest.own.model_dump(exclude={"base"}),
        "params": {**manifest.moabb_params, **params},
        "paradigm": manifest.paradigm,
        "codes": {name: event.code for name, event in manifest.events.items()},
        "interval": manifest.interval,
        "channels": manifest.channels.names,
        "subject": subject,
        "events": list(events),
        "preprocessing": spec.loading_fields(),
        "steps": _steps_code() if spec.recording_steps else None,
        "asr": _version("meegkit") if any(s.step == "asr" for s in spec.recording_steps) else None,
        "montage": manifest.channels.montage if spec.recording_steps else None,
        "sources": [(path.name, sha256(path)) for path in sources],
    }
    text = json.dumps(described, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


class EpochsCache:
    """A folder of epochs.

    Parameters
    ----------
    folder : Path
        Made when something is first stored.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def entry(self, dataset: str, subject: int, key: str) -> Path:
        """Folder of one subject's entry.

        Parameters
        ----------
        dataset : str
            Name of the manifest.
        subject : int
            Subject number.
        key : str
            From :func:`cache_key`.
        """
        return self.folder / dataset / f"subject-{subject:03d}-{key[:24]}"

    def load(self, dataset: str, subject: int, key: str) -> SubjectEpochs | None:
        """One subject's epochs, memory-mapped.

        Parameters
        ----------
        dataset : str
            Name of the manifest.
        subject : int
            Subject number.
        key : str
            From :func:`cache_key`.

        Returns
        -------
        SubjectEpochs or None
            None if there is no such entry, or a damaged one (which is logged and removed).
        """
        folder = self.entry(dataset, subject, key)
        if not folder.is_dir():
            return None
        try:
            stored = _read_stored(folder, key)
            X = _open_checked(folder / "X.npy", stored["shape"], stored["sha256"])
            metadata = pd.DataFrame(stored["metadata"], columns=["subject", "session", "run"])
            return SubjectEpochs(
                X, np.array(stored["y"]), metadata, tuple(stored["ch_names"]), stored["sfreq"]
            )
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            logger.warning("cache entry %s is damaged (%s): it is made again", folder, error)
            shutil.rmtree(folder, ignore_errors=True)
            return None

    def store(self, dataset: str, subject: int, key: str, epochs: SubjectEpochs) -> SubjectEpochs:
        """Write one subject's epochs, and return them memory-mapped.

        Parameters
        ----------
        dataset : str
            Name of the manifest.
        subject : int
            Subject number.
        key : str
            From :func:`cache_key`.
        epochs : SubjectEpochs
            What to keep.

        Returns
        -------
        SubjectEpochs
            From disk; the given ones where the folder cannot be written (which is logged).
        """
        folder = self.entry(dataset, subject, key)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".writing-") as name:
                made = Path(name) / "entry"
                made.mkdir()
                np.save(made / "X.npy", epochs.X.astype(np.float32, copy=False))
                rows = epochs.metadata.astype({"subject": int, "session": str, "run": str})
                _write_stored(
                    made,
                    {
                        "key": key,
                        "shape": list(epochs.X.shape),
                        "sha256": sha256(made / "X.npy"),
                        "y": epochs.y.tolist(),
                        "metadata": rows[["subject", "session", "run"]].values.tolist(),
                        "ch_names": list(epochs.ch_names),
                        "sfreq": epochs.sfreq,
                    },
                )
                if not folder.exists():  # another process may have been faster
                    made.rename(folder)
        except OSError as error:
            logger.warning("cache folder %s cannot be written: %s", folder.parent, error)
            return epochs
        return self.load(dataset, subject, key) or epochs

    def join(self, dataset: str, keys: Sequence[str], parts: Sequence[np.ndarray]) -> np.ndarray:
        """All subjects' signals as one memory-mapped array, written part by part.

        Parameters
        ----------
        dataset : str
            Name of the manifest.
        keys : sequence of str
            Keys of the parts, in order.
        parts : sequence of ndarray
            Arrays of the same channels and samples.

        Returns
        -------
        ndarray
            float32, copied on write.
        """
        key = hashlib.sha256("".join(keys).encode()).hexdigest()
        folder = self.folder / dataset / f"joined-{key[:24]}"
        shape = [sum(len(part) for part in parts), *parts[0].shape[1:]]
        if folder.is_dir():
            try:
                stored = _read_stored(folder, key)
                return _open_checked(folder / "X.npy", shape, stored["sha256"])
            except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
                logger.warning("cache entry %s is damaged (%s): it is made again", folder, error)
                shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".writing-") as name:
            made = Path(name) / "entry"
            made.mkdir()
            out = np.lib.format.open_memmap(
                made / "X.npy", mode="w+", dtype=np.float32, shape=tuple(shape)
            )
            start = 0
            for part in parts:
                out[start : start + len(part)] = part
                start += len(part)
            out.flush()
            del out
            _write_stored(made, {"key": key, "sha256": sha256(made / "X.npy")})
            if not folder.exists():
                made.rename(folder)
        return np.load(folder / "X.npy", mmap_mode="c")


def _write_stored(folder: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    (folder / "entry.json").write_text(
        json.dumps({"sha256": digest, "content": content}), encoding="utf-8"
    )


def _read_stored(folder: Path, key: str) -> dict[str, Any]:
    whole = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
    content: dict[str, Any] = whole["content"]
    text = json.dumps(content, sort_keys=True)
    if hashlib.sha256(text.encode()).hexdigest() != whole["sha256"] or content["key"] != key:
        raise ValueError("entry.json has changed")
    return content


def _open_checked(path: Path, shape: Sequence[int], digest: str) -> np.ndarray:
    if sha256(path) != digest:
        raise ValueError(f"{path.name} has changed")
    # Copy on write: a pipeline may scale its input in place, the file stays as it is.
    X = np.load(path, mmap_mode="c")
    if list(X.shape) != list(shape) or X.dtype != np.float32:
        raise ValueError(f"{path.name} holds {X.shape} {X.dtype}, not {tuple(shape)} float32")
    return X


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _steps_code() -> str:
    """Hash of the code of the recording steps, found without importing MNE."""
    return sha256(Path(__file__).with_name("recording_steps.py"))


def _source_hash(cls: type) -> str | None:
    """Hash of the file that defines a class; None where there is none."""
    try:
        return sha256(Path(inspect.getfile(cls)))
    except (TypeError, OSError):
        return None
