"""Two gloo ranks take the trajectory of one process with the joint batch."""

from __future__ import annotations

import subprocess
import sys

import ddp_worker
import pytest
import torch
from ddp_worker import OPTIMIZERS, Net, train
from torch import distributed


@pytest.mark.skipif(not distributed.is_gloo_available(), reason="torch was built without gloo")
def test_two_ranks_equal_one_process(tmp_path):
    # Not multiprocessing: it would run the main module anew, whatever a test before made of that.
    ranks = [
        subprocess.Popen(
            [sys.executable, ddp_worker.__file__, str(rank), "2", str(tmp_path)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    for rank in ranks:
        _, errors = rank.communicate(timeout=300)
        assert rank.returncode == 0, errors
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for name in OPTIMIZERS:
        net = Net()
        start = {key: value.clone() for key, value in net.state_dict().items()}
        joint = train(name, net, net)
        for key, value in joint.items():
            assert torch.equal(first[name][key], second[name][key]), key
            torch.testing.assert_close(first[name][key], value, rtol=1e-10, atol=1e-12)
            assert not torch.allclose(value, start[key], rtol=1e-3)
