"""Few images, long tails, wrong labels, new classes."""

from __future__ import annotations

import numpy as np
import pytest

from hypeeg.vision.images import ImageDataError
from hypeeg.vision.measures import image_measures
from hypeeg.vision.settings import (
    choose_images,
    class_counts,
    class_shares,
    flip_labels,
    novel_classes,
)


def test_long_tail_falls_exponentially():
    # 100 images, 3 classes, imbalance 100: the middle one has 100 / sqrt(100).
    assert class_counts(100, 3, 100).tolist() == [100, 10, 1]
    assert class_counts(500, 100, 50)[[0, -1]].tolist() == [500, 10]
    assert class_counts(7, 4, 1).tolist() == [7] * 4
    assert class_counts(2, 3, 100).tolist() == [2, 1, 1]


def test_images_are_drawn_class_by_class():
    codes = np.repeat(np.arange(3), 10)
    candidates = np.flatnonzero(np.arange(30) % 2 == 0)
    drawn = choose_images(codes, candidates, 3, np.random.default_rng(0), per_class=4)
    assert np.bincount(codes[drawn]).tolist() == [4, 4, 4]
    assert set(drawn) <= set(candidates)
    assert len(set(drawn.tolist())) == 12
    other = choose_images(codes, candidates, 3, np.random.default_rng(1), per_class=4)
    assert other.tolist() != drawn.tolist()
    tail = choose_images(codes, candidates, 3, np.random.default_rng(0), per_class=4, imbalance=4)
    assert np.bincount(codes[tail]).tolist() == [4, 2, 1]
    everything = choose_images(codes, candidates, 3, np.random.default_rng(0))
    assert everything.tolist() == candidates.tolist()
    with pytest.raises(ImageDataError, match=r"n_train=6 .* a class has 5"):
        choose_images(codes, candidates, 3, np.random.default_rng(0), per_class=6)


def test_shares_are_thirds_by_size():
    codes = np.repeat([0, 1, 2, 3, 4, 5], [5, 50, 2, 20, 20, 1])
    shares = class_shares(codes, 6)
    assert {k: v.tolist() for k, v in shares.items()} == {
        "many": [1, 3],
        "medium": [4, 0],
        "few": [2, 5],
    }


@pytest.mark.parametrize("rate", [0.2, 0.4, 0.6])
def test_symmetric_noise(rate):
    codes = np.repeat(np.arange(5), 200)
    noisy = flip_labels(codes, 5, rate, "symmetric", np.random.default_rng(0))
    for code in range(5):
        counts = np.bincount(noisy[codes == code], minlength=5)
        assert counts[code] == 200 - round(200 * rate)
        wrong = np.delete(counts, code)
        assert (np.abs(wrong - 200 * rate / 4) < 5 * np.sqrt(200 * rate / 4)).all()
    assert codes.tolist() == np.repeat(np.arange(5), 200).tolist()


def test_asymmetric_noise_goes_round_in_the_group():
    codes = np.repeat(np.arange(5), 10)
    groups = np.array([0, 1, 0, 1, 2])
    noisy = flip_labels(codes, 5, 0.3, "asymmetric", np.random.default_rng(0), groups)
    found = {code: set(noisy[codes == code].tolist()) - {code} for code in range(5)}
    # 0 -> 2 -> 0, 1 -> 3 -> 1, and 4, alone in its group, to the next of all.
    assert found == {0: {2}, 1: {3}, 2: {0}, 3: {1}, 4: {0}}
    assert [(noisy[codes == code] != code).sum() for code in range(5)] == [3] * 5


def test_new_classes():
    new = novel_classes(20, 0.25, np.random.default_rng(0))
    assert len(new) == 5
    assert len(novel_classes(4, 0.9, np.random.default_rng(0))) == 2
    assert len(novel_classes(20, 0.01, np.random.default_rng(0))) == 2
    assert novel_classes(20, 0.25, np.random.default_rng(1)).tolist() != new.tolist()
    with pytest.raises(ImageDataError, match="got 3"):
        novel_classes(3, 0.5, np.random.default_rng(0))


def test_measures_of_a_written_out_case():
    groups = np.array([0, 0, 1, 1])
    true = np.array([0, 0, 1, 2, 3, 3])
    predicted = np.array([0, 1, 2, 2, 2, 0])
    shares = {"many": np.array([0]), "few": np.array([3]), "none": np.array([], dtype=int)}
    # Errors: 0 -> 1 and 3 -> 2 within their group, 1 -> 2 and 3 -> 0 across.
    assert image_measures(true, predicted, None, groups, shares) == {
        "group_accuracy": 4 / 6,
        "error_height": 1.5,
        "many_accuracy": 0.5,
        "few_accuracy": 0.0,
    }
    assert image_measures(true, predicted, None, np.zeros(4, dtype=int)) == {}
    probabilities = np.eye(12)[[0, 3]] + 0.01 * np.arange(12)
    found = image_measures(np.array([8, 6]), np.array([11, 3]), probabilities, np.arange(12))
    assert found == {"top5_accuracy": 0.5}
