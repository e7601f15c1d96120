"""A network's states on the way through its training, to be looked at when it has ended."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from skorch.callbacks import Callback

from hypeeg.training.batchnorm import refresh_batch_norm


class Snapshots(Callback):
    """Keep the weights before training and after every few epochs.

    Trials that the network is shown later see what it would have made of them then; none of them
    takes part in the training.

    Parameters
    ----------
    every : int
        Epochs from one state to the next.

    Attributes
    ----------
    epochs_ : list of int
        Epoch of each state; 0 is before training.
    states_ : list of dict
        State dicts on the CPU, with batch-norm statistics of the training trials.

    Notes
    -----
    Training goes on as if nobody had looked: the network is put back as it was, and no random
    number is drawn.
    """

    def __init__(self, every: int) -> None:
        self.every = every

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Keep the state before training."""
        self.epochs_: list[int] = []
        self.states_: list[dict[str, torch.Tensor]] = []
        self._keep(net, 0)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Keep the state if it is time."""
        epoch = int(net.history[-1]["epoch"])
        if epoch % self.every == 0:
            self._keep(net, epoch)

    def _keep(self, net: Any, epoch: int) -> None:
        module = net.module_
        training = module.training
        before = copy.deepcopy(module.state_dict())
        if net.refresh_batch_norm:
            refresh_batch_norm(module, net.train_set_, net.batch_size, net.device)
        self.epochs_.append(epoch)
        self.states_.append({k: v.detach().cpu().clone() for k, v in module.state_dict().items()})
        module.load_state_dict(before)
        module.train(training)


@contextmanager
def as_it_was(module: torch.nn.Module, state: dict[str, torch.Tensor]) -> Iterator[None]:
    """Have a network in an earlier state inside, in its own afterwards."""
    own = copy.deepcopy(module.state_dict())
    try:
        module.load_state_dict(state)
        yield
    finally:
        module.load_state_dict(own)
