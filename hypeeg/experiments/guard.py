"""Around every task: one thread, one GPU, and what it has to say."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

# Addressed to developers of libraries, not to people who run experiments.
NOISE = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)

# Lock files of the GPU slots that this process holds, by folder of slots: held until it ends.
_SLOTS: dict[Path, tuple[int, int]] = {}

_LIBRARIES: dict[str, Any] = {}


@contextmanager
def limited_threads(threads: int = 1) -> Iterator[None]:
    """Run numerical libraries on a given number of threads.

    Small networks train fastest on one, workers do not compete for cores then, and sums are taken
    in the same order however many folds run at once.

    Parameters
    ----------
    threads : int
        Of torch and of every BLAS and OpenMP library that is loaded.
    """
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch is not None else None
    with _controller().limit(limits=threads):
        if torch is not None:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            if torch is not None:
                torch.set_num_threads(before)


def _controller() -> Any:
    """Return threadpoolctl's view of the libraries loaded, looked up when there may be new ones.

    Looking through the libraries of the process takes milliseconds, as long as a small fit.
    """
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    if _LIBRARIES.get("modules") != len(sys.modules):
        _LIBRARIES.update(found=ThreadpoolController(), modules=len(sys.modules))
    return _LIBRARIES["found"]


def one_thread() -> Any:
    """Run numerical libraries on one thread; see :func:`limited_threads`."""
    return limited_threads(1)


@contextmanager
def gpu_slot(gpus: Sequence[int] | None, slots: Path | None) -> Iterator[int | None]:
    """Make one of the listed GPUs this worker's while the block runs.

    A worker takes the first slot that no other worker holds and keeps it until it ends.

    Parameters
    ----------
    gpus : sequence of int or None
        Numbers of GPUs, one a slot; a GPU may be listed more than once.  None changes nothing.
    slots : Path or None
        Folder for the lock files of the slots, the same for all workers of a machine; None for a
        single worker, which takes the first.

    Yields
    ------
    int or None
        Number of the GPU, that ``cuda`` without a number means inside the block.

    Raises
    ------
    RuntimeError
        If there are more workers than slots, or no such GPU.
    """
    if not gpus:
        yield None
        return
    import torch

    gpu = gpus[0] if slots is None else gpus[_claim(len(gpus), slots)]
    if not torch.cuda.is_available():
        # Without CUDA the device 'auto' is the processor; a spec that insists on cuda says so.
        context: Any = nullcontext()
    elif gpu >= torch.cuda.device_count():
        raise RuntimeError(
            f"resources.gpus names GPU {gpu}, this machine has {torch.cuda.device_count()} "
            "(numbers from 0)"
        )
    else:
        context = torch.cuda.device(gpu)
    with context:
        yield gpu


def _claim(n_slots: int, folder: Path) -> int:
    """Return the number of a slot that is this process's alone."""
    import fcntl

    held = _SLOTS.get(folder)
    if held is not None:
        return held[0]
    folder.mkdir(parents=True, exist_ok=True)
    for slot in range(n_slots):
        handle = os.open(folder / f"{slot}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        _SLOTS[folder] = (slot, handle)
        return slot
    raise RuntimeError(f"more workers than GPU slots ({n_slots}); list more in resources.gpus")


class _Collector(logging.Handler):
    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message, once."""
        text = f"{record.levelname} {record.name}: {record.getMessage()}"
        if text not in self.messages:
            self.messages.append(text)


@contextmanager
def collect_messages(messages: list[str], in_worker: bool) -> Iterator[None]:
    """Add warnings, each once, to `messages`; in a worker process also what is logged there.

    The log of the run is written by the process that started it: records carry what others have
    to say.
    """
    handler = _Collector(messages)
    root = logging.getLogger()
    if in_worker:
        root.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        for item in caught:
            text = f"{item.category.__name__}: {item.message}"
            if not issubclass(item.category, NOISE) and text not in messages:
                messages.append(text)
    finally:
        root.removeHandler(handler)
