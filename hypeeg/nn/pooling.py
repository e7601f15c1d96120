"""Pooling of points: the Lorentz centroid of each window, channels the manifold dimension."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.utils import _pair, _single

from hypeeg.geometry import Lorentz
from hypeeg.geometry.numerics import prepare


def _centroid(windows: Tensor, manifold: Lorentz, spatial: int, weights: Tensor | None) -> Tensor:
    """Return (N, C, ...) centroids of windows (N, C, ..., k, ...), ``spatial`` axes each."""
    # Channels last and contiguous: reductions over the last dimension are the fast ones.
    points = windows.movedim(1, -1).flatten(1 + spatial, 2 * spatial).contiguous()
    return manifold.centroid(points, weights).movedim(-1, 1)


class _AvgPool(nn.Module):
    spatial = 0

    def __init__(
        self,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] | None = None,
        padding: int | tuple[int, ...] = 0,
        count_include_pad: bool = True,
        *,
        manifold: Lorentz,
    ) -> None:
        super().__init__()
        each = _single if self.spatial == 1 else _pair
        self.kernel_size: tuple[int, ...] = each(kernel_size)
        self.stride: tuple[int, ...] = self.kernel_size if stride is None else each(stride)
        self.padding: tuple[int, ...] = each(padding)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel_size)):
            raise ValueError(
                f"padding must be at most half of kernel_size={self.kernel_size}; "
                f"got {self.padding}"
            )
        self.count_include_pad = count_include_pad
        self.manifold = manifold

    def _windows(self, x: Tensor) -> Tensor:
        if any(self.padding):
            x = F.pad(x, [p for p in reversed(self.padding) for _ in range(2)])
        for axis, (size, step) in enumerate(zip(self.kernel_size, self.stride)):
            x = x.unfold(2 + axis, size, step)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Return the space parts of the centroids, ``(N, C, ...)``."""
        (x,) = prepare(x)
        weights = None
        if any(self.padding) and not self.count_include_pad:
            inside = self._windows(torch.ones_like(x[:1, :1]))
            weights = inside.movedim(1, -1).flatten(1 + self.spatial).contiguous()
        return _centroid(self._windows(x), self.manifold, self.spatial, weights)

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"count_include_pad={self.count_include_pad}"
        )


class LorentzAvgPool2d(_AvgPool):
    """Centroid of each window of points.

    Parameters
    ----------
    kernel_size, stride, padding
        As in ``torch.nn.AvgPool2d``; padding is with the origin.
    count_include_pad : bool, default True
        Whether the origins of the padding count.
    manifold : Lorentz
        Manifold of input and output.

    Raises
    ------
    ValueError
        If the padding exceeds half of the kernel.

    Notes
    -----
    Input ``(N, C, H, W)``, output ``(N, C, H', W')``, the manifold dimension at axis 1.
    """

    spatial = 2


class LorentzAvgPool1d(_AvgPool):
    """Centroid of each window of points; see :class:`LorentzAvgPool2d`.

    Notes
    -----
    Input ``(N, C, L)``, output ``(N, C, L')``, the manifold dimension at axis 1.
    """

    spatial = 1


class _AdaptiveAvgPool(nn.Module):
    spatial = 0

    def __init__(self, output_size: int | tuple[int, ...], *, manifold: Lorentz) -> None:
        super().__init__()
        each = _single if self.spatial == 1 else _pair
        self.output_size: tuple[int, ...] = each(output_size)
        if any(size < 1 for size in self.output_size):
            raise ValueError(f"output_size must be positive; got {output_size}")
        self.manifold = manifold

    def forward(self, x: Tensor) -> Tensor:
        """Return the space parts of the centroids, ``(N, C, *output_size)``."""
        (x,) = prepare(x)
        # The windows of torch's adaptive pooling, cut along one axis after the other.
        cells = [x]
        for axis, parts in enumerate(self.output_size):
            size = x.shape[2 + axis]
            edges = [(i * size // parts, -(-(i + 1) * size // parts)) for i in range(parts)]
            cells = [cell.narrow(2 + axis, a, b - a) for cell in cells for a, b in edges]
        flat = [cell.flatten(2).movedim(1, -1).contiguous() for cell in cells]
        pooled = torch.stack([self.manifold.centroid(points) for points in flat], dim=-1)
        return pooled.view(*pooled.shape[:-1], *self.output_size)

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return f"output_size={self.output_size}"


class LorentzAdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Centroid of each cell of a grid of given size, as ``torch.nn.AdaptiveAvgPool2d``.

    Parameters
    ----------
    output_size : int or tuple of int
        Height and width of the grid, which is meant to be small: its cells are taken in turn.
    manifold : Lorentz
        Manifold of input and output.

    Raises
    ------
    ValueError
        If ``output_size`` is not positive.

    Notes
    -----
    Input ``(N, C, H, W)``, output ``(N, C, *output_size)``, the manifold dimension at axis 1.
    """

    spatial = 2


class LorentzAdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Centroid of each of a given number of pieces; see :class:`LorentzAdaptiveAvgPool2d`.

    Notes
    -----
    Input ``(N, C, L)``, output ``(N, C, output_size)``, the manifold dimension at axis 1.
    """

    spatial = 1


class LorentzGlobalAvgPool(nn.Module):
    """Centroid of all points of a sample.

    Parameters
    ----------
    manifold : Lorentz
        Manifold of input and output.

    Notes
    -----
    Input ``(N, C, ...)``, output ``(N, C)``: the manifold dimension is axis 1, then the last.
    """

    def __init__(self, manifold: Lorentz) -> None:
        super().__init__()
        self.manifold = manifold

    def forward(self, x: Tensor) -> Tensor:
        """Return the space parts of the centroids."""
        return self.manifold.centroid(prepare(x)[0].flatten(2).movedim(1, -1).contiguous())
