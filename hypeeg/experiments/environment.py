"""What a run ran on: versions, platform, device; no user names, host names or paths."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import hypeeg

PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "skorch",
    "mne",
    "moabb",
    "braindecode",
    "pyriemann",
    "pydantic",
    "joblib",
    "safetensors",
)


def describe_environment(device: str = "auto", seeds: list[int] | None = None) -> dict[str, Any]:
    """Describe the software and hardware of this process.

    Parameters
    ----------
    device : str
        As in the run file; ``auto`` is resolved.
    seeds : list of int, optional
        Seeds of the run.

    Returns
    -------
    dict
        JSON-ready.
    """
    return {
        "hypeeg": hypeeg.__version__,
        "git": git_state(),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "device": describe_device(device),
        "seeds": list(seeds or []),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def describe_device(device: str) -> dict[str, Any]:
    """Say which device networks train on.

    Parameters
    ----------
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:0``, ... or ``mps``.

    Returns
    -------
    dict
        ``asked``, ``used``, and for a GPU its ``name`` and CUDA version.
    """
    import torch

    from hypeeg.training.randomness import resolve_device

    used = str(resolve_device(device))
    found: dict[str, Any] = {"asked": device, "used": used}
    if used.startswith("cuda") and torch.cuda.is_available():
        found["name"] = torch.cuda.get_device_name(torch.device(used))
        found["cuda"] = torch.version.cuda
    return found


def git_state() -> dict[str, Any] | None:
    """Return the commit hypeeg runs from, or None outside a checkout of it."""
    root = Path(hypeeg.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    if not commit:
        return None
    return {"commit": commit, "modified": bool(_git(root, "status", "--porcelain", "-uno"))}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
