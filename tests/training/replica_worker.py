"""One of the processes of the distributed test, run as a script: RANK SIZE FOLDER."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from hypeeg.geometry import Lorentz
from hypeeg.nn import HyperbolicHead
from hypeeg.training import HyperbolicClassifier, data_parallel

SETTINGS = {
    "learned": {"curvature_gradient": "consistent", "curvature_move": "exp"},
    "sharpness_aware": {"curvature": "sharpness_aware", "sharpness_every": 2},
    "early": {"early_stopping": True, "patience": 2, "class_weight": "balanced"},
}


class Points(nn.Module):
    """A layer, a lift, prototypes: weights, points and a curvature, nothing that mixes a batch."""

    def __init__(self, n_features: int, n_outputs: int, c: float) -> None:
        super().__init__()
        self.manifold = Lorentz(c, learnable=True)
        self.body = nn.Linear(n_features, 4)
        self.final_layer = HyperbolicHead(4, n_outputs, manifold=self.manifold, head="prototypes")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.final_layer(torch.tanh(self.body(x)))


class Small(HyperbolicClassifier):
    def _module_config(self, X, y):
        return {"n_features": X.shape[1]}

    def _build_module(self, config):
        return Points(config["n_features"], config["n_outputs"], self.c)


def trials():
    """45 trials in batches of 16: the last batch is uneven for two processes."""
    rng = np.random.default_rng(0)
    y = np.arange(45) % 3
    return (rng.standard_normal((45, 5)) + y[:, None]).astype(np.float32), y


def fitted(name, **changes):
    options = {
        **{"max_epochs": 4, "batch_size": 16, "lr": 0.05, "random_state": 3, "device": "cpu"},
        **{"c": 0.7, "curvature_lr": 0.05, **SETTINGS[name], **changes},
    }
    return Small(**options).fit(*trials())


def outcome(estimator):
    """What a fit ends as, as data."""
    return {
        "weights": {k: v.tolist() for k, v in estimator.module_.state_dict().items()},
        "losses": [row["train_loss"] for row in estimator.history_],
        "curvature": estimator.curvature_history_,
        "predicted": estimator.predict(trials()[0]).tolist(),
    }


def rank_main(rank, size, folder):
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=size)
    with data_parallel("cpu"):
        found = {name: outcome(fitted(name)) for name in SETTINGS}
        # Without a seed of its own, a process takes that of the first one.
        found["seed"] = fitted("learned", random_state=None, max_epochs=1).seed_
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    rank_main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
