"""Devices, and seeding that leaves the caller's random generators as they were."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator

import numpy as np
import torch


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn a device name into a device that is really there.

    Parameters
    ----------
    device : str or torch.device
        ``"auto"`` takes the first of CUDA, MPS and CPU that is available.

    Returns
    -------
    torch.device
        The device.

    Raises
    ------
    ValueError
        If the name is no device, or names one that this machine does not have.
    """
    if isinstance(device, str) and device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device={device!r} is no device; use 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'"
        ) from error
    if resolved.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (resolved.index or 0) >= count:
            raise ValueError(
                f"device={str(device)!r} is not available: this machine offers {count} CUDA "
                "device(s) to torch; use device='auto' or 'cpu'"
            )
    elif resolved.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device='mps' is not available here; use device='auto' or 'cpu'")
    elif resolved.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device={str(device)!r} is not supported; use 'auto', 'cpu' or 'cuda'")
    return resolved


def draw_seed(random_state: int | np.random.RandomState | np.random.Generator | None) -> int:
    """Turn scikit-learn's `random_state` into one integer.

    Parameters
    ----------
    random_state : int, RandomState, Generator or None
        An integer is the seed itself; a generator gives its next draw; ``None`` asks the
        operating system (unlike in scikit-learn, NumPy's global generator is left alone).

    Returns
    -------
    int
        In 0 … 2**32 - 1.

    Raises
    ------
    ValueError
        If it is something else, or an integer out of range.
    """
    if random_state is None:
        return secrets.randbits(32)
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(0, 2**32, dtype=np.uint32))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(0, 2**32))
    is_integer = isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool)
    if not is_integer or not 0 <= random_state < 2**32:
        raise ValueError(
            f"random_state={random_state!r} cannot seed a fit; use an integer in 0 … 2**32 - 1, "
            "a numpy RandomState or Generator, or None"
        )
    return int(random_state)


def spawn_seeds(seed: int, count: int) -> list[int]:
    """Return `count` unrelated seeds (below 2**31) that follow from one."""
    return [int(s) >> 1 for s in np.random.SeedSequence(seed).generate_state(count)]


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the CPU's generator and that of one device.

    Parameters
    ----------
    seed : int
        Seed of both.
    device : torch.device
        The only accelerator that is touched: ``torch.manual_seed`` would reseed all.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


@contextlib.contextmanager
def isolated_rng(seed: int, device: torch.device) -> Iterator[None]:
    """Run a block with torch's generators seeded, then put them back as they were.

    Parameters
    ----------
    seed : int
        Seed of the CPU generator and of `device`'s.
    device : torch.device
        The only accelerator whose generator is touched.

    Notes
    -----
    torch's default generators belong to the process: fits that run at the same time in threads
    of one process share them.  Use processes (joblib's default) for reproducible parallel fits.
    """
    cpu_state = torch.get_rng_state()
    accelerator_state: torch.Tensor | None = None
    if device.type == "cuda":
        accelerator_state = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        accelerator_state = torch.mps.get_rng_state()
    try:
        seed_generators(seed, device)
        yield
    finally:
        torch.set_rng_state(cpu_state)
        if accelerator_state is not None:
            if device.type == "cuda":
                torch.cuda.set_rng_state(accelerator_state, device)
            else:
                torch.mps.set_rng_state(accelerator_state)


@contextlib.contextmanager
def deterministic_convolutions(device: torch.device) -> Iterator[None]:
    """Run a block with cuDNN's reproducible algorithms, then restore the caller's choice."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    try:
        if device.type == "cuda":
            cudnn.deterministic, cudnn.benchmark = True, False
        yield
    finally:
        if device.type == "cuda":
            cudnn.deterministic, cudnn.benchmark = before
