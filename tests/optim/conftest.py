"""Makes the oracle importable by its name from the tests of this folder, and fixes the seed."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from ambient_oracle import AmbientOptimizer


@pytest.fixture
def ambient_adamw():
    return partial(AmbientOptimizer, rule="adamw")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
