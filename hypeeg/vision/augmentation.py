"""Random crops and mirror images, for a whole batch at once."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


class CropFlip:
    """Shift each image of a batch at random and mirror every second one.

    Parameters
    ----------
    crop : int, default 0
        Pixels of zeros that are put around an image before one of its size is cut out at random.
    flip : bool, default False
        Whether an image is mirrored left to right with probability one half.
    seed : int, default 0
        Of a generator on the CPU, so that a seed means the same changes on every device.

    Raises
    ------
    ValueError
        If `crop` is negative.
    """

    def __init__(self, crop: int = 0, flip: bool = False, seed: int = 0) -> None:
        if crop < 0:
            raise ValueError(f"crop={crop!r} must be 0 or more pixels")
        self.crop = crop
        self.flip = flip
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Change a batch.

        Parameters
        ----------
        x : Tensor, shape (n_images, n_channels, height, width)
            Images.
        y : Tensor
            Their classes.

        Returns
        -------
        tuple of Tensor
            Changed images, of the same shape, and the same classes.
        """
        n, _, height, width = x.shape
        rows = torch.arange(height).expand(n, -1)
        columns = torch.arange(width).expand(n, -1)
        if self.flip:
            mirrored = torch.rand(n, 1, generator=self._generator) < 0.5
            columns = torch.where(mirrored, width - 1 - columns, columns)
        if self.crop:
            x = F.pad(x, (self.crop,) * 4)
            shifts = torch.randint(2 * self.crop + 1, (2, n, 1), generator=self._generator)
            rows, columns = rows + shifts[0], columns + shifts[1]
        rows, columns = rows.to(x.device), columns.to(x.device)
        images = torch.arange(n, device=x.device)[:, None, None]
        # Indices on both sides of the channels put these last.
        changed = x[images, :, rows[:, :, None], columns[:, None, :]]
        return changed.permute(0, 3, 1, 2).contiguous(), y
