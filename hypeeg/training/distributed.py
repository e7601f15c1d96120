"""One network trained by several processes, each on its share of every batch.

Within :func:`data_parallel` a fit of :class:`hypeeg.training.HyperbolicClassifier` is a common
effort: weights start alike, gradients (that of the curvature among them) are averaged by
:class:`torch.nn.parallel.DistributedDataParallel`, and as every process takes the same step with
the same Riemannian optimiser, points stay on the manifold and weights stay alike.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hypeeg.training.torchrun import torchrun_place


@dataclass(frozen=True)
class Replicas:
    """The processes that train together, seen from one of them.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    size : int
        How many there are.
    device : torch.device
        Where this one computes.
    """

    rank: int
    size: int
    device: torch.device

    def wrap(self, module: nn.Module) -> DistributedDataParallel:
        """Return a network whose backward pass averages gradients over all processes."""
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=ids)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over all processes of a tensor that each has one of."""
        total = values.detach().to(self.device, torch.float64 if values.is_cpu else values.dtype)
        dist.all_reduce(total)
        return total / self.size

    def agree(self, value: Any) -> Any:
        """Return the first process's value of a small object, in every process."""
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]


_current: ContextVar[Replicas | None] = ContextVar("replicas", default=None)


def current_replicas() -> Replicas | None:
    """Return the processes of the :func:`data_parallel` block that this is in, if it is in one."""
    return _current.get()


@contextlib.contextmanager
def data_parallel(device: str = "auto") -> Iterator[Replicas]:
    """Let fits in this block be common efforts of the processes that ``torchrun`` started.

    Every process must make the same fits in the same order with the same trials; each of them
    holds all trials and steps on its share of each batch.  `batch_size` counts the trials of all
    shares together.  Batch normalisation sees the share alone in training; its statistics for
    prediction are computed by every process from all training trials.

    Parameters
    ----------
    device : str, default "auto"
        ``"auto"`` and ``"cuda"`` take the GPU of this process's number on its computer (with
        NCCL); without GPUs, and for ``"cpu"``, the CPU (with Gloo).

    Yields
    ------
    Replicas

    Raises
    ------
    RuntimeError
        If the process was started neither by ``torchrun`` nor within a process group of its own
        (``torch.distributed.init_process_group``).
    """
    place = torchrun_place()
    joined = dist.is_initialized()
    if place is None and not joined:
        raise RuntimeError(
            "data_parallel needs several processes; start them with: torchrun "
            "--nproc-per-node=2 SCRIPT, or call torch.distributed.init_process_group first"
        )
    local = place.local_rank if place is not None else dist.get_rank()
    use_gpu = device in ("auto", "cuda") and local < torch.cuda.device_count()
    if not joined:
        dist.init_process_group("nccl" if use_gpu else "gloo")
    target = torch.device("cuda", local) if use_gpu else torch.device("cpu")
    if use_gpu:
        torch.cuda.set_device(target)
    token = _current.set(Replicas(dist.get_rank(), dist.get_world_size(), target))
    try:
        replicas = _current.get()
        assert replicas is not None
        yield replicas
    finally:
        _current.reset(token)
        if not joined:
            dist.destroy_process_group()
