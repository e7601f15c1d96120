"""What happens around the epochs of a training: records, guards and early stopping."""

from __future__ import annotations

import copy
import logging
import math
import time
from typing import Any

import torch
from skorch.callbacks import Callback

from hypeeg.geometry import Curvature

logger = logging.getLogger(__name__)


class TrainingDivergedError(RuntimeError):
    """Training produced a loss or a weight that is not a finite number."""


class StopTraining(Exception):
    """Raised by a callback at an epoch's end to end the training in good order."""


def find_curvature(module: torch.nn.Module) -> Curvature | None:
    """Find the curvature that a network's embedding lives under.

    Parameters
    ----------
    module : torch.nn.Module
        Any network.

    Returns
    -------
    Curvature or None
        That of ``module.manifold`` if there is one, else the first found among the submodules,
        else ``None``: the network is Euclidean.
    """
    manifold = getattr(module, "manifold", None)
    curvature = getattr(manifold, "curvature", None)
    if isinstance(curvature, Curvature):
        return curvature
    return next((m for m in module.modules() if isinstance(m, Curvature)), None)


class EpochRecord(Callback):
    """Write an epoch's learning rate and duration into the net's history."""

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Note the time and the learning rate that the epoch starts with."""
        self.start_ = time.perf_counter()
        net.history.record("lr", float(net.optimizer_.param_groups[0]["lr"]))

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Write the duration in seconds."""
        net.history.record("dur", time.perf_counter() - self.start_)


class EpochLog(Callback):
    """Write one line an epoch to this module's logger, at level INFO."""

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Log the epoch that ended."""
        row = net.history[-1]
        valid = ""
        if "valid_loss" in row:
            valid = f", valid_loss {row['valid_loss']:.4f}, valid_acc {row['valid_acc']:.3f}"
        logger.info(
            "epoch %d/%d: train_loss %.4f%s, lr %.2e, %.2f s",
            row["epoch"],
            net.max_epochs,
            row["train_loss"],
            valid,
            row["lr"],
            row["dur"],
        )


class CurvatureHistory(Callback):
    """Keep the curvature before training and after every epoch.

    Attributes
    ----------
    values_ : list of float
        One longer than the number of epochs; empty for a Euclidean network.
    """

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Keep the value at the start."""
        self.curvature_ = find_curvature(net.module_)
        self.values_: list[float] = []
        self._keep()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Keep the value that the epoch ended with."""
        self._keep()

    def _keep(self) -> None:
        if self.curvature_ is not None:
            self.values_.append(float(self.curvature_.value))


class NaNGuard(Callback):
    """End the training with an error as soon as an epoch's loss is not finite.

    Raises
    ------
    TrainingDivergedError
        Naming the epoch, the learning rate and what to do.
    """

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Check the losses of the epoch that ended."""
        row = net.history[-1]
        for name in ("train_loss", "valid_loss"):
            if not math.isfinite(row.get(name, 0.0)):
                raise TrainingDivergedError(self._message(net, f"{name} became {row[name]}"))

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Check the weights: the very last step may have spoilt them after the last loss."""
        for name, parameter in net.module_.named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                raise TrainingDivergedError(self._message(net, f"{name} is not finite"))

    @staticmethod
    def _message(net: Any, what: str) -> str:
        row = net.history[-1]
        return (
            f"training diverged: {what} in epoch {row['epoch']} at learning rate "
            f"{row['lr']:g}; lower lr, standardise the trials, or use curvature='fixed'"
        )


class KeepBest(Callback):
    """Stop when the validation loss no longer falls, and go back to the best epoch's weights.

    Parameters
    ----------
    patience : int
        Epochs without a new minimum after which training ends.

    Attributes
    ----------
    best_epoch_ : int
        Counted from 1.
    best_loss_ : float
        Its validation loss.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Start anew."""
        self.best_loss_ = math.inf
        self.best_epoch_ = 0
        self.best_state_: dict[str, Any] | None = None

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Keep the weights if they are the best yet; stop if that is too long ago."""
        row = net.history[-1]
        if row["valid_loss"] < self.best_loss_:
            self.best_loss_, self.best_epoch_ = row["valid_loss"], row["epoch"]
            self.best_state_ = copy.deepcopy(net.module_.state_dict())
        elif row["epoch"] - self.best_epoch_ >= self.patience:
            raise StopTraining

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Put the best weights back and let go of the copy."""
        if self.best_state_ is not None:
            net.module_.load_state_dict(self.best_state_)
            self.best_state_ = None
