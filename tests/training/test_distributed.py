"""Several processes train one network: the same steps as one process with the joint batch."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import replica_worker
import torch
from replica_worker import SETTINGS, fitted, outcome
from torch import distributed

from hypeeg.training import data_parallel
from hypeeg.training.data import TrialBatches, TrialDataset
from hypeeg.training.torchrun import Place, torchrun_place


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What two processes that trained together ended as."""
    if not distributed.is_gloo_available():
        pytest.skip("torch was built without gloo")
    folder = tmp_path_factory.mktemp("ranks")
    processes = [
        subprocess.Popen(
            [sys.executable, replica_worker.__file__, str(rank), "2", str(folder)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("name", SETTINGS)
def test_two_processes_equal_one_with_the_joint_batch(ranks, name):
    alone = outcome(fitted(name))
    first, second = (rank[name] for rank in ranks)
    assert first == second
    assert first["predicted"] == alone["predicted"]
    for key in ("losses", "curvature"):
        np.testing.assert_allclose(first[key], alone[key], rtol=2e-5)
    assert alone["curvature"][0] != alone["curvature"][-1]
    assert first["weights"].keys() == alone["weights"].keys()
    for key, value in alone["weights"].items():
        np.testing.assert_allclose(first["weights"][key], value, rtol=2e-4, atol=2e-5)


def test_processes_agree_on_a_seed(ranks):
    assert ranks[0]["seed"] == ranks[1]["seed"]


def shares(n, batch_size, size, seed=0):
    """Batches of every share, as lists of trial numbers, and their joint sizes."""
    trials = TrialDataset(np.arange(n, dtype=np.float32)[:, None])
    found = []
    for rank in range(size):
        order = torch.Generator().manual_seed(seed)
        batches = TrialBatches(trials, batch_size, order, share=(rank, size))
        found.append([(X[:, 0].int().tolist(), batches.joint_size) for X, _ in batches])
        assert len(found[-1]) == len(batches)
    return found


@pytest.mark.parametrize(("n", "batch_size", "size"), [(45, 16, 2), (50, 16, 3), (33, 8, 4)])
def test_shares_divide_the_batches_of_one_process(n, batch_size, size):
    found = shares(n, batch_size, size)
    assert sorted(i for share in found for batch, _ in share for i in batch) == list(range(n))
    for parts in zip(*found, strict=True):
        sizes = [len(batch) for batch, _ in parts]
        assert {joint for _, joint in parts} == {sum(sizes)}
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 2
    if n % batch_size >= 2 * size:  # else the last batch has joined the one before
        [whole] = shares(n, batch_size, 1)
        joined = [{i for batch, _ in parts for i in batch} for parts in zip(*found, strict=True)]
        assert joined == [set(batch) for batch, _ in whole]


def test_shares_too_small_or_by_domain_are_refused():
    X = np.zeros((12, 1), dtype=np.float32)
    with pytest.raises(ValueError, match=r"batch_size=3 of 12 trials .* use 4 or more"):
        TrialBatches(TrialDataset(X), 3, torch.Generator(), share=(0, 2))
    by_domain = TrialDataset(X, domain=np.arange(12) % 2)
    with pytest.raises(ValueError, match="without domains"):
        TrialBatches(by_domain, 6, torch.Generator(), share=(0, 2))


def test_place_among_processes(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert torchrun_place() is None
    with pytest.raises(RuntimeError, match="torchrun --nproc-per-node=2"), data_parallel():
        pass
    values = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
    for name, value in {**values, "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert torchrun_place() == Place(5, 8, 1)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert torchrun_place() is None
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(ValueError, match="'RANK': 'first'"):
        torchrun_place()
