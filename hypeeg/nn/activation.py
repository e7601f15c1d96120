"""Activations and dropout of points: they act on the space part, the time part follows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypeeg.geometry import Lorentz
from hypeeg.geometry.numerics import prepare


class LorentzActivation(nn.Module):
    """Apply a function to the coordinates of the space part [1]_.

    Parameters
    ----------
    function : callable or nn.Module
        From tensors to tensors of the same shape, such as ``torch.nn.ELU()``.
    manifold : Lorentz
        Manifold of input and output.

    Notes
    -----
    Input and output have any one shape; the manifold dimension may be anywhere. Every space part
    is a point, so the output lies on the manifold whatever the function.

    References
    ----------
    .. [1] arXiv 2405.13979.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], manifold: Lorentz) -> None:
        super().__init__()
        self.function = function
        self.manifold = manifold

    def forward(self, x: Tensor) -> Tensor:
        """Return the space parts of the activated points."""
        with torch.autocast(x.device.type, enabled=False):
            return self.function(prepare(x)[0])

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        if isinstance(self.function, nn.Module):
            return ""
        return f"function={getattr(self.function, '__name__', repr(self.function))}"


class LorentzReLU(LorentzActivation):
    """Rectify the space part; see :class:`LorentzActivation`.

    Parameters
    ----------
    manifold : Lorentz
        Manifold of input and output.
    inplace : bool, default False
        Whether to overwrite the input.
    """

    def __init__(self, manifold: Lorentz, inplace: bool = False) -> None:
        super().__init__(nn.ReLU(inplace), manifold)


class LorentzDropout(nn.Module):
    """Dropout of coordinates of the space part, in training.

    Dropped coordinates are zero and the others grow by ``1 / (1 - p)``, so that the expected space
    part is that of the input. The output lies on the manifold.

    Parameters
    ----------
    p : float, default 0.5
        Probability with which a coordinate is dropped, in [0, 1).
    manifold : Lorentz
        Manifold of input and output.
    axis : int, optional
        With the axis of the manifold dimension given, whole channels are dropped as
        ``torch.nn.Dropout2d`` does: one draw for each sample (the first axis) and coordinate.

    Raises
    ------
    ValueError
        If ``p`` is not in [0, 1).

    Notes
    -----
    Input and output have any one shape.
    """

    def __init__(self, p: float = 0.5, *, manifold: Lorentz, axis: int | None = None) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p must lie in [0, 1); got {p}")
        self.p = float(p)
        self.manifold = manifold
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        """Return the space parts with coordinates dropped."""
        (x,) = prepare(x)
        if self.axis is None:
            return F.dropout(x, self.p, self.training)
        if not self.training or self.p == 0:
            return x
        shape = [1] * x.dim()
        shape[0], shape[self.axis] = x.shape[0], x.shape[self.axis]
        keep = torch.empty(shape, dtype=x.dtype, device=x.device).bernoulli_(1 - self.p)
        return x * (keep / (1 - self.p))

    def extra_repr(self) -> str:
        """Describe the layer in the module's repr."""
        return f"p={self.p}, axis={self.axis}"
