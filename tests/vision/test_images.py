"""Image data sets: what they hold, and what is refused."""

from __future__ import annotations

import dataclasses
import shutil
import zipfile

import numpy as np
import pytest

from hypeeg.vision import ImageData, load_images
from hypeeg.vision.images import ImageDataError
from hypeeg.vision.names import DATASETS
from hypeeg.vision.sources import CIFAR100_FILE, OMNIGLOT_FILE
from hypeeg.vision.synthetic import SIZE, synthetic_shapes


def small():
    return ImageData(
        name="Small",
        X=np.arange(6 * 2, dtype=np.uint8).reshape(6, 1, 2, 1),
        codes=np.array([0, 1, 2, 3, 1, 3]),
        is_test=np.array([False, False, False, False, True, True]),
        classes=("oak", "cat", "elm", "dog"),
        groups=("animal", "plant"),
        group_of_class=np.array([1, 0, 1, 0]),
    )


def test_names_and_groups():
    data = small()
    assert data.y.tolist() == ["oak", "cat", "elm", "dog", "cat", "dog"]
    assert data.group_names == {"oak": "plant", "cat": "animal", "elm": "plant", "dog": "animal"}


def test_classes_and_groups_are_taken_by_name():
    data = small()
    taken = data.take(["animal", "elm"])
    assert taken.classes == ("cat", "elm", "dog")
    assert taken.y.tolist() == ["cat", "elm", "dog", "cat", "dog"]
    np.testing.assert_array_equal(taken.X, data.X[[1, 2, 3, 4, 5]])
    assert taken.is_test.tolist() == [False, False, False, True, True]
    assert taken.group_names == {"cat": "animal", "elm": "plant", "dog": "animal"}
    assert data.take(["dog", "cat"]).groups == ("animal",)


def test_groups_as_classes():
    grouped = small().of_groups()
    assert grouped.y.tolist() == ["plant", "animal", "plant", "animal", "animal", "animal"]
    assert grouped.group_names == {"animal": "animal", "plant": "plant"}


@pytest.mark.parametrize(
    ("names", "message"),
    [(["oak", "dgo"], "no class or group 'dgo'.*Did you mean 'dog'"), (["oak"], "two or more")],
)
def test_wrong_classes_are_named(names, message):
    with pytest.raises(ImageDataError, match=message):
        small().take(names)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.zeros((6, 1, 2, 1))}, "must be uint8"),
        ({"X": np.zeros((6, 2), dtype=np.uint8)}, "must be uint8"),
        ({"codes": np.zeros(5, dtype=int)}, "6 images, but 5 classes"),
        ({"codes": np.array([0, 1, 2, 3, 1, 4])}, "class indices lie in 0 ... 4"),
        ({"group_of_class": np.array([1, 0])}, "4 classes, but groups of 2"),
        ({"group_of_class": np.array([1, 0, 1, -1])}, "group indices lie in -1 ... 1"),
    ],
)
def test_contradictions_are_named(changes, message):
    with pytest.raises(ImageDataError, match=message):
        dataclasses.replace(small(), **changes)


def test_drawn_shapes():
    data = synthetic_shapes()
    assert data.X.shape == (720, 3, SIZE, SIZE)
    assert len(data.classes) == 12
    assert data.group_names["green_cross"] == "cross"
    for code in range(12):
        own = data.codes == code
        assert (own & ~data.is_test).sum() == 40
        assert (own & data.is_test).sum() == 20
    np.testing.assert_array_equal(data.X, load_images("SyntheticShapes").X)
    assert (synthetic_shapes(seed=1).X != data.X).mean() > 0.9


def test_drawn_classes_are_what_they_are_called():
    data = synthetic_shapes()
    mean = data.X.astype(float).mean(axis=(2, 3))
    for colour, name in enumerate(("red", "green", "blue")):
        own = np.array([y.startswith(name) for y in data.y.tolist()])
        assert mean[own].mean(axis=0).argmax() == colour
    # A ring is as dark as the paper in its middle, a disc is not.
    middle = data.X[:, 0, 7:9, 7:9].astype(float).mean(axis=(1, 2))
    assert middle[data.y == "red_disc"].mean() > middle[data.y == "red_ring"].mean() + 30


