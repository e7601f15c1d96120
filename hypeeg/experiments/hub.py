"""Share a kept model: a folder as braindecode's models have it on the Hugging Face Hub.

``config.json`` and ``model.safetensors`` are what ``save_pretrained`` of a braindecode model
writes, so that ``from_pretrained`` of the network's class reads them.  ``hypeeg.json`` and the
files it lists are what :func:`hypeeg.load` needs beside: the fitted estimator with the steps before
it, its classes, and the preprocessing of its trials.  ``README.md`` is the model card.

Reading such a folder runs no code of it.  The hashes in ``hypeeg.json`` tell damage and files that
do not belong together, not who made them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypeeg.experiments import classical, saved
from hypeeg.experiments.spec_errors import Problem, SpecError
from hypeeg.experiments.store import RecordError, replace_file, to_json

logger = logging.getLogger(__name__)

MANIFEST = "hypeeg.json"
CARD = "README.md"
DATASET_FILE = "dataset.yaml"
WEIGHTS_FILE = "model.safetensors"
FORMAT = "hypeeg-model"
VERSION = 1

MAX_BYTES = 4 << 30
"""Most bytes that the weights may have."""

MAX_TEXT_BYTES = 16 << 20
"""Most bytes that any other file may have."""

NETWORK_FILES = (saved.CONFIG_FILE, saved.ESTIMATOR_FILE, WEIGHTS_FILE)
CLASSICAL_FILES = (saved.ESTIMATOR_FILE, classical.MODEL_FILE)
FILES = (
    *NETWORK_FILES,
    classical.MODEL_FILE,
    saved.STANDARDISE_FILE,
    saved.STEPS_FILE,
    DATASET_FILE,
)
"""Every file that ``hypeeg.json`` may list; others in the folder are never read."""

_LARGE = (WEIGHTS_FILE, classical.MODEL_FILE)
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class PublishedModel:
    """A model in a folder that :func:`push` wrote, checked.

    Attributes
    ----------
    path : Path
        The folder.
    facts : dict
        What ``hypeeg.json`` says.
    """

    path: Path
    facts: dict[str, Any] = field(repr=False)

    @classmethod
    def open(cls, path: str | Path) -> PublishedModel:
        """Check a folder and read what it says of itself.

        Parameters
        ----------
        path : str or Path
            The folder.

        Returns
        -------
        PublishedModel

        Raises
        ------
        RecordError
            If ``hypeeg.json`` is missing, damaged or of another version; lists a file that is no
            part of a model (such as one elsewhere on the disk); or a file is missing, a link, too
            large, or not the one that was pushed.
        """
        path = Path(path)
        facts = _read_facts(path)
        for name, expected in facts["files"].items():
            _check_file(path, name, expected)
        needed = CLASSICAL_FILES if facts.get("kind") == "classical" else NETWORK_FILES
        missing = [name for name in needed if name not in facts["files"]]
        if missing:
            raise RecordError(f"{path / MANIFEST}: lists no {', '.join(missing)}; push it again")
        return cls(path, facts)

    @property
    def name(self) -> str:
        """Name of the pipeline."""
        return str(self.facts.get("pipeline", self.path.name))

    @property
    def dataset(self) -> str:
        """Name of the data set's manifest, or the file of one that is not hypeeg's."""
        own = self.path / DATASET_FILE
        if DATASET_FILE in self.facts["files"]:
            return str(own)
        return str(self.section("dataset").get("name", ""))

    def section(self, name: str) -> Mapping[str, Any]:
        """Return ``dataset`` or ``preprocessing`` of the run, empty if there is none."""
        value = self.facts.get(name)
        return value if isinstance(value, dict) else {}


def is_published(path: str | Path) -> bool:
    """Whether a path is a folder with a ``hypeeg.json``."""
    return (Path(path) / MANIFEST).is_file()


def push(
    run: str | Path,
    folder: str | Path,
    pipeline: str | None = None,
    *,
    network: str | None = None,
    licence: str | None = None,
    replace: bool = False,
) -> Path:
    """Write a kept model of a run as a folder to share.

    Parameters
    ----------
    run : str or Path
        Run folder; or, of those under ``runs``, the name, its beginning, or ``last``.
    folder : str or Path
        Where to.  May be missing, empty, or hold hidden files only (a fresh clone of a
        repository).
    pipeline, network
        Which, as in :func:`hypeeg.load`.
    licence : str, optional
        Identifier of the licence that you give the weights, such as ``"bsd-3-clause"``.
    replace : bool
        Put the model in the place of one that was pushed there before.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    SpecError
        If the run keeps no such model or is no EEG run, or the folder holds something else.
    """
    from hypeeg.experiments.hub_card import model_card, model_facts
    from hypeeg.experiments.recorded import RecordedRun
    from hypeeg.experiments.use import kept_models, network_folder

    recorded = RecordedRun.open(run)
    kind = recorded.spec.get("kind", "eeg")
    if kind != "eeg":
        message = (
            f"is {kind}; models of EEG runs are pushed. Share the folder of the model itself, "
            f"under {recorded.path / 'models'}"
        )
        raise SpecError([Problem("kind", message)], recorded.name)
    source = network_folder(recorded, pipeline, network)
    name = next(key for key, folders in kept_models(recorded).items() if source in folders)
    folder = Path(folder)
    _check_target(folder, replace)
    content = _contents(source)
    facts, dataset = model_facts(recorded, name, source, classical.MODEL_FILE in content)
    if dataset is not None:
        content[DATASET_FILE] = dataset
    facts = {"format": FORMAT, "version": VERSION, **facts}
    facts["files"] = {
        file: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for file, data in content.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    # First goes and last comes the file that vouches for the others.
    (folder / MANIFEST).unlink(missing_ok=True)
    for file in FILES:
        if file not in content:
            (folder / file).unlink(missing_ok=True)
    for file, data in content.items():
        replace_file(folder / file, data)
    card = model_card(facts, licence)
    replace_file(folder / CARD, card.encode("utf-8"))
    replace_file(folder / MANIFEST, (to_json(facts, indent=2) + "\n").encode("utf-8"))
    return folder


def pull(source: str | Path, folder: str | Path, *, replace: bool = False) -> PublishedModel:
    """Check a folder that :func:`push` wrote, and copy the model to another.

    Only ``hypeeg.json``, the files it lists and the model card are copied.

    Parameters
    ----------
    source : str or Path
        Where it lies: a clone or a download of a repository, a shared disk.
    folder : str or Path
        Where to; as in :func:`push`.
    replace : bool
        Put the model in the place of one that is there.

    Returns
    -------
    PublishedModel
        The copy.

    Raises
    ------
    RecordError
        If it is not whole, see :meth:`PublishedModel.open`.
    SpecError
        If the folder holds something else.
    """
    model = PublishedModel.open(source)
    folder = Path(folder)
    if folder.exists() and folder.resolve() == model.path.resolve():
        raise SpecError([Problem("folder", "is the folder that the model lies in")], str(folder))
    _check_target(folder, replace)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in FILES:
        if name in model.facts["files"]:
            replace_file(folder / name, (model.path / name).read_bytes())
        else:
            (folder / name).unlink(missing_ok=True)
    card = model.path / CARD
    # People edit the card, so that it has no hash; a link would copy a file from elsewhere.
    if card.is_file() and not card.is_symlink() and card.stat().st_size <= MAX_TEXT_BYTES:
        replace_file(folder / CARD, card.read_bytes())
    replace_file(folder / MANIFEST, (to_json(model.facts, indent=2) + "\n").encode("utf-8"))
    return PublishedModel.open(folder)


def _contents(source: Path) -> dict[str, bytes]:
    """Return the files of a kept model under the names that they have in a published folder."""
    names = (classical.MODEL_FILE, saved.STANDARDISE_FILE, saved.STEPS_FILE)
    found = {name: (source / name).read_bytes() for name in names if (source / name).is_file()}
    estimator = (source / saved.CONFIG_FILE).read_bytes()
    if classical.MODEL_FILE not in found:
        found |= _network_files(source)
        config = json.loads(estimator)
        config["weights_sha256"] = hashlib.sha256(found[WEIGHTS_FILE]).hexdigest()
        estimator = (to_json(config, indent=1) + "\n").encode("utf-8")
    return {**found, saved.ESTIMATOR_FILE: estimator}


def _network_files(source: Path) -> dict[str, bytes]:
    """Return ``config.json`` and weights as ``save_pretrained`` of braindecode writes them."""
    import importlib.metadata

    import safetensors.torch

    network = saved.last_step(saved.load_pipeline(source, device="cpu")).module_
    # Networks that are not braindecode's kind are read by hypeeg alone.
    get_config = getattr(network, "get_config", None)
    config = {} if get_config is None else dict(get_config())
    config["braindecode_version"] = importlib.metadata.version("braindecode")
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / WEIGHTS_FILE
        # A curvature that layers share is written once, under one of its names.
        safetensors.torch.save_model(network, str(path))
        weights = path.read_bytes()
    return {
        # With NaN where a channel has no position, as braindecode writes and reads it.
        saved.CONFIG_FILE: json.dumps(config, indent=2).encode("utf-8"),
        WEIGHTS_FILE: weights,
    }


def _check_target(folder: Path, replace: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise SpecError([Problem("folder", "is a file; give a folder")], str(folder))
    others = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    if not others:
        return
    if MANIFEST not in others:
        message = f"holds {', '.join(sorted(others)[:5])} and no model; give an empty folder"
        raise SpecError([Problem("folder", message)], str(folder))
    if not replace:
        message = "holds a model; put this one in its place with --replace"
        raise SpecError([Problem("folder", message)], str(folder))


def _read_facts(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not folder.is_dir():
        raise RecordError(f"{folder}: no such folder; give one that 'hypeeg push' wrote")
    if not path.is_file() or path.is_symlink():
        raise RecordError(
            f"{folder}: no {MANIFEST} in it, so no model that 'hypeeg push' wrote, or one whose "
            "writing was cut off"
        )
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise RecordError(f"{path}: larger than {MAX_TEXT_BYTES} bytes; it is not read")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"{path}: damaged ({error}); push the model again") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise RecordError(f"{path}: describes no model (no format={FORMAT!r})")
    if facts.get("version") != VERSION:
        raise RecordError(
            f"{path}: version {facts.get('version')!r} of the format, and this hypeeg reads "
            f"version {VERSION}; use hypeeg {facts.get('hypeeg')}, which wrote it"
        )
    if not isinstance(facts.get("files"), dict):
        raise RecordError(f"{path}: lists no files; push the model again")
    return facts


def _check_file(folder: Path, name: str, expected: Any) -> None:
    manifest = folder / MANIFEST
    # A name is looked up, never joined on trust: "../" and absolute paths are simply unknown.
    if name not in FILES:
        raise RecordError(
            f"{manifest}: lists {name!r}, which is no file of a model; it may list "
            f"{', '.join(FILES)}. Nothing is loaded"
        )
    size, digest = (
        (expected.get("size"), expected.get("sha256")) if isinstance(expected, dict) else (0, "")
    )
    if type(size) is not int or not isinstance(digest, str) or not _HASH.fullmatch(digest):
        raise RecordError(f"{manifest}: size or sha256 of {name} is missing; push the model again")
    path = folder / name
    if path.is_symlink():
        raise RecordError(f"{path}: is a link; a model consists of files. Nothing is loaded")
    if not path.is_file():
        raise RecordError(f"{path}: missing; the copy is not complete, fetch it again")
    most = MAX_BYTES if name in _LARGE else MAX_TEXT_BYTES
    found = path.stat().st_size
    if found > most:
        raise RecordError(f"{path}: {found} bytes, more than the {most} that are read")
    if found != size:
        hint = ""
        if found < 1024 and path.read_bytes().startswith(b"version https://git-lfs"):
            hint = " (it is a pointer of Git LFS: run 'git lfs pull')"
        raise RecordError(f"{path}: {found} bytes, but {size} were pushed{hint}; fetch it again")
    if _sha256(path) != digest:
        raise RecordError(
            f"{path}: not the file that was pushed (other checksum): damaged, or exchanged; "
            "fetch it again"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
