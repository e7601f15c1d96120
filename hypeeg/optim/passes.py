"""Further passes over a batch that leave no trace but what they were made for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Self, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

Closure: TypeAlias = Callable[[], Any]


class RandomState(NamedTuple):
    """States of torch's generators: the CPU's and those of the devices in use."""

    cpu: Tensor
    accelerators: tuple[tuple[torch.device, Tensor], ...]

    @classmethod
    def now(cls, devices: Iterable[torch.device]) -> RandomState:
        """Take the present states."""
        found = []
        for device in devices:
            if device.type != "cpu":
                found.append((device, _generators(device).get_rng_state(*_index(device))))
        return cls(torch.get_rng_state(), tuple(found))

    def set(self) -> None:
        """Put the generators into these states."""
        torch.set_rng_state(self.cpu)
        for device, state in self.accelerators:
            _generators(device).set_rng_state(state, *_index(device))


def _generators(device: torch.device) -> Any:
    return getattr(torch, device.type)


def _index(device: torch.device) -> tuple[torch.device, ...]:
    return () if device.type == "mps" else (device,)


class ExtraPasses:
    """A block in which a closure runs again and again, and which undoes what those runs change.

    At the end, gradients, the buffers of every module that ran (running statistics of
    normalisation layers and their counters) and the random generators are as they were at the
    start. Weights are the caller's business.

    Parameters
    ----------
    params : iterable of Tensor
        Parameters whose gradients are set aside.
    module : Module, optional
        The model. Without it, modules are found as they run, by a hook.

    Attributes
    ----------
    count : int
        Runs so far.
    """

    def __init__(self, params: Iterable[Tensor], module: nn.Module | None = None) -> None:
        self._params = list(params)
        self._module = module
        self._hook: RemovableHandle | None = None
        self.devices = list(dict.fromkeys(p.device for p in self._params))
        self.count = 0
        self._seen: set[int] = set()
        self._grads: list[tuple[Tensor, Tensor | None]] = []
        self._buffers: list[tuple[nn.Module, str, Tensor, Tensor]] = []

    def __enter__(self) -> Self:
        self._after = RandomState.now(self.devices)
        for p in self._params:
            self._set_aside(p)
        if self._module is not None:
            self._before_forward(self._module)
        else:
            # A module's forward is the one place where its statistics can change. Hooking it needs
            # no handle on the model, which an optimiser does not have.
            self._hook = register_module_forward_pre_hook(self._before_forward)
        return self

    def __exit__(self, *_: object) -> None:
        if self._hook is not None:
            self._hook.remove()
        with torch.no_grad():
            for module, name, buffer, saved in self._buffers:
                buffer.copy_(saved)
                module._buffers[name] = buffer  # some layers put a new tensor in its place
        for p, grad in self._grads:
            p.grad = grad
        self._after.set()
        self._seen.clear()

    def run(
        self, closure: Closure, random: RandomState | None = None, *, full_precision: bool = False
    ) -> Any:
        """Run a closure with fresh gradients.

        Parameters
        ----------
        closure : callable
            Evaluates the loss and calls ``backward``.
        random : RandomState, optional
            Where the generators start, by default where they stood when the block began.
        full_precision : bool, default False
            Whether to switch autocast off around the closure.

        Returns
        -------
        object
            What the closure returned.
        """
        self.count += 1
        (self._after if random is None else random).set()
        for p in self._params:
            p.grad = None
        with contextlib.ExitStack() as stack:
            if full_precision:
                for kind in dict.fromkeys(d.type for d in self.devices):
                    stack.enter_context(torch.autocast(kind, enabled=False))
            stack.enter_context(torch.enable_grad())
            return closure()

    def _set_aside(self, p: Tensor) -> None:
        if id(p) not in self._seen:
            self._seen.add(id(p))
            self._grads.append((p, p.grad))
            p.grad = None

    def _before_forward(self, module: nn.Module, _inputs: Any = None) -> None:
        if id(module) in self._seen:
            return
        for p in module.parameters():
            self._set_aside(p)
        for part in module.modules():
            self._seen.add(id(part))
            for name, buffer in part._buffers.items():
                if buffer is not None and id(buffer) not in self._seen:
                    self._seen.add(id(buffer))
                    self._buffers.append((part, name, buffer, buffer.detach().clone()))
