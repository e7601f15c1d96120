"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Several test processes share the machine's cores: one thread each is fastest.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def hypeeg_data() -> Path:
    """Folder with the real recordings, or a skip that says why."""
    root = os.environ.get("HYPEEG_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("HYPEEG_DATA is not set to a folder of recordings")
    return Path(root)
