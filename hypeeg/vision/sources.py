"""Where images come from: files of the data folder, or nothing but a seed."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hypeeg.vision.images import ImageData, ImageDataError
from hypeeg.vision.names import DATASETS
from hypeeg.vision.synthetic import synthetic_shapes

DATA_VARIABLE = "HYPEEG_DATA"
CIFAR100_FILE = "vision/cifar100_subset.npz"
CIFAR100_SHA256 = "3e0acd5f1c79623c59e014137761c14697d1625b0297c45b98e170edcacc606f"
OMNIGLOT_FILE = "vision/omniglot/images_background_small1.zip"
OMNIGLOT_SHA256 = "f38eb80f801274ac2b4dff5b24289016bfaba4a7d5bb50deebf27104ad6cb8a4"
OMNIGLOT_SIZE = 28
# Each character was drawn by the same 20 people; the last five are tested.
_OMNIGLOT_DRAWERS, _OMNIGLOT_TEST = 20, 5


def load_images(name: str, folder: str | Path | None = None, *, check: bool = True) -> ImageData:
    """Read an image data set.

    Parameters
    ----------
    name : {"SyntheticShapes", "CIFAR100Subset", "Omniglot"}
        Generated shapes, 12 classes in 4 groups; 100 + 20 images of each of the 100 classes of
        CIFAR-100 [1]_ in its 20 superclasses; the 136 characters of Omniglot's small background
        set [2]_ in their 5 alphabets, each drawn by 20 people of whom the last five are tested,
        ink light on dark at 28 by 28 pixels.
    folder : path, optional
        The data folder; by default the environment variable ``HYPEEG_DATA``.
    check : bool, default True
        Compare the file's SHA-256 with the one that is known.

    Returns
    -------
    ImageData

    Raises
    ------
    ImageDataError
        If the name is unknown, or the file is missing, damaged or another one.

    References
    ----------
    .. [1] A. Krizhevsky: Learning multiple layers of features from tiny images, 2009.
    .. [2] B. Lake, R. Salakhutdinov, J. Tenenbaum: Human-level concept learning through
       probabilistic program induction, Science 350 (2015) 1332-1338.
    """
    readers: dict[str, Callable[[], ImageData]] = {
        "SyntheticShapes": synthetic_shapes,
        "CIFAR100Subset": lambda: _cifar100(*_read(CIFAR100_FILE, CIFAR100_SHA256, folder, check)),
        "Omniglot": lambda: _omniglot(*_read(OMNIGLOT_FILE, OMNIGLOT_SHA256, folder, check)),
    }
    if name not in readers:
        raise ImageDataError(f"no image data set is named {name!r}; known: {', '.join(DATASETS)}")
    return readers[name]()


def image_file(name: str, folder: str | Path | None = None) -> Path | None:
    """Return where the file of a data set would lie, None for generated images.

    Raises
    ------
    ImageDataError
        If no data folder is known.
    """
    files = {"CIFAR100Subset": CIFAR100_FILE, "Omniglot": OMNIGLOT_FILE}
    return None if name not in files else _path(files[name], folder)


def _path(file: str, folder: str | Path | None) -> Path:
    given = folder if folder is not None else os.environ.get(DATA_VARIABLE, "").strip()
    if not given:
        raise ImageDataError(
            f"{DATA_VARIABLE} is not set; set it to the folder that holds {file!r}, or use the "
            "data set SyntheticShapes, which needs no file"
        )
    return Path(given).expanduser() / file


def _read(file: str, sha256: str, folder: str | Path | None, check: bool) -> tuple[bytes, str]:
    path = _path(file, folder)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImageDataError(
            f"{path} cannot be read ({error.strerror}); put the file there, or set "
            f"{DATA_VARIABLE} to the folder that holds {file!r}"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if check and found != sha256:
        raise ImageDataError(
            f"{path} is another file than the one that is known: SHA-256 {found}, not {sha256}; "
            "fetch it again, or pass check=False if it is meant"
        )
    return content, found


def _cifar100(content: bytes, sha256: str) -> ImageData:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            parts = [file[f"{part}_images"] for part in ("train", "test")]
            labels = [file[f"{part}_labels"] for part in ("train", "test")]
            classes = tuple(file["label_names"].tolist())
            groups = tuple(file["coarse_names"].tolist())
            group_of_class = file["coarse_of_label"].astype(np.int64)
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise ImageDataError(
            f"{CIFAR100_FILE} is damaged or holds something else ({error}); fetch it again"
        ) from error
    if any(part.shape[1:] != (32, 32, 3) for part in parts):
        raise ImageDataError(
            f"{CIFAR100_FILE}: images must be (n, 32, 32, 3); got {[p.shape for p in parts]}"
        )
    return ImageData(
        name="CIFAR100Subset",
        X=np.ascontiguousarray(np.concatenate(parts).transpose(0, 3, 1, 2)),
        codes=np.concatenate(labels).astype(np.int64),
        is_test=np.repeat([False, True], [len(part) for part in parts]),
        classes=classes,
        groups=groups,
        group_of_class=group_of_class,
        sha256=sha256,
    )


def _omniglot(content: bytes, sha256: str) -> ImageData:
    # Pillow comes with matplotlib, which MNE needs.
    from PIL import Image

    pixels, names, drawers = [], [], []
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in sorted(n for n in archive.namelist() if n.endswith(".png")):
                _, alphabet, character, drawing = member.split("/")
                with Image.open(io.BytesIO(archive.read(member))) as image:
                    small = image.convert("L").resize(
                        (OMNIGLOT_SIZE, OMNIGLOT_SIZE), Image.Resampling.BOX
                    )
                pixels.append(255 - np.asarray(small, dtype=np.uint8))
                names.append(f"{alphabet}/{character}")
                drawers.append(int(drawing.rsplit("_", 1)[1].removesuffix(".png")))
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise ImageDataError(
            f"{OMNIGLOT_FILE} is damaged or holds something else ({error}); fetch it again"
        ) from error
    if not names:
        raise ImageDataError(f"{OMNIGLOT_FILE} holds no ALPHABET/characterNN/*.png; fetch it again")
    classes, codes = np.unique(names, return_inverse=True)
    groups, group_of_class = np.unique(
        [name.split("/")[0] for name in classes.tolist()], return_inverse=True
    )
    return ImageData(
        name="Omniglot",
        X=np.stack(pixels)[:, None],
        codes=codes.astype(np.int64),
        is_test=np.asarray(drawers) > _OMNIGLOT_DRAWERS - _OMNIGLOT_TEST,
        classes=tuple(classes.tolist()),
        groups=tuple(groups.tolist()),
        group_of_class=group_of_class.astype(np.int64),
        sha256=sha256,
    )
