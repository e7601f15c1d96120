"""The curvature of a hyperbolic space as a number that can be learned."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

BOUNDS = (0.05, 20.0)


class CurvatureParameter(nn.Parameter):
    """Logarithm of a curvature magnitude, a 0-dimensional float64 parameter.

    A type of its own, so that optimisers recognise it: it takes plain Adam steps of its own
    learning rate, no weight decay, and is projected onto its bounds.

    Parameters
    ----------
    data : Tensor, 0-dimensional
        ``log c``.
    requires_grad : bool, default True
        Whether the curvature is learned.
    bounds : tuple of float, default (0.05, 20.0)
        Smallest and largest ``c``.
    """

    bounds: tuple[float, float]

    def __new__(  # noqa: D102 - documented on the class
        cls, data: Tensor, requires_grad: bool = True, bounds: tuple[float, float] = BOUNDS
    ) -> CurvatureParameter:
        instance: CurvatureParameter = torch.Tensor._make_subclass(cls, data, requires_grad)
        instance.bounds = bounds
        return instance

    def __deepcopy__(self, memo: dict[int, Any]) -> CurvatureParameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.data.clone(), self.requires_grad, self.bounds)
        copied: CurvatureParameter = memo[id(self)]
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(self), (self.data, self.requires_grad, self.bounds)

    @torch.no_grad()
    def project_(self) -> CurvatureParameter:
        """Clamp the curvature to its bounds, in place."""
        self.clamp_(math.log(self.bounds[0]), math.log(self.bounds[1]))
        return self


class Curvature(nn.Module):
    """A curvature magnitude ``c``, fixed or learned, kept as ``log c``.

    The space it describes has constant sectional curvature ``-c``. Share one instance between
    manifolds to give them one curvature. ``log c`` is float64 whatever the points are: a scalar
    costs nothing, and ``exp(log c)`` then returns the number that was given.

    Parameters
    ----------
    c : float, default 1.0
        Curvature magnitude, within ``bounds``.
    learnable : bool, default False
        Whether gradients reach ``log c``.
    bounds : tuple of float, default (0.05, 20.0)
        Smallest and largest curvature. Optimisers of this package project onto them; reading
        ``c`` respects them under any optimiser, without stopping the gradient.

    Attributes
    ----------
    log_c : CurvatureParameter
    bounds : tuple of float

    Raises
    ------
    ValueError
        If the bounds are not ``0 < low < high < inf`` or ``c`` lies outside them.
    """

    def __init__(
        self, c: float = 1.0, learnable: bool = False, bounds: tuple[float, float] = BOUNDS
    ) -> None:
        super().__init__()
        low, high = self.bounds = (float(bounds[0]), float(bounds[1]))
        if not 0 < low < high < math.inf:
            raise ValueError(f"bounds must satisfy 0 < low < high < inf; got {bounds}")
        if not low <= float(c) <= high:
            raise ValueError(
                f"c (curvature magnitude, the space has curvature -c) must lie in "
                f"[{low}, {high}]; got {c}. Pass other bounds to allow it."
            )
        self.log_c = CurvatureParameter(
            torch.tensor(math.log(c), dtype=torch.float64), learnable, (low, high)
        )

    @property
    def learnable(self) -> bool:
        """Whether the curvature receives gradients."""
        return self.log_c.requires_grad

    @learnable.setter
    def learnable(self, value: bool) -> None:
        self.log_c.requires_grad_(value)

    @property
    def c(self) -> Tensor:
        """Curvature magnitude as a 0-dimensional tensor, differentiable if learnable."""
        # The module's own bounds: exporters replace the parameter by a plain tensor.
        low, high = self.bounds
        log_c = self.log_c
        bounded = log_c.clamp(math.log(low), math.log(high))
        # Straight through: outside the bounds the value is clamped, the gradient is not.
        return torch.exp(log_c + (bounded - log_c).detach())

    @property
    def value(self) -> float:
        """Curvature magnitude as a Python number (waits for the device)."""
        return float(self.c.detach())

    def forward(self) -> Tensor:
        """Return ``c``."""
        return self.c

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Curvature:
        # Devices are followed, dtypes are not: the curvature of a half-precision model stays exact.
        def move(t: Tensor) -> Tensor:
            probe = fn(torch.empty((), dtype=torch.float32, device=t.device))
            if probe.device.type == "mps":  # has no float64
                return fn(t.float())
            moved = fn(t)
            return moved if moved.dtype == torch.float64 else t.to(moved.device, torch.float64)

        super()._apply(move, recurse)  # type: ignore[no-untyped-call]
        self._restore_type()
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._restore_type()

    def _restore_type(self) -> None:
        # to_empty() and load_state_dict(assign=True) put a plain nn.Parameter in its place.
        log_c = self.log_c
        if not isinstance(log_c, CurvatureParameter):
            data = log_c.data if log_c.device.type == "mps" else log_c.data.double()
            self.log_c = CurvatureParameter(data, log_c.requires_grad, self.bounds)

    def extra_repr(self) -> str:
        """Describe the curvature in the module's repr."""
        shown = "?" if self.log_c.is_meta else f"{self.value:.6g}"
        return f"c={shown}, learnable={self.learnable}, bounds={self.bounds}"