def test_unknown_data_set_and_missing_folder(monkeypatch, tmp_path):
    with pytest.raises(ImageDataError, match="'MNIST'; known: SyntheticShapes, CIFAR100Subset"):
        load_images("MNIST")
    monkeypatch.delenv("HYPEEG_DATA", raising=False)
    with pytest.raises(ImageDataError, match="HYPEEG_DATA is not set"):
        load_images("Omniglot")
    monkeypatch.setenv("HYPEEG_DATA", str(tmp_path))
    with pytest.raises(ImageDataError, match=r"cifar100_subset.npz cannot be read"):
        load_images("CIFAR100Subset")


@pytest.mark.parametrize(
    ("name", "file"), [("CIFAR100Subset", CIFAR100_FILE), ("Omniglot", OMNIGLOT_FILE)]
)
def test_other_files_are_refused(tmp_path, name, file):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something else")
    with pytest.raises(ImageDataError, match="another file than the one that is known: SHA-256"):
        load_images(name, tmp_path)
    with pytest.raises(ImageDataError, match="damaged or holds something else"):
        load_images(name, tmp_path, check=False)


def test_an_empty_archive_is_refused(tmp_path):
    path = tmp_path / OMNIGLOT_FILE
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(ImageDataError, match=r"holds no ALPHABET"):
        load_images("Omniglot", tmp_path, check=False)


def present(hypeeg_data, file):
    if not (hypeeg_data / file).is_file():
        pytest.skip(f"{file} is not in HYPEEG_DATA")


@pytest.mark.realdata
def test_cifar100_subset(hypeeg_data):
    present(hypeeg_data, CIFAR100_FILE)
    data = load_images("CIFAR100Subset")
    assert data.X.shape == (12000, 3, 32, 32)
    assert (len(data.classes), len(data.groups)) == (100, 20)
    assert np.unique(data.codes[data.is_test], return_counts=True)[1].tolist() == [20] * 100
    assert np.bincount(data.group_of_class).tolist() == [5] * 20
    assert data.group_names["maple_tree"] == "trees"
    # Plains are brighter at the top (sky), and the sky is blue: channels and rows are in order.
    plain = data.X[data.y == "plain"].astype(float)
    assert plain[:, 2, :8].mean() > plain[:, 2, -8:].mean()
    assert plain[:, 2, :8].mean() > plain[:, 0, :8].mean()


@pytest.mark.realdata
def test_omniglot(hypeeg_data, tmp_path):
    present(hypeeg_data, OMNIGLOT_FILE)
    data = load_images("Omniglot")
    assert data.X.shape == (2720, 1, 28, 28)
    assert (len(data.classes), len(data.groups)) == (136, 5)
    assert set(np.bincount(data.codes)) == {20}
    assert set(np.bincount(data.codes[data.is_test])) == {5}
    assert data.group_names["Greek/character03"] == "Greek"
    # Ink is light on dark.
    assert np.median(data.X) == 0
    assert 0.03 < (data.X > 127).mean() < 0.3
    target = tmp_path / OMNIGLOT_FILE
    target.parent.mkdir(parents=True)
    shutil.copy(hypeeg_data / OMNIGLOT_FILE, target)
    content = bytearray(target.read_bytes())
    content[1000] ^= 1
    target.chmod(0o644)
    target.write_bytes(content)
    with pytest.raises(ImageDataError, match="another file"):
        load_images("Omniglot", tmp_path)


def test_names_are_those_of_the_readers():
    from typing import get_args

    from hypeeg.experiments.vision_spec import DatasetName, ModelName
    from hypeeg.vision.names import MODELS

    assert get_args(DatasetName) == DATASETS
    assert get_args(ModelName) == MODELS
