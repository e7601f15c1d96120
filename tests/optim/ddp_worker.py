"""One rank of the distributed test, run as a script: ``ddp_worker.py RANK SIZE FOLDER``."""

from __future__ import annotations

import os
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from hypeeg.geometry import Lorentz, ManifoldParameter, PoincareBall
from hypeeg.optim import RiemannianAdamW, RiemannianSGD

F64 = torch.float64


class Net(nn.Module):
    """Euclidean weights, points in two charts, two curvatures."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(4, 3, dtype=F64)
        self.manifold = Lorentz(1.0, learnable=True)
        self.prototypes = ManifoldParameter(0.3 * torch.randn(5, 3, dtype=F64), self.manifold)
        self.ball = PoincareBall(0.5, learnable=True)
        self.anchors = ManifoldParameter(0.1 * torch.randn(2, 3, dtype=F64), self.ball)

    def forward(self, x):
        z = self.encoder(x)
        near = self.manifold.dist_pairwise(self.manifold.expmap0(z), self.prototypes)
        far = self.ball.dist_pairwise(self.ball.expmap0(0.1 * z), self.anchors)
        return torch.cat([near, far], -1)


def batches():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(12, 8, 4, generator=generator, dtype=F64)


OPTIMIZERS = {
    "adamw": (RiemannianAdamW, {"lr": 0.05}),
    "sgd": (RiemannianSGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
}


def train(name, model, net, share=slice(None)):
    """Train on a share of every batch and return what the network ends as."""
    kind, options = OPTIMIZERS[name]
    optimizer = kind(
        net.parameters(), **options, curvature_lr=0.02, curvature_gradient="consistent"
    )
    for x in batches():
        optimizer.zero_grad()
        (model(x[share]) - 1).square().mean().backward()
        optimizer.step()
    return {key: value.clone() for key, value in net.state_dict().items()}


def rank_main(rank, size, folder):
    """Train on every ``size``-th row and write the end of each optimiser to a file."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=size)
    ends = {}
    for name in OPTIMIZERS:
        net = Net()
        ends[name] = train(name, DistributedDataParallel(net), net, slice(rank, None, size))
    torch.save(ends, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    rank_main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
