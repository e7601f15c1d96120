"""Optimisers around another optimiser: they share its parameter groups and its state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hypeeg.geometry import CurvatureParameter, ManifoldParameter


class WrappingOptimizer(Optimizer):
    """An optimiser that lets another one take the steps.

    Learning-rate schedulers, ``zero_grad``, ``add_param_group`` and hooks work on either; the
    parameter groups and the state are those of the wrapped optimiser.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        What takes the steps.

    Raises
    ------
    TypeError
        If it is no optimiser.
    """

    optimizer: Optimizer

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"optimizer must be a torch.optim.Optimizer; got {type(optimizer).__name__}. "
                "Build one over the parameters and pass it"
            )
        # Optimizer.__init__ would make parameter groups of its own; this is how unpickling, which
        # finds them made, sets up everything else.
        self.__setstate__({"optimizer": optimizer})

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Parameter groups of the wrapped optimiser."""
        return self.optimizer.param_groups

    @property
    def state(self) -> Any:  # type: ignore[override]
        """State of the wrapped optimiser."""
        return self.optimizer.state

    @property
    def defaults(self) -> dict[str, Any]:  # type: ignore[override]
        """Default options of the wrapped optimiser."""
        return self.optimizer.defaults

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "step"}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group to the wrapped optimiser."""
        self.optimizer.add_param_group(param_group)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the wrapped optimiser."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state that :meth:`state_dict` returned, or one of the wrapped optimiser's."""
        self.optimizer.load_state_dict(state_dict)

    def parameters(self) -> list[Tensor]:
        """Return all parameters of all groups."""
        return [p for group in self.param_groups for p in group["params"]]

    def curvatures(self) -> list[CurvatureParameter]:
        """Return the curvatures of all parameters and of their manifolds, each once."""
        found: dict[int, CurvatureParameter] = {}
        for p in self.parameters():
            log_c = p.manifold.curvature.log_c if isinstance(p, ManifoldParameter) else p
            if isinstance(log_c, CurvatureParameter):
                found.setdefault(id(log_c), log_c)
        return list(found.values())

    def _checked(self, closure: Callable[[], Any] | None) -> Callable[[], Any]:
        """Return the closure, or raise if there is none."""
        if closure is None:
            raise TypeError(
                f"{type(self).__name__}.step needs a closure that clears the gradients, evaluates "
                "the loss of one batch, calls backward() and returns the loss: it runs several "
                "times a step"
            )
        return closure


def evaluate(closure: Callable[[], Any]) -> Any:
    """Run a closure with gradients enabled, as optimisers do."""
    with torch.enable_grad():
        return closure()
