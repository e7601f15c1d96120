"""What dry runs on images and taxonomies say, against networks that count and runs that ran."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hypeeg.experiments.estimate import WORKER_BYTES, describe_plan, estimate_run
from hypeeg.experiments.kinds import run_spec_from_data
from hypeeg.experiments.runner import run
from hypeeg.experiments.spec_errors import SpecError
from hypeeg.experiments.wing_costs import network_size, wing_costs
from hypeeg.vision.euclidean import ResNet

SHAPES: dict[str, Any] = {
    "name": "shapes",
    "kind": "vision",
    "dataset": {"name": "SyntheticShapes", "n_train": 6},
    "training": {"max_epochs": 1, "batch_size": 32},
    "pipelines": [
        {"name": "H", "model": "HybridResNet", "params": {"blocks": [1], "widths": [4]}},
        {"name": "R", "model": "ResNet", "twin_of": "H"},
    ],
}
TREE: dict[str, Any] = {
    "name": "tree",
    "kind": "hierarchy",
    "dataset": {"name": "BalancedTree", "branching": 2, "depth": 3},
    "training": {"epochs": 4, "batch_size": 16},
    "pipelines": [{"name": "L", "model": "LorentzEmbedding", "dim": [2, 3]}],
}


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize(
    ("blocks", "widths"), [([1], [8]), ([2, 1], [8, 16]), ([2, 2, 2, 2], [8, 16, 32, 64])]
)
def test_multiplications_are_those_of_the_network(
    blocks: list[int], widths: list[int], stem: str
) -> None:
    network = ResNet(5, blocks=blocks, widths=widths, stem=stem, in_channels=3).eval()
    counted = {"work": 0, "numbers": 0}

    def count(layer: Any, _: Any, output: torch.Tensor) -> None:
        if layer.kernel_size[0] > 1:  # the few 1x1 shortcuts are left out
            counted["work"] += output[0].numel() * layer.weight[0].numel()
            counted["numbers"] += output[0].numel()

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    network(torch.randn(1, 3, 64, 64))
    params = {"blocks": blocks, "widths": widths, "stem": stem}
    assert network_size((3, 64, 64), params) == (counted["work"], counted["numbers"])


@pytest.mark.parametrize("data", [SHAPES, TREE], ids=["images", "taxonomy"])
def test_a_dry_run_knows_memory_and_time(data: dict[str, Any], tmp_path: Path) -> None:
    spec = run_spec_from_data(data)
    estimate = estimate_run(spec)
    assert {cost.source for cost in estimate.pipelines} == {"rule of thumb"}
    assert estimate.peak_bytes is not None
    assert WORKER_BYTES < estimate.peak_bytes < 2 * WORKER_BYTES
    text = "\n".join(describe_plan(spec))
    assert "Memory, roughly" in text
    assert "Time, very roughly" in text
    result = run(spec, tmp_path, progress=False)
    assert result.n_tasks == estimate.n_tasks
    assert {c.source for c in estimate_run(spec, tmp_path).pipelines} == {"earlier runs"}


def changed(data: dict[str, Any], section: str, **values: Any) -> dict[str, Any]:
    return {**data, section: {**data.get(section, {}), **values}}


def test_more_work_takes_more() -> None:
    def costs(data: dict[str, Any]) -> Any:
        return wing_costs(run_spec_from_data(data).resolve())

    once, twice = costs(SHAPES), costs(changed(SHAPES, "training", max_epochs=2))
    assert twice.seconds["H"] == pytest.approx(2 * once.seconds["H"])
    more = costs(changed(SHAPES, "dataset", n_train=12))
    assert more.seconds["H"] == pytest.approx(2 * once.seconds["H"])
    assert more.task_bytes > once.task_bytes
    assert once.data_bytes == 720 * 3 * 16 * 16
    everything = changed(SHAPES, "dataset", n_train=None)
    held_out = changed(everything, "evaluation", kind="validation", validation_fraction=0.5)
    assert costs(held_out).seconds["H"] == pytest.approx(costs(everything).seconds["H"] / 2)
    tree, longer = costs(TREE), costs(changed(TREE, "training", epochs=8, batch_size=16))
    assert longer.seconds["L-2d"] == pytest.approx(2 * tree.seconds["L-2d"])
    both = run_spec_from_data({**SHAPES, "n_jobs": 2})
    single = estimate_run(run_spec_from_data(SHAPES)).peak_bytes
    together = estimate_run(both).peak_bytes
    assert single is not None
    assert together is not None
    assert together - single == WORKER_BYTES + once.task_bytes


def test_data_that_are_not_there_and_classes_that_are_not_in_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HYPEEG_DATA", str(tmp_path))
    for data in (
        changed(SHAPES, "dataset", name="CIFAR100Subset"),
        {**TREE, "dataset": {"name": "WordNetMammals"}},
    ):
        text = "\n".join(describe_plan(run_spec_from_data(data)))
        assert "Memory: unknown" in text
        assert "Time: unknown" in text
    with pytest.raises(SpecError, match=r"dataset\.classes"):
        describe_plan(run_spec_from_data(changed(SHAPES, "dataset", classes=["dodecahedra"])))
