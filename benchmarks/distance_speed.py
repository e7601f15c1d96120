"""Speed of the distance, forward and backward: this package against the Euclidean norm ``|x - y|``.

Both compiled by inductor, and both eager; float32, one thread, gradients by both points. Also
geoopt's Lorentz distance, and all pairwise distances in blocks with their peak of memory. Run::

    python benchmarks/distance_speed.py [--rows 10000] [--skip-compile]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import geoopt
import torch
from _paired import HEADER, compare
from torch import Tensor

from hypeeg.geometry import Lorentz, LorentzTangent, PoincareBall

TARGET = 1.6


def euclidean(x: Tensor, y: Tensor) -> Tensor:
    """Norm of the difference."""
    return torch.linalg.vector_norm(x - y, dim=-1)


def forward_backward(function: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor):
    """Return a function that evaluates a distance and its gradients."""

    def run() -> None:
        x.grad = y.grad = None
        function(x, y).sum().backward()

    return run


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--skip-compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    manifold, peer = Lorentz(0.5), geoopt.manifolds.Lorentz(k=torch.tensor(2.0))

    def peer_distance(x: Tensor, y: Tensor) -> Tensor:
        time = [torch.sqrt(2.0 + (t * t).sum(-1, keepdim=True)) for t in (x, y)]
        return peer.dist(torch.cat([time[0], x], -1), torch.cat([time[1], y], -1))

    print(f"torch {torch.__version__}, one thread, float32, forward and backward")
    print(HEADER)
    for n in (16, 64, 256):
        rows = options.rows * 16 // n if n > 64 else options.rows
        x, y = (torch.randn(rows, n, requires_grad=True) for _ in range(2))
        with torch.no_grad():
            x /= n**0.5
            y /= n**0.5
        eager = forward_backward(euclidean, x, y)
        if not options.skip_compile:
            ours = forward_backward(torch.compile(manifold.dist, fullgraph=True), x, y)
            rival = forward_backward(torch.compile(euclidean, fullgraph=True), x, y)
            compare(f"{rows} x {n}: compiled / compiled norm", ours, rival)
            compare(f"{rows} x {n}: compiled / eager norm", ours, eager, target=TARGET)
        compare(f"{rows} x {n}: eager / eager norm", forward_backward(manifold.dist, x, y), eager)
        compare(f"{rows} x {n}: geoopt / eager norm", forward_backward(peer_distance, x, y), eager)
    x, y = (torch.randn(options.rows, 16, requires_grad=True) for _ in range(2))
    eager = forward_backward(euclidean, x, y)
    for other in (PoincareBall(0.01, bounds=(1e-3, 1.0)), LorentzTangent(0.5)):
        name = f"{options.rows} x 16: {type(other).__name__} / eager norm"
        compare(name, forward_backward(other.dist, x, y), eager, repeats=10)
    a, b = (torch.randn(512, 16, requires_grad=True) for _ in range(2))
    whole = forward_backward(manifold.dist_pairwise, a, b)
    blocks = forward_backward(lambda x, y: manifold.dist_pairwise(x, y, block_size=32), a, b)
    compare("512 x 512 pairs, 16-d: blocks of 32 / whole", blocks, whole, repeats=5)


if __name__ == "__main__":
    main()
