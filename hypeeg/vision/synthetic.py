"""Generated images whose classes form a tree: shapes, and colours of each shape."""

from __future__ import annotations

import numpy as np

from hypeeg.vision.images import ImageData

SHAPES = ("disc", "square", "cross", "ring")
COLOURS = ("red", "green", "blue")
SIZE = 16
# Enough that the nearest class mean errs on a third of the images.
_NOISE = 30.0


def synthetic_shapes(n_train: int = 40, n_test: int = 20, seed: int = 0) -> ImageData:
    """Draw images of 12 classes in 4 groups: the shape is the group, its colour the class.

    Position, size, brightness and background vary, and every pixel is noisy.  Mirror images of a
    class belong to it.

    Parameters
    ----------
    n_train, n_test : int
        Images of each class.
    seed : int
        Seed of the drawing; the same images on every machine.

    Returns
    -------
    ImageData
        Images of 3 channels and 16 by 16 pixels.
    """
    rng = np.random.default_rng(seed)
    n, n_classes = n_train + n_test, len(SHAPES) * len(COLOURS)
    codes = np.repeat(np.arange(n_classes), n)
    position = rng.uniform(6, 9, (len(codes), 2))
    radius = rng.uniform(3.2, 5.2, len(codes))
    shape, colour = np.divmod(codes, len(COLOURS))
    mask = _masks(shape, position, radius)
    ink = rng.uniform(20, 60, (len(codes), 3))
    ink[np.arange(len(codes)), colour] = rng.uniform(130, 200, len(codes))
    paper = rng.uniform(60, 120, (len(codes), 1, 1, 1))
    X = paper + mask[:, None] * (ink[:, :, None, None] - paper)
    X += _NOISE * rng.standard_normal(X.shape)
    return ImageData(
        name="SyntheticShapes",
        X=np.clip(np.rint(X), 0, 255).astype(np.uint8),
        codes=codes,
        is_test=np.tile(np.arange(n) >= n_train, n_classes),
        classes=tuple(f"{c}_{s}" for s in SHAPES for c in COLOURS),
        groups=SHAPES,
        group_of_class=np.repeat(np.arange(len(SHAPES)), len(COLOURS)),
    )


def _masks(shape: np.ndarray, position: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Return which pixels a shape covers, shape (n, SIZE, SIZE)."""
    grid = np.arange(SIZE)
    dy = np.abs(grid[None, :, None] - position[:, 0, None, None])
    dx = np.abs(grid[None, None, :] - position[:, 1, None, None])
    r = radius[:, None, None]
    distance = np.hypot(dy, dx)
    far, near = np.maximum(dy, dx), np.minimum(dy, dx)
    drawn = np.stack(
        [
            distance <= r,
            far <= 0.85 * r,
            (far <= r) & (near <= 0.35 * r),
            (distance <= r) & (distance >= 0.55 * r),
        ]
    )
    return drawn[shape, np.arange(len(shape))]
